-- SPDX-License-Identifier: Apache-2.0
-- What rows become, small, slow and obviously right: it takes the records, and
-- the log of the epochs (ranges and the watermark that judged each), and says
-- what every output had to get. Times are milliseconds.
--
-- A record: { n, id, ts, v, partition, offset }. An operator: kind "window"
-- (size, slide, offset, strict), "plain", "first" or "latest" (within).
local M = {}

local function earlier(a, b)
   if a.ts ~= b.ts then
      return a.ts < b.ts
   elseif a.partition ~= b.partition then
      return a.partition < b.partition
   end
   return a.offset < b.offset
end

--- A group's row as text. Values are tenths, so that is what sums are rounded to.
function M.text(name, n, ...)
   local cells = { name, ("%d"):format(n) }
   for i, value in ipairs { ... } do
      cells[i + 2] = ("%d"):format(math.floor(value * 10 + 0.5))
   end
   return table.concat(cells, " ")
end

-- A group's state is the list of its records, so that no sum is taken twice.
local function shown(group)
   local total, first, last = 0, nil, nil
   for _, record in ipairs(group.records) do
      total = total + record.v
      first = (not first or earlier(record, first)) and record or first
      last = (not last or earlier(last, record)) and record or last
   end
   return M.text(group.name, #group.records, total, first.v, last.v)
end

local function grow(state, name, record, finish)
   local group = state.groups[name] or { name = name, records = {}, finish = finish }
   table.insert(group.records, record)
   state.groups[name] = group
   state.changed[name] = true
end

local add = {}

-- false: the row is late.
function add.window(op, state, record, mark)
   if op.strict and mark and record.ts < mark then
      return false
   end
   local open = false
   local newest = record.ts - (record.ts - op.offset) % op.slide
   for start = newest, record.ts - op.size + 1, -op.slide do
      local finish = start + op.size
      if not mark or finish > mark then
         grow(state, ("%.0f %d"):format(finish, record.id), record, finish)
         open = true
      end
   end
   return open
end

function add.plain(_, state, record, mark)
   if mark and record.ts < mark then
      return false
   end
   grow(state, ("%d"):format(record.id), record)
   return true
end

function add.first(op, state, record, mark)
   local before = state.groups[record.id]
   if mark and record.ts < mark then
      return false
   elseif not before or record.ts >= before.ts + op.within then
      state.groups[record.id] = record
      state.passed[#state.passed + 1] = record
   end
   return true
end

function add.latest(_, state, record, mark)
   local before = state.groups[record.id]
   if mark and record.ts < mark then
      return false
   elseif not before or record.ts > before.ts or
      (record.ts == before.ts and record.offset > before.offset) then
      state.groups[record.id] = record
      state.newest[record.id] = record
   end
   return true
end

-- Windows that the mark has passed: their rows, and they are gone.
local function close(state, mark)
   local rows = {}
   for name, group in pairs(state.groups) do
      if mark and group.finish and group.finish <= mark then
         rows[#rows + 1] = shown(group)
         state.groups[name] = nil
      end
   end
   return rows
end

local function what_changed(state)
   local rows = {}
   for name in pairs(state.changed) do
      rows[#rows + 1] = shown(state.groups[name])
   end
   for _, record in ipairs(state.passed) do
      rows[#rows + 1] = ("%d"):format(record.n)
   end
   for _, record in pairs(state.newest) do
      rows[#rows + 1] = ("%d"):format(record.n)
   end
   state.changed, state.passed, state.newest = {}, {}, {}
   return rows
end

local function sorted(rows)
   table.sort(rows)
   return rows
end

-- The records of an epoch, in the order of their partitions and offsets.
local function records_of(epoch, partitions)
   local list = {}
   for _, range in ipairs(epoch.ranges) do
      for offset = range.from, range.to - 1 do
         list[#list + 1] = partitions[range.partition][offset]
      end
   end
   return list
end

--- What an operator does with it all: for each epoch `closed`, `changed` and
--- `late` as sorted lists of text, and how many rows were used in all.
function M.run(op, log, partitions)
   local state = { groups = {}, changed = {}, passed = {}, newest = {} }
   local epochs, used = {}, 0
   for i, epoch in ipairs(log) do
      local late = {}
      local closed = op.kind == "window" and close(state, epoch.mark) or {}
      for _, record in ipairs(records_of(epoch, partitions)) do
         local filtered = record.id == 0
         if not filtered and add[op.kind](op, state, record, epoch.mark) then
            used = used + 1
         elseif not filtered then
            late[#late + 1] = ("%d"):format(record.n)
         end
      end
      epochs[i] = { closed = sorted(closed), changed = sorted(what_changed(state)),
                    late = sorted(late) }
   end
   return { epochs = epochs, used = used }
end

--- The watermark that each epoch stores: the delay behind the newest event time
--- that was read, but behind what partitions with more to read have come to.
function M.marks(log, partitions, delay)
   local mark, marks, come_to, seen = nil, {}, {}, {}
   for i, epoch in ipairs(log) do
      for _, record in ipairs(records_of(epoch, partitions)) do
         local part = record.partition
         seen[part] = true
         if record.id ~= 0 then
            come_to[part] = math.max(come_to[part] or record.ts, record.ts)
         end
      end
      local from = -math.huge
      for _, ts in pairs(come_to) do
         from = math.max(from, ts)
      end
      for _, range in ipairs(epoch.ranges) do
         local at = come_to[range.partition]
         if range.behind and (at or not seen[range.partition]) then
            from = math.min(from, at or -math.huge)
         end
      end
      if from > -math.huge then
         mark = math.max(mark or from - delay, from - delay)
      end
      marks[i] = mark
   end
   return marks
end

return M
