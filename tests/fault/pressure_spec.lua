-- SPDX-License-Identifier: Apache-2.0
-- What is downstream is slow: a Kafka that takes its time, a reader of a pipe that
-- does, a function of the job. Memory and what waits in the checkpoint stay
-- bounded, the lag is exact all the time and goes down to nothing, and every row
-- comes out once (V8, V27).
local h = require "harness"
local cjson = require "cjson"
local row = require("column").row "pressure"
local wires = require "wire"

local batch, mib = 500, 1024 * 1024

describe("what is slow", function()
   local topic, port
   local held = 0

   before_each(function()
      h.begin()
      topic, port = h.topic(1), h.process.free_ports(1)[1]
   end)

   local function args(brokers, ...)
      return { "run", h.path "job.lua", "-b", brokers, "--topic", topic, "--memory", "16M",
               "--checkpoint-dir", h.path "cp", "--listen", "127.0.0.1:" .. port, "--output",
               "json", "--max-records-per-batch", batch, ... }
   end

   local function progress()
      local status, body = h.process.http_get(port, "/api/v1/progress")
      return status == 200 and cjson.decode(body) or nil
   end

   local function kept_bytes()
      return tonumber(h.expect_exit(h.spawn { "du", "-sb", h.path "cp" }, 0):out():match "%d+")
   end

   -- Looks at it until all of `total` is published, and calls `meanwhile` each time.
   local function watch(job, total, meanwhile)
      local first_rss, most_rss, most_kept, looks, next_seen = nil, 0, 0, 0, 0
      local data = h.process.poll_until(300, function()
         meanwhile()
         assert.is_falsy(job:ended(), job:err())
         local now = progress()
         if not now or now.epoch < 0 or not now.sources or #now.sources == 0 then
            return nil
         end
         local at = now.sources[1]
         assert.are.equal(total, at["end"], "where the log ends")
         assert.are.equal(total - at.next, now.lag, "the lag")
         assert.is_true(at.next >= next_seen)
         next_seen, looks = at.next, looks + 1
         local rss = h.process.memory(job.pid)
         if next_seen >= total / 5 then
            first_rss = first_rss or rss
            most_rss = math.max(most_rss, rss)
         end
         if looks % 20 == 1 then
            most_kept = math.max(most_kept, kept_bytes())
         end
         return now.lag == 0
      end)
      assert.is_true(data, "the lag does not go to nothing")
      held = held + 1
      return { looks = looks, grown = most_rss - first_rss, kept = most_kept }
   end

   local function assert_bounded(seen, record_bytes)
      assert.is_true(seen.looks >= 5, "it was not slow: seen " .. seen.looks .. " times")
      if not h.sanitized then
         assert.is_true(seen.grown < 24 * mib, ("%.1f MiB more memory"):format(seen.grown / mib))
      end
      -- Two epochs of rows, and RocksDB's own: what an epoch put out goes for good
      -- when a dozen of its files are compacted.
      local most = 2 * batch * record_bytes + 64 * mib
      assert.is_true(seen.kept < most, ("%.1f MiB in the checkpoint"):format(seen.kept / mib))
   end

   local function stop(job)
      job:kill "TERM"
      h.expect_exit(job, 0)
   end

   it("may be a Kafka that rows go to", function()
      local total, bytes = 15000, 2000
      local to, wire = h.topic(1, "out"), wires.open()
      h.job(([[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.offset, rec.value end, { "off:int", "text:string" })
   :to(tide.kafka { topic = "%s", key = "off", value = "text" })]]):format(to))
      h.produce_counts(topic, { total }, ("x"):rep(bytes))
      wire:strike("answer", wires.keys.produce, 0, "each 150")
      local job = h.start(args(wire.brokers))
      assert_bounded(watch(job, total, function() end), bytes)
      stop(job)
      local keys, count = {}, 0
      for _, record in ipairs(h.json_lines(h.kadmin("consume", to, 0, 0, -1))) do
         keys[tonumber(record.key)], count = true, count + 1
      end
      assert.are.equal(total, count)
      assert.are.equal(total, #keys + (keys[0] and 1 or 0))
   end)

   it("may be the reader of a pipe", function()
      local total, bytes = 20000, 400
      local pipe = h.process.stalled_pipe(h.path "pipe")
      h.at_end(pipe.close)
      h.job [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.offset, rec.value end, { "off:int", "text:string" })
   :to(tide.console { mode = "append" })]]
      h.produce_counts(topic, { total }, ("x"):rep(bytes))
      local job, parts = h.start(args(h.brokers), { stdout = h.path "pipe" }), {}
      local seen = watch(job, total, function()
         h.process.pause(30)
         parts[#parts + 1] = pipe.read()
      end)
      assert_bounded(seen, bytes)
      stop(job)
      parts[#parts + 1] = pipe.read()
      local next_one = 0
      for _, printed in ipairs(h.json_lines(table.concat(parts))) do
         assert.are.equal(next_one, printed.off)
         next_one = next_one + 1
      end
      assert.are.equal(total, next_one)
   end)

   it("may be a pipe's reader that takes a kilobyte a second", function()
      local total, most, parts, taken, next_s, left = 60, 3 * 1024, {}, 0, 0, nil
      local pipe = h.process.stalled_pipe(h.path "pipe", 4096)
      h.at_end(pipe.close)
      h.job [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.offset, rec.value end, { "off:int", "text:string" })
   :to(tide.console { mode = "append" })]]
      h.produce_counts(topic, { total }, ("x"):rep(300))
      local argv = args(h.brokers)
      argv[#argv] = 4 -- records in an epoch, which take more than a second
      local job = h.start(argv, { stdout = h.path "pipe" })
      assert_bounded(watch(job, total, function()
         if taken < most and h.process.now() >= next_s then
            next_s = h.process.now() + 1
            parts[#parts + 1] = pipe.read(1024)
            taken = taken + #parts[#parts]
         elseif taken >= most then
            left = left or (progress() or {}).lag
            parts[#parts + 1] = left and pipe.read()
         end
      end), 300)
      stop(job)
      parts[#parts + 1] = pipe.read()
      assert.is_true(left > total / 3, "the reader did not hold it up")
      local next_one = 0
      for _, printed in ipairs(h.json_lines(table.concat(parts))) do
         assert.are.equal(next_one, printed.off)
         next_one = next_one + 1
      end
      assert.are.equal(total, next_one)
   end)

   it("may be a function of the job", function()
      local total, bytes = 15000, 1000
      h.job [[
local function think(rec)
   local x = rec.offset
   for i = 1, 100000 do
      x = (x * 31 + i) % 65521
   end
   return x % 7
end
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(think, { "key:int" }):group_by("key"):count()
   :to(tide.console { mode = "complete" })]]
      h.produce_counts(topic, { total }, ("x"):rep(bytes))
      local job = h.start(args(h.brokers))
      assert_bounded(watch(job, total, function() end), bytes)
      stop(job)
      local counts, sum = {}, 0
      for _, printed in ipairs(h.json_lines(job:out())) do
         counts[printed.key] = printed.count
      end
      for _, count in pairs(counts) do
         sum = sum + count
      end
      assert.are.equal(total, sum)
   end)

   it("says how it was", function()
      row:tally(held, "lag exact, memory bounded")
   end)
end)
