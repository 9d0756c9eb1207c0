-- SPDX-License-Identifier: Apache-2.0
-- Sensor readings, all of them and their average by sensor in windows of ten
-- seconds. A reading may be half a minute late.
local tide = require "tidemark"

local readings = tide.from(tide.kafka { topic = "events", start = "earliest" })
   :json({ "id:int?", "ts:timestamp?", "value:double?", "source:string?" }, { malformed = "null" })
   :filter(function(row) return row.ts ~= nil end)
   :watermark("ts", "30s")

return {
   readings:to(tide.console { mode = "append", truncate = false, name = "readings" }),
   readings:group_by("id"):window("10s")
      :aggregate { tide.avg "value" :as "avg_value" }
      :to(tide.console { mode = "update", truncate = false, rows = 50, name = "averages" }),
}
