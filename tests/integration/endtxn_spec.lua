-- SPDX-License-Identifier: Apache-2.0
-- The end of a transaction that is lost, unheard, slow, or late: the rows are
-- there once all the same. The last would not be so if the sink went on with the
-- producer that it had (KAFKA-17754), which is tried as well.
local h = require "harness"
local cjson = require "cjson"
local wires = require "wire"

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition .. "/" .. rec.offset end, { "id:string" })
   :to(tide.kafka { topic = "%s", key = "id" })
]]

local total = 300

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

   for _, fault in ipairs { { "request", "lose" }, { "request", "deaf" },
                            { "answer", "hold 6000" } } do
      local direction, action = unpack(fault)
      it(("may be met with %s"):format(action), function()
         for number = 1, direction == "answer" and 1 or 2 do -- none is the warm-up's
            local wire = wires.open()
            local id = wire:strike(direction, wires.keys.end_txn, number, action)
            h.run(job_args(wire.brokers, from, "--checkpoint-dir", h.path("cp" .. number)))
            assert.is_true(wire:did(id))
         end
         local _, count = ids_in(to)
         assert.are.equal(total * (direction == "answer" and 1 or 2), count)
      end)
   end

   -- Its first try reaches the broker while the next transaction is open, and
   -- that one's process dies before it ends it.
   local function late(points)
      local wire = wires.open()
      local id = wire:strike("request", wires.keys.end_txn, 2, "late go")
      local trace = h.path "trace"
      local job = h.start(job_args(wire.brokers, from), { env = {
         TIDEMARK_FAILPOINT_TRACE = trace,
         TIDEMARK_FAILPOINT = "kafka_offsets=delay:2500@4,kafka_commit=kill@4" .. points } })
      local function waits()
         return (h.read_file(trace) or ""):match "^[^%z]*" == "kafka_offsets"
      end
      h.eventually("the next transaction", function()
         if not (wire:did(id) and waits()) then
            return false
         end
         h.process.pause(300)
         return waits()
      end, job)
      wire:release(id)
      h.eventually("the late end", function() return wire:passed(id) end, wire.proxy)
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
