-- SPDX-License-Identifier: Apache-2.0
local testing = require "tidemark.testing"

local function reading(sensor, at, value)
   return ('{"sensor":"%s","at":"2024-01-01T%sZ","value":%s}'):format(sensor, at, value)
end

describe("NAME", function()
   local job

   -- Event times far ahead of the clock would not be believed.
   before_each(function()
      job = testing.open("NAME.lua", { workers = 2, now = "2024-01-01T15:00:00Z" })
   end)
   after_each(function() if job then job:close() end end)

   it("puts out a minute when it is over, and 30 seconds more", function()
      job:feed(reading("a", "12:00:10", "1"), reading("a", "12:00:50", "3"),
               reading("b", "12:00:20", "null"), reading("a", "12:01:29", "7"))
      job:run()
      job:expect {}
      job:feed(reading("a", "12:01:30", "9"))
      job:run()
      local from, to = "2024-01-01T12:00:00Z", "2024-01-01T12:01:00Z"
      job:expect {
         { window_start = from, window_end = to, sensor = "a", readings = 2, mean = 2, most = 3 },
         { window_start = from, window_end = to, sensor = "b", readings = 1 },
      }
   end)

   it("drops readings that come too late, and counts them", function()
      job:feed(reading("a", "12:05:00", "1"))
      job:run()
      job:feed(reading("a", "12:00:00", "1"))
      job:run()
      assert.equal(1, job:number "rows_late")
   end)
end)
