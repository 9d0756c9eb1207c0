-- SPDX-License-Identifier: Apache-2.0
-- Whole JSON documents: rec:decode() and tide.json(). (Declared columns go
-- through the scanner in C, which is ten times as fast.)
local cjson = require "cjson".new()
local text = require "tidemark.text"

cjson.decode_invalid_numbers(false)
cjson.encode_invalid_numbers(false)
cjson.decode_max_depth(200)
cjson.encode_max_depth(200)
cjson.encode_sparse_array(true, 2, 64)

local null = cjson.null
local M = {}

-- cjson's null is a value that is true in conditions; ours is absence.
local function without_nulls(value)
   if type(value) ~= "table" then
      return value
   end
   for key, item in pairs(value) do
      if item == null then
         value[key] = nil
      elseif type(item) == "table" then
         without_nulls(item)
      end
   end
   return value
end

--- A document as Lua values, or an error that says where it stops being JSON.
function M.decode(document)
   local ok, value = pcall(cjson.decode, document)
   if not ok then
      error("not JSON: " .. tostring(value), 0)
   end
   if value == null then
      return nil
   elseif type(value) == "table" and document:find("null", 1, true) then
      return without_nulls(value)
   end
   return value
end

local function plain(value, depth)
   if depth > 200 then
      error("tide.json: more than 200 levels, or a table inside itself", 0)
   elseif type(value) == "table" then
      local copy = {}
      for key, item in pairs(value) do
         copy[text.as_string(key) or key] = plain(item, depth + 1)
      end
      return copy
   elseif type(value) == "cdata" then
      local string = text.as_string(value)
      if not string then
         error("tide.json: a row or record is not a value; name its fields", 0)
      end
      return string
   end
   return value
end

--- A value as one line of JSON; text of a batch counts as a string.
function M.encode(value)
   local ok, result = pcall(cjson.encode, plain(value, 0))
   if not ok then
      error("tide.json: " .. tostring(result), 0)
   end
   return result
end

return M
