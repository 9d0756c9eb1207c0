-- SPDX-License-Identifier: Apache-2.0
-- For specs: jobs from text, batches of records, and their rows, all through
-- the real FFI entries (TIDEMARK_LIB names the library).
local ffi = require "ffi"

local root = os.getenv "TIDEMARK_ROOT" or "."
package.path = root .. "/lua/?.lua;" .. root .. "/lua/?/init.lua;" .. package.path
os.setlocale "C"

local native = require "tidemark.native"
local boot = require "tidemark.boot"
local driver = require "tidemark.driver"

local lib = native.C
local ctx = native.ctx
local once = native.once

once("spec helper types", function()
   ffi.cdef [[
struct tide_slice { const char *p; size_t len; };
struct tide_ring *tide_ring_new(void);
void tide_ring_free(struct tide_ring *ring);
struct tide_batch *tide_ring_next(struct tide_ring *ring, const char *topic, int32_t partition);
struct tide_rec *tide_batch_add(struct tide_batch *batch, struct tide_slice key,
                                struct tide_slice value, int64_t offset, int64_t timestamp_ms);
bool tide_batch_headers(struct tide_batch *batch, uint32_t count);
bool tide_batch_header_set(struct tide_batch *batch, uint32_t i, struct tide_slice name,
                           struct tide_slice value);
struct spec_keyspec { int count; int columns[16]; int types[16]; int shard_at; };
struct spec_entry { uint32_t key_len; uint8_t flags, shard; uint16_t spare; char bytes[1]; };
struct tide_table *tide_table_new(const void *keyspec, size_t value_size);
void tide_table_free(struct tide_table *table);
struct tide_queue *tide_queue_new(struct tide_table *table, const void *keyspec,
                                  const int *args, const bool *arg_is_text, int arg_count);
void tide_queue_free(struct tide_queue *queue);
bool tide_queue_push(struct tide_queue *queue, const struct tide_cell *row, uint32_t number);
void tide_queue_drop(struct tide_queue *queue, uint32_t count);
bool tide_queue_resolve(struct tide_queue *queue, uint32_t *count);
void tide_queue_forget(struct tide_queue *queue, uint32_t number);
uint32_t tide_table_count(const struct tide_table *table);
struct spec_entry *tide_table_each(struct tide_table *table, uint64_t *at);
const char *tide_entry_key(const struct tide_table *table, const struct spec_entry *entry);
bool tide_key_decode(const void *spec, const char *key, size_t len, struct tide_cell *cells);
void free(void *p);
void *calloc(size_t count, size_t size);
struct spec_column { char name[64]; int type; bool nullable; };
struct spec_schema_head { int count; struct spec_column columns[64]; };
void *tide_schema_new(int count);
struct tide_rows *tide_rows_new(const void *schema);
void tide_rows_free(struct tide_rows *rows);
uint32_t tide_rows_count(const struct tide_rows *rows);
struct tide_cell tide_rows_cell(const struct tide_rows *rows, uint32_t row, int column);
bool tide_option_set(struct tide_options *options, const char *key, const char *value);
]]
   return true
end)

local C = ffi.C
local M = { ctx = ctx, lib = lib, boot = boot, root = root }
local schema = require "tidemark.schema"

once("spec settings", function()
   ctx.set = ffi.cast("struct tide_options *", ffi.C.calloc(1, 16))
   return true
end)

--- What --set would have said; without a value it is as if not given.
function M.set(key, value)
   assert(lib.tide_option_set(ffi.cast("struct tide_options *", ctx.set), key, value or ""))
end

--- Write files into a fresh directory and load the first. Returns an error
--- message, or nil.
function M.load(text, modules)
   local directory = os.tmpname()
   os.remove(directory)
   assert(os.execute("mkdir " .. directory) == 0)
   local path = directory .. "/job.lua"
   for name, source in pairs(modules or {}) do
      local file = assert(io.open(directory .. "/" .. name, "wb"))
      file:write(source)
      file:close()
   end
   if text then
      local file = assert(io.open(path, "wb"))
      file:write(text)
      file:close()
   end
   M.path = path
   ctx.call.path, ctx.call.plan = path, nil
   local message = boot.load()
   os.execute("rm -r " .. directory)
   return message and (message:gsub(directory:gsub("%p", "%%%0") .. "/", ""))
end

--- What the lint says of a job that is right, as "line: message".
function M.lint(text, modules)
   M.job(text, modules)
   local list = {}
   ctx.call.number = 0
   assert(not boot.lint())
   for i, found in ipairs(boot.warnings()) do
      list[i] = ("%s:%d: %s"):format(found.path:match "[^/]*$", found.line, found.message)
   end
   return list
end

--- Load a job that is right.
function M.job(text, modules)
   local message = M.load(text, modules)
   if message then
      error(message, 0)
   end
   return boot.runner().program
end

--- A step between a source and a console, as a job.
function M.steps(steps, before)
   return ([[local tide = require "tidemark"
%s
return tide.from(tide.kafka { topic = "t" })
   %s
   :to(tide.console { })]]):format(before or "", steps)
end

local function slice(text)
   local s = ffi.new "struct tide_slice"
   if text then
      s.p, s.len = text, #text
   end
   return s
end

-- The real table, for a keyed operator of the program.
local function table_of(keyed)
   local spec = ffi.new "struct spec_keyspec"
   spec.count = #keyed.group.keys
   for i, column in ipairs(keyed.group.keys) do
      spec.columns[i - 1] = column - 1
      spec.types[i - 1] = schema.types[keyed.group.schema.columns[column].type]
   end
   local args, is_text, count = ffi.new "int[64]", ffi.new "bool[64]", 0
   for _, aggregate in ipairs(keyed.aggregates) do
      for _, column in ipairs(aggregate.columns) do
         local kind = keyed.group.schema.columns[column].type
         args[count], is_text[count] = column - 1, kind == "string" or kind == "bytes"
         count = count + 1
      end
   end
   local made = lib.tide_table_new(spec, keyed.state_size)
   return { spec = spec, table = made,
            queue = lib.tide_queue_new(made, spec, args, is_text, count) }
end

local function rows_of(step)
   local columns = step.schema.columns
   local made = lib.tide_schema_new(#columns)
   local head = ffi.cast("struct spec_schema_head *", made)
   for i, column in ipairs(columns) do
      head.columns[i - 1].name = column.name
      head.columns[i - 1].type = schema.types[column.type]
      head.columns[i - 1].nullable = column.nullable
   end
   local rows = lib.tide_rows_new(made)
   C.free(made)
   return rows
end

--- Bind tables and rows to the loaded job. Returns an object to run batches.
function M.run(text, modules)
   local program = M.job(text, modules)
   local run = { program = program, bad = {}, tables = {}, offset = 0 }
   run.ring = ffi.gc(lib.tide_ring_new(), lib.tide_ring_free)
   local count = math.max(#program.outputs, 1)
   run.rows = ffi.new("struct tide_rows *[?]", count)
   for i, output in ipairs(program.outputs) do
      run.rows[i - 1] = rows_of(output)
   end
   run.queues = ffi.new("struct tide_queue *[?]", math.max(#program.keyed, 1))
   for k, keyed in ipairs(program.keyed) do
      run.tables[k] = table_of(keyed)
      run.queues[k - 1] = run.tables[k].queue
   end
   driver.report = function(message, reason, place)
      run.bad[#run.bad + 1] = { row = ctx.row, message = message, reason = reason, place = place }
      return not run.stop
   end
   ctx.ops.push, ctx.ops.drop, ctx.ops.resolve, ctx.ops.forget =
      lib.tide_queue_push, lib.tide_queue_drop, lib.tide_queue_resolve, lib.tide_queue_forget
   ctx.queues, ctx.rows, ctx.ring = run.queues, run.rows, run.ring
   ctx.now_us, ctx.epoch = 1700000000123456LL, 7
   return setmetatable(run, { __index = M.methods })
end

M.methods = {}

--- One batch of { key =, value =, headers = { { name, value }, … } } records.
function M.methods.batch(run, records, input)
   local batch = lib.tide_ring_next(run.ring, "topic", 3)
   for _, rec in ipairs(records) do
      local given = lib.tide_batch_add(batch, slice(rec.key), slice(rec.value), run.offset,
                                       rec.timestamp or 1700000000000)
      assert(given ~= nil)
      run.offset = run.offset + 1
      if rec.headers then
         assert(lib.tide_batch_headers(batch, #rec.headers))
         for i, header in ipairs(rec.headers) do
            assert(lib.tide_batch_header_set(batch, i - 1, slice(header[1]), slice(header[2])))
         end
      end
   end
   lib.tide_ffi_ctx_batch(ctx, batch)
   run.result = ffi.new "struct tide_run_result"
   ctx.call.number, ctx.call.result = (input or 1) - 1, run.result
   return boot.run()
end

--- The rows of an output as lists of Lua values; null is the text "null".
function M.methods.output(run, number)
   number = number or 1
   local list, columns = {}, run.program.outputs[number].schema.columns
   local rows = run.rows[number - 1]
   for r = 0, lib.tide_rows_count(rows) - 1 do
      local row = {}
      for c, column in ipairs(columns) do
         local cell = lib.tide_rows_cell(rows, r, c - 1)
         if cell.len < 0 then
            row[c] = "null"
         elseif column.type == "string" or column.type == "bytes" then
            row[c] = ffi.string(cell.p, cell.len)
         elseif column.type == "double" then
            row[c] = cell.d
         elseif column.type == "bool" then
            row[c] = cell.i ~= 0
         else
            row[c] = tonumber(cell.i)
         end
      end
      list[#list + 1] = row
   end
   return list
end

-- Entries of a keyed operator's table in the order in which they were made.
local function entries_of(run, keyed)
   local list, at = {}, ffi.new "uint64_t[1]"
   while true do
      local entry = lib.tide_table_each(run.tables[keyed].table, at)
      if entry == nil then
         return list
      end
      list[#list + 1] = entry
   end
end

local function address(p)
   return ffi.cast("uint64_t", ffi.cast("uintptr_t", p))
end

--- Finish the states of a keyed operator into rows, of one output or of all.
function M.methods.finish(run, keyed, output)
   keyed = keyed or 1
   local t, list = run.tables[keyed], entries_of(run, keyed)
   local stride = t.spec.count
   local cells = ffi.new("struct tide_cell[?]", math.max(#list * stride, 1))
   local states = ffi.new("uint64_t[?]", math.max(#list, 1))
   for i, entry in ipairs(list) do
      states[i - 1] = address(entry.bytes)
      assert(lib.tide_key_decode(t.spec, lib.tide_entry_key(t.table, entry), entry.key_len,
                                 cells + (i - 1) * stride))
   end
   lib.tide_ffi_ctx_scratch(ctx)
   local call = ctx.call
   call.number, call.output, call.stride = keyed - 1, (output or 0) - 1, stride
   call.keys, call.states, call.count = cells, states, #list
   return boot.finish()
end

--- Fold this run's states of one operator into one: the second entry into the
--- first, and so on, for jobs with as many keys as there are parts.
function M.methods.fold(run)
   local list, pair = entries_of(run, 1), ffi.new "struct tide_pair[1]"
   for i = 2, #list do
      pair[0].into, pair[0].from = address(list[1].bytes), address(list[i].bytes)
      ctx.call.number, ctx.call.pairs, ctx.call.count = 0, pair, 1
      local message = boot.merge()
      if message then
         return message
      end
   end
   return nil
end

function M.methods.close(run)
   for i = 0, #run.program.outputs - 1 do
      lib.tide_rows_free(run.rows[i])
   end
   for _, t in ipairs(run.tables) do
      lib.tide_queue_free(t.queue)
      lib.tide_table_free(t.table)
   end
   ctx.ring = nil
end

return M
