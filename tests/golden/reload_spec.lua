-- SPDX-License-Identifier: Apache-2.0
-- What `tidemark reload` and `replay` are told of a comparison, before anybody is asked.
local h = require "harness"

describe("a comparison of two versions", function()
   before_each(h.begin)

   local refused = {
      { { "reload", "job.lua", "--shadow", "0" }, "--shadow wants a number of epochs, 1 to 50" },
      { { "reload", "job.lua", "--shadow", "51" }, "1 to 50, not \"51\"" },
      { { "reload", "job.lua", "--shadow", "ten" }, "not \"ten\"" },
      { { "wordcount", "-w", "--shadow", "ten" }, "not \"ten\"" },
      { { "wordcount", "-w", "--max-diff", "1%" }, "wants to know on how many epochs" },
      { { "reload", "job.lua", "--max-diff", "1%" }, "wants to know on how many epochs" },
      { { "reload", "job.lua", "--shadow", "1", "--max-diff", "0.1" }, "a share such as 0.1%" },
      { { "reload", "job.lua", "--shadow", "1", "--max-diff", "101%" }, "not \"101%\"" },
      { { "replay", "case.tide", "--job", "job.lua", "--diff", "--max-diff", "few" },
        "not \"few\"" },
      { { "replay", "case.tide", "--failures" }, "say which with --job FILE" },
      { { "replay", "case.tide", "--job", "job.lua", "--failures", "--diff" }, "no --diff" },
      { { "replay", "case.tide", "--max-diff", "1%" }, "--max-diff goes with --diff" },
   }
   for _, case in ipairs(refused) do
      it("is refused to " .. table.concat(case[1], " "), function()
         local said = h.run(case[1], nil, 2):err()
         assert.truthy(said:find(case[2], 1, true), said)
      end)
   end
end)
