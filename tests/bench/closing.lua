-- SPDX-License-Identifier: Apache-2.0
-- What an epoch costs that closes one window, with N of them open. Through
-- tidemark.testing: workers, state, checkpoint and its sync, but no broker.
--
--    luajit tests/bench/closing.lua 1000 1000000    one JSON line for each number
package.path = "./lua/?.lua;./lua/?/init.lua;./?.lua;" .. package.path
require "tests.spec.helper"
local ffi = require "ffi"
local testing = require "tidemark.testing"

local EPOCHS, WARM = 2000, 500

ffi.cdef "struct bench_time { long s, ns; }; int clock_gettime(int clock, struct bench_time *time);"
local time = ffi.new "struct bench_time"
local function now_us()
   ffi.C.clock_gettime(1, time)
   return tonumber(time.s) * 1e6 + tonumber(time.ns) / 1e3
end

-- The watermark is as far behind as there are windows to be kept open.
local job_text = [[
local tide = require "tidemark"
return tide.from(tide.kafka { topic = "t" })
   :json { "id:int", "ts:timestamp" }
   :watermark("ts", "%ds", { max_ahead = false })
   :group_by("id"):window("1s"):count()
   :to(tide.console { mode = "append" })
]]

local function feed(job, second)
   job:feed { value = ('{"id":1,"ts":%d}'):format((1704067200 + second) * 1000) }
end

local function median(list)
   table.sort(list)
   return list[math.ceil(#list / 2)]
end

-- In turn an epoch that opens a window, so that the watermark moves on by one, and
-- the one after it, which has a row for the same window and closes the oldest.
local function measure(open)
   local job = testing.job(job_text:format(open), { now = "2024-01-01T00:00:00Z" })
   for second = 1, open do
      feed(job, second)
   end
   job:run()
   local took, newest = { opening = {}, closing = {} }, open
   for i = 1, EPOCHS + WARM do
      for _, kind in ipairs { "opening", "closing" } do
         newest = kind == "opening" and newest + 1 or newest
         feed(job, newest)
         local began = now_us()
         job:epoch()
         if i > WARM then
            table.insert(took[kind], now_us() - began)
            assert(#job:rows() == (kind == "closing" and 1 or 0), "closed: " .. #job:rows())
         end
      end
   end
   local rows = job:number "state_rows"
   job:close()
   assert(math.abs(rows - open) <= 2, "open windows: " .. rows)
   print(('{"open":%d,"closing_us":%.1f,"other_us":%.1f}'):format(open, median(took.closing),
      median(took.opening)))
end

for _, open in ipairs(arg) do
   measure(tonumber(open))
end
