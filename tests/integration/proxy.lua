-- SPDX-License-Identifier: Apache-2.0
-- A proxy before a Kafka on loopback that does something to the end of one
-- transaction.
--
--   luajit proxy.lua PORT MODE N FILE     listens on a port that it prints
--
-- Requests and answers pass as they are, but brokers' addresses in answers become
-- the proxy's. To the Nth EndTxn request MODE does this:
--   lose      it is lost, and both connections with it
--   deaf      the broker gets it, but its answer and both connections are lost
--   slow:MS   its answer comes so late
--   late      the client's connection is lost; the request reaches the broker
--             once FILE exists
-- Each of these prints a line: "did MODE", and "released" when it was late.
local ffi = require "ffi"
local bit = require "bit"
local process = dofile((arg[0]:gsub("proxy%.lua$", "process.lua")))

ffi.cdef "int accept(int fd, void *, void *); int access(const char *, int);"

local C = ffi.C
local port, mode, number, file = tonumber(arg[1]), arg[2], tonumber(arg[3]), arg[4]
local END_TXN, POLLIN, CHUNK = 26, 1, 65536
local chunk = ffi.new("char[?]", CHUNK)
local conns = {} -- by fd: { fd, peer, up, data }
local seen = 0

local function address(p)
   local a = ffi.new "struct tide_sockaddr"
   a.family, a.port, a.addr = 2, C.htons(p), C.htonl(0x7f000001)
   return a
end

local function say(text)
   io.write(text, "\n")
   io.flush()
end

local listener = C.socket(2, 1, 0)
local name, len = address(0), ffi.new("unsigned[1]", 16)
assert(C.bind(listener, name, 16) == 0 and C.listen(listener, 64) == 0)
assert(C.getsockname(listener, name, len) == 0)
local own = tonumber(C.htons(name.port))

local function be32(n)
   return string.char(bit.band(bit.rshift(n, 24), 255), bit.band(bit.rshift(n, 16), 255),
                      bit.band(bit.rshift(n, 8), 255), bit.band(n, 255))
end
local real_address, own_address = "127.0.0.1" .. be32(port), "127.0.0.1" .. be32(own)

local function replace(text)
   local from = 1
   while true do
      local at = text:find(real_address, from, true)
      if not at then
         return text
      end
      text = text:sub(1, at - 1) .. own_address .. text:sub(at + #own_address)
      from = at + #own_address
   end
end

local function close(conn)
   if conn and conns[conn.fd] then
      conns[conn.fd] = nil
      C.close(conn.fd)
      close(conn.peer)
   end
end

local function send(conn, text)
   while conn and #text > 0 do
      local n = tonumber(C.send(conn.fd, text, #text, 0x4000))
      if n <= 0 then
         return close(conn)
      end
      text = text:sub(n + 1)
   end
end

-- The client's side goes; the broker's stays for what is still to come.
local function part(conn)
   local broker = conn.peer
   conn.peer, broker.peer = nil, nil
   close(conn)
   return broker
end

local function act(conn, frame)
   say("did " .. mode)
   if mode == "lose" then
      close(conn)
   elseif mode == "deaf" then
      send(part(conn), frame)
   elseif mode == "late" then
      local broker = part(conn)
      broker.held = frame
   else
      conn.peer.slow = tonumber(mode:match "%d+") / 1000
      send(conn.peer, frame)
   end
end

local function on_frame(conn, frame)
   local key = conn.up and frame:byte(5) * 256 + frame:byte(6)
   if key == END_TXN then
      seen = seen + 1
      if seen == number then
         return act(conn, frame)
      end
   end
   if conn.slow then
      conn.ready, conn.slow, conn.frame = process.now() + conn.slow, nil, frame
   else
      send(conn.peer, conn.up and frame or replace(frame))
   end
end

local function on_data(conn)
   local n = tonumber(C.recv(conn.fd, chunk, CHUNK, 0))
   if n <= 0 then
      return close(conn)
   end
   conn.data = conn.data .. ffi.string(chunk, n)
   while conns[conn.fd] == conn and #conn.data >= 4 do
      local a, b, c, d = conn.data:byte(1, 4)
      local size = 4 + ((a * 256 + b) * 256 + c) * 256 + d
      if #conn.data < size then
         break
      end
      local frame = conn.data:sub(1, size)
      conn.data = conn.data:sub(size + 1)
      on_frame(conn, frame)
   end
end

local function on_client()
   local fd, up = C.accept(listener, nil, nil), C.socket(2, 1, 0)
   if C.connect(up, address(port), 16) ~= 0 then
      C.close(fd)
      C.close(up)
      return
   end
   local client, broker = { fd = fd, up = true, data = "" }, { fd = up, data = "" }
   client.peer, broker.peer = broker, client
   conns[fd], conns[up] = client, broker
end

local function look_around()
   for _, conn in pairs(conns) do
      if conn.held and C.access(file, 0) == 0 then
         send(conn, conn.held)
         conn.held = nil
         say "released"
      end
      if conn.ready and process.now() > conn.ready then
         send(conn.peer, conn.frame)
         conn.ready = nil
      end
   end
end

say(own)
while true do
   local fds, list = ffi.new "struct tide_pollfd[256]", {}
   fds[0].fd, fds[0].events = listener, POLLIN
   for _, conn in pairs(conns) do
      list[#list + 1] = conn
      fds[#list].fd, fds[#list].events = conn.fd, POLLIN
   end
   C.poll(fds, #list + 1, 20)
   for i, conn in ipairs(list) do
      if fds[i].revents ~= 0 and conns[conn.fd] == conn then
         on_data(conn)
      end
   end
   if fds[0].revents ~= 0 then
      on_client()
   end
   look_around()
end
