-- SPDX-License-Identifier: Apache-2.0
-- Wrong on purpose: rows are numbered by a variable, which every worker has for
-- itself and no checkpoint knows.
local tide = require "tidemark"

local count = 0

return tide.from(tide.kafka { topic = "lines" })
   :map(function(rec)
      count = count + 1
      return count, tostring(rec.value)
   end, { "number:int", "line" })
   :to(tide.console { mode = "append" })
