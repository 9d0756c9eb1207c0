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
-- without and with --strict. The jobs of the manuals are checked too: what they
-- show must load, without warnings unless they show those.
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

local documents = { "README.md", "lua/README.md", "jobs/README.md", "examples/README.md" }

-- Fenced blocks: language, text, and the line where each begins.
local function fenced_blocks(path)
   local list, number, open = {}, 0, nil
   for line in io.lines(path) do
      number = number + 1
      local language = line:match("^```(%w*)")
      if not open and language then
         open = { language = language, line = number }
      elseif language then
         open.text = table.concat(open, "\n") .. "\n"
         list[#list + 1] = open
         open = nil
      elseif open then
         open[#open + 1] = line
      end
   end
   return list
end

-- Jobs of a document, those made of steps alone made whole; `says` is what a
-- block right behind shows of `tidemark check job.lua`. Specs of jobs are run by
-- tests/spec/testing_spec.lua.
local function document_jobs(path)
   local list, blocks = {}, fenced_blocks(path)
   for i, block in ipairs(blocks) do
      local text, after = block.text, blocks[i + 1]
      if block.language == "lua" and not block.text:find("tidemark.testing", 1, true) then
         if text:match "^:" then
            text = 'local tide = require "tidemark"\n' ..
               'return tide.from(tide.kafka { topic = "t" })\n' .. text
            if not text:find(":to(", 1, true) then
               text = text .. ":to(tide.console {})\n"
            end
         end
         list[#list + 1] = { line = block.line, text = text,
                             says = after and after.text:match "^%$ tidemark check job.lua\n(.*)" }
      end
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

for _, path in ipairs(documents) do
   describe("a job of " .. path, function()
      before_each(h.begin)

      for _, job in ipairs(document_jobs(path)) do
         local how = job.says and " loads with what it shows" or " loads"
         it("at line " .. job.line .. how, function()
            h.write_file(h.path "job.lua", job.text)
            local check = h.run { "check", "job.lua", not job.says and "--strict" or nil }
            if job.says then
               assert.are.equal(job.says, check:out())
            end
         end)
      end
   end)
end
