-- SPDX-License-Identifier: Apache-2.0
-- Passes records on, to the console or to a topic: what latency.c measures.
local tide = require "tidemark"
local topic = tide.setting("to", "")

return tide.from(tide.kafka { topic = "bench-in", start = "earliest" })
   :map(function(rec) return rec.value end, { "body" })
   :to(topic == "" and tide.console { mode = "append" } or
      tide.kafka { topic = topic, value = "body", partitions = 4 })
