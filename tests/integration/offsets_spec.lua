-- SPDX-License-Identifier: Apache-2.0
-- Conformance vectors V2 and V3: an epoch is a range per partition, and the
-- checkpoint says where each one ended.
local h = require "harness"

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition end, { "part:int" })
   :group_by("part"):count()
   :to(tide.console { mode = "complete" })
]]

local function run_once(topic, extra)
   local args = { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end",
                  "--no-ui", "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
                  "--output", "json" }
   for _, arg in ipairs(extra or {}) do
      args[#args + 1] = arg
   end
   return h.run(args)
end

-- The range of each partition in one epoch's progress.
local function ranges(epoch)
   local list = {}
   for _, source in ipairs(epoch.sources) do
      list[source.partition] = { source.startOffset, source.endOffset }
   end
   return list
end

describe("offsets", function()
   before_each(function()
      h.begin()
      h.job(job_text)
   end)

   it("are cut into one range per partition and batch (V2)", function()
      local topic = h.topic(3)
      h.produce_counts(topic, { 100, 151, 81 })
      run_once(topic)
      h.produce_counts(topic, { 100, 150, 80 })
      run_once(topic)

      local epochs = h.progress()
      assert.are.equal(2, #epochs)
      assert.are.equal(332, epochs[1].numInputRows)
      assert.are.equal(330, epochs[2].numInputRows)
      assert.are.same({ [0] = { 0, 100 }, { 0, 151 }, { 0, 81 } }, ranges(epochs[1]))
      assert.are.same({ [0] = { 100, 200 }, { 151, 301 }, { 81, 161 } }, ranges(epochs[2]))
      assert.are.same({ [0] = 200, 301, 161 }, h.next_offsets(h.path "cp", topic))
   end)

   it("are kept for each epoch, as Spark writes them (V3)", function()
      local topic = h.topic(3)
      for _ = 1, 3 do
         h.produce_counts(topic, { 100, 150, 80 })
         run_once(topic)
      end
      assert.are.same({ { [topic] = { ["0"] = 100, ["1"] = 150, ["2"] = 80 } },
                        { [topic] = { ["0"] = 200, ["1"] = 300, ["2"] = 160 } },
                        { [topic] = { ["0"] = 300, ["1"] = 450, ["2"] = 240 } } },
                      h.offsets(h.path "cp"))
   end)

   it("reach every record of every partition in order", function()
      local topic = h.topic(3)
      h.produce_counts(topic, { 3000, 3000, 3000 })
      h.job([[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition, rec.offset end, { "part:int", "at:int" })
   :to(tide.console { mode = "append", rows = 100000 })
]])
      local rows = h.json_lines(run_once(topic):out())
      local next_at = { [0] = 0, 0, 0 }
      for _, row in ipairs(rows) do
         assert.are.equal(next_at[row.part], row.at)
         next_at[row.part] = row.at + 1
      end
      assert.are.same({ [0] = 3000, 3000, 3000 }, next_at)
   end)
end)
