-- SPDX-License-Identifier: Apache-2.0
-- Partitions whose event time goes at different paces are read side by side: one that
-- lags is caught up with, and from there on each epoch leaves all at the same time.
require "tests.spec.helper"
local testing = require "tidemark.testing"
local tide = require "tidemark"

local START = tide.parse "2024-01-01T00:00:00Z"
local STEP_MS = { [0] = 1000, 1000, 2000, 4000 }
local COUNT = { [0] = 800, 800, 400, 200 }

local job_text = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :json { "ts:timestamp" }
   :watermark("ts", "8s")
   :group_by("ts"):window("10s"):count()
   :to(tide.console { mode = "append" })
]]

local function feed(job, partition, from, to)
   for i = from, to do
      job:feed { partition = partition,
                 value = ('{"ts":"%s"}'):format(tide.format(START + i * STEP_MS[partition])) }
   end
end

-- How far each partition is, in seconds of event time, and whether all have moved.
local function positions(job)
   local list, moved = {}, true
   for _, source in ipairs(job:progress().sources) do
      list[#list + 1] = source.endOffset * STEP_MS[source.partition] / 1000
      moved = moved and source.endOffset > source.startOffset
   end
   table.sort(list)
   return list, moved
end

describe("partitions with a backlog", function()
   it("come to the same event time in each epoch", function()
      local job = testing.job(job_text, { partitions = 4, max_records_per_batch = 100,
                                          now = "2024-02-01T00:00:00Z" })
      for p = 1, 3 do
         feed(job, p, 1, COUNT[p] / 5)
      end
      while job:epoch() do end
      feed(job, 0, 1, COUNT[0])
      for p = 1, 3 do
         feed(job, p, COUNT[p] / 5 + 1, COUNT[p])
      end
      local level = 0
      while job:epoch() do
         local at, moved = positions(job)
         local apart = at[4] - at[1]
         if level > 0 and at[1] < 790 then
            assert.is_true(moved, "a partition was left out")
            assert.is_true(apart <= 12, ("apart: %d to %d s"):format(at[1], at[4]))
         end
         level = (level > 0 or apart <= 12) and level + 1 or 0
      end
      assert.is_true(level > 10, ("only %d epochs were level"):format(level))
      job:close()
   end)
end)
