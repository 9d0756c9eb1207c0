-- SPDX-License-Identifier: Apache-2.0
-- Windows of event time on a real Kafka: conformance vector V12, restarted
-- between any two batches and in one process, by 1 and by 4 workers.
local h = require "harness"

-- Both modes at once, told apart by a column.
local job_text = [[
local averages = tide.from(tide.kafka { topic = "unset" })
   :json { "id:int", "ts:timestamp", "value:double" }
   :watermark("ts", "30s")
   :group_by("id"):window("10s")
   :aggregate { tide.avg "value" :as "avg_value" }
local function to_console(mode)
   return averages:with("mode:string", function() return mode end)
      :to(tide.console { mode = mode, name = mode })
end
return { to_console "update", to_console "append" }
]]

local function row(mode, start, value)
   return ("%s %s=%s"):format(mode, start, value)
end

-- What each batch puts out; "append" rows leave when the watermark has passed
-- them, which here is right after the batch, as no other follows at once.
local batches = {
   { { "12:00:05", 10 }, { "12:00:08", 20 }, out = { row("update", "12:00:00", 15) } },
   { { "12:00:12", 30 }, { "12:00:01", 30 },
     out = { row("update", "12:00:00", 20), row("update", "12:00:10", 30) } },
   { { "12:00:41", 40 }, out = { row("update", "12:00:40", 40), row("append", "12:00:00", 20) } },
   { { "12:00:09", 99 }, { "12:00:15", 50 }, out = { row("update", "12:00:10", 40) } },
   { { "12:01:05", 60 }, out = { row("update", "12:01:00", 60), row("append", "12:00:10", 40) } },
   { { "12:00:25", 80 }, out = {} },
   { out = {} },
   { { "12:01:31", 90 }, out = { row("update", "12:01:30", 90), row("append", "12:00:40", 40) } },
   { { "12:02:00", 100 },
     out = { row("update", "12:02:00", 100), row("append", "12:01:00", 60) } },
   { out = {} },
}

local function produce(topic, batch)
   local records = {}
   for i, event in ipairs(batch) do
      records[i] = { value = ('{"id":1,"ts":"2024-01-01T%sZ","value":%d}'):format(unpack(event)) }
   end
   if #records > 0 then
      h.produce(topic, records)
   end
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
   for i, found in ipairs(h.json_lines(text)) do
      rows[i] = row(found.mode, found.window_start:match "T(%d+:%d+:%d+)",
                    ("%g"):format(found.avg_value))
   end
   return rows
end

-- The newest value of each window by mode.
local function fold(rows, into)
   for _, text in ipairs(rows) do
      local name, value = text:match "^(.*)=(.*)$"
      into[name] = value
   end
   return into
end

local function sorted(list)
   local copy = { unpack(list) }
   table.sort(copy)
   return copy
end

describe("windows", function()
   before_each(function()
      h.begin()
      h.job(job_text)
   end)

   it("are exact when the job is restarted between any two batches (V12)", function()
      local topic = h.topic(1)
      for i, batch in ipairs(batches) do
         produce(topic, batch)
         local job = h.run(args(topic, i % 2 == 0 and 4 or 1, { "--until-end" }))
         assert.are.same(sorted(batch.out), sorted(rows_of(job:out())), "batch " .. i - 1)
      end
   end)

   -- A batch may become two epochs here, so only the last update of a window is
   -- known before; what is late and what is final does not depend on that.
   for _, workers in ipairs { 1, 4 } do
      it(("are exact in one process of %d worker%s (V12)"):format(workers,
         workers > 1 and "s" or ""), function()
         local topic = h.topic(1)
         local job = h.start(args(topic, workers))
         local wanted = {}
         for i, batch in ipairs(batches) do
            produce(topic, batch)
            fold(batch.out, wanted)
            h.eventually("the rows of batch " .. i - 1, function()
               local rows = fold(rows_of(job:out()), {})
               for name, value in pairs(wanted) do
                  if rows[name] ~= value then
                     return false
                  end
               end
               return true
            end, job)
         end
         job:kill "INT"
         h.expect_exit(job, 0)
         local rows = rows_of(job:out())
         assert.are.same(wanted, fold(rows, {}))
         local appended = 0
         for _, found in ipairs(rows) do
            appended = appended + (found:match "^append" and 1 or 0)
         end
         assert.are.equal(4, appended)
      end)
   end
end)
