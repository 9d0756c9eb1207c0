-- SPDX-License-Identifier: Apache-2.0
-- How many states there are, as progress says it, is how many there are: random
-- rows, memory for few of them, restarts, kills and other numbers of workers.
-- SEED=n repeats a run.
require "tests.spec.helper"
local testing = require "tidemark.testing"

local EPOCHS, KEYS = 16, 3000
local START_MS = 1704067200000 -- 2024-01-01

local head = [[
local tide = require "tidemark"
local rows = tide.from(tide.kafka { topic = "t" }):json { "id:int", "at:timestamp" }
   :watermark("at", "10m", { max_ahead = false })
]]

local kinds = {
   keys = [[ rows:group_by("id", { name = "keys" }):count()
      :to(tide.console { name = "keys", mode = "update" }) ]],
   append = [[ rows:group_by("id", { name = "append" }):window("10m", "5m"):count()
      :to(tide.console { name = "append", mode = "append" }) ]],
   update = [[ rows:group_by("id", { name = "update" }):window("20m"):count()
      :to(tide.console { name = "update", mode = "update" }) ]],
   complete = [[ rows:group_by("id", { name = "complete" }):window("1h"):count()
      :to(tide.console { name = "complete", mode = "complete" }) ]],
   sessions = [[ rows:group_by("id", { name = "sessions" }):session("4m"):count()
      :to(tide.console { name = "sessions", mode = "append" }) ]],
   first = [[ rows:dedup { by = "id", within = "15m", name = "first" }
      :to(tide.console { name = "first" }) ]],
   latest = [[ rows:dedup { by = "id", within = "15m", keep = "latest", name = "latest" }
      :to(tide.console { name = "latest" }) ]],
   dedup_then_windows = [[ rows:dedup { by = "id", within = "10m", name = "dedup" }
      :group_by("id", { name = "behind" }):window("10m"):count()
      :to(tide.console { name = "behind", mode = "append" }) ]],
}

local function job_of(names)
   local list = {}
   for i, name in ipairs(names) do
      list[i] = kinds[name]
   end
   return head .. "return { " .. table.concat(list, ",\n") .. " }"
end

local random -- of the running test

local function feed(job, epoch)
   for _ = 1, random(0, 900) do
      local late = random(20) == 1 and random(3600) or random(600)
      job:feed { partition = random(0, 2), value = ('{"id":%d,"at":%d}'):format(random(KEYS),
         START_MS + (epoch * 240 - late) * 1000) }
   end
end

local function check(job, what)
   assert.equal(job:number "state_rows_stored", job:number "state_rows", what)
end

local function play(names, seed)
   math.randomseed(seed)
   random = math.random
   local job = testing.job(job_of(names), { workers = random(4), partitions = 3,
                                            memory = random(64, 256) * 1024,
                                            now = "2024-01-02T00:00:00Z" })
   local made, let_go, evicted = 0, 0, false
   for epoch = 1, EPOCHS do
      local before = job:number "state_rows"
      local what = ("epoch %d, SEED=%d"):format(epoch, seed)
      feed(job, epoch)
      job:epoch()
      check(job, what)
      made = math.max(made, job:number "state_rows" - before)
      let_go = math.max(let_go, before - job:number "state_rows")
      evicted = evicted or job:number "state_rows_held" < job:number "state_rows"
      if random(3) == 1 then
         job:restart { workers = random(4), crash = random(2) == 1 }
         check(job, what .. ", started again")
      end
   end
   -- A row a day ahead ends all that can end.
   local before = job:number "state_rows"
   job:feed { partition = 0, value = ('{"id":1,"at":%d}'):format(START_MS + 86400000) }
   job:run()
   check(job, "SEED=" .. seed)
   let_go = math.max(let_go, before - job:number "state_rows")
   job:close()
   return made, let_go, evicted
end

describe("as many states as there are", function()
   local seed = tonumber(os.getenv "SEED") or os.time()
   print("SEED=" .. seed)

   for name in pairs(kinds) do
      it("are on record: " .. name, function()
         local made, _, evicted = play({ name }, seed)
         assert.is_true(made > 0)
         assert.is_true(evicted, "nothing was evicted, SEED=" .. seed)
      end)
   end

   it("are on record for a job with everything", function()
      local names = {}
      for name in pairs(kinds) do
         names[#names + 1] = name
      end
      table.sort(names)
      local _, let_go, evicted = play(names, seed + 1)
      assert.is_true(let_go > 0)
      assert.is_true(evicted)
   end)
end)
