-- SPDX-License-Identifier: Apache-2.0
-- Bits flip and files are cut short in a checkpoint: none of it is silently wrong.
-- damage.c does it in process; in the soak, to every bit of every file.
local h = require "harness"
local column = require "column"

describe("a damaged checkpoint", function()
   local row = column.row "damage"

   setup(h.begin)

   it(("is refused, repaired or unharmed (SEED=%d)"):format(row.seed), function()
      local k, m = (os.getenv "TIDE_STRETCH" or ""):match "^(%d+)/(%d+)$"
      local program = h.root .. "/build/" .. h.flavour .. "/fault/damage"
      local job = h.spawn(k and { program, "--all", k, m }
                          or { program, "0", tostring(row.count), tostring(row.seed) })
      h.expect_exit(job, 0, 7200)
      local count, files, refused, unharmed, wrong = job:out():match(
         "(%d+) damages to (%d+) files: (%d+) refused, (%d+) harmless or repaired, (%d+) silently")
      assert.are.equal("0", wrong)
      -- It did meet the damage. (All damage of a stretch of the soak may be to a file
      -- that nobody needs.)
      assert.is_true(row.soak or tonumber(refused) > tonumber(count) / 10)
      row:tally(tonumber(count), ("%s files; %s refused, %s harmless or repaired"):format(files,
                refused, unharmed))
   end)
end)
