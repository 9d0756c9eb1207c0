-- SPDX-License-Identifier: Apache-2.0
-- States of an older version of a job, taken over by the function that the new
-- version gives for them.
local testing = require "tidemark.testing"

local template = [[
local tide = require "tidemark"
local mean = tide.aggregator {
   state = { sum = "double", n = "int", seen = "sketch", last = "int[2]", word = "text(8)" },
   add = function(s, v)
      s.sum, s.n, s.word = s.sum + v, s.n + 1, "w" .. v
      s.seen:add(v)
      s.last[1], s.last[2] = s.last[2], v
   end,
   merge = function(s, o)
      s.sum, s.n, s.word = s.sum + o.sum, s.n + o.n, o.word
      s.seen:merge(o.seen)
      s.last[1], s.last[2] = o.last[1], o.last[2]
   end,
   result = function(s) return s.n > 0 and s.sum / s.n or nil end,
}
return tide.from(tide.kafka { topic = "t" })
   :json { "key:string", "value:int", "at:timestamp?" }
   %s
   :to(tide.console { mode = "%s" })
]]

local GROUP = ':group_by("key", { name = "values" })'

local function job_text(aggregate, group, mode)
   return template:format((group or GROUP) .. aggregate, mode or "update")
end

local function value(key, number, at)
   return { value = ('{"key":"%s","value":%s%s}'):format(key, number,
                                                        at and (',"at":"%s"'):format(at) or "") }
end

describe("a state of a higher version", function()
   local job
   after_each(function()
      if job then
         job:close()
      end
      job = nil
   end)

   local function open(aggregate, ...)
      job = testing.job(job_text(aggregate, ...), { workers = 2 })
      return job
   end

   local function restart(aggregate, ...)
      return job:restart { text = job_text(aggregate, ...), crash = true }
   end

   local function refused(pattern, aggregate, ...)
      local ok, why = pcall(restart, aggregate, ...)
      assert.is_false(ok)
      assert.truthy(tostring(why):find(pattern, 1, true), why)
      return tostring(why)
   end

   it("is what the function makes of the old one", function()
      open ':aggregate { mean "value" :as "mean" }'
      job:feed(value("a", 1), value("a", 3), value("b", 10))
      job:epoch()
      restart [[:aggregate({ tide.sum "value" :as "total", tide.count() :as "n" }, { version = 2,
         migrate = function(old)
            return { total = { sum = old.mean.sum, n = old.mean.n }, n = { n = old.mean.n } }
         end })]]
      job:feed(value("a", 5), value("b", 1), value("c", 7))
      job:epoch()
      job:expect { { key = "a", total = 9, n = 3 }, { key = "b", total = 11, n = 2 },
                   { key = "c", total = 7, n = 1 } }
   end)

   it("goes where the function gives nothing", function()
      open ':aggregate { tide.count() :as "n" }'
      job:feed(value("a", 1), value("b", 1), value("b", 1))
      job:epoch()
      restart [[:aggregate({ tide.count() :as "n" }, { version = 2, migrate = function(old)
         if old.n.n > 1 then return old end
      end })]]
      job:feed(value("a", 1), value("b", 1))
      job:epoch()
      job:expect { { key = "a", n = 1 }, { key = "b", n = 3 } }
   end)

   it("begins at zero where the function says nothing of it", function()
      open ':aggregate { tide.sum "value" :as "total" }'
      job:feed(value("a", 1))
      job:epoch()
      restart [[:aggregate({ tide.max "value" :as "most", tide.sum "value" :as "total" },
         { version = 2, migrate = function() return {} end })]]
      job:feed(value("a", 5))
      job:epoch()
      job:expect { { key = "a", most = 5, total = 5 } }
   end)

   it("carries whole aggregates, lists, sketches and text over", function()
      open ':aggregate { mean "value" :as "mean", tide.approx_count_distinct "value" :as "d" }'
      for i = 1, 20 do
         job:feed(value("a", i))
      end
      job:epoch()
      restart [[:aggregate({
         tide.aggregator {
            state = { what = "text(16)", recent = "int[2]", seen = "sketch" },
            add = function() end, merge = function() end,
            result = function(s)
               return s.what .. s.recent[1] .. "," .. s.recent[2] .. "," .. s.seen:count()
            end, returns = "string" } "value" :as "all",
         tide.approx_count_distinct "value" :as "different" }, { version = 7,
         migrate = function(old)
            return { different = old.d, all = { what = old.mean.word .. ": ", seen = old.mean.seen,
                                                recent = { old.mean.last[1], 100 } } }
         end })]]
      job:feed(value("a", 20))
      job:epoch()
      job:expect { { key = "a", all = "w20: 19,100,20", different = 20 } }
   end)

   it("carries ints over that Lua numbers cannot hold", function()
      open ':aggregate { tide.sum "value" :as "total" }'
      job:feed(value("a", "9007199254740993"))
      job:epoch()
      refused("beyond 2^53", [[:aggregate({ tide.sum "value" :as "sum" }, { version = 2,
         migrate = function(old) return { sum = { sum = old.total.sum, n = 1 } } end })]])
      restart [[:aggregate({ tide.sum "value" :as "sum" }, { version = 2,
         migrate = function(old) return { sum = old.total } end })]]
      job:feed(value("a", "-9007199254740990"))
      job:epoch()
      job:expect { { key = "a", sum = 3 } }
   end)

   it("is taken over in windows and sessions, whose bounds stay", function()
      for group, bounds in pairs {
         [':watermark("at", "10s"):group_by("key", { name = "values" }):window("1m")'] =
            { "2024-01-01T00:00:00Z", "2024-01-01T00:01:00Z" },
         [':watermark("at", "10s"):group_by("key", { name = "values" }):session("1m")'] =
            { "2024-01-01T00:00:10Z", "2024-01-01T00:01:20Z" } } do
         open(':aggregate { tide.count() :as "n" }', group, "append")
         job:feed(value("a", 1, "2024-01-01T00:00:10Z"))
         job:epoch()
         restart([[:aggregate({ tide.sum "value" :as "total" }, { version = 2, migrate =
            function(old) return { total = { sum = 100 * old.n.n, n = 1 } } end })]], group,
            "append")
         job:feed(value("a", 5, "2024-01-01T00:00:20Z"))
         job:feed(value("b", 5, "2024-01-01T00:04:00Z"))
         job:run()
         job:expect { { window_start = bounds[1], window_end = bounds[2], key = "a",
                        total = 105 } }
         job:close()
         job = nil
      end
   end)

   it("is taken over once", function()
      local text = [[:aggregate({ tide.sum "value" :as "total" }, { version = 2, migrate =
         function(old) return { total = { sum = old.total.sum * 2, n = 1 } } end })]]
      open ':aggregate { tide.sum "value" :as "total" }'
      job:feed(value("a", 1))
      job:epoch()
      restart(text)
      restart(text)
      job:feed(value("a", 1))
      job:epoch()
      job:expect { { key = "a", total = 3 } }
      restart ':aggregate({ tide.sum "value" :as "total" }, { version = 2 })'
      refused("there is no way back", ':aggregate { tide.sum "value" :as "total" }')
   end)

   it("of many keys and more than goes through memory is taken over whole", function()
      local keys = 5000 -- of 4000 bytes each
      open ':aggregate { tide.sum "value" :as "total" }'
      for i = 1, keys do
         job:feed(value("key" .. i, i))
      end
      job:run()
      restart [[:aggregate({ tide.sum "value" :as "twice", tide.aggregator {
            state = { text = "text(4000)" }, add = function() end, merge = function() end,
            result = function(s) return #s.text end, returns = "int" } "value" :as "size" },
         { version = 2, migrate = function(old)
            return { twice = { sum = old.total.sum * 2, n = 1 },
                     size = { text = ("x"):rep(old.total.sum % 2 == 0 and 4000 or 3999) } }
         end })]]
      for i = 1, keys do
         job:feed(value("key" .. i, 0))
      end
      job:run()
      local rows = job:rows()
      assert.are.equal(keys, #rows)
      for _, row in ipairs(rows) do
         local number = tonumber(row.key:match "%d+")
         assert.are.equal(2 * number, row.twice)
         assert.are.equal(number % 2 == 0 and 4000 or 3999, row.size)
      end
   end)

   local bad = {
      { "a mistake in the function", 'key = "b"', "old.n.m" },
      { "an aggregate that is not there", 'no aggregate "totl"; did you mean "total"?',
        "{ totl = { sum = 1 } }" },
      { "a state that is not there", '"total" has no state "summ"; did you mean "sum"?',
        "{ total = { summ = 1 } }" },
      { "a value that is none", 'state "sum" is an int: it cannot hold 1.5',
        "{ total = { sum = 1.5 } }" },
      { "no table", "not a number", "1" },
      { "a loop without an end", "migrate does not return",
        "pcall(function() while true do end end)" },
      { "memory without end", "--script-memory",
        "(function() local s = 'x' while true do s = s .. s end end)()" },
      { "calls without a bottom", "stack overflow",
        "(function() local function f() return 1 + f() end return f() end)()" },
   }
   for _, case in ipairs(bad) do
      it("is left as it was after " .. case[1], function()
         open ':aggregate { tide.count() :as "n" }'
         job:feed(value("a", 1), value("b", 1), value("b", 1))
         job:epoch()
         local why = refused(case[2], ([[:aggregate({ tide.sum "value" :as "total" }, { version = 2,
            migrate = function(old)
               return old.n.n == 2 and %s or { total = { sum = 1, n = 1 } }
            end })]]):format(case[3]))
         assert.truthy(why:find('is not taken over and nothing was changed, as migrate fails ' ..
            'for the key key = "b"', 1, true), why)
         -- What ends for want of memory has no line.
         assert.truthy(why:find(":%d+: ") or why:find("--script-memory", 1, true), why)
         restart ':aggregate { tide.count() :as "n" }'
         job:feed(value("a", 1), value("b", 1))
         job:epoch()
         job:expect { { key = "a", n = 2 }, { key = "b", n = 3 } }
      end)
   end

   it("needs a function, and without a version the refusal says so", function()
      open ':aggregate { tide.count() :as "n" }'
      job:feed(value("a", 1))
      job:epoch()
      refused("version = 2, migrate = function(old) return { … } end",
              ':aggregate { tide.sum "value" :as "total" }')
      refused("version 3 has no function that takes it over",
              ':aggregate({ tide.sum "value" :as "total" }, { version = 3 })')
      refused('the key of state "values"', [[:aggregate({ tide.count() :as "n" }, { version = 2,
         migrate = function(old) return old end })]], ':group_by("value", { name = "values" })')
   end)

   it("wants a version with its function", function()
      for options, message in pairs {
         ["{ migrate = function(old) return old end }"] = "say which one this is",
         ["{ version = 0 }"] = "version must be a whole number from 1 on",
         ["{ version = 2, migrate = 1 }"] = "migrate must be a function",
         ["{ versoin = 2 }"] = 'did you mean "version"',
      } do
         local ok, why = pcall(open, ":aggregate({ tide.count() }, " .. options .. ")")
         assert.is_false(ok)
         assert.truthy(tostring(why):find(message, 1, true), why)
      end
   end)

   it("is over with its function", function()
      open ':aggregate { tide.count() :as "n" }'
      job:feed(value("a", 1), value("b", 1))
      job:epoch()
      refused("a state is only good", [[:aggregate({ tide.count() :as "n" }, {
         version = 2, migrate = (function()
            local kept
            return function(old)
               kept = kept or old.n
               return { n = kept }
            end
         end)() })]])
   end)
end)
