-- SPDX-License-Identifier: Apache-2.0
-- Names in messages: the nearest one, and lists of them.
local M = {}

-- Edits between two short texts; two neighbours that changed places are one.
local function distance(a, b)
   local before, row = nil, {}
   for j = 0, #b do
      row[j] = j
   end
   for i = 1, #a do
      local last
      before, last, row = row, before, { [0] = i }
      for j = 1, #b do
         local same = a:byte(i) == b:byte(j)
         row[j] = math.min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (same and 0 or 1))
         if last and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
            row[j] = math.min(row[j], last[j - 2] + 1)
         end
      end
   end
   return row[#b]
end

local function plain(name)
   return (name:lower():gsub("[^%w]", ""))
end

--- The name of `known` (a list) that `name` was probably meant to be, or nil.
function M.nearest(name, known)
   name = plain(tostring(name))
   local best, least
   for _, other in ipairs(known) do
      local edits = distance(name, plain(other))
      if not least or edits < least then
         best, least = other, edits
      end
   end
   if least and least <= math.max(1, math.floor(math.max(#name, #plain(best)) / 3)) then
      return best
   end
   return nil
end

--- `; did you mean "b"?`, or the names there are.
function M.hint(name, known, what)
   local near = M.nearest(name, known)
   if near then
      return ('; did you mean "%s"?'):format(near)
   elseif #known == 0 then
      return "; there are none"
   end
   return ("; %s: %s"):format(what or "there are", table.concat(known, ", "))
end

--- The keys of a table in a stable order.
function M.sorted(t)
   local keys = {}
   for key in pairs(t) do
      keys[#keys + 1] = key
   end
   table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
   return keys
end

return M
