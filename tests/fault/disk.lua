-- SPDX-License-Identifier: Apache-2.0
-- A job whose every mistake shows, on folders that io_shim.c watches: what the
-- specs of bad disks have in common.
--
-- Its records are numbered. One output lists them, the other counts them by key;
-- both are files, so that what was published can be read back, and so that the
-- disk of the sink is as bad as that of the checkpoint. Padded rows and states make
-- an epoch reach every way to the disk: a write, the log of writes over several of
-- its blocks, files of rows beside the database, files that it ingests.
local h = require "harness"
local assert = require "luassert"

local M = { shim = h.root .. "/build/" .. h.flavour .. "/fault/io_shim.so",
            counts = { 330, 270 } }

--- Bytes in each row and each state, keys, records in an epoch.
M.sizes = {
   { pad = 40, keys = 7, batch = 25 },
   { pad = 2500, keys = 40, batch = 30 },      -- some 200 KB an epoch
   { pad = 4000, keys = 1200, batch = 300 },   -- 1.2 MB of rows, 5 MB of states
}

local job_text = [[
local root = tide.setting("root", "")
local function pad(rec)
   return ("%%-%dd"):format(rec.offset):rep(%d)
end
local rows = tide.from(tide.kafka { topic = "unset", start = "earliest" })
return tide.job { outputs = {
   rows:map(function(rec) return rec.partition .. "/" .. rec.offset, pad(rec) end,
            { "id:string", "pad:string" })
      :to(tide.files { path = root .. "/rows", every = "0s" }),
   rows:map(function(rec) return (2 * tonumber(rec.key) + rec.partition) %% %d, pad(rec) end,
            { "k:int", "pad:string" })
      :group_by("k")
      :aggregate { tide.count() :as "count", tide.max("pad", { max_bytes = 4000 }) :as "a",
                   tide.min("pad", { max_bytes = 4000 }) :as "b",
                   tide.first("pad", { max_bytes = 4000 }) :as "c",
                   tide.last("pad", { max_bytes = 4000 }) :as "d" }
      :to(tide.files { path = root .. "/counts", mode = "update", every = "0s" }),
} }
]]

--- The embedded broker and the records, once for a spec file.
function M.begin()
   h.begin()
   local broker = h.start { "broker", "numbers", "--partitions", #M.counts }
   M.brokers = h.eventually("the broker's address", function()
      return (broker:out() .. broker:err()):match "127%.0%.0%.1:%d+"
   end, broker)
   h.brokers = M.brokers
   h.produce_counts("numbers", M.counts)
   M.root = h.path "root"
   M.job(M.sizes[1])
end

--- The job, with one of M.sizes.
function M.job(size)
   M.size = size
   return h.job(job_text:format(10, size.pad / 10, size.keys))
end

function M.shell(text, ...)
   local command = text:format(...)
   assert.are.equal(0, os.execute(command), command)
end

--- A folder without anything in it.
function M.clear(path)
   M.shell("rm -rf '%s' && mkdir '%s'", path, path)
   return path
end

--- Start the job up to the end of its topic; `shim` names the variables of the
--- shim without their IO_SHIM_, nil: a good disk.
function M.start(shim, ...)
   local env = {}
   if shim then
      env.LD_PRELOAD, env.IO_SHIM_ROOT = M.shim, M.root
      for name, value in pairs(shim) do
         env["IO_SHIM_" .. name] = tostring(value)
      end
   end
   return h.start({ "run", h.path "job.lua", "-b", M.brokers, "--topic", "numbers", "--until-end",
                    "--no-ui", "--checkpoint-dir", M.root .. "/cp", "--set", "root=" .. M.root,
                    "--max-records-per-batch", M.size.batch, ... }, { env = env })
end

-- The files that a reader of an output sees, by name.
local function published(name)
   local files = {}
   local pipe = io.popen(("ls -1 '%s/%s' 2>/dev/null"):format(M.root, name))
   for file in pipe:lines() do
      if file:match "^rows%-.*%.jsonl$" then
         files[file] = h.read_file(("%s/%s/%s"):format(M.root, name, file))
      end
   end
   pipe:close()
   return files
end

--- What readers see now, and that nothing which they saw before is another.
--- A loss of power may take a file back that was not certain, to be written again.
function M.look(seen)
   for _, output in ipairs { "rows", "counts" } do
      for name, text in pairs(published(output)) do
         local key = output .. "/" .. name
         assert.are.equal(seen[key] or text, text, key .. " has changed")
         seen[key] = text
      end
   end
   return seen
end

local function total(counts)
   local sum = 0
   for _, count in ipairs(counts) do
      sum = sum + count
   end
   return sum
end

--- Every record is there once, every count is right and came once, and the
--- checkpoint stands behind the last record and is sound.
function M.assert_exact(seen)
   local now = M.look {}
   for key in pairs(seen) do
      assert.is_truthy(now[key], key .. " was published and is gone")
   end
   local ids, count, newest, pairs_seen = {}, 0, {}, {}
   for key, text in pairs(now) do
      for _, row in ipairs(h.json_lines(text)) do
         if key:match "^rows" then
            assert.is_nil(ids[row.id], row.id .. " is there twice")
            ids[row.id], count = true, count + 1
         else
            local pair = row.k .. "=" .. row.count
            assert.is_nil(pairs_seen[pair], "the count " .. pair .. " came twice")
            pairs_seen[pair] = true
            newest[row.k] = math.max(newest[row.k] or 0, row.count)
         end
      end
   end
   assert.are.equal(total(M.counts), count)
   local expected = {}
   for p, records in ipairs(M.counts) do
      for n = 1, records do
         local k = (2 * n + p - 1) % M.size.keys
         expected[k] = (expected[k] or 0) + 1
      end
   end
   assert.are.same(expected, newest)
   assert.are.same({ [0] = M.counts[1], M.counts[2] },
                   h.next_offsets(M.root .. "/cp", "numbers"))
   h.run { "checkpoint", "verify", "--checkpoint-dir", M.root .. "/cp" }
end

return M
