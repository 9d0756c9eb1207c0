-- SPDX-License-Identifier: Apache-2.0
-- Sinks: what each takes, checked against the rows that reach it, and its name
-- in the checkpoint. A function that a sink is given for each row becomes a
-- column whose name begins with "@"; such columns are the sink's own.
local names = require "tidemark.names"
local options = require "tidemark.options"
local schema = require "tidemark.schema"

local M = {}

local function column_of(row, name, what)
   return (schema.find(row, name, what))
end

-- A row with one more column, which a job could not name.
local function with_own(row, name, kind)
   local columns = { unpack(row.columns) }
   columns[#columns + 1] = { name = name, type = kind, nullable = false, path = name }
   local wider = { columns = columns, index = {} }
   for i, column in ipairs(columns) do
      wider.index[column.name] = i
   end
   return wider
end

-- Kafka ---------------------------------------------------------------------

local HEADERS_MAX = 32

-- { name = "column" }, or a list of columns that are headers by their own name.
local function kafka_headers(given, row, text)
   local list = {}
   for i, column in ipairs(given) do
      list[i] = { column, column }
   end
   local named = {}
   for name, column in pairs(given) do
      if type(name) == "string" then
         named[name] = column
      end
   end
   for _, name in ipairs(names.sorted(named)) do
      list[#list + 1] = { given[name], name }
   end
   if #list > HEADERS_MAX then
      error(("tide.kafka: at most %d headers, not %d"):format(HEADERS_MAX, #list), 0)
   end
   for i, header in ipairs(list) do
      column_of(row, header[1], "tide.kafka: headers")
      text[("header.%02d"):format(i)] = header[1] .. ":" .. header[2]
   end
end

-- "json", a column, or a list of columns that make the JSON.
local function kafka_value(given, row, text)
   if given == nil and row.record then
      given = "value"
   end
   if given == nil or given == "json" then
      text.value = "json"
   elseif type(given) == "table" then
      if #given == 0 then
         error('tide.kafka: value = { } has no columns; list some, or say "json" for all', 0)
      end
      for _, name in ipairs(given) do
         column_of(row, name, "tide.kafka: value")
      end
      text.value, text.columns = "json", table.concat(given, ",")
   else
      column_of(row, given, 'tide.kafka: value is "json", a list of columns, or one, and there is')
      text.value, text.value_column = "column", given
   end
end

local function kafka_key(given, row, text)
   text.key = given or (row.record and "key") or (row.dead and "@key") or nil
   if text.key then
      column_of(row, text.key, "tide.kafka: key")
   end
end

local function kafka_timestamp(given, row, text)
   if given == nil then
      return
   end
   local column = column_of(row, given, "tide.kafka: timestamp")
   if column.type ~= "timestamp" then
      error(('tide.kafka: timestamp wants a column of type timestamp, and "%s" is %s')
         :format(given, column.type), 0)
   end
   text.timestamp = given
end

local function kafka(sink, row)
   local given = options.check("kafka_sink", "tide.kafka as a sink", sink.options)
   local text = { mode = given.mode, brokers = given.brokers, exactly_once = given.exactly_once,
                  partitions = given.partitions, on_reject = given.on_reject }
   if given.topic == nil then
      error('tide.kafka wants a topic to write to: tide.kafka { topic = "out" }', 0)
   end
   kafka_key(given.key, row, text)
   kafka_value(given.value, row, text)
   kafka_timestamp(given.timestamp, row, text)
   kafka_headers(given.headers or {}, row, text)
   local found = { options = text, name = given.name, target = "topic()" }
   if type(given.topic) == "function" then
      found.with = { fn = given.topic, schema = with_own(row, "@topic", "string"),
                     text = "topic" }
   else
      text.topic, found.target = given.topic, given.topic
   end
   found.text = ("topic=%s, value=%s%s"):format(found.target,
      text.value_column or text.columns or text.value,
      text.exactly_once == "false" and ", at-least-once" or "")
   return found
end

-- The console ------------------------------------------------------------------

local function console(sink)
   local given = options.check("console", "tide.console", sink.options)
   local name = given.name
   given.name = nil
   return { options = given, name = name }
end

-- Files -----------------------------------------------------------------------

local function files(sink)
   local given = options.check("files", "tide.files", sink.options)
   local name = given.name
   given.name = nil
   if not given.path then
      error('tide.files wants a path: tide.files { path = "data/out" }', 0)
   end
   if given.mode == "complete" then
      error('tide.files: mode = "complete" puts out the whole result each time, and what is in ' ..
         'a file stays there; use mode = "update" (rows that changed)', 0)
   end
   given.format = given.format or "json"
   return { options = given, name = name, target = given.path,
            text = ("path=%s, format=%s"):format(given.path, given.format) }
end

local kinds = { console = console, files = files, kafka = kafka }

-- Dead letters ------------------------------------------------------------------

-- Columns of a record that failed, as run/letter.c fills them: key, value and
-- headers as text for people, and behind them key and value as they were.
local function dead_row()
   local row = schema.parse({ "topic:string", "partition:int", "offset:int",
                              "timestamp:timestamp?", "key:string?", "value:string?",
                              "headers:string?", "reason:string", "line:string?" }, nil, "")
   for _, name in ipairs { "@key", "@value" } do
      row.columns[#row.columns + 1] = { name = name, type = "bytes", nullable = true, path = name }
      row.index[name] = #row.columns
   end
   row.dead = true
   return row
end

--- on_error = sink, malformed = sink: the same as check, with the schema of its rows.
function M.dead_letters(sink, what)
   if sink.endpoint ~= "kafka" and sink.endpoint ~= "files" then
      error(("%s takes a sink that keeps records, tide.kafka or tide.files, not tide.%s")
         :format(what, sink.endpoint), 0)
   end
   local row = dead_row()
   local found = kinds[sink.endpoint](sink, row)
   if found.with then
      error(what .. ": dead letters go to one topic, not to one for each", 0)
   elseif found.options.mode and found.options.mode ~= "append" then
      error(what .. ': dead letters are new rows, mode = "append"', 0)
   end
   found.options.mode = "append"
   for _, option in ipairs { "key", "value_column" } do
      local name = found.options[option]
      if name == "key" or name == "value" then
         found.options[option] = "@" .. name
      end
   end
   found.schema = row
   return found
end

--- What a sink says of itself, for rows of `row`: options as text, the name it
--- was given, its target, a step that comes before it (`with`), its text.
function M.check(sink, row)
   local check = kinds[sink.endpoint]
   if not check then
      error(("tide.%s: this version of tidemark does not have this sink; it has tide.%s")
         :format(sink.endpoint, table.concat(names.sorted(kinds), ", tide.")), 0)
   end
   return check(sink, row)
end

return M
