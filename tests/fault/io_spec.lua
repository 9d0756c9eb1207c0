-- SPDX-License-Identifier: Apache-2.0
-- Disks that fail and say so: an error of a write, a sync, a rename or an open, half
-- a write, a full disk. The job stops and names the file and the error, no sync is
-- tried again, and the next start, on a good disk, goes on exactly.
local h = require "harness"
local disk = require "disk"
local column = require "column"

local says = { EIO = "Input/output error", ENOSPC = "No space left on device" }

-- Where a checkpoint and a files sink write. `size` is the job that does (disk.sizes),
-- `killed`: after a kill, when RocksDB makes a file of its log.
local places = {
   { op = "write", path = "*/db/*.log", size = 1 },
   { op = "write", path = "*/db/MANIFEST-*", size = 1 },
   { op = "write", path = "*/db/*.sst", size = 1, once = true, killed = true },
   { op = "sync", path = "*/db/*.sst", size = 1, once = true, killed = true },
   { op = "write", path = "*/db.ingest/*", size = 3 },
   { op = "write", path = "*/segments/*", size = 3 },
   { op = "write", path = "*/anchor", size = 1 },
   { op = "write", path = "*/FORMAT.tmp", size = 1, once = true },
   { op = "write", path = "rows/*/data-*", size = 2 },
   { op = "write", path = "rows/*/manifest-*", size = 1 },
   { op = "sync", path = "*/db/*.log", size = 1 },
   { op = "sync", path = "*/db/MANIFEST-*", size = 1 },
   { op = "sync", path = "*/db/*.dbtmp", size = 1 },
   { op = "sync", path = "*/db", size = 1 },
   { op = "sync", path = "*/db.ingest/*", size = 3 },
   { op = "sync", path = "*/segments/*", size = 3 },
   { op = "sync", path = "*/segments", size = 3 },
   { op = "sync", path = "cp/job", size = 1 },
   { op = "sync", path = "*/anchor", size = 1, once = true },
   { op = "sync", path = "*/FORMAT.tmp", size = 1, once = true },
   { op = "sync", path = "rows/*/data-*", size = 1 },
   { op = "sync", path = "rows/*/manifest-*", size = 1 },
   { op = "sync", path = "rows/_tidemark/*", size = 1 },
   { op = "sync", path = "rows", size = 1 },
   { op = "rename", path = "*/CURRENT", size = 1 },
   { op = "rename", path = "*/anchor", size = 1, once = true },
   { op = "rename", path = "*/FORMAT", size = 1, once = true },
   { op = "rename", path = "rows/*", size = 1 },
   { op = "open", path = "*/db/*.log", size = 1, once = true },
   { op = "open", path = "*/db.ingest/*", size = 3, once = true },
   { op = "open", path = "*/segments/*", size = 3, once = true },
   { op = "open", path = "rows/*/data-*", size = 1 },
}

local function strikes()
   local list = {}
   for _, place in ipairs(places) do
      for n = 1, place.once and 1 or 3 do
         for _, error in ipairs { "EIO", "ENOSPC", "short" } do
            if error ~= "short" or place.op == "write" then
               list[#list + 1] = { place = place, error = error, n = n }
            end
         end
      end
   end
   return list
end

describe("a disk", function()
   local row = column.row "io"
   local harmless, stopped = 0, 0

   setup(disk.begin)

   -- What the shim did, as lines of three words.
   local function shim_log()
      local lines = {}
      for what, path, op in (h.read_file(h.path "shim") or ""):gmatch "(%S+) (%S+) (%S+)\n" do
         lines[#lines + 1] = { what = what, path = path, op = op }
      end
      return lines
   end

   local function assert_never_synced_again(lines)
      local failed = {}
      for _, line in ipairs(lines) do
         if line.what == "strike" and line.op == "sync" then
            assert.is_nil(failed[line.path], line.path .. " was synced again after it failed")
            failed[line.path] = true
         elseif line.op == "sync" then
            assert.is_nil(failed[line.path], line.path .. " was synced again after it failed")
         end
      end
   end

   local function assert_named(job, strike, lines)
      local err = job:err()
      local name = lines[1].path:match "[^/]+$"
      local folder = lines[1].path:match "^(.*)/[^/]*$" or name
      assert.is_truthy(err:find(says[strike.error], 1, true), "the error is not named:\n" .. err)
      assert.is_truthy(err:find(name, 1, true) or err:find(folder, 1, true),
                       lines[1].path .. " is not named:\n" .. err)
   end

   -- Returns whether it hit: a place may be passed less often than n times.
   local function try(strike, n)
      local place, seen = strike.place, {}
      disk.clear(disk.root)
      disk.job(disk.sizes[place.size])
      os.remove(h.path "shim")
      if place.killed then
         assert.is_nil((disk.start { KILL = 200 }:wait(60)))
      end
      local job = disk.start { LOG = h.path "shim",
         FAULT = ("%s:%s=%s@%d"):format(place.op, place.path, strike.error, n) }
      local code, signal = job:wait(60)
      local lines = shim_log()
      if #lines == 0 then
         h.expect_exit(job, 0)
         return false
      end
      disk.look(seen)
      assert.is_truthy(code, "it died of signal " .. tostring(signal) .. "\n" .. job:err())
      if code ~= 0 then
         stopped = stopped + 1
         if says[strike.error] then
            assert_named(job, strike, lines)
         end
      else
         -- Half a write may be made whole. An error that nobody heard of is another thing.
         harmless = harmless + 1
         assert.are.equal("short", strike.error, "nobody noticed")
      end
      assert_never_synced_again(lines)
      h.expect_exit(disk.start(), 0)
      disk.assert_exact(seen)
      return true
   end

   local list = row:share(strikes())
   local hits = 0

   for _, strike in ipairs(list) do
      it(("whose %s of %s meets %s, time %d (SEED=%d)"):format(strike.place.op, strike.place.path,
            strike.error, strike.n, row.seed), function()
         local n = strike.n
         while not try(strike, n) do
            n = n - 1
            assert.is_true(n > 0, "this place is never passed")
         end
         hits = hits + 1
      end)
   end

   -- A small one in memory, in a namespace of its own: it goes with the process
   -- that made it. Its files are reached through /proc. nil where that is forbidden.
   local function small_disk()
      local holder = h.spawn { "/usr/bin/unshare", "-m", "sh", "-c",
         ("mount -t tmpfs -o size=64m none '%s' && echo made && exec sleep 600")
         :format(disk.clear(h.path "small")) }
      h.process.poll_until(30, function() return holder:out() ~= "" or holder:ended() end)
      return holder:out() ~= "" and ("/proc/%d/root%s"):format(holder.pid, h.path "small") or nil
   end

   it(("that is full stops the job until there is room (SEED=%d)"):format(row.seed), function()
      local small, root = small_disk(), disk.root
      if not small then
         return pending "this user may mount nothing"
      end
      disk.root = small
      h.at_end(function() disk.root = root end)
      for round = 1, math.max(2, math.floor(row.count / 5)) do
         local free_kb, seen = 200 + row:random(6000), {}
         disk.job(disk.sizes[round % #disk.sizes + 1])
         disk.shell("rm -rf '%s'/* && mkdir '%s/cp'", small, small)
         disk.shell("head -c %d /dev/zero >'%s/ballast'", (64 * 1024 - free_kb) * 1024, small)
         local job = disk.start()
         local code = job:wait(60)
         assert.is_truthy(code, "it died or does not end")
         disk.look(seen)
         if code ~= 0 then
            hits, stopped = hits + 1, stopped + 1
            assert.is_truthy(job:err():find(says.ENOSPC, 1, true), job:err())
            assert.is_truthy(job:err():find(small, 1, true), job:err())
         end
         os.remove(small .. "/ballast")
         h.expect_exit(disk.start(), 0)
         disk.assert_exact(seen)
      end
   end)

   it("has been met", function()
      row:tally(hits, ("%d stopped the job, %d were made good on the spot"):format(stopped,
                                                                                   harmless))
      assert.is_true(hits >= #list)
   end)
end)
