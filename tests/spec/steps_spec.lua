-- SPDX-License-Identifier: Apache-2.0
-- What steps do with rows, and what is left of a row that fails.
local helper = require "tests.spec.helper"

-- Values of a list as JSON documents of records.
local function json_records(...)
   local list = {}
   for i, document in ipairs { ... } do
      list[i] = { value = document }
   end
   return list
end

-- Runs steps over batches; the rows of the first output, and the bad rows.
local function run(steps, records, before)
   local job = helper.run(helper.steps(steps, before))
   local failed = job:batch(records)
   local rows, bad, result = job:output(), job.bad, job.result
   job:close()
   assert.is_nil(failed)
   return rows, bad, result
end

local function messages(bad)
   local list = {}
   for i, row in ipairs(bad) do
      list[i] = row.message:gsub("/tmp/[^/]*/", "")
   end
   return table.concat(list, "\n")
end

local function says(bad, text)
   assert.truthy(messages(bad):find(text, 1, true), messages(bad))
end

local CHECKED = '{"id":7,"ts":"2024-01-01T12:00:00.123456+00:00",' ..
   '"value":1.5,"source":"s","b":true}'
local COLUMNS = ':json { "id:int?", "ts:timestamp?", "value:double?", "source:string?", ' ..
   '"b:bool?" }'

describe("json", function()
   it("gives typed columns", function()
      local rows = run(COLUMNS, json_records(CHECKED))
      assert.are.same({ { 7, 1704110400123456, 1.5, "s", true } }, rows)
   end)

   it("gives null for what is missing, null or of another type", function()
      local rows = run(COLUMNS, json_records("{}", '{"id":null,"b":null}', '{"id":"x","ts":"bad"}'))
      local nothing = { "null", "null", "null", "null", "null" }
      assert.are.same({ nothing, nothing, nothing }, rows)
   end)

   it("refuses it in a column that may not be null", function()
      local rows, bad, result = run(':json { "id:int" }',
         json_records("{}", '{"id":1}', '{"id":"x"}', '{"id":1.5}'))
      assert.are.same({ { 1 } }, rows)
      assert.are.equal(3, result.rows_failed)
      assert.are.equal(4, result.rows_in)
      says(bad, 'topic[3]@0: job.lua:4: column "id": ')
      says(bad, 'declare it "id:int?" to take that as null')
      says(bad, 'on_error = "skip"')
   end)

   it("refuses what is no JSON, and counts it", function()
      local rows, bad, result = run(COLUMNS, { { value = "not json" }, { value = CHECKED }, {} })
      assert.are.equal(1, #rows)
      assert.are.equal(2, #bad)
      assert.are.equal(2, result.rows_malformed)
      assert.are.equal(0, result.rows_failed) -- each is counted once
      says(bad, 'malformed = "null" in :json makes a row of nulls of it')
      says(bad, "the value is null")
   end)

   it("takes it as nulls when told to", function()
      local rows, bad, result = run(':json({ "id:int?" }, { malformed = "null" })',
                                    json_records("not json", '{"id":2}'))
      assert.are.same({ { "null" }, { 2 } }, rows)
      assert.are.same({}, bad)
      assert.are.equal(0, result.rows_malformed)
   end)

   it("reads nested fields and renames them", function()
      local rows = run(':json { "a.b:int", "n=a.c.d:string" }',
                       json_records('{"a":{"b":1,"c":{"d":"\\u00e9"}}}'))
      assert.are.same({ { 1, "é" } }, rows)
   end)
end)

describe("a row", function()
   it("gives Lua values", function()
      local rows = run(COLUMNS .. [[:flat_map(function(row, emit)
         emit(("%d %.3f %.1f %s %s"):format(row.id, row.ts, row.value, row.source, tostring(row.b)))
         emit(type(row.id) .. type(row.ts) .. type(row.source) .. type(row.b) .. type(row))
         emit(tostring(row)) end, { "v" })]], json_records(CHECKED))
      assert.are.same({ { "7 1704110400123.456 1.5 s true" }, { "numbernumberstringbooleanrow" },
         { "row{id=7, ts=1704110400123.5, value=1.5, source=s, b=true}" } }, rows)
   end)

   it("gives nil for null", function()
      local rows = run(COLUMNS .. [[:map(function(row)
         return row.id == nil and row.source == nil and row.b == nil end, { "v:bool" })]],
         json_records("{}"))
      assert.are.same({ { true } }, rows)
   end)

   it("refuses an int that Lua cannot hold, but passes it on", function()
      local steps = ':json { "id:int" }'
      local big = json_records('{"id":9007199254740993}')
      local rows, bad = run(steps .. ":filter(function(row) return row.id > 0 end)", big)
      assert.are.same({}, rows)
      says(bad, 'column "id" is beyond 2^53, where Lua numbers are no longer exact; ' ..
                'declare it "id:string"')
      assert.are.equal(1, #run(steps, big))
      assert.are.same({ { "9007199254740993" } }, (run(':json { "id:string" }', big)))
   end)

   it("has the record until it is grouped", function()
      local rows = run(COLUMNS .. [[:map(function(row)
         return row.rec.topic, row.rec.offset, row.rec.key end, { "t", "o:int", "k" })]],
         { { key = "K", value = CHECKED } })
      assert.are.same({ { "topic", 0, "K" } }, rows)
      local job = helper.run(helper.steps(
         ':group_by("topic"):count():filter(function(row) return row.rec end)'))
      assert.is_nil(job:batch { {} })
      local message = job:finish()
      job:close()
      assert.truthy(message:find("row.rec is gone after :group_by", 1, true), message)
      assert.truthy(message:find("finishing states of count(topic)", 1, true), message)
   end)

   it("names the nearest column, and cannot be changed", function()
      local _, bad = run(COLUMNS .. ":filter(function(row) return row.vlaue end)",
                         json_records(CHECKED))
      says(bad, 'job.lua:4: no column "vlaue"; did you mean "value"?')
      _, bad = run(COLUMNS .. ":filter(function(row) row.id = 1 end)", json_records(CHECKED))
      says(bad, 'a row cannot be changed: add a column with :with("name:type", fn)')
   end)

   it("is an error when it is kept", function()
      local rows, bad = run(COLUMNS .. [[:filter(function(row)
         kept = kept or row return kept.id end)]], json_records(CHECKED, CHECKED), "local kept")
      assert.are.equal(1, #rows)
      says(bad, "this row is over: keep its values, not the row")
   end)
end)

describe("steps", function()
   it("filter, and count what they drop", function()
      local rows, _, result = run(
         ':json { "id:int" }:filter(function(row) return row.id % 2 == 0 end)',
         json_records('{"id":1}', '{"id":2}', '{"id":3}', '{"id":4}'))
      assert.are.same({ { 2 }, { 4 } }, rows)
      assert.are.equal(2, result.rows_filtered)
   end)

   it("add and select columns", function()
      local rows = run([[:json { "a:int", "s:string" }
         :with("twice:int", function(row) return row.a * 2 end)
         :with("both:string", function(row) return row.s .. row.twice end)
         :select { "both", "a" }]], json_records('{"a":4,"s":"x"}'))
      assert.are.same({ { "x8", 4 } }, rows)
   end)

   it("treat a record as a row of its own columns", function()
      local rows = run([[:filter(function(rec) return rec.key == "a" end)
         :with("n:int", function(rec) return #rec.value end)
         :select("key", "n", "offset", "partition", "topic", "timestamp", "value")]],
         { { key = "a", value = "xyz" }, { key = "b", value = "" } })
      assert.are.same({ { "a", 3, 0, 3, "topic", 1700000000000000, "xyz" } }, rows)
      assert.are.same({ { "topic", 3, 0, "null", "null", "null" } },
                      (run("", { { timestamp = -1 } })))
   end)

   it("hold strings that a function made until they are written", function()
      local records = {}
      for i = 1, 400 do
         records[i] = { value = ('{"a":%d}'):format(i) }
      end
      local rows = run([[:json { "a:int" }
         :map(function(row) return ("x"):rep(row.a % 50) .. row.a, row.a end, { "s", "n:int" })
         :filter(function(row) local t = {} for i = 1, 9 do t[i] = i .. row.s end return t end)
         :with("t:string", function(row) return ("y"):rep(row.n % 50) .. row.n end)
         :filter(function() local t = {} for i = 1, 20 do t[i] = ("z"):rep(i) end return t end)]],
         records)
      assert.are.equal(400, #rows)
      for i, row in ipairs(rows) do
         assert.are.equal(("x"):rep(i % 50) .. i, row[1])
         assert.are.equal(("y"):rep(i % 50) .. i, row[3])
      end
   end)

   it("give values of the declared types", function()
      local wrong = {
         { "int", "1.5", 'column "v" is declared int and got the number 1.5; give a whole number' },
         { "int", '"1"', 'column "v" is declared int and got a string' },
         { "int", "2^53 * 2", "got a number beyond 2^53" },
         { "int", "rec.key", 'column "v" is declared int and got text' },
         { "double", "true", 'column "v" is declared double and got a boolean' },
         { "bool", "1", 'column "v" is declared bool and got the number 1' },
         { "string", "5", 'column "v" is declared string and got the number 5; give text' },
         { "timestamp", '"now"', 'column "v" is declared timestamp and got a string' },
         { "int", "nil", 'column "v" is null and may not be; declare it "v:int?"' },
         { "string", "1, 2", ":map gives more than the 1 columns it declares" },
      }
      for _, case in ipairs(wrong) do
         local _, bad = run((':map(function(rec) return %s end, { "v:%s" })')
            :format(case[2], case[1]), { { key = "k" } })
         says(bad, case[3])
      end
   end)

   it("take every type", function()
      local rows = run([[:map(function(rec)
         return -3, 1/3, false, "s", rec.key, 1.0005, nil end,
         { "i:int", "d:double", "b:bool", "s:string", "y:bytes", "t:timestamp", "n:int?" })]],
         { { key = "\0k" } })
      assert.are.same({ { -3, 1 / 3, false, "s", "\0k", 1001, "null" } }, rows)
   end)
end)

describe("a row that fails", function()
   local two = [[:flat_map(function(rec, emit)
      emit("a", 1)
      if rec.key == "bad" then local x = nil; emit(x.y, 1) end
      emit("b", 1)
   end, { "w", "n:int" })]]
   local records = { { key = "ok" }, { key = "bad" }, { key = "ok" } }

   it("takes back what it had put out", function()
      local rows, bad, result = run(two, records)
      assert.are.same({ { "a", 1 }, { "b", 1 }, { "a", 1 }, { "b", 1 } }, rows)
      assert.are.equal(1, result.rows_failed)
      assert.are.equal(1, bad[1].row)
      says(bad, "topic[3]@1: job.lua:6: attempt to index local 'x' (a nil value)")
   end)

   it("takes back what it had counted", function()
      local job = helper.run(helper.steps(two .. ':group_by("w"):count()'))
      assert.is_nil(job:batch(records))
      assert.is_nil(job:finish())
      assert.are.same({ { "a", 2 }, { "b", 2 } }, job:output())
      job:close()
   end)

   it("leaves no key behind that only it had", function()
      local job = helper.run(helper.steps([[:flat_map(function(rec, emit)
         emit(rec.key) if rec.key == "bad" then error("no") end end, { "w" })
         :group_by("w"):count()]]))
      assert.is_nil(job:batch(records))
      assert.is_nil(job:finish())
      assert.are.same({ { "ok", 2 } }, job:output())
      job:close()
   end)

   it("stops the batch when the policy says so", function()
      local job = helper.run(helper.steps(two))
      job.stop = true
      local message = job:batch(records)
      assert.truthy(message:find("attempt to index local 'x'", 1, true), message)
      assert.are.same({ { "a", 1 }, { "b", 1 } }, job:output())
      job:close()
   end)

   it("goes on when it is the first, the last, or every one", function()
      for _, which in ipairs { "rec.offset == 0", "rec.offset == 2", "true" } do
         local rows, bad = run((':filter(function(rec) if %s then error("x") end return true end)')
            :format(which), records)
         assert.are.equal(3, #rows + #bad, which)
      end
   end)

   it("can throw anything", function()
      for thrown, text in pairs { ['"plain"'] = "plain", ["{}"] = "an error that is a table",
         ["nil"] = "an error that is a nil", ["42"] = "42",
         ["rec.key"] = "an error that is a cdata",
         ["setmetatable({}, { __tostring = function() error('again') end })"] = "is a table" } do
         local _, bad = run((':filter(function(rec) error(%s) end)'):format(thrown),
                            { { key = "k" } })
         assert.are.equal(1, #bad)
         says(bad, text)
      end
   end)

   it("fails when it recurses without end", function()
      local rows, bad = run(":filter(f)", records, "local function f(x) return 1 + f(x) end")
      assert.are.same({}, rows)
      says(bad, "stack overflow")
   end)

   it("names the line of the job although a helper raised it", function()
      local _, bad = run([[:flat_map(function(rec, emit)
         local n = 1
         emit(n)
      end, { "w" })]], { {} })
      says(bad, 'job.lua:6: column "w" is declared string and got the number 1')
   end)
end)

describe("several outputs", function()
   it("run what they share once", function()
      local job = helper.run([[
local tide = require "tidemark"
local calls = 0
local s = tide.from(tide.kafka { topic = "t" })
   :map(function() calls = calls + 1 return calls end, { "n:int" })
return { s:to(tide.console { name = "a" }),
   s:filter(function(row) return row.n > 1 end):to(tide.console { name = "b" }),
   s:group_by("n"):count():to(tide.console { }) }]])
      assert.is_nil(job:batch { {}, {} })
      assert.are.same({ { 1 }, { 2 } }, job:output(1))
      assert.are.same({ { 2 } }, job:output(2))
      assert.is_nil(job:finish())
      assert.are.same({ { 1, 1 }, { 2, 1 } }, job:output(3))
      job:close()
   end)

   it("of one grouping can be finished one by one", function()
      local job = helper.run([[
local tide = require "tidemark"
local c = tide.from(tide.kafka { topic = "t" }):group_by("key"):count()
return { c:to(tide.console { name = "all" }),
   c:filter(function(row) return row.count > 1 end):with("k:string", function(row)
      return tostring(row.key):upper() end):to(tide.console { name = "some" }) }]])
      assert.is_nil(job:batch { { key = "a" }, { key = "b" }, { key = "b" }, {} })
      assert.is_nil(job:finish(1, 2))
      assert.are.same({}, job:output(1))
      assert.are.same({ { "b", 2, "B" } }, job:output(2))
      assert.is_nil(job:finish(1, 1))
      assert.are.same({ { "a", 1 }, { "b", 2 }, { "null", 1 } }, job:output(1))
      job:close()
   end)

   it("all lose a row that one of them cannot add", function()
      local job = helper.run([[
local tide = require "tidemark"
local s = tide.from(tide.kafka { topic = "t" }):json { "k:string", "v:int" }
return { s:to(tide.console { name = "a" }),
   s:group_by("k"):count():to(tide.console { name = "b" }),
   s:group_by("k", { name = "sums" }):sum("v"):to(tide.console { name = "c" }) }]])
      assert.is_nil(job:batch(json_records('{"k":"x","v":9223372036854775806}', '{"k":"x","v":5}',
                                           '{"k":"x","v":1}', '{"k":"y","v":2}')))
      assert.are.equal(1, #job.bad)
      assert.truthy(job.bad[1].message:find("topic[3]@1: ", 1, true), job.bad[1].message)
      assert.are.equal(3, #job:output(1))
      assert.is_nil(job:finish(1))
      assert.are.same({ { "x", 2 }, { "y", 1 } }, job:output(2))
      assert.is_nil(job:finish(2))
      assert.are.equal(2, #job:output(3))
      job:close()
   end)
end)
