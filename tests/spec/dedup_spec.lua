-- SPDX-License-Identifier: Apache-2.0
-- Deduplication on the real core: what passes, what is forgotten, what stays.
local helper = require "tests.spec.helper"
local testing = require "tidemark.testing"

local job_text = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "articles" })
   :json { "id:string", "at:timestamp", "v:string" }
   :watermark("at", "2h", { max_ahead = false })
   :dedup { by = "id", keep = "%s" }
   :select("id", "v")
   :to(tide.console {})
]]

-- What the articles of the documentation are, batch by batch.
local batches = {
   { { "a", "10:00:00", "v1" }, { "b", "10:05:00", "v1" } },
   { { "a", "10:30:00", "v2" } },
   { { "c", "13:00:00", "v1" } },
   { { "d", "10:59:59", "v1" }, { "e", "11:00:00", "v1" }, { "f", "11:00:01", "v1" } },
   { { "g", "14:30:00", "v1" } },
   { { "a", "14:31:00", "v3" } },
   { { "h", "18:00:00", "v1" } },
}

local function feed(job, articles, partition)
   for _, article in ipairs(articles) do
      job:feed { value = ('{"id":"%s","at":"2024-01-01T%sZ","v":"%s"}'):format(unpack(article)),
                 partition = partition and partition(article) or 0 }
   end
end

local function passed(job)
   local list = {}
   for _, row in ipairs(job:rows()) do
      list[#list + 1] = row.id .. " " .. row.v
   end
   return table.concat(list, ", ")
end

local function through(keep, options, restarts)
   local job = testing.job(job_text:format(keep), options)
   local got = {}
   for i, articles in ipairs(batches) do
      feed(job, articles, options.partitions and function(article)
         return article[1]:byte() % options.partitions
      end)
      job:run()
      got[i] = passed(job)
      if restarts then
         job:restart { workers = i % 4 + 1, crash = i % 2 == 0 }
      end
   end
   return got, job
end

describe("dedup", function()
   local job
   after_each(function()
      if job then job:close() end
      job = nil
   end)

   local first = { "a v1, b v1", "", "c v1", "e v1, f v1", "g v1", "a v3", "h v1" }
   local latest = { "a v1, b v1", "a v2", "c v1", "e v1, f v1", "g v1", "a v3", "h v1" }

   for _, workers in ipairs { 1, 4 } do
      for _, restarts in ipairs { false, true } do
         local how = ("%d worker%s%s"):format(workers, workers > 1 and "s" or "",
                                              restarts and ", restarted between epochs" or "")
         it("keeps the first within the time (" .. how .. ")", function()
            local got
            got, job = through("first", { workers = workers }, restarts)
            assert.same(first, got)
            assert.equal(1, job:number "rows_late")
         end)

         it("keeps the latest within the time (" .. how .. ")", function()
            local got
            got, job = through("latest", { workers = workers }, restarts)
            assert.same(latest, got)
            assert.equal(1, job:number "rows_late")
         end)
      end
   end

   it("lets only the newest version of an epoch out", function()
      job = testing.job(job_text:format "latest")
      feed(job, { { "i", "15:00:00", "v2" }, { "i", "14:50:00", "v1" }, { "j", "15:00:00", "x" },
                  { "i", "15:00:00", "v3" } })
      job:epoch()
      assert.equal("j x, i v3", passed(job))
      feed(job, { { "i", "14:59:59", "old" } })
      job:epoch()
      assert.equal("", passed(job))
   end)

   it("lets a row go on into a grouping, and counts each once", function()
      for _, workers in ipairs { 1, 3 } do
         job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "articles" })
   :json { "id:string", "at:timestamp", "v:string" }
   :watermark("at", "2h", { max_ahead = false })
   :dedup { by = "id" }
   :filter(function(row) return row.id ~= "skip" end)
   :group_by("v"):count()
   :to(tide.console {})
]], { workers = workers, partitions = 3 })
         local seen, count, got = {}, {}, {}
         for round = 1, 3 do
            for i = 1, 500 do
               local id = ("%d"):format((i * 7 + round * 100) % 700)
               local v = ("v%d"):format(id % 5)
               feed(job, { { id, "10:00:00", v } }, function() return id % 3 end)
               if not seen[id] then
                  seen[id], count[v] = true, (count[v] or 0) + 1
               end
            end
            feed(job, { { "skip", "10:00:00", "none" } })
            job:epoch()
            for _, row in ipairs(job:rows()) do
               got[row.v] = row.count
            end
            job:restart { workers = (workers + round) % 3 + 1 }
         end
         assert.same(count, got)
         job:close()
         job = nil
      end
   end)

   it("lets rows go on into windows by their own time", function()
      job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "articles" })
   :json { "id:string", "at:timestamp", "v:string" }
   :watermark("at", "2h", { max_ahead = false })
   :dedup { by = "id" }
   :group_by("v"):window("1h"):count()
   :to(tide.console { mode = "append" })
]], { workers = 2 })
      feed(job, { { "a", "10:10:00", "x" }, { "b", "10:50:00", "x" }, { "a", "10:20:00", "x" },
                  { "c", "11:00:00", "x" } })
      job:run()
      feed(job, { { "b", "11:05:00", "x" }, { "d", "13:30:00", "x" } })
      job:run()
      job:expect { { window_start = "2024-01-01T10:00:00Z", window_end = "2024-01-01T11:00:00Z",
                     v = "x", count = 2 } }
   end)

   it("shares a job with windows, which close while rows run on behind it", function()
      for _, workers in ipairs { 1, 4 } do
         job = testing.job([[
local tide = require "tidemark"
local articles = tide.from(tide.kafka { topic = "articles" })
   :json { "id:string", "at:timestamp", "v:string" }
   :watermark("at", "0s", { max_ahead = false })
return {
   articles:group_by("id"):window("1h"):count():to(tide.console { mode = "append", name = "w" }),
   articles:dedup { by = "id", within = "1h" }:select("id", "v"):to(tide.console { name = "d" }),
}
]], { workers = workers })
         feed(job, { { "a", "10:10:00", "x" }, { "b", "10:50:00", "x" } })
         job:epoch()
         feed(job, { { "c", "11:30:00", "x" } })
         job:epoch()
         feed(job, { { "d", "12:00:00", "x" }, { "e", "12:10:00", "x" } })
         job:epoch()
         job:expect({ { id = "d", v = "x" }, { id = "e", v = "x" } }, "d")
         job:expect({ { window_start = "2024-01-01T10:00:00Z", count = 1, id = "a",
                        window_end = "2024-01-01T11:00:00Z" },
                      { window_start = "2024-01-01T10:00:00Z", count = 1, id = "b",
                        window_end = "2024-01-01T11:00:00Z" } }, "w")
         job:close()
      end
      job = nil
   end)

   it("forgets what the watermark has passed", function()
      job = testing.job(job_text:format "first")
      local base = 1704067200000
      for hour = 0, 19 do
         for i = 1, 100 do
            job:feed { value = ('{"id":"%d-%d","at":%d,"v":""}'):format(hour, i,
               base + hour * 3600000 + i * 1000) }
         end
         job:run()
      end
      -- The watermark of the epoch is three hours behind, and keys are kept for
      -- two before it.
      assert.equal(2000, job:number "rows_in")
      assert.is_true(job:number "state_rows" <= 600, job:number "state_rows")
      assert.is_true(job:number "state_rows" >= 400, job:number "state_rows")
   end)

   -- Memory of 64 KiB holds few of these.
   for name, way in pairs {
      ["from memory"] = { workers = 1 },
      ["of four workers"] = { workers = 4 },
      ["from the checkpoint"] = { workers = 2, memory = 64 * 1024 },
      ["after a restart"] = { workers = 3, restart = { workers = 1 } },
      ["after a kill"] = { workers = 1, restart = { workers = 4, crash = true } },
   } do
      for _, keep in ipairs { "first", "latest" } do
         it(("forgets %s (%s) without another record"):format(name, keep), function()
            local base = 1704067200000
            local restart = way.restart
            job = testing.job(job_text:format(keep), { workers = way.workers, memory = way.memory })
            for part = 0, 3 do
               for i = 1, 1000 do
                  job:feed { value = ('{"id":"%d of %d","at":%d,"v":""}'):format(i, part,
                     base + part * 600000) }
               end
               job:epoch()
            end
            assert.equal(4000, job:number "state_rows")
            if way.memory then
               assert.is_true(job:number "state_rows_held" < 4000)
            end
            -- The watermark is at 2:15 behind it: those of 0:00 and 0:10 are over.
            job:feed { value = ('{"id":"last","at":%d,"v":""}'):format(base + 255 * 60000) }
            job:epoch()
            assert.equal(4001, job:number "state_rows")
            if restart then
               job:restart(restart)
            end
            job:run()
            assert.equal(2001, job:number "state_rows")
            assert.equal(2001, job:progress().stateOperators[1].numRowsTotal)
            assert.equal(2001, job:number "state_rows_stored")
            assert.equal(0, job:run()) -- nothing more is due
         end)
      end
   end

   it("is refused where it could not end, with the way out", function()
      local function refused(steps)
         local ok, e = pcall(testing.job, [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" }):json { "id:string", "at:timestamp" }
]] .. steps .. ":to(tide.console {})")
         assert.is_false(ok)
         return e
      end
      assert.truthy(refused ':dedup { by = "id" }':find "remember every key for ever")
      assert.truthy(refused ':watermark("at", "1h"):dedup { by = "idd" }':find "id")
      assert.truthy(refused ':watermark("at", "1h"):dedup { by = "id", keep = "last" }'
         :find '"first" or "latest"')
      assert.truthy(refused [[:watermark("at", "1h"):dedup { by = "id", keep = "latest" }
         :group_by("id"):count()]]:find "once for each of its versions")
   end)

   for what, change in pairs {
      ["another within"] = { from = ', within = "1h"', to = ', within = "3h"', was = 3600000 },
      ["a within that was the delay"] = { from = "", to = ', within = "3h"', was = 7200000 },
      ["another delay, which is its within"] = { from = "", to = "", delay = "3h", was = 7200000 },
   } do
      it("is refused with " .. what .. " on its old checkpoint, with the ways out", function()
         local function text(within, delay)
            return (job_text:format("first"):gsub('"2h"', ('"%s"'):format(delay or "2h"))
               :gsub(" }\n   :select", function() return within .. " }\n   :select" end))
         end
         job = testing.job(text(change.from))
         feed(job, { { "a", "10:00:00", "v1" } })
         job:run()
         local ok, why = pcall(job.restart, job, { text = text(change.to, change.delay) })
         assert.is_false(ok)
         for _, part in ipairs { 'the within of state "dedup(id)"', "the watermark's delay",
                                 ("was: %d ms"):format(change.was),
                                 "now: 10800000 ms",
                                 ('within = "%dms"'):format(change.was),
                                 "Nothing was changed", "--checkpoint-dir" } do
            assert.truthy(why:find(part, 1, true), why)
         end
         -- The way out that it names is one: the same checkpoint goes on, and knows its keys.
         job:restart { text = text((', within = "%dms"'):format(change.was), change.delay) }
         feed(job, { { "a", "10:30:00", "v2" }, { "b", "10:30:00", "v1" } })
         job:run()
         assert.equal("b v1", passed(job))
      end)
   end

   it("is what the bundled job does", function()
      job = testing.open(helper.root .. "/jobs/dedup.lua")
      job:feed { value = '{"id":"x","published_at":"2024-01-01T00:00:00Z","title":"old"}' }
      job:feed { value = '{"id":"x","published_at":"2024-01-01T00:00:01Z","title":"new"}' }
      job:feed { value = "not json" }
      job:epoch()
      job:expect { { id = "x", published_at = "2024-01-01T00:00:01Z", title = "new" } }
   end)
end)
