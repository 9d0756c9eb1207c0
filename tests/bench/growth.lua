-- SPDX-License-Identifier: Apache-2.0
-- What it costs when there is more of it: keys, partitions, workers.
local cjson = require "cjson"
local tools = require "tools"

local M = {}
local ROUNDS = 3

--- One run of a job and its rate: that of all records, or, with `newest`, of so many
-- before the last epoch begins, when the one before it is still being decided: so it is
-- as fast as a run that goes on.
local function run(job, flags, newest)
   local took = tools.measured("-o /dev/null", ("build/tidemark run %s --from earliest " ..
      "-c %s --no-ui --progress %s %s"):format(job, tools.checkpoint, tools.progress, flags))
   took.span_ms, took.rows, took.last = tools.span_of(tools.progress)
   took.cpu_us = took.cpu_s / took.rows * 1e6
   if newest then
      took.span_ms, took.rows = tools.span_before_last(tools.progress, newest)
   end
   took.rate = took.rows / took.span_ms * 1e3
   return took
end

-- Keys ---------------------------------------------------------------------------

local KEYS_JOB = "tests/bench/growing.lua"

local function from_the_start()
   assert(tools.shell(("build/tidemark offsets reset %s -b %s -c %s --to earliest --state keep " ..
      "--yes >%s/reset 2>&1"):format(KEYS_JOB, tools.brokers, tools.checkpoint, tools.scratch)),
      "offsets could not be reset")
   tools.shell("rm -f " .. tools.progress)
end

--- Process start to the first result of an epoch of 1,000 records, on that state.
local function restart(flags)
   local runs = {}
   for i = 1, 5 do
      runs[i] = tools.measured("-f", ("build/tidemark run %s -c %s --no-ui --output spark " ..
         "--max-records-per-batch 1000 %s"):format(KEYS_JOB, tools.checkpoint, flags))
   end
   return tools.median(runs, "first_s")
end

--- The last two million find their keys, which the same process has seen before.
local function with_keys(keys, round)
   tools.say("%d keys, %d of %d", keys, round, ROUNDS)
   tools.fresh()
   local flags = ("-b %s --memory 4G --set keys=%d"):format(tools.brokers, keys)
   local took = run(KEYS_JOB, flags .. " --until-end --output none", 2000000)
   from_the_start()
   local restart_s = restart(flags)
   took.keys, took.restart_s = keys, restart_s
   local state = took.last.stateOperators[1]
   took.state_bytes, took.held = state.memoryUsedBytes, state.numRowsTotal
   return took
end

local function print_keys(runs)
   print(("  %9d keys %6.0f ns a record; over all %5.2f us of processor time; RSS %5.0f MB; " ..
      "restart %.3f s")
      :format(runs[1].held, 1e9 / tools.median(runs, "rate"), tools.median(runs, "cpu_us"),
      tools.median(runs, "rss_mb"), tools.median(runs, "restart_s")))
end

--- The state of ten million keys is there; memory is for a twentieth of it.
local function beyond_memory(most)
   local state_bytes = most[1].state_bytes
   local cap = math.max(math.ceil(state_bytes / 20 / 2 ^ 20), 16)
   tools.say("the same state under --memory %dM, a minute", cap)
   from_the_start()
   local took = run(KEYS_JOB, ("-b %s --set keys=%d --memory %dM --for 60s --output none " ..
      "--max-records-per-batch 200000"):format(tools.brokers, most[1].keys, cap))
   took.cap_mb, took.share = cap, took.rate / tools.median(most, "rate")
   tools.check(took.share >= 0.25, "%.2f of that rate where %d MB of state have %d MB, goal at " ..
      "least 0.25", took.share, state_bytes / 2 ^ 20, cap)
   return took
end

function M.keys()
   local result, counts = {}, { 10000, 100000, 1000000, 10000000 }
   for round = 1, ROUNDS do
      for i, keys in ipairs(counts) do
         result[i] = result[i] or {}
         result[i][round] = with_keys(keys, round)
      end
   end
   print(("\nTime per record with so many keys: the last 2 of 12 million records; medians of %d")
      :format(ROUNDS))
   for i = 1, #counts do
      print_keys(result[i])
   end
   local few, many, most = result[1], result[3], result[4]
   local times = tools.median(few, "rate") / tools.median(most, "rate")
   tools.check(times <= 1.15, "%.2f times as long with the most, goal at most 1.15", times)
   tools.check(tools.median(many, "restart_s") < 1, "restart with a million: %.3f s, goal under 1",
      tools.median(many, "restart_s"))
   tools.check(tools.median(most, "restart_s") < 5, "restart with ten million: %.3f s, goal " ..
      "under 5", tools.median(most, "restart_s"))
   result.beyond = beyond_memory(most)
   return result
end

-- Partitions ---------------------------------------------------------------------

local PARTITIONS_RECORDS = 8000000

--- What librdkafka alone makes of it.
local function raw(topic)
   local out = tools.scratch .. "/raw.json"
   local took = tools.measured("-o " .. out, ("build/bench/raw_consumer -b %s %s"):format(
      tools.brokers, topic))
   local said = cjson.decode(tools.read("cat " .. out))
   assert(said.records == PARTITIONS_RECORDS)
   return { rate = said.records_per_s, cpu_us = took.cpu_s / said.records * 1e6 }
end

local function ratios(lists)
   return {
      rate = tools.median(lists[1], "rate") / tools.median(lists[2], "rate"),
      cpu = tools.median(lists[2], "cpu_us") / tools.median(lists[1], "cpu_us"),
   }
end

function M.partitions()
   local lists, raws, topics = { {}, {} }, { {}, {} }, { "bench-4", "bench-1000" }
   tools.say "filling 4 and 1,000 partitions"
   tools.topics(4, topics[1])
   tools.topics(1000, topics[2])
   for _, topic in ipairs(topics) do
      assert(tools.shell(("build/tidemark produce %s --generator readings -b %s --count %d " ..
         "--set step=1ms --set ids=10000 >%s/produce 2>&1"):format(topic, tools.brokers,
         PARTITIONS_RECORDS, tools.scratch)))
   end
   for i = 1, ROUNDS do
      for t, topic in ipairs(topics) do
         tools.say("%s, %d of %d", topic, i, ROUNDS)
         tools.fresh()
         lists[t][i] = run("tests/bench/keys.lua", ("-b %s --topic %s --until-end --output none")
            :format(tools.brokers, topic))
         assert(lists[t][i].rows == PARTITIONS_RECORDS)
         raws[t][i] = raw(topic)
      end
   end
   tools.remove(topics[1], topics[2])
   local more, raw_more = ratios(lists), ratios(raws)
   print(("\n1,000 partitions against 4, %d records; medians of %d"):format(PARTITIONS_RECORDS,
      ROUNDS))
   print(("  the raw consumer: %.2f times as long, %.2f times the processor time")
      :format(raw_more.rate, raw_more.cpu))
   tools.check(more.rate < 1.1, "%.2f times as long, goal under 1.10", more.rate)
   tools.check(more.cpu < 1.1, "%.2f times the processor time, goal under 1.10", more.cpu)
   return { few = lists[1], many = lists[2], ratio = more, raw = raws, raw_ratio = raw_more }
end

-- Workers -------------------------------------------------------------------------

local WORKERS_RECORDS = 2000000

local function start_broker()
   local pid = tonumber((tools.read(("build/tidemark broker bench-words --partitions 64 " ..
      ">%s/broker 2>&1 & echo $!"):format(tools.scratch))))
   for _ = 1, 600 do
      local address = tools.read(("cat %s/broker"):format(tools.scratch)):match "127%.0%.0%.1:%d+"
      if address then
         return pid, address
      end
      tools.shell "sleep 0.1"
   end
   error("the embedded broker does not start", 0)
end

local function fill(brokers)
   assert(tools.shell(("build/tidemark produce bench-words -b %s --generator text --count %d " ..
      "--seed 1 >%s/produce 2>&1"):format(brokers, WORKERS_RECORDS, tools.scratch)))
end

local function from_the_broker(brokers, workers)
   tools.fresh()
   local took = run("jobs/wordcount.lua", ("-b %s --topic bench-words --until-end " ..
      "--output none --workers %d"):format(brokers, workers))
   assert(took.rows == WORKERS_RECORDS, "the embedded broker has lost records")
   return took
end

--- Records that are in memory before the time begins: a recording, replayed.
local function from_memory(recording, workers)
   local text = tools.read(("build/tidemark replay %s --workers %d 2>&1 >/dev/null")
      :format(recording, workers))
   local us = tonumber(text:match "([%d.]+) us a record")
   assert(us and text:find("the rows that were recorded", 1, true), text)
   return { rate = 1e6 / us }
end

local function one_and_two(what, take, from)
   local lists = { {}, {} }
   for i = 1, ROUNDS do
      for workers = 1, 2 do
         tools.say("%s: %d worker(s), %d of %d", what, workers, i, ROUNDS)
         lists[workers][i] = take(from, workers)
      end
   end
   local ratio = tools.median(lists[2], "rate") / tools.median(lists[1], "rate")
   return { what = what, one = lists[1], two = lists[2], ratio = ratio }
end

local function both_sources(brokers)
   local recording = tools.scratch .. "/words.tide"
   fill(brokers)
   local results = { one_and_two("embedded broker", from_the_broker, brokers) }
   assert(tools.shell(("build/tidemark record jobs/wordcount.lua -b %s --topic bench-words " ..
      "--from earliest -n %d -o %s >%s/record 2>&1"):format(brokers, WORKERS_RECORDS, recording,
      tools.scratch)), "the records were not recorded")
   results[2] = one_and_two("records in memory", from_memory, recording)
   tools.shell("rm -f " .. recording)
   return results
end

function M.workers()
   local pid, brokers = start_broker()
   local ok, results = pcall(both_sources, brokers)
   tools.shell("kill " .. pid)
   assert(ok, results)
   print(("\n2 workers against 1, J1, %d records; medians of %d"):format(WORKERS_RECORDS, ROUNDS))
   for _, result in ipairs(results) do
      tools.check(result.ratio >= 1.7, "%s: %.2f times the records/s, goal at least 1.70",
         result.what, result.ratio)
   end
   return results
end

return M
