-- SPDX-License-Identifier: Apache-2.0
-- Row objects: what filter, map and the others are called with. A row is a
-- number that says which row is meant; its getters read the cells of the step.
local ffi = require "ffi"
local cells = require "tidemark.cells"
local names = require "tidemark.names"
local native = require "tidemark.native"
local record = require "tidemark.record"
local schema = require "tidemark.schema"

local M = {}

--- Text of the getters of a step's row; `stage` is the name of its cells there.
function M.getters_text(step, stage)
   local text = {}
   for i, column in ipairs(step.schema.columns) do
      local cell = ("%s.c[%d]"):format(stage, i - 1)
      text[i] = ([[
   [%q] = function(row)
      if row.serial_ ~= %s.serial then stale() end
      if %s.len < 0 then return nil end
      return %s
   end,
]]):format(column.name, stage, cell, cells.get[column.type]:format(cell, column.name))
   end
   return table.concat(text)
end

local function no_record()
   error("row.rec is gone after :group_by: the row stands for many records, and behind :dedup " ..
      "its batch is over; carry what is needed as a column", 0)
end

local function unknown(step, key)
   error(('no column "%s"%s'):format(tostring(key),
      names.hint(key, schema.names(step.schema), "columns here")), 0)
end

--- The constructor of a step's row objects.
function M.make(step, stage, getters)
   local row_ct = native.struct "const double serial_;"
   if step.keyed or step.root then
      getters.rec = no_record
   else
      getters.rec = function(row)
         if row.serial_ ~= stage.serial then
            cells.stale()
         end
         return (record.current())
      end
   end
   ffi.metatype(row_ct, {
      __index = function(row, key)
         local getter = getters[key]
         if getter then
            return (getter(row))
         end
         return unknown(step, key)
      end,
      __newindex = function()
         error('a row cannot be changed: add a column with :with("name:type", fn)', 0)
      end,
      __tostring = function(row)
         local list = {}
         for i, column in ipairs(step.schema.columns) do
            list[i] = ("%s=%s"):format(column.name, tostring(getters[column.name](row)))
         end
         return "row{" .. table.concat(list, ", ") .. "}"
      end,
   })
   return row_ct
end

return M
