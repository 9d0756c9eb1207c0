-- SPDX-License-Identifier: Apache-2.0
-- Spark and Kafka Streams beside Tidemark: the same topics, the same questions, the
-- same independent counts. README.md says which settings they have.
local cjson = require "cjson"
local tools, exact = require "tools", require "exact"

local HERE = "tests/bench/peers"
local records = tonumber(os.getenv "PEERS")
local rows, folder = tools.scratch .. "/rows", tools.scratch .. "/peer"
local JVM = "-Xms2g -XX:+UseG1GC"

local function expected(topic, what)
   return ("%s/%s.%s"):format(os.getenv "EXPECTED", topic, what)
end

-- Per job: the command, and whether the rows of a peer are right.
local JOBS = {
   words = {
      title = "J1 word count by field", command = "wordcount",
      right = function(topic)
         return tools.shell(("sort %s | cmp -s - %s"):format(rows, expected(topic, "counts")))
      end,
   },
   readings = {
      title = "J2 averages in windows of 10 s", command = "run tests/bench/averages.lua",
      right = function(topic) return exact.windows(rows, expected(topic, "windows")) end,
   },
   articles = {
      title = "J3 articles, each once", command = "run tests/bench/articles.lua",
      right = function(topic)
         return tonumber(tools.read("cat " .. rows)) ==
            tonumber(tools.read("cat " .. expected(topic, "unique")))
      end,
   },
}

local function now_ms()
   return tonumber((tools.read "date +%s%3N"))
end

local function figures(run, took, first_ms, span_ms, began_ms)
   return { system = run.system, version = run.version, rate = run.records / span_ms * 1e3,
            cpu = took.cpu_s / run.records * 1e6, rss = took.rss_mb, wall = took.wall_s,
            start = (first_ms - began_ms) / 1e3 }
end

-- Tidemark -----------------------------------------------------------------------

local function tidemark_once(run, output, out)
   tools.fresh()
   return tools.measured("-o " .. out, ("build/tidemark %s -b %s --topic %s --from earliest " ..
      "--until-end -c %s --output %s --no-ui --progress %s"):format(JOBS[run.job].command,
      tools.brokers, run.topic, tools.checkpoint, output, tools.progress))
end

local function tidemark(run)
   local began = now_ms()
   local took = tidemark_once(run, "none", "/dev/null")
   local at = cjson.decode(tools.read("head -n 1 " .. tools.progress)).timestamp
   local first = tonumber((tools.read(("date -d %s +%%s%%3N"):format(at))))
   local result = figures(run, took, first, tools.span_of(tools.progress), began)
   if run.job == "words" then
      result.exact = exact.counts(tools.checkpoint, expected(run.topic, "counts"))
      return result
   end
   tidemark_once(run, "csv", rows)
   result.exact = run.job == "readings" and JOBS.readings.right(run.topic) or
      run.job == "articles" and exact.unique(rows, expected(run.topic, "unique"))
   return result
end

-- Peers --------------------------------------------------------------------------

local function measured(run, command)
   local out, began = tools.scratch .. "/said", now_ms()
   tools.shell(("rm -rf %s %s && mkdir %s"):format(folder, rows, folder))
   local took = tools.measured("-o " .. out, command)
   local said = cjson.decode(tools.read("tail -n 1 " .. out))
   assert(said.records == run.records, "it took " .. said.records .. " records")
   run.version = said.version
   return figures(run, took, said.first_ms, said.last_ms - said.first_ms, began)
end

local function spark(run)
   local home = tools.read(HERE .. "/fetch --where spark"):gsub("%s+$", "")
   local function command(what)
      -- It leaves a folder of its own where it is started.
      return ("env -C %s PATH=%s/venv/bin:$PATH spark-submit --driver-memory 2g " ..
         "--driver-java-options '%s' --driver-class-path '%s/libs/*' " ..
         "$PWD/%s/spark.py %s %s %s %s %s"):format(folder, home, JVM, home, HERE, run.job, what,
         tools.brokers, run.topic, folder)
   end
   local result = measured(run, command "run")
   tools.say("%s: its rows", run.system)
   if run.job == "readings" then
      tools.shell(("rm -rf %s/checkpoint"):format(folder))
   end
   tools.measured("-o /dev/null", command "rows")
   tools.shell(("cat %s/rows/*.csv >%s"):format(folder, rows))
   result.exact = JOBS[run.job].right(run.topic)
   return result
end

local function streams(run)
   local libs = tools.read(HERE .. "/fetch --where streams"):gsub("%s+$", "") .. "/libs"
   local function command(to)
      return ("java -Xmx2g %s -Dorg.slf4j.simpleLogger.defaultLogLevel=error " ..
         "-cp '%s/*:build/bench/peers' Streams %s %s %s %d %s %s"):format(JVM, libs, run.job,
         tools.brokers, run.topic, run.records, folder, to)
   end
   assert(tools.shell(("javac -cp '%s/*' -d build/bench/peers %s/Streams.java"):format(libs,
      HERE)), "Streams.java does not compile")
   -- Rows of readings come while it runs: the time is taken without.
   local result = measured(run, command(run.job == "readings" and "" or rows))
   if run.job == "readings" then
      tools.say("%s: its rows", run.system)
      measured(run, command(rows))
   end
   result.exact = JOBS[run.job].right(run.topic)
   return result
end

-- The table ------------------------------------------------------------------------

local function line(one, own)
   print(("  %-10s %10.0f %8.2f %8.0f %8.2f   %-5s %9.3f %9.1f  |%-30s|"):format(one.system,
      one.rate, one.cpu, one.rss, one.start, one.exact and "yes" or "NO", one.rate / own.rate,
      one.cpu / own.cpu, ("#"):rep(math.floor(math.min(one.rate / own.rate, 1) * 30 + 0.5))))
end

local function table_of(run, list)
   print(("\n%s, %d records, exactly once; one run each"):format(JOBS[run.job].title, run.records))
   print(("  %-10s %10s %8s %8s %8s   %-5s %9s %9s"):format("", "records/s", "CPU s/M", "RSS MB",
      "start s", "exact", "rate, x", "CPU, x"))
   for _, one in ipairs(list) do
      line(one, list[1])
   end
   for _, one in ipairs(list) do
      tools.check(one.exact, "%s equals the independent count", one.system)
   end
end

local function compare(kind, count, peers)
   local run = { job = kind, topic = ("keyed-%s-%d"):format(kind, records), records = count }
   if kind == "words" then
      run.topic = "words-" .. count
   end
   local list = {}
   for _, peer in ipairs(peers) do
      run.system, run.version = peer.name, nil
      tools.say("%s, %d records: %s", JOBS[kind].title, count, peer.name)
      local ok, result = pcall(peer.run, run)
      if ok then
         list[#list + 1] = result
      else
         tools.say("%s did not do it: %s", peer.name, tostring(result))
         tools.check(false, "%s did not do %s", peer.name, JOBS[kind].title)
      end
   end
   if list[1] and list[1].system == "tidemark" then
      table_of(run, list)
   end
   return { job = JOBS[kind].title, records = count, runs = list }
end

--- Those whose packages are here or could be fetched.
local function available()
   local found = { { name = "tidemark", run = tidemark } }
   for _, peer in ipairs { { name = "spark", run = spark }, { name = "streams", run = streams } } do
      if tools.shell(("%s/fetch %s >&2"):format(HERE, peer.name)) then
         found[#found + 1], found[peer.name] = peer, peer
      else
         print(("\n%s is left out: its packages could not be fetched"):format(peer.name))
      end
   end
   return found
end

return function()
   local peers = available()
   tools.shell "mkdir -p build/bench/peers"
   local result, most = {}, math.min(records, 200000)
   if peers.streams and most < records then
      -- Kafka Streams is slow with words: a share of them.
      result[1] = compare("words", most, { peers[1], peers.streams })
   end
   local with_words = most < records and { peers[1], peers.spark } or peers
   if #with_words > 1 then
      result[#result + 1] = compare("words", records, with_words)
   end
   if #peers > 1 then
      result[#result + 1] = compare("readings", records, peers)
      result[#result + 1] = compare("articles", records / 2, peers)
   end
   return result
end
