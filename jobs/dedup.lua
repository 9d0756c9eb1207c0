-- SPDX-License-Identifier: Apache-2.0
-- Articles, each in its newest version: one that comes again within two hours
-- takes the place of the one before it. To the console, or to a topic by id:
-- tidemark dedup --set output_topic=articles
local tide = require "tidemark"

local topic = tide.setting("output_topic", "")

return tide.from(tide.kafka { topic = "articles.raw.v1", start = "earliest" })
   :json({ "id:string?", "published_at:timestamp?", "title:string?", "source:string?",
           "body:string?" }, { malformed = "null" })
   :filter(function(row) return row.id ~= nil and row.published_at ~= nil end)
   :watermark("published_at", "2h")
   :dedup { by = "id", keep = "latest" }
   :to(topic ~= "" and tide.kafka { topic = topic, key = "id", mode = "update" }
       or tide.console { mode = "update" })
