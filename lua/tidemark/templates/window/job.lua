-- SPDX-License-Identifier: Apache-2.0
-- Averages of readings, per sensor and minute of event time. Each value is like
-- {"sensor":"a","at":"2024-01-01T12:00:10Z","value":20.5}.
local tide = require "tidemark"

return tide.from(tide.kafka { topic = "NAME", start = "earliest" })
   :json { "sensor:string", "at:timestamp", "value:double?" }
   :watermark("at", "30s") -- how late a reading may come
   :group_by("sensor")
   :window("1m")
   :aggregate {
      tide.count() :as "readings",
      tide.avg "value" :as "mean",
      tide.max "value" :as "most",
   }
   -- A row for each window, once, when nothing can change it any more.
   :to(tide.console { mode = "append" })
