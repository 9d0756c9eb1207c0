-- SPDX-License-Identifier: Apache-2.0
-- `tidemark dev` to the letter, once and in a pipe. What it does on a terminal and
-- with topics is in tests/integration/dev_spec.lua.
local h = require "harness"

local values = [[
{"who":"a","n":1}
{"who":"b","n":2}

{"key":"k","value":"{\"who\":\"a\",\"n\":3}"}
]]

local summing = [[
return tide.from(tide.kafka { topic = "t" })
   :json { "who:string", "n:int" }
   :group_by("who")
   :sum("n")
   :to(tide.console {})
]]

local summed = [[
-------------------------------------------
Batch: 0
-------------------------------------------
+---+-----+
|who|sum_n|
+---+-----+
|  a|    4|
|  b|    2|
+---+-----+

]]

describe("tidemark dev", function()
   before_each(function()
      h.begin()
      h.write_file(h.path "in.jsonl", values)
   end)

   -- What one run puts out.
   local function once(text, code, ...)
      h.job(text)
      local dev = h.run({ "dev", "job.lua", "--input", "in.jsonl", "--once", ... }, nil, code or 0)
      assert.are.equal("", dev:err())
      return dev:out()
   end

   it("shows what a job makes of a sample", function()
      assert.are.equal("== job.lua, run 1\n" .. summed .. "3 records in, 2 rows out, 2 in state\n",
                       once(summing))
   end)

   it("shows the rows of every output, wherever they would go", function()
      assert.are.equal([[
== job.lua, run 1
console:t
-------------------------------------------
Batch: 0
-------------------------------------------
+---+---+
|who|  n|
+---+---+
|  b|  2|
+---+---+

kafka:big
-------------------------------------------
Batch: 0
-------------------------------------------
+---+---+
|who|  n|
+---+---+
|  a|  1|
|  a|  3|
|  b|  2|
+---+---+

3 records in, 4 rows out, 2 filtered
]], once [[
local rows = tide.from(tide.kafka { topic = "t" }):json { "who:string", "n:int" }
return {
   rows:filter(function(row) return row.n == 2 end):to(tide.console {}),
   rows:to(tide.kafka { topic = "big" }),
}
]])
   end)

   it("prints rows as JSON where asked, and keeps nothing", function()
      local args = { "--output", "json", "--checkpoint-dir", "cp" }
      local expected = '== job.lua, run 1\n{"who":"a","sum_n":4}\n{"who":"b","sum_n":2}\n' ..
                       "3 records in, 2 rows out, 2 in state\n"
      assert.are.equal(expected, once(summing, 0, unpack(args)))
      assert.are.equal(expected, once(summing, 0, unpack(args)))
      assert.are.equal("", h.read_file(h.path "cp/FORMAT"))
   end)

   it("reads stdin", function()
      h.job(summing)
      local dev = h.run({ "dev", "job.lua", "--input", "-", "--once" }, { stdin = values })
      assert.truthy(dev:out():find(summed, 1, true))
   end)

   it("shows what failed with the line of the job and of the sample", function()
      assert.are.equal([[
== job.lua, run 1 failed
here	1
error: t[0]@1: job.lua:4: attempt to index upvalue 'none' (a nil value); ]] ..
[[on_error = "skip" in tide.job goes on without such records
     4 |    print("here", rec.offset) return none.such
line 1 of the sample: {"who":"a","n":1}
]], once([[
local none
return tide.from(tide.kafka { topic = "t" }):map(function(rec)
   print("here", rec.offset) return none.such
end, { "such" }):to(tide.console {})
]], 3))
   end)

   it("shows why a job does not load", function()
      assert.are.equal([[
== job.lua, run 1 failed
error: job.lua:2: syntax error: unexpected symbol near '='
     2 | local x = = 1
]], once("local x = = 1\n", 3))
      assert.are.equal([[
== job.lua, run 1 failed
error: job.lua:2: require "lib.sums": no file lib/sums.lua; ]] ..
[[jobs can require "tidemark" and modules beside the job file
     2 | local x = require "lib.sums"
]], once('local x = require "lib.sums"\n', 3))
   end)

   it("warns of what is hardly meant", function()
      local out = once [[
local n = 0
return tide.from(tide.kafka { topic = "t" }):map(function(rec)
   n = n + 1
   return rec.value
end, { "value" }):to(tide.console {})
]]
      assert.truthy(out:find('warning: job.lua:4: "n" is assigned but belongs', 1, true), out)
      assert.truthy(out:find("\n     4 |    n = n + 1\n3 records in, 3 rows out\n", 1, true), out)
   end)

   it("stops a job that never ends, eats memory, or recurses", function()
      local function stops(says, code, body, ...)
         local out = once('return tide.from(tide.kafka { topic = "t" }):flat_map(function(rec) ' ..
                          body .. ' end, { "a" }):to(tide.console {})', code, ...)
         assert.truthy(out:find(says, 1, true), out)
      end
      stops("error: t[0]@1: job.lua:2: it does not return, after ", 3, "while true do end",
            "--limit", "1m")
      stops("stopped after 3000 ms on the sample: it has a loop without end", 1,
            "while true do end", "--limit", "3s", "--record-timeout", "0s")
      stops("error: t[0]@1: job.lua:2: the job is still busy here after 2000 ms; ", 1,
            "while true do local _ = #rec.value end", "--limit", "3s", "--record-timeout", "0s")
      stops("stack overflow", 3, "local function f() return 1 + f() end f()", "--limit", "1m")
      stops("512 MiB its Lua state may use", 3, "local t = {} for i = 1, 1e9 do t[i] = { i } end",
            "--limit", "1m")
      local out = once("while true do end", 1, "--limit", "300ms")
      assert.truthy(out:find("stopped after 300 ms of loading", 1, true), out)
      assert.truthy(out:find("error: job.lua:2: the job is still busy here after 300 ms\n" ..
                             "     2 | while true do end\n", 1, true), out)
   end)

   it("says what is wrong on the command line", function()
      h.job(summing)
      local function says(text, code, ...)
         local dev = h.run({ "dev", ... }, nil, code)
         assert.truthy(dev:err():find(text, 1, true), dev:err())
      end
      says("none.jsonl: No such file", 1, "job.lua", "--input", "none.jsonl")
      says('--last wants a number from 1 to 1000000, not "x"', 2, "job.lua", "--last", "x")
      says('--limit wants a span like 10s, not "soon"', 2, "job.lua", "--limit", "soon")
      says("--last is for the job's topics", 2, "job.lua", "--last", 5, "--input", "in.jsonl")
   end)
end)
