-- SPDX-License-Identifier: Apache-2.0
-- A topic of many partitions: all are read, and few lines say where they begin.
local h = require "harness"

describe("many partitions", function()
   local topic

   before_each(function()
      h.begin()
      topic = h.topic_name "many"
      local broker = h.start { "broker", topic, "--partitions", 50 }
      h.brokers = h.eventually("the broker's address", function()
         return (broker:out() .. broker:err()):match("127%.0%.0%.1:%d+")
      end, broker)
   end)

   local function produce()
      h.run({ "produce", topic, "-b", h.brokers }, { stdin = ('{"value":"a line"}\n'):rep(200) })
   end

   local function count()
      local run = h.run { "wordcount", "-b", h.brokers, "--topic", topic, "--from", "earliest",
                          "--until-end", "--no-ui", "--checkpoint-dir", h.path "cp",
                          "--progress", h.path "progress" }
      local rows = 0
      for _, epoch in ipairs(h.progress()) do
         rows = rows + epoch.numInputRows
      end
      return run:err(), rows
   end

   it("say where the first of them begin, and where all the others do", function()
      produce()
      local said, rows = count()
      assert.equal(200, rows)
      local _, lines = said:gsub("many[^ ]*%-%d+ starts at offset 0 %(earliest%)\n", "")
      assert.equal(8, lines)
      assert.truthy(said:find("and 42 more partitions, at offset 0 (earliest)", 1, true))

      produce()
      said, rows = count()
      assert.equal(400, rows)
      _, lines = said:gsub("many[^ ]*%-%d+ goes on at offset %d+ %(checkpoint%)\n", "")
      assert.equal(32, lines)
      assert.truthy(said:find "and 18 more partitions, at offsets? %d+[%d to]* %(checkpoint%)")
   end)
end)
