-- SPDX-License-Identifier: Apache-2.0
-- After a restart states are read back as they are asked for; but the others of an
-- operator, too, when many are and all fit into memory.
require "tests.spec.helper"
local testing = require "tidemark.testing"

local KEYS = 12000

local text = [[
local tide = require "tidemark"
local rows = tide.from(tide.kafka { topic = "t" }):json { "id:int" }
return {
   rows:group_by("id", { name = "counted" }):count()
      :to(tide.console { name = "rows", mode = "update" }),
   rows:group_by("id", { name = "summed" }):aggregate { tide.sum("id"):as "total" }
      :to(tide.console { name = "sums", mode = "update" }),
}
]]

local function feed(job, from, to)
   for id = from, to do
      job:feed { value = ('{"id":%d}'):format(id) }
   end
end

--- All keys once, and then a new process.
local function restarted(options)
   local job = testing.job(text, { workers = options.workers, partitions = 1,
                                   memory = options.memory })
   feed(job, 1, KEYS)
   job:run()
   assert.equal(2 * KEYS, job:number "state_rows")
   job:restart(options)
   assert.equal(0, job:number "state_rows_held")
   return job
end

--- Keys `from` to `to` have been seen so often, maybe others too, and nothing else has a row.
local function check(job, ...)
   local counts, sums, times = {}, {}, {}
   for _, row in ipairs(job:rows "rows") do
      counts[row.id] = row.count -- the newest
   end
   for _, row in ipairs(job:rows "sums") do
      sums[row.id] = row.total
   end
   for i = 1, select("#", ...), 3 do
      local from, to, so_often = select(i, ...)
      for id = from, to do
         times[id] = so_often
      end
   end
   for id = 1, KEYS do
      assert.equal(times[id], counts[id])
      assert.equal(times[id] and times[id] * id, sums[id])
   end
   assert.equal(job:number "state_rows_stored", job:number "state_rows")
end

describe("states", function()
   local job

   after_each(function()
      if job then
         job:close()
      end
   end)

   for _, workers in ipairs { 1, 3 } do
      describe(("that %d worker(s) read back"):format(workers), function()
         it("are nearly all in memory when half of them were asked for", function()
            job = restarted { workers = workers }
            feed(job, 1, KEYS / 2)
            job:epoch()
            check(job, 1, KEYS / 2, 2)
            assert.is_true(job:number "state_rows_held" > 2 * KEYS * 0.8)
            feed(job, KEYS / 2 + 1, KEYS)
            job:epoch()
            check(job, KEYS / 2 + 1, KEYS, 2)
            feed(job, 1, KEYS)
            job:epoch()
            check(job, 1, KEYS, 3)
         end)

         it("are the few that were asked for", function()
            job = restarted { workers = workers }
            feed(job, 1, 100)
            job:epoch()
            check(job, 1, 100, 2)
            assert.equal(2 * 100, job:number "state_rows_held")
         end)

         it("are never more than memory is for", function()
            job = restarted { workers = workers, memory = 1024 * 1024 }
            feed(job, 1, KEYS)
            job:epoch()
            assert.is_true(job:number "state_rows_held" < KEYS)
            job:run()
            feed(job, 1, KEYS)
            job:run()
            check(job, 1, KEYS, 3)
         end)
      end)
   end

   describe("that were all in memory", function()
      it("are looked up again when they had to go", function()
         job = restarted { workers = 1, memory = 8 * 1024 * 1024 }
         for _ = 1, 2 do
            feed(job, 1, KEYS / 2)
            job:epoch()
         end
         check(job, 1, KEYS / 2, 3)
         assert.is_true(job:number "state_rows_held" > 2 * KEYS * 0.8)
         feed(job, KEYS + 1, 3 * KEYS)
         job:run()
         feed(job, 3 * KEYS + 1, 4 * KEYS)
         job:run()
         assert.equal(8 * KEYS, job:number "state_rows")
         assert.is_true(job:number "state_rows_held" < 8 * KEYS)
         feed(job, 1, KEYS)
         job:run()
         check(job, 1, KEYS / 2, 4, KEYS / 2 + 1, KEYS, 2)
      end)
   end)
end)
