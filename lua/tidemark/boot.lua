-- SPDX-License-Identifier: Apache-2.0
-- What src/job/vm.c calls: twelve functions that read their arguments from
-- ctx.call and return nil or a message.
local ffi = require "ffi"
local driver = require "tidemark.driver"
local errors = require "tidemark.errors"
local lint = require "tidemark.lint"
local migrate = require "tidemark.migrate"
local native = require "tidemark.native"
local plan = require "tidemark.plan"
local plan_write = require "tidemark.plan_write"
local sandbox = require "tidemark.sandbox"
local stream = require "tidemark.stream"
local tide = require "tidemark"
local trial = require "tidemark.trial"

local C, ctx = native.C, native.ctx
local M = {}

local runner, chunks, look

local function load_job(path)
   runner, chunks, look = nil, nil, nil
   errors.forget()
   local hurry = C.tide_ffi_setting(ctx, "tidemark.hurry_ms")
   if hurry ~= nil then
      errors.hurry(tonumber(ffi.string(hurry)))
   end
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
   if ctx.call.plan ~= nil then
      plan_write.files(ctx.call.plan, errors.wanted())
   end
   return not ok and errors.show(e) or nil
end

--- The runner of the loaded job, for specs.
function M.runner()
   return runner
end

local function safely(fn)
   return function()
      local ok, e = xpcall(fn, errors.handler)
      return not ok and errors.show(e) or nil
   end
end

--- Look for what is suspicious in the loaded job; with ctx.call.number it will be
--- tried on the records that M.sample makes.
M.lint = safely(function()
   look = lint.look(runner.program, chunks, tide)
   if ctx.call.number ~= 0 then
      lint.try(look)
   end
end)

--- Fill ctx.call.batch for an input to be tried with.
M.sample = safely(function()
   trial.sample(runner.program.inputs[ctx.call.number + 1], ctx.call.batch)
end)

--- What was found, as lint.warnings gives it.
function M.warnings()
   if look.trial then
      lint.tried(look)
   end
   return lint.warnings(look)
end

--- Write what was found into ctx.call.plan. What does not return is an error.
M.found = safely(function()
   local endless = look.trial and trial.endless()
   if endless then
      lint.tried(look)
      errors.at(endless.path, endless.line, "a function of the job was tried on a made-up " ..
         "record and does not return: a loop in it may never end")
   end
   for _, warning in ipairs(M.warnings()) do
      plan_write.warning(ctx.call.plan, warning)
   end
end)

function M.bind()
   return not runner and "no job is loaded" or nil
end

function M.run()
   return driver.run(runner, ctx.call.number, ctx.call.result)
end

--- After a run that did not return, in a new state: where it hangs, which only
--- ctx.place will say, and then that the batch goes on without the row.
M.search = safely(function()
   driver.search(runner, ctx.call.number)
end)

function M.condemn()
   return driver.condemn(runner, ctx.call.number, ctx.call.result)
end

--- The same for whatever else was called: do it again, in a new state.
function M.trace()
   errors.trace()
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

--- Fill the states of ctx.call.pairs from those of an older version of the job.
M.migrate = safely(function()
   migrate.run(runner.program.keyed[ctx.call.number + 1])
end)

return M
