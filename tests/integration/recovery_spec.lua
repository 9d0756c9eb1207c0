-- SPDX-License-Identifier: Apache-2.0
-- Conformance vectors V4 and V5: a job that dies anywhere in an epoch goes on
-- exactly where it was.
local h = require "harness"

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition end, { "part:int" })
   :group_by("part"):count()
   :to(tide.console { mode = "complete" })
]]

local function job_args(topic)
   return { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end",
            "--no-ui", "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
            "--max-records-per-batch", 100, "--output", "json" }
end

-- Run into a fail point that kills.
local function run_killed(topic, failpoint)
   local job = h.start(job_args(topic), { env = { TIDEMARK_FAILPOINT = failpoint } })
   local _, signal = job:wait(60)
   assert.are.equal(h.process.signals.KILL, signal, "the fail point was not reached: " .. job:err())
   return job
end

-- The last row that was printed.
local function last_count(job)
   local rows = h.json_lines(job:out())
   return rows[#rows] and rows[#rows].count
end

describe("recovery", function()
   before_each(function()
      h.begin()
      h.job(job_text)
   end)

   it("reads again what the crash interrupted, and counts it once (V4)", function()
      local topic = h.topic(1)
      h.produce_counts(topic, { 701 })
      run_killed(topic, "barrier=kill@6")
      assert.are.same({ [0] = 500 }, h.next_offsets(h.path "cp", topic))
      local job = h.run(job_args(topic))
      assert.are.equal(701, last_count(job))
      assert.are.same({ [0] = 701 }, h.next_offsets(h.path "cp", topic))
   end)

   it("redoes an undecided batch to the same state (V5)", function()
      local topic = h.topic(1)
      h.produce_counts(topic, { 200 })
      run_killed(topic, "barrier=kill@2")
      assert.are.same({ [0] = 100 }, h.next_offsets(h.path "cp", topic))
      assert.are.equal(200, last_count(h.run(job_args(topic))))
   end)

   -- Where an epoch can be cut; after a decision it is published on restart.
   for _, point in ipairs { "run", "barrier", "decide", "decided", "publish", "published",
                            "release" } do
      it("is exact after a kill at " .. point, function()
         local topic = h.topic(2)
         h.produce_counts(topic, { 350, 250 })
         local printed = ""
         for hit = 1, 3 do
            printed = printed .. run_killed(topic, ("%s=kill@%d"):format(point, hit)):out()
         end
         printed = printed .. h.run(job_args(topic)):out()
         local counts = {}
         for _, row in ipairs(h.json_lines(printed)) do
            counts[row.part] = row.count
         end
         assert.are.same({ [0] = 350, 250 }, counts)
         assert.are.same({ [0] = 350, 250 }, h.next_offsets(h.path "cp", topic))
      end)
   end

   it("stops at an I/O error of the decision and resumes exactly", function()
      local topic = h.topic(1)
      h.produce_counts(topic, { 500 })
      local job = h.start(job_args(topic), { env = { TIDEMARK_FAILPOINT = "decide=io@3" } })
      local code = job:wait(60)
      assert.is_truthy(code and code ~= 0, "it went on after a failed decision")
      -- The first decision puts the start on record, the second the first epoch.
      assert.are.same({ [0] = 100 }, h.next_offsets(h.path "cp", topic))
      assert.are.equal(500, last_count(h.run(job_args(topic))))
   end)

   it("prints nothing again after a clean stop", function()
      local topic = h.topic(1)
      h.produce_counts(topic, { 300 })
      assert.are.equal(300, last_count(h.run(job_args(topic))))
      assert.are.equal("", h.run(job_args(topic)):out())
   end)

   it("refuses a state that is older than what was decided", function()
      local topic = h.topic(1)
      local function db(from, to)
         from, to = h.path("cp/job/" .. from), h.path("cp/job/" .. to)
         h.expect_exit(h.spawn { "cp", "-a", from, to }, 0)
      end
      h.produce_counts(topic, { 100 })
      h.run(job_args(topic))
      db("db", "old")
      h.produce_counts(topic, { 100 })
      h.run(job_args(topic))
      assert(os.rename(h.path "cp/job/db", h.path "cp/job/new"))
      db("old", "db")
      local job = h.start(job_args(topic))
      assert.are.equal("", job:out())
      assert.are_not.equal(0, (job:wait(60)))
      assert.is_truthy(job:err():find("went back in time", 1, true), job:err())
   end)

   it("refuses a second process on the same checkpoint, by pid", function()
      local topic = h.topic(1)
      h.produce_counts(topic, { 10 })
      local args = job_args(topic)
      table.remove(args, 7) -- --until-end
      local first = h.start(args)
      h.eventually("the first epoch", function() return first:out() ~= "" end, first)
      local second = h.start(args)
      local code = second:wait(30)
      assert.is_truthy(code and code ~= 0)
      assert.is_truthy(second:err():find(tostring(first.pid), 1, true), second:err())
      first:kill "TERM"
      h.expect_exit(first, 0)
   end)
end)
