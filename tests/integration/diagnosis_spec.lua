-- SPDX-License-Identifier: Apache-2.0
-- Why nothing comes out, asked from outside of a job that runs: its page, and
-- where that is silent its checkpoint, which the job keeps locked.
local h = require "harness"
local cjson = require "cjson"

local job_text = [[
local s = tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :json { "id:int", "ts:timestamp" }
   :filter(function(row) return row.id > 0 end)
   :watermark("ts", "10s")
   :group_by("id"):window "10s":count()
   :to(tide.console { mode = "append" })
return tide.job { on_error = "skip", outputs = s }
]]

describe("explain --running", function()
   local topic, port, job
   before_each(function()
      h.begin()
      h.job(job_text)
      topic, port = h.topic_name "why", h.process.free_ports(1)[1]
   end)

   local function start(...)
      job = h.start { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic,
                      "--checkpoint-dir", h.path "cp", "--listen", "127.0.0.1:" .. port, ... }
   end

   local function explain(...)
      return h.run { "explain", "--running", "--listen", "127.0.0.1:" .. port, ... }
   end

   -- nil while there is no checkpoint yet.
   local function explained(...)
      local asked = h.start { "explain", "--running", "--listen", "127.0.0.1:" .. port, "--json",
                              ... }
      return asked:wait(60) == 0 and cjson.decode(asked:out()) or nil
   end

   -- The findings by their kind, once the one that is wanted is among them.
   local function finds(kind, holds, ...)
      local args, answer = { ... }, nil
      return h.eventually("the finding " .. kind, function()
         answer = explained(unpack(args))
         for _, found in ipairs(answer and answer.findings or {}) do
            if found.kind == kind and (not holds or holds(found)) then
               return { found, answer }
            end
         end
      end, job)
   end

   local function lines(...)
      local records = {}
      for i, line in ipairs { ... } do
         records[i] = { value = line, partition = 0 }
      end
      return records
   end

   local function stop()
      job:kill "TERM"
      h.expect_exit(job, 0)
   end

   it("follows a job from no topic to windows that wait", function()
      start()
      h.eventually("the page", function() return h.process.http_get(port, "/") == 200 end, job)
      local found, answer = unpack(finds("no_topic", nil, h.path "job.lua"))
      assert.are.equal(("waiting for topic %s to exist"):format(topic), found.text)
      assert.are.same({ "page", "waiting", "job" }, { answer.from, answer.status, answer.name })
      h.create_topic(topic, 2)
      finds("empty_topic", nil, h.path "job.lua")
      h.produce(topic, lines('{"id":0,"ts":"2024-01-01T00:00:00Z"}', "{", "{}"))
      found = finds("filtered", function(at)
         return at.text:find("1 of 3 records", 1, true)
      end, h.path "job.lua")[1]
      assert.are.same({ 1, 4 }, { found.rows, found.line })
      local text = explain("--checkpoint-dir", h.path "cp/job"):out()
      assert.is_truthy(text:find("1 of 3 records failed", 1, true), text)
      assert.is_truthy(text:find("1 of 3 records malformed", 1, true), text)
      h.produce(topic, lines('{"id":1,"ts":"2024-01-01T00:00:03Z"}'))
      found = finds("windows", nil, h.path "job.lua")[1]
      assert.are.equal("2024-01-01T00:00:10.000Z", found.windowEnd)
      finds("watermark", function(at) return at.text:find "^low input" end, h.path "job.lua")
      local status, body = h.process.http_get(port, "/api/v1/progress")
      assert.are.equal(200, status)
      assert.is_truthy(cjson.decode(body).message:find("the next window of", 1, true), body)
      -- A job of another checkpoint is not taken for this one.
      h.job(job_text, "other.lua")
      h.expect_exit(h.start { "explain", "--running", h.path "other.lua", "--listen",
                              "127.0.0.1:" .. port, "--checkpoint-dir", h.path "cp" }, 5)
      stop()
   end)

   it("reads the checkpoint of a job without a page, whether it runs or not", function()
      h.create_topic(topic, 1)
      h.produce(topic, lines('{"id":-1,"ts":"2024-01-01T00:00:00Z"}',
                             '{"id":-2,"ts":"2024-01-01T00:00:00Z"}'))
      start "--no-ui"
      local found, answer = unpack(finds("filtered",
         function(at) return at.line and at.rows == 2 end, "--checkpoint-dir", h.path "cp/job"))
      assert.are.equal("all 2 records filtered out by filter(function:4) in line 4", found.text)
      assert.are.same({ "checkpoint", "job", 2, 0, answer.epoch },
         { answer.from, answer.name, answer.totalRecords, answer.totalRowsOut, answer.asOfEpoch })
      assert.is_truthy(answer.page:find("nothing listens there", 1, true), answer.page)
      h.produce(topic, lines('{"id":1,"ts":"2024-01-01T00:00:03Z"}'))
      finds("windows", nil, h.path "job.lua", "--checkpoint-dir", h.path "cp")
      -- It runs on: nobody has touched its lock.
      h.produce(topic, lines('{"id":1,"ts":"2024-01-01T00:01:00Z"}',
                             '{"id":1,"ts":"2024-01-01T00:01:01Z"}'))
      h.eventually("rows", function() return job:out():find("2024%-01%-01") end, job)
      stop()
      local text = explain("--checkpoint-dir", h.path "cp/job"):out()
      assert.is_truthy(text:find("so this is what its checkpoint", 1, true), text)
      assert.is_truthy(text:find("the next window of", 1, true), text)
   end)

   it("says what the job starts at, or waits for, before its first epoch", function()
      h.create_topic(topic, 1)
      h.produce(topic, lines("{}"))
      start("--from", "latest", "--trigger", "1h")
      h.eventually("the page", function() return h.process.http_get(port, "/") == 200 end, job)
      local found = finds("nothing_new", nil, h.path "job.lua", "--checkpoint-dir", h.path "cp")
      assert.is_truthy(found[1].text:find("reads the 1 record before them", 1, true), found[1].text)
      h.produce(topic, lines('{"id":0,"ts":"2024-01-01T00:00:00Z"}'))
      finds("filtered", nil, h.path "job.lua", "--checkpoint-dir", h.path "cp")
      finds("trigger", nil, h.path "job.lua", "--checkpoint-dir", h.path "cp")
      stop()
      local answer = h.run { "explain", "--running", "--checkpoint-dir", h.path "cp/job", "--json",
                             "--no-ui" }
      assert.are.equal("filtered", cjson.decode(answer:out()).findings[1].kind)
   end)

   it("wants to know which job", function()
      h.expect_exit(h.start { "explain" }, 2)
      h.expect_exit(h.start { "explain", "--running" }, 2)
   end)
end)
