-- SPDX-License-Identifier: Apache-2.0
-- The end of a transaction that is lost, unheard, slow, or late: the rows are
-- there once all the same. The last would not be so if the sink went on with the
-- producer that it had (KAFKA-17754), which is tried as well.
local h = require "harness"
local cjson = require "cjson"

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition .. "/" .. rec.offset end, { "id:string" })
   :to(tide.kafka { topic = "%s", key = "id" })
]]

local total = 300

local function proxy_start(mode, number)
   local proxy = h.spawn { "luajit", h.root .. "/tests/integration/proxy.lua",
                           h.brokers:match ":(%d+)$", mode, tostring(number), h.path "release" }
   h.eventually("the proxy", function() return proxy:out():match "^%d+\n" end, proxy)
   return proxy, "127.0.0.1:" .. proxy:out():match "^(%d+)"
end

local function job_args(brokers, topic, ...)
   return { "run", h.path "job.lua", "-b", brokers, "--topic", topic, "--until-end", "--no-ui",
            "--checkpoint-dir", h.path "cp", "--max-records-per-batch", 60, ... }
end

-- How often each id is there, for a reader that is read_committed.
local function ids_in(topic)
   local ids, count = {}, 0
   for _, record in ipairs(h.json_lines(h.kadmin("consume", topic, 0, 0, -1))) do
      local id = cjson.decode(record.value).id
      ids[id] = (ids[id] or 0) + 1
      count = count + 1
   end
   return ids, count
end

local function assert_once(topic)
   local ids, count = ids_in(topic)
   for id, times in pairs(ids) do
      assert.are.equal(1, times, id)
   end
   assert.are.equal(total, count)
end

describe("the end of a transaction", function()
   local from, to

   before_each(function()
      h.begin()
      from, to = h.topic(1), h.topic(1, "out")
      h.job(job_text:format(to))
      h.produce_counts(from, { total })
   end)

   for _, mode in ipairs { "lose", "deaf", "slow:6000" } do
      it(("may be met with %s"):format(mode), function()
         for number = 2, mode:match "slow" and 2 or 3 do -- the first is the warm-up's
            local proxy, brokers = proxy_start(mode, number)
            h.run(job_args(brokers, from, "--checkpoint-dir", h.path("cp" .. number)))
            assert.is_truthy(proxy:out():find("did " .. mode, 1, true))
         end
         local _, count = ids_in(to)
         assert.are.equal(total * (mode:match "slow" and 1 or 2), count)
      end)
   end

   -- Its first try reaches the broker while the next transaction is open, and
   -- that one's process dies before it ends it.
   local function late(points)
      local proxy, brokers = proxy_start("late", 3)
      local trace = h.path "trace"
      local job = h.start(job_args(brokers, from), { env = {
         TIDEMARK_FAILPOINT_TRACE = trace,
         TIDEMARK_FAILPOINT = "kafka_offsets=delay:2500@4,kafka_commit=kill@4" .. points } })
      local function waits()
         return (h.read_file(trace) or ""):match "^[^%z]*" == "kafka_offsets"
      end
      h.eventually("the next transaction", function()
         if not (proxy:out():find "did late" and waits()) then
            return false
         end
         h.process.pause(300)
         return waits()
      end, job)
      h.write_file(h.path "release", "")
      h.eventually("the late end", function() return proxy:out():find "released" end, proxy)
      local _, signal = job:wait(60)
      assert.are.equal(h.process.signals.KILL, signal, job:err())
      h.run(job_args(h.brokers, from))
   end

   it("may come late, when the next transaction is open", function()
      late ""
      assert_once(to)
   end)

   it("that comes late would tear the next one if the producer were kept", function()
      late ",kafka_trust=io"
      local _, count = ids_in(to)
      assert.is_true(count > total, "nothing was torn: does this test still show anything?")
   end)
end)
