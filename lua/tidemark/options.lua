-- SPDX-License-Identifier: Apache-2.0
-- Options of sources, sinks, steps and the job: known names, checked values,
-- all of them text in the end.
local names = require "tidemark.names"
local time = require "tidemark.time"

local M = {}

local checks = {}

function checks.text(value)
   return type(value) == "string" and value ~= "" and value, 'text like "a"'
end

function checks.count(value)
   local ok = type(value) == "number" and value >= 1 and value % 1 == 0
   return ok and ("%d"):format(value), "a whole number from 1 on"
end

function checks.partitions(value)
   local ok = checks.count(value) and value <= 100000
   return ok and ("%d"):format(value), "a whole number from 1 to 100000"
end

function checks.version(value)
   local ok = checks.count(value) and value <= 1000000
   return ok and ("%d"):format(value), "a whole number from 1 on"
end

function checks.flag(value)
   return type(value) == "boolean" and tostring(value), "true or false"
end

function checks.span(value)
   local ok, ms = pcall(time.ms, value)
   return ok and ms >= 0 and tostring(value), 'a time span like "10s"'
end

function checks.span_or_false(value)
   if value == false then
      return "false"
   end
   return (checks.span(value)), 'a time span like "5m", or false'
end

function checks.truncate(value)
   if type(value) == "boolean" then
      return tostring(value)
   end
   return (checks.count(value)), "true, false or a number of characters"
end

function checks.topics(value)
   if type(value) == "string" then
      return value ~= "" and value, 'a topic, a list of topics or "^pattern"'
   end
   local ok = type(value) == "table" and #value > 0
   for _, topic in ipairs(ok and value or {}) do
      ok = ok and type(topic) == "string" and topic ~= "" and not topic:find ","
   end
   return ok and table.concat(value, ","), 'a topic, a list of topics or "^pattern"'
end

function checks.start(value)
   local wanted = '"earliest", "latest", or a time like "2024-01-01T00:00:00Z"'
   if type(value) == "number" and value >= 0 and value % 1 == 0 then
      return ("%d"):format(value), wanted
   end
   local ok = value == "earliest" or value == "latest" or
      (type(value) == "string" and time.parse(value) ~= nil)
   return ok and value, wanted
end

local function one_of(...)
   local list = { ... }
   return function(value)
      for _, known in ipairs(list) do
         if value == known then
            return value
         end
      end
      local near = type(value) == "string" and names.nearest(value, list)
      return false, (near and ('"%s" or another of "%s"'):format(near, table.concat(list, '", "'))
         or ('one of "%s"'):format(table.concat(list, '", "')))
   end
end
checks.mode = one_of("append", "update", "complete")
checks.files_format = one_of "json"
local malformed = one_of("error", "null")
function checks.malformed(value)
   local ok, wanted = malformed(value)
   return ok, (wanted or "") .. ", or a sink like tide.kafka { topic = \"dead\" }"
end
checks.on_reject = one_of("fail", "dead_letter")
checks.late = one_of("closed", "strict")
local on_error = one_of("fail", "skip")
function checks.on_error(value)
   local ok, wanted = on_error(value)
   return ok, (wanted or "") .. ", or a sink like tide.kafka { topic = \"dead\" }"
end

function checks.share(value)
   local ok = type(value) == "number" and value > 0 and value <= 1
   return ok and ("%.17g"):format(value), "a share like 0.1: more than 0, at most 1"
end

-- Checks that keep the value as it is.
local keeps = {}

function keeps.sink_topic(value)
   local ok = type(value) == "function" or
      (type(value) == "string" and #value < 250 and value:match "^[%w._-]+$")
   return ok, 'the name of a topic, or a function of a row that gives one'
end

function keeps.column(value)
   return type(value) == "string" and value ~= "", 'the name of a column'
end

function keeps.columns(value)
   local ok = type(value) == "table" and #value > 0
   for _, name in ipairs(ok and value or {}) do
      ok = ok and type(name) == "string"
   end
   return ok or type(value) == "string" and value ~= "", "a column, or a list of columns"
end

function keeps.value(value)
   return type(value) == "string" and value ~= "" or type(value) == "table",
      '"json", a column, or a list of columns'
end

function keeps.headers(value)
   local ok = type(value) == "table"
   for name, column in pairs(ok and value or {}) do
      ok = ok and (type(name) == "number" or name ~= "") and type(column) == "string"
   end
   return ok, 'a table like { trace_id = "column" }'
end

function keeps.migrate(value)
   return type(value) == "function", "a function of an old state that gives the new one"
end

M.kinds = {
   kafka_sink = { topic = "sink_topic", key = "column", value = "value", timestamp = "column",
                  headers = "headers", mode = "mode", name = "text", brokers = "text",
                  exactly_once = "flag", partitions = "partitions", on_reject = "on_reject" },
   files = { path = "text", format = "files_format", every = "span", mode = "mode",
             name = "text" },
   kafka = { topic = "topics", topics = "topics", start = "start", brokers = "text",
             group = "text" },
   console = { mode = "mode", rows = "count", truncate = "truncate", name = "text" },
   json = { malformed = "malformed" },
   group_by = { name = "text" },
   aggregate = { version = "version", migrate = "migrate" },
   watermark = { per_partition = "flag", idle = "span", max_ahead = "span_or_false",
                 name = "text" },
   window = { offset = "span", late = "late" },
   session = { late = "late" },
   late = { within = "span", sample = "share", by = "columns", name = "text" },
   late_to_drops = { sample = "share" },
   job = { name = "text", trigger = "span", max_records_per_batch = "count",
           max_records_per_second = "count", workers = "count", on_error = "on_error",
           fail_on_data_loss = "flag" },
}

-- Text in the end, or what the job gave where a check keeps it.
local function checked(title, key, check, given)
   local value, wanted
   if keeps[check] then
      value, wanted = keeps[check](given)
      value = value and given
   else
      value, wanted = checks[check](given)
   end
   if not value then
      local shown = type(given) == "string" and ('"%s"'):format(given) or tostring(given)
      error(("%s: %s must be %s, not %s"):format(title, key, wanted, shown), 0)
   end
   return value
end

--- Checked options, as text but for those that `keeps` has. `title` leads the
--- messages.
function M.check(kind, title, given)
   local known, result = M.kinds[kind], {}
   if type(given) ~= "table" then
      error(("%s wants a table of options, got a %s"):format(title, type(given)), 0)
   end
   for _, key in ipairs(names.sorted(given)) do
      local check = known[key]
      if not check then
         error(('%s: no option "%s"%s'):format(title, tostring(key),
            names.hint(key, names.sorted(known), "options are")), 0)
      end
      result[key] = checked(title, key, check, given[key])
   end
   return result
end

return M
