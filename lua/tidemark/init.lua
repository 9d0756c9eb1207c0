-- SPDX-License-Identifier: Apache-2.0
-- The module that jobs require. Everything here builds plain data or reads
-- text; nothing runs until the plan has been checked.
local ffi = require "ffi"
local aggregates = require "tidemark.aggregates"
local json = require "tidemark.json"
local lookup = require "tidemark.lookup"
local names = require "tidemark.names"
local native = require "tidemark.native"
local stream = require "tidemark.stream"
local text = require "tidemark.text"
local time = require "tidemark.time"

local C, ctx = native.C, native.ctx

---@class tide
local tide = {
   words = text.words, blank = text.blank,
   aggregator = aggregates.aggregator,
   set = lookup.set, map = lookup.map,
   json = json.encode,
   now = time.now, random = time.random, ms = time.ms, format = time.format, parse = time.parse,
}

for name, make in pairs(aggregates.built_in) do
   tide[name] = make
end

--- A stream of the records of a source.
---@param source tide.Endpoint
---@return tide.Stream
function tide.from(source)
   return stream.from(source)
end

local function endpoint(kind)
   return function(options)
      if type(options) ~= "table" then
         error(("tide.%s wants a table of options: tide.%s { … }"):format(kind, kind), 0)
      end
      return stream.endpoint(kind, options)
   end
end

tide.kafka = endpoint "kafka"
tide.files = endpoint "files"
tide.job = endpoint "job"
local console = endpoint "console"

--- Rows on stdout.
---@param options? tide.ConsoleOptions
---@return tide.Endpoint
function tide.console(options)
   return console(options or {})
end

local flags = { ["true"] = true, yes = true, on = true, ["1"] = true,
                ["false"] = false, no = false, off = false, ["0"] = false }

--- The value of --set key=value, or the default. It has the default's type.
---@param key string
---@param default? string|number|boolean
---@return string|number|boolean|nil
function tide.setting(key, default)
   local found = C.tide_ffi_setting(ctx, tostring(key))
   if found == nil then
      return default
   end
   local value = ffi.string(found)
   if value == "" then
      return default
   elseif type(default) == "boolean" then
      local flag = flags[value:lower()]
      if flag == nil then
         error(('setting %s must be true or false, not "%s"'):format(key, value), 0)
      end
      return flag
   elseif type(default) == "number" then
      return tonumber(value) or
         error(('setting %s must be a number, not "%s"'):format(key, value), 0)
   end
   return value
end

-- Known by name, not there yet.
local later = { "postgres", "parquet", "delta", "iceberg", "batch", "table", "lag" }

local function unknown(_, key)
   if stream.refused[key] then
      error(stream.refused[key], 0)
   end
   for _, name in ipairs(later) do
      if name == key then
         error(("tide.%s: this version of tidemark does not have it yet"):format(key), 0)
      end
   end
   error(('tide has no "%s"'):format(tostring(key)) ..
      names.hint(tostring(key), names.sorted(tide), "it has"), 0)
end

-- Jobs get a face of it that they cannot change.
return setmetatable({}, {
   __metatable = false,
   __index = function(_, key)
      local value = tide[key]
      if value == nil then
         return unknown(_, key)
      end
      return value
   end,
   __newindex = function() error("the tidemark module cannot be changed", 0) end,
})
