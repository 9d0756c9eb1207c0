-- SPDX-License-Identifier: Apache-2.0
-- Going back to a kept copy: exact where the sinks have not gone further, a stop
-- with the reason where they have.
local h = require "harness"
local disk = require "disk"

describe("a copy of a checkpoint", function()
   setup(disk.begin)

   local function checkpoint(...)
      local args = { "checkpoint", ... }
      args[#args + 1] = "--checkpoint-dir"
      args[#args + 1] = disk.root .. "/cp/job"
      return args
   end

   it("is refused by sinks that know more, and a newer one is taken", function()
      local seen = {}
      disk.clear(disk.root)
      assert.is_nil((disk.start({ KILL = 200 }):wait(60)))
      local old = h.run(checkpoint "copy"):out():match "^%S+"
      h.expect_exit(disk.start(), 0)
      disk.look(seen)
      local new = h.run(checkpoint "copy"):out():match "^%S+"
      assert.are_not.equal(old, new)
      local listed = h.run(checkpoint "copies"):out()
      assert.is_truthy(listed:find(old, 1, true) < listed:find(new, 1, true))
      local sound = h.run(checkpoint "verify"):out()
      assert.is_truthy(sound:find("copies sound: 2", 1, true), sound)
      -- Nobody is there to confirm.
      h.run(checkpoint("restore", old), { stdin = "" }, 2)
      h.run(checkpoint("restore", old, "--yes"))
      local job = h.expect_exit(disk.start(), 5)
      assert.is_truthy(job:err():find("went back in time", 1, true), job:err())
      assert.is_truthy(job:err():find("checkpoint copies", 1, true), job:err())
      h.run(checkpoint("restore", "newest", "--yes"))
      h.expect_exit(disk.start(), 0)
      disk.assert_exact(seen)
      assert.are.equal("1 copy removed\n", h.run(checkpoint("prune", "--keep", "1")):out())
   end)

   it("is made while the job runs, and named when it is damaged", function()
      local seen = {}
      disk.clear(disk.root)
      local job = h.start { "run", h.path "job.lua", "-b", disk.brokers, "--topic", "numbers",
         "--no-ui", "--checkpoint-dir", disk.root .. "/cp", "--set", "root=" .. disk.root }
      h.eventually("a copy of an epoch", function()
         local copy = h.start(checkpoint "copy")
         return copy:wait(30) == 0 and h.next_offsets(disk.root .. "/cp", "numbers")[1] == 270
      end, job)
      local name = h.run(checkpoint "copy"):out():match "^%S+"
      job:kill "KILL"
      job:wait(30)
      disk.look(seen)
      disk.shell("rm -rf '%s/cp/job/db'", disk.root)
      local broken = h.expect_exit(h.start(checkpoint "verify"), 5)
      assert.is_truthy(broken:err():find("the newest is " .. name, 1, true), broken:err())
      h.run(checkpoint("restore", name, "--yes"))
      h.expect_exit(disk.start(), 0)
      disk.assert_exact(seen)
      local manifest = ("%s/cp/job/copies/%s/manifest"):format(disk.root, name)
      disk.shell("printf x >>'%s'", manifest)
      broken = h.expect_exit(h.start(checkpoint "verify"), 5)
      assert.is_truthy(broken:err():find(manifest, 1, true), broken:err())
      broken = h.expect_exit(h.start(checkpoint("restore", name, "--yes")), 5)
      assert.is_truthy(broken:err():find(manifest, 1, true), broken:err())
   end)
end)
