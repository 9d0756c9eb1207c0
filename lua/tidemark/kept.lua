-- SPDX-License-Identifier: Apache-2.0
-- Keeping one value of any type in a state, for aggregates whose result is one
-- of the values they were given.
local ffi = require "ffi"
local arguments = require "tidemark.arguments"

local M = {}

local TEXT_MAX, TEXT_LIMIT = 64, 4096

--- How much text is kept: the option max_bytes.
function M.text_max(name, options)
   return arguments.whole(name, options, "max_bytes", TEXT_MAX, 1, TEXT_LIMIT)
end

function M.is_text(column)
   return column.type == "string" or column.type == "bytes"
end

--- An error: the text in a cell is too long.
function M.too_long(title, cell, most)
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

--- How a value of a column is kept: the type of its state, and how it gets from
--- a cell to the state, from there to another one, and back to a cell.
function M.keeper(column, title, most)
   if M.is_text(column) then
      return {
         type = ("text(%d)"):format(most),
         put = function(s, cell)
            if cell.len > most then
               M.too_long(title, cell, most)
            end
            set_text(s.value, cell.p, cell.len)
         end,
         copy = function(s, o) set_text(s.value, o.value.p, tonumber(o.value.len)) end,
         get = function(s, cell)
            cell.p = s.value.p
            cell.len = tonumber(s.value.len)
         end,
      }
   elseif column.type == "double" then
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
      type = column.type, infallible = true,
      put = function(s, cell) s.value = cell.i end,
      copy = function(s, o) s.value = o.value end,
      get = function(s, cell)
         cell.i = s.value
         cell.len = 0
      end,
   }
end

return M
