-- SPDX-License-Identifier: Apache-2.0
-- tide.set and tide.map: tables by text, where a view need not become a string.
local ffi = require "ffi"
local native = require "tidemark.native"
local text = require "tidemark.text"

local C = native.C
local M = {}

local function number_of(lookup, key)
   if type(key) == "string" then
      return C.tide_ffi_lookup_find_text(lookup, key, #key)
   elseif text.is_text(key) then
      text.live(key)
      return C.tide_ffi_lookup_find(lookup, key.addr_, key.len_)
   end
   return -1
end

local function make(values)
   local lookup = ffi.gc(C.tide_ffi_lookup_new(), C.tide_ffi_lookup_free)
   return setmetatable({}, {
      __metatable = false,
      __index = function(_, key)
         return values[number_of(lookup, key)]
      end,
      __newindex = function()
         error("a set or map cannot be changed once it is made", 0)
      end,
      __call = function(_, key) return values[number_of(lookup, key)] end,
   }), lookup
end

local function add(lookup, key, what)
   local string = text.as_string(key)
   if string == nil and type(key) == "number" then
      string = tostring(key)
   end
   if string == nil then
      error(("%s: keys are text, got a %s"):format(what, type(key)), 0)
   end
   return C.tide_ffi_lookup_add(lookup, string, #string)
end

--- tide.set { "a", "b" }: set[text] is true or nil.
function M.set(list)
   if type(list) ~= "table" then
      error('tide.set wants a list: tide.set { "a", "b" }', 0)
   end
   local values = {}
   local set, lookup = make(values)
   for _, key in ipairs(list) do
      values[add(lookup, key, "tide.set")] = true
   end
   return set
end

--- tide.map { a = 1 }: map[text] is the value or nil.
function M.map(pairs_of)
   if type(pairs_of) ~= "table" then
      error('tide.map wants a table: tide.map { error = "alerts" }', 0)
   end
   local values = {}
   local map, lookup = make(values)
   for key, value in pairs(pairs_of) do
      values[add(lookup, key, "tide.map")] = value
   end
   return map
end

return M
