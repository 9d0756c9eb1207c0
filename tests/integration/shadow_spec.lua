-- SPDX-License-Identifier: Apache-2.0
-- A new version beside the one that runs, on the records of its next epochs: what
-- differs is shown, and decides whether it takes over.
local h = require "harness"

local template = [[
local tide = require "tidemark"
%s
return tide.job { outputs = {
   tide.from(tide.kafka { topic = "unset", start = "earliest" })
      :map(function(rec) return tostring(rec.key), %s end, { "key:string", "n:int" })
      :group_by("key", { name = "sums" }):aggregate { tide.sum "n" :as "sum" }
      :to(tide.console { mode = "update", name = "sums" })
} }
]]

local function save(body, before)
   h.write_file(h.path "job.lua.new", template:format(before or "", body))
   assert(os.rename(h.path "job.lua.new", h.path "job.lua"))
end

-- However the records are split over epochs, each partition begins with a k1.
local function feed(topic, count)
   local records = {}
   for i = 1, count do
      records[i] = { key = "k" .. i % 4, value = "v" .. i,
                     partition = math.floor((i - 1) / 4) % 2 }
   end
   h.produce(topic, records)
end

local function sums(job)
   local found = {}
   for _, row in ipairs(h.json_lines(job:out())) do
      found[row.key] = row.sum
   end
   return found
end

local function summed(job, expected)
   h.eventually("the sums", function()
      local found = sums(job)
      for key, sum in pairs(expected) do
         if found[key] ~= sum then
            return false
         end
      end
      return true
   end, job)
end

describe("a shadow", function()
   local topic, job

   before_each(function()
      h.begin()
      topic = h.topic(2)
      save "1"
      job = h.start { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
                      "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
                      "--output", "json" }
      feed(topic, 40)
      summed(job, { k0 = 10, k1 = 10, k2 = 10, k3 = 10 })
   end)

   -- Records come once it is known that they count.
   local function start_shadow(...)
      local asked = h.start { "reload", h.path "job.lua", "--checkpoint-dir", h.path "cp",
                              "--shadow", ... }
      h.eventually("the wait for epochs", function()
         return asked:err():find("0 of the next", 1, true)
      end, asked)
      return asked
   end

   local function shadow(code, more, ...)
      local asked = start_shadow(...)
      more()
      h.expect_exit(asked, code)
      return asked:out() .. asked:err()
   end

   local function stop()
      job:kill "INT"
      h.expect_exit(job, 0)
   end

   local function takes(said, what)
      assert.truthy(said:find(what, 1, true), said)
   end

   local function goes_on()
      feed(topic, 4)
      summed(job, { k0 = 21, k1 = 21, k2 = 21, k3 = 21 })
      stop()
      assert.are.same({ [0] = 44, 40 }, h.next_offsets(h.path "cp", topic))
   end

   it("of a version that makes the same rows is equal, and within 0% takes over", function()
      save("2 - 1")
      local said = shadow(0, function() feed(topic, 40) end, 1)
      takes(said, "sums: ")
      takes(said, " 0 changed, 0 only old, 0 only new")
      takes(said, "time per record: ")
      takes(said, "nothing differs")
      assert.is_nil(job:err():find("runs from epoch", 1, true))
      said = shadow(0, function() feed(topic, 4) end, 1, "--max-diff", "0%")
      takes(said, "of the job runs from epoch")
      summed(job, { k0 = 21, k1 = 21, k2 = 21, k3 = 21 })
      stop()
   end)

   it("of a version that makes other rows shows them and takes nothing over", function()
      -- From the same state: the sums so far are in both.
      save '(tostring(rec.key) == "k1" and 3 or 1)'
      local said = shadow(4, function() feed(topic, 40) end, 1, "--max-diff", "0.1%")
      takes(said, " changed, 0 only old, 0 only new")
      local old = tonumber(said:match '%- {"key":"k1","sum":(%d+)}')
      local new = tonumber(said:match '%+ {"key":"k1","sum":(%d+)}')
      assert.truthy(old and old > 10 and new - 10 == 3 * (old - 10), said)
      takes(said, "more than 0.1% of the rows differ")
      goes_on()
   end)

   it("without a bound only shows what differs", function()
      save '(tostring(rec.key) == "k1" and 3 or 1)'
      takes(shadow(4, function() feed(topic, 40) end, 1), '+ {"key":"k1","sum":')
      goes_on()
   end)

   it("takes over within its bound", function()
      save '(tostring(rec.key) == "k1" and 3 or 1)'
      local said = shadow(0, function() feed(topic, 40) end, 3, "--max-diff", "60%")
      takes(said, "of the job runs from epoch")
      feed(topic, 4)
      summed(job, { k0 = 21, k1 = 23, k2 = 21, k3 = 21 })
      stop()
   end)

   it("of a version with a module and one more column compares the columns of both", function()
      h.write_file(h.path "module.lua", "return { one = 1 }")
      h.write_file(h.path "job.lua", (template:format('local module = require "module"',
                                                      "module.one")
         :gsub('tide.sum "n" :as "sum"', '%0, tide.max "n" :as "most"')))
      local said = shadow(0, function() feed(topic, 40) end, 1, "--max-diff", "0%")
      takes(said, "column of the new rows most:")
      takes(said, "(warm: ")
      feed(topic, 4)
      summed(job, { k0 = 21, k1 = 21, k2 = 21, k3 = 21 })
      stop()
   end)

   it("of a version that migrates its states begins with the migrated ones", function()
      h.write_file(h.path "job.lua", (template:format("", "1")
         :gsub('aggregate { tide.sum "n" :as "sum" }', [[aggregate({ tide.sum "n" :as "sum",
            tide.count() :as "seen" }, { version = 2, migrate = function(old)
               return { sum = old.sum, seen = { n = old.sum.n } }
            end })]])))
      local said = shadow(0, function() feed(topic, 40) end, 1, "--max-diff", "0%")
      takes(said, "column of the new rows seen:")
      takes(said, "(warm: ")
      summed(job, { k0 = 20, k1 = 20, k2 = 20, k3 = 20 })
      stop()
   end)

   it("ends with whoever asked for it, and with the job", function()
      save("2 - 1")
      local asked = start_shadow(50, "--max-diff", "100%")
      asked:kill "INT"
      asked:wait(60)
      h.eventually("the end of the comparison", function()
         return job:err():find("stopped before the versions were compared", 1, true)
      end, job)
      asked = start_shadow(50, "--max-diff", "100%")
      stop()
      asked:wait(60)
      assert.truthy((asked:out() .. asked:err()):find("stopped before", 1, true), asked:err())
   end)

   it("says how many epochs there were where no more come", function()
      save("2 - 1")
      takes(shadow(0, function() feed(topic, 40) end, 50), "which is all there was")
      stop()
   end)

   it("goes through what the job goes through, under load and beside it", function()
      local source = h.start { "produce", topic, "-b", h.brokers, "--generator", "words",
                               "--rate", 3000 }
      h.eventually("load", function() return #h.progress() > 5 end, job)
      save("2 - 1")
      local asked = h.start { "reload", h.path "job.lua", "--checkpoint-dir", h.path "cp",
                              "--shadow", 10 }
      h.expect_exit(asked, 0)
      local said = asked:out()
      source:kill "INT"
      h.expect_exit(source, 0)
      stop()
      local records, from, to = said:match "on (%d+) records of epochs (%d+) to (%d+)\n"
      local read, rows, last = 0, 0, 0
      for _, epoch in ipairs(h.progress()) do
         last = epoch.batchId
         if last >= tonumber(from) and last <= tonumber(to) then
            read, rows = read + epoch.numInputRows, rows + epoch.numOutputRows
         end
      end
      assert.are.equal(9, to - from)
      assert.are.equal(tonumber(records), read)
      takes(said, ("sums: %d equal, 0 changed, 0 only old, 0 only new"):format(rows))
      assert.is_true(last > tonumber(to), "no epoch came meanwhile")
   end)

   it("compares nothing where no record comes", function()
      save("2 - 1")
      takes(shadow(4, function() end, 3, "--max-diff", "100%"), "nothing to compare")
      feed(topic, 40)
      goes_on()
   end)

   it("of a version that never returns is stopped, and the old one goes on", function()
      save('(rec.offset >= 20 and hang() or 1)', "local function hang() while true do end end")
      local said = shadow(4, function() feed(topic, 40) end, 1, "--max-diff", "100%")
      takes(said, "Does the new one return on every record?")
      goes_on()
   end)

   it("of a version that fails differs wholly", function()
      save '(rec.offset >= 20 and nothing.at_all or 1)'
      local said = shadow(4, function() feed(topic, 40) end, 1, "--max-diff", "99%")
      takes(said, "the new job fails: ")
      goes_on()
   end)
end)
