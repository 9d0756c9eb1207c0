-- SPDX-License-Identifier: Apache-2.0
-- How long records take from the producer to whoever reads the outcome, at an even
-- rate, exactly once. latency.c writes, reads and counts.
local cjson = require "cjson"
local tools = require "tools"

local IN, OUT = "bench-in", "bench-out"
local full = os.getenv "FULL" ~= nil

--- One line of the table. `job` is false for broker and librdkafka alone.
local function run(line)
   tools.say("latency: %s", line.name)
   local checkpoint = tools.fresh()
   tools.topics(4, IN, OUT)
   local command = ("build/bench/latency -b %s -d %s -r %d -w %d -s %d %s %s"):format(
      tools.brokers, tools.scratch, line.rate, line.warm or full and 10 or 3, full and 60 or 8,
      line.from and "-o " .. line.from or "", IN)
   if line.job then
      command = ("%s -- build/tidemark run tests/bench/passing.lua -b %s -c %s --no-ui " ..
         "--output csv %s 2>%s/err"):format(command, tools.brokers, checkpoint, line.job,
         tools.scratch)
   end
   local text = tools.read(command)
   assert(text ~= "", "the latency of " .. line.name .. " could not be measured")
   local took = cjson.decode(text)
   print(("  %-34s %7.1f %7.1f %7.1f ms, %5.1f %% of a core; fdatasync %.1f %.1f ms"):format(
      line.name, took.p50_ms, took.p99_ms, took.p999_ms, took.cpu_percent, took.sync_p50_ms,
      took.sync_p99_ms))
   return took
end

local function goal(took, what, field, most, unit)
   tools.check(took[field] < most, "%-28s %7.1f %s, goal under %d", what, took[field], unit, most)
end

-- The older one has no way to learn at once that a transaction has ended.
local function newer(version)
   local major, minor = version:match "^(%d+)%.(%d+)"
   return tonumber(major) * 100 + tonumber(minor) >= 212
end

return function(rdkafka)
   print(("\nLatency of records of 100 bytes, p50 p99 p99.9 of %d s in steady state; fdatasync " ..
      "of 4 KiB, p50 p99"):format(full and 60 or 8))
   local result = {
      direct = run { name = "10,000/s, without a job", rate = 10000, from = IN },
      console = run { name = "10,000/s to the console", rate = 10000, job = "" },
      -- A broker that has just started compiles what transactions need for a while.
      kafka = run { name = "10,000/s to Kafka, read_committed", rate = 10000, from = OUT,
                    job = "--set to=" .. OUT, warm = 12 },
      slow = run { name = "100/s to the console, trigger 20 ms", rate = 100,
                   job = "--trigger 20ms" },
   }
   tools.remove(IN, OUT)
   goal(result.console, "to the console, p50", "p50_ms", 15, "ms")
   goal(result.console, "to the console, p99", "p99_ms", 60, "ms")
   goal(result.kafka, "to Kafka, p50", "p50_ms", newer(rdkafka) and 20 or 40, "ms")
   goal(result.kafka, "to Kafka, p99", "p99_ms", newer(rdkafka) and 80 or 120, "ms")
   goal(result.slow, "100/s, p99", "p99_ms", 40, "ms")
   goal(result.slow, "100/s, of a core", "cpu_percent", 3, "%")
   local right = true
   for _, took in pairs(result) do
      right = right and took.twice == 0 and took.never == 0 and took.exit == 0
   end
   tools.check(right, "every record came, and came once")
   return result
end
