-- SPDX-License-Identifier: Apache-2.0
-- Recordings of real records, beside a running job too; exact replays, two jobs
-- compared, and what is no recording.
local h = require "harness"

local average_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :json { "id:int", "ts:timestamp", "value:double" }
   :watermark("ts", "2s")
   :group_by("id"):window("1s")
   :aggregate { tide.avg "value" :as "mean" }
   :to(tide.console { mode = "append", name = "averages" })
]]

local count_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :json { "name:string", "amount:int" }
   :group_by("name")
   :aggregate { tide.count() :as "n", tide.sum "amount" :as "total" }
   :to(tide.console { mode = "update", name = "totals" })
]]

local function readings(topic, from, to, ids)
   local records = {}
   for n = from, to do
      records[#records + 1] = {
         key = tostring(n % ids), partition = n % 2,
         value = ('{"id":%d,"ts":"2024-01-01T00:%02d:%02d.%d00Z","value":%d.5}'):format(n % ids,
            math.floor(n / 600), math.floor(n / 10) % 60, n % 10, n % 17) }
   end
   h.produce(topic, records)
end

local function amounts(topic, list)
   local records = {}
   for i, one in ipairs(list) do
      records[i] = { key = "k" .. one[1], headers = { { "trace", "of " .. one[1] } },
                     value = ('{"name":"%s","amount":%d}'):format(one[1], one[2]) }
   end
   h.produce(topic, records)
end

local function record(topic, more)
   local args = { "record", h.path "job.lua", "-b", h.brokers, "--topic", topic,
                  "-o", h.path "case.tide" }
   for _, arg in ipairs(more or {}) do
      args[#args + 1] = arg
   end
   return h.run(args)
end

local function replay(code, ...)
   return h.run({ "replay", h.path "case.tide", ... }, nil, code)
end

local function run(topic, more)
   local args = { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
                  "--output", "json", "--checkpoint-dir", h.path "cp" }
   for _, arg in ipairs(more or { "--until-end" }) do
      args[#args + 1] = arg
   end
   return args
end

local function sorted_lines(text)
   local lines = {}
   for line in text:gmatch "[^\n]+" do
      lines[#lines + 1] = line
   end
   table.sort(lines)
   return lines
end

describe("a recording", function()
   local topic

   before_each(function()
      h.begin()
      topic = h.topic(2)
   end)

   it("is replayed whole where one worker holds the rows of two", function()
      h.job [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.value end, { "line:string" })
   :to(tide.console { mode = "append", name = "lines" })
]]
      local records = {}
      for n = 1, 30000 do
         records[n] = { partition = n % 2, value = ("%05d"):format(n) .. ("x"):rep(400) }
      end
      h.produce(topic, records)
      local said = record(topic, { "-n", #records, "--workers", 2 }):err()
      assert.is_nil(said:find("replay of this recording", 1, true), said)
      local one = replay(0, "--workers", 1):out()
      assert.are.equal(#records, #sorted_lines(one))
      assert.are.same(sorted_lines(one), sorted_lines(replay(0, "--workers", 2):out()))
   end)

   it("is replayed row for row, by any number of workers", function()
      h.job(average_text)
      readings(topic, 1, 400, 3)
      local said = record(topic, { "-n", 300, "--max-records-per-batch", 50 }):err()
      assert.truthy(said:find("case.tide holds 300 records in ", 1, true), said)
      assert.is_nil(said:find("replay of this recording", 1, true), said)
      local one = replay(0, "--workers", 1)
      assert.truthy(one:err():find("the rows that were recorded", 1, true))
      assert.is_true(#sorted_lines(one:out()) > 30)
      assert.are.equal(one:out(), replay(0, "--workers", 4):out())
      -- Of the job's file nothing is needed.
      os.remove(h.path "job.lua")
      assert.are.equal(one:out(), replay(0):out())
   end)

   it("is made beside a running job, whose checkpoint and group stay its own", function()
      h.job(average_text)
      readings(topic, 1, 100, 3)
      local group = h.topic_name "group"
      local job = h.start(run(topic, { "--group", group, "--progress", h.path "progress" }))
      local function has_read(records)
         h.eventually(records .. " records", function()
            local sum = 0
            for _, epoch in ipairs(h.progress()) do
               sum = sum + epoch.numInputRows
            end
            return sum >= records
         end, job)
      end
      has_read(100)
      record(topic, { "-n", 80, "--group", group, "--checkpoint-dir", h.path "cp" })
      readings(topic, 101, 200, 3)
      has_read(200)
      job:kill "INT"
      h.expect_exit(job, 0)
      assert.are.same({ [0] = 100, 100 }, h.next_offsets(h.path "cp", topic))
      local committed = h.kadmin("committed", group, topic, 2)
      record(topic, { "-n", 20, "--group", group, "--checkpoint-dir", h.path "cp" })
      assert.are.equal(committed, h.kadmin("committed", group, topic, 2))
      replay(0)
   end)

   it("is kept when it is ended before it is full", function()
      h.job(count_text)
      amounts(topic, { { "ada", 1 }, { "bob", 2 } })
      local job = h.start { "record", h.path "job.lua", "-b", h.brokers, "--topic", topic,
                            "-o", h.path "case.tide" }
      h.eventually("the two records", function()
         return job:err():find("2 of 1000 records are there; waiting for more", 1, true)
      end, job)
      job:kill "INT"
      h.expect_exit(job, 0)
      assert.truthy(job:err():find("case.tide holds 2 records in ", 1, true))
      assert.are.equal(2, #sorted_lines(replay(0):out()))
   end)

   it("knows of a partition that came later", function()
      h.job(count_text)
      amounts(topic, { { "ada", 1 }, { "bob", 2 } })
      local job = h.start { "record", h.path "job.lua", "-b", h.brokers, "--topic", topic,
                            "-o", h.path "case.tide" }
      local function has(records)
         h.eventually(records .. " records", function()
            return job:err():find(records .. " of 1000 records are there", 1, true)
         end, job)
      end
      has(2)
      h.kadmin("grow", topic, 3)
      h.produce(topic, { { partition = 2, value = '{"name":"eve","amount":4}' } })
      has(3)
      job:kill "INT"
      h.expect_exit(job, 0)
      assert.is_nil(job:err():find("replay of this recording", 1, true), job:err())
      assert.are.equal(3, #sorted_lines(replay(0):out()))
   end)

   it("begins with the state of a checkpoint, which is only read", function()
      h.job(count_text)
      amounts(topic, { { "ada", 1 }, { "bob", 2 }, { "ada", 3 } })
      h.run(run(topic))
      amounts(topic, { { "ada", 10 }, { "eve", 20 } })
      local with = { "--with-state", "--until-end", "--checkpoint-dir", h.path "cp" }
      local said = record(topic, with):err()
      assert.truthy(said:find("2 records in 1 epochs, and the state before them", 1, true), said)
      local replayed = replay(0):out()
      assert.are.same({ '{"name":"ada","n":3,"total":14}', '{"name":"eve","n":1,"total":20}' },
                      sorted_lines(replayed))
      assert.are.same(sorted_lines(replayed), sorted_lines(h.run(run(topic)):out()))
   end)

   it("begins with open windows and their watermark, too", function()
      h.job(average_text)
      readings(topic, 1, 100, 3)
      h.run(run(topic))
      readings(topic, 101, 200, 3)
      record(topic, { "--with-state", "--until-end", "--checkpoint-dir", h.path "cp" })
      local replayed = sorted_lines(replay(0):out())
      assert.is_true(#replayed > 10)
      assert.are.same(sorted_lines(h.run(run(topic)):out()), replayed)
   end)

   it("shows how two jobs differ", function()
      h.job(count_text)
      amounts(topic, { { "ada", 1 }, { "bob", 2 }, { "ada", 3 }, { "eve", 4 } })
      record(topic, { "--until-end" })
      local same = replay(0, "--job", h.path "job.lua", "--diff"):out()
      assert.truthy(same:find("totals: 3 equal, 0 changed, 0 only old, 0 only new", 1, true), same)
      local new = h.read_file(h.path "job.lua"):gsub('"amount" :as', '"paid" :as')
      h.write_file(h.path "new.lua", (new:gsub(':group_by',
         ':filter(function(row) return row.name ~= "eve" end)\n' ..
         ':with("paid:int", function(row) return row.amount == 2 and 5 or row.amount end)\n' ..
         ':group_by', 1)))
      local other = replay(4, "--job", h.path "new.lua", "--diff"):out()
      assert.truthy(other:find("totals: 1 equal, 1 changed, 1 only old, 0 only new", 1, true),
                    other)
      assert.truthy(other:find('+ {"name":"bob","n":1,"total":5}', 1, true), other)
      assert.truthy(other:find('- {"name":"eve","n":1,"total":4}', 1, true), other)
      assert.truthy(other:find("time per record: %d+%.%d+ us old, %d+%.%d+ us new"), other)
   end)

   it("is left where a job never returns, by name", function()
      h.job(count_text)
      amounts(topic, { { "ada", 1 }, { "bob", 2 } })
      record(topic, { "--until-end" })
      local text = h.read_file(h.path "job.lua")
      h.write_file(h.path "new.lua", (text:gsub(":group_by",
         ":filter(function(row) while row.amount == 2 do end return true end)\n" ..
         ":group_by", 1)))
      local again = replay(3, "--job", h.path "new.lua")
      assert.truthy(again:err():find("new.lua:%d+: .*return"), again:err())
      again = replay(4, "--job", h.path "new.lua", "--diff")
      assert.truthy(again:out():find("the new job fails: ", 1, true), again:out())
      h.write_file(h.path "new.lua", "while true do end")
      assert.truthy(replay(3, "--job", h.path "new.lua"):err():find("does not return", 1, true))
   end)

   it("becomes a spec that passes, until the job changes", function()
      h.job((count_text:gsub("return", 'local least = tide.setting("least", 0)\nreturn', 1)
         :gsub(":group_by", ":filter(function(row) return row.amount >= least end)\n:group_by")))
      amounts(topic, { { [[ada \"the first\"\n]], 1 }, { "b\195\182b", 2 }, { "ada", 3 },
                       { "eve", 4 } })
      record(topic, { "--until-end", "--max-records-per-batch", 2, "--set", "least=2" })
      replay(0, "--emit-spec", h.path "case_spec.lua")
      local passed = h.run({ "test", h.path "case_spec.lua" }):out()
      assert.truthy(passed:find("1 success", 1, true), passed)
      h.write_file(h.path "job.lua", (h.read_file(h.path "job.lua"):gsub(">= least", "> least")))
      h.run({ "test", h.path "case_spec.lua" }, nil, 4)
   end)

   it("compares dead letters, too, but not in which line they failed", function()
      local dead = "return tide.job { on_error = tide.files { path = 'dead' },\noutputs ="
      h.job((count_text:gsub("return", dead, 1)) .. "}")
      amounts(topic, { { "ada", 1 }, { '"', 2 } })
      record(topic, { "--until-end" })
      replay(0)
      h.write_file(h.path "new.lua", "\n\n" .. h.read_file(h.path "job.lua"))
      local same = replay(0, "--job", h.path "new.lua", "--diff"):out()
      assert.truthy(same:find("files:dead: 1 equal, 0 changed", 1, true), same)
      replay(0, "--emit-spec", h.path "case_spec.lua")
      h.run { "test", h.path "case_spec.lua" }
   end)

   it("holds nothing of what is redacted, and its keys still group", function()
      h.job(count_text)
      amounts(topic, { { "secret-ada", 1 }, { "secret-bob", 2 }, { "secret-ada", 3 } })
      record(topic, { "--until-end", "--redact", "name,key,header.trace" })
      local bytes = h.read_file(h.path "case.tide")
      assert.truthy(bytes:find('"amount":', 1, true))
      assert.is_nil(bytes:find("secret", 1, true))
      local rows = h.json_lines(replay(0):out())
      table.sort(rows, function(a, b) return a.n < b.n end)
      assert.are.same({ 1, 2, 2, 4 }, { rows[1].n, rows[1].total, rows[2].n, rows[2].total })
      local refused = h.run({ "record", h.path "job.lua", "-o", h.path "x", "--redact", "name",
                              "--with-state" }, nil, 2)
      assert.truthy(refused:err():find("does not go with", 1, true))
   end)

   it("remembers when partitions fell idle", function()
      h.job((average_text:gsub('"2s"', '"1s", { per_partition = true, idle = "300ms" }')
         :gsub(":to", ':with("said:bool", function() print "a window closed" return true end)\n' ..
                      ":to")))
      local records = {}
      for n = 0, 30 do
         records[#records + 1] = { partition = 0,
            value = ('{"id":1,"ts":"2024-01-01T00:00:%02dZ","value":1}'):format(n) }
      end
      records[#records + 1] = { partition = 1,
                                value = '{"id":1,"ts":"2024-01-01T00:00:05Z","value":1}' }
      h.produce(topic, records)
      local job = h.start { "record", h.path "job.lua", "-b", h.brokers, "--topic", topic,
                            "-o", h.path "case.tide" }
      -- They close only when the slow partition no longer counts.
      h.eventually("windows that close", function()
         return select(2, job:err():gsub("a window closed", "")) > 20
      end, job)
      job:kill "INT"
      h.expect_exit(job, 0)
      assert.is_nil(job:err():find("replay of this recording", 1, true), job:err())
      assert.is_true(#sorted_lines(replay(0):out()) > 20)
   end)

   it("holds how a job fails", function()
      h.job [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :filter(function(rec) if rec.offset == 2 then error "two is too many" end return true end)
   :map(function(rec) return tostring(rec.value) end, { "value" })
   :to(tide.console { mode = "append", name = "all" })
]]
      h.produce(topic, { { value = "a", partition = 0 }, { value = "b", partition = 0 },
                         { value = "c", partition = 0 } })
      local said = record(topic, { "--until-end" }):err()
      assert.truthy(said:find("the job failed, and the recording holds how", 1, true), said)
      replay(0, "--emit-spec", h.path "case_spec.lua")
      h.run { "test", h.path "case_spec.lua" }
      local failed = replay(3):err()
      assert.truthy(failed:find("as when it was recorded, the job fails", 1, true), failed)
      assert.truthy(failed:find("two is too many", 1, true), failed)
   end)

   it("is refused when it is cut short, of another version, or none at all", function()
      h.job(count_text)
      amounts(topic, { { "ada", 1 } })
      record(topic, { "--until-end" })
      local bytes = h.read_file(h.path "case.tide")
      local function refused(text, why)
         h.write_file(h.path "case.tide", text)
         local err = replay(2):err()
         assert.truthy(err:find(why, 1, true), err)
      end
      refused(bytes:sub(1, #bytes - 30), "was cut short")
      refused(bytes:sub(1, 8) .. "\5" .. bytes:sub(10), "has format 5")
      refused(bytes:sub(1, 40) .. "\255" .. bytes:sub(42), "is damaged")
      refused("something else", "is not a recording")
   end)
end)
