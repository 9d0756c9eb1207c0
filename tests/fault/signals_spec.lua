-- SPDX-License-Identifier: Apache-2.0
-- SIGTERM in every state of a job: it ends within ten seconds, well, and what it
-- left is gone on from, one stop after another on one checkpoint. At the end every
-- sink and the state are exact.
local h = require "harness"
local oracle = require "oracle"
local row = require("column").row "signals"

local end_s = h.sanitized and 40 or 10
local limit_s = h.sanitized and 240 or 90
local delay_ms = 1500

-- --- States --------------------------------------------------------------------------

-- Places that every start and every epoch pass; some only behind a kill elsewhere.
local places = {
   "lock", "open", "adopt", "recover", "kafka_connect", "kafka_init", "kafka_memory",
   "kafka_warm", "place", "run", "barrier", "hand", "check", "decide", "batch", "decided",
   "anchor", "anchor_sync", "release", "publish", "published", "files_data", "files_write",
   "files_sync", "files_manifest", "files_manifest_sync", "files_manifest_rename",
   "files_rename", "files_dir", "files_done", "kafka_begin", "kafka_send", "kafka_flush",
   "kafka_offsets", "kafka_commit", "kafka_committed",
}
local behind_a_kill = { anchor_mend = "decided=kill@1", replay = "decided=kill@2",
                        files_settle = "files_rename=kill@1" }

local Chain = {}
Chain.__index = Chain

function Chain:save()
   local path = h.path "job.lua"
   local sinks = ('tide.files { path = %q, every = "20ms", mode = "update" }, ' ..
                  'tide.kafka { topic = %q, key = "key", mode = "update" }'):format(self.files,
                                                                                    self.to)
   h.write_file(path .. ".new", oracle.job(sinks, { version = self.version,
      note = (":filter(function() return %d > 0 end)"):format(self.notes) }))
   assert(os.rename(path .. ".new", path))
end

function Chain:start(failpoint, brokers, ...)
   self.trace = h.write_file(h.path "trace", "")
   return h.start({ "run", h.path "job.lua", "-b", brokers or h.brokers, "--topic", self.from,
                    "--no-ui", "--checkpoint-dir", self.checkpoint, "--memory", "256MB",
                    "--max-records-per-batch", 40, ... },
                  { env = { TIDEMARK_FAILPOINT = failpoint,
                            TIDEMARK_FAILPOINT_TRACE = self.trace } })
end

function Chain:passed(name)
   return h.read_file(self.trace):find("\n" .. name .. "\n", 64, true)
end

function Chain:reaches(name, job)
   h.eventually(name, function() return self:passed(name) end, job)
end

--- Told to end, it does so in time; the longest is on record.
function Chain:stop(job, code)
   job:kill "TERM"
   local began = h.process.now()
   local got, signal = job:wait(limit_s)
   local took = h.process.now() - began
   if signal == 15 and job:err() == "" then
      return -- It had not begun: on a busy machine that takes a while.
   end
   assert.are.same({ code or 0 }, { got, signal }, job:err())
   assert.is_true(took <= end_s, ("it took %.1f s to end\n%s"):format(took, job:err()))
   self.longest = math.max(self.longest, took)
end

local states = {}

local function state(name, strike)
   states[#states + 1] = { name = name, strike = strike }
end

state("starting", function(chain)
   local job = chain:start()
   h.process.pause(row:random(400))
   chain:stop(job)
end)

state("where nothing listens", function(chain)
   local job = chain:start(nil, "127.0.0.1:" .. h.process.free_ports(1)[1])
   h.process.pause(200 + row:random(1500))
   chain:stop(job)
end)

state("where what listens is mute", function(chain)
   local port, close = h.process.silent_listener()
   h.at_end(close)
   local job = chain:start(nil, "127.0.0.1:" .. port)
   h.process.pause(200 + row:random(1500))
   chain:stop(job)
end)

state("in the middle of epochs, of a broker that answers no more", function(chain)
   local broker = tonumber(h.read_file(h.kafka_dir .. "/pid"))
   local job = chain:start()
   chain:reaches("published", job)
   h.process.kill_pid(broker, "STOP")
   h.at_end(function() h.process.kill_pid(broker, "CONT") end)
   h.process.pause(row:random(1500))
   local well, why = pcall(chain.stop, chain, job)
   h.process.kill_pid(broker, "CONT")
   assert(well, why)
end)

state("loaded", function(chain)
   local job = chain:start()
   chain:reaches("published", job)
   h.process.pause(row:random(500))
   chain:stop(job)
end)

state("twice", function(chain)
   local job = chain:start "publish=delay:60000@1"
   chain:reaches("publish=delay", job)
   job:kill "TERM"
   -- Two that come together may be one; so again until it has ended.
   local began = h.process.now()
   h.process.poll_until(limit_s, function()
      job:kill "TERM"
      return job:ended()
   end)
   assert.are.equal(143, job.code, job:err())
   assert.is_true(h.process.now() - began <= end_s)
end)

state("reloading", function(chain)
   local job = chain:start("reload=delay:" .. delay_ms .. "@1")
   chain:reaches("hand", job)
   chain.notes = chain.notes + 1
   chain:save()
   h.start { "reload", h.path "job.lua", "--checkpoint-dir", chain.checkpoint }
   chain:reaches("reload=delay", job)
   chain:stop(job)
end)

state("migrating", function(chain)
   chain.version = chain.version + 1
   chain:save()
   local job = chain:start("migrate=delay:" .. delay_ms .. "@1")
   chain:reaches("migrate=delay", job)
   chain:stop(job)
end)

for name, before in pairs(behind_a_kill) do
   state("at " .. name .. " behind a kill", function(chain)
      local killed = chain:start(before)
      local _, signal = killed:wait(limit_s)
      assert.are.equal(h.process.signals.KILL, signal, killed:err())
      local job = chain:start(("%s=delay:%d@1"):format(name, delay_ms))
      chain:reaches(name .. "=delay", job)
      chain:stop(job)
   end)
end

for _, name in ipairs(places) do
   state("at " .. name, function(chain)
      local job = chain:start(("%s=delay:%d@1"):format(name, delay_ms))
      chain:reaches(name .. "=delay", job)
      chain:stop(job)
   end)
end

table.sort(states, function(a, b) return a.name < b.name end)

-- Each state comes once before one comes again; where that begins is the seed's.
local function chosen()
   local list = {}
   if row.soak then
      for i = row.first, row.first + row.count - 1 do
         list[#list + 1] = states[(i - 1) % #states + 1]
      end
      return list
   end
   local rest = {}
   for _, one in ipairs(states) do
      local to = one.name:find "^at " and rest or list
      to[#to + 1] = one
   end
   while #list < row.count and #rest > 0 do
      list[#list + 1] = table.remove(rest, row:random(#rest))
   end
   return list
end

-- --- The spec ------------------------------------------------------------------------

describe("SIGTERM", function()
   before_each(h.begin)

   local strikes = chosen()
   it(("in %d states ends a job within %d s, and all stays exact, SEED=%d")
         :format(#strikes, end_s, row.seed), function()
      local chain = setmetatable({ from = h.topic(2), to = h.topic(3, "out"), version = 1,
                                   notes = 1, files = h.path "rows",
                                   checkpoint = h.path "cp", longest = 0 }, Chain)
      chain:save()
      local source = h.start { "produce", chain.from, "-b", h.brokers, "--generator", "words",
                               "--rate", 250 }
      local first = chain:start()
      chain:reaches("published", first)
      chain:stop(first)
      for _, one in ipairs(strikes) do
         local well, why = pcall(one.strike, chain)
         if not well then
            error(("%s, SEED=%d: %s"):format(one.name, row.seed, tostring(why)), 0)
         end
      end
      source:kill "TERM"
      h.expect_exit(source, 0)
      h.expect_exit(chain:start(nil, nil, "--until-end"), 0, limit_s * 2)
      local counts = oracle.counts(chain.from)
      oracle.check("files", oracle.file_rows(chain.files), counts, false, true)
      oracle.check("Kafka", oracle.topic_rows(chain.to, 3), counts, false, true)
      assert.are.same({ counts[1], counts[2] }, (function()
         local next_offsets = h.next_offsets(chain.checkpoint, chain.from)
         return { next_offsets[0], next_offsets[1] }
      end)())
      row:tally(#strikes, ("the longest took %.1f s, %d records"):format(
         chain.longest, counts[1] + counts[2]))
   end)
end)
