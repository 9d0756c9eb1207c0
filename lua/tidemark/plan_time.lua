-- SPDX-License-Identifier: Apache-2.0
-- Event time in the plan: watermarks, windows, and which output modes they allow.
local errors = require "tidemark.errors"
local options = require "tidemark.options"
local schema = require "tidemark.schema"
local time = require "tidemark.time"

local M = {}

-- Of one row; more are more states to update than anyone can want.
local WINDOWS_MAX = 1000
local IDLE, MAX_AHEAD = "30s", "5m"

-- A span as the job gave it and in milliseconds.
local function span_of(what, value, least)
   local ok, ms = pcall(time.ms, value)
   if not ok or type(ms) ~= "number" or ms % 1 ~= 0 or ms < least then
      local shown = type(value) == "string" and ('"%s"'):format(value) or tostring(value)
      error(('%s wants a time span like "10s", not %s'):format(what, shown), 0)
   end
   return ms, type(value) == "string" and value or ("%dms"):format(value)
end

--- The topics whose rows come to a step, for names.
function M.topics(program, step)
   local list = {}
   for i, input in ipairs(step.inputs) do
      list[i] = program.inputs[input].options.topics
   end
   return table.concat(list, ",")
end

-- Watermarks -----------------------------------------------------------------

local function check_place(parent)
   if parent.root then
      error(":watermark comes before :dedup, which forgets keys by it", 0)
   elseif parent.keyed then
      error(":watermark comes before :group_by. These rows are aggregated already: a watermark " ..
         "here would drop nothing that is late and clean no state; move it up, behind the step " ..
         "that makes its column", 0)
   elseif parent.mark then
      error((":watermark: this stream has one already (line %d), and it cannot have two; start " ..
         "both from the stream before them"):format(parent.mark.line), 0)
   end
end

local function check_column(row, name)
   local column, number = schema.find(row, name, ":watermark")
   if column.type ~= "timestamp" then
      error((':watermark wants a column of type timestamp, and "%s" is %s; declare it ' ..
         '"%s:timestamp"'):format(name, column.type, name), 0)
   end
   return number
end

--- A watermark step: what it needs is in step.mark, which later steps inherit.
function M.watermark(program, fact, parent, step_new)
   check_place(parent)
   local number = check_column(parent.schema, fact.column)
   local delay, delay_text = span_of(":watermark", fact.delay, 0)
   local given = options.check("watermark", ":watermark", fact.options)
   local per_partition = given.per_partition == "true"
   if given.idle and not per_partition then
      error(":watermark: idle says when a partition no longer holds the others back, which it " ..
         "only does with per_partition = true", 0)
   end
   local step = step_new(program, fact, parent, "watermark", parent.schema)
   local ahead = given.max_ahead or MAX_AHEAD
   local topics = M.topics(program, parent)
   program.marks[#program.marks + 1] = step
   step.column, step.mark, step.number = number, step, #program.marks
   step.delay, step.per_partition = delay, per_partition
   step.idle = time.ms(given.idle or IDLE)
   step.ahead = ahead == "false" and -1 or time.ms(ahead)
   step.name = given.name or ("%s.%s"):format(topics, fact.column)
   step.text = ("watermark(%s, %s%s)"):format(fact.column, delay_text,
      per_partition and ", per partition" or "")
   return step
end

-- Windows ----------------------------------------------------------------------

local function check_group(step, group)
   if group.window then
      error((":%s: these groups have a %s already (line %d)"):format(step, group.window.kind,
         group.line), 0)
   elseif not group.mark then
      error((':%s goes by event time, and this stream has none: :watermark("column", ' ..
         '"30s") comes before :group_by'):format(step), 0)
   elseif #group.keys > 15 then
      error((":group_by takes at most 15 columns with a %s, not %d"):format(step, #group.keys), 0)
   elseif #group.schema.columns > 255 then
      error(("a row that goes into a %s has at most 255 columns"):format(step), 0)
   end
end

--- A window step behind a group_by, which stands for it from then on.
function M.window(program, fact, group, step_new)
   check_group("window", group)
   local size, size_text = span_of(":window", fact.size, 1)
   local slide, slide_text = size, nil
   if fact.slide then
      slide, slide_text = span_of(":window: the second span", fact.slide, 1)
   end
   if slide > size then
      error((":window: a slide of %s leaves gaps between windows of %s, and rows in them would " ..
         "be lost; a slide is at most the size"):format(slide_text, size_text), 0)
   elseif size / slide > WINDOWS_MAX then
      error((":window: each row would be in %d windows, and %d are the most; take a longer slide")
         :format(math.ceil(size / slide), WINDOWS_MAX), 0)
   end
   local given = options.check("window", ":window", fact.options)
   local offset = time.ms(given.offset or 0)
   if offset >= slide then
      error((":window: an offset of %s is no less than from one window to the next (%s)")
         :format(given.offset, slide_text or size_text), 0)
   end
   local step = step_new(program, fact, group, "window", group.schema)
   step.keys, step.name, step.event_time = group.keys, group.name, group.event_time
   step.window = { kind = "window", size = size, slide = slide, offset = offset,
                   late = given.late or "closed",
                   text = size_text .. (slide ~= size and ", " .. slide_text or "") }
   step.text = ("window(%s%s%s)"):format(step.window.text,
      offset > 0 and ", offset " .. given.offset or "",
      given.late == "strict" and ", strict" or "")
   return step
end

--- The same for sessions: windows that begin with a row and end a gap behind the
--- last one.
function M.session(program, fact, group, step_new)
   check_group("session", group)
   local gap, gap_text = span_of(":session", fact.gap, 1)
   local given = options.check("session", ":session", fact.options)
   local step = step_new(program, fact, group, "session", group.schema)
   step.keys, step.name, step.event_time = group.keys, group.name, group.event_time
   step.window = { kind = "session", session = true, size = gap, slide = gap, offset = 0,
                   late = given.late or "closed", text = gap_text }
   step.text = ("session(%s%s)"):format(gap_text, given.late == "strict" and ", strict" or "")
   return step
end

--- The name of the column that tells these rows' event time, where they still have it.
function M.event_time(step)
   local mark = step.mark
   local name = mark and mark.schema.columns[mark.column].name
   for _, column in ipairs(mark and step.schema.columns or {}) do
      if column.name == name and column.type == "timestamp" then
         return name
      end
   end
   return nil
end

--- The columns that windows put before those of the key.
function M.columns(group)
   if not group.window then
      return {}
   end
   return { schema.column "window_start:timestamp", schema.column "window_end:timestamp" }
end

-- Modes ----------------------------------------------------------------------------

local function is_session(keyed)
   return keyed and keyed.group.window and keyed.group.window.session
end

--- What a sink does where the job does not say.
function M.default_mode(keyed, updates)
   return (keyed and not is_session(keyed) or updates) and "update" or "append"
end

--- Whether rows of that kind can be put out in this mode; refuses with the reason.
function M.check_mode(mode, keyed, updates)
   if updates then
      if mode ~= "update" then
         error(('mode = "%s": behind :dedup { keep = "latest" } a row may come again in a newer ' ..
            'version, so these are updates; use mode = "update", or keep = "first"')
            :format(mode), 0)
      end
   elseif not keyed and mode ~= "append" then
      error(('mode = "%s" is for aggregated rows, and these are not: each row is new; use ' ..
         'mode = "append", or :group_by(…) and an aggregate before :to'):format(mode), 0)
   elseif keyed and mode == "append" and not keyed.group.window then
      error('mode = "append" puts out rows that are final, and an aggregate without a window ' ..
         'never is; use mode = "update" (rows that changed), or :watermark(…) before and ' ..
         ':window(…) behind :group_by', 0)
   elseif mode == "update" and is_session(keyed) then
      error('mode = "update" puts out a row for each key that changed, and a session has no key ' ..
         'that stays: a row may extend it or make one of two, and nothing would take back what ' ..
         'was put out of them; use mode = "append" (sessions that are over), mode = "complete", ' ..
         'or :window(…) for figures that are updated', 0)
   end
end

-- Complete mode keeps everything; the others let go of what is over.
local function late_of(keyed)
   local group = keyed.group
   if not group.mark or keyed.modes.complete then
      return "never"
   end
   return group.window and group.window.late or "strict"
end

local function warn_of_growth(program, keyed)
   local mark = keyed.group.mark
   program.warnings[#program.warnings + 1] = { path = keyed.path, line = keyed.line,
      message = ('the state of "%s" is never cleaned: its key has no window, so the watermark ' ..
         'of line %d only drops late rows, and the state grows with the number of keys; ' ..
         ':window(…) behind :group_by lets go of what is over'):format(keyed.name, mark.line) }
end

local function settle(program, keyed)
      local complete = keyed.modes.complete
      local other = keyed.modes.update or keyed.modes.append
      if keyed.group.mark and complete and other then
         errors.at(complete.path, complete.line, 'mode = "complete" keeps every row and drops ' ..
            'nothing as late, and mode = "%s" (line %d) lets go of what the watermark has ' ..
            'passed: they cannot share "%s"; build the grouping twice, with name = "…" on one',
            other.options.mode, other.line, keyed.name)
      end
      keyed.late = late_of(keyed)
      if keyed.group.mark and not keyed.group.window then
         warn_of_growth(program, keyed)
      end
end

--- After all outputs are known: what each keyed operator does with late rows.
function M.settle(program)
   for _, keyed in ipairs(program.keyed) do
      if keyed.kind == "dedup" then
         keyed.late = "strict"
      else
         settle(program, keyed)
      end
   end
end

return M
