-- SPDX-License-Identifier: Apache-2.0
-- Late rows of two united topics against a small, slow reference: each row is in a
-- window, late or without a time; the audit has those between two watermarks. With
-- restarts, kills and other numbers of workers between epochs. SEED=n repeats a run.
require "tests.spec.helper"
local testing = require "tidemark.testing"

local START_S = 1704067200 -- 2024-01-01
local EPOCHS = 20

local job_text = [[
local tide = require "tidemark"
local function rows_of(topic)
   return tide.from(tide.kafka { topic = topic }):json { "id:int", "ts:timestamp?" }
end
local all = rows_of("a"):union(rows_of("b"):select { "ts", "id" }):watermark("ts", "%ds")
return {
   all:group_by():window("%ds", "%ds", { late = "%s" }):late_to(tide.console { name = "late" })
      :aggregate { tide.count() :as "n" }:to(tide.console { mode = "update", name = "windows" }),
   all:late { within = "%ds", name = "audit", by = "id" }:to(tide.console { name = "audit" }),
}
]]

local function random_config()
   local size = math.random(1, 12) * 5
   local delay = math.random(0, 40)
   return { size = size, slide = math.random(2) == 1 and size or math.random(1, size),
            delay = delay, within = delay + math.random(1, 40),
            late = math.random(2) == 1 and "strict" or "closed" }
end

local function random_rows(ref, now)
   local rows = {}
   for i = 1, math.random(0, 30) do
      ref.ids = ref.ids + 1
      rows[i] = { id = ref.ids, topic = math.random(2) == 1 and "a" or "b",
                  ts = math.random(30) > 1 and now + math.random(-80, 20) or nil }
   end
   return rows
end

-- Whether the windows drop the row.
local function dropped(config, row, mark)
   local newest = row.ts - (START_S + row.ts) % config.slide
   return newest + config.size <= mark or config.late == "strict" and row.ts < mark
end

-- The ids of an epoch's rows that are late, and that the audit shows.
local function step(ref, rows)
   local config, late, audit = ref.config, {}, {}
   local before = ref.from
   for _, row in ipairs(rows) do
      if not row.ts then
         ref.untimed = ref.untimed + 1
      else
         local mark = before and before - config.delay
         if mark and dropped(config, row, mark) then
            late[#late + 1] = row.id
         end
         if mark and row.ts < mark then
            local shown = row.ts >= before - config.within
            audit[#audit + 1] = shown and row.id or nil
            ref.beyond = ref.beyond + (shown and 0 or 1)
            ref.furthest = math.max(ref.furthest, shown and mark - row.ts or 0)
         end
         ref.come_to[row.topic] = math.max(ref.come_to[row.topic] or row.ts, row.ts)
      end
   end
   ref.late, ref.shown = ref.late + #late, ref.shown + #audit
   return late, audit
end

local function ids_of(job, output)
   local list = {}
   for i, row in ipairs(job:rows(output)) do
      list[i] = row.id
   end
   table.sort(list)
   return list
end

local function feed(job, ref, rows)
   for _, row in ipairs(rows) do
      table.insert(ref.fed[row.topic], row)
      job:feed(row.topic, { value = ('{"id":%d,"ts":%s}'):format(row.id, row.ts and
         ('"%s"'):format(os.date("!%Y-%m-%dT%H:%M:%SZ", START_S + row.ts)) or "null") })
   end
end

-- What the watermark goes by: the newest event time, but none that is newer than
-- what a topic with more to read has come to.
local function advance(ref, sources)
   local from = -math.huge
   for _, at in pairs(ref.come_to) do
      from = math.max(from, at)
   end
   for _, source in ipairs(sources) do
      local at = ref.come_to[source.topic]
      if source.next < source["end"] and (at or source.next == 0) then
         from = math.min(from, at or -math.huge)
      end
   end
   if from > (ref.from or -math.huge) then
      ref.from = from
   end
end

-- One epoch, and the rows that it has read: a topic that is ahead may have to wait.
local function read(job, ref)
   local rows = {}
   if not job:epoch() then
      return nil
   end
   for _, source in ipairs(job:progress().sources) do
      for offset = source.startOffset, source.endOffset - 1 do
         rows[#rows + 1] = ref.fed[source.topic][offset + 1]
      end
   end
   return rows
end

local function check_epoch(job, ref, what)
   local rows = read(job, ref)
   local late, audit = step(ref, rows or {})
   if rows then
      advance(ref, job:progress().sources)
   end
   table.sort(late)
   table.sort(audit)
   assert.are.same(late, ids_of(job, "late"), what)
   assert.are.same(audit, ids_of(job, "audit"), what)
   return rows
end

local function try(seed, jit)
   math.randomseed(seed)
   local config = random_config()
   local job = testing.job(job_text:format(config.delay, config.size, config.slide, config.late,
                                           config.within),
                           { now = "2025-01-01T00:00:00Z", workers = math.random(1, 4), jit = jit })
   local ref = { config = config, ids = 0, late = 0, shown = 0, come_to = {}, beyond = 0,
                 untimed = 0,
                 furthest = 0, fed = { a = {}, b = {} } }
   for epoch = 1, EPOCHS do
      local rows, what = random_rows(ref, epoch * 15), ("SEED=%d, epoch %d"):format(seed, epoch)
      feed(job, ref, rows)
      check_epoch(job, ref, what)
      if epoch < EPOCHS and math.random(4) == 1 then
         job:restart { workers = math.random(1, 4), crash = math.random(2) == 1 }
      end
   end
   feed(job, ref, { { id = 0, topic = "a", ts = EPOCHS * 15 } }) -- so that there is progress
   repeat until not check_epoch(job, ref, ("SEED=%d, at the end"):format(seed))
   local windows, known = unpack(job:progress().late)
   assert.are.same({ ref.late, ref.untimed, ref.ids + 1 },
                   { windows.numRowsLate, windows.numRowsWithoutEventTime, windows.numRows })
   assert.are.same({ ref.shown, ref.beyond, ref.untimed, ref.ids + 1, ref.furthest * 1000 },
                   { known.numRowsLate, known.numRowsBeyond, known.numRowsWithoutEventTime,
                     known.numRows, known.maxLatenessMs })
   assert.is_true(math.abs(known.affectedKeys - ref.shown) <= 2 + 0.15 * ref.shown)
   assert.equal(ref.late + ref.untimed, job:number "rows_late")
   job:close()
end

describe("late rows of random data", function()
   local seed = tonumber(os.getenv "SEED") or os.time()
   for i = 0, 2 do
      it(("are what the reference has (%s the JIT, number %d)"):format(
         i == 2 and "without" or "with", i), function()
         print(("SEED=%d"):format(seed + i))
         try(seed + i, i ~= 2)
      end)
   end
end)
