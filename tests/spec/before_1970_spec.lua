-- SPDX-License-Identifier: Apache-2.0
-- Times below zero. A record's own is none, as Kafka has none before 1970; event time
-- may be, and windows, watermarks and what is late are as after it.
local testing = require "tidemark.testing"

local function at(clock)
   return ("1969-12-31T%s.000Z"):format(clock)
end

local function event(user, clock)
   return { key = user, value = ('{"user":"%s","ts":"%s"}'):format(user, at(clock)) }
end

describe("a time below zero", function()
   it("is none where it is a record's own", function()
      local job = testing.job [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :with("seen:string", function(rec) return tostring(rec.timestamp) end)
   :select { "key", "seen", "timestamp" }
   :to(tide.console { mode = "append" })]]
      for _, ms in ipairs { 1, 0, -1, -2, -86400000, -2 ^ 53, -2 ^ 63 } do
         job:feed { key = ("%.0f"):format(ms), timestamp = ms }
      end
      job:run()
      for i, row in ipairs(job:rows()) do
         assert.are.equal(i > 2, row.seen == "nil", row.key .. ": " .. row.seen)
         assert.are.equal(i > 2, row.timestamp == nil, row.key)
      end
      assert.are.equal(7, #job:rows())
      job:close()
   end)

   it("does not move the watermark where it is a record's own", function()
      local job = testing.job [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :watermark("timestamp", "10s")
   :group_by("key"):window("10s"):count()
   :to(tide.console { mode = "update" })]]
      local now = "2024-01-01T00:00:05Z"
      job:feed({ key = "a", timestamp = now }, { key = "b", timestamp = -5000 })
      job:run()
      local mark = job:watermark()
      job:feed({ key = "a", timestamp = now }, { key = "b", timestamp = -2 ^ 62 })
      job:run()
      assert.are.equal(1704067195000, mark)
      assert.are.equal(mark, job:watermark())
      assert.are.equal(4, job:number "rows_in")
      assert.are.equal(2, job:number "rows_late")
      assert.are.same({ "a" }, { (job:rows()[1] or {}).key })
      job:close()
   end)

   for _, way in ipairs {
      { "with one worker", { workers = 1 } },
      { "with four, without the JIT", { workers = 4, partitions = 4, jit = false } },
      { "over kills", { workers = 2, partitions = 2 }, { workers = 3, crash = true } },
   } do
      it("is event time as any other, " .. way[1], function()
         local job = testing.job([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" }):json { "user:string", "ts:timestamp" }
   :watermark("ts", "10s", { max_ahead = false })
   :group_by("user"):window("1m"):late_to(tide.console { name = "late" }):count()
   :to(tide.console { mode = "append", name = "closed" })]], way[2])
         local closed, late = {}, {}
         local function epoch(...)
            for n, record in ipairs { ... } do
               record.partition = n % job.partitions
               job:feed(record)
            end
            job:run()
            for _, line in ipairs(job:lines "closed") do
               closed[#closed + 1] = line
            end
            for _, line in ipairs(job:lines "late") do
               late[#late + 1] = line
            end
            if way[3] then
               job:restart(way[3])
            end
         end
         epoch(event("a", "23:57:59"), event("b", "23:57:00"), event("a", "23:57:58"))
         epoch(event("a", "23:58:30"), event("b", "23:58:30"))
         assert.are.equal(-100000, job:watermark())
         epoch(event("a", "23:57:59"), event("b", "23:58:00"))
         -- Over 1970, into the time after it.
         for n = 1, 4 do
            job:feed { value = '{"user":"c","ts":"1970-01-01T00:01:00Z"}',
                       partition = n % job.partitions }
         end
         epoch()
         table.sort(closed)
         local function window(user, from, to, count)
            return ("%s | %s | %s | %d"):format(at(from), at(to), user, count)
         end
         assert.are.same({ window("a", "23:57:00", "23:58:00", 2),
                           window("b", "23:57:00", "23:58:00", 1),
                           window("a", "23:58:00", "23:59:00", 1),
                           window("b", "23:58:00", "23:59:00", 2) }, closed)
         assert.are.same({ "a | " .. at "23:57:59" }, late)
         assert.are.equal(50000, job:watermark())
         job:close()
      end)
   end
end)
