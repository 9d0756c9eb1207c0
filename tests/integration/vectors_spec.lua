-- SPDX-License-Identifier: Apache-2.0
-- The conformance vectors of event time on a real Kafka, a batch at a time: the
-- process ends cleanly between any two of them, or by kill -9. Rows go into
-- topics that a read_committed reader follows.
local cjson = require "cjson"
local h = require "harness"
local reader = require "vectors.reader"

local function args(vector, setting, workers, more)
   local list = { "run", h.path "job.lua", "-b", h.brokers, "--topic", setting.topic, "--no-ui",
                  "--from", "earliest", "--checkpoint-dir", h.path "cp", "--progress",
                  h.path "progress", "--workers", workers, more }
   for name in pairs(vector.outputs) do
      list[#list + 1] = "--set"
      list[#list + 1] = ("out_%s=%s"):format(name, setting.topics[name])
   end
   return list
end

-- A topic of the vector's records, and one with a reader for each output.
local function set_up(vector)
   h.write_file(h.path "job.lua", vector.job)
   local setting = { topic = h.topic(1), topics = {}, readers = {} }
   for name in pairs(vector.outputs) do
      setting.topics[name] = h.topic(1, name)
      setting.readers[name] = h.spawn { h.root .. "/build/" .. h.flavour .. "/kadmin", "-b",
                                        h.brokers, "follow", setting.topics[name] }
   end
   return setting
end

-- What has come out so far, and its columns in the order of the text.
local function rows_of(setting, name)
   local rows, columns = {}, nil
   for i, record in ipairs(h.json_lines(setting.readers[name]:out())) do
      rows[i] = cjson.decode(record.value)
      for column, value in pairs(rows[i]) do
         rows[i][column] = value ~= cjson.null and value or nil
      end
      columns = {}
      for column in record.value:gmatch '"([%w_]+)":' do
         columns[#columns + 1] = column
      end
   end
   return rows, columns
end

-- A run goes on until nothing is left to do, so windows close in the run that
-- moved the watermark and not in the one after it.
local function wanted_until(vector, name, last)
   local rows = {}
   for i = 1, name == "closed" and last + 1 or last do
      for _, row in ipairs(reader.wanted(vector.batches[i], name)) do
         rows[#rows + 1] = row
      end
   end
   table.sort(rows)
   return rows
end

local function count_wanted(vector, last)
   local count = 0
   for name in pairs(vector.outputs) do
      count = count + #wanted_until(vector, name, last)
   end
   return count
end

local function count_rows(vector, setting)
   local count = 0
   for name in pairs(vector.outputs) do
      count = count + #rows_of(setting, name)
   end
   return count
end

local function check_rows(vector, setting, last)
   for name, output in pairs(vector.outputs) do
      local wanted = wanted_until(vector, name, last)
      local what = ("%s, batch %d, %s"):format(vector.name, last - 1, name)
      h.eventually("the rows of " .. what, function() return #rows_of(setting, name) >= #wanted end)
      local rows, columns = rows_of(setting, name)
      assert.are.same(wanted, reader.shown(output, rows), what)
      if columns and not output.some then
         assert.are.same(output.columns, columns, what)
      end
   end
end

local function records_read()
   local count = 0
   for _, epoch in ipairs(h.progress()) do
      count = count + epoch.numInputRows
   end
   return count
end

local ways = {
   ["stopped"] = function(vector, setting, workers)
      h.run(args(vector, setting, workers, "--until-end"))
   end,
   -- Interpreted, as it must not matter either.
   ["killed"] = function(vector, setting, workers, last)
      local before = records_read()
      local job = h.start(args(vector, setting, workers, "--jit-off"))
      h.eventually("batch " .. last - 1 .. " and its rows", function()
         return records_read() >= before + #vector.batches[last].feed and
            count_rows(vector, setting) >= count_wanted(vector, last)
      end, job)
      job:kill "KILL"
      job:wait(60)
   end,
}

-- Each epoch that read something was a batch, and judged by the watermark that
-- the batch before had stored.
local function check_progress(vector)
   local used, wanted, before, last = {}, {}, nil, nil
   local sums, got = {}, {}
   for _, epoch in ipairs(h.progress()) do
      if epoch.numInputRows > 0 then
         used[#used + 1] = ("%d %s"):format(epoch.numInputRows, epoch.eventTime.watermark or "-")
      end
      last = epoch
   end
   for _, batch in ipairs(vector.batches) do
      if #batch.feed > 0 then
         wanted[#wanted + 1] = ("%d %s"):format(#batch.feed, before or "-")
      end
      for i, why in ipairs(reader.reasons) do
         sums[i] = (sums[i] or 0) + batch[why]
         got[i] = last["rows" .. why:gsub("^%l", string.upper)]
      end
      before = batch.mark and batch.mark:sub(1, 23) .. "Z"
   end
   assert.are.same(wanted, used, vector.name)
   assert.are.same(sums, got, vector.name .. ": " .. table.concat(reader.reasons, ", "))
end

-- One worker does what each of four does.
local workers_of = h.flavour == "test" and { 1, 4 } or { 4 }

describe("vectors", function()
   before_each(h.begin)

   for _, vector in ipairs(reader.all "tests/vectors") do
      for way, run in pairs(ways) do
         for _, workers in ipairs(vector.kafka and workers_of or {}) do
            it(("%s, %s between any two batches, %d worker%s"):format(vector.title, way, workers,
               workers > 1 and "s" or ""), function()
               local setting = set_up(vector)
               for i, batch in ipairs(vector.batches) do
                  local records = {}
                  for n, value in ipairs(batch.feed) do
                     records[n] = { value = value }
                  end
                  if #records > 0 then
                     h.produce(setting.topic, records)
                  end
                  run(vector, setting, workers, i)
                  check_rows(vector, setting, i)
               end
               check_progress(vector)
            end)
         end
      end
   end

   it("V15 goes into a topic by user, with the columns that were asked for", function()
      local vector = reader.read "tests/vectors/v15_sliding.txt"
      local topic, out = h.topic(1), h.topic(1, "windows")
      h.write_file(h.path "job.lua", (vector.job:gsub(':to%(sink "closed"%)', function()
         return ([[:to(tide.kafka { topic = %q, key = "user_id", mode = "append",
            value = { "window_start", "window_end", "events", "approx_sessions" } })]]):format(out)
      end)))
      local wanted, got = {}, {}
      for _, batch in ipairs(vector.batches) do
         local records = {}
         for n, value in ipairs(batch.feed) do
            records[n] = { value = value }
         end
         if #records > 0 then
            h.produce(topic, records)
            h.run { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end",
                    "--no-ui", "--from", "earliest", "--checkpoint-dir", h.path "cp" }
         end
         for _, row in ipairs(reader.wanted(batch, "closed")) do
            wanted[#wanted + 1] = ('%s {"window_start":"%s","window_end":"%s","events":%s,' ..
               '"approx_sessions":%s}'):format(row:gsub("^(%S+) (%S+) (%S+)", "%3 %1 %2")
                  :match "(%S+) (%S+) (%S+) (%S+) (%S+)")
         end
      end
      for i, record in ipairs(h.json_lines(h.kadmin("consume", out, 0, 0, -1))) do
         got[i] = record.key .. " " .. record.value
      end
      assert.are.equal(16, #wanted)
      assert.are.same(wanted, got)
   end)

   it("V21 in append mode is refused before anything is written", function()
      h.job [[
return tide.from(tide.kafka { topic = "unset" }):json { "k:string" }:group_by("k"):count()
   :to(tide.console { mode = "append" })
]]
      local topic = h.topic(1)
      h.produce(topic, { { value = '{"k":"a"}' } })
      local job = h.start { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
                            "--until-end", "--checkpoint-dir", h.path "cp" }
      h.expect_exit(job, 3)
      assert.is_truthy(job:err():find('"append" puts out rows that are final', 1, true), job:err())
      assert.is_nil(io.open(h.path "cp"))
      assert.is_nil(job:err():find("starts at offset", 1, true))
   end)
end)
