-- SPDX-License-Identifier: Apache-2.0
-- State: what the types of its columns are in C, and the object through which a
-- job's own aggregates see it.
--
-- The object is an address and a number that is good for one call only, so a
-- kept state is an error and never memory that has moved.
local ffi = require "ffi"
local names = require "tidemark.names"
local native = require "tidemark.native"
local text = require "tidemark.text"

local C = native.C
local M = {}

local SIZE_MAX = 65536 -- bytes of one aggregate
local scalars = { int = "int64_t", double = "double", bool = "int64_t", timestamp = "int64_t" }
local known_types = { "int", "double", "bool", "timestamp", "int[n]", "double[n]", "text(n)",
                      "sketch" }
local EXACT, EXACT_INT = 2 ^ 53, 9007199254740992LL

-- Types ------------------------------------------------------------------------

--- What a type of state is, or nil: { kind, count, c = its field, size, object =
--- what scripts get instead of its value }. In a new state all of it is zero: 0,
--- 0.0, false, "", an empty sketch.
function M.type(declared)
   if type(declared) ~= "string" then
      return nil
   elseif scalars[declared] then
      return { kind = declared, c = scalars[declared] .. " %s;", size = 8 }
   end
   if declared == "sketch" then
      return { kind = "sketch", c = "int64_t %s[256];", size = 2048, object = "sketch" }
   end
   local kind, count = declared:match("^(%a+)%[(%d+)%]$")
   count = tonumber(count)
   if scalars[kind] and count > 0 then
      return { kind = kind, count = count, size = 8 * count, object = "list",
               c = ("%s %%s[%d];"):format(scalars[kind], count) }
   end
   kind, count = declared:match("^(%a+)%((%d+)%)$")
   count = tonumber(count)
   if (kind == "text" or kind == "bytes") and count > 0 then
      local room = math.ceil(count / 8) * 8
      return { kind = "text", count = count, size = 8 + room,
               c = ("struct { int64_t len; char p[%d]; } %%s;"):format(room) }
   end
   return nil
end

--- A C struct for columns { name, type }: pointers to it, and its size. Its
--- fields have the names of the columns, or with `prefix` numbers behind that.
function M.struct(columns, prefix)
   local fields, size = {}, 0
   for i, column in ipairs(columns) do
      local made = M.type(column[2])
      fields[i] = made.c:format(prefix and prefix .. i or column[1])
      size = size + made.size
   end
   local _, pointer = native.struct(table.concat(fields, " "))
   return pointer, size
end

--- A built-in aggregate works on the struct itself.
function M.built_in(spec)
   spec.pointer, spec.size = M.struct(spec.state)
   spec.built_in = true
   return spec
end

local function columns_of(declared)
   if type(declared) ~= "table" or next(declared) == nil then
      error('tide.aggregator: state names its columns: state = { sum = "double", n = "int" }', 0)
   end
   local columns, size = {}, 0
   for i, name in ipairs(names.sorted(declared)) do
      local kind = declared[name]
      if type(name) ~= "string" or not name:match("^[%a_][%w_]*$") then
         error(('tide.aggregator: "%s" is no name for state'):format(tostring(name)), 0)
      end
      local made = M.type(kind)
      if not made then
         error(('tide.aggregator: state "%s" has no type "%s"%s'):format(name, tostring(kind),
            names.hint(tostring(kind), known_types, "types of state are")), 0)
      end
      size = size + made.size
      columns[i] = { name, kind, made = made, offset = size - made.size }
   end
   if size > SIZE_MAX then
      error(("tide.aggregator: this state has %d bytes, and %d is the most"):format(size,
         SIZE_MAX), 0)
   end
   return columns
end

-- Values -------------------------------------------------------------------------

local function stale()
   error("a state is only good inside add, merge or result: keep its values, not the state", 0)
end

local function exact(name, value)
   if value > EXACT_INT or value < -EXACT_INT then
      error(('state "%s" is beyond 2^53, where Lua numbers are no longer exact; make it a double')
         :format(name), 0)
   end
   return (tonumber(value))
end

local function whole(name, value)
   if type(value) ~= "number" or value % 1 ~= 0 or value > EXACT or value < -EXACT then
      error(('state "%s" is an int: it cannot hold %s'):format(name, tostring(value)), 0)
   end
   return value
end

local function number(name, value)
   if type(value) ~= "number" then
      error(('state "%s" is a double: it cannot hold %s'):format(name, tostring(value)), 0)
   end
   return value
end

local function flag(name, value)
   if type(value) ~= "boolean" then
      error(('state "%s" is a bool: it cannot hold %s'):format(name, tostring(value)), 0)
   end
   return value and 1 or 0
end

local function micros(name, value)
   return math.floor(number(name, value) * 1000 + 0.5)
end

-- What is behind the text is zero, so that equal states have equal bytes.
local function put_text(name, field, count, value)
   local string = text.as_string(value)
   if not string then
      error(('state "%s" is text: it cannot hold %s'):format(name, tostring(value)), 0)
   elseif #string > count then
      error(('state "%s" holds at most %d bytes, not %d; make it "text(%d)"'):format(name, count,
         #string, #string), 0)
   end
   local before = tonumber(field.len)
   ffi.copy(field.p, string, #string)
   if before > #string then
      ffi.fill(field.p + #string, before - #string)
   end
   field.len = #string
end

local function get_text(field)
   return (ffi.string(field.p, field.len))
end

local function no_assignment(name)
   error(('state "%s" is a list or a sketch: change what is in it, as in s.%s[1] = 0 or ' ..
          's.%s:add(value)'):format(name, name, name), 0)
end

-- The object of a list: values from 1 on.
local readers = {
   int = exact,
   double = function(_, value) return value end,
   bool = function(_, value) return value ~= 0 end,
   timestamp = function(_, value) return tonumber(value) / 1000 end,
}
local writers = { int = whole, double = number, bool = flag, timestamp = micros }

local function outside(name, count, i)
   error(('state "%s" has values 1 to %d, not %s'):format(name, count, tostring(i)), 0)
end

local function list_type(column, guard)
   local name, made = column[1], column.made
   local count, read, write = made.count, readers[made.kind], writers[made.kind]
   local pointer = ffi.typeof(scalars[made.kind] .. " *")
   local cast = ffi.cast
   local function check(list, i)
      if list.serial_ ~= guard.serial then
         stale()
      elseif type(i) ~= "number" or i % 1 ~= 0 or i < 1 or i > count then
         outside(name, count, i)
      end
   end
   local list_ct = native.struct "const double serial_; const uint64_t addr_;"
   ffi.metatype(list_ct, {
      __len = function() return count end,
      __index = function(list, i)
         check(list, i)
         return (read(name, cast(pointer, list.addr_)[i - 1]))
      end,
      __newindex = function(list, i, value)
         check(list, i)
         cast(pointer, list.addr_)[i - 1] = write(name, value)
      end,
   })
   return list_ct
end

-- The object of a sketch of different values.
local SKETCH_BITS = 9
local cell = ffi.new "struct tide_cell"
local DOUBLE, BOOL, STRING = 2, 3, 4 -- of enum tide_type

local function sketch_add(name, registers, value)
   if type(value) == "number" then
      cell.d, cell.len = value, 0
      C.tide_ffi_distinct_add(registers, SKETCH_BITS, cell, DOUBLE)
   elseif type(value) == "boolean" then
      cell.i, cell.len = value and 1 or 0, 0
      C.tide_ffi_distinct_add(registers, SKETCH_BITS, cell, BOOL)
   else
      local string = text.as_string(value)
      if not string then
         error(('state "%s" is a sketch: it cannot count %s'):format(name, tostring(value)), 0)
      end
      cell.p, cell.len = string, #string
      C.tide_ffi_distinct_add(registers, SKETCH_BITS, cell, STRING)
   end
end

local function sketch_type(column, guard)
   local name, pointer, cast = column[1], ffi.typeof "int64_t *", ffi.cast
   local sketch_ct
   local function registers(sketch)
      if not ffi.istype(sketch_ct, sketch) then
         error(('state "%s" is a sketch: s.%s:add(value), s.%s:merge(o.%s), s.%s:count()')
            :format(name, name, name, name, name), 0)
      elseif sketch.serial_ ~= guard.serial then
         stale()
      end
      return cast(pointer, sketch.addr_)
   end
   local methods = {
      add = function(sketch, value) sketch_add(name, registers(sketch), value) end,
      merge = function(sketch, other)
         C.tide_ffi_distinct_merge(registers(sketch), registers(other), SKETCH_BITS)
      end,
      count = function(sketch)
         return math.floor(C.tide_ffi_distinct_count(registers(sketch), SKETCH_BITS) + 0.5)
      end,
   }
   sketch_ct = native.struct "const double serial_; const uint64_t addr_;"
   ffi.metatype(sketch_ct, {
      __index = function(_, key)
         return methods[key] or error(('state "%s" is a sketch: it has add, merge and count, ' ..
            'not %s'):format(name, tostring(key)), 0)
      end,
   })
   return sketch_ct
end

local makers = { list = list_type, sketch = sketch_type }

-- The text of a getter and a setter ------------------------------------------------

local F = { cast = ffi.cast, stale = stale, exact = exact, whole = whole, number = number,
            flag = flag, micros = micros, put_text = put_text, get_text = get_text,
            no_assignment = no_assignment }

local HEAD = [[
local pointer, guard, F, objects = ...
local cast, stale, exact, whole, number = F.cast, F.stale, F.exact, F.whole, F.number
local flag, micros, put_text, get_text = F.flag, F.micros, F.put_text, F.get_text
local no_assignment, get, set = F.no_assignment, {}, {}
]]

local getters = {
   int = "return (exact(%q, @))",
   double = "local _ = %q return @",
   bool = "local _ = %q return @ ~= 0",
   timestamp = "local _ = %q return tonumber(@) / 1000",
   text = "local _ = %q return (get_text(@))",
}
local setters = { int = "whole", double = "number", bool = "flag", timestamp = "micros" }

local function column_text(column, i)
   local made, name = column.made, column[1]
   local field = ("cast(pointer, s.addr_).f%d"):format(i)
   local read, write
   if made.kind == "text" then
      read = getters.text:format(name)
      write = ("put_text(%q, @, %d, value)"):format(name, made.count)
   elseif made.object then
      read = ("return object%d(s.serial_, s.addr_ + %d)"):format(i, column.offset)
      write = ("no_assignment(%q, value)"):format(name)
   else
      read = getters[made.kind]:format(name)
      write = ("@ = %s(%q, value)"):format(setters[made.kind], name)
   end
   return ([[
%s
get[%q] = function(s)
   if s.serial_ ~= guard.serial then stale() end
   %s
end
set[%q] = function(s, value)
   if s.serial_ ~= guard.serial then stale() end
   %s
end
]]):format(made.object and ("local object%d = objects[%d]"):format(i, i) or "", name,
           (read:gsub("@", field)), name, (write:gsub("@", field)))
end

local function unknown(columns, key)
   local list = {}
   for i, column in ipairs(columns) do
      list[i] = column[1]
   end
   error(('no state "%s"%s'):format(tostring(key), names.hint(tostring(key), list, "it has")), 0)
end

local function accessors(columns, pointer, guard)
   local source, objects = { HEAD }, {}
   for i, column in ipairs(columns) do
      source[#source + 1] = column_text(column, i)
      if column.made.object then
         objects[i] = makers[column.made.object](column, guard)
      end
   end
   source[#source + 1] = "return get, set\n"
   local get, set = assert(loadstring(table.concat(source), "=state"))(pointer, guard, F, objects)
   return get, set, objects
end

--- Objects over columns { name, type, made =, offset = }, good while their serial is
--- the guard's: their type, getters and setters by name, and the types of those
--- columns that are objects themselves, by number.
function M.objects(columns, pointer, guard)
   local get, set, inner = accessors(columns, pointer, guard)
   local object = native.struct "const double serial_; const uint64_t addr_;"
   ffi.metatype(object, {
      __index = function(s, key)
         local getter = get[key]
         if not getter then
            unknown(columns, key)
         end
         return getter(s)
      end,
      __newindex = function(s, key, value)
         local setter = set[key]
         if not setter then
            unknown(columns, key)
         end
         setter(s, value)
      end,
   })
   return object, get, set, inner
end

--- Everything the driver needs of a job's own aggregate.
function M.define(definition)
   local columns = columns_of(definition.state)
   local pointer, size = M.struct(columns, "f")
   local stage = ffi.new "struct tide_stage"
   local guard = ffi.cast("struct tide_stage *", stage)
   local object = M.objects(columns, pointer, guard)
   return { state = columns, size = size, pointer = pointer, object = object, guard = guard,
            anchor = stage, add = definition.add, merge = definition.merge,
            result = definition.result }
end

return M
