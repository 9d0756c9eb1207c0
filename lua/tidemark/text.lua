-- SPDX-License-Identifier: Apache-2.0
-- Text inside a batch: views that read like strings and are made into one only
-- when asked. Every access checks that the text's batch is still there.
local ffi = require "ffi"
local native = require "tidemark.native"
local names = require "tidemark.names"

local C, ctx = native.C, native.ctx
local cast, istype, type = ffi.cast, ffi.istype, type

local M = {}

local view_ct = ffi.typeof "struct tide_view"
local word_ct = ffi.typeof "struct tide_word"
local word_p = ffi.typeof "struct tide_word *"
local bytes_p = ffi.typeof "const uint8_t *"
local chars_p = ffi.typeof "const char *"

M.view_ct, M.word_ct, M.word_p = view_ct, word_ct, word_p
M.RETIRED = "this text belonged to a batch that is over: tostring() it to keep it"

local function is_text(v)
   return istype(word_ct, v) or istype(view_ct, v)
end
M.is_text = is_text

local function live(v)
   local gen = v.gen_
   if gen ~= ctx.gen and not C.tide_ffi_alive(ctx, gen) then
      error(M.RETIRED, 0)
   end
end
M.live = live

local function string_of(v)
   live(v)
   return (ffi.string(cast(chars_p, v.addr_), v.len_))
end

--- A Lua string for a view or a string; nil for anything else.
local function as_string(v)
   if type(v) == "string" then
      return v
   elseif is_text(v) then
      return (string_of(v))
   end
   return nil
end
M.as_string = as_string

local function out_of_memory()
   error("out of memory for the text of this batch", 0)
end

-- Lists of words -----------------------------------------------------------

-- The loop variable is the address itself, a fresh reference each time: the
-- JIT keeps it in a register. (One shared view got loops blacklisted, views
-- made anew for each word ran at a third of the speed.) All loops start from
-- the same place before the first word, so that starting one makes nothing.
local function next_word(_, word)
   if not istype(word_ct, word) then
      error("this iterator belongs to a for loop", 0)
   end
   local following = cast(word_p, cast(bytes_p, word) + word.next_)[0]
   if following.len_ < 0 then
      return nil
   end
   return following
end

local before = ctx.before
M.before = before

local function start(made)
   if not made then
      out_of_memory()
   end
   return next_word, nil, before
end

local words_of = C.tide_ffi_words

--- Words of a view, a string or nil: runs of letters and digits, in lower case.
function M.words(text)
   if text == nil then
      local iterate, state, word = start(words_of(ctx, 0, 0))
      return iterate, state, word
   elseif is_text(text) then
      live(text)
      local iterate, state, word = start(words_of(ctx, text.addr_, text.len_))
      return iterate, state, word
   elseif type(text) == "string" then
      local iterate, state, word = start(C.tide_ffi_words_text(ctx, text, #text))
      return iterate, state, word
   end
   error("tide.words wants text, got a " .. type(text), 0)
end

--- Null or empty.
function M.blank(text)
   if text == nil then
      return true
   elseif is_text(text) then
      live(text)
      return text.len_ == 0
   end
   return text == ""
end

-- Comparing ----------------------------------------------------------------

local function equal(a, b)
   if type(a) == "string" then
      a, b = b, a
   end
   if not is_text(a) then
      return false
   elseif type(b) == "string" then
      live(a)
      return a.len_ == #b and C.tide_ffi_compare_text(a.addr_, a.len_, b, #b) == 0
   elseif not is_text(b) then
      return false
   end
   live(a)
   live(b)
   return a.len_ == b.len_ and C.tide_ffi_compare(a.addr_, a.len_, b.addr_, b.len_) == 0
end

local function order(a, b)
   if type(a) == "string" and is_text(b) then
      live(b)
      return -C.tide_ffi_compare_text(b.addr_, b.len_, a, #a)
   elseif not is_text(a) then
      error("attempt to compare a " .. type(a) .. " with text", 0)
   end
   live(a)
   if type(b) == "string" then
      return C.tide_ffi_compare_text(a.addr_, a.len_, b, #b)
   elseif not is_text(b) then
      error("attempt to compare text with a " .. type(b), 0)
   end
   live(b)
   return C.tide_ffi_compare(a.addr_, a.len_, b.addr_, b.len_)
end

-- Methods ------------------------------------------------------------------

local methods = {}

local function wants(method, v)
   if not is_text(v) then
      error(("text:%s(): call it with a colon on text, not on a %s"):format(method, type(v)), 0)
   end
   live(v)
end

local function wanted(method, value)
   local text = as_string(value)
   if text == nil then
      error(("text:%s() wants text, got a %s"):format(method, type(value)), 0)
   end
   return text
end

-- Positions as string.sub counts them, to the offset and the end.
local function range(len, i, j)
   i, j = i or 1, j or -1
   if i < 0 then i = len + i + 1 end
   if j < 0 then j = len + j + 1 end
   if i < 1 then i = 1 end
   if j > len then j = len end
   if j < i then return 0, 0 end
   return i - 1, j
end

function methods.len(v)
   wants("len", v)
   return v.len_
end

function methods.words(v)
   wants("words", v)
   local iterate, state, word = start(words_of(ctx, v.addr_, v.len_))
      return iterate, state, word
end

function methods.split(v, by)
   wants("split", v)
   by = wanted("split", by)
   if by == "" then
      error("text:split() wants a separator of at least one byte", 0)
   end
   local iterate, state, word = start(C.tide_ffi_split(ctx, v.addr_, v.len_, v.gen_, by, #by))
      return iterate, state, word
end

function methods.sub(v, i, j)
   wants("sub", v)
   local from, to = range(v.len_, i, j)
   return view_ct(v.addr_ + from, to - from, v.gen_)
end

function methods.byte(v, i, j)
   wants("byte", v)
   i = i or 1
   if j ~= nil then
      return string_of(v):byte(i, j)
   end
   if i < 0 then
      i = v.len_ + i + 1
   end
   if i < 1 or i > v.len_ or i % 1 ~= 0 then
      return nil
   end
   return cast(bytes_p, v.addr_)[i - 1]
end

local function recased(v, upper)
   local addr = C.tide_ffi_case(ctx, v.addr_, v.len_, upper)
   if addr == 0 then
      out_of_memory()
   end
   return view_ct(addr, v.len_, ctx.gen)
end

function methods.lower(v)
   wants("lower", v)
   return recased(v, false)
end

function methods.upper(v)
   wants("upper", v)
   return recased(v, true)
end

function methods.trim(v)
   wants("trim", v)
   local bytes, from, to = cast(bytes_p, v.addr_), 0, v.len_
   while from < to and (bytes[from] == 32 or (bytes[from] >= 9 and bytes[from] <= 13)) do
      from = from + 1
   end
   while to > from and (bytes[to - 1] == 32 or (bytes[to - 1] >= 9 and bytes[to - 1] <= 13)) do
      to = to - 1
   end
   return view_ct(v.addr_ + from, to - from, v.gen_)
end

function methods.starts_with(v, what)
   wants("starts_with", v)
   what = wanted("starts_with", what)
   return #what <= v.len_ and C.tide_ffi_compare_text(v.addr_, #what, what, #what) == 0
end

function methods.ends_with(v, what)
   wants("ends_with", v)
   what = wanted("ends_with", what)
   local from = v.len_ - #what
   return from >= 0 and C.tide_ffi_compare_text(v.addr_ + from, #what, what, #what) == 0
end

--- As string.find; without magic characters no string is made.
function methods.find(v, what, init, plain)
   wants("find", v)
   what = wanted("find", what)
   if not plain and what:find("[%^%$%*%+%?%.%(%)%[%]%%%-]") then
      return string_of(v):find(what, init)
   end
   init = init or 1
   if init < 0 then init = math.max(v.len_ + init + 1, 1) end
   if init < 1 then init = 1 end
   if init > v.len_ + 1 then
      return nil
   end
   local at = C.tide_ffi_find(v.addr_, v.len_, init - 1, what, #what)
   if at < 0 then
      return nil
   end
   return at + 1, at + #what
end

function methods.contains(v, what)
   return (methods.find(v, what, 1, true)) ~= nil
end

-- What only strings can do is done on one.
for _, name in ipairs { "match", "gmatch", "gsub", "rep", "reverse" } do
   methods[name] = function(v, ...)
      wants(name, v)
      local strings = debug.getmetatable("").__index
      return strings[name](string_of(v), ...)
   end
end

M.methods = methods

local function index(_, key)
   local method = methods[key]
   if method then
      return method
   elseif type(key) == "number" then
      error("text has no [" .. key .. "]: use :byte(i) or :sub(i, j)", 0)
   end
   error(('text has no "%s"'):format(tostring(key)) ..
         names.hint(key, names.sorted(methods), "it has"), 0)
end

local function refuse()
   error("text in a batch cannot be changed", 0)
end

local meta = {
   __index = index,
   __newindex = refuse,
   __eq = equal,
   __lt = function(a, b) return order(a, b) < 0 end,
   __le = function(a, b) return order(a, b) <= 0 end,
   __len = function(v)
      live(v)
      return v.len_
   end,
   __tostring = string_of,
   __concat = function(a, b)
      local left = as_string(a) or (type(a) == "number" and tostring(a))
      local right = as_string(b) or (type(b) == "number" and tostring(b))
      if not left or not right then
         local other = b
         if not left then
            other = a
         end
         error("attempt to concatenate text with a " .. type(other), 0)
      end
      return left .. right
   end,
}

ffi.metatype(view_ct, meta)
ffi.metatype(word_ct, meta)

return M
