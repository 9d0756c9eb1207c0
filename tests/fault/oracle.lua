-- SPDX-License-Identifier: Apache-2.0
-- A job whose output says whether it was exactly once, and how to read it.
--
-- The key of a record is its partition and its offset modulo M.keys, and an epoch
-- never has so many records: so each record is one row of its epoch, with the
-- running count of its key, and partition, offset and count follow from one
-- another. A row that is missing, there twice, or made of a stale state shows.
local h = require "harness"
local cjson = require "cjson"

local M = { keys = 400 }

local head = [[
local tide = require "tidemark"
local counted = tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec)
      return rec.partition .. "/" .. rec.offset %% %d, rec.partition, rec.offset
   end, { "key", "part:int", "off:int" })
   :group_by("key", { name = "keys" })
]]

local small = [[
   :aggregate({ tide.count() :as "n", tide.max "off" :as "off", tide.max "part" :as "part" }%s)
]]

-- Rows and states so large that 240 records make segments and SST files.
local large = [[
   :aggregate({ heavy "off" :as "n", tide.max "off" :as "off", tide.max "part" :as "part" }%s)
   :with("pad:string", function() return ("x"):rep(9000) end)
]]

local heavy = [[
local tide = require "tidemark"
local heavy = tide.aggregator {
   name = "heavy", returns = "int",
   state = { n = "int", off = "int", pad = "int[3800]" },
   add = function(s, off)
      s.n, s.off = s.n + 1, off
      for i = 1, 3800 do s.pad[i] = off * 4000 + i end
   end,
   merge = function(s, o)
      if o.n > 0 and (s.n == 0 or o.off > s.off) then
         s.off = o.off
         for i = 1, 3800 do s.pad[i] = o.pad[i] end
      end
      s.n = s.n + o.n
   end,
   result = function(s) return s.n end,
}
]]

--- The text of the job. sinks: of Lua; version: of the state; large: see above.
---@param sinks string
---@param options? { version?: integer, large?: boolean, note?: string }
function M.job(sinks, options)
   options = options or {}
   local version = ""
   if (options.version or 1) > 1 then
      version = (", { version = %d, migrate = function(old) return old end }"):format(
         options.version)
   end
   return (options.large and heavy or "") .. head:format(M.keys) ..
      (options.large and large or small):format(version) ..
      ("return counted%s:to(%s)\n"):format(options.note or "", sinks)
end

--- What the rows say against what must be there: counts[p] records of partition
--- p - 1. Each row once, or, where `again` is set, at least once and the same;
--- `ordered`: the rows of a key come in order. Returns how many came again.
function M.check(what, rows, counts, again, ordered)
   local seen, last, total, repeated = {}, {}, 0, 0
   for _, row in ipairs(rows) do
      local part, key = row.key:match "^(%d+)/(%d+)$"
      local id = row.part .. "/" .. row.off
      if tonumber(part) ~= row.part or row.off ~= (row.n - 1) * M.keys + tonumber(key) then
         error(("%s: key %s has offset %d of partition %d at its count %d"):format(
            what, row.key, row.off, row.part, row.n), 2)
      elseif row.off >= (counts[row.part + 1] or 0) then
         error(("%s: record %s is not in the input"):format(what, id), 2)
      elseif seen[id] and not again then
         error(("%s: record %s is there twice"):format(what, id), 2)
      elseif ordered and not seen[id] and row.n ~= (last[row.key] or 0) + 1 then
         error(("%s: key %s goes from %d to %d"):format(what, row.key, last[row.key] or 0,
                                                       row.n), 2)
      end
      repeated = repeated + (seen[id] and 1 or 0)
      total = total + (seen[id] and 0 or 1)
      seen[id] = true
      last[row.key] = row.n
   end
   local wanted = 0
   for p, count in ipairs(counts) do
      wanted = wanted + count
      for off = 0, count - 1 do
         if not seen[p - 1 .. "/" .. off] then
            error(("%s: record %d/%d is missing; it has %d of %d"):format(
               what, p - 1, off, total, wanted), 2)
         end
      end
   end
   return repeated
end

--- How many records each partition of a topic has: { [p] = count }.
function M.counts(topic)
   local counts = {}
   for _, line in ipairs(h.json_lines(h.kadmin("offsets", topic))) do
      counts[line.partition + 1] = line["end"]
   end
   return counts
end

--- The rows of all files of a folder, as `ls` has them.
function M.file_rows(folder)
   local rows = {}
   local list = io.popen("ls -1 '" .. folder .. "'/rows-*.jsonl 2>/dev/null")
   for name in list:lines() do
      for _, row in ipairs(h.json_lines(h.read_file(name))) do
         rows[#rows + 1] = row
      end
   end
   list:close()
   return rows
end

--- The rows of a topic for a reader that is read_committed.
function M.topic_rows(topic, partitions)
   local rows = {}
   for p = 0, partitions - 1 do
      for _, record in ipairs(h.json_lines(h.kadmin("consume", topic, p, 0, -1))) do
         rows[#rows + 1] = cjson.decode(record.value)
      end
   end
   return rows
end

--- The digest of a checkpoint's state, which is verified on the way (O4), and how
--- many keys there are.
function M.digest(checkpoint)
   local report = cjson.decode(h.run({ "checkpoint", "verify", "--json", "--checkpoint-dir",
                                       checkpoint }):out())
   return report.stateDigest, report.stateRows
end

return M
