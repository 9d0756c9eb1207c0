-- SPDX-License-Identifier: Apache-2.0
-- Where the nanoseconds go: samples of `perf script` to parts of the program.
--
--   perf script -F comm,ip,sym,dso | luajit where.lua SYMBOLS SECONDS RECORDS
--
-- SYMBOLS has a line "room symbol" for each of our functions. A sample belongs to
-- the innermost frame that says something: libc and the kernel work for whoever
-- called them, and so does base/.
local symbols, seconds, records = arg[1], tonumber(arg[2]), tonumber(arg[3])

local parts = {
   { "fetch", "librdkafka's own threads: sockets, checksums, decompression, records" },
   { "take", "a worker takes records from librdkafka, and gives them back (source)" },
   { "decode", "JSON and text (decode), rows and batches (record), event time (time)" },
   { "Lua", "job functions, generated loops and aggregates; their compiler, the VM" },
   { "state", "keys, hashes, lookups, removal (state)" },
   { "exchange", "to the owners of keys, windows, repeats; the epoch's course (run)" },
   { "decide", "changes in order and into RocksDB (checkpoint, sink, its library)" },
   { "compact", "RocksDB's own threads" },
   { "other", "start, the rest" },
}

local part_of_room = { source = "take", decode = "decode", record = "decode", time = "decode",
                       job = "Lua", state = "state", run = "exchange", checkpoint = "decide",
                       sink = "decide", serve = "other", broker = "other" }

local room_of = {}
for line in io.lines(symbols) do
   local room, symbol = line:match "^(%S+) (%S+)$"
   room_of[symbol] = room
end

--- The part that a frame stands for; nil: ask its caller.
local function part_of(symbol, dso)
   if dso:find "tidemark" then
      return part_of_room[room_of[symbol]]
   elseif dso:find "librdkafka" then
      return "take"
   elseif dso:find "librocksdb" or dso:find "liblz4" then
      return "decide"
   elseif dso:find "libluajit" or dso:find "%[JIT%]" or dso:find "perf%-%d+%.map" then
      return "Lua"
   end
   return nil
end

local counts, total = {}, 0
local comm, part

local function sample_ends()
   if comm then
      counts[part or "other"] = (counts[part or "other"] or 0) + 1
      total = total + 1
   end
   comm, part = nil, nil
end

for line in io.lines() do
   local symbol, dso = line:match "^%s+%x+ (.-) %(([^()]*)%)$"
   if symbol then
      part = part or part_of(symbol:gsub("%.[%w.]+$", ""), dso)
   elseif line:find "%S" then
      sample_ends()
      comm = line:match "^%s*(.-)%s*$"
      part = comm:find "^rdk:" and "fetch" or comm:find "^rocksdb" and "compact" or nil
   end
end
sample_ends()

for _, named in ipairs(parts) do
   local share = (counts[named[1]] or 0) / total
   print(("| %s | %.0f | %.0f %% | %s |"):format(named[1], share * seconds * 1e9 / records,
                                                share * 100, named[2]))
end
print(("| all | %.0f | | %.2f s of CPU for %d records, %d samples |"):format(
   seconds * 1e9 / records, seconds, records, total))
