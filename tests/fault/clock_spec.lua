-- SPDX-License-Identifier: Apache-2.0
-- Clocks that are set, and event times that cannot be: the watermark never goes
-- back and never further than what was believed, what is late is counted, every
-- row is counted once, and epochs go on in their time.
local ffi = require "ffi"
local h = require "harness"
local row = require("column").row "clock"

ffi.cdef [[
void *mmap(void *, size_t, int, int, int, long);
]]

local limit_s = h.sanitized and 240 or 90
local end_s = h.sanitized and 40 or 10
local shim = h.root .. "/build/" .. h.flavour .. "/fault/clock_shim.so"
local DAY = 86400

-- Windows of a minute over rows of one a second, ten seconds of delay.
local job_text = [[
local s = tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :json { "n:int", "at:timestamp" }
   :watermark("at", "10s", MARK)
return tide.job { outputs = {
   s:select { "n" }:to(tide.kafka { topic = OUT }),
   s:with("all:bool", function() return true end)
      :group_by("all"):window("1m"):count():to(tide.console { mode = "update" }),
} }
]]

-- --- The clock -------------------------------------------------------------------------

local function new_clock()
   local path = h.write_file(h.path "clock", ("\0"):rep(16))
   local fd = ffi.C.open(path, 2)
   local shift = ffi.cast("volatile int64_t *", ffi.C.mmap(nil, 16, 3, 1, fd, 0))
   ffi.C.close(fd)
   return {
      env = { LD_PRELOAD = shim, CLOCK_SHIM_FILE = path },
      set = function(seconds) shift[0] = seconds * 1000000 end,
      reads = function() return tonumber(shift[1]) end,
   }
end

-- --- A job under way -------------------------------------------------------------------

local Run = {}
Run.__index = Run

--- Where a window begins: the rows of a minute may come in two epochs, one for each
--- partition, and must not be late then.
local function two_hours_before(at)
   return math.floor(at / 60) * 60 - 7200
end

local function new_run(options)
   options = options or {}
   local run = setmetatable({ from = h.topic(2), to = h.topic(1, "out"), fed = 0, printed = {},
                              base = two_hours_before(os.time()) }, Run)
   h.job((job_text:gsub("MARK", options.mark or "{}"):gsub("OUT", ("%q"):format(run.to))))
   return run
end

function Run:start(env, ...)
   self.job = h.start({ "run", h.path "job.lua", "-b", h.brokers, "--topic", self.from, "--no-ui",
                        "--checkpoint-dir", h.path "cp", "--output", "json", "--trigger", "100ms",
                        "--progress", h.path "progress", ... }, { env = env })
   self.printed[#self.printed + 1] = self.job
   return self
end

function Run.taken()
   local sum = 0
   for _, epoch in ipairs(h.progress()) do
      sum = sum + epoch.numInputRows
   end
   return sum
end

--- Rows at these seconds behind the base (or with this text as their time), and
--- wait for their epoch.
function Run:feed(times, partition)
   local records = {}
   for i, at in ipairs(times) do
      if type(at) == "number" then
         at = os.date("!%Y-%m-%dT%H:%M:%SZ", self.base + at)
      end
      records[i] = { value = ('{"n":%d,"at":"%s"}'):format(self.fed, at),
                     partition = partition or self.fed % 2 }
      self.fed = self.fed + 1
   end
   h.produce(self.from, records)
   h.eventually("an epoch with what came", function()
      return self:taken() >= self.fed
   end, self.job)
end

--- One row a second, seconds from..to behind the base.
function Run:feed_seconds(from, to, partition)
   local times = {}
   for second = from, to do
      times[#times + 1] = second
   end
   self:feed(times, partition)
end

function Run:stop()
   local began = h.process.now()
   self.job:kill "TERM"
   h.expect_exit(self.job, 0, limit_s)
   local took = h.process.now() - began
   assert.is_true(took <= end_s, ("it took %.1f s to end"):format(took))
end

--- The watermarks of all epochs, in seconds behind the base, in order.
function Run:watermarks()
   local list = {}
   for _, epoch in ipairs(h.progress()) do
      local text = epoch.eventTime.watermark
      if text then
         list[#list + 1] = h.process.time_of(text) -
                           h.process.time_of(os.date("!%Y-%m-%dT%H:%M:%SZ", self.base))
      end
   end
   return list
end

function Run:last_watermark()
   local list = self:watermarks()
   return list[#list]
end

function Run.sum(_, field)
   local sum = 0
   for _, epoch in ipairs(h.progress()) do
      for _, operator in ipairs(epoch.stateOperators) do
         sum = sum + operator[field]
      end
   end
   return sum
end

function Run.ahead()
   local sum = 0
   for _, epoch in ipairs(h.progress()) do
      for _, mark in ipairs(epoch.watermarks) do
         sum = sum + mark.numRowsAhead
      end
   end
   return sum
end

--- Nothing is lost or there twice, late rows are as many as expected, and the
--- watermark only rose, never beyond `most` seconds behind the base.
function Run:assert_sane(late, most, untimed)
   local seen = {}
   for _, record in ipairs(h.json_lines(h.kadmin("consume", self.to, 0, 0, -1))) do
      local n = tonumber(record.value:match '"n":(%d+)')
      assert.is_nil(seen[n], n .. " is there twice")
      seen[n] = true
   end
   for n = 0, self.fed - 1 do
      assert.is_true(seen[n], n .. " is missing")
   end
   local newest, counted = {}, 0
   for _, job in ipairs(self.printed) do
      for _, printed in ipairs(h.json_lines(job:out())) do
         newest[printed.window_end or printed.window_start] = printed.count
      end
   end
   for _, count in pairs(newest) do
      counted = counted + count
   end
   assert.are.equal(late, self:sum "numRowsDroppedByWatermark")
   assert.are.equal(untimed or 0, self:sum "numRowsWithoutEventTime")
   assert.are.equal(self.fed, counted + late + (untimed or 0))
   local before = -math.huge
   for _, at in ipairs(self:watermarks()) do
      assert.is_true(at >= before, ("the watermark went from %f to %f"):format(before, at))
      assert.is_true(at <= most, ("the watermark is at %f, beyond %f"):format(at, most))
      before = at
   end
end

-- --- The spec --------------------------------------------------------------------------

local struck = 0

describe("a clock", function()
   before_each(h.begin)

   -- Seconds that the clock is ahead, step by step; the first is there at the start.
   local jumps = {
      { "that is set a day ahead", 0, DAY, DAY },
      { "that is set a day back", 0, -DAY, -DAY },
      { "that is set ahead and back", 0, DAY, -DAY, 0 },
      { "that is set an hour back at the start of winter", 3600, 0, 0 },
      { "of a machine that has no battery", -(os.time() - 320000000), 0 },
      { "that is in the year 2999", 30715200000 - os.time(), 0 },
      { "that goes a second back at each step", 0, -1, -2, -3 },
   }
   for _, jump in ipairs(jumps) do
      it(jump[1] .. " moves no watermark and stops no epoch", function()
         local clock, run = new_clock(), new_run()
         clock.set(jump[2])
         -- Where the clock is behind the records' times, they are beyond belief.
         for i = 2, #jump do
            run.base = math.min(run.base, two_hours_before(os.time() + jump[i]))
         end
         run:start(clock.env)
         for i = 2, #jump do
            clock.set(jump[i])
            run:feed_seconds((i - 2) * 60, (i - 2) * 60 + 59)
         end
         run:stop()
         assert.is_true(clock.reads() > 10)
         run:assert_sane(0, (#jump - 1) * 60)
         struck = struck + 1
      end)
   end

   it("that jitters by seconds all the time harms nothing", function()
      local clock, run = new_clock(), new_run()
      run:start(clock.env)
      local read_progress = run.taken
      function run.taken(self)
         clock.set((row:random(10001) - 5001) / 1000)
         return read_progress(self)
      end
      for step = 0, 3 do
         run:feed_seconds(step * 60, step * 60 + 59)
      end
      run:stop()
      run:assert_sane(0, 240)
      struck = struck + 1
   end)

   it("that is behind what the checkpoint says harms no restart", function()
      local clock, run = new_clock(), new_run()
      clock.set(DAY)
      run:start(clock.env):feed_seconds(0, 59)
      run:stop()
      clock.set(0)
      run:start(clock.env):feed_seconds(60, 119)
      run:stop()
      run:assert_sane(0, 120)
      struck = struck + 1
   end)

   it("leaves epochs as many as their trigger lets be", function()
      local clock, run = new_clock(), new_run()
      local began = h.process.now()
      run:start(clock.env)
      for step = 0, 5 do
         clock.set(step % 2 == 0 and DAY or -DAY)
         run:feed_seconds(0, 59)
      end
      run:stop()
      local epochs = #h.progress()
      assert.is_true(epochs <= (h.process.now() - began) / 0.1 + 2, epochs .. " epochs")
      struck = struck + 1
   end)

   it("far behind the records' times holds the watermark, and no longer", function()
      local clock, run = new_clock(), new_run()
      clock.set(-DAY)
      run:start(clock.env):feed_seconds(0, 59)
      run:feed_seconds(60, 119)
      assert.is_nil(run:last_watermark())
      assert.are.equal(120, run:ahead())
      clock.set(0)
      run:feed_seconds(120, 179)
      run:feed_seconds(180, 239)
      run:stop()
      -- A window that is due may have had an epoch of its own by then.
      local last = run:last_watermark()
      assert.is_true(last >= 169 and last <= 229, last)
      run:assert_sane(0, 240)
      struck = struck + 1
   end)
end)

describe("event time", function()
   before_each(h.begin)

   -- One partition: an epoch may find rows of one that are behind those of the other.
   it("of the year 2999 moves no watermark, and is counted", function()
      local run = new_run():start()
      run:feed_seconds(0, 119, 0)
      run:feed({ "2999-01-01T00:00:00Z" }, 0)
      run:feed_seconds(120, 239, 0)
      run:feed_seconds(240, 299, 0)
      run:stop()
      assert.are.equal(1, run:ahead())
      run:assert_sane(0, 300)
      struck = struck + 1
   end)

   it("before all calendars is late", function()
      local run = new_run():start()
      run:feed_seconds(0, 179, 0)
      run:feed({ "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z" }, 0)
      run:feed_seconds(180, 239, 0)
      run:stop()
      run:assert_sane(3, 240)
      struck = struck + 1
   end)

   it("of partitions that are idle holds nobody back, nor forward", function()
      local run = new_run { mark = '{ per_partition = true, idle = "500ms" }' }
      run:start():feed_seconds(0, 119, 0)
      -- The other one has never had a record.
      h.eventually("the other to be left behind", function()
         return (run:last_watermark() or 0) >= 109
      end, run.job)
      run:feed_seconds(120, 179, 0)
      run:feed_seconds(180, 239, 0)
      -- It comes late to the rest, and holds the watermark where it is.
      local before = run:last_watermark()
      run:feed_seconds(0, 59, 1)
      run:feed_seconds(240, 299, 0)
      assert.is_true(run:last_watermark() >= before)
      run:stop()
      local late = run:sum "numRowsDroppedByWatermark"
      assert.is_true(late >= 0 and late <= 60)
      run:assert_sane(late, 300)
      struck = struck + 1
   end)

   it("of a flood of late rows is counted, row by row", function()
      local run = new_run():start()
      run:feed_seconds(600, 899, 0)
      run:feed_seconds(900, 909, 0)
      run:feed_seconds(-1400, 539, 0)
      run:feed_seconds(910, 999, 0)
      run:stop()
      run:assert_sane(1400 + 540, 1000)
      struck = struck + 1
   end)
end)

describe("the campaign of clocks", function()
   before_each(h.begin)

   it("has struck", function()
      assert.are.equal(row.count, struck)
      row:tally(struck, "jumps, jitter, a restart, triggers, belief; the year 2999, lateness")
   end)
end)
