-- SPDX-License-Identifier: Apache-2.0
-- Reads conformance vectors; README.md tells what is in them.
local M = {}

-- Why a row is not used, as progress counts it: rowsLate and so on.
M.reasons = { "late", "failed", "malformed", "filtered" }

local DAY = "2024-01-01T"

--- 12:00:00 as 2024-01-01T12:00:00.000Z; what has a date stays as it is.
function M.time(text)
   if text:find "T" then
      return text
   end
   return DAY .. text .. (text:find("%.") and "Z" or ".000Z")
end

local function words_of(line)
   local list = {}
   for word in line:gmatch "%S+" do
      list[#list + 1] = word
   end
   return list
end

local function sections_of(path)
   local sections, name = {}, nil
   for line in io.lines(path) do
      local heading = line:match "^%-%-%- (%a+)$"
      if heading then
         name = heading
         sections[name] = {}
      elseif name then
         table.insert(sections[name], line)
      end
   end
   return sections
end

local function columns_of(lines)
   local outputs = {}
   for _, line in ipairs(lines) do
      local columns = words_of(line)
      local output = table.remove(columns, 1)
      local some = columns[#columns] == "…"
      if some then
         table.remove(columns)
      end
      outputs[output] = { name = output, columns = columns, some = some }
   end
   return outputs
end

-- The record's text with the words of an `in` line.
local function record_of(template, words)
   return (template:gsub("([$@])(%d)", function(kind, i)
      local word = words[tonumber(i)]
      return kind == "$" and word or '"' .. M.time(word) .. '"'
   end))
end

-- A row as the text that it has in tests: its cells with a space between them,
-- times at full length, and a text with spaces in quotes.
local function row_of(rest)
   return (rest:gsub("%S+", function(word)
      return word:match "^%d%d:%d%d:%d%d[%.%d]*$" and M.time(word)
   end))
end

local counts = { late = true, dropped = true, failed = true, malformed = true,
                 filtered = true, state = true }

local function batch_new()
   return { feed = {}, rows = {}, late = 0, failed = 0, malformed = 0, filtered = 0 }
end

local function add(vector, batch, line)
   local word, rest = line:match "^(%S+)%s*(.-)%s*$"
   if word == "in" then
      local template = vector.template
      table.insert(batch.feed, template and record_of(template, words_of(rest)) or rest)
   elseif word == "mark" then
      batch.mark = rest ~= "-" and M.time(rest) or nil
   elseif counts[word] then
      batch[word] = tonumber(rest)
   elseif word == "none" then
      batch.none = true
   else
      assert(vector.outputs[word], vector.path .. ": no output " .. word)
      batch.rows[word] = batch.rows[word] or {}
      table.insert(batch.rows[word], row_of(rest))
   end
end

local function batches_of(vector, lines)
   local batches, batch = {}, nil
   for _, line in ipairs(lines) do
      if line == "" then
         batch = nil
      elseif not line:match "^#" then
         if not batch then
            batch = batch_new()
            batch.mark = batches[1] and batches[#batches].mark
            batches[#batches + 1] = batch
         end
         add(vector, batch, line)
      end
   end
   return batches
end

-- What `sink` is in a job: a topic of each output on Kafka, else the console.
local PRELUDE = [[
local tide = require "tidemark"
local function sink(name, key)
   local topic = tide.setting("out_" .. name, name == "letters" and "letters" or "")
   local mode = name:match "^complete" or name:match "^update" or name:match "^latest" and "update"
      or "append"
   if topic ~= "" then
      return tide.kafka { topic = topic, key = key, mode = mode, name = name }
   end
   return tide.console { mode = mode, name = name }
end
]]

--- One vector: name, title, job, outputs, batches, kafka.
function M.read(path)
   local sections = sections_of(path)
   local file = assert(io.open(path))
   local vector = { path = path, name = path:match "([^/]*)%.txt$",
                    title = file:read("*l"):match "^(.-)%.?$",
                    outputs = columns_of(sections.columns), kafka = sections.kafka ~= nil }
   file:close()
   vector.job = PRELUDE .. table.concat(sections.job, "\n") .. "\n"
   vector.template = sections.record and table.concat(sections.record, "")
   vector.batches = batches_of(vector, sections.batches)
   return vector
end

--- All of a folder, in the order of their names.
function M.all(folder)
   local list, pipe = {}, io.popen("ls " .. folder .. "/*.txt")
   for path in pipe:lines() do
      list[#list + 1] = M.read(path)
   end
   pipe:close()
   return list
end

-- One cell as it is written in a vector.
local function cell_text(value)
   if value == nil then
      return "-"
   elseif type(value) == "number" then
      return ("%.14g"):format(value)
   end
   return value:find "%s" and ('"%s"'):format(value) or value
end

--- The rows of an output as text, sorted. Rows are tables whose times are text.
function M.shown(output, rows)
   local list = {}
   for i, row in ipairs(rows) do
      local cells = {}
      for c, name in ipairs(output.columns) do
         cells[c] = cell_text(row[name])
      end
      list[i] = table.concat(cells, " ")
   end
   table.sort(list)
   return list
end

--- The rows that a batch wants of an output, sorted.
function M.wanted(batch, output)
   local list = { unpack(batch and batch.rows[output] or {}) }
   table.sort(list)
   return list
end

return M
