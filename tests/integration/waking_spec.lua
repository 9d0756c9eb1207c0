-- SPDX-License-Identifier: Apache-2.0
-- A job that has little to do wakes up no more often than it needs to.
local h = require "harness"
local p = h.process

local WORKERS = 8

-- How often each thread has gone to sleep, by its number; of the program's own threads,
-- without the libraries' that have names.
local function sleeps(pid)
   local list = {}
   local pipe = assert(io.popen(("grep -H . /proc/%d/task/*/status"):format(pid)))
   for line in pipe:lines() do
      local thread, field, value = line:match "/task/(%d+)/status:([%w_]+):%s+(%S+)"
      if field == "Name" then
         list[thread] = value == "tidemark" and 0 or nil
      elseif field == "voluntary_ctxt_switches" and list[thread] then
         list[thread] = tonumber(value)
      end
   end
   pipe:close()
   return list
end

describe("waking", function()
   local topic, job

   before_each(function()
      h.begin()
      h.job [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.value end, { "body" })
   :group_by("body"):count()
   :to(tide.console { mode = "update" })
]]
      topic = h.topic(4)
   end)

   local function start(...)
      h.produce_counts(topic, { 1, 1, 1, 1 }, "first")
      job = h.start { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
                      "--checkpoint-dir", h.path "cp", "--output", "json", "--workers", WORKERS,
                      ... }
      h.eventually("the first rows", function() return job:out() ~= "" end, job)
   end

   it("does not happen each millisecond while a trigger is far, and a signal is seen", function()
      start("--trigger", "1h")
      p.pause(300)
      local before = sleeps(job.pid)[tostring(job.pid)]
      p.pause(1000)
      local after = sleeps(job.pid)[tostring(job.pid)]
      assert.is_true(after - before < 250, ("%d times in a second"):format(after - before))
      job:kill "TERM"
      h.expect_exit(job, 0)
   end)

   it("spares the workers where an epoch has few records", function()
      start()
      p.pause(300)
      local before, still = sleeps(job.pid), 0
      for i = 1, 10 do
         h.produce_counts(topic, { 1, 1, 1, 1 }, "word" .. i)
         h.eventually("its rows", function() return job:out():find("word" .. i, 1, true) end, job)
      end
      for thread, count in pairs(sleeps(job.pid)) do
         still = still + (count == before[thread] and 1 or 0)
      end
      assert.is_true(still >= WORKERS, ("%d threads slept on"):format(still))
      job:kill "TERM"
      h.expect_exit(job, 0)
   end)
end)
