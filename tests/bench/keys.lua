-- SPDX-License-Identifier: Apache-2.0
-- Counts records by key: more state than fits, when there are enough keys.
local tide = require "tidemark"

return tide.from(tide.kafka { topic = "keys", start = "earliest" })
   :map(function(rec) return rec.key end, { "key" })
   :group_by("key")
   :count()
   :to(tide.console { mode = "update" })
