-- SPDX-License-Identifier: Apache-2.0
-- kill -9 at random moments: the final counts are exact each time (E40-B1).
--
-- Small batches, and fail points that stretch every phase of an epoch, make
-- most kills land inside one; the phase is read from the trace that survives.
-- SEED= replays the moments.
local h = require "harness"
local null = require("cjson").null
local row = require("column").row "kills"

local kills = h.sanitized and 10 or row.count

local repeats = 1000
local phases = "run=delay:8,barrier=delay:8,decide=delay:8,decided=delay:8,publish=delay:8"

local function v1_records(times)
   local auth = { { "authorization", "" } }
   local records = {}
   for i = 0, times * 11 - 1 do
      local n = i % 11 + 1
      records[#records + 1] = {
         key = n <= 4 and "order order" or n <= 8 and "order" or null,
         value = (n <= 6 or n >= 9) and "widget" or null,
         headers = n <= 3 and auth or n == 4 and { auth[1], auth[1] } or nil,
         partition = i % 3,
      }
   end
   return records
end

local function start_job(topic, env)
   return h.start({ "wordcount", "-b", h.brokers, "--topic", topic, "--from", "earliest",
                    "--checkpoint-dir", h.path "cp", "--no-ui", "--output", "json",
                    "--max-records-per-batch", math.floor(repeats * 11 / (kills * 6)),
                    "--workers", 2 }, { env = env })
end

-- Fold what was printed over all runs: counts only ever grow.
local function fold(into, text)
   for _, seen in ipairs(h.json_lines(text)) do
      local name = seen.field .. " " .. seen.word
      into[name] = math.max(into[name] or 0, seen.count)
   end
end

-- What was passed last when the process died: "starting" until the first epoch
-- begins (a start also decides, where it begins), then a place or "idle".
local function phase_of(path)
   local trace = h.read_file(path)
   if not trace:find("\nrun\n", 64, true) then
      return "starting"
   end
   local place = trace:match("^[^%z]*")
   return place == "arena" and "run" or place
end

describe("kill -9", function()
   before_each(h.begin)

   it(("%d times leaves every count exact (SEED=%d)"):format(kills, row.seed), function()
      local topic = h.topic(3)
      h.produce(topic, v1_records(repeats))
      local counts, landed, inside = {}, {}, 0
      local trace = h.path "trace"
      for n = 1, kills do
         h.write_file(trace, "")
         local job = start_job(topic, { TIDEMARK_FAILPOINT = phases,
                                        TIDEMARK_FAILPOINT_TRACE = trace })
         -- One in ten dies while it starts or recovers.
         if n % 10 ~= 0 then
            h.eventually("the first epoch of run " .. n, function()
               return phase_of(trace) ~= "starting"
            end, job)
         end
         h.process.pause(row:random(121) - 1)
         assert.is_falsy(job:ended(), "run " .. n .. " ended by itself: " .. job:err())
         job:kill "KILL"
         job:wait(10)
         fold(counts, job:out())
         local phase = phase_of(trace)
         if phase ~= "starting" and phase ~= "idle" then
            inside = inside + 1
         end
         landed[phase] = (landed[phase] or 0) + 1
      end

      local last = h.run({ "wordcount", "-b", h.brokers, "--topic", topic, "--until-end",
                           "--checkpoint-dir", h.path "cp", "--no-ui", "--output", "json" })
      fold(counts, last:out())
      local where = {}
      for phase, count in pairs(landed) do
         where[#where + 1] = ("%s %d"):format(phase, count)
      end
      table.sort(where)
      row:tally(kills, ("%d inside an epoch: %s"):format(inside, table.concat(where, ", ")))
      assert.are.same({ ["header authorization"] = 5 * repeats, ["key order"] = 12 * repeats,
                        ["value widget"] = 9 * repeats, ["stats no-key"] = 3 * repeats,
                        ["stats no-header"] = 7 * repeats, ["stats no-value"] = 2 * repeats },
                      counts)
      assert.is_true(inside >= kills * 0.8, inside .. " kills landed inside an epoch")
   end)
end)
