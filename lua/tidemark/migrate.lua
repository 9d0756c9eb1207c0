-- SPDX-License-Identifier: Apache-2.0
-- States of a lower version of a grouping, through the function that the job gives
-- for them.
--
-- An old state lies as the checkpoint's text about it says, so its aggregates are
-- made from that text alone; they are the objects of state.lua, good until the
-- function's result has been read.
local ffi = require "ffi"
local errors = require "tidemark.errors"
local names = require "tidemark.names"
local native = require "tidemark.native"
local state = require "tidemark.state"

local ctx = native.ctx
local M = {}

-- What a session has in front of its aggregates, and keeps.
local START = "(start)"

-- One aggregate's columns of state, as they lie from `offset` on.
local function part_new(name, offset, list, guard)
   local columns, size = {}, 0
   for i, given in ipairs(list) do
      local made = state.type(given[2])
      if not made then
         error(('this version of tidemark does not know the type "%s" that state "%s" of "%s" has')
            :format(given[2], given[1], name), 0)
      end
      columns[i] = { given[1], given[2], made = made, offset = size }
      size = size + made.size
   end
   local part = { name = name, offset = offset, columns = columns, size = size, by_name = {} }
   part.object, part.get, part.set, part.inner =
      state.objects(columns, (state.struct(columns, "f")), guard)
   for i, column in ipairs(columns) do
      part.by_name[column[1]] = i
   end
   return part
end

-- A line "name=what{column:type,column:type, 16 bytes}": its name and columns.
local function parse(line)
   local name, text = line:match "^([^=]*)=.*{([^{}]*), %d+ bytes}$"
   local columns = {}
   for column in (text or ""):gmatch "[^,]+" do
      columns[#columns + 1] = { column:match "^([^:]*):(.*)$" }
   end
   return name or error("what the checkpoint says of its state cannot be read: " .. line, 0),
      columns
end

local function old_parts(layout, guard)
   local parts, offset = {}, 0
   for line in layout:gmatch "[^\n]+" do
      local name, columns = parse(line)
      parts[#parts + 1] = part_new(name, offset, columns, guard)
      parts[name] = parts[#parts]
      offset = offset + parts[#parts].size
   end
   return parts
end

-- Aggregates that share a state are one under each of their names.
local function new_parts(step, guard)
   local parts, shares = {}, {}
   for _, aggregate in ipairs(step.aggregates) do
      local share = aggregate.share or aggregate.as
      if not shares[share] then
         shares[share] = part_new(share, aggregate.offset, aggregate.spec.state, guard)
         parts[share] = shares[share]
      end
      parts[aggregate.as] = parts[aggregate.as] or shares[share]
   end
   return parts
end

-- What the columns of the old state are that are no numbers and no text.
local function opaque(parts)
   local list = {}
   for _, part in ipairs(parts) do
      for i, column in ipairs(part.columns) do
         if part.inner[i] then
            list[#list + 1] = { object = part.inner[i], type = column[2] }
         end
      end
   end
   return list
end

-- Which of the old aggregates a value is.
local function aggregate_of(migration, value)
   for _, part in ipairs(type(value) == "cdata" and migration.old or {}) do
      if ffi.istype(part.object, value) then
         return part
      end
   end
   return nil
end

local function type_of_opaque(migration, value)
   for _, known in ipairs(type(value) == "cdata" and migration.opaque or {}) do
      if ffi.istype(known.object, value) then
         return known.type
      end
   end
   return nil
end

local function copy(to, from, size)
   ffi.copy(ffi.cast("char *", to), ffi.cast("const char *", from), size)
end

-- A list or a sketch: one of the same type as it is, or the values of a list.
local function put_opaque(migration, part, i, value, into)
   local column = part.columns[i]
   local kind = type_of_opaque(migration, value)
   if kind == column[2] then
      copy(into + column.offset, value.addr_, column.made.size)
   elseif type(value) == "table" and column.made.object == "list" then
      local list = part.inner[i](migration.guard.serial, into + column.offset)
      for n = 1, #value do
         list[n] = value[n]
      end
   else
      error(('state "%s" of "%s" is a %s and got %s; it can be carried over from a state of the ' ..
         'same type as it is'):format(column[1], part.name, column[2],
         kind and "a " .. kind or "a " .. type(value)), 0)
   end
end

local function put(migration, part, i, value, into, object)
   if part.columns[i].made.object then
      put_opaque(migration, part, i, value, into)
   else
      part.set[part.columns[i][1]](object, value)
   end
end

-- An old aggregate as a new one: what both have. Equal types are carried over as they
-- lie, ints beyond what Lua numbers can hold, too.
local function carry(migration, part, from, value, into, object)
   for i, column in ipairs(part.columns) do
      local n = from.by_name[column[1]]
      local old = n and from.columns[n]
      if old and old[2] == column[2] then
         copy(into + column.offset, value.addr_ + old.offset, column.made.size)
      elseif old then
         put(migration, part, i, from.get[column[1]](value), into, object)
      end
   end
end

local function fill(migration, part, value, into)
   local object = part.object(migration.guard.serial, into)
   local from = aggregate_of(migration, value)
   if from then
      if value.serial_ ~= migration.guard.serial then
         error("a state is only good while migrate runs for its key: keep its values", 0)
      end
      return carry(migration, part, from, value, into, object)
   elseif type(value) ~= "table" then
      error(('migrate: "%s" must be a table of its states, or an old aggregate, not a %s')
         :format(part.name, type(value)), 0)
   end
   for name, given in pairs(value) do
      local i = part.by_name[name]
      if not i then
         error(('migrate: "%s" has no state "%s"%s'):format(part.name, tostring(name),
            names.hint(tostring(name), names.sorted(part.by_name), "it has")), 0)
      end
      put(migration, part, i, given, into, object)
   end
end

local function fill_all(migration, given, into)
   for name, value in pairs(given) do
      local part, gone = migration.new[name], migration.old[name]
      if part then
         fill(migration, part, value, into + part.offset)
      elseif not gone or aggregate_of(migration, value) ~= gone then
         -- One that the job has no longer may stay in the table that it was given in.
         error(('migrate: no aggregate "%s"%s'):format(tostring(name),
            names.hint(tostring(name), names.sorted(migration.new), "aggregates are")), 0)
      end
   end
end

-- False: the job gives this key up.
local function one(migration, from, into)
   local guard, old = migration.guard, {}
   guard.serial = guard.serial + 1
   for _, part in ipairs(migration.old) do
      if part.name ~= START then
         old[part.name] = part.object(guard.serial, from + part.offset)
      end
   end
   local given = migration.fn(old)
   if given == nil then
      return false
   end
   local ok, e
   if type(given) == "table" then
      ok, e = pcall(fill_all, migration, given, into)
   else
      ok, e = false, ("migrate must give a table of states, or nil where the key goes, not a %s")
         :format(type(given))
   end
   if not ok then
      errors.at(migration.path, migration.line, "%s", tostring(e))
   end
   if migration.old[START] then
      copy(into, from, 8)
   end
   return true
end

local function make(step, layout)
   local stage = ffi.new "struct tide_stage"
   local guard = ffi.cast("struct tide_stage *", stage)
   local where = debug.getinfo(step.migrate, "S")
   local migration = { fn = step.migrate, layout = layout, guard = guard, anchor = stage,
                       path = where.source:sub(2), line = where.linedefined }
   migration.old = old_parts(layout, guard)
   migration.opaque = opaque(migration.old)
   migration.new = new_parts(step, guard)
   return migration
end

-- A key that takes that many instructions waits for nothing that will come.
local INSTRUCTIONS, LOOKS_MAX = 1000000, 30
local looks

-- Not where the runtime is: the job's own line is of interest.
local function look()
   local info = debug.getinfo(2, "Sl")
   looks = looks + 1
   if looks > LOOKS_MAX then
      debug.sethook(look, "", 1) -- no pcall of the job's gets away from that
      if errors.knows(info.source) then
         errors.at(info.source:sub(2), info.currentline,
                   "migrate does not return: a loop in it may never end")
      end
   end
end

local function run_all(step)
   local call = ctx.call
   local layout = ffi.string(call.path)
   if not step.migration or step.migration.layout ~= layout then
      step.migration = make(step, layout)
   end
   local list = ffi.cast("struct tide_pair *", call.pairs)
   for i = 0, tonumber(call.count) - 1 do
      ctx.row, looks = i, 0
      if not one(step.migration, list[i].from, list[i].into) then
         list[i].into = 0
      end
   end
   step.migration.guard.serial = step.migration.guard.serial + 1
end

--- Fill the states of ctx.call.pairs, which ctx.call.path says the old layout of;
--- ctx.row is the one that is being filled.
function M.run(step)
   local compiling = jit.status()
   jit.off() -- Compiled code does not look at the time.
   looks = 0
   debug.sethook(look, "", INSTRUCTIONS)
   local ok, e = xpcall(run_all, errors.handler, step)
   errors.watch_time()
   if compiling then
      jit.on()
   end
   if not ok and errors.place(e) == "" and step.migration then
      errors.at(step.migration.path, step.migration.line, "%s", errors.reason(e))
   elseif not ok then
      error(e, 0)
   end
end

return M
