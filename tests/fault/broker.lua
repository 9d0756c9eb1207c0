-- SPDX-License-Identifier: Apache-2.0
-- A broker of a test's own, which can be killed, stopped and started again, or
-- several that replicate. with-kafka ends what a test could not.
local h = require "harness"
local process = h.process

local M = {}

local Broker = {}
Broker.__index = Broker

local server = h.root .. "/tests/integration/kafka/server"

local function env_of(broker, keep)
   local env = { KAFKA_HEAP = "192m", KAFKA_CERTIFICATES = h.kafka_dir, KAFKA_KEEP = keep,
                 TIDE_KAFKA = false }
   for key, value in pairs(broker.env) do
      env[key] = value
   end
   return env
end

local function begin(broker, keep)
   return h.spawn({ server, "start", broker.dir, unpack(broker.properties) },
                  { env = env_of(broker, keep) })
end

local function finish_start(broker, starting)
   h.expect_exit(starting, 0, 120)
   broker.address = h.read_file(broker.dir .. "/address"):match "%S+"
   broker.pid = tonumber(h.read_file(broker.dir .. "/pid"))
   return broker
end

local function prepare(properties, env)
   local root = h.make_dir(os.getenv "TIDE_SCRATCH" .. "/brokers")
   local broker = setmetatable({ dir = root .. "/" .. process.unique(), env = env or {},
                                 properties = properties or {} }, Broker)
   h.at_end(function()
      process.kill_pid(broker.pid or 0x7fffffff, "KILL")
   end)
   return broker
end

--- One broker; `properties` is a list of "key=value".
function M.start(properties)
   local broker = prepare(properties)
   return finish_start(broker, begin(broker))
end

--- Three that keep everything three times; the address of them all is the second
--- result.
function M.start_three()
   local ports, voters, brokers, starting = process.free_ports(12), {}, {}, {}
   for node = 1, 3 do
      voters[node] = ("%d@127.0.0.1:%d"):format(node, ports[node * 4 - 2])
   end
   for node = 1, 3 do
      brokers[node] = prepare({
         "default.replication.factor=3", "min.insync.replicas=2",
         "offsets.topic.replication.factor=3", "transaction.state.log.replication.factor=3",
         "transaction.state.log.min.isr=2", "broker.session.timeout.ms=3000",
         "broker.heartbeat.interval.ms=500", "replica.lag.time.max.ms=3000",
      }, { KAFKA_NODE = tostring(node), KAFKA_VOTERS = table.concat(voters, ","),
           KAFKA_PORTS = table.concat(ports, " ", node * 4 - 3, node * 4) })
      starting[node] = begin(brokers[node])
   end
   local addresses = {}
   for node = 1, 3 do
      addresses[node] = finish_start(brokers[node], starting[node]).address
   end
   return brokers, table.concat(addresses, ",")
end

function Broker:signal(name)
   assert(process.kill_pid(self.pid, name), "the broker is not there")
end

local function is_gone(pid)
   local state = h.read_file(("/proc/%d/status"):format(pid)):match "State:%s*(%a)"
   return state == nil or state == "Z" or state == "X"
end

--- End it by this signal, and wait until it has.
function Broker:fell(name)
   self:signal(name)
   h.eventually("the broker's end", function() return is_gone(self.pid) end)
   self.pid = nil
end

--- Start it again, on its data and its ports.
function Broker:again()
   return finish_start(self, begin(self, "1"))
end

return M
