-- SPDX-License-Identifier: Apache-2.0
-- Sessions against a small, slow, obviously right reference: random rows, gaps,
-- delays and policies, with restarts, kills, other numbers of workers, and with too
-- little memory for the states between epochs or none. SEED=n repeats a run.
require "tests.spec.helper"
local testing = require "tidemark.testing"

local START_S = 1704067200 -- 2024-01-01
local EPOCHS = 25

local job_text = [[
local tide = require "tidemark"
local function stats(mode)
   return tide.from(tide.kafka { topic = "t" })
      :json { "id:int", "ts:timestamp?", "value:double" }
      :watermark("ts", "%ds", { name = mode })
      :group_by("id", { name = mode }):session("%ds", { late = "%s" })
      :aggregate { tide.count() :as "n", tide.sum "value", tide.min "value", tide.max "value",
                   tide.avg "value", tide.first("value", { by = "ts" }) :as "first",
                   tide.last("value", { by = "ts" }) :as "last",
                   tide.count_distinct("value", { max = 6 }) :as "different" }
      :to(tide.console { mode = mode, name = mode })
end
return { stats "append", stats "complete" }
]]

-- What one grouping does, written down as the documentation says it: the rows
-- that were taken, and from them the sessions, each time anew.
local function reference(config, mode)
   return { config = config, mode = mode, rows = {}, late = 0 }
end

local function add(ref, row, mark)
   local config = ref.config
   local late = not row.ts or mark and ref.mode ~= "complete" and
      (row.ts + config.gap <= mark or config.late == "strict" and row.ts < mark)
   if late then
      ref.late = ref.late + 1
   else
      ref.rows[#ref.rows + 1] = row
   end
end

local function sessions_of(ref)
   table.sort(ref.rows, function(a, b)
      if a.id ~= b.id then
         return a.id < b.id
      elseif a.ts ~= b.ts then
         return a.ts < b.ts
      end
      return a.order < b.order
   end)
   local list, open = {}, nil
   for _, row in ipairs(ref.rows) do
      if not open or row.id ~= open.id or row.ts > open.finish then
         open = { id = row.id, start = row.ts, rows = {} }
         list[#list + 1] = open
      end
      open.finish = row.ts + ref.config.gap
      open.rows[#open.rows + 1] = row
   end
   return list
end

local function line_of(open)
   local sum, least, most, seen, different = 0, math.huge, -math.huge, {}, 0
   for _, row in ipairs(open.rows) do
      local v = row.value
      sum, least, most = sum + v, math.min(least, v), math.max(most, v)
      different = different + (seen[v] and 0 or 1)
      seen[v] = true
   end
   local n = #open.rows
   return ("%d %d %d %d %g %g %g %g %g %g %d"):format(open.start, open.finish, open.id, n, sum,
      least, most, sum / n, open.rows[1].value, open.rows[n].value, different)
end

-- One epoch, judged by the mark: the rows that it puts out.
local function step(ref, rows, mark)
   local out, left = {}, {}
   for _, row in ipairs(rows) do
      add(ref, row, mark)
   end
   for _, open in ipairs(sessions_of(ref)) do
      local closes = mark and ref.mode == "append" and open.finish <= mark
      if closes or ref.mode == "complete" and #rows > 0 then
         out[#out + 1] = line_of(open)
      end
      for _, row in ipairs(closes and {} or open.rows) do
         left[#left + 1] = row
      end
   end
   ref.rows = left
   table.sort(out)
   return out
end

local function rows_of(job, output)
   local out = {}
   for i, row in ipairs(job:rows(output)) do
      out[i] = ("%d %d %d %d %g %g %g %g %g %g %d"):format(row.window_start / 1000 - START_S,
         row.window_end / 1000 - START_S, row.id, row.n, row.sum_value, row.min_value,
         row.max_value, row.avg_value, row.first, row.last, row.different)
   end
   table.sort(out)
   return out
end

local order = 0
local function random_rows(now, keys)
   local rows = {}
   for i = 1, math.random(0, 40) do
      order = order + 1
      rows[i] = { id = math.random(1, keys), value = math.random(1, 6), order = order,
                  ts = math.random(30) > 1 and now + math.random(-80, 20) or nil }
   end
   return rows
end

local function feed(job, rows)
   for _, row in ipairs(rows) do
      job:feed { value = ('{"id":%d,"ts":%s,"value":%d}'):format(row.id,
         row.ts and ('"%s"'):format(os.date("!%Y-%m-%dT%H:%M:%SZ", START_S + row.ts)) or "null",
         row.value) }
   end
end

local function try(seed, jit)
   math.randomseed(seed)
   local config = { gap = math.random(1, 40), delay = math.random(0, 40),
                    late = math.random(3) == 1 and "strict" or "closed" }
   -- So little that an epoch is not cut short, and that states of complete mode go.
   local keys, tight = math.random(2, 40), math.random(2) == 1
   local function options(given)
      given.workers = math.random(1, 4)
      given.memory = tight and 524288 * given.workers or 0
      given.forget = math.random(2) == 1
      return given
   end
   local job = testing.job(job_text:format(config.delay, config.gap, config.late),
                           options { now = "2025-01-01T00:00:00Z", jit = jit })
   local refs, mark, most = {}, nil, nil
   for _, mode in ipairs { "append", "complete" } do
      refs[mode] = reference(config, mode)
   end
   for epoch = 1, EPOCHS do
      local rows = random_rows(epoch * 15, keys)
      feed(job, rows)
      job:epoch()
      for mode, ref in pairs(refs) do
         assert.are.same(step(ref, rows, mark), rows_of(job, mode),
                         ("SEED=%d, epoch %d, %s"):format(seed, epoch, mode))
      end
      for _, row in ipairs(rows) do
         most = row.ts and math.max(most or row.ts, row.ts) or most
      end
      mark = most and most - config.delay
      if math.random(4) == 1 then
         job:restart(options { crash = math.random(2) == 1 })
      end
   end
   assert.equal(refs.append.late + refs.complete.late, job:number "rows_late", "SEED=" .. seed)
   job:close()
end

-- No row is late, so how they lie in partitions and epochs, and who works, is
-- nothing that the rows show.
local function try_split(seed, workers, partitions, forget)
   math.randomseed(seed)
   local config = { gap = math.random(5, 40), delay = 4000, late = "closed" }
   local job = testing.job(job_text:format(config.delay, config.gap, config.late),
                           { now = "2025-01-01T00:00:00Z", workers = workers,
                             partitions = partitions, memory = 524288 * workers,
                             forget = forget })
   local ref, got, number = reference(config, "append"), {}, 0
   local function run()
      job:run()
      for _, line in ipairs(rows_of(job, "append")) do
         got[#got + 1] = line
      end
   end
   for _ = 1, 8 do
      for _ = 1, math.random(0, 150) do
         number = number + 1
         -- No two of a key at once: which of them is first would be for their offsets to say.
         local row = { id = math.random(1, 8), value = math.random(1, 6), order = number,
                       ts = number + math.random(0, 1) * 2000 }
         add(ref, row, nil)
         job:feed { value = ('{"id":%d,"ts":"%s","value":%d}'):format(row.id,
            os.date("!%Y-%m-%dT%H:%M:%SZ", START_S + row.ts), row.value),
            partition = math.random(0, partitions - 1) }
      end
      run()
   end
   for partition = 0, partitions - 1 do
      job:feed { value = '{"id":9,"ts":"2024-06-01T00:00:00Z","value":1}', partition = partition }
   end
   run()
   local wanted = {}
   for i, open in ipairs(sessions_of(ref)) do
      wanted[i] = line_of(open)
   end
   table.sort(wanted)
   table.sort(got)
   assert.are.same(wanted, got, ("SEED=%d"):format(seed))
   assert.equal(0, job:number "rows_late")
   job:close()
end

describe("sessions of random rows", function()
   local seed = tonumber(os.getenv "SEED") or os.time()
   for i = 0, 8 do
      it(("are what the reference has (%s the JIT, number %d)"):format(
         i % 3 == 2 and "without" or "with", i), function()
         print(("SEED=%d"):format(seed + i))
         try(seed + i, i % 3 ~= 2)
      end)
   end

   for _, way in ipairs { { 1, 1 }, { 1, 4, true }, { 2, 3 }, { 4, 4, true } } do
      it(("are the same on %d workers and %d partitions%s"):format(way[1], way[2],
         way[3] and ", which forget" or ""), function()
         print(("SEED=%d"):format(seed))
         try_split(seed, way[1], way[2], way[3])
      end)
   end
end)
