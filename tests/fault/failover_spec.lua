-- SPDX-License-Identifier: Apache-2.0
-- Three brokers that keep everything three times, and one of them, the leader of a
-- partition under load, is killed: the same process goes on with the others (IND-13)
-- and every record comes out once. SEED= replays the moments.
local h = require "harness"
local broker_of = require "broker"
local cjson = require "cjson"
local row = require("column").row "failover"

local each = 3000 -- records for a strike

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition, rec.offset end, { "part:int", "off:int" })
   :to(tide.kafka { topic = "%s" })
]]

describe("a cluster", function()
   local brokers, address, from, to, job, total

   local function tool(argv, options)
      return h.expect_exit(h.spawn({ h.root .. "/build/" .. h.flavour .. "/kadmin", "-b", address,
                                     unpack(argv) }, options), 0, 120):out()
   end

   before_each(function()
      h.begin()
      brokers, address = broker_of.start_three()
      from, to, total = h.topic_name "in", h.topic_name "out", 0
      tool { "create", from, "3" }
      tool { "create", to, "3" }
      h.job(job_text:format(to))
   end)

   local function produce()
      local lines = {}
      for n = 1, each do
         lines[n] = ('{"value":"x","partition":%d}\n'):format(n % 3)
      end
      tool({ "produce", from }, { stdin = table.concat(lines) })
      total = total + each
   end

   local function published()
      local sum = 0
      for _, epoch in ipairs(h.progress()) do
         sum = sum + epoch.numInputRows
      end
      return sum
   end

   it(("loses one of its brokers, %d times (SEED=%d)"):format(row.count, row.seed), function()
      job = h.start({ "run", h.path "job.lua", "-b", address, "--topic", from, "--no-ui",
                      "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
                      "--max-records-per-batch", 100 },
                    { env = { TIDEMARK_FAILPOINT = "run=delay:10" } })
      local slowest = 0
      for n = 1, row.count do
         local before = published()
         produce()
         h.eventually("some of the new records", function() return published() > before end, job)
         h.process.pause(row:random(200))
         local broker = brokers[(row.first + n + row.seed) % 3 + 1]
         assert.is_true(published() < total, "it was done before the broker died")
         broker:fell "KILL"
         local fell = h.process.now()
         h.eventually("all records from the others", function()
            return published() >= total
         end, job)
         slowest = math.max(slowest, h.process.now() - fell)
         broker:again()
      end
      job:kill "TERM"
      h.expect_exit(job, 0)

      local seen, last = 0, { [0] = -1, -1, -1 }
      local ids = {}
      for p = 0, 2 do
         for _, record in ipairs(h.json_lines(tool { "consume", to, tostring(p), "0", "-1" })) do
            local out = cjson.decode(record.value)
            local id = out.part .. "/" .. out.off
            assert.is_nil(ids[id], id .. " is there twice")
            ids[id], seen = true, seen + 1
            last[out.part] = math.max(last[out.part], out.off)
         end
      end
      row:tally(row.count, ("%d rows exact; the slowest went on after %.1f s"):format(seen,
                                                                                       slowest))
      assert.are.equal(total, seen)
      for p = 0, 2 do
         assert.are.equal(total / 3 - 1, last[p])
      end
      assert.is_true(slowest < 60, "it took long to go on")
   end)
end)
