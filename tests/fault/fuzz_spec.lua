-- SPDX-License-Identifier: Apache-2.0
-- Every fuzzer at length, for a soak; `make test` has the suite fuzz for it.
local h = require "harness"
local row = require("column").row "fuzz"

if row.soak then
   describe("fuzzers", function()
      before_each(h.begin)

      it("find nothing", function()
         local job = h.spawn({ "tests/suite", "fuzz" }, { cwd = h.root, env = {
            FUZZ_SECONDS = row.count, SEED = row:random(1000000) } })
         -- They run two at a time, or more; and are built first.
         h.expect_exit(job, 0, row.count * 20 + 3600)
         local runs, fuzzers = 0, 0
         for count in job:out():gmatch "Done (%d+) runs" do
            runs, fuzzers = runs + tonumber(count), fuzzers + 1
         end
         row:tally(row.count * fuzzers, ("%d runs of %d fuzzers"):format(runs, fuzzers))
      end)
   end)
end
