-- SPDX-License-Identifier: Apache-2.0
-- Time and chance that an epoch can repeat. Times are numbers of milliseconds
-- since 1970 with microseconds as fraction.
local ffi = require "ffi"
local native = require "tidemark.native"
local text = require "tidemark.text"

local C, ctx = native.C, native.ctx
local M = {}

local us_out = ffi.new "int64_t[1]"
local format_out = ffi.new "char[64]"

--- "30s", "5m", "1 hour 30 minutes" as milliseconds.
function M.ms(span)
   if type(span) == "number" then
      return span
   end
   span = text.as_string(span)
   local ms = span and C.tide_ffi_span_ms(span) or -1
   if ms < 0 then
      error(('tide.ms: "%s" is not a time span; write "250ms", "30s", "5m", "2h" or "7d"')
         :format(tostring(span)), 0)
   end
   return ms
end

--- A time as "2024-01-01T12:00:00.000Z".
function M.format(ms)
   if type(ms) ~= "number" or ms ~= ms or math.abs(ms) > 8.64e15 then
      error("tide.format wants a time in milliseconds, got " .. tostring(ms), 0)
   end
   C.tide_ffi_format_ms(math.floor(ms), format_out, 64)
   return ffi.string(format_out)
end

--- ISO 8601 text as milliseconds, or nil if it is not a time.
function M.parse(value)
   value = text.as_string(value)
   if value == nil or not C.tide_ffi_parse_us(value, #value, us_out) then
      return nil
   end
   return tonumber(us_out[0]) / 1000
end

--- The time of the epoch: the same whenever it runs again.
function M.now()
   if ctx.epoch == 0 and ctx.now_us == 0 then
      error("tide.now() is the time of an epoch: call it in a function of a step, " ..
            "not while the job is loaded", 0)
   end
   return tonumber(ctx.now_us) / 1000
end

--- As math.random, but decided by the record and the epoch.
function M.random(m, n)
   local r = C.tide_ffi_random(ctx)
   if m == nil then
      return r
   end
   if n == nil then
      m, n = 1, m
   end
   if n < m then
      error("tide.random: the interval is empty", 0)
   end
   return math.floor(r * (n - m + 1)) + m
end

return M
