-- SPDX-License-Identifier: Apache-2.0
-- Simulations: they find what is wrong on purpose in the jobs of tests/spec/simulate,
-- on an input of few records, again by its seed, and find nothing in bundled jobs.
local h = require "harness"

local folder = h.root .. "/tests/spec/simulate/"

local function simulate(job, code, ...)
   return h.run({ "test", job, "--simulate", ... }, nil, code):out()
end

describe("a simulation", function()
   before_each(h.begin)

   local wrong = {
      { "subtracts", "a merge that is not commutative", "P1" },
      { "forgets", "a merge that forgets a field", "P1" },
      { "arrival", "reliance on the order of arrival", "P2" },
      { "upvalue", "state in an upvalue", "P1" },
      { "outside", "state in a module", "P1" },
      { "plain_sum", "a plain sum of doubles", "P%d" },
   }
   for _, one in ipairs(wrong) do
      it("finds " .. one[2], function()
         local job = folder .. one[1] .. ".lua"
         local found = simulate(job, 4, 40, "--seed", 1)
         assert.truthy(found:find(one[1] .. "%.lua breaks " .. one[3] .. ": "), found)
         local records = tonumber(found:match "first life : (%d+) record")
         assert.is_true(records <= 6, found)
         local seed = found:match "again: tidemark test %S+ %-%-simulate 1 %-%-seed (%d+)\n"
         if one[1] == "arrival" then
            assert.are.equal(found, simulate(job, 4, 1, "--seed", seed))
         end
      end)
   end

   for file in require("lfs").dir(h.root .. "/jobs") do
      local job = file:match "^(.*)%.lua$"
      if job then
         it("finds nothing in " .. job, function()
            local said = simulate(job, 0, 4, "--seed", 1)
            local holds = "holds in 4 simulations from seed 1 on: 4 times"
            assert.truthy(said:find(holds, 1, true), said)
         end)
      end
   end

   it("takes lines or a recording for its input", function()
      local lines = {}
      for n = 1, 40 do
         lines[n] = ('{"partition":%d,"value":"{\\"id\\":%d,' ..
            '\\"ts\\":\\"2024-01-01T00:00:%02dZ\\",\\"value\\":%d.25}"}'):format(n % 2, n % 3, n, n)
      end
      local text = table.concat(lines, "\n") .. "\n"
      h.write_file(h.path "lines.json", text)
      local said = simulate("window_avg", 0, 2, "--seed", 5, "--input", h.path "lines.json")
      assert.truthy(said:find "holds in 2 simulations", said)
      local broker = h.start { "broker", "--partitions", 2 }
      local address = h.eventually("the broker's address", function()
         return (broker:out() .. broker:err()):match "127%.0%.0%.1:%d+"
      end, broker)
      h.run({ "produce", "events", "-b", address }, { stdin = text })
      h.run { "record", "window_avg", "-b", address, "-n", 40, "-o", h.path "case.tide" }
      said = simulate("window_avg", 0, 2, "--seed", 5, "--input", h.path "case.tide")
      assert.truthy(said:find "holds in 2 simulations", said)
   end)

   it("ends a job that never returns", function()
      local job = h.job [[
return tide.from(tide.kafka { topic = "t" })
   :filter(function() while true do end end)
   :map(function(rec) return rec.offset end, { "offset:int" })
   :to(tide.console { mode = "append" })
]]
      -- Less than a record may take of processor time, on however few threads.
      local args = { "test", job, "--simulate", 2, "--seed", 7, "--limit", "1s" }
      local err = h.run(args, nil, 3):err()
      assert.truthy(err:find("takes longer than 1 s (seed 7): does a function", 1, true), err)
   end)

   it("says what it wants", function()
      local function refused(why, ...)
         local err = h.run({ "test", ... }, nil, 2):err()
         assert.truthy(err:find(why, 1, true), err)
      end
      refused("--simulate wants a number from 1 on", "wordcount", "--simulate", 0)
      refused("say which job is to be simulated", "--simulate", 3)
      refused("--seed, --input and --limit go with --simulate", "--seed", 3)
      h.write_file(h.path "empty", "")
      refused("holds no records", "wordcount", "--simulate", 1, "--input", h.path "empty")
   end)
end)
