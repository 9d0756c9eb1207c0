-- SPDX-License-Identifier: Apache-2.0
-- Sessions on a real Kafka: restarted between any two batches, in one process,
-- and killed, by 1 and by 4 workers.
local h = require "harness"

local job_text = [[
return tide.from(tide.kafka { topic = "unset" })
   :json { "user:string", "at:timestamp", "page:string" }
   :watermark("at", "40m")
   :group_by("user"):session("30m")
   :aggregate { tide.count() :as "n", tide.first("page", { by = "at" }) :as "entered" }
   :to(tide.console { mode = "append" })
]]

local function event(user, clock, page)
   return { key = user, value = ('{"user":"%s","at":"2024-01-01T%sZ","page":"%s"}'):format(user,
      clock, page or "/") }
end

local function args(topic, workers, more)
   local list = { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
                  "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
                  "--output", "json", "--workers", workers }
   for _, arg in ipairs(more or {}) do
      list[#list + 1] = arg
   end
   return list
end

local function rows_of(text)
   local rows = {}
   for i, row in ipairs(h.json_lines(text)) do
      rows[i] = ("%s %s-%s %d %s"):format(row.user, row.window_start:match "T(%d+:%d+)",
                                          row.window_end:match "T(%d+:%d+)", row.n, row.entered)
   end
   table.sort(rows)
   return rows
end

-- What each batch puts out where it is run to its end. The fourth makes one of two
-- sessions of ann, and has a row of ben that is late although it touches an open one.
local batches = {
   { event("ann", "10:00:00"), event("ann", "10:20:00"), event("ben", "10:20:00", "/b"), out = {} },
   { event("ann", "11:00:00", "/later"), event("ben", "10:50:00"), out = {} },
   { event("ann", "11:40:00"), event("ben", "11:15:00"), out = { "ann 10:00-10:50 2 /" } },
   { event("ann", "11:20:00", "/between"), event("ben", "10:25:00", "/late"),
     event("zoe", "12:30:00"), out = { "ben 10:20-11:45 3 /b" } },
   { event("zoe", "13:10:00"), out = { "ann 11:00-12:10 3 /later" } },
   { event("zoe", "14:30:00"), out = { "zoe 12:30-13:00 1 /", "zoe 13:10-13:40 1 /" } },
}

local function all_rows()
   local rows = {}
   for _, batch in ipairs(batches) do
      for _, row in ipairs(batch.out) do
         rows[#rows + 1] = row
      end
   end
   table.sort(rows)
   return rows
end

describe("sessions", function()
   before_each(function()
      h.begin()
      h.job(job_text)
   end)

   local function state(command, ...)
      local list = { "state", command, h.path "job.lua", ... }
      for _, arg in ipairs { "--checkpoint-dir", h.path "cp", "--output", "json" } do
         list[#list + 1] = arg
      end
      return rows_of(h.run(list):out())
   end

   it("are exact when the job is restarted between any two batches", function()
      local topic = h.topic(1)
      for i, batch in ipairs(batches) do
         h.produce(topic, batch)
         local job = h.run(args(topic, i % 2 == 0 and 4 or 1, { "--until-end" }))
         assert.are.same(batch.out, rows_of(job:out()), "batch " .. i)
         if i == 3 then
            assert.are.same({ "ann 11:00-11:30 1 /later", "ann 11:40-12:10 1 /",
                              "ben 10:20-11:45 3 /b" }, state "ls")
            assert.are.same({ "ben 10:20-11:45 3 /b" }, state("get", "1704109500000000", "ben"))
            h.run { "checkpoint", "verify", h.path "job.lua", "--checkpoint-dir", h.path "cp" }
         end
      end
   end)

   for _, workers in ipairs { 1, 4 } do
      it(("are exact in one process of %d worker%s"):format(workers, workers > 1 and "s" or ""),
         function()
            local topic = h.topic(1)
            local job = h.start(args(topic, workers))
            local wanted = {}
            for i, batch in ipairs(batches) do
               h.produce(topic, batch)
               for _, row in ipairs(batch.out) do
                  wanted[#wanted + 1] = row
               end
               h.eventually("the rows of batch " .. i, function()
                  return #rows_of(job:out()) >= #wanted
               end, job)
            end
            job:kill "INT"
            h.expect_exit(job, 0)
            assert.are.same(all_rows(), rows_of(job:out()))
         end)
   end

   -- The console may show an epoch again after a kill, with the same bytes.
   local function distinct(rows)
      local list, seen = {}, {}
      for _, row in ipairs(rows) do
         list[#list + 1] = not seen[row] and row or nil
         seen[row] = true
      end
      return list
   end

   for _, point in ipairs { "barrier", "decide", "decided", "published" } do
      it("are exact after kills at " .. point, function()
         local topic, printed, kills = h.topic(1), "", 0
         for i, batch in ipairs(batches) do
            h.produce(topic, batch)
            local job = h.start(args(topic, i % 2 == 0 and 4 or 1, { "--until-end" }),
                                { env = { TIDEMARK_FAILPOINT = point .. "=kill@1" } })
            local _, signal = job:wait(120)
            kills = kills + (signal == h.process.signals.KILL and 1 or 0)
            printed = printed .. job:out() .. h.run(args(topic, 1 + i % 4, { "--until-end" })):out()
         end
         assert.is_true(kills >= 4) -- those without rows have nothing to publish
         assert.are.same(all_rows(), distinct(rows_of(printed)))
      end)
   end
end)
