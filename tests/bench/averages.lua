-- SPDX-License-Identifier: Apache-2.0
-- The average and the number of readings by sensor in windows of ten seconds.
local tide = require "tidemark"

return tide.from(tide.kafka { topic = "readings", start = "earliest" })
   :json { "id:int", "ts:timestamp", "value:double" }
   :watermark("ts", "30s")
   :group_by("id"):window("10s")
   :aggregate { tide.avg "value" :as "avg_value", tide.count() :as "n" }
   :to(tide.console { mode = "append" })
