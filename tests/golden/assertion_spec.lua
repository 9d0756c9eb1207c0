-- SPDX-License-Identifier: Apache-2.0
-- An assertion, ours or a library's, ends the process: what to do next is said.
local h = require "harness"

describe("an assertion", function()
   before_each(h.begin)

   it("ends the process as the system does, and says what is kept and how to look", function()
      local broker = h.start { "broker", "--partitions", 1 }
      h.eventually("the broker's address", function()
         return (broker:out() .. broker:err()):match("127%.0%.0%.1:%d+")
      end, broker)
      broker:kill "ABRT"
      local _, signal = broker:wait(60)
      assert.are.equal(h.process.signals.ABRT, signal)
      assert.truthy(broker:err():find "What is decided is kept")
      assert.truthy(broker:err():find("tidemark checkpoint verify", 1, true))
   end)
end)
