-- SPDX-License-Identifier: Apache-2.0
-- Hostile scripts in each place where a job has a function, under each on_error:
-- only the record fails, or the job where there is no record to blame; it takes no
-- longer than it may, and no more memory. Then random ones in a row.
local h = require "harness"
local row = require("column").row "scripts"

local MEMORY_MIB = 64 -- --script-memory
local LIMIT_MS = 300  -- --record-timeout, but for those that run on the default

-- What a record with the value "bad" does. `message`: what is said of it; nil: that it
-- does not return.
local kinds = {
   { "error", "error 'no good'", "no good" },
   { "no text", "error({})", "an error that is a table" },
   { "forged", "error({ tidemark = true, message = {}, path = 1 })", "an error that is a table" },
   { "long text", "error(('x'):rep(1e7))", "xxxxxxxxxxxxxxxx" },
   { "wrong type", "return {}", "" },
   { "loop", "while true do end" },
   { "counting loop", "local n = 0 while true do n = n + 1 end" },
   { "tail calls", "local function f() return f() end f()" },
   { "pcall loop", "while true do pcall(error, 'x') end" },
   { "pcall around a loop", "while true do pcall(function() while true do end end) end" },
   { "xpcall loop", "while true do xpcall(error, function() end) end" },
   { "coroutine loop", "local c = coroutine.wrap(function() while true do coroutine.yield() end " ..
     "end) while true do c() end" },
   { "loop in a coroutine", "coroutine.wrap(function() while true do end end)()" },
   { "tostring without end", "tostring(setmetatable({}, { __tostring = function() while true do " ..
     "end end }))" },
   { "error without end", "error(setmetatable({}, { __tostring = function() while true do end " ..
     "end }))" },
   { "pattern find", "string.find(('a'):rep(40), ('a?'):rep(40) .. ('a'):rep(41))" },
   { "pattern match", "(('a'):rep(3000)):match('.-.-.-.-.-b')" },
   { "pattern gsub", "(('a'):rep(3000)):gsub('.-.-.-.-.-b', '')" },
   { "pattern gmatch", "for _ in ('a'):rep(3000):gmatch('a*a*a*a*a*b') do end" },
   { "endless comparison", "table.sort({ 3, 1, 2 }, function() while true do end end)" },
   { "words without end", "while true do for _ in tide.words('a b c') do end end", "" },
   { "table", "local t = {} for i = 1, 1e9 do t[i] = { i } end", "--script-memory" },
   { "strings", "local t = {} for i = 1, 1e9 do t['key ' .. i] = true end", "--script-memory" },
   { "closures", "local f for i = 1, 1e9 do local g = f f = function() return g end end",
     "--script-memory" },
   { "doubling", "local s = 'x' for _ = 1, 60 do s = s .. s end", "--script-memory" },
   { "gsub growth", "local s = 'xx' for _ = 1, 60 do s = s:gsub('x', 'xx') end",
     "--script-memory" },
   { "concat growth",
     "local t = ('x'):rep(1e6) for _ = 1, 60 do t = table.concat({ t, t }) end",
     "--script-memory" },
   { "memory in a pcall loop", "local t = {} while true do pcall(function() for i = 1, 1e9 do " ..
     "t[#t + 1] = { i } end end) end", "" },
   { "string.rep", "return #string.rep('x', 2^40)", "string.rep would make" },
   { "unpack", "return select('#', unpack({}, 1, 1e8))", "unpack: " },
   { "recursion", "local function f() return 1 + f() end f()", "stack overflow" },
   { "gsub in gsub", "local function f() return (('x'):gsub('x', f)) end f()", "stack overflow" },
   { "coroutines in coroutines", "local function f() coroutine.wrap(f)() end f()",
     "stack overflow" },
   { "sort in sort", "local function f() table.sort({ 3, 1, 2 }, f) return true end f()",
     "stack overflow" },
   { "collector", "collectgarbage 'stop'", "jobs do not control the collector" },
   { "a view without end", "while true do local _ = rec.value:lower() end", "" },
}

local FROM = 'local s = tide.from(tide.kafka { topic = "unset", start = "earliest" })\n'
local MAKE = FROM .. '   :map(function(rec) return tostring(rec.value) end, { "v:string" })\n'
local OUT = 'return tide.job { on_error = ON_ERROR, outputs = {\n' ..
   '   s:to(tide.console { mode = "append" }) } }'

-- Where it stands; LINE is what a kind does. The value "bad" meets it, and others pass.
local places = {
   map = FROM .. [[
   :map(function(rec) local v = tostring(rec.value)
if v == "bad" then LINE end return v end, { "v:string" })
]] .. OUT,
   flat_map = FROM .. [[
   :flat_map(function(rec, emit) local v = tostring(rec.value) emit(v)
if v == "bad" then emit((function() LINE end)()) end end, { "v:string" })
]] .. OUT,
   filter = FROM .. [[
   :filter(function(rec)
if tostring(rec.value) == "bad" then error(tostring((function() LINE end)())) end return true end)
   :map(function(rec) return tostring(rec.value) end, { "v:string" })
]] .. OUT,
   with = MAKE .. [[
   :with("n:string", function(row) local rec = row.rec
if row.v == "bad" then LINE end return row.v end):select { "v" }
]] .. OUT,
   time = FROM .. [[
   :map(function(rec) local v = tostring(rec.value)
if v == "bad" then LINE end return v, tide.parse "2024-01-01T00:00:00Z" end,
        { "v:string", "ts:timestamp" })
   :watermark("ts", "1s"):select { "v" }
]] .. OUT,
   add = MAKE .. [[
   :group_by("v"):aggregate { tide.aggregator { state = { n = "int" }, returns = "int",
      add = function(state, v) state.n = state.n + 1
if v == "bad" then local rec = { value = "" } LINE end end,
      merge = function(state, other) state.n = state.n + other.n end,
      result = function(state) return state.n end } "v" :as "n" }:select { "v" }
return tide.job { on_error = ON_ERROR, outputs = { s:to(tide.console { mode = "update" }) } }
]],
}

-- A late row's topic: the second record is late once the first has been an epoch.
places.late_to = FROM .. [[
   :map(function(rec) local v = tostring(rec.value)
return v, tide.parse(v == "a" and "2024-01-02T00:00:00Z" or "2024-01-01T00:00:00Z") end,
        { "v:string", "ts:timestamp" })
   :watermark("ts", "1s")
   :late_to(tide.kafka { topic = function(row)
if row.v == "bad" then local rec = { value = row.v } LINE end return tide.setting "late" end })
   :select { "v" }
]] .. OUT

-- Where there is no record to blame, the job ends, with this code and message.
local whole = {
   { "load, endless", "while true do end\n" .. MAKE .. OUT, "job.lua:2: the job file does not" },
   { "load, a pattern", "string.find(('a'):rep(40), ('a?'):rep(40) .. ('a'):rep(41))\n" .. MAKE ..
     OUT, "job.lua:2: the job file does not" },
   { "load, memory", "local t = {} for i = 1, 1e9 do t[i] = { i } end\n" .. MAKE .. OUT,
     "--script-memory" },
   { "load, error", "error(setmetatable({}, { __tostring = error }))\n" .. MAKE .. OUT,
     "job.lua:2: an error that is a table" },
   { "merge, endless", "merge = function(s, o) while true do end end",
     "job.lua:6: merging states does not return" },
   { "merge, a pattern", "merge = function(s, o) string.find(('a'):rep(40), ('a?'):rep(40) .. " ..
     "('a'):rep(41)) end", "job.lua:6: merging states does not return" },
   { "merge, error", "merge = function(s, o) error 'no' end", "job.lua:6: no" },
   { "result, endless", "result = function(s) while s.n do end end",
     "job.lua:6: finishing states does not return" },
   { "result, memory", "result = function() local t = {} for i = 1, 1e9 do t[i] = { i } end end",
     "--script-memory" },
   { "result, error", "result = function(s) error({}) end", "job.lua:6: an error that is a table" },
}

local function aggregator(field)
   return MAKE .. [[
   :group_by("v"):aggregate { tide.aggregator { state = { n = "int" }, returns = "int",
      add = function(state) state.n = state.n + 1 end,
]] .. field .. ",\n" .. (field:find "^merge" and "result = function(s) return s.n end"
                       or "merge = function(s, o) s.n = s.n + o.n end") .. [[
 } () :as "n" }
return tide.job { outputs = { s:to(tide.console { mode = "update" }) } }
]]
end

-- What ends for want of memory has time for it, however slow the machine is.
local function limit_of(message)
   return message == "--script-memory" and "60s" or LIMIT_MS .. "ms"
end

local function args_of(topic, ...)
   return { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui", "--workers", 1,
            "--memory", "16M", "--script-memory", MEMORY_MIB .. "M", "--output", "json",
            "--progress", h.path "progress", "--checkpoint-dir", h.path "cp", ... }
end

local function rows_in()
   local file, sum = io.open(h.path "progress"), 0
   if not file then
      return 0
   end
   file:close()
   for _, epoch in ipairs(h.progress()) do
      sum = sum + epoch.numInputRows
   end
   return sum
end

local topic, calm_bytes

-- A job over the records a, bad, c that goes on; what it printed, and its peak of memory.
local function run_on(text, on_error, ...)
   h.job((text:gsub("ON_ERROR", (on_error:gsub("%%", "%%%%")))))
   local job = h.start(args_of(topic, ...))
   h.eventually("three records", function() return rows_in() >= 3 end, job)
   local _, peak = h.process.memory(job.pid)
   job:kill "TERM"
   h.expect_exit(job, 0)
   local seen = {}
   for _, printed in ipairs(h.json_lines(job:out())) do
      seen[#seen + 1] = printed.v
   end
   table.sort(seen)
   return seen, peak, job:err()
end

local function with_line(place, line)
   local text = places[place]:gsub("LINE", function() return line end)
   return text
end

local slowest_ms, largest, struck = 0, 0, 0

-- The product says itself how long the record had its processor.
local function assert_quick(err)
   local ms = tonumber(err:match "it does not return, after (%d+) ms")
   assert.is_truthy(ms, err)
   slowest_ms = math.max(slowest_ms, ms)
   return ms
end

local function strike(kind, place, policy, default_limit)
   local name, line, message = kind[1], kind[2], kind[3]
   -- What ends for want of memory, or of what a column takes, has no line.
   local lined = message ~= "" and message ~= "--script-memory"
   local text, limit = with_line(place, line), default_limit and {} or
      { "--record-timeout", limit_of(message) }
   local late = place == "late_to" and h.topic(1, "late")
   if late then
      limit = { "--max-records-per-batch", 1, "--set", "late=" .. late, unpack(limit) }
   end
   if policy == "fail" then
      h.job((text:gsub("ON_ERROR", '"fail"')))
      local job = h.run(args_of(topic, "--until-end", unpack(limit)), nil, 3)
      local err = job:err()
      assert.is_truthy(err:find(topic .. "[0]@1: ", 1, true), name .. ": " .. err)
      assert.is_truthy(not lined or err:find("job.lua:", 1, true), name .. ": " .. err)
      assert.is_truthy(err:find(message or "it does not return", 1, true), name .. ": " .. err)
   else
      local dead = policy == "sink" and h.topic(1, "dead")
      local on_error = dead and ("tide.kafka { topic = %q }"):format(dead) or '"skip"'
      local seen, peak, err = run_on(text, on_error, unpack(limit))
      assert.are.same({ "a", "c" }, seen, name .. ": " .. err)
      if late then
         local rows = h.json_lines(h.kadmin("consume", late, 0, 0, -1))
         assert.are.equal(1, #rows)
         assert.is_truthy(rows[1].value:find('"v":"c"', 1, true), rows[1].value)
      end
      assert.is_truthy(err:find(message or "it does not return", 1, true), name .. ": " .. err)
      if not message and assert_quick(err) then
         assert.is_true(default_limit == nil or assert_quick(err) < 2000, err)
      end
      if dead then
         local letters = h.json_lines(h.kadmin("consume", dead, 0, 0, -1))
         assert.are.equal(1, #letters)
         assert.is_truthy(letters[1].value:find('"offset":1', 1, true), letters[1].value)
         assert.is_truthy(not lined or letters[1].value:find("job.lua:", 1, true),
                          letters[1].value)
      end
      local beyond = (peak - calm_bytes) / 2 ^ 20
      largest = math.max(largest, beyond)
      assert.is_true(h.sanitized or beyond <= MEMORY_MIB * 1.1,
                     ("%s: %.0f MiB more than a calm job"):format(name, beyond))
   end
   struck = struck + 1
end

describe("hostile scripts,", function()
   local order = { "map", "flat_map", "filter", "with", "time", "add" }
   local policies = { "skip", "sink", "fail" }

   before_each(function()
      h.begin()
      if topic then
         return
      end
      topic = h.topic(1, "scripts")
      h.produce(topic, { { value = "a" }, { value = "bad" }, { value = "c" } })
      local _, peak = run_on(with_line("map", ""), '"skip"')
      calm_bytes = peak
      h.begin()
   end)

   if row.soak then
      it(("%d by chance, SEED=%d"):format(row.count, row.seed), function()
         for _ = 1, row.count do
            h.begin()
            local kind, place = kinds[row:random(#kinds)], order[row:random(#order)]
            if kind[1] ~= "wrong type" or place == "map" then
               strike(kind, place, policies[row:random(3)])
            end
         end
      end)
   else
      for i, kind in ipairs(kinds) do
         local place = kind[1] == "wrong type" and "map" or order[i % #order + 1]
         local policy = policies[(i + math.floor(i / 6)) % 3 + 1]
         it(("%s in %s, on_error %s"):format(kind[1], place, policy), function()
            strike(kind, place, policy)
         end)
      end
      for i, name in ipairs { "error", "loop", "table" } do
         local policy = policies[(i + 1) % 3 + 1]
         it(("%s in late_to, on_error %s"):format(name, policy), function()
            for _, kind in ipairs(kinds) do
               if kind[1] == name then
                  strike(kind, "late_to", policy)
               end
            end
         end)
      end
      it("a loop is noticed within two seconds by default", function()
         strike(kinds[6], "map", "skip", true)
      end)
   end

   for _, case in ipairs(whole) do
      it("in " .. case[1], function()
         if case[2]:find "^merge" or case[2]:find "^result" then
            h.job(aggregator(case[2]))
         else
            h.job((case[2]:gsub("ON_ERROR", '"skip"')))
         end
         -- Two epochs, so that what is there is merged with what comes.
         local job = h.start(args_of(topic, "--until-end", "--max-records-per-batch", 1,
                                     "--record-timeout", limit_of(case[3]), "--from", "earliest"))
         local code = job:wait(120)
         assert.are.equal(3, code, job:err())
         assert.is_truthy(job:err():find(case[3], 1, true), job:err())
         struck = struck + 1
      end)
   end

   teardown(function()
      row:tally(struck, ("slowest notice %d ms of processor time, most memory %.0f MiB of %d")
                   :format(slowest_ms, largest, MEMORY_MIB))
   end)
end)
