-- SPDX-License-Identifier: Apache-2.0
-- Errors as people read them: the job's file and line, what, and what to do.
local ffi = require "ffi"
local native = require "tidemark.native"

local M = {}

local ctx = native.ctx
local PLACE_MAX = ffi.sizeof(ctx.place) - 1

-- Chunk names of the running job's files: path and lines.
local sources = {}
-- Paths of all files that the job asked for, also of those that are not there.
local wanted = {}

--- A job file or module is about to be compiled.
function M.source(path, text)
   local lines = {}
   for line in (text .. "\n"):gmatch("(.-)\r?\n") do
      lines[#lines + 1] = line
   end
   sources["@" .. path] = { path = path, lines = lines }
   return "@" .. path
end

function M.forget()
   sources, wanted = {}, {}
end

--- A file of the job is about to be read.
function M.want(path)
   if not wanted[path] then
      wanted[path] = true
      wanted[#wanted + 1] = path
   end
end

--- The files that the job asked for, itself first. Complete after a load that
--- failed, too: saving one of them may mend it.
function M.wanted()
   return wanted
end

--- The line of text that a job file has there.
function M.line_text(path, line)
   local source = sources["@" .. path]
   return source and source.lines[line]
end

--- How many there are.
function M.line_count(path)
   local source = sources["@" .. path]
   local count = source and #source.lines or 0
   return count > 0 and source.lines[count] == "" and count - 1 or count
end

--- Whether a chunk of that name is of the running job.
function M.knows(source)
   return sources[source] ~= nil
end

-- While a job is loaded: the line of it that ran last. `return f(x)` leaves no
-- frame behind, and a job ends with just that.
local last = {}

-- Code that shall be over by then, see hurry().
local deadline, hurried_ms
local HOOK_EVERY = 10000 -- instructions

local check_time
function check_time()
   if os.clock() > deadline then
      debug.sethook(check_time, "", 1) -- no pcall of the job's gets away from that
      if sources[debug.getinfo(2, "S").source] then
         error(("the job is still busy here after %d ms"):format(hurried_ms), 0)
      end
   end
end

-- Else, some seconds of a loop that never ends.
local LOOK_EVERY, LOOKS_MAX = 1000000, 15
local looks, watch_line

local function look(source)
   looks = looks + 1
   if looks > LOOKS_MAX then
      debug.sethook(watch_line, "l", 1) -- no pcall of the job's gets away from that
      if source then
         error("the job file does not return: a loop in it may never end", 3)
      end
   end
end

-- For those who end a call that does not return, and can ask nobody any more.
local function note_place(path, line)
   if last.path ~= path then
      ffi.copy(ctx.place, path:sub(1, PLACE_MAX))
   end
   last.path, last.line, ctx.place_line = path, line, line
end

--- From now on ctx.place says which line of the job runs.
function M.trace()
   ctx.place_line = 0
   debug.sethook(function(_, line)
      local source = sources[debug.getinfo(2, "S").source]
      if source then
         note_place(source.path, line)
      end
   end, "l")
end

function watch_line(event, line)
   local source = sources[debug.getinfo(2, "S").source]
   if event == "line" and source then
      note_place(source.path, line)
   elseif event == "count" and deadline then
      return check_time() -- in its place, for what it asks of its caller
   elseif event == "count" then
      look(source)
   end
end

--- From now on code of the job that is still busy after so long fails, where it
--- is. To find out where a job hangs: nothing is compiled any more.
function M.hurry(ms)
   jit.off()
   hurried_ms, deadline = ms, os.clock() + ms / 1000
   M.watch_time()
end

function M.watch_time()
   if deadline then
      debug.sethook(check_time, "", HOOK_EVERY)
   else
      debug.sethook()
   end
end

--- Call fn while watching which line of a job runs.
function M.watched(fn, ...)
   local compiling = jit.status()
   looks, ctx.place_line = 0, 0
   jit.off()
   debug.sethook(watch_line, "l", deadline and HOOK_EVERY or LOOK_EVERY)
   local results = { xpcall(fn, M.handler, ...) }
   M.watch_time()
   if compiling then
      jit.on()
   end
   last, ctx.place_line = {}, 0
   if not results[1] then
      error(results[2], 0)
   end
   return unpack(results, 2)
end

--- Path and line of the job code that called into us, if any did.
function M.here(level)
   level = (level or 1) + 1
   while true do
      local info = debug.getinfo(level, "Sl")
      if not info then
         return last.path, last.line or 0
      elseif sources[info.source] then
         return sources[info.source].path, info.currentline
      end
      level = level + 1
   end
end

-- A position that Lua already put before the message: in a job file it is
-- better than ours, in our own wrappers it helps nobody.
local function split_position(message)
   local short, line, rest = message:match("^(.-):(%d+): (.*)$")
   if not short then
      return message
   elseif short:match("tidemark/sandbox%.lua$") then
      return rest
   end
   for _, source in pairs(sources) do
      if source.path == short or
         (short:sub(1, 3) == "..." and source.path:sub(-#short + 3) == short:sub(4)) then
         return rest, source.path, tonumber(line)
      end
   end
   return message
end

-- Error objects that are ours. A job may catch one and change it, or make one that
-- looks like it, so nothing else tells, and its fields are looked at again.
local ours = setmetatable({}, { __mode = "k" })
local TEXT_MAX = 4000

local function shortened(text)
   if #text <= TEXT_MAX then
      return text
   end
   return ("%s… (%d bytes in all)"):format(text:sub(1, TEXT_MAX), #text)
end

--- An error object, of text that is ours.
function M.made(message, path, line)
   local e = { message = shortened(message), path = path, line = line or 0 }
   ours[e] = true
   return e
end

--- An error of ours: with a message, and path and line if it has a place.
function M.is_ours(e)
   return type(e) == "table" and ours[e] ~= nil
end

local function text_of(value)
   if type(value) == "string" then
      return shortened(value)
   end
   local ok, text = pcall(tostring, value)
   return "an error that is a " .. type(value) ..
      (ok and type(text) == "string" and ": " .. shortened(text) or "")
end

--- For xpcall: an error object with message, path and line.
function M.handler(value)
   if M.is_ours(value) then
      local message, path, at = rawget(value, "message"), rawget(value, "path"),
         rawget(value, "line")
      if type(message) == "string" and (path == nil or type(path) == "string") and
         type(at) == "number" then
         return M.made(message, path, at)
      end
      value = "an error that was changed"
   end
   local message, path, line = split_position(text_of(value))
   if not path then
      path, line = M.here(2)
   end
   return M.made(message, path, line)
end

--- Raise an error at a place that the job's code left some time ago.
function M.at(path, line, message, ...)
   if select("#", ...) > 0 then
      message = message:format(...)
   end
   error(M.made(message, path, line), 0)
end

--- An error object (or what pcall gave instead of one) for load errors: with
--- the line of source under it.
function M.show(e)
   if not M.is_ours(e) then
      return text_of(e)
   elseif not e.path then
      return e.message
   end
   local text = e.line > 0 and M.line_text(e.path, e.line)
   local head = e.line > 0 and ("%s:%d: %s"):format(e.path, e.line, e.message)
      or ("%s: %s"):format(e.path, e.message)
   return text and ("%s\n%6d | %s"):format(head, e.line, text) or head
end

--- What happened, without where.
function M.reason(e)
   return M.is_ours(e) and e.message or text_of(e)
end

--- "path:line", or "" when nobody knows.
function M.place(e)
   return M.is_ours(e) and e.path and ("%s:%d"):format(e.path, e.line) or ""
end

--- The same on one line, for a record.
function M.line(e)
   if not M.is_ours(e) then
      return text_of(e)
   elseif not e.path then
      return e.message
   end
   return ("%s:%d: %s"):format(e.path, e.line, e.message)
end

return M
