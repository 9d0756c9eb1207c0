-- SPDX-License-Identifier: Apache-2.0
-- Wrong on purpose: a plain sum of doubles depends on the order of its terms.
local tide = require "tidemark"

local sum = tide.aggregator {
   name = "sum",
   state = { total = "double" },
   add = function(s, value) s.total = s.total + value end,
   merge = function(s, other) s.total = s.total + other.total end,
   result = function(s) return s.total end,
}

return tide.from(tide.kafka { topic = "payments" })
   :json { "account:int", "amount:double" }
   :group_by("account")
   :aggregate { sum "amount" :as "total" }
   :to(tide.console { mode = "update" })
