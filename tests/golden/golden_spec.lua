-- SPDX-License-Identifier: Apache-2.0
-- Golden files: a job, the lines it reads, the lines it prints. Each runs on the
-- embedded broker, on a topic of its own, up to the end.
--
--   --- job       Lua; `tide` is there
--   --- flags     of `tidemark run`, one a line (optional)
--   --- input     lines of `tidemark produce`
--   --- output    byte for byte
--
-- Those in check/ hold what `tidemark check` says of a job, and its exit codes
-- without and with --strict. The jobs of the README are checked too: what it shows must load.
local h = require "harness"

local function blocks_of(path)
   local blocks, name = {}, nil
   for line in io.lines(path) do
      local heading = line:match("^%-%-%- (%a+)$")
      if heading then
         name = heading
         blocks[name] = {}
      elseif name then
         table.insert(blocks[name], line)
      end
   end
   for key, lines in pairs(blocks) do
      lines[#lines + 1] = ""
      blocks[key] = table.concat(lines, "\n")
   end
   return blocks
end

local function golden_files(folder)
   local list = {}
   local pipe = io.popen("ls " .. folder .. "/*.txt")
   for path in pipe:lines() do
      list[#list + 1] = path
   end
   pipe:close()
   return list
end

-- Jobs in fenced Lua blocks, with the line where each begins.
local function readme_jobs()
   local list, number, open = {}, 0, nil
   local file = io.open "README.md"
   for line in file and file:lines() or function() end do
      number = number + 1
      if open and line:match("^```") then
         local text = table.concat(open, "\n")
         if text:match("%f[%w]return%f[%W]") and text:match("tide%.from") then
            list[#list + 1] = { line = open.line, text = text }
         end
         open = nil
      elseif line:match("^```lua") then
         open = { line = number }
      elseif open then
         open[#open + 1] = line
      end
   end
   if file then
      file:close()
   end
   return list
end

describe("golden", function()
   local broker

   before_each(function()
      h.begin()
      broker = h.start { "broker", "--partitions", 1 }
      h.brokers = h.eventually("the broker's address", function()
         return (broker:out() .. broker:err()):match("127%.0%.0%.1:%d+")
      end, broker)
   end)

   for _, path in ipairs(golden_files "tests/golden") do
      it(path:match("([^/]*)%.txt$"), function()
         local blocks = blocks_of(path)
         local topic = h.topic_name "golden"
         h.job(blocks.job)
         h.run({ "produce", topic, "-b", h.brokers }, { stdin = blocks.input })
         local args = { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic,
                        "--from", "earliest", "--until-end", "--no-ui",
                        "--checkpoint-dir", h.path "cp" }
         for flag in (blocks.flags or ""):gmatch("%S+") do
            args[#args + 1] = flag
         end
         assert.are.equal(blocks.output, h.run(args):out())
      end)
   end
end)

describe("check", function()
   before_each(h.begin)

   for _, path in ipairs(golden_files "tests/golden/check") do
      it("says of " .. path:match("([^/]*)%.txt$"), function()
         local blocks = blocks_of(path)
         h.write_file(h.path "job.lua", blocks.job)
         local job = h.start { "check", "job.lua" }
         h.expect_exit(job, tonumber(blocks.exit))
         assert.are.equal(blocks.output, job:out())
         local strict = h.start { "check", "job.lua", "--strict" }
         h.expect_exit(strict, tonumber(blocks.strict))
         assert.are.equal(blocks.output, strict:out())
      end)
   end
end)

describe("the README's job", function()
   before_each(h.begin)

   for _, job in ipairs(readme_jobs()) do
      it("at line " .. job.line .. " loads", function()
         h.run { "check", h.write_file(h.path "readme.lua", job.text) }
      end)
   end
end)
