-- SPDX-License-Identifier: Apache-2.0
-- Why nothing comes out: what an epoch's progress says of jobs that put out nothing.
require "tests.spec.helper"
local testing = require "tidemark.testing"

describe("progress says why nothing comes out:", function()
   local job
   after_each(function()
      if job then job:close() end
      job = nil
   end)

   local function open(steps, options)
      job = testing.job(([[
local tide = require "tidemark"
local s = tide.from(tide.kafka { topic = "t" })
   :json { "id:int", "ts:timestamp?" }
%s
return tide.job { on_error = "skip", outputs = s:to(tide.console { mode = "append" }) }
]]):format(steps), options)
   end

   local function event(second, id)
      return { value = ('{"id":%d,"ts":"2024-01-01T00:%02d:%02dZ"}')
         :format(id or 1, math.floor(second / 60), second % 60) }
   end

   local function feed(partition, ...)
      for _, record in ipairs { ... } do
         record.partition = partition
         job:feed(record)
      end
   end

   -- Kinds in their order, and the findings by kind.
   local function findings()
      assert.is_true(job:epoch())
      local kinds, by_kind = {}, {}
      for i, found in ipairs(job:progress().diagnosis.findings) do
         kinds[i], by_kind[found.kind] = found.kind, found
      end
      return kinds, by_kind
   end

   local windows = [[
   :watermark("ts", "10s", { %s max_ahead = "5m" })
   :group_by("id"):window "10s":count()]]

   for _, workers in ipairs { 1, 4 } do
      it(("the step that filters, and not once rows come (%d)"):format(workers), function()
         open([[
   :filter(function(row) return row.id > 0 end)
   :filter(function(row) return row.id % 2 == 0 end)]], { workers = workers, partitions = 2 })
         for i = 0, 1 do
            feed(i, event(0, -1), event(0, -2), event(0, 3))
         end
         local kinds, found = findings()
         assert.are.same({ "filtered" }, kinds)
         assert.equal(6, found.filtered.rows)
         assert.equal(4, found.filtered.line)
         assert.truthy(found.filtered.text:find("all 6 records filtered out by 2 steps, 4 of", 1,
                                                true), found.filtered.text)
         feed(0, event(0, 2))
         assert.are.same({}, (findings()))
         feed(1, event(0, 5)) -- counted since rows last came out
         found = select(2, findings())
         assert.equal(1, found.filtered.rows)
         assert.equal(5, found.filtered.line)
      end)
   end

   it("records that fail or are malformed", function()
      open ""
      feed(0, { value = "{" }, { value = "{}" }, { value = "[]" })
      local kinds, found = findings()
      assert.are.same({ "failed", "malformed" }, kinds)
      assert.are.same({ 1, 2 }, { found.failed.rows, found.malformed.rows })
   end)

   it("steps that make no row", function()
      open ':flat_map(function() end, { "n:int" })'
      feed(0, event(0))
      assert.are.same({ "no_rows" }, (findings()))
   end)

   it("late rows, and rows without event time", function()
      open(windows:format "")
      feed(0, event(100))
      findings()
      feed(0, event(300))
      assert.is_true(job:epoch())
      assert.equal(0, #job:rows())
      assert.is_true(job:epoch()) -- the window of the first has closed
      assert.equal(1, #job:rows())
      feed(0, event(1), event(2), { value = '{"id":1}' })
      local kinds, found = findings()
      assert.are.same({ "late", "untimed", "windows", "watermark" }, kinds)
      assert.equal(2, found.late.rows)
      assert.truthy(found.late.text:find("4 min 49 s behind", 1, true), found.late.text)
      assert.equal(1, found.untimed.rows)
   end)

   it("late rows, also where they go to a sink of their own", function()
      open [[
   :watermark("ts", "10s")
   :group_by("id"):window "10s":late_to(tide.kafka { topic = "late" }):count()]]
      feed(0, event(100))
      findings()
      feed(0, event(300))
      findings()
      findings()
      feed(0, event(1), event(2))
      assert.are.same({ "late", "windows", "watermark" }, (findings()))
      assert.equal(2, #job:rows "kafka:late")
   end)

   it("repeats of a dedup", function()
      open ':watermark("ts", "1h"):dedup { by = "id" }'
      feed(0, event(0))
      assert.are.same({}, (findings()))
      feed(0, event(1), event(2))
      local kinds, found = findings()
      assert.are.same({ "repeats" }, kinds)
      assert.equal(2, found.repeats.rows)
   end)

   it("windows that wait, and why the watermark stands", function()
      open(windows:format "")
      feed(0, event(3))
      local kinds, found = findings()
      assert.are.same({ "windows", "watermark" }, kinds)
      assert.equal("2024-01-01T00:00:10.000Z", found.windows.windowEnd)
      assert.equal("2023-12-31T23:59:53.000Z", found.windows.watermark)
      assert.truthy(found.windows.text:find("17 s before it: an event of 2024-01-01T00:00:20.000Z",
                                            1, true), found.windows.text)
      assert.truthy(found.watermark.text:find("low input", 1, true), found.watermark.text)
      feed(0, event(3), event(3))
      found = select(2, findings())
      assert.truthy(found.watermark.text:find("all 3 event times are the same", 1, true),
                    found.watermark.text)
      feed(0, event(1))
      found = select(2, findings())
      assert.truthy(found.watermark.text:find("brought no later event time", 1, true),
                    found.watermark.text)
      assert.are.same({ "t", 0 }, { found.watermark.topic, found.watermark.partition })
      feed(0, event(40 * 60))
      kinds, found = findings()
      assert.are.same({ "windows", "ahead", "watermark" }, kinds)
      assert.equal(1, found.ahead.rows)
   end)

   it("the partition that holds the watermark back, until it is idle", function()
      open(windows:format 'per_partition = true, idle = "1m",', { partitions = 2 })
      feed(0, event(30))
      local _, found = findings()
      assert.truthy(found.windows.text:find("there is none yet", 1, true), found.windows.text)
      assert.are.same({ "t", 1 }, { found.watermark.topic, found.watermark.partition })
      assert.truthy(found.watermark.text:find("t-1 has had no event yet", 1, true),
                    found.watermark.text)
      feed(1, event(2))
      _, found = findings()
      assert.are.same({ "t", 1 }, { found.watermark.topic, found.watermark.partition })
      assert.truthy(found.watermark.text:find("28 s behind the newest of all", 1, true),
                    found.watermark.text)
      assert.is_false(job:epoch())
      job:advance "61s"
      feed(0, event(31))
      _, found = findings()
      assert.truthy(found.windows.text:find("closes with the next epoch", 1, true),
                    found.windows.text)
      _, found = findings()
      assert.equal(1, #job:rows())
      assert.are.same({ "t", 0 }, { found.watermark.topic, found.watermark.partition })
   end)

   it("and says nothing of rows that come as they change", function()
      job = testing.job [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" }):json { "id:int", "ts:timestamp?" }
   :watermark("ts", "10s"):group_by("id"):window "10s":count()
   :to(tide.console { mode = "update" })
]]
      feed(0, event(0))
      assert.are.same({}, (findings()))
   end)
end)
