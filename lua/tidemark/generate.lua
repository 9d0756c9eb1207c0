-- SPDX-License-Identifier: Apache-2.0
-- Source text of the loops: one function per step, each calling the next, so
-- that the JIT sees a batch as one loop with the job's functions inlined in it.
--
-- Rules of the text, each measured: nothing is allocated per record; a step
-- reaches its constants through upvalues that are never assigned again; every
-- function that stored a Lua string in a cell returns that string, which keeps
-- it referenced until the rows behind it are written.
local rows = require "tidemark.rows"
local states = require "tidemark.generate_states"
local text = require "tidemark.generate_text"
local add, puts, HEAD = text.add, text.puts, text.HEAD

local M = {}

-- Keys that wait before the loop stops for them to be added. Where a row goes to
-- several places and adding it to one may fail, it is one row at a time, so that
-- it can be taken back from all of them.
local WAITING_MAX = 1024

local wants_row = { filter = true, map = true, flat_map = true, ["with"] = true }

local function children_of(step, only)
   local list = {}
   for _, child in ipairs(step.children) do
      if only[child] then
         list[#list + 1] = child
      end
   end
   return list
end

-- Those that pass a row on take one if any step behind them does.
local function takes_row(step, only)
   if step.kind == "watermark" or step.kind == "late" or
      step.schema.record and (step.kind == "branch" or step.kind == "union") then
      for _, child in ipairs(children_of(step, only)) do
         if takes_row(child, only) then
            return true
         end
      end
   end
   return wants_row[step.kind] or false
end

local function any_takes_row(list, only)
   for _, child in ipairs(list) do
      if takes_row(child, only) then
         return true
      end
   end
   return false
end

local passes = { filter = true, group_by = true, watermark = true, window = true, session = true,
                 late = true }

-- The step whose cells hold the row that leaves `step`.
local function stage_of(step)
   while passes[step.kind] do
      step = step.parent
   end
   return step
end
M.stage_of = stage_of

-- The line that makes a step's row objects, if any step after it takes one.
local function row_maker(out, step, only)
   local list = children_of(step, only)
   if any_takes_row(list, only) then
      add(out, "   local new_row = K.row%d {\n%s   }\n", step.index, rows.getters_text(step, "out"))
   end
end

local function calls(out, list, only, row, indent)
   for _, child in ipairs(list) do
      add(out, "%sstep%d(%s)\n", indent, child.index, takes_row(child, only) and row or "")
   end
end

-- After a step has written its cells: a new row for whoever takes one.
local function next_steps(out, step, only, indent)
   local list = children_of(step, only)
   if any_takes_row(list, only) then
      add(out, "%slocal serial = out.serial + 1\n%sout.serial = serial\n", indent, indent)
      add(out, "%slocal row = new_row(serial)\n", indent)
   end
   calls(out, list, only, "row", indent)
end

-- The strings among the values, for the return that keeps them.
local function held(columns, values)
   local list = {}
   for i, column in ipairs(columns) do
      if column.type == "string" or column.type == "bytes" then
         list[#list + 1] = values[i]
      end
   end
   return #list > 0 and "return " .. table.concat(list, ", ") or "return"
end

local function value_names(count)
   local list = {}
   for i = 1, count do
      list[i] = "v" .. i
   end
   return list
end

-- A record has no cells until a step asks for them.
local function fill_record(out, step, indent)
   if stage_of(step.parent).schema.record then
      add(out, "%sC.tide_ffi_record_cells(ctx.batch, ctx.batch.recs + ctx.row, from.c)\n", indent)
   end
end

local emitters = {}

function emitters.json(out, step, only)
   add(out, "   local out, spec = K.stage%d, K.spec%d\n", step.index, step.index)
   add(out, "   local why, failed = K.why%d, K.failed%d\n", step.index, step.index)
   row_maker(out, step, only)
   add(out, [[
   return function()
      local code = C.tide_ffi_json_scan(ctx, spec, ctx.batch.recs + ctx.row, out.c, why)
      if code ~= 0 and failed(code) then return end
]])
   next_steps(out, step, only, "      ")
   add(out, "   end\n")
end

function emitters.filter(out, step, only)
   add(out, [[
   local user = K.user%d
   return function(row)
      if user(row) then
]], step.index)
   calls(out, children_of(step, only), only, "row", "         ")
   add(out, [[
      else
         ctx.filtered = ctx.filtered + 1
         ctx.filtered_by[%d] = ctx.filtered_by[%d] + 1
      end
   end
]], step.index - 1, step.index - 1)
end

function emitters.map(out, step, only)
   local columns = step.schema.columns
   local values = value_names(#columns)
   add(out, "   local out, user = K.stage%d, K.user%d\n", step.index, step.index)
   row_maker(out, step, only)
   add(out, [[
   return function(from)
      local %s, more = user(from)
      if more ~= nil then too_many(":map", %d) end
]], table.concat(values, ", "), #columns)
   puts(out, columns, 0, values, "      ")
   next_steps(out, step, only, "      ")
   add(out, "      %s\n   end\n", held(columns, values))
end

function emitters.flat_map(out, step, only)
   local columns = step.schema.columns
   local values = value_names(#columns)
   add(out, "   local out, user = K.stage%d, K.user%d\n", step.index, step.index)
   row_maker(out, step, only)
   add(out, [[
   local function emit(%s, more)
      if more ~= nil then too_many("emit", %d) end
]], table.concat(values, ", "), #columns)
   puts(out, columns, 0, values, "      ")
   next_steps(out, step, only, "      ")
   add(out, [[
      %s
   end
   return function(from)
      user(from, emit)
   end
]], held(columns, values))
end

emitters["with"] = function(out, step, only)
   local columns = step.schema.columns
   local last = columns[#columns]
   add(out, "   local out, from, user = K.stage%d, K.stage%d, K.user%d\n", step.index,
       stage_of(step.parent).index, step.index)
   row_maker(out, step, only)
   add(out, "   return function(before)\n      local v1 = user(before)\n")
   fill_record(out, step, "      ")
   if #columns > 1 then
      add(out, "      copy(out.c, from.c, %d)\n", #columns - 1)
   end
   puts(out, { last }, #columns - 1, { "v1" }, "      ")
   next_steps(out, step, only, "      ")
   add(out, "      %s\n   end\n", held({ last }, { "v1" }))
end

function emitters.select(out, step, only)
   add(out, "   local out, from = K.stage%d, K.stage%d\n", step.index,
       stage_of(step.parent).index)
   row_maker(out, step, only)
   add(out, "   return function()\n")
   fill_record(out, step, "      ")
   for i, column in ipairs(step.from) do
      add(out, "      out.c[%d].i = from.c[%d].i\n      out.c[%d].len = from.c[%d].len\n",
          i - 1, column - 1, i - 1, column - 1)
   end
   next_steps(out, step, only, "      ")
   add(out, "   end\n")
end

function emitters.group_by(out, step, only)
   add(out, "   return function()\n")
   calls(out, children_of(step, only), only, "", "      ")
   add(out, "   end\n")
end
emitters.window, emitters.session = emitters.group_by, emitters.group_by

-- One stream of several: its cells go where all of them have theirs. Records
-- have none yet.
function emitters.branch(out, step, only)
   if step.schema.record then
      return emitters.union(out, step, only)
   end
   add(out, "   local out, from = K.stage%d, K.stage%d\n", step.union.index,
       stage_of(step.parent).index)
   add(out, "   return function()\n")
   for i, column in ipairs(step.map) do
      add(out, "      out.c[%d].i = from.c[%d].i\n      out.c[%d].len = from.c[%d].len\n",
          i - 1, column - 1, i - 1, column - 1)
   end
   calls(out, children_of(step, only), only, "", "      ")
   add(out, "   end\n")
end

function emitters.union(out, step, only)
   if step.schema.record then
      add(out, "   return function(row)\n")
      calls(out, children_of(step, only), only, "row", "      ")
   else
      add(out, "   local out = K.stage%d\n", step.index)
      row_maker(out, step, only)
      add(out, "   return function()\n")
      next_steps(out, step, only, "      ")
   end
   add(out, "   end\n")
end

-- The event time of the row, for the windows behind it, and the greatest yet. A
-- row is passed on as it came.
function emitters.watermark(out, step, only)
   add(out, "   local from = K.stage%d\n   return function(row)\n", stage_of(step.parent).index)
   fill_record(out, step, "      ")
   add(out, [[
      local mark, cell = ctx.events[%d], from.c[%d]
      if cell.len < 0 then
         mark.untimed = 1
      else
         mark.untimed = 0
         mark.time_us = cell.i
         mark.count = mark.count + 1
         mark.sum_us = mark.sum_us + tonumber(cell.i)
         if cell.i < mark.min_us then
            mark.min_us = cell.i
         end
         if cell.i > mark.max_us then
            if cell.i > mark.limit_us then
               mark.ahead = mark.ahead + 1
            else
               mark.max_us = cell.i
            end
         end
      end
]], step.number - 1, step.column - 1)
   calls(out, children_of(step, only), only, "row", "      ")
   add(out, "   end\n")
end

function emitters.late(out, step, only)
   add(out, "   local from = K.stage%d\n   return function(row)\n", stage_of(step.parent).index)
   fill_record(out, step, "      ")
   add(out, "      if ctx.ops.sift(ctx.sieves[%d], from.c, ctx.row) then\n", step.sieve - 1)
   calls(out, children_of(step, only), only, "row", "         ")
   add(out, "      end\n   end\n")
end

-- The row's key waits until many can be looked up together.
function emitters.aggregate(out, step)
   add(out, "   local from = K.stage%d\n   return function()\n", stage_of(step.group).index)
   fill_record(out, step.group, "      ")
   add(out, [[
      if not ctx.ops.%s(ctx.%s[%d], from.c, ctx.row) then no_memory() end
   end
]], step.group.mark and "push_timed" or "push", step.group.mark and "timed" or "queues",
       step.keyed - 1)
end

-- The row waits, with its event time and offset behind it, until the owner of
-- its key has seen whether it is new.
function emitters.dedup(out, step)
   local offset, waiting = #step.schema.columns + #step.hidden - 1, step.waiting
   local kept = #step.hidden == 2 and "" or
      ("         if not C.tide_ffi_keep_record(ctx, c + %d) then no_memory() end\n")
         :format(#step.schema.columns)
   add(out, "   local from = K.stage%d\n   return function()\n", stage_of(step.parent).index)
   fill_record(out, step, "      ")
   add(out, [[
      local c = from.c
      if ctx.ops.claim(ctx.timed[%d], c, ctx.row) then
         c[%d].i = ctx.batch.recs[ctx.row].offset_
         c[%d].len = 0
%s         if not C.tide_ffi_rows_append(ctx.rows[%d], c) then no_memory() end
         ctx.counts[%d] = ctx.counts[%d] + 1
      end
   end
]], step.claims - 1, offset, offset, kept, waiting, waiting, waiting)
end

function emitters.output(out, step)
   add(out, "   local from = K.stage%d\n   return function()\n", stage_of(step.parent).index)
   fill_record(out, step, "      ")
   add(out, [[
      if not C.tide_ffi_rows_append(ctx.rows[%d], from.c) then no_memory() end
      ctx.counts[%d] = ctx.counts[%d] + 1
   end
]], step.output - 1, step.output - 1, step.output - 1)
end

-- Whole loops ----------------------------------------------------------------

-- Steps after their children, so that each function finds the next ones.
local function step_text(out, step, only, written)
   if written[step] then
      return -- Several lead to it.
   end
   written[step] = true
   for _, child in ipairs(children_of(step, only)) do
      step_text(out, child, only, written)
   end
   add(out, "\n-- %s  [%s:%d]\n", (step.text:gsub("[%c]", " ")), step.path, step.line)
   add(out, "local step%d = (function()\n", step.index)
   emitters[step.kind](out, step, only)
   add(out, "end)()\n")
end

-- The steps between a root and the next keyed operators and sinks.
local function reach(step, only, found)
   for _, child in ipairs(step.children) do
      if not found[child] and (not only or only(child)) then
         found[child] = true
         if child.kind ~= "aggregate" and child.kind ~= "dedup" then
            reach(child, only, found)
         end
      end
   end
   return found
end

local function sorted_ends(found, kind, field)
   local list = {}
   for step in pairs(found) do
      if step.kind == kind then
         list[#list + 1] = step[field] - 1
      end
   end
   table.sort(list)
   return list
end

-- What waits for its owners is undone as rows of outputs are, and what is set
-- aside on the way to one of several places.
local function ends_of(input)
   local found = reach(input, nil, {})
   local outputs, seen = sorted_ends(found, "output", "output"), {}
   for step in pairs(found) do
      local letters = step.letters and #input.children > 1 and step.letters.output - 1
      if step.kind == "dedup" then
         outputs[#outputs + 1] = step.waiting
      elseif letters and not seen[letters] then
         outputs[#outputs + 1], seen[letters] = letters, true
      end
   end
   table.sort(outputs)
   return found, sorted_ends(found, "aggregate", "keyed"), outputs
end

-- The keyed operators among the ends that look at event time.
local function timed_ends(found)
   local list = {}
   for step in pairs(found) do
      if step.kind == "aggregate" and step.group.mark then
         list[#list + 1] = step.keyed - 1
      elseif step.kind == "dedup" then
         list[#list + 1] = step.claims - 1
      end
   end
   return list
end

local function sieves_among(found)
   local list = {}
   for step in pairs(found) do
      if step.kind == "late" then
         list[#list + 1] = step.sieve - 1
      end
   end
   return list
end

--- Whether the loop of an input adds row by row: see WAITING_MAX.
function M.strict(input)
   local found, keyed, outputs = ends_of(input)
   for step in pairs(found) do
      if step.kind == "aggregate" and #keyed + #outputs > 1 and states.fallible(step) then
         return true
      end
   end
   return false
end

local function row_begins(out, keyed, outputs, strict)
   for _, number in ipairs(keyed) do
      add(out, [[
      if ctx.queues[%d].count > %d then
         ctx.next = i
         add%d()
      end
      ctx.marks[%d] = ctx.queues[%d].count
]], number, strict and 0 or WAITING_MAX, number + 1, number, number)
   end
   if strict then
      for _, number in ipairs(keyed) do
         add(out, "      ctx.added[%d] = 0\n", number)
      end
   end
   for _, number in ipairs(outputs) do
      add(out, "      ctx.starts[%d] = ctx.counts[%d]\n", number, number)
   end
   add(out, "      ctx.row = i\n      ctx.calls = 0\n")
end

-- Rows that passed a dedup: their cells, and their event time for what follows.
local function resumes(out, step, found)
   add(out, [[
      C.tide_ffi_passed_cells(ctx, i, out.c)
      mark.time_us = out.c[%d].i
      mark.untimed = 0
]], #step.schema.columns + #step.hidden - 2)
   next_steps(out, step, found, "      ")
end

--- The loop of an input, or of the rows that passed a dedup: its text, the
--- numbers (from 0) of the keyed operators and outputs that it writes to, and
--- whether it is strict.
function M.input(input)
   local found, keyed, outputs = ends_of(input)
   local strict = M.strict(input)
   local out = { ("-- %s\n"):format(input.text), HEAD }
   for _, number in ipairs(keyed) do
      add(out, "local add%d = K.add%d\n", number + 1, number + 1)
   end
   local list, written = children_of(input, found), {}
   for _, child in ipairs(list) do
      step_text(out, child, found, written)
   end
   local again = input.kind == "dedup"
   if again then
      add(out, "\nlocal out = K.stage%d\n", input.index)
      row_maker(out, input, found)
   end
   local takes_record = not again and any_takes_row(list, found)
   add(out, "\nreturn function(first, count)\n")
   if again then
      add(out, "   local mark = ctx.events[%d]\n", input.mark.number - 1)
   elseif takes_record then
      add(out, "   local recs = F.recs()\n")
   end
   add(out, "   for i = first, count - 1 do\n")
   row_begins(out, keyed, outputs, strict)
   if again then
      resumes(out, input, found)
   else
      if takes_record then
         add(out, "      local rec = recs[i]\n")
      end
      calls(out, list, found, "rec", "      ")
   end
   add(out, "   end\n   ctx.next = count\n")
   for _, number in ipairs(keyed) do
      add(out, "   if ctx.queues[%d].count > 0 then add%d() end\n", number, number + 1)
   end
   add(out, "end\n")
   return { text = table.concat(out), keyed = keyed, outputs = outputs, strict = strict,
            timed = timed_ends(found), sieves = sieves_among(found),
            path = list[1] and list[1].path, line = list[1] and list[1].line }
end

--- From states to the rows of one output (from 1), or of all when it is nil.
function M.finish(keyed, output)
   local wanted = {}
   local function leads(step)
      if wanted[step] == nil then
         wanted[step] = step.kind == "output" and (not output or step.output == output)
         for _, child in ipairs(step.children) do
            wanted[step] = leads(child) or wanted[step]
         end
      end
      return wanted[step]
   end
   local found = reach(keyed, leads, {})
   local out = { ("-- finish %s\n"):format(keyed.name), HEAD }
   local written = {}
   for _, child in ipairs(children_of(keyed, found)) do
      step_text(out, child, found, written)
   end
   add(out, "\nreturn (function()\n   local out, kept = K.stage%d, {}\n", keyed.index)
   row_maker(out, keyed, found)
   if keyed.group.window and keyed.group.window.session then
      add(out, "   local times = F.times\n")
   end
   local body = {}
   for i = 1, #keyed.aggregates do
      states.result(out, body, keyed, i)
   end
   add(out, [[
   return function(keys, stride, states, count)
      for i = 0, count - 1 do
         ctx.row = i
         ctx.calls = 0
         local key, state = keys + i * stride, cast(bytes, states[i])
]])
   local to, from = 0, 0
   local window = keyed.group.window
   if window then
      add(out, [[
         out.c[0].i = %s
         out.c[0].len = 0
         out.c[1].i = key[0].i
         out.c[1].len = 0
]], window.session and "cast(times, state)[0]" or ("key[0].i - %d"):format(window.size * 1000))
      to, from = 2, 1
   end
   for i = 0, #keyed.group.keys - 1 do
      add(out, "      out.c[%d].i = key[%d].i\n      out.c[%d].len = key[%d].len\n", to + i,
          from + i, to + i, from + i)
   end
   out[#out + 1] = table.concat(body)
   next_steps(out, keyed, found, "      ")
   add(out, "      end\n   end\nend)()\n")
   return { text = table.concat(out), outputs = sorted_ends(found, "output", "output") }
end

return M
