-- SPDX-License-Identifier: Apache-2.0
-- Bad input of every kind: what is said, and the exit code, within bounds.
local h = require "harness"
local cjson = require "cjson"

local good_job = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition end, { "part:int" })
   :group_by("part"):count()
   :to(tide.console { mode = "update" })
]]

local function run_args(topic, ...)
   return { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end", "--no-ui",
            "--checkpoint-dir", h.path "cp", "--output", "json", ... }
end

-- It ends with `code` and says each of `...` on stderr, nothing on stdout.
local function refused(job, code, ...)
   h.expect_exit(job, code)
   local err = job:err()
   for _, part in ipairs { ... } do
      assert.is_truthy(err:find(part, 1, true), ("no %q in:\n%s"):format(part, err))
   end
   assert.are.equal("", job:out())
end

describe("bad input:", function()
   before_each(function()
      h.begin()
      h.job(good_job)
   end)

   -- Each takes its time to give up, so they do it together.
   it("brokers that are down, mute, unknown, or those of a profile", function()
      local port, close = h.process.silent_listener()
      h.at_end(close)
      local down = "127.0.0.1:" .. h.process.free_ports(1)[1]
      local mute = "127.0.0.1:" .. port
      local unknown = "no-such-host.invalid:9092"
      local function start(number, env, ...)
         return h.start({ "wordcount", "--no-ui", "--until-end",
                          "--checkpoint-dir", h.path("cp" .. number), ... }, { env = env })
      end
      local jobs = { start(1, nil, "-b", down), start(2, nil, "-b", mute),
                     start(3, nil, "-b", unknown),
                     -- Nothing listens on this profile's port in a test.
                     start(4, { KAFSCALE_SETUP_PROFILE = "local-lb" }) }
      refused(jobs[1], 7, down, "nc -zv " .. down:gsub(":", " "))
      refused(jobs[2], 7, mute)
      refused(jobs[3], 7, unknown)
      refused(jobs[4], 7, "localhost:59092", "local-lb")
   end)

   it("wrong profile", function()
      refused(h.start({ "wordcount", "--no-ui" }, { env = { KAFSCALE_SETUP_PROFILE = "clutser" } }),
              2, "clutser", "default", "cluster", "local-lb")
   end)

   it("no topic: it says which and waits", function()
      local topic = h.topic_name()
      local args = run_args(topic)
      table.remove(args, 7) -- --until-end
      local job = h.start(args)
      h.eventually("the topic's name", function()
         return job:err():find(topic, 1, true)
      end, job)
      h.create_topic(topic, 1)
      h.produce_counts(topic, { 3 })
      h.eventually("its records", function()
         return job:out():find('"count":3', 1, true)
      end, job)
      job:kill "TERM"
      h.expect_exit(job, 0)
   end)

   it("a checkpoint directory that cannot be made", function()
      local file = h.write_file(h.path "file", "")
      refused(h.start(run_args(h.topic(1), "--checkpoint-dir", file .. "/cp")), 1, file)
   end)

   it("a checkpoint of Spark", function()
      local dir = h.path "spark"
      h.make_dir(dir)
      h.make_dir(dir .. "/offsets")
      h.make_dir(dir .. "/commits")
      h.write_file(dir .. "/metadata", '{"id":"4ff2c5ad-6bd3-44ad-b2d4-c4b1f3e3f6d0"}')
      h.write_file(dir .. "/offsets/0", "v1\n{}\n{}")
      refused(h.start(run_args(h.topic(1), "--checkpoint-dir", dir)), 5, dir)
   end)

   it("an unknown variable is warned about with the nearest name", function()
      local job = h.run(run_args(h.topic(1)), { env = { TIDEMARK_WORKRES = "2" } })
      assert.is_truthy(job:err():find("TIDEMARK_WORKRES", 1, true), job:err())
      assert.is_truthy(job:err():find("TIDEMARK_WORKERS", 1, true), job:err())
   end)

   it("an unknown flag", function()
      refused(h.start(run_args("t", "--wokers", 2)), 2, "--wokers", "--workers")
   end)

   it("an unknown command", function()
      refused(h.start { "rnu", "job.lua" }, 2, "rnu")
   end)

   for _, case in ipairs { { "--workers", "many" }, { "--from", "somewhere" },
                           { "--memory", "lots" }, { "--trigger", "often" },
                           { "--max-records-per-batch", "-5" }, { "--output", "xml" },
                           { "--fail-on-data-loss=perhaps" } } do
      it("a bad value: " .. table.concat(case, " "), function()
         refused(h.start(run_args("t", unpack(case))), 2, (case[1]:match("^%-%-([%a-]+)")))
      end)
   end

   it("a job file that is not there", function()
      local job = h.start { "run", h.path "nowhere.lua", "-b", h.brokers }
      assert.is_truthy((job:wait(30) or 0) > 0)
      assert.is_truthy(job:err():find("nowhere.lua", 1, true), job:err())
   end)

   local load_errors = {
      ["a syntax error"] = { "local x =\nreturn x y", "job.lua:3" },
      ["a job that returns nothing"] = { "local x = 1", "job.lua", "return" },
      ["an unknown step"] = { 'return tide.from(tide.kafka { topic = "t" }):flatmap(nil)',
                              "job.lua:2", "flatmap", "flat_map" },
      ["an unknown column"] = {
         'return tide.from(tide.kafka { topic = "t" }):json { "amount:int" }\n' ..
         '   :group_by("amuont"):count():to(tide.console { mode = "update" })',
         "job.lua", "amuont", "amount" },
      ["an unknown type"] = {
         'return tide.from(tide.kafka { topic = "t" }):json { "amount:integer" }\n' ..
         '   :to(tide.console { mode = "append" })', "job.lua", "integer" },
   }
   for what, case in pairs(load_errors) do
      it(what, function()
         h.job(case[1])
         refused(h.start { "check", h.path "job.lua" }, 3, select(2, unpack(case)))
         refused(h.start(run_args("t")), 3, select(2, unpack(case)))
      end)
   end

   it("a job with warnings says them when it starts, once, and runs", function()
      h.job [[
local total = 0
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :filter(function(rec)
      total = total + 1
      return rec.partition == 0
   end)
   :map(function(rec) return rec.partition end, { "part:int" })
   :to(tide.console { mode = "append" })
]]
      local topic = h.topic(1)
      h.produce_counts(topic, { 2 })
      local job = h.run(run_args(topic, "--workers", 2))
      assert.are.equal('{"part":0}\n{"part":0}\n', job:out())
      local _, count = job:err():gsub('job%.lua:5: "total" is assigned', "")
      assert.are.equal(1, count, job:err())
   end)

   it("a record that the job chokes on, with where and the line", function()
      h.job [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :filter(function(rec)
      return rec.missing.field
   end)
   :map(function(rec) return rec.partition end, { "part:int" })
   :to(tide.console { mode = "append" })
]]
      local topic = h.topic(1)
      h.produce_counts(topic, { 2 })
      refused(h.start(run_args(topic)), 3, topic, "job.lua:4")
   end)

   it("a column of another type than declared", function()
      h.job [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :json { "amount:int" }
   :to(tide.console { mode = "append" })
]]
      local topic = h.topic(1)
      h.produce(topic, { { value = '{"amount":1}' }, { value = '{"amount":"two"}' } })
      local job = h.start(run_args(topic))
      h.expect_exit(job, 3)
      assert.is_truthy(job:err():find("amount", 1, true), job:err())
      assert.is_truthy(job:err():find(topic, 1, true), job:err())
   end)

   it("invalid JSON", function()
      h.job [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :json { "amount:int" }
   :to(tide.console { mode = "append" })
]]
      local topic = h.topic(1)
      h.produce(topic, { { value = "not json" } })
      local job = h.start(run_args(topic))
      h.expect_exit(job, 3)
      assert.is_truthy(job:err():find(topic, 1, true), job:err())
   end)

   it("a 1 MB key, 10,000 headers, null key and value are just records", function()
      local headers = {}
      for i = 1, 10000 do
         headers[i] = { "h" .. i, "x" }
      end
      local topic = h.topic(1)
      h.produce(topic, { { key = ("k"):rep(1000000), value = "v" },
                         { key = "k", value = "v", headers = headers },
                         { key = cjson.null, value = cjson.null } })
      local job = h.run { "wordcount", "-b", h.brokers, "--topic", topic, "--from", "earliest",
                          "--until-end", "--no-ui", "--checkpoint-dir", h.path "cp",
                          "--output", "json" }
      local counts = {}
      for _, row in ipairs(h.json_lines(job:out())) do
         counts[row.field .. " " .. row.word] = row.count
      end
      assert.are.equal(1, counts["key " .. ("k"):rep(1000000)])
      assert.are.equal(10000, counts["header x"])
      assert.are.equal(1, counts["header h10000"])
      assert.are.equal(1, counts["stats no-key"])
      assert.are.equal(2, counts["stats no-header"])
   end)
end)
