-- SPDX-License-Identifier: Apache-2.0
-- Poison: kinds of records that are no good, or that only look so. Each is
-- { name, record…, dead = … } with records as harness.produce takes them; `dead`
-- says that they fail, otherwise they are rows like any other. What has `batch` is
-- produced by itself, with those properties of the producer.
local null = require "cjson".null

local M = {}

local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
   local parts = {}
   for i = 1, #text, 3 do
      local a, b, c = text:byte(i, i + 2)
      local bits = a * 65536 + (b or 0) * 256 + (c or 0)
      local four = {}
      for k = 1, 4 do
         local digit = math.floor(bits / 64 ^ (4 - k)) % 64 + 1
         four[k] = letters:sub(digit, digit)
      end
      parts[#parts + 1] = four[1] .. four[2] .. (b and four[3] or "=") .. (c and four[4] or "=")
   end
   return table.concat(parts)
end

--- Any bytes, for a record's line.
function M.bytes(text)
   return { base64 = base64(text) }
end

local bytes = M.bytes

-- What a line of JSON cannot carry as it is goes as bytes.
local function value(name, text, dead)
   if type(text) == "string" and text:find "[%c\128-\255]" then
      text = bytes(text)
   end
   return { name = name, { value = text }, dead = dead }
end

-- What begins terminal sequences, before a mark that is looked for.
M.marks = { "\27]0;owned\7", "\27[31mowned", "\27[2Jowned", "\194\155" .. "1mowned",
            "\155" .. "1mowned", "\27Powned\27\\", "\226\128\174owned" }

local depth = 100000

--- Values for :json { "id:int", "name:string?", "amount:double?", "at:timestamp?" }.
function M.json()
   local good = '{"id":7,"name":%s}'
   return {
      value("an empty value", "", true),
      value("a tombstone", null, true),
      value("white space alone", " \n\t ", true),
      value("a truncated object", '{"id":1', true),
      value("a truncated string", '{"id":1,"name":"ab', true),
      value("a truncated escape", '{"id":1,"name":"ab\\', true),
      value("a truncated \\u", '{"id":1,"name":"ab\\u00', true),
      value("a high surrogate alone", good:format '"\\ud800"', true),
      value("a low surrogate alone", good:format '"\\udc00"', true),
      value("a surrogate pair the wrong way round", good:format '"\\udc00\\ud800"', true),
      value("bytes that are no UTF-8", good:format '"\255\254"', true),
      value("too long a form of UTF-8", good:format '"\192\175"', true),
      value("a surrogate in UTF-8", good:format '"\237\160\128"', true),
      value("a byte order mark", "\239\187\191" .. good:format '"x"', true),
      value("UTF-16", ("{\0\"\0i\0d\0\"\0:\0001\0}\0"), true),
      value("a NUL in text", good:format '"a\0b"', true),
      value("an escaped NUL in text", good:format '"a\\u0000b"'),
      value("a newline in text", good:format '"a\nb"', true),
      value("terminal sequences", good:format('"' .. ("x\27]0;owned\7"):gsub("%c", function(c)
         return ("\\u%04x"):format(c:byte())
      end) .. '"')),
      value("an override of direction", good:format '"\226\128\174owned"'),
      value("NaN", '{"id":1,"amount":NaN}', true),
      value("Infinity", '{"id":1,"amount":-Infinity}', true),
      value("a number beyond double", '{"id":1,"amount":1e999}', true),
      value("a number of 100,000 digits", '{"id":' .. ("9"):rep(100000) .. "}", true),
      value("a fraction of 100,000 digits", '{"id":1,"amount":0.' .. ("3"):rep(100000) .. "}"),
      value("one more than int64", '{"id":9223372036854775808}', true),
      value("the least int64", '{"id":-9223372036854775808}'),
      value("a leading zero", '{"id":01}', true),
      value("a leading plus", '{"id":+1}', true),
      value("no digit behind the point", '{"id":1,"amount":1.}', true),
      value("hexadecimal", '{"id":0x10}', true),
      value("a key twice", '{"id":1,"id":2}'),
      value("arrays in arrays, 100,000 deep",
            '{"id":1,"x":' .. ("["):rep(depth) .. ("]"):rep(depth) .. "}", true),
      value("objects in objects, 100,000 deep",
            '{"id":1,"x":' .. ('{"a":'):rep(depth) .. "1" .. ("}"):rep(depth) .. "}", true),
      value("100,000 open brackets", ("["):rep(depth), true),
      value("10,000 fields", '{"id":1' .. (',"f":1'):rep(10000) .. "}"),
      value("a name of 1 MB", '{"id":1,"' .. ("n"):rep(1e6) .. '":1}'),
      value("text of 50 MB", '{"id":7,"name":"' .. ("x"):rep(50e6) .. '"}'),
      value("text for a number", '{"id":"1"}', true),
      value("a fraction for an int", '{"id":1.5}', true),
      value("true for an int", '{"id":true}', true),
      value("an object for an int", '{"id":{}}', true),
      value("an array for an int", '{"id":[1]}', true),
      value("null for an int", '{"id":null}', true),
      value("no id at all", "{}", true),
      value("a time that is none, where null may be", '{"id":1,"at":"soon"}'),
      value("the year 99999", '{"id":1,"at":"99999-01-01T00:00:00Z"}'),
      value("a day that is none", '{"id":1,"at":"2024-02-30T00:00:00Z"}'),
      value("text behind the document", '{"id":1} x', true),
      value("two documents", '{"id":1}{"id":2}', true),
      value("an array", "[1]", true),
      value("a number alone", "1", true),
      value("the word null", "null", true),
      value("a comment", '{"id":1/* one */}', true),
      value("single quotes", "{'id':1}", true),
      value("a comma too many", '{"id":1,}', true),
      value("names without quotes", "{id:1}", true),
      value("gzip", "\31\139\8\0\0\0\0\0\0\3\75\76\2\0", true),
      value("Avro with a schema's id", "\0\0\0\0\1\2\14", true),
      value("HTML", "<html><body>502 Bad Gateway</body></html>", true),
   }
end

--- Whole records, for a job whose functions look at all of them. Its error() says
--- what the key says behind "error ".
function M.whole()
   local kinds, headers = {}, {}
   for i = 1, 10000 do
      headers[i] = { "h" .. i, "x" }
   end
   local function add(name, record, dead)
      kinds[#kinds + 1] = { name = name, record, dead = dead }
   end
   add("a key of 1 MB", { key = ("k"):rep(1e6), value = "v" })
   add("an empty key", { key = "", value = "v" })
   add("a null key and value", { key = null, value = null })
   add("an empty value", { key = "k", value = "" })
   add("bytes of all kinds as key and value", { key = bytes "\0\1\255\254",
                                                value = bytes "\255\0" })
   add("10,000 headers", { key = "k", value = "v", headers = headers })
   add("a header of 1 MB", { key = "k", value = "v", headers = { { "h", ("x"):rep(1e6) } } })
   add("a header's name of 1 MB", { key = "k", value = "v", headers = { { ("n"):rep(1e6), "x" } } })
   add("a header without a value", { key = "k", value = "v", headers = { { "h", null } } })
   add("a header without a name", { key = "k", value = "v", headers = { { "", "x" } } })
   add("a header's name that is no UTF-8", { key = "k", value = "v",
                                             headers = { { "\255\254", bytes "\255" } } })
   add("a header twice", { key = "k", value = "v", headers = { { "h", "1" }, { "h", "2" } } })
   add("a word of 1 MB", { key = "k", value = ("w"):rep(1e6) })
   add("a word of 1 MB that is no text", { key = "k", value = { base64 = ("////"):rep(333333) } })
   add("1 MB of NULs", { key = "k", value = { base64 = ("AAAA"):rep(333333) } })
   add("500,000 words", { key = "k", value = ("a "):rep(500000) })
   add("a time before 1970", { key = "k", value = "v", timestamp = -86400000 })
   add("the least time", { key = "k", value = "v", timestamp = 1 })
   add("the year 10000", { key = "k", value = "v", timestamp = "253402300800000" })
   add("a time of 2^62 ms", { key = "k", value = "v", timestamp = "4611686018427387904" })
   add("the last time there is", { key = "k", value = "v", timestamp = "9223372036854775807" })
   for i, mark in ipairs(M.marks) do
      add("terminal sequence " .. i, { key = "k", value = bytes(mark) })
      add("an error with terminal sequence " .. i, { key = bytes("error " .. mark), value = "v" },
          true)
   end
   add("an error with headers, at the last time there is",
       { key = "error here", value = "v", timestamp = "9223372036854775807",
         headers = { { "a", "1" }, { "b", null } } }, true)
   add("an error of 1 MB", { key = "error " .. ("e"):rep(1e6), value = "v" }, true)
   add("an error with a NUL", { key = bytes "error a\0b", value = "v" }, true)
   add("an error of many lines", { key = "error " .. ("line\n"):rep(1000), value = "v" }, true)
   for _, what in ipairs { "table", "nil", "number", "deep", "pcall", "type", "nan", "inf",
                           "huge", "null" } do
      add("an error by " .. what, { key = "raise " .. what, value = "v" },
          what ~= "pcall")
   end
   return kinds
end

--- Compressed batches, and transactions: { name, records, properties of the producer }.
function M.batches()
   local list = {}
   for _, codec in ipairs { "gzip", "snappy", "lz4", "zstd" } do
      list[#list + 1] = { name = codec, codec = codec, count = 100, size = 100 }
   end
   -- Some hundred kilobytes that become 64 MB.
   list[#list + 1] = { name = "a gzip bomb", codec = "gzip", count = 4, size = 16e6 }
   list[#list + 1] = { name = "a zstd bomb", codec = "zstd", count = 4, size = 16e6 }
   return list
end

return M
