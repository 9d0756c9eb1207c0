-- SPDX-License-Identifier: Apache-2.0
-- The example of sessions, as its README tells to run it.
local h = require "harness"

local folder = h.root .. "/examples/sessions/"

describe("the example of sessions", function()
   it("prints what it promises", function()
      h.begin()
      local broker = h.start { "broker", "pages", "--partitions", 1 }
      h.brokers = h.eventually("the broker's address", function()
         return (broker:out() .. broker:err()):match("127%.0%.0%.1:%d+")
      end, broker)
      local said = {}
      for _, part in ipairs { "first", "second", "third" } do
         h.run({ "produce", "pages", "-b", h.brokers },
               { stdin = h.read_file(folder .. part .. ".jsonl") })
         local job = h.run { "run", folder .. "job.lua", "-b", h.brokers, "--checkpoint-dir",
                             h.path "cp", "--output", "json", "--until-end", "--no-ui" }
         said[#said + 1] = part .. ".jsonl\n" .. job:out()
      end
      assert.equal(h.read_file(folder .. "expected.txt"), table.concat(said))
   end)
end)
