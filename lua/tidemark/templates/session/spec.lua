-- SPDX-License-Identifier: Apache-2.0
local testing = require "tidemark.testing"

local function page(user, at, path)
   return ('{"user":"%s","at":"2024-01-01T%sZ","page":"%s"}'):format(user, at, path)
end

describe("NAME", function()
   local job

   -- Event times far ahead of the clock would not be believed.
   before_each(function()
      job = testing.open("NAME.lua", { workers = 2, now = "2024-01-01T15:00:00Z" })
   end)
   after_each(function() if job then job:close() end end)

   it("puts out a visit when half an hour has passed, and a minute more", function()
      job:feed(page("ann", "12:00:00", "/"), page("ann", "12:10:00", "/shop"),
               page("bob", "12:40:59", "/"))
      job:run()
      job:expect {}
      job:feed(page("bob", "12:41:00", "/help"))
      job:run()
      job:expect { { window_start = "2024-01-01T12:00:00Z", window_end = "2024-01-01T12:40:00Z",
                     user = "ann", pages = 2, entered = "/", left = "/shop" } }
   end)

   it("joins two visits when a page between them comes later", function()
      job:feed(page("ann", "12:00:00", "/"), page("ann", "12:30:30", "/pay"))
      job:run()
      job:restart { crash = true }
      job:feed(page("ann", "12:15:00", "/shop"))
      job:run()
      job:feed(page("bob", "14:00:00", "/"))
      job:run()
      job:expect { { window_start = "2024-01-01T12:00:00Z", window_end = "2024-01-01T13:00:30Z",
                     user = "ann", pages = 3, entered = "/", left = "/pay" } }
   end)
end)
