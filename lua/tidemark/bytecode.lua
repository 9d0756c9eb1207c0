-- SPDX-License-Identifier: Apache-2.0
-- Functions as LuaJIT compiled them, read from string.dump: instructions with
-- names, constants, the lines they came from, and whose variables they use.
local M = {}

-- In the order of their numbers in LuaJIT 2.1.
local names = {}
for name in ([[
ISLT ISGE ISLE ISGT ISEQV ISNEV ISEQS ISNES ISEQN ISNEN ISEQP ISNEP ISTC ISFC IST ISF ISTYPE ISNUM
MOV NOT UNM LEN ADDVN SUBVN MULVN DIVVN MODVN ADDNV SUBNV MULNV DIVNV MODNV ADDVV SUBVV MULVV DIVVV
MODVV POW CAT KSTR KCDATA KSHORT KNUM KPRI KNIL UGET USETV USETS USETN USETP UCLO FNEW TNEW TDUP
GGET GSET TGETV TGETS TGETB TGETR TSETV TSETS TSETB TSETM TSETR CALLM CALL CALLMT CALLT ITERC ITERN
VARG ISNEXT RETM RET RET0 RET1 FORI JFORI FORL IFORL JFORL ITERL IITERL JITERL LOOP ILOOP JLOOP JMP
FUNCF IFUNCF JFUNCF FUNCV IFUNCV JFUNCV FUNCC FUNCCW]]):gmatch "%w+" do
   names[#names + 1] = name
end
M.names = names

local VERSION = 2
local BIG_ENDIAN, STRIPPED, FRAME_OF_TWO = 1, 2, 8

-- Reading --------------------------------------------------------------------

local function byte(from)
   local value = from.text:byte(from.at)
   from.at = from.at + 1
   return value
end

-- Seven bits a byte, the lowest first.
local function number(from)
   local value, scale = 0, 1
   while true do
      local part = byte(from)
      if part < 128 then
         return value + part * scale
      end
      value, scale = value + (part - 128) * scale, scale * 128
   end
end

local function bytes(from, count)
   local value = from.text:sub(from.at, from.at + count - 1)
   from.at = from.at + count
   return value
end

local function name(from)
   local last = from.text:find("\0", from.at, true)
   local value = from.text:sub(from.at, last - 1)
   from.at = last + 1
   return value
end

local function skip_table_item(from)
   local kind = number(from)
   if kind >= 5 then
      bytes(from, kind - 5)
   elseif kind == 4 then
      number(from)
      number(from)
   elseif kind == 3 then
      number(from)
   end
end

local function skip_table(from)
   local list, pairs_of = number(from), number(from)
   for _ = 1, list + 2 * pairs_of do
      skip_table_item(from)
   end
end

-- A constant that is an object: text, a function made inside this one, or
-- something of no interest here (false).
local function object(from, made)
   local kind = number(from)
   if kind >= 5 then
      return bytes(from, kind - 5)
   elseif kind == 0 then
      return table.remove(made)
   elseif kind == 1 then
      skip_table(from)
   else
      for _ = 1, kind == 4 and 4 or 2 do
         number(from)
      end
   end
   return false
end

local function instructions(from, count)
   local code = {}
   for pc = 1, count do
      local op, a, c, b = byte(from), byte(from), byte(from), byte(from)
      code[pc] = { op = names[op + 1], a = a, b = b, c = c, d = c + 256 * b }
   end
   return code
end

local function lines(from, count, first, span)
   local list, width = {}, span < 256 and 1 or span < 65536 and 2 or 4
   for pc = 1, count do
      local value = 0
      for i = 0, width - 1 do
         value = value + byte(from) * 256 ^ i
      end
      list[pc] = first + value
   end
   return list
end

-- Instruction operands count constants from the back.
local function objects(from, count, made)
   local list = {}
   for i = count - 1, 0, -1 do
      list[i] = object(from, made)
   end
   return list
end

-- One function; those inside it came before and wait in `made`.
local function proto(from, made)
   local flags, params, frame, uv_count = byte(from), byte(from), byte(from), byte(from)
   local object_count, _, code_count = number(from), number(from), number(from)
   local debug_size = number(from)
   local first, span = 0, 0
   if debug_size > 0 then -- functions of LuaJIT's own libraries have no lines
      first, span = number(from), number(from)
   end
   local p = { params = params, slots = frame, vararg = flags % 4 >= 2, line = first,
               upvalues = {} }
   p.code = instructions(from, code_count)
   for i = 0, uv_count - 1 do
      local low, high = byte(from), byte(from)
      -- A variable of the function around it, by slot, or one of that one's own.
      p.upvalues[i] = { of_parent = high >= 128, index = low + 256 * (high % 64) }
   end
   p.objects = objects(from, object_count, made)
   p.lines = {}
   if debug_size > 0 then
      from.at = from.last - debug_size
      p.lines = lines(from, code_count, first, span)
      for i = 0, uv_count - 1 do
         p.upvalues[i].name = name(from)
      end
   end
   return p
end

--- The function with those inside it, or nil where this LuaJIT is another than
--- the one that this file knows. `frame` is what a call needs below its
--- arguments; `all` lists every function of it, outer ones last.
function M.read(fn)
   local from = { text = string.dump(fn), at = 4 }
   local version, flags = byte(from), number(from)
   if version ~= VERSION or flags % (2 * BIG_ENDIAN) ~= 0 or flags % (2 * STRIPPED) >= STRIPPED then
      return nil
   end
   local source = bytes(from, number(from))
   local made, all = {}, {}
   while true do
      local size = number(from)
      if size == 0 then
         break
      end
      from.last = from.at + size
      local p = proto(from, made)
      p.source, p.frame = source, flags >= FRAME_OF_TWO and 2 or 1
      made[#made + 1], all[#all + 1] = p, p
      from.at = from.last
   end
   return made[1], all
end

local known

--- Whether the names above are those of the LuaJIT that runs, by trying.
function M.known()
   if known == nil then
      local probe = loadstring [[
         local outer
         return function(a) local t = {} t[a] = 1 t.b = a outer = a free = a return t:c(a) end]]
      local ok, made = pcall(M.read, probe())
      local found = {}
      for i, instruction in ipairs(ok and made and made.code or {}) do
         found[i] = instruction.op
      end
      known = table.concat(found, " ") ==
         "TNEW KSHORT TSETV TSETS USETV GSET MOV TGETS MOV CALLT"
   end
   return known
end

return M
