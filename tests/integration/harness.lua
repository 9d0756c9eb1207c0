-- SPDX-License-Identifier: Apache-2.0
-- What an integration test needs: topics and records on a real Kafka, tidemark
-- as a child whose output can be read, and conditions to wait for.
--
-- with-kafka starts the broker and says where it is. Every test gets a folder
-- of its own; whatever it started is ended before the next one begins.
local cjson = require "cjson"
local process = require "process"

local M = { process = process }

M.flavour = os.getenv "TIDE_FLAVOUR" or "test"
M.sanitized = M.flavour == "asan"
M.brokers = os.getenv "TIDE_KAFKA"
M.kafka_dir = os.getenv "TIDE_KAFKA_DIR"
M.root = process.working_dir()
M.program = M.root .. "/build/" .. M.flavour .. "/tidemark"

-- Generous on purpose: a limit only ends a test that would hang.
local limit_s = M.sanitized and 180 or 60

local scratch = os.getenv "TIDE_SCRATCH" or "/tmp"
local running = {}  -- processes of this test
local endings = {}  -- what else is undone before the next

-- --- Files -------------------------------------------------------------------

function M.write_file(path, text)
   local file = assert(io.open(path, "wb"))
   file:write(text)
   file:close()
   return path
end

M.read_file = process.file_text

function M.make_dir(path)
   require("ffi").C.mkdir(path, 493)
   return path
end

--- End what the last test left. Runs before each test and after all of them.
function M.finish()
   for _, ending in ipairs(endings) do
      ending()
   end
   for _, proc in ipairs(running) do
      proc:destroy()
   end
   running, endings = {}, {}
end

-- busted gives every file its own copy of this module, so each cleans up when
-- its file ends, and names come from the clock and not from a count.
for _, what in ipairs { "file", "suite" } do
   require("busted").subscribe({ what, "end" }, function()
      M.finish()
      return nil, true
   end)
end

--- Call in before_each: a clean start and a new folder.
function M.begin()
   M.finish()
   M.dir = M.make_dir(scratch .. "/" .. process.unique())
   return M.dir
end

--- Run when the test is over, whatever its end.
function M.at_end(ending)
   endings[#endings + 1] = ending
end

function M.path(name)
   return M.dir .. "/" .. name
end

--- For the report of a failed test: what its programs last said.
function M.postmortem()
   local parts = {}
   for _, proc in ipairs(running) do
      local err = proc:err()
      parts[#parts + 1] = ("--- %s (pid %d, %s)\n%s"):format(
         table.concat(proc.options.argv, " "), proc.pid,
         proc:ended() and ("exit " .. tostring(proc.code or "by signal " .. proc.signal))
         or "still running", #err > 3000 and "…" .. err:sub(-3000) or err)
   end
   return table.concat(parts, "\n")
end

-- --- Waiting -----------------------------------------------------------------

--- Wait until `ask` answers; fails with `what` when it does not in time, or as
--- soon as `job`, if given, has ended without it.
function M.eventually(what, ask, job)
   local ended
   local answer = process.poll_until(limit_s, function()
      ended = job and job:ended()
      return ask() or ended
   end)
   answer = ask() or answer
   if not answer or answer == ended then
      error(("%s waiting for %s"):format(ended and job.name .. " ended" or "gave up", what), 2)
   end
   return answer
end

--- Wait for the end of a process and demand its exit code.
function M.expect_exit(proc, code, limit)
   local got, signal = proc:wait(limit or limit_s)
   if signal == "running" then
      error(("%s does not end"):format(proc.name), 2)
   elseif got ~= code then
      error(("%s: exit %s instead of %d\nstderr: %s"):format(proc.name,
            tostring(got or "by signal " .. signal), code, proc:err()), 2)
   end
   return proc
end

-- --- Programs ----------------------------------------------------------------

---@class harness.options
---@field env? table
---@field stdin? string   text
---@field cwd? string
---@field program? string
---@field tty? string
---@field group? boolean

--- Start any program in the test's folder; its output goes to files there.
function M.spawn(argv, options)
   options = options or {}
   local name = ("%s/p%02d"):format(M.dir, #running + 1)
   local env = { ASAN_OPTIONS = "detect_leaks=1:abort_on_error=0:exitcode=99:handle_abort=1",
                 UBSAN_OPTIONS = "print_stacktrace=1" }
   for key, value in pairs(options.env or {}) do
      env[key] = value
   end
   if options.stdin then
      M.write_file(name .. ".in", options.stdin)
   end
   local proc = process.spawn {
      argv = argv, env = env, cwd = options.cwd or M.dir,
      stdin = options.stdin and name .. ".in",
      stdout = not options.tty and (options.stdout or name .. ".out") or nil,
      stderr = not options.tty and (options.stderr or name .. ".err") or nil,
      tty = options.tty, session = options.tty ~= nil, group = options.group,
   }
   proc.name = argv[1]:match("[^/]*$") .. " " .. (argv[2] or "")
   running[#running + 1] = proc
   return proc
end

--- Start tidemark. `args` is a list; numbers are fine.
function M.start(args, options)
   local argv = { M.program }
   for i, arg in ipairs(args) do
      argv[i + 1] = tostring(arg)
   end
   return M.spawn(argv, options)
end

--- Run tidemark to its end and demand its exit code (default 0).
function M.run(args, options, code)
   return M.expect_exit(M.start(args, options), code or 0)
end

--- Write a job file and return its path.
function M.job(text, name)
   return M.write_file(M.path(name or "job.lua"), 'local tide = require "tidemark"\n' .. text)
end

-- --- Kafka -------------------------------------------------------------------

function M.kadmin(...)
   local argv = { M.root .. "/build/" .. M.flavour .. "/kadmin", "-b", M.brokers }
   for _, arg in ipairs { ... } do
      argv[#argv + 1] = tostring(arg)
   end
   return M.expect_exit(M.spawn(argv), 0):out()
end

--- A topic's name that nobody used before; not created.
function M.topic_name(prefix)
   return (prefix or "t") .. "-" .. process.unique()
end

function M.create_topic(name, partitions)
   M.kadmin("create", name, partitions or 1)
   return name
end

--- A new topic with a name of its own.
function M.topic(partitions, prefix)
   return M.create_topic(M.topic_name(prefix), partitions)
end

function M.delete_topic(name)
   M.kadmin("delete", name)
end

--- Produce records: each { key =, value =, headers = { {name, value}… },
--- partition =, timestamp = }; cjson.null is null, absent is absent.
function M.produce(topic, records)
   local lines = {}
   for i, record in ipairs(records) do
      lines[i] = cjson.encode(record)
   end
   lines[#lines + 1] = ""
   return M.run({ "produce", topic, "-b", M.brokers }, { stdin = table.concat(lines, "\n") })
end

--- Numbered records: counts[i] of them to partition i - 1.
function M.produce_counts(topic, counts, text)
   local records = {}
   for p, count in ipairs(counts) do
      for n = 1, count do
         records[#records + 1] = { key = tostring(n), value = text or ("v%d"):format(n),
                                   partition = p - 1 }
      end
   end
   return M.produce(topic, records)
end

-- --- What tidemark left ------------------------------------------------------

--- JSON lines of a file, without the piece that a kill left half written.
function M.json_lines(text)
   local list = {}
   for line in text:gmatch("([^\n]*)\n") do
      if line ~= "" then
         list[#list + 1] = cjson.decode(line)
      end
   end
   return list
end

--- Epochs as --progress wrote them.
function M.progress(name)
   return M.json_lines(process.file_text(M.path(name or "progress")))
end

--- The kept epochs of a job's checkpoint: a list of { topic = { ["0"] = next } }.
--- The job is job.lua of the test's folder unless named.
function M.offsets(checkpoint_dir, job)
   return M.json_lines(M.run({ "offsets", "show", job or M.path "job.lua", "--format", "json",
                               "--checkpoint-dir", checkpoint_dir }):out())
end

--- The newest of them for one topic: { [0] = next, … }, or {} when none.
function M.next_offsets(checkpoint_dir, topic, job)
   local all = M.offsets(checkpoint_dir, job)
   local newest, list = all[#all] or {}, {}
   for partition, offset in pairs(newest[topic] or {}) do
      list[tonumber(partition)] = offset
   end
   return list
end

return M
