-- SPDX-License-Identifier: Apache-2.0
-- The bundled averages of sensor readings, and what progress says meanwhile.
local helper = require "tests.spec.helper"
local testing = require "tidemark.testing"

local path = helper.root .. "/jobs/window_avg.lua"

local function time(clock)
   return "2024-01-01T" .. clock .. "Z"
end

local function reading(clock, value)
   return { key = "1", value = ('{"id":1,"ts":"%s","value":%d,"source":"s"}'):format(time(clock),
                                                                                     value) }
end

-- Readings (time and value); the watermark in force and the one that is stored;
-- averages by the windows' starts; rows that are late; states that are left.
local batches = {
   { { "12:00:05", 10, "12:00:08", 20 }, nil, "11:59:38", { ["12:00:00"] = 15 }, 0, 1 },
   { { "12:00:12", 30, "12:00:01", 30 }, "11:59:38", "11:59:42",
     { ["12:00:00"] = 20, ["12:00:10"] = 30 }, 0, 2 },
   { { "12:00:41", 40 }, "11:59:42", "12:00:11", { ["12:00:40"] = 40 }, 0, 3 },
   { { "12:00:09", 99, "12:00:15", 50 }, "12:00:11", "12:00:11", { ["12:00:10"] = 40 }, 1, 2 },
   { { "12:01:05", 60 }, "12:00:11", "12:00:35", { ["12:01:00"] = 60 }, 0, 3 },
   { { "12:00:25", 80 }, "12:00:35", "12:00:35", {}, 1, 2 },
   { { "12:01:31", 90 }, "12:00:35", "12:01:01", { ["12:01:30"] = 90 }, 0, 3 },
   { { "12:02:00", 100 }, "12:01:01", "12:01:30", { ["12:02:00"] = 100 }, 0, 3 },
   { {}, "12:01:30", "12:01:30", {}, 0, 2 },
}

local function shown(ms)
   return ms and os.date("!%H:%M:%S", ms / 1000)
end

local function check_batch(job, batch, restarted)
   local given, used, stored, averages, late, states = unpack(batch, 1, 6)
   for i = 1, #given, 2 do
      job:feed(reading(given[i], given[i + 1]))
   end
   assert.is_true(job:epoch())
   assert.equal(stored, shown(job:watermark()))
   local rows = {}
   for _, row in ipairs(job:rows "averages") do
      assert.equal(10000, row.window_end - row.window_start)
      assert.equal(1, row.id)
      rows[shown(row.window_start)] = row.avg_value
   end
   assert.same(averages, rows)
   assert.equal(#given / 2, #job:rows "readings")
   local progress = job:progress()
   local watermark = progress.eventTime.watermark
   assert.equal(used, watermark and watermark:match "T(.-)%.000Z$")
   assert.equal(#given / 2, progress.numInputRows)
   assert.equal(late, progress.stateOperators[1].numRowsDroppedByWatermark)
   if not restarted then -- which keeps in memory only what is touched
      assert.equal(states, progress.stateOperators[1].numRowsTotal)
   end
end

describe("the averages of readings", function()
   local job
   after_each(function() if job then job:close() end end)

   for _, jit in ipairs { true, false } do
      it("leave late readings out, with the compiler " .. (jit and "on" or "off"), function()
         job = testing.open(path, { now = time "12:03:00", jit = jit })
         for _, batch in ipairs(batches) do
            check_batch(job, batch)
         end
         assert.is_false(job:epoch())
         assert.equal(2, job:number "rows_late")
      end)
   end

   it("are the same when the job restarts with other workers between any two epochs", function()
      for _, crash in ipairs { false, true } do
         job = testing.open(path, { now = time "12:03:00" })
         for i, batch in ipairs(batches) do
            check_batch(job, batch, i > 1)
            job:restart { workers = i % 2 == 0 and 1 or 4, crash = crash }
         end
         job:close()
      end
      job = nil
   end)

   it("want a time, and take what else is missing as null", function()
      job = testing.open(path, { now = time "12:03:00" })
      job:feed("no JSON", '{"id":1,"value":2}', '{"id":1,"ts":"soon","value":2}',
               '{"ts":"2024-01-01T12:00:00Z","value":4}')
      job:epoch()
      assert.equal(1, #job:rows "readings")
      job:expect({ { window_start = time "12:00:00", window_end = time "12:00:10",
                     avg_value = 4 } }, "averages")
   end)
end)
