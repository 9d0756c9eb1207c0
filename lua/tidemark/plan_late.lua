-- SPDX-License-Identifier: Apache-2.0
-- Late rows in the plan: a stream of them, and sinks for them on the way.
local errors = require "tidemark.errors"
local options = require "tidemark.options"
local schema = require "tidemark.schema"
local time = require "tidemark.time"

local M = {}

-- The steps that one stands for which let rows pass as they are.
local function before(fact)
   while fact.kind == "late_to" do
      fact = fact.parent
   end
   return fact
end

local function check_place(what, parent)
   if parent.keyed then
      error(what .. ": these rows are aggregated already; late are rows before :group_by", 0)
   elseif parent.root then
      error((":%s: what :dedup lets pass is never late; :late_to right behind it shows what it " ..
         "drops, and before it, :late shows the same"):format(what:match "%w+"), 0)
   elseif parent.late_name then
      error(what .. ": these rows are late already" .. (parent.mark and
         ", and those later than within are only counted" or ""), 0)
   elseif not parent.mark then
      error(('%s: nothing is late without a watermark: :watermark("column", "30s") comes ' ..
         'before it'):format(what), 0)
   end
end

-- The columns whose values it counts that had late rows.
local function write_columns(what, step, list)
   if #list > 16 then
      error(("%s: by takes at most 16 columns, not %d"):format(what, #list), 0)
   end
   for i, name in ipairs(list) do
      local column, number = schema.find(step.schema, name, what)
      step.columns[i] = { number = number,
                          text = column.type == "string" or column.type == "bytes" }
   end
end

-- A watermark that what is late goes on by; the first one observes for it.
local function mark_behind(program, fact, step, within)
   local watch = step.watch
   local mark = { kind = "late", name = step.late_name, path = fact.path, line = fact.line,
                  inputs = step.inputs, delay = within, per_partition = watch.per_partition,
                  idle = watch.idle, ahead = watch.ahead, of = watch.number,
                  column = watch.column, schema = watch.schema }
   program.marks[#program.marks + 1] = mark
   mark.number = #program.marks
   return mark
end

local function sieve(program, fact, parent, step_new, sample)
   local step = step_new(program, fact, parent, "late", parent.schema)
   step.watch, step.columns = parent.mark, {}
   step.share, step.late = tonumber(sample or 1), "strict"
   step.late_name = ("late(%s)"):format(parent.mark.name)
   program.lates[#program.lates + 1] = step
   step.sieve = #program.lates
   step.mark = nil
   return step
end

local function shown(step, within, to)
   step.text = ("late(%s%s)%s"):format(within and ("within %s"):format(within) or
      ("for watermark %s"):format(step.watch.name),
      step.share < 1 and (", %g %% of them"):format(step.share * 100) or "", to or "")
end

-- Rows of a stream that are late for its watermark.
local function of_stream(program, fact, what, parent, given, step_new)
   check_place(what, parent)
   local within = given.within and time.ms(given.within)
   if within and within <= parent.mark.delay then
      error(("%s: within = %q leaves nothing: the watermark of line %d is that far behind, and " ..
         "late is what is before it; take a longer span"):format(what, given.within,
         parent.mark.line), 0)
   end
   local step = sieve(program, fact, parent, step_new, given.sample)
   step.counts = true
   step.late_name = given.name or step.late_name
   step.name = step.late_name
   write_columns(what, step, type(given.by) == "table" and given.by or { given.by })
   step.mark = within and mark_behind(program, fact, step, within) or nil
   shown(step, given.within)
   return step
end

--- stream:late { within, sample, by, name }
function M.late(program, fact, parent, step_new)
   return of_stream(program, fact, ":late", parent, options.check("late", ":late", fact.options),
                    step_new)
end

-- Rows that groups drop once they are aggregated: from where they come in.
local function of_group(program, fact, group, given, step_new)
   if not group.mark then
      error(':late_to: nothing is late without a watermark: :watermark("column", "30s") comes ' ..
         'before :group_by', 0)
   end
   local from = group
   while from.kind ~= "group_by" do
      from = from.parent
   end
   local step = sieve(program, fact, from.parent, step_new, given.sample)
   if group.window then
      step.window, step.late = group.window, group.window.late
   end
   shown(step)
   return step
end

local function of_dedup(program, fact, dedup, given, step_new)
   local step = sieve(program, fact, dedup.parent, step_new, given.sample)
   shown(step)
   return step
end

--- :late_to(sinks…[, options]) of a stream, a dedup or groups: a step for the sinks.
function M.to(program, fact, parent, step_new)
   local of = before(fact.parent)
   local kinds = of.grouped or of.kind == "dedup"
   local given = options.check(kinds and "late_to_drops" or "late", ":late_to", fact.options)
   if of.grouped then
      return of_group(program, fact, parent, given, step_new)
   elseif of.kind == "dedup" then
      return of_dedup(program, fact, parent, given, step_new)
   end
   return of_stream(program, fact, ":late_to", parent, given, step_new)
end

--- A step that changes what groups drop cannot follow late_to.
function M.check_behind(fact)
   if fact.parent.kind == "late_to" then
      error((":late_to shows what windows drop, so it comes behind :%s"):format(fact.kind), 0)
   end
end

--- After all outputs are known: complete mode drops nothing.
function M.settle(program)
   for _, keyed in ipairs(program.keyed) do
      local fact = keyed.fact.parent
      while fact and fact.kind == "late_to" and keyed.kind == "aggregate" do
         if keyed.modes.complete then
            errors.at(fact.path, fact.line, ':late_to: with mode = "complete" (line %d) nothing ' ..
               'is late: it keeps every row; use mode = "update", or leave :late_to out',
               keyed.modes.complete.line)
         end
         fact = fact.parent
      end
   end
end

return M
