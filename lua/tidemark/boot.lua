-- SPDX-License-Identifier: Apache-2.0
-- What src/job/vm.c calls: six functions that read their arguments from
-- ctx.call and return nil or a message.
local ffi = require "ffi"
local driver = require "tidemark.driver"
local errors = require "tidemark.errors"
local lint = require "tidemark.lint"
local native = require "tidemark.native"
local plan = require "tidemark.plan"
local plan_write = require "tidemark.plan_write"
local sandbox = require "tidemark.sandbox"
local stream = require "tidemark.stream"
local tide = require "tidemark"

local ctx = native.ctx
local M = {}

local runner, chunks

local function load_job(path)
   runner, chunks = nil, nil
   errors.forget()
   stream.forget()
   sandbox.seal()
   local value, files, compiled = sandbox.load(path, tide)
   local program = plan.make(value, path)
   runner, chunks = driver.new(program), compiled
   if ctx.call.plan ~= nil then
      plan_write.write(ctx.call.plan, program, files)
   end
end

--- Load the job file at ctx.call.path, and fill ctx.call.plan if there is one.
function M.load()
   local ok, e = xpcall(load_job, errors.handler, ffi.string(ctx.call.path))
   return not ok and errors.show(e) or nil
end

--- The runner of the loaded job, for specs.
function M.runner()
   return runner
end

--- What is suspicious in the loaded job, as lint.run gives it.
function M.warnings()
   return lint.run(runner.program, chunks, tide)
end

local function lint_job()
   for _, warning in ipairs(M.warnings()) do
      plan_write.warning(ctx.call.plan, warning)
   end
end

--- Write what is suspicious in the loaded job into ctx.call.plan.
function M.lint()
   local ok, e = xpcall(lint_job, errors.handler)
   return not ok and errors.show(e) or nil
end

function M.bind()
   return not runner and "no job is loaded" or nil
end

function M.run()
   return driver.run(runner, ctx.call.number, ctx.call.result)
end

function M.merge()
   local call = ctx.call
   return driver.merge(runner, call.number, call.pairs, tonumber(call.count))
end

function M.finish()
   local call = ctx.call
   return driver.finish(runner, call.number, call.output, call.keys, call.stride, call.states,
                        tonumber(call.count))
end

return M
