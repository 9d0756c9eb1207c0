-- SPDX-License-Identifier: Apache-2.0
-- Runs a checked program: compiles its generated loops once, then one call per
-- batch. A bad row ends the loop, is undone and reported, and the loop goes on
-- behind it.
local ffi = require "ffi"
local cells = require "tidemark.cells"
local errors = require "tidemark.errors"
local generate = require "tidemark.generate"
local generate_states = require "tidemark.generate_states"
local native = require "tidemark.native"
local record = require "tidemark.record"
local rows = require "tidemark.rows"
local schema = require "tidemark.schema"

local C, ctx = native.C, native.ctx
local cast = ffi.cast

-- Where a trace has a call of C that gives a bool and no place for another snapshot,
-- this LuaJIT gives the trace up with its stack out of place, and crashes. A trace
-- has at most 4000 instructions, so with that many places it never comes to it.
if jit.opt then
   jit.opt.start "maxsnap=8000"
end

local M = {}

local stage_p = ffi.typeof "struct tide_stage *"
local bytes_p = ffi.typeof "char *"
local waiting = ffi.new "uint32_t[1]"
local MALFORMED, NO_MEMORY = 1, 5 -- TIDE_SCAN_MALFORMED, TIDE_JSON_NOMEM

-- An error that no on_error policy may swallow, even when a job's pcall did.
local fatal

local ROWS_MANY = 10000
local running -- the loop

-- One row that puts out so many that there is no room for more fails alone.
local function check_flood()
   for _, number in ipairs(running.outputs) do
      local count = ctx.counts[number] - ctx.starts[number]
      if count > ROWS_MANY then
         error(("this record puts out too much: more than %d rows, and they have no room in the " ..
                "%d MiB of --script-memory"):format(count, ctx.memory_mib), 0)
      end
   end
   for _, number in ipairs(running.keyed) do
      local count = ctx.queues[number].count - ctx.marks[number]
      if count > ROWS_MANY then
         error(("this record puts out too much: more than %d rows for a keyed step, and they " ..
                "have no room in the %d MiB of --script-memory"):format(count, ctx.memory_mib), 0)
      end
   end
end

local function no_memory(message)
   if not message and running and ctx.adding == 0 then
      check_flood()
   end
   fatal = message or "out of memory for the rows and states of this epoch"
   error(fatal, 0)
end

-- What the generated text reaches by name.
local F = {
   cast = cast, u64 = ffi.typeof "uint64_t", bytes = ffi.typeof "char *",
   times = ffi.typeof "int64_t *",
   recs = record.set, no_memory = no_memory, copy_bytes = ffi.copy,
}
for name, fn in pairs(cells) do
   F[name] = fn
end

-- Constants of a program ------------------------------------------------------

-- A record that is not what :json reads goes to a sink of its own. It may still
-- fail elsewhere, and is undone there as rows of other outputs are.
local function set_aside(step, reason)
   local number = step.letters.output - 1
   if not ctx.set_aside(ctx.arg, ctx.batch, ctx.row, number, reason,
                        ("%s:%d"):format(step.path, step.line)) then
      no_memory()
   end
   ctx.counts[number] = C.tide_ffi_rows_count(ctx.rows[number])
   ctx.aside_count = ctx.aside_row == ctx.row and ctx.aside_count + 1 or 1
   ctx.aside_row = ctx.row
end

local function json_constants(K, step)
   local columns = step.schema.columns
   local fields = ffi.new("struct tide_field[?]", #columns)
   for i, column in ipairs(columns) do
      local field = fields[i - 1]
      field.path = column.path
      field.path_len = #column.path
      field.type = schema.types[column.type]
      field.nullable = column.nullable and 1 or 0
   end
   local box = ffi.gc(ffi.new "struct tide_json_spec *[1]", C.tide_ffi_json_free)
   if not C.tide_ffi_json_make(box, fields, #columns) then
      error("out of memory for a list of JSON fields", 0)
   end
   local why = ffi.new "struct tide_scan_error"
   local out, count = K["stage" .. step.index], #columns
   K["spec" .. step.index], K["box" .. step.index] = box[0], box
   K["why" .. step.index] = why
   -- True when the row ends here.
   K["failed" .. step.index] = function(code)
      local message = ffi.string(why.text)
      if code == NO_MEMORY then
         no_memory(message)
      elseif code == MALFORMED and step.malformed_null then
         for i = 0, count - 1 do
            out.c[i].len = -1
         end
         return false
      elseif code == MALFORMED then
         ctx.malformed = ctx.malformed + 1
         if step.letters then
            set_aside(step, ("%s (at byte %d of the value)"):format(message, why.at))
            return true
         end
         ctx.failed_malformed = ctx.failed_malformed + 1
         message = ('%s (at byte %d of the value); malformed = "null" in :json makes a row of ' ..
                    'nulls of it'):format(message, why.at)
      elseif why.field >= 0 then
         local column = columns[why.field + 1]
         message = ('column "%s": %s'):format(column.name, message)
         if code ~= 4 then
            message = ('%s; declare it "%s:%s?" to take that as null'):format(message,
               column.name, column.type)
         end
      end
      errors.at(step.path, step.line, "%s", message)
   end
end

local function aggregate_constants(K, step)
   for i, aggregate in ipairs(step.aggregates) do
      local id, spec = ("%d_%d"):format(step.index, i), aggregate.spec
      K["add" .. id] = aggregate.values > 0 and spec.add_cell or spec.add
      K["user" .. id] = spec.add
      K["holds" .. id] = aggregate.condition and aggregate.condition.fn
      K["merge" .. id], K["result" .. id] = spec.merge, spec.result
      K["pointer" .. id], K["object" .. id] = spec.pointer, spec.object
      K["guard" .. id] = spec.guard
   end
end

local function constants(program)
   local K, anchors = {}, {}
   for _, step in ipairs(program.steps) do
      local stage = ffi.new "struct tide_stage"
      anchors[step.index] = stage
      local pointer = cast(stage_p, stage)
      K["stage" .. step.index] = pointer
      K["user" .. step.index] = step.fact.fn
      K["row" .. step.index] = function(getters)
         return rows.make(step, pointer, getters)
      end
      if step.kind == "json" then
         json_constants(K, step)
      elseif step.kind == "aggregate" then
         aggregate_constants(K, step)
      end
   end
   return K, anchors
end

-- Compiling --------------------------------------------------------------------

local function compile(runner, name, made)
   if os.getenv "TIDEMARK_DUMP" == "1" then
      io.stderr:write("-- ", name, "\n", made.text, "\n")
   end
   local chunk = assert(loadstring(made.text, "=tidemark " .. name))
   made.loop = chunk(runner.K, ctx, C, F)
   return made
end

-- Room for what careful adding keeps of `count` states.
local function make_room(adder, count)
   local room = math.max(count, 2 * adder.room)
   local ok, anchor = pcall(ffi.new, "char[?]", room * adder.size)
   if not ok then
      no_memory()
   end
   adder.room, adder.anchor, adder.before = room, anchor, cast(bytes_p, anchor)
   ctx.before_of[adder.number] = adder.before
end

-- Large states are kept and added to in pieces, each of whole rows.
local BEFORE_MAX = 1048576

local function piece_end(adder, queue, first, count)
   if (count - first) * adder.size <= BEFORE_MAX then
      return count
   end
   local last = first + math.max(1, math.floor(BEFORE_MAX / adder.size))
   while last < count and queue.rows[last] == queue.rows[last - 1] do
      last = last + 1
   end
   return math.min(last, count)
end

-- Adds from `first` on. What was before the add number i is kept at
-- adder.before + (i - adder.first) * adder.size.
local function add_from(adder, queue, first, count)
   local loop = adder.loop
   if not adder.careful then
      loop(queue, first, count, nil)
      return
   end
   while first < count do
      local last = piece_end(adder, queue, first, count)
      if last - first > adder.room then
         make_room(adder, last - first)
      end
      adder.first = first
      ctx.first_of[adder.number] = first
      loop(queue, first, last, adder.before - first * adder.size)
      first = last
   end
end

-- What the generated loop calls when enough keys of an operator wait: they get
-- their states, and these what waits with them. It stays inside compiled code.
local function add_waiting(adder)
   local number = adder.number
   return function()
      local queue = ctx.queues[number]
      if not ctx.ops.resolve(queue, waiting) then
         no_memory()
      end
      local count = waiting[0]
      ctx.added[number] = count
      ctx.adding = number + 1
      add_from(adder, queue, 0, count)
      ctx.adding = 0
   end
end

local function compile_aggregate(runner, k, keyed)
   local careful = generate_states.fallible(keyed)
   for _, input in ipairs(keyed.inputs) do
      careful = careful or generate.strict(keyed.root or runner.program.inputs[input])
   end
   local adder = compile(runner, "add " .. k, generate_states.add(keyed, careful))
   adder.number, adder.size, adder.room = k - 1, keyed.state_size, 0
   runner.adds[k], runner.K["add" .. k] = adder, add_waiting(adder)
   runner.merges[k] = compile(runner, "merge " .. k, generate_states.merge(keyed))
   runner.finishes[k] = { [0] = compile(runner, "finish " .. k, generate.finish(keyed)) }
end

--- A runner of a program; its loops are compiled when it is made, so that a
--- mistake in them shows at load.
function M.new(program)
   local runner = { program = program, inputs = {}, adds = {}, merges = {}, finishes = {} }
   runner.K, runner.anchors = constants(program)
   for k, keyed in ipairs(program.keyed) do
      if keyed.kind == "aggregate" then
         compile_aggregate(runner, k, keyed)
      end
   end
   for i, input in ipairs(program.inputs) do
      runner.inputs[i] = compile(runner, "input " .. i, generate.input(input))
   end
   for k, keyed in ipairs(program.keyed) do
      if keyed.kind == "dedup" then
         runner.inputs[#program.inputs + k] = compile(runner, "behind " .. k,
                                                      generate.input(keyed))
      end
   end
   return runner
end

--- The generated text: of input `i`, for specs and people.
function M.text(runner, i)
   return runner.inputs[i or 1].text
end

-- Running ----------------------------------------------------------------------

-- Room first: even a message needs some.
local function collected(e)
   if e == "not enough memory" then
      collectgarbage()
   end
   return e
end

local function memory_message(e)
   if type(e) == "string" and e:find("not enough memory", 1, true) then
      return ("the script needs more than the %d MiB its Lua state may use (--script-memory); " ..
              "keep less in tables that live between records, or give it more")
         :format(ctx.memory_mib)
   end
   return nil
end

local function describe(e)
   local batch = ctx.batch
   return ('%s[%d]@%d: %s; on_error = "skip" in tide.job goes on without such records'):format(
      ffi.string(batch.topic, batch.topic_len), batch.partition,
      tonumber(batch.recs[ctx.row].offset_), memory_message(e) or errors.line(e))
end

-- Rows that the running row has put out.
local function undo_rows(loop)
   for _, number in ipairs(loop.outputs) do
      local start = ctx.starts[number]
      if ctx.counts[number] ~= start then
         C.tide_ffi_rows_truncate(ctx.rows[number], start)
         ctx.counts[number] = start
      end
   end
end

-- A row that failed was not late, nor was it set aside.
local function undo_counts(loop, row)
   if row == ctx.aside_row then
      ctx.malformed, ctx.aside_row = ctx.malformed - ctx.aside_count, -1
   end
   for _, number in ipairs(loop.timed) do
      ctx.ops.drop_timed(ctx.timed[number], row)
   end
   for _, number in ipairs(loop.sieves) do
      ctx.ops.drop_sift(ctx.sieves[number], row)
   end
end

-- The row failed in the loop: nothing of it has reached a state yet.
local function undo(loop)
   undo_counts(loop, ctx.row)
   for _, number in ipairs(loop.keyed) do
      ctx.ops.drop(ctx.queues[number], ctx.marks[number])
   end
   undo_rows(loop)
end

local function begin(outputs, keyed)
   fatal = nil
   ctx.adding = 0
   for _, number in ipairs(outputs) do
      local count = C.tide_ffi_rows_count(ctx.rows[number])
      ctx.counts[number], ctx.starts[number] = count, count
   end
   for _, number in ipairs(keyed) do
      ctx.ops.drop(ctx.queues[number], 0) -- of a batch that was stopped
      ctx.marks[number] = 0
   end
end

--- Tells whoever decides of a bad row; true when the batch goes on. (A field
--- of the module so that specs can listen.)
function M.report(message, reason, place)
   return ctx.bad_row ~= nil and
      ctx.bad_row(ctx.arg, ctx.batch, ctx.row, message, reason, place)
end

-- nil when the batch goes on behind the row, else the message that stops it.
local function refused(loop, e)
   if ctx.made > ctx.made_max then
      C.tide_ffi_text_rewind(ctx)
   end
   if not memory_message(e) and errors.place(e) == "" then
      -- In compiled code, or without a stack left, Lua knew no line.
      e = errors.made(errors.reason(e), loop.path, loop.line)
   end
   local message = describe(e)
   if fatal or not M.report(message, memory_message(e) or errors.reason(e), errors.place(e)) then
      return fatal or message
   end
   for _, number in ipairs(loop.outputs) do -- one of them may have a letter more
      ctx.counts[number] = C.tide_ffi_rows_count(ctx.rows[number])
   end
   return nil
end

-- Put back the states that adds [first, at] changed, newest first.
local function unadd(adder, queue, first, at)
   for i = at, first, -1 do
      ffi.copy(cast(bytes_p, queue.states[i]), adder.before + (i - adder.first) * adder.size,
               adder.size)
   end
end

-- A row failed while it was added: take it back; returns its first add, and that of
-- the next row. In a strict loop it is the only row, and all of it goes.
local function take_back(runner, loop, adder, queue, count)
   local at = ctx.at
   local row, first = queue.rows[at], at
   while first > 0 and queue.rows[first - 1] == row do
      first = first - 1
   end
   unadd(adder, queue, first, at)
   if loop.strict then
      for _, number in ipairs(loop.keyed) do
         if number < adder.number then
            unadd(runner.adds[number + 1], ctx.queues[number], 0, ctx.added[number] - 1)
         elseif number > adder.number then
            ctx.ops.drop(ctx.queues[number], 0)
         end
      end
      undo_rows(loop)
      undo_counts(loop, row)
   end
   ctx.row = row
   at = at + 1
   while at < count and queue.rows[at] == row do
      at = at + 1
   end
   return first, at
end

-- Keys that only failed adds have asked for shall not be. What was added to, also in
-- this round, stays; `failed` has the numbers of the adds that came to nothing.
local function forget(queue, count, failed)
   local used = {}
   for i = 0, count - 1 do
      if not failed[i] then
         used[tonumber(queue.states[i])] = true
      end
   end
   for i in pairs(failed) do
      local state = tonumber(queue.states[i])
      if not used[state] then
         used[state] = true
         ctx.ops.forget(queue, i)
      end
   end
end

-- In a strict loop the operators before have been added to, too.
local function forget_all(loop, adder, queue, count, failed)
   forget(queue, count, failed)
   for _, number in ipairs(loop.strict and loop.keyed or {}) do
      if number < adder.number then
         local all = {}
         for i = 0, ctx.added[number] - 1 do
            all[i] = true
         end
         forget(ctx.queues[number], ctx.added[number], all)
      end
   end
end

-- A row failed while it was added: report it, and add the rest of what waited.
-- Returns nil, or the message that stops the job.
local function add_rest(runner, loop, e)
   local adder = runner.adds[ctx.adding]
   local queue, count = ctx.queues[adder.number], ctx.added[adder.number]
   local ok, failed = false, {}
   while not ok or fatal do
      collected(e)
      local first, behind = take_back(runner, loop, adder, queue, count)
      for i = first, behind - 1 do
         failed[i] = true
      end
      ctx.failed = ctx.failed + 1
      local message = refused(loop, e)
      if message then
         return message
      end
      ok, e = xpcall(add_from, errors.handler, adder, queue, behind, count)
   end
   ctx.adding = 0
   forget_all(loop, adder, queue, count, failed)
   return nil
end

-- Functions and loops that have failed to compile too often are given up by
-- LuaJIT for ever, and with them any new path that leads through them. A batch
-- begins outside compiled code, so this would come, after some 100,000 batches;
-- forgetting it all every few seconds costs some milliseconds.
local RUNS_MAX = 20000
local runs = 0

-- Rows from `first` on, to the batch's end. Returns nil, or the message that
-- stops the job.
local function run_rows(runner, loop, first, count)
   running = loop
   while true do
      local ok, e = xpcall(loop.loop, errors.handler, first, count)
      if ok and not fatal then
         return nil
      end
      collected(e)
      local message
      if ctx.adding ~= 0 then
         message, first = add_rest(runner, loop, e), ctx.next
      else
         undo(loop)
         message = refused(loop, e)
         ctx.failed, first = ctx.failed + 1, ctx.row + 1
      end
      if message then
         return message
      end
   end
end

local function sum_up(result, count)
   result.rows_in, result.rows_failed = count, ctx.failed - ctx.failed_malformed
   result.rows_filtered, result.rows_malformed = ctx.filtered, ctx.malformed
end

--- One batch. Returns nil, or the message that stops the job.
function M.run(runner, input, result)
   local loop, count = runner.inputs[input + 1], ctx.batch.count
   runs = runs + 1
   if runs == RUNS_MAX then
      runs = 0
      jit.flush()
   end
   ctx.failed, ctx.failed_malformed, ctx.aside_row = 0, 0, -1
   record.turn()
   begin(loop.outputs, loop.keyed)
   ctx.begun = 1
   local message = run_rows(runner, loop, 0, count)
   if message then
      return message
   end
   sum_up(result, count)
   return nil
end

-- Rows that do not return ------------------------------------------------------
--
-- The Lua state that ran such a row is gone, and this is another one of the same
-- version: what it needs to know is in ctx.

-- The operator that was adding, and its states as they were before each add.
local function adder_of(runner)
   local adder = runner.adds[ctx.adding]
   adder.before, adder.first = ctx.before_of[adder.number], ctx.first_of[adder.number]
   return adder
end

local function search_adding(runner)
   local adder = adder_of(runner)
   local queue, at = ctx.queues[adder.number], ctx.at
   local state, spare = ffi.new("char[?]", adder.size + 8), ffi.new("char[?]", adder.size + 8)
   local before = adder.careful and adder.before + (at - adder.first) * adder.size or
      cast(bytes_p, queue.states[at])
   ffi.copy(state, before, adder.size)
   local states = ffi.new("uint64_t[?]", at + 1)
   states[at] = cast("uint64_t", cast("uintptr_t", state))
   adder.loop({ states = states, args = queue.args, rows = queue.rows }, at, at + 1,
              cast(bytes_p, spare) - at * adder.size)
end

--- Do again what did not return, where nothing comes of it, to see which line that
--- is in: ctx.place says it when this one is ended, too.
function M.search(runner, input)
   local loop = runner.inputs[input + 1]
   record.turn()
   fatal = nil
   errors.trace()
   if ctx.adding ~= 0 then
      search_adding(runner)
   else
      loop.loop(ctx.row, ctx.row + 1)
   end
end

-- Why the running row was given up.
local function stuck()
   local line = ctx.place_line
   if ctx.stuck_us < 0 then
      return "not enough memory"
   end
   return errors.made(("it does not return, after %.0f ms of processor time " ..
                       "(--record-timeout): a loop may never end, or a pattern try too much")
         :format(tonumber(ctx.stuck_us) / 1000), line > 0 and ffi.string(ctx.place) or nil, line)
end

--- The row that does not return fails, and the batch goes on behind it.
function M.condemn(runner, input, result)
   local loop, count = runner.inputs[input + 1], ctx.batch.count
   local message, first
   local e = stuck()
   record.turn()
   fatal = nil
   if ctx.adding ~= 0 then
      for _, number in ipairs(loop.keyed) do
         local adder = runner.adds[number + 1]
         adder.before, adder.first = ctx.before_of[number], ctx.first_of[number]
      end
      if not adder_of(runner).careful then
         return describe(e) -- Adding that cannot fail is ours, and does return.
      end
      message, first = add_rest(runner, loop, e), ctx.next
   else
      undo(loop)
      message = refused(loop, e)
      ctx.failed, first = ctx.failed + 1, ctx.row + 1
   end
   message = message or run_rows(runner, loop, first, count)
   if message then
      return message
   end
   sum_up(result, count)
   return nil
end

local function whole(loop, ...)
   fatal = nil
   local ok, e = xpcall(loop.loop, errors.handler, ...)
   if ok and not fatal then
      return nil
   end
   collected(e)
   return fatal or memory_message(e) or errors.line(e)
end

--- Fold states. Returns nil or a message.
function M.merge(runner, keyed, pairs_list, count)
   local message = whole(runner.merges[keyed + 1], pairs_list, count)
   return message and ("merging states of %s: %s")
      :format(runner.program.keyed[keyed + 1].name, message)
end

--- Finish states into rows. Returns nil or a message.
function M.finish(runner, keyed, output, keys, stride, states, count)
   local finishes = runner.finishes[keyed + 1]
   local number = output < 0 and 0 or output + 1
   local loop = finishes[number]
   if not loop then
      loop = compile(runner, ("finish %d for output %d"):format(keyed + 1, number),
                     generate.finish(runner.program.keyed[keyed + 1], number))
      finishes[number] = loop
   end
   begin(loop.outputs, {})
   running = nil
   local message = whole(loop, keys, stride, states, count)
   return message and ("finishing states of %s: %s")
      :format(runner.program.keyed[keyed + 1].name, message)
end

return M
