-- SPDX-License-Identifier: Apache-2.0
-- What a job may say and yet hardly means: views as keys of plain tables, and
-- variables outside its functions that they assign. Warnings, not errors.
local bytecode = require "tidemark.bytecode"
local errors = require "tidemark.errors"
local flow = require "tidemark.lint_flow"
local trial = require "tidemark.trial"
local values = require "tidemark.lint_values"

local M = {}

-- A comment that ends a line and says that it is meant.
local MEANT = "%-%-.*tidemark: ok%s*$"

local RESTART = "what is kept there is gone after a restart and is another in each worker"
local INSTEAD = "keep what must last in an aggregate (:group_by and then :count, :sum or " ..
   ":aggregate)"

local function quoted(name)
   return name and ('"%s"'):format(name) or "a table"
end

local messages = {}

function messages.key(name)
   return ("text of a batch is a key of %s: in a plain table each view is a key of its own and " ..
           "never meets an equal one; use tostring() here, or make the table a tide.set or " ..
           "tide.map"):format(quoted(name))
end

function messages.upvalue(name)
   return ("%s is assigned but belongs outside this function: %s; %s"):format(
      quoted(name), RESTART, INSTEAD)
end

function messages.table(name)
   return ("%s is changed but belongs outside this function: %s; %s"):format(
      quoted(name), RESTART, INSTEAD)
end

function messages.tried(name)
   return ("%s is changed when the function here is tried on a few records, but belongs outside " ..
           "it: %s; %s"):format(quoted(name), RESTART, INSTEAD)
end

function messages.global(name, inside)
   name = quoted(name or "_G")
   if inside then
      return ("the global %s is assigned: %s; write local where it is meant for this function, " ..
              "or %s"):format(name, RESTART, INSTEAD)
   end
   return ("the global %s is assigned: every file of the job sees and can change it; write local")
      :format(name)
end

-- Collecting -----------------------------------------------------------------

local function collector()
   local list, seen = {}, {}
   return list, function(path, line, message)
      local text = errors.line_text(path, line)
      local id = ("%s:%d:%s"):format(path, line, message)
      if seen[id] or (text and text:find(MEANT)) then
         return
      end
      seen[id] = true
      list[#list + 1] = { path = path, line = line, message = message, source = text }
   end
end

-- What every function of a file does, run or not.
local function assigned_globals(chunk, add)
   local main, all = bytecode.read(chunk)
   for _, proto in ipairs(all) do
      for pc, instruction in ipairs(proto.code) do
         if instruction.op == "GSET" then
            add(proto.source:sub(2), proto.lines[pc],
                messages.global(proto.objects[instruction.d], proto ~= main))
         end
      end
   end
end

local function arguments(step)
   return { step.parent.schema.record and values.record or values.row }
end

-- Every function that a step calls for its rows. Gives those that take rows.
local function follow_steps(analysis, program)
   local takers = {}
   for _, step in ipairs(program.steps) do
      if step.fact.fn then
         flow.follow(analysis, step.fact.fn, arguments(step))
         takers[#takers + 1] = step.fact.fn
      end
      for _, aggregate in ipairs(step.aggregates or {}) do
         local spec, condition = aggregate.spec, aggregate.condition
         for _, fn in ipairs(spec.built_in and {} or { spec.add, spec.merge, spec.result }) do
            flow.follow(analysis, fn, {})
         end
         if condition and condition.fn then
            flow.follow(analysis, condition.fn, {})
         end
      end
   end
   return takers
end

local function by_place(program)
   return function(a, b)
      if a.path ~= b.path then
         return a.path == program.path or (b.path ~= program.path and a.path < b.path)
      elseif a.line ~= b.line then
         return a.line < b.line
      end
      return a.message < b.message
   end
end

--- Look through a loaded job, running nothing. `chunks` are its files, compiled.
function M.look(program, chunks, tide)
   local list, add = collector()
   for _, warning in ipairs(program.warnings) do
      add(warning.path, warning.line, warning.message)
   end
   local look = { program = program, list = list, add = add, takers = {}, told = {} }
   if not bytecode.known() then
      return look
   end
   for _, chunk in ipairs(chunks) do
      assigned_globals(chunk, add)
   end
   local analysis = flow.new(debug.getfenv(chunks[1]), tide, errors.knows,
      function(proto, pc, kind, name)
         add(proto.source:sub(2), proto.lines[pc], messages[kind](name, true))
      end)
   look.takers, look.told = follow_steps(analysis, program), analysis.told
   return look
end

--- Begin to try the job on a few records: see trial.lua.
function M.try(look)
   look.trial = trial.begin(look.takers, look.told)
end

--- The trial is over.
function M.tried(look)
   for _, changed in ipairs(trial.finish(look.trial)) do
      look.add(changed.path, changed.line, messages.tried(changed.name))
   end
   look.trial = nil
end

--- What was found in the order of lines: path, line, message and source text.
function M.warnings(look)
   table.sort(look.list, by_place(look.program))
   return look.list
end

return M
