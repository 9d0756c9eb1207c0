-- SPDX-License-Identifier: Apache-2.0
-- What sinks may be told, what becomes of it, and each refusal with its way out.
local helper = require "tests.spec.helper"

local HEAD = [[
local tide = require "tidemark"
local s = tide.from(tide.kafka { topic = "t" })
   :map(function(rec) return "a", 1, 2, 3 end,
        { "name:string?", "n:int", "ts:timestamp", "d:double" })
]]

local function refuses(sink, ...)
   local message = helper.load(HEAD .. "return s:to(" .. sink .. ")")
   assert.is_string(message, "the job was accepted")
   for _, part in ipairs { ... } do
      assert.truthy(message:find(part, 1, true), ("%q is not in: %s"):format(part, message))
   end
end

local function output(sink, stream)
   return helper.job(HEAD .. "return " .. (stream or "s") .. ":to(" .. sink .. ")").outputs[1]
end

describe("tide.kafka as a sink", function()
   it("takes a topic, and writes all columns as JSON", function()
      local out = output 'tide.kafka { topic = "out" }'
      assert.are.equal("kafka", out.sink)
      assert.are.equal("kafka:out", out.name)
      assert.are.same({ topic = "out", value = "json", mode = "append" }, out.options)
   end)

   it("takes columns as key, value, timestamp and headers", function()
      local out = output [[tide.kafka { topic = "out", key = "name", value = { "n", "d" },
         timestamp = "ts", headers = { "n", trace = "name", also = "d" }, name = "mine" }]]
      assert.are.equal("mine", out.name)
      assert.are.same({ topic = "out", key = "name", value = "json", columns = "n,d",
                        timestamp = "ts", mode = "append", ["header.01"] = "n:n",
                        ["header.02"] = "d:also", ["header.03"] = "name:trace" }, out.options)
      out = output 'tide.kafka { topic = "out", value = "name", exactly_once = false }'
      assert.are.same({ topic = "out", value = "column", value_column = "name",
                        exactly_once = "false", mode = "append" }, out.options)
   end)

   it("passes records on as they are", function()
      local out = output('tide.kafka { topic = "out" }', 'tide.from(tide.kafka { topic = "x" })')
      assert.are.same({ topic = "out", key = "key", value = "column", value_column = "value",
                        mode = "append" }, out.options)
   end)

   it("asks a function for the topic of each row", function()
      local run = helper.run(HEAD ..
         'return s:to(tide.kafka { topic = function(row) return row.name .. row.n end })')
      local out = run.program.outputs[1]
      assert.are.equal("kafka:topic()", out.name)
      assert.is_nil(out.options.topic)
      run:batch { { value = "x" } }
      assert.are.same({ { "a", 1, 2000, 3, "a1" } }, run:output(1))
      run:close()
   end)

   it("asks it for aggregated rows as well", function()
      local run = helper.run(HEAD .. [[return s:group_by("name"):count():to(
         tide.console {}, tide.kafka { topic = function(row) return "n" .. row.count end })]])
      run:batch { { value = "x" }, { value = "x" } }
      run:finish(1)
      assert.are.same({ { "a", 2 } }, run:output(1))
      assert.are.same({ { "a", 2, "n2" } }, run:output(2))
      run:close()
   end)

   it("is refused with the reason", function()
      refuses("tide.kafka { }", "tide.kafka wants a topic to write to", "job.lua:5")
      refuses('tide.kafka { topic = "a b" }', "topic must be the name of a topic, or a function")
      refuses('tide.kafka { topic = "a", kye = "n" }', 'no option "kye"; did you mean "key"?')
      refuses('tide.kafka { topic = "a", key = "nam" }', 'no column "nam"; did you mean "name"?')
      refuses('tide.kafka { topic = "a", value = "jsn" }', 'no column "jsn"')
      refuses('tide.kafka { topic = "a", value = { } }', "value = { } has no columns")
      refuses('tide.kafka { topic = "a", value = { "q" } }', 'no column "q"')
      refuses('tide.kafka { topic = "a", timestamp = "n" }', 'wants a column of type timestamp')
      refuses('tide.kafka { topic = "a", headers = { x = 1 } }', "headers must be a table like")
      refuses('tide.kafka { topic = "a", mode = "update" }', 'mode = "update" is for aggregated')
   end)

   it("gives what its topic refuses to the sink of on_error, which has to be there", function()
      local sink = 's:to(tide.kafka { topic = "out", on_reject = "dead_letter", partitions = 3 })'
      local program = helper.job(HEAD ..
         ('return tide.job { on_error = tide.kafka { topic = "dead" }, outputs = %s }')
            :format(sink))
      assert.are.equal("dead_letter", program.outputs[1].options.on_reject)
      assert.are.equal("3", program.outputs[1].options.partitions)
      for _, on_error in ipairs { "", 'on_error = "skip", ' } do
         local message = helper.load(HEAD .. ("return tide.job { %s outputs = %s }")
            :format(on_error, sink))
         assert.truthy(message:find("the sink of on_error, and the job has none", 1, true), message)
      end
      refuses('tide.kafka { topic = "o", on_reject = "skip" }', 'on_reject must be one of "fail"')
      refuses('tide.kafka { topic = "o", partitions = 0 }', "partitions must be a whole number")
   end)

   it("has a name of its own", function()
      refuses('tide.kafka { topic = "a" }, tide.kafka { topic = "a", key = "name" }',
         'the sink "kafka:a" is there twice')
   end)
end)

describe("tide.files", function()
   it("takes a path", function()
      local out = output 'tide.files { path = "data/out" }'
      assert.are.equal("files", out.sink)
      assert.are.equal("files:data/out", out.name)
      assert.are.same({ path = "data/out", format = "json", mode = "append" }, out.options)
      out = output 'tide.files { path = "o", every = "1m", format = "json", name = "mine" }'
      assert.are.equal("mine", out.name)
      assert.are.equal("1m", out.options.every)
   end)

   it("takes rows that change, but no whole states", function()
      local out = output('tide.files { path = "o" }', 's:group_by("name"):count()')
      assert.are.equal("update", out.options.mode)
      refuses('tide.files { path = "o", mode = "complete" }',
              'mode = "complete" puts out the whole result', 'use mode = "update"')
   end)

   it("is refused with the reason", function()
      refuses("tide.files { }", "tide.files wants a path", "job.lua:5")
      refuses('tide.files { path = "o", format = "csv" }', 'format must be one of "json"')
      refuses('tide.files { path = "o", every = "often" }', "every must be a time span")
   end)
end)

describe("on_error", function()
   local function dead(sink)
      return HEAD .. ("return tide.job { on_error = %s, outputs = s:to(tide.console { }) }")
         :format(sink)
   end

   it("takes a sink", function()
      local program = helper.job(dead 'tide.kafka { topic = "dead" }')
      local out = program.outputs[2]
      assert.are.equal("output:1", program.job.on_error)
      assert.are.equal("kafka:dead", out.name)
      assert.are.same({ topic = "dead", key = "@key", value = "json", mode = "append" },
                      out.options)
      out = helper.job(dead 'tide.kafka { topic = "dead", value = "value" }').outputs[2]
      assert.are.equal("@value", out.options.value_column)
      out = helper.job(dead 'tide.files { path = "dead", name = "mine" }').outputs[2]
      assert.are.equal("mine", out.name)
   end)

   it("is refused with the reason", function()
      local function refuses_dead(sink, part)
         local message = helper.load(dead(sink))
         assert.is_string(message)
         assert.truthy(message:find(part, 1, true), message)
      end
      refuses_dead("tide.console { }", "on_error takes a sink that keeps records")
      refuses_dead('"ignore"', 'on_error must be one of "fail", "skip", or a sink')
      refuses_dead('tide.kafka { topic = "d", value = "row" }', 'no column "row"')
      refuses_dead('tide.kafka { topic = function() end }', "dead letters go to one topic")
      refuses_dead('tide.files { path = "d", mode = "update" }', "dead letters are new rows")
      refuses_dead('tide.kafka { topic = "d", on_reject = "dead_letter" }', "no other to give")
   end)
end)
