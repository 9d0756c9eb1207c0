-- SPDX-License-Identifier: Apache-2.0
-- Lets each article go on once, however often it comes within an hour. Each value
-- is like {"id":"a1","at":"2024-01-01T12:00:00Z","title":"News"}.
local tide = require "tidemark"

return tide.from(tide.kafka { topic = "NAME", start = "earliest" })
   :json { "id:string", "at:timestamp", "title:string?" }
   :watermark("at", "1h") -- how late an article may come, and how long ids are kept
   :dedup { by = "id" }
   :to(tide.console { mode = "append", truncate = false })
