-- SPDX-License-Identifier: Apache-2.0
-- Aggregates that keep single values: the least and the greatest, the first and
-- the last, and a mean of the last few.
local ffi = require "ffi"
local names = require "tidemark.names"
local native = require "tidemark.native"
local state = require "tidemark.state"

local C, ctx = native.C, native.ctx
local u64 = ffi.typeof "uint64_t"

local M = {}

local TEXT_MAX, TEXT_LIMIT = 64, 4096

-- Keeping a value of any type -----------------------------------------------

local function too_long(title, cell, most)
   error(('%s: a value has %d bytes, and at most %d are kept; keep more with max_bytes = %d')
      :format(title, cell.len, most, cell.len), 0)
end

-- What is behind the text is zero, so that equal states have equal bytes.
local function set_text(field, p, len)
   local before = tonumber(field.len)
   ffi.copy(field.p, p, len)
   if before > len then
      ffi.fill(field.p + len, before - len)
   end
   field.len = len
end

-- How a value of a column is kept: the type of its state, and how it gets from
-- a cell to the state, from there to another one, and back to a cell.
local function keeper(column, title, most)
   local kind = column.type
   if kind == "string" or kind == "bytes" then
      return {
         type = ("text(%d)"):format(most),
         put = function(s, cell)
            if cell.len > most then
               too_long(title, cell, most)
            end
            set_text(s.value, cell.p, cell.len)
         end,
         copy = function(s, o) set_text(s.value, o.value.p, tonumber(o.value.len)) end,
         get = function(s, cell)
            cell.p = s.value.p
            cell.len = tonumber(s.value.len)
         end,
      }
   elseif kind == "double" then
      return {
         type = "double", infallible = true,
         put = function(s, cell) s.value = cell.d end,
         copy = function(s, o) s.value = o.value end,
         get = function(s, cell)
            cell.d = s.value
            cell.len = 0
         end,
      }
   end
   return {
      type = kind, infallible = true,
      put = function(s, cell) s.value = cell.i end,
      copy = function(s, o) s.value = o.value end,
      get = function(s, cell)
         cell.i = s.value
         cell.len = 0
      end,
   }
end

-- The least and the greatest --------------------------------------------------

-- Whether a value is the one to keep rather than the one that is kept. Of
-- doubles, NaN is the greatest, as in Spark; of zeroes the sign is dropped.
local wins = {
   min = {
      int = function(s, cell) return cell.i < s.value end,
      int_other = function(s, o) return o.value < s.value end,
      double = function(s, cell)
         if cell.d == 0 then
            cell.d = 0
         end
         return cell.d < s.value or s.value ~= s.value
      end,
      double_other = function(s, o) return o.value < s.value or s.value ~= s.value end,
      text = function(s, cell)
         return C.tide_ffi_compare(cell.i, cell.len, ffi.cast(u64, s.value.p), s.value.len) < 0
      end,
      text_other = function(s, o)
         return C.tide_ffi_compare(ffi.cast(u64, o.value.p), o.value.len,
                                   ffi.cast(u64, s.value.p), s.value.len) < 0
      end,
   },
   max = {
      int = function(s, cell) return cell.i > s.value end,
      int_other = function(s, o) return o.value > s.value end,
      double = function(s, cell)
         if cell.d == 0 then
            cell.d = 0
         end
         return cell.d > s.value or cell.d ~= cell.d
      end,
      double_other = function(s, o) return o.value > s.value or o.value ~= o.value end,
      text = function(s, cell)
         return C.tide_ffi_compare(cell.i, cell.len, ffi.cast(u64, s.value.p), s.value.len) > 0
      end,
      text_other = function(s, o)
         return C.tide_ffi_compare(ffi.cast(u64, o.value.p), o.value.len,
                                   ffi.cast(u64, s.value.p), s.value.len) > 0
      end,
   },
}

local function class_of(column)
   if column.type == "string" or column.type == "bytes" then
      return "text"
   end
   return column.type == "double" and "double" or "int"
end

local function extreme(name, column, most)
   local keep = keeper(column, "tide." .. name, most)
   local put, copy, get = keep.put, keep.copy, keep.get
   local class = class_of(column)
   local better, better_other = wins[name][class], wins[name][class .. "_other"]
   local is_text = class == "text"
   return state.built_in {
      state = { { "value", keep.type }, { "seen", "bool" } },
      result_type = column.type, nullable = true, infallible = keep.infallible,
      add_cell = function(s, cell)
         if cell.len < 0 then
            return
         elseif is_text and cell.len > most then
            -- Even where it would not be kept: the order of rows must not matter.
            too_long("tide." .. name, cell, most)
         end
         local wanted = better(s, cell)
         if s.seen == 0 or wanted then
            put(s, cell)
            s.seen = 1
         end
      end,
      merge = function(s, o)
         if o.seen ~= 0 and (s.seen == 0 or better_other(s, o)) then
            copy(s, o)
            s.seen = 1
         end
      end,
      result = function(s, cell)
         if s.seen == 0 then
            cell.len = -1
         else
            get(s, cell)
         end
      end,
   }
end

-- The first and the last --------------------------------------------------------
--
-- Rows are ordered by a column that the job names, else by event time, else by
-- the record's timestamp; ties by topic (a hash of its name), partition, offset,
-- and within a record by the order of its rows. All of that is kept, so that the
-- answer does not depend on who read what when.

local ORDER = { { "time", "int" }, { "topic", "int" }, { "partition", "int" },
                { "offset", "int" } }

-- A double as an integer that sorts like it; NaN is the greatest.
local bits = ffi.new "union { double d; int64_t i; }"
local function sortable(value)
   if value ~= value then
      return 0x7fffffffffffffffLL
   elseif value == 0 then
      return 0LL
   end
   bits.d = value
   local i = bits.i
   return i < 0 and -0x7fffffffffffffffLL - 1 - i or i
end

-- The time of a row: from the cell of a column, or from its record.
local times = {
   int = function(cell) return cell.i end,
   double = function(cell) return sortable(cell.d) end,
   record = function(rec) return rec.timestamp_ms_ end,
}
times.timestamp = times.int

local function topic_of(batch)
   return C.tide_ffi_hash(batch.topic, batch.topic_len)
end

-- -1, 0 or 1: whether a place in the order is before, at or behind a state's.
local function compare(time, topic, partition, offset, s)
   if time ~= s.time then
      return time < s.time and -1 or 1
   elseif topic ~= s.topic then
      return topic < s.topic and -1 or 1
   elseif partition ~= s.partition then
      return partition < s.partition and -1 or 1
   elseif offset ~= s.offset then
      return offset < s.offset and -1 or 1
   end
   return 0
end

local function edge(name, column, by, most)
   local keep = keeper(column, "tide." .. name, most)
   local put, copy, get = keep.put, keep.copy, keep.get
   local is_text, last = class_of(column) == "text", name == "last"
   local time_of = times[by and by.type or "record"]
   local columns = { { "value", keep.type }, { "seen", "bool" } }
   for i, declared in ipairs(ORDER) do
      columns[i + 2] = declared
   end
   local function add(s, cell, time, row)
      if is_text and cell.len > most then
         too_long("tide." .. name, cell, most)
      end
      local batch = ctx.batch
      local topic, partition, offset = topic_of(batch), batch.partition, batch.recs[row].offset_
      local order = compare(time, topic, partition, offset, s)
      if s.seen == 0 or order > 0 == last and order ~= 0 or order == 0 and last then
         put(s, cell)
         s.seen, s.time, s.topic, s.partition, s.offset = 1, time, topic, partition, offset
      end
   end
   return state.built_in {
      state = columns, ordered = true,
      result_type = column.type, nullable = true, infallible = keep.infallible,
      add_cell = by and function(s, cell, by_cell, row)
         if cell.len >= 0 and by_cell.len >= 0 then
            add(s, cell, time_of(by_cell), row)
         end
      end or function(s, cell, row)
         if cell.len >= 0 then
            add(s, cell, time_of(ctx.batch.recs[row]), row)
         end
      end,
      merge = function(s, o)
         if o.seen == 0 then
            return
         end
         local order = compare(o.time, o.topic, o.partition, o.offset, s)
         if s.seen == 0 or order > 0 == last then
            copy(s, o)
            s.seen, s.time, s.topic, s.partition, s.offset = 1, o.time, o.topic, o.partition,
               o.offset
         end
      end,
      result = function(s, cell)
         if s.seen == 0 then
            cell.len = -1
         else
            get(s, cell)
         end
      end,
   }
end

-- What jobs write -----------------------------------------------------------

local function options_of(name, given, known)
   given = given or {}
   if type(given) ~= "table" then
      error(("tide.%s: options are a table, not a %s"):format(name, type(given)), 0)
   end
   for _, key in ipairs(names.sorted(given)) do
      local found = false
      for _, other in ipairs(known) do
         found = found or other == key
      end
      if not found then
         error(('tide.%s: no option "%s"%s'):format(name, tostring(key),
            names.hint(key, known, "options are")), 0)
      end
   end
   local most = given.max_bytes or TEXT_MAX
   if type(most) ~= "number" or most % 1 ~= 0 or most < 1 or most > TEXT_LIMIT then
      error(("tide.%s: max_bytes is a whole number from 1 to %d"):format(name, TEXT_LIMIT), 0)
   end
   return given, most
end

local function wants_column(name, column)
   if type(column) ~= "string" then
      error(('tide.%s wants a column: tide.%s "value"'):format(name, name), 0)
   end
end

-- Specs are made once for each kind of column, not once for each aggregate.
local function remembered(make)
   local made = {}
   return function(key, ...)
      if not made[key] then
         made[key] = make(...)
      end
      return made[key]
   end
end

for _, name in ipairs { "min", "max" } do
   local spec = remembered(extreme)
   M[name] = function(column, options)
      wants_column(name, column)
      local _, most = options_of(name, options, { "max_bytes" })
      return { name = name, columns = { column }, spec_of = function(columns)
         return spec(columns[1].type .. most, name, columns[1], most)
      end }
   end
end

for _, name in ipairs { "first", "last" } do
   local spec = remembered(edge)
   M[name] = function(column, options)
      wants_column(name, column)
      local given, most = options_of(name, options, { "by", "max_bytes" })
      local columns = { column, given.by }
      return { name = name, columns = columns, label = name .. "_" .. column,
               spec_of = function(found)
         local by = found[2]
         if by and (by.type == "string" or by.type == "bytes" or by.type == "bool") then
            error(('tide.%s: by = "%s" is a %s; rows are ordered by an int, double or ' ..
                   'timestamp column'):format(name, by.name, by.type), 0)
         end
         return spec(("%s %s %d"):format(found[1].type, by and by.type or "", most), name,
                     found[1], by, most)
      end }
   end
end

return M
