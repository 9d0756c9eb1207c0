-- SPDX-License-Identifier: Apache-2.0
-- Session windows, row for row: what touches joins, late rows, closing, modes.
-- What happens in one epoch or in several, on one worker or four, over restarts
-- and kills, with states in memory or evicted, is the same.
require "tests.spec.helper"
local testing = require "tidemark.testing"

local function at(clock)
   return "2024-01-01T" .. clock .. "Z"
end

local function event(user, clock, value)
   return { value = ('{"user":"%s","at":"%s","value":%s}'):format(user, at(clock), value or 1) }
end

local function session(user, from, to, count)
   return { window_start = at(from), window_end = at(to), user = user, count = count }
end

local counts = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "at:timestamp", "value:double?" }
   :watermark("at", "%s")
   :group_by("user"):session("30m"%s)
   :count()
   :to(tide.console { mode = "%s" })
]]

local function counting(delay, mode, options)
   return counts:format(delay, options or "", mode or "append")
end

local ways = {
   { name = "1 worker", options = { workers = 1 } },
   { name = "4 workers", options = { workers = 4 } },
   { name = "stopped and started between epochs", options = { workers = 2 },
     restart = function(i) return { workers = i % 4 + 1 } end },
   { name = "killed between epochs", options = { workers = 4 },
     restart = function(i) return { workers = (i + 1) % 4 + 1, crash = true } end },
   { name = "without the JIT", options = { workers = 1, jit = false } },
}

local function open(text, options)
   options = options or {}
   options.now = "2024-01-03T00:00:00Z"
   return testing.job(text, options)
end

-- epochs: a list of { feed = {…}, rows = {…} }.
local function play(text, epochs, way)
   local job = open(text, way.options)
   for i, epoch in ipairs(epochs) do
      for _, record in ipairs(epoch.feed or {}) do
         job:feed(record)
      end
      job:epoch()
      local ok, e = pcall(job.expect, job, epoch.rows or {})
      assert.is_true(ok, ("epoch %d: %s"):format(i, tostring(e)))
      if way.restart and i < #epochs then
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

describe("sessions", function()
   each_way("end when nothing has come for the gap", function(way)
      play(counting "0s", {
         { feed = { event("u", "10:00:00"), event("u", "10:20:00"), event("u", "11:00:00") } },
         { rows = { session("u", "10:00:00", "10:50:00", 2) } },
         { feed = { event("v", "11:30:00") } },
         { rows = { session("u", "11:00:00", "11:30:00", 1) } },
      }, way):close()
   end)

   each_way("are joined by an event one gap later, and by none behind that", function(way)
      play(counting "10m", {
         { feed = { event("u", "10:00:00"), event("v", "10:00:00") } },
         { feed = { event("u", "10:30:00"), event("v", "10:30:00.001") } },
         { feed = { event("w", "11:11:00") } },
         { rows = { session("u", "10:00:00", "11:00:00", 2),
                    session("v", "10:00:00", "10:30:00", 1),
                    session("v", "10:30:00.001", "11:00:00.001", 1) } },
      }, way):close()
      play(counting "10m", {
         { feed = { event("u", "10:00:00"), event("u", "10:30:00"), event("v", "10:00:00"),
                    event("v", "10:30:00.001") } },
         { feed = { event("w", "11:11:00") } },
         { rows = { session("u", "10:00:00", "11:00:00", 2),
                    session("v", "10:00:00", "10:30:00", 1),
                    session("v", "10:30:00.001", "11:00:00.001", 1) } },
      }, way):close()
   end)

   each_way("become one when what lies between them comes last", function(way)
      play(counting "2h", {
         { feed = { event("u", "10:00:00"), event("u", "11:00:00"), event("u", "12:00:00") } },
         { feed = { event("u", "10:30:00") } },
         { feed = { event("u", "11:29:00"), event("u", "11:45:00") } },
         { feed = { event("u", "10:40:00"), event("v", "16:00:00") } },
         { rows = { session("u", "10:00:00", "12:30:00", 7) } },
      }, way):close()
   end)

   each_way("become one from many at once", function(way)
      local feed, bridges = {}, {}
      for hour = 10, 19 do
         feed[#feed + 1] = event("u", hour .. ":00:00")
         bridges[#bridges + 1] = event("u", hour .. ":30:00")
      end
      play(counting "12h", {
         { feed = feed },
         { feed = bridges },
         { feed = { { value = '{"user":"v","at":"2024-01-02T12:00:00Z"}' } } },
         { rows = { session("u", "10:00:00", "20:00:00", 20) } },
      }, way):close()
   end)

   each_way("begin earlier when an earlier event comes", function(way)
      play(counting "2h", {
         { feed = { event("u", "10:30:00"), event("u", "10:40:00") } },
         { feed = { event("u", "10:10:00") } },
         { feed = { event("u", "09:40:00"), event("u", "09:09:59") } },
         { feed = { event("v", "14:00:00") } },
         { rows = { session("u", "09:09:59", "09:39:59", 1),
                    session("u", "09:40:00", "11:10:00", 4) } },
      }, way):close()
   end)

   each_way("come in the order of their ends", function(way)
      local job = play(counting "0s", {
         { feed = { event("d", "10:00:03"), event("c", "10:00:02"), event("b", "10:00:02"),
                    event("a", "10:00:01"), event("a", "09:00:00") } },
         { rows = { session("a", "09:00:00", "09:30:00", 1) } },
         { feed = { event("z", "11:00:00") } },
      }, way)
      job:epoch()
      local order = {}
      for i, row in ipairs(job:rows()) do
         order[i] = row.user
      end
      assert.is_truthy(table.concat(order):match "^a[bc][bc]d$")
      job:close()
   end)

   each_way("may have no columns as their key", function(way)
      local text = counting("0s"):gsub('group_by%("user"%)', "group_by()")
      play(text, {
         { feed = { event("u", "10:00:00"), event("v", "10:10:00"), event("w", "12:00:00") } },
         { rows = { { window_start = at "10:00:00", window_end = at "10:40:00", count = 2 } } },
      }, way):close()
   end)

   each_way("of null are sessions, too", function(way)
      local text = counting("0s"):gsub('"user:string"', '"user:string?"')
      play(text, {
         { feed = { { value = ('{"at":"%s"}'):format(at "10:00:00") }, event("v", "10:10:00"),
                    { value = ('{"at":"%s"}'):format(at "10:20:00") }, event("v", "12:00:00") } },
         { rows = { { window_start = at "10:00:00", window_end = at "10:50:00", count = 2 },
                    session("v", "10:10:00", "10:40:00", 1) } },
      }, way):close()
   end)
end)

describe("a late row of a session", function()
   each_way("is one whose own session has closed", function(way)
      local job = play(counting "10m", {
         { feed = { event("u", "10:00:00"), event("v", "10:40:00") } }, -- watermark 10:30
         { rows = { session("u", "10:00:00", "10:30:00", 1) } },
         { feed = { event("u", "10:00:00"), event("u", "10:00:01") } },
         { feed = { event("w", "10:50:00") } },
         { rows = { session("u", "10:00:01", "10:30:01", 1) } },
      }, way)
      assert.equal(1, job:number "rows_late")
      job:close()
   end)

   each_way("is late even where it touches an open session", function(way)
      local job = play(counting "10m", {
         { feed = { event("u", "10:20:00"), event("v", "10:40:00") } }, -- watermark 10:30
         { feed = { event("u", "10:00:00") } },
         { feed = { event("w", "11:41:00") } },
         { rows = { session("u", "10:20:00", "10:50:00", 1),
                    session("v", "10:40:00", "11:10:00", 1) } },
      }, way)
      assert.equal(1, job:number "rows_late")
      job:close()
   end)

   each_way("is one before the watermark where the job is strict", function(way)
      local job = play(counting("10m", "append", ', { late = "strict" }'), {
         { feed = { event("u", "10:20:00"), event("v", "10:40:00") } }, -- watermark 10:30
         { feed = { event("u", "10:29:59"), event("u", "10:30:00") } },
         { feed = { event("w", "11:41:00") } },
         { rows = { session("u", "10:20:00", "11:00:00", 2),
                    session("v", "10:40:00", "11:10:00", 1) } },
      }, way)
      assert.equal(1, job:number "rows_late")
      job:close()
   end)

   each_way("does not go into a session that is over, but may extend one in time", function(way)
      local job = play(counting "0s", {
         { feed = { event("u", "10:00:00"), event("v", "10:30:00") } },
         -- The watermark has reached the end of u's session, and this row joins it.
         { feed = { event("u", "10:30:00") } },
         { feed = { event("w", "11:00:00") } },
         { rows = { session("u", "10:00:00", "11:00:00", 2),
                    session("v", "10:30:00", "11:00:00", 1) } },
      }, way)
      assert.equal(0, job:number "rows_late")
      job:close()
   end)

   it("goes to the sinks of late_to", function()
      local text = counting("10m")
         :gsub(":count", ":late_to(tide.console { name = \"late\" }):count")
         :gsub("append\" }", "append\", name = \"on\" }")
      local job = open(text)
      job:feed(event("u", "10:20:00"), event("v", "10:40:00")) -- watermark 10:30
      job:epoch()
      job:feed(event("u", "10:00:00"), event("u", "10:00:01"), event("w", "09:00:00"))
      job:epoch()
      job:expect({ { user = "u", at = at "10:00:00", value = 1 },
                   { user = "w", at = at "09:00:00", value = 1 } }, "late")
      job:feed(event("x", "12:00:00"))
      job:run()
      job:expect({ session("u", "10:00:01", "10:50:00", 2),
                   session("v", "10:40:00", "11:10:00", 1) }, "on")
      assert.equal(2, job:number "rows_late")
      job:close()
   end)

   it("without event time goes into none, and is counted", function()
      local job = open((counting("0s"):gsub("at:timestamp", "at:timestamp?")))
      job:feed { value = '{"user":"u"}' }
      job:run()
      job:expect {}
      assert.equal(1, job:number "rows_late")
      job:close()
   end)
end)

describe("sessions in complete mode", function()
   each_way("are all there, and nothing is late", function(way)
      local a, b = session("u", "10:00:00", "10:30:00", 1), session("u", "12:00:00", "12:30:00", 1)
      local job = play(counting("0s", "complete"), {
         { feed = { event("u", "10:00:00") }, rows = { a } },
         { feed = { event("u", "12:00:00") }, rows = { a, b } },
         {},
         { feed = { event("v", "10:00:00") },
           rows = { a, b, session("v", "10:00:00", "10:30:00", 1) } },
         { feed = { event("u", "10:30:00"), event("u", "11:30:00"), event("u", "11:00:00") },
           rows = { session("u", "10:00:00", "12:30:00", 5),
                    session("v", "10:00:00", "10:30:00", 1) } },
      }, way)
      assert.equal(0, job:number "rows_late")
      job:close()
   end)
end)

describe("aggregates of sessions", function()
   each_way("are joined as their sessions are", function(way)
      local text = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "at:timestamp", "value:double?" }
   :watermark("at", "3h")
   :group_by("user"):session("30m")
   :aggregate { tide.avg "value", tide.min "value", tide.max "value", tide.count() :as "n",
                tide.first("value", { by = "at" }) :as "first",
                tide.last("value", { by = "at" }) :as "last",
                tide.count_distinct("value", { max = 10 }) :as "different",
                tide.top_k("user", 1) :as "top" }
   :with("minutes:double", function(row) return (row.window_end - row.window_start) / 60000 end)
   :filter(function(row) return row.n > 1 end)
   :to(tide.console { mode = "append" })
]]
      play(text, {
         { feed = { event("u", "10:00:00", 4), event("u", "11:00:00", 8),
                    event("v", "10:00:00") } },
         { feed = { event("u", "11:10:00", 8), event("u", "09:50:00", "null") } },
         { feed = { event("u", "10:30:00", 12) } },
         { feed = { event("v", "16:00:00") } },
         { rows = { { window_start = at "09:50:00", window_end = at "11:40:00", user = "u", n = 5,
                      avg_value = 8, min_value = 4, max_value = 12, first = 4, last = 8,
                      different = 3, top = '[{"item":"u","count":5}]', minutes = 110 } } },
      }, way):close()
   end)
end)

describe("sessions and memory", function()
   it("are found again where memory does not hold their states", function()
      local job = open(counting "1h", { workers = 2, memory = 128 * 1024 })
      local users, rows = 2000, {}
      for u = 1, users do
         job:feed(event(("user %d"):format(u), "10:00:00"))
         rows[u] = session(("user %d"):format(u), "10:00:00", "10:50:00", 2)
      end
      job:run()
      job:feed(event("user 1", "10:00:30"))
      job:run()
      assert.is_true(job:number "state_rows_held" < users / 2)
      assert.equal(users, job:number "state_rows")
      assert.is_true(job:progress().stateOperators[1].memoryUsedBytes < users * 60)
      for u = 1, users do
         job:feed(event(("user %d"):format(u), "10:20:00"))
      end
      job:run()
      rows[1].count = 3
      job:feed(event("other", "11:50:01"))
      job:run()
      job:expect(rows)
      assert.equal(0, job:number "rows_late")
      job:close()
   end)

   it("leave nothing behind when they are over", function()
      local job = open(counting "0s")
      for hour = 10, 20 do
         job:feed(event("u", hour .. ":00:00"), event("u", hour .. ":10:00"))
         job:run()
      end
      assert.equal(1, job:number "state_rows")
      job:feed(event("v", "23:00:00"))
      job:run()
      assert.equal(1, job:number "state_rows")
      assert.equal(0, job:run()) -- nothing is due
      job:close()
   end)

   it("need no epoch for ends that have moved", function()
      local job = open(counting "1h")
      job:feed(event("u", "10:00:00"), event("v", "11:20:00"))
      job:run()
      job:feed(event("u", "10:29:00"), event("v", "11:30:00"))
      assert.equal(1, job:run()) -- watermark 10:30; the first end is now 10:59
      job:close()
   end)
end)

local function fails(text, ...)
   local ok, e = pcall(open, text)
   if ok then
      e:close()
   end
   assert.is_false(ok)
   for _, part in ipairs { ... } do
      assert.is_truthy(tostring(e):find(part, 1, true), ("%q in %s"):format(part, tostring(e)))
   end
end

describe("a session step", function()
   it("is refused in update mode, with why and what to do", function()
      fails(counting("0s", "update"), 'mode = "update" puts out a row for each key',
            'use mode = "append"')
   end)

   it("is in append mode where the job does not say", function()
      local job = open((counting("0s"):gsub("console { mode = \"append\" }", "console {}")))
      job:feed(event("u", "10:00:00"), event("u", "11:00:00"))
      job:run()
      job:expect { session("u", "10:00:00", "10:30:00", 1) }
      job:close()
   end)

   it("wants a watermark before it", function()
      fails(counting("0s"):gsub(':watermark%("at", "0s"%)', ""), ":session goes by event time",
            ':watermark("column"')
   end)

   it("wants a gap", function()
      for _, gap in ipairs { '"soon"', "0", "nil", '"0s"', "0.5", "-1" } do
         fails(counting("0s"):gsub('"30m"', gap), ':session wants a time span like "10s"')
      end
   end)

   it("is the only window of its groups", function()
      fails(counting("0s"):gsub(":count", ':window("5m"):count'),
            ":window: these groups have a session already")
      fails(counting("0s"):gsub(":session", ':window("5m"):session'),
            ":session: these groups have a window already")
      fails(counting("0s"):gsub(":session", ':session("5m"):session'),
            ":session: these groups have a session already")
   end)

   it("needs groups", function()
      fails(counting("0s"):gsub(':group_by%("user"%)', ""), ":session needs groups")
   end)

   it("knows its options", function()
      fails(counting("0s", "append", ', { offset = "5m" }'), ':session: no option "offset"')
   end)

   it("cannot share append and complete mode", function()
      fails(counting("0s"):gsub(':to%(', ':to(tide.console { mode = "complete", name = "c" }, '),
            "they cannot share")
   end)
end)

describe("a checkpoint of sessions", function()
   local function reopened(text, changed)
      local job = open(text)
      job:feed(event("u", "10:00:00", 5))
      job:run()
      local file = assert(io.open(job.path, "wb"))
      file:write(changed)
      file:close()
      return job, pcall(job.restart, job)
   end

   local named = counting("0s"):gsub('group_by%("user"%)', 'group_by("user", { name = "s" })')

   it("is refused with another gap", function()
      local job, ok, e = reopened(named, (named:gsub("30m", "31m")))
      assert.is_false(ok)
      assert.is_truthy(e:find("sessions with a gap of 1800000 ms", 1, true))
      assert.is_truthy(e:find("sessions with a gap of 1860000 ms", 1, true))
      job:close()
   end)

   it("is refused with windows", function()
      local job, ok, e = reopened(named, (named:gsub("session", "window")))
      assert.is_false(ok)
      assert.is_truthy(e:find("sessions with a gap of 1800000 ms", 1, true))
      job:close()
   end)

   it("takes more aggregates", function()
      local changed = named:gsub(":count%(%)", ":aggregate { tide.sum 'value', tide.count() }")
      local job, ok = reopened(named, changed)
      assert.is_true(ok)
      job:feed(event("u", "10:10:00", 7), event("v", "12:00:00"))
      job:run()
      job:expect { { window_start = at "10:00:00", window_end = at "10:40:00", user = "u",
                     count = 2, sum_value = 7 } }
      job:close()
   end)
end)

describe("a checkpoint of sessions from before they were listed by key", function()
   local text = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "at:timestamp" }
   :watermark("at", "1h", { max_ahead = false })
   :group_by("user", { name = "visits" }):session("30m"):count()
   :to(tide.console { mode = "append" })
]]
   -- What tests/fault/checkpoints/format-5-sessions has read: four epochs, of 20 users each.
   local function feed_again(job)
      for _, minutes in ipairs { 0, 20, 60, 75 } do
         for user = 1, 20 do
            job:feed { value = ('{"user":"user %d","at":%d}'):format(user,
               (1704103200 + minutes * 60 + user) * 1000) }
         end
      end
   end
   local function clock(minutes, user)
      return (1704103200 + minutes * 60 + user) * 1000
   end

   for _, forget in ipairs { false, true } do
      it("is gone on from" .. (forget and " where memory keeps nothing" or ""), function()
         local job = testing.job(text)
         feed_again(job)
         local fresh = job.checkpoint
         job.checkpoint = os.tmpname()
         os.execute(("rm -rf %s %s && cp -r %s %s"):format(fresh, job.checkpoint,
            "tests/fault/checkpoints/format-5-sessions", job.checkpoint))
         job:restart { forget = forget, workers = 2, crash = true }
         assert.equal(0, job:run())
         job:feed { value = ('{"user":"user 1","at":%d}'):format(clock(40, 1)) }
         job:run()
         assert.equal(39, job:number "state_rows")
         job:feed { value = ('{"user":"user 2","at":%d}'):format(clock(45, 2)) }
         job:run()
         job:restart { workers = 1 }
         job:feed { value = ('{"user":"user 3","at":%d}'):format(clock(50, 3)) }
         job:feed { value = ('{"user":"user 4","at":%d}'):format(clock(76, 4)) }
         job:run()
         assert.equal(37, job:number "state_rows")
         job:feed { value = ('{"user":"other","at":%d}'):format(clock(240, 0)) }
         job:run()
         local rows = {}
         for user = 1, 20 do
            local name, last = "user " .. user, user == 4 and 76 or 75
            local function row(from, to, count)
               rows[#rows + 1] = { user = name, window_start = clock(from, user),
                                   window_end = clock(to + 30, user), count = count }
            end
            if user <= 3 then
               row(0, last, 5)
            else
               row(0, 20, 2)
               row(60, last, user == 4 and 3 or 2)
            end
         end
         job:expect(rows)
         assert.equal(1, job:number "state_rows")
         job:close()
      end)
   end
end)

describe("sessions behind a dedup", function()
   each_way("count each event once", function(way)
      local text = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "at:timestamp", "value:int" }
   :watermark("at", "1h")
   :dedup { by = "value" }
   :group_by("user"):session("30m"):count()
   :to(tide.console { mode = "append" })
]]
      play(text, {
         { feed = { event("u", "10:00:00", 1), event("u", "10:00:00", 1),
                    event("u", "10:20:00", 2) } },
         { feed = { event("u", "10:20:00", 2), event("u", "10:25:00", 3) } },
         { feed = { event("v", "13:00:00", 4) } },
         { rows = { session("u", "10:00:00", "10:55:00", 3) } },
      }, way):close()
   end)
end)
