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

-- A job on one topic, fed with lists of records; each runs to its end.
local function open(text, options)
   options = options or {}
   options.now = options.now or "2024-01-02T00:00:00Z"
   return testing.job(text, options)
end

local function feed(job, ...)
   job:feed(...)
   job:run()
   return job
end

local function mark_of(job)
   local ms = job:watermark()
   return ms and tide.format(ms):match "T(%d+:%d+:%d+)"
end

describe("the watermark", function()
   local job
   after_each(function() job:close() end)

   local function set_to(clock, options)
      job = open(averages:format(options or "", "update"))
      feed(job, reading(clock, 0))
      assert.equal("12:00:11", mark_of(job))
   end

   it("does not judge the epoch that moves it (V14)", function()
      job = open(averages:format("", "update"))
      assert.is_nil(job:watermark())
      feed(job, reading("12:00:00", 1), reading("09:00:00", 2))
      job:expect { average("12:00:00", 1), average("09:00:00", 2) }
      assert.equal("11:59:30", mark_of(job))
   end)

   it("never goes back, and stays where it is without rows and over restarts (V14)", function()
      set_to "12:00:41"
      feed(job, reading("12:00:15", 1))
      assert.equal("12:00:11", mark_of(job))
      assert.is_false(job:epoch())
      assert.equal("12:00:11", mark_of(job))
      job:restart { workers = 3 }
      feed(job, reading("12:00:15", 3))
      job:expect { average("12:00:10", 2) }
      assert.equal("12:00:11", mark_of(job))
   end)

   it("that is in force is the one of the epoch before (V14)", function()
      set_to "12:00:41"
      feed(job, reading("12:10:00", 1), reading("12:00:12", 2))
      job:expect { average("12:10:00", 1), average("12:00:10", 2) }
      assert.equal(0, job:number "rows_late")
      assert.equal("12:09:30", mark_of(job))
   end)

   it("closes a window whose end it has reached (V13)", function()
      job = open(averages:format("", "append"))
      feed(job, reading("12:00:05", 7), reading("12:00:40", 1))
      job:expect { average("12:00:00", 7) }
      assert.equal("12:00:10", mark_of(job))
      feed(job, reading("12:00:09", 1))
      assert.equal(1, job:number "rows_late")
   end)

   it("leaves a row alone whose window is open, and drops it when it is strict (V13)", function()
      for late, rows in pairs { closed = { average("12:00:30", 70) }, strict = {} } do
         job = open(averages:format((', { late = "%s" }'):format(late), "update"))
         feed(job, reading("12:01:05", 1))
         assert.equal("12:00:35", mark_of(job))
         feed(job, reading("12:00:33", 70))
         job:expect(rows)
         assert.equal(late == "strict" and 1 or 0, job:number "rows_late")
         feed(job, reading("12:00:35", 2)) -- as late as it: kept
         job:expect { average("12:00:30", late == "strict" and 2 or 36) }
         job:close()
      end
      job = open(averages:format("", "update"))
   end)

   it("believes no event time too far ahead of the clock, but counts it", function()
      job = open(averages:format("", "update"), { now = "2024-01-01T12:00:00Z" })
      feed(job, reading("12:05:00", 1), reading("23:00:00", 2))
      job:expect { average("12:05:00", 1), average("23:00:00", 2) }
      assert.equal("12:04:30", mark_of(job))
   end)

   it("believes any event time when told so", function()
      job = open((averages:format("", "update"):gsub('"30s"', '"30s", { max_ahead = false }')),
                 { now = "2024-01-01T12:00:00Z" })
      feed(job, reading("23:00:00", 2))
      assert.equal("22:59:30", mark_of(job))
   end)
end)

describe("a grouping without a window", function()
   it("drops what is before the watermark and keeps every key (SUM-26)", function()
      local job = open [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "readings" })
   :json { "id:int", "ts:timestamp?", "value:double" }
   :watermark("ts", "30s"):group_by("id"):count()
   :to(tide.console { mode = "update" })]]
      feed(job, reading("12:00:41", 1, 1), reading("09:00:00", 1, 2))
      job:expect { { id = 1, count = 1 }, { id = 2, count = 1 } }
      feed(job, reading("12:00:09", 1, 1), reading("12:00:11", 1, 1), reading("12:00:10", 1, 3),
           { value = '{"id":2,"ts":null,"value":1}' })
      job:expect { { id = 1, count = 2 }, { id = 2, count = 2 } }
      assert.equal(2, job:number "rows_late")
      job:close()
   end)
end)

describe("the state of windows", function()
   it("holds what the watermark may still change, and grows with its delay (SUM-47)", function()
      local states = {}
      for _, minutes in ipairs { 1, 60 } do
         local job = open((averages:format("", "update"):gsub('"30s"', ('"%dm"'):format(minutes))))
         for minute = 0, 119 do
            for second = 0, 50, 10 do
               job:feed(reading(("%02d:%02d:%02d"):format(12 + math.floor(minute / 60),
                                                          minute % 60, second), 1))
            end
            job:run()
         end
         states[minutes] = job:progress().stateOperators[1]
         job:close()
      end
      -- Six windows a minute: those of the delay, and the one that is begun.
      assert.equal(6 + 1, states[1].numRowsTotal)
      assert.equal(360 + 1, states[60].numRowsTotal)
      assert.is_true(states[60].memoryUsedBytes > states[1].memoryUsedBytes)
   end)
end)

describe("a row without event time", function()
   it("is counted and goes into no window", function()
      local job = open((averages:format("", "update"):gsub('"ts:timestamp"', '"ts:timestamp?"')))
      feed(job, reading("12:00:05", 1), { value = '{"id":1,"ts":null,"value":5}' })
      job:expect { average("12:00:00", 1) }
      assert.equal(1, job:number "rows_late")
      job:close()
   end)
end)

describe("partitions", function()
   local per_partition = (averages:format("", "append"):gsub('"30s"',
      '"30s", { per_partition = true, idle = "1m" }'))
   local job
   after_each(function() job:close() end)

   local function to(partition, clock, value)
      local record = reading(clock, value)
      record.partition = partition
      return record
   end

   it("hold the watermark together until one of them is idle", function()
      job = open(per_partition, { partitions = 2 })
      feed(job, to(0, "12:00:05", 1))
      assert.is_nil(job:watermark())
      feed(job, to(1, "12:00:00", 2))
      assert.equal("11:59:30", mark_of(job))
      feed(job, to(0, "12:01:00", 3))
      assert.equal("11:59:30", mark_of(job))
      -- The slow one has nothing to read, and after a minute nobody waits for it.
      job:advance "59s"
      assert.equal(0, job:run())
      job:advance "2s"
      feed(job, to(0, "12:01:01", 4))
      assert.equal("12:00:31", mark_of(job))
      job:expect { average("12:00:00", 1.5) }
   end)

   it("that become idle let windows close without another row", function()
      job = open(per_partition, { partitions = 2 })
      feed(job, to(0, "12:00:05", 1), to(1, "12:00:00", 2))
      feed(job, to(0, "12:01:00", 3))
      job:epoch()
      job:advance "61s"
      assert.equal(2, job:run()) -- one to know it, one to close
      job:expect { average("12:00:00", 1.5) }
      assert.equal("12:00:30", mark_of(job))
      job:restart { workers = 4 }
      assert.equal(0, job:run())
   end)

   for how, restart in pairs { stop = { workers = 4 }, kill = { workers = 1, crash = true } } do
      it("that are idle hold nobody back after a " .. how .. ", until they have a row", function()
         job = open(per_partition, { partitions = 2, workers = 2 })
         feed(job, to(0, "12:00:05", 1), to(1, "12:00:00", 2))
         job:epoch() -- finds nothing, and the minute begins
         job:advance "61s"
         job:run()
         feed(job, to(0, "12:00:20", 3)) -- an epoch, which stores that the other is idle
         assert.equal("11:59:50", mark_of(job))
         job:restart(restart)
         -- No minute has passed since: the flag is the checkpoint's.
         feed(job, to(0, "12:01:00", 4))
         assert.equal("12:00:30", mark_of(job))
         feed(job, to(1, "12:00:50", 5))
         job:restart(restart)
         -- Nor is it forgotten that the row ended it.
         feed(job, to(0, "12:05:00", 6))
         assert.equal("12:00:30", mark_of(job))
      end)
   end

   it("that run ahead wait until the others follow", function()
      job = open((averages:format("", "update"):gsub('"30s"', '"10m"')),
                 { partitions = 2, max_records_per_batch = 20 })
      local function clock(seconds)
         return ("12:%02d:%02d"):format(math.floor(seconds / 60), math.floor(seconds % 60))
      end
      -- Both span half an hour, but half of the second's records are of its first minute.
      local records = {}
      for i = 0, 199 do
         records[#records + 1] = to(0, clock(9 * i), 1)
         records[#records + 1] = to(1, clock(i < 100 and 0.6 * i or 60 + 17 * (i - 100)), 1)
      end
      feed(job, unpack(records))
      assert.equal(0, job:number "rows_late")
      assert.equal(400, job:number "rows_in")
   end)

   it("that begin at other times are read in step, whatever an epoch takes", function()
      for _, limit in ipairs { 50, 1200, 100000 } do
         job = open((averages:format("", "append"):gsub('"30s"', '"1m"')),
                    { partitions = 4, workers = 2, max_records_per_batch = limit })
         local function clock(seconds)
            return ("%02d:%02d:%02d"):format(12 + math.floor(seconds / 3600),
               math.floor(seconds / 60) % 60, math.floor(seconds % 60))
         end
         local records = {}
         for i = 0, 599 do
            for part = 0, 3 do
               -- They begin up to five minutes apart, and one has a record every two seconds.
               records[#records + 1] = to(part, clock(100 * part + (part == 1 and 2 or 1) * i), 1)
            end
         end
         feed(job, unpack(records))
         assert.equal(0, job:number "rows_late")
         assert.equal(2400, job:number "rows_in")
         job:close()
      end
   end)
end)

local sliding = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "sessions" })
   :json { "user_id:string", "session_id:string", "ts:timestamp" }
   :watermark("ts", "10m")
   :group_by("user_id"):window("5m", "1m")
   :aggregate { tide.count() :as "events",
                tide.approx_count_distinct "session_id" :as "approx_sessions" }
   :to(tide.console { mode = "append" })
]]

local function event(user, clock, session)
   return { value = ('{"user_id":"%s","ts":"%s","session_id":"%s"}'):format(user, at(clock),
                                                                           session) }
end

local function sessions(user, start, events, distinct)
   local from, to = window(start .. ":00", 300)
   return { window_start = from, window_end = to, user_id = user, events = events,
            approx_sessions = distinct }
end

describe("the first and the last value behind a watermark", function()
   it("are those by event time, whatever came first", function()
      local job = open(([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" }):json { "id:int", "ts:timestamp", "value:double" }
   :watermark("ts", "30s"):select("value", "id", "ts")
   :group_by("id"):window("1m"):aggregate { tide.first "value", tide.last "value" }
   :to(tide.console { mode = "update" })]]), {})
      feed(job, reading("12:00:20", 2), reading("12:00:10", 1), reading("12:00:30", 3),
           reading("12:00:15", 4))
      local rows = job:rows()
      assert.same({ 1, 3 }, { rows[#rows].first_value, rows[#rows].last_value })
      job:close()
   end)
end)

describe("sliding windows", function()
   each_way("count a row in each window that contains it (V15)", function(way)
      local job = open(sliding, { workers = way.options.workers, jit = way.options.jit })
      local function again(i)
         if way.restart then
            job:restart(way.restart(i))
         end
      end
      feed(job, event("u1", "12:00:30", "s1"), event("u1", "12:01:10", "s1"),
           event("u1", "12:01:50", "s2"))
      job:expect {}
      assert.equal("11:51:50", mark_of(job))
      again(1)
      feed(job, event("u2", "12:13:30", "s9"))
      job:expect { sessions("u1", "11:56", 1, 1), sessions("u1", "11:57", 3, 2),
                   sessions("u1", "11:58", 3, 2) }
      assert.equal("12:03:30", mark_of(job))
      again(2)
      feed(job, event("u2", "12:30:00", "s9"))
      job:expect { sessions("u1", "11:59", 3, 2), sessions("u1", "12:00", 3, 2),
                   sessions("u1", "12:01", 2, 2), sessions("u2", "12:09", 1, 1),
                   sessions("u2", "12:10", 1, 1), sessions("u2", "12:11", 1, 1),
                   sessions("u2", "12:12", 1, 1), sessions("u2", "12:13", 1, 1) }
      assert.equal("12:20:00", mark_of(job))
      again(3)
      feed(job, event("u2", "13:30:00", "s9"))
      job:expect { sessions("u2", "12:26", 1, 1), sessions("u2", "12:27", 1, 1),
                   sessions("u2", "12:28", 1, 1), sessions("u2", "12:29", 1, 1),
                   sessions("u2", "12:30", 1, 1) }
      job:close()
   end)

   it("begin where the offset says, before 1970 as after it", function()
      local job = open [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" }):json { "ts:timestamp" }
   :watermark("ts", "0s", { max_ahead = false })
   :group_by():window("1h", { offset = "15m" }):count()
   :to(tide.console { mode = "update" })]]
      job:feed({ value = '{"ts":"2024-01-01T12:14:59.999Z"}' },
               { value = '{"ts":"2024-01-01T12:15:00Z"}' },
               { value = '{"ts":"1969-12-31T23:59:59Z"}' })
      job:run()
      local function hour(from, to)
         return { window_start = from, window_end = to, count = 1 }
      end
      job:expect { hour("2024-01-01T11:15:00Z", "2024-01-01T12:15:00Z"),
                   hour("2024-01-01T12:15:00Z", "2024-01-01T13:15:00Z"),
                   hour("1969-12-31T23:15:00Z", "1970-01-01T00:15:00Z") }
      job:close()
   end)
end)

-- A job that is changed while it stands still.
describe("a changed job on its old checkpoint", function()
   local path, job
   before_each(function() path = os.tmpname() end)
   after_each(function()
      if job then job:close() end
      job = nil
      os.remove(path)
   end)

   local function write(steps, mode)
      local file = assert(io.open(path, "w"))
      file:write(([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :json { "id:int", "ts:timestamp", "value:double" }
   %s
   :to(tide.console { mode = "%s", name = "out" })
]]):format(steps, mode or "update"))
      file:close()
   end

   local function start(steps, mode)
      write(steps, mode)
      job = testing.open(path, { now = "2024-01-02T00:00:00Z" })
      feed(job, reading("12:00:05", 10))
   end

   local function refused(steps, mode, ...)
      write(steps, mode)
      local ok, e = pcall(job.restart, job)
      assert.is_false(ok)
      for _, part in ipairs { "was made by another version of this job", "Nothing was changed",
                              "--checkpoint-dir", ... } do
         assert.truthy(e:find(part, 1, true), e)
      end
   end

   local base = ':watermark("ts", "30s"):group_by("id", { name = "g" }):window("10s")' ..
      ':aggregate { tide.sum "value" :as "total" }'

   for what, change in pairs {
      ["another window"] = { from = '"10s"', to = '"1m"', "the window of state \"g\"",
                             "was: 10000 ms", "now: 60000 ms" },
      ["another slide"] = { from = '"10s"', to = '"10s", "5s"', "now: 10000 ms every 5000 ms" },
      ["another offset"] = { from = '"10s"', to = '"10s", { offset = "1s" }', "from 1000 ms on" },
      ["another key"] = { from = '"id"', to = '"value"', "the key of state \"g\"",
                          "was: id:int", "now: value:double" },
      ["another aggregate"] = { from = 'tide.sum "value" :as "total"',
                                to = 'tide.avg "value" :as "total"',
                                "the aggregate total of state \"g\"" },
      ["one aggregate less"] = { from = 'tide.sum "value" :as "total"', to = "tide.count()",
                                 "the aggregate total of state \"g\"", "(there is none)" },
      ["no window"] = { from = ':window("10s")', to = "" , "of state \"g\"" },
      ["other late rows"] = { from = '"10s"', to = '"10s", { late = "strict" }',
                              "the late rows of state \"g\"" },
      ["another name"] = { from = '"g"', to = '"h"', 'has state "g"', 'name = "g"' },
   } do
      it("is refused with " .. what, function()
         start(base)
         refused((base:gsub(change.from:gsub("%p", "%%%0"), (change.to:gsub("%%", "%%%%")))),
                 nil, unpack(change, 1))
         write(base) -- and the old shape goes on
         job.stopped = nil
         job:restart()
      end)
   end

   it("is refused with another mode", function()
      start(base)
      refused(base, "append", 'the mode of sink "out"', "was: update", "now: append")
   end)

   it("may have one more aggregate, wherever it stands", function()
      start(base)
      for workers, list in ipairs { 'tide.count() :as "n", tide.sum "value" :as "total"',
                                    'tide.max "value" :as "most", tide.count() :as "n", ' ..
                                       'tide.sum "value" :as "total"' } do
         write((base:gsub('tide.sum "value" :as "total"', list)))
         job:restart { workers = workers }
         feed(job, reading("12:00:06", 1), reading("12:00:15", 5))
         local old, new = { window("12:00:00", 10) }, { window("12:00:10", 10) }
         local rows = { { window_start = old[1], window_end = old[2], id = 1, total = 10 + workers,
                          n = workers },
                        { window_start = new[1], window_end = new[2], id = 1, total = 5 * workers,
                          n = workers } }
         if workers == 2 then
            rows[1].most, rows[2].most = 1, 5
         end
         job:expect(rows)
      end
   end)

   it("keeps states of every size where others come before them", function()
      local first = 'tide.approx_count_distinct "value" :as "d", tide.first "value" :as "f"'
      local function with(list)
         return (base:gsub('tide.sum "value" :as "total"', list))
      end
      start(with(first))
      local from, to = window("12:00:00", 10)
      local row = { window_start = from, window_end = to, id = 1, d = 2, f = 10 }
      job:restart()
      feed(job, reading("12:00:06", 1))
      job:expect { row }
      write(with('tide.max "value" :as "m", ' .. first))
      job:restart { workers = 2 }
      feed(job, reading("12:00:07", 1))
      row.m = 1
      job:expect { row }
   end)

   it("may have another delay, and the watermark does not go back", function()
      start(base)
      assert.equal("11:59:35", mark_of(job))
      write((base:gsub('"30s"', '"1h"')))
      job:restart()
      feed(job, reading("12:00:06", 1))
      assert.equal("11:59:35", mark_of(job))
   end)
end)
