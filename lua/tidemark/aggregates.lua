-- SPDX-License-Identifier: Apache-2.0
-- Aggregates: columns of state, and functions that add to it, merge two of
-- them, and make the result.
--
-- Built-ins work on the stored 64-bit values; a job's own ones see Lua numbers
-- through the getters that state.lua makes.
local errors = require "tidemark.errors"
local names = require "tidemark.names"
local native = require "tidemark.native"
local schema = require "tidemark.schema"
local state = require "tidemark.state"
local stream = require "tidemark.stream"

local M = {}
local facts = setmetatable({}, { __mode = "k" })

--- What an aggregate was made with, or nil for any other value.
function M.facts(value)
   return facts[value]
end

local meta = { __metatable = false }

local function make(given)
   local aggregate = setmetatable({}, meta)
   if not given.path then
      given.path, given.line = errors.here(2)
   end
   facts[aggregate] = given
   return aggregate
end

local methods = {}

--- Name the result column.
function methods.as(self, name)
   local given = facts[self]
   if not given or type(name) ~= "string" then
      error('name an aggregate with a colon: tide.sum "v" :as "total"', 0)
   end
   return make { name = given.name, columns = given.columns, spec = given.spec, as = name,
                 path = given.path, line = given.line }
end

meta.__index = function(_, key)
   return methods[key] or error(('an aggregate has no "%s"; it has :as "name"')
      :format(tostring(key)), 0)
end
meta.__newindex = function() error("an aggregate cannot be changed", 0) end

-- Built-ins ----------------------------------------------------------------

local function define(spec)
   local fields = {}
   for i, column in ipairs(spec.state) do
      fields[i] = ("%s %s;"):format(column[2] == "double" and "double" or "int64_t", column[1])
   end
   local _, pointer = native.struct(table.concat(fields, " "))
   spec.pointer = pointer
   spec.built_in = true
   return spec
end

local counter = define {
   state = { { "n", "int" } },
   result_type = "int", infallible = true,
   add = function(s) s.n = s.n + 1 end,
   add_cell = function(s, cell)
      if cell.len >= 0 then
         s.n = s.n + 1
      end
   end,
   merge = function(s, o) s.n = s.n + o.n end,
   result = function(s, cell)
      cell.i = s.n
      cell.len = 0
   end,
}

local function checked(sum, value)
   local total = sum + value
   if (total < sum) ~= (value < 0) then
      error("a sum of an int column went beyond 64 bits; make the column a double", 0)
   end
   return total
end

local int_sum = define {
   state = { { "sum", "int" }, { "n", "int" } },
   result_type = "int", nullable = true,
   add_cell = function(s, cell)
      if cell.len >= 0 then
         s.sum = checked(s.sum, cell.i)
         s.n = s.n + 1
      end
   end,
   merge = function(s, o)
      s.sum = checked(s.sum, o.sum)
      s.n = s.n + o.n
   end,
   result = function(s, cell)
      cell.i = s.sum
      cell.len = s.n > 0 and 0 or -1
   end,
}

-- Neumaier: what rounding took from `hi` is collected in `lo`, so that the sum
-- does not depend on where an epoch was cut.
local function compensated(s, value)
   local hi = s.hi
   local total = hi + value
   if math.abs(hi) >= math.abs(value) then
      s.lo = s.lo + ((hi - total) + value)
   else
      s.lo = s.lo + ((value - total) + hi)
   end
   s.hi = total
end

local double_sum = define {
   infallible = true,
   state = { { "hi", "double" }, { "lo", "double" }, { "n", "int" } },
   result_type = "double", nullable = true,
   add_cell = function(s, cell)
      if cell.len >= 0 then
         compensated(s, cell.d)
         s.n = s.n + 1
      end
   end,
   merge = function(s, o)
      compensated(s, o.hi)
      s.lo = s.lo + o.lo
      s.n = s.n + o.n
   end,
   result = function(s, cell)
      local hi = s.hi
      -- Infinite sums have no rest worth adding: it is not a number.
      cell.d = hi - hi == 0 and hi + s.lo or hi
      cell.len = s.n > 0 and 0 or -1
   end,
}

--- Rows, or values that are not null.
function M.count(column)
   return make { name = "count", columns = { column } }
end

--- The sum of a column; nulls are skipped, the sum of nothing is null.
function M.sum(column)
   if type(column) ~= "string" then
      error('tide.sum wants a column: tide.sum "value"', 0)
   end
   return make { name = "sum", columns = { column } }
end

-- A job's own --------------------------------------------------------------

local known_fields = { "state", "add", "merge", "result", "returns", "name" }

local function check_definition(definition)
   if type(definition) ~= "table" then
      error("tide.aggregator wants { state = {…}, add = …, merge = …, result = … }", 0)
   end
   for _, key in ipairs(names.sorted(definition)) do
      local known = false
      for _, name in ipairs(known_fields) do
         known = known or name == key
      end
      if not known then
         error(('tide.aggregator: no field "%s"%s'):format(tostring(key),
            names.hint(key, known_fields, "fields are")), 0)
      end
   end
   for _, key in ipairs { "add", "merge", "result" } do
      if type(definition[key]) ~= "function" then
         error(("tide.aggregator: %s must be a function, got a %s"):format(key,
            type(definition[key])), 0)
      end
   end
end

--- A new aggregate; call it with its columns, as in mean "value" :as "avg".
function M.aggregator(definition)
   check_definition(definition)
   local returns = schema.column("result:" .. (definition.returns or "double?"))
   if returns.type == "string" or returns.type == "bytes" then
      error("tide.aggregator: returns must be int, double, bool or timestamp", 0)
   end
   local spec = state.define(definition)
   spec.result_type, spec.nullable = returns.type, returns.nullable
   return function(...)
      local columns = { ... }
      for _, column in ipairs(columns) do
         if type(column) ~= "string" then
            error('an aggregate wants names of columns, as in mean "value"', 0)
         end
      end
      return make { name = definition.name or "aggregate", spec = spec, columns = columns }
   end
end

-- What the grouped stream offers -------------------------------------------

stream.grouping {
   count = function(column)
      return { M.count(column):as "count" }
   end,
   sum = function(column, as)
      if type(column) ~= "string" then
         error(':sum wants a column: :sum("value")', 0)
      end
      return { as and M.sum(column):as(as) or M.sum(column) }
   end,
   aggregate = function(list)
      if type(list) ~= "table" or #list == 0 then
         error(':aggregate wants a list: :aggregate { tide.sum "v" :as "total", tide.count() }', 0)
      end
      for i, aggregate in ipairs(list) do
         if not facts[aggregate] then
            error((':aggregate: item %d is a %s, not an aggregate like tide.sum "v"')
               :format(i, type(aggregate)), 0)
         end
      end
      return list
   end,
}

-- Against the columns of the row that reaches it -----------------------------

local function spec_of(given, columns)
   if given.spec then
      return given.spec
   elseif given.name == "count" then
      return counter
   end
   local column = columns[1]
   if column.type == "int" then
      return int_sum
   elseif column.type == "double" then
      return double_sum
   end
   error(('tide.sum: column "%s" is a %s; sums are of int and double columns')
      :format(column.name, column.type), 0)
end

--- Settle an aggregate: { as, spec, columns = { number of column, … }, text }.
function M.settle(aggregate, row)
   local given = facts[aggregate]
   local columns, numbers = {}, {}
   for i, name in ipairs(given.columns) do
      columns[i], numbers[i] = schema.find(row, name, "tide." .. given.name)
   end
   local text = ("%s(%s)"):format(given.name, table.concat(given.columns, ", "))
   local as = given.as
   if not as then
      as = #given.columns > 0 and given.name .. "_" .. table.concat(given.columns, "_")
         or given.name
   end
   return { as = as, spec = spec_of(given, columns), columns = numbers, text = text,
            path = given.path, line = given.line }
end

return M
