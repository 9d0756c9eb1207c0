-- SPDX-License-Identifier: Apache-2.0
-- Row functions tried on a few made-up records: which tables outside of them
-- are then other than before. For what cannot be followed in the code.
local errors = require "tidemark.errors"
local json = require "tidemark.json"
local native = require "tidemark.native"
local sandbox = require "tidemark.sandbox"

local C = native.C
local ENTRIES_MAX = 100000     -- to copy
local INSTRUCTIONS = 3e6       -- between looks at a row that takes long …
local LOOKS_MAX = 10           -- … until it is given up
local RECORDS = 6

local M = {}

-- Records --------------------------------------------------------------------

local texts = {
   int = function(n) return n end,
   double = function(n) return n + 0.5 end,
   bool = function(n) return n % 2 == 0 end,
   timestamp = function(n) return ("2024-01-01T00:00:0%d.000Z"):format(n) end,
   string = function(n) return "text " .. n end,
}
texts.bytes = texts.string

local function put(document, path, value)
   local name, rest = path:match "^([^.]+)%.(.+)$"
   if not name then
      document[path] = value
      return
   end
   if type(document[name]) ~= "table" then
      document[name] = {}
   end
   put(document[name], rest, value)
end

-- A document with every field that the steps below read.
local function fill(step, n, document)
   for _, child in ipairs(step.children) do
      if child.kind == "json" then
         for _, column in ipairs(child.schema.columns) do
            put(document, column.path, texts[column.type](n))
         end
      else
         fill(child, n, document)
      end
   end
   return document
end

--- Put records for an input into a batch. The second is like the first, the last
--- one is empty.
function M.sample(input, batch)
   for i = 1, RECORDS - 1 do
      local n = math.max(i - 1, 1)
      local document = fill(input, n, {})
      local value = next(document) and json.encode(document) or ("Some text, number " .. n)
      local key = "key " .. n
      C.tide_ffi_batch_add(batch, key, #key, value, #value, "name " .. n, "value " .. n)
   end
   C.tide_ffi_batch_add(batch, nil, 0, nil, 0, nil, nil)
end

-- Tables -----------------------------------------------------------------------

local function copy_of(value)
   local copy = {}
   for key, item in next, value do
      copy[key] = item
   end
   return copy
end

local function same(value, copy)
   for key, item in next, value do
      local before = copy[key]
      if not rawequal(item, before) and (item == item or before == before) then
         return false
      end
   end
   for key in next, copy do
      if rawget(value, key) == nil then
         return false
      end
   end
   return true
end

local visit

local function visit_table(seen, value, name, fn)
   seen.list[#seen.list + 1] = { value = value, copy = copy_of(value), name = name, fn = fn }
   for key, item in next, value do
      seen.left = seen.left - 1
      if seen.left < 0 then
         return
      end
      visit(seen, item, ("%s.%s"):format(name, tostring(key)), fn)
   end
   local meta = debug.getmetatable(value)
   visit(seen, meta and rawget(meta, "__index"), name, fn)
end

-- Every table that a function of the job can reach by its variables.
function visit(seen, value, name, fn)
   local kind = type(value)
   if (kind ~= "table" and kind ~= "function") or seen[value] or seen.left < 0 then
      return
   end
   seen[value] = true
   if kind == "table" then
      visit_table(seen, value, name, fn)
   elseif errors.knows(debug.getinfo(value, "S").source) then
      for i = 1, 255 do
         local upvalue, item = debug.getupvalue(value, i)
         if not upvalue then
            break
         end
         visit(seen, item, upvalue, fn)
      end
   end
end

local looks, endless

-- Not where the runtime is, which could not go on.
local function hurry()
   local info = debug.getinfo(2, "Sl")
   looks = looks + 1
   if looks >= LOOKS_MAX then
      debug.sethook(hurry, "", 1) -- no pcall of the job's gets away from that
      if errors.knows(info.source) then
         endless = endless or { path = info.source:sub(2), line = info.currentline }
         error("tried for too long", 0)
      end
   end
end

--- Remember the tables that these functions reach, but not those in `known`.
--- Until finish(), the JIT is off, so that a row without end is noticed.
function M.begin(functions, known)
   local seen = { list = {}, left = ENTRIES_MAX }
   for value in pairs(known) do
      seen[value] = true
   end
   for _, fn in ipairs(functions) do
      visit(seen, fn, "?", fn)
   end
   local trial = { tables = seen.list, jit = jit.status() }
   jit.off()
   looks, endless = 0, nil
   debug.sethook(hurry, "", INSTRUCTIONS)
   sandbox.mute(true)
   return trial
end

--- Path and line of what did not return, if anything.
function M.endless()
   return endless
end

--- The tables that are no longer what they were: path and line of the function
--- that reaches it, and its name.
function M.finish(trial)
   debug.sethook()
   if trial.jit then
      jit.on()
   end
   sandbox.mute(false)
   local list = {}
   for _, one in ipairs(trial.tables) do
      if not same(one.value, one.copy) then
         local info = debug.getinfo(one.fn, "S")
         list[#list + 1] = { path = info.source:sub(2), line = info.linedefined, name = one.name }
      end
   end
   return list
end

return M
