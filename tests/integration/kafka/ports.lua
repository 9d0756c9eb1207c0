-- SPDX-License-Identifier: Apache-2.0
-- Prints as many loopback ports as asked for that are free now.
local free_ports = dofile((arg[0]:gsub("kafka/ports.lua$", "process.lua"))).free_ports
print(table.concat(free_ports(tonumber(arg[1]) or 1), " "))
