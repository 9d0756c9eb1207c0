-- SPDX-License-Identifier: Apache-2.0
-- What the lint knows of functions that are not the job's: which of them give
-- views, which pass on what they get, and which write to a table.
local text = require "tidemark.text"
local values = require "tidemark.lint_values"

local any, view, views, join, only, atom = values.any, values.view, values.views, values.join,
   values.only, values.atom

local M = {}

local function method(...)
   return only(atom("method", { gives = { ... } }))
end

local gives_any, gives_view, gives_views = method(any), method(view), method(views)
local of_record = {
   key = view, value = view, header = gives_view, headers = gives_views,
   decode = method(values.document),
}
local of_view = {
   words = gives_views, split = gives_views, lower = gives_view, upper = gives_view,
   sub = gives_view, trim = gives_view,
}

function M.record_field(key)
   return of_record[key] or any
end

function M.view_field(key)
   return of_view[key] or gives_any
end

-- Functions, as (flow, f, pc, args) -> list of sets ---------------------------

local function gives(...)
   local list = { ... }
   return function() return list end
end

local function passes_on(_, _, _, args)
   return args
end

local function all_of(_, _, _, args)
   local set = any
   for i = 1, args.n do
      set = join(set, args[i])
   end
   return { set, set, set, set }
end

-- type(x): where x is a local, what the answer says of it is used.
local function type_of(_, f, pc)
   local call = f.proto.code[pc]
   local before = f.proto.code[pc - 1]
   if before and before.op == "MOV" and before.a == call.a + f.proto.frame then
      f.made[pc] = f.made[pc] or only(atom("typename", { slot = before.d }))
      return { f.made[pc] }
   end
   return { any }
end

-- Loops over a table: keys that are no views as far as that went well.
local function each(library)
   return function(flow, f, pc, args)
      f.made[pc] = f.made[pc] or only(atom("each", { keys = any }))
      local one = next(f.made[pc])
      one.values = join(one.values, library.get(flow, args[1] or any, nil))
      return { f.made[pc] }
   end
end

local function setmetatable_of(_, _, _, args)
   for one in pairs(args[1] or any) do
      if one.kind == "table" then
         one.strange = true -- its keys may be taken care of
      end
   end
   return { args[1] }
end

local function called(skip)
   return function(library)
      return function(flow, f, pc, args)
         local rest = { n = math.max(args.n - skip, 0) }
         for i = 1, rest.n do
            rest[i] = args[i + skip]
         end
         local results = library.call(flow, f, pc, args[1] or any, rest)
         return { any, unpack(results) }
      end
   end
end

local function inserts(library)
   return function(flow, f, pc, args)
      library.put(flow, f, pc, args[1] or any, args[args.n] or any)
   end
end

local function changes(library)
   return function(flow, f, pc, args)
      library.put(flow, f, pc, args[1] or any, any)
      library.escape(flow, args)
      return { library.get(flow, args[1] or any, nil) }
   end
end

local function raw(library, writes)
   return function(flow, f, pc, args)
      library.used_as_key(flow, f, pc, args[1] or any, args[2] or any)
      if writes then
         library.put(flow, f, pc, args[1] or any, args[3] or any)
         return { args[1] }
      end
      return { library.get(flow, args[1] or any, nil) }
   end
end

--- By function, for an environment. `library` is what reads, writes and calls.
function M.of(env, library)
   local list, tables = {}, env.table
   list[text.words] = gives(views)
   list[env.type], list[env.assert], list[env.select] = type_of, passes_on, all_of
   list[env.pairs], list[env.ipairs] = each(library), each(library)
   list[env.setmetatable] = setmetatable_of
   list[env.pcall], list[env.xpcall] = called(1)(library), called(2)(library)
   list[env.rawset], list[env.rawget] = raw(library, true), raw(library, false)
   list[env.unpack] = function(flow, _, _, args)
      local set = library.get(flow, args[1] or any, nil)
      return { set, set, set, set }
   end
   list[tables.insert] = inserts(library)
   list[tables.remove], list[tables.sort] = changes(library), changes(library)
   return list
end

return M
