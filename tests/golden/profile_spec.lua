-- SPDX-License-Identifier: Apache-2.0
-- `tidemark profile`: the lines that take the time, and where compiled code stops.
-- No figure is looked at but which line has the most.
local h = require "harness"
local json = require "cjson"

local slow = [[

local function letters(text)
   local n = 0
   for word in string.gmatch(text, "%a+") do
      n = n + #word
   end
   return n
end

return tide.from(tide.kafka { topic = "t" })
   :filter(function(rec)
      local later = function() return rec.value end
      return later() ~= nil
   end)
   :map(function(rec)
      local n = letters(tostring(rec.value))
      return tostring(rec.key), n
   end, { "who:string", "n:int" })
   :group_by("who")
   :sum("n")
   :to(tide.console {})
]]
local GMATCH, CLOSURE = 5, 13

local quick = [[
return tide.from(tide.kafka { topic = "t" })
   :filter(function(rec) return #rec.value > 1 end)
   :group_by("key")
   :count()
   :to(tide.console {})
]]

-- The error stream without its times.
local function said(run)
   return (run:err():gsub("%d%d:%d%d:%d%d%.%d+ ", ""))
end

describe("tidemark profile", function()
   before_each(function()
      h.begin()
      local lines = {}
      for i = 1, 500 do
         lines[i] = ('{"key":"k%d","value":"%s"}'):format(i % 7, ("some words of it "):rep(30))
      end
      h.write_file(h.path "in.jsonl", table.concat(lines, "\n") .. "\n")
   end)

   local function profile(text, code, ...)
      h.job(text)
      return h.run({ "profile", "job.lua", "--input", "in.jsonl", "--for", "2s", ... }, nil,
                   code or 0)
   end

   it("names the slow line first, and what could not be compiled with its line", function()
      local run = profile(slow, 0, "--json")
      assert.are.equal("", run:err())
      local report = json.decode(run:out())
      assert.is_true(report.samples > 0)
      assert.are.equal(GMATCH, report.lines[1].line)
      assert.are.equal('   for word in string.gmatch(text, "%a+") do', report.lines[1].source)
      local found = {}
      for _, stop in ipairs(report.aborts) do
         found[stop.line .. " " .. stop.reason] = stop
      end
      local gmatch = found[GMATCH .. " not compiled: string.gmatch"]
      assert.is_truthy(gmatch)
      assert.is_truthy(gmatch.advice:find(":words()", 1, true))
      assert.is_truthy(found[CLOSURE .. " NYI: bytecode FNEW"])
   end)

   it("prints them beside the source", function()
      local out = profile(slow):out()
      assert.is_truthy(out:find('\n *[%d.]+ +%d+ +%d+%% +%d+ +5 |    for word in string.gmatch'))
      -- A short file is there whole, with lines that take nothing.
      assert.is_truthy(out:find("\n +9 | end\n"), out)
      assert.is_truthy(out:find(' |    :to(tide.console {})\n', 1, true), out)
      assert.is_truthy(out:find("\nwhere compiled code stops\n", 1, true))
      assert.is_truthy(out:find("job.lua:5: not compiled: string.gmatch (", 1, true))
   end)

   it("shows of a long file what takes time and what is around it, or all of it", function()
      local long = ("-- nothing is done here\n"):rep(100) .. slow
      local out = profile(long):out()
      assert.is_truthy(out:find("\n *[%d.]+ +%d+ +%d+%% +%d+ +105 |    for word in"), out)
      assert.is_truthy(out:find("\n +108 |    return n\n"), out)
      assert.is_truthy(out:find("\n +%.%.%.\n"), out)
      assert.is_nil(out:find "\n +50 | ")
      out = profile(long, 0, "--whole"):out()
      assert.is_truthy(out:find "\n +50 | %-%- nothing is done here\n", out)
      assert.is_nil(out:find "\n +%.%.%.\n", out)
   end)

   it("ends where a record never does, and says so", function()
      local run = profile([[
return tide.from(tide.kafka { topic = "t" })
   :filter(function(rec)
      while #rec.value > 1 do end
      return true
   end)
   :to(tide.console {})
]], 3, "--limit", "2s")
      assert.is_truthy(said(run):find("a batch of records takes job.lua longer than 2 s", 1, true),
                       run:err())
      local refused = said(profile(quick, 2, "--limit", "x"))
      assert.is_truthy(refused:find("--limit wants a span", 1, true), refused)
   end)

   it("has nothing to say of a job that compiles", function()
      local report = json.decode(profile(quick, 0, "--json"):out())
      assert.are.same({}, report.aborts)
      for _, at in ipairs(report.lines) do
         assert.is_true(at.line >= 2 and at.line <= 6)
      end
   end)

   it("wants records, and says so where there are none", function()
      h.write_file(h.path "in.jsonl", "\n")
      assert.is_truthy(said(profile(quick, 2)):find("there are no records to profile", 1, true))
   end)

   it("reports at the end of a run, too", function()
      local run = h.run { "demo", "--for", "2s", "--listen", "127.0.0.1:0", "--profile-lua" }
      assert.is_truthy(run:err():find("== profile: %d+ samples"))
      assert.is_truthy(run:err():find("outside of Lua: reading records", 1, true))
   end)
end)
