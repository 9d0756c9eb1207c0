-- SPDX-License-Identifier: Apache-2.0
-- Visits: what a user looked at with no more than half an hour between two pages.
-- Each value is like {"user":"ann","at":"2024-01-01T12:00:00Z","page":"/"}.
local tide = require "tidemark"

return tide.from(tide.kafka { topic = "NAME", start = "earliest" })
   :json { "user:string", "at:timestamp", "page:string?" }
   :watermark("at", "1m") -- how late a page may come
   :group_by("user")
   :session("30m")
   :aggregate {
      tide.count() :as "pages",
      tide.first("page", { by = "at" }) :as "entered",
      tide.last("page", { by = "at" }) :as "left",
   }
   -- A row for each visit, once, when nothing can belong to it any more.
   :to(tide.console { mode = "append" })
