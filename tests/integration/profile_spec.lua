-- SPDX-License-Identifier: Apache-2.0
-- A running job that is profiled while new versions of it take over, and a profile
-- of a topic's newest records.
local h = require "harness"

local template = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec)
      local n = 0
      for word in ("a b c d e f g h"):rep(20):gmatch "%%a" do n = n + #word end
      return "%s", n
   end, { "version:string", "n:int" })
   :group_by("version")
   :sum("n")
   :to(tide.console { mode = "update" })
]]
local SLOW = "%% +%d* +5 |       for word in"

describe("a profile", function()
   local topic
   before_each(function()
      h.begin()
      topic = h.topic(2)
      h.expect_exit(h.start { "produce", topic, "-b", h.brokers, "--generator", "words",
                              "--count", 20000 }, 0)
   end)

   it("follows the version that runs, and is on stderr at the end", function()
      local function save(version)
         h.job(template:format(version), "job.lua.new")
         assert(os.rename(h.path "job.lua.new", h.path "job.lua"))
      end
      save "A"
      local job = h.start { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
                            "--checkpoint-dir", h.path "cp", "--output", "json", "--workers", 2,
                            "--max-records-per-batch", 2000, "--profile-lua" }
      h.eventually("rows of A", function() return job:out():find '"A"' end, job)
      save "B"
      h.run { "reload", h.path "job.lua", "--checkpoint-dir", h.path "cp" }
      h.run { "produce", topic, "-b", h.brokers, "--generator", "words", "--count", 20000 }
      h.eventually("rows of B", function() return job:out():find '"B"' end, job)
      job:kill "INT"
      h.expect_exit(job, 0)
      assert.is_truthy(job:err():find("== profile: %d+ samples of the processor time of 2 workers"))
   end)

   it("is of the newest records of the job's topic, and commits nothing", function()
      h.job(template:format "A")
      local run = h.run { "profile", h.path "job.lua", "-b", h.brokers, "--topic", topic,
                          "--for", "2s" }
      assert.is_truthy(run:out():find(SLOW), run:out())
      assert.is_nil(run:out():find "error")
   end)
end)
