-- SPDX-License-Identifier: Apache-2.0
-- What the source text of all loops has in common: how it begins, and values that
-- are put into cells.
local cells = require "tidemark.cells"

local M = {}

M.HEAD = [[
local K, ctx, C, F = ...
local cast, u64, bytes = F.cast, F.u64, F.bytes
local put_int, put_double, put_bool = F.put_int, F.put_double, F.put_bool
local put_string, put_timestamp = F.put_string, F.put_timestamp
local exact, text_of, copy = F.exact, F.text_of, F.copy
local too_many, stale, no_memory, copy_bytes = F.too_many, F.stale, F.no_memory, F.copy_bytes
]]

function M.add(out, text, ...)
   if select("#", ...) > 0 then
      text = text:format(...)
   end
   out[#out + 1] = text
end

function M.puts(out, columns, first, values, indent)
   for i, column in ipairs(columns) do
      local cell = ("out.c[%d]"):format(first + i - 1)
      local put = ("%s(%s, %s, %q)"):format(cells.put[column.type], cell, values[i], column.name)
      if column.nullable then
         M.add(out, "%sif %s == nil then %s.len = -1 else %s end\n", indent, values[i], cell, put)
      else
         M.add(out, "%s%s\n", indent, put)
      end
   end
end

return M
