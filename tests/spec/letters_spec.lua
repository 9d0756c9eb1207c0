-- SPDX-License-Identifier: Apache-2.0
-- Where records go that cannot be used: each is counted once, by its reason,
-- and set aside as the job says.
require "tests.spec.helper"
local testing = require "tidemark.testing"

local HEAD = 'local tide = require "tidemark"\n'

describe("records that cannot be used", function()
   local job
   after_each(function()
      if job then job:close() end
      job = nil
   end)

   local function open(text, options)
      job = testing.job(HEAD .. text, options)
      return job
   end

   local function counts()
      local of = {}
      for _, name in ipairs { "in", "out", "filtered", "failed", "malformed", "late" } do
         of[name] = job:number("rows_" .. name)
      end
      return of
   end

   -- One record of each fate.
   local mixed = [[
local s = tide.from(tide.kafka { topic = "t" })
   :json({ "id:int", "ts:timestamp", "n:int" }%s)
   :filter(function(row) return row.n > 0 end)
   :with("m:int", function(row)
      if row.n == 13 then error "unlucky" end
      return row.n
   end)
   :watermark("ts", "1s")
   :group_by("id"):window "1s":count()
   :to(tide.kafka { topic = "out", mode = "append" })
return tide.job { on_error = %s, outputs = s }
]]
   local function feed_mixed(malformed)
      local function at(second, n)
         return ('{"id":1,"ts":"2024-01-01T00:00:%02dZ","n":%d}'):format(second, n)
      end
      for _, value in ipairs { at(0, 1), at(0, 0), at(0, 13), "no JSON", '{"id":2}', at(30, 1) } do
         job:feed { key = "k", value = value, headers = { { "h", "v" } } }
      end
      assert.is_true(job:epoch())
      local bad = malformed and job:rows "kafka:bad"
      job:feed { value = at(1, 5) } -- late by now
      job:feed { value = "{" }
      assert.is_true(job:epoch())
      return bad
   end

   for _, malformed in ipairs { "", ', { malformed = tide.kafka { topic = "bad" } }' } do
      it("are counted once each, by their reason" .. malformed, function()
         open(mixed:format(malformed, '"skip"'))
         feed_mixed()
         -- in = used + filtered + failed + malformed + late
         local used = 2
         assert.are.same({ ["in"] = 8, out = malformed == "" and 1 or 3, filtered = 1, failed = 2,
                           malformed = 2, late = 1 }, counts())
         assert.equal(8, used + 1 + 2 + 2 + 1)
      end)
   end

   it("as malformed go to a sink of their own, others to that of on_error", function()
      open(mixed:format(', { malformed = tide.kafka { topic = "bad" } }',
                        'tide.kafka { topic = "dead" }'))
      local bad = feed_mixed(true)
      assert.equal(1, #bad)
      assert.equal("no JSON", bad[1].value)
      assert.equal("k", bad[1].key)
      assert.equal('[["h","v"]]', bad[1].headers)
      assert.equal(3, bad[1].offset)
      assert.truthy(bad[1].reason:find("at byte", 1, true), bad[1].reason)
      assert.truthy(bad[1].line:match ":3$", bad[1].line)
      bad = job:rows "kafka:bad"
      assert.equal(1, #bad)
      assert.equal("{", bad[1].value)
      assert.are.same({ 2, 2 }, { job:number "rows_failed", job:number "rows_malformed" })
   end)

   it("may share one sink with others that fail", function()
      open([[
local dead = tide.kafka { topic = "dead" }
local s = tide.from(tide.kafka { topic = "t" })
local a = s:json({ "n:int" }, { malformed = dead })
   :filter(function(row) return row.n > 0 end):to(tide.console {})
local b = s:map(function(rec)
   if rec.value:find "bad" then error "bad" end
   return rec.value
end, { "value" }):to(tide.kafka { topic = "out" })
return tide.job { on_error = dead, outputs = { a, b } }
]])
      -- The third is malformed for one branch and fails in the other: it failed.
      for _, value in ipairs { '{"n":1}', "{", "{bad", "[", '{"n":2,"bad":1}' } do
         job:feed("t", { value = value })
      end
      assert.is_true(job:epoch())
      local reasons = {}
      for i, row in ipairs(job:rows "kafka:dead") do
         reasons[i] = row.value .. " " .. (row.reason == "bad" and "bad" or "malformed")
      end
      assert.are.same({ 2, 2 }, { job:number "rows_failed", job:number "rows_malformed" })
      assert.are.same({ "{ malformed", "{bad bad", "[ malformed", '{"n":2,"bad":1} bad' }, reasons)
   end)

   for _, workers in ipairs { 1, 4 } do
      it(("behind a dedup are letters with all of their record (%d)"):format(workers), function()
         open([[
local s = tide.from(tide.kafka { topic = "t" })
   :json { "id:string", "ts:timestamp", "n:int" }
   :watermark("ts", "1h")
   :dedup { by = "id" }
   :dedup { by = "n" }
   :map(function(row)
      if row.n > 100 then error "too much" end
      return row.id
   end, { "id" })
   :to(tide.kafka { topic = "out" })
return tide.job { on_error = tide.kafka { topic = "dead" }, outputs = s }
]], { workers = workers, partitions = 2 })
         local big = (" "):rep(100000)
         for i = 1, 20 do
            local value = ('{"id":"%d","ts":"2024-01-01T00:00:00Z","n":%d}%s')
               :format(i, i == 7 and 101 or i, big)
            for _ = 1, 2 do
               job:feed { key = "k" .. i, value = value, partition = i % 2,
                          headers = { { "trace", "t" .. i }, { "empty", "" } } }
            end
         end
         assert.is_true(job:epoch())
         assert.equal(19, #job:rows "kafka:out")
         local dead = job:rows "kafka:dead"
         assert.equal(1, #dead)
         assert.equal("k7", dead[1].key)
         assert.equal('{"id":"7","ts":"2024-01-01T00:00:00Z","n":101}',
                      (dead[1].value:match "^%S+"))
         assert.equal('[["trace","t7"],["empty",""]]', dead[1].headers)
         assert.equal(6, dead[1].offset)
         assert.equal("too much", dead[1].reason)
         assert.equal(1, job:number "rows_failed")
      end)
   end

   it("are refused a sink that does not keep them", function()
      local function refused(option, part)
         local ok, message = pcall(open, ([[
return tide.from(tide.kafka { topic = "t" }):json({ "n:int" }, { malformed = %s })
   :to(tide.console {})]]):format(option))
         assert.is_false(ok)
         assert.truthy(tostring(message):find(part, 1, true), tostring(message))
      end
      refused("tide.console {}", "malformed takes a sink that keeps records")
      refused('"drop"', 'malformed must be one of "error", "null", or a sink')
      refused('tide.kafka { topic = function() end }', "malformed: dead letters go to one topic")
   end)
end)
