-- SPDX-License-Identifier: Apache-2.0
-- Fail at the first, second, third … pass of every place, restart, compare; stop
-- when a run finishes unharmed.
local h = require "harness"
local row = require("column").row "points"

local points = { "run", "barrier", "decide", "decided", "anchor", "publish", "published",
                 "release" }
local actions = { "kill", "exit", "io" }
local partitions = { 150, 90 }

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition end, { "part:int" })
   :group_by("part"):count()
   :to(tide.console { mode = "complete" })
]]

local function job_args(topic, checkpoint)
   return { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end",
            "--no-ui", "--checkpoint-dir", checkpoint, "--max-records-per-batch", 40,
            "--output", "json" }
end

describe("fail point", function()
   local topic
   local struck = 0

   before_each(function()
      h.begin()
      h.job(job_text)
      topic = topic or h.topic(2)
   end)

   it("has records to read", function()
      h.produce_counts(topic, partitions)
   end)

   local strikes = {}
   for _, point in ipairs(points) do
      for _, action in ipairs(actions) do
         strikes[#strikes + 1] = { point = point, action = action }
      end
   end

   for _, strike in ipairs(row:share(strikes)) do
      local point, action = strike.point, strike.action
      it(("of %s at every pass of %s ends exact"):format(action, point), function()
         for n = 1, 100 do
            local checkpoint = h.path("cp" .. n)
            local job = h.start(job_args(topic, checkpoint), {
               env = { TIDEMARK_FAILPOINT = ("%s=%s@%d"):format(point, action, n) } })
            local code = job:wait(60)
            local printed = job:out()
            if code == 0 then
               assert.is_true(n > 1, point .. " is never passed")
               struck = struck + n - 1
            return
            end
            assert.is_falsy(code == 99, job:err()) -- a sanitizer's report
            printed = printed .. h.run(job_args(topic, checkpoint)):out()
            local counts = {}
            for _, printed_row in ipairs(h.json_lines(printed)) do
               counts[printed_row.part] = printed_row.count
            end
            assert.are.same({ [0] = 150, 90 }, counts, ("%s at pass %d"):format(point, n))
            assert.are.same({ [0] = 150, 90 }, h.next_offsets(checkpoint, topic))
         end
         error(point .. " has no end")
      end)
   end

   it("ends each of them exact", function()
      row:tally(struck)
   end)
end)
