-- SPDX-License-Identifier: Apache-2.0
-- The built-in aggregates: what SQL says of their values, and that neither the
-- order in which states are merged nor how rows are split changes them.
local helper = require "tests.spec.helper"

local SEED = tonumber(os.getenv "SEED") or 7

local function run(steps, documents, before)
   local job = helper.run(helper.steps(steps, before))
   local records = {}
   for i, document in ipairs(documents) do
      records[i] = type(document) == "table" and document or { value = document }
   end
   for first = 1, #records, 500 do
      assert.is_nil(job:batch { unpack(records, first, math.min(first + 499, #records)) })
   end
   return job
end

local function finish(job)
   local message = job:finish()
   local rows, bad = job:output(), job.bad
   job:close()
   assert.is_nil(message)
   return rows, bad
end

-- The results, without the key, of one group of values.
local function of(columns, list, values, before)
   local documents = {}
   for i, value in ipairs(values) do
      documents[i] = ('{"k":"a","v":%s}'):format(tostring(value))
   end
   local rows, bad = finish(run((':json { "k:string?", %s }:group_by("k"):aggregate { %s }')
      :format(columns, list), documents, before))
   assert.are.same({}, bad)
   return { unpack(rows[1], 2) }
end

local INT, DOUBLE, TEXT, TIME = '"v:int?"', '"v:double?"', '"v:string?"', '"v:timestamp?"'
local NULLS = { "null", "null" }

local function close(expected, value, within)
   assert.truthy(math.abs(expected - value) <= math.abs(expected) * (within or 1e-14),
                 ("%.17g is not %.17g"):format(value, expected))
end

-- Rows of `values` (JSON) in groups by chance, folded in the order of the
-- groups' first rows; the rows keep their offsets.
local function split(columns, list, values, parts)
   local documents = {}
   for i, value in ipairs(values) do
      documents[i] = ('{"k":"%d","v":%s}'):format(math.random(parts), value)
   end
   local job = run((':json { "k:string", %s }:group_by("k"):aggregate { %s }')
      :format(columns, list), documents)
   assert.is_nil(job:fold())
   return { unpack(finish(job)[1], 2) }
end

local function shuffled(list)
   local copy = { unpack(list) }
   for i = #copy, 2, -1 do
      local j = math.random(i)
      copy[i], copy[j] = copy[j], copy[i]
   end
   return copy
end

local function same_in_any_split(columns, list, values, ordered)
   math.randomseed(SEED)
   local expected = of(columns, list, values)
   for _ = 1, 12 do
      local rows = ordered and values or shuffled(values)
      local got = split(columns, list, rows, math.random(1, 9))
      assert.are.same(expected, got, "SEED=" .. SEED)
   end
end

local function random_values(count, make)
   math.randomseed(SEED)
   local list = {}
   for i = 1, count do
      list[i] = math.random(10) == 1 and "null" or make(i)
   end
   return list
end

local function wide_double()
   return ("%.17g"):format((math.random() - 0.5) * 10 ^ math.random(-5, 15))
end

describe("built-in aggregates", function()
   it("give what SQL gives for 1, 2, 3, null and 6", function()
      local list = [[tide.count() :as "rows", tide.count "v", tide.sum "v", tide.avg "v",
         tide.min "v", tide.max "v", tide.sum_if("v", function(v) return v > 2 end),
         tide.count_if("v", function(v) return v > 2 end),
         tide.var_pop "v", tide.var_samp "v", tide.stddev_pop "v", tide.stddev_samp "v"]]
      for _, columns in ipairs { INT, DOUBLE } do
         local row = of(columns, list, { 1, 2, 3, "null", 6 })
         assert.are.same({ 5, 4, 12, 3, 1, 6, 9, 2 }, { unpack(row, 1, 8) })
         close(3.5, row[9])
         close(14 / 3, row[10])
         close(math.sqrt(3.5), row[11])
         close(math.sqrt(14 / 3), row[12])
      end
   end)

   it("give null where there is no value", function()
      local list = [[tide.sum "v", tide.avg "v", tide.min "v", tide.max "v", tide.first "v",
         tide.last "v", tide.var_pop "v", tide.stddev_samp "v",
         tide.sum_if("v", function(v) return v > 2 end)]]
      for _, columns in ipairs { INT, DOUBLE } do
         local row = of(columns, list, NULLS)
         assert.are.same({ "null", "null", "null", "null", "null", "null", "null", "null", "null" },
                         row)
      end
      assert.are.same({ "null", "null", "null" },
                      of(TEXT, 'tide.min "v", tide.max "v", tide.first "v"', NULLS))
      assert.are.same({ 0, 0 }, of(INT, 'tide.count "v", tide.count_if("v", ' ..
                                        'function() return true end)', NULLS))
      -- One value has a spread in the population, but says nothing of a sample's.
      assert.are.same({ 0, "null", 0, "null" }, of(INT, 'tide.var_pop "v", tide.var_samp "v", ' ..
         'tide.stddev_pop "v", tide.stddev_samp "v"', { 5 }))
   end)

   it("have the names and types that their columns give them", function()
      local program = helper.job(helper.steps([[:json { "k:string", "i:int", "d:double", "s:string",
         "t:timestamp", "b:bool", "y:bytes" }:group_by("k"):aggregate {
            tide.count(), tide.count "i", tide.count_if "b", tide.sum "i", tide.sum_if("d", "b"),
            tide.avg "i", tide.min "i", tide.max "d", tide.min "s", tide.max "t", tide.first "b",
            tide.last("y", { by = "t" }), tide.variance "i", tide.stddev "d",
         }]]))
      local schema = require "tidemark.schema"
      assert.are.equal("k:string, count:int, count_i:int, count_if_b:int, sum_i:int?, " ..
         "sum_if_d_b:double?, avg_i:double?, min_i:int?, max_d:double?, min_s:string?, " ..
         "max_t:timestamp?, first_b:bool?, last_y:bytes?, var_samp_i:double?, " ..
         "stddev_samp_d:double?", schema.text(program.keyed[1].schema))
   end)

   it("do not depend on splits or on the order of merging", function()
      local list = [[tide.count "v", tide.sum "v", tide.avg "v", tide.min "v", tide.max "v",
         tide.var_pop "v", tide.stddev_samp "v"]]
      same_in_any_split(DOUBLE, list, random_values(400, wide_double))
      same_in_any_split(INT, list, random_values(400, function()
         return ("%d"):format(math.random(-1e9, 1e9))
      end))
      same_in_any_split(TEXT, 'tide.min "v", tide.max "v"', random_values(100, function()
         return ('"%s"'):format(("xyz"):rep(math.random(0, 9)):sub(math.random(3)))
      end))
   end)
end)

describe("conditions", function()
   it("are a bool column, or a function of columns", function()
      local documents = { '{"k":"a","v":1,"ok":true,"s":"x"}', '{"k":"a","v":2,"ok":false,"s":"x"}',
                          '{"k":"a","v":4,"s":"y"}', '{"k":"a","v":8,"ok":true}' }
      local rows, bad = finish(run([[:json { "k:string", "v:int", "ok:bool?", "s:string?" }
         :group_by("k"):aggregate {
            tide.count_if "ok" :as "ok", tide.sum_if("v", "ok") :as "ok_sum",
            tide.sum_if("v", "s", function(s) return s == "x" end) :as "x",
            tide.count_if("s", "v", function(s, v) return s .. v == "y4" end) :as "y4",
         }]], documents))
      assert.are.same({}, bad)
      assert.are.same({ { "a", 2, 9, 3, 1 } }, rows)
   end)

   it("that fail cost their row only", function()
      local rows, bad = finish(run([[:json { "k:string", "v:int" }:group_by("k"):aggregate {
         tide.count(), tide.sum_if("v", function(v) return v > 1 or error "small" end) }]],
         { '{"k":"a","v":1}', '{"k":"a","v":2}', '{"k":"a","v":3}' }))
      assert.are.same({ { "a", 2, 5 } }, rows)
      assert.are.equal(1, #bad)
      assert.truthy(bad[1].message:find("small", 1, true))
   end)

   it("are refused when they are none", function()
      local function refuses(aggregate, message)
         local text = helper.load(helper.steps((':json { "k:string", "v:int" }:group_by("k")' ..
            ':aggregate { %s }'):format(aggregate)))
         assert.truthy(text and text:find(message, 1, true), text)
         assert.truthy(text:find("job.lua:4", 1, true), text)
      end
      refuses('tide.count_if "v"', 'column "v" is a int; a condition is a bool column')
      refuses('tide.count_if()', "tide.count_if wants a condition")
      refuses('tide.count_if(print)', "tide.count_if wants a condition")
      refuses('tide.sum_if("v")', "tide.sum_if wants a condition")
      refuses('tide.sum_if("v", "w")', 'tide.sum_if: no column "w"')
      refuses('tide.avg()', "tide.avg wants a column")
      refuses('tide.avg "k"', 'column "k" is a string; it is for int and double columns')
      refuses('tide.min("k", { max = 1 })', 'tide.min: no option "max"; options are: max_bytes')
      refuses('tide.min("k", { max_bytes = 0 })', "max_bytes is a whole number from 1")
      refuses('tide.first("v", { by = "k" })', 'by = "k" is a string; rows are ordered by')
   end)
end)

describe("the mean", function()
   it("of ints is exact beyond 2^53 and beyond 2^63", function()
      assert.are.same({ 9007199254740993 }, of(INT, 'tide.avg "v"', { "9007199254740993" }))
      assert.are.same({ -1.5 }, of(INT, 'tide.avg "v"', { -1, -2 }))
      assert.are.same({ 2 ^ 63 }, of(INT, 'tide.avg "v"', { "9223372036854775807",
         "9223372036854775807", "9223372036854775807" }))
      assert.are.same({ -2 ^ 63 }, of(INT, 'tide.avg "v"', { "-9223372036854775808",
         "-9223372036854775808" }))
      assert.are.same({ -0.5 }, of(INT, 'tide.avg "v"', { "9223372036854775807",
         "-9223372036854775808" }))
   end)

   it("of doubles loses no small ones beside large ones", function()
      assert.are.same({ 0.5 }, of(DOUBLE, 'tide.avg "v"', { 1, 1e100, 1, -1e100 }))
      assert.are.same({ math.huge }, of(DOUBLE, 'tide.avg "v"', { 1e308, 1e308 }))
   end)
end)

describe("the variance", function()
   it("survives values that are close together and far from zero", function()
      local row = of(DOUBLE, 'tide.var_samp "v", tide.var_pop "v"',
                     { 1000000004, 1000000007, 1000000013, 1000000016 })
      close(30, row[1])
      close(22.5, row[2])
      row = of(DOUBLE, 'tide.var_pop "v"', { "1000000000000.25", "1000000000000.75" })
      close(0.0625, row[1], 1e-6)
      assert.are.same({ 0 }, of(DOUBLE, 'tide.stddev_pop "v"', { 0.1, 0.1, 0.1 }))
   end)

   it("is what two passes over the values give", function()
      math.randomseed(SEED)
      local values, sum, spread = {}, 0, 0
      for i = 1, 1000 do
         values[i] = 100 + math.random(-1000, 1000) / 8
         sum = sum + values[i]
      end
      for _, value in ipairs(values) do
         spread = spread + (value - sum / 1000) ^ 2
      end
      close(spread / 999, of(DOUBLE, 'tide.var_samp "v"', values)[1])
   end)
end)

describe("the least and the greatest", function()
   it("are of any size, of text by bytes, of times", function()
      assert.are.same({ -5, 9 }, of(INT, 'tide.min "v", tide.max "v"', { 3, -5, 9, "null", 0 }))
      assert.are.same({ "", "b" }, of(TEXT, 'tide.min "v", tide.max "v"',
                                      { '"b"', '"a"', '""', '"abc"' }))
      assert.are.same({ "Z", "é" }, of(TEXT, 'tide.min "v", tide.max "v"', { '"é"', '"Z"', '"z"' }))
      assert.are.same({ 1000000, 2000000 }, of(TIME, 'tide.min "v", tide.max "v"',
         { '"1970-01-01T00:00:02Z"', '"1970-01-01T00:00:01Z"' }))
   end)

   it("take NaN as the greatest", function()
      local steps = [[:map(function(rec) return "a", tonumber(tostring(rec.value)) end,
         { "k", "v:double" }):group_by("k"):aggregate { tide.min "v", tide.max "v" }]]
      for _, list in ipairs { { "nan", "1", "2" }, { "1", "nan", "2" }, { "1", "2", "nan" } } do
         local row = finish(run(steps, list))[1]
         assert.are.equal(1, row[2])
         assert.are_not.equal(row[3], row[3])
      end
   end)

   it("refuse text beyond their bound, wherever it stands", function()
      for _, list in ipairs { { '"aaaa"', '"b"' }, { '"b"', '"aaaa"' }, { '"b"', '"zzzz"' } } do
         local documents = {}
         for i, value in ipairs(list) do
            documents[i] = ('{"k":"a","v":%s}'):format(value)
         end
         local rows, bad = finish(run([[:json { "k:string", "v:string" }:group_by("k")
            :aggregate { tide.min("v", { max_bytes = 3 }), tide.count() }]], documents))
         assert.are.same({ { "a", "b", 1 } }, rows)
         assert.truthy(bad[1].message:find("tide.min: a value has 4 bytes, and at most 3 are " ..
            "kept; keep more with max_bytes = 4", 1, true), bad[1].message)
      end
   end)
end)

describe("the first and the last", function()
   local list = 'tide.first "v", tide.last "v"'

   it("are so by the record's time, and then by its offset", function()
      assert.are.same({ 5, 7 }, of(INT, list, { "null", 5, 6, 7, "null" }))
      assert.are.same({ "x", "zz" }, of(TEXT, list, { '"x"', '"long"', '"zz"' }))
      local documents = {}
      for i, time in ipairs { 20, 10, 30, 10, 30 } do
         documents[i] = { value = ('{"k":"a","v":%d}'):format(i), timestamp = time }
      end
      local steps = ':json { "k:string", "v:int" }:group_by("k"):aggregate { ' .. list .. ' }'
      assert.are.same({ { "a", 2, 5 } }, (finish(run(steps, documents))))
   end)

   it("are so by a column", function()
      local documents = { '{"k":"a","v":1,"t":2.5}', '{"k":"a","v":2,"t":-3}', '{"k":"a","v":3}',
                          '{"k":"a","v":4,"t":2.75}', '{"k":"a","v":5,"t":-1e-300}',
                          '{"k":"a","v":6,"t":-3}', '{"k":"a","v":7,"t":2.75}' }
      for _, kind in ipairs { "double", "int" } do
         for i, document in ipairs(documents) do
            documents[i] = kind == "double" and document or
               (document:gsub("%.%d+", ""):gsub("e%-300", ""))
         end
         local rows, bad = finish(run(([[:json { "k:string", "v:int", "t:%s?" }:group_by("k")
            :aggregate { tide.first("v", { by = "t" }), tide.last("v", { by = "t" }) }]])
            :format(kind), documents))
         assert.are.same({}, bad)
         assert.are.same({ { "a", 2, 7 } }, rows)
      end
   end)

   it("are so by event time where the stream has one", function()
      local aggregates, schema = require "tidemark.aggregates", require "tidemark.schema"
      local row = schema.parse({ "v:int", "ts:timestamp", "n:int" }, nil, "a row")
      local made = aggregates.built_in
      for _, given in ipairs { made.first "v", made.last "v", made.moving_avg("v", 2) } do
         assert.are.same({ 1, 2 }, aggregates.settle(given, row, "ts").columns)
         assert.are.same({ 1 }, aggregates.settle(given, row).columns)
      end
      assert.are.same({ 1, 3 }, aggregates.settle(made.last("v", { by = "n" }), row, "ts").columns)
      assert.are.same({ 1 }, aggregates.settle(made.sum "v", row, "ts").columns)
   end)

   it("of the rows of one record are so in their order", function()
      local steps = [[:flat_map(function(_, emit) emit("a", 1) emit("a", 2) emit("a", 3) end,
         { "k", "v:int" }):group_by("k"):aggregate { tide.first "v", tide.last "v" }]]
      assert.are.same({ { "a", 1, 3 } }, (finish(run(steps, { "" }))))
   end)

   it("do not depend on splits or on the order of merging", function()
      for _, columns in ipairs { INT, DOUBLE } do
         same_in_any_split(columns, list, random_values(200, function(i) return i end), true)
      end
      same_in_any_split(TEXT, list, random_values(50, function(i)
         return ('"%s"'):format(("x"):rep(i % 60))
      end), true)
   end)
end)
