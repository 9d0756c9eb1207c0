-- SPDX-License-Identifier: Apache-2.0
-- Late rows: streams of them, sinks for them, what is counted. Each runs with
-- the JIT and without, and stopped and killed between epochs.
local helper = require "tests.spec.helper"
local testing = require "tidemark.testing"
local tide = require "tidemark"

local function at(clock)
   return "2024-01-01T" .. clock .. "Z"
end

local function event(clock, user, more)
   return { key = user, value = ('{"user":"%s","ts":"%s"%s}'):format(user, at(clock), more or "") }
end

local ways = {
   { name = "1 worker", options = { workers = 1 } },
   { name = "4 workers", options = { workers = 4, partitions = 4 } },
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

-- Feeds and runs epoch by epoch; gives all lines of each output.
local function play(job, way, outputs, epochs)
   local lines = {}
   for _, output in ipairs(outputs) do
      lines[output] = {}
   end
   for i, feed in ipairs(epochs) do
      for n, record in ipairs(feed) do
         record.partition = n % job.partitions
         job:feed(record)
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
   return lines
end

local function late_of(job, name)
   for _, late in ipairs(job:progress().late) do
      if late.name == name then
         return late
      end
   end
   error("no late " .. name)
end

-- V19: late for the main watermark, and not for the one of the audit.
local v19 = [[
local tide = require "tidemark"
local events = tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "ts:timestamp" }
   :watermark("ts", "5m")
local audit = events:late { within = "30m", by = "user", name = "audit" }
return {
   events:group_by("user"):window("10s", { late = "strict" })
      :count():to(tide.console { mode = "update", name = "main" }),
   audit:to(tide.console { name = "rows" }),
   audit:group_by("user", { name = "audited" }):window("1m"):count()
      :to(tide.console { mode = "update", name = "audit" }),
}
]]

local v19_epochs = {
   { event("12:30:00", "a") },
   { event("12:30:00", "a"), event("12:25:00", "b"), event("12:24:59", "c"),
     event("12:00:00", "d"), event("11:59:59", "e") },
}

describe("late rows", function()
   each_way("are those before the watermark, and after that of the audit (V19)", function(way)
      local job = testing.job(v19, way.options)
      local got = play(job, way, { "rows", "audit", "main" }, v19_epochs)
      assert.same({ "c | 2024-01-01T12:24:59.000Z", "d | 2024-01-01T12:00:00.000Z" }, got.rows)
      assert.same({ "2024-01-01T12:00:00.000Z | 2024-01-01T12:01:00.000Z | d | 1",
                    "2024-01-01T12:24:00.000Z | 2024-01-01T12:25:00.000Z | c | 1" }, got.audit)
      assert.equal(3, #got.main) -- a, a and b
      local late = late_of(job, "audit")
      assert.equal(6, late.numRows)
      assert.equal(2, late.numRowsLate)
      assert.equal(1, late.numRowsBeyond)
      assert.equal(25 * 60000, late.maxLatenessMs)
      assert.equal(30 * 60000, late.maxBehindNewestMs)
      assert.equal(2, late.affectedKeys)
      assert.is_true(math.abs(late.lateRatio - 2 / 6) < 1e-6)
      -- The ledger counts what was dropped, and not what is shown of it.
      assert.equal(3, job:number "rows_late")
      assert.equal(6, job:number "rows_in")
      assert.equal(tide.parse(at "12:25:00"), job:watermark())
      job:close()
   end)

   each_way("of windows are those that the windows drop", function(way)
      local job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "ts:timestamp" }
   :watermark("ts", "30s")
   :group_by("user"):window("10s"):late_to(tide.console { name = "late" })
   :count():to(tide.console { mode = "update", name = "counts" })
]], way.options)
      local got = play(job, way, { "late", "counts" }, {
         { event("12:01:00", "a") },
         -- The watermark is 12:00:30: windows up to [12:00:20, 12:00:30) have closed.
         { event("12:00:30", "b"), event("12:00:29.999", "c"), event("12:00:31", "d") },
      })
      assert.same({ "c | 2024-01-01T12:00:29.999Z" }, got.late)
      assert.equal(3, #got.counts)
      assert.equal(1, job:number "rows_late")
      local late = late_of(job, "count(user,window)")
      assert.equal(1, late.numRowsLate)
      assert.equal(4, late.numRows)
      assert.equal(1, late.affectedKeys)
      job:close()
   end)

   it("of strict windows are all before the watermark", function()
      local job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "ts:timestamp" }
   :watermark("ts", "30s")
   :group_by("user"):window("1m", { late = "strict" }):late_to(tide.console { name = "late" })
   :count():to(tide.console { mode = "update", name = "counts" })
]], { now = "2024-01-02T00:00:00Z" })
      job:feed(event("12:01:00", "a")):run()
      job:feed(event("12:00:30", "b"), event("12:00:29", "c")):run()
      assert.same({ "c | 2024-01-01T12:00:29.000Z" }, job:lines "late")
      job:close()
   end)

   it("of sliding windows are in no open window", function()
      local job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "ts:timestamp" }
   :watermark("ts", "0s")
   :group_by("user"):window("20s", "10s"):late_to(tide.console { name = "late" })
   :count():to(tide.console { mode = "update", name = "counts" })
]], { now = "2024-01-02T00:00:00Z" })
      job:feed(event("12:01:00", "a")):run()
      job:feed(event("12:00:40", "b"), event("12:00:50", "c"), event("12:00:49", "d"),
               event("12:00:39", "e")):run()
      -- 12:00:49 is in [12:00:40, 12:01:00), which has closed.
      assert.same({ "b | 2024-01-01T12:00:40.000Z", "d | 2024-01-01T12:00:49.000Z",
                    "e | 2024-01-01T12:00:39.000Z" }, job:lines "late")
      assert.equal(3, job:number "rows_late")
      job:close()
   end)

   each_way("of a dedup are those that it drops", function(way)
      local job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "ts:timestamp" }
   :watermark("ts", "10s")
   :dedup { by = "user" }:late_to(tide.console { name = "late" })
   :to(tide.console { name = "first" })
]], way.options)
      local got = play(job, way, { "late", "first" }, {
         { event("12:01:00", "a") },
         { event("12:00:49", "b"), event("12:00:50", "c"), event("12:01:00", "a") },
      })
      assert.same({ "b | 2024-01-01T12:00:49.000Z" }, got.late)
      assert.equal(2, #got.first)
      assert.equal(1, job:number "rows_late")
      job:close()
   end)

   it("go to their sink on the way of a chain that goes on", function()
      local job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "ts:timestamp" }
   :watermark("ts", "10s")
   :late_to(tide.console { name = "late" }, tide.console { name = "again" },
            { within = "20s", by = "user" })
   :to(tide.console { name = "all" })
]], { now = "2024-01-02T00:00:00Z" })
      job:feed(event("12:01:00", "a")):run()
      job:feed(event("12:00:49", "b"), event("12:00:50", "c"), event("12:00:39", "d")):run()
      assert.same({ "b | 2024-01-01T12:00:49.000Z" }, job:lines "late")
      assert.same({ "b | 2024-01-01T12:00:49.000Z" }, job:lines "again")
      assert.equal(3, #job:lines "all")
      assert.equal(0, job:number "rows_late") -- none was dropped
      job:close()
   end)

   it("that fail behind it are not late", function()
      local job = testing.job([[
local tide = require "tidemark"
return tide.job { on_error = "skip", outputs = tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "ts:timestamp" }
   :watermark("ts", "10s")
   :late { by = "user", name = "late" }
   :map(function(row)
      if row.user == "bad" then error "no" end
      return row.user
   end, { "user:string" })
   :to(tide.console { name = "rows" }) }
]], { now = "2024-01-02T00:00:00Z" })
      job:feed(event("12:01:00", "a")):run()
      job:feed(event("12:00:49", "bad"), event("12:00:48", "c")):run()
      assert.same({ "c" }, job:lines "rows")
      assert.equal(1, job:number "rows_failed")
      local late = late_of(job, "late")
      assert.equal(1, late.numRowsLate)
      assert.equal(2, late.numRows)
      assert.equal(1, late.affectedKeys)
      job:close()
   end)

   each_way("are one record in the ledger, however many steps drop them", function(way)
      local job = testing.job([[
local tide = require "tidemark"
local events = tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "ts:timestamp?" }
   :watermark("ts", "10s")
return tide.job { on_error = "skip", outputs = {
   events:group_by("user", { name = "windows" }):window("20s", "10s"):count()
      :to(tide.console { mode = "update", name = "windows" }),
   events:group_by("user", { name = "sessions" }):session("10s"):count()
      :to(tide.console { mode = "append", name = "sessions" }),
   events:dedup { by = "user", within = "10s", name = "dedup" }
      :group_by("user", { name = "behind" }):window("1m"):count()
      :to(tide.console { mode = "update", name = "behind" }),
   events:map(function(row)
      if row.user == "bad" then error "no" end
      return row.user
   end, { "user:string" }):to(tide.console { name = "rows" }),
} }
]], way.options)
      play(job, way, {}, {
         { event("12:01:00", "a") },
         -- The watermark is 12:00:50: b is late for all, and c for the dedup.
         { event("12:00:00", "b"), event("12:00:49", "c"), event("12:01:01", "d"),
           event("12:00:00", "bad"), { value = '{"user":"e","ts":null}' } },
      })
      assert.equal(3, job:number "rows_late") -- b, c and e
      assert.equal(1, job:number "rows_failed")
      assert.equal(3, job:progress().rowsLate)
      local late, untimed, dropped = {}, 0, 0
      for _, step in ipairs(job:progress().late) do
         late[step.name] = step.numRowsLate
         untimed = untimed + step.numRowsWithoutEventTime
      end
      for _, step in ipairs(job:progress().stateOperators) do
         dropped = dropped + step.numRowsDroppedByWatermark
      end
      assert.same({ windows = 1, sessions = 1, dedup = 2, behind = 0 }, late)
      assert.equal(3, untimed)
      assert.equal(4, dropped)
      job:close()
   end)

   it("count different keys without keeping them", function()
      local job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "ts:timestamp" }
   :watermark("ts", "10s"):late { name = "late" }:to(tide.console { name = "rows" })
]], { now = "2024-01-02T00:00:00Z", workers = 2 })
      job:feed(event("12:01:00", "a")):run()
      for i = 1, 10000 do
         job:feed(event("12:00:00", "user" .. i % 2000)) -- by the key of the record
      end
      job:run()
      local late = late_of(job, "late")
      assert.equal(10000, late.numRowsLate)
      assert.is_true(math.abs(late.affectedKeys - 2000) < 200, late.affectedKeys)
      job:close()
   end)
end)

describe("the example of late rows", function()
   each_way("has a late row in the accurate counts alone, and in the audit", function(way)
      local job = testing.open(helper.root .. "/examples/late-rows/job.lua", way.options)
      local function visit(clock, user)
         return { key = user, value = ('{"user":"%s","at":"%s"}'):format(user, at(clock)) }
      end
      local got = play(job, way, { "fast", "accurate", "late" }, {
         { visit("12:30:00", "a") },
         { visit("12:25:00", "b"), visit("12:24:59", "c"), visit("12:00:00", "d"),
           visit("11:59:59", "e") },
         { visit("13:30:00", "a") },
      })
      assert.same({ "fast | 2024-01-01T12:25:00.000Z | b | 1",
                    "fast | 2024-01-01T12:30:00.000Z | a | 1" }, got.fast)
      assert.same({ "accurate | 2024-01-01T12:00:00.000Z | d | 1",
                    "accurate | 2024-01-01T12:24:00.000Z | c | 1",
                    "accurate | 2024-01-01T12:25:00.000Z | b | 1",
                    "accurate | 2024-01-01T12:30:00.000Z | a | 1" }, got.accurate)
      assert.same({ "late | 2024-01-01T12:00:00.000Z | d",
                    "late | 2024-01-01T12:24:59.000Z | c" }, got.late)
      assert.equal(2, late_of(job, "audit").affectedKeys)
      job:close()
   end)
end)

describe("an audit that comes to a checkpoint", function()
   local text = [[
local tide = require "tidemark"
local events = tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "ts:timestamp" }:watermark("ts", "5m")
return { events:group_by("user"):count():to(tide.console { name = "all", mode = "update" }),
]]

   it("begins where the watermark is that observes for it", function()
      local job = testing.job(text .. "}", { now = "2024-01-02T00:00:00Z" })
      job:feed(event("12:30:00", "a")):run()
      local file = assert(io.open(job.path, "wb"))
      file:write(text .. 'events:late { within = "30m" }:to(tide.console { name = "late" }) }')
      file:close()
      job:restart { crash = true }
      job:feed(event("12:24:59", "b"), event("12:00:00", "c"), event("11:59:59", "d")):run()
      assert.same({ "b | 2024-01-01T12:24:59.000Z", "c | 2024-01-01T12:00:00.000Z" },
                  job:lines "late")
      job:close()
   end)
end)

describe("a sample of late rows", function()
   local text = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "events" })
   :json { "user:string", "ts:timestamp" }
   :watermark("ts", "10s")
   :late { sample = 0.1, name = "late" }
   :to(tide.console { name = "rows" })
]]

   local function sampled(options)
      options.now = "2024-01-02T00:00:00Z"
      local job = testing.job(text, options)
      job:feed(event("12:01:00", "first")):run()
      for i = 1, 10000 do
         local record = event("12:00:00", "user" .. i)
         record.partition = i % 4
         job:feed(record)
      end
      job:run()
      local lines = job:lines "rows"
      assert.equal(10000, late_of(job, "late").numRowsLate)
      job:close()
      return lines
   end

   it("is a tenth of them, and the same whenever they are read", function()
      local lines = sampled { partitions = 4 }
      assert.is_true(#lines >= 900 and #lines <= 1100, #lines)
      assert.same(lines, sampled { partitions = 4, workers = 4 })
      assert.same(lines, sampled { partitions = 4, jit = false, max_records_per_batch = 700 })
   end)
end)

describe("late rows that cannot be", function()
   local head = [[
local tide = require "tidemark"
local events = tide.from(tide.kafka { topic = "events" }):json { "user:string", "ts:timestamp" }
local marked = events:watermark("ts", "5m")
local out = tide.console { name = "late" }
return ]]

   for text, message in pairs {
      ['events:late():to(out)'] = "nothing is late without a watermark",
      ['marked:late { within = "5m" }:to(out)'] = "leaves nothing",
      ['marked:late { sample = 0 }:to(out)'] = "a share like 0.1",
      ['marked:late { sample = 1.5 }:to(out)'] = "a share like 0.1",
      ['marked:late { by = "usr" }:to(out)'] = 'no column "usr"; did you mean "user"',
      ['marked:late { whithin = "1h" }:to(out)'] = 'did you mean "within"',
      ['marked:late { within = "1h" }:late():to(out)'] = "these rows are late already",
      ['marked:late():group_by("user"):window("10s"):count():to(out)'] = "this stream has none",
      ['marked:late_to():to(out)'] = ":late_to wants a sink",
      ['marked:dedup { by = "user" }:late():to(out)'] = "is never late",
      ['marked:group_by("user"):count():late():to(out)'] = "these rows are aggregated already",
      ['marked:group_by("user"):late():count():to(out)'] = ":late is a step of rows",
      ['events:group_by("user"):late_to(out):count():to(tide.console { mode = "update" })'] =
         "nothing is late without a watermark",
      ['marked:group_by("user"):late_to(out):window("10s"):count():to(tide.console { })'] =
         ":late_to shows what windows drop, so it comes behind :window",
      ['marked:group_by("user"):window("10s"):late_to(out):count()' ..
         ':to(tide.console { mode = "complete" })'] = 'with mode = "complete"',
      ['marked:late_to(tide.console { mode = "update" }):to(out)'] = 'mode = "update" is for',
   } do
      it(("are refused: %s"):format(text), function()
         local ok, why = pcall(testing.job, head .. text)
         assert.is_false(ok)
         assert.truthy(why:find(message, 1, true), why)
      end)
   end

   it("are refused where nothing returns what goes on", function()
      local ok, why = pcall(testing.job, (head:gsub("return $", "marked:late_to(out)\nreturn "))
         .. 'events:to(tide.console { name = "all" })')
      assert.is_false(ok)
      assert.truthy(why:find("built but not returned", 1, true), why)
      assert.truthy(why:find("late_to", 1, true), why)
   end)
end)
