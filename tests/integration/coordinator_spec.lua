-- SPDX-License-Identifier: Apache-2.0
-- A group coordinator that is found late: who has asked for it waits no longer, and
-- librdkafka must not have given up either, for it does not survive what comes then.
local h = require "harness"
local cjson = require "cjson"
local wires = require "wire"

-- Longer than the first request of its kind is waited for.
local late_ms = 7000

local counts = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :group_by("key"):count():to(tide.console { mode = "update" })
]]

local copies = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition .. "/" .. rec.offset end, { "id:string" })
   :to(tide.kafka { topic = "%s", key = "id" })
]]

local total = 40

describe("a coordinator that is found late", function()
   local from

   before_each(function()
      h.begin()
      from = h.topic(1)
   end)

   local function args(brokers, ...)
      return { "run", h.path "job.lua", "-b", brokers, "--topic", from, "--no-ui",
               "--checkpoint-dir", h.path "cp", ... }
   end

   it("gets the positions all the same", function()
      h.job(counts)
      local wire, group = wires.open(), "mirror-" .. h.process.unique()
      local job = h.start(args(wire.brokers, "--group", group))
      h.eventually("a running job", function() return job:err():find "starts at offset" end, job)
      local id = wire:strike("answer", wires.keys.find_coordinator, 0, "each " .. late_ms)
      h.produce_counts(from, { total })
      h.eventually("a late answer", function() return wire:did(id) end, job)
      h.process.pause(2 * late_ms) -- several clients ask
      wire:stop(id)
      h.produce_counts(from, { total })
      h.eventually("all positions in the group", function()
         local line = h.kadmin("committed", group, from, 1)
         return cjson.decode(line).committed == 2 * total
      end, job)
      job:kill "TERM"
      h.expect_exit(job, 0)
   end)

   it("tells a sink what it has published", function()
      local to = h.topic(1, "out")
      h.produce_counts(from, { total })
      h.job(copies:format(to))
      local wire = wires.open()
      -- The first is asked for the coordinator of transactions.
      local id = wire:strike("answer", wires.keys.find_coordinator, 1, "hold " .. late_ms)
      h.run(args(wire.brokers, "--until-end", "--group", ""))
      assert.is_true(wire:passed(id))
      assert.are.equal(total, #h.json_lines(h.kadmin("consume", to, 0, 0, -1)))
   end)
end)
