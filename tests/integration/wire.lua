-- SPDX-License-Identifier: Apache-2.0
-- The wire between a job and its Kafka, which can be cut, slowed and jammed.
local h = require "harness"

local M = {}

-- API keys of Kafka's protocol.
M.keys = { produce = 0, find_coordinator = 10, add_offsets = 25, end_txn = 26, txn_offsets = 28 }

local Wire = {}
Wire.__index = Wire

--- Start a proxy before a broker (or several, "host:port,host:port"): wire.brokers
--- is where it listens.
function M.open(brokers)
   local ports = {}
   for port in (brokers or h.brokers):gmatch ":(%d+)" do
      ports[#ports + 1] = port
   end
   local wire = setmetatable({ path = h.path("rules-" .. h.process.unique()), count = 0 }, Wire)
   h.write_file(wire.path, "")
   wire.proxy = h.spawn { "luajit", h.root .. "/tests/integration/proxy.lua", wire.path,
                          unpack(ports) }
   local own = h.eventually("the proxy", function()
      return wire.proxy:out():match "^([%d ]+)\n"
   end, wire.proxy)
   wire.brokers = own:gsub("%d+", "127.0.0.1:%0"):gsub(" ", ",")
   return wire
end

local function tell(wire, ...)
   local file = assert(io.open(wire.path, "ab"))
   file:write(table.concat({ ... }, " "), "\n")
   file:close()
end

--- See proxy.lua: wire:strike("request", wire.keys.end_txn, 0, "late 0"). Returns
--- its name.
function Wire:strike(direction, key, skip, action)
   self.count = self.count + 1
   local id = "strike" .. self.count
   tell(self, id, direction, tostring(key), tostring(skip), action)
   h.eventually("the proxy to know", function()
      return self.proxy:out():find(id .. " known\n", 1, true)
   end, self.proxy)
   return id
end

function Wire:stop(id)
   tell(self, id, "off")
end

function Wire:release(id)
   tell(self, id, "go")
end

function Wire:did(id)
   return self.proxy:out():find(id .. " did\n", 1, true) ~= nil
end

function Wire:passed(id)
   return self.proxy:out():find(id .. " passed\n", 1, true) ~= nil
end

return M
