-- SPDX-License-Identifier: Apache-2.0
-- Aggregates: the built-in ones, a job's own, and merging.
local helper = require "tests.spec.helper"

local function run(steps, documents, before)
   local job = helper.run(helper.steps(steps, before))
   local records = {}
   for i, document in ipairs(documents) do
      records[i] = { value = document }
   end
   assert.is_nil(job:batch(records))
   return job
end

local function finish(job)
   local message = job:finish()
   local rows, bad = job:output(), job.bad
   job:close()
   assert.is_nil(message)
   return rows, bad
end

local function values(...)
   local list = {}
   for i, value in ipairs { ... } do
      list[i] = ('{"k":"a","v":%s}'):format(value)
   end
   return list
end

local INT = ':json { "k:string?", "v:int?" }:group_by("k")'
local DOUBLE = ':json { "k:string?", "v:double?" }:group_by("k")'
local MEAN = [[
local mean = tide.aggregator {
   state = { sum = "double", n = "int" },
   add = function(s, value) if value then s.sum = s.sum + value; s.n = s.n + 1 end end,
   merge = function(s, o) s.sum = s.sum + o.sum; s.n = s.n + o.n end,
   result = function(s) return s.n > 0 and s.sum / s.n or nil end,
}]]

describe("count and sum", function()
   it("skip nulls, and the sum of nothing is null", function()
      local list = ':aggregate { tide.count(), tide.count "v", tide.sum "v" :as "total" }'
      for _, group in ipairs { INT, DOUBLE } do
         assert.are.same({ { "a", 5, 4, 12 } },
                         (finish(run(group .. list, values(1, 2, 3, "null", 6)))))
         assert.are.same({ { "a", 2, 0, "null" } },
                         (finish(run(group .. list, values("null", '"x"')))))
      end
   end)

   it("have short forms", function()
      assert.are.same({ { "a", 2 } }, (finish(run(INT .. ":count()", values(1, 2)))))
      assert.are.same({ { "a", 3 } }, (finish(run(INT .. ':sum("v")', values(1, 2)))))
   end)

   it("group nulls together", function()
      assert.are.same({ { "null", 2 } }, (finish(run(INT .. ":count()", { "{}", '{"k":null}' }))))
   end)

   it("are exact beyond 2^53, and refuse to overflow", function()
      local rows, bad = finish(run(INT .. ':sum("v"):with("s:string", function(row) ' ..
         'return tostring(row.k) end):select("s")', values("9223372036854775806", 1, 1, -5)))
      assert.are.equal(1, #rows)
      assert.are.equal(1, #bad)
      assert.truthy(bad[1].message:find("a sum of an int column went beyond 64 bits", 1, true))
      assert.truthy(bad[1].message:find("topic[3]@2: ", 1, true))
   end)

   it("do not lose small doubles beside large ones", function()
      assert.are.same({ { "a", 2 } },
                      (finish(run(DOUBLE .. ':sum("v")', values(1, 1e100, 1, -1e100)))))
      assert.are.same({ { "a", math.huge } },
                      (finish(run(DOUBLE .. ':sum("v")', values(1e308, 1e308, 1)))))
   end)

   it("do not depend on where doubles were merged", function()
      local seed = tonumber(os.getenv "SEED") or 7
      math.randomseed(seed)
      local documents, expected = {}, nil
      for i = 1, 60 do
         documents[i] = ('{"k":"%d","v":%.17g}')
            :format(i, (math.random() - 0.5) * 10 ^ math.random(0, 15))
      end
      for _ = 1, 5 do
         local job = run(DOUBLE .. ':sum("v")', documents)
         assert.is_nil(job:fold())
         local rows = finish(job)
         expected = expected or rows[1][2]
         assert.are.equal(expected, rows[1][2], "SEED=" .. seed)
         -- The same key first, the others in another order.
         for i = #documents, 3, -1 do
            local j = math.random(2, i)
            documents[i], documents[j] = documents[j], documents[i]
         end
      end
   end)

   it("merge", function()
      local list = ':aggregate { tide.count(), tide.sum "v" }'
      local documents = { '{"k":"a","v":1}', '{"k":"b","v":2}', '{"k":"c"}', '{"k":"d","v":4}' }
      for _, group in ipairs { INT, DOUBLE } do
         local job = run(group .. list, documents)
         assert.is_nil(job:fold())
         assert.are.same({ "a", 4, 7 }, finish(job)[1])
      end
   end)

   it("fail the job when a merge overflows", function()
      local job = run(INT .. ':sum("v")',
                      { '{"k":"a","v":9223372036854775807}', '{"k":"b","v":1}' })
      local message = job:fold()
      job:close()
      assert.truthy(message:find("merging states of sum_v(k): ", 1, true), message)
      assert.truthy(message:find("beyond 64 bits", 1, true), message)
   end)
end)

describe("a job's own aggregate", function()
   it("adds, merges and has a result", function()
      local steps = INT .. ':aggregate { mean "v" :as "avg", tide.count() }'
      assert.are.same({ { "a", 3, 4 } }, (finish(run(steps, values(1, 2, "null", 6), MEAN))))
      assert.are.same({ { "a", "null", 1 } }, (finish(run(steps, values("null"), MEAN))))
      local job = run(steps, { '{"k":"a","v":1}', '{"k":"b","v":2}', '{"k":"c"}' }, MEAN)
      assert.is_nil(job:fold())
      assert.are.same({ "a", 1.5, 3 }, finish(job)[1])
   end)

   it("has state of every type and text arguments", function()
      local before = [[
local all = tide.aggregator {
   name = "all", returns = "int",
   state = { i = "int", d = "double", b = "bool", t = "timestamp" },
   add = function(s, k, v)
      assert(s.b == (s.i > 0)) assert(type(k) == "string") assert(s.t == s.d)
      s.i = s.i + #k; s.d = s.d + v + 0.5; s.b = true; s.t = s.d
   end,
   merge = function(s, o) s.i = s.i + o.i end,
   result = function(s) return s.i end,
}]]
      local steps = INT .. ':aggregate { all("k", "v") :as "n" }'
      assert.are.same({ { "a", 3 } }, (finish(run(steps, values(1, 2, 3), before))))
   end)

   it("takes back a row that fails between two writes to its state", function()
      local before = [[
local odd = tide.aggregator {
   state = { a = "int", b = "int" }, returns = "int",
   add = function(s, v) s.a = s.a + v; if v == 13 then error("unlucky") end s.b = s.b + v end,
   merge = function() end,
   result = function(s) return s.a * 1000 + s.b end,
}]]
      local steps = INT .. ':aggregate { tide.count(), odd "v" :as "o" }'
      local rows, bad = finish(run(steps, values(1, 13, 2), before))
      assert.are.same({ { "a", 2, 3003 } }, rows)
      assert.are.equal(1, #bad)
      assert.truthy(bad[1].message:find("job.lua:4: unlucky", 1, true), bad[1].message)
   end)

   it("takes back all that a row had added before it failed", function()
      local before = [[
local odd = tide.aggregator {
   state = { a = "int" }, returns = "int",
   add = function(s, v) s.a = s.a + v; if v == 3 then error("unlucky") end end,
   merge = function() end, result = function(s) return s.a end,
}]]
      local steps = [[:flat_map(function(rec, emit)
         for n = rec.offset, rec.offset + 2 do emit("a", n) emit("b" .. n, n) end
      end, { "k", "v:int" }):group_by("k"):aggregate { odd "v" :as "o" }]]
      local rows, bad = finish(run(steps, { "", "", "", "", "" }, before))
      local sums = {}
      for _, row in ipairs(rows) do
         sums[row[1]] = row[2]
      end
      -- Rows 1, 2 and 3 meet the 3; only 0 (0, 1, 2) and 4 (4, 5, 6) count.
      assert.are.equal(3, #bad)
      assert.are.equal(0 + 1 + 2 + 4 + 5 + 6, sums.a)
      assert.are.equal(1, sums.b1)
      assert.are.equal(2, sums.b2)
      assert.are.equal(4, sums.b4)
   end)

   it("is told what its state cannot hold", function()
      for body, message in pairs {
         ["s.i = 1.5"] = 'state "i" is an int: it cannot hold 1.5',
         ["s.i = nil"] = 'state "i" is an int: it cannot hold nil',
         ["s.d = 'x'"] = 'state "d" is a double: it cannot hold x',
         ["s.b = 1"] = 'state "b" is a bool: it cannot hold 1',
         ["s.x = 1"] = 'no state "x"', ["local _ = s.dd"] = 'no state "dd"; did you mean "d"?',
         ["kept = kept or s kept.i = 1"] = "a state is only good inside add, merge or result",
      } do
         local _, bad = finish(run(INT .. ':aggregate { own "v" }', values(1, 2), ([[
local kept
local own = tide.aggregator {
   state = { i = "int", d = "double", b = "bool" },
   add = function(s) local _ = kept %s end, merge = function() end, result = function() end }]])
            :format(body)))
         assert.truthy(bad[1] and bad[1].message:find(message, 1, true),
                       body .. ": " .. tostring(bad[1] and bad[1].message))
      end
   end)

   it("is refused when it is not defined well", function()
      local function refuses(definition, message)
         local text = helper.load('local tide = require "tidemark"\nlocal a = tide.aggregator ' ..
                                  definition)
         assert.truthy(text:find(message, 1, true), text)
         assert.truthy(text:find("job.lua:2", 1, true), text)
      end
      local rest = "add = print, merge = print, result = print }"
      refuses("{ state = { s = 'double' } }", "add must be a function, got a nil")
      refuses("{ " .. rest, "state names its columns")
      refuses("{ state = { s = 'text' }, " .. rest, 'state "s" has no type "text"')
      refuses("{ state = { ['a b'] = 'int' }, " .. rest, '"a b" is no name for state')
      refuses("{ stat = {}, " .. rest, 'no field "stat"; did you mean "state"?')
      refuses("{ state = { s = 'int[0]' }, " .. rest, 'state "s" has no type "int[0]"')
      refuses("{ state = { s = 'text(70000)' }, " .. rest, "and 65536 is the most")
   end)

   it("has lists and text in its state", function()
      local before = [[
local seen = tide.aggregator {
   name = "seen", returns = "string?",
   state = { last = "bytes(8)", counts = "int[3]", sums = "double[2]", marks = "bool[2]",
             times = "timestamp[1]" },
   add = function(s, k, v)
      assert(#s.counts == 3 and #s.last <= 8)
      s.counts[v % 3 + 1] = s.counts[v % 3 + 1] + 1
      s.sums[2] = s.sums[2] + v / 2
      s.marks[2] = s.marks[1] == false
      s.times[1] = v + 0.5
      s.last = k .. v
   end,
   merge = function(s, o)
      for i = 1, #s.counts do s.counts[i] = s.counts[i] + o.counts[i] end
      s.sums[2] = s.sums[2] + o.sums[2]
      s.last = o.last
   end,
   result = function(s)
      return ("%s %d %d %d %g %g %s %g"):format(s.last, s.counts[1], s.counts[2], s.counts[3],
         s.sums[1], s.sums[2], tostring(s.marks[2]), s.times[1])
   end,
}]]
      local steps = INT .. ':aggregate { seen("k", "v") :as "seen" }'
      assert.are.same({ { "a", "a5 1 2 2 0 7.5 true 5.5" } },
                      (finish(run(steps, values(1, 2, 3, 4, 5), before))))
   end)

   it("must give its declared result", function()
      local job = run(INT .. ':aggregate { own "v" }', values(1), [[
local own = tide.aggregator { state = { i = "int" }, returns = "int",
   add = function() end, merge = function() end, result = function() return 1.5 end }]])
      local message = job:finish()
      job:close()
      assert.truthy(message:find('finishing states of aggregate_v(k): ', 1, true), message)
      assert.truthy(message:find('column "aggregate_v" is declared int', 1, true), message)
   end)
end)
