-- SPDX-License-Identifier: Apache-2.0
-- Streams that become one. Each goes through a branch of its own, which puts its
-- cells in order, into a step that they all lead to.
local names = require "tidemark.names"
local schema = require "tidemark.schema"

local M = {}

local function check_place(parent, n)
   local which = n == 1 and "the stream it is called on" or ("stream %d"):format(n)
   if parent.keyed then
      error((":union: %s is aggregated already; unite the rows before :group_by"):format(which), 0)
   elseif parent.root then
      error((":union: %s has gone through :dedup; :dedup comes behind :union and sees all of them")
         :format(which), 0)
   elseif parent.mark then
      error((":union: %s has a watermark (line %d), and one for all comes behind :union"):format(
         which, parent.mark.line), 0)
   end
end

-- Which column of `row` is each of `first`; nil and why not.
local function mapping(first, row, n)
   local map = {}
   for i, column in ipairs(first.columns) do
      local at = row.index[column.name]
      local other = row.columns[at]
      if not at then
         return nil, ('stream %d has no column "%s"%s'):format(n, column.name,
            names.hint(column.name, schema.names(row), "its columns are"))
      elseif other.type ~= column.type then
         return nil, ('column "%s" is %s in the first stream and %s in stream %d'):format(
            column.name, column.type, other.type, n)
      end
      map[i] = at
   end
   for _, column in ipairs(row.columns) do
      if not first.index[column.name] then
         return nil, ('stream %d has a column "%s", and the first has not'):format(n, column.name)
      end
   end
   return map
end

-- As the first has them; a null anywhere may be one behind it.
local function columns_of(parents)
   local columns = {}
   for i, column in ipairs(parents[1].schema.columns) do
      local nullable = false
      for _, parent in ipairs(parents) do
         local row = parent.schema
         nullable = nullable or row.columns[row.index[column.name]].nullable
      end
      columns[i] = { name = column.name, type = column.type, path = column.path,
                     nullable = nullable }
   end
   return columns
end

-- Where a partition stands is known by its topic, so in one stream it cannot
-- stand in two places.
local function check_topics(program, inputs)
   for i, input in ipairs(inputs) do
      for topic in program.inputs[input].options.topics:gmatch "[^,]+" do
         for n = 1, i - 1 do
            local other = program.inputs[inputs[n]]
            if ("," .. other.options.topics .. ","):find("," .. topic .. ",", 1, true) then
               error((':union: topic "%s" is read twice (also in line %d); keep its stream in a ' ..
                  'local and take both from it'):format(topic, other.line), 0)
            end
         end
      end
   end
end

local function inputs_of(parents)
   local seen, list = {}, {}
   for _, parent in ipairs(parents) do
      for _, input in ipairs(parent.inputs) do
         if not seen[input] then
            seen[input] = true
            list[#list + 1] = input
         end
      end
   end
   table.sort(list)
   return list
end

--- a:union(b, c): the parents are visited.
function M.union(program, fact, parents, step_new)
   local first, maps = parents[1].schema, {}
   for n, parent in ipairs(parents) do
      check_place(parent, n)
      local map, why = mapping(first, parent.schema, n)
      if not map then
         error((":union wants the same columns everywhere, which :select or :map can make so: %s")
            :format(why), 0)
      end
      maps[n] = map
   end
   local row = first.record and first or schema.of(columns_of(parents))
   local branches = {}
   for n, parent in ipairs(parents) do
      local branch = step_new(program, fact, parent, "branch", row)
      branch.map, branch.text = maps[n], ("into the union (line %d)"):format(fact.line)
      branches[n] = branch
   end
   local step = step_new(program, fact, branches[1], "union", row)
   step.inputs, step.branches, step.late_name = inputs_of(parents), branches, nil
   check_topics(program, step.inputs)
   step.text = ("union of %d%s"):format(#parents,
      row.record and "" or " -> " .. schema.text(row))
   for n, branch in ipairs(branches) do
      branch.union = step
      if n > 1 then
         branch.children[1] = step
      end
   end
   return step
end

return M
