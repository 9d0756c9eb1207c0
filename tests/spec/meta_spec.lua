-- SPDX-License-Identifier: Apache-2.0
-- What editors are told of jobs is all that jobs can say.
local helper = require "tests.spec.helper"
local options = require "tidemark.options"
local stream = require "tidemark.stream"
local text = require "tidemark.text"
local tide = require "tidemark"

local function source_of(name)
   local file = assert(io.open(helper.root .. "/lua/tidemark/" .. name .. ".lua"))
   local source = file:read "*a"
   file:close()
   return source
end

-- Names that a pattern captures in a source.
local function names_in(name, pattern)
   local names = {}
   for found in source_of(name):gmatch(pattern) do
      names[found] = true
   end
   assert(next(names))
   return names
end

-- The tables behind the faces that jobs see.
local function upvalue(fn, wanted)
   for i = 1, 60 do
      local name, value = debug.getupvalue(fn, i)
      if name == wanted then
         return value
      elseif not name then
         error("no upvalue " .. wanted)
      end
   end
end

local function own_methods()
   local own = {}
   for name in pairs(text.methods) do
      own[name] = not string[name] or nil
   end
   return own
end

describe("the stubs for editors know", function()
   local source = source_of "meta/tidemark"

   local function knows(within, ...)
      for _, pattern in ipairs { ... } do
         if within:find(pattern) then
            return true
         end
      end
      return false
   end

   local function each(what, table_of, ...)
      local patterns = { ... }
      local within = what:find "option" and
         source:match("@class tide%." .. what:match "[%w_]+$" .. "\n(.-)\n\n") or source
      it(what, function()
         local missing = {}
         for name in pairs(table_of) do
            local made = {}
            for i, pattern in ipairs(patterns) do
               made[i] = pattern:gsub("NAME", name)
            end
            if not knows(within, unpack(made)) then
               missing[#missing + 1] = name
            end
         end
         assert.are.same({}, missing)
      end)
   end

   each("every function of tide", upvalue(debug.getmetatable(tide).__index, "tide"),
        "function tide%.NAME%(", "tide%.NAME[ ,]")
   each("every step", upvalue(stream.from, "Stream").methods, "function Stream:NAME%(",
        'Stream%["NAME"%]', "function Grouped:NAME%(")
   each("every step behind group_by", upvalue(stream.grouping, "Grouped").methods,
        "function Grouped:NAME%(")
   each("every method that text has and strings have not", own_methods(), "function Text:NAME%(")
   each("every field of records", names_in("record", "function getters%.([%w_]+)"),
        "%-%-%-@field NAME ")
   each("every method of records", names_in("record", "function methods%.([%w_]+)"),
        "function Record:NAME%(")
   local classes = { kafka = "KafkaOptions", kafka_sink = "KafkaSinkOptions",
                     files = "FilesOptions", console = "ConsoleOptions", job = "JobOptions" }
   for kind, known in pairs(options.kinds) do
      each("every option of " .. (classes[kind] or kind), known, "%-%-%-@field NAME%??[ ?]",
           "[{,] NAME%??:")
   end
end)
