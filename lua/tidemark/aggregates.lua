-- SPDX-License-Identifier: Apache-2.0
-- Aggregates: columns of state, and functions that add to it, merge two of
-- them, and make the result.
--
-- Built-ins (sums, extremes, places, sketches) work on the stored values; a
-- job's own ones see Lua values through the getters that state.lua makes.
local errors = require "tidemark.errors"
local extremes = require "tidemark.extremes"
local names = require "tidemark.names"
local places = require "tidemark.places"
local schema = require "tidemark.schema"
local sketches = require "tidemark.sketches"
local state = require "tidemark.state"
local stream = require "tidemark.stream"
local sums = require "tidemark.sums"

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
   local named = { as = name }
   for key, value in pairs(given) do
      named[key] = named[key] or value
   end
   return make(named)
end

meta.__index = function(_, key)
   return methods[key] or error(('an aggregate has no "%s"; it has :as "name"')
      :format(tostring(key)), 0)
end
meta.__newindex = function() error("an aggregate cannot be changed", 0) end

-- Built-ins: what each module says of them becomes a function of tide. --------

M.built_in = {}
for _, module in ipairs { sums, extremes, places, sketches } do
   for name, given_of in pairs(module) do
      M.built_in[name] = function(...)
         return (make(given_of(...)))
      end
   end
end
local count, sum = M.built_in.count, M.built_in.sum
-- As in SQL, the plain names are those of samples.
M.built_in.variance, M.built_in.stddev = M.built_in.var_samp, M.built_in.stddev_samp

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
   local spec = state.define(definition)
   spec.result_type, spec.nullable = returns.type, returns.nullable
   return function(...)
      local columns = { ... }
      for _, column in ipairs(columns) do
         if type(column) ~= "string" then
            error('an aggregate wants names of columns, as in mean "value"', 0)
         end
      end
      return make { name = definition.name or "aggregate", columns = columns,
                    spec_of = function() return spec end }
   end
end

-- What the grouped stream offers -------------------------------------------

stream.grouping {
   count = function(column)
      return { count(column):as "count" }
   end,
   sum = function(column, as)
      if type(column) ~= "string" then
         error(':sum wants a column: :sum("value")', 0)
      end
      return { as and sum(column):as(as) or sum(column) }
   end,
   aggregate = function(list, options)
      if type(list) ~= "table" or #list == 0 then
         error(':aggregate wants a list: :aggregate { tide.sum "v" :as "total", tide.count() }', 0)
      end
      for i, aggregate in ipairs(list) do
         if not facts[aggregate] then
            error((':aggregate: item %d is a %s, not an aggregate like tide.sum "v"')
               :format(i, type(aggregate)), 0)
         end
      end
      return list, options
   end,
}

-- Against the columns of the row that reaches it -----------------------------

-- Names become columns, and their numbers are added to `numbers`.
local function find_all(row, list, what, numbers)
   local columns = {}
   for i, name in ipairs(list) do
      columns[i], numbers[#numbers + 1] = schema.find(row, name, what)
   end
   return columns
end

-- What of a condition the loop needs: where its columns begin among the
-- aggregate's, and their types.
local function settle_condition(given, row, numbers)
   local condition, first = given.condition, #numbers
   local columns = find_all(row, condition.columns, "tide." .. given.name, numbers)
   if not condition.fn and columns[1].type ~= "bool" then
      error(('tide.%s: column "%s" is a %s; a condition is a bool column or a function')
         :format(given.name, columns[1].name, columns[1].type), 0)
   end
   return { first = first, columns = columns, fn = condition.fn }
end

--- Settle an aggregate: { as, spec, columns = { number of column, … }, text }.
--- The first `values` columns are added, the others are of its condition. Where
--- the rows have an event time, `event_time` is the name of its column.
function M.settle(aggregate, row, event_time)
   local given = facts[aggregate]
   local numbers, values = {}, { unpack(given.columns) }
   if given.in_order and #values == 1 then
      values[2] = event_time
   end
   local columns = find_all(row, values, "tide." .. given.name, numbers)
   local condition = given.condition and settle_condition(given, row, numbers)
   local list, names_of = values, { given.name, unpack(given.columns) }
   for _, name in ipairs(given.condition and given.condition.columns or {}) do
      list[#list + 1] = name
      names_of[#names_of + 1] = name
   end
   return { as = given.as or given.label or table.concat(names_of, "_"),
            text = ("%s(%s)"):format(given.name, table.concat(list, ", ")),
            spec = given.spec_of(columns), columns = numbers, values = #columns,
            condition = condition, share = given.share, path = given.path, line = given.line }
end

return M
