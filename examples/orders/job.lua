-- SPDX-License-Identifier: Apache-2.0
-- What each customer has ordered: parsed, filtered, summed.
local tide = require "tidemark"

return tide.from(tide.kafka { topic = "orders", start = "earliest" })
   :json { "customer:string", "amount:int", "state:string?" }
   :filter(function(row) return row.state ~= "cancelled" end)
   :group_by("customer")
   :aggregate { tide.count() :as "orders", tide.sum "amount" :as "total" }
   :to(tide.console { mode = "update" })
