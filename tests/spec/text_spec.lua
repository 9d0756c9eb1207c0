-- SPDX-License-Identifier: Apache-2.0
-- Text of a batch as scripts see it: each test is a job's own function.
local helper = require "tests.spec.helper"

-- Runs `body` (with rec, emit and tide at hand) over batches of records; what
-- it emits comes back as a list. `before` stands outside the function.
local function run(body, batches, before)
   local job = helper.run(helper.steps(([[
:flat_map(function(rec, emit)
   local words, blank = tide.words, tide.blank
   local _ = words or blank
   %s
end, { "v:string?" })]]):format(body), before))
   local failed
   for _, records in ipairs(batches or { { { key = "The Key", value = "Some value, 42!" } } }) do
      failed = failed or job:batch(records)
   end
   local list = {}
   for i, row in ipairs(job:output()) do
      list[i] = row[1]
   end
   local bad = job.bad
   job:close()
   assert.is_nil(failed)
   return list, bad
end

local function gives(expected, body, batches, before)
   local list, bad = run(body, batches, before)
   assert.are.same({}, bad)
   assert.are.same(expected, list)
end

local function fails(message, body, batches, before)
   local _, bad = run(body, batches, before)
   assert.is_not_nil(bad[1], "no record failed")
   assert.truthy(bad[1].message:find(message, 1, true), bad[1].message)
end

local RETIRED = "this text belonged to a batch that is over: tostring() it to keep it"

describe("text", function()
   it("compares like a string", function()
      gives({ "1", "2", "3", "4", "5", "6", "7" }, [[
if rec.key == "The Key" then emit("1") end
if "The Key" == rec.key then emit("2") end
if rec.key == rec.key then emit("3") end
if rec.key ~= rec.value and rec.key ~= nil and rec.key ~= 4 then emit("4") end
if rec.key < "Thf" and rec.key <= "The Key" and "A" < rec.key then emit("5") end
if rec.value < rec.key and not (rec.key < rec.value) then emit("6") end
for a in words("x y x") do for b in words(rec.key) do if a == b then emit("bad") end end end
local first for w in words("x y x") do
   if not first then first = w elseif w == first then emit("7") end
end]])
   end)

   it("has a length and joins", function()
      gives({ "7", "<The Key>", "The KeySome value, 42!", "k1" }, [[
emit(tostring(#rec.key)) emit("<" .. rec.key .. ">") emit(rec.key .. rec.value)
for w in words("k") do emit(w .. 1) end]])
   end)

   it("becomes a string", function()
      gives({ "The Key", "string", "view", "42.5" }, [[
emit(tostring(rec.key)) emit(type(tostring(rec.key))) emit(type(rec.key))
for n in ("a;42"):gmatch("%d+") do emit(tostring(tonumber(n) + 0.5)) end]])
   end)

   it("splits into words, nested", function()
      gives({ "a1", "a2", "b1", "b2" }, [[
for x in words(rec.key) do for y in words(rec.value) do emit(x .. y) end end]],
         { { { key = "A b", value = "1 2" } } })
   end)

   it("keeps words through the batch", function()
      gives({ "one", "two", "three" }, [[
for w in words(rec.value) do kept[#kept + 1] = w end
if rec.offset == 1 then for _, w in ipairs(kept) do emit(w) end end]],
         { { { value = "one two" }, { value = "three" } } }, "local kept = {}")
   end)

   it("is an error when it is kept longer, and never another text", function()
      local batches = {}
      for i = 1, 12 do
         batches[i] = { { key = "k" .. i, value = "word" .. i } }
      end
      for _, take in ipairs { "rec.key", "one(rec)", "rec.key:sub(1, 1)", "rec.key:upper()" } do
         local list, bad = run(
            "if not kept then kept = " .. take .. " end emit(tostring(kept))", batches,
            [[
local kept
local function one(r) for w in tide.words(r.value) do return w end end
local _ = one]])
         -- It is good while its batch is in the ring of four.
         assert.is_true(#list >= 1 and #list <= 4, take)
         assert.are.equal(12 - #list, #bad)
         for _, text in ipairs(list) do
            assert.are.equal(list[1], text)
         end
         for _, row in ipairs(bad) do
            assert.truthy(row.message:find(RETIRED, 1, true), row.message)
         end
      end
   end)

   it("is an error to look at, compare, emit or split when it is too old", function()
      local batches = {}
      for i = 1, 6 do
         batches[i] = { { key = "k", value = "v" } }
      end
      for _, use in ipairs { "kept == 'k'", "kept < 'k'", "#kept", "kept:sub(1)", "kept:byte(1)",
                             "kept:words()", "kept:split(',')", "kept:find('k')", "kept:lower()",
                             "kept:starts_with('k')", "kept .. ''", "words(kept)", "blank(kept)",
                             "set[kept]", "tonumber(kept)", "('x'):find(kept)", "tide.json(kept)",
                             "table.concat { kept }", "string.format('%s', kept)", "emit(kept)" } do
         local _, bad = run(
            "kept = kept or rec.key if rec.offset == 5 then local _ = " .. use .. " end", batches,
            'local kept\nlocal set = tide.set { "k" }\nlocal _ = set')
         assert.are.equal(1, #bad, use)
         assert.truthy(bad[1].message:find(RETIRED, 1, true), bad[1].message)
      end
   end)

   it("takes nil, strings and text as words", function()
      gives({ "a", "b2", "c" }, [[
for w in words(nil) do emit(w) end
for w in words("A, b2") do emit(w) end
for v in ("c"):gmatch(".") do for w in words(v) do emit(w) end end
for w in words("") do emit(w) end]])
      fails("tide.words wants text, got a number", "words(42)")
   end)

   it("has the methods of strings", function()
      gives({ "the key", "THE KEY", "Key", "84", "2", "ab", "yeK ehT", "T.. K.y", "7" }, [[
local k = rec.key
emit(k:lower()) emit(k:upper()) emit(k:sub(-3)) emit(tostring(k:byte(1)))
emit(tostring((k:find("he")))) emit((("  ab "):gsub(" ", "")))
emit(k:reverse()) emit((k:gsub("[he]", "."))) emit(tostring(k:len()))]])
   end)

   it("finds plainly, by pattern, and from a place", function()
      gives({ "5 7", "5 5", "nil", "1 0", "8 7", "nil", "2 3" }, [[
local k = rec.key
local function show(a, b) emit(a and a .. " " .. b or "nil") end
show(k:find("Key")) show(k:find("[K]")) show(k:find("[K]", 1, true)) show(k:find(""))
show(k:find("", 8)) show(k:find("The", 2)) show(k:find("he", -6))]])
   end)

   it("splits at a separator", function()
      gives({ "a", "", "b", "|", "abc", "|", "x", "y" }, [[
for p in rec.key:split(",") do emit(p) end emit("|")
for p in rec.value:split(",") do emit(p) end emit("|")
for p in rec:header("h"):split("--") do emit(p) end]],
         { { { key = "a,,b", value = "abc", headers = { { "h", "x--y" } } } } })
      fails("wants a separator", 'rec.key:split("")')
   end)

   it("begins, ends, contains and trims", function()
      gives({ "y", "y", "y", "[a b]", "[]" }, [[
local v = rec.value
if v:starts_with(" \ta") and not v:starts_with("x") and not v:starts_with(v .. "x") then
   emit("y")
end
if v:ends_with("b\n") and v:ends_with("") and not v:ends_with("a") then emit("y") end
if v:contains("a b") and not v:contains("a.b") then emit("y") end
emit("[" .. v:trim() .. "]") emit("[" .. rec.key:trim() .. "]")]],
         { { { key = "  ", value = " \ta b\n" } } })
   end)

   it("cuts as string.sub does", function()
      -- Not with string.sub, which LuaJIT of 2022 compiles wrongly.
      local text, cuts = "abcdef", {}
      for i = -8, 8 do
         for j = -8, 8 do
            local cut = {}
            for k = math.max(i < 0 and i + 7 or i, 1), math.min(j < 0 and j + 7 or j, 6) do
               cut[#cut + 1] = string.char(96 + k)
            end
            cuts[#cuts + 1] = table.concat(cut)
         end
      end
      for _, of in ipairs { "rec.key:sub", "tostring(rec.key):sub", "string.sub" } do
         local call = of == "string.sub" and "string.sub(rec.key, i, j)" or of .. "(i, j)"
         local body = "for i = -8, 8 do for j = -8, 8 do emit(%s) end end"
         local batches, expected = {}, {}
         for n = 1, 10 do
            batches[n] = { { key = text } }
            for _, cut in ipairs(cuts) do
               expected[#expected + 1] = cut
            end
         end
         gives(expected, body:format(call), batches)
      end
   end)

   it("reads bytes within its bounds only", function()
      gives({ "97", "99", "99", "nil", "nil", "nil", "97,98" }, [[
local k = rec.key
for _, i in ipairs { 1, 3, -1, 0, 4, -4 } do emit(tostring(k:byte(i))) end
emit(table.concat({ k:byte(1, 2) }, ","))]], { { { key = "abc" } } })
   end)

   it("goes through string, table and tide functions", function()
      gives({ "K", "k/K", "k=1", '["k",{"a":"k"}]', '"k"', "12", "x", "1 1" }, [[
local k = rec.key
emit(string.upper(k)) emit(table.concat({ k, "K" }, "/")) emit(string.format("%s=%d", k, 1))
emit(tide.json { k, { a = k } }) emit(tide.json(k))
emit(tostring(tonumber(rec.value))) emit((("xk"):gsub(k, "")))
emit(string.format("%d %d", ("k"):find(k)))]], { { { key = "k", value = "12" } } })
   end)

   it("is blank when null or empty", function()
      gives({ "true", "true", "false", "true", "false" }, [[
emit(tostring(blank(rec.key))) emit(tostring(blank(rec.value))) emit(tostring(blank(rec.topic)))
emit(tostring(blank(""))) emit(tostring(blank("x")))]], { { { key = nil, value = "" } } })
   end)

   it("looks up sets and maps without a string", function()
      gives({ "true", "nil", "alerts", "nil" }, [[
emit(tostring(set[rec.key])) emit(tostring(set[rec.value])) emit(map[rec.value])
emit(tostring(map.nothing))]],
         { { { key = "b", value = "error" } } },
         'local set = tide.set { "a", "b" }\nlocal map = tide.map { error = "alerts" }')
      fails("a set or map cannot be changed", "set.x = true", nil, "local set = tide.set {}")
   end)

   it("cannot be changed, indexed by number, or added to", function()
      fails("text in a batch cannot be changed", 'rec.key.x = 1')
      fails("text has no [1]: use :byte(i) or :sub(i, j)", "emit(rec.key[1])")
      fails('text has no "uper"; did you mean "upper"?', "emit(rec.key:uper())")
      fails("attempt to", "emit(rec.key + 1)")
      fails("attempt to compare text with a number", "emit(tostring(rec.key < 4))")
      fails("attempt to concatenate text with a nil", "emit(rec.key .. nil)")
      fails("is not callable", "rec.key()")
   end)

   it("has iterators that take nothing but their own words", function()
      for _, control in ipairs { "nil", "'abc'", "rec.key", "rec", "5", "{}" } do
         fails("this iterator belongs to a for loop",
            "local f = words('a') f(nil, " .. control .. ")")
         fails("this iterator belongs to a for loop",
            "local f = rec:headers() f(nil, " .. control .. ")")
      end
   end)

   it("stays inside the list when an iterator is misused", function()
      gives({ "ok" }, [[
local f = rec:headers()
for w in words("a b c d e") do
   local x = w
   for _ = 1, 10000 do if not x then break end x = f(nil, x) end
end
emit("ok")]])
   end)
end)

describe("a record", function()
   it("has its coordinates, key, value and time", function()
      gives({ "topic 3 0 1700000000000", "record topic[3]@0", "K=V" }, [[
emit(("%s %d %d %d"):format(rec.topic, rec.partition, rec.offset, rec.timestamp))
emit(tostring(rec)) emit(rec.key .. "=" .. rec.value)]], { { { key = "K", value = "V" } } })
   end)

   it("has nil for null", function()
      gives({ "nil nil 0 nil", "nil" }, [[
emit(tostring(rec.key) .. " " .. tostring(rec.value) .. " " .. rec.header_count .. " " ..
   tostring(rec.timestamp)) emit(tostring(rec:decode()))]], { { { timestamp = -1 } } })
   end)

   it("keeps bytes exact", function()
      gives({ "a\0b\255", "4" }, "emit(rec.key) emit(tostring(#rec.key))",
         { { { key = "a\0b\255" } } })
   end)

   it("iterates over headers", function()
      gives({ "a=1", "b=nil", "=", "last" }, [[
for name, value in rec:headers() do emit(name .. "=" .. tostring(value)) end
emit(rec:header("b") or "last")]],
         { { { headers = { { "a", "1" }, { "b" }, { "", "" } } } } })
   end)

   it("decodes JSON with real nil", function()
      gives({ "nil 1 nil 2", "true", "x" }, [[
local t = rec:decode()
emit(tostring(t.a) .. " " .. t.b .. " " .. tostring(t.c.d) .. " " .. #t.c.e)
emit(tostring(t.f)) emit(t.g)]],
         { { { value = '{"a":null,"b":1,"c":{"d":null,"e":[1,2]},"f":true,"g":"x"}' } } })
   end)

   it("fails on what is no JSON", function()
      fails("job.lua:7: not JSON:", "rec:decode()", { { { value = "{oops" } } })
      fails("topic[3]@0: ", "rec:decode()", { { { value = "{oops" } } })
   end)

   it("is an error after its batch", function()
      local _, bad = run("kept = kept or rec emit(kept.key)",
         { { { key = "a" } }, { { key = "b" } } }, "local kept")
      assert.are.equal(1, #bad)
      assert.truthy(bad[1].message:find("this record belonged to a batch that is over", 1, true))
   end)

   it("is the one that was kept, not the one that runs", function()
      gives({ "a", "a" }, "kept = kept or rec emit(kept.key)",
         { { { key = "a" }, { key = "b" } } }, "local kept")
   end)

   it("has nothing else and cannot be changed", function()
      fails('a record has no "vlaue"; did you mean "value"?', "emit(rec.vlaue)")
      fails("a record cannot be changed", "rec.key = 'x'")
   end)
end)

describe("time and chance", function()
   it("come from the epoch", function()
      gives({ "1700000000123.456", "true", "true" }, [[
emit(("%.3f"):format(tide.now()))
local a, b = tide.random(), tide.random(6)
emit(tostring(a >= 0 and a < 1 and b >= 1 and b <= 6 and b % 1 == 0))
emit(tostring(tide.random() ~= tide.random()))]])
   end)

   it("repeat when the epoch runs again", function()
      local body = "emit(tostring(tide.random())) emit(tostring(tide.random(1, 100)))"
      local records = { { { key = "a" }, { key = "b" } } }
      local first = run(body, records)
      assert.are.same(first, (run(body, records)))
      assert.are_not.equal(first[1], first[3])
   end)

   it("convert", function()
      gives({ "30000", "5400000", "2024-01-01T12:00:00.123Z", "1704110400123.456", "nil" }, [[
emit(tostring(tide.ms "30s")) emit(tostring(tide.ms "1 hour 30 minutes"))
emit(tide.format(1704110400123)) emit(("%.3f"):format(tide.parse "2024-01-01T12:00:00.123456Z"))
emit(tostring(tide.parse "soon"))]])
      fails('tide.ms: "soon" is not a time span', 'tide.ms "soon"')
   end)

   it("are not there while the job is loaded", function()
      helper.ctx.now_us, helper.ctx.epoch = 0, 0
      local message = helper.load('local tide = require "tidemark"\nlocal t = tide.now()')
      assert.truthy(message:find("job.lua:2: tide.now() is the time of an epoch", 1, true))
   end)
end)
