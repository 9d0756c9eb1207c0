-- SPDX-License-Identifier: Apache-2.0
-- Results against the independent counts of count_words.c and count_json.c.
local tools = require "tools"

local M = {}

--- The word count's state in a checkpoint, against a file of sorted counts.
function M.counts(checkpoint, expected)
   return tools.shell(("build/tidemark state ls wordcount -c %s --limit 100000000 --output csv " ..
      "2>/dev/null | tail -n +2 | tr -d '\\r' | sort | cmp -s - %s"):format(checkpoint, expected))
end

-- By when they begin and by id: how many, and their sum.
local function wanted_windows(expected)
   local wanted = {}
   for line in io.lines(expected) do
      local ms, id, count, sum = line:match "^(%d+),([^,]+),(%d+),(.+)$"
      local of = wanted[ms] or { counts = {}, sums = {} }
      wanted[ms] = of
      of.counts[id], of.sums[id] = tonumber(count), tonumber(sum)
   end
   local by_name = {}
   for ms, of in pairs(wanted) do
      by_name[os.date("!%Y-%m-%dT%H:%M:%S.000Z", ms / 1000)] = of
   end
   return by_name
end

--- Rows of start,end,id,average,count: every window that has closed is there, once,
--- with what belongs into it.
function M.windows(rows, expected)
   local wanted, last = wanted_windows(expected), ""
   for line in io.lines(rows) do
      local start, id, average, count = line:match "^([^,]+),[^,]+,(%d+),([^,]+),(%d+)"
      if start then
         local of = wanted[start]
         local want = of and of.counts[id]
         if want ~= tonumber(count) or math.abs(of.sums[id] / want - average) > 1e-9 then
            return false
         end
         of.counts[id] = nil
         last = start > last and start or last
      end
   end
   for start, of in pairs(wanted) do
      if start <= last and next(of.counts) then
         return false
      end
   end
   return last ~= ""
end

--- The last number of different ones that was said, as "1,number".
function M.unique(rows, expected)
   local last
   for line in io.lines(rows) do
      last = line:match "^1,(%d+)" or last
   end
   return last ~= nil and tonumber(last) == tonumber(tools.read("cat " .. expected))
end

return M
