-- SPDX-License-Identifier: Apache-2.0
-- Progress of epochs: what --progress writes is kept in the checkpoint.
local h = require "harness"

describe("progress", function()
   local broker, topic

   before_each(function()
      h.begin()
      broker = h.start { "broker", "--partitions", 1 }
      h.brokers = h.eventually("the broker's address", function()
         return (broker:out() .. broker:err()):match("127%.0%.0%.1:%d+")
      end, broker)
      topic = h.topic_name "progress"
      h.run({ "produce", topic, "-b", h.brokers }, { stdin = ('{"value":"a line"}\n'):rep(30) })
   end)

   local function count(...)
      h.run { "wordcount", "-b", h.brokers, "--topic", topic, "--from", "earliest", "--until-end",
              "--no-ui", "--checkpoint-dir", h.path "cp", "--progress", h.path "progress", ... }
   end

   local function kept(...)
      return h.run({ "checkpoint", "progress", "wordcount", "--checkpoint-dir", h.path "cp",
                     ... }):out()
   end

   it("is kept in the checkpoint, to the letter", function()
      count("--max-records-per-batch", "10")
      local written = h.process.file_text(h.path "progress")
      assert.equal(written, kept())
      assert.equal(3, #h.progress())
      assert.equal(written:match "([^\n]*\n)$", kept("--last", "1"))
      local verify = h.run { "checkpoint", "verify", "wordcount", "--checkpoint-dir", h.path "cp" }
      assert.truthy(verify:out():find "^sound")
   end)

   it("says how long each phase took", function()
      count()
      local durations, sum = h.progress()[1].durationMs, 0
      for _, phase in ipairs { "run", "wait", "fold", "decide", "publish" } do
         assert.is_true(durations[phase] >= 0, phase)
         sum = sum + durations[phase]
      end
      assert.is_true(durations.decide > 0)
      assert.is_true(math.abs(durations.triggerExecution - sum) < 0.01)
   end)

   it("is summed up by phase at the end with --timings", function()
      local run = h.run { "wordcount", "-b", h.brokers, "--topic", topic, "--from", "earliest",
                          "--until-end", "--no-ui", "--checkpoint-dir", h.path "cp", "--timings" }
      local said, shares = run:err(), 0
      for _, phase in ipairs { "run", "wait", "fold", "decide", "publish" } do
         local share = said:match("\n  " .. phase ..
                               " +[%d.]+ ms +[%d.]+ ms +[%d.]+ ms +(%d+) %%\n")
         shares = shares + assert(tonumber(share), phase .. " is not in " .. said)
      end
      assert.is_true(shares >= 97 and shares <= 103)
   end)

   it("is kept for a hundred epochs", function()
      h.run({ "produce", topic, "-b", h.brokers }, { stdin = ('{"value":"x"}\n'):rep(90) })
      count("--max-records-per-batch", "1")
      local lines, first = 0, nil
      for line in kept():gmatch "[^\n]+" do
         lines, first = lines + 1, first or line
      end
      assert.equal(100, lines)
      assert.truthy(first:find('"batchId":20,', 1, true))
   end)

   it("refuses a number of epochs that is none", function()
      count()
      local bad = h.start { "checkpoint", "progress", "wordcount", "--checkpoint-dir", h.path "cp",
                            "--last", "few" }
      h.expect_exit(bad, 2)
      assert.truthy(bad:err():find('--last wants a number from 1 on, not "few"', 1, true))
   end)
end)
