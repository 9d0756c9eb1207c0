-- SPDX-License-Identifier: Apache-2.0
-- A signal ends a job well: idle, busy, or with a broker that does not answer.
local h = require "harness"

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition end, { "part:int" })
   :group_by("part"):count()
   :to(tide.console { mode = "update" })
]]

local function job_args(topic, ...)
   return { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
            "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
            "--output", "json", ... }
end

local function wait_for_output(job)
   h.eventually("the first rows", function() return job:out() ~= "" end, job)
end

local function total_read()
   local sum = 0
   for _, epoch in ipairs(h.progress()) do
      sum = sum + epoch.numInputRows
   end
   return sum
end

describe("shutdown", function()
   before_each(function()
      h.begin()
      h.job(job_text)
   end)

   for _, signal in ipairs { "INT", "TERM" } do
      it("of an idle job by SIG" .. signal .. " exits 0", function()
         local topic = h.topic(1)
         h.produce_counts(topic, { 10 })
         local job = h.start(job_args(topic))
         wait_for_output(job)
         job:kill(signal)
         h.expect_exit(job, 0)
         assert.are.same({ [0] = 10 }, h.next_offsets(h.path "cp", topic))
      end)

      it("in the middle of epochs by SIG" .. signal .. " loses and repeats nothing", function()
         local topic = h.topic(2)
         h.produce_counts(topic, { 5000, 5000 }, "x")
         local args = job_args(topic, "--max-records-per-batch", 100)
         local job = h.start(args, { env = { TIDEMARK_FAILPOINT = "publish=delay:5" } })
         wait_for_output(job)
         job:kill(signal)
         h.expect_exit(job, 0)
         args[#args + 1] = "--until-end"
         local rest = h.run(args)
         assert.are.equal(10000, total_read())
         local counts = {}
         for _, row in ipairs(h.json_lines(rest:out())) do
            counts[row.part] = row.count
         end
         assert.are.same({ [0] = 5000, 5000 }, counts)
      end)
   end

   it("does not wait for a broker that no longer answers", function()
      local topic = h.topic(1)
      h.produce_counts(topic, { 10 })
      local job = h.start(job_args(topic))
      wait_for_output(job)
      local broker = tonumber(h.read_file(h.kafka_dir .. "/pid"))
      h.process.kill_pid(broker, "STOP")
      h.at_end(function() h.process.kill_pid(broker, "CONT") end)
      job:kill "TERM"
      local ended = job:wait(30)
      h.process.kill_pid(broker, "CONT")
      assert.are.equal(0, ended, job:err())
      assert.are.same({ [0] = 10 }, h.next_offsets(h.path "cp", topic))
   end)

   it("is at once on a second signal, with the signal's code", function()
      for signal, code in pairs { INT = 130, TERM = 143 } do
         local topic = h.topic(1)
         h.produce_counts(topic, { 1 })
         local args = job_args(topic)
         args[#args + 1] = "--checkpoint-dir"
         args[#args + 1] = h.path("cp" .. signal)
         local trace = h.path("trace" .. signal)
         local job = h.start(args, { env = { TIDEMARK_FAILPOINT = "publish=delay:600000",
                                             TIDEMARK_FAILPOINT_TRACE = trace } })
         h.eventually("a publish that hangs", function()
            return h.read_file(trace):find("\npublish\n", 64, true)
         end, job)
         -- Two that come together may be one; so again until it has ended.
         h.process.poll_until(60, function()
            job:kill(signal)
            return job:ended()
         end)
         h.expect_exit(job, code)
      end
   end)

   it("gives the terminal back on a second signal", function()
      local topic = h.topic(1)
      h.produce_counts(topic, { 1 })
      local tty = h.process.terminal(24, 80)
      h.at_end(tty.close)
      local args = job_args(topic)
      args[#args + 1] = "--output=table"
      local job = h.start(args, { tty = tty.path, env = {
         TERM = "xterm", TIDEMARK_FAILPOINT = "publish=delay:600000@2" } })
      local function regions()
         return tty.screen():match("^.*()\27%[%d+;%d+r"), tty.screen():match("^.*()\27%[r")
      end
      h.eventually("the table", function() return regions() end, job)
      h.produce_counts(topic, { 1 })
      h.process.poll_until(60, function()
         tty.screen()
         job:kill "TERM"
         return job:ended()
      end)
      h.expect_exit(job, 143)
      local set, reset = regions()
      assert.is_true(reset > set, "the scroll region stays set")
      assert.is_truthy(h.process.poll_until(60, function()
         return tty.screen():find("\27[?25h", reset, true)
      end))
   end)

   -- Text of a length that no pipe holds.
   local function produce_more_than_a_pipe(topic)
      h.produce_counts(topic, { 3000 }, ("x"):rep(100))
   end

   local lines_job = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.offset, rec.value end, { "offset:int", "text:string" })
   :to(tide.console { mode = "append" })
]]

   for _, stalled in ipairs { "stdout", "stdout and stderr" } do
      it("leaves to the next start what nobody reads from " .. stalled, function()
         h.job(lines_job)
         local topic = h.topic(1)
         produce_more_than_a_pipe(topic)
         local pipe = h.process.stalled_pipe(h.path "pipe")
         h.at_end(pipe.close)
         local args, trace = job_args(topic), h.path "trace"
         local job = h.start(args, { stdout = h.path "pipe",
                                     stderr = stalled ~= "stdout" and h.path "pipe" or nil,
                                     env = { TIDEMARK_FAILPOINT_TRACE = trace } })
         if stalled ~= "stdout" then
            function job.err() return "" end -- reading it would block us
         end
         h.eventually("a publication", function()
            return h.read_file(trace):find("\npublish\n", 64, true)
         end, job)
         job:kill "TERM"
         h.expect_exit(job, 0)
         if stalled == "stdout" then
            assert.is_truthy(job:err():find("epoch %d+ waits in the checkpoint"), job:err())
         end

         local seen, count = {}, 0
         local function note(text)
            for offset in text:gmatch '{"offset":(%d+),"text":"x+"}\n' do
               if not seen[offset] then
                  seen[offset], count = true, count + 1
               end
            end
         end
         local taken = pipe.read()
         note(taken)
         assert.is_true(count < 3000, "the reader did not stall")
         if stalled == "stdout" then
            assert.are.equal("\n", taken:sub(-1))
         end
         args[#args + 1] = "--until-end"
         note(h.run(args):out())
         assert.are.equal(3000, count)
      end)
   end
end)
