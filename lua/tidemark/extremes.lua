-- SPDX-License-Identifier: Apache-2.0
-- The least and the greatest value of a column.
local ffi = require "ffi"
local arguments = require "tidemark.arguments"
local kept = require "tidemark.kept"
local native = require "tidemark.native"
local state = require "tidemark.state"

local C = native.C
local u64 = ffi.typeof "uint64_t"

local M = {}

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

local function extreme(name, column, most)
   local keep = kept.keeper(column, "tide." .. name, most)
   local put, copy, get = keep.put, keep.copy, keep.get
   local class = kept.is_text(column) and "text" or column.type == "double" and "double" or "int"
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
            kept.too_long("tide." .. name, cell, most)
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

for _, name in ipairs { "min", "max" } do
   M[name] = function(column, options)
      arguments.column(name, column)
      local most = kept.text_max(name, arguments.options(name, options, { "max_bytes" }))
      return { name = name, columns = { column }, spec_of = function(columns)
         return extreme(name, columns[1], most)
      end }
   end
end

return M
