-- SPDX-License-Identifier: Apache-2.0
-- Every fail point of `tidemark --failpoints`, struck in turn: each is killed
-- there at every run of this spec, and what else can be done there is drawn by
-- the seed (in a soak all of it, at the first three passes).
--
-- Strikes of a chain go on from one another on one checkpoint, so that what a
-- crash leaves is what the next one meets. At the end of a chain nothing is lost
-- or there twice, in any sink (V20), and the state is that of an undisturbed run.
-- TIDE_POINTS="decide=kill@2,anchor=io@1" takes these strikes alone.
local h = require "harness"
local oracle = require "oracle"
local row = require("column").row "points"

local limit_s = h.sanitized and 240 or 90
local all_actions = { kill = true, exit = true, delay = true, stop = true, io = true,
                      enospc = true }

-- How a place is reached where not by an epoch of the job with all sinks.
--   way      "new": on a new checkpoint; "large": with rows and states that are
--            large; "rest": without records; "command": by a command between runs;
--            "reload": when the job's file has changed; "stop": on SIGTERM
--   most     hits that can be had (3)
--   first    the first hit that is of interest: the transaction before is empty
--   before   strike there first, so that there is something to do
--   with     a strike of another place that leads here
--   skip     actions that mean something else there
local ways = {
   lock = { most = 1 }, format = { way = "new", most = 1 }, open = { most = 1 },
   begin = { way = "new", most = 1 }, anchor_make = { way = "new", most = 1 },
   anchor_mend = { before = "decided=kill@1", most = 1 },
   sweep = { way = "large", before = "decide=kill@2", most = 1 },
   adopt = { most = 1 }, migrate = { way = "large", version = true },
   spill = { way = "large", version = true, most = 1 },
   kafka_connect = { most = 1 }, kafka_init = { most = 1 }, kafka_memory = { most = 1 },
   files_settle = { before = "files_rename=kill@1", most = 1 },
   replay = { before = "decided=kill@2", most = 2 }, kafka_warm = { most = 1 },
   place = { most = 2 }, start = { way = "new", most = 1 }, idle = { way = "rest" },
   arena = { most = 1 }, segment = { way = "large" }, segment_sync = { way = "large" },
   segment_dir = { way = "large" }, sst = { way = "large" }, ingest = { way = "large" },
   forget = { way = "large" }, anchor_sync = { most = 1 },
   kafka_trust = { most = 1, skip = { io = true, enospc = true } },
   kafka_begin = { first = 2 }, kafka_flush = { first = 2 }, kafka_offsets = { first = 2 },
   kafka_commit = { first = 2 }, kafka_committed = { first = 2 },
   kafka_abort = { with = "kafka_send=io@2", most = 1 },
   settle = { way = "stop", most = 1 }, close = { way = "stop", most = 1 },
   reload = { way = "reload", most = 1 }, swap = { way = "reload", most = 1 },
   reopen = { way = "reload", version = true, most = 1 },
   reset = { way = "command", most = 1 }, resolve = { way = "command", most = 1 },
}

local function way_of(point)
   return ways[point] or {}
end

-- --- What is struck ----------------------------------------------------------------

local function listed()
   local points = {}
   for line in h.run({ "--failpoints" }):out():gmatch "[^\n]+" do
      local name, room, actions = line:match "^(%S+)%s+(%S+)%s+(%S+)"
      points[#points + 1] = { name = name, room = room, actions = actions }
   end
   return points
end

-- Kills at every point, at a hit that the seed chooses; then the others' share.
local function strikes_of(points)
   local strikes, others = {}, {}
   for _, point in ipairs(points) do
      local way = way_of(point.name)
      local first, last = way.first or 1, (way.first or 1) + (way.most or 3) - 1
      local function strike(action, hit)
         return { point = point.name, room = point.room, action = action, hit = hit }
      end
      if not row.soak then
         strikes[#strikes + 1] = strike("kill", first + row:random(last - first + 1) - 1)
      end
      for action in point.actions:gmatch "%w+" do
         for hit = first, last do
            if (row.soak or action ~= "kill") and not (way.skip or {})[action] then
               others[#others + 1] = strike(action, hit)
            end
         end
      end
   end
   for _, strike in ipairs(row:share(others)) do
      strikes[#strikes + 1] = strike
   end
   return strikes
end

local function chosen(points)
   local wanted = os.getenv "TIDE_POINTS"
   if not wanted then
      return strikes_of(points)
   end
   local strikes, room = {}, {}
   for _, point in ipairs(points) do
      room[point.name] = point.room
   end
   for point, action, hit in wanted:gmatch "([%l_]+)=(%l+)@(%d+)" do
      assert(room[point] and all_actions[action], "no strike: " .. point .. "=" .. action)
      strikes[#strikes + 1] = { point = point, room = room[point], action = action,
                                hit = tonumber(hit) }
   end
   return strikes
end

-- --- One strike ----------------------------------------------------------------------

local function spec_of(strike)
   local with = way_of(strike.point).with
   return (with and with .. "," or "") .. ("%s=%s%s@%d"):format(
      strike.point, strike.action, strike.action == "delay" and ":40" or "", strike.hit)
end

local function passed(trace, name)
   return h.read_file(trace):find("\n" .. name .. "\n", 64, true)
end

local function is_stopped(job)
   return h.read_file(("/proc/%d/stat"):format(job.pid)):match "%) T " ~= nil
end

-- Wait until the action has been done, prove it, and see the process end as it
-- must, or go on. Returns true when it goes on.
local function landed(strike, job, trace)
   local name = strike.point .. "=" .. strike.action
   h.eventually(spec_of(strike) .. " to strike", function() return passed(trace, name) end, job)
   if strike.action == "kill" then
      local _, signal = job:wait(limit_s)
      assert.are.equal(h.process.signals.KILL, signal, name)
   elseif strike.action == "exit" then
      assert.are.equal(1, (job:wait(limit_s)), name)
   elseif strike.action == "stop" then
      h.eventually("it to stand still", function() return is_stopped(job) end, job)
      h.process.pause(row:random(60))
      job:kill "CONT"
   end
   return strike.action == "delay" or strike.action == "stop" or strike.action == "io" or
          strike.action == "enospc"
end

-- A process that went on after a strike ends when it is told to, or is killed, or
-- has ended by the error itself, which it then names.
local function finish(strike, job)
   local errs = strike.action == "io" or strike.action == "enospc" or
                way_of(strike.point).with ~= nil
   if errs then
      -- Most errors end it: a moment is enough to see. Those of Kafka may pass.
      h.process.poll_until(1, function() return job:ended() end)
   end
   local way = way_of(strike.point).way
   -- Those end by themselves, and a second TERM would be another matter.
   if way ~= "stop" and way ~= "command" and not job:ended() then
      job:kill(row:random(2) == 1 and "TERM" or "KILL")
   end
   local code, signal = job:wait(limit_s)
   if signal then
      assert.are.equal(h.process.signals.KILL, signal, spec_of(strike) .. "\n" .. job:err())
   elseif code ~= 0 then
      assert.is_true(errs and code ~= 99, spec_of(strike) .. ": exit " .. code .. "\n" .. job:err())
      assert.is_truthy(job:err():find("ERROR", 1, true), spec_of(strike) .. " says nothing")
   end
end

-- --- A chain -----------------------------------------------------------------------

local Chain = {}
Chain.__index = Chain

local function new_chain(options)
   local chain = setmetatable(options, Chain)
   chain.from, chain.version, chain.notes, chain.printed = h.topic(2), 1, 0, {}
   chain.checkpoint, chain.files = h.path "cp", h.path "rows"
   if chain.kafka then
      -- It refuses large batches, which the sink only learns on the way.
      chain.to = h.topic_name "out"
      h.kadmin("create", chain.to, 3, "max.message.bytes=500000")
   end
   chain:save()
   return chain
end

function Chain:sinks(files)
   local sinks = { ('tide.files { path = %q, every = "20ms", mode = "update" }'):format(files) }
   if self.console then
      sinks[#sinks + 1] = 'tide.console { mode = "update" }'
   end
   if self.kafka then
      sinks[#sinks + 1] = ('tide.kafka { topic = %q, key = "key", mode = "update" }'):format(
         self.to)
   end
   return table.concat(sinks, ", ")
end

function Chain:save()
   local note = (":filter(function() return %d > 0 end)"):format(self.notes + 1)
   local path = h.path "job.lua"
   h.write_file(path .. ".new", oracle.job(self:sinks(self.files),
      { version = self.version, large = self.large, note = self.console and note }))
   assert(os.rename(path .. ".new", path))
end

function Chain:args(...)
   return { "run", h.path "job.lua", "-b", h.brokers, "--topic", self.from, "--no-ui",
            "--checkpoint-dir", self.checkpoint, "--output", "json", "--memory", "256MB", ... }
end

function Chain:start(failpoint, ...)
   self.trace = h.write_file(h.path "trace", "")
   local job = h.start(self:args("--max-records-per-batch", self.batch, ...), {
      env = { TIDEMARK_FAILPOINT = failpoint, TIDEMARK_FAILPOINT_TRACE = self.trace } })
   self.printed[#self.printed + 1] = job
   return job
end

-- Between two runs: a command on the checkpoint, that changes nothing but what is
-- on record.
function Chain:command(strike)
   local args = { "checkpoint", "resolve", h.path "job.lua", "console:keys", "--republish",
                  "--checkpoint-dir", self.checkpoint }
   if strike.point == "reset" then
      local offsets = {}
      for p, next_offset in pairs(h.next_offsets(self.checkpoint, self.from)) do
         offsets[#offsets + 1] = ('"%d":%d'):format(p, next_offset)
      end
      args = { "offsets", "reset", h.path "job.lua", "--checkpoint-dir", self.checkpoint, "-b",
               h.brokers, "--to", ('{"%s":{%s}}'):format(self.from, table.concat(offsets, ",")),
               "--state", "keep", "--yes" }
   else
      self:strike { point = "decided", action = "kill", hit = 2 }
   end
   self.trace = h.write_file(h.path "trace", "")
   return h.start(args, { env = { TIDEMARK_FAILPOINT = spec_of(strike),
                                  TIDEMARK_FAILPOINT_TRACE = self.trace } })
end

-- An epoch of its own, and not only what was left to publish.
function Chain:runs(job)
   h.eventually("an epoch", function() return passed(self.trace, "hand") end, job)
end

-- Start what will pass the place.
function Chain:provoke(strike, way)
   if way.way == "command" then
      return self:command(strike)
   end
   local job
   if way.way == "reload" then
      job = self:start(spec_of(strike))
      self:runs(job)
      self.notes = self.notes + 1
      self.version = self.version + (way.version and 1 or 0)
      self:save()
      h.start { "reload", h.path "job.lua", "--checkpoint-dir", self.checkpoint }
   else
      self.version = self.version + (way.version and 1 or 0)
      self:save()
      job = self:start(spec_of(strike))
   end
   if way.way == "stop" then
      self:runs(job)
      job:kill "TERM"
   end
   return job
end

function Chain:strike(strike)
   local way = way_of(strike.point)
   if way.before then
      local point, action, hit = way.before:match "^([%l_]+)=(%l+)@(%d+)$"
      self:strike { point = point, action = action, hit = tonumber(hit) }
   end
   if self.feed then
      self.feed()
   end
   local job = self:provoke(strike, way)
   if landed(strike, job, self.trace) then
      finish(strike, job)
   end
end

-- To the end, undisturbed; then everything must be there, and once.
function Chain:settle()
   h.expect_exit(self:start(nil, "--until-end"), 0, limit_s * 4)
   local counts = oracle.counts(self.from)
   oracle.check("files", oracle.file_rows(self.files), counts, false, true)
   if self.kafka then
      oracle.check("Kafka", oracle.topic_rows(self.to, 3), counts, false, true)
   end
   if self.console then
      local rows = {}
      for _, job in ipairs(self.printed) do
         for _, printed in ipairs(h.json_lines(job:out())) do
            rows[#rows + 1] = printed
         end
      end
      oracle.check("console", rows, counts, true, true)
   end
   -- The state of a run that nothing disturbs.
   local digest, keys = oracle.digest(self.checkpoint)
   h.write_file(h.path "calm.lua", oracle.job(
      ('tide.files { path = %q, every = "1m", mode = "update" }'):format(h.path "calm"),
      { version = self.version, large = self.large }))
   local calm = h.start { "run", h.path "calm.lua", "-b", h.brokers, "--topic", self.from,
      "--no-ui", "--until-end", "--checkpoint-dir", h.path "calm-cp", "--memory", "256MB",
      "--max-records-per-batch", self.large and 240 or oracle.keys }
   h.expect_exit(calm, 0, limit_s * 4)
   local calm_digest, calm_keys = oracle.digest(h.path "calm-cp")
   assert.are.same({ calm_keys, calm_digest }, { keys, digest })
   local total = 0
   for _, count in ipairs(counts) do
      total = total + count
   end
   return total
end

-- --- The spec ----------------------------------------------------------------------

describe("fail point", function()
   local struck, records, strikes = 0, 0, {}

   before_each(function() h.begin() end)

   it("is listed, with a way there", function()
      local points, known = listed(), {}
      assert.is_true(#points >= 45)
      for _, point in ipairs(points) do
         known[point.name] = true
      end
      for name in pairs(ways) do
         assert.is_true(known[name], name .. " is no fail point any more")
      end
      strikes = chosen(points)
   end)

   -- Those that belong to a chain; each is said when it was in vain.
   local function play(chain, belongs)
      for _, strike in ipairs(strikes) do
         if belongs(strike, way_of(strike.point).way) then
            local well, why = pcall(chain.strike, chain, strike)
            if not well then
               error(("%s, SEED=%d: %s"):format(spec_of(strike), row.seed, tostring(why)), 0)
            end
            struck = struck + 1
         end
      end
   end

   local function any(belongs)
      for _, strike in ipairs(strikes) do
         if belongs(strike, way_of(strike.point).way) then
            return true
         end
      end
   end

   -- A chain on all sinks, fed all the time.
   local function on_all_sinks(belongs)
      return function()
         if not any(belongs) then
            return
         end
         local chain = new_chain { kafka = true, console = true, batch = 40 }
         play(chain, function(strike, way) return way == "rest" and belongs(strike, way) end)
         local source = h.start { "produce", chain.from, "-b", h.brokers, "--generator", "words",
                                  "--rate", 250 }
         play(chain, function(strike, way) return way ~= "rest" and belongs(strike, way) end)
         source:kill "TERM"
         h.expect_exit(source, 0)
         chain.batch = oracle.keys
         records = records + chain:settle()
      end
   end

   local apart = { new = true, large = true }

   it("on the way to a decision leaves every sink exact", on_all_sinks(function(strike, way)
      return not apart[way] and strike.room ~= "sink" and strike.room ~= "run"
   end))

   it("in the loop leaves every sink exact", on_all_sinks(function(strike, way)
      return not apart[way] and strike.room == "run"
   end))

   it("of a sink leaves every sink exact", on_all_sinks(function(strike, way)
      return not apart[way] and strike.room == "sink"
   end))

   it("with large rows and states leaves them exact", function()
      local function belongs(_, way) return way == "large" end
      if not any(belongs) then
         return
      end
      local chain = new_chain { large = true, batch = 240 }
      local fed = 0
      local function produce()
         h.produce_counts(chain.from, { 600, 600 })
         fed = fed + 1200
      end
      -- Enough for a third hit, and no more: it is large.
      function chain.feed()
         local behind = fed
         for _, next_offset in pairs(h.next_offsets(chain.checkpoint, chain.from)) do
            behind = behind - next_offset
         end
         if behind < 1000 then
            produce()
         end
      end
      -- States first: those that a new version takes over.
      produce()
      h.expect_exit(chain:start(nil, "--until-end"), 0, limit_s)
      play(chain, belongs)
      records = records + chain:settle()
   end)

   it("of a new checkpoint leaves it whole", function()
      for _, strike in ipairs(strikes) do
         if way_of(strike.point).way == "new" then
            h.begin()
            local chain = new_chain { console = true, batch = 40 }
            h.produce_counts(chain.from, { 60, 60 })
            play(chain, function(one) return one == strike end)
            records = records + chain:settle()
         end
      end
   end)

   it("was struck as often as it was to be", function()
      assert.are.equal(#strikes, struck)
      row:tally(struck, ("%d records"):format(records))
   end)
end)
