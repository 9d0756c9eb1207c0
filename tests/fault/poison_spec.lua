-- SPDX-License-Identifier: Apache-2.0
-- Records that are no good, or only look so, under each on_error: the process
-- lives, good records beside them are counted once, and each bad one is named,
-- skipped, or set aside with all that is known of it. Then random ones.
local h = require "harness"
local cjson = require "cjson"
local poisons = require "poisons"
local row = require("column").row "poison"

cjson.decode_max_depth(100)

local json_job = [[
local passed = {}
for offset in tide.setting("pass", ""):gmatch "%d+" do passed[tonumber(offset)] = true end
local s = tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :filter(function(rec) return not passed[rec.offset] end)
   :json { "id:int", "name:string?", "amount:double?", "at:timestamp?" }
   :with("offset:int", function(row) return row.rec.offset end)
   :with("all:bool", function() return true end)
return tide.job { on_error = ON_ERROR, outputs = {
   s:select { "offset" }:to(tide.console { mode = "append" }),
   s:group_by("all"):count():to(tide.console { mode = "update" }),
} }
]]

-- Touches all of a record; the key says how to fail.
local whole_job = [[
local passed = {}
for offset in tide.setting("pass", ""):gmatch "%d+" do passed[tonumber(offset)] = true end
local function deep(n) return 1 + deep(n + 1) end
local raises = {
   table = function() error {} end,
   ["nil"] = function() error(nil) end,
   number = function() error(7) end,
   deep = function() return deep(1) end,
   pcall = function() pcall(error, "x") return 1 end,
   type = function() return "x" end,
   nan = function() return 0 / 0 end,
   inf = function() return 1 / 0 end,
   huge = function() return 2 ^ 70 end,
   null = function() return nil end,
}
local s = tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :filter(function(rec) return not passed[rec.offset] end)
   :flat_map(function(rec, emit)
      local key, sum = tostring(rec.key or ""), 0
      for word in tide.words(rec.value) do sum = sum + #word end
      for name, value in rec:headers() do sum = sum + #name + #(value or "") end
      sum = sum + (rec.timestamp or 0) % 2
      if key:sub(1, 6) == "raise " then sum = raises[key:sub(7)]() end
      emit(rec.offset, tostring(rec.value or ""), sum)
      if key:sub(1, 6) == "error " then error(key:sub(7), 0) end
   end, { "offset:int", "text:string", "sum:int" })
return tide.job { on_error = ON_ERROR, outputs = {
   s:select { COLUMN }:to(tide.console { mode = "append", truncate = 100 }),
   s:with("all:bool", function() return true end)
      :group_by("all"):count():to(tide.console { mode = "update" }),
} }
]]

local function run_args(topic, name, ...)
   return { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end", "--no-ui",
            "--checkpoint-dir", h.path("cp-" .. name), "--output", "json", ... }
end

local function job(text, on_error)
   h.job((text:gsub("COLUMN", '"offset"'):gsub("ON_ERROR", on_error)))
end

local function ledger(name)
   return cjson.decode(h.run({ "checkpoint", "show", h.path "job.lua", "--json",
                               "--checkpoint-dir", h.path("cp-" .. name) }):out())
end

-- Offsets that came out, each once, and the newest count of them.
local function read_rows(text, seen)
   local count
   for _, printed in ipairs(h.json_lines(text)) do
      if printed.offset then
         assert.is_nil(seen[printed.offset], "twice: " .. printed.offset)
         seen[printed.offset] = "used"
      else
         count = printed.count
      end
   end
   return count
end

local function count_of(seen, what)
   local count = 0
   for _, is in pairs(seen) do
      count = count + (is == what and 1 or 0)
   end
   return count
end

-- in = used + filtered + late + failed + malformed, and each as it was seen.
local function assert_balanced(name, total, used, dead)
   local sums = ledger(name)
   assert.are.equal(total, sums.rowsIn)
   assert.are.equal(dead, sums.rowsFailed + sums.rowsMalformed)
   assert.are.equal(total, used + sums.rowsFiltered + sums.rowsLate + sums.rowsFailed +
                    sums.rowsMalformed)
   return sums
end

-- A topic with a good record behind each bad one; offset 2 i - 2 has kind i.
local function make_topic(kinds, good)
   local topic, records = h.topic_name "poison", {}
   h.kadmin("create", topic, 1, "max.message.bytes=120000000")
   for i, kind in ipairs(kinds) do
      kind.offset = 2 * i - 2
      records[2 * i - 1] = kind[1]
      records[2 * i] = good
   end
   h.run({ "produce", topic, "-b", h.brokers, "-X", "message.max.bytes=120000000" },
         { stdin = (function()
            local lines = {}
            for i, record in ipairs(records) do
               -- A time of more digits than a Lua number has is given as text.
               lines[i] = cjson.encode(record):gsub('"timestamp":"(%d+)"', '"timestamp":%1')
            end
            return table.concat(lines, "\n") .. "\n"
         end)() })
   return topic, #records
end

local families = {
   { name = "JSON", job = json_job, kinds = poisons.json, good = { value = '{"id":1}' } },
   { name = "whole records", job = whole_job, kinds = poisons.whole,
     good = { key = "k", value = "v" } },
}

local struck = 0

for _, family in ipairs(families) do
   describe("poison in " .. family.name, function()
      local kinds = family.kinds()
      local topic, total

      before_each(function()
         h.begin()
         if not topic then
            topic, total = make_topic(kinds, family.good)
         end
      end)

      local function assert_kinds(seen)
         local wrong = {}
         for _, kind in ipairs(kinds) do
            local is = seen[kind.offset] or "dead"
            if is ~= (kind.dead and "dead" or "used") or seen[kind.offset + 1] ~= "used" then
               wrong[#wrong + 1] = kind.name .. " is " .. is
            end
            struck = struck + 1
         end
         assert.are.same({}, wrong)
      end

      it(("is skipped, %d kinds"):format(#kinds), function()
         job(family.job, '"skip"')
         local seen = {}
         local ran = h.run(run_args(topic, "skip"))
         local count = read_rows(ran:out(), seen)
         assert_kinds(seen)
         local used = count_of(seen, "used")
         assert.are.equal(used, count)
         assert_balanced("skip", total, used, total - used)
         assert.is_nil(ran:err():find "[%z\1-\8\11-\31\127]")
      end)

      it("is set aside with all that is known of it", function()
         local dead = h.topic(1, "dead")
         job(family.job, ("tide.kafka { topic = %q }"):format(dead))
         local seen = {}
         local count = read_rows(h.run(run_args(topic, "sink")):out(), seen)
         local used, letters = count_of(seen, "used"), 0
         local by_offset = {}
         for _, kind in ipairs(kinds) do
            by_offset[kind.offset] = kind
         end
         for _, record in ipairs(h.json_lines(h.kadmin("consume", dead, 0, 0, -1))) do
            local letter = cjson.decode(record.value)
            local kind = assert(by_offset[letter.offset], "a letter of a good record")
            assert.is_nil(seen[letter.offset], kind.name)
            seen[letter.offset], letters = "dead", letters + 1
            assert.are.same({ topic, 0 }, { letter.topic, letter.partition })
            assert.is_truthy(letter.timestamp, kind.name)
            assert.is_true(#letter.reason > 0 and #letter.reason < 20000, kind.name)
            assert.is_truthy(type(letter.line) == "string" and letter.line:find "job%.lua:%d+",
                             kind.name .. ": " .. letter.reason)
            local key = kind[1].key
            if type(key) == "string" and #key < 1000 then
               assert.are.equal(key, letter.key)
            end
            if kind[1].headers then
               assert.are.same(kind[1].headers, cjson.decode(letter.headers))
            end
         end
         assert_kinds(seen)
         assert.are.equal(used, count)
         assert_balanced("sink", total, used, letters)
      end)

      it("stops a job that shall fail, which says where and goes on behind it", function()
         job(family.job, '"fail"')
         local pass, seen, count = {}, {}, 0
         for _ = 1, #kinds + 1 do
            local args = run_args(topic, "fail", "--set", "pass=" .. table.concat(pass, ","))
            local ran = h.start(args)
            local code = ran:wait(h.sanitized and 300 or 120)
            count = read_rows(ran:out(), seen) or count
            if code == 0 then
               break
            end
            assert.are.equal(3, code, ran:err())
            local offset = ran:err():match(topic:gsub("%-", "%%-") .. "%[0%]@(%d+)")
            assert.is_truthy(offset, ran:err())
            assert.is_truthy(ran:err():find "job%.lua:%d+", ran:err())
            pass[#pass + 1] = offset
         end
         assert_kinds(seen)
         local used = count_of(seen, "used")
         assert.are.equal(used, count)
         assert.are.equal(total - used, #pass)
         local sums = assert_balanced("fail", total, used, 0)
         assert.are.equal(#pass, sums.rowsFiltered)
      end)
   end)
end

describe("poison", function()
   before_each(h.begin)

   it("does not steer a terminal that shows rows and errors", function()
      local kinds = poisons.whole()
      local topic = make_topic(kinds, { key = "k", value = "v" })
      h.job((whole_job:gsub("COLUMN", '"text"'):gsub("ON_ERROR", '"skip"')))
      for _, format in ipairs { "spark", "csv", "json" } do
         local tty = h.process.terminal(50, 200)
         h.at_end(tty.close)
         local args = run_args(topic, format)
         args[#args] = format
         local ran = h.start(args, { tty = tty.path, env = { TERM = "xterm" } })
         h.eventually("its end", function()
            tty.screen()
            return ran:ended()
         end)
         assert.are.equal(0, ran.code)
         local screen, shown = tty.screen(), 0
         for at in screen:gmatch "()owned" do
            local before = screen:sub(math.max(1, at - 6), at - 1)
            assert.is_nil(before:find "[%z\1-\8\11\12\14-\31\127\155]", format)
            shown = shown + 1
         end
         -- Some are cut, and of errors the first few are shown.
         assert.is_true(shown >= #poisons.marks - 1, format .. " shows " .. shown)
      end
   end)

   it("in compressed batches, also in those that grow a hundredfold", function()
      local topic, expected = h.topic_name "batches", 0
      h.kadmin("create", topic, 1, "max.message.bytes=120000000")
      for _, batch in ipairs(poisons.batches()) do
         local lines = {}
         for i = 1, batch.count do
            lines[i] = ('{"key":"k","value":"%s"}'):format(("a"):rep(batch.size))
         end
         lines[#lines + 1] = ""
         h.run({ "produce", topic, "-b", h.brokers, "-X", "compression.codec=" .. batch.codec,
                 "-X", "linger.ms=500", "-X", "message.max.bytes=120000000",
                 "-X", "batch.size=120000000" }, { stdin = table.concat(lines, "\n") })
         expected = expected + batch.count
         struck = struck + 1
      end
      job(whole_job, '"fail"')
      local ran, seen = h.run(run_args(topic, "batches")), {}
      assert.are.equal(expected, read_rows(ran:out(), seen))
      assert.are.equal(expected, count_of(seen, "used"))
      assert_balanced("batches", expected, expected, 0)
   end)

   it("in transactions: what was given up is not there, nor are their marks", function()
      local topic = h.topic(1)
      local function transact(how, count)
         local lines = {}
         for i = 1, count do
            lines[i] = '{"value":"{\\"id\\":1}"}'
         end
         h.expect_exit(h.spawn({ h.root .. "/build/" .. h.flavour .. "/kadmin", "-b", h.brokers,
                                 "transact", topic, how },
                               { stdin = table.concat(lines, "\n") .. "\n" }), 0)
         struck = struck + 1
      end
      transact("abort", 5)
      transact("commit", 3)
      transact("abort", 2)
      transact("commit", 4)
      transact("abort", 1)
      job(json_job, '"fail"')
      local seen = {}
      assert.are.equal(7, read_rows(h.run(run_args(topic, "txn")):out(), seen))
      assert_balanced("txn", 7, 7, 0)
      -- Marks and what was given up take offsets: 5 + 1, 3 + 1, 2 + 1, 4 + 1, 1 + 1.
      assert.are.same({ [0] = 20 }, h.next_offsets(h.path "cp-txn", topic))
   end)

   -- A good document with a few bytes changed, cut out or put in.
   local function spoil(text)
      for _ = 1, row:random(4) do
         local at, how = row:random(#text + 1), row:random(4)
         local byte = string.char(row:random(256) - 1)
         if how == 1 then
            text = text:sub(1, at - 1) .. byte .. text:sub(at + 1)
         elseif how == 2 then
            text = text:sub(1, at - 1) .. text:sub(at + row:random(8))
         elseif how == 3 then
            text = text:sub(1, at - 1) .. byte:rep(row:random(3)) .. text:sub(at)
         else
            local from = row:random(#text + 1)
            text = text:sub(1, at) .. text:sub(from, from + row:random(12)) .. text:sub(at + 1)
         end
         if #text == 0 then
            text = "x"
         end
      end
      return text
   end

   it(("of %d random documents is used or set aside, each once, SEED=%d")
         :format(row.count, row.seed), function()
      local good = '{"id":12,"name":"n\\u00e9\\n\\ud83d\\ude00","amount":-1.5e3,' ..
                   '"at":"2024-01-01T00:00:00Z","x":[{"y":null},true,[]]}'
      local topic, lines = h.topic(1), {}
      for i = 1, row.count do
         lines[i] = cjson.encode { value = poisons.bytes(spoil(good)) }
      end
      lines[#lines + 1] = ""
      h.run({ "produce", topic, "-b", h.brokers }, { stdin = table.concat(lines, "\n") })
      job(json_job, 'tide.files { path = "dead" }')
      local seen = {}
      local ran = h.expect_exit(h.start(run_args(topic, "random", "--workers", 2,
                                                 "--max-records-per-batch", 20000)), 0, 600)
      local count, letters = read_rows(ran:out(), seen), 0
      local folder = h.path "dead"
      for name in io.popen(("ls %s/*.jsonl"):format(folder)):lines() do
         for _, letter in ipairs(h.json_lines(h.read_file(name))) do
            assert.is_nil(seen[letter.offset], "twice: " .. letter.offset)
            seen[letter.offset], letters = "dead", letters + 1
         end
      end
      for offset = 0, row.count - 1 do
         assert.is_truthy(seen[offset], offset)
      end
      assert.are.equal(count_of(seen, "used"), count)
      assert.is_true(letters > row.count / 10 and count > row.count / 50)
      assert_balanced("random", row.count, count, letters)
      struck = struck + row.count
      row:tally(struck, ("%d set aside of the random ones"):format(letters))
   end)
end)
