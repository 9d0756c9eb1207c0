-- SPDX-License-Identifier: Apache-2.0
-- Conformance vectors V6 and V7: records that are gone are never gone silently.
local h = require "harness"

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition end, { "part:int" })
   :group_by("part"):count()
   :to(tide.console { mode = "update" })
]]

local function start(topic, fail)
   return h.start { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end",
                    "--no-ui", "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
                    "--output", "json", "--fail-on-data-loss=" .. tostring(fail) }
end

local function rows_read()
   local sum = 0
   for _, epoch in ipairs(h.progress()) do
      sum = sum + epoch.numInputRows
   end
   return sum
end

local function contains(text, part)
   assert.is_truthy(text:find(part, 1, true), ("no %q in:\n%s"):format(part, text))
end

describe("data loss", function()
   before_each(function()
      h.begin()
      h.job(job_text)
   end)

   -- 1000 read, then everything before 5000 of 6000 is deleted.
   local function trimmed_topic()
      local topic = h.topic(1)
      h.produce_counts(topic, { 1000 }, "x")
      h.expect_exit(start(topic, true), 0)
      h.produce_counts(topic, { 5000 }, "x")
      h.kadmin("trim", topic, 0, 5000)
      return topic
   end

   it("fails when the log was trimmed past the checkpoint (V6, true)", function()
      local topic = trimmed_topic()
      local job = h.expect_exit(start(topic, true), 6)
      contains(job:err(), "Offset 1000 out of range")
      contains(job:err(), topic)
      assert.are.same({ [0] = 1000 }, h.next_offsets(h.path "cp", topic))
   end)

   it("goes on at the earliest and says what is gone (V6, false)", function()
      local topic = trimmed_topic()
      local before = rows_read()
      local job = h.expect_exit(start(topic, false), 0)
      assert.are.equal(1000, rows_read() - before)
      contains(job:err(), "4000")
      contains(job:err(), "1000")
      contains(job:err(), "5000")
      assert.are.same({ [0] = 6000 }, h.next_offsets(h.path "cp", topic))
   end)

   it("can be skipped by an explicit reset (V6, latest)", function()
      local topic = trimmed_topic()
      h.run { "offsets", "reset", h.path "job.lua", "-b", h.brokers, "--topic", topic,
              "--checkpoint-dir", h.path "cp", "--to", "latest", "--state", "keep", "--yes" }
      local before = rows_read()
      h.expect_exit(start(topic, true), 0)
      assert.are.equal(0, rows_read() - before)
      h.produce_counts(topic, { 7 }, "x")
      h.expect_exit(start(topic, true), 0)
      assert.are.equal(7, rows_read() - before)
   end)

   it("is no false alarm when all of it was read and then retired", function()
      local topic = h.topic(1)
      h.produce_counts(topic, { 100 }, "x")
      h.expect_exit(start(topic, true), 0)
      h.kadmin("trim", topic, 0, 100)
      h.expect_exit(start(topic, true), 0)
      h.produce_counts(topic, { 5 }, "x")
      h.expect_exit(start(topic, true), 0)
      assert.are.equal(105, rows_read())
   end)

   -- 78 read, then another topic of the same name with `count` records.
   local function recreated_topic(count)
      local topic = h.topic(1, "demo-topic")
      h.produce_counts(topic, { 78 }, "old")
      h.expect_exit(start(topic, true), 0)
      assert.are.same({ [0] = 78 }, h.next_offsets(h.path "cp", topic))
      h.delete_topic(topic)
      h.create_topic(topic, 1)
      if count > 0 then
         h.produce_counts(topic, { count }, "new")
      end
      return topic
   end

   for case, count in pairs { ["V7 a"] = 0, ["V7 b"] = 5, ["V7 d"] = 100 } do
      it(("fails when the topic was recreated with %d records (%s)"):format(count, case),
         function()
            local topic = recreated_topic(count)
            local job = h.expect_exit(start(topic, true), 6)
            contains(job:err(), ("Partition %s-0's offset was changed from 78 to 0"):format(topic))
            assert.are.same({ [0] = 78 }, h.next_offsets(h.path "cp", topic))
         end)
   end

   for case, count in pairs { ["V7 c"] = 5, ["V7 e"] = 100 } do
      it(("reads all %d records of a recreated topic (%s)"):format(count, case), function()
         local topic = recreated_topic(count)
         local before = rows_read()
         local job = h.expect_exit(start(topic, false), 0)
         assert.are.equal(count, rows_read() - before)
         contains(job:err(), ("Partition %s-0's offset was changed from 78 to 0"):format(topic))
         assert.are.same({ [0] = count }, h.next_offsets(h.path "cp", topic))
      end)
   end
end)
