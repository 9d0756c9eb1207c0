-- SPDX-License-Identifier: Apache-2.0
-- The builder: each step makes a new node, and nothing runs. What a node says
-- is plain data kept beside it, so that no job can change it afterwards.
local errors = require "tidemark.errors"
local names = require "tidemark.names"

local M = {}

local facts = setmetatable({}, { __mode = "k" })
local outputs = {} -- built since the last forget(), in order

--- Forget what another job built.
function M.forget()
   outputs = {}
end

function M.outputs()
   return outputs
end

--- What a node was built with, or nil for any other value.
function M.facts(node)
   return facts[node]
end

local Stream, Grouped, Output = {}, {}, {}

local function make(class, kind, parent, args)
   local node = setmetatable({}, class.meta)
   local path, line = errors.here(2)
   args.kind, args.parent, args.path, args.line = kind, parent, path, line
   args.class, args.grouped = class, class == Grouped
   facts[node] = args
   return node
end

local function wants_function(step, fn)
   if type(fn) ~= "function" then
      error((":%s wants a function, got a %s"):format(step, type(fn)), 0)
   end
end

local function wants_self(step, node, class)
   if not facts[node] or facts[node].class ~= class then
      error((":%s is a step: call it with a colon on a stream, as in stream:%s(…)")
         :format(step, step), 0)
   end
   return facts[node]
end

-- What users may try, and what to say. -------------------------------------

local later = {
   join = "joins", lookup = "lookup tables", process = "process functions",
   avro = "Avro",
}

M.refused = {}
for _, name in ipairs { "countDistinct", "count_distinct", "collect_set", "collect_list" } do
   M.refused[name] = name .. " keeps every value it has seen, so its state has no bound: " ..
      "use approx_count_distinct, which counts within about 2 % in 2 KB"
end

local function unknown_step(class, key, extra)
   key = tostring(key)
   if M.refused[key] then
      error(M.refused[key], 0)
   elseif later[key] then
      error((":%s: this version of tidemark does not have %s yet"):format(key, later[key]), 0)
   end
   if class == Grouped and key == "late" then
      error(":late is a step of rows, and these are groups: it comes before :group_by, or " ..
         ":late_to(sink) here takes what they drop", 0)
   elseif class == Grouped and Stream.methods[key] and key ~= "to" then
      error(((key == "watermark" and ":watermark comes before :group_by; behind it, it would " ..
         "drop nothing that is late and clean no state") or
         (":%s is a step of rows, and these are groups: an aggregate comes first"):format(key)), 0)
   end
   local known = names.sorted(class.methods)
   for _, name in ipairs(names.sorted(later)) do
      known[#known + 1] = name
   end
   local near = names.nearest(key, known)
   error(('no step "%s"'):format(key) .. (near and ('; did you mean "%s"?'):format(near)
      or "; steps are " .. table.concat(names.sorted(class.methods), ", ")) .. (extra or ""), 0)
end

local function class_meta(class, extra)
   class.methods = {}
   class.meta = {
      __metatable = false,
      __index = function(_, key)
         local method = class.methods[key]
         if method == nil then
            unknown_step(class, key, extra)
         end
         return method
      end,
      __newindex = function() error("a stream cannot be changed: steps return new ones", 0) end,
   }
end

class_meta(Stream)
class_meta(Grouped, " (after :group_by comes :window(size), :session(gap), :count(), " ..
   ":sum(column) or :aggregate { … })")
class_meta(Output)
Output.meta.__index = function(_, key)
   error((':%s: nothing follows :to(); keep the stream before it in a local to use it twice')
      :format(tostring(key)), 0)
end

-- Sources and sinks --------------------------------------------------------

--- A description of where rows come from or go to.
function M.endpoint(kind, options)
   local endpoint = setmetatable({}, { __metatable = false })
   local path, line = errors.here(2)
   facts[endpoint] = { endpoint = kind, options = options, path = path, line = line }
   return endpoint
end

function M.from(source)
   local given = facts[source]
   if not given or not given.endpoint then
      error('tide.from wants a source: tide.from(tide.kafka { topic = "…" })', 0)
   elseif given.endpoint ~= "kafka" then
      error(("tide.from: tide.%s is a sink; sources are tide.kafka"):format(given.endpoint), 0)
   end
   return make(Stream, "input", nil, { source = given })
end

-- Steps --------------------------------------------------------------------

local steps = Stream.methods

function steps.json(self, columns, options)
   return make(Stream, "json", wants_self("json", self, Stream),
               { columns = columns, options = options or {} })
end

function steps.filter(self, fn)
   local parent = wants_self("filter", self, Stream)
   wants_function("filter", fn)
   return make(Stream, "filter", parent, { fn = fn })
end

function steps.map(self, fn, columns)
   local parent = wants_self("map", self, Stream)
   wants_function("map", fn)
   return make(Stream, "map", parent, { fn = fn, columns = columns })
end

function steps.flat_map(self, fn, columns)
   local parent = wants_self("flat_map", self, Stream)
   wants_function("flat_map", fn)
   return make(Stream, "flat_map", parent, { fn = fn, columns = columns })
end

steps["with"] = function(self, column, fn)
   local parent = wants_self("with", self, Stream)
   wants_function("with", fn)
   return make(Stream, "with", parent, { fn = fn, column = column })
end

local function list_of(first, ...)
   if type(first) == "table" and not facts[first] then
      return first
   end
   return { first, ... }
end

function steps.select(self, ...)
   return make(Stream, "select", wants_self("select", self, Stream), { columns = list_of(...) })
end

function steps.group_by(self, ...)
   local parent = wants_self("group_by", self, Stream)
   local columns, options = list_of(...), {}
   local given = { unpack(columns) }
   if type(given[#given]) == "table" then
      options = table.remove(given)
   end
   if columns.name then
      options = { name = columns.name }
   end
   return make(Grouped, "group_by", parent, { columns = given, options = options })
end

function steps.dedup(self, options)
   return make(Stream, "dedup", wants_self("dedup", self, Stream), { options = options })
end

function steps.watermark(self, column, delay, options)
   return make(Stream, "watermark", wants_self("watermark", self, Stream),
               { column = column, delay = delay, options = options or {} })
end

-- :window(size[, slide][, options])
function Grouped.methods.window(self, size, slide, options)
   local parent = wants_self("window", self, Grouped)
   if type(slide) == "table" then
      slide, options = nil, slide
   end
   return make(Grouped, "window", parent,
               { size = size, slide = slide, options = options or {} })
end

-- :session(gap[, options])
function Grouped.methods.session(self, gap, options)
   return make(Grouped, "session", wants_self("session", self, Grouped),
               { gap = gap, options = options or {} })
end

function steps.union(self, ...)
   local parent, others = wants_self("union", self, Stream), {}
   for i, other in ipairs { ... } do
      if not facts[other] or facts[other].class ~= Stream then
         error((":union wants streams, got %s"):format(facts[other] and
            "something that is none" or "a " .. type(other)), 0)
      end
      others[i] = facts[other]
   end
   if #others == 0 or #others ~= select("#", ...) then
      error(":union wants streams: a:union(b)", 0)
   end
   return make(Stream, "union", parent, { others = others })
end

-- These are steps of groups, and no others are both.
local function before_grouping(step)
   steps[step] = function(self)
      wants_self(step, self, Stream)
      error((':%s needs groups: :group_by("column") comes before it'):format(step), 0)
   end
end
before_grouping "count"
before_grouping "sum"
before_grouping "aggregate"
before_grouping "window"
before_grouping "session"

local function check_sinks(step, sinks)
   if #sinks == 0 then
      error((':%s wants a sink: :%s(tide.console { mode = "append" })'):format(step, step), 0)
   end
   for _, sink in ipairs(sinks) do
      if not facts[sink] or not facts[sink].endpoint then
         error((":%s wants sinks like tide.console { }, got a %s"):format(step, type(sink)), 0)
      end
   end
   return sinks
end

function steps.late(self, options)
   return make(Stream, "late", wants_self("late", self, Stream), { options = options or {} })
end

-- :late_to(sink…[, options]) goes on with what it is called on; its output
-- counts as returned when what goes on is.
local function late_to(class)
   return function(self, ...)
      local parent = wants_self("late_to", self, class)
      local sinks, given = { ... }, nil
      if type(sinks[#sinks]) == "table" and not facts[sinks[#sinks]] then
         given = table.remove(sinks)
      end
      local node = make(class, "late_to", parent, { sinks = check_sinks("late_to", sinks),
                                                    options = given or {} })
      outputs[#outputs + 1] = node
      return node
   end
end
steps.late_to, Grouped.methods.late_to = late_to(Stream), late_to(Grouped)

function steps.to(self, ...)
   local parent = wants_self("to", self, Stream)
   local sinks = check_sinks("to", { ... })
   local node = make(Output, "output", parent, { sinks = sinks })
   outputs[#outputs + 1] = node
   return node
end

-- Grouped: what the module aggregates makes of it --------------------------

--- `make_list(method, …)` turns a method's arguments into a list of aggregates, and
--- options.
function M.grouping(methods)
   for name, make_list in pairs(methods) do
      Grouped.methods[name] = function(self, ...)
         local parent = wants_self(name, self, Grouped)
         local list, options = make_list(...)
         return make(Stream, "aggregate", parent, { list = list, options = options or {} })
      end
   end
end

return M
