-- SPDX-License-Identifier: Apache-2.0
-- Nanoseconds per add of the built-in aggregates: the generated loop alone, over
-- rows whose states have been found.
--
--   make build/libtidemark.so
--   TIDEMARK_LIB=build/libtidemark.so luajit tests/bench/aggregates.lua [ROWS [KEYS]]
package.path = "./?.lua;" .. package.path
local ffi = require "ffi"
local helper = require "tests.spec.helper"

local ROWS, KEYS = tonumber(arg[1]) or 500, tonumber(arg[2]) or 50
local ROUNDS = math.ceil(4e6 / ROWS)

local LIST = {
   'tide.count()', 'tide.count "i"', 'tide.sum "i"', 'tide.sum "d"', 'tide.avg "i"',
   'tide.avg "d"', 'tide.min "i"', 'tide.max "d"', 'tide.min "s"',
   'tide.count_if "b"', 'tide.sum_if("d", function(d) return d > 0.5 end)',
   'tide.var_samp "d"', 'tide.first "i"', 'tide.last "i"', 'tide.last("s", { by = "i" })',
   'tide.moving_avg("d", 3)', 'tide.moving_avg("d", 20)',
   'tide.approx_count_distinct "i"', 'tide.approx_count_distinct "s"',
   'tide.approx_percentile("i", 0.5)', 'tide.approx_percentile("d", 0.5)',
   'tide.top_k("s", 5)', 'tide.top_k("i", 5)', 'own "d"',
}

local BEFORE = [[
local own = tide.aggregator {
   state = { sum = "double", n = "int" },
   add = function(s, v) if v then s.sum = s.sum + v; s.n = s.n + 1 end end,
   merge = function(s, o) s.sum = s.sum + o.sum; s.n = s.n + o.n end,
   result = function(s) return s.n > 0 and s.sum / s.n or nil end,
}]]

local STEPS = ([[:map(function(rec)
   local i = rec.offset * 7919 %%%% 100003
   return "key" .. i %%%% %d, i, (i * 0.61803398875) %%%% 1, "value-" .. i %%%% 200, i %%%% 3 == 0
end, { "k", "i:int", "d:double", "s", "b:bool" }):group_by("k"):aggregate { %%s }]]):format(KEYS)

-- The rows of one batch with their states, as the loop finds them.
local function waiting(job)
   local driver = require "tidemark.driver"
   local runner = helper.boot.runner()
   local adder, queue, count = runner.adds[1], nil, 0
   local loop = adder.loop
   adder.loop = function(given, _, n) queue, count = given, n end
   local records = {}
   for i = 1, ROWS do
      records[i] = { value = "" }
   end
   assert(not job:batch(records), driver)
   return loop, queue, count, adder
end

for _, aggregate in ipairs(LIST) do
   local job = helper.run(helper.steps(STEPS:format(aggregate), BEFORE))
   local loop, queue, count, adder = waiting(job)
   local room = ffi.new("char[?]", count * adder.size + 8)
   local before = ffi.cast("char *", room)
   local best = math.huge
   for _ = 1, 5 do
      local begun = os.clock()
      for _ = 1, ROUNDS / 5 do
         loop(queue, 0, count, before)
      end
      best = math.min(best, (os.clock() - begun) / (ROUNDS / 5) / count)
   end
   print(("%7.1f ns  %6d bytes  %s%s"):format(best * 1e9, adder.size, aggregate,
      adder.careful and "  (kept before each add)" or ""))
   job:close()
   assert(room)
end
