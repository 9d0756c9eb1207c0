-- SPDX-License-Identifier: Apache-2.0
-- What every part of the bench needs: commands and what they took, medians, and
-- goals that are reached or missed.
local cjson = require "cjson"

local M = { brokers = os.getenv "BROKERS", scratch = os.getenv "SCRATCH", failed = 0 }

function M.say(text, ...)
   io.stderr:write("bench: ", text:format(...), "\n")
end

function M.read(command)
   local pipe = assert(io.popen(command))
   local text = pipe:read "*a"
   pipe:close()
   return text
end

function M.shell(command)
   local ok = os.execute(command)
   return ok == true or ok == 0
end

function M.sorted(list, field)
   local values = {}
   for i, item in ipairs(list) do
      values[i] = item[field]
   end
   table.sort(values)
   return values
end

function M.median(list, field)
   local values = M.sorted(list, field)
   local n = #values
   return n % 2 == 1 and values[(n + 1) / 2] or (values[n / 2] + values[n / 2 + 1]) / 2
end

function M.check(ok, text, ...)
   if not ok then
      M.failed = M.failed + 1
   end
   print((ok and "  ok    " or "  MISS  ") .. text:format(...))
end

function M.measured(flags, command)
   local text = M.read(("build/bench/measure %s %s 2>%s/err"):format(flags, command, M.scratch))
   local took = text ~= "" and cjson.decode(text) or { exit = 1 }
   if took.exit ~= 0 then
      io.stderr:write(M.read(("tail -n 20 %s/err"):format(M.scratch)))
      error(("%s ended with %s"):format(command, tostring(took.exit)), 0)
   end
   return took
end

--- How many of a hundred are below it; of a list that is sorted.
function M.percentile(values, percent)
   return values[math.max(1, math.ceil(#values * percent / 100))]
end

--- A checkpoint and a file of progress that hold nothing yet.
function M.fresh()
   M.checkpoint, M.progress = M.scratch .. "/checkpoint", M.scratch .. "/progress"
   M.shell(("rm -rf %s %s"):format(M.progress, M.checkpoint))
   return M.checkpoint, M.progress
end

--- Topics that are empty, whatever was there.
function M.topics(partitions, ...)
   for _, name in ipairs { ... } do
      local admin = ("build/test/kadmin -b %s "):format(M.brokers)
      M.shell(("%s delete %s >%s/admin 2>&1"):format(admin, name, M.scratch))
      assert(M.shell(("%s create %s %d >%s/admin 2>&1"):format(admin, name, partitions, M.scratch)),
         "cannot create " .. name)
   end
end

function M.remove(...)
   for _, name in ipairs { ... } do
      M.shell(("build/test/kadmin -b %s delete %s >%s/admin 2>&1"):format(M.brokers, name,
         M.scratch))
   end
end

local function epochs_of(progress)
   local epochs, first = {}, nil
   for line in io.lines(progress) do
      local epoch = cjson.decode(line)
      local hours, minutes, seconds = epoch.timestamp:match "T(%d+):(%d+):([%d.]+)Z"
      epoch.began = (hours * 3600 + minutes * 60 + seconds) * 1e3
      first = first or epoch.began
      epoch.began = epoch.began + (epoch.began < first and 86400e3 or 0)
      epochs[#epochs + 1] = epoch
   end
   return epochs
end

--- From the start of the first epoch, which is when the first record is there, to
-- the end of the last one's publication, in milliseconds; how many rows came in, and
-- the last epoch.
function M.span_of(progress)
   local epochs, rows = epochs_of(progress), 0
   for _, epoch in ipairs(epochs) do
      rows = rows + epoch.numInputRows
   end
   local last = epochs[#epochs]
   return last.began + last.batchDurationMs - epochs[1].began, rows, last
end

--- Of the epochs before the last one that have at least so many rows: from the first of
-- them to the start of the last one, and how many rows they have.
function M.span_before_last(progress, least)
   local epochs, rows = epochs_of(progress), 0
   local from = #epochs
   while from > 1 and rows < least do
      from = from - 1
      rows = rows + epochs[from].numInputRows
   end
   return epochs[#epochs].began - epochs[from].began, rows
end

return M
