-- SPDX-License-Identifier: Apache-2.0
-- Source text of what adds to, merges and finishes the states of a keyed operator.
local cells = require "tidemark.cells"
local text = require "tidemark.generate_text"
local add, HEAD = text.add, text.HEAD

local M = {}

local function built_in_text(out, step, i, what)
   add(out, "   local %s%d, pointer%d = K.%s%d_%d, K.pointer%d_%d\n", what, i, i, what,
       step.index, i, step.index, i)
end

local function user_text(out, step, i, what)
   add(out, "   local %s%d, object%d, guard%d = K.%s%d_%d, K.object%d_%d, K.guard%d_%d\n", what, i,
       i, i, what, step.index, i, step.index, i, step.index, i)
end

local function user_begin(i)
   return ("      local serial%d = guard%d.serial + 1\n      guard%d.serial = serial%d\n")
      :format(i, i, i, i)
end

local function object_text(i, base, offset)
   return ("object%d(serial%d, cast(u64, %s + %d))"):format(i, i, base, offset)
end

-- The aggregates that do not look at the state of another one.
local function own_states(keyed)
   local i, list = 0, keyed.aggregates
   return function()
      repeat
         i = i + 1
      until not list[i] or not list[i].shared
      if list[i] then
         return i, list[i]
      end
   end
end

-- Lua values of the cells that a function of the job is given: columns of the
-- row, of which the first is argument number `base`.
local function readers_text(out, name, columns, base)
   local list = {}
   for n, column in ipairs(columns) do
      list[n] = ("%s_%d(args[j + %d])"):format(name, n, base + n - 1)
      add(out, [[
   local function %s_%d(cell)
      if cell.len < 0 then return nil end
      return %s
   end
]], name, n, cells.get[column.type]:format("cell", column.name))
   end
   return list
end

-- The condition under which an aggregate is added to. As in SQL, one on a null
-- does not hold.
local function condition_text(out, step, i, condition, base)
   local first, nulls = base + condition.first, {}
   for n in ipairs(condition.columns) do
      nulls[n] = ("args[j + %d].len < 0"):format(first + n - 1)
   end
   if not condition.fn then
      return ("args[j + %d].len >= 0 and args[j + %d].i ~= 0"):format(first, first)
   end
   add(out, "   local holds%d = (function()\n   local user = K.holds%d_%d\n", i, step.index, i)
   local values = readers_text(out, "held" .. i, condition.columns, first)
   add(out, [[
   return function(args, j)
      if %s then return false end
      return user(%s)
   end
   end)()
]], table.concat(nulls, " or "), table.concat(values, ", "))
   return ("holds%d(args, j)"):format(i)
end

-- A function that adds one row to the state of a job's own aggregate. (One for
-- each keeps the loop below what upvalues a function may have.)
local function user_add_text(out, step, i, aggregate, base)
   local columns = {}
   for n = 1, aggregate.values do
      columns[n] = step.group.schema.columns[aggregate.columns[n]]
   end
   add(out, "   local add%d = (function()\n", i)
   user_text(out, step, i, "user")
   local values = readers_text(out, "value" .. i, columns, base)
   add(out, [[
   return function(state, args, j)
%s      user%d(%s)
   end
   end)()
]], user_begin(i), i, table.concat({ object_text(i, "state", aggregate.offset), unpack(values) },
                                   ", "))
   return ("add%d(state, args, j)"):format(i)
end

local function built_in_add_text(out, step, i, aggregate, base)
   local arguments = { ("cast(pointer%d, state + %d)"):format(i, aggregate.offset) }
   for n = 1, aggregate.values do
      arguments[n + 1] = ("args[j + %d]"):format(base + n - 1)
   end
   if aggregate.spec.ordered then
      arguments[#arguments + 1] = "rows[i]"
   end
   built_in_text(out, step, i, "add")
   return ("add%d(%s)"):format(i, table.concat(arguments, ", "))
end

-- Whether adding can fail: counting cannot.
function M.fallible(keyed)
   for _, aggregate in ipairs(keyed.aggregates) do
      if not aggregate.spec.infallible or aggregate.condition and aggregate.condition.fn then
         return true
      end
   end
   return false
end

--- Adds what waits to the states that were found for it. A row that fails takes
--- back all it has added, so `careful` text keeps each state in `before`.
function M.add(keyed, careful)
   local out, body = { ("-- add %s\n"):format(keyed.name), HEAD, "return (function()\n" }, {}
   local base, ordered = 0, false
   for i, aggregate in own_states(keyed) do
      local make = aggregate.spec.built_in and built_in_add_text or user_add_text
      local call = make(out, keyed, i, aggregate, base)
      if aggregate.condition then
         call = ("if %s then %s end"):format(
            condition_text(out, keyed, i, aggregate.condition, base), call)
      end
      add(body, "         %s\n", call)
      base = base + #aggregate.columns
      ordered = ordered or aggregate.spec.ordered
   end
   add(out, [[
   return function(queue, first, count, before)
      local states, args%s = queue.states, queue.args%s
      for i = first, count - 1 do
         ctx.at = i
         local state, j = cast(bytes, states[i]), i * %d
]], ordered and ", rows" or "", ordered and ", queue.rows" or "", base)
   if careful then
      add(out, "         copy_bytes(before + i * %d, state, %d)\n", keyed.state_size,
          keyed.state_size)
   end
   out[#out + 1] = table.concat(body)
   add(out, "      end\n   end\nend)()\n")
   return { text = table.concat(out), careful = careful }
end

--- Folds states: into = merge(into, from).
function M.merge(keyed)
   local out, body = { ("-- merge %s\n"):format(keyed.name), HEAD, "return (function()\n" }, {}
   for i, aggregate in own_states(keyed) do
      if aggregate.spec.built_in then
         built_in_text(out, keyed, i, "merge")
         add(body, "      merge%d(cast(pointer%d, into + %d), cast(pointer%d, from + %d))\n", i, i,
             aggregate.offset, i, aggregate.offset)
      else
         user_text(out, keyed, i, "merge")
         add(body, user_begin(i))
         add(body, "      merge%d(%s, %s)\n", i, object_text(i, "into", aggregate.offset),
             object_text(i, "from", aggregate.offset))
      end
   end
   add(out, [[
   return function(list, count)
      for i = 0, count - 1 do
         ctx.at = i
         local into, from = cast(bytes, list[i].into), cast(bytes, list[i].from)
]])
   out[#out + 1] = table.concat(body)
   add(out, "      end\n   end\nend)()\n")
   return { text = table.concat(out) }
end

--- What one aggregate's state comes to, in the operator's cells: its functions in
--- `out`, the call in `body`.
function M.result(out, body, keyed, i)
   local aggregate = keyed.aggregates[i]
   local cell = (keyed.group.window and 2 or 0) + #keyed.group.keys + i - 1
   if aggregate.spec.built_in then
      built_in_text(out, keyed, i, "result")
      add(body, "      result%d(cast(pointer%d, state + %d), out.c[%d])\n", i, i,
          aggregate.offset, cell)
      return
   end
   user_text(out, keyed, i, "result")
   add(body, user_begin(i))
   add(body, "      local v%d = result%d(%s)\n", i, i, object_text(i, "state", aggregate.offset))
   local column = keyed.schema.columns[cell + 1]
   text.puts(body, { column }, cell, { "v" .. i }, "      ")
   if column.type == "string" or column.type == "bytes" then
      add(body, "      kept[%d] = v%d\n", i, i)
   end
end

return M
