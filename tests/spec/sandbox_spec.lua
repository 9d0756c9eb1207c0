-- SPDX-License-Identifier: Apache-2.0
-- The closed environment: ways out of it that people have tried, one by one.
local helper = require "tests.spec.helper"

-- Each is an expression; the job fails if it gives what is behind "=" or, for
-- the others, unless it is an error.
local escapes = {
   "os.execute('true')", "os.getenv('HOME')", "os.exit()", "io.open('/etc/passwd')",
   "io.popen('id')", "io.lines('/etc/passwd')", "debug.getregistry()", "debug.getinfo(1)",
   "debug.sethook()", "ffi.C", "require 'ffi'", "require 'os'", "require 'io'", "require 'jit'",
   "require 'debug'", "require 'package'", "require 'cjson'", "require 'tidemark.native'",
   "require 'tidemark.sandbox'", "require '../secret'", "require '/etc/passwd'",
   "require 'a..b'", "require '.'", "require ''", "require(nil)", "require {}",
   "package.loaded", "package.loadlib('libc.so.6', 'system')", "load('return 1')",
   "load(function() return nil end)", "loadstring('return 1')", "loadfile('/etc/passwd')",
   "dofile('/etc/passwd')", "setfenv(1, {})", "getfenv(0)", "getfenv(print)", "newproxy(true)",
   "module('x')", "collectgarbage('stop')", "gcinfo()", "jit.off()", "string.dump(print)",
   "('').dump(print)", "getmetatable('').__index.rep", "getmetatable('').x",
   "setmetatable(tide, {})", "setmetatable(tide.from, {})", "rawset(tide, 'words', nil).words.x",
   "setmetatable(_G, {})", "math.random()", "math.randomseed(1)", "_G.os", "_G['io']",
   "string.rep('x', 1e9)", "('x'):rep(1e12)", "('x'):rep(1e5, ('y'):rep(1e4))",
   "unpack({}, 1, 1e7)", "table.unpack({}, 1, 1e8)", "unpack({}, -1e9, 1)",
   "tide.words(42)", "tide.words('a')(nil, 'b')", "tide.words('a')(1, 2)",
   "pcall(load, 'return 1') or error('no')", "coroutine.wrap(function() os.exit() end)()",
   "xpcall(os.exit, print)", "select('#', load)", "tide.set { {} }", "tide.nothing",
   "(function() undefined_variable() end)()", "io", "debug", "package", "os",
}

local harmless = {
   ["getmetatable('')"] = "nil", ["getmetatable(tide)"] = "false",
   ["getmetatable(tide.kafka { topic = 't' })"] = "false",
   ["getmetatable(tide.from(tide.kafka { topic = 't' }))"] = "false",
   ["rawget(_G, 'os')"] = "nil", ["rawget(_G, 'load')"] = "nil", ["rawget(string, 'dump')"] = "nil",
   ["getmetatable(print)"] = "nil", ["getmetatable(coroutine.create(print))"] = "nil",
   ["getmetatable(_G)"] = "false", ["type(coroutine.running)"] = "function",
   ["next(tide)"] = "nil", ["next(tide.set { 'a' })"] = "nil",
   ["next(tide.from(tide.kafka { topic = 't' }))"] = "nil",
   ["tostring(pcall(error, 1))"] = "false", ["_VERSION"] = "Lua 5.1",
   ["rawlen and 1"] = nil,
}

describe("a job", function()
   for _, escape in ipairs(escapes) do
      it("cannot do " .. escape, function()
         local message = helper.load(('local tide = require "tidemark"\nlocal _ = tide\n' ..
                                      "local x = %s\nlocal _ = x"):format(escape))
         assert.is_string(message)
         assert.falsy(message:find("the job returns nothing", 1, true), "it could")
      end)
   end

   for expression, expected in pairs(harmless) do
      it("gets nothing from " .. expression, function()
         local message = helper.load(('local tide = require "tidemark"\nlocal _ = tide\n' ..
                                      "error(tostring(%s), 0)"):format(expression))
         assert.truthy(message:find("job.lua:3: " .. expected, 1, true), message)
      end)
   end

   -- Compiled code would never look up.
   for _, loop in ipairs { "while true do end",
                           "while true do pcall(function() for _ = 1, 1000 do end end) end" } do
      it("does not hang whoever loads it with " .. loop, function()
         local message = helper.load('local tide = require "tidemark"\nlocal _ = tide\n' .. loop)
         assert.truthy(message:find("job.lua:3: the job file does not return", 1, true), message)
      end)
   end

   it("cannot change the libraries of the runtime", function()
      helper.load [[
string.format = function() return "changed" end
string.sub = nil
table.concat = nil
math.floor = nil
tostring, type, pairs, error, pcall = nil, nil, nil, nil, nil
_G.require = nil]]
      assert.are.equal("1", ("%d"):format(1))
      assert.are.equal("b", ("abc"):sub(2, 2))
      assert.is_nil(helper.load(helper.steps ""))
   end)

   it("cannot change what strings can do", function()
      local message = helper.load [[
local tide = require "tidemark"
string.upper = function() return "changed" end
error(("a"):upper(), 0)]]
      assert.truthy(message:find("job.lua:3: A", 1, true), message)
   end)

   it("leaves no variables to the next one", function()
      helper.load "leak = 1"
      local message = helper.load "return leak"
      assert.truthy(message:find('job.lua:1: no variable "leak"', 1, true), message)
   end)

   it("is told the name it may have meant", function()
      local message = helper.load "return tostrnig(1)"
      local hint = 'no variable "tostrnig"; did you mean "tostring"?'
      assert.truthy(message:find(hint, 1, true), message)
   end)

   it("shares its variables with its modules only", function()
      assert.is_nil(helper.load(helper.steps("", 'require "mine"\nassert(from_mine == 1)'),
                                { ["mine.lua"] = "from_mine = 1" }))
   end)

   it("cannot require in a circle", function()
      local message = helper.load('require "mine"', { ["mine.lua"] = 'require "mine"' })
      assert.truthy(message:find("this module requires itself", 1, true), message)
   end)

   it("prints to the log", function()
      assert.is_nil(helper.load(helper.steps("", 'print("a", nil, 1)')))
   end)

   it("may use what computes", function()
      assert.is_nil(helper.load(helper.steps("", [[
assert(math.floor(1.5) == 1 and math.pi > 3)
assert(table.concat({ 1, 2 }, ",") == "1,2" and select("#", unpack { 1, 2, 3 }) == 3)
assert(bit.band(6, 3) == 2 and tonumber("ff", 16) == 255 and tonumber("0x10") == 16)
assert(pcall(error) == false and select(2, pcall(error, "x", 0)) == "x")
local t = setmetatable({}, { __index = function() return 7 end })
assert(t.x == 7 and getmetatable(t).__index and rawget(t, "x") == nil and rawequal(t, t))
local co = coroutine.wrap(function() coroutine.yield(1) end)
assert(co() == 1 and #("x"):rep(10, ",") == 19 and ("%5.1f|%q"):format(1, "a") == '  1.0|"a"')
for k, v in pairs { a = 1 } do assert(k == "a" and v == 1) end
table.sort({ 3, 1 }) assert(string.char(65):byte() == 65 and next {} == nil)]])))
   end)
end)
