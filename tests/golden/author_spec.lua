-- SPDX-License-Identifier: Apache-2.0
-- The author's loop around a job: `tidemark new` and `tidemark test`, from the
-- checkout and as `make install` lays them out.
local h = require "harness"

local templates = { "wordcount", "window", "dedup", "session" }

local function names_in(folder)
   local list, pipe = {}, io.popen("ls -A " .. folder)
   for name in pipe:lines() do
      list[#list + 1] = name
   end
   pipe:close()
   return list
end

local failing = [[
describe("mine", function()
   it("holds", function() assert.is_true(true) end)
   it("does not hold", function() assert.equal(1, 2) end)
end)
]]

describe("tidemark new", function()
   before_each(h.begin)

   for _, template in ipairs(templates) do
      it("makes a job from " .. template .. " whose tests pass at once", function()
         local made = h.run { "new", "my-job", "--template", template }
         assert.truthy(made:out():find("cd my-job", 1, true))
         assert.are.same({ ".luarc.json", "README.md", "my-job.lua", "my-job_spec.lua",
                           "sample.jsonl" }, names_in(h.path "my-job"))
         local test = h.run({ "test" }, { cwd = h.path "my-job" })
         local passed = test:out():match "(%d+) success"
         assert.is_true(tonumber(passed) >= 2, test:out())
         assert.truthy(test:out():find(" 0 failures / 0 errors / 0 pending", 1, true), test:out())
         h.run { "check", "my-job/my-job.lua", "--strict" }
         local dev = h.run { "dev", "my-job/my-job.lua", "--input", "my-job/sample.jsonl",
                             "--once" }
         assert.truthy(dev:out():match "\n%d records in, %d+ rows? out", dev:out())
         for _, name in ipairs(names_in(h.path "my-job")) do
            local text = h.read_file(h.path("my-job/" .. name))
            assert.is_nil(text:match "%f[%w]NAME%f[%W]" or text:match "ABOUT" or
                          text:match "SPDX", name)
         end
      end)
   end

   it("takes the word count where nothing is said, and a path", function()
      h.make_dir(h.path "jobs")
      h.run { "new", "jobs/words/" }
      assert.truthy(h.read_file(h.path "jobs/words/words.lua"):find(':group_by("word")', 1, true))
      h.run { "test", "jobs/words" }
      h.run { "test", "jobs/words/words.lua" }
   end)

   it("tells editors where the library is", function()
      h.run { "new", "mine" }
      local luarc = h.read_file(h.path "mine/.luarc.json")
      local library = luarc:match '"workspace.library": %["([^"]*)"%]'
      local stubs = h.read_file(library .. "/tidemark/meta/tidemark.lua")
      assert.truthy(stubs:find("---@class", 1, true))
   end)

   it("overwrites nothing", function()
      h.make_dir(h.path "mine")
      local again = h.run({ "new", "mine" }, nil, 2)
      assert.truthy(again:err():find("mine is there already and stays as it is", 1, true))
      assert.are.same({}, names_in(h.path "mine"))
   end)

   it("says which names and templates there are", function()
      assert.truthy(h.run({ "new", "mine", "--template", "join" }, nil, 2):err()
         :find('there is no template "join"; there are wordcount, window, dedup, session', 1, true))
      assert.truthy(h.run({ "new", "my.job" }, nil, 2):err()
         :find('"my.job" is no name for a job: letters, digits, _ and -', 1, true))
      assert.truthy(h.run({ "new", "no/folder/here" }, nil, 1):err()
         :find("cannot make no/folder/here: No such file or directory", 1, true))
   end)
end)

describe("tidemark test", function()
   before_each(h.begin)

   it("ends with 4 when a test fails, and says which", function()
      h.write_file(h.path "mine_spec.lua", failing)
      local test = h.run({ "test" }, nil, 4)
      assert.truthy(test:out():find("mine does not hold\n", 1, true), test:out())
      assert.truthy(test:out():find("mine_spec.lua:3:", 1, true), test:out())
      assert.are.equal("", test:err())
      test = h.run { "test", "mine_spec.lua", "--filter", "mine holds" }
      assert.truthy(test:out():find("1 success / 0 failures", 1, true), test:out())
   end)

   it("ends with 4 when a spec does not load", function()
      h.write_file(h.path "mine_spec.lua", "describe(")
      local test = h.run({ "test" }, nil, 4)
      assert.truthy(test:out():find("mine_spec.lua:1:", 1, true), test:out())
   end)

   it("finds a job beside the spec, and says where it looked", function()
      h.make_dir(h.path "jobs")
      h.write_file(h.path "jobs/mine_spec.lua", [[
         local testing = require "tidemark.testing"
         it("opens", function() testing.open("mine.lua"):close() end)
      ]])
      local test = h.run({ "test", "jobs" }, nil, 4)
      assert.truthy(test:out():find("there is no job mine.lua, nor jobs/mine.lua", 1, true),
                    test:out())
      h.write_file(h.path "jobs/mine.lua", 'local tide = require "tidemark"\n' ..
         'return tide.from(tide.kafka { topic = "t" }):to(tide.console {})\n')
      h.run { "test", "jobs" }
   end)

   it("says what it lacks", function()
      local function says(text, args, options)
         assert.truthy(h.run(args, options, 2):err():find(text, 1, true), text)
      end
      says(". has no specs: files whose names end in _spec.lua", { "test" })
      says("there is no such_spec.lua", { "test", "such_spec.lua" })
      h.write_file(h.path "mine.lua", "")
      says("there is no spec for mine.lua: no mine_spec.lua beside it", { "test", "mine.lua" })
      says("on Debian, `apt-get install lua-busted`", { "test" },
           { env = { LUA_PATH = "/nowhere/?.lua" } })
   end)

   it("works where it was installed", function()
      local make = h.spawn({ "make", "--no-print-directory", "-s", "-C", h.root, "install",
                             "PREFIX=" .. h.path "usr" },
                           { env = { MAKEFLAGS = false, MAKELEVEL = false, MFLAGS = false } })
      h.expect_exit(make, 0, 600)
      local program = h.path "usr/bin/tidemark"
      h.expect_exit(h.spawn { program, "new", "mine", "--template", "window" }, 0)
      local test = h.expect_exit(h.spawn { program, "test", "mine" }, 0)
      assert.truthy(test:out():find("2 successes / 0 failures", 1, true), test:out())
   end)
end)
