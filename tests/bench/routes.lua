-- SPDX-License-Identifier: Apache-2.0
-- Readings from 50 up, a half, go to the topic of their sensor's kind, as they came: filter
-- and route, Kafka to Kafka, an epoch a transaction.
local tide = require "tidemark"
local prefix = tide.setting("prefix", "routed")
local even, odd = prefix .. "-even", prefix .. "-odd"

return tide.from(tide.kafka { topic = "readings", start = "earliest" })
   :json { "id:int", "value:double" }
   :filter(function(row) return row.value >= 50 end)
   :map(function(row) return row.id, row.rec.key, row.rec.value end, { "id:int", "key", "body" })
   :to(tide.kafka {
      topic = function(row) return row.id % 2 == 0 and even or odd end,
      key = "key", value = "body", partitions = 4,
   })
