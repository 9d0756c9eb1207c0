-- SPDX-License-Identifier: Apache-2.0
-- A Kafka record as scripts see it: rec.key, rec.value, rec:headers() and so on.
--
-- There is one object for each place in a batch, made once, for making one per
-- record would keep the garbage collector busy. Each of the last SETS batches has
-- objects of its own, so that a kept record is noticed when it is read, for that
-- many batches.
--
-- Here and wherever records pass, results are put in parentheses: a tail call
-- counts against the JIT's limit of unrolled loops, and a loop over records
-- that meets fifteen of them is never compiled.
local ffi = require "ffi"
local native = require "tidemark.native"
local names = require "tidemark.names"
local text = require "tidemark.text"
local json = require "tidemark.json"

local C, ctx = native.C, native.ctx
local cast, istype = ffi.cast, ffi.istype

local M = {}

local SETS = 64

local rec_ct = native.struct "const uint32_t row_; const uint32_t set_;"
local view_ct, word_ct, word_p = text.view_ct, text.word_ct, text.word_p
local before, bytes_p = text.before, ffi.typeof "const uint8_t *"

local sets, now = {}, 0
local topic -- of the running batch

--- A batch begins.
function M.turn()
   local batch = ctx.batch
   topic = ffi.string(batch.topic, batch.topic_len)
   now = now % SETS + 1
   local set = sets[now] or {}
   sets[now] = set
   for row = set[0] and #set + 1 or 0, batch.count - 1 do
      set[row] = rec_ct(row, now)
   end
end

--- The record objects of the running batch, by row.
function M.set()
   return sets[now]
end

--- The record object of the row that runs.
function M.current()
   return sets[now][ctx.row]
end

function M.is_record(v)
   return istype(rec_ct, v)
end

local function facts(rec)
   if rec.set_ ~= now or ctx.batch == nil then
      error("this record belonged to a batch that is over: keep its fields, not the record", 0)
   end
   return ctx.batch.recs + rec.row_
end

local function view(v)
   if v.len_ < 0 then
      return nil
   end
   return (view_ct(v.addr_, v.len_, v.gen_))
end

local getters = {}

function getters.key(rec)
   return (view(facts(rec).key_))
end

function getters.value(rec)
   return (view(facts(rec).value_))
end

function getters.header_count(rec)
   return facts(rec).header_count
end

function getters.topic(rec)
   facts(rec)
   return topic
end

function getters.partition(rec)
   facts(rec)
   return ctx.batch.partition
end

function getters.offset(rec)
   return (tonumber(facts(rec).offset_))
end

function getters.timestamp(rec)
   local ms = tonumber(facts(rec).timestamp_ms_)
   if ms < 0 then
      return nil
   end
   return ms
end

local function next_header(_, name)
   if not istype(word_ct, name) then
      error("this iterator belongs to a for loop", 0)
   end
   local following = cast(word_p, cast(bytes_p, name) + name.next_)
   if following[0].len_ < 0 then
      return nil
   end
   local value = following[1]
   if value.len_ < 0 then
      return following[0], nil
   end
   return following[0], value
end

local methods = {}

--- Iterates over name and value; the value is nil when it is null.
function methods.headers(rec)
   if not C.tide_ffi_headers(ctx, facts(rec)) then
      error("out of memory for the headers of this record", 0)
   end
   return next_header, nil, before
end

--- The value of the last header of that name, or nil.
function methods.header(rec, name)
   local found
   for n, value in methods.headers(rec) do
      if n == name then
         found = value
      end
   end
   return found
end

--- The value read as JSON: tables, strings, numbers, booleans; null is absent.
function methods.decode(rec)
   local value = getters.value(rec)
   if value == nil then
      return nil
   end
   return json.decode(tostring(value))
end

local function known()
   local list = names.sorted(getters)
   for _, name in ipairs(names.sorted(methods)) do
      list[#list + 1] = name .. "()"
   end
   return list
end

local function index(rec, key)
   local getter = getters[key]
   if getter then
      return (getter(rec))
   end
   local method = methods[key]
   if method then
      return method
   end
   error(('a record has no "%s"'):format(tostring(key)) ..
         names.hint(key, known(), "it has"), 0)
end

ffi.metatype(rec_ct, {
   __index = index,
   __newindex = function() error("a record cannot be changed", 0) end,
   __tostring = function(rec)
      return ("record %s[%d]@%d"):format(getters.topic(rec), getters.partition(rec),
                                         getters.offset(rec))
   end,
})

return M
