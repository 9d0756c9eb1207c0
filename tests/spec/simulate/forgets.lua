-- SPDX-License-Identifier: Apache-2.0
-- Wrong on purpose: a mean whose merge forgets how many values there were.
local tide = require "tidemark"

local mean = tide.aggregator {
   name = "mean",
   state = { total = "int", n = "int" },
   add = function(s, value)
      s.total = s.total + value
      s.n = s.n + 1
   end,
   merge = function(s, other) s.total = s.total + other.total end,
   result = function(s) return s.n > 0 and s.total / s.n or 0 end,
   returns = "double",
}

return tide.from(tide.kafka { topic = "readings" })
   :json { "sensor:int", "at:timestamp", "value:int" }
   :watermark("at", "10s")
   :group_by("sensor"):window("10s")
   :aggregate { mean "value" :as "mean" }
   :to(tide.console { mode = "update" })
