-- SPDX-License-Identifier: Apache-2.0
-- Every nth allocation of ours fails, in memory.c under ASan: in decoders, in
-- opening, deciding and reading a checkpoint, and in the start and the epochs of a
-- whole job. CI does the decoders whole and draws from the rest; a soak does all.
-- What C++ takes in RocksDB, and C in librdkafka, is theirs: they end the process.
local h = require "harness"
local row = require("column").row "memory"

-- Those with `draws` take time: CI strikes so often, in twos.
local scenarios = {
   { "meta" }, { "rows" }, { "recording" }, { "json" }, { "config" },
   { "checkpoint", draws = 10 }, { "start", draws = 2 }, { "epoch", draws = 4 },
}

local driver = h.root .. "/build/asan/fault/memory"
local limit_s = 600

describe("an allocation that fails", function()
   local struck = 0
   before_each(h.begin)

   it("has a driver", function()
      h.expect_exit(h.spawn({ "make", "-s", "-j2", "FLAVOUR=asan", "build/asan/fault/memory" },
                            { cwd = h.root }), 0, limit_s)
   end)

   local function strike(name, first, count)
      local job = h.spawn({ driver, name, tostring(first), tostring(count) }, { cwd = h.root })
      h.expect_exit(job, 0, limit_s * 10)
      local failed, total = job:out():match "(%d+) failed", job:out():match "failed of (%d+)"
      struck = struck + tonumber(failed)
      return tonumber(failed), tonumber(total)
   end

   for _, scenario in ipairs(scenarios) do
      local name = scenario[1]
      it(("in %s ends well, SEED=%d"):format(name, row.seed), function()
         if not scenario.draws then
            local failed, total = strike(name, 1, 1000000)
            assert.is_true(failed > 10 and failed <= total)
            return
         end
         -- How many there are is what one that never comes has seen.
         local _, all = strike(name, 1000000000, 1)
         assert.is_true(all > 50)
         if row.soak then
            -- Most are of the Lua that makes a plan: two thousand stand for all.
            local list, stride = {}, math.max(1, math.floor(all / 2000))
            for i = row:random(stride), all, stride do
               list[#list + 1] = i
            end
            local part = row:share(list)
            for _, first in ipairs(part) do
               strike(name, first, 1)
            end
            return
         end
         for _ = 1, scenario.draws do
            strike(name, row:random(all), 2)
         end
      end)
   end

   it("has struck", function()
      assert.is_true(struck > 0)
      row:tally(struck)
   end)
end)
