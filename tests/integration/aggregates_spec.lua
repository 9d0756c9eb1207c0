-- SPDX-License-Identifier: Apache-2.0
-- Aggregates over restarts: what a state holds is the same whether it stayed in
-- memory, came back from disk, or was made by one worker or by four.
local h = require "harness"

local job_text = [[
local spread = tide.aggregator {
   returns = "string", state = { counts = "int[4]", last = "text(8)", seen = "sketch" },
   add = function(s, v)
      s.counts[v % 4 + 1] = s.counts[v % 4 + 1] + 1
      s.seen:add(v)
   end,
   merge = function(s, o)
      for i = 1, 4 do s.counts[i] = s.counts[i] + o.counts[i] end
      s.seen:merge(o.seen)
      s.last = "merged"
   end,
   result = function(s)
      return ("%d %d %d %d %d %s"):format(s.counts[1], s.counts[2], s.counts[3], s.counts[4],
         s.seen:count(), s.last)
   end,
}
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :json { "k:string", "v:int", "t:int" }
   :group_by("k")
   :aggregate {
      tide.count() :as "n", tide.avg "v" :as "mean", tide.stddev_pop "v" :as "spread",
      tide.min "v" :as "least", tide.max "k" :as "k2", tide.first("v", { by = "t" }) :as "first",
      tide.last("v", { by = "t" }) :as "last", tide.moving_avg("v", 3, { by = "t" }) :as "moving",
      tide.approx_count_distinct "v" :as "kinds", tide.approx_percentile("v", 0.5) :as "p50",
      tide.approx_percentile("v", 0.95) :as "p95", tide.top_k("v", 2) :as "top",
      spread "v" :as "own",
   }
   :to(tide.console { mode = "complete" })
]]

local function run(topic, workers, dir)
   return h.run { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end",
                  "--no-ui", "--workers", workers, "--checkpoint-dir", h.path(dir),
                  "--output", "json" }
end

local function last_row(proc, key)
   local found
   for line in proc:out():gmatch "[^\n]+" do
      if line:find(('"k":"%s"'):format(key), 1, true) then
         found = line
      end
   end
   return found
end

-- Values of two keys, spread over the partitions by their number.
local function records(first, last)
   local list = {}
   for i = first, last do
      list[#list + 1] = { partition = i % 3, value = ('{"k":"%s","v":%d,"t":%d}')
         :format(i % 10 == 0 and "rare" or "often", i * i % 97, i * 7919 % 1009) }
   end
   return list
end

describe("aggregates", function()
   before_each(function()
      h.begin()
      h.job(job_text)
   end)

   it("are the same over restarts and with any number of workers", function()
      local topic = h.topic(3)
      h.produce(topic, records(1, 300))
      run(topic, 1, "restarted")
      h.produce(topic, records(301, 310))
      run(topic, 4, "restarted")
      h.produce(topic, records(311, 900))
      local restarted = run(topic, 2, "restarted")
      local straight = run(topic, 1, "straight")
      for _, key in ipairs { "rare", "often" } do
         local row = last_row(straight, key)
         assert.truthy(row)
         assert.are.equal(row, last_row(restarted, key))
         local state = h.run { "state", "get", h.path "job.lua", key, "--checkpoint-dir",
                               h.path "restarted", "--output", "json" }
         assert.are.equal(row, last_row(state, key))
      end
   end)
end)
