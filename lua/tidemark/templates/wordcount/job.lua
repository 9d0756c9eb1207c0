-- SPDX-License-Identifier: Apache-2.0
-- Counts words: each record's value is text.
local tide = require "tidemark"

-- Called for each record; each emit is a row with the columns named below.
local function words(rec, emit)
   for word in tide.words(rec.value) do
      emit(word:lower())
   end
end

return tide.from(tide.kafka { topic = "NAME", start = "earliest" })
   :flat_map(words, { "word" })
   :group_by("word")
   :count()
   :to(tide.console { mode = "update" })
