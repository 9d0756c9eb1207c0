-- SPDX-License-Identifier: Apache-2.0
-- Counts words by where they stand in a record (key, value, header), and how
-- many records have no key, no value or no headers.
local tide = require "tidemark"
local words, blank = tide.words, tide.blank

local include_headers = tide.setting("include_headers", true)

local function tokens(rec, emit)
   if blank(rec.key) then emit("stats", "no-key") end
   if blank(rec.value) then emit("stats", "no-value") end
   for w in words(rec.key) do emit("key", w) end
   for w in words(rec.value) do emit("value", w) end
   if not include_headers then return end
   if rec.header_count == 0 then emit("stats", "no-header") end
   for name, value in rec:headers() do
      for w in words(name) do emit("header", w) end
      for w in words(value) do emit("header", w) end
   end
end

return tide.job {
   -- Counting goes on over a gap, as the demo this job follows does; the gap is
   -- logged with its exact range.
   fail_on_data_loss = false,
   outputs = {
      tide.from(tide.kafka { topic = "demo-topic-1", start = "latest" })
         :flat_map(tokens, { "field", "word" })
         :group_by("field", "word")
         :count()
         :to(tide.console { mode = "update", rows = 100 }),
   },
}
