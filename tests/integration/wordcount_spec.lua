-- SPDX-License-Identifier: Apache-2.0
-- Conformance vector V1: the word count, to the byte.
local h = require "harness"
local null = require("cjson").null

local auth = { { "authorization", "" } }
-- Message 1 … 11 as key, value, headers.
local messages = {
   { key = "order order", value = "widget", headers = auth },
   { key = "order order", value = "widget", headers = auth },
   { key = "order order", value = "widget", headers = auth },
   { key = "order order", value = "widget",
     headers = { { "authorization", "" }, { "authorization", "" } } },
   { key = "order", value = "widget" },
   { key = "order", value = "widget" },
   { key = "order", value = null },
   { key = "order", value = null },
   { key = null, value = "widget" },
   { key = null, value = "widget" },
   { key = null, value = "widget" },
}
local batches = { { 1 }, { 2 }, { 3, 5 }, { 6, 8 }, { 10, 11 }, { 4, 7, 9 } }

local batch_5 = [[
-------------------------------------------
Batch: 5
-------------------------------------------
+------+-------------+-----+
| field|         word|count|
+------+-------------+-----+
|header|authorization|    5|
|   key|        order|   12|
| stats|    no-header|    7|
| stats|       no-key|    3|
| stats|     no-value|    2|
| value|       widget|    9|
+------+-------------+-----+

]]

local batch_0 = [[
-------------------------------------------
Batch: 0
-------------------------------------------
+------+-------------+-----+
| field|         word|count|
+------+-------------+-----+
|header|authorization|    1|
|   key|        order|    2|
| value|       widget|    1|
+------+-------------+-----+

]]

-- Batch 2 has message 3 and, without header, message 5.
local update_2 = [[
-------------------------------------------
Batch: 2
-------------------------------------------
+------+-------------+-----+
| field|         word|count|
+------+-------------+-----+
|header|authorization|    3|
|   key|        order|    7|
| stats|    no-header|    1|
| value|       widget|    4|
+------+-------------+-----+

]]

local function produce_batch(topic, numbers)
   local records = {}
   for i, number in ipairs(numbers) do
      records[i] = messages[number]
   end
   h.produce(topic, records)
end

local function wordcount(topic, extra)
   local args = { "wordcount", "-b", h.brokers, "--topic", topic, "--from", "earliest",
                  "--checkpoint-dir", h.path "cp", "--no-ui" }
   for _, arg in ipairs(extra or {}) do
      args[#args + 1] = arg
   end
   return args
end

-- The same job in complete mode.
local function complete_job(topic)
   local source = h.read_file(h.root .. "/jobs/wordcount.lua")
   local text, count = source:gsub('mode%s*=%s*"update"', 'mode = "complete"')
   assert(count == 1, "jobs/wordcount.lua has no mode = \"update\" to replace")
   local path = h.write_file(h.path "complete.lua", text)
   return { "run", path, "-b", h.brokers, "--topic", topic, "--from", "earliest",
            "--checkpoint-dir", h.path "cp", "--no-ui", "--until-end" }
end

local function count_word(counts, field, word, times)
   local name = field .. " " .. word
   counts[name] = (counts[name] or 0) + times
end

-- What the messages with these numbers add up to.
local function expected_counts(numbers)
   local counts = {}
   for number in pairs(numbers) do
      local message = messages[number]
      local headers = #(message.headers or {})
      count_word(counts, unpack(headers > 0 and { "header", "authorization", headers }
                                or { "stats", "no-header", 1 }))
      count_word(counts, unpack(message.key ~= null
                                and { "key", "order", message.key == "order" and 1 or 2 }
                                or { "stats", "no-key", 1 }))
      count_word(counts, unpack(message.value ~= null and { "value", "widget", 1 }
                                or { "stats", "no-value", 1 }))
   end
   return counts
end

-- The newest count of each word in update rows; a count never falls.
local function fold(text)
   local counts = {}
   for _, row in ipairs(h.json_lines(text)) do
      local name = row.field .. " " .. row.word
      assert(row.count >= (counts[name] or 0), name .. " fell")
      counts[name] = row.count
   end
   return counts
end

local function same_counts(a, b)
   for name, count in pairs(a) do
      if b[name] ~= count then
         return false
      end
   end
   for name in pairs(b) do
      if not a[name] then
         return false
      end
   end
   return true
end

describe("word count V1", function()
   before_each(h.begin)

   it("counts on over restarts, one batch each, in update mode", function()
      local topic = h.topic(1)
      local outputs = {}
      for n, numbers in ipairs(batches) do
         produce_batch(topic, numbers)
         outputs[n] = h.run(wordcount(topic, { "--until-end" })):out()
      end
      assert.are.equal(batch_0, outputs[1])
      assert.are.equal(update_2, outputs[3])
      assert.are.equal(batch_5, outputs[6])
   end)

   it("prints the whole result in complete mode", function()
      local topic = h.topic(1)
      local output
      for _, numbers in ipairs(batches) do
         produce_batch(topic, numbers)
         output = h.run(complete_job(topic)):out()
      end
      assert.are.equal(batch_5, output)
   end)

   -- Epochs are cut as data comes, so only what the rows add up to is certain.
   it("counts on while it keeps running", function()
      local topic = h.topic(1)
      local job = h.start(wordcount(topic, { "--output", "json" }))
      local produced = {}
      for _, numbers in ipairs(batches) do
         produce_batch(topic, numbers)
         for _, number in ipairs(numbers) do
            produced[number] = true
         end
         local expected = expected_counts(produced)
         h.eventually("the counts of this batch", function()
            return same_counts(expected, fold(job:out()))
         end, job)
      end
      job:kill "INT"
      h.expect_exit(job, 0)
      assert.are.same({ ["header authorization"] = 5, ["key order"] = 12, ["value widget"] = 9,
                        ["stats no-key"] = 3, ["stats no-header"] = 7, ["stats no-value"] = 2 },
                      fold(job:out()))
   end)

   it("gives the same counts with 1, 2, 4 and 8 workers over 4 partitions", function()
      local topic = h.topic(4)
      local records = {}
      for i = 1, 400 do
         local record = {}
         for key, value in pairs(messages[i % 11 + 1]) do
            record[key] = value
         end
         record.partition = i % 4
         records[i] = record
      end
      h.produce(topic, records)
      local first
      for _, workers in ipairs { 1, 2, 4, 8 } do
         local job = h.run { "wordcount", "-b", h.brokers, "--topic", topic, "--from", "earliest",
                             "--no-ui", "--until-end", "--workers", workers,
                             "--checkpoint-dir", h.path("cp" .. workers) }
         first = first or job:out()
         assert.are.equal(first, job:out())
      end
      assert.is_truthy(first:find("authorization", 1, true))
   end)

   it("leaves headers out with KAFSCALE_INCLUDE_HEADERS=false", function()
      local topic = h.topic(1)
      produce_batch(topic, { 1, 5, 7, 9 })
      local job = h.run(wordcount(topic, { "--until-end", "--output", "csv" }),
                        { env = { KAFSCALE_INCLUDE_HEADERS = "false" } })
      assert.are.equal("field,word,count\r\nkey,order,4\r\nstats,no-key,1\r\n" ..
                       "stats,no-value,1\r\nvalue,widget,3\r\n", job:out())
   end)

   it("takes broker, topic, start and checkpoint from KAFSCALE_ variables", function()
      local topic = h.topic(1)
      produce_batch(topic, { 1 })
      local env = { KAFSCALE_BOOTSTRAP_SERVERS = h.brokers, KAFSCALE_TOPIC = topic,
                    KAFSCALE_STARTING_OFFSETS = "earliest",
                    KAFSCALE_CHECKPOINT_DIR = h.path "env-cp" }
      local job = h.run({ "wordcount", "--until-end", "--no-ui" }, { env = env })
      assert.are.equal(batch_0, job:out())
      assert.are.equal(1, h.next_offsets(h.path "env-cp", topic, "wordcount")[0])
   end)

   it("starts at the latest offset unless told otherwise, and at the checkpoint after", function()
      local topic = h.topic(1)
      produce_batch(topic, { 1, 2, 3, 4, 5 })
      local function run(from)
         return h.run({ "wordcount", "-b", h.brokers, "--topic", topic, "--until-end", "--no-ui",
                        "--checkpoint-dir", h.path "cp", "--from", from, "--output", "csv" }):out()
      end
      assert.are.equal("", run "latest")
      produce_batch(topic, { 9, 10 })
      assert.are.equal("field,word,count\r\nstats,no-header,2\r\nstats,no-key,2\r\n" ..
                       "value,widget,2\r\n", run "earliest")
   end)

   it("lets two jobs of one group each read everything", function()
      local topic = h.topic(2)
      produce_batch(topic, { 1, 2, 3 })
      local jobs = {}
      for i = 1, 2 do
         jobs[i] = h.start { "wordcount", "-b", h.brokers, "--topic", topic, "--from", "earliest",
                             "--group", "shared-" .. topic, "--until-end", "--no-ui",
                             "--output", "csv", "--checkpoint-dir", h.path("cp" .. i) }
      end
      for i = 1, 2 do
         h.expect_exit(jobs[i], 0)
         assert.is_truthy(jobs[i]:out():find("key,order,6\r\n", 1, true))
      end
   end)
end)
