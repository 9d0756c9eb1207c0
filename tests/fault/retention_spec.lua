-- SPDX-License-Identifier: Apache-2.0
-- Logs lose records that were not read, and topics become others of the same name,
-- shorter or longer than what was read, while the job is away or while it runs:
-- always noticed, always counted (V6, V7). And what comes before: warnings while
-- nothing is lost yet (IND-12, IND-39).
local h = require "harness"
local cjson = require "cjson"
local row = require("column").row "retention"

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition end, { "part:int" })
   :group_by("part"):count()
   :to(tide.console { mode = "update" })
]]

local first = 78 -- records that are read before anything happens

local function args(topic, fail, ...)
   return { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
            "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
            "--output", "json", "--fail-on-data-loss=" .. tostring(fail), ... }
end

local function sum_of(name)
   local sum = 0
   for _, epoch in ipairs(h.progress()) do
      sum = sum + epoch[name]
   end
   return sum
end

local function contains(text, part)
   assert.is_truthy(text:find(part, 1, true), ("no %q in:\n%s"):format(part, text))
end

describe("a log", function()
   local topic, struck = nil, 0

   before_each(function()
      h.begin()
      h.job(job_text)
      topic = h.topic(1)
   end)

   local function read_first(fail)
      h.produce_counts(topic, { first }, "old")
      local job = h.start(args(topic, fail))
      h.eventually("the first records", function() return sum_of "numInputRows" == first end, job)
      return job
   end

   local function stop(job)
      job:kill "TERM"
      h.expect_exit(job, 0)
   end

   -- It stands still while `change` happens, as if the machine slept.
   local function asleep(job, change)
      job:kill "STOP"
      h.eventually("it to stand still", function()
         return h.read_file(("/proc/%d/stat"):format(job.pid)):match "%) T "
      end)
      -- So long that the broker has answered what it was asked before.
      h.process.pause(700)
      change()
      job:kill "CONT"
   end

   -- Cut the log of a job that runs until that met records which it had not read.
   -- Returns how many it missed, or nothing when it has stopped.
   local function cut_asleep(job)
      local read = first
      for _ = 1, 20 do
         local gone = 100 + row:random(1000)
         local start = read
         asleep(job, function()
            h.produce_counts(topic, { gone + 50 }, "old")
            h.kadmin("trim", topic, 0, start + gone)
         end)
         read = read + gone + 50
         h.eventually("what becomes of it", function()
            local lost = job:err():match "lost_records=(%d+)"
            return job:ended() or sum_of "numInputRows" + (tonumber(lost) or 0) >= read
         end)
         if job:ended() or job:err():find("lost_records", 1, true) then
            return start, gone
         end
      end
      error "the log could not be cut where it was not read"
   end

   local function again(job, case)
      stop(job)
      return function(change)
         change()
         return h.start(args(topic, case.fail))
      end
   end

   local function gap(job, case)
      local start, gone = first, 100 + row:random(1000)
      if case.running then
         start, gone = cut_asleep(job)
      else
         job = again(job, case)(function()
            h.produce_counts(topic, { gone + 50 }, "old")
            h.kadmin("trim", topic, 0, first + gone)
         end)
      end
      if case.fail then
         h.expect_exit(job, 6)
         contains(job:err(), ("Offset %d out of range"):format(start))
         assert.are.same({ [0] = start }, h.next_offsets(h.path "cp", topic))
         return
      end
      local total = start + gone + 50
      h.eventually("the records behind it", function()
         return sum_of "numInputRows" == total - gone
      end, job)
      stop(job)
      contains(job:err(), ("Offset %d out of range"):format(start))
      contains(job:err(), ("lost_records=%d\n"):format(gone))
      assert.are.same({ [0] = total }, h.next_offsets(h.path "cp", topic))
   end

   local function another(job, case)
      local sentence = ("Partition %s-0's offset was changed from %d to 0"):format(topic, first)
      local function change()
         h.delete_topic(topic)
         h.create_topic(topic, 1)
         if case.count > 0 then
            h.produce_counts(topic, { case.count }, "new")
         end
      end
      if case.running then
         asleep(job, change)
      else
         job = again(job, case)(change)
      end
      if case.fail then
         h.expect_exit(job, 6)
         contains(job:err(), sentence)
         assert.are.same({ [0] = first }, h.next_offsets(h.path "cp", topic))
         return
      end
      h.eventually("the warning", function() return job:err():find(sentence, 1, true) end, job)
      local count = case.count
      if count == 0 then
         h.produce_counts(topic, { 3 }, "new")
         count = 3
      end
      h.eventually("what is there now", function()
         return sum_of "numInputRows" == first + count
      end, job)
      stop(job)
      assert.are.same({ [0] = count }, h.next_offsets(h.path "cp", topic))
   end

   local cases = {}
   for _, fail in ipairs { true, false } do
      for _, running in ipairs { true, false } do
         cases[#cases + 1] = { fail = fail, running = running, gap = true }
         for _, count in ipairs { 0, 5, 200 } do
            cases[#cases + 1] = { fail = fail, running = running, count = count }
         end
      end
   end

   local function title(case)
      return ("%s, %s the job %s, %s"):format(
         case.gap and "cut behind what was read"
         or ("of another topic of the same name with %d records"):format(case.count),
         case.running and "while" or "before", case.running and "runs" or "starts",
         case.fail and "stops it" or "is said, and it goes on")
   end

   for _, case in ipairs(row:share(cases)) do
      it(title(case), function()
         local job = read_first(case.fail)
         if case.gap then
            gap(job, case)
         else
            another(job, case)
         end
         struck = struck + 1
      end)
   end

   it("says how often", function()
      row:tally(struck, "all noticed and counted")
   end)

   -- --- Before anything is lost -------------------------------------------------

   local function warning_of(job, text)
      h.eventually(text, function() return job:err():find(text, 1, true) end, job)
   end

   it("that keeps records no longer than a stop may last is warned of", function()
      topic = h.topic_name()
      h.kadmin("create", topic, 1, "retention.ms=604800000")
      h.produce_counts(topic, { 3 })
      local port = h.process.free_ports(1)[1]
      local list = args(topic, true, "--max-downtime", "7d", "--listen", "127.0.0.1:" .. port)
      table.remove(list, 7) -- --no-ui
      local job = h.start(list)
      warning_of(job, "keeps records for 7 days, and a stop may last 7 days")
      local found = h.eventually("the page", function()
         local status, body = h.process.http_get(port, "/api/v1/diagnosis")
         local top = status == 200 and cjson.decode(body).findings[1]
         return top and top.kind == "retention" and top
      end, job)
      assert.are.equal(topic, found.topic)
      assert.are.equal(1, select(2, job:err():gsub("a stop may last", "")))
      stop(job)
      job = h.run(args(topic, true, "--max-downtime", "6d", "--until-end"))
      assert.is_nil(job:err():find("a stop may last", 1, true))
   end)

   it("that is deleted close behind the reader is warned of", function()
      topic = h.topic_name()
      h.kadmin("create", topic, 1, "retention.ms=604800000")
      h.produce_counts(topic, { 1000 })
      h.run(args(topic, true, "--until-end", "--max-records-per-batch", 1000))
      h.produce_counts(topic, { 4000 })
      h.kadmin("trim", topic, 0, 990)
      local job = h.run(args(topic, true, "--until-end"))
      contains(job:err(), ("%s-0: what is read next, offset 1000, is near the log's start (990;")
         :format(topic))
      -- Where all is read, it does not matter.
      h.kadmin("trim", topic, 0, 4990)
      job = h.run(args(topic, true, "--until-end"))
      assert.is_nil(job:err():find("near the log's start", 1, true))
   end)

   it("that runs out of time while the job is slow is warned of, and then not", function()
      topic = h.topic_name()
      h.kadmin("create", topic, 1, "retention.ms=3600000")
      local hour_ago, records = os.time() * 1000 - 3500000, {}
      for n = 1, 300 do
         records[n] = { value = "x", partition = 0, timestamp = hour_ago }
      end
      h.produce(topic, records)
      h.produce_counts(topic, { 500 })
      local job = h.start(args(topic, true, "--max-records-per-second", 25))
      warning_of(job, "may be deleted before it is read, in about")
      warning_of(job, "the log's start is not near any more")
      stop(job)
   end)
end)
