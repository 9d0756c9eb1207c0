-- SPDX-License-Identifier: Apache-2.0
-- Where a job's time goes and where LuaJIT gives up compiling it: what the sampler
-- in src/job/sampler.c counts, and what the JIT says of its traces, as a report.
local boot = require "tidemark.boot"
local cjson = require "cjson"
local errors = require "tidemark.errors"
local jutil = require "jit.util"

local M = {}

local TEXT_MAX = 78
-- A file of so many lines is shown whole, and of others so many around a line that
-- takes that share of the time.
local WHOLE_MAX, AROUND, HOT_SHARE = 60, 3, 0.01

-- Reasons that are part of finding good traces: another attempt begins elsewhere.
local HARMLESS = {
   ["leaving loop in root trace"] = true, ["inner loop in root trace"] = true,
   ["retry recording"] = true, ["loop unroll limit reached"] = true,
   ["down-recursion, restarting"] = true, ["hit mcode limit (retrying)"] = true,
}

-- What to write instead, by what the reason says.
local ADVICE = {
   { "gmatch", ":words() and :split() of a text compile, as rec.value:words()" },
   { "gsub", "string.find with plain text and :sub compile; keep gsub for rows that need it" },
   { "string%.match", "string.find(text, what, 1, true) compiles; patterns do not" },
   { "string%.find", "only plain searches compile: string.find(text, what, 1, true)" },
   { "FNEW", "make the function once, outside of the function that runs for each row" },
   { "UCLO", "a function made in a loop keeps a local of it; make it outside" },
   { "VARG", "name the arguments instead of ..." },
   { "unpack", "name the values instead of unpack(...)" },
   { "select", "name the arguments instead of select over ..." },
   { "table%.concat", "concatenate with .. where the pieces are few and known" },
   { "table%.sort", "sort fewer values, or keep the greatest one in an aggregate" },
   { "next", "walk lists with for i = 1, #list" },
   { "pairs", "walk lists with for i = 1, #list" },
   { "tostring", "tostring compiles for numbers and strings only" },
   { "error", "filter bad rows instead of raising errors for them" },
   { "pcall", "check the value first; pcall of what fails is interpreted" },
   { "type instability", "let a variable hold one type in a loop" },
   { "too many snapshots", "split the function: it has too many branches" },
   { "trace too long", "split the function, or shorten the loop in it" },
   { "blacklisted", "the attempts before failed too often; mend the other reasons" },
   { "call unroll", "write the recursion as a loop" },
   { "C function", "this library function is not compiled; call it for fewer rows" },
   { "FastFunc", "this variant of the function is not compiled; call it for fewer rows" },
}

-- Names of reasons, functions and bytecodes, of Debian's libluajit-5.1-common.
local vmdef
local function definitions()
   local version = jit.version:match "^LuaJIT (%S+)"
   for _, dir in ipairs { "/usr/share", "/usr/local/share" } do
      local chunk = loadfile(("%s/luajit-%s/jit/vmdef.lua"):format(dir, version))
      local ok, found = pcall(chunk)
      if ok and found then
         return found
      end
   end
   return { traceerr = {}, ffnames = {}, bcnames = "" }
end

local function name_of(fn, names)
   local info = jutil.funcinfo(fn)
   local name = info.ffid and info.ffid > 1 and names.ffnames[info.ffid]
   return name and name:gsub("_aux$", "") or info.loc or "a C function"
end

local function reason_of(code, info)
   local text = type(code) == "number" and vmdef.traceerr[code] or tostring(code)
   if type(info) == "function" then
      info = name_of(info, vmdef)
   elseif type(info) == "number" and text:find("bytecode", 1, true) then
      local name = vmdef.bcnames:sub(info * 6 + 1, info * 6 + 6):gsub("%s", "")
      return ("NYI: bytecode %s"):format(name)
   end
   return (text:gsub("%%[sd]", function() return tostring(info) end))
end

-- Places ---------------------------------------------------------------------------

-- Steps of generated text: name of the chunk → line → place.
local function steps_of(made, keyed)
   local list, at = {}, keyed and { path = keyed.path, line = keyed.line }
   local number = 0
   for line in made.text:gmatch "([^\n]*)\n" do
      number = number + 1
      local path, at_line = line:match "^%-%- .*%[(.+):(%d+)%]$"
      if path then
         at = { path = path, line = tonumber(at_line) }
      elseif line == "end)()" or line:match "^return " then
         list[number], at = at, keyed and { path = keyed.path, line = keyed.line }
      end
      list[number] = list[number] or at
   end
   return list
end

local function made_for_steps()
   local runner, all = boot.runner(), {}
   local function put(name, made, keyed)
      all["=tidemark " .. name] = steps_of(made, keyed)
   end
   for i, made in pairs(runner.inputs) do
      local behind = i - #runner.program.inputs
      put(behind > 0 and "behind " .. behind or "input " .. i, made)
   end
   for k, keyed in ipairs(runner.program.keyed) do
      if runner.adds[k] then
         put("add " .. k, runner.adds[k], keyed)
         put("merge " .. k, runner.merges[k], keyed)
      end
      for number, made in pairs(runner.finishes[k] or {}) do
         put(number == 0 and "finish " .. k or ("finish %d for output %d"):format(k, number), made,
             keyed)
      end
   end
   return all
end

-- Path and line of the job for a line of a chunk, or nil.
local function place(made, source, line)
   if errors.knows(source) then
      return source:sub(2), line
   end
   local step = made[source] and made[source][line]
   if step then
      return step.path, step.line
   end
   return nil
end

-- The JIT's own words ------------------------------------------------------------

-- By "source:line:reason".
local stops

-- The innermost frame of the job, or of what was made for it.
local function stopped_at(func, pc)
   local info = func and jutil.funcinfo(func, pc)
   if info and info.source and errors.knows(info.source) then
      return info.source, info.currentline
   end
   local level, generated, generated_line = 3, nil, nil
   while true do
      local frame = debug.getinfo(level, "Sl")
      if not frame then
         return generated, generated_line
      elseif errors.knows(frame.source) then
         return frame.source, frame.currentline
      elseif not generated and frame.source:find("^=tidemark ") then
         generated, generated_line = frame.source, frame.currentline
      end
      level = level + 1
   end
end

local function add_stop(reason, func, pc)
   local source, line = stopped_at(func, pc)
   local key = ("%s:%d:%s"):format(source or "?", line or 0, reason)
   local stop = stops[key] or { source = source, line = line, reason = reason, count = 0 }
   stop.count = stop.count + 1
   stops[key] = stop
end

local function on_trace(what, trace, func, pc, code, info)
   if what == "abort" then
      add_stop(reason_of(code, info), func, pc)
   elseif what == "stop" and jutil.traceinfo(trace).linktype == "stitch" then
      add_stop("not compiled: " .. name_of(func, vmdef), func, pc)
   end
end

--- From now on.
function M.begin()
   vmdef, stops = vmdef or definitions(), {}
   jit.attach(on_trace, "trace")
end

--- The end of that: where traces stopped, as text for M.finish, which may run in
-- another worker's Lua state.
function M.stops()
   local list = {}
   jit.attach(on_trace)
   for _, stop in pairs(stops) do
      list[#list + 1] = stop
   end
   return cjson.new().encode(list)
end

-- The report -------------------------------------------------------------------------

local function advice_for(reason)
   for _, pair in ipairs(ADVICE) do
      if reason:find(pair[1]) then
         return pair[2]
      end
   end
   return nil
end

local function rounded(count)
   return math.floor(count + 0.5)
end

-- Lines of the job with their samples, the most first; and what is nobody's.
local function lines_of(made, counted)
   local by, list, runtime = {}, {}, counted.elsewhere
   for _, entry in ipairs(counted) do
      local path, line = place(made, entry.source, entry.line)
      local samples = entry.N + entry.I + entry.C + entry.G
      if path then
         local key = path .. ":" .. line
         if not by[key] then
            by[key] = { file = path, line = line, samples = 0, compiled = 0, collecting = 0,
                        source = errors.line_text(path, line) or "" }
            list[#list + 1] = by[key]
         end
         local at = by[key]
         at.samples, at.compiled = at.samples + samples, at.compiled + entry.N
         at.collecting = at.collecting + entry.G
      else
         runtime = runtime + samples
      end
   end
   for _, at in ipairs(list) do
      at.samples, at.compiled = rounded(at.samples), rounded(at.compiled)
      at.collecting = rounded(at.collecting)
   end
   table.sort(list, function(a, b)
      if a.samples ~= b.samples then
         return a.samples > b.samples
      elseif a.file ~= b.file then
         return a.file < b.file
      end
      return a.line < b.line
   end)
   return list, rounded(runtime)
end

-- All workers', each with what it counted.
local function stops_in(workers)
   local list = {}
   for _, worker in ipairs(workers) do
      for _, stop in ipairs(worker.stops and cjson.new().decode(worker.stops) or {}) do
         list[#list + 1] = stop
      end
   end
   return list
end

local function stops_of(made, workers)
   local list, harmless, by = {}, 0, {}
   for _, stop in ipairs(stops_in(workers)) do
      local path, line = nil, nil
      if stop.source then
         path, line = place(made, stop.source, stop.line)
      end
      if not path or HARMLESS[stop.reason] then
         harmless = harmless + stop.count
      else
         local key = ("%s:%d:%s"):format(path, line, stop.reason)
         if by[key] then
            by[key].count = by[key].count + stop.count
         else
            by[key] = { file = path, line = line, reason = stop.reason, count = stop.count,
                        advice = advice_for(stop.reason), source = errors.line_text(path, line) }
            list[#list + 1] = by[key]
         end
      end
   end
   table.sort(list, function(a, b)
      if a.count ~= b.count then
         return a.count > b.count
      elseif a.file ~= b.file then
         return a.file < b.file
      elseif a.line ~= b.line then
         return a.line < b.line
      end
      return a.reason < b.reason
   end)
   return list, harmless
end

local function clipped(text)
   text = text:gsub("\t", "   ")
   return #text > TEXT_MAX and text:sub(1, TEXT_MAX - 3) .. "..." or text
end

-- Which lines of a file are shown: all of a short one, else those that take time or
-- where compiled code stops, and what is around them.
local function shown_of(file, count, whole)
   local shown = {}
   for line = 1, count do
      shown[line] = whole or count <= WHOLE_MAX
   end
   for line, at in pairs(file.at) do
      if at.share >= HOT_SHARE or at.stops > 0 then
         for near = math.max(1, line - AROUND), math.min(count, line + AROUND) do
            shown[near] = true
         end
      end
   end
   return shown
end

-- Files, the one that takes most first: what each of their lines takes.
local function files_of(report)
   local files, by = {}, {}
   local function at_of(path, line)
      local file = by[path]
      if not file then
         file = { path = path, samples = 0, at = {} }
         by[path], files[#files + 1] = file, file
      end
      local at = file.at[line] or { samples = 0, compiled = 0, share = 0, stops = 0 }
      file.at[line] = at
      return at, file
   end
   for _, line in ipairs(report.lines) do
      local at, file = at_of(line.file, line.line)
      at.samples, at.compiled = line.samples, line.compiled
      at.share = line.samples / report.samples
      file.samples = file.samples + line.samples
   end
   for _, stop in ipairs(report.aborts) do
      local at = at_of(stop.file, stop.line)
      at.stops = at.stops + stop.count
   end
   table.sort(files, function(a, b)
      if a.samples ~= b.samples then
         return a.samples > b.samples
      end
      return a.path < b.path
   end)
   return files
end

local function show_file(file, whole, put)
   local count = errors.line_count(file.path)
   local shown, gap = shown_of(file, count, whole), false
   put("%s\n", file.path)
   for line = 1, count do
      local at, text = file.at[line], clipped(errors.line_text(file.path, line))
      if not shown[line] then
         gap = true
      else
         if gap then
            put("%34s...\n", "")
            gap = false
         end
         local stopped = at and at.stops > 0 and ("%5d"):format(at.stops) or "     "
         if at and at.samples > 0 then
            put("%6.1f %8d %8.0f%% %s %5d | %s\n", 100 * at.share, at.samples,
                100 * at.compiled / at.samples, stopped, line, text)
         else
            put("%25s %s %5d | %s\n", "", stopped, line, text)
         end
      end
   end
   if gap then
      put("%34s...\n", "")
   end
end

-- They were looked at in turn.
local function show_workers(workers, put)
   local spent_ms = 0
   for _, worker in ipairs(workers) do
      spent_ms = spent_ms + worker.spent_ms
   end
   for _, worker in ipairs(#workers > 1 and workers or {}) do
      put("worker %d: %.0f%% of their time%s\n", worker.worker,
          100 * worker.spent_ms / math.max(spent_ms, 1),
          worker.samples > 0 and (", looked at %d times"):format(worker.samples)
          or "; the run was too short to look at it")
   end
end

local function show(report, whole)
   local out = {}
   local function put(text, ...)
      out[#out + 1] = text:format(...)
   end
   local function percent(samples)
      return report.samples > 0 and 100 * samples / report.samples or 0
   end
   put("== profile: %d samples of the processor time of %s\n", report.samples,
       #report.workers == 1 and "one worker" or ("%d workers"):format(#report.workers))
   show_workers(report.workers, put)
   put("self %%  samples  compiled stops  line\n")
   for _, file in ipairs(files_of(report)) do
      show_file(file, whole, put)
   end
   put("%6.1f %8d           runtime: states, keys and rows between the steps\n",
       percent(report.runtime), report.runtime)
   put("%6.1f %8d           compiling the job\n", percent(report.compiling), report.compiling)
   put("%6.1f %8d           outside of Lua: reading records, keeping states\n",
       percent(report.outside), report.outside)
   if #report.aborts > 0 then
      put("\nwhere compiled code stops\n")
   end
   for _, stop in ipairs(report.aborts) do
      put("%s:%d: %s (%d time%s)\n", stop.file, stop.line, stop.reason, stop.count,
          stop.count == 1 and "" or "s")
      if stop.source then
         put("%6d | %s\n", stop.line, clipped(stop.source))
      end
      if stop.advice then
         put("       %s\n", stop.advice)
      end
   end
   if report.retries > 0 then
      put("%d other attempts to compile ended early, which is usual\n", report.retries)
   end
   return table.concat(out)
end

--- The report of what was counted since M.begin, in all workers: text, of whole
-- files if asked for, or one JSON object.
function M.finish(counted, json, whole)
   local made = made_for_steps()
   local report = { outside = rounded(counted.outside), compiling = rounded(counted.compiling) }
   report.lines, report.runtime = lines_of(made, counted)
   report.aborts, report.retries = stops_of(made, counted.workers)
   report.workers = counted.workers
   for _, worker in ipairs(report.workers) do
      worker.stops = nil
   end
   report.samples = report.outside + report.compiling + report.runtime
   for _, at in ipairs(report.lines) do
      report.samples = report.samples + at.samples
   end
   if not json then
      return show(report, whole)
   end
   local text = cjson.new().encode(report)
   return text:gsub('"(%l+)":{}', '"%1":[]') .. "\n" -- cjson cannot know
end

return M
