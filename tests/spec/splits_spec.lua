-- SPDX-License-Identifier: Apache-2.0
-- What is promised about splits, on random rows, operators and cuts:
--
-- P1  given the log of the epochs (ranges, watermark), what is decided does not
--     depend on workers, stops or kills; here it is what a reference makes of it.
-- P2  where no row is late in either of two splits, windows are the same in the
--     end, and updates fold to the same table.
-- P3  for one read order, what is late in a split is late in any finer one; in =
--     used + late + filtered; one row for each window and key.
--
-- SEED=n repeats a run.
require "tests.spec.helper"
local reference = require "tests.spec.epoch_reference"
local testing = require "tidemark.testing"
local tide = require "tidemark"

local START = tide.parse "2024-01-01T00:00:00Z"
local OPERATORS = { "tumbling", "sliding", "strict", "plain", "first", "latest" }

local job_text = [[
local tide = require "tidemark"
local rows = tide.from(tide.kafka { topic = "t" })
   :json { "n:int", "id:int", "ts:timestamp", "v:double" }
   :filter(function(row) return row.id ~= 0 end)
   :watermark("ts", "DELAYms")
local outputs = {}
local function out(stream, name, mode)
   outputs[#outputs + 1] = stream:to(tide.console { name = name, mode = mode })
end
local function late(name)
   return tide.console { name = name .. ".late", mode = "append" }
end
local function sums(group)
   return group:aggregate { tide.count() :as "n", tide.sum "v" :as "total",
      tide.first("v", { by = "ts" }) :as "first", tide.last("v", { by = "ts" }) :as "last" }
end
local function windows(name, size, slide, offset, policy)
   local made = sums(rows:group_by("id", { name = name })
      :window(size .. "ms", slide .. "ms", { offset = offset .. "ms", late = policy })
      :late_to(late(name)))
   out(made, name .. ".closed", "append")
   out(made, name .. ".changed", "update")
end
windows("tumbling", TUMBLING)
windows("sliding", SLIDING)
windows("strict", STRICT)
out(sums(rows:group_by("id", { name = "plain" }):late_to(late "plain")), "plain.changed", "update")
out(rows:dedup { by = "id", name = "first", within = "WITHINms" }:late_to(late "first"),
    "first.changed", "append")
out(rows:dedup { by = "id", name = "latest", keep = "latest", within = "WITHINms" }
       :late_to(late "latest"), "latest.changed", "update")
return outputs
]]

-- Random jobs and rows -------------------------------------------------------------

local random = math.random

local function windows_of(slide)
   local size = random(1, 20) * 500
   slide = slide and random(math.ceil(size / 6), size) or size
   return { kind = "window", size = size, slide = slide, offset = random(0, slide - 1) }
end

local function random_job(delay)
   local job = { delay = delay, tumbling = windows_of(), sliding = windows_of(true),
                 strict = windows_of(random(2) == 1), plain = { kind = "plain" } }
   job.strict.strict = true
   job.first = { kind = "first", within = random(1, 20000) }
   job.latest = { kind = "latest", within = job.first.within }
   job.text = job_text:gsub("DELAY", delay):gsub("WITHIN", job.first.within)
   for _, name in ipairs { "tumbling", "sliding", "strict" } do
      local op = job[name]
      job.text = job.text:gsub(name:upper(), ('%d, %d, %d, "%s"'):format(op.size, op.slide,
         op.offset, op.strict and "strict" or "closed"))
   end
   return job
end

-- Rows less than a second after each other, out of order by up to `jitter`. No
-- two have the same time, so that the newest is one whatever its partition.
local function random_rows(count, partitions, jitter)
   local list, parts, used, now = {}, {}, {}, 0
   for p = 0, partitions - 1 do
      parts[p] = {}
   end
   for n = 1, count do
      now = now + random(0, 800)
      local ts = now + random(0, jitter)
      while used[ts] do
         ts = ts + 1
      end
      used[ts] = true
      local p = random(0, partitions - 1)
      local record = { n = n, id = random(0, 6), ts = START + ts, v = random(-1000, 1000) / 10,
                       partition = p }
      record.offset = #parts[p] + (parts[p][0] and 1 or 0)
      parts[p][record.offset] = record
      list[n] = record
   end
   return list, parts
end

local function feed(job, record)
   job:feed { partition = record.partition, value = ('{"n":%d,"id":%d,"ts":"%s","v":%.1f}')
      :format(record.n, record.id, tide.format(record.ts), record.v) }
end

-- A run, and its log -----------------------------------------------------------------

-- A row as text: to the last bit, and as the reference has it.
local function text_of(row)
   if row.total == nil then
      local n = ("%d"):format(row.n)
      return n, n
   end
   local name = row.window_end and ("%.0f %d"):format(row.window_end, row.id)
      or ("%d"):format(row.id)
   return ("%s %d %.17g %.17g %.17g"):format(name, row.n, row.total, row.first, row.last),
          reference.text(name, row.n, row.total, row.first, row.last)
end

local function rows_of(job, output)
   local exact, rounded = {}, {}
   for i, row in ipairs(job:rows(output)) do
      exact[i], rounded[i] = text_of(row)
   end
   table.sort(rounded)
   return exact, rounded
end

local outputs = {}
for _, name in ipairs(OPERATORS) do
   local windows = name == "tumbling" or name == "sliding" or name == "strict"
   for _, what in ipairs(windows and { "closed", "changed", "late" } or { "changed", "late" }) do
      outputs[#outputs + 1] = { op = name, what = what, name = name .. "." .. what }
   end
end

-- Takes what one epoch did into the run.
local function note(run, job)
   local progress = job:progress()
   local epoch = { ranges = {}, exact = {}, rounded = {},
                   mark = progress.eventTime.watermark and tide.parse(progress.eventTime.watermark),
                   stored = job:watermark() }
   for _, source in ipairs(progress.sources) do
      epoch.ranges[#epoch.ranges + 1] = { partition = source.partition, from = source.startOffset,
                                          to = source.endOffset,
                                          behind = source.next < source["end"] }
   end
   table.sort(epoch.ranges, function(a, b) return a.partition < b.partition end)
   for _, output in ipairs(outputs) do
      epoch.exact[output.name], epoch.rounded[output.name] = rows_of(job, output.name)
   end
   run.log[#run.log + 1] = epoch
   run.filtered, run.rows_in = progress.rowsFiltered, job:number "rows_in"
end

-- plan: how many rows each feed has. options: workers, jit, disturb, limit.
local function play(config, list, plan, options)
   local job = testing.job(config.text, { workers = options.workers, jit = options.jit,
      partitions = options.partitions, max_records_per_batch = options.limit,
      now = "2024-02-01T00:00:00Z" })
   local run, at = { log = {} }, 0
   local ok, e = pcall(function()
      for _, count in ipairs(plan) do
         for i = at + 1, at + count do
            feed(job, list[i])
         end
         at = at + count
         while job:epoch() do
            note(run, job)
            if options.disturb and random(3) == 1 then
               job:restart { workers = random(1, 4), crash = random(2) == 1 }
            end
            if options.once then
               break
            end
         end
      end
      while job:epoch() do
         note(run, job)
      end
   end)
   job:close()
   if not ok then
      error(e, 0)
   end
   return run
end

local function random_plan(count)
   local plan = {}
   while count > 0 do
      plan[#plan + 1] = math.min(count, random(4) == 1 and random(1, 3) or random(1, 80))
      count = count - plan[#plan]
   end
   return plan
end

-- Checks ---------------------------------------------------------------------------------

-- Every epoch's rows are the reference's, and its watermark is what it must be.
local function check_reference(config, run, parts, what)
   local marks = reference.marks(run.log, parts, config.delay)
   for i, epoch in ipairs(run.log) do
      assert.equal(marks[i], epoch.stored, ("%s, epoch %d: its watermark"):format(what, i - 1))
      assert.equal(marks[i - 1], epoch.mark, ("%s, epoch %d: the one before"):format(what, i - 1))
   end
   local used = {}
   for _, name in ipairs(OPERATORS) do
      local wanted = reference.run(config[name], run.log, parts)
      used[name] = wanted.used
      for i, epoch in ipairs(run.log) do
         for _, output in ipairs(outputs) do
            if output.op == name then
               assert.same(wanted.epochs[i][output.what], epoch.rounded[output.name],
                           ("%s, epoch %d, %s"):format(what, i - 1, output.name))
            end
         end
      end
   end
   return used
end

-- All rows of an output over the whole run.
local function all(run, name, kind)
   local list = {}
   for _, epoch in ipairs(run.log) do
      for _, row in ipairs(epoch[kind or "exact"][name]) do
         list[#list + 1] = row
      end
   end
   return list
end

local function check_once(run, what)
   for _, name in ipairs { "tumbling", "sliding", "strict" } do
      local seen = {}
      for _, row in ipairs(all(run, name .. ".closed")) do
         local window = row:match "^%S+ %S+"
         assert.is_nil(seen[window], ("%s, %s: %s is there twice"):format(what, name, window))
         seen[window] = true
      end
   end
end

local function check_sums(run, used, what)
   for _, name in ipairs(OPERATORS) do
      assert.equal(run.rows_in, used[name] + #all(run, name .. ".late") + run.filtered,
                   ("%s, %s: in is used, late and filtered"):format(what, name))
   end
end

local function says_something(epoch)
   for _, range in ipairs(epoch.ranges) do
      if range.to > range.from then
         return true
      end
   end
   for _, rows in pairs(epoch.exact) do
      if #rows > 0 then
         return true
      end
   end
   return false
end

--- Of epochs that read or put out anything. One that does not may only be there to forget
--- keys of a dedup, and a process that has just started looks in vain for those that have
--- been renewed, too.
local function what_of(run, what)
   local list = {}
   for _, epoch in ipairs(run.log) do
      if says_something(epoch) then
         list[#list + 1] = epoch[what]
      end
   end
   return list
end

local function late_somewhere(run)
   for _, name in ipairs(OPERATORS) do
      if #all(run, name .. ".late") > 0 then
         return true
      end
   end
   return false
end

-- The newest row of each window and key, or of each id.
local function fold(run, name)
   local rows = {}
   for _, row in ipairs(all(run, name .. ".changed")) do
      local key, value = row:match "^(.-) (%S+ %S+ %S+ %S+)$"
      rows[key] = value
   end
   return rows
end

local function fold_latest(run, list)
   local rows = {}
   for _, n in ipairs(all(run, "latest.changed")) do
      rows[list[tonumber(n)].id] = n
   end
   return rows
end

-- The properties ---------------------------------------------------------------------------

local function each_seed(name, count, run)
   local seed = tonumber(os.getenv "SEED") or os.time()
   for i = 0, count - 1 do
      it(("%s (number %d)"):format(name, i), function()
         local what = ("SEED=%d"):format(seed + i)
         print(what)
         math.randomseed(seed + i)
         run(what, i)
      end)
   end
end

describe("P1: what is decided", function()
   each_seed("depends on the log of epochs alone", 4, function(what, i)
      local partitions = i % 2 == 0 and 1 or random(2, 3)
      local config = random_job(random(0, 8000))
      local list, parts = random_rows(200, partitions, 12000)
      local plan = random_plan(#list)
      local limit = i % 3 == 2 and random(10, 60) or nil
      local options = { workers = 1, partitions = partitions, limit = limit }
      local alone = play(config, list, plan, options)
      check_sums(alone, check_reference(config, alone, parts, what .. ", 1 worker"), what)
      check_once(alone, what)
      options.workers, options.disturb, options.jit = random(2, 4), true, i % 2 == 0
      local disturbed = play(config, list, plan, options)
      check_sums(disturbed, check_reference(config, disturbed, parts, what .. ", disturbed"), what)
      check_once(disturbed, what)
      if partitions == 1 then -- else which part runs ahead is known anew after a start
         assert.same(what_of(alone, "ranges"), what_of(disturbed, "ranges"), what)
      end
      if pcall(assert.same, what_of(alone, "ranges"), what_of(disturbed, "ranges")) then
         assert.same(what_of(alone, "exact"), what_of(disturbed, "exact"), what)
      end
   end)
end)

describe("P2: two splits without late rows", function()
   each_seed("end with the same windows and the same tables", 3, function(what, i)
      local partitions = i % 2 == 0 and 1 or 3
      local config = random_job(30000)
      local list, parts = random_rows(200, partitions, 12000)
      -- The last is so late that it closes every window but its own.
      list[#list + 1] = { n = #list + 1, id = 6, ts = START + 86400000, v = 0, partition = 0,
                          offset = parts[0][0] and #parts[0] + 1 or 0 }
      parts[0][list[#list].offset] = list[#list]
      local runs = {}
      for r, plan in ipairs { { #list }, random_plan(#list), random_plan(#list) } do
         runs[r] = play(config, list, plan, { workers = random(1, 4), partitions = partitions,
            disturb = r == 3, limit = r == 2 and random(20, 100) or nil })
         check_reference(config, runs[r], parts, ("%s, split %d"):format(what, r))
      end
      for r = 2, 3 do
         local split = ("%s, split %d"):format(what, r)
         if partitions > 1 and late_somewhere(runs[r]) then
            break -- nothing is promised
         end
         assert.is_false(late_somewhere(runs[r]), split)
         for _, name in ipairs { "tumbling", "sliding", "strict" } do
            local one, other = all(runs[1], name .. ".closed"), all(runs[r], name .. ".closed")
            table.sort(one)
            table.sort(other)
            assert.same(one, other, split .. ", " .. name)
            assert.same(fold(runs[1], name), fold(runs[r], name), split .. ", " .. name)
         end
         assert.same(fold(runs[1], "plain"), fold(runs[r], "plain"), split)
         assert.same(fold_latest(runs[1], list), fold_latest(runs[r], list), split)
         if partitions == 1 then -- the first is the one that was read first
            assert.same(all(runs[1], "first.changed"), all(runs[r], "first.changed"), split)
         end
      end
   end)
end)

describe("P3: a finer split", function()
   each_seed("has the late rows of the coarser one, and maybe more", 3, function(what)
      local config = random_job(random(0, 4000))
      local list, parts = random_rows(200, 1, 20000)
      local coarse, fine = random_plan(#list), {}
      for _, count in ipairs(coarse) do
         for _, part in ipairs(random(2) == 1 and random_plan(count) or { count }) do
            fine[#fine + 1] = part
         end
      end
      local runs = {}
      for r, plan in ipairs { coarse, fine } do
         runs[r] = play(config, list, plan, { workers = random(1, 4), once = true,
                                              disturb = random(2) == 1 })
         local split = what .. (r == 1 and ", coarse" or ", fine")
         check_sums(runs[r], check_reference(config, runs[r], parts, split), split)
         check_once(runs[r], split)
      end
      for _, name in ipairs(OPERATORS) do
         local late = {}
         for _, n in ipairs(all(runs[2], name .. ".late")) do
            late[n] = true
         end
         for _, n in ipairs(all(runs[1], name .. ".late")) do
            assert.is_true(late[n], ("%s, %s: %s is late in the coarser one only"):format(what,
               name, n))
         end
      end
   end)
end)
