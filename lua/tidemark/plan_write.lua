-- SPDX-License-Identifier: Apache-2.0
-- A checked program written down for C (src/record/plan.h).
local names = require "tidemark.names"
local native = require "tidemark.native"
local schema = require "tidemark.schema"

local C = native.C
local M = {}

local function check(ok)
   if ok == false or ok == -1 then
      error("out of memory for the plan", 0)
   end
   return ok
end

local function write_options(plan, add, options)
   for _, key in ipairs(names.sorted(options)) do
      check(add(plan, key, options[key]))
   end
end

local function write_input(plan, step)
   check(C.tide_ffi_plan_input(plan, "kafka", step.line))
   write_options(plan, C.tide_ffi_plan_input_option, step.options)
end

-- A bit for each.
local function inputs_of(step)
   local mask = 0
   for _, input in ipairs(step.inputs) do
      mask = mask + 2 ^ (input - 1)
   end
   return mask
end

local function write_mark(plan, step)
   check(C.tide_ffi_plan_mark(plan, step.name, inputs_of(step), step.line))
   C.tide_ffi_plan_mark_options(plan, step.delay, step.per_partition, step.idle, step.ahead)
   if step.of then
      C.tide_ffi_plan_mark_of(plan, step.of - 1)
   end
end

-- Numbers of enum tide_late.
local lates = { never = 0, closed = 1, strict = 2 }

local function write_late(plan, step)
   local own = step.mark and step.mark.number - 1 or -1
   check(C.tide_ffi_plan_late(plan, step.counts and step.late_name or "", step.watch.number - 1,
                              own, lates[step.late], step.share))
   local window = step.window
   if window then
      -- A session of one row is as a window that begins with any microsecond.
      C.tide_ffi_plan_late_window(plan, window.size, window.session and 0.001 or window.slide,
                                  window.offset)
   end
   for _, column in ipairs(step.columns) do
      C.tide_ffi_plan_late_column(plan, column.number - 1, column.text)
   end
end

local function write_time(plan, step)
   local mark, window = step.group.mark, step.group.window
   if window then
      C.tide_ffi_plan_keyed_time(plan, mark.number - 1, lates[step.late], window.size,
                                 window.slide, window.offset)
      if window.session then
         C.tide_ffi_plan_keyed_session(plan)
      end
   elseif mark then
      C.tide_ffi_plan_keyed_time(plan, mark.number - 1, lates[step.late], 0, 0, 0)
   end
end

-- The row, and the window's end behind it, which then leads the key.
local function row_and_keys(group)
   local columns, keys = { unpack(group.schema.columns) }, { unpack(group.keys) }
   if group.window then
      columns[#columns + 1] = { name = "window_end", type = "timestamp", nullable = false }
      table.insert(keys, 1, #columns)
   end
   return columns, keys
end

local function write_dedup(plan, step)
   local columns = { unpack(step.schema.columns) }
   for _, column in ipairs(step.hidden) do
      columns[#columns + 1] = column
   end
   check(C.tide_ffi_plan_keyed(plan, step.name, inputs_of(step), step.layout, step.line))
   check(C.tide_ffi_plan_keyed_sizes(plan, #columns, #step.keys, 0, step.latest and 24 or 8))
   for i, column in ipairs(columns) do
      C.tide_ffi_plan_keyed_row(plan, i - 1, column.name, schema.types[column.type],
                                column.nullable)
   end
   for i, key in ipairs(step.keys) do
      C.tide_ffi_plan_keyed_key(plan, i - 1, key - 1)
   end
   C.tide_ffi_plan_keyed_time(plan, step.mark.number - 1, lates[step.late], 0, 0, 0)
   C.tide_ffi_plan_keyed_dedup(plan, step.within, step.latest)
   C.tide_ffi_plan_keyed_level(plan, step.level - 1)
end

local function write_keyed(plan, step)
   if step.kind == "dedup" then
      return write_dedup(plan, step)
   end
   local columns, keys = row_and_keys(step.group)
   check(C.tide_ffi_plan_keyed(plan, step.name, inputs_of(step), step.layout, step.line))
   local args = {}
   for _, aggregate in ipairs(step.aggregates) do
      for _, column in ipairs(aggregate.columns) do
         args[#args + 1] = column - 1
      end
   end
   check(C.tide_ffi_plan_keyed_sizes(plan, #columns, #keys, #args, step.state_size))
   for i, column in ipairs(args) do
      C.tide_ffi_plan_keyed_arg(plan, i - 1, column)
   end
   for i, column in ipairs(columns) do
      C.tide_ffi_plan_keyed_row(plan, i - 1, column.name, schema.types[column.type],
                                column.nullable)
   end
   for i, key in ipairs(keys) do
      C.tide_ffi_plan_keyed_key(plan, i - 1, key - 1)
   end
   write_time(plan, step)
   C.tide_ffi_plan_keyed_level(plan, step.root and step.root.level or 0)
   C.tide_ffi_plan_keyed_version(plan, step.version, step.migrate ~= nil)
end

local function write_output(plan, step)
   local keyed = (step.keyed or 0) - 1
   local inputs = keyed < 0 and step.inputs and inputs_of(step) or 0
   check(C.tide_ffi_plan_output(plan, inputs, keyed, step.sink, step.name, step.line))
   check(C.tide_ffi_plan_output_size(plan, #step.schema.columns))
   for i, column in ipairs(step.schema.columns) do
      C.tide_ffi_plan_output_row(plan, i - 1, column.name, schema.types[column.type],
                                 column.nullable)
   end
   write_options(plan, C.tide_ffi_plan_output_option, step.options)
   if step.late_name and not step.keyed then
      check(C.tide_ffi_plan_output_option(plan, "late", "true"))
   end
end

--- Add what the lint found, one by one.
function M.warning(plan, found)
   check(C.tide_ffi_plan_warning(plan, found.path, found.line, found.message, found.source or ""))
end

--- Add the paths of the files that the job consists of.
function M.files(plan, paths)
   for _, path in ipairs(paths) do
      check(C.tide_ffi_plan_file(plan, path))
   end
end

-- For people: a union stands in its first branch's place, and the others lead to it.
local function write_steps(plan, program)
   local numbers = {}
   for _, step in ipairs(program.steps) do
      if step.kind ~= "branch" or step.union.branches[1] ~= step then
         local kind = step.kind == "input" and "kafka" or step.kind == "output" and step.sink
            or step.kind
         local parent = step.kind == "union" and step.parent.parent or step.parent
         numbers[step] = check(C.tide_ffi_plan_step(plan, parent and numbers[parent] or -1, kind,
                                                    step.text, step.line))
      end
      for n = 2, #(step.branches or {}) do
         C.tide_ffi_plan_step_joins(plan, numbers[step.branches[n]], numbers[step])
      end
   end
end

--- Fill `plan` (a struct tide_plan *). `files` are the sources that the job
--- consists of, in a stable order.
function M.write(plan, program, files)
   check(C.tide_ffi_plan_job(plan, program.name, program.path))
   for _, source in ipairs(files) do
      C.tide_ffi_plan_hash(plan, source, #source)
   end
   write_options(plan, C.tide_ffi_plan_setting, program.job)
   for _, step in ipairs(program.inputs) do
      write_input(plan, step)
   end
   for _, step in ipairs(program.marks) do
      write_mark(plan, step)
   end
   for _, step in ipairs(program.lates) do
      write_late(plan, step)
   end
   for _, step in ipairs(program.keyed) do
      write_keyed(plan, step)
   end
   for _, step in ipairs(program.outputs) do
      write_output(plan, step)
   end
   write_steps(plan, program)
end

return M
