-- SPDX-License-Identifier: Apache-2.0
-- Wrong on purpose: who was seen is kept in a table of a module, outside of any
-- state.
local tide = require "tidemark"
local seen = require "seen"

return tide.from(tide.kafka { topic = "visits" })
   :json { "user:string", "page:string" }
   :filter(function(row)
      local user = tostring(row.user)
      local first = not seen[user]
      seen[user] = true
      return first
   end)
   :to(tide.console { mode = "append" })
