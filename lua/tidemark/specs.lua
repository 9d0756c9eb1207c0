-- SPDX-License-Identifier: Apache-2.0
-- What `tidemark test` runs: busted over the specs of jobs, inside the program,
-- so that tidemark.testing finds what runs a job.
local M = {}

-- Numbers of enum tide_status.
local USAGE, DIFFER = -2, -4

local function join(folder, name)
   return folder == "." and name or folder:gsub("/+$", "") .. "/" .. name
end

local function is_spec(name)
   return name:match "_spec%.lua$" ~= nil
end

-- The specs of a folder, sorted.
local function specs_in(lfs, folder)
   local list = {}
   for name in lfs.dir(folder) do
      if is_spec(name) then
         list[#list + 1] = join(folder, name)
      end
   end
   table.sort(list)
   return list
end

-- What a word on the command line stands for: a spec, a folder of them, or a job,
-- whose specs lie beside it.
local function specs_of(lfs, word)
   local kind = lfs.attributes(word, "mode")
   if not kind then
      return nil, ("there is no %s"):format(word)
   elseif kind == "directory" then
      local list = specs_in(lfs, word)
      return #list > 0 and list,
             ("%s has no specs: files whose names end in _spec.lua"):format(word)
   elseif is_spec(word) then
      return { word }
   end
   local own = word:gsub("%.lua$", "") .. "_spec.lua"
   if lfs.attributes(own, "mode") then
      return { own }
   end
   local folder = word:match "^(.*)/[^/]*$" or "."
   local list = specs_in(lfs, folder)
   return #list > 0 and list, ("there is no spec for %s: no %s beside it"):format(word, own)
end

--- The spec files that words on the command line stand for; no words are the
--- folder where we are. Or nil and why not.
function M.find(lfs, words)
   if #words == 0 then
      words = { "." }
   end
   local list, seen = {}, {}
   for _, word in ipairs(words) do
      local found, why = specs_of(lfs, word)
      if not found then
         return nil, why
      end
      for _, path in ipairs(found) do
         if not seen[path] then
            seen[path] = true
            list[#list + 1] = path
         end
      end
   end
   return list
end

-- busted ends the process; here it only ends busted.
local function run_busted(runner)
   local over, code = {}, nil
   local exit = os.exit
   os.exit = function(given) -- luacheck: ignore 122
      code = given == nil and 0 or given
      error(over, 0)
   end
   local ok, e = pcall(runner, { standalone = false })
   os.exit = exit -- luacheck: ignore 122
   if not ok and e ~= over and e ~= nil then
      error(e, 0)
   end
   return code == 0 or code == true or (ok and code == nil)
end

-- The words of the command line, and what busted is to be told.
local function sorted_out(args)
   local words, options = {}, {}
   for _, arg in ipairs(args) do
      local list = arg:match "^%-%-" and options or words
      list[#list + 1] = arg
   end
   return words, options
end

function M.main(args)
   local found, runner = pcall(require, "busted.runner")
   if not found then
      return USAGE, "the tests of jobs run with busted, which is not installed here: on Debian, " ..
                    "`apt-get install lua-busted`"
   end
   local words, options = sorted_out(args)
   local specs, why = M.find(require "lfs", words)
   if not specs then
      return USAGE, why .. "; `tidemark new NAME` makes a job with one"
   end
   require "tidemark.testing"
   _G.arg = { [0] = "tidemark test" }
   for _, list in ipairs { options, { "--" }, specs } do
      for _, one in ipairs(list) do
         table.insert(_G.arg, one)
      end
   end
   if not run_busted(runner) then
      return DIFFER, ""
   end
end

return M
