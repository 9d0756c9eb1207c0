-- SPDX-License-Identifier: Apache-2.0
-- Readings or articles as `tidemark produce` makes them, but as lines for its stdin, of
-- which each goes to the partition of its key: peers group by key there.
--
--   luajit keyed.lua readings|articles COUNT
local kind, count = arg[1], tonumber(arg[2])
local START_S = 1704067200
local random, write = math.random, io.write
math.randomseed(1)

local function time(ms)
   return os.date("!%Y-%m-%dT%H:%M:%S", START_S + math.floor(ms / 1000)) ..
      (".%03dZ"):format(ms % 1000)
end

local function line(key, value)
   write('{"key":"', key, '","value":"', (value:gsub('"', '\\"')), '"}\n')
end

-- A millisecond apart, and 5 % of them up to 20 seconds late.
local function reading(i)
   local late = random(100) <= 5 and random(20000) or 0
   local id = random(10000)
   line(id, ('{"id":%d,"ts":"%s","value":%.2f,"source":"sim-producer"}')
      :format(id, time(i - late), random(0, 9999) / 100))
end

-- Ten milliseconds apart; half of them repeat one of the hundred thousand before.
local body, different = ("lorem ipsum "):rep(16), 0
local function article(i)
   local number = different
   if different > 0 and random(2) == 1 then
      number = different - random(math.min(different, 100000))
   else
      different = different + 1
   end
   local id = "article-" .. number
   line(id, ('{"id":"%s","published_at":"%s","title":"News %d","source":"wire-%d","body":"%s"}')
      :format(id, time(i * 10), i, random(0, 19), body))
end

for i = 0, count - 1 do
   (kind == "readings" and reading or article)(i)
end
