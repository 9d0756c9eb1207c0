-- SPDX-License-Identifier: Apache-2.0
-- States taken over by a new version of a job, beside a running one and after a
-- kill anywhere: whole or not at all, and no record is lost or counted twice.
local h = require "harness"

local template = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition end, { "part:int" })
   :group_by("part", { name = "parts" })
   :aggregate(%s)
   :to(tide.console { mode = "update" })
]]

local OLD = '{ tide.count() :as "n", tide.max "part" :as "most" }'
local NEW = [[{ tide.sum "part" :as "thousands", tide.count() :as "count" }, { version = 2,
   migrate = function(old)
      %s
      return { count = old.n, thousands = { sum = old.n.n * 1000, n = old.n.n } }
   end }]]

local function save(aggregate)
   local path = h.path "job.lua"
   h.write_file(path .. ".new", template:format(aggregate))
   assert(os.rename(path .. ".new", path))
end

local function start(topic, failpoint)
   return h.start({ "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
                    "--checkpoint-dir", h.path "cp", "--output", "json" },
                  { env = { TIDEMARK_FAILPOINT = failpoint } })
end

local function reload(code)
   local asked = h.start { "reload", h.path "job.lua", "--checkpoint-dir", h.path "cp" }
   h.expect_exit(asked, code)
   return asked:out() .. asked:err()
end

-- The newest row of each partition.
local function rows_of(job)
   local found = {}
   for _, row in ipairs(h.json_lines(job:out())) do
      found[row.part] = row
   end
   return found
end

local function all_keys(job, wanted)
   h.eventually(wanted .. " keys", function()
      local keys = 0
      for _ in pairs(rows_of(job)) do
         keys = keys + 1
      end
      return keys == wanted
   end, job)
end

local function counted(job, column, total)
   local found
   h.eventually(total .. " records to be counted", function()
      found = rows_of(job)
      local sum = 0
      for _, row in pairs(found) do
         sum = sum + (row[column] or 0)
      end
      return sum == total
   end, job)
   return found
end

local function stop(job)
   job:kill "INT"
   h.expect_exit(job, 0)
end

local function expect_killed(job)
   local _, signal = job:wait(60)
   assert.are.equal(h.process.signals.KILL, signal, job:err())
end

describe("states of a lower version", function()
   local topic
   before_each(function()
      h.begin()
      topic = h.topic(2)
   end)

   it("are taken over beside a running job", function()
      save(OLD)
      local job = start(topic)
      h.produce_counts(topic, { 3, 4 })
      counted(job, "n", 7)
      save(NEW:format "")
      local said = reload(0)
      assert.truthy(said:find("warm: more than functions", 1, true), said)
      h.produce_counts(topic, { 2, 1 })
      local rows = counted(job, "count", 10)
      assert.are.equal(3000, rows[0].thousands)
      assert.are.equal(4000 + 1, rows[1].thousands)
      assert.is_nil(rows[1].most)
      stop(job)
   end)

   it("stay as they are when the function fails, and the old version goes on", function()
      save(OLD)
      local job = start(topic)
      h.produce_counts(topic, { 3, 4 })
      counted(job, "n", 7)
      save(NEW:format "if old.n.n == 4 then local _ = old.nothing.at.all end")
      local said = reload(3)
      for _, part in ipairs { "migrate fails for the key part = 1", "job.lua:7: ",
                              "nothing was changed" } do
         assert.truthy(said:find(part, 1, true), said)
      end
      h.produce_counts(topic, { 2, 1 })
      local rows = counted(job, "n", 10)
      assert.are.equal(5, rows[0].n)
      save(OLD:gsub("max", "min"))
      said = reload(5)
      assert.truthy(said:find("version = 2, migrate = function(old)", 1, true), said)
      save(NEW:format "")
      reload(0)
      h.produce_counts(topic, { 1, 1 })
      rows = counted(job, "count", 12)
      assert.are.equal(5000, rows[0].thousands)
      assert.are.equal(5001, rows[1].thousands)
      stop(job)
   end)

   it("stay as they are when the function does not return", function()
      save(OLD)
      local job = start(topic)
      h.produce_counts(topic, { 3, 4 })
      counted(job, "n", 7)
      save(NEW:format "while old do end")
      local said = reload(3)
      assert.truthy(said:find("migrate does not return", 1, true), said)
      h.produce_counts(topic, { 2, 1 })
      assert.are.equal(5, counted(job, "n", 10)[0].n)
      stop(job)
   end)

   it("keep a new version from starting when the function fails, and only that one", function()
      save(OLD)
      local job = start(topic)
      h.produce_counts(topic, { 3, 4 })
      counted(job, "n", 7)
      stop(job)
      save(NEW:format "error 'not yet'")
      job = start(topic)
      h.expect_exit(job, 3)
      assert.truthy(job:err():find("not yet", 1, true), job:err())
      save(OLD)
      job = start(topic)
      h.produce_counts(topic, { 1, 1 })
      counted(job, "n", 9)
      stop(job)
   end)

   for _, point in ipairs { "migrate", "decide", "decided", "anchor" } do
      it("are whole after a kill at " .. point, function()
         save(OLD)
         local job = start(topic)
         h.produce_counts(topic, { 3, 4 })
         counted(job, "n", 7)
         stop(job)
         save(NEW:format "")
         job = start(topic, point .. "=kill@1")
         expect_killed(job)
         job = start(topic)
         h.produce_counts(topic, { 2, 1 })
         local rows = counted(job, "count", 10)
         assert.are.equal(3000, rows[0].thousands)
         assert.are.equal(4001, rows[1].thousands)
         stop(job)
      end)
   end

   it("are whole after a kill where they are more than goes through memory", function()
      local large = template:gsub("rec%.partition end", "rec.partition * 1000000 + rec.offset end")
                            :gsub("update", "complete")
      local keys = 3000 -- of 4000 bytes each
      h.write_file(h.path "job.lua", large:format(OLD))
      local job = start(topic)
      h.produce_counts(topic, { keys / 2, keys / 2 })
      all_keys(job, keys)
      stop(job)
      h.write_file(h.path "job.lua", large:format [[{ tide.count() :as "n", tide.aggregator {
            state = { text = "text(4000)" }, add = function() end, merge = function() end,
            result = function(s) return #s.text end, returns = "int" } "part" :as "size" },
         { version = 2, migrate = function(old)
            return { n = old.n, size = { text = ("x"):rep(4000) } }
         end }]])
      job = start(topic, "ingest=kill@1")
      expect_killed(job)
      job = start(topic)
      h.produce_counts(topic, { 1 })
      all_keys(job, keys + 1)
      local sizes = { [0] = 0, [4000] = 0 }
      for _, row in pairs(rows_of(job)) do
         assert.are.equal(1, row.n)
         sizes[row.size] = sizes[row.size] + 1
      end
      assert.are.same({ [0] = 1, [4000] = keys }, sizes)
      stop(job)
   end)

   it("are those of the old version after a kill in the middle", function()
      save(OLD)
      local job = start(topic, "migrate=kill@1")
      h.produce_counts(topic, { 3, 4 })
      counted(job, "n", 7)
      save(NEW:format "")
      h.start { "reload", h.path "job.lua", "--checkpoint-dir", h.path "cp" }:wait(60)
      expect_killed(job)
      save(OLD)
      job = start(topic)
      h.produce_counts(topic, { 2, 1 })
      local rows = counted(job, "n", 10)
      assert.are.equal(5, rows[0].n)
      assert.are.equal(1, rows[1].most)
      stop(job)
   end)
end)
