-- SPDX-License-Identifier: Apache-2.0
-- The harness for jobs, and what the documentation promises, run through it.
local helper = require "tests.spec.helper"
local testing = require "tidemark.testing"

local wordcount = helper.root .. "/jobs/wordcount.lua"
local auth = { { "authorization", "" } }

local function each_way(name, run)
   for _, workers in ipairs { 1, 4 } do
      it(("%s (%d worker%s)"):format(name, workers, workers > 1 and "s" or ""), function()
         run { workers = workers }
      end)
   end
end

describe("tidemark.testing", function()
   local job
   after_each(function()
      if job then job:close() end
      job = nil
   end)

   -- The eleven messages of the word count's documentation in its six batches.
   local messages = {
      { key = "order order", value = "widget", headers = auth },
      { key = "order order", value = "widget", headers = auth },
      { key = "order order", value = "widget", headers = auth },
      { key = "order order", value = "widget", headers = { auth[1], auth[1] } },
      { key = "order", value = "widget" }, { key = "order", value = "widget" },
      { key = "order" }, { key = "order" },
      { value = "widget" }, { value = "widget" }, { value = "widget" },
   }
   local batches = { { 1 }, { 2 }, { 3, 5 }, { 6, 8 }, { 10, 11 }, { 4, 7, 9 } }

   -- The word count with another output mode, or as it is.
   local function counting(options, mode)
      if not mode then
         return testing.open(wordcount, options)
      end
      local file = assert(io.open(wordcount))
      local text = file:read "*a":gsub('mode = "update"', ('mode = "%s"'):format(mode))
      file:close()
      return testing.job(text, options)
   end

   local function example(options, mode)
      options.partitions = 3
      job = counting(options, mode)
      for i, batch in ipairs(batches) do
         for _, number in ipairs(batch) do
            messages[number].partition = number % 3
            job:feed(messages[number])
         end
         assert.is_true(job:epoch())
         if i < #batches then
            job:restart { workers = i % 4 + 1, crash = i % 2 == 0 }
         end
      end
      job:expect {
         { field = "header", word = "authorization", count = 5 },
         { field = "key", word = "order", count = 12 },
         { field = "value", word = "widget", count = 9 },
         { field = "stats", word = "no-key", count = 3 },
         { field = "stats", word = "no-header", count = 7 },
         { field = "stats", word = "no-value", count = 2 },
      }
      assert.equal(5, job:number "epoch")
      assert.equal(11, job:number "rows_in")
   end

   each_way("counts the example of the documentation, restarted between batches", example)
   each_way("and in complete mode", function(options) example(options, "complete") end)
   each_way("and without the compiler", function(options)
      options.jit = false
      example(options)
   end)

   it("puts out what changed in update mode, everything in complete mode", function()
      local text = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :map(function(rec) return rec.key end, { "key" })
   :group_by("key"):count()
   :to(tide.console { mode = "%s" })
]]
      local expected = {
         update = { { a = 2, b = 1 }, { a = 3 }, {} },
         complete = { { a = 2, b = 1 }, { a = 3, b = 1 }, {} },
      }
      for mode, epochs in pairs(expected) do
         job = testing.job(text:format(mode))
         for i, keys in ipairs { { "a", "a", "b" }, { "a" }, {} } do
            for _, key in ipairs(keys) do
               job:feed { key = key }
            end
            assert.equal(#keys > 0, job:epoch())
            local rows = {}
            for key, count in pairs(epochs[i]) do
               rows[#rows + 1] = { key = key, count = count }
            end
            job:expect(rows)
         end
         job:close()
      end
      job = nil
   end)

   it("refuses append mode where counts would change again", function()
      local ok, e = pcall(counting, {}, "append")
      assert.is_false(ok)
      assert.truthy(e:find("append", 1, true), e)
   end)

   it("cuts a backlog into batches of the limit", function()
      job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :map(function(rec) return rec.value end, { "value" }):to(tide.console {})
]], { partitions = 2, max_records_per_batch = 10000 })
      for i = 1, 25000 do
         job:feed { value = "v", partition = i % 2 }
      end
      for _, size in ipairs { 10000, 10000, 5000 } do
         assert.is_true(job:epoch())
         assert.equal(size, #job:rows())
      end
      assert.is_false(job:epoch())
   end)

   it("splits a backlog in proportion to the partitions' own", function()
      job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :map(function(rec) return rec.partition end, { "partition:int" })
   :group_by("partition"):count():to(tide.console {})
]], { partitions = 3, max_records_per_batch = 1000 })
      for partition, count in pairs { [0] = 6000, [1] = 3000, [2] = 1000 } do
         for _ = 1, count do
            job:feed { value = "", partition = partition }
         end
      end
      for i = 1, 10 do
         assert.is_true(job:epoch())
         job:expect { { partition = 0, count = 600 * i }, { partition = 1, count = 300 * i },
                      { partition = 2, count = 100 * i } }
      end
      assert.is_false(job:epoch())
   end)

   -- By partition: where the newest epoch began and ended, and the log's end.
   local function ranges()
      local result = {}
      for _, source in ipairs(job:progress().sources) do
         result[source.partition + 1] =
            { source.startOffset, source.endOffset, source.latestOffset }
      end
      return result
   end

   local function feed_each(counts)
      for partition, count in ipairs(counts) do
         for _ = 1, count do
            job:feed { value = "v", partition = partition - 1 }
         end
      end
   end

   it("tells where each partition of an epoch began and ended", function()
      job = testing.open(wordcount, { partitions = 3, workers = 2, from = "earliest" })
      assert.is_nil(job:progress())
      feed_each { 100, 151, 81 }
      job:epoch()
      assert.same({ { 0, 100, 100 }, { 0, 151, 151 }, { 0, 81, 81 } }, ranges())
      assert.equal(332, job:progress().numInputRows)
      feed_each { 100, 150, 80 }
      job:epoch()
      assert.same({ { 100, 200, 200 }, { 151, 301, 301 }, { 81, 161, 161 } }, ranges())
      assert.equal(330, job:progress().numInputRows)
      job:restart { crash = true }
      feed_each { 100, 150, 80 }
      job:epoch()
      assert.same({ { 200, 300, 300 }, { 301, 451, 451 }, { 161, 241, 241 } }, ranges())
      assert.equal(2, job:progress().batchId)
   end)

   it("tells what an epoch did to state, time and sinks", function()
      job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :map(function(rec) return rec.key, rec.timestamp end, { "key", "at:timestamp" })
   :watermark("at", "10s")
   :group_by("key"):window("10s"):count()
   :to(tide.console { mode = "update" })
]], { workers = 2, partitions = 2, now = "2024-01-01T12:01:00Z" })
      local function at(key, seconds, partition)
         job:feed { key = key, partition = partition,
                    timestamp = "2024-01-01T12:00:" .. seconds .. "Z" }
      end
      at("a", "01", 0); at("a", "02", 1); at("b", "33", 1)
      job:epoch()
      local progress = job:progress()
      assert.same({ max = "2024-01-01T12:00:33.000Z", min = "2024-01-01T12:00:01.000Z",
                    avg = "2024-01-01T12:00:12.000Z" }, progress.eventTime)
      local state = progress.stateOperators[1]
      assert.equal(2, state.numRowsTotal)
      assert.equal(2, state.numRowsUpdated)
      assert.is_true(state.memoryUsedBytes > 0)
      assert.equal(0, state.numRowsDroppedByWatermark)
      assert.same({ description = "console", name = progress.sink.name, numOutputRows = 2 },
                  progress.sink)
      assert.equal(2, progress.numOutputRows)

      at("a", "05", 1); at("b", "34", 1)
      job:epoch()
      progress = job:progress()
      assert.equal("2024-01-01T12:00:23.000Z", progress.eventTime.watermark)
      assert.equal("2024-01-01T12:00:34.000Z", progress.eventTime.max)
      state = progress.stateOperators[1]
      assert.same({ 1, 1, 1 }, { state.numRowsTotal, state.numRowsUpdated,
                                 state.numRowsDroppedByWatermark })
      assert.equal(1, progress.rowsLate)
   end)

   it("gives the clock to the job, and moves it when told", function()
      job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :map(function(rec) return tide.now(), rec.timestamp end, { "now:timestamp", "at:timestamp" })
   :to(tide.console {})
]], { now = "2024-02-01T12:00:00Z" })
      job:feed "x"
      job:advance "10s"
      job:epoch()
      job:expect { { now = "2024-02-01T12:00:10Z", at = "2024-02-01T12:00:00Z" } }
   end)

   it("shows how rows differ at the line of the test", function()
      job = testing.open(wordcount)
      job:feed { key = "a" }
      job:epoch()
      local ok, e = pcall(function() job:expect { { field = "key", word = "b", count = 1 } } end)
      assert.is_false(ok)
      assert.truthy(e:find("testing_spec.lua", 1, true))
      assert.truthy(e:find("missing     key | b | 1", 1, true))
      assert.truthy(e:find("not wanted  key | a | 1", 1, true))
   end)

   it("says at the line of the test what a test got wrong", function()
      job = testing.open(wordcount)
      for _, mistake in ipairs {
         { "no option \"worker\"", function() job:restart { worker = 2 } end },
         { "has no partition 7", function() job:feed { key = "a", partition = 7 } end },
         { "timestamp: not a time: soon", function() job:feed { timestamp = "soon" } end },
         { "no output \"files\"; there are", function() job:rows "files" end },
         { "no column \"words\"", function() job:expect { { words = 1 } } end },
         { "there is no job nowhere.lua", function() testing.open "nowhere.lua" end },
      } do
         local ok, e = pcall(mistake[2])
         assert.is_false(ok)
         assert.truthy(e:find("^[^\n]*testing_spec%.lua:%d+: "), e)
         assert.truthy(e:find(mistake[1], 1, true), e)
      end
   end)

   for _, twice in ipairs { false, true } do
      it("leaves no key behind that only failed rows had" .. (twice and ", two of each" or ""),
         function()
         job = testing.job([[
local tide = require "tidemark"
local s = tide.from(tide.kafka { topic = "t" })
   :map(function(rec) return tostring(rec.key), tostring(rec.value) end,
        { "v:string", "a:string" })
]] .. (not twice and "" or "s = s:flat_map(function(row, emit) emit(row.v, row.a) " ..
       "emit(row.v .. row.v, row.a) end, { 'v:string', 'a:string' })\n") .. [[
local own = tide.aggregator { state = { n = "int" }, returns = "int",
   add = function(state, a)
      state.n = state.n + 1
      if a == "bad" then error "no" end
      if a == "zero" then state.n = 0 end
   end,
   merge = function(state, other) state.n = state.n + other.n end,
   result = function(state) return state.n end }
return tide.job { on_error = "skip", outputs = {
   s:group_by("v"):aggregate { own "a" :as "n" }:to(tide.console { mode = "update" }) } }
]])
         local function feed(...)
            for _, record in ipairs { ... } do
               job:feed { key = record:match "^%a+", value = record:match "%a+$" }
            end
            assert.is_true(job:epoch())
         end
         local function keys()
            local seen = {}
            for _, row in ipairs(job:rows()) do
               seen[#seen + 1] = row.v .. row.n
            end
            table.sort(seen)
            return table.concat(seen, " ")
         end
         feed("a ok", "b bad", "b bad", "c bad", "c ok", "d ok", "d bad", "e zero", "e bad",
              "f bad", "f zero", "b bad", "g bad")
         assert.are.equal(twice and "a1 aa1 c1 cc1 d1 dd1 e0 ee0 f0 ff0" or "a1 c1 d1 e0 f0",
                          keys())
         job:restart {}
         feed("b ok", "g bad")
         assert.are.equal(twice and "b1 bb1" or "b1", keys())
      end)
   end

   it("names a job that does not load, and a record that fails", function()
      local ok, e = pcall(testing.job, "return 1")
      assert.is_false(ok)
      assert.truthy(e:find "the job returns")
      job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :map(function(rec) error "no" end, { "x" }):to(tide.console {})
]])
      job:feed "x"
      ok, e = pcall(job.epoch, job)
      assert.is_false(ok)
      assert.truthy(e:find("t[0]@0", 1, true))
   end)
end)

-- The manual's example, as it stands there.
local function manual()
   local file = assert(io.open(helper.root .. "/lua/README.md"))
   local text = file:read "*a"
   file:close()
   for block in text:gmatch "```lua\n(.-)\n```" do
      if block:find("tidemark.testing", 1, true) then
         return block
      end
   end
end

describe("the manual's spec:", function()
   local spec = assert(loadstring(manual(), "=lua/README.md"))
   setfenv(spec, getfenv(1))
   spec()

   it("says what settings and the clock are told to", function()
      local job = testing.job([[
local tide = require "tidemark"
local name = tide.setting("name", "nobody")
return tide.from(tide.kafka { topic = "t" })
   :map(function() return name, tide.now() end, { "name", "now:timestamp" })
   :to(tide.console { mode = "append" })
]], { set = { name = "ada" } })
      job:at "2024-05-06T07:08:09Z":feed "x":epoch()
      job:expect { { name = "ada", now = "2024-05-06T07:08:09Z" } }
      job:at(1700000000000.001):feed "y":epoch()
      assert.equal(1700000000000.001, job:rows()[1].now)
      job:close()
   end)
end)
