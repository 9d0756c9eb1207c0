-- SPDX-License-Identifier: Apache-2.0
-- What `check` warns about: views as keys, globals, state outside an aggregate;
-- and just as much what it says nothing about.
local helper = require "tests.spec.helper"
local bytecode = require "tidemark.bytecode"

-- A job whose flat_map runs `body`; lines of `before` count from 3 on.
local function job(body, before)
   return ([[
local tide = require "tidemark"
local words = tide.words
%s
local function tokens(rec, emit)
%s
end
return tide.from(tide.kafka { topic = "t" })
   :flat_map(tokens, { "word" }):to(tide.console {})]]):format(before or "", body)
end

-- The lines warned about, with the beginning of each warning.
local function warned(text, modules)
   local list = {}
   for i, warning in ipairs(helper.lint(text, modules)) do
      list[i] = warning:match "^[%w_]+%.lua:%d+: text of a batch is a key of ..." or
         warning:match '^[%w_]+%.lua:%d+: the global "[^"]*"' or
         warning:match '^[%w_]+%.lua:%d+: "[^"]*" is %a+' or warning
   end
   return list
end

local function key(line, name)
   return ("job.lua:%d: text of a batch is a key of %s"):format(line,
      (name and '"' .. name or "a table"):sub(1, 3))
end

describe("bytecode", function()
   it("has the names that LuaJIT gives to its instructions", function()
      local names = require("jit.vmdef").bcnames
      for i, name in ipairs(bytecode.names) do
         assert.are.equal(name, (names:sub(i * 6 - 5, i * 6):gsub(" ", "")))
      end
      assert.are.equal(#names, 6 * #bytecode.names)
      assert.is_true(bytecode.known())
   end)

   it("finds the line of each instruction, however long the function", function()
      for _, count in ipairs { 10, 300, 70000 } do
         local text = ("\n"):rep(count) .. "free = 1"
         local main = bytecode.read(assert(loadstring(text)))
         local found
         for pc, instruction in ipairs(main.code) do
            if instruction.op == "GSET" then
               found = main.lines[pc]
            end
         end
         assert.are.equal(count + 1, found)
      end
   end)

   it("reads constants of every kind", function()
      local main = bytecode.read(assert(loadstring [[
local t = { 1, 2.5, "x", nil, true, false, a = -1, [2.5] = "y", b = { c = 1e300 } }
local u, i = 5LL, 3i
local function f() return t, u, i, 12345678, -0.5, 18446744073709551615ULL end
free = f]]))
      local names = {}
      for _, object in pairs(main.objects) do
         names[object] = true
      end
      assert.is_true(names.free)
   end)
end)

describe("text of a batch as a key of a plain table", function()
   local function finds(name, body, lines, before)
      it(name, function()
         assert.are.same(lines, warned(job(body, before)))
      end)
   end

   finds("is a key of the record", "local seen = {} seen[rec.key] = true emit(seen)", { key(5) })
   finds("is a value that is only read with", "local seen = {} emit(seen[rec.value])", { key(5) })
   finds("is a word", [[
   local seen = {}
   for w in words(rec.value) do
      if not seen[w] then
         emit(w)
      end
      seen[w] = true
   end]], { key(7), key(10) })
   finds("is a word from the method of text",
      "local t = {} for w in rec.value:words() do t[w] = 1 end", { key(5) })
   finds("is a piece of split text",
      "local t = {} for w in rec.value:split(',') do t[w] = 1 end", { key(5) })
   finds("is a name or a value of a header", [[
   local t = {}
   for name, value in rec:headers() do
      t[name] = 1
      t[value] = 1
   end
   t[rec:header("h")] = 1]], { key(7), key(8), key(10) })
   finds("is text made of a view",
      "local t, k = {}, rec.key t[k:lower()], t[k:upper()] = 1, 2\nt[k:sub(2):trim()] = 3",
      { key(5), key(6) })
   finds("went through a local and a default", [[
   local k = rec.key or "none"
   local t = {}
   local again = k
   t[again] = 1]], { key(8) })
   finds("is in a constructor", "emit({ [rec.key] = 1 })", { key(5) })
   finds("is a word that was in a list", [[
   local list, count = {}, {}
   for w in words(rec.key) do list[#list + 1] = w end
   for _, w in ipairs(list) do count[w] = 1 end
   for i = 1, #list do count[list[i] ] = 1 end]], { key(7), key(8) })
   finds("is a word that table.insert put into a list", [[
   local list, count = {}, {}
   for w in words(rec.key) do table.insert(list, w) end
   count[table.remove(list)] = 1]], { key(7) })
   finds("meets a table of the job file", "emit(stop[rec.key])", { key(5, "stop") },
         "local stop = { the = true }")
   finds("meets a table in a table", "emit(lists.stop[rec.key])", { key(5, "lists.stop") },
         "local lists = { stop = { the = true } }")
   finds("meets a table of a table of tables", "emit(lists[tostring(rec.value)][rec.key])",
         { key(5, "lists[…]") }, "local lists = { stop = { the = true } }")
   finds("meets rawget and rawset", "local t = {} rawset(t, rec.key, 1)\nemit(rawget(t, rec.key))",
         { key(5), key(6) })
   finds("meets a decoded document", "emit(rec:decode()[rec.key], rec:decode().a[rec.key])",
         { key(5) })
   finds("goes to a function of the job", "emit(find(stop, rec.key))", { key(3, "stop") },
         "local stop = {} local function find(t, k) return t[k] end")
   finds("comes back from a function of the job", "local t = {} t[name(rec)] = 1", { key(5) },
         "local function name(r) return 1, r.key end local function second(_, x) return x end " ..
         "local plain = name name = function(r) return second(plain(r)) end")
   finds("is in a function inside the function",
         "local t, k = {}, rec.key\nlocal function f() t[k] = 1 end\nf()", { key(6) })
   finds("is in a function that is handed on",
         "local t = {}\npcall(function() t[rec.key] = 1 end)", { key(6) })
   finds("comes through pcall, assert, select and unpack", [[
   local t = {}
   local _, k = pcall(function() return rec.key end)
   t[k] = 1
   t[assert(rec.key)] = 1
   t[select(2, 1, rec.key)] = 1
   t[unpack { rec.key }] = 1]], { key(7), key(8), key(9), key(10) })
   finds("comes through varargs and tail calls", "local t = {} t[first(rec.key, 2)] = 1",
         { key(5) },
         "local function id(...) return ... end local function first(...) return (id(...)) end")
   finds("comes from an iterator of the job", "local t = {} for w in one(rec) do t[w] = 1 end",
         { key(5) }, "local function one(r) return function(_, last) " ..
         "return not last and r.key end end")
   finds("is on one way of a branch only", [[
   local t, k = {}, "none"
   if rec.partition > 3 then k = rec.key end
   t[k] = 1]], { key(7) })
   finds("is not a string after all", [[
   local t, k = {}, rec.key
   if type(k) == "view" then t[k] = 1 end
   if type(k) ~= "string" then t[k] = 1 end]], { key(6), key(7) })

   it("is in filter, map and with, of a record and of the record of a row", function()
      assert.are.same({ key(4, "stop"), key(5, "stop"), key(7, "stop"), key(8, "stop") },
         warned [[
local tide = require "tidemark"
local stop = {}
local source = tide.from(tide.kafka { topic = "t" })
   :filter(function(rec) return stop[rec.key] end)
   :with("a:int", function(rec) return stop[rec.value] end)
   :with("b:int", function(row)
      return stop[row.rec.key] end)
   :map(function(row) return stop[row.rec.value] end, { "c" })
return source:to(tide.console {})]])
   end)

   it("is in a module beside the job", function()
      assert.are.same({ 'mine.lua:2: text of a batch is a key of "st' },
         warned(job("emit(mine.find(rec.key))", 'local mine = require "mine"'), {
            ["mine.lua"] = "local stop, M = {}, {}\n" ..
                           "function M.find(k) return stop[k] end return M" }))
   end)
end)

describe("nothing is said of", function()
   local function fine(name, body, before)
      it(name, function()
         assert.are.same({}, helper.lint(job(body, before)))
      end)
   end

   fine("text that was made a string", [[
   local t = {}
   t[tostring(rec.key)] = 1
   t[rec.key .. ""] = 1
   t[string.lower(rec.key)] = 1
   t[("%s"):format(rec.key)] = 1
   t[#rec.key] = 1
   t[rec.key:byte()] = 1
   for w in words(rec.value) do w = tostring(w) t[w] = (t[w] or 0) + 1 end]])
   fine("tide.set and tide.map",
        "emit(stop[rec.key]) emit(map[rec.key:lower()]) emit(stop(rec.key))",
        'local stop, map = tide.set { "the" }, tide.map { a = "b" }')
   fine("a tide.set behind a name of a table", "emit(lists.stop[rec.key])",
        'local lists = { stop = tide.set { "the" } }')
   fine("tables that look after their keys",
        "emit(by[rec.key]) local t = setmetatable({}, {}) t[rec.key] = 1",
        "local by = setmetatable({}, { __index = function(_, k) return tostring(k) end })")
   fine("numbers and columns of a row", "local t = {} t[rec.offset] = 1 t[rec.topic] = 2")
   fine("what type() excluded", [[
   local t, k = {}, rec.key
   if type(k) == "view" then k = tostring(k) end
   t[k] = 1
   local v = rec.value
   if type(v) ~= "view" then t[v] = 1 end
   if type(v) == "string" then t[v] = 1 end]])
   fine("variables of the function itself, in functions inside it", [[
   local count, last = 0, nil
   local function bump(w) count = count + 1 last = w end
   for w in words(rec.value) do bump(w) end
   emit(tostring(count) .. tostring(last))]])
   fine("what is done while the job loads", "emit(stop[tostring(rec.key)])", [[
local stop, lines = {}, 0 for w in ("a b"):gmatch("%w+") do stop[w] = true lines = lines + 1 end]])
   fine("functions that no row function calls", "emit(1)",
        "local count = 0 local function unused() count = count + 1 end local _ = unused")
   fine("tables that a function makes and gives back", "local t = make(rec) t.x = 1 emit(t.x)",
        "local function make(r) return { r.partition } end")
   fine("functions that call themselves",
        "emit(depth({}, 3)) local f function f(n) return f(n) end f(1)",
        "local function depth(t, n) return n > 0 and depth({ t }, n - 1) or t end")

   it("lines that say it is meant", function()
      assert.are.same({}, helper.lint(job([[
   local k = tostring(rec.key)
   if not cache[k] then
      cache[k] = k:upper()   -- the same whoever asks; tidemark: ok
   end
   emit(cache[k])]], "local cache = {}")))
   end)

   it("columns of rows and states of aggregates", function()
      assert.are.same({}, helper.lint [[
local tide = require "tidemark"
local by = {}
local mean = tide.aggregator {
   state = { sum = "double", n = "int" },
   add = function(s, v) s.sum = s.sum + v s.n = s.n + 1 end,
   merge = function(s, o) s.sum = s.sum + o.sum s.n = s.n + o.n end,
   result = function(s) return s.sum / s.n end,
}
return tide.from(tide.kafka { topic = "t" })
   :json { "user:string", "value:double" }
   :filter(function(row) return by[row.user] == nil end)
   :group_by("user"):aggregate { mean "value" }
   :to(tide.console {})]])
   end)

   it("the jobs that come with it", function()
      for _, path in ipairs { "jobs/wordcount.lua", "examples/orders/job.lua" } do
         local file = assert(io.open(helper.root .. "/" .. path))
         assert.are.same({}, helper.lint(file:read "*a"))
         file:close()
      end
   end)
end)

describe("state outside an aggregate", function()
   it("is a variable that a row function assigns", function()
      assert.are.same({ 'job.lua:6: "total" is assigned', 'job.lua:7: "last" is assigned' },
         warned(job("total = total + 1\n   last = rec.key emit(1)",
                    "local total, last = 0, nil\n")))
   end)

   it("is assigned by a function inside it, one it calls, or one it hands on", function()
      assert.are.same({ 'job.lua:3: "total" is assigned', 'job.lua:5: "other" is assigned',
                        'job.lua:6: "third" is assigned' },
         warned(job("local function f() bump() other = 1 end f()\n" ..
                    'string.gsub("a", "a", function() third = 1 end)',
                    "local total, other, third = 0 local function bump() total = total + 1 end")))
   end)

   it("is a table outside that it changes", function()
      assert.are.same({ 'job.lua:5: "seen" is changed', 'job.lua:6: "lists.a" is changed',
                        'job.lua:7: "lists" is changed', 'job.lua:8: "seen" is changed',
                        'job.lua:9: "seen" is changed' },
         warned(job("seen[tostring(rec.key)] = 1\nlists.a[1] = 2\nlists.b = rec.partition\n" ..
                    "table.insert(seen, 1)\nrawset(seen, 1, 2)",
                    "local seen, lists = {}, { a = {} }")))
   end)

   it("is in a job's own aggregate", function()
      assert.are.same({ 'job.lua:5: "added" is assigned', 'job.lua:6: "merged" is changed' },
         warned [[
local tide = require "tidemark"
local added, merged = 0, {}
local odd = tide.aggregator {
   state = { n = "int" },
   add = function(s) added = added + 1 s.n = added end,
   merge = function(s, o) merged[1] = o.n s.n = s.n + o.n end,
   result = function(s) return s.n end,
}
return tide.from(tide.kafka { topic = "t" })
   :group_by("topic"):aggregate { odd() :as "n" }:to(tide.console {})]])
   end)

   it("is in a condition", function()
      assert.are.same({ 'job.lua:5: "calls" is assigned' }, warned [[
local tide = require "tidemark"
local calls = 0
return tide.from(tide.kafka { topic = "t" })
   :group_by("topic"):aggregate { tide.count_if("offset", function(n)
      calls = calls + 1
      return n > 2
   end) }:to(tide.console {})]])
   end)

   it("is a global, wherever it is assigned", function()
      assert.are.same({ 'job.lua:3: the global "seen"', 'job.lua:3: the global "unused"',
                        'job.lua:5: the global "seen"' },
         warned(job("seen = rec.partition",
                    "seen = 0 local function f() unused = 1 end local _ = f")))
      assert.are.same({ 'job.lua:5: the global "_G"' }, warned(job "_G.seen = 1"))
   end)

   it("is a global of a module", function()
      assert.are.same({ 'mine.lua:1: the global "from_mine"' },
         warned(job("emit(from_mine)", 'require "mine"'), { ["mine.lua"] = "from_mine = 1" }))
   end)

   it("is told with what to do instead", function()
      local text = helper.lint(job("total = 1", "local total"))[1]
      for _, part in ipairs { "restart", "each worker", ":group_by", ":aggregate" } do
         assert.truthy(text:find(part, 1, true), text)
      end
      text = helper.lint(job "local t = {} t[rec.key] = 1")[1]
      for _, part in ipairs { "tostring()", "tide.set", "tide.map" } do
         assert.truthy(text:find(part, 1, true), text)
      end
      assert.truthy(helper.lint(job("emit(1)", "x = 1"))[1]:find("write local", 1, true))
   end)
end)
