-- SPDX-License-Identifier: Apache-2.0
-- Aggregates whose state is a sketch: within their error, bounded, and the same
-- however rows were split and in whatever order states were merged.
local helper = require "tests.spec.helper"

local SEED = tonumber(os.getenv "SEED") or 7

local function feed(job, documents)
   for first = 1, #documents, 400 do
      local records = {}
      for i = first, math.min(first + 399, #documents) do
         records[#records + 1] = { value = documents[i] }
      end
      assert.is_nil(job:batch(records))
   end
end

local function finish(job)
   local message = job:finish()
   local rows, bad = job:output(), job.bad
   job:close()
   assert.is_nil(message)
   return rows, bad
end

local function grouped(columns, list)
   return (':json { "k:string", %s }:group_by("k"):aggregate { %s }'):format(columns, list)
end

-- What an aggregate makes of JSON values, in `parts` states that are folded into
-- the first one.
local function of(columns, list, values, parts)
   local job = helper.run(helper.steps(grouped(columns, list)))
   local documents = {}
   for i, value in ipairs(values) do
      documents[i] = ('{"k":"%d","v":%s}'):format(parts and math.random(parts) or 0, value)
   end
   feed(job, documents)
   assert.is_nil(job:fold())
   local rows, bad = finish(job)
   assert.are.same({}, bad)
   return { unpack(rows[1], 2) }
end

local function shuffled(list)
   local copy = {}
   for i, value in ipairs(list) do
      local j = math.random(i)
      copy[i] = copy[j]
      copy[j] = value
   end
   return copy
end

local function same_in_any_split(columns, list, values)
   math.randomseed(SEED)
   local expected = of(columns, list, values)
   for _ = 1, 6 do
      assert.are.same(expected, of(columns, list, shuffled(values), math.random(9)),
                      "SEED=" .. SEED)
   end
   return expected
end

local function numbers(first, last, format)
   local list = {}
   for i = first, last do
      list[#list + 1] = (format or "%d"):format(i)
   end
   return list
end

local function refuses(aggregate, message, columns)
   local text = helper.load(helper.steps(grouped(columns or '"v:int", "s:string", "d:double"',
                                                 aggregate)))
   assert.truthy(text and text:find(message, 1, true), text)
   assert.truthy(text:find("job.lua:4", 1, true), text)
end

-- Windows are another room's: what they allow is tried as if there were one.
local function in_a_window(body)
   local aggregates = require "tidemark.aggregates"
   local settle = aggregates.settle
   aggregates.settle = function(...)
      local settled = settle(...)
      settled.spec.windowed = nil
      return settled
   end
   local ok, e = pcall(body)
   aggregates.settle = settle
   assert(ok, e)
end

describe("approx_count_distinct", function()
   local LIST = 'tide.approx_count_distinct "v" :as "n"'

   it("counts few values exactly, of every type, without nulls", function()
      assert.are.same({ 0 }, of('"v:int?"', LIST, { "null" }))
      assert.are.same({ 3 }, of('"v:int?"', LIST, { 1, 2, "null", 1, -7, 2 }))
      assert.are.same({ 3 }, of('"v:double?"', LIST, { 1.5, "-0.0", 0, 1.5, -3 }))
      assert.are.same({ 4 }, of('"v:string?"', LIST, { '"a"', '""', '"ab"', '"a"', '"b"' }))
      assert.are.same({ 2 }, of('"v:bool?"', LIST, { "true", "false", "true", "null" }))
      assert.are.same({ 2 }, of('"v:timestamp?"', LIST, { '"1970-01-01T00:00:01Z"',
         '"1970-01-01T01:00:01+01:00"', '"1970-01-01T00:00:02Z"' }))
   end)

   it("counts 50,000 values, each twice, within 2 % on average and 5 % at worst", function()
      local total = 0
      for set = 1, 20 do
         local job = helper.run(helper.steps(
            [[:map(function(rec) return "a", math.floor(rec.offset / 2) + ]] .. set * 1000003 ..
            [[ end, { "k", "v:int" }):group_by("k"):aggregate { ]] .. LIST .. " }"))
         local records = {}
         for i = 1, 500 do
            records[i] = { value = "" }
         end
         for _ = 1, 200 do
            assert.is_nil(job:batch(records))
         end
         local off = math.abs(finish(job)[1][2] / 50000 - 1)
         assert.truthy(off <= 0.05, ("set %d is off by %.4f"):format(set, off))
         total = total + off
      end
      assert.truthy(total / 20 <= 0.02, ("off by %.4f on average"):format(total / 20))
   end)

   it("is as large as its error allows, and never larger than 2 KB", function()
      local function size(list)
         return helper.job(helper.steps(grouped('"v:int"', list))).keyed[1].state_size
      end
      assert.are.equal(2048, size(LIST))
      assert.are.equal(2048, size 'tide.approx_count_distinct("v", 0.0153)')
      assert.are.equal(1024, size 'tide.approx_count_distinct("v", { rsd = 0.022 })')
      assert.are.equal(256, size 'tide.approx_count_distinct("v", 0.05)')
      assert.are.equal(64, size 'tide.approx_count_distinct("v", 0.5)')
   end)

   it("does not depend on splits or on the order of merging", function()
      for _, rsd in ipairs { 0.02, 0.1 } do
         local list = ('tide.approx_count_distinct("v", %g)'):format(rsd)
         local n = same_in_any_split('"v:string"', list, numbers(1, 3000, '"id-%d"'))[1]
         assert.truthy(math.abs(n / 3000 - 1) < 4 * rsd, n)
      end
   end)

   it("is refused with an error that it cannot keep", function()
      refuses('tide.approx_count_distinct("v", 0.01)', "rsd = 0.01 needs more than the 2 KB a key")
      refuses('tide.approx_count_distinct("v", 0.01)', "the least is 0.0153")
      refuses('tide.approx_count_distinct("v", 5)', "rsd is a part of 1")
      refuses('tide.approx_count_distinct("v", { sd = 5 })', 'no option "sd"; did you mean "rsd"?')
      refuses('tide.approx_count_distinct()', "wants a column")
   end)
end)

describe("count_distinct", function()
   local FULL = "a group has more than max = 3 different values; give it a greater max, or use " ..
      "approx_count_distinct"

   it("is refused without a bound, and outside of windows", function()
      refuses('tide.count_distinct "v"', "use approx_count_distinct")
      refuses('tide.count_distinct("v", { max = 0 })', "max is a whole number from 1 to 16384")
      refuses('tide.count_distinct("v", { max = 10 })', "without a window that never ends: use " ..
              "approx_count_distinct")
      for _, name in ipairs { "countDistinct", "collect_set", "collect_list" } do
         local text = helper.load(helper.steps(grouped('"v:int"', ("tide.%s 'v'"):format(name))))
         assert.truthy(text:find("use approx_count_distinct", 1, true), text)
      end
   end)

   it("counts exactly", function()
      in_a_window(function()
         local list = 'tide.count_distinct("v", { max = 5000 })'
         local ids = numbers(1, 5000)
         for i = 1, 5000, 3 do
            ids[#ids + 1] = ids[i]
         end
         assert.are.same({ 5000 }, same_in_any_split('"v:int"', list, ids))
         assert.are.same({ 700 }, same_in_any_split('"v:string"', list, numbers(1, 700, '"%d"')))
         assert.are.same({ 2 }, of('"v:double?"', list, { 0, "-0.0", "null", 1 }))
         assert.are.same({ 0 }, of('"v:int?"', list, { "null" }))
      end)
   end)

   it("costs the row that goes beyond its bound, and the job when a merge does", function()
      in_a_window(function()
         local job = helper.run(helper.steps(grouped('"v:int"',
            'tide.count(), tide.count_distinct("v", { max = 3 })')))
         feed(job, { '{"k":"a","v":5}', '{"k":"a","v":3}', '{"k":"a","v":4}', '{"k":"a","v":1}',
                     '{"k":"a","v":5}' })
         local rows, bad = finish(job)
         assert.are.same({ { "a", 4, 3 } }, rows)
         assert.truthy(bad[1].message:find(FULL, 1, true), bad[1].message)
         job = helper.run(helper.steps(grouped('"v:int"',
            'tide.count_distinct("v", { max = 3 })')))
         feed(job, { '{"k":"a","v":1}', '{"k":"a","v":2}', '{"k":"b","v":3}', '{"k":"b","v":4}' })
         local message = job:fold()
         job:close()
         assert.truthy(message:find(FULL, 1, true), message)
      end)
   end)
end)

describe("approx_percentile", function()
   it("of 1 to 1000 is that of SQL within its error", function()
      local list = [[tide.approx_percentile("v", 0.5), tide.approx_percentile("v", 0.95),
         tide.approx_percentile("v", 0.99), tide.approx_percentile("v", 0),
         tide.approx_percentile("v", 1)]]
      for _, columns in ipairs { '"v:int"', '"v:double"' } do
         local row = same_in_any_split(columns, list, numbers(1, 1000))
         for i, expected in ipairs { 500.5, 950.05, 990.01 } do
            assert.truthy(math.abs(row[i] / expected - 1) < 0.01, row[i])
         end
         assert.are.same({ 1, 1000 }, { row[4], row[5] })
      end
   end)

   it("is exact while there are no more values than buckets", function()
      local list = [[tide.approx_percentile("v", 0.5), tide.approx_percentile("v", 0.95),
         tide.approx_percentile("v", 0.125)]]
      assert.are.same({ 2.5, 3 + 3 * (0.95 * 3 - 2), 1.375 },
                      of('"v:int?"', list, { 6, 1, "null", 3, 2 }))
      assert.are.same({ -0.5, 0.1, -2 }, of('"v:double?"', list, { 0.1, -0.5, -1,
         -2, -0.5, 0.1, 0.1, -2, -0.5 }))
      assert.are.same({ "null", "null", "null" }, of('"v:double?"', list, { "null" }))
      local values = {}
      for i = 1, 5000 do
         values[i] = ("20.%02d"):format(i % 100)
      end
      local row = of('"v:double"', list, values)
      for i, expected in ipairs { 20.495, 20.9405, 20.12 } do
         assert.truthy(math.abs(row[i] - expected) < 1e-9, row[i])
      end
   end)

   it("stays within a bucket of the truth for any values", function()
      math.randomseed(SEED)
      local makers = {
         function() return math.random() end,
         function() return -math.log(math.random()) end,
         function() return math.exp(8 * (math.random() - 0.5)) end,
         function() return (math.random() - 0.5) * 10 ^ math.random(6) end,
      }
      for number, make in ipairs(makers) do
         local values, texts = {}, {}
         for i = 1, 4000 do
            texts[i] = ("%.17g"):format(make())
            values[i] = tonumber(texts[i])
         end
         table.sort(values)
         local row = same_in_any_split('"v:double"', [[tide.approx_percentile("v", 0.5),
            tide.approx_percentile("v", 0.9), tide.approx_percentile("v", 0.99)]], texts)
         for i, rank in ipairs { 0.5, 0.9, 0.99 } do
            local expected = values[math.floor(rank * 3999) + 1]
            assert.truthy(math.abs(row[i] - expected) <= math.abs(expected) / 8,
               ("SEED=%d %d: p%g is %g, not %g"):format(SEED, number, rank * 100, row[i], expected))
         end
      end
   end)

   it("of one column is one state", function()
      local program = helper.job(helper.steps(grouped('"v:int", "w:int"', [[
         tide.approx_percentile("v", 0.5), tide.count(), tide.approx_percentile("v", 0.999),
         tide.approx_percentile("w", 0.5),
         tide.approx_percentile("v", 0.5, { buckets = 32 }) :as "x"
         ]])))
      local keyed = program.keyed[1]
      assert.are.equal(2 * (24 + 16 * 256) + 8 + 24 + 16 * 32, keyed.state_size)
      assert.are.equal("k, p50_v, count, p99_9_v, p50_w, x",
                       table.concat(require "tidemark.schema".names(keyed.schema), ", "))
      assert.are.equal("key k:string; " ..
         "percentiles of v in 256=approx_percentile(v){buckets:int[515], 4120 bytes}; " ..
         "count=count(){n:int, 8 bytes}; " ..
         "percentiles of w in 256=approx_percentile(w){buckets:int[515], 4120 bytes}; " ..
         "percentiles of v in 32=approx_percentile(v){buckets:int[67], 536 bytes}", keyed.layout)
   end)

   it("is refused when it is not defined well", function()
      refuses('tide.approx_percentile("v", 95)', "wants a part from 0 to 1")
      refuses('tide.approx_percentile("v")', "wants a part from 0 to 1")
      refuses('tide.approx_percentile("s", 0.5)', "it is for int and double columns")
      refuses('tide.approx_percentile("v", 0.5, { buckets = 8 })',
              "buckets is a whole number from 16")
   end)
end)

describe("top_k", function()
   it("is exact while there are no more values than places", function()
      local values = {}
      for i = 1, 50 do
         for _ = 1, i do
            values[#values + 1] = ('"w%02d"'):format(i)
         end
      end
      values[#values + 1] = "null"
      assert.are.same({ '[{"item":"w50","count":50},{"item":"w49","count":49}]' },
                      same_in_any_split('"v:string?"', 'tide.top_k("v", 2)', values))
      assert.are.same({ '[{"item":-3,"count":2},{"item":5,"count":2},{"item":7,"count":1}]' },
                      of('"v:int"', 'tide.top_k("v", 9)', { 5, -3, 5, 7, -3 }))
      assert.are.same({ '[{"item":false,"count":1},{"item":true,"count":1}]' },
                      of('"v:bool"', 'tide.top_k("v", 9)', { "true", "false" }))
      assert.are.same({ '[]' }, of('"v:int?"', 'tide.top_k("v", 9)', { "null" }))
   end)

   it("counts frequent values within rows / places when there are more", function()
      math.randomseed(SEED)
      local values, truth = {}, {}
      for i = 1, 6000 do
         local value = math.floor(math.exp(math.random() * 7))
         values[i] = ("%d"):format(value)
         truth[value] = (truth[value] or 0) + 1
      end
      for _, parts in ipairs { 1, 7 } do
         local text = of('"v:int"', 'tide.top_k("v", 5, { places = 60 })', values, parts)[1]
         local n = 0
         for item, count, rest in text:gmatch('{"item":(%d+),"count":(%d+)([^}]*)}') do
            local over = count - truth[tonumber(item)]
            local stated = tonumber(rest:match "%d+") or 0
            assert.truthy(over >= 0 and over <= stated and stated <= 100, "SEED=" .. SEED .. text)
            n = n + 1
         end
         assert.are.equal(5, n)
         assert.truthy(text:find('[{"item":1,', 1, true), "SEED=" .. SEED .. text)
      end
   end)

   it("refuses text beyond its bound", function()
      local job = helper.run(helper.steps(grouped('"v:string"', 'tide.top_k("v", 1)')))
      feed(job, { '{"k":"a","v":"' .. ("x"):rep(33) .. '"}', '{"k":"a","v":"b"}' })
      local rows, bad = finish(job)
      assert.are.same({ { "a", '[{"item":"b","count":1}]' } }, rows)
      assert.truthy(bad[1].message:find("a value has 33 bytes, and at most 32 are kept", 1, true))
      refuses('tide.top_k "v"', "wants a number from 1 to 256")
      refuses('tide.top_k("d", 1)', "it is for string, bytes, int and bool columns")
      refuses('tide.top_k("v", 9, { places = 8 })', "places is a whole number from 9 to 256")
   end)
end)

describe("moving_avg", function()
   it("of three points over 1, 2, 3 and 4 is 2 and 3", function()
      local job = helper.run(helper.steps(grouped('"v:int"', 'tide.moving_avg("v", 3)')))
      local results = {}
      for i = 1, 4 do
         feed(job, { ('{"k":"a","v":%d}'):format(i) })
         assert.is_nil(job:finish())
         results[i] = job:output()[i][2]
      end
      job:close()
      assert.are.same({ "null", "null", 2, 3 }, results)
   end)

   it("is of the last values in order, whoever added them", function()
      for _, columns in ipairs { '"v:int?"', '"v:double?"' } do
         math.randomseed(SEED)
         local values = numbers(1, 60)
         values[30], values[60] = "null", "null"
         for _ = 1, 12 do
            assert.are.same({ 57 }, of(columns, 'tide.moving_avg("v", 5)', values, math.random(9)),
                            "SEED=" .. SEED)
         end
      end
      local job = helper.run(helper.steps(
         ':json { "k:string", "v:double", "t:int" }:group_by("k"):aggregate { ' ..
         'tide.moving_avg("v", 2, { by = "t" }) }'))
      feed(job, { '{"k":"a","v":1,"t":9}', '{"k":"a","v":2,"t":3}', '{"k":"a","v":4,"t":7}' })
      assert.are.same({ { "a", 2.5 } }, (finish(job)))
      refuses('tide.moving_avg("v", 0)', "wants a number of points from 1 to 128")
      refuses('tide.moving_avg("s", 2)', "it is for int and double columns")
   end)
end)

describe("a row that fails", function()
   it("takes back what it added to states of any size", function()
      local before = [[
local odd = tide.aggregator {
   returns = "int", state = { n = "int", big = "int[4000]" },
   add = function(s, v)
      s.n = s.n + 1 s.big[v % 4000 + 1] = s.big[v % 4000 + 1] + 1
      if v % 41 == 0 then error("unlucky") end
   end,
   merge = function() end,
   result = function(s)
      local n = 0
      for i = 1, 4000 do n = n + s.big[i] end
      return n == s.n and n or -1
   end,
}
]]
      local list = [[odd "v" :as "odd", tide.approx_count_distinct "v", tide.top_k("v", 1),
         tide.approx_percentile("v", 0.5, { buckets = 1024 })]]
      local function steps(check)
         return ([[:flat_map(function(rec, emit)
            local v = rec.offset * 3
            %s
            for i = v, v + 2 do emit("a", i) end
         end, { "k", "v:int" }):group_by("k"):aggregate { %s }]]):format(check, list)
      end
      local function rows_of(check)
         local job, records = helper.run(helper.steps(steps(check), before)), {}
         for i = 1, 500 do
            records[i] = { value = "" }
         end
         assert.is_nil(job:batch(records))
         return finish(job)
      end
      local rows, bad = rows_of ""
      local expected = rows_of "if v % 41 == 0 or v % 41 > 38 then return end"
      assert.are.equal(37, #bad)
      assert.are.same(expected, rows)
      assert.are.equal(1500 - 37 * 3, rows[1][2])
   end)
end)

describe("a job's own aggregate", function()
   it("may keep a sketch", function()
      local before = [[
local kinds = tide.aggregator {
   returns = "int", state = { seen = "sketch", n = "int" },
   add = function(s, v)
      s.seen:add(v) s.seen:add(tostring(v)) s.seen:add(v > 1)
      s.n = s.n + 1
   end,
   merge = function(s, o) s.seen:merge(o.seen) s.n = s.n + o.n end,
   result = function(s) return s.seen:count() * 100 + s.n end,
}]]
      local job = helper.run(helper.steps(grouped('"v:int"', 'kinds "v" :as "n"'), before))
      feed(job, { '{"k":"a","v":1}', '{"k":"a","v":2}', '{"k":"b","v":2}', '{"k":"b","v":3}' })
      assert.is_nil(job:fold())
      assert.are.equal(804, finish(job)[1][2])
   end)

   it("is told what a list or a sketch cannot do", function()
      for body, message in pairs {
         ["s.l[0] = 1"] = 'state "l" has values 1 to 4, not 0',
         ["s.l[5] = 1"] = 'state "l" has values 1 to 4, not 5',
         ["s.l[1.5] = 1"] = 'not 1.5', ["s.l.x = 1"] = 'not x',
         ["s.l[1] = 0.5"] = 'state "l" is an int: it cannot hold 0.5',
         ["s.l = 1"] = 'state "l" is a list or a sketch: change what is in it',
         ["s.k = 1"] = 'state "k" is a list or a sketch', ["s.k:count(1) s.k:ad(1)"] = 'not ad',
         ["s.k:add(nil)"] = 'state "k" is a sketch: it cannot count nil',
         ["s.k.add(1)"] = 'state "k" is a sketch: s.k:add(value)',
         ["s.t = 'abcde'"] = 'state "t" holds at most 4 bytes, not 5; make it "text(5)"',
         ["s.t = 5"] = 'state "t" is text: it cannot hold 5',
         ["kept = kept or s.l kept[1] = 1"] = "a state is only good inside add, merge or result",
         ["kept = kept or s.k kept:add(1)"] = "a state is only good inside add, merge or result",
      } do
         local job = helper.run(helper.steps(grouped('"v:int"', 'own "v"'), ([[
local kept
local own = tide.aggregator {
   state = { l = "int[4]", k = "sketch", t = "text(4)" },
   add = function(s) local _ = kept %s end, merge = function() end, result = function() end }]])
            :format(body)))
         feed(job, { '{"k":"a","v":1}', '{"k":"a","v":2}' })
         local _, bad = finish(job)
         assert.truthy(bad[1] and bad[1].message:find(message, 1, true),
                       body .. ": " .. tostring(bad[1] and bad[1].message))
      end
   end)
end)
