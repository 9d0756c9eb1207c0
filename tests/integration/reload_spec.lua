-- SPDX-License-Identifier: Apache-2.0
-- New versions of a running job: who takes over, who does not, and that no record
-- is lost or counted twice whatever comes of it.
local h = require "harness"

local template = [[
local tide = require "tidemark"
return tide.job { on_error = "skip", outputs = {
   tide.from(tide.kafka { topic = "unset", start = "earliest" })
      :map(function(rec) return %s end, { "version:string" })
      :group_by("version", { name = "versions" }):%s
      :to(tide.console { mode = "update" })
} }
]]

local function save(body, aggregate)
   local path = h.path "job.lua"
   h.write_file(path .. ".new", template:format(body, aggregate or "count()"))
   assert(os.rename(path .. ".new", path))
   return path
end

local function version(name)
   return save(('(rec.offset and "%s")'):format(name))
end

local function start(topic, ...)
   return h.start { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
                    "--checkpoint-dir", h.path "cp", "--progress", h.path "progress",
                    "--output", "json", ... }
end

local function reload(code)
   local asked = h.start { "reload", h.path "job.lua", "--checkpoint-dir", h.path "cp" }
   if code then
      h.expect_exit(asked, code)
   else
      asked:wait(60)
   end
   return asked:out() .. asked:err()
end

local function times(text, what)
   return select(2, text:gsub(what, what))
end

local function counts(job)
   local found, sum = {}, 0
   for _, row in ipairs(h.json_lines(job:out())) do
      found[row.version] = row.count
   end
   for _, count in pairs(found) do
      sum = sum + count
   end
   return found, sum
end

local function counted(job, total)
   h.eventually(total .. " records to be counted", function()
      local _, sum = counts(job)
      return sum == total
   end, job)
   return (counts(job))
end

local function stop(job)
   job:kill "INT"
   h.expect_exit(job, 0)
end

describe("reloading", function()
   local topic
   before_each(function()
      h.begin()
      topic = h.topic(2)
   end)

   it("a hundred times under load counts every record once, each epoch by one version", function()
      local reloads = h.flavour == "test" and 100 or 20
      version "A"
      local job = start(topic, "--workers", 2, "--max-records-per-batch", 500)
      local source = h.start { "produce", topic, "-b", h.brokers, "--generator", "words",
                               "--rate", 5000 }
      h.eventually("the first rows", function() return job:out() ~= "" end, job)
      for i = 1, reloads do
         save "nothing.at.all"
         reload() -- It may take over where there is no record for a moment.
         h.eventually("the bad version's end", function()
            return times(job:err(), "epochs %d+ of %d+ rows failed") == i
         end, job)
         version(i % 2 == 0 and "A" or "B")
         assert.truthy(reload(0):find("hot: functions changed", 1, true))
      end
      source:kill "INT"
      h.expect_exit(source, 0)
      local total = source:err():match("([%d,]+) records are in"):gsub(",", "")
      local found = counted(job, tonumber(total))
      stop(job)
      assert.truthy(found.A and found.B)
      local versions = {}
      for _, epoch in ipairs(h.progress()) do
         versions[epoch.version] = (versions[epoch.version] or 0) + 1
         assert.truthy(epoch.numOutputRows <= 1, "an epoch by two versions")
         assert.are.equal(0, epoch.rowsFailed)
      end
      local list = {}
      for name in pairs(versions) do
         list[#list + 1] = name
      end
      assert.are.equal(2, #list, "a refused version made an epoch: " .. table.concat(list, " "))
   end)

   it("happens by itself with --watch, for a module of the job too", function()
      h.write_file(h.path "name.lua", 'return "one"')
      h.job([[
local tide = require "tidemark"
local name = require "name"
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function() return name end, { "version:string" })
   :group_by("version"):count():to(tide.console { mode = "update" })]])
      local job = start(topic, "-w")
      h.produce_counts(topic, { 3, 4 })
      assert.are.same({ one = 7 }, counted(job, 7))
      h.write_file(h.path "name.lua", 'return "two"')
      h.eventually("the takeover", function()
         return job:err():find("of the job runs from epoch", 1, true)
      end, job)
      h.produce_counts(topic, { 5 })
      assert.are.same({ one = 7, two = 5 }, counted(job, 12))
      stop(job)
   end)

   it("happens at SIGHUP", function()
      version "A"
      local job = start(topic)
      h.produce_counts(topic, { 3 })
      counted(job, 3)
      version "B"
      job:kill "HUP"
      h.eventually("the takeover", function()
         return job:err():find("of the job runs from epoch", 1, true)
      end, job)
      h.produce_counts(topic, { 2 })
      assert.are.same({ A = 3, B = 2 }, counted(job, 5))
      stop(job)
   end)

   it("keeps the state where aggregates are added", function()
      version "A"
      local job = start(topic)
      h.produce_counts(topic, { 3 })
      counted(job, 3)
      save('(rec.offset and "A")', 'aggregate { tide.count(), tide.max "version" :as "most" }')
      assert.truthy(reload(0):find("warm: more than functions", 1, true))
      h.produce_counts(topic, { 2 })
      assert.are.same({ A = 5 }, counted(job, 5))
      local rows = h.json_lines(job:out())
      assert.are.equal("A", rows[#rows].most)
      stop(job)
   end)

   it("to more aggregates, which cannot be undone, is tried before on the last epochs", function()
      local more = 'aggregate { tide.count(), tide.max "version" :as "most" }'
      local function refused()
         save("nothing.at.all", more)
         local said = reload(4)
         for _, what in ipairs { "of 3 records 3 fail with the new version and 0 with the old",
                                 h.path "job.lua" .. ":4: ", '"nothing"', "4 |" } do
            assert.truthy(said:find(what, 1, true), said)
         end
      end
      version "A"
      local job = start(topic)
      h.produce_counts(topic, { 3 })
      counted(job, 3)
      refused()
      save('(rec.offset and "A")', more .. ":nothing()")
      reload(3)
      stop(job)
      -- One that has begun anew keeps nothing of the epochs before.
      version "A"
      job = start(topic)
      h.eventually("the job", function()
         return reload():find("runs already", 1, true)
      end, job)
      refused()
      h.produce_counts(topic, { 2 })
      h.eventually("the old one's row", function()
         return (counts(job)).A == 5
      end, job)
      save('(rec.offset and "A")', more)
      assert.truthy(reload(0):find("warm: more than functions", 1, true))
      assert.truthy(job:err():find("tried on 2 records of epochs", 1, true), job:err())
      h.produce_counts(topic, { 1 })
      assert.are.same({ A = 6 }, counted(job, 6))
      stop(job)
      for _, epoch in ipairs(h.progress()) do
         assert.are.equal(0, epoch.rowsFailed)
      end
   end)

   it("of the same text does nothing", function()
      version "A"
      local job = start(topic)
      h.produce_counts(topic, { 1 })
      counted(job, 1)
      assert.truthy(reload(0):find("runs already", 1, true))
      stop(job)
   end)

   local refusals = {
      { "a syntax error", 3, "syntax error", function() save "((" end },
      { "a step that is unknown", 3, "no step", function() save('"A"', "county()") end },
      { "a job file that never returns", 3, "does not return", function()
         h.write_file(h.path "job.lua", "while true do end")
      end },
      { "a function that never returns", 3, "never end", function()
         save '(function() while true do pcall(function() end) end end)()'
      end },
      { "a function without a bottom", 4, "rows failed", function()
         save '(function() local function f() return 1 + f() end return f() end)()'
      end },
      { "a step that finds all records malformed", 4, "3 records 3 fail", function()
         h.write_file(h.path "job.lua", (template:format("1", "count()"):gsub(":map%b()",
            ':json({ "version:string" }, { malformed = tide.files { path = "bad" } })')))
      end },
      { "a function that eats memory", 3, "--script-memory", function()
         save '(function() local s = ("x"):rep(1e6) while true do s = s .. s end end)()'
      end },
      { "a job file without a bottom", 3, "stack overflow", function()
         h.write_file(h.path "job.lua", "local function f() return 1 + f() end\nreturn f()")
      end },
      { "a job file that eats memory", 3, "--script-memory", function()
         h.write_file(h.path "job.lua",
                      'local t = {}\nfor i = 1, 1e9 do t[i] = ("x"):rep(1e6) .. i end\nreturn t')
      end },
      { "another key", 5, "cold: ", function()
         h.write_file(h.path "job.lua", (template:format('"A"', "count()")
            :gsub('"version:string"', '"version:int"'):gsub('"A"', "1")))
      end },
      { "another mode", 5, "the mode of sink", function()
         h.write_file(h.path "job.lua", (template:format('"A"', "count()")
            :gsub('"update"', '"complete"')))
      end },
      { "another source", 5, "what it reads", function()
         h.write_file(h.path "job.lua", (template:format('"A"', "count()")
            :gsub('"earliest"', '"latest"')))
      end },
   }
   for _, refusal in ipairs(refusals) do
      it("is refused to " .. refusal[1] .. ", and the old version goes on", function()
         version "A"
         local job = start(topic)
         h.produce_counts(topic, { 3 })
         counted(job, 3)
         refusal[4]()
         local asked = h.start { "reload", h.path "job.lua", "--checkpoint-dir", h.path "cp" }
         if refusal[2] == 4 then -- It takes records to see that.
            h.eventually("the new version to be tried", function()
               return job:err():find("version %x+ of the job") or asked:ended()
            end, job)
         end
         h.produce_counts(topic, { 2 })
         asked:wait(60)
         assert.are.same({ A = 5 }, counted(job, 5))
         local said = asked:out() .. asked:err() .. job:err()
         assert.truthy(said:find(refusal[3], 1, true), said)
         assert.truthy(refusal[2] == 4 or refusal[2] == asked.code, said)
         stop(job)
      end)
   end

   it("is undone when states do not fold, whoever has begun to", function()
      local aggregator = [[aggregate { tide.aggregator {
         state = { n = "int" },
         add = function(s) s.n = s.n + 1 end,
         merge = function(s, o) %s s.n = s.n + o.n end,
         result = function(s) return s.n end,
      }() :as "count" }]]
      save('(rec.offset and "A")', aggregator:format "")
      local job = start(topic, "--workers", 2)
      h.produce_counts(topic, { 3, 2 })
      counted(job, 5)
      save('(rec.offset and "A")', aggregator:format 'error("no merging here")')
      -- Nothing is there to try it on, so that it takes over first.
      assert.truthy(reload(0):find("hot", 1, true))
      h.produce_counts(topic, { 4, 3 })
      assert.are.same({ A = 12 }, counted(job, 12))
      assert.truthy(job:err():find("no merging here", 1, true))
      stop(job)
   end)

   describe("in complete mode, whose rows are made behind a decision,", function()
      local function save_complete(result, merge)
         save('(rec.offset and "A")', ([[aggregate { tide.aggregator {
            state = { n = "int" },
            add = function(s) s.n = s.n + 1 end,
            merge = function(s, o) %s s.n = s.n + o.n end,
            result = function(s) %s return s.n end,
         }() :as "count" }]]):format(merge or "", result or ""))
         local text = h.read_file(h.path "job.lua")
         h.write_file(h.path "job.lua.new", (text:gsub('"update"', '"complete"')))
         assert(os.rename(h.path "job.lua.new", h.path "job.lua"))
      end

      local function decided()
         local next_of, sum = h.next_offsets(h.path "cp", topic), 0
         for _, offset in pairs(next_of) do
            sum = sum + offset
         end
         return sum
      end

      it("is refused where it fails on the states that are there", function()
         save_complete()
         local job = start(topic)
         h.produce_counts(topic, { 3, 2 })
         counted(job, 5)
         save_complete 'error("no rows of this")'
         local said = reload(3)
         assert.truthy(said:find("no rows of this", 1, true), said)
         assert.truthy(said:find("job.lua:", 1, true), said)
         h.produce_counts(topic, { 4, 3 })
         assert.are.same({ A = 12 }, counted(job, 12))
         stop(job)
      end)

      for what, texts in pairs {
         result = { 'if s.n > 5 then error("too many now") end' },
         merge = { nil, 'if s.n > 2 then error("too many now") end' },
      } do
         it("is undone where a " .. what .. " fails on states that come", function()
            save_complete()
            local job = start(topic)
            h.produce_counts(topic, { 3, 2 })
            counted(job, 5)
            save_complete(texts[1], texts[2])
            assert.truthy(reload(0):find("hot", 1, true))
            h.produce_counts(topic, { 4, 3 })
            assert.are.same({ A = 12 }, counted(job, 12))
            assert.truthy(job:err():find("too many now", 1, true))
            stop(job)
            assert.are.equal(12, decided())
         end)
      end

      it("a result that fails later ends the job before the decision, and loses nothing", function()
         save_complete 'if s.n > 5 then error("too many now") end'
         local job = start(topic)
         h.produce_counts(topic, { 3, 2 })
         counted(job, 5)
         h.produce_counts(topic, { 4, 3 })
         h.expect_exit(job, 3)
         assert.truthy(job:err():find("job.lua:%d+: .*too many now"), job:err())
         assert.are.equal(5, decided())
         -- It says the same again, and so does a version that fails at once.
         job = start(topic)
         h.expect_exit(job, 3)
         save_complete 'error("no rows of this")'
         job = start(topic)
         h.expect_exit(job, 3)
         assert.truthy(job:err():find("no rows of this", 1, true), job:err())
         assert.are.equal(5, decided())
         save_complete()
         job = start(topic)
         assert.are.same({ A = 12 }, counted(job, 12))
         stop(job)
      end)
   end)

   it("is said to be impossible where nothing runs", function()
      version "A"
      assert.truthy(reload(7):find("no job runs", 1, true))
   end)
end)
