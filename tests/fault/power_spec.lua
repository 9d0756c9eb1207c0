-- SPDX-License-Identifier: Apache-2.0
-- The power goes: what was not synced is lost in whole, in part or not at all.
-- What was published before stays, and the next start goes on exactly.
local h = require "harness"
local disk = require "disk"
local power = require "power_loss"
local column = require "column"

local changes_max = 160 -- a start makes some 50, an epoch about 20

describe("a loss of power", function()
   local row = column.row "power"

   setup(disk.begin)

   -- One life: run, cut, look at what the disk holds, on and on to the end.
   local lost_names, lost_bytes = 0, 0

   local function cut(how, kill_at)
      os.remove(h.path "journal")
      disk.shell("rm -rf '%s' && cp -a '%s' '%s'", h.path "before", disk.root, h.path "before")
      local job = disk.start { JOURNAL = h.path "journal", KILL = kill_at }
      local code, signal = job:wait(60)
      if code ~= 0 and signal ~= h.process.signals.KILL then
         error(("change %d, %s: exit %s\n%s"):format(kill_at, how, tostring(code), job:err()))
      end
      return code == 0
   end

   local function lose(how)
      local changes, names, bytes = power.rebuild { before = h.path "before", out = h.path "after",
         journal = h.path "journal", how = how, random = function(n) return row:random(n) end }
      disk.shell("rm -rf '%s' && mv '%s' '%s'", disk.root, h.path "after", disk.root)
      return changes, names, bytes
   end

   it("is told from a good disk: the journal misses nothing", function()
      disk.clear(disk.root)
      assert.is_false(cut("whole", 400))
      disk.shell("cp -a '%s' '%s'", disk.root, h.path "live")
      local changes, names, bytes = lose "whole"
      assert.is_true(changes >= 399)
      assert.are.same({ 0, 0 }, { names, bytes })
      -- Not there: a socket, and the text that RocksDB writes through stdio.
      disk.shell("diff -r --exclude control --exclude 'LOG*' '%s' '%s' >&2", h.path "live",
                 disk.root)
   end)

   it(("takes nothing that was published, in the epochs that follow it (SEED=%d)")
      :format(row.seed), function()
      local strikes, lives, seen = 0, 1, {}
      disk.clear(disk.root)
      while strikes < row.count do
         local how = row:random(2) == 1 and "ordered" or "loose"
         local done = cut(how, row:random(changes_max))
         disk.look(seen)
         local _, names, bytes = lose(how)
         strikes = strikes + 1
         lost_names, lost_bytes = lost_names + names, lost_bytes + bytes
         if done or strikes == row.count then
            h.expect_exit(disk.start(), 0)
            disk.assert_exact(seen)
            disk.clear(disk.root)
            disk.job(disk.sizes[lives % #disk.sizes + 1])
            lives, seen = lives + 1, {}
         end
      end
      row:tally(strikes, ("in %d lives; %d names and %d KiB were not on the disk"):format(
                   lives, lost_names, lost_bytes / 1024))
      assert.is_true(lost_names > 0 and lost_bytes > 0)
   end)
end)
