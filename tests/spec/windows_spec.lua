-- SPDX-License-Identifier: Apache-2.0
-- Event time, row for row: watermarks, windows, output modes, late rows. The
-- vectors' batches are epochs, and each also runs restarted between any two.
require "tests.spec.helper"
local testing = require "tidemark.testing"
local tide = require "tidemark"


local function at(clock)
   return "2024-01-01T" .. clock .. "Z"
end

local function reading(clock, value, id)
   return { value = ('{"id":%d,"ts":"%s","value":%s}'):format(id or 1, at(clock), value) }
end

-- [12:00:00, 12:00:10) as { "12:00:00", 10 }.
local function window(start, seconds)
   local from = tide.parse(at(start))
   return tide.format(from), tide.format(from + seconds * 1000)
end

local function average(start, value, id)
   local from, to = window(start, 10)
   return { window_start = from, window_end = to, id = id or 1, avg_value = value }
end

local averages = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "readings" })
   :json { "id:int", "ts:timestamp", "value:double" }
   :watermark("ts", "30s")
   :group_by("id"):window("10s"%s)
   :aggregate { tide.avg "value" :as "avg_value" }
   :to(tide.console { mode = "%s" })
]]

-- The ways a vector must not depend on: how many work, and where it is stopped.
local ways = {
   { name = "1 worker", options = { workers = 1 } },
   { name = "4 workers", options = { workers = 4 } },
   { name = "stopped and started between batches", options = { workers = 2 },
     restart = function(i) return { workers = i % 4 + 1 } end },
   { name = "killed between batches", options = { workers = 4 },
     restart = function(i) return { workers = (i + 1) % 4 + 1, crash = true } end },
   { name = "without the JIT", options = { workers = 1, jit = false } },
}

-- batches: a list of { feed = {…}, rows = {…}, watermark = "12:00:00" }.
local function play(text, batches, way)
   way.options.now = "2024-01-02T00:00:00Z"
   local job = testing.job(text, way.options)
   for i, batch in ipairs(batches) do
      for _, record in ipairs(batch.feed) do
         job:feed(record)
      end
      job:epoch()
      local ok, e = pcall(job.expect, job, batch.rows)
      assert.is_true(ok, ("batch %d: %s"):format(i - 1, tostring(e)))
      local mark = job:watermark()
      assert.equal(tide.format(tide.parse(at(batch.watermark))), mark and tide.format(mark),
                   "batch " .. i - 1)
      if way.restart and i < #batches then
         job:restart(way.restart(i))
      end
   end
   return job
end

local function each_way(name, run)
   for _, way in ipairs(ways) do
      it(("%s (%s)"):format(name, way.name), function() run(way) end)
   end
end

-- V12: averages of ten seconds, thirty seconds late at most.
local feeds = {
   { reading("12:00:05", 10), reading("12:00:08", 20) },
   { reading("12:00:12", 30), reading("12:00:01", 30) },
   { reading("12:00:41", 40) },
   { reading("12:00:09", 99), reading("12:00:15", 50) },
   { reading("12:01:05", 60) },
   { reading("12:00:25", 80) },
   {},
   { reading("12:01:31", 90) },
   { reading("12:02:00", 100) },
   {},
}
local marks = { "11:59:38", "11:59:42", "12:00:11", "12:00:11", "12:00:35", "12:00:35", "12:00:35",
                "12:01:01", "12:01:30", "12:01:30" }

local function v12(rows)
   local batches = {}
   for i, feed in ipairs(feeds) do
      batches[i] = { feed = feed, rows = rows[i] or {}, watermark = marks[i] }
   end
   return batches
end

describe("windows of ten seconds", function()
   each_way("put out what changed in update mode", function(way)
      local job = play(averages:format("", "update"), v12 {
         { average("12:00:00", 15) },
         { average("12:00:00", 20), average("12:00:10", 30) },
         { average("12:00:40", 40) },
         { average("12:00:10", 40) },
         { average("12:01:00", 60) },
         {}, {},
         { average("12:01:30", 90) },
         { average("12:02:00", 100) },
      }, way)
      assert.equal(2, job:number "rows_late")
      job:close()
   end)

   each_way("put out what is final in append mode", function(way)
      local job = play(averages:format("", "append"), v12 {
         [4] = { average("12:00:00", 20) },
         [6] = { average("12:00:10", 40) },
         [9] = { average("12:00:40", 40) },
         [10] = { average("12:01:00", 60) },
      }, way)
      assert.equal(2, job:number "rows_late")
      job:close()
   end)

   each_way("put out everything and drop nothing in complete mode", function(way)
      local a, b, c, d = average("12:00:10", 40), average("12:00:40", 40),
         average("12:01:00", 60), average("12:00:20", 80)
      local first = average("12:00:00", 39.75)
      local job = play(averages:format("", "complete"), v12 {
         { average("12:00:00", 15) },
         { average("12:00:00", 20), average("12:00:10", 30) },
         { average("12:00:00", 20), average("12:00:10", 30), b },
         { first, a, b },
         { first, a, b, c },
         { first, a, b, c, d },
         {},
         { first, a, b, c, d, average("12:01:30", 90) },
         { first, a, b, c, d, average("12:01:30", 90), average("12:02:00", 100) },
      }, way)
      assert.equal(0, job:number "rows_late")
      job:close()
   end)
end)
