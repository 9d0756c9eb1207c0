-- SPDX-License-Identifier: Apache-2.0
-- How many different articles there are, when one may come again for two hours.
local tide = require "tidemark"

return tide.from(tide.kafka { topic = "articles", start = "earliest" })
   :json { "id:string", "published_at:timestamp" }
   :watermark("published_at", "2h")
   :dedup { by = "id" }
   :map(function() return 1 end, { "every:int" })
   :group_by("every"):count()
   :to(tide.console { mode = "update" })
