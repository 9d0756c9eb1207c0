-- SPDX-License-Identifier: Apache-2.0
-- Ways out of the closed environment, tried while a job loads and while a record
-- runs: each ends as an error of the job's, and what comes after it is as it was.
-- (sandbox_spec.lua has what the environment is, and more of these.)
local helper = require "tests.spec.helper"

-- Statements that must be errors, whether the job loads or a record runs.
local refused = {
   -- the machine
   "os.remove('/tmp/x')", "os.rename('a', 'b')", "os.tmpname()", "os.clock()", "os.date()",
   "os.time()", "os.setlocale('C')", "os.difftime(1, 0)", "io.read()", "io.write('x')",
   "io.stdout:write('x')", "io.stderr:write('x')", "io.tmpfile()", "io.output('x')",
   "io.open('/proc/self/mem', 'r+')", "local o = _G['o' .. 's'] o.exit(0)",
   "_G._G._G.io.open('x')", "for k, v in pairs(_G) do if v == 1 then return end end _G.os.exit()",
   -- the runtime
   "debug.getupvalue(print, 1)", "debug.setupvalue(print, 1, 1)", "debug.getlocal(1, 1)",
   "debug.setlocal(1, 1, 1)", "debug.sethook(function() end, 'l')", "debug.traceback()",
   "debug.getmetatable('').__index = nil", "debug.setmetatable('', {})",
   "debug.setmetatable(nil, { __index = _G })", "debug.getfenv(print)", "debug.upvalueid(print, 1)",
   "debug.upvaluejoin(print, 1, print, 1)", "jit.on()", "jit.flush()", "jit.opt.start(3)",
   "jit.attach(print, 'bc')", "jit.util.funck(print, 1)", "require 'jit.util'",
   "require 'jit.profile'", "require 'jit.opt'", "require 'string.buffer'", "require 'table.new'",
   "require 'table.clear'", "require 'bit'", "require 'string'", "require '_G'",
   "ffi.cdef 'int system(const char *);'", "ffi.load 'c'", "ffi.cast('char *', 0)", "ffi.new 'int'",
   "require 'tidemark.ctx'", "require 'tidemark.driver'", "require 'tidemark.boot'",
   "require 'tidemark.errors'", "require 'tidemark.init'", "require 'tidemark/native'",
   "package.loaded.os.exit()", "package.preload.x = 1", "package.path = '/tmp/?.lua'",
   "package.cpath = '/tmp/?.so'", "package.searchers = {}", "package.loaders[1] = nil",
   "module('os', package.seeall)",
   -- code
   "load('return os')()", "load(('x'):rep(3))", "loadstring '\\27LJ'", "loadstring(('').dump)",
   "string.dump(function() end)", "('x').dump(print)", "load(string.dump(print), 'x', 'b')",
   "dofile()", "loadfile()", "setfenv(function() end, {})", "getfenv(2).os = 1",
   "setfenv(0, {})", "getfenv(function() end)",
   -- what is shared
   "getmetatable(('')).__index = function() end", "('').x.y = 1",
   "setmetatable('', {})", "setmetatable(print, {})", "setmetatable(1, {})",
   "setmetatable(tide.kafka { topic = 't' }, {})", "setmetatable(tide.set { 'a' }, {})",
   "setmetatable(tide.from(tide.kafka { topic = 't' }), { __index = {} })",
   "tide.words = 1",
   "tide.from(tide.kafka { topic = 't' }).from = 1", "tide.set({ 'a' }).x = 1",
   "getmetatable(tide).__index = 1", "getmetatable(_G).__index = nil",
   "newproxy()", "newproxy(newproxy(true))", "collectgarbage()", "collectgarbage('count')",
   "collectgarbage('setpause', 1)",
   -- too much at once
   "unpack({}, 1, 4097)", "unpack({}, 1, math.huge)", "unpack({}, -math.huge, 1)",
   "unpack({}, 1, '1e8')", "select('#', unpack({}, 1, 2^31))", "table.unpack({}, 0, 1e9)",
   "string.rep('x', 2^31)", "string.rep('x', 2^53)", "string.rep(('x'):rep(1e6), 1e6)",
   "('x'):rep(math.huge)", "('%s'):rep(1e9)", "string.rep('', 1e9, 'yyyyyyyyyyyyyyyyy')",
   "string.format('%1000d', 1)", "string.format('%.1000f', 1)", "string.char(unpack({}, 1, 1e5))",
   "local function f() return f() + 1 end f()",
   "local function f(...) return f(1, ...) + 1 end f()",
   "local function f(s) return (s:gsub('.', f)) end f 'x'",
   "local function f() return (('x'):gsub('x', setmetatable({}, { __index = f }))) end f()",
   "local function f() coroutine.wrap(f)() end f()",
   "local function f() table.sort({ 3, 1, 2 }, f) return true end f()",
   "local m = {} m.__index = function(t, k) return t[k .. 'x'] end local x = setmetatable({}, m).a",
   "local m = {} m.__concat = function(a, b) return a .. b end local x = setmetatable({}, m) .. ''",
   "local m = {} m.__call = m setmetatable(m, m) m()",
   "local a, b = {}, {} setmetatable(a, { __index = b }) setmetatable(b, { __index = a }) a = a.x",
   "string.find('x', ('('):rep(50000))", "string.find(('a'):rep(3e5), ('a?'):rep(3e5))",
   "local a = {} a[1] = a tide.json(a)",
   -- coroutines
   "coroutine.wrap(function() return os end)()", "coroutine.wrap(function() debug.sethook() end)()",
   "coroutine.wrap(load)('return 1')", "coroutine.wrap(require)('ffi')",
   "assert(coroutine.resume(coroutine.create(function() getfenv(0) end)))",
   "coroutine.resume(1)", "coroutine.wrap(1)", "coroutine.yield()",
   "coroutine.wrap(function() ('x'):gsub('x', coroutine.yield) end)()",
   -- errors that are more than text
   "error({ tidemark = true })", "error({ tidemark = true, message = {}, path = 1, line = 'x' })",
   "error(setmetatable({}, { __index = function() return 1 end }))",
   "error(setmetatable({}, { __index = function() error 'x' end }))",
   "error(setmetatable({}, { __tostring = function() return {} end }))",
   "error(setmetatable({}, { __tostring = function() error({}) end }))",
   "error(setmetatable({}, { __metatable = 'x', __tostring = 1 }))", "error()", "error(nil)",
   "error(print)", "error(function() end)", "error(coroutine.create(print))", "error(true)",
   "error(('x'):rep(1e7))", "error('\\0\\27[2J\\r\\n')",
   "local _, e = pcall(tide.from) if type(e) == 'table' then e.message = nil end error(e)",
   "xpcall(error, function(e) error(e) end) error 'x'",
   "local _, e = xpcall(function() local x = nil + 1 end, function() return os end) error(e)",
}

-- Only while a record runs: what a function is given.
local refused_of_record = {
   "rec.key.addr_ = 0", "rec.value.len_ = 1e9", "rec.value.gen_ = 0", "rec.row_ = 7",
   "rec.set_ = 9", "rec.value[0] = 1", "local _ = rec.value + 8", "local _ = rec.value[1e9]",
   "local _ = rec.value[-1]", "local _ = rec[0]", "rec.value = 'x'", "rec.nothing = 1",
   "local _ = rec.nothing", "local _ = rec.value.nothing", "local _ = rec.value * 2",
   "for w in rec.value:words() do w.len_ = 1e9 end",
   "for w in rec.value:words() do w.next_ = -8 end",
   "for w in rec.value:words() do local _ = w + 1 end",
   "for w in rec.value:words() do local _ = w[1] end",
   "local f, s, w = rec.value:words() f(s, rec)", "local f = rec.value:words() f(nil, 42)",
   "getmetatable(rec).__index = 1", "setmetatable(rec, {})", "setmetatable(rec.value, {})",
   "rawset(rec, 'x', 1)", "rawget(rec.value, 'addr_')", "next(rec)", "pairs(rec)",
   "ipairs(rec.value)",
   "rec.value(1)", "rec()", "rec.headers(nil)", "rec.headers({})", "rec.decode(1)",
   "rec.value.words(nil)", "rec.value.lower({})", "rec.value:split ''", "rec.value:find()",
   "rec.value.split(1, 'x')", "tonumber(rec.value)()", "('x').rep(rec, 1e9)",
   "table.concat({ rec })",
}

-- Values that give nothing away.
local nothing = {
   ["getmetatable(rec)"] = "nil", ["getmetatable(rec.value)"] = "nil", ["type(rec)"] = "record",
   ["type(rec.value)"] = "view", ["type(rec.value.words)"] = "function",
   ["rawequal(rec, rec)"] = "true", ["getmetatable(print)"] = "nil",
   ["type(getmetatable(setmetatable({}, {})))"] = "table", ["rawget(_G, 'tide')"] = "nil",
   ["rawget(_G, 'debug')"] = "nil", ["tostring(rawget(string, 'dump'))"] = "nil",
   ["#tostring(rec.value)"] = "3", ["tide.setting('HOME')"] = "nil",
   ["tide.setting('PATH')"] = "nil", ["select('#', pcall(error))"] = "2",
   ["tostring(pcall(function() return io end))"] = "false",
   ["tostring(xpcall(function() return debug end, function() return 1 end))"] = "false",
}

local function job_of(statement)
   return helper.steps((':map(function(rec)\nlocal v = tostring(rec.value)\nif v == "bad" then\n' ..
                        '%s\nend\nreturn v end, { "v:string" })'):format(statement))
end

describe("closed environment:", function()
   it("at least 120 ways out are tried", function()
      assert.is_true(#refused + #refused_of_record >= 120)
   end)

   for _, statement in ipairs(refused) do
      it("while it loads, a job cannot " .. statement, function()
         local message = helper.load(
            ('local tide = require "tidemark"\nlocal _ = tide\n%s\nreturn "it could"')
               :format(statement))
         assert.is_string(message)
         assert.falsy(message:find("job.lua:4", 1, true), message)
         assert.falsy(message:find("it could", 1, true), message)
         assert.is_true(#message < 6000)
         assert.is_nil(helper.load(helper.steps ""))
      end)
   end

   local in_record = {}
   for _, list in ipairs { refused, refused_of_record } do
      for _, statement in ipairs(list) do
         in_record[#in_record + 1] = statement
      end
   end

   for _, statement in ipairs(in_record) do
      it("while a record runs, it alone fails at " .. statement, function()
         local job = helper.run(job_of(statement))
         local failed = job:batch { { value = "a" }, { value = "bad" }, { value = "c" },
                                    { value = "bad" }, { value = "e" } }
         local rows, bad = job:output(), job.bad
         job:close()
         assert.is_nil(failed)
         assert.are.same({ { "a" }, { "c" }, { "e" } }, rows)
         assert.are.equal(2, #bad)
         for i, row in ipairs(bad) do
            assert.are.equal(2 * i - 1, row.row)
            assert.is_string(row.reason)
            assert.is_true(#row.reason > 0 and #row.message < 6000)
         end
      end)
   end

   for expression, expected in pairs(nothing) do
      it("a record gets " .. expected .. " from " .. expression, function()
         local job = helper.run(helper.steps(
            (':map(function(rec) return tostring(%s) end, { "v:string" })'):format(expression)))
         job:batch { { value = "a b" } }
         local rows, bad = job:output(), job.bad
         job:close()
         assert.are.same({}, bad)
         assert.are.same({ { expected } }, rows)
      end)
   end

   it("what one job did to its libraries is not there for the next", function()
      local spoil = [[
string.format, string.sub, string.upper = nil, nil, nil
table.concat, table.insert = nil, nil
math.floor, math.huge = nil, nil
coroutine.wrap, bit.band = nil, nil
pcall, error, tostring, pairs, next, select, type = nil, nil, nil, nil, nil, nil, nil
leak = "leaked"
_G.another = 1]]
      helper.load(spoil)
      local job = helper.run(helper.steps [[:map(function(rec)
         assert(rawget(_G, "leak") == nil and rawget(_G, "another") == nil)
         assert(coroutine.wrap(function() return 1 end)() == 1 and bit.band(3, 1) == 1)
         return ("%s"):format(table.concat({ tostring(rec.value):upper(), math.floor(1.5) }, ","))
      end, { "v:string" })]])
      job:batch { { value = "a" } }
      local rows = job:output()
      job:close()
      assert.are.same({ { "A,1" } }, rows)
   end)

   it("a metatable that a job gives its own tables stays there", function()
      local job = helper.run(helper.steps [[:map(function(rec)
         local t = setmetatable({}, { __index = function() return "mine" end, __gc = error,
                                      __metatable = false, __mode = "kv" })
         return t.x .. tostring(rec.value)
      end, { "v:string" })]])
      job:batch { { value = "a" } }
      local rows = job:output()
      job:close()
      assert.are.same({ { "minea" } }, rows)
   end)

   it("functions in one another are fine up to a hundred deep", function()
      assert.is_nil(helper.load(helper.steps("", [[
local function down(n)
   if n == 0 then return "end" end
   return (("x"):gsub("x", function() return down(n - 1) end))
end
assert(down(90) == "end")
local function walk(n)
   return coroutine.wrap(function() if n > 0 then return walk(n - 1)() end return "end" end)
end
assert(walk(90)() == "end")
local w = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) error("boom " .. b, 0) end)
assert(w(1) == 2)
local ok, e = pcall(w, "x")
assert(not ok and e == "boom x")
assert(select("#", coroutine.resume(coroutine.create(function() return nil, nil end))) == 3)
for _ = 1, 200 do pcall(string.gsub, "x", "x", error) end
for _ = 1, 200 do coroutine.resume(coroutine.create(error)) end
assert(down(90) == "end")
local s, n = ("abc"):gsub("%w", { a = 1, b = true and "B" })
assert(s == "1Bc" and n == 3 and ("abc"):gsub("b", "%0%0") == "abbc")
assert(("aaa"):gsub("a", string.upper, 2) == "AAa")]])))
   end)
end)
