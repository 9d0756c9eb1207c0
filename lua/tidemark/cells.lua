-- SPDX-License-Identifier: Apache-2.0
-- Between Lua values and the cells of a row, for the generated loops.
local ffi = require "ffi"
local native = require "tidemark.native"
local text = require "tidemark.text"

local C, ctx = native.C, native.ctx
local type, tonumber, floor = type, tonumber, math.floor
local is_text = text.is_text
local EXACT, EXACT_INT = 2 ^ 53, 9007199254740992LL

local M = {}

local advice = {
   int = "give a whole number (math.floor), or tonumber() of text",
   double = "give a number, or tonumber() of text",
   bool = "give true or false",
   string = "give text, or tostring() of a number",
   bytes = "give text",
   timestamp = "give milliseconds as a number, or tide.parse() of text",
}

local function kind_of(value)
   if is_text(value) then
      return "text"
   elseif type(value) == "number" then
      return ("the number %.17g"):format(value)
   end
   return "a " .. type(value)
end

local function wrong(name, kind, value)
   if value == nil then
      error(('column "%s" is null and may not be; declare it "%s:%s?" to allow that')
         :format(name, name, kind), 0)
   end
   error(('column "%s" is declared %s and got %s; %s'):format(name, kind, kind_of(value),
      advice[kind]), 0)
end

function M.put_int(cell, value, name)
   if type(value) ~= "number" or value % 1 ~= 0 then
      wrong(name, "int", value)
   elseif value > EXACT or value < -EXACT then
      error(('column "%s" is an int and got a number beyond 2^53, where Lua numbers are no ' ..
             'longer exact; declare it string or double'):format(name), 0)
   end
   cell.i = value
   cell.len = 0
end

function M.put_double(cell, value, name)
   if type(value) ~= "number" then
      wrong(name, "double", value)
   end
   cell.d = value
   cell.len = 0
end

function M.put_bool(cell, value, name)
   if type(value) ~= "boolean" then
      wrong(name, "bool", value)
   end
   cell.i = value and 1 or 0
   cell.len = 0
end

-- The string must stay referenced until the cell has been read: see the
-- returns of the generated functions.
function M.put_string(cell, value, name)
   if type(value) == "string" then
      cell.p = value
      cell.len = #value
   elseif is_text(value) then
      local gen = value.gen_
      if gen ~= ctx.gen and not C.tide_ffi_alive(ctx, gen) then
         error(text.RETIRED, 0)
      end
      cell.i = value.addr_
      cell.len = value.len_
   else
      wrong(name, "string", value)
   end
end

function M.put_timestamp(cell, value, name)
   if type(value) ~= "number" or value ~= value or value > 9e15 or value < -9e15 then
      wrong(name, "timestamp", value)
   end
   cell.i = floor(value * 1000 + 0.5)
   cell.len = 0
end

--- An int column as a Lua number.
function M.exact(value, name)
   -- Compared as 64-bit integers: as a number, 2^53 + 1 is 2^53.
   if value > EXACT_INT or value < -EXACT_INT then
      error(('column "%s" is beyond 2^53, where Lua numbers are no longer exact; ' ..
             'declare it "%s:string"'):format(name, name), 0)
   end
   return (tonumber(value))
end

function M.text_of(cell)
   return (ffi.string(cell.p, cell.len))
end

function M.too_many(step, count)
   error(("%s gives more than the %d columns it declares"):format(step, count), 0)
end

function M.stale()
   error("this row is over: keep its values, not the row", 0)
end

function M.copy(to, from, count)
   ffi.copy(to, from, count * 16)
end

M.put = { int = "put_int", double = "put_double", bool = "put_bool", string = "put_string",
          bytes = "put_string", timestamp = "put_timestamp" }

--- Text of an expression that reads a cell that is not null.
M.get = {
   int = "(exact(%s.i, %q))",
   double = "%s.d",
   bool = "%s.i ~= 0",
   string = "(text_of(%s))",
   bytes = "(text_of(%s))",
   timestamp = "tonumber(%s.i) / 1000",
}

return M
