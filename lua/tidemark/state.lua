-- SPDX-License-Identifier: Apache-2.0
-- The state of a job's own aggregates: declared columns, a C struct that is
-- generated for them, and an object with getters and setters for scripts.
--
-- The object is an address and a number that is good for one call only, so a
-- kept state is an error and never memory that has moved.
local ffi = require "ffi"
local names = require "tidemark.names"
local native = require "tidemark.native"

local M = {}

local c_types = { int = "int64_t", double = "double", bool = "int64_t", timestamp = "int64_t" }
local known_types = { "int", "double", "bool", "timestamp" }
local EXACT, EXACT_INT = 2 ^ 53, 9007199254740992LL

local function columns_of(declared)
   if type(declared) ~= "table" or next(declared) == nil then
      error('tide.aggregator: state names its columns: state = { sum = "double", n = "int" }', 0)
   end
   local columns = {}
   for i, name in ipairs(names.sorted(declared)) do
      local kind = declared[name]
      if type(name) ~= "string" or not name:match("^[%a_][%w_]*$") then
         error(('tide.aggregator: "%s" is no name for state'):format(tostring(name)), 0)
      elseif not c_types[kind] then
         error(('tide.aggregator: state "%s" has no type "%s"%s'):format(name, tostring(kind),
            names.hint(tostring(kind), known_types, "types of state are")), 0)
      end
      columns[i] = { name, kind }
   end
   return columns
end

-- Helpers of the generated text --------------------------------------------

local function stale()
   error("a state is only good inside add, merge or result: keep its values, not the state", 0)
end

local function exact(name, value)
   if value > EXACT_INT or value < -EXACT_INT then
      error(('state "%s" is beyond 2^53, where Lua numbers are no longer exact; make it a double')
         :format(name), 0)
   end
   return (tonumber(value))
end

local function whole(name, value)
   if type(value) ~= "number" or value % 1 ~= 0 or value > EXACT or value < -EXACT then
      error(('state "%s" is an int: it cannot hold %s'):format(name, tostring(value)), 0)
   end
   return value
end

local function number(name, value)
   if type(value) ~= "number" then
      error(('state "%s" is a double: it cannot hold %s'):format(name, tostring(value)), 0)
   end
   return value
end

local function flag(name, value)
   if type(value) ~= "boolean" then
      error(('state "%s" is a bool: it cannot hold %s'):format(name, tostring(value)), 0)
   end
   return value and 1 or 0
end

local function micros(name, value)
   return math.floor(number(name, value) * 1000 + 0.5)
end

local readers = {
   int = "return (exact(%q, cast(pointer, s.addr_).%s))",
   double = "local _ = %q return cast(pointer, s.addr_).%s",
   bool = "local _ = %q return cast(pointer, s.addr_).%s ~= 0",
   timestamp = "local _ = %q return tonumber(cast(pointer, s.addr_).%s) / 1000",
}
local writers = { int = "whole", double = "number", bool = "flag", timestamp = "micros" }

local function accessor_text(columns)
   local text = { "local pointer, guard, cast, stale, exact, whole, number, flag, micros = ...\n",
                  "local get, set = {}, {}\n" }
   for i, column in ipairs(columns) do
      local field = "f" .. i .. "_"
      text[#text + 1] = ([[
get[%q] = function(s)
   if s.serial_ ~= guard.serial then stale() end
   %s
end
set[%q] = function(s, value)
   if s.serial_ ~= guard.serial then stale() end
   cast(pointer, s.addr_).%s = %s(%q, value)
end
]]):format(column[1], readers[column[2]]:format(column[1], field),
           column[1], field, writers[column[2]], column[1])
   end
   text[#text + 1] = "return get, set\n"
   return table.concat(text)
end

local function unknown(columns, key)
   local list = {}
   for i, column in ipairs(columns) do
      list[i] = column[1]
   end
   error(('no state "%s"%s'):format(tostring(key), names.hint(tostring(key), list, "it has")), 0)
end

--- Everything the driver needs of a job's own aggregate.
function M.define(definition)
   local columns = columns_of(definition.state)
   local fields = {}
   for i, column in ipairs(columns) do
      fields[i] = ("%s f%d_;"):format(c_types[column[2]], i)
   end
   local _, pointer = native.struct(table.concat(fields, " "))
   local stage = ffi.new "struct tide_stage"
   local guard = ffi.cast("struct tide_stage *", stage)
   local get, set = assert(loadstring(accessor_text(columns), "=state"))(
      pointer, guard, ffi.cast, stale, exact, whole, number, flag, micros)
   local object = native.struct "const double serial_; const uint64_t addr_;"
   ffi.metatype(object, {
      __index = function(s, key)
         local getter = get[key]
         if not getter then
            unknown(columns, key)
         end
         return getter(s)
      end,
      __newindex = function(s, key, value)
         local setter = set[key]
         if not setter then
            unknown(columns, key)
         end
         setter(s, value)
      end,
   })
   return { state = columns, pointer = pointer, object = object, guard = guard, anchor = stage,
            add = definition.add, merge = definition.merge, result = definition.result }
end

return M
