-- SPDX-License-Identifier: Apache-2.0
-- Conformance vectors V9, V10 and V11: how much an epoch takes, how fast, and
-- which worker reads what.
local h = require "harness"

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition end, { "part:int" })
   :group_by("part"):count()
   :to(tide.console { mode = "update" })
]]

local function run_limited(topic, ...)
   local args = { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end",
                  "--no-ui", "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
                  "--output", "json", ... }
   return h.run(args)
end

local function input_rows()
   local list = {}
   for i, epoch in ipairs(h.progress()) do
      list[i] = epoch.numInputRows
   end
   return list
end

describe("limits", function()
   before_each(function()
      h.begin()
      h.job(job_text)
   end)

   it("cut 25000 ready records into 10000, 10000, 5000 (V9)", function()
      local topic = h.topic(1)
      h.produce_counts(topic, { 25000 }, "x")
      run_limited(topic, "--max-records-per-batch", 10000)
      assert.are.same({ 10000, 10000, 5000 }, input_rows())
   end)

   it("are shared in proportion to each partition's backlog (V9)", function()
      local topic = h.topic(3)
      h.produce_counts(topic, { 6000, 3000, 1000 }, "x")
      run_limited(topic, "--max-records-per-batch", 1000)
      local epochs = h.progress()
      assert.are.equal(10, #epochs)
      for _, epoch in ipairs(epochs) do
         local taken = {}
         for _, source in ipairs(epoch.sources) do
            taken[source.partition] = source.endOffset - source.startOffset
         end
         assert.are.same({ [0] = 600, 300, 100 }, taken)
      end
   end)

   it("hold a rate over all partitions, in every second (V10)", function()
      local topic = h.topic(3)
      h.produce_counts(topic, { 20000, 17000, 13000 }, "x")
      run_limited(topic, "--max-records-per-second", 5000)
      local epochs, total = h.progress(), 0
      for _, epoch in ipairs(epochs) do
         total = total + epoch.numInputRows
         epoch.at = h.process.time_of(epoch.timestamp)
      end
      assert.are.equal(50000, total)
      -- 45000 of them had to wait for their turn. The clock is the program's:
      -- a slow machine makes this longer, never shorter.
      assert.is_true(epochs[#epochs].at - epochs[1].at >= 9 - 1)
      for first = 1, #epochs do
         local in_second, last = 0, first
         while epochs[last] and epochs[last].at < epochs[first].at + 1 do
            in_second = in_second + epochs[last].numInputRows
            last = last + 1
         end
         assert.is_true(in_second <= 5500, in_second .. " records within a second")
      end
   end)

   it("give 10 partitions to 3 workers in runs of 4, 3, 3 (V11)", function()
      local topic = h.topic(10)
      h.produce_counts(topic, { 5, 5, 5, 5, 5, 5, 5, 5, 5, 5 })
      run_limited(topic, "--workers", 3)
      local of = {}
      for _, source in ipairs(h.progress()[1].sources) do
         of[source.worker] = of[source.worker] or {}
         table.insert(of[source.worker], source.partition)
      end
      for _, list in pairs(of) do
         table.sort(list)
      end
      assert.are.same({ [0] = { 0, 1, 2, 3 }, { 4, 5, 6 }, { 7, 8, 9 } }, of)
   end)
end)
