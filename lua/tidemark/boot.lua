-- SPDX-License-Identifier: Apache-2.0
-- What src/job/vm.c calls: five functions that return nil or a message.
local ffi = require "ffi"
local driver = require "tidemark.driver"
local errors = require "tidemark.errors"
local plan = require "tidemark.plan"
local plan_write = require "tidemark.plan_write"
local sandbox = require "tidemark.sandbox"
local stream = require "tidemark.stream"
local tide = require "tidemark"

local M = {}

local runner

local function load_job(path, target)
   runner = nil
   errors.forget()
   stream.forget()
   sandbox.seal()
   local value, files = sandbox.load(path, tide)
   local program = plan.make(value, path)
   runner = driver.new(program)
   if target then
      plan_write.write(ffi.cast("struct tide_plan *", target), program, files)
   end
end

function M.load(path, target)
   local ok, e = xpcall(load_job, errors.handler, path, target)
   return not ok and errors.show(e) or nil
end

--- The runner of the loaded job, for specs.
function M.runner()
   return runner
end

function M.bind()
   return not runner and "no job is loaded" or nil
end

function M.run(input, result)
   return driver.run(runner, input, result)
end

function M.merge(keyed, list, count)
   return driver.merge(runner, keyed, list, count)
end

function M.finish(keyed, output, keys, stride, states, count)
   return driver.finish(runner, keyed, output, keys, stride, states, count)
end

return M
