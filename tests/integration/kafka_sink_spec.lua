-- SPDX-License-Identifier: Apache-2.0
-- Conformance vector V20 for the Kafka sink: whatever happens while an epoch is
-- published, a read_committed reader that is there all the time sees the rows of
-- a run without a crash, once, and in order.
local h = require "harness"
local cjson = require "cjson"

local counts, batch -- records in each partition, and of an epoch

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition .. "/" .. rec.offset, rec.partition, rec.offset end,
        { "id:string", "part:int", "off:int" })
   :to(tide.kafka { topic = "%s", key = "id" %s})
]]

local function job_args(topic, ...)
   return { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end", "--no-ui",
            "--checkpoint-dir", h.path "cp", "--max-records-per-batch", batch, ... }
end

-- Topics with records in the first, and a reader of the second.
local function setting(more)
   local from, to = h.topic(2), h.topic(3, "out")
   h.job(job_text:format(to, more or ""))
   h.produce_counts(from, counts)
   local reader = h.spawn { h.root .. "/build/" .. h.flavour .. "/kadmin", "-b", h.brokers,
                            "follow", to }
   return from, to, reader
end

local function run_killed(topic, failpoint)
   local job = h.start(job_args(topic), { env = { TIDEMARK_FAILPOINT = failpoint } })
   local _, signal = job:wait(60)
   assert.are.equal(h.process.signals.KILL, signal, "the fail point was not reached: " .. job:err())
   return job
end

local function rows_of(reader)
   local rows = {}
   for i, record in ipairs(h.json_lines(reader:out())) do
      rows[i] = cjson.decode(record.value)
      rows[i].at = record
   end
   return rows
end

-- What the reader saw is every record of the input, once, and in each partition
-- of the output in the order of the input.
local function assert_exact(reader)
   local total, seen, last, rows = counts[1] + counts[2], {}, {}, nil
   h.eventually("the reader to see every row", function()
      rows = rows_of(reader)
      return #rows >= total
   end)
   for _, row in ipairs(rows) do
      assert.is_nil(seen[row.id], row.id .. " is there twice")
      assert.are.equal(row.id, row.at.key)
      seen[row.id] = true
      local stream = row.at.partition .. "<" .. row.part
      assert.is_true((last[stream] or -1) < row.off, row.id .. " is out of order")
      last[stream] = row.off
   end
   assert.are.equal(total, #rows)
end

describe("the Kafka sink", function()
   before_each(function()
      h.begin()
      counts, batch = { 330, 170 }, 60
   end)

   it("publishes every row once", function()
      local from, to, reader = setting()
      local job = h.run(job_args(from))
      assert.is_truthy(job:err():find("sink kafka:" .. to .. " is exactly-once", 1, true))
      assert_exact(reader)
   end)

   -- (a) decided, nothing written; (c) in a transaction; (b) written, not on
   -- record; (d) on record.
   for _, point in ipairs { "decide", "decided", "publish", "kafka_begin", "kafka_flush",
                            "kafka_offsets", "kafka_commit", "kafka_committed", "published",
                            "release" } do
      it("is exact after a kill at " .. point .. " (V20)", function()
         local from, _, reader = setting()
         for hit = 1, 3 do
            run_killed(from, ("%s=kill@%d"):format(point, hit))
         end
         h.run(job_args(from))
         assert_exact(reader)
      end)
   end

   -- Kills at random moments, of which most land while an epoch is published.
   local kills = tonumber(os.getenv "TIDE_SINK_KILLS") or (h.sanitized and 8 or 30)
   local seed = tonumber(os.getenv "SEED") or math.floor(h.process.now() * 1000) % 1000000

   it(("is exact after %d kills at random moments (SEED=%d)"):format(kills, seed), function()
      math.randomseed(seed)
      -- More than they can read.
      counts, batch = { 20 * kills, 10 * kills + 500 }, 4
      local from, _, reader = setting()
      local trace, landed, inside = h.path "trace", {}, 0
      local stretch = {}
      for i, point in ipairs { "decide", "decided", "kafka_begin", "kafka_flush", "kafka_offsets",
                               "kafka_commit", "kafka_committed", "published" } do
         stretch[i] = point .. "=delay:6"
      end
      for n = 1, kills do
         h.write_file(trace, "")
         local job = h.start(job_args(from), { env = {
            TIDEMARK_FAILPOINT = table.concat(stretch, ","), TIDEMARK_FAILPOINT_TRACE = trace } })
         local function reached()
            return h.read_file(trace):match "^[^%z]*"
         end
         h.eventually("an epoch of run " .. n, function()
            return h.read_file(trace):find("\npublish\n", 1, true)
         end, job)
         h.process.pause(math.random(0, 60))
         job:kill "KILL"
         job:wait(10)
         local place = reached()
         landed[place] = (landed[place] or 0) + 1
         inside = inside + (place:find "^kafka_" and 1 or 0)
      end
      batch = 60
      local ended = h.run(job_args(from))
      assert_exact(reader)
      local where = {}
      for place, count in pairs(landed) do
         where[#where + 1] = ("%s %d"):format(place, count)
      end
      table.sort(where)
      print(("        %d kills, SEED=%d: %s"):format(kills, seed, table.concat(where, ", ")))
      assert.is_true(inside >= kills / 5, inside .. " kills landed in a transaction")
      assert.is_truthy(ended:err():find("exactly-once", 1, true))
   end)

   it("gives up within ten seconds when the broker no longer answers", function()
      local from, _, reader = setting()
      local job = h.start(job_args(from), { env = { TIDEMARK_FAILPOINT = "kafka_flush=stop@3" } })
      h.eventually("an epoch that is being published", function()
         return h.read_file(("/proc/%d/stat"):format(job.pid)):match "%) T "
      end, job)
      local broker = tonumber(h.read_file(h.kafka_dir .. "/pid"))
      h.process.kill_pid(broker, "STOP")
      h.at_end(function() h.process.kill_pid(broker, "CONT") end)
      local asked = h.process.now()
      job:kill "INT"
      job:kill "CONT"
      local code = job:wait(30)
      local took = h.process.now() - asked
      h.process.kill_pid(broker, "CONT")
      assert.are.equal(0, code, job:err())
      assert.is_true(h.sanitized or took < 10, ("it took %.1f s"):format(took))
      h.run(job_args(from))
      assert_exact(reader)
   end)

   it("writes keys, times, headers and values as they are declared (SUM-57)", function()
      local from, to = h.topic(1), h.topic(1, "out")
      h.produce(from, { { key = "7", value = "1704110160000", partition = 0 } })
      h.job(([[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec)
      local ms = tonumber(tostring(rec.value))
      return tostring(rec.key), ms, ms + 60000, 42, 7.5, true, "\195\188\n", nil
   end, { "user_id:string", "window_start:timestamp", "window_end:timestamp", "events:int",
          "share:double", "ok:bool", "text:string", "none:string?" })
   :to(tide.kafka { topic = %q, key = "user_id", timestamp = "window_end",
      value = { "window_start", "window_end", "events", "share", "ok", "text", "none" },
      headers = { n = "events", nothing = "none", at = "window_start" } },
      tide.kafka { topic = %q, name = "plain", key = "none", value = "share" })]]):format(to, to))
      h.run(job_args(from))
      local records = h.json_lines(h.kadmin("consume", to, 0, 0, -1))
      table.sort(records, function(a, b) return #a.value > #b.value end)
      assert.are.equal('{"window_start":"2024-01-01T11:56:00.000Z",' ..
         '"window_end":"2024-01-01T11:57:00.000Z","events":42,"share":7.5,"ok":true,' ..
         '"text":"ü\\n","none":null}', records[1].value)
      assert.are.equal("7", records[1].key)
      assert.are.equal(1704110220000, records[1].timestamp)
      assert.are.same({ { "at", "2024-01-01T11:56:00.000Z" }, { "n", "42" },
                        { "nothing", cjson.null } }, records[1].headers)
      assert.are.same({ cjson.null, "7.5" }, { records[2].key, records[2].value })
   end)
end)
