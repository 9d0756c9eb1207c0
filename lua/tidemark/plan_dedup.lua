-- SPDX-License-Identifier: Apache-2.0
-- Rows that come more than once: which of them go on.
local names = require "tidemark.names"
local schema = require "tidemark.schema"
local time = require "tidemark.time"

local M = {}

local known = { "by", "keep", "within", "name" }

local function check_place(parent)
   if parent.keyed then
      error(":dedup: these rows are aggregated already, one for each key; it comes before " ..
         ":group_by", 0)
   elseif parent.updates then
      error(':dedup: rows behind keep = "latest" are new versions of what went by before; there ' ..
         "is nothing left to tell apart", 0)
   elseif not parent.mark then
      error((':dedup without a watermark would remember every key for ever: ' ..
         ':watermark("column", "2h") comes before it, and says how long a repeat may take'), 0)
   end
end

local function check_options(given)
   if type(given) ~= "table" then
      error(':dedup wants options: :dedup { by = "id" }', 0)
   end
   for _, key in ipairs(names.sorted(given)) do
      local fine = false
      for _, name in ipairs(known) do
         fine = fine or name == key
      end
      if not fine then
         error((':dedup: no option "%s"%s'):format(tostring(key),
            names.hint(tostring(key), known, "options are")), 0)
      end
   end
   if given.keep ~= nil and given.keep ~= "first" and given.keep ~= "latest" then
      error((':dedup: keep must be "first" or "latest", not %s'):format(tostring(given.keep)), 0)
   end
end

local function keys_of(given, row)
   local by = type(given.by) == "table" and given.by or { given.by }
   local keys, list = {}, {}
   if #by == 0 then
      error(':dedup wants the columns that make a row the same: by = "id"', 0)
   elseif #by > 16 then
      error((":dedup: by takes at most 16 columns, not %d"):format(#by), 0)
   end
   for i, name in ipairs(by) do
      local _, column = schema.find(row, name, ":dedup")
      keys[i], list[i] = column, name
   end
   return keys, table.concat(list, ",")
end

--- A dedup step. Rows that pass it run on in a loop of their own.
function M.dedup(program, fact, parent, step_new)
   check_place(parent)
   check_options(fact.options)
   local given = fact.options
   local keys, list = keys_of(given, parent.schema)
   if #parent.schema.columns > 250 then
      error("a row that goes through :dedup has at most 250 columns", 0)
   end
   local ok, within = pcall(time.ms, given.within or parent.mark.delay)
   if not ok or within <= 0 then
      error((':dedup: within must be a time span like "2h", not %s'):format(
         tostring(given.within)), 0)
   end
   local step = step_new(program, fact, parent, "dedup", schema.of({
      unpack(parent.schema.columns) }))
   step.keys, step.within, step.latest = keys, within, given.keep == "latest"
   step.updates = step.latest
   step.level = (parent.root and parent.root.level or 0) + 1
   step.name = given.name or ("dedup(%s)"):format(list)
   step.layout = ("dedup %s keep %s"):format(list, step.latest and "latest" or "first")
   program.keyed[#program.keyed + 1] = step
   step.claims = #program.keyed
   step.root = step
   step.text = ("dedup(by %s, keep %s, within %s)"):format(list,
      step.latest and "latest" or "first", tostring(given.within or "the watermark's delay"))
   return step
end

--- Columns of a row that waits, behind its own: for on_error = sink the record it
--- came from (src/record/kept.h), and always its event time and offset.
function M.hidden(program)
   local columns = {}
   if program.keeps_records then
      columns = {
         { name = "@key", type = "bytes", nullable = true },
         { name = "@value", type = "bytes", nullable = true },
         { name = "@timestamp", type = "timestamp", nullable = true },
         { name = "@headers", type = "bytes", nullable = true },
      }
   end
   columns[#columns + 1] = { name = "event_time", type = "timestamp", nullable = false }
   columns[#columns + 1] = { name = "offset", type = "int", nullable = false }
   return columns
end

return M
