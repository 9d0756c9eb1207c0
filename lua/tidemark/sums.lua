-- SPDX-License-Identifier: Apache-2.0
-- Aggregates that add up: counts, sums, means, variances.
--
-- Doubles are summed with what rounding took from them beside, so that a result
-- does not depend on where an epoch or a worker's share was cut.
local bit = require "bit"
local arguments = require "tidemark.arguments"
local state = require "tidemark.state"

local M = {}

-- Counts -------------------------------------------------------------------

local counter = state.built_in {
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

-- Sums ---------------------------------------------------------------------

local function checked(sum, value)
   local total = sum + value
   if (total < sum) ~= (value < 0) then
      error("a sum of an int column went beyond 64 bits; make the column a double", 0)
   end
   return total
end

local int_sum = state.built_in {
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

-- a + b and what rounding took from it. (Without a branch, unlike Neumaier's
-- way: one that goes either way by chance costs the compiled loop 15 ns.)
local function plus(a, b)
   local sum = a + b
   local t = sum - a
   return sum, (a - (sum - t)) + (b - t)
end

-- What rounding took from `hi` is collected in `lo`.
local function compensated(s, value)
   local total, lost = plus(s.hi, value)
   s.hi = total
   s.lo = s.lo + lost
end

local function add_double(s, cell)
   if cell.len >= 0 then
      compensated(s, cell.d)
      s.n = s.n + 1
   end
end

local function merge_double(s, o)
   compensated(s, o.hi)
   s.lo = s.lo + o.lo
   s.n = s.n + o.n
end

local function total_of(s)
   local hi = s.hi
   -- Infinite sums have no rest worth adding: it is not a number.
   return hi - hi == 0 and hi + s.lo or hi
end

local double_sum = state.built_in {
   infallible = true,
   state = { { "hi", "double" }, { "lo", "double" }, { "n", "int" } },
   result_type = "double", nullable = true,
   add_cell = add_double,
   merge = merge_double,
   result = function(s, cell)
      cell.d = total_of(s)
      cell.len = s.n > 0 and 0 or -1
   end,
}

-- Means --------------------------------------------------------------------

local LOW = 0xffffffffLL

-- The exact sum in two parts of 32 bits and more: 2^31 values of any size fit.
local int_mean = state.built_in {
   infallible = true,
   state = { { "high", "int" }, { "low", "int" }, { "n", "int" } },
   result_type = "double", nullable = true,
   add_cell = function(s, cell)
      if cell.len >= 0 then
         local value = cell.i
         s.high = s.high + bit.arshift(value, 32)
         s.low = s.low + bit.band(value, LOW)
         s.n = s.n + 1
      end
   end,
   merge = function(s, o)
      s.high = s.high + o.high
      s.low = s.low + o.low
      s.n = s.n + o.n
   end,
   result = function(s, cell)
      if s.n == 0 then
         cell.len = -1
         return
      end
      local high, low = s.high + bit.arshift(s.low, 32), bit.band(s.low, LOW)
      local total
      if high >= -2147483648LL and high <= 2147483647LL then
         total = tonumber(bit.lshift(high, 32) + low)
      else
         total = tonumber(high) * 4294967296 + tonumber(low)
      end
      cell.d = total / tonumber(s.n)
      cell.len = 0
   end,
}

local double_mean = state.built_in {
   infallible = true,
   state = { { "hi", "double" }, { "lo", "double" }, { "n", "int" } },
   result_type = "double", nullable = true,
   add_cell = add_double,
   merge = merge_double,
   result = function(s, cell)
      if s.n == 0 then
         cell.len = -1
         return
      end
      cell.d = total_of(s) / tonumber(s.n)
      cell.len = 0
   end,
}

-- Variances ----------------------------------------------------------------
--
-- Sums of the values and of their squares, each as a pair of doubles, which is
-- twice the digits: that leaves enough of them when the squares cancel. (A
-- running mean and spread, Welford's way, is as exact, but its last digits
-- change with every split of the rows.)

local SPLITTER = 134217729 -- 2^27 + 1: cuts a double into two halves

-- a * b and what rounding took from it.
local function product(a, b)
   local p = a * b
   local t = a * SPLITTER
   local a1 = t - (t - a)
   local a2 = a - a1
   t = b * SPLITTER
   local b1 = t - (t - b)
   local b2 = b - b1
   local rest = ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2
   return p, rest - rest == 0 and rest or 0
end

local function add_spread(s, value)
   local square, rest = product(value, value)
   local lost
   s.sum, lost = plus(s.sum, value)
   s.sum_rest = s.sum_rest + lost
   s.squares, lost = plus(s.squares, square)
   s.squares_rest = s.squares_rest + (lost + rest)
   s.n = s.n + 1
end

local function merge_spread(s, o)
   local lost
   s.sum, lost = plus(s.sum, o.sum)
   s.sum_rest = s.sum_rest + (lost + o.sum_rest)
   s.squares, lost = plus(s.squares, o.squares)
   s.squares_rest = s.squares_rest + (lost + o.squares_rest)
   s.n = s.n + o.n
end

-- The squares of the distances from the mean, added up: squares - sum^2 / n.
local function distances(s)
   local n = tonumber(s.n)
   local sum, sum_rest = plus(s.sum, s.sum_rest)
   local squares, squares_rest = plus(s.squares, s.squares_rest)
   local p, rest = product(sum, sum)
   rest = rest + 2 * sum * sum_rest
   local q = p / n
   local back, back_rest = product(q, n)
   local q_rest = ((p - back) - back_rest + rest) / n
   local distance, lost = plus(squares, -q)
   distance = distance + (lost + (squares_rest - q_rest))
   return distance < 0 and 0 or distance
end

local function variance(kind, less, root)
   return state.built_in {
      infallible = true,
      state = { { "sum", "double" }, { "sum_rest", "double" }, { "squares", "double" },
                { "squares_rest", "double" }, { "n", "int" } },
      result_type = "double", nullable = true,
      add_cell = kind == "int" and function(s, cell)
         if cell.len >= 0 then
            add_spread(s, tonumber(cell.i))
         end
      end or function(s, cell)
         if cell.len >= 0 then
            add_spread(s, cell.d)
         end
      end,
      merge = merge_spread,
      result = function(s, cell)
         if s.n <= less then
            cell.len = -1
            return
         end
         local value = distances(s) / (tonumber(s.n) - less)
         cell.d = root and math.sqrt(value) or value
         cell.len = 0
      end,
   }
end

-- What jobs write ----------------------------------------------------------

-- One of two for int and double columns.
local function by_type(name, int, double)
   return function(columns)
      arguments.numeric(name, columns[1])
      return columns[1].type == "int" and int or double
   end
end

-- A condition at the end of a list of arguments: a function of the columns
-- before it, or one bool column.
local function condition_of(name, given, default)
   local last = given[#given]
   local columns = {}
   for i = 1, #given - (type(last) == "function" and 1 or 0) do
      arguments.column(name, given[i])
      columns[i] = given[i]
   end
   if type(last) ~= "function" and #columns ~= 1 or type(last) == "function" and #columns == 0 and
      not default then
      error(('tide.%s wants a condition: a bool column, or columns and a function of them, as ' ..
             'in tide.%s(%s"v", function(v) return v > 2 end)'):format(name, name,
             default and '"total", ' or ""), 0)
   end
   if type(last) == "function" and #columns == 0 then
      columns[1] = default
   end
   return { columns = columns, fn = type(last) == "function" and last or nil }
end

--- Rows, or values that are not null.
function M.count(column)
   if column ~= nil then
      arguments.column("count", column)
   end
   return { name = "count", columns = { column }, spec_of = function() return counter end }
end

--- Rows for which a condition holds.
function M.count_if(...)
   return { name = "count_if", columns = {}, spec_of = function() return counter end,
            condition = condition_of("count_if", { ... }) }
end

--- The sum of a column; nulls are skipped, the sum of nothing is null.
function M.sum(column)
   arguments.column("sum", column)
   return { name = "sum", columns = { column }, spec_of = by_type("sum", int_sum, double_sum) }
end

--- The sum over the rows for which a condition holds.
function M.sum_if(column, ...)
   arguments.column("sum_if", column)
   return { name = "sum_if", columns = { column }, condition =
      condition_of("sum_if", { ... }, column), spec_of = by_type("sum_if", int_sum, double_sum) }
end

--- The mean of a column, as a double.
function M.avg(column)
   arguments.column("avg", column)
   return { name = "avg", columns = { column }, spec_of = by_type("avg", int_mean, double_mean) }
end

for _, given in ipairs { { "var_pop", 0, false }, { "var_samp", 1, false },
                         { "stddev_pop", 0, true }, { "stddev_samp", 1, true } } do
   local name, less, root = unpack(given)
   local spec_of = by_type(name, variance("int", less, root), variance("double", less, root))
   M[name] = function(column)
      arguments.column(name, column)
      return { name = name, columns = { column }, spec_of = spec_of }
   end
end

return M
