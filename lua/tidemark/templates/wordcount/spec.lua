-- SPDX-License-Identifier: Apache-2.0
local testing = require "tidemark.testing"

describe("NAME", function()
   local job

   before_each(function() job = testing.open("NAME.lua", { workers = 2 }) end)
   after_each(function() if job then job:close() end end)

   it("counts words, whatever their case", function()
      job:feed({ value = "Red widget" }, { value = "red" })
      job:epoch()
      job:expect { { word = "red", count = 2 }, { word = "widget", count = 1 } }
   end)

   it("puts out the words that changed", function()
      job:feed { value = "red widget" }
      job:epoch()
      job:feed { value = "red" }
      job:epoch()
      job:expect { { word = "red", count = 2 } }
   end)

   it("passes over records without a value", function()
      job:feed { key = "red" }
      job:epoch()
      job:expect {}
   end)

   it("goes on counting after a crash", function()
      job:feed { value = "red" }
      job:epoch()
      job:restart { crash = true, workers = 4 }
      job:feed { value = "red" }
      job:epoch()
      job:expect { { word = "red", count = 2 } }
   end)
end)
