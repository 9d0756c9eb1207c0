-- SPDX-License-Identifier: Apache-2.0
-- The man page and the completion against the program's own --help: a command or
-- flag that is new must be in them too.
local h = require "harness"

local function text_of(path)
   local file = assert(io.open(path))
   local text = file:read "*a"
   file:close()
   return text
end

local function squeezed(text)
   return (text:gsub("…", "..."):gsub("%s+", " "))
end

-- The man page without its macros.
local function man_text()
   local page = "\n" .. text_of "src/run/tidemark.1"
   page = page:gsub('\n%.B?I?S?[SH]? "?([^"\n]*)"?([^\n]*)', function(first, rest)
      return "\n" .. first .. rest:gsub('"', "")
   end)
   return squeezed(page:gsub("\\([-&])", { ["-"] = "-", ["&"] = "" }):gsub("\n%.%u+", "\n"))
end

local function help(...)
   local args = { ... }
   args[#args + 1] = "--help"
   return h.run(args):out()
end

-- What stands left and right in the list of commands.
local function commands()
   local list = {}
   for left, right in help():gmatch "\n  (%l[^\n]-)  +(%S[^\n]*)" do
      local name = left:match "^%l+ %l+" or left:match "^%l+"
      list[#list + 1] = { name = name, left = left, help = right }
   end
   return list
end

-- Flags of a command, each with its sentence: what stands left, and on the right
-- or below it up to the variable.
local function flags_of(command)
   local list, last = {}, nil
   for line in help(unpack(command)):gmatch "[^\n]+" do
      local left, right = line:match "^ +(%-[^\n]-)  +(%S.*)$"
      left = left or line:match "^ +(%-.*)$"
      if left then
         last = { left = left, help = right or "" }
         list[#list + 1] = last
      elseif last and line:match "^ +TIDEMARK_" then
         last = nil
      elseif last then
         last.help = squeezed(last.help .. " " .. line):gsub("^ ", "")
      end
   end
   return list
end

local function words_of(name)
   local words = {}
   for word in name:gmatch "%S+" do
      words[#words + 1] = word
   end
   return words
end

describe("the man page", function()
   local page

   before_each(function()
      h.begin()
      page = man_text()
   end)

   it("has every command with what it does", function()
      local list = commands()
      assert.is_true(#list >= 15)
      for _, command in ipairs(list) do
         local sentence = command.help:sub(1, 1):upper() .. command.help:sub(2) .. "."
         local wanted = squeezed(command.left .. " " .. sentence)
         assert.truthy(page:find(wanted, 1, true), "it lacks: " .. wanted)
      end
   end)

   it("has every flag with its sentence", function()
      local count = 0
      for _, command in ipairs(commands()) do
         for _, flag in ipairs(flags_of(words_of(command.name))) do
            local wanted = squeezed(flag.left .. " " .. flag.help)
            assert.truthy(page:find(wanted, 1, true),
                          ("of %s it lacks: %s"):format(command.name, wanted))
            count = count + 1
         end
      end
      assert.is_true(count > 100)
   end)
end)

describe("the completion", function()
   before_each(h.begin)

   -- What it offers behind these words; the last one is being typed.
   local function offers(...)
      local words = { "tidemark", ... }
      local script = { ('cd %q && . "$1/src/run/tidemark.bash"'):format(h.dir), "COMP_WORDS=(" }
      for i, word in ipairs(words) do
         script[2] = script[2] .. (" '%s'"):format(word)
         script[3] = "COMP_CWORD=" .. i - 1
      end
      script[2] = script[2] .. " )"
      script[4] = ("_tidemark '%s' '%s' '%s'"):format(h.program, words[#words],
                                                      words[#words - 1])
      script[5] = 'printf "%s\\n" "${COMPREPLY[@]}"'
      local job = h.spawn { "/bin/bash", "-c", table.concat(script, "\n"), "bash", h.root }
      h.expect_exit(job, 0)
      local offered = {}
      for line in job:out():gmatch "[^\n]+" do
         offered[line] = true
      end
      assert.are.equal("", job:err())
      return offered
   end

   it("offers every command", function()
      local first = offers ""
      for _, command in ipairs(commands()) do
         local words = words_of(command.name)
         assert.is_true(first[words[1]], words[1])
         if words[2] then
            assert.is_true(offers(words[1], "")[words[2]], command.name)
         end
      end
      assert.are.same({ check = true, checkpoint = true }, offers "che")
      assert.are.same({ reset = true }, offers("offsets", "re"))
   end)

   it("offers every flag", function()
      for _, command in ipairs(commands()) do
         local words = words_of(command.name)
         words[#words + 1] = "-"
         local offered = offers(unpack(words))
         for _, flag in ipairs(flags_of(words_of(command.name))) do
            for name in flag.left:gmatch "%f[%S]%-[^%s,]+" do
               local plain = name:gsub("%[no%-%]", "")
               assert.is_true(offered[plain], command.name .. " " .. plain)
               if plain ~= name then
                  assert.is_true(offered["--no-" .. plain:sub(3)], command.name .. " " .. name)
               end
            end
         end
      end
   end)

   it("offers values, jobs and folders where they belong", function()
      h.write_file(h.path "mine.lua", "")
      h.write_file(h.path "notes.txt", "")
      h.make_dir(h.path "folder")
      assert.are.same({ ["mine.lua"] = true, ["folder/"] = true, wordcount = true, dedup = true },
                      offers("run", ""))
      assert.are.same({ folder = true }, offers("run", "mine.lua", "--checkpoint-dir", ""))
      assert.are.same({ always = true, auto = true }, offers("run", "--color", "a"))
      assert.are.same({ always = true }, offers("run", "--color", "=", "al"))
      assert.are.same({ clear = true, keep = true }, offers("offsets", "reset", "--state", ""))
      h.write_file(h.path "mine_spec.lua", "")
      assert.are.same({ ["mine_spec.lua"] = true, ["folder/"] = true }, offers("test", ""))
      assert.are.same({}, offers("run", "--brokers", ""))
      assert.are.same({}, offers("produce", ""))
   end)
end)
