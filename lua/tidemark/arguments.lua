-- SPDX-License-Identifier: Apache-2.0
-- What jobs give to the functions that make aggregates: checked, with messages
-- that show how it is meant.
local names = require "tidemark.names"

local M = {}

--- The name of a column.
function M.column(name, column)
   if type(column) ~= "string" then
      error(('tide.%s wants a column: tide.%s "value"'):format(name, name), 0)
   end
end

--- A table of known options; nil is an empty one.
function M.options(name, given, known)
   given = given == nil and {} or given
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
   return given
end

--- A whole number among the options, or its default.
function M.whole(name, options, key, default, least, most)
   local value = options[key]
   if value == nil then
      return default
   elseif type(value) ~= "number" or value % 1 ~= 0 or value < least or value > most then
      error(("tide.%s: %s is a whole number from %d to %d"):format(name, key, least, most), 0)
   end
   return value
end

--- A column of numbers, of those that were found.
function M.numeric(name, column)
   if column.type ~= "int" and column.type ~= "double" then
      error(('tide.%s: column "%s" is a %s; it is for int and double columns')
         :format(name, column.name, column.type), 0)
   end
end

return M
