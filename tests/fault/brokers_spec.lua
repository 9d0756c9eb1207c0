-- SPDX-License-Identifier: Apache-2.0
-- The only broker dies, is restarted, or stands still for a while, in the middle of
-- epochs: the same process goes on when it is back, and every record comes out
-- once, in order, and is counted once. SEED= replays kinds and moments.
local h = require "harness"
local broker_of = require "broker"
local cjson = require "cjson"
local row = require("column").row "brokers"

local each = 500 -- records for a strike
local keys = 7

local job_text = [[
local s = tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition, rec.offset, rec.offset %% %d end,
        { "part:int", "off:int", "key:int" })
return tide.job { outputs = {
   s:to(tide.kafka { topic = "%s" }),
   s:group_by("key"):count():to(tide.kafka { topic = "%s", mode = "update" }),
} }
]]

-- Epochs long enough to be struck.
local phases = "run=delay:5,barrier=delay:5,decide=delay:5,decided=delay:5,publish=delay:5"

local kinds = { "KILL", "TERM", "STOP" }

describe("a broker", function()
   local broker, from, rows_to, counts_to, job, total

   local function kadmin(...)
      local argv = { h.root .. "/build/" .. h.flavour .. "/kadmin", "-b", broker.address, ... }
      return h.expect_exit(h.spawn(argv), 0):out()
   end

   before_each(function()
      h.begin()
      -- A controller that starts again takes the broker back when its session is
      -- over, which is after nine seconds by default: 100 s of waiting in all.
      broker = broker_of.start { "broker.session.timeout.ms=3000",
                                 "broker.heartbeat.interval.ms=500" }
      from, rows_to, counts_to = h.topic_name "in", h.topic_name "rows", h.topic_name "counts"
      kadmin("create", from, "2")
      kadmin("create", rows_to, "1")
      kadmin("create", counts_to, "1")
      h.job(job_text:format(keys, rows_to, counts_to))
      total = 0
   end)

   local function produce()
      local lines = {}
      for n = 1, each do
         lines[n] = ('{"value":"x","partition":%d}\n'):format(n % 2)
      end
      h.expect_exit(h.spawn({ h.root .. "/build/" .. h.flavour .. "/kadmin", "-b", broker.address,
                              "produce", from }, { stdin = table.concat(lines) }), 0)
      total = total + each
   end

   local function published()
      local sum = 0
      for _, epoch in ipairs(h.progress()) do
         sum = sum + epoch.numInputRows
      end
      return sum
   end

   local function phase()
      return (h.read_file(h.path "trace") or ""):match "^[^%z]*"
   end

   local function strike(kind)
      local before = published()
      produce()
      h.eventually("some of the new records", function() return published() > before end, job)
      h.process.pause(row:random(100))
      local met = phase()
      if kind == "STOP" then
         broker:signal "STOP"
         h.process.pause(100 + row:random(3000))
         broker:signal "CONT"
      else
         broker:fell(kind)
         broker:again()
      end
      local healed = h.process.now()
      h.eventually("all records after " .. kind, function() return published() >= total end, job)
      return h.process.now() - healed, met
   end

   local function records_of(topic)
      local list = {}
      for i, record in ipairs(h.json_lines(kadmin("consume", topic, "0", "0", "-1"))) do
         list[i] = cjson.decode(record.value)
      end
      return list
   end

   it(("may fail as it likes, %d times (SEED=%d)"):format(row.count, row.seed), function()
      job = h.start({ "run", h.path "job.lua", "-b", broker.address, "--topic", from, "--no-ui",
                      "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
                      "--max-records-per-batch", 40 },
                    { env = { TIDEMARK_FAILPOINT = phases,
                              TIDEMARK_FAILPOINT_TRACE = h.path "trace" } })
      local slowest, inside = 0, 0
      for n = 1, row.count do
         local took, met = strike(kinds[(row.first + n) % #kinds + 1])
         slowest = math.max(slowest, took)
         inside = inside + (met ~= "idle" and 1 or 0)
      end
      job:kill "TERM"
      h.expect_exit(job, 0)

      local seen, last, expected = 0, { [0] = -1, -1 }, {}
      for _, out in ipairs(records_of(rows_to)) do
         assert.are.equal(last[out.part] + 1, out.off, "partition " .. out.part)
         last[out.part], seen = out.off, seen + 1
         expected[out.off % keys] = (expected[out.off % keys] or 0) + 1
      end
      local counts = {}
      for _, out in ipairs(records_of(counts_to)) do
         assert.is_true((counts[out.key] or 0) < out.count, "a count went back")
         counts[out.key] = out.count
      end
      row:tally(row.count, ("%d inside an epoch, %d rows exact; the slowest went on after %.1f s")
         :format(inside, seen, slowest))
      assert.are.equal(total, seen)
      assert.are.same(expected, counts)
      assert.is_true(slowest < 60, "it took long to go on")
      assert.is_true(inside >= row.count * 0.7, inside .. " of them inside an epoch")
   end)
end)
