-- SPDX-License-Identifier: Apache-2.0
-- The bundled word count, from records to rows.
local helper = require "tests.spec.helper"
local driver = require "tidemark.driver"

local function source()
   local file = assert(io.open(helper.root .. "/jobs/wordcount.lua"))
   local text = file:read "*a"
   file:close()
   return text
end

local function counts(run)
   assert.is_nil(run:finish())
   local result = {}
   for _, row in ipairs(run:output()) do
      result[row[1] .. " " .. row[2]] = row[3]
   end
   return result
end

describe("the word count", function()
   local run

   before_each(function() run = helper.run(source()) end)
   after_each(function() run:close() end)

   it("counts the example of the documentation", function()
      local two = { { "authorization", "" }, { "authorization", "" } }
      local order = { key = "order order", value = "widget", headers = { two[1] } }
      local records = { order, order, order,
                        { key = "order order", value = "widget", headers = two },
                        { key = "order", value = "widget" }, { key = "order", value = "widget" },
                        { key = "order" }, { key = "order" },
                        { value = "widget" }, { value = "widget" }, { value = "widget" } }
      for _, batch in ipairs { { 1 }, { 2 }, { 3, 5 }, { 6, 8 }, { 10, 11 }, { 4, 7, 9 } } do
         local list = {}
         for i, number in ipairs(batch) do
            list[i] = records[number]
         end
         assert.is_nil(run:batch(list))
         assert.are.equal(#list, run.result.rows_in)
      end
      assert.are.same({
         ["header authorization"] = 5, ["key order"] = 12, ["value widget"] = 9,
         ["stats no-key"] = 3, ["stats no-header"] = 7, ["stats no-value"] = 2,
      }, counts(run))
   end)

   it("takes an empty key or value as missing", function()
      assert.is_nil(run:batch { { key = "", value = "" } })
      assert.are.same({ ["stats no-key"] = 1, ["stats no-value"] = 1, ["stats no-header"] = 1 },
                      counts(run))
   end)

   it("counts names and values of headers", function()
      assert.is_nil(run:batch { { key = "k", value = "v", headers = {
         { "Content-Type", "text/HTML" }, { "x", nil }, { "x", "X" } } } })
      assert.are.same({ ["key k"] = 1, ["value v"] = 1, ["header content"] = 1, ["header x"] = 3,
                        ["header type"] = 1, ["header text"] = 1, ["header html"] = 1 },
                      counts(run))
   end)

   it("splits at whatever is no letter or digit, and lower-cases", function()
      assert.is_nil(run:batch { { key = "k", value = "The 2nd\0cafe\xCC\x81, THE-end" } })
      local result = counts(run)
      assert.are.same({ 2, 1, 1, 1 }, { result["value the"], result["value 2nd"],
                                        result["value cafe"], result["value end"] })
   end)

   it("says nothing of headers when include_headers is false", function()
      run:close()
      helper.set("include_headers", "false")
      finally(function() helper.set "include_headers" end)
      run = helper.run(source())
      assert.is_nil(run:batch { { key = "a" }, { value = "b", headers = { { "h", "i" } } } })
      assert.are.same({ ["key a"] = 1, ["value b"] = 1, ["stats no-key"] = 1,
                        ["stats no-value"] = 1 }, counts(run))
   end)

   it("refuses a setting that is neither true nor false", function()
      helper.set("include_headers", "maybe")
      finally(function() helper.set "include_headers" end)
      assert.truthy(helper.load(source()):find(
         'job.lua:7: setting include_headers must be true or false, not "maybe"', 1, true))
   end)

   it("generates the loop that was reviewed", function()
      local text = driver.text(helper.boot.runner()):gsub("%[[^%]\n]*job%.lua", "[job.lua")
      local file = assert(io.open(helper.root .. "/tests/spec/wordcount_loop.txt"))
      local golden = file:read "*a"
      file:close()
      assert.are.equal(golden, text)
   end)

   it("counts the same over many batches whatever their size", function()
      local seed = tonumber(os.getenv "SEED") or 20240101
      math.randomseed(seed)
      local expected, offset = {}, 0
      while offset < 3000 do
         local list = {}
         for i = 1, math.random(1, 200) do
            local words = {}
            for n = 1, math.random(0, 12) do
               words[n] = "w" .. math.random(1, 40)
               local key = "value " .. words[n]
               expected[key] = (expected[key] or 0) + 1
            end
            list[i] = { key = "k", value = table.concat(words, " "), headers = { { "", "" } } }
            if #words == 0 then
               expected["stats no-value"] = (expected["stats no-value"] or 0) + 1
            end
         end
         offset = offset + #list
         expected["key k"] = offset
         assert.is_nil(run:batch(list))
      end
      assert.are.same(expected, counts(run), "SEED=" .. seed)
   end)
end)
