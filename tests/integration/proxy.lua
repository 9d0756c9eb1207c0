-- SPDX-License-Identifier: Apache-2.0
-- A proxy before Kafka brokers on loopback, which does to requests and answers
-- what a network does, when it is told to. wire.lua starts one and talks to it.
--
--   luajit proxy.lua RULES PORT…      prints the ports on which it listens instead
--
-- All passes as it is, but brokers' addresses in answers become the proxy's. RULES
-- is a file that grows by lines; each names a rule:
--   ID request KEY SKIP ACTION    the next request of that API key (26: the end of a
--                                 transaction) behind SKIP others meets …
--   ID answer KEY SKIP ACTION     the same for answers
--   ID off                        no longer
--   ID go                         what it holds passes now
-- It prints "ID known" when it has read a rule. ACTIONS, of which each prints "ID did",
-- and "ID passed" when it was late:
--   lose      it is lost, and the connection with it
--   deaf      it reaches the broker, but the client's connection is lost
--   hold MS   it passes so much later, and what is behind it on its connection, too;
--             a request also does when the client has given up and gone
--   late KEY  the client's connection is lost; the request reaches the broker once it
--             has answered the next one of KEY, whoever sends that ("go": only when told)
--   each MS   holds every one, until it is off
local ffi = require "ffi"
local bit = require "bit"
local process = dofile((arg[0]:gsub("proxy%.lua$", "process.lua")))

ffi.cdef "int accept(int fd, void *, void *);"

local C = ffi.C
local POLLIN, CHUNK, LOOK_S, FDS = 1, 65536, 0.005, 256
local chunk = ffi.new("char[?]", CHUNK)
local listeners = {} -- { fd, port: the broker's }
local pairs_open = {} -- of connections: { up, down }; each { fd, to, data, queue }
local rules = {}
local rules_file, rules_rest = assert(io.open(arg[1], "rb")), ""
local addresses = {} -- of brokers, as answers have them, and ours instead

local function address(p)
   local a = ffi.new "struct tide_sockaddr"
   a.family, a.port, a.addr = 2, C.htons(p), C.htonl(0x7f000001)
   return a
end

local function say(...)
   io.write(table.concat({ ... }, " "), "\n")
   io.flush()
end

local function be32(n)
   return string.char(bit.band(bit.rshift(n, 24), 255), bit.band(bit.rshift(n, 16), 255),
                      bit.band(bit.rshift(n, 8), 255), bit.band(n, 255))
end

local function number_of(text, at)
   local a, b, c, d = text:byte(at, at + 3)
   return ((a * 256 + b) * 256 + c) * 256 + d
end

local function listen(port)
   local fd, name, len = C.socket(2, 1, 0), address(0), ffi.new("unsigned[1]", 16)
   assert(C.bind(fd, name, 16) == 0 and C.listen(fd, 64) == 0)
   assert(C.getsockname(fd, name, len) == 0)
   local own = tonumber(C.htons(name.port))
   listeners[#listeners + 1] = { fd = fd, port = port }
   addresses[#addresses + 1] = { "127.0.0.1" .. be32(port), "127.0.0.1" .. be32(own) }
   return own
end

local function with_our_addresses(text)
   for _, known in ipairs(addresses) do
      local from = 1
      while true do
         local at = text:find(known[1], from, true)
         if not at then
            break
         end
         text = text:sub(1, at - 1) .. known[2] .. text:sub(at + #known[2])
         from = at + #known[2]
      end
   end
   return text
end

-- --- Connections -----------------------------------------------------------------

local function shut(side)
   if side.fd then
      C.close(side.fd)
      side.fd = nil
   end
end

-- The client's side goes; the broker's only when nothing more is on its way there.
local function part(pair)
   shut(pair.up)
   pair.down.queue = {}
   if #pair.up.queue == 0 and not pair.awaited then
      shut(pair.down)
      pairs_open[pair] = nil
   end
end

local function cut(pair)
   shut(pair.up)
   shut(pair.down)
   pairs_open[pair] = nil
end

local function write(pair, side, text)
   local fd = side.to.fd
   while fd and #text > 0 do
      local n = tonumber(C.send(fd, text, #text, 0x4000))
      if n <= 0 then
         return cut(pair)
      end
      text = text:sub(n + 1)
   end
end

-- Requests that wait for an answer to one of this key.
local function release_behind(key)
   for _, rule in pairs(rules) do
      if rule.held and tonumber(rule.arg) == key then
         rule.go = true
      end
   end
end

local function pass(pair, side, item)
   write(pair, side, side == pair.up and item.frame or with_our_addresses(item.frame))
   if item.rule and item.rule.action ~= "each" then
      say(item.rule.id, "passed")
   end
   if side == pair.down then
      release_behind(item.key)
   end
end

local function act(pair, side, item, rule)
   if rule.action ~= "each" then
      rules[rule.id] = nil
   end
   if not rule.did then
      say(rule.id, "did")
   end
   rule.did = true
   if rule.action == "lose" then
      cut(pair)
   elseif rule.action == "deaf" then
      -- Its end comes from the broker, which answers to nobody.
      pair.awaited = true
      pass(pair, side, item)
      part(pair)
   elseif rule.action == "late" then
      rules[rule.id] = rule
      pair.awaited, rule.held = true, { pair, item }
      part(pair)
   else
      item.rule, item.ready = rule, process.now() + tonumber(rule.arg) / 1000
      side.queue[#side.queue + 1] = item
   end
end

local function rule_for(direction, key)
   for _, rule in pairs(rules) do
      if rule.direction == direction and rule.key == key and not rule.held then
         rule.skip = rule.skip - 1
         if rule.skip < 0 then
            return rule
         end
      end
   end
end

local function on_frame(pair, side, frame)
   local item, rule = { frame = frame }
   if side == pair.up then
      item.key = frame:byte(5) * 256 + frame:byte(6)
      pair.keys[number_of(frame, 9)] = item.key
      rule = rule_for("request", item.key)
   else
      local id = number_of(frame, 5)
      item.key, pair.keys[id] = pair.keys[id], nil
      rule = rule_for("answer", item.key)
   end
   if rule then
      act(pair, side, item, rule)
   elseif #side.queue > 0 then
      item.ready = 0
      side.queue[#side.queue + 1] = item
   else
      pass(pair, side, item)
   end
end

local function on_data(pair, side)
   local n = tonumber(C.recv(side.fd, chunk, CHUNK, 0))
   if n <= 0 then
      return side == pair.up and part(pair) or side == pair.down and cut(pair)
   end
   side.data = side.data .. ffi.string(chunk, n)
   while side.fd and #side.data >= 4 do
      local size = 4 + number_of(side.data, 1)
      if #side.data < size then
         break
      end
      local frame = side.data:sub(1, size)
      side.data = side.data:sub(size + 1)
      on_frame(pair, side, frame)
   end
end

local function on_client(listener)
   local fd, up = C.accept(listener.fd, nil, nil), C.socket(2, 1, 0)
   if C.connect(up, address(listener.port), 16) ~= 0 then
      C.close(fd)
      C.close(up)
      return
   end
   local pair = { up = { fd = fd, data = "", queue = {} }, keys = {},
                  down = { fd = up, data = "", queue = {} } }
   pair.up.to, pair.down.to = pair.down, pair.up
   pairs_open[pair] = true
end

-- --- What is due -----------------------------------------------------------------

local function pass_due(pair, side)
   while side.queue[1] and process.now() >= side.queue[1].ready do
      pass(pair, side, table.remove(side.queue, 1))
   end
end

local function look_around()
   for _, rule in pairs(rules) do
      if rule.held and rule.go then
         rules[rule.id] = nil
         write(rule.held[1], rule.held[1].up, rule.held[2].frame)
         say(rule.id, "passed")
      end
   end
   for pair in pairs(pairs_open) do
      pass_due(pair, pair.up)
      pass_due(pair, pair.down)
      if not pair.up.fd and not pair.gone and #pair.up.queue == 0 and not pair.awaited then
         part(pair)
      end
   end
end

local function on_rule(line)
   local id, what, key, skip, action, value = unpack((function()
      local words = {}
      for word in line:gmatch "%S+" do
         words[#words + 1] = word
      end
      return words
   end)())
   if what == "off" then
      rules[id] = nil
   elseif what == "go" then
      if rules[id] then
         rules[id].go = true
      end
   else
      rules[id] = { id = id, direction = what, key = tonumber(key), skip = tonumber(skip),
                    action = action, arg = value }
      say(id, "known")
   end
end

local function read_rules()
   rules_rest = rules_rest .. (rules_file:read "*a" or "")
   for line in rules_rest:gmatch "([^\n]*)\n" do
      on_rule(line)
   end
   rules_rest = rules_rest:match "([^\n]*)$"
end

local function wait_for_data()
   local fds, list = ffi.new("struct tide_pollfd[?]", FDS), {}
   local function add(fd, handler, ...)
      fds[#list].fd, fds[#list].events = fd, POLLIN
      list[#list + 1] = { handler, ... }
   end
   for _, listener in ipairs(listeners) do
      add(listener.fd, on_client, listener)
   end
   for pair in pairs(pairs_open) do
      for _, side in ipairs { pair.up, pair.down } do
         if side.fd and #list < FDS then
            add(side.fd, on_data, pair, side)
         end
      end
   end
   C.poll(fds, #list, LOOK_S * 1000)
   for i, known in ipairs(list) do
      local handler, a, b = unpack(known)
      -- What came before it may have closed it.
      if fds[i - 1].revents ~= 0 and (handler == on_client or b.fd == fds[i - 1].fd) then
         handler(a, b)
      end
   end
end

local own = {}
for i = 2, #arg do
   own[#own + 1] = listen(tonumber(arg[i]))
end
say(unpack(own))
local looked = 0
while true do
   wait_for_data()
   if process.now() - looked > LOOK_S then
      looked = process.now()
      read_rules()
   end
   look_around()
end
