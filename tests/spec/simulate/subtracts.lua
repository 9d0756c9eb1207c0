-- SPDX-License-Identifier: Apache-2.0
-- Wrong on purpose: a merge that is not commutative. It takes what there is from
-- what comes.
local tide = require "tidemark"

local balance = tide.aggregator {
   name = "balance",
   state = { n = "int" },
   add = function(s, amount) s.n = s.n + amount end,
   merge = function(s, other) s.n = other.n - s.n end,
   result = function(s) return s.n end,
}

return tide.from(tide.kafka { topic = "payments" })
   :json { "account:int", "amount:int" }
   :group_by("account")
   :aggregate { balance "amount" :as "balance" }
   :to(tide.console { mode = "update" })
