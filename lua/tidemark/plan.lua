-- SPDX-License-Identifier: Apache-2.0
-- The plan: what a job returned, checked step by step, as a tree of steps that
-- the driver compiles and C reads. Nothing here touches a record.
local aggregates = require "tidemark.aggregates"
local errors = require "tidemark.errors"
local options = require "tidemark.options"
local plan_dedup = require "tidemark.plan_dedup"
local plan_late = require "tidemark.plan_late"
local plan_time = require "tidemark.plan_time"
local plan_union = require "tidemark.plan_union"
local schema = require "tidemark.schema"
local sinks = require "tidemark.sinks"
local stream = require "tidemark.stream"

local M = {}

-- What one generated function can hold: Lua allows 200 locals, 60 upvalues.
local VALUES_MAX, AGGREGATES_MAX, STEPS_MAX, INPUTS_MAX = 100, 16, 150, 32

-- Errors of a check belong to the line where its step was built.
local function at(fact, check, ...)
   local results = { pcall(check, ...) }
   if results[1] then
      return unpack(results, 2, 4)
   elseif type(results[2]) == "table" then
      error(results[2], 0)
   end
   errors.at(fact.path, fact.line, results[2])
end

--- The name a job gave to a function, as well as the source tells.
local function function_name(fn)
   local info = debug.getinfo(fn, "S")
   local path = info.source:sub(2)
   local text = errors.line_text(path, info.linedefined) or ""
   return text:match("function%s+([%w_.:]+)%s*%(") or text:match("([%w_]+)%s*=%s*function")
      or ("function:%d"):format(info.linedefined)
end

local function step_new(program, fact, parent, kind, row)
   local step = { kind = kind, fact = fact, parent = parent, schema = row, children = {},
                  index = #program.steps + 1, path = fact.path, line = fact.line }
   if parent then
      step.inputs, step.keyed, step.mark = parent.inputs, parent.keyed, parent.mark
      step.root, step.updates = parent.root, parent.updates
      step.late_name = parent.late_name
      parent.children[#parent.children + 1] = step
   end
   program.steps[step.index] = step
   if step.index > STEPS_MAX then
      error(("a job has at most %d steps"):format(STEPS_MAX), 0)
   end
   return step
end

-- Steps --------------------------------------------------------------------

local visit

local checks = {}

function checks.input(program, fact)
   local given = options.check("kafka", "tide.kafka", fact.source.options)
   if given.topic and given.topics then
      error("tide.kafka: give topic or topics, not both", 0)
   end
   given.topics, given.topic = given.topic or given.topics, nil
   if not given.topics then
      error('tide.kafka wants a topic: tide.kafka { topic = "events" }', 0)
   end
   local step = step_new(program, fact, nil, "input", schema.record())
   program.inputs[#program.inputs + 1] = step
   step.inputs, step.options = { #program.inputs }, given
   if #program.inputs > INPUTS_MAX then
      error(("a job reads from at most %d tide.from"):format(INPUTS_MAX), 0)
   end
   step.text = ("kafka(topics=%s, start=%s)"):format(given.topics, given.start or "earliest")
   return step
end

-- "user_id=user.id:int" reads a nested field under a name of its own.
local function json_columns(list)
   if type(list) ~= "table" or #list == 0 then
      error(':json wants a list of columns like { "id:int", "source:string?" }', 0)
   end
   local columns = {}
   for i, text in ipairs(list) do
      local name, rest = tostring(text):match("^%s*([%w_]+)%s*=%s*(.+)$")
      columns[i] = schema.column(rest or text)
      columns[i].name = name or columns[i].name:gsub("%.", "_")
   end
   return schema.of(columns)
end

function checks.json(program, fact, parent)
   if not parent.schema.record then
      error(":json reads the value of a record: it comes first, right after tide.from", 0)
   end
   local sink = stream.facts(fact.options.malformed)
   local given = sink and {} or options.check("json", ":json", fact.options)
   local row = json_columns(fact.columns)
   if given.malformed == "null" then
      for _, column in ipairs(row.columns) do
         if not column.nullable then
            error((':json: malformed = "null" makes a row of nulls, but column "%s" may not be ' ..
               'null; write "%s:%s?"'):format(column.name, column.name, column.type), 0)
         end
      end
   end
   local step = step_new(program, fact, parent, "json", row)
   step.malformed_null = given.malformed == "null"
   if sink then
      program.letters[#program.letters + 1] = { step = step, sink = sink }
   end
   step.text = ("json -> %s"):format(schema.text(row))
   return step
end

function checks.filter(program, fact, parent)
   local step = step_new(program, fact, parent, "filter", parent.schema)
   step.text = ("filter(%s)"):format(function_name(fact.fn))
   return step
end

local function check_map(program, fact, parent)
   local row = schema.parse(fact.columns, "string", ":" .. fact.kind)
   if #row.columns > VALUES_MAX then
      error((":%s gives at most %d columns, not %d")
         :format(fact.kind, VALUES_MAX, #row.columns), 0)
   end
   local step = step_new(program, fact, parent, fact.kind, row)
   step.text = ("%s(%s) -> %s"):format(fact.kind, function_name(fact.fn), schema.text(row))
   return step
end
checks.map, checks.flat_map = check_map, check_map

checks["with"] = function(program, fact, parent)
   local column = schema.column(fact.column)
   local columns = { unpack(parent.schema.columns) }
   columns[#columns + 1] = column
   local step = step_new(program, fact, parent, "with", schema.of(columns))
   step.text = ("with(%s) -> %s"):format(schema.column_text(column), schema.text(step.schema))
   return step
end

function checks.select(program, fact, parent)
   local columns, from = {}, {}
   if #fact.columns == 0 then
      error(':select wants columns: :select { "id", "value" }', 0)
   end
   for i, name in ipairs(fact.columns) do
      columns[i], from[i] = schema.find(parent.schema, name, ":select")
   end
   local step = step_new(program, fact, parent, "select", schema.of(columns))
   step.from = from
   step.text = ("select -> %s"):format(schema.text(step.schema))
   return step
end

function checks.group_by(program, fact, parent)
   if parent.keyed then
      error(":group_by: these rows are already aggregated, and this version of tidemark runs " ..
         "one grouping per stream; group the stream before it in a second output instead", 0)
   elseif parent.updates then
      error(':group_by behind :dedup { keep = "latest" } would count a row once for each of its ' ..
         'versions; keep = "first" counts it once', 0)
   elseif #fact.columns > 16 then
      error((":group_by takes at most 16 columns, not %d"):format(#fact.columns), 0)
   end
   local keys, seen = {}, {}
   for i, name in ipairs(fact.columns) do
      local _, column = schema.find(parent.schema, name, ":group_by")
      if seen[column] then
         error((':group_by: column "%s" is there twice'):format(name), 0)
      end
      keys[i], seen[column] = column, true
   end
   local step = step_new(program, fact, parent, "group_by", parent.schema)
   step.keys, step.event_time = keys, plan_time.event_time(parent)
   step.name = options.check("group_by", ":group_by", fact.options).name
   step.text = ("group_by(%s)"):format(table.concat(fact.columns, ", "))
   return step
end

function checks.dedup(program, fact, parent)
   return plan_dedup.dedup(program, fact, parent, step_new)
end

function checks.watermark(program, fact, parent)
   return plan_time.watermark(program, fact, parent, step_new)
end

function checks.union(program, fact, parent)
   local parents = { parent }
   for i, other in ipairs(fact.others) do
      parents[i + 1] = visit(program, other)
   end
   return plan_union.union(program, fact, parents, step_new)
end

function checks.late(program, fact, parent)
   return plan_late.late(program, fact, parent, step_new)
end

-- What goes on is what there was; the sinks come behind those that are returned.
function checks.late_to(program, fact, parent)
   program.late_tos[#program.late_tos + 1] = { fact = fact, parent = parent }
   return parent
end

function checks.window(program, fact, group)
   plan_late.check_behind(fact)
   return plan_time.window(program, fact, group, step_new)
end

function checks.session(program, fact, group)
   plan_late.check_behind(fact)
   return plan_time.session(program, fact, group, step_new)
end

-- Text that changes when the meaning of the state does: key types, and for each
-- aggregate its name, what it is of, and its columns.
local function layout_text(step, key_columns)
   local parts = {}
   for i, column in ipairs(key_columns) do
      parts[i] = column.name .. ":" .. column.type
   end
   local text = { "key " .. table.concat(parts, ",") }
   if step.offset > 0 then
      text[2] = "(start)=of the session{start:timestamp, 8 bytes}"
   end
   for _, aggregate in ipairs(step.aggregates) do
      local state = {}
      for i, column in ipairs(aggregate.spec.state) do
         state[i] = column[1] .. ":" .. column[2]
      end
      if not aggregate.shared then
         local what = ("%s=%s"):format(aggregate.share or aggregate.as, aggregate.text)
         text[#text + 1] = ("%s{%s, %d bytes}"):format((what:gsub("[%c{};]", " ")),
            table.concat(state, ","), aggregate.spec.size)
      end
   end
   return table.concat(text, "; ")
end

function checks.aggregate(program, fact, group)
   local row, columns, key_columns, key_names = group.schema, plan_time.columns(group), {}, {}
   for i, key in ipairs(group.keys) do
      key_columns[i] = row.columns[key]
      key_names[i] = key_columns[i].name
      columns[#columns + 1] = key_columns[i]
   end
   if #group.keys == 0 and not group.window then
      errors.at(group.path, group.line, ':group_by wants columns: :group_by("id")')
   end
   key_names[#key_names + 1] = group.window and group.window.kind or nil
   if #fact.list > AGGREGATES_MAX then
      error((":aggregate takes at most %d aggregates, not %d")
         :format(AGGREGATES_MAX, #fact.list), 0)
   end
   -- In front of them a session has the time of its first event.
   local first = group.window and group.window.session and 8 or 0
   local list, offset, kinds, sharing = {}, first, {}, {}
   for i, aggregate in ipairs(fact.list) do
      local settled = at(aggregates.facts(aggregate), aggregates.settle, aggregate, row,
                         group.event_time)
      local shared = settled.share and sharing[settled.share]
      if settled.spec.windowed and not group.window then
         errors.at(settled.path, settled.line, "%s", settled.spec.windowed)
      elseif shared then
         -- Another one already adds the same to the same state.
         settled.shared, settled.offset, settled.columns = true, shared.offset, {}
      else
         settled.offset = offset
         offset = offset + settled.spec.size
         sharing[settled.share or settled] = settled
      end
      columns[#columns + 1] = schema.column(("%s:%s%s"):format(settled.as,
         settled.spec.result_type, settled.spec.nullable and "?" or ""))
      list[i], kinds[i] = settled, settled.as
   end
   local given = options.check("aggregate", ":aggregate", fact.options)
   if given.migrate and not given.version then
      error(":aggregate: migrate takes states of lower versions over: say which one this is, " ..
         "with version = 2 and so on", 0)
   end
   local step = step_new(program, fact, group, "aggregate", schema.of(columns))
   step.version, step.migrate = tonumber(given.version or 1), given.migrate
   step.aggregates, step.group, step.state_size, step.offset = list, group, offset, first
   step.name = group.name or ("%s(%s)"):format(table.concat(kinds, "+"),
                                               table.concat(key_names, ","))
   step.layout, step.modes = layout_text(step, key_columns), {}
   program.keyed[#program.keyed + 1] = step
   step.keyed = #program.keyed
   step.text = ("aggregate(%s) -> %s"):format(table.concat(kinds, ", "), schema.text(step.schema))
   return step
end

-- Outputs ------------------------------------------------------------------

local function source_name(program, parent)
   if parent.late_name and not parent.keyed then
      return parent.late_name
   elseif parent.keyed then
      return program.keyed[parent.keyed].name
   end
   return plan_time.topics(program, parent)
end

local function sink_step(program, fact, parent, sink)
   local found = sinks.check(sink, parent.schema)
   local keyed = program.keyed[parent.keyed]
   found.options.mode = found.options.mode or
      plan_time.default_mode(keyed, parent.updates)
   plan_time.check_mode(found.options.mode, keyed, parent.updates)
   if found.with then
      local own = { kind = "with", fn = found.with.fn, path = sink.path, line = sink.line }
      parent = step_new(program, own, parent, "with", found.with.schema)
      parent.text = ("%s(%s)"):format(found.with.text, function_name(own.fn))
   end
   local step = step_new(program, fact, parent, "output", parent.schema)
   program.outputs[#program.outputs + 1] = step
   step.output, step.sink, step.options = #program.outputs, sink.endpoint, found.options
   step.name = found.name or
      ("%s:%s"):format(sink.endpoint, found.target or source_name(program, parent))
   step.text = ("%s(%smode=%s)"):format(sink.endpoint, found.text and found.text .. ", " or "",
                                        found.options.mode)
   step.path, step.line = sink.path or fact.path, sink.line or fact.line
   if keyed then
      keyed.modes[found.options.mode] = keyed.modes[found.options.mode] or step
   end
   return step
end

function visit(program, fact)
   local step = program.visited[fact]
   if step then
      return step
   end
   local parent = fact.parent and visit(program, fact.parent)
   step = at(fact, checks[fact.kind], program, fact, parent)
   program.visited[fact] = step
   return step
end

local function add_output(program, fact)
   local parent = visit(program, fact.parent)
   for _, sink in ipairs(fact.sinks) do
      local given = stream.facts(sink)
      at(given.path and given or fact, sink_step, program, fact, parent, given)
   end
end

local function add_late_outputs(program)
   for _, found in ipairs(program.late_tos) do
      local step = at(found.fact, plan_late.to, program, found.fact, found.parent, step_new)
      for _, sink in ipairs(found.fact.sinks) do
         local given = stream.facts(sink)
         at(given.path and given or found.fact, sink_step, program, found.fact, step, given)
      end
   end
end

-- The whole ----------------------------------------------------------------

local function is_output(node)
   local fact = stream.facts(node)
   return fact and fact.kind == "output"
end

-- Where records go that fail: a sink fed by no step. One that stands in several
-- places of the job is one.
local function add_dead_letters(program, sink, option)
   local found = sinks.dead_letters(sink, option)
   local step = program.dead[sink]
   if step then
      step.text = option .. ", " .. step.text
      return step
   end
   step = step_new(program, sink, nil, "output", found.schema)
   program.outputs[#program.outputs + 1], program.dead[sink] = step, step
   step.output, step.sink, step.options = #program.outputs, sink.endpoint, found.options
   step.name = found.name or ("%s:%s"):format(sink.endpoint, found.target)
   step.text = ("%s: %s(%s)"):format(option, sink.endpoint, found.text)
   return step
end

local function add_letters(program, on_error)
   for _, letters in ipairs(program.letters) do
      letters.step.letters = at(letters.sink, add_dead_letters, program, letters.sink, "malformed")
   end
   for _, step in ipairs(program.outputs) do
      if step.options.on_reject == "dead_letter" and not on_error then
         errors.at(step.path, step.line, 'on_reject = "dead_letter" gives what the topic does ' ..
            'not take to the sink of on_error, and the job has none: tide.job { on_error = ' ..
            'tide.kafka { topic = "dead" }, outputs = … }')
      end
   end
   if on_error then
      local step = at(on_error, add_dead_letters, program, on_error, "on_error")
      if step.options.on_reject == "dead_letter" then
         errors.at(step.path, step.line, 'on_reject = "dead_letter": on_error\'s own sink has ' ..
            "no other to give its rows to")
      end
      program.job.on_error = ("output:%d"):format(step.output - 1)
      program.keeps_records = true
   end
end

-- What the job file returned, as a list of outputs and the job's options.
local function returned(value, path)
   local job, dead_letters = {}, nil
   local fact = stream.facts(value)
   if fact and fact.endpoint == "job" then
      for key, option in pairs(fact.options) do
         job[key] = option
      end
      value, job.outputs = job.outputs, nil
      dead_letters = stream.facts(job.on_error)
      if dead_letters then
         job.on_error = nil
      end
      at(fact, function() job = options.check("job", "tide.job", job) end)
   end
   if is_output(value) then
      value = { value }
   end
   if stream.facts(value) then
      local given = stream.facts(value)
      errors.at(given.path or path, given.line or 0,
         'this stream goes nowhere: end it with :to(tide.console { mode = "append" })')
   elseif type(value) ~= "table" or #value == 0 then
      errors.at(path, 0, "the job returns %s: return what :to() gives, or a list of it",
         value == nil and "nothing" or (type(value) == "table" and "an empty list")
            or "a " .. type(value))
   end
   for i, node in ipairs(value) do
      if not is_output(node) then
         local given = stream.facts(node)
         errors.at(given and given.path or path, given and given.line or 0,
            "item %d of what the job returns is %s: end a stream with :to(…)", i,
            given and "a stream that goes nowhere" or "not an output")
      end
   end
   return value, job, dead_letters
end

local function check_all_returned(program, list)
   local seen = {}
   for _, node in ipairs(list) do
      seen[stream.facts(node)] = true
   end
   for _, node in ipairs(stream.outputs()) do
      local fact = stream.facts(node)
      if not seen[fact] and not program.visited[fact] then
         errors.at(fact.path, fact.line,
            "this output is built but not returned, so it would never run: return or remove it")
      end
   end
end

local function check_names(list, what)
   local seen = {}
   for _, step in ipairs(list) do
      local other = seen[step.name]
      if other then
         errors.at(step.path, step.line, '%s "%s" is there twice (also in line %d): the ' ..
            'checkpoint knows it by this name; set name = "…" on one of them',
            what, step.name, other.line)
      end
      seen[step.name] = step
   end
end

-- What the checkpoint counts late rows of.
local function counting(program)
   local list = { unpack(program.keyed) }
   for _, step in ipairs(program.lates) do
      list[#list + 1] = step.counts and step or nil
   end
   return list
end

--- The checked program of what a job file returned.
function M.make(value, path)
   local list, job, dead_letters = returned(value, path)
   local program = { path = path, steps = {}, inputs = {}, marks = {}, keyed = {}, outputs = {},
                     lates = {}, late_tos = {}, visited = {}, warnings = {}, job = job,
                     letters = {}, dead = {} }
   program.name = job.name or path:match("([^/]+)%.lua$") or path:match("([^/]+)$")
   local seen = {}
   for _, node in ipairs(list) do
      if seen[node] then
         local fact = stream.facts(node)
         errors.at(fact.path, fact.line, "this output is returned twice")
      end
      seen[node] = true
      add_output(program, stream.facts(node))
   end
   check_all_returned(program, list)
   add_late_outputs(program)
   add_letters(program, dead_letters)
   plan_time.settle(program)
   plan_late.settle(program)
   for k, keyed in ipairs(program.keyed) do
      keyed.waiting = #program.outputs + k - 1
      keyed.hidden = keyed.kind == "dedup" and plan_dedup.hidden(program)
   end
   check_names(program.keyed, "the grouping")
   check_names(counting(program), "the late stream")
   check_names(program.marks, "the watermark")
   check_names(program.outputs, "the sink")
   return program
end

return M
