-- SPDX-License-Identifier: Apache-2.0
-- Values by the order of their rows: the first, the last, and a mean of the last
-- few.
--
-- Rows are ordered by a column that the job names, else by event time where there
-- is one, else by the record's timestamp; ties by topic (a hash of its name),
-- partition, offset, and within a record by the order of its rows. All of that is
-- kept, so that the answer does not depend on who read what when.
local ffi = require "ffi"
local arguments = require "tidemark.arguments"
local kept = require "tidemark.kept"
local native = require "tidemark.native"
local state = require "tidemark.state"

local C, ctx = native.C, native.ctx

local M = {}

local POINTS_MAX = 128

-- The order ----------------------------------------------------------------------

local ORDER = { { "time", "int" }, { "topic", "int" }, { "partition", "int" },
                { "offset", "int" } }

-- A double as an integer that sorts like it; NaN is the greatest.
local bits = ffi.new "union { double d; int64_t i; }"
local function sortable(value)
   if value ~= value then
      return 0x7fffffffffffffffLL
   elseif value == 0 then
      return 0LL
   end
   bits.d = value
   local i = bits.i
   return i < 0 and -0x7fffffffffffffffLL - 1 - i or i
end

-- The time of a row: from the cell of a column, or from its record.
local times = {
   int = function(cell) return cell.i end,
   double = function(cell) return sortable(cell.d) end,
   record = function(rec) return rec.timestamp_ms_ end,
}
times.timestamp = times.int

local function topic_of(batch)
   return C.tide_ffi_hash(batch.topic, batch.topic_len)
end

-- -1, 0 or 1: whether a place in the order is before, at or behind a state's.
local function compare(time, topic, partition, offset, s)
   if time ~= s.time then
      return time < s.time and -1 or 1
   elseif topic ~= s.topic then
      return topic < s.topic and -1 or 1
   elseif partition ~= s.partition then
      return partition < s.partition and -1 or 1
   elseif offset ~= s.offset then
      return offset < s.offset and -1 or 1
   end
   return 0
end

-- The first and the last -----------------------------------------------------------

local function edge(name, column, by, most)
   local keep = kept.keeper(column, "tide." .. name, most)
   local put, copy, get = keep.put, keep.copy, keep.get
   local is_text, last = kept.is_text(column), name == "last"
   local time_of = times[by and by.type or "record"]
   local columns = { { "value", keep.type }, { "seen", "bool" } }
   for i, declared in ipairs(ORDER) do
      columns[i + 2] = declared
   end
   local function add(s, cell, time, row)
      if is_text and cell.len > most then
         kept.too_long("tide." .. name, cell, most)
      end
      local batch = ctx.batch
      local topic, partition, offset = topic_of(batch), batch.partition, batch.recs[row].offset_
      local order = compare(time, topic, partition, offset, s)
      if s.seen == 0 or order > 0 == last and order ~= 0 or order == 0 and last then
         put(s, cell)
         s.seen, s.time, s.topic, s.partition, s.offset = 1, time, topic, partition, offset
      end
   end
   return state.built_in {
      state = columns, ordered = true,
      result_type = column.type, nullable = true, infallible = keep.infallible,
      add_cell = by and function(s, cell, by_cell, row)
         if cell.len >= 0 and by_cell.len >= 0 then
            add(s, cell, time_of(by_cell), row)
         end
      end or function(s, cell, row)
         if cell.len >= 0 then
            add(s, cell, time_of(ctx.batch.recs[row]), row)
         end
      end,
      merge = function(s, o)
         if o.seen == 0 then
            return
         end
         local order = compare(o.time, o.topic, o.partition, o.offset, s)
         if s.seen == 0 or order > 0 == last then
            copy(s, o)
            s.seen, s.time, s.topic, s.partition, s.offset = 1, o.time, o.topic, o.partition,
               o.offset
         end
      end,
      result = function(s, cell)
         if s.seen == 0 then
            cell.len = -1
         else
            get(s, cell)
         end
      end,
   }
end

-- The mean of the last few -----------------------------------------------------

local function is_before(s, i, time, topic, partition, offset)
   if s.time[i] ~= time then
      return s.time[i] < time
   elseif s.topic[i] ~= topic then
      return s.topic[i] < topic
   elseif s.partition[i] ~= partition then
      return s.partition[i] < partition
   end
   return s.offset[i] <= offset -- of one record's rows, the later one comes last
end

local function move(s, from, to)
   s.value[to], s.time[to], s.topic[to] = s.value[from], s.time[from], s.topic[from]
   s.partition[to], s.offset[to] = s.partition[from], s.offset[from]
end

-- In order; when all points are there the first one goes.
local function insert(s, points, value, time, topic, partition, offset)
   local used = tonumber(s.used)
   local at = used
   while at > 0 and not is_before(s, at - 1, time, topic, partition, offset) do
      at = at - 1
   end
   if used < points then
      for i = used, at + 1, -1 do
         move(s, i - 1, i)
      end
      s.used = used + 1
   elseif at == 0 then
      return
   else
      at = at - 1
      for i = 0, at - 1 do
         move(s, i + 1, i)
      end
   end
   s.value[at], s.time[at], s.topic[at] = value, time, topic
   s.partition[at], s.offset[at] = partition, offset
end

local function moving_mean(points, column, by)
   local time_of = times[by and by.type or "record"]
   local is_int = column.type == "int"
   local columns = { { "used", "int" }, { "value", ("double[%d]"):format(points) } }
   for i, declared in ipairs(ORDER) do
      columns[i + 2] = { declared[1], ("int[%d]"):format(points) }
   end
   local function add(s, cell, time, row)
      local batch = ctx.batch
      insert(s, points, is_int and tonumber(cell.i) or cell.d, time, topic_of(batch),
             batch.partition, batch.recs[row].offset_)
   end
   return state.built_in {
      state = columns, ordered = true, infallible = true, result_type = "double", nullable = true,
      add_cell = by and function(s, cell, by_cell, row)
         if cell.len >= 0 and by_cell.len >= 0 then
            add(s, cell, time_of(by_cell), row)
         end
      end or function(s, cell, row)
         if cell.len >= 0 then
            add(s, cell, time_of(ctx.batch.recs[row]), row)
         end
      end,
      merge = function(s, o)
         for i = 0, tonumber(o.used) - 1 do
            insert(s, points, o.value[i], o.time[i], o.topic[i], o.partition[i], o.offset[i])
         end
      end,
      result = function(s, cell)
         local sum = 0
         for i = 0, points - 1 do
            sum = sum + s.value[i]
         end
         cell.d = sum / points
         cell.len = s.used < points and -1 or 0
      end,
   }
end

-- What jobs write ----------------------------------------------------------------

local function check_order(name, by)
   if by and (kept.is_text(by) or by.type == "bool") then
      error(('tide.%s: by = "%s" is a %s; rows are ordered by an int, double or ' ..
             'timestamp column'):format(name, by.name, by.type), 0)
   end
end

for _, name in ipairs { "first", "last" } do
   M[name] = function(column, options)
      arguments.column(name, column)
      local given = arguments.options(name, options, { "by", "max_bytes" })
      local most = kept.text_max(name, given)
      return { name = name, columns = { column, given.by }, label = name .. "_" .. column,
               in_order = true, spec_of = function(columns)
         check_order(name, columns[2])
         return edge(name, columns[1], columns[2], most)
      end }
   end
end

--- The mean of the last `points` values, in the order of tide.last; null while
--- there are fewer.
function M.moving_avg(column, points, options)
   arguments.column("moving_avg", column)
   if type(points) ~= "number" or points % 1 ~= 0 or points < 1 or points > POINTS_MAX then
      error(('tide.moving_avg wants a number of points from 1 to %d, as in ' ..
             'tide.moving_avg("value", 3)'):format(POINTS_MAX), 0)
   end
   local given = arguments.options("moving_avg", options, { "by" })
   return { name = "moving_avg", columns = { column, given.by }, label = "moving_avg_" .. column,
            in_order = true, spec_of = function(columns)
      arguments.numeric("moving_avg", columns[1])
      check_order("moving_avg", columns[2])
      return moving_mean(points, columns[1], columns[2])
   end }
end

return M
