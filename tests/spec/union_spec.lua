-- SPDX-License-Identifier: Apache-2.0
-- Several streams as one: rows of two topics, what stands behind them, and what
-- cannot be united.
local helper = require "tests.spec.helper"
local testing = require "tidemark.testing"
local tide = require "tidemark"

local function at(clock)
   return "2024-01-01T" .. clock .. "Z"
end

local ways = {
   { name = "1 worker", options = { workers = 1 } },
   { name = "4 workers", options = { workers = 4, partitions = 3 } },
   { name = "stopped and started between epochs", options = { workers = 2 },
     restart = function(i) return { workers = i % 4 + 1 } end },
   { name = "killed between epochs", options = { workers = 4 },
     restart = function(i) return { workers = (i + 1) % 4 + 1, crash = true } end },
   { name = "without the JIT", options = { workers = 1, jit = false } },
}

local function each_way(name, run)
   for _, way in ipairs(ways) do
      it(("%s (%s)"):format(name, way.name), function()
         way.options.now = "2024-01-02T00:00:00Z"
         run(way)
      end)
   end
end

-- Feeds each topic of each epoch; gives all lines of each output.
local function play(text, way, outputs, epochs)
   local job, lines = testing.job(text, way.options), {}
   for _, output in ipairs(outputs) do
      lines[output] = {}
   end
   for i, topics in ipairs(epochs) do
      for topic, records in pairs(topics) do
         for n, record in ipairs(records) do
            local full = type(record) == "table" and record or { value = record }
            full.partition = n % job.partitions
            job:feed(topic, full)
         end
      end
      job:run()
      for _, output in ipairs(outputs) do
         for _, line in ipairs(job:lines(output)) do
            table.insert(lines[output], line)
         end
      end
      if way.restart and i < #epochs then
         job:restart(way.restart(i))
      end
   end
   for _, output in ipairs(outputs) do
      table.sort(lines[output])
   end
   return lines, job
end

local two = [[
local tide = require "tidemark"
local a = tide.from(tide.kafka { topic = "a" }):json { "id:int", "ts:timestamp", "who:string?" }
local b = tide.from(tide.kafka { topic = "b" }):json { "name=who:string", "at=ts:timestamp" }
   :map(function(row) return row.name, row.at, 7 end, { "who", "ts:timestamp", "id:int" })
]]

local function of_a(clock, id, who)
   return ('{"id":%d,"ts":"%s","who":%s}'):format(id, at(clock),
      who and ('"%s"'):format(who) or "null")
end

local function of_b(clock, who)
   return ('{"ts":"%s","who":"%s"}'):format(at(clock), who)
end

describe("united streams", function()
   each_way("have the rows of all, in the columns of the first", function(way)
      local got, job = play(two .. [[
return a:union(b):filter(function(row) return row.who ~= "out" end)
   :with("place:string", function(row) return row.rec.topic .. tostring(row.id) end)
   :to(tide.console { name = "all" })
]], way, { "all" }, {
         { a = { of_a("12:00:00", 1, "x"), of_a("12:00:01", 2) }, b = { of_b("12:00:02", "y") } },
         { b = { of_b("12:00:03", "z"), of_b("12:00:04", "out") } },
      })
      assert.same({ "1 | 2024-01-01T12:00:00.000Z | x | a1",
                    "2 | 2024-01-01T12:00:01.000Z | null | a2",
                    "7 | 2024-01-01T12:00:02.000Z | y | b7",
                    "7 | 2024-01-01T12:00:03.000Z | z | b7" }, got.all)
      assert.equal(5, job:number "rows_in")
      assert.equal(1, job:number "rows_filtered")
      job:close()
   end)

   local windows = two .. [[
local all = a:union(b):watermark("ts", "30s"%s)
return {
   all:group_by("who"):window("10s"):late_to(tide.console { name = "late" })
      :aggregate { tide.count() :as "n", tide.sum "id" :as "ids" }
      :to(tide.console { mode = "append", name = "windows" }),
   all:dedup { by = "who" }:to(tide.console { name = "first" }),
}
]]
   local epochs = {
      { a = { of_a("12:00:00", 1, "x"), of_a("12:00:05", 2, "y") },
        b = { of_b("12:00:01", "x"), of_b("12:00:11", "z") } },
      { b = { of_b("12:00:41", "x") } },
      -- The watermark is 12:00:11, which b alone has moved: the first window has closed.
      { a = { of_a("12:00:09", 5, "x"), of_a("12:00:12", 6, "z") } },
      { a = { of_a("12:02:00", 9, "q") } },
   }

   each_way("share a watermark, windows and a dedup", function(way)
      local got, job = play(windows:format "", way, { "windows", "late", "first" }, epochs)
      local function line(from, to, ...)
         return table.concat({ tide.format(tide.parse(at(from))), tide.format(tide.parse(at(to))),
                               ... }, " | ")
      end
      assert.same({ line("12:00:00", "12:00:10", "x", 2, 8),
                    line("12:00:00", "12:00:10", "y", 1, 2),
                    line("12:00:10", "12:00:20", "z", 2, 13),
                    line("12:00:40", "12:00:50", "x", 1, 7) }, got.windows)
      assert.same({ "5 | 2024-01-01T12:00:09.000Z | x" }, got.late)
      assert.equal(5, #got.first) -- x, y, z; x and q once more
      assert.equal(8, job:number "rows_in")
      job:close()
   end)

   it("wait for the slower one where the watermark goes by partition", function()
      local text = windows:format ', { per_partition = true, idle = "10m" }'
      local got, job = play(text, ways[1], { "windows" }, epochs)
      -- b stays at 12:00:41, so nothing has been late, and only one window is closed.
      assert.same({ "2024-01-01T12:00:00.000Z | 2024-01-01T12:00:10.000Z | x | 3 | 13",
                    "2024-01-01T12:00:00.000Z | 2024-01-01T12:00:10.000Z | y | 1 | 2" },
                  got.windows)
      assert.equal(0, job:number "rows_late")
      assert.equal(tide.parse(at "12:00:11"), job:watermark())
      job:close()
   end)

   each_way("may be branches of one stream", function(way)
      local got, job = play([[
local tide = require "tidemark"
local s = tide.from(tide.kafka { topic = "a" }):json { "id:int", "ts:timestamp", "who:string?" }
local even = s:filter(function(row) return row.id % 2 == 0 end)
local third = s:filter(function(row) return row.id % 3 == 0 end):select { "who", "ts", "id" }
local both = even:union(third, s)
return { both:with("text:string", function(row) return "n" .. row.id end):select { "id", "text" }
            :to(tide.console { name = "rows" }),
         both:group_by("id"):count():to(tide.console { mode = "update", name = "counts" }) }
]], way, { "rows", "counts" }, {
         { a = { of_a("12:00:00", 1), of_a("12:00:01", 2), of_a("12:00:01", 6) } },
         { a = { of_a("12:00:00", 3) } },
      })
      assert.same({ "1 | n1", "2 | n2", "2 | n2", "3 | n3", "3 | n3", "6 | n6", "6 | n6",
                    "6 | n6" }, got.rows)
      assert.same({ "1 | 1", "2 | 2", "3 | 2", "6 | 3" }, got.counts)
      job:close()
   end)

   each_way("may be records as they came, of which some fail", function(way)
      local got, job = play([[
local tide = require "tidemark"
local a, b = tide.from(tide.kafka { topic = "a" }), tide.from(tide.kafka { topic = "b" })
return tide.job { on_error = "skip", outputs =
   a:filter(function(rec) return rec.value ~= "no" end):union(b)
      :json { "id:int" }
      :with("double:int", function(row) return row.id * 2 end)
      :group_by("double"):aggregate { tide.count() :as "n", tide.sum "id" :as "ids" }
      :to(tide.console { mode = "update" }) }
]], way, { 1 }, {
         { a = { '{"id":1}', "no", '{"id":2}' }, b = { '{"id":1}', '{"id":"x"}' } },
         { b = { '{"id":2}', '{"id":2}' } },
      })
      assert.same({ "2 | 2 | 2", "4 | 1 | 2", "4 | 3 | 6" }, got[1])
      assert.equal(7, job:number "rows_in")
      assert.equal(1, job:number "rows_failed")
      assert.equal(1, job:number "rows_filtered")
      job:close()
   end)

   it("may be united again", function()
      local got, job = play(two .. [[
local c = tide.from(tide.kafka { topic = "c" }):json { "id:int", "ts:timestamp", "who:string?" }
return a:union(b):filter(function(row) return row.id > 1 end):union(c)
   :select { "id" }:to(tide.console { name = "all" })
]], ways[1], { "all" }, {
         { a = { of_a("12:00:00", 1), of_a("12:00:00", 2) }, b = { of_b("12:00:02", "y") },
           c = { of_a("12:00:00", 1) } },
      })
      assert.same({ "1", "2", "7" }, got.all)
      job:close()
   end)
end)

describe("streams that cannot be united", function()
   local head = [[
local tide = require "tidemark"
local a = tide.from(tide.kafka { topic = "a" }):json { "id:int", "ts:timestamp", "who:string?" }
local b = tide.from(tide.kafka { topic = "b" }):json { "id:int", "ts:timestamp", "who:string?" }
local c = tide.from(tide.kafka { topic = "c,b" }):json { "id:int" }
local out, one = tide.console { }, function() return 1 end
local double = b:map(function(row) return 1, row.ts, "" end, { "id:double", "ts:timestamp", "who" })
return ]]

   for text, message in pairs {
      ['b:select { "id" }:union(c):to(out)'] =
         ':union: topic "b" is read twice (also in line 3)',
      ['a:union():to(out)'] = ":union wants streams: a:union(b)",
      ['a:union(1):to(out)'] = ":union wants streams, got a number",
      ['a:union(b, nil):to(out)'] = ":union wants streams: a:union(b)",
      ['a:union(b:group_by("id")):to(out)'] = ":union wants streams, got something that is none",
      ['a:union(b:select { "id", "ts" }):to(out)'] = 'stream 2 has no column "who"',
      ['a:union(b, b:select { "ts", "id", "who" }:with("no:int", one)):to(out)'] =
         'stream 3 has a column "no", and the first has not',
      ['a:union(double):to(out)'] = 'column "id" is int in the first stream and double in stream 2',
      ['a:union(b:watermark("ts", "5m")):to(out)'] =
         "stream 2 has a watermark (line 7), and one for all comes behind :union",
      ['a:watermark("ts", "5m"):union(b):to(out)'] = "the stream it is called on has a watermark",
      ['a:union(b:group_by("id"):count():map(function(row) return row.id, 1, "" end, ' ..
         '{ "id:int", "ts:timestamp", "who" })):to(out)'] = "stream 2 is aggregated already",
      ['a:union(b:watermark("ts", "1m"):dedup { by = "id" }):to(out)'] =
         "stream 2 has gone through :dedup",
      ['a:union(tide.from(tide.kafka { topic = "c" })):to(out)'] = "the same columns everywhere",
   } do
      it(("are refused: %s"):format(text), function()
         local why = helper.load(head .. text)
         assert.truthy(why and why:find(message, 1, true), why)
      end)
   end
end)
