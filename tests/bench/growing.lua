-- SPDX-License-Identifier: Apache-2.0
-- Counts records by one of so many keys, in turn, whatever is in the records.
local tide = require "tidemark"
local keys = tide.setting("keys", 10000)

return tide.from(tide.kafka { topic = "keys", start = "earliest" })
   :map(function(rec) return (rec.offset * 4 + rec.partition) % keys end, { "id:int" })
   :group_by("id")
   :count()
   :to(tide.console { mode = "update" })
