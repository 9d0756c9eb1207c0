-- SPDX-License-Identifier: Apache-2.0
-- How often each test of the fault campaign strikes: in `make test` (ci) and in
-- `make soak`, where a row is cut into stretches that may run on different days.
--
-- A row NAME is tests/fault/NAME_spec.lua. The environment says which part of it
-- runs here: TIDE_STRETCH="3/20" is the third of twenty of the soak, without it
-- this is CI; SEED=N gives the same strikes again; TIDE_TALLY names the file that
-- collects what happened.
--
--   luajit tests/fault/column.lua     the rows: name, stretches, what it is

local M = {}

-- number: the test of this kind in our catalogue, by which it is spoken of.
M.rows = {
   { name = "points", number = 2, what = "fail points, actions, every pass",
     ci = 100, soak = 870, stretches = 5 },
   { name = "poison", number = 15, what = "bad records under each on_error, and random ones",
     ci = 3000, soak = 1000000, stretches = 10 },
   { name = "clock", number = 18, what = "clocks that jump, times that cannot be",
     ci = 15, soak = 15, stretches = 1 },
   { name = "scripts", number = 16, what = "hostile scripts in every place, under each on_error",
     ci = 47, soak = 1000, stretches = 10 },
   { name = "signals", number = 22, what = "SIGTERM in every state of a job",
     ci = 20, soak = 200, stretches = 5 },
   { name = "memory", number = 26, what = "allocations of ours that fail, one by one",
     ci = 32, soak = 4000, stretches = 8 },
   { name = "fuzz", number = 24, what = "seconds of each fuzzer; CI has the suite for it",
     ci = 0, soak = 720, stretches = 12 },
   { name = "kills", number = 3, what = "kill -9 of a job on a real Kafka",
     ci = 100, soak = 1000, stretches = 10 },
   { name = "damage", number = 10, what = "flipped bits and cut files; the soak does every bit",
     ci = 20000, soak = 600000, stretches = 20 },
   { name = "power", number = 11, what = "power loss: unsynced names and bytes are gone",
     ci = 100, soak = 2000, stretches = 10 },
   { name = "brokers", number = 7, what = "brokers killed, restarted, stopped for a while",
     ci = 15, soak = 120, stretches = 4 },
   { name = "failover", number = 7, what = "one of three brokers killed: the next goes on",
     ci = 2, soak = 12, stretches = 2 },
   { name = "retention", number = 13, what = "logs cut, topics recreated shorter and longer",
     ci = 16, soak = 16, stretches = 1 },
   { name = "pressure", number = 19, what = "slow sinks and slow functions",
     ci = 3, soak = 3, stretches = 1 },
   { name = "transactions", number = 8, what = "late, lost and slow ends of transactions",
     ci = 20, soak = 200, stretches = 4 },
   { name = "io", number = 12, what = "full disks, I/O errors, failed syncs",
     ci = 20, soak = 200, stretches = 2 },
}

local Row = {}
Row.__index = Row

local function stretch()
   local k, m = (os.getenv "TIDE_STRETCH" or ""):match "^(%d+)/(%d+)$"
   return tonumber(k), tonumber(m)
end

--- The items of 1..total that stretch k of m takes: first and count.
function M.cut(total, k, m)
   local first = math.floor(total * (k - 1) / m) + 1
   return first, math.floor(total * k / m) - first + 1
end

--- The row of this name, as far as it runs in this process.
function M.row(name)
   for _, known in ipairs(M.rows) do
      if known.name == name then
         local k, m = stretch()
         local row = setmetatable({ name = name, first = 1, count = known.ci,
                                    soak = k ~= nil }, Row)
         if k then
            row.first, row.count = M.cut(known.soak, k, m)
         end
         row.seed = tonumber(os.getenv "SEED") or (os.time() * 1000 + (k or 0)) % 1000000007
         row.state = row.seed
         return row
      end
   end
   error(("tests/fault/column.lua has no row %q"):format(name))
end

--- 1..n, from the row's own seed: other users of math.random do not disturb it.
function Row:random(n)
   -- Park and Miller's: exact in a double, and enough to spread strikes.
   self.state = (self.state % 2147483646 + 1) * 16807 % 2147483647
   return self.state % n + 1
end

--- What of an enumerated list is to be done here: the stretch's slice of all of
--- it; in CI as many as the row says, drawn by the seed, in the list's order.
function Row:share(list)
   local part = {}
   if self.soak then
      local first, count = M.cut(#list, stretch())
      for i = first, first + count - 1 do
         part[#part + 1] = list[i]
      end
      return part
   end
   local wanted = math.min(self.count, #list)
   for i, item in ipairs(list) do
      -- Each of the rest is as likely as the next: wanted of those that are left.
      if self:random(#list - i + 1) <= wanted - #part then
         part[#part + 1] = item
      end
   end
   return part
end

--- Put on record what was done: how many strikes hit, and a few words.
function Row:tally(count, text)
   local path = os.getenv "TIDE_TALLY"
   print(("        %s: %d strikes, SEED=%d%s"):format(self.name, count, self.seed,
                                                      text and ", " .. text or ""))
   if path then
      local file = assert(io.open(path, "a"))
      file:write(self.name, "\t", count, "\t", self.seed, "\t", text or "", "\n")
      file:close()
   end
end

if arg and arg[0] and arg[0]:find "column%.lua$" then
   for _, row in ipairs(M.rows) do
      print(("%s\t%d\t%d\t%d\t%d\t%s"):format(row.name, row.stretches, row.number, row.ci,
                                              row.soak, row.what))
   end
end

return M
