-- SPDX-License-Identifier: Apache-2.0
-- What a job may say: each refusal with its line and its way out.
local helper = require "tests.spec.helper"

local function refuses(text, ...)
   local message = helper.load(text)
   assert.is_string(message, "the job was accepted")
   for _, part in ipairs { ... } do
      assert.truthy(message:find(part, 1, true), ("%q is not in: %s"):format(part, message))
   end
   return message
end

local HEAD = 'local tide = require "tidemark"\nlocal s = tide.from(tide.kafka { topic = "t" })\n'

-- The job's third line and on.
local function refuses_body(body, ...)
   return refuses(HEAD .. body, ...)
end

describe("a job that is wrong", function()
   it("is missing", function()
      refuses(nil, "cannot read this job file")
   end)

   it("has a syntax error", function()
      refuses("local x = = 1\nreturn x", "job.lua:1: syntax error:", "1 | local x = = 1")
   end)

   it("is compiled Lua", function()
      refuses(string.dump(function() return 1 end), "loaded from source only")
   end)

   it("fails while it is loaded", function()
      refuses("local t\nreturn t.x", "job.lua:2: attempt to index local 't'", "2 | return t.x")
   end)

   it("throws a table", function()
      refuses("error { code = 1 }", "job.lua:1: an error that is a table")
   end)

   it("returns nothing", function()
      refuses("local x = 1", "the job returns nothing: return what :to() gives")
   end)

   it("returns something else", function()
      refuses("return 42", "the job returns a number")
      refuses("return {}", "the job returns an empty list")
      refuses("return { 42 }", "item 1 of what the job returns is not an output")
   end)

   it("returns a stream that goes nowhere", function()
      refuses_body("return s", "job.lua:2: this stream goes nowhere: end it with :to(")
      refuses_body("return { s }", "item 1 of what the job returns is a stream that goes nowhere")
   end)

   it("builds an output and does not return it", function()
      refuses_body([[
local a = s:to(tide.console { name = "a" })
s:to(tide.console { name = "b" })
return a]], "job.lua:4: this output is built but not returned", "4 | s:to(")
   end)

   it("returns an output twice", function()
      refuses_body("local a = s:to(tide.console { })\nreturn { a, a }", "returned twice")
   end)
end)

describe("a step that is wrong", function()
   it("is unknown, and the nearest is named", function()
      refuses_body("return s:flatmap(print, {})",
         'job.lua:3: no step "flatmap"; did you mean "flat_map"?')
      refuses_body("return s:fliter(print)", 'did you mean "filter"?')
      refuses_body("return s:xyzzy()", 'no step "xyzzy"; steps are aggregate, count')
   end)

   it("comes in a later version", function()
      for _, step in ipairs { "join", "lookup", "process", "avro" } do
         refuses_body(("return s:%s()"):format(step),
            (":%s: this version of tidemark does not have "):format(step))
      end
   end)

   it("is called with a dot", function()
      refuses_body("return s.filter(print)", ":filter is a step: call it with a colon")
   end)

   it("wants a function", function()
      refuses_body('return s:filter("x")', ":filter wants a function, got a string")
      refuses_body('return s:map(nil, { "a:int" })', ":map wants a function, got a nil")
      refuses_body('return s:with("a:int")', ":with wants a function, got a nil")
   end)

   it("changes a stream", function()
      refuses_body("s.x = 1", "a stream cannot be changed")
   end)

   it("follows :to", function()
      refuses_body("return s:to(tide.console { }):filter(print)", ":filter: nothing follows :to()")
   end)
end)

describe("a column that is wrong", function()
   local function with_columns(columns, ...)
      return refuses(helper.steps((":json { %s }"):format(columns)), ...)
   end

   it("has no type", function()
      with_columns('"id"', 'job.lua:4: column "id" has no type: write "id:string"')
   end)

   it("has an unknown type", function()
      with_columns('"id:integer"', 'column "id": no type "integer"; did you mean "int"?')
      with_columns('"id:duoble"', 'did you mean "double"?')
      with_columns('"id:blob"', "types are int, double, bool, string, bytes, timestamp")
   end)

   it("is no name", function()
      with_columns('"1d:int"', '"1d" is no column')
      with_columns('"a b:int"', '"a b:int" is no column')
      with_columns("42", "a column is text like")
      with_columns("", "wants a list of columns")
   end)

   it("is called rec", function()
      with_columns('"rec:int"', '"rec" is reserved')
   end)

   it("is there twice", function()
      with_columns('"a:int", "a:int"', 'two columns are called "a"')
   end)

   it("is too long", function()
      with_columns(('"%s:int"'):format(("x"):rep(64)), "is longer than 63 bytes")
   end)

   it("does not exist where it is used", function()
      local json = ':json { "source:string", "value:double" }'
      refuses(helper.steps(json .. ':select { "sorce" }'),
         'job.lua:4: :select: no column "sorce"; did you mean "source"?')
      refuses(helper.steps(json .. ':group_by("qqqqqq"):count()'),
         ':group_by: no column "qqqqqq"; columns here: source, value')
      refuses(helper.steps(json .. ':group_by("source"):sum("valeu")'),
         'tide.sum: no column "valeu"; did you mean "value"?')
   end)

   it("has a type that cannot be summed", function()
      refuses(helper.steps ':json { "a:string" }:group_by("a"):sum("a")',
         'tide.sum: column "a" is a string; it is for int and double columns')
   end)

   it("may not be null although malformed input makes it so", function()
      refuses(helper.steps ':json({ "a:int?", "b:int" }, { malformed = "null" })',
         'column "b" may not be null; write "b:int?"')
   end)
end)

describe("a grouping that is wrong", function()
   it("is second", function()
      refuses(helper.steps ':group_by("topic"):count():group_by("count"):count()',
         "these rows are already aggregated", "group the stream before it")
   end)

   it("has no columns, or one twice", function()
      refuses(helper.steps ":group_by():count()", ":group_by wants columns")
      refuses(helper.steps ':group_by("topic", "topic"):count()', 'column "topic" is there twice')
   end)

   it("is missing before an aggregate", function()
      refuses(helper.steps ":count()", ':count needs groups: :group_by("column") comes before it')
   end)

   it("ends without an aggregate", function()
      refuses(helper.steps ':group_by("topic")', 'no step "to"',
              "after :group_by comes :window(size), :session(gap), :count()")
   end)

   it("wants something that keeps every value", function()
      for _, name in ipairs { "countDistinct", "count_distinct", "collect_set", "collect_list" } do
         refuses(helper.steps((':group_by("topic"):%s("key")'):format(name)), name,
            "approx_count_distinct")
         refuses(helper.steps((':group_by("topic"):aggregate { tide.%s "key" }'):format(name)),
            name, "approx_count_distinct")
      end
   end)

   it("has a list of something else", function()
      refuses(helper.steps ':group_by("topic"):aggregate {}', ":aggregate wants a list")
      refuses(helper.steps ':group_by("topic"):aggregate { 1 }',
         "item 1 is a number, not an aggregate")
   end)

   it("has a name that another has", function()
      refuses_body([[
local g = s:group_by("topic")
return { g:count():to(tide.console { name = "a" }), g:count():to(tide.console { name = "b" }) }]],
         'job.lua:4: the grouping "count(topic)" is there twice', 'set name = "…"')
   end)

   it("gives two columns one name", function()
      refuses(helper.steps ':group_by("topic"):aggregate { tide.count(), tide.count() }',
         'two columns are called "count"')
   end)
end)

describe("an output that is wrong", function()
   it("appends counts that are never final", function()
      refuses_body('return s:group_by("topic"):count():to(tide.console { mode = "append" })',
         'job.lua:3: mode = "append" puts out rows that are final', 'use mode = "update"', "window")
   end)

   it("updates rows that are not aggregated", function()
      for _, mode in ipairs { "update", "complete" } do
         refuses_body(('return s:to(tide.console { mode = "%s" })'):format(mode),
            ('mode = "%s" is for aggregated rows'):format(mode), 'mode = "append"', ":group_by")
      end
   end)

   it("has an option that is unknown or wrong", function()
      refuses_body('return s:to(tide.console { trucate = true })',
         'tide.console: no option "trucate"; did you mean "truncate"?')
      refuses_body('return s:to(tide.console { mode = "appendd" })', 'mode must be "append"')
      refuses_body("return s:to(tide.console { rows = 0 })",
         "rows must be a whole number from 1 on")
      refuses_body('return s:to(tide.console "x")', "tide.console wants a table of options")
   end)

   it("is no sink", function()
      refuses_body("return s:to()", ":to wants a sink")
      refuses_body("return s:to(42)", ":to wants sinks like tide.console { }, got a number")
      refuses_body('return s:to(tide.parquet { path = "x" })', "tide.parquet: this version")
   end)

   it("has the name of another", function()
      refuses_body([[
return { s:to(tide.console { }), s:filter(print):to(tide.console { }) }]],
         'the sink "console:t" is there twice')
   end)
end)

describe("a source or job that is wrong", function()
   local function source(options, ...)
      return refuses(('local tide = require "tidemark"\nreturn tide.from(tide.kafka %s)' ..
                      ':to(tide.console { })'):format(options), ...)
   end

   it("names no topic, or both kinds", function()
      source("{}", "job.lua:2: tide.kafka wants a topic")
      source('{ topic = "a", topics = { "b" } }', "give topic or topics, not both")
      source('{ topics = { "a,b" } }', "topics must be a topic, a list of topics")
   end)

   it("starts nowhere", function()
      source('{ topic = "a", start = "foo" }',
         'start must be "earliest", "latest", or a time', '"foo"')
   end)

   it("has an unknown option", function()
      source('{ topik = "a" }', 'no option "topik"; did you mean "topic"?')
   end)

   it("is no source", function()
      refuses('local tide = require "tidemark" return tide.from {}', "tide.from wants a source")
      refuses('local tide = require "tidemark" return tide.from(tide.console { })',
         "tide.console is a sink")
   end)

   it("has an unknown function", function()
      refuses('local tide = require "tidemark" return tide.wrods', 'did you mean "words"?')
      refuses('local tide = require "tidemark" tide.words = 1', "cannot be changed")
   end)

   it("has wrong options for the job", function()
      refuses_body('return tide.job { trigger = "soon", outputs = { s:to(tide.console { }) } }',
         'job.lua:3: tide.job: trigger must be a time span like "10s", not "soon"')
      refuses_body('return tide.job { wrkers = 2, outputs = { s:to(tide.console { }) } }',
         'did you mean "workers"?')
      refuses_body('return tide.job { on_error = "ignore", outputs = { s:to(tide.console { }) } }',
         'on_error must be one of "fail", "skip"')
      refuses_body("return tide.job { workers = 2 }", "the job returns nothing")
   end)
end)

describe("a job that is right", function()
   it("says what its steps are", function()
      local program = helper.job(HEAD .. [[
local function late(row) return row.id > 1 end
local rows = s:json({ "id:int?", "user_id=user.id:string?" }, { malformed = "null" })
   :filter(late)
return tide.job { name = "j", workers = 3, trigger = "10s", outputs = {
   rows:to(tide.console { truncate = false }),
   rows:group_by("id", { name = "by id" }):aggregate { tide.count() :as "n", tide.sum "id" }
      :to(tide.console { mode = "complete", rows = 5 }),
} }]])
      local text = {}
      for i, step in ipairs(program.steps) do
         text[i] = ("%d %s %d"):format(step.parent and step.parent.index or 0, step.text, step.line)
      end
      assert.are.same({
         "0 kafka(topics=t, start=earliest) 2",
         "1 json -> id:int?, user_id:string? 4",
         "2 filter(late) 5",
         "3 console(mode=append) 7",
         "3 group_by(id) 8",
         "5 aggregate(n, sum_id) -> id:int?, n:int, sum_id:int? 8",
         "6 console(mode=complete) 9",
      }, text)
      assert.are.equal("by id", program.keyed[1].name)
      assert.are.equal("key id:int; n=count(){n:int, 8 bytes}; " ..
                       "sum_id=sum(id){sum:int,n:int, 16 bytes}",
                       program.keyed[1].layout)
      assert.are.equal("console:t", program.outputs[1].name)
      assert.are.equal("console:by id", program.outputs[2].name)
      assert.are.same({ mode = "complete", rows = "5" }, program.outputs[2].options)
      assert.are.same({ name = "j", workers = "3", trigger = "10s" }, program.job)
      assert.are.equal("j", program.name)
   end)

   it("shares what its outputs have in common", function()
      local program = helper.job(HEAD .. [[
local rows = s:filter(function() return true end)
return { rows:to(tide.console { name = "a" }, tide.console { name = "b" }),
         rows:to(tide.console { name = "c" }) }]])
      assert.are.equal(1, #program.inputs)
      assert.are.equal(5, #program.steps)
      assert.are.equal(3, #program.outputs)
   end)

   it("is named after its file", function()
      assert.are.equal("job", helper.job(HEAD .. "return s:to(tide.console { })").name)
   end)

   it("loads modules beside it", function()
      local program = helper.job([[
local tide = require "tidemark"
local mine = require "mine"
assert(mine == require "mine")
return tide.from(tide.kafka { topic = mine.topic }):to(tide.console { })]],
         { ["mine.lua"] = 'local tide = require "tidemark"\nreturn { topic = "from module" }' })
      assert.are.equal("from module", program.inputs[1].options.topics)
   end)

   it("is told where a module fails", function()
      local message = helper.load('return require "mine"',
                                  { ["mine.lua"] = "\nlocal x\nreturn x.y" })
      assert.truthy(message:find("mine.lua:3: attempt to index local 'x'", 1, true), message)
   end)
end)

describe("event time that is wrong", function()
   local timed = ':json { "id:int", "ts:timestamp", "at:string" }'
   local function steps(text, mode)
      return (helper.steps(timed .. text):gsub("console { }", ('console { mode = "%s" }')
         :format(mode or "update")))
   end

   it("has its watermark behind the grouping", function()
      refuses(steps ':group_by("id"):watermark("ts", "30s"):count()',
              ":watermark comes before :group_by", "clean no state")
      refuses(steps ':group_by("id"):count():watermark("count", "30s")',
              "These rows are aggregated already", "move it up")
   end)

   it("has two watermarks on one stream", function()
      refuses(steps ':watermark("ts", "30s"):watermark("ts", "5m")', "has one already (line 4)")
   end)

   it("has a column that is none, or no timestamp, or no delay", function()
      refuses(steps ':watermark("tz", "30s")', 'no column "tz"', "ts")
      refuses(steps ':watermark("at", "30s")', 'wants a column of type timestamp',
              'declare it "at:timestamp"')
      refuses(steps ':watermark("ts")', ':watermark wants a time span like "10s", not nil')
      refuses(steps ':watermark("ts", "soon")', 'not "soon"')
      refuses(steps ':watermark("ts", "1m", { idle = "5s" })', "per_partition = true")
      refuses(steps ':watermark("ts", "1m", { max_ahed = "5s" })', 'did you mean "max_ahead"')
   end)

   it("has windows without it", function()
      refuses(steps ':group_by("id"):window("10s"):count()', ":window goes by event time",
              ':watermark("column", "30s") comes before')
      refuses(steps ':watermark("ts", "1s"):window("10s")', ":window needs groups")
   end)

   it("has windows of no size, with gaps, or too many", function()
      local function window(arguments)
         return steps((':watermark("ts", "1s"):group_by("id"):window(%s):count()')
            :format(arguments))
      end
      refuses(window '"0s"', 'wants a time span like "10s", not "0s"')
      refuses(window '"10s", "20s"', "leaves gaps between windows")
      refuses(window '"1d", "1s"', "each row would be in 86400 windows")
      refuses(window '"10s", { offset = "10s" }', "an offset of 10s is no less")
      refuses(window '"10s", { late = "never" }', "late must be")
      refuses(window '"10s"):window("20s"', "have a window already")
   end)

   it("puts out in a mode that cannot be", function()
      refuses(steps(':group_by("id"):count()', "append"), 'mode = "append"', "never is",
              ":watermark")
      refuses(steps(':watermark("ts", "1s"):group_by("id"):count()', "append"), "never is")
      refuses(steps(':watermark("ts", "1s")', "update"), 'mode = "update" is for aggregated rows')
   end)

   it("shares a state between modes that treat late rows otherwise", function()
      refuses([[
local tide = require "tidemark"
local counts = tide.from(tide.kafka { topic = "t" })
   :json { "id:int", "ts:timestamp" }:watermark("ts", "1s")
   :group_by("id"):window("10s"):count()
return { counts:to(tide.console { mode = "complete", name = "a" }),
         counts:to(tide.console { mode = "append", name = "b" }) }]],
         'mode = "complete" keeps every row', 'mode = "append" (line 6)',
         "build the grouping twice")
   end)

   it("has two watermarks of one name", function()
      refuses([[
local tide = require "tidemark"
local rows = tide.from(tide.kafka { topic = "t" }):json { "id:int", "ts:timestamp" }
local function count(delay)
   return rows:watermark("ts", delay):group_by("id", { name = delay }):window("10s"):count()
      :to(tide.console { name = delay })
end
return { count "5m", count "30m" }]], 'the watermark "t.ts" is there twice', 'name = "…"')
   end)

   it("never cleans its state, which is a warning", function()
      local found = helper.lint(steps ':watermark("ts", "1s"):group_by("id"):count()')
      assert.equal(1, #found)
      assert.truthy(found[1]:find('the state of "count(id)" is never cleaned', 1, true))
   end)
end)
