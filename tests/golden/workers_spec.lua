-- SPDX-License-Identifier: Apache-2.0
-- What the three jobs of the bench say, against counts that are made here without
-- them: with 1, 2 and 4 workers, and with the JIT off.
local cjson = require "cjson"
local h = require "harness"

local RECORDS, PARTITIONS = 4000, 4
local ways = { { "--workers", "1" }, { "--workers", "2" }, { "--workers", "4" }, { "--jit-off" } }

--- Partitions in turn.
local function lines_of(records)
   local lines = {}
   for i, record in ipairs(records) do
      record.partition = i % PARTITIONS
      lines[i] = cjson.encode(record)
   end
   return table.concat(lines, "\n") .. "\n"
end

local function words(random)
   local list = {}
   for i = 1, random(0, 12) do
      list[i] = "Word" .. math.floor(random() ^ 3 * 300)
   end
   return table.concat(list, ", ")
end

local function worded(random)
   local records, counts = {}, {}
   local function add(field, text)
      for word in text:lower():gmatch "%w+" do
         local name = field .. "," .. word
         counts[name] = (counts[name] or 0) + 1
      end
   end
   local function add_blank(text, what)
      if text == "" then
         counts["stats," .. what] = (counts["stats," .. what] or 0) + 1
      end
   end
   for i = 1, RECORDS do
      local key, value = random(10) > 1 and "Key-" .. random(40) or "", words(random)
      local header = random(2) == 1 and words(random) or nil
      records[i] = { key = key, value = value, headers = header and { { "trace", header } } }
      add("key", key)
      add("value", value)
      add_blank(key, "no-key")
      add_blank(value, "no-value")
      add_blank(header and "some" or "", "no-header")
      add("header", header and "trace " .. header or "")
   end
   return records, counts
end

local FIRST_MS = 1704067200000

local function time_of(ms)
   return ("%s.%03dZ"):format(os.date("!%Y-%m-%dT%H:%M:%S", math.floor(ms / 1000)), ms % 1000)
end

--- Forty milliseconds apart, and every tenth up to 20 s late.
local function readings(random)
   local records, windows = {}, {}
   for i = 1, RECORDS do
      local late = random(10) == 1 and random(20000) or 0
      local at, id, value = FIRST_MS + i * 40 - late, random(20), random(0, 400) / 4
      records[i] = { value = ('{"id":%d,"ts":"%s","value":%s}'):format(id, time_of(at), value) }
      local name = time_of(at - at % 10000) .. "," .. id
      local window = windows[name] or { n = 0, sum = 0 }
      window.n, window.sum = window.n + 1, window.sum + value
      windows[name] = window
   end
   return records, windows
end

local function articles(random)
   local records, known, count = {}, {}, 0
   for i = 1, RECORDS do
      local id = random(2) == 1 and random(math.max(1, i - 500), i) or i
      records[i] = { value = ('{"id":"a%d","published_at":"%s"}'):format(id,
                     time_of(FIRST_MS + i * 100)) }
      count = count + (known[id] and 0 or 1)
      known[id] = true
   end
   return records, count
end

describe("the jobs of the bench, with any number of workers and with the JIT off,", function()
   local seed = tonumber(os.getenv "SEED") or 20241121

   local function random(...)
      return math.random(...)
   end

   before_each(function()
      h.begin()
      local broker = h.start { "broker", "--partitions", PARTITIONS }
      h.brokers = h.eventually("the broker's address", function()
         return (broker:out() .. broker:err()):match("127%.0%.0%.1:%d+")
      end, broker)
      math.randomseed(seed)
   end)

   --- Runs the job on the records each way: check(what it prints, how it was, checkpoints).
   local function each_way(job, records, check)
      local topic = h.topic_name "ways"
      h.run({ "produce", topic, "-b", h.brokers }, { stdin = lines_of(records) })
      for number, way in ipairs(ways) do
         local folder = h.path("cp" .. number)
         local run = h.run { "run", h.root .. "/" .. job, "-b", h.brokers, "--topic", topic,
                             "--from", "earliest", "--until-end", "--no-ui", "--output", "csv",
                             "--checkpoint-dir", folder, "--max-records-per-batch", "1000",
                             unpack(way) }
         check(run:out():gsub("\r", ""), table.concat(way, " ") .. ", SEED=" .. seed, folder)
      end
   end

   it("count every word", function()
      local records, counts = worded(random)
      each_way("jobs/wordcount.lua", records, function(_, how, folder)
         local found = {}
         local listed = h.run { "state", "ls", "wordcount", "-c", folder, "--limit", "100000",
                                "--output", "csv" }
         for name, count in listed:out():gsub("\r", ""):gmatch "([^,\n]+,[^,\n]+),(%d+)\n" do
            found[name] = tonumber(count)
         end
         assert.are.same(counts, found, how)
      end)
   end)

   it("average every window", function()
      local records, windows = readings(random)
      each_way("tests/bench/averages.lua", records, function(out, how)
         local found, last = {}, ""
         for start, id, average, n in out:gmatch "([^,\n]+),[^,]+,(%d+),([^,]+),(%d+)\n" do
            local name = start .. "," .. id
            local window = windows[name]
            assert.is_nil(found[name], how .. ": twice " .. name)
            assert.are.equal(window.n, tonumber(n), how .. ": " .. name)
            assert.is_true(math.abs(window.sum / window.n - average) < 1e-9, how .. ": " .. name)
            found[name] = true
            last = start > last and start or last
         end
         -- The newest time is 160 s behind the first, and 30 s more keep windows open.
         assert.is_true(last >= time_of(FIRST_MS + 110000), how .. ": the last is " .. last)
         for name in pairs(windows) do
            assert.is_true(found[name] or name:match "^[^,]+" > last, how .. ": no " .. name)
         end
      end)
   end)

   it("count each article once", function()
      local records, count = articles(random)
      each_way("tests/bench/articles.lua", records, function(out, how)
         local last
         for number in out:gmatch "\n1,(%d+)" do
            last = tonumber(number)
         end
         assert.are.equal(count, last, how)
      end)
   end)
end)
