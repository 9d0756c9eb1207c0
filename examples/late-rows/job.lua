-- SPDX-License-Identifier: Apache-2.0
-- Visits per user and minute, twice from one stream: fast, five minutes after the
-- fact, and accurate, half an hour after it. What was late for the fast one and
-- not for the accurate one is shown, and counted, by an audit.
local tide = require "tidemark"

local visits = tide.from(tide.kafka { topic = "visits", start = "earliest" })
   :json { "user:string", "at:timestamp" }

local main = visits:watermark("at", "5m")
local audit = main:late { within = "30m", by = "user", name = "audit" }

-- Rows of both say which they are, and leave when their minute is over for good.
local function per_minute(stream, path)
   return stream:group_by("user", { name = path }):window("1m"):count "at"
      :with("path:string", function() return path end)
      :select { "path", "window_start", "user", "count" }
      :to(tide.console { mode = "append", name = path })
end

return {
   per_minute(main, "fast"),
   per_minute(visits:watermark("at", "30m", { name = "accurate" }), "accurate"),
   audit:with("path:string", function() return "late" end)
      :select { "path", "at", "user" }
      :to(tide.console { name = "late" }),
}
