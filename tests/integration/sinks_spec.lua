-- SPDX-License-Identifier: Apache-2.0
-- A job's sinks over its life: several on one output, one that comes later, one
-- that goes, one that has forgotten, one that refuses.
local h = require "harness"
local cjson = require "cjson"

local count = 300

local stream = [[
local s = tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition .. "/" .. rec.offset end, { "id:string" })
]]

local function job_args(topic, ...)
   return { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end", "--no-ui",
            "--checkpoint-dir", h.path "cp", "--max-records-per-batch", 60, "--output", "none",
            ... }
end

local function checkpoint(command, ...)
   local args = { "checkpoint", command, ... }
   args[#args + 1] = "--checkpoint-dir"
   args[#args + 1] = h.path "cp"
   return args
end

local function run_killed(topic, failpoint)
   local job = h.start(job_args(topic), { env = { TIDEMARK_FAILPOINT = failpoint } })
   local _, signal = job:wait(60)
   assert.are.equal(h.process.signals.KILL, signal, "the fail point was not reached: " .. job:err())
end

local function says(text, part)
   assert.is_truthy(text:find(part, 1, true), ("%q is not in: %s"):format(part, text))
end

-- Ids in a topic of one partition, in order.
local function ids_in(topic)
   local ids = {}
   for i, record in ipairs(h.json_lines(h.kadmin("consume", topic, 0, 0, -1))) do
      ids[i] = cjson.decode(record.value).id
   end
   return ids
end

-- Is every record of the input among them, each once?
local function assert_all_once(ids)
   local seen = {}
   for _, id in ipairs(ids) do
      assert.is_nil(seen[id], id .. " is there twice")
      seen[id] = true
   end
   assert.are.equal(count, #ids)
end

local function ids_in_files(folder)
   local ids = {}
   for name in io.popen("ls -1 '" .. h.path(folder) .. "'"):lines() do
      if name:match "%.jsonl$" then
         for _, row in ipairs(h.json_lines(h.read_file(h.path(folder .. "/" .. name)))) do
            ids[#ids + 1] = row.id
         end
      end
   end
   return ids
end

describe("sinks of a job", function()
   local from, to

   before_each(function()
      h.begin()
      from, to = h.topic(1), h.topic(1, "out")
      h.produce_counts(from, { count })
   end)

   local function job(sinks)
      h.job(stream .. "return s:to(" .. sinks:gsub("OUT", to) .. ")")
   end

   it("each get every row, and each recover for themselves", function()
      local other = h.topic(1, "other")
      job('tide.kafka { topic = "OUT" }, tide.files { path = "files", every = "0s" },\n' ..
          ('tide.kafka { topic = %q }, tide.console { }'):format(other))
      for _, point in ipairs { "kafka_committed=kill@1", "kafka_commit=kill@4",
                               "files_rename=kill@1", "files_manifest=kill@2" } do
         run_killed(from, point)
      end
      h.run(job_args(from))
      assert_all_once(ids_in(to))
      assert_all_once(ids_in(other))
      assert_all_once(ids_in_files "files")
   end)

   it("may become more", function()
      job 'tide.kafka { topic = "OUT" }'
      run_killed(from, "decide=kill@3") -- the first decides where to start
      job 'tide.kafka { topic = "OUT" }, tide.files { path = "files" }'
      says(h.run(job_args(from)):err(), "sink files:files is new: it takes epochs from 1 on")
      assert_all_once(ids_in(to))
      assert.are.equal(count - 60, #ids_in_files "files")
   end)

   it("may become fewer, but not before they have published their rows", function()
      job 'tide.kafka { topic = "OUT" }, tide.files { path = "files", every = "0s" }'
      run_killed(from, "kafka_commit=kill@3")
      job 'tide.files { path = "files", every = "0s" }'
      local refused = h.run(job_args(from), nil, 5)
      says(refused:err(), "the job has no sink kafka:" .. to .. " any more")
      says(refused:err(), "checkpoint outbox skip")
      job 'tide.kafka { topic = "OUT" }, tide.files { path = "files", every = "0s" }'
      run_killed(from, "run=kill@2")
      -- It is published, but that is on record only after a clean stop.
      h.run(job_args(from))
      job 'tide.files { path = "files", every = "0s" }'
      says(h.run(job_args(from)):err(), "sink kafka:" .. to .. " is no longer part of the job")
      assert_all_once(ids_in(to))
      assert_all_once(ids_in_files "files")
   end)

   it("stand where they stood when a partition comes", function()
      job 'tide.kafka { topic = "OUT" }'
      local args = job_args(from)
      for i, arg in ipairs(args) do
         args[i] = arg == "--until-end" and "--quiet" or arg
      end
      local running = h.start(args, { env = { TIDEMARK_FAILPOINT = "published=kill@7" } })
      h.eventually("the first records", function()
         return #ids_in(to) == count
      end, running)
      h.kadmin("grow", from, 2)
      h.produce(from, { { value = "x", partition = 1 } })
      h.eventually("the new partition", function()
         return #ids_in(to) > count
      end, running)
      h.produce(from, { { value = "x", partition = 1 } })
      local _, signal = running:wait(60)
      assert.are.equal(h.process.signals.KILL, signal)
      h.run(job_args(from))
      assert.are.equal(count + 2, #ids_in(to))
   end)

   local function forget()
      job 'tide.kafka { topic = "OUT" }'
      run_killed(from, "kafka_commit=kill@4") -- the first is the warm-up's
      h.delete_topic(to)
      h.eventually("the topic to be gone", function()
         local ok = pcall(h.create_topic, to)
         return ok
      end)
      local stopped = h.run(job_args(from), nil, 5)
      says(stopped:err(), "sink kafka:" .. to .. " has published epoch 1 and does not remember it")
      says(stopped:err(), "was the topic or folder deleted")
      says(stopped:err(), "checkpoint resolve JOB.lua")
      h.run(checkpoint("resolve", h.path "job.lua", "kafka:" .. to), nil, 2)
   end

   it("stop when their memory is gone; the rows may be said to be there", function()
      forget()
      h.run(checkpoint("resolve", h.path "job.lua", "kafka:" .. to, "--published"))
      h.run(job_args(from))
      assert.are.equal(count - 3 * 60, #ids_in(to))
   end)

   it("stop when their memory is gone; the rows may be published again", function()
      forget()
      h.run(checkpoint("resolve", h.path "job.lua", "kafka:" .. to, "--republish"))
      h.run(job_args(from))
      assert.are.equal(count - 2 * 60, #ids_in(to))
   end)

   it("have rows that an operator can look at and give up", function()
      job 'tide.kafka { topic = "OUT" }'
      run_killed(from, "kafka_begin=kill@3")
      local name = "kafka:" .. to
      says(h.run(checkpoint("outbox", "show")):out(), ("sink %s: epoch 1, 60 rows"):format(name))
      local shown = h.run(checkpoint("outbox", "show", "--json")):out()
      assert.are.same({ sink = name, epoch = 1, row = { id = "0/60" } }, h.json_lines(shown)[1])
      h.run(checkpoint("outbox", "skip", name), nil, 2)
      says(h.run(checkpoint("outbox", "skip", "nobody", "--yes"), nil, 2):err(),
           "it knows " .. name)
      assert.are.equal(shown, h.run(checkpoint("outbox", "skip", name, "--yes")):out())
      says(h.run(checkpoint("outbox", "show")):out(), "nothing waits")
      run_killed(from, "kafka_begin=kill@2") -- and a crash after that is like any other
      h.run(job_args(from))
      assert.are.equal(count - 60, #ids_in(to))
   end)

   it("that are at-least-once say so, and lose nothing", function()
      job 'tide.kafka { topic = "OUT", exactly_once = false }'
      run_killed(from, "published=kill@2")
      says(h.run(job_args(from)):err(), ("sink kafka:%s is at-least-once"):format(to))
      assert.are.equal(count + 60, #ids_in(to))
   end)

   it("are at-least-once on a broker without transactions", function()
      local broker = h.start { "broker", "in", "out", "--partitions", 1 }
      local address = h.eventually("the embedded broker", function()
         return (broker:out() .. broker:err()):match "127%.0%.0%.1:%d+"
      end, broker)
      h.run({ "produce", "in", "-b", address }, { stdin = '{"value":"x"}\n' })
      h.job(stream .. 'return s:to(tide.kafka { topic = "out" })')
      local ran = h.run { "run", h.path "job.lua", "-b", address, "--topic", "in", "--until-end",
                          "--no-ui", "--checkpoint-dir", h.path "cp" }
      says(ran:err(), "sink kafka:out is at-least-once: the embedded broker does not keep")
      says(ran:err(), "1 in, 1 rows out")
      says(h.run(checkpoint("outbox", "show")):out(), "nothing waits")
   end)

   it("refuse before the decision what their topic will not take", function()
      local small, compacted = h.topic_name "small", h.topic_name "compacted"
      h.kadmin("create", small, 1, "max.message.bytes=600")
      h.kadmin("create", compacted, 1, "cleanup.policy=compact")
      local wide = stream:gsub("return .- end", 'return ("x"):rep(1000) end')
      h.job(wide .. ("return s:to(tide.kafka { topic = %q })"):format(small))
      local stopped = h.run(job_args(from), nil, 1)
      says(stopped:err(), "and topic " .. small .. " takes 600")
      says(stopped:err(), "raise max.message.bytes")
      h.job(stream .. ("return s:to(tide.kafka { topic = %q })"):format(compacted))
      says(h.run(job_args(from, "--checkpoint-dir", h.path "c2"), nil, 1):err(),
           "is compacted and takes no record without a key")
      h.job(stream .. 'return s:to(tide.kafka { topic = function() return "a b" end })')
      says(h.run(job_args(from, "--checkpoint-dir", h.path "c3"), nil, 1):err(),
           '"a b" is no name for a topic')
      h.job(stream .. 'return s:to(tide.kafka { topic = "nobody-made-it" })')
      says(h.run(job_args(from, "--checkpoint-dir", h.path "c4"), nil, 7):err(),
           "topic nobody-made-it does not exist, and this broker makes none by itself; " ..
           "create it: kafka-topics.sh --create")
      h.job(stream:gsub("return .- end, %b{}", [[
         return "", tide.parse "1969-12-31T23:59:59.999Z" end, { "id:string", "at:timestamp" }]]) ..
         ("return s:to(tide.kafka { topic = %q, timestamp = 'at' })"):format(small))
      says(h.run(job_args(from, "--checkpoint-dir", h.path "c5"), nil, 1):err(),
           "Kafka has no timestamps before 1970, and column at is")
      for _, dir in ipairs { "cp", "c2", "c3", "c5" } do
         assert.are.same({}, h.next_offsets(h.path(dir), from)) -- no epoch
      end
   end)

   -- Every tenth row is too large; twenty of those that pass have no key.
   it("give what their topic refuses to the sink of on_error, each once over kills", function()
      local small, dead = h.topic_name "small", h.topic(1, "dead")
      h.kadmin("create", small, 1, "max.message.bytes=600", "cleanup.policy=compact")
      h.job(stream:gsub("return .- end, %b{}", [[
         local n = rec.offset + 100 * rec.partition
         return rec.partition .. "/" .. rec.offset, n %% 10 == 0 and ("x"):rep(1000) or "short",
            n %% 100 ~= 55 and "k" .. n or nil
      end, { "id:string", "text:string", "k:string?" }]]) ..
         ([[return tide.job { on_error = tide.kafka { topic = %q }, outputs =
         s:to(tide.kafka { topic = %q, key = "k", on_reject = "dead_letter" }) }]])
            :format(dead, small))
      run_killed(from, "kafka_commit=kill@2")
      run_killed(from, "decided=kill@2")
      run_killed(from, "kafka_committed=kill@3")
      h.run(job_args(from, "-X", "compression.type=gzip"))
      local ids, reasons = ids_in(small), {}
      for _, record in ipairs(h.json_lines(h.kadmin("consume", dead, 0, 0, -1))) do
         local letter = cjson.decode(record.value)
         ids[#ids + 1] = cjson.decode(letter.value).id
         local reason = letter.reason:match "takes 600" or letter.reason:match "without a key"
         reasons[reason] = (reasons[reason] or 0) + 1
         assert.are.same({ small, -1, -1 }, { letter.topic, letter.partition, letter.offset })
      end
      assert_all_once(ids)
      assert.are.equal(count / 10, reasons["takes 600"])
      assert.are.equal(count / 100, reasons["without a key"])
   end)

   it("make their topic where the job says with how many partitions", function()
      local fresh = h.topic_name "fresh"
      h.job(stream .. ("return s:to(tide.kafka { topic = %q, partitions = 3 })"):format(fresh))
      says(h.run(job_args(from)):err(),
           ("topic %s did not exist: created with 3 partitions"):format(fresh))
      local total = 0
      for p = 0, 2 do
         total = total + #h.json_lines(h.kadmin("consume", fresh, p, 0, -1))
      end
      assert.are.equal(count, total)
   end)

   it("let a broker make their topic that makes topics by itself", function()
      local server, folder = h.root .. "/tests/integration/kafka/server", h.path "kafka2"
      h.at_end(function() h.process.spawn { argv = { server, "stop", folder } }:wait(60) end)
      h.expect_exit(h.spawn({ server, "start", folder, "auto.create.topics.enable=true",
                              "num.partitions=5" }, { env = { KAFKA_HEAP = "256m" } }), 0, 120)
      local address = h.read_file(folder .. "/address"):match "%S+"
      h.job(stream .. ("return s:to(tide.kafka { topic = 'fresh', brokers = %q })"):format(address))
      says(h.run(job_args(from)):err(), "topic fresh did not exist: created with 5 partitions")
   end)

   it("that refuse after the decision keep the rows, and say what to do", function()
      local small = h.topic_name "small"
      h.kadmin("create", small, 1, "max.message.bytes=600")
      h.job(stream:gsub("return .- end",
         'return ("%%04d"):rep(300):format(unpack((function() local t = {} for i = 1, 300 do ' ..
         't[i] = math.floor(tide.random() * 1e4) end return t end)())) end') ..
         ("return s:to(tide.kafka { topic = %q })"):format(small))
      local stopped = h.run(job_args(from, "-X", "compression.type=gzip"), nil, 1)
      says(stopped:err(), "topic " .. small .. " does not take a record")
      says(stopped:err(), "raise max.message.bytes of the topic")
      says(stopped:err(), "Nothing is lost, the rows wait in the checkpoint")
      assert.are.equal(60, #h.json_lines(h.run(checkpoint("outbox", "show", "--json")):out()))
   end)

   it("on a topic per row are one transaction", function()
      local other = h.topic(1, "other")
      h.job(stream .. ([[return s:to(tide.kafka {
         topic = function(row) return row.id:match "[02468]$" and %q or %q end })]])
         :format(to, other))
      for _, point in ipairs { "begin", "offsets", "commit", "committed" } do
         run_killed(from, ("kafka_%s=kill@1"):format(point))
      end
      h.run(job_args(from))
      local ids = ids_in(to)
      assert.are.equal(count / 2, #ids)
      for _, id in ipairs(ids_in(other)) do
         ids[#ids + 1] = id
      end
      assert_all_once(ids)
   end)

   it("feed other jobs (IND-34)", function()
      local last = h.topic(1, "last")
      job 'tide.kafka { topic = "OUT", key = "id" }'
      run_killed(from, "kafka_commit=kill@2")
      h.run(job_args(from))
      h.job(([[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :json { "id:string" }
   :map(function(row) return row.id:sub(-1) end, { "digit:string" })
   :group_by("digit"):count()
   :to(tide.kafka { topic = %q, key = "digit" })]]):format(last), "next.lua")
      local args = job_args(to)
      args[2] = h.path "next.lua"
      args[10] = h.path "cp-next"
      h.run(args)
      local newest = {}
      for _, record in ipairs(h.json_lines(h.kadmin("consume", last, 0, 0, -1))) do
         local row = cjson.decode(record.value)
         assert.are.equal(row.digit, record.key)
         newest[row.digit] = row.count
      end
      for digit = 0, 9 do
         assert.are.equal(count / 10, newest[tostring(digit)])
      end
   end)

   -- Two of them fail in a step, one is no JSON; all three with what is known of them.
   local function spoil()
      local records = {}
      for i = 0, 99 do
         records[i + 1] = { key = "k" .. i, value = ('{"n":%d}'):format(i), partition = 0 }
      end
      records[21] = { key = "k", value = "no JSON", timestamp = 1700000000000,
                      headers = { { "a", "1" }, { "b", cjson.null } }, partition = 0 }
      records[41].value = '{"n":-1}'
      records[61] = { value = "\195(", key = cjson.null, partition = 0 }
      from = h.topic(1)
      h.produce(from, records)
   end

   local spoiled = [[
return tide.job { on_error = %s, outputs =
   tide.from(tide.kafka { topic = "unset", start = "earliest" })
      :json { "n:int" }
      :map(function(row)
         if row.n < 0 then error "below zero" end
         return "0/" .. row.n
      end, { "id:string" })
      :to(tide.kafka { topic = %q }) }]]

   local function assert_letters(letters)
      assert.are.equal(3, #letters)
      assert.are.same({ 20, 40, 60 }, { letters[1].offset, letters[2].offset, letters[3].offset })
      for _, letter in ipairs(letters) do
         assert.are.equal(from, letter.topic)
         assert.are.equal(0, letter.partition)
      end
      assert.are.same({ "k", "no JSON", [=[[["a","1"],["b",null]]]=], "2023-11-14T22:13:20.000Z" },
         { letters[1].key, letters[1].value, letters[1].headers, letters[1].timestamp })
      says(letters[1].reason, "not a JSON object")
      assert.is_truthy(letters[1].line:match "job%.lua:4$", letters[1].line)
      assert.are.same({ "below zero", '{"n":-1}', cjson.null },
         { letters[2].reason, letters[2].value, letters[2].headers })
      assert.is_truthy(letters[2].line:match "job%.lua:6$", letters[2].line)
      assert.are.same({ cjson.null, "base64:wyg=" }, { letters[3].key, letters[3].value })
   end

   it("take records that fail, decided with their epoch", function()
      local dead = h.topic(1, "dead")
      spoil()
      h.job(spoiled:format(('tide.kafka { topic = %q }'):format(dead), to))
      run_killed(from, "decided=kill@1")
      run_killed(from, "kafka_commit=kill@3")
      run_killed(from, "kafka_committed=kill@4")
      says(h.run(job_args(from)):err(), "sink kafka:" .. dead .. " is exactly-once")
      local letters = {}
      for i, record in ipairs(h.json_lines(h.kadmin("consume", dead, 0, 0, -1))) do
         letters[i] = cjson.decode(record.value)
         assert.are.equal(letters[i].key, record.key)
      end
      assert_letters(letters)
      assert.are.equal(97, #ids_in(to))
   end)

   it("take malformed records apart from those that fail, each once over a kill", function()
      local dead, bad = h.topic(1, "dead"), h.topic(1, "bad")
      spoil()
      h.job((spoiled:format(('tide.kafka { topic = %q }'):format(dead), to)
         :gsub('{ "n:int" }', ('({ "n:int" }, { malformed = tide.kafka { topic = %q } })')
            :format(bad))))
      run_killed(from, "kafka_commit=kill@2")
      h.run(job_args(from))
      local letters = {}
      for _, topic in ipairs { bad, dead } do
         for _, record in ipairs(h.json_lines(h.kadmin("consume", topic, 0, 0, -1))) do
            letters[#letters + 1] = cjson.decode(record.value)
         end
      end
      assert.are.equal("below zero", letters[3].reason)
      table.insert(letters, 2, table.remove(letters, 3))
      assert_letters(letters)
      local shown = cjson.decode(h.run(checkpoint("show", "--json")):out())
      assert.are.same({ 100, 1, 2 }, { shown.rowsIn, shown.rowsFailed, shown.rowsMalformed })
   end)

   it("take records that fail as they were, or into files", function()
      local dead = h.topic(1, "dead")
      spoil()
      h.job(spoiled:format(('tide.kafka { topic = %q, key = "key", value = "value", ' ..
         'headers = { "reason" } }'):format(dead), to))
      h.run(job_args(from))
      local records = h.json_lines(h.kadmin("consume", dead, 0, 0, -1))
      assert.are.same({ "k", "no JSON" }, { records[1].key, records[1].value })
      assert.are.same({ { "reason", "below zero" } }, records[2].headers)
      assert.are.same({ base64 = "wyg=" }, records[3].value)
      h.job(spoiled:format('tide.files { path = "dead" }', to))
      h.run(job_args(from, "--checkpoint-dir", h.path "c2"))
      local name = io.popen("ls " .. h.path "dead" .. " | grep rows-"):read()
      assert_letters(h.json_lines(h.read_file(h.path("dead/" .. name))))
   end)
end)
