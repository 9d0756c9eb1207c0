-- SPDX-License-Identifier: Apache-2.0
-- The conformance vectors of event time, row for row, through tidemark.testing:
-- every batch an epoch, in every way that must not matter.
local helper = require "tests.spec.helper"
local reader = require "tests.vectors.reader"
local testing = require "tidemark.testing"
local tide = require "tidemark"

local ways = {
   { name = "1 worker" },
   { name = "4 workers", workers = 4 },
   { name = "without the JIT", jit = false },
   { name = "stopped between any two batches", workers = 2, restart = true },
   { name = "killed between any two batches", workers = 4, restart = true, crash = true },
}

-- Times as text, to the microsecond where they have some.
local function time_text(ms)
   local text = tide.format(ms)
   local us = math.floor(ms * 1000 + 0.5) % 1000
   return us == 0 and text or text:gsub("Z$", ("%03dZ"):format(us))
end

local function rows_of(job, output)
   local rows, types = job:rows(output.name)
   for _, row in ipairs(rows) do
      for name, value in pairs(row) do
         row[name] = (name == "ts" or name == "at" or name:match "^window_")
            and time_text(value) or value
      end
   end
   return rows, types
end

local function check_columns(job, output, what)
   local columns = job:columns(output.name)
   if output.some then
      for _, name in ipairs(output.columns) do
         assert.truthy(table.concat(columns, " "):find(name, 1, true), what)
      end
   else
      assert.same(output.columns, columns, what)
   end
end

local function check_batch(job, vector, i, sums)
   local batch = vector.batches[i]
   local what = ("%s, batch %d"):format(vector.name, i - 1)
   local used = vector.batches[i - 1] and vector.batches[i - 1].mark
   assert.equal(not batch.none, job:epoch(), what)
   for name, output in pairs(vector.outputs) do
      assert.same(reader.wanted(batch, name), reader.shown(output, rows_of(job, output)),
                  what .. ", " .. name)
      check_columns(job, output, what)
   end
   local mark = job:watermark()
   assert.equal(batch.mark, mark and time_text(mark), what)
   if not batch.none then
      local progress, dropped = job:progress(), 0
      assert.equal(#batch.feed, progress.numInputRows, what)
      assert.equal(used and used:sub(1, 23), progress.eventTime.watermark
         and progress.eventTime.watermark:sub(1, 23), what)
      for _, state in ipairs(progress.stateOperators) do
         dropped = dropped + state.numRowsDroppedByWatermark
      end
      assert.equal(batch.dropped or batch.late, dropped, what)
      for _, why in ipairs(reader.reasons) do
         sums[why] = (sums[why] or 0) + batch[why]
         assert.equal(sums[why], progress["rows" .. why:gsub("^%l", string.upper)],
                      ("%s, %s in all"):format(what, why))
      end
   end
end

local function play(vector, way)
   local job = testing.job(vector.job, { now = "2024-01-02T00:00:00Z", workers = way.workers,
                                         jit = way.jit })
   local sums = {}
   for i, batch in ipairs(vector.batches) do
      for _, value in ipairs(batch.feed) do
         job:feed { value = value }
      end
      local ok, e = pcall(check_batch, job, vector, i, sums)
      if ok and batch.state then
         ok, e = pcall(assert.equal, batch.state, job:number "state_rows",
                       ("%s, batch %d: states"):format(vector.name, i - 1))
      end
      if ok and way.restart then
         ok, e = pcall(job.restart, job, { workers = i % 4 + 1, crash = way.crash })
      end
      if not ok then
         job:close()
         error(e, 0)
      end
   end
   job:close()
end

for _, vector in ipairs(reader.all(helper.root .. "/tests/vectors")) do
   describe(vector.title, function()
      for _, way in ipairs(ways) do
         it("holds, " .. way.name, function() play(vector, way) end)
      end
   end)
end
