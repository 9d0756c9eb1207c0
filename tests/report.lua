-- SPDX-License-Identifier: Apache-2.0
-- What busted prints: one line per test as it ends, then the sum that tests/run
-- reads. A file that does not load and a setup that fails count as failed tests.
local busted = require "busted"

local function indent(text)
   return "      " .. tostring(text):gsub("\n", "\n      ")
end

local function seconds(element)
   return element.duration and (" (%.1f s)"):format(element.duration) or ""
end

return function()
   local handler = require "busted.outputHandlers.base"()
   local passed, failed, skipped = 0, 0, 0

   local function say(...)
      io.write(...)
      io.write("\n")
      io.flush()
   end

   local function show(record)
      local message = record.message
      if type(message) ~= "string" then
         message = message == nil and "no message" or require "pl.pretty".write(message)
      end
      say(indent(message))
      if record.trace and record.trace.traceback then
         say(indent((record.trace.traceback:gsub("^\n", ""))))
      end
   end

   function handler.testEnd(element, _, status)
      local name = handler.getFullName(element)
      if status == "success" then
         passed = passed + 1
         say("  ok    ", name, seconds(element))
      elseif status == "pending" then
         skipped = skipped + 1
         say("  skip  ", name)
      else
         failed = failed + 1
         say("  FAIL  ", name, seconds(element))
         local from = status == "failure" and handler.failures or handler.errors
         if from[#from] then
            show(from[#from])
         end
         -- The harness of the integration tests knows what else to show.
         local harness = package.loaded.harness
         if harness then
            say(indent(harness.postmortem()))
         end
      end
      return nil, true
   end

   function handler.errorOutside(element)
      if element.descriptor ~= "it" then
         failed = failed + 1
         say("  FAIL  ", tostring(element.descriptor), " ", tostring(element.name))
         if handler.errors[#handler.errors] then
            show(handler.errors[#handler.errors])
         end
      end
      return nil, true
   end

   function handler.suiteEnd()
      say(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
      return nil, true
   end

   busted.subscribe({ "test", "end" }, handler.testEnd, { predicate = handler.cancelOnPending })
   busted.subscribe({ "error" }, handler.errorOutside)
   busted.subscribe({ "failure" }, handler.errorOutside)
   busted.subscribe({ "suite", "end" }, handler.suiteEnd)
   return handler
end
