-- SPDX-License-Identifier: Apache-2.0
-- Two topics as one stream on a real Kafka, into windows, with a topic for what
-- comes too late: each record ends in exactly one of them, whatever kills the job.
local h = require "harness"
local cjson = require "cjson"

local job_text = [[
local web = tide.from(tide.kafka { topic = "%s" }):json { "id:int", "user:string", "ts:timestamp" }
local app = tide.from(tide.kafka { topic = "%s" })
   :json { "who=user:string", "id:int", "at=ts:timestamp" }
   :map(function(row) return row.id, row.at, row.who end,
        { "id:int", "ts:timestamp", "user:string" })
return web:union(app)
   :watermark("ts", "1h")
   :group_by("user"):window("10m"):late_to(tide.kafka { topic = "%s", key = "user" })
   :aggregate { tide.count() :as "n", tide.sum "id" :as "ids" }
   :to(tide.kafka { topic = "%s", key = "user", mode = "append" })
]]

local USERS, START = 7, 1704103200 -- 2024-01-01T10:00:00Z

-- A record of minute `minute`; ids are told apart by their sum, too.
local function event(id, minute)
   return { id = id, user = "u" .. id % USERS, minute = minute,
            record = { key = "u" .. id % USERS, partition = id % 3,
                       value = cjson.encode { id = id * id, user = "u" .. id % USERS,
                          ts = os.date("!%Y-%m-%dT%H:%M:%SZ", START + minute * 60) } } }
end

local function records_of(events, first, last)
   local list = {}
   for i = first, last do
      list[#list + 1] = events[i].record
   end
   return list
end

-- Three rounds: an hour of data; one record three hours later, which closes all of
-- that; and data of both times, of which the old is late. Then one that closes all.
local function rounds(count)
   local first, later, mixed = {}, { event(count + 1, 240) }, {}
   for id = 1, count do
      first[id] = event(id, id % 60)
      mixed[id] = event(2 * count + id, id % 3 == 0 and id % 50 or 200 + id % 50)
   end
   return { first, later, mixed, { event(3 * count + 1, 1000) } }
end

-- What must be in the windows, as lines, and in the topic of late rows.
local function expected(list)
   local windows, late = {}, {}
   for round, events in ipairs(list) do
      for _, one in ipairs(events) do
         local id = ("%d"):format(one.id * one.id)
         if round == 3 and one.minute < 180 then
            late[#late + 1] = id
         elseif round < 4 then
            local start = os.date("!%H:%M", START + math.floor(one.minute / 10) * 600)
            local key = start .. " " .. one.user
            local sums = windows[key] or { n = 0, ids = 0 }
            windows[key] = { n = sums.n + 1, ids = sums.ids + one.id * one.id }
         end
      end
   end
   local lines = {}
   for key, sums in pairs(windows) do
      lines[#lines + 1] = ("%s %d %d"):format(key, sums.n, sums.ids)
   end
   table.sort(lines)
   table.sort(late)
   return lines, late
end

local function follow(topic)
   return h.spawn { h.root .. "/build/" .. h.flavour .. "/kadmin", "-b", h.brokers, "follow",
                    topic }
end

local function values_of(reader, count, text_of)
   local lines
   h.eventually(count .. " committed rows", function()
      lines = {}
      for i, record in ipairs(h.json_lines(reader:out())) do
         lines[i] = text_of(cjson.decode(record.value))
      end
      return #lines >= count
   end)
   table.sort(lines)
   return lines
end

describe("two topics as one stream", function()
   local count = h.sanitized and 300 or 1200
   local web, app, out, late

   before_each(function()
      h.begin()
      web, app, out, late = h.topic(3, "web"), h.topic(3, "app"), h.topic(2, "out"),
         h.topic(2, "late")
      h.job(job_text:format(web, app, late, out))
   end)

   local function args(workers)
      return { "run", h.path "job.lua", "-b", h.brokers, "--until-end", "--no-ui",
               "--checkpoint-dir", h.path "cp", "--max-records-per-batch", count / 4,
               "--workers", workers, "--progress", h.path "progress" }
   end

   -- The first round has nothing to publish yet.
   for _, case in ipairs { { 1, "decide", 1 }, { 4, "decided", 1 }, { 4, "kafka_committed", 3 },
                           { 1, "published", 3 } } do
      local workers, point, first = unpack(case)

      it(("are in windows or late, each record once, after kills at %s (%d worker%s)"):format(
         point, workers, workers > 1 and "s" or ""), function()
         local list = rounds(count)
         local windows, too_late = expected(list)
         local rows, late_rows = follow(out), follow(late)
         for round, events in ipairs(list) do
            local half = math.floor(#events / 2)
            if half > 0 then
               h.produce(web, records_of(events, 1, half))
            end
            h.produce(app, records_of(events, half + 1, #events))
            if #events > 1 and round >= first then
               local job = h.start(args(workers), { env = {
                  TIDEMARK_FAILPOINT = ("%s=kill@%d"):format(point, 2) } })
               local _, signal = job:wait(120)
               assert.are.equal(h.process.signals.KILL, signal, job:err())
            end
            h.run(args(round % 2 == 0 and workers or 5 - workers))
         end
         assert.are.same(windows, values_of(rows, #windows, function(row)
            return ("%s %s %d %d"):format(row.window_start:match "T(%d+:%d+)", row.user, row.n,
                                          row.ids)
         end))
         assert.are.same(too_late, values_of(late_rows, #too_late, function(row)
            return ("%d"):format(row.id)
         end))
         local progress = h.progress()
         local known = progress[#progress].late[1]
         assert.are.equal(#too_late, known.numRowsLate)
         assert.are.equal(2 * count + 2, known.numRows)
         assert.are.equal(USERS, known.affectedKeys)
         assert.are.equal(#too_late, progress[#progress].rowsLate)
         for _, topic in ipairs { web, app } do
            local all = h.offsets(h.path "cp")
            assert.is_truthy(all[#all][topic], "no offsets of " .. topic)
         end
      end)
   end

   it("are not read for one that the command line names", function()
      local list = args(1)
      list[#list + 1] = "--topic"
      list[#list + 1] = web
      local job = h.run(list, nil, 2)
      assert.is_truthy(job:err():find("is one topic, and this job reads several", 1, true))
   end)
end)
