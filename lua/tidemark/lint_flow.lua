-- SPDX-License-Identifier: Apache-2.0
-- Follows what a row function's variables may hold through its bytecode, and
-- through the job's functions that it calls: where a view becomes the key of a
-- plain table, and where something outside the function is assigned.
local bytecode = require "tidemark.bytecode"
local models = require "tidemark.lint_models"
local values = require "tidemark.lint_values"

local any, view, join, only, atom = values.any, values.view, values.join, values.only, values.atom
local STEPS_MAX, DEPTH_MAX, ROUNDS_MAX, ITEMS_MAX = 100000, 24, 4, 32
local NO_JUMP = 32768

local M = {}

-- Values ---------------------------------------------------------------------

--- A value of the job as it is after loading, by the name it is reached by.
function M.concrete(flow, value, name)
   if type(value) ~= "table" and type(value) ~= "function" then
      return any
   end
   local set = flow.concrete[value]
   if not set then
      set = only(atom("value", { value = value, name = name }))
      flow.concrete[value] = set
   end
   return set
end
local concrete = M.concrete

local function plain(one)
   return one.kind == "table" and not one.strange or
      (one.kind == "value" and type(one.value) == "table" and not debug.getmetatable(one.value))
end

-- What a table of the job holds under a key, or under any.
local function concrete_item(flow, one, key)
   local table_of, name = one.value, one.name or "?"
   if table_of == flow.tide then
      local ok, item = pcall(function() return table_of[key] end)
      return concrete(flow, ok and item or nil, "tide." .. tostring(key))
   elseif type(table_of) ~= "table" then
      return any
   elseif key ~= nil then
      return concrete(flow, rawget(table_of, key), name .. "." .. tostring(key))
   end
   local set, left = any, ITEMS_MAX
   for _, item in next, table_of do
      set = join(set, concrete(flow, item, name .. "[…]"))
      left = left - 1
      if left == 0 then
         break
      end
   end
   return set
end

local function get(flow, from, key)
   local set
   for one in pairs(from) do
      local kind, found = one.kind, any
      if kind == "record" then
         found = models.record_field(key)
      elseif kind == "row" then
         found = key == "rec" and values.record or any
      elseif kind == "view" then
         found = models.view_field(key)
      elseif kind == "table" then
         found = one.items or any
      elseif kind == "value" then
         found = concrete_item(flow, one, key)
      end
      set = join(set, found)
   end
   return set or any
end
M.get = get

-- Reports ----------------------------------------------------------------------

--- A table is indexed by `key`.
function M.used_as_key(flow, f, pc, from, key)
   if not key[values.VIEW] then
      return
   end
   for one in pairs(from) do
      if plain(one) then
         flow.report(f.proto, pc, "key", one.name)
      end
   end
end

--- `set` goes into a table.
function M.put(flow, f, pc, into, set)
   for one in pairs(into) do
      if one.kind == "table" then
         local items = join(one.items, set)
         if items ~= one.items then
            one.items, flow.changed = items, true
         end
      elseif one.kind == "value" and one.value == flow.env then
         flow.report(f.proto, pc, "global")
      elseif plain(one) then
         flow.report(f.proto, pc, "table", one.name)
         flow.told[one.value] = true
      end
   end
end

-- Calls ------------------------------------------------------------------------

-- A function of the job that exists, as the analysis sees one.
local function function_of(flow, value)
   local fn = flow.functions[value]
   if fn == nil then
      fn = false
      local info = debug.getinfo(value, "S")
      if info.what ~= "C" and flow.of_job(info.source) then
         fn = { proto = bytecode.read(value), cells = {} }
         for i in pairs(fn.proto.upvalues) do
            local name, held = debug.getupvalue(value, i + 1)
            fn.cells[i] = { name = name, outside = true, set = concrete(flow, held, name) }
         end
      end
      flow.functions[value] = fn
   end
   return fn
end

local analyze

-- Whoever gets these functions may call them, with anything.
local function escape(flow, args)
   for i = 1, args.n do
      for one in pairs(args[i]) do
         local fn = one.kind == "closure" and one or
            (one.kind == "value" and type(one.value) == "function" and function_of(flow, one.value))
         if fn then
            analyze(flow, fn, { n = 0 })
         end
      end
   end
   return nil
end
M.escape = escape

local function merge_results(into, results)
   for i = 1, math.max(#into, results and #results or 0) do
      into[i] = join(into[i], results and results[i] or any)
   end
   return into
end

--- Call every function of a set; gives a list of sets.
function M.call(flow, f, pc, callee, args)
   local results = {}
   for one in pairs(callee) do
      local given
      if one.kind == "closure" then
         given = analyze(flow, one, args)
      elseif one.kind == "method" then
         given = one.gives
         escape(flow, args)
      elseif one.kind == "value" and type(one.value) == "function" then
         local model, fn = flow.models[one.value], function_of(flow, one.value)
         if model then
            given = model(flow, f, pc, args)
         elseif fn then
            given = analyze(flow, fn, args)
         else
            given = escape(flow, args)
         end
      else
         given = escape(flow, args)
      end
      merge_results(results, given)
   end
   return results
end
local call = M.call

-- Instructions -------------------------------------------------------------------
-- Each changes the registers and returns the next instructions, where it is not
-- only the one behind it.

local ops = {}

local function target(pc, instruction)
   return pc + 1 + instruction.d - NO_JUMP
end

local function text_of(f, number)
   return f.proto.objects[number]
end

function ops.MOV(_, _, i, regs)
   regs[i.a] = regs[i.d]
end

function ops.UGET(_, f, i, regs)
   local cell = f.fn.cells[i.d]
   regs[i.a] = cell and cell.set
end

local function assign(flow, f, i, set, pc)
   local cell = f.fn.cells[i.a]
   if cell and cell.outside then
      flow.report(f.proto, pc, "upvalue", cell.name)
   elseif cell then
      cell.set = join(cell.set, set)
   end
end

function ops.USETV(flow, f, i, regs, pc)
   assign(flow, f, i, regs[i.d] or any, pc)
end

local function assign_constant(flow, f, i, _, pc)
   assign(flow, f, i, any, pc)
end
ops.USETS, ops.USETN, ops.USETP = assign_constant, assign_constant, assign_constant

function ops.KNIL(_, _, i, regs)
   for slot = i.a, i.d do
      regs[slot] = nil
   end
end

function ops.TNEW(_, f, i, regs, pc)
   f.made[pc] = f.made[pc] or only(atom "table")
   regs[i.a] = f.made[pc]
end
ops.TDUP = ops.TNEW

function ops.FNEW(_, f, i, regs, pc)
   local set = f.made[pc]
   if not set then
      local made = atom("closure", { proto = text_of(f, i.d), cells = {} })
      set = only(made)
      f.made[pc] = set
   end
   local made = next(set)
   for number, upvalue in pairs(made.proto.upvalues) do
      if not upvalue.of_parent then
         made.cells[number] = f.fn.cells[upvalue.index]
      else
         local cell = made.cells[number] or { name = upvalue.name }
         cell.set = join(cell.set, upvalue.index == i.a and set or regs[upvalue.index] or any)
         made.cells[number] = cell
      end
   end
   regs[i.a] = set
end

function ops.GGET(flow, f, i, regs)
   local name = text_of(f, i.d)
   regs[i.a] = concrete(flow, rawget(flow.env, name), name)
end

function ops.TGETS(flow, f, i, regs)
   regs[i.a] = get(flow, regs[i.b] or any, text_of(f, i.c))
end

function ops.TGETB(flow, _, i, regs)
   regs[i.a] = get(flow, regs[i.b] or any, i.c)
end

function ops.TGETV(flow, f, i, regs, pc)
   local from = regs[i.b] or any
   M.used_as_key(flow, f, pc, from, regs[i.c] or any)
   regs[i.a] = get(flow, from, nil)
end

function ops.TSETS(flow, f, i, regs, pc)
   M.put(flow, f, pc, regs[i.b] or any, regs[i.a] or any)
end
ops.TSETB = ops.TSETS

function ops.TSETV(flow, f, i, regs, pc)
   M.used_as_key(flow, f, pc, regs[i.b] or any, regs[i.c] or any)
   ops.TSETS(flow, f, i, regs, pc)
end

-- The last results of a call or `...`, as one set.
local function rest_of(regs)
   local set
   for _, one in ipairs(regs.rest or {}) do
      set = join(set, one)
   end
   return set or any
end

function ops.TSETM(flow, f, i, regs, pc)
   M.put(flow, f, pc, regs[i.a - 1] or any, rest_of(regs))
end

local function arguments(regs, first, count, rest)
   local args = { n = count }
   for n = 1, count do
      args[n] = regs[first + n - 1] or any
   end
   for n, set in ipairs(rest or {}) do
      args[count + n], args.n = set, count + n
   end
   return args
end

local function results_to(regs, base, b, results)
   if b == 0 then
      regs.rest = results
   end
   for n = 1, b - 1 do
      regs[base + n - 1] = results[n] or any
   end
end

function ops.CALL(flow, f, i, regs, pc)
   local args = arguments(regs, i.a + f.proto.frame, i.c - 1)
   results_to(regs, i.a, i.b, call(flow, f, pc, regs[i.a] or any, args))
end

function ops.CALLM(flow, f, i, regs, pc)
   local args = arguments(regs, i.a + f.proto.frame, i.c, regs.rest)
   results_to(regs, i.a, i.b, call(flow, f, pc, regs[i.a] or any, args))
end

function ops.CALLT(flow, f, i, regs, pc)
   local args = arguments(regs, i.a + f.proto.frame, i.d - 1)
   merge_results(f.returns, call(flow, f, pc, regs[i.a] or any, args))
   return {}
end

function ops.CALLMT(flow, f, i, regs, pc)
   local args = arguments(regs, i.a + f.proto.frame, i.d, regs.rest)
   merge_results(f.returns, call(flow, f, pc, regs[i.a] or any, args))
   return {}
end

function ops.RET0()
   return {}
end

function ops.RET(_, f, i, regs)
   merge_results(f.returns, arguments(regs, i.a, i.d - 1))
   return {}
end
ops.RET1 = ops.RET

function ops.RETM(_, f, i, regs)
   merge_results(f.returns, arguments(regs, i.a, i.d, regs.rest))
   return {}
end

function ops.VARG(_, f, i, regs)
   results_to(regs, i.a, i.b, f.more)
end

-- A for loop asks its iterator.
function ops.ITERC(flow, f, i, regs, pc)
   local results = {}
   for one in pairs(regs[i.a - 3] or any) do
      if one.kind == "each" then
         merge_results(results, { one.keys, one.values })
      else
         merge_results(results, call(flow, f, pc, only(one), arguments(regs, i.a - 2, 2)))
      end
   end
   results_to(regs, i.a, i.b, results)
end
ops.ITERN = ops.ITERC

function ops.ITERL(_, _, i, _, pc)
   return { target(pc, i), pc + 1 }
end
ops.FORL = ops.ITERL

function ops.FORI(_, _, i, regs, pc)
   for slot = i.a, i.a + 3 do
      regs[slot] = nil
   end
   return { target(pc, i), pc + 1 }
end

function ops.JMP(_, _, i, _, pc)
   return { target(pc, i) }
end
ops.ISNEXT, ops.UCLO = ops.JMP, ops.JMP

for _, name in ipairs { "NOT", "UNM", "LEN", "POW", "CAT", "KSTR", "KCDATA", "KSHORT", "KNUM",
                        "KPRI", "TGETR" } do
   ops[name] = function(_, _, i, regs) regs[i.a] = nil end
end
for _, name in ipairs { "ADD", "SUB", "MUL", "DIV", "MOD" } do
   ops[name .. "VN"], ops[name .. "NV"], ops[name .. "VV"] = ops.NOT, ops.NOT, ops.NOT
end

-- Comparisons: the jump behind them is taken where they hold. -------------------

local function copied(regs)
   local copy = {}
   for slot, set in pairs(regs) do
      copy[slot] = set
   end
   return copy
end

-- The registers where type(x) is, or is not, a name.
local function narrowed(regs, i, name, equal)
   local typename = next(regs[i.a] or any)
   local slot = typename.kind == "typename" and typename.slot
   if not slot or not regs[slot] or not regs[slot][values.VIEW] then
      return regs
   end
   local copy = copied(regs)
   if (name == "view") ~= equal then
      copy[slot] = values.without(regs[slot], "view")
   elseif equal then
      copy[slot] = view
   end
   return copy
end

local function compare(f, i, regs, pc)
   local yes, no = regs, regs
   if i.op == "ISTC" or i.op == "ISFC" then
      yes = copied(regs)
      yes[i.a] = regs[i.d]
   elseif i.op == "ISEQS" or i.op == "ISNES" then
      local name = text_of(f, i.d)
      yes = narrowed(regs, i, name, i.op == "ISEQS")
      no = narrowed(regs, i, name, i.op ~= "ISEQS")
   end
   return target(pc + 1, f.proto.code[pc + 1]), yes, pc + 2, no
end

local comparisons = {}
for _, name in ipairs { "ISLT", "ISGE", "ISLE", "ISGT", "ISEQV", "ISNEV", "ISEQS", "ISNES", "ISEQN",
                        "ISNEN", "ISEQP", "ISNEP", "ISTC", "ISFC", "IST", "ISF" } do
   comparisons[name] = true
end

-- Functions ----------------------------------------------------------------------

-- These registers reach an instruction.
local function reach(f, pc, regs)
   local state = f.states[pc]
   local grown = not state
   if not state then
      f.states[pc] = copied(regs)
   else
      for slot, set in pairs(regs) do
         -- What is in no register yet is anything that is not of interest.
         local both = slot == "rest" and set or join(state[slot] or any, set)
         if both ~= state[slot] then
            grown = grown or slot ~= "rest"
            state[slot] = both
         end
      end
   end
   if grown then
      f.waiting[#f.waiting + 1] = pc
   end
end

local function step(flow, f, pc)
   local i, regs = f.proto.code[pc], copied(f.states[pc])
   if comparisons[i.op] then
      local first, yes, second, no = compare(f, i, regs, pc)
      reach(f, first, yes)
      reach(f, second, no)
      return
   end
   local op = ops[i.op]
   local following = op and op(flow, f, i, regs, pc)
   for _, target_pc in ipairs(following or { pc + 1 }) do
      reach(f, target_pc, regs)
   end
end

local function first_registers(proto, args)
   local regs, more = {}, {}
   for n = 1, args.n do
      if n <= proto.params then
         regs[n - 1] = args[n]
      else
         more[#more + 1] = args[n]
      end
   end
   return regs, more
end

-- All ways through a function, again until its tables hold nothing new.
local function pass(flow, fn, args)
   local regs, more = first_registers(fn.proto, args)
   local f = { fn = fn, proto = fn.proto, made = {}, more = more, returns = {} }
   for _ = 1, ROUNDS_MAX do
      flow.changed = false
      f.states, f.waiting = {}, {}
      reach(f, 1, regs)
      while #f.waiting > 0 and flow.steps < STEPS_MAX do
         flow.steps = flow.steps + 1
         step(flow, f, table.remove(f.waiting))
      end
      if not flow.changed then
         break
      end
   end
   return f.returns
end

--- What a function of the job does with these arguments; gives what it returns.
function analyze(flow, fn, args)
   local known = flow.seen[fn] or {}
   flow.seen[fn] = known
   local signature = values.signature(args, args.n)
   if known[signature] then
      return known[signature]
   elseif flow.depth >= DEPTH_MAX then
      return {}
   end
   known[signature] = {} -- for a call of itself
   flow.depth = flow.depth + 1
   known[signature] = pass(flow, fn, args)
   flow.depth = flow.depth - 1
   return known[signature]
end

--- Follow a function of the job from its arguments on.
function M.follow(flow, value, args)
   args.n = #args
   local fn = function_of(flow, value)
   return fn and analyze(flow, fn, args)
end

--- A new analysis. `report(proto, pc, kind, name)` is told what it finds;
--- `told` then has the tables that it named.
function M.new(env, tide, of_job, report)
   local flow = { env = env, tide = tide, of_job = of_job, report = report, told = {},
                  concrete = {}, functions = {}, seen = {}, steps = 0, depth = 0 }
   flow.models = models.of(env, M)
   return flow
end

return M
