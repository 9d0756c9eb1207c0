-- SPDX-License-Identifier: Apache-2.0
-- Runs the programs in turn and prints a table; tests/bench/run has made the
-- broker and the topics.
local cjson = require "cjson"
package.path = "./tests/bench/?.lua;" .. package.path
local tools, growth, exact = require "tools", require "growth", require "exact"
local say, read, shell, check = tools.say, tools.read, tools.shell, tools.check
local sorted, median, measured = tools.sorted, tools.median, tools.measured

local brokers, words = os.getenv "BROKERS", os.getenv "WORDS"
local records, scratch = tonumber(os.getenv "RECORDS"), os.getenv "SCRATCH"
local pairs_count = tonumber(os.getenv "PAIRS" or "5")

-- Jobs ---------------------------------------------------------------------------

local checkpoint = scratch .. "/checkpoint"

local function raw(topic, expected)
   local out = scratch .. "/raw.json"
   local took = measured("-o " .. out, ("build/bench/raw_consumer -b %s %s"):format(brokers, topic))
   local file = assert(io.open(out))
   local said = cjson.decode(file:read "*a")
   file:close()
   assert(said.records == expected, "the raw consumer read " .. said.records)
   return { rate = said.records_per_s, cpu = took.cpu_s / expected * 1e6, rss = took.rss_mb,
            wall = took.wall_s }
end

local function run_job(job, output)
   local progress = scratch .. "/progress"
   shell(("rm -rf %s %s"):format(progress, checkpoint))
   if job.before then
      job.before()
   end
   local took = measured("-o " .. scratch .. "/out", ("build/tidemark %s -b %s --topic %s " ..
      "--from earliest --until-end -c %s --output %s --no-ui --progress %s %s")
      :format(job.command, brokers, job.topic, checkpoint, output or "none", progress,
      job.flags or ""))
   return { rate = job.records / tools.span_of(progress) * 1e3,
            cpu = took.cpu_s / job.records * 1e6,
            rss = took.rss_mb, wall = took.wall_s }
end

local function bar(share)
   return ("#"):rep(math.floor(share * 40 + 0.5))
end

local function row(label, list, field, format)
   local values = sorted(list, field)
   print(("    %-9s %12s   (%s to %s)"):format(label, format:format(median(list, field)),
      format:format(values[1]), format:format(values[#values])))
end

local function ratio(name, raws, jobs, field, goal, least)
   local value = median(jobs, field) / median(raws, field)
   local ok = least and value >= goal or not least and value <= goal
   check(ok, "%-28s %5.2f times raw, goal %s %.2f", name, value, least and "at least" or "at most",
         goal)
   return value
end

--- The job and the raw consumer in turn, and what comes of it.
local function compare(job)
   local raws, jobs, right = {}, {}, true
   for i = 1, pairs_count do
      say("%s, %d of %d", job.name, i, pairs_count)
      raws[i], jobs[i] = raw(job.topic, job.records), run_job(job)
      right = right and (not job.right or job.right())
   end
   print(("\n%s, %d records, exactly once, console muted; medians of %d")
      :format(job.name, job.records, pairs_count))
   for _, part in ipairs {
      { "records/s", "rate", "%.0f" }, { "CPU s per million", "cpu", "%.3f" },
      { "peak RSS, MB", "rss", "%.1f" }, { "whole process, s", "wall", "%.2f" },
   } do
      print("  " .. part[1])
      row("raw", raws, part[2], part[3])
      row("tidemark", jobs, part[2], part[3])
   end
   local share = median(jobs, "rate") / median(raws, "rate")
   print(("  raw      |%s|\n  tidemark |%-40s|"):format(bar(1), bar(math.min(share, 1))))
   local result = { name = job.name, records = job.records, pairs = pairs_count, raw = raws,
                    tidemark = jobs }
   result.rate_ratio = ratio("records/s", raws, jobs, "rate", job.rate, true)
   result.cpu_ratio = ratio("CPU-seconds", raws, jobs, "cpu", job.cpu, false)
   if job.rss then
      local more = median(jobs, "rss") - median(raws, "rss")
      check(more <= job.rss, "%-28s %5.0f MB more than raw, goal at most %d", "peak RSS", more,
            job.rss)
   end
   if job.exact then
      right = job.exact(job)
   end
   check(right, job.claim)
   result.exact = right
   return result
end

local function counts_are_right()
   return exact.counts(checkpoint, os.getenv "COUNTS")
end

local function windows_are_right(job)
   say("%s: its windows against an independent count", job.name)
   run_job(job, "csv")
   return exact.windows(scratch .. "/out", os.getenv "WINDOWS")
end

local function unique_is_right(job)
   run_job(job, "csv")
   return exact.unique(scratch .. "/out", os.getenv "UNIQUE")
end

-- What a read_committed consumer sees of the last run, and what it has to see: as
-- many records, and the same sum over their bytes, in each of the two topics.
local function routes_are_right()
   local right = shell(("build/bench/count_json committed %s bench-even bench-odd | cmp -s - %s")
      :format(brokers, os.getenv "ROUTES"))
   tools.remove("bench-even", "bench-odd")
   return right
end

local jobs = {
   { name = "J1 word count by field", command = "wordcount", topic = words, records = records,
     rate = 0.85, cpu = 1.7, rss = 100, right = counts_are_right,
     claim = "every count equals the independent one, in each run" },
   { name = "J2 averages in windows of 10 s", command = "run tests/bench/averages.lua",
     topic = os.getenv "READINGS", records = records, rate = 0.75, cpu = 2.2, rss = 100,
     exact = windows_are_right,
     claim = "no row is late, and every closed window equals the independent one" },
   { name = "J3 articles, each once", command = "run tests/bench/articles.lua",
     topic = os.getenv "ARTICLES", records = records / 2, rate = 0.75, cpu = 2.2, rss = 150,
     exact = unique_is_right, claim = "as many different ones as the independent count has" },
   { name = "J4 readings, filtered and routed to two topics", topic = os.getenv "ROUTED",
     command = "run tests/bench/routes.lua", flags = "--set prefix=bench", records = records / 2,
     before = function() tools.topics(4, "bench-even", "bench-odd") end,
     rate = 0.4, cpu = 4, rss = 100, exact = routes_are_right,
     claim = "read_committed sees every byte that the independent count has, and no more" },
}

-- Equal --------------------------------------------------------------------------

--- Each job once with so many workers, and once with the JIT off; nothing is timed.
local function equal()
   local result = {}
   for _, how in ipairs { "--workers 1", "--workers 2", "--workers 4", "--jit-off" } do
      print(("\nResults with %s"):format(how))
      for _, job in ipairs(jobs) do
         say("%s with %s", job.name, how)
         local run = setmetatable({ flags = (job.flags or "") .. " " .. how }, { __index = job })
         if job.right or job.before then
            run_job(run)
         end
         local right = (job.right or job.exact)(run)
         check(right, "%s: %s", job.name:match "^%S+", job.claim)
         table.insert(result, { name = job.name, how = how, exact = right })
      end
   end
   return result
end

-- Start ------------------------------------------------------------------------

local function start()
   local runs = {}
   for i = 1, 20 do
      shell(("rm -rf %s/checkpoint"):format(scratch))
      runs[i] = measured("-f", ("build/tidemark wordcount -b %s --topic %s --from earliest " ..
         "--max-records-per-batch 1000 -c %s/checkpoint --output spark --no-ui")
         :format(brokers, words, scratch))
   end
   local values = sorted(runs, "first_s")
   print("\nStart to first printed result, data waiting; median of 20")
   check(median(runs, "first_s") < 0.15, "%.3f s (%.3f to %.3f), goal under 0.15",
         median(runs, "first_s"), values[1], values[#values])
   return { median_s = median(runs, "first_s"), runs = runs }
end

local function latency()
   local versions = cjson.decode(read "build/tidemark version --json")
   return require "waiting" (versions.librdkafka)
end

-- Ten million keys ---------------------------------------------------------------

local function keys()
   say("ten million keys under --memory 256M")
   shell(("rm -rf %s/checkpoint"):format(scratch))
   local took = measured("", ("build/tidemark run tests/bench/keys.lua -b %s --until-end " ..
      "--memory 256M -c %s/checkpoint --output none --no-ui"):format(brokers, scratch))
   local sum = read(("build/tidemark state ls tests/bench/keys.lua -c %s/checkpoint " ..
      "--limit 100000000 --output csv 2>/dev/null | tr -d '\\r' | awk -F, " ..
      "'NR > 1 { n++; s += $2; k = substr($1, 2) + 0; if ($2 != (k < 2000000 ? 2 : 1)) bad++ } " ..
      "END { printf \"%%d %%d %%d\", n, s, bad }'"):format(scratch))
   print("\n10 million keys, 12 million records, --memory 256M")
   check(sum == "10000000 12000000 0", "keys, sum of counts, wrong ones: %s", sum)
   check(took.rss_mb <= 256 + 150, "peak RSS %.0f MB, goal at most 406; %.0f s, %.0f CPU-s",
         took.rss_mb, took.wall_s, took.cpu_s)
   return { rss_mb = took.rss_mb, wall_s = took.wall_s, cpu_s = took.cpu_s, sum = sum }
end

-- State that ends ------------------------------------------------------------------

local function closing()
   say "closing one window of 1,000 and of 1,000,000, ratio of medians"
   local text = read("TIDEMARK_LIB=build/libtidemark.so luajit tests/bench/closing.lua " ..
      "1000 1000000")
   local few, many = text:match "^(%b{})\n(%b{})"
   few, many = cjson.decode(few), cjson.decode(many)
   local ratio_of = many.closing_us / few.closing_us
   print("\nAn epoch that closes one window, with its sync; medians of 2,000")
   for _, one in ipairs { few, many } do
      print(("  %9d open: %7.1f us, and %7.1f us where none closes"):format(one.open,
         one.closing_us, one.other_us))
   end
   check(ratio_of <= 1.5, "%.2f times as long with 1,000,000 open, goal at most 1.50", ratio_of)
   return { few = few, many = many, ratio = ratio_of }
end

local function last_epoch(progress)
   local last
   for line in io.lines(progress) do
      last = line
   end
   return cjson.decode(last)
end

--- Ids over ten hours of event time, of which state holds those of the last two.
local function ids()
   local count = tonumber(os.getenv "IDS")
   say("%d ids over ten hours, each remembered for two", count)
   shell(("rm -rf %s/checkpoint %s/progress"):format(scratch, scratch))
   local took = measured("", ("build/tidemark run tests/bench/ids.lua -b %s --topic ids-%d " ..
      "--until-end -c %s/checkpoint --output none --no-ui --progress %s/progress " ..
      "--max-records-per-batch %d"):format(brokers, count, scratch, scratch, count / 100))
   local last = last_epoch(scratch .. "/progress")
   local held, disk_kb
   for _, state in ipairs(last.stateOperators) do
      held = state.operatorName:match "^dedup" and state.numRowsTotal or held
   end
   disk_kb = tonumber(read(("du -sk %s/checkpoint"):format(scratch)):match "^%d+")
   print(("\n%d different ids over 10 hours of event time, within = \"2h\""):format(count))
   print(("  %.0f s, %.0f CPU-s, peak RSS %.0f MB, checkpoint %.0f MB, %.0f bytes an id held")
      :format(took.wall_s, took.cpu_s, took.rss_mb, disk_kb / 1024, disk_kb * 1024 / held))
   -- Two hours are a fifth; a watermark is a minute and an epoch behind, and ends
   -- are rounded up to a 64th of the two hours.
   check(held <= count * 0.22, "%d ids held, %.2f hours' worth, goal at most 2.20", held,
         held / count * 10)
   check(last.rowsLate == 0, "%d rows late", last.rowsLate)
   return { count = count, held = held, rss_mb = took.rss_mb, disk_mb = disk_kb / 1024,
            wall_s = took.wall_s, cpu_s = took.cpu_s }
end

-- The whole ----------------------------------------------------------------------

local function same_settings()
   local function settings(command)
      return read(command .. " 2>&1 >/dev/null | grep '=' | grep -v '^%%' | sort")
   end
   local text = settings(("build/bench/raw_consumer -b %s %s"):format(brokers, words))
   text = text:gsub("metadata.broker.list=[^\n]*\n", ""):gsub("default_topic_conf=[^\n]*\n", "")
   print("Consumer settings, the same function makes them for both:")
   print("  " .. text:gsub("\n$", ""):gsub("\n", "\n  "))
   return text
end

local result = {
   versions = cjson.decode(read "build/tidemark version --json"),
   cpu = read("grep -m1 'model name' /proc/cpuinfo"):match ": (.-)\n",
   cores = tonumber((read "nproc")),
   memory_kb = tonumber(read("grep MemTotal /proc/meminfo"):match "%d+"),
   date = os.date "!%Y-%m-%dT%H:%M:%SZ",
   settings = same_settings(),
}
print(("\n%s, %d cores, %.0f GiB"):format(result.cpu, result.cores, result.memory_kb / 2 ^ 20))

-- What ONLY names, or all of it.
local function wanted(name)
   local only = os.getenv "ONLY"
   return not only or name:find(only) ~= nil
end

result.jobs = {}
for _, job in ipairs(jobs) do
   if wanted(job.name) then
      table.insert(result.jobs, compare(job))
   end
end
for _, part in ipairs {
   { "start", start }, { "latency", latency }, { "keys", keys, true }, { "closing", closing, true },
   { "ids", ids, true }, { "growth", growth.keys, true }, { "partitions", growth.partitions, true },
   { "workers", growth.workers, true }, { "equal", equal, not os.getenv "ONLY" },
   { "peers", require "peers", true },
} do
   local name, run, full = part[1], part[2], part[3]
   if wanted(name) and (os.getenv "FULL" or not full) then
      result[name] = run()
   end
end
local file = assert(io.open("build/bench/results.json", "w"))
file:write(cjson.encode(result), "\n")
file:close()
print(("\nwritten to build/bench/results.json; %d goal(s) missed"):format(tools.failed))
os.exit(tools.failed == 0 and 0 or 1)
