-- SPDX-License-Identifier: Apache-2.0
-- Columns: "name:type?" read, checked and looked up.
local names = require "tidemark.names"

local M = {}

--- Numbers of enum tide_type.
M.types = { int = 1, double = 2, bool = 3, string = 4, bytes = 5, timestamp = 6 }
local type_names = { "int", "double", "bool", "string", "bytes", "timestamp" }
local NAME_MAX, COLUMNS_MAX = 63, 256

local aliases = {
   integer = "int", long = "int", bigint = "int", number = "double", float = "double",
   boolean = "bool", text = "string", str = "string", varchar = "string", binary = "bytes",
   time = "timestamp", datetime = "timestamp",
}

local function type_of(column, name)
   if M.types[name] then
      return name
   end
   local meant = aliases[name:lower()] or names.nearest(name, type_names)
   local hint = meant and ('; did you mean "%s"?'):format(meant)
      or "; types are " .. table.concat(type_names, ", ")
   error(('column "%s": no type "%s"%s'):format(column, name, hint), 0)
end

local function check_name(name, text)
   if not name:match("^[%a_][%w_]*$") then
      error(('"%s" is no column: write "name:type" or "name:type?", ' ..
             'the name in letters, digits and _'):format(text), 0)
   elseif name == "rec" then
      error('"rec" is reserved: row.rec is the Kafka record; give the column another name', 0)
   elseif #name > NAME_MAX then
      error(('column name "%s" is longer than %d bytes'):format(name, NAME_MAX), 0)
   end
end

--- One column of "name:type?". Without a type it is `default`, or an error.
function M.column(text, default)
   if type(text) ~= "string" then
      error('a column is text like "id:int" or "source:string?", got a ' .. type(text), 0)
   end
   local name, kind, mark = text:match("^%s*([^:%s]+)%s*:%s*([%a_]%w*)(%??)%s*$")
   if not name then
      name, mark = text:match("^%s*([^:%s%?]+)(%??)%s*$")
      kind = default
      if name and not kind then
         error(('column "%s" has no type: write "%s:%s" (types are %s)'):format(
            name, name, "string", table.concat(type_names, ", ")), 0)
      end
   end
   if not name then
      error(('"%s" is no column: write "name:type" or "name:type?"'):format(text), 0)
   end
   return { name = name, type = type_of(name, kind), nullable = mark == "?", path = name }
end

--- A schema of checked columns.
function M.of(columns)
   local schema = { columns = columns, index = {} }
   if #columns > COLUMNS_MAX then
      error(("a row has at most %d columns, not %d"):format(COLUMNS_MAX, #columns), 0)
   end
   for i, column in ipairs(columns) do
      check_name(column.name, column.path or column.name)
      if schema.index[column.name] then
         error(('two columns are called "%s"'):format(column.name), 0)
      end
      schema.index[column.name] = i
   end
   return schema
end

--- A schema of a list of texts.
function M.parse(list, default, what)
   if type(list) ~= "table" or #list == 0 then
      error(('%s wants a list of columns like { "id:int", "source:string?" }'):format(what), 0)
   end
   local columns = {}
   for i, text in ipairs(list) do
      columns[i] = M.column(text, default)
   end
   return M.of(columns)
end

function M.names(schema)
   local list = {}
   for i, column in ipairs(schema.columns) do
      list[i] = column.name
   end
   return list
end

--- The column of that name with its number, or an error that names the nearest.
function M.find(schema, name, what)
   if type(name) ~= "string" then
      error(("%s wants the name of a column, got a %s"):format(what, type(name)), 0)
   end
   local i = schema.index[name]
   if not i then
      error(('%s: no column "%s"%s'):format(what, name,
         names.hint(name, M.names(schema), "columns here")), 0)
   end
   return schema.columns[i], i
end

function M.column_text(column)
   return column.name .. ":" .. column.type .. (column.nullable and "?" or "")
end

function M.text(schema)
   local list = {}
   for i, column in ipairs(schema.columns) do
      list[i] = M.column_text(column)
   end
   return table.concat(list, ", ")
end

--- What a record is as a row.
function M.record()
   local schema = M.parse({ "topic:string", "partition:int", "offset:int", "timestamp:timestamp?",
                            "key:bytes?", "value:bytes?" }, nil, "a record")
   schema.record = true
   return schema
end

return M
