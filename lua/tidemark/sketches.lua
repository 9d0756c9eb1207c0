-- SPDX-License-Identifier: Apache-2.0
-- Aggregates that keep a bounded picture of many values: how many different
-- ones, where they lie, which are frequent. The pictures are drawn in C
-- (src/job/distinct.h, quantiles.h, top.h, exact_set.h).
local arguments = require "tidemark.arguments"
local kept = require "tidemark.kept"
local native = require "tidemark.native"
local schema = require "tidemark.schema"
local state = require "tidemark.state"

local C, ctx = native.C, native.ctx

local M = {}

-- How many different values --------------------------------------------------------

-- One standard deviation with a single register; see distinct.h.
local DEVIATION, BITS_MIN, BITS_MAX = 0.344, 4, 9
local RSD_MIN = math.ceil(DEVIATION / 2 ^ (BITS_MAX / 2) * 10000) / 10000

local function bits_for(rsd)
   if rsd == nil then
      return BITS_MAX
   elseif type(rsd) ~= "number" or not (rsd > 0 and rsd < 1) then
      error('tide.approx_count_distinct: rsd is a part of 1, as in ' ..
            'tide.approx_count_distinct("id", { rsd = 0.05 })', 0)
   elseif rsd < RSD_MIN then
      error(("tide.approx_count_distinct: rsd = %g needs more than the 2 KB a key that there " ..
             "are; the least is %g"):format(rsd, RSD_MIN), 0)
   end
   local bits = BITS_MIN
   while DEVIATION / 2 ^ (bits / 2) > rsd do
      bits = bits + 1
   end
   return bits
end

--- How many different values there are, in at most 2 KB a key. `rsd` is the
--- relative standard deviation: a number as in Spark, or an option.
function M.approx_count_distinct(column, options)
   arguments.column("approx_count_distinct", column)
   if type(options) == "number" then
      options = { rsd = options }
   end
   local given = arguments.options("approx_count_distinct", options, { "rsd" })
   local bits = bits_for(given.rsd)
   return { name = "approx_count_distinct", columns = { column }, spec_of = function(columns)
      local kind = schema.types[columns[1].type]
      return state.built_in {
         state = { { "registers", ("int[%d]"):format(2 ^ bits / 2) } },
         result_type = "int", infallible = true,
         add_cell = function(s, cell)
            if cell.len >= 0 then
               C.tide_ffi_distinct_add(s, bits, cell, kind)
            end
         end,
         merge = function(s, o) C.tide_ffi_distinct_merge(s, o, bits) end,
         result = function(s, cell)
            cell.i = math.floor(C.tide_ffi_distinct_count(s, bits) + 0.5)
            cell.len = 0
         end,
      }
   end }
end

local SET_LIMIT = 16384

local function set_full(most)
   error(("tide.count_distinct: a group has more than max = %d different values; give it a " ..
          "greater max, or use approx_count_distinct, which has no limit"):format(most), 0)
end

--- How many different values there are, exactly, while a group has at most `max`.
function M.count_distinct(column, options)
   arguments.column("count_distinct", column)
   local given = arguments.options("count_distinct", options, { "max" })
   local most = arguments.whole("count_distinct", given, "max", nil, 1, SET_LIMIT)
   if not most then
      error("tide.count_distinct keeps every value it has seen, so its state has no bound: use " ..
            "approx_count_distinct, which counts within about 2 % in 2 KB, or in a window say " ..
            'how many values there may be, as in tide.count_distinct("id", { max = 5000 })', 0)
   end
   return { name = "count_distinct", columns = { column }, spec_of = function(columns)
      local kind = schema.types[columns[1].type]
      return state.built_in {
         state = { { "members", ("int[%d]"):format(1 + 2 * most) } },
         result_type = "int",
         windowed = "tide.count_distinct keeps every value it has seen, and without a window " ..
            "that never ends: use approx_count_distinct, which counts within about 2 % in 2 KB, " ..
            "or group by a window as well",
         add_cell = function(s, cell)
            if cell.len >= 0 and not C.tide_ffi_exact_set_add(s, most, cell, kind) then
               set_full(most)
            end
         end,
         merge = function(s, o)
            if not C.tide_ffi_exact_set_merge(s, o, most) then
               set_full(most)
            end
         end,
         result = function(s, cell)
            cell.i = s.members[0]
            cell.len = 0
         end,
      }
   end }
end

-- Where values lie -----------------------------------------------------------------

local BUCKETS, BUCKETS_MIN, BUCKETS_MAX = 256, 16, 1024

local function quantile_spec(rank, room, column)
   local add
   if column.type == "int" then
      add = function(s, cell)
         if cell.len >= 0 then
            C.tide_ffi_quantiles_add(s, room, tonumber(cell.i))
         end
      end
   else
      add = function(s, cell)
         if cell.len >= 0 then
            C.tide_ffi_quantiles_add(s, room, cell.d)
         end
      end
   end
   local is_whole = column.type == "int"
   return state.built_in {
      state = { { "buckets", ("int[%d]"):format(3 + 2 * room) } },
      result_type = "double", nullable = true, infallible = true,
      add_cell = add,
      merge = function(s, o) C.tide_ffi_quantiles_merge(s, o, room) end,
      result = function(s, cell) C.tide_ffi_quantiles_at(s, rank, is_whole, cell) end,
   }
end

--- The value below which a part of the values lie: 0.5 is the median. Several of
--- one column share their state.
function M.approx_percentile(column, rank, options)
   local name = "approx_percentile"
   arguments.column(name, column)
   if type(rank) ~= "number" or not (rank >= 0 and rank <= 1) then
      error('tide.approx_percentile wants a part from 0 to 1, as in ' ..
            'tide.approx_percentile("ms", 0.95)', 0)
   end
   local given = arguments.options(name, options, { "buckets" })
   local room = arguments.whole(name, given, "buckets", BUCKETS, BUCKETS_MIN, BUCKETS_MAX)
   return {
      name = name, columns = { column },
      label = ("p%s_%s"):format((("%.6g"):format(rank * 100):gsub("%.", "_")), column),
      share = ("percentiles of %s in %d"):format(column, room),
      spec_of = function(columns)
         arguments.numeric(name, columns[1])
         return quantile_spec(rank, room, columns[1])
      end,
   }
end

-- Which are frequent ---------------------------------------------------------------

local PLACES, PLACES_MAX, BYTES, BYTES_MAX = 64, 256, 32, 256

local function text_too_long(length, most)
   error(("tide.top_k: a value has %d bytes, and at most %d are kept; keep more with " ..
          "max_bytes = %d"):format(length, most, length), 0)
end

local function no_memory()
   error("out of memory for the text of tide.top_k", 0)
end

--- The `count` most frequent values, as JSON.
function M.top_k(column, count, options)
   arguments.column("top_k", column)
   if type(count) ~= "number" or count % 1 ~= 0 or count < 1 or count > PLACES_MAX then
      error(('tide.top_k wants a number from 1 to %d, as in tide.top_k("page", 3)')
         :format(PLACES_MAX), 0)
   end
   local given = arguments.options("top_k", options, { "places", "max_bytes" })
   local places = arguments.whole("top_k", given, "places", math.min(math.max(PLACES, 4 * count),
                        PLACES_MAX), count, PLACES_MAX)
   local most = arguments.whole("top_k", given, "max_bytes", BYTES, 1, BYTES_MAX)
   return {
      name = "top_k", columns = { column }, label = ("top_%d_%s"):format(count, column),
      spec_of = function(columns)
         local kind, text = schema.types[columns[1].type], kept.is_text(columns[1])
         if not text and columns[1].type ~= "int" and columns[1].type ~= "bool" then
            error(('tide.top_k: column "%s" is a %s; it is for string, bytes, int and bool columns')
               :format(column, columns[1].type), 0)
         end
         local bytes = text and most or 8
         return state.built_in {
            state = { { "places", ("int[%d]"):format(C.tide_ffi_top_size(places, bytes) / 8) } },
            result_type = "string", infallible = not text,
            add_cell = function(s, cell)
               if cell.len > bytes then
                  text_too_long(cell.len, bytes)
               elseif cell.len >= 0 then
                  C.tide_ffi_top_add(s, places, bytes, cell, kind)
               end
            end,
            merge = function(s, o) C.tide_ffi_top_merge(s, o, places, bytes) end,
            result = function(s, cell)
               if not C.tide_ffi_top_json(ctx, s, places, bytes, count, kind, cell) then
                  no_memory()
               end
            end,
         }
      end,
   }
end

return M
