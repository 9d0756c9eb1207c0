-- SPDX-License-Identifier: Apache-2.0
-- What a variable of a job may hold, as far as the lint cares: a set of atoms.
-- An atom is text of a batch, a record, a table, a function, or anything else.
local M = {}

local ATOMS_MAX = 16
local count = 0

local function atom(kind, fields)
   local made = fields or {}
   count = count + 1
   made.kind, made.id = kind, count
   return made
end
M.atom = atom

local function only(one)
   return { [one] = true }
end
M.only = only

M.VIEW, M.ANY = atom "view", atom "any"
M.any, M.view = only(M.ANY), only(M.VIEW)

-- Too many possibilities are as good as none, but for the one that matters.
local MANY = atom "any"
local many, many_or_view = only(MANY), { [MANY] = true, [M.VIEW] = true }
M.record, M.row = only(atom "record"), only(atom "row")
-- What words(), split() and headers() give to a for loop: views, one or two.
M.views = only(atom("each", { keys = M.view, values = M.view }))

-- A decoded document: a plain table of what is no view.
local document = atom "table"
document.items = { [document] = true, [M.ANY] = true }
M.document = only(document)

local function holds_all(a, b)
   for one in pairs(b) do
      if not a[one] then
         return false
      end
   end
   return true
end

--- The union; a set is never changed once it is made.
function M.join(a, b)
   if a == nil or b == nil or a == b then
      return a or b
   elseif holds_all(a, b) then
      return a
   end
   local both, atoms = {}, 0
   for one in pairs(a) do
      both[one], atoms = true, atoms + 1
   end
   for one in pairs(b) do
      if not both[one] then
         both[one], atoms = true, atoms + 1
      end
   end
   if atoms > ATOMS_MAX or both[MANY] then
      return both[M.VIEW] and many_or_view or many
   end
   return both
end

--- The set without atoms of a kind; nothing left is anything.
function M.without(set, kind)
   local rest = {}
   for one in pairs(set) do
      if one.kind ~= kind then
         rest[one] = true
      end
   end
   return next(rest) and rest or M.any
end

--- A text that is the same for the same sets.
function M.signature(list, n)
   local parts = {}
   for i = 1, n do
      local ids = {}
      for one in pairs(list[i] or M.any) do
         ids[#ids + 1] = one.id
      end
      table.sort(ids)
      parts[i] = table.concat(ids, "+")
   end
   return table.concat(parts, ",")
end

return M
