-- SPDX-License-Identifier: Apache-2.0
-- Log lines to the topic for their level, all of them to files, and what cannot
-- be read to a topic of its own.
local tide = require "tidemark"

local topics = { error = "alerts", warn = "alerts" }

local lines = tide.from(tide.kafka { topic = "logs", start = "earliest" })
   :json { "at:timestamp", "level:string", "host:string", "text:string" }

return tide.job {
   on_error = tide.kafka { topic = "dead" },
   outputs = lines:to(
      tide.kafka {
         topic = function(row) return topics[row.level] or "quiet" end,
         key = "host", timestamp = "at", value = { "level", "text" },
      },
      tide.files { path = "logs-archive", every = "1m" }),
}
