-- SPDX-License-Identifier: Apache-2.0
-- Ids that may come again for two hours, a minute late at most.
local tide = require "tidemark"

return tide.from(tide.kafka { topic = "ids", start = "earliest" })
   :json { "id:int", "at:timestamp" }
   :watermark("at", "1m")
   :dedup { by = "id", within = "2h" }
   :map(function() return 1 end, { "every:int" })
   :group_by("every", { name = "all" }):count()
   :to(tide.console { mode = "update" })
