-- SPDX-License-Identifier: Apache-2.0
-- Which states memory keeps, and which have to be read again.
require "tests.spec.helper"
local testing = require "tidemark.testing"

local MIB = 1024 * 1024

local text = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" }):json { "id:int", "at:timestamp" }
   :watermark("at", "1s", { max_ahead = false })
   :dedup { by = "id", within = "1h", name = "once" }
   :map(function(row) return %s end, { "part:int" })
   :group_by("part", { name = "parts" }):count()
   :to(tide.console { name = "rows", mode = "update" })
]]

describe("memory", function()
   local job

   after_each(function()
      if job then
         job:close()
      end
   end)

   --- New ids in order, ten a second of event time, each of them once.
   local function feed(from, to)
      for id = from, to do
         job:feed { value = ('{"id":%d,"at":%d}'):format(id, 1704067200000 + id * 100) }
      end
      job:run()
   end

   for _, workers in ipairs { 1, 2 } do
      it(("that an operator leaves is for others, %d worker(s)"):format(workers), function()
         job = testing.job(text:format "1", { workers = workers, partitions = 1, memory = 4 * MIB })
         for part = 0, 9 do
            feed(part * 2000 + 1, part * 2000 + 2000)
         end
         assert.equal(20001, job:number "state_rows")
         assert.equal(20001, job:number "state_rows_held")
      end)
   end

   it("is what both have who want more than a half", function()
      job = testing.job(text:format "tonumber(row.id)",
                        { workers = 1, partitions = 1, memory = 2 * MIB })
      for part = 0, 9 do
         feed(part * 3000 + 1, part * 3000 + 3000)
      end
      assert.equal(60000, job:number "state_rows")
      assert.is_true(job:number "state_rows_held" < 60000)
      for _, state in ipairs(job:progress().stateOperators) do
         assert.is_true(state.memoryUsedBytes < 0.5 * MIB, state.memoryUsedBytes)
      end
   end)

   -- An hour has 36,000 ids.
   it("keeps what is open rather than what is over", function()
      job = testing.job(text:format "1", { workers = 1, partitions = 1, memory = 8 * MIB })
      for part = 0, 59 do
         feed(part * 3000 + 1, part * 3000 + 3000)
      end
      assert.is_true(job:number "state_rows" < 45000, job:number "state_rows")
      assert.equal(job:number "state_rows", job:number "state_rows_held")
      assert.is_true(job:progress().stateOperators[1].memoryUsedBytes < 3 * MIB)
   end)
end)
