-- SPDX-License-Identifier: Apache-2.0
-- The closed environment that jobs run in: what computes stays, what reaches
-- the machine or the runtime is not there. Every library is a copy, so a job
-- that changes one changes nothing for us.
local ffi = require "ffi"
local errors = require "tidemark.errors"
local names = require "tidemark.names"
local native = require "tidemark.native"
local record = require "tidemark.record"
local text = require "tidemark.text"

local C, ctx, type, select, unpack = native.C, native.ctx, type, select, unpack
local kept_len = ffi.new "size_t[1]"
local is_text, as_string = text.is_text, text.as_string
local REP_MAX, UNPACK_MAX = 64 * 1024 * 1024, 4096
local INFO = 1

local M = {}

local function copy(from)
   local to = {}
   for key, value in pairs(from) do
      to[key] = value
   end
   return to
end

-- Strings ------------------------------------------------------------------

-- A string function whose first argument, and second where it is a pattern or
-- replacement, may be text of a batch.
local function taking_text(fn)
   return function(a, b, ...)
      if type(a) == "cdata" then a = as_string(a) or a end
      if type(b) == "cdata" then b = as_string(b) or b end
      return fn(a, b, ...)
   end
end

local function format(fmt, ...)
   local count = select("#", ...)
   local a, b, c, d = ...
   if count <= 4 and type(a) ~= "cdata" and type(b) ~= "cdata" and type(c) ~= "cdata" and
      type(d) ~= "cdata" then
      return string.format(fmt, ...)
   end
   local list = { ... }
   for i = 1, count do
      list[i] = as_string(list[i]) or list[i]
   end
   return string.format(fmt, unpack(list, 1, count))
end

-- Positions made plain first: LuaJIT of 2022 compiles ("abc"):sub(2, -8) to "bc".
local function ranged(fn, name, last)
   return function(value, i, j)
      value = as_string(value) or value
      if type(value) == "number" then
         value = tostring(value)
      end
      i = i == nil and 1 or tonumber(i)
      j = j == nil and (last or i) or tonumber(j)
      if type(value) ~= "string" or not i or not j then
         return string[name](value, i, j) -- for its message
      end
      local len = #value
      if i < 0 then i = len + i + 1 end
      if j < 0 then j = len + j + 1 end
      if i < 1 then i = 1 end
      if j > len then j = len end
      if i > j then
         i, j = 1, 0
      end
      return fn(value, i, j)
   end
end

-- Calls that go from Lua through C to Lua again stand on the thread's own stack,
-- whose end nobody looks at: LuaJIT does not, and the process would be gone.
local NESTED_MAX = 100
local nested = 0

local function enter()
   if nested >= NESTED_MAX then
      error("stack overflow (coroutines, or functions given to string.gsub, in one another)", 3)
   end
   nested = nested + 1
end

local function leave(...)
   nested = nested - 1
   return ...
end

local function leave_or_fail(ok, ...)
   nested = nested - 1
   if not ok then
      error((...), 0)
   end
   return ...
end

local function gsub(value, pattern, replacement, count)
   value, pattern = as_string(value) or value, as_string(pattern) or pattern
   local kind = type(replacement)
   if kind ~= "function" and kind ~= "table" then
      return string.gsub(value, pattern, as_string(replacement) or replacement, count)
   end
   enter()
   return leave_or_fail(pcall(string.gsub, value, pattern, replacement, count))
end

local function coroutine_library()
   local coroutines = copy(coroutine)
   coroutines.resume = function(thread, ...)
      if type(thread) ~= "thread" then
         return coroutine.resume(thread) -- for its message
      end
      enter()
      return leave(coroutine.resume(thread, ...))
   end
   coroutines.wrap = function(fn)
      local thread = coroutine.create(fn)
      return function(...)
         enter()
         return leave_or_fail(coroutine.resume(thread, ...))
      end
   end
   return coroutines
end

local function string_library()
   local strings = {}
   for _, name in ipairs { "find", "gmatch", "len", "lower", "match", "reverse",
                           "upper" } do
      strings[name] = taking_text(string[name])
   end
   strings.sub = ranged(string.sub, "sub", -1)
   strings.byte = ranged(string.byte, "byte")
   strings.char, strings.gsub = string.char, gsub
   strings.format = format
   strings.rep = function(value, count, separator)
      value = as_string(value) or value
      separator = separator and (as_string(separator) or separator)
      local size = (#tostring(value) + #tostring(separator or "")) * (tonumber(count) or 0)
      if size > REP_MAX then
         error(("string.rep would make %.0f bytes; at most %d are allowed")
            :format(size, REP_MAX), 2)
      end
      return string.rep(value, count, separator)
   end
   return strings
end

local function table_library()
   local tables = copy(table)
   tables.concat = function(list, separator, i, j)
      separator = as_string(separator) or separator
      if type(list) == "table" then
         local strings = list
         for n = i or 1, j or #list do
            if type(list[n]) == "cdata" then
               strings = strings == list and copy(list) or strings
               strings[n] = as_string(list[n]) or list[n]
            end
         end
         list = strings
      end
      return table.concat(list, separator, i, j)
   end
   return tables
end

-- Basic functions ----------------------------------------------------------

local function type_of(...)
   if select("#", ...) == 0 then
      error("bad argument #1 to 'type' (value expected)", 2)
   end
   local value = ...
   local kind = type(value)
   if kind ~= "cdata" then
      return kind
   elseif is_text(value) then
      return "view"
   elseif record.is_record(value) then
      return "record"
   end
   return "row"
end

local function tonumber_of(value, base)
   if type(value) == "cdata" then
      value = as_string(value)
   end
   if base == nil then
      return tonumber(value)
   end
   return tonumber(value, base)
end

local muted = false

--- While a job is only tried, its print() says nothing.
function M.mute(yes)
   muted = yes
end

local function print_of(...)
   if muted then
      return
   end
   local list = {}
   for i = 1, select("#", ...) do
      list[i] = tostring((select(i, ...)))
   end
   C.tide_ffi_log(INFO, table.concat(list, "\t"))
end

local function getmetatable_of(value)
   if type(value) ~= "table" then
      return nil
   end
   return getmetatable(value)
end

local function unpack_of(list, i, j)
   i, j = i or 1, j or (type(list) == "table" and #list or 0)
   if type(i) == "number" and type(j) == "number" and j - i >= UNPACK_MAX then
      error(("unpack: %.0f values at once; at most %d are allowed")
         :format(j - i + 1, UNPACK_MAX), 2)
   end
   return unpack(list, i, j)
end

local absent = {
   os = "jobs have no os: tide.now() is the time, tide.format and tide.parse convert it, " ..
      'tide.setting("key") reads --set key=value',
   io = "jobs have no io: rows leave through :to(…), print() writes to the log",
   debug = "jobs have no debug library", ffi = "jobs have no ffi",
   package = "jobs have no package library: require loads modules beside the job file",
   jit = "jobs have no jit library",
   load = "jobs cannot compile code", loadstring = "jobs cannot compile code",
   loadfile = "jobs cannot read files: require loads modules beside the job file",
   dofile = "jobs cannot read files: require loads modules beside the job file",
   setfenv = "jobs cannot change environments", getfenv = "jobs cannot read environments",
   module = "a module is a file that returns a table",
   newproxy = "jobs have no newproxy", collectgarbage = "jobs do not control the collector",
   gcinfo = "jobs do not control the collector",
}

local function strict(env)
   return {
      __metatable = false,
      __index = function(_, key)
         if absent[key] then
            error(absent[key], 0)
         end
         error(('no variable "%s"'):format(tostring(key)) ..
            (names.nearest(key, names.sorted(env)) and names.hint(key, names.sorted(env)) or
             ": it was never given a value"), 0)
      end,
   }
end

local function math_library()
   local maths = copy(math)
   maths.random = function()
      error("math.random cannot be repeated after a crash: use tide.random()", 2)
   end
   maths.randomseed = nil
   return maths
end

--- A new environment. `require_of` is its require.
function M.new(require_of)
   local env = {
      assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, pcall = pcall,
      rawequal = rawequal, rawget = rawget, rawset = rawset, select = select,
      setmetatable = setmetatable, tostring = tostring, xpcall = xpcall,
      getmetatable = getmetatable_of, print = print_of, require = require_of,
      tonumber = tonumber_of, type = type_of, unpack = unpack_of, _VERSION = _VERSION,
      bit = copy(bit), coroutine = coroutine_library(), math = math_library(),
      string = string_library(), table = table_library(),
   }
   env.table.unpack = env.table.unpack and unpack_of
   env._G = env
   return setmetatable(env, strict(env))
end

--- ("x"):method() in this Lua state uses sealed functions from now on, which no
--- job can reach to change.
function M.seal()
   native.once("sealed", function()
      local meta = debug.getmetatable ""
      meta.__index = string_library()
      meta.__metatable = false
      return true
   end)
end

-- Loading ------------------------------------------------------------------

-- Read once for a version of the job: a Lua state that is made later for the same
-- version gets the same text.
local function read(path)
   errors.want(path)
   local kept = C.tide_ffi_source(ctx, path, kept_len)
   if kept ~= nil then
      return ffi.string(kept, kept_len[0])
   end
   local file = io.open(path, "rb")
   if not file then
      return nil
   end
   local source = file:read "*a"
   file:close()
   if not C.tide_ffi_source_keep(ctx, path, source, #source) then
      error("not enough memory", 0)
   end
   return source
end

local function compile(path, source, env)
   if source:sub(1, 1) == "\27" then
      errors.at(path, 0, "this is compiled Lua; jobs are loaded from source only")
   elseif source:sub(1, 2) == "#!" then
      source = "--" .. source
   end
   local chunk, message = load(source, errors.source(path, source), "t", env)
   if chunk then
      return chunk
   end
   local line, what = message:match ":(%d+): (.*)$"
   errors.at(path, tonumber(line) or 0, "syntax error: %s", what or message)
end

local function require_for(job, directory)
   local loaded, loading = {}, {}
   return function(name)
      name = as_string(name) or name
      if name == "tidemark" then
         return job.module
      elseif type(name) ~= "string" or not name:match "^[%w_]+[%w_.]*$" or
         name:find("..", 1, true) then
         error(('require "%s": jobs can require "tidemark" and modules beside the job file')
            :format(tostring(name)), 0)
      elseif loaded[name] ~= nil then
         return loaded[name]
      elseif loading[name] then
         error(('require "%s": this module requires itself'):format(name), 0)
      end
      local path = directory .. name:gsub("%.", "/") .. ".lua"
      local source = read(path)
      if not source then
         error(('require "%s": no file %s; jobs can require "tidemark" and modules beside the ' ..
                'job file'):format(name, path), 0)
      end
      loading[name] = true
      job.files[name] = source
      local chunk = compile(path, source, job.env)
      job.chunks[#job.chunks + 1] = chunk
      local value = chunk()
      loaded[name] = value == nil and true or value
      return loaded[name]
   end
end

--- Load a job file. Returns what it returned, its sources in a stable order,
--- and its compiled files, itself first.
function M.load(path, module)
   local source = read(path)
   if not source then
      errors.at(path, 0, "cannot read this job file: check the path")
   end
   local job = { module = module, files = {}, chunks = {} }
   job.env = M.new(require_for(job, path:match "^(.*/)[^/]*$" or ""))
   job.chunks[1] = compile(path, source, job.env)
   local value = errors.watched(job.chunks[1])
   local files = { source }
   for _, name in ipairs(names.sorted(job.files)) do
      files[#files + 1] = job.files[name]
   end
   return value, files, job.chunks
end

return M
