-- SPDX-License-Identifier: Apache-2.0
-- A new version beside the one that runs, on the records of its last epochs, or of the
-- next where those are not kept: what differs is shown, and decides whether it takes over.
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

   local function start(...)
      job = h.start { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
                      "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
                      "--output", "json", ... }
   end

   local function stop()
      job:kill "INT"
      h.expect_exit(job, 0)
   end

   -- Of several epochs.
   local function begin(...)
      start("--max-records-per-batch", 4, ...)
      feed(topic, 40)
      summed(job, { k0 = 10, k1 = 10, k2 = 10, k3 = 10 })
   end

   -- Until it hears of new versions.
   local function ready()
      h.eventually("the job", function()
         local asked = h.start { "reload", h.path "job.lua", "--checkpoint-dir", h.path "cp" }
         asked:wait(60)
         return asked:out():find("runs already", 1, true)
      end, job)
   end

   -- A job that begins keeps nothing of the epochs before.
   local function begin_anew()
      begin()
      stop()
      start()
      ready()
   end

   before_each(function()
      h.begin()
      topic = h.topic(2)
      save "1"
   end)

   local function start_shadow(...)
      return h.start { "reload", h.path "job.lua", "--checkpoint-dir", h.path "cp", "--shadow",
                       ... }
   end

   local function shadow(code, ...)
      local asked = start_shadow(...)
      h.expect_exit(asked, code)
      return asked:out() .. asked:err()
   end

   -- Records come once it is known that they count.
   local function shadow_ahead(code, more, ...)
      local asked = start_shadow(...)
      h.eventually("the wait for epochs", function()
         return asked:err():find("0 of the next", 1, true)
      end, asked)
      more()
      h.expect_exit(asked, code)
      return asked:out() .. asked:err()
   end

   local function takes(said, what)
      assert.truthy(said:find(what, 1, true), said)
   end

   local function lacks(said, what)
      assert.is_nil(said:find(what, 1, true), said)
   end

   -- So many records were read, each once.
   local function goes_on(fed)
      fed = fed or 40
      feed(topic, 4)
      local sum = (fed + 4) / 4
      summed(job, { k0 = sum, k1 = sum, k2 = sum, k3 = sum })
      stop()
      local second = math.floor(fed / 2)
      assert.are.same({ [0] = fed - second + 4, second }, h.next_offsets(h.path "cp", topic))
   end

   -- What the progress says of these epochs: records, rows, and the newest epoch.
   local function read_of(from, to)
      local read, rows, last = 0, 0, 0
      for _, epoch in ipairs(h.progress()) do
         last = epoch.batchId
         if last >= from and last <= to then
            read, rows = read + epoch.numInputRows, rows + epoch.numOutputRows
         end
      end
      return read, rows, last
   end

   it("of the last epochs shows what differs at once, without a new record", function()
      begin()
      save '(tostring(rec.key) == "k1" and 3 or 1)'
      local said = shadow(4, 3)
      lacks(said, "waited for")
      lacks(said, "have come")
      local records, from, to = said:match "on (%d+) records of epochs (%d+) to (%d+)\n"
      from, to = tonumber(from), tonumber(to)
      local read, _, last = read_of(from, to)
      assert.are.same({ last - 2, last, read }, { from, to, tonumber(records) })
      -- From the state before them: what was summed until then is in both.
      local before, after = 0, 0
      for _, row in ipairs(h.json_lines(job:out())) do
         if row.key == "k1" then
            after = row.sum
         end
      end
      local old, new
      for line in said:gmatch "[^\n]+" do
         old = tonumber(line:match '%- {"key":"k1","sum":(%d+)}') or old
         new = tonumber(line:match '%+ {"key":"k1","sum":(%d+)}') or new
      end
      assert.is_true(old and new and old <= after and old > before, said)
      assert.is_true(new > old and new < 3 * old, said)
      takes(said, "the old version goes on")
      goes_on()
   end)

   it("of all epochs of a job that has just begun starts with nothing", function()
      begin()
      save "3"
      local said = shadow(4, 50)
      takes(said, "are kept, and the next")
      takes(said, "both versions on 40 records of epochs 0 to ")
      takes(said, "which is all there was")
      takes(said, '- {"key":"k0","sum":10}')
      takes(said, '+ {"key":"k0","sum":30}')
      goes_on()
   end)

   it("of a version that makes the same rows is equal, and within 0% takes over", function()
      begin()
      save("2 - 1")
      local said = shadow(0, 2)
      takes(said, "sums: ")
      takes(said, " 0 changed, 0 only old, 0 only new")
      takes(said, "time per record: ")
      takes(said, "nothing differs")
      assert.is_nil(job:err():find("runs from epoch", 1, true))
      said = shadow(0, 2, "--max-diff", "0%")
      takes(said, "of the job runs from epoch")
      feed(topic, 4)
      summed(job, { k0 = 11, k1 = 11, k2 = 11, k3 = 11 })
      stop()
   end)

   it("of a version that makes other rows takes nothing over, nor after a reload", function()
      begin()
      save '(tostring(rec.key) == "k1" and 3 or 1)'
      takes(shadow(4, 5, "--max-diff", "0.1%"), "more than 0.1% of the rows differ")
      save("2 - 1")
      takes(shadow(0, 5, "--max-diff", "0%"), "of the job runs from epoch")
      save '(tostring(rec.key) == "k1" and 3 or 1)'
      local said = shadow(4, 5, "--max-diff", "0.1%")
      lacks(said, "waited for")
      takes(said, "more than 0.1% of the rows differ")
      goes_on()
   end)

   it("takes over within its bound", function()
      begin()
      save '(tostring(rec.key) == "k1" and 3 or 1)'
      takes(shadow(0, 3, "--max-diff", "60%"), "of the job runs from epoch")
      feed(topic, 4)
      summed(job, { k0 = 11, k1 = 13, k2 = 11, k3 = 11 })
      stop()
   end)

   it("is of the next epochs where nothing is kept of those before", function()
      begin_anew()
      save '(tostring(rec.key) == "k1" and 3 or 1)'
      local said = shadow_ahead(4, function() feed(topic, 40) end, 1)
      takes(said, "nothing is kept of the epochs before: the next 1 epochs are waited for")
      takes(said, " changed, 0 only old, 0 only new")
      -- From the same state: the sums so far are in both.
      local old = tonumber(said:match '%- {"key":"k1","sum":(%d+)}')
      local new = tonumber(said:match '%+ {"key":"k1","sum":(%d+)}')
      assert.truthy(old and old > 10 and new - 10 == 3 * (old - 10), said)
      goes_on(80)
   end)

   it("is of the next epochs where the topic has lost the records", function()
      begin()
      save "3"
      h.kadmin("trim", topic, 0, 20)
      local said = shadow_ahead(4, function() feed(topic, 40) end, 10)
      takes(said, "does not hold the records of the last epochs any more")
      -- From the state that there was when it had to wait.
      local least_old, least_new = math.huge, math.huge
      for key_is, sum in said:gmatch '([-+]) {"key":"k%d","sum":(%d+)}' do
         if key_is == "-" then
            least_old = math.min(least_old, tonumber(sum))
         else
            least_new = math.min(least_new, tonumber(sum))
         end
      end
      assert.is_true(least_old > 10 and least_old < math.huge, said)
      assert.are.equal(3 * (least_old - 10), least_new - 10)
      goes_on(80)
   end)

   it("of a version with a module and one more column compares the columns of both", function()
      begin()
      h.write_file(h.path "module.lua", "return { one = 1 }")
      h.write_file(h.path "job.lua", (template:format('local module = require "module"',
                                                      "module.one")
         :gsub('tide.sum "n" :as "sum"', '%0, tide.max "n" :as "most"')))
      local said = shadow(0, 3, "--max-diff", "0%")
      takes(said, "column of the new rows most:")
      takes(said, "(warm: ")
      feed(topic, 4)
      summed(job, { k0 = 11, k1 = 11, k2 = 11, k3 = 11 })
      stop()
   end)

   it("of a version that migrates its states begins with the migrated ones", function()
      begin()
      h.write_file(h.path "job.lua", (template:format("", "1")
         :gsub('aggregate { tide.sum "n" :as "sum" }', [[aggregate({ tide.sum "n" :as "sum",
            tide.count() :as "seen" }, { version = 2, migrate = function(old)
               return { sum = old.sum, seen = { n = old.sum.n } }
            end })]])))
      local said = shadow(0, 3, "--max-diff", "0%")
      takes(said, "column of the new rows seen:")
      takes(said, "(warm: ")
      feed(topic, 4)
      summed(job, { k0 = 11, k1 = 11, k2 = 11, k3 = 11 })
      stop()
   end)

   it("ends with whoever asked for it, and with the job", function()
      begin()
      save("2 - 1")
      local function start_waiting()
         local asked = start_shadow(50, "--max-diff", "100%")
         h.eventually("the wait for epochs", function()
            return asked:err():find("0 of the next", 1, true)
         end, asked)
         return asked
      end
      local asked = start_waiting()
      asked:kill "INT"
      asked:wait(60)
      h.eventually("the end of the comparison", function()
         return job:err():find("stopped before the versions were compared", 1, true)
      end, job)
      asked = start_waiting()
      stop()
      asked:wait(60)
      assert.truthy((asked:out() .. asked:err()):find("stopped before", 1, true), asked:err())
   end)

   it("goes through what the job goes through, under load and beside it", function()
      start()
      local source = h.start { "produce", topic, "-b", h.brokers, "--generator", "words",
                               "--rate", 3000 }
      h.eventually("load", function() return #h.progress() > 12 end, job)
      save("2 - 1")
      local said = shadow(0, 10)
      local records, from, to = said:match "on (%d+) records of epochs (%d+) to (%d+)\n"
      from, to = tonumber(from), tonumber(to)
      h.eventually("an epoch meanwhile", function() return #h.progress() > to + 2 end, job)
      source:kill "INT"
      h.expect_exit(source, 0)
      stop()
      local read, rows = read_of(from, to)
      assert.are.equal(9, to - from)
      assert.are.equal(tonumber(records), read)
      takes(said, ("sums: %d equal, 0 changed, 0 only old, 0 only new"):format(rows))
      lacks(said, "waited for")
   end)

   it("comes before each save takes over, and keeps it out of bounds", function()
      start("--max-records-per-batch", 4, "--watch", "--shadow", 5, "--max-diff", "1%")
      ready()
      feed(topic, 40)
      summed(job, { k0 = 10, k1 = 10, k2 = 10, k3 = 10 })
      save "3"
      h.eventually("the refusal", function()
         return job:err():find("more than 1% of the rows differ", 1, true)
      end, job)
      takes(job:err(), '+ {"key":')
      save("4 - 3")
      h.eventually("the change", function()
         return job:err():find("of the job runs from epoch", 1, true)
      end, job)
      takes(job:err(), " 0 changed, 0 only old, 0 only new")
      goes_on()
   end)

   it("without a bound shows what a save changes, and it takes over", function()
      start("--max-records-per-batch", 4, "--watch", "--shadow", 2)
      ready()
      save "2"
      h.eventually("the change", function()
         return job:err():find("of the job runs from epoch", 1, true)
      end, job)
      takes(job:err(), "nothing to compare")
      feed(topic, 40)
      summed(job, { k0 = 20, k1 = 20, k2 = 20, k3 = 20 })
      save "1"
      h.eventually("the difference", function()
         return job:err():find("both versions on %d+ records of epochs")
            and select(2, job:err():gsub("of the job runs from epoch", "")) == 2
      end, job)
      takes(job:err(), "of the rows differ")
      feed(topic, 4)
      summed(job, { k0 = 21, k1 = 21, k2 = 21, k3 = 21 })
      stop()
   end)

   it("compares nothing where no record comes and none is kept", function()
      begin_anew()
      save("2 - 1")
      takes(shadow(4, 3, "--max-diff", "100%"), "nothing to compare")
      feed(topic, 40)
      goes_on(80)
   end)

   it("of a version that never returns ends, and the old one goes on", function()
      begin()
      save('(rec.offset >= 18 and hang() or 1)', "local function hang() while true do end end")
      -- By name, or where the machine is slow as a whole.
      local said = shadow(4, 2, "--max-diff", "99%")
      assert.truthy(said:find("the new job fails: ", 1, true)
         or said:find("Does the new one return on every record?", 1, true), said)
      goes_on()
   end)

   it("of a version that fails differs wholly", function()
      begin()
      save '(rec.offset >= 18 and nothing.at_all or 1)'
      takes(shadow(4, 2, "--max-diff", "99%"), "the new job fails: ")
      goes_on()
   end)
end)
