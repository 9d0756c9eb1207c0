-- SPDX-License-Identifier: Apache-2.0
local testing = require "tidemark.testing"

local function article(id, at, title)
   return ('{"id":"%s","at":"2024-01-01T%sZ","title":"%s"}'):format(id, at, title)
end

describe("NAME", function()
   local job

   -- Event times far ahead of the clock would not be believed.
   before_each(function()
      job = testing.open("NAME.lua", { workers = 2, now = "2024-01-01T15:00:00Z" })
   end)
   after_each(function() if job then job:close() end end)

   it("lets the first of an id go on", function()
      job:feed(article("a", "12:00:00", "one"), article("b", "12:00:01", "two"),
               article("a", "12:00:02", "one again"))
      job:epoch()
      job:expect { { id = "a", at = "2024-01-01T12:00:00Z", title = "one" },
                   { id = "b", at = "2024-01-01T12:00:01Z", title = "two" } }
   end)

   it("knows an id after a crash", function()
      job:feed(article("a", "12:00:00", "one"))
      job:epoch()
      job:restart { crash = true }
      job:feed(article("a", "12:30:00", "one again"))
      job:epoch()
      job:expect {}
   end)

   it("forgets an id after its hour", function()
      job:feed(article("a", "12:00:00", "one"), article("b", "14:00:00", "two"))
      job:run()
      job:feed(article("a", "14:00:01", "one anew"))
      job:run()
      job:expect { { id = "a", at = "2024-01-01T14:00:01Z", title = "one anew" } }
   end)
end)
