-- SPDX-License-Identifier: Apache-2.0
-- The example of late rows, as its README tells to run it.
local h = require "harness"

local folder = h.root .. "/examples/late-rows/"

describe("the example of late rows", function()
   it("prints what it promises, and counts what was late (V19)", function()
      h.begin()
      local broker = h.start { "broker", "visits", "--partitions", 1 }
      h.brokers = h.eventually("the broker's address", function()
         return (broker:out() .. broker:err()):match("127%.0%.0%.1:%d+")
      end, broker)
      local said = {}
      for _, part in ipairs { "first", "second", "third" } do
         h.run({ "produce", "visits", "-b", h.brokers },
               { stdin = h.read_file(folder .. part .. ".jsonl") })
         local job = h.run { "run", folder .. "job.lua", "-b", h.brokers, "--checkpoint-dir",
                             h.path "cp", "--output", "json", "--until-end", "--no-ui" }
         said[#said + 1] = part .. ".jsonl\n" .. job:out()
      end
      assert.equal(h.read_file(folder .. "expected.txt"), table.concat(said))
      local kept = h.run { "checkpoint", "progress", folder .. "job.lua", "--checkpoint-dir",
                           h.path "cp", "--last", "1" }
      local late = h.json_lines(kept:out())[1].late
      assert.same({ "fast", "accurate", "audit" }, { late[1].name, late[2].name, late[3].name })
      assert.same({ name = "audit", numRows = 7, numRowsLate = 2, lateRatio = 0.285714,
                    maxLatenessMs = 25 * 60000, maxBehindNewestMs = 30 * 60000,
                    affectedKeys = 2, numRowsBeyond = 1, numRowsWithoutEventTime = 0 }, late[3])
   end)
end)
