-- SPDX-License-Identifier: Apache-2.0
-- `tidemark dev` as its author sees it: a terminal whose table changes with each
-- save, a pipe that gets one run after the other, the last records of a topic.
local h = require "harness"

local values = '{"who":"a","n":1}\n{"who":"b","n":2}\n{"who":"a","n":3}\n'

local function job_with(column)
   return ([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :json { "who:string", "n:int" }
   :group_by("who")
   :aggregate { tide.sum "n" :as "%s" }
   :to(tide.console {})
]]):format(column)
end

-- Ways in which editors save.
local function write_in_place(path, text)
   h.write_file(path, text)
end

local function replace(path, text)
   h.write_file(path .. ".new", text)
   assert(os.rename(path .. ".new", path))
end

local function keep_a_backup(path, text)
   assert(os.rename(path, path .. "~"))
   h.write_file(path, text)
end

describe("tidemark dev", function()
   before_each(function()
      h.begin()
      h.write_file(h.path "in.jsonl", values)
      h.write_file(h.path "job.lua", job_with "first")
   end)

   -- A terminal with dev in it; shows(text) waits for text behind what was last seen.
   local function on_a_terminal(...)
      local tty = h.process.terminal(24, 80)
      h.at_end(tty.close)
      local dev = h.start({ "dev", "job.lua", ... }, { tty = tty.path, env = { TERM = "xterm" } })
      local seen = 1
      local function shows(text)
         h.eventually(text .. " on the terminal", function()
            local from, to = tty.screen():find(text, seen, true)
            seen = to and to + 1 or seen
            return from
         end, dev)
      end
      return tty, dev, shows
   end

   it("redraws its output after each save, and ends with 0 on Ctrl+C", function()
      local tty, dev, shows = on_a_terminal("--input", "in.jsonl")
      shows "\27[Hjob.lua, run 1 ("
      shows "first"
      shows "3 records in, 2 rows out, 2 in state"
      for i, save in ipairs { write_in_place, replace, keep_a_backup, write_in_place } do
         save(h.path "job.lua", job_with("column" .. i))
         shows "\27[Hjob.lua, run "
         shows("column" .. i)
         shows "\27[J"
      end
      h.write_file(h.path "in.jsonl", values .. '{"who":"c","n":70}\n')
      shows "|  c|     70|"
      tty.type "\3"
      h.eventually("the end", function()
         tty.screen()
         return dev:ended()
      end)
      assert.are.equal(0, dev.code, tty.screen())
   end)

   it("takes records that are typed, and Ctrl+C before they end", function()
      local function begin()
         local tty, dev, shows = on_a_terminal("--input", "-")
         shows "type records, a line each; Ctrl+D ends them"
         return tty, dev, shows
      end
      local function interrupt(tty, dev)
         tty.type "\3"
         h.eventually("the end", function()
            tty.screen()
            return dev:ended()
         end)
         assert.are.equal(0, dev.code, tty.screen())
      end
      local tty, dev = begin()
      interrupt(tty, dev)
      local shows
      tty, dev, shows = begin()
      tty.type '{"who":"a","n":5}\n\4'
      shows "1 record in, 1 row out"
      interrupt(tty, dev)
   end)

   it("takes its folder along when its terminal is closed", function()
      local function folder_of(pid)
         local pipe = io.popen(("readlink /proc/%d/fd/* 2>/dev/null"):format(pid))
         local folder = pipe:read("*a"):match "[^\n]*/tidemark%-dev%-%w+"
         pipe:close()
         return folder
      end
      local tty, dev, shows = on_a_terminal("--input", "in.jsonl", "--limit", "1h")
      shows "in state"
      replace(h.path "job.lua", (job_with("second"):gsub(":group_by",
         ":filter(function() while true do end end)%0")))
      local folder = h.eventually("a run with state", function()
         local child = h.process.children(dev.pid)[1]
         return child and folder_of(child)
      end, dev)
      tty.close()
      h.eventually("the end", function() return dev:ended() end)
      assert.is_false(os.rename(folder, folder) or false, folder .. " is still there")
   end)

   it("shows errors in place of output, and goes on", function()
      local _, dev, shows = on_a_terminal("--input", "in.jsonl", "--limit", "1h")
      shows "first"
      h.write_file(h.path "job.lua", "return return\n")
      shows " failed ("
      shows "error: job.lua:1: syntax error"
      shows "     1 | return return"
      h.write_file(h.path "job.lua", 'require "lib.columns"\n' .. job_with "second")
      shows "no file lib/columns.lua"
      h.make_dir(h.path "lib")
      h.write_file(h.path "lib/columns.lua", "return { }}\n")
      shows "lib/columns.lua:1: syntax error"
      h.write_file(h.path "lib/columns.lua", "while true do end\n")
      shows "lib/columns.lua:1: the job file does not return"
      h.write_file(h.path "lib/columns.lua", "return {}\n")
      shows "second"
      h.process.kill_pid(dev.pid, "TERM")
      h.expect_exit(dev, 0)
   end)

   it("runs anew when a module is saved while the last run still hangs", function()
      h.write_file(h.path "limit.lua", "while true do end\n")
      h.write_file(h.path "job.lua", 'require "limit"\n' .. job_with "first")
      local dev = h.start { "dev", "job.lua", "--input", "in.jsonl", "--limit", "1h" }
      h.eventually("a run", function() return #h.process.children(dev.pid) == 1 end, dev)
      h.write_file(h.path "limit.lua", "return {}\n")
      h.write_file(h.path "job.lua", 'require "limit"\n' .. job_with "second")
      h.eventually("the rows", function() return dev:out():find("second", 1, true) end, dev)
      h.process.kill_pid(dev.pid, "INT")
      h.expect_exit(dev, 0)
   end)

   it("puts one run after the other into a pipe, and leaves nothing behind", function()
      local dev = h.start { "dev", "job.lua", "--input", "in.jsonl" }
      local function says(text)
         h.eventually(text, function() return dev:out():find(text, 1, true) end, dev)
      end
      says "3 records in, 2 rows out, 2 in state\n"
      replace(h.path "job.lua", job_with "second")
      says "== job.lua, run 2\n"
      says "second"
      os.remove(h.path "in.jsonl")
      says "run 3 failed\nerror: in.jsonl: No such file or directory\n"
      h.write_file(h.path "in.jsonl", values)
      says "== job.lua, run 4\n"
      local child
      h.write_file(h.path "job.lua", "while true do end\n")
      h.eventually("a run that hangs", function()
         local over = dev:out():find "run 4\n.*2 in state\n$"
         child = h.process.children(dev.pid)[1]
         return over and child
      end, dev)
      h.process.kill_pid(dev.pid, "INT")
      h.expect_exit(dev, 0)
      assert.is_false(h.process.kill_pid(child, "CONT"), "the run is still there")
      assert.is_nil(dev:out():find("\27", 1, true))
   end)

   it("takes the last records of the topic, with their offsets, and commits nothing", function()
      local topic = h.topic(3)
      local records = {}
      for i = 1, 50 do
         records[i] = { key = "k", value = ('{"who":"w%d"}'):format(i), headers = { { "h", "v" } },
                        partition = i == 1 and 2 or i % 2, timestamp = 1700000000000 + i }
      end
      h.produce(topic, records)
      h.write_file(h.path "job.lua", ([[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = %q })
   :map(function(rec)
      return rec.partition, rec.offset, tostring(rec.key), rec:decode().who, rec:header "h",
             rec.timestamp - 1700000000000
   end, { "p:int", "o:int", "k", "who", "h", "at:int" })
   :to(tide.console {})
]]):format(topic))
      local dev = h.start { "dev", "job.lua", "-b", h.brokers, "--last", 6, "--output", "json",
                            "--checkpoint-dir", h.path "cp" }
      -- All of the short partition, and of the others as much of each; one has one more.
      local expected = { "== job.lua, run 1" }
      for _, row in ipairs { { 0, 22, 46 }, { 0, 23, 48 }, { 0, 24, 50 }, { 1, 22, 47 },
                             { 1, 23, 49 }, { 2, 0, 1 } } do
         local p, offset, number = unpack(row)
         expected[#expected + 1] = ('{"p":%d,"o":%d,"k":"k","who":"w%d","h":"v","at":%d}'):format(
            p, offset, number, number)
      end
      expected[#expected + 1] = "6 records in, 6 rows out\n"
      h.eventually("the first run", function() return dev:out():find "rows out\n" end, dev)
      assert.are.equal(table.concat(expected, "\n"), dev:out())
      -- The same ones again, although there are more by now.
      h.produce(topic, { { value = "{}", partition = 0 } })
      replace(h.path "job.lua", h.read_file(h.path "job.lua") .. "\n")
      expected[1] = "== job.lua, run 2"
      h.eventually("them again", function()
         return dev:out():find(table.concat(expected, "\n"), 1, true)
      end, dev)
      h.process.kill_pid(dev.pid, "INT")
      h.expect_exit(dev, 0)
      assert.are.equal("", h.read_file(h.path "cp/FORMAT"))
   end)
end)
