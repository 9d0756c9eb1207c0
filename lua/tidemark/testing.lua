-- SPDX-License-Identifier: Apache-2.0
-- Tests of jobs: feed records, run an epoch, look at the rows. The job runs on
-- the real thing (workers, state, checkpoint, commit), with topics in memory
-- and a clock that only the test moves; no broker, no sleep.
--
--    local testing = require "tidemark.testing"
--    local job = testing.open "jobs/wordcount.lua"
--    job:feed { key = "a b", value = "c" }
--    job:epoch()
--    job:expect { { field = "key", word = "a", count = 1 }, … }
--    job:close()
local ffi = require "ffi"
local json = require "tidemark.json"
local native = require "tidemark.native"
local schema = require "tidemark.schema"
local time = require "tidemark.time"

local C = native.C

native.once("testing types", function()
   ffi.cdef "const char *tide_testing_abi(void);"
   ffi.cdef((("\n" .. ffi.string(C.tide_testing_abi())):gsub("\n#[^\n]*", "\n")))
   return true
end)

local M = {}
local Job = {}
Job.__index = Job

local UNSET = -9223372036854775807LL - 1
local START = "2024-01-01T00:00:00Z"
local ran = ffi.new "bool[1]"
local type_of = ffi.new "int32_t[1]"
local names_of_type = {}
for name, number in pairs(schema.types) do
   names_of_type[number] = name
end

-- Inside, errors have no position; those that reach a test have that of its line.
local function fail(text, ...)
   error(text:format(...), 0)
end

local function passed(ok, result)
   if not ok then
      error(result, 3)
   end
   return result
end

local function at_the_callers_line(fn)
   return function(...)
      local result = passed(pcall(fn, ...)) -- no tail call: levels are counted
      return result
   end
end

local function message(job)
   return ffi.string(C.tide_testing_error(job.testing))
end

-- Times: milliseconds, or text as 2024-01-01T12:00:00Z.
local function milliseconds(value, what)
   local ms = type(value) == "string" and time.parse(value) or value
   if type(ms) ~= "number" then
      error(("%s: not a time: %s"):format(what, tostring(value)), 0)
   end
   return ms
end

local function set_clock(job, ms)
   job.now_ms = ms
   C.tide_testing_clock(math.floor(ms * 1000 + 0.5))
end

local function lua_directory()
   local path = debug.getinfo(1, "S").source:match "^@(.*)/tidemark/testing%.lua$"
   return path or "lua"
end

local function start(job, options)
   local given = ffi.new("struct tide_testing_options", {
      job_path = job.path, lua_dir = lua_directory(), checkpoint_dir = job.checkpoint,
      from = options.from, workers = options.workers or 1, partitions = job.partitions,
      batch_records_max = options.max_records_per_batch or 0,
      memory_bytes = options.memory or 0,
      jit_off = options.jit == false, forget = options.forget or false,
   })
   job.options = options
   for key, value in pairs(options.set or {}) do
      C.tide_testing_set(job.testing, key, tostring(value))
   end
   if not C.tide_testing_start(job.testing, given) then
      return nil, message(job)
   end
   return true
end

local known = { workers = true, partitions = true, from = true, jit = true, now = true,
                max_records_per_batch = true, memory = true, forget = true, set = true }

local function check_options(options)
   for key in pairs(options) do
      if not known[key] then
         fail('testing: no option "%s"; there are workers, partitions, from, jit, now, ' ..
              'max_records_per_batch, memory, forget, set', tostring(key))
      end
   end
   return options
end

local function readable(path)
   local file = io.open(path)
   if file then
      file:close()
   end
   return file and path
end

-- A job is looked for from where we are, and then beside the spec that asks.
local function job_at(path)
   if readable(path) then
      return path
   end
   local own, level = debug.getinfo(1, "S").source, 2
   for info in function() return debug.getinfo(level, "S") end do
      local folder = info.source ~= own and info.source:match "^@(.*/)[^/]*$"
      if folder then
         return readable(folder .. path) or fail("testing: there is no job %s, nor %s", path,
                                                 folder .. path)
      elseif info.source ~= own and info.source:match "^@" then
         break
      end
      level = level + 1
   end
   fail("testing: there is no job %s", path)
end

--- Opens a job on empty topics and a fresh checkpoint.
---@param path string of the job file, from where we are or from the spec's folder
---@param options? table workers, partitions, from, jit, now, max_records_per_batch,
---memory, forget, set
---@return table job
function M.open(path, options)
   options = check_options(options or {})
   path = job_at(path)
   local directory = os.tmpname()
   os.remove(directory)
   local job = setmetatable({
      path = path, partitions = options.partitions or 1, checkpoint = directory,
      testing = C.tide_testing_new(options.partitions or 1),
   }, Job)
   set_clock(job, milliseconds(options.now or START, "now"))
   local ok, why = start(job, options)
   if not ok then
      job:close()
      error(why, 0)
   end
   return job
end

--- A job from text, for short tests.
---@param text string
---@param options? table as for open
---@return table job
function M.job(text, options)
   local path = os.tmpname()
   local file = assert(io.open(path, "wb"))
   file:write(text)
   file:close()
   local ok, job = pcall(M.open, path, options)
   if not ok then
      os.remove(path)
      error(job, 0)
   end
   job.own_path = path
   return job
end

-- Records ------------------------------------------------------------------

local function only_topic(job)
   local file = assert(io.open(job.path))
   local text = file:read "*a"
   file:close()
   return text:match 'topic%s*=%s*"([^"^,]+)"'
end

local function feed_one(job, topic, record)
   local key, value = record.key, record.value
   local ms = record.timestamp and milliseconds(record.timestamp, "timestamp") or job.now_ms
   if not C.tide_testing_feed(job.testing, topic, record.partition or 0, key, key and #key or 0,
                              value, value and #value or 0, math.floor(ms)) then
      error(message(job), 0)
   end
   for _, header in ipairs(record.headers or {}) do
      local name, text = header[1], header[2]
      C.tide_testing_header(job.testing, name, #name, text, text and #text or 0)
   end
end

--- Adds records: { key, value, headers = { { name, value }, … }, timestamp, partition },
--- or just a value. The topic may come first; else it is the one that the job names.
function Job:feed(first, ...)
   local topic, records = only_topic(self), { first, ... }
   if type(first) == "string" and select("#", ...) > 0 and type((...)) == "table" then
      topic = table.remove(records, 1)
   end
   if not topic then
      fail "testing: the job does not name one topic: job:feed(\"topic\", { … })"
   end
   for _, record in ipairs(records) do
      feed_one(self, topic, type(record) == "string" and { value = record } or record)
   end
   return self
end

-- Time ---------------------------------------------------------------------

--- Moves the clock on by a span like "10s".
function Job:advance(span)
   set_clock(self, self.now_ms + time.ms(span))
   return self
end

--- Puts the clock at a time: milliseconds, or text as 2024-01-01T12:00:00Z.
function Job:at(time_of_day)
   set_clock(self, milliseconds(time_of_day, "at"))
   return self
end

--- Runs one epoch over all that was fed. Returns whether there was anything to
--- do; what the outputs got before is forgotten.
function Job:epoch()
   C.tide_testing_clear(self.testing)
   if not C.tide_testing_epoch(self.testing, ran) then
      error(message(self), 0)
   end
   return ran[0]
end

--- Runs epochs until there is nothing left to do. Rows of all of them stay.
function Job:run()
   C.tide_testing_clear(self.testing)
   local epochs = 0
   repeat
      if not C.tide_testing_epoch(self.testing, ran) then
         error(message(self), 0)
      end
      epochs = epochs + (ran[0] and 1 or 0)
   until not ran[0]
   return epochs
end

-- Another version of the job from now on: the path of a file, or text.
local function change_job(job, path, text)
   if path then
      job.path = job_at(path)
   elseif text then
      job.own_path = job.own_path or os.tmpname()
      local file = assert(io.open(job.own_path, "wb"))
      file:write(text)
      file:close()
      job.path = job.own_path
   end
end

--- Stops the job and starts it on the same checkpoint, as options say; crash =
--- true stops it as a kill between two epochs would, and job = a path, or text = a
--- job's text, starts another version of it.
function Job:restart(options)
   local given = {}
   for key, value in pairs(options or {}) do
      given[key] = value
   end
   options = given
   local crash, path, text = options.crash, options.job, options.text
   options.crash, options.job, options.text = nil, nil, nil
   check_options(options)
   change_job(self, path, text)
   for key, value in pairs(self.options) do
      if options[key] == nil then
         options[key] = value
      end
   end
   C.tide_testing_stop(self.testing, not crash)
   local ok, why = start(self, options)
   if not ok then
      self.stopped = true
      error(why, 0)
   end
   return self
end

-- Rows ---------------------------------------------------------------------

local readers = {
   int = function(cell) return tonumber(cell.i) end,
   double = function(cell) return cell.d end,
   bool = function(cell) return cell.i ~= 0 end,
   timestamp = function(cell) return tonumber(cell.i) / 1000 end,
   string = function(cell) return ffi.string(cell.p, cell.len) end,
}
readers.bytes = readers.string

local function output_number(job, output)
   local count = C.tide_testing_outputs(job.testing)
   if output == nil and count > 1 then
      error("the job has several outputs: name one, or give its number", 0)
   end
   if type(output) == "number" and output >= 1 and output <= count then
      return output - 1
   end
   local list = {}
   for i = 0, count - 1 do
      list[#list + 1] = ffi.string(C.tide_testing_output(job.testing, i))
      if output == nil or list[#list] == output then
         return i
      end
   end
   error(('no output "%s"; there are %s'):format(tostring(output), table.concat(list, ", ")), 0)
end

local function columns_of(job, output)
   local columns = {}
   for c = 1, C.tide_testing_columns(job.testing, output) do
      local name = ffi.string(C.tide_testing_column(job.testing, output, c - 1, type_of))
      columns[c] = { name = name, type = names_of_type[type_of[0]] }
   end
   return columns
end

local function rows_of(job, output)
   local number = output_number(job, output)
   local columns, rows = columns_of(job, number), {}
   for r = 1, C.tide_testing_rows(job.testing, number) do
      local row = {}
      for c, column in ipairs(columns) do
         local cell = C.tide_testing_cell(job.testing, number, r - 1, c - 1)
         if cell.len >= 0 then
            row[column.name] = readers[column.type](cell)
         end
      end
      rows[r] = row
   end
   return rows, columns
end

--- What an output got: a list of rows, each a table of its columns; times are
--- milliseconds, nulls are absent. With one output its name may be left out.
function Job:rows(output)
   return (rows_of(self, output))
end

--- The names of an output's columns, in order.
---@return string[]
function Job:columns(output)
   local names = {}
   for c, column in ipairs(columns_of(self, output_number(self, output))) do
      names[c] = column.name
   end
   return names
end

local function shown(value, column)
   if value == nil then
      return "null"
   elseif column.type == "timestamp" and type(value) == "number" then
      return time.format(value)
   elseif type(value) == "number" then
      return ("%.14g"):format(value)
   end
   return tostring(value)
end

local function line_of(row, columns)
   local list = {}
   for i, column in ipairs(columns) do
      local value = row[column.name]
      if column.type == "timestamp" and type(value) == "string" then
         value = milliseconds(value, column.name)
      end
      list[i] = shown(value, column)
   end
   return table.concat(list, " | ")
end

local function lines_of(job, output)
   local rows, columns = rows_of(job, output)
   local list = {}
   for i, row in ipairs(rows) do
      list[i] = line_of(row, columns)
   end
   table.sort(list)
   return list
end

--- The rows as lines, sorted, for tests that look at the whole.
function Job:lines(output)
   return lines_of(self, output)
end

local function check_columns(rows, columns)
   local by_name, list = {}, {}
   for i, column in ipairs(columns) do
      by_name[column.name], list[i] = true, column.name
   end
   for _, row in ipairs(rows) do
      for name in pairs(row) do
         if not by_name[name] then
            error(('no column "%s"; the output has %s'):format(tostring(name),
               table.concat(list, ", ")), 0)
         end
      end
   end
end

local function difference(wanted, got)
   local out, left = {}, {}
   for _, line in ipairs(got) do
      left[line] = (left[line] or 0) + 1
   end
   for _, line in ipairs(wanted) do
      if (left[line] or 0) > 0 then
         left[line] = left[line] - 1
      else
         out[#out + 1] = "  missing     " .. line
      end
   end
   for _, line in ipairs(got) do
      if left[line] > 0 then
         left[line] = left[line] - 1
         out[#out + 1] = "  not wanted  " .. line
      end
   end
   return out
end

--- The rows of an output are these, in any order. Times may be text.
function Job:expect(rows, output)
   local _, columns = rows_of(self, output)
   check_columns(rows, columns)
   local wanted = {}
   for i, row in ipairs(rows) do
      wanted[i] = line_of(row, columns)
   end
   table.sort(wanted)
   local wrong = difference(wanted, lines_of(self, output))
   if #wrong > 0 then
      local list = {}
      for i, column in ipairs(columns) do
         list[i] = column.name
      end
      error(("rows differ (%s):\n%s"):format(table.concat(list, " | "),
            table.concat(wrong, "\n")), 0)
   end
   return self
end

--- A number of the newest epoch: "epoch", "rows_in", "rows_late" and so on; nil
--- where it is unset.
function Job:number(name)
   local value = C.tide_testing_number(self.testing, name)
   if value == UNSET then
      return nil
   end
   return tonumber(value)
end

--- What --progress says of the newest epoch since the (re)start, as a table; nil
--- where none has run.
function Job:progress()
   local text = ffi.string(C.tide_testing_progress(self.testing))
   return text ~= "" and json.decode(text) or nil
end

--- The watermark that the next epoch will go by, in milliseconds, or nil.
function Job:watermark()
   local us = self:number "watermark_us"
   return us and us / 1000
end

--- Ends the job and removes its checkpoint. The clock runs again.
function Job:close()
   if self.testing then
      C.tide_testing_free(self.testing)
      self.testing = nil
      C.tide_testing_clock(-1)
      os.execute("rm -rf " .. self.checkpoint)
      if self.own_path then
         os.remove(self.own_path)
      end
   end
end

for _, public in ipairs { M, Job } do
   for name, fn in pairs(public) do
      if type(fn) == "function" then
         public[name] = at_the_callers_line(fn)
      end
   end
end

return M
