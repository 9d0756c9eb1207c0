-- SPDX-License-Identifier: Apache-2.0
-- Windows against a small, slow, obviously right reference: random rows, sizes,
-- slides, offsets and policies, with restarts, kills and other numbers of workers
-- between epochs. SEED=n repeats a run.
require "tests.spec.helper"
local testing = require "tidemark.testing"

local START_S = 1704067200 -- 2024-01-01
local EPOCHS = 25

local job_text = [[
local tide = require "tidemark"
local function counts(mode)
   return tide.from(tide.kafka { topic = "t" })
      :json { "id:int", "ts:timestamp?", "value:double" }
      :watermark("ts", "%ds", { name = mode })
      :group_by("id", { name = mode }):window("%ds", "%ds", { offset = "%ds", late = "%s" })
      :aggregate { tide.count() :as "n", tide.sum "value" :as "total" }
      :to(tide.console { mode = mode, name = mode })
end
return { counts "append", counts "update", counts "complete" }
]]

-- What one grouping does, written down as the documentation says it.
local function reference(config, mode)
   return { config = config, mode = mode, windows = {}, late = 0 }
end

local function add(ref, row, mark, changed)
   local config = ref.config
   if not row.ts then
      ref.late = ref.late + 1
      return
   end
   local open = false
   local since_1970 = START_S + row.ts
   local newest = row.ts - (since_1970 - config.offset) % config.slide
   for start = newest, row.ts - config.size + 1, -config.slide do
      local finish = start + config.size
      local late = mark and ref.mode ~= "complete" and
         (finish <= mark or config.late == "strict" and row.ts < mark)
      if not late then
         open = true
         local name = finish .. "/" .. row.id
         local window = ref.windows[name] or { finish = finish, id = row.id, n = 0, total = 0 }
         window.n, window.total = window.n + 1, window.total + row.value
         ref.windows[name], changed[name] = window, true
      end
   end
   ref.late = ref.late + (open and 0 or 1)
end

-- One epoch, judged by the mark: the rows that it puts out.
local function step(ref, rows, mark)
   local out, changed = {}, {}
   local function put(window)
      out[#out + 1] = ("%d %d %d %g"):format(window.finish, window.id, window.n, window.total)
   end
   for name, window in pairs(ref.windows) do
      if mark and ref.mode ~= "complete" and window.finish <= mark then
         if ref.mode == "append" then
            put(window)
         end
         ref.windows[name] = nil
      end
   end
   for _, row in ipairs(rows) do
      add(ref, row, mark, changed)
   end
   for name, window in pairs(ref.windows) do
      if ref.mode == "complete" and #rows > 0 or ref.mode == "update" and changed[name] then
         put(window)
      end
   end
   table.sort(out)
   return out
end

local function rows_of(job, output)
   local out = {}
   for i, row in ipairs(job:rows(output)) do
      out[i] = ("%d %d %d %g"):format(row.window_end / 1000 - START_S, row.id, row.n, row.total)
   end
   table.sort(out)
   return out
end

local function random_config()
   local size = math.random(1, 12) * 5
   local slide = math.random(2) == 1 and size or math.random(1, size)
   return { size = size, slide = slide, offset = math.random(0, slide - 1),
            delay = math.random(0, 40), late = math.random(2) == 1 and "strict" or "closed" }
end

local function random_rows(now)
   local rows = {}
   for i = 1, math.random(0, 30) do
      rows[i] = { id = math.random(1, 5), value = math.random(1, 100),
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
   local config = random_config()
   local job = testing.job(job_text:format(config.delay, config.size, config.slide, config.offset,
                                           config.late),
                           { now = "2025-01-01T00:00:00Z", workers = math.random(1, 4), jit = jit })
   local refs, mark, most = {}, nil, nil
   for _, mode in ipairs { "append", "update", "complete" } do
      refs[mode] = reference(config, mode)
   end
   for epoch = 1, EPOCHS do
      local rows = random_rows(epoch * 15)
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
         job:restart { workers = math.random(1, 4), crash = math.random(2) == 1 }
      end
   end
   assert.equal(refs.append.late + refs.update.late + refs.complete.late,
                job:number "rows_late", "SEED=" .. seed)
   job:close()
end

describe("windows of random rows", function()
   local seed = tonumber(os.getenv "SEED") or os.time()
   for i = 0, 5 do
      it(("are what the reference has (%s the JIT, number %d)"):format(
         i % 3 == 2 and "without" or "with", i), function()
         print(("SEED=%d"):format(seed + i))
         try(seed + i, i % 3 ~= 2)
      end)
   end
end)
