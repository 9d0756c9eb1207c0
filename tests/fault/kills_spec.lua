-- SPDX-License-Identifier: Apache-2.0
-- kill -9 at random moments, on one checkpoint: nothing is lost, nothing is there
-- twice, and the state is byte for byte that of a run without a kill (E40-B1).
--
-- Small batches, and fail points that stretch every phase of an epoch, make
-- most kills land inside one; the phase is read from the trace that survives.
-- SEED= replays the moments.
local h = require "harness"
local oracle = require "oracle"
local cjson = require "cjson"
local row = require "column".row "kills"

local kills = h.sanitized and 10 or row.count
local of_words = math.ceil(kills / 5) -- the rest are of a job with every sink
local null = cjson.null

-- --- Where they land ---------------------------------------------------------------

-- What was passed last when the process died: "starting" until the first epoch
-- begins (a start also decides, where it begins), then a place or "idle".
local function phase_of(path)
   local trace = h.read_file(path)
   if not trace:find("\nrun\n", 64, true) then
      return "starting"
   end
   local place = trace:match "^[^%z]*"
   return place == "arena" and "run" or place == "mirror" and "idle" or place
end

local function stretched(ms, places)
   return (places:gsub("[%l_]+", "%0=delay:" .. ms))
end

-- Start, wait, kill, and note where: count times. Every tenth dies while it
-- starts or recovers. Calls each(job) with what it left.
local function kill_often(count, start, each)
   local landed, inside, trace = {}, 0, h.path "trace"
   for n = 1, count do
      h.write_file(trace, "")
      local job = start(trace)
      if n % 10 ~= 0 then
         h.eventually("the first epoch of run " .. n, function()
            return phase_of(trace) ~= "starting"
         end, job)
      end
      h.process.pause(row:random(121) - 1)
      assert.is_falsy(job:ended(), "run " .. n .. " ended by itself: " .. job:err())
      job:kill "KILL"
      job:wait(60)
      each(job)
      local phase = phase_of(trace)
      if phase ~= "starting" and phase ~= "idle" then
         inside = inside + 1
      end
      landed[phase] = (landed[phase] or 0) + 1
   end
   local where = {}
   for phase, times in pairs(landed) do
      where[#where + 1] = ("%s %d"):format(phase, times)
   end
   table.sort(where)
   row:tally(count, ("%d inside an epoch: %s"):format(inside, table.concat(where, ", ")))
   return inside
end

-- --- The job with every sink -------------------------------------------------------

local function all_sinks(folder, topic)
   return ('tide.console { mode = "update" }, ' ..
           'tide.files { path = %q, every = "20ms", mode = "update" }, ' ..
           'tide.kafka { topic = %q, key = "key", mode = "update" }'):format(folder, topic)
end

local function run_args(job, from, checkpoint, batch, ...)
   return { "run", h.path(job), "-b", h.brokers, "--topic", from, "--no-ui", "--output", "json",
            "--checkpoint-dir", h.path(checkpoint), "--max-records-per-batch", batch, ... }
end

-- The state as it lies there, and as the rows that it stands for.
local function state_of(job, checkpoint)
   local digest, keys = oracle.digest(h.path(checkpoint))
   local rows = h.run({ "state", "ls", h.path(job), "--checkpoint-dir", h.path(checkpoint),
                        "--limit", 100000 }):out()
   -- They are shown below the number of the epoch, which may be another.
   return { digest = digest, keys = keys, rows = rows:gsub("Batch: %d+", "Batch:", 1) }
end

-- Values in the order in which a reader that was there all the time saw them.
local function seen_by(reader)
   local rows = {}
   for i, record in ipairs(h.json_lines(reader:out())) do
      rows[i] = cjson.decode(record.value)
   end
   return rows
end

-- The rows of one process behind those of the others.
local function keep(rows, job)
   for _, printed in ipairs(h.json_lines(job:out())) do
      rows[#rows + 1] = printed
   end
end

-- --- Words -------------------------------------------------------------------------

local repeats = 1000

local function v1_records(times)
   local auth = { { "authorization", "" } }
   local records = {}
   for i = 0, times * 11 - 1 do
      local n = i % 11 + 1
      records[#records + 1] = {
         key = n <= 4 and "order order" or n <= 8 and "order" or null,
         value = (n <= 6 or n >= 9) and "widget" or null,
         headers = n <= 3 and auth or n == 4 and { auth[1], auth[1] } or nil,
         partition = i % 3,
      }
   end
   return records
end

-- Fold what was printed over all runs: counts only ever grow.
local function fold(into, text)
   for _, seen in ipairs(h.json_lines(text)) do
      local name = seen.field .. " " .. seen.word
      into[name] = math.max(into[name] or 0, seen.count)
   end
end

describe("kill -9", function()
   before_each(h.begin)

   it(("%d times loses nothing and doubles nothing in any sink (SEED=%d)"):format(
      kills - of_words, row.seed), function()
      local from, to = h.topic(2), h.topic(3, "out")
      h.write_file(h.path "job.lua", oracle.job(all_sinks(h.path "rows", to)))
      h.write_file(h.path "calm.lua", oracle.job(all_sinks(h.path "calm", h.topic(1, "calm"))))
      local reader = h.spawn { h.root .. "/build/" .. h.flavour .. "/kadmin", "-b", h.brokers,
                               "follow", to }
      local source = h.start { "produce", from, "-b", h.brokers, "--generator", "words",
                               "--rate", 400 }
      local printed = {}
      local phases = stretched(5, "run,barrier,decide,decided,publish,files_data," ..
                                  "files_manifest,files_rename,kafka_begin,kafka_flush," ..
                                  "kafka_offsets,kafka_commit,kafka_committed")
      local inside = kill_often(kills - of_words, function(trace)
         return h.start(run_args("job.lua", from, "cp", 60),
                        { env = { TIDEMARK_FAILPOINT = phases, TIDEMARK_FAILPOINT_TRACE = trace } })
      end, function(job) keep(printed, job) end)

      source:kill "TERM"
      h.expect_exit(source, 0)
      for job, checkpoint in pairs { ["job.lua"] = "cp", ["calm.lua"] = "calm-cp" } do
         local last = h.start(run_args(job, from, checkpoint, oracle.keys, "--until-end"))
         h.expect_exit(last, 0, 400)
         if checkpoint == "cp" then
            keep(printed, last)
         end
      end

      local counts = oracle.counts(from)
      oracle.check("files", oracle.file_rows(h.path "rows"), counts, false, true)
      oracle.check("console", printed, counts, true, true)
      h.eventually("the reader to see all", function()
         return #seen_by(reader) >= counts[1] + counts[2]
      end)
      oracle.check("the reader", seen_by(reader), counts, false, true)
      assert.are.same(state_of("calm.lua", "calm-cp"), state_of("job.lua", "cp"))
      assert.is_true(inside >= (kills - of_words) * 0.6, inside .. " kills landed inside an epoch")
   end)

   it(("%d times leaves every count of words exact"):format(of_words), function()
      local topic, counts = h.topic(3), {}
      h.produce(topic, v1_records(repeats))
      local function args(...)
         return { "wordcount", "-b", h.brokers, "--topic", topic, "--from", "earliest",
                  "--checkpoint-dir", h.path "cp", "--no-ui", "--output", "json", ... }
      end
      local phases = stretched(8, "run,barrier,decide,decided,publish")
      local inside = kill_often(of_words, function(trace)
         return h.start(args("--workers", 2, "--max-records-per-batch",
                             math.floor(repeats * 11 / (of_words * 8))),
                        { env = { TIDEMARK_FAILPOINT = phases, TIDEMARK_FAILPOINT_TRACE = trace } })
      end, function(job) fold(counts, job:out()) end)
      fold(counts, h.run(args "--until-end"):out())
      assert.are.same({ ["header authorization"] = 5 * repeats, ["key order"] = 12 * repeats,
                        ["value widget"] = 9 * repeats, ["stats no-key"] = 3 * repeats,
                        ["stats no-header"] = 7 * repeats, ["stats no-value"] = 2 * repeats },
                      counts)
      assert.is_true(inside >= of_words * 0.7, inside .. " kills landed inside an epoch")
   end)
end)
