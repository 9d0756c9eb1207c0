-- SPDX-License-Identifier: Apache-2.0
-- The bundled articles job on a real Kafka: each version once, whatever kills it.
local cjson = require "cjson"
local h = require "harness"

local function article(id, second, version)
   return { key = id, value = cjson.encode { id = id, title = version,
      published_at = ("2024-01-01T10:%02d:%02dZ"):format(second / 60 % 60, second % 60) } }
end

local function args(topic, more)
   local list = { "dedup", "-b", h.brokers, "--topic", topic, "--until-end", "--no-ui",
                  "--checkpoint-dir", h.path "cp", "--output", "json",
                  "--max-records-per-batch", 100 }
   for _, arg in ipairs(more or {}) do
      list[#list + 1] = arg
   end
   return list
end

-- id -> titles in the order they were printed.
local function versions(text)
   local found = {}
   for _, row in ipairs(h.json_lines(text)) do
      found[row.id] = found[row.id] or {}
      table.insert(found[row.id], row.title)
   end
   return found
end

describe("the articles job", function()
   before_each(function() h.begin() end)

   it("lets no id out twice over a restart", function()
      local topic = h.topic(3)
      local records, expected = {}, {}
      for i = 1, 1000 do
         records[i] = article("a" .. i, 1 + i % 1000, "one")
         expected["a" .. i] = { "one" }
      end
      h.produce(topic, records)
      local printed = h.run(args(topic)):out()
      records = {}
      for i = 901, 1900 do
         -- The first hundred are there already, a second newer.
         records[#records + 1] = article("a" .. i, i <= 1000 and i % 1000 or 1200,
                                         i <= 1000 and "old" or "one")
         expected["a" .. i] = { "one" }
      end
      h.produce(topic, records)
      printed = printed .. h.run(args(topic, { "--workers", 3 })):out()
      assert.are.same(expected, versions(printed))
   end)

   for _, point in ipairs { "barrier", "decide", "decided", "published" } do
      it("puts out each newer version after kills at " .. point, function()
         local topic = h.topic(2)
         local records = {}
         for round = 1, 3 do
            for i = 1, 100 do
               records[#records + 1] = article("a" .. i, round * 10, "v" .. round)
            end
            h.produce(topic, records)
            records = {}
         end
         local printed = ""
         for hit = 1, 2 do
            local job = h.start(args(topic), { env = {
               TIDEMARK_FAILPOINT = ("%s=kill@%d"):format(point, hit) } })
            local _, signal = job:wait(120)
            assert.are.equal(h.process.signals.KILL, signal, job:err())
            printed = printed .. job:out()
         end
         printed = printed .. h.run(args(topic)):out()
         local found = versions(printed)
         for i = 1, 100 do
            local list = found["a" .. i]
            assert.is_truthy(list, "a" .. i .. " is missing")
            assert.are.equal("v3", list[#list])
            -- The console may show an epoch again; versions never go back in one.
            assert.is_true(#list <= 6)
         end
      end)
   end

   it("forgets ids whose time is over while nothing comes, also when started again", function()
      local topic = h.topic(2)
      local records = {}
      for i = 1, 300 do
         records[i] = article("a" .. i, i, "one")
      end
      local function start(workers)
         local list = args(topic, { "--workers", workers, "--progress", h.path "progress" })
         table.remove(list, 6) -- it does not end
         assert(list[6] == "--no-ui")
         return h.start(list)
      end
      local function states()
         local epochs = h.progress()
         local newest = epochs[#epochs]
         return newest and newest.stateOperators[1].numRowsTotal
      end
      local function verified()
         h.run { "checkpoint", "verify", "--checkpoint-dir", h.path "cp" }
      end
      h.produce(topic, records)
      local job = start(2)
      h.eventually("300 ids", function() return states() == 300 end, job)
      job:kill "INT"
      h.expect_exit(job, 0)
      verified()
      -- The one after them is six hours later, and the watermark two behind it.
      h.produce(topic, { { key = "late", value = cjson.encode { id = "later", title = "one",
         published_at = "2024-01-01T16:30:00Z" } } })
      job = start(1)
      h.eventually("one id", function() return states() == 1 end, job)
      job:kill "INT"
      h.expect_exit(job, 0)
      verified()
   end)

   it("knows of no id after a reset that clears the state, and counts them anew", function()
      local topic = h.topic(2)
      local records, ids = {}, {}
      for i = 1, 250 do
         records[i], ids["a" .. i] = article("a" .. i, i, "one"), { "one" }
      end
      h.produce(topic, records)
      local job = h.path "job.lua"
      h.write_file(job, [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t", start = "earliest" })
   :json { "id:string", "published_at:timestamp", "title:string" }
   :watermark("published_at", "2h")
   :dedup { by = "id" }
   :to(tide.console {})
]])
      local function command(...)
         return h.run { "offsets", "reset", job, "-b", h.brokers, "--topic", topic, ... }
      end
      local function run(states)
         local out = h.run { "run", job, "-b", h.brokers, "--topic", topic, "--until-end",
                             "--no-ui", "--checkpoint-dir", h.path "cp", "--output", "json",
                             "--progress", h.path "progress" }:out()
         local epochs = h.progress()
         assert.are.equal(states, epochs[#epochs].stateOperators[1].numRowsTotal)
         h.run { "checkpoint", "verify", "--checkpoint-dir", h.path "cp" }
         return versions(out)
      end
      assert.are.same(ids, run(250))
      command("--checkpoint-dir", h.path "cp", "--to", "earliest", "--state", "clear", "--yes")
      h.run { "checkpoint", "verify", "--checkpoint-dir", h.path "cp" }
      assert.are.same(ids, run(250))
   end)
end)
