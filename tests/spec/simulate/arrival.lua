-- SPDX-License-Identifier: Apache-2.0
-- Wrong on purpose: the newest value is taken to be the one that came last.
local tide = require "tidemark"

local newest = tide.aggregator {
   name = "newest",
   state = { value = "double" },
   add = function(s, value) s.value = value end,
   merge = function(s, other) s.value = other.value end,
   result = function(s) return s.value end,
}

return tide.from(tide.kafka { topic = "readings" })
   :json { "sensor:int", "at:timestamp", "value:double" }
   :watermark("at", "20s")
   :group_by("sensor"):window("10s")
   :aggregate { newest "value" :as "newest" }
   :to(tide.console { mode = "append" })
