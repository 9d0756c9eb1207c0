-- SPDX-License-Identifier: Apache-2.0
-- Visits: what a user looked at with no more than half an hour from one page to
-- the next, how long it took and where it began and ended.
local tide = require "tidemark"

return tide.from(tide.kafka { topic = "pages", start = "earliest" })
   :json { "user:string", "at:timestamp", "page:string" }
   :watermark("at", "1h")
   :group_by("user"):session("30m")
   :aggregate {
      tide.count() :as "pages",
      tide.first("page", { by = "at" }) :as "entered",
      tide.last("page", { by = "at" }) :as "left",
      tide.max "at" :as "last_seen",
   }
   :with("minutes:double", function(row) return (row.last_seen - row.window_start) / 60000 end)
   :select { "user", "window_start", "window_end", "pages", "minutes", "entered", "left" }
   :to(tide.console { mode = "append" })
