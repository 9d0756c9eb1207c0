-- SPDX-License-Identifier: Apache-2.0
-- The settings of the word count demo: default when unset, effective when set,
-- and said at the start.
local h = require "harness"

-- "name = value (origin)" lines of the start.
local function said(job, name)
   return job:err():match("%f[%w-]" .. name:gsub("%-", "%%-") .. " = (%S+)")
end

local function start(env, ...)
   local all = { KAFSCALE_CHECKPOINT_DIR = h.path "cp" }
   for key, value in pairs(env) do
      all[key] = value
   end
   return h.start({ "wordcount", ... }, { env = all })
end

local function run(env, ...)
   return h.expect_exit(start(env, "--until-end", "--no-ui", ...), 0)
end

describe("word count settings", function()
   local topic

   before_each(function()
      h.begin()
      topic = h.topic(1)
   end)

   it("name themselves at the start", function()
      local job = run { KAFSCALE_BOOTSTRAP_SERVERS = h.brokers, KAFSCALE_TOPIC = topic }
      assert.are.equal(h.brokers, said(job, "brokers"))
      assert.are.equal(topic, said(job, "topic"))
      assert.are.equal("latest", said(job, "from"))
      assert.are.equal("false", said(job, "fail-on-data-loss"))
      assert.are.equal(h.path "cp", said(job, "checkpoint-dir"))
   end)

   it("make a new group id for every start that names none", function()
      local ids = {}
      for i = 1, 2 do
         ids[i] = said(run { KAFSCALE_BOOTSTRAP_SERVERS = h.brokers, KAFSCALE_TOPIC = topic },
                       "group")
         assert.is_truthy(ids[i]:match("^spark%-kafscale%-wordcount%-%x+%-%x+%-%x+%-%x+%-%x+$"),
                          ids[i])
      end
      assert.are_not.equal(ids[1], ids[2])
   end)

   it("take the flag before the variable", function()
      local job = run({ KAFSCALE_BOOTSTRAP_SERVERS = "127.0.0.1:1", KAFSCALE_TOPIC = "other" },
                      "-b", h.brokers, "--topic", topic)
      assert.are.equal(h.brokers, said(job, "brokers"))
      assert.are.equal(topic, said(job, "topic"))
   end)

   it("take a blank variable as unset", function()
      local job = run({ KAFSCALE_BOOTSTRAP_SERVERS = h.brokers, KAFSCALE_TOPIC = topic,
                        KAFSCALE_STARTING_OFFSETS = "" })
      assert.are.equal("latest", said(job, "from"))
   end)

   it("take the workers from SPARK_MASTER=local[N]", function()
      local job = run { KAFSCALE_BOOTSTRAP_SERVERS = h.brokers, KAFSCALE_TOPIC = topic,
                        SPARK_MASTER = "local[3]" }
      assert.are.equal("3", said(job, "workers"))
   end)

   for profile, broker in pairs { default = "127.0.0.1:39092", cluster = "kafscale-broker:9092",
                                  ["local-lb"] = "localhost:59092" } do
      it("know the profile " .. profile, function()
         local shown = h.run({ "config", "wordcount", "--origin" },
                             { env = { KAFSCALE_SETUP_PROFILE = profile } })
         assert.is_truthy(shown:out():find(broker, 1, true), shown:out())
         shown = h.run({ "config", "wordcount", "--origin" },
                       { env = { KAFSCALE_SETUP_PROFILE = profile,
                                 KAFSCALE_BOOTSTRAP_SERVERS = "10.0.0.1:9" } })
         assert.is_falsy(shown:out():find("brokers%s*=?%s*" .. broker), shown:out())
         assert.is_truthy(shown:out():find("10.0.0.1:9", 1, true), shown:out())
      end)
   end

   it("refuse what there is no sink for", function()
      local job = h.expect_exit(start({ KAFSCALE_BOOTSTRAP_SERVERS = h.brokers,
                                        KAFSCALE_TOPIC = topic,
                                        KAFSCALE_DELTA_ENABLED = "true" }, "--no-ui"), 2)
      assert.is_truthy(job:err():find("Delta", 1, true), job:err())
   end)

   it("warn when the checkpoint is under /tmp, with both facts", function()
      local dir = ("/tmp/tidemark-test-%d"):format(h.process.own_pid())
      local env = { KAFSCALE_BOOTSTRAP_SERVERS = h.brokers, KAFSCALE_TOPIC = topic,
                    KAFSCALE_CHECKPOINT_DIR = dir }
      local job = run(env)
      os.execute("rm -rf '" .. dir .. "'")
      for _, fact in ipairs {
         "Job restarts lose state and restart from configured starting offsets",
         "Offset conflicts may occur if the topic has changed" } do
         assert.is_truthy(job:err():find(fact, 1, true), job:err())
      end
   end)

   it("put the page on KAFSCALE_SPARK_UI_PORT", function()
      local port = h.process.free_ports(1)[1]
      local job = start { KAFSCALE_BOOTSTRAP_SERVERS = h.brokers, KAFSCALE_TOPIC = topic,
                          KAFSCALE_SPARK_UI_PORT = port }
      h.eventually("the page", function()
         return h.process.http_get(port, "/") == 200
      end, job)
      local status, body = h.process.http_get(port, "/api/v1/applications")
      assert.are.equal(200, status)
      assert.are.equal("[", body:match("%S"))
      job:kill "TERM"
      h.expect_exit(job, 0)
   end)

   it("say why nothing comes out", function()
      local job = start({ KAFSCALE_BOOTSTRAP_SERVERS = h.brokers, KAFSCALE_TOPIC = topic },
                        "--listen", "127.0.0.1:0")
      local port = tonumber(h.eventually("the page's address", function()
         return job:err():match("http://127%.0%.0%.1:(%d+)")
      end, job))
      local function page_says(text)
         h.eventually("\"" .. text .. "\"", function()
            local _, body = h.process.http_get(port, "/api/v1/progress")
            return body and body:find(text, 1, true)
         end, job)
      end
      page_says "is empty"
      job:kill "TERM"
      h.expect_exit(job, 0)
   end)

   it("log the cluster in the preflight, unless it is skipped", function()
      local env = { KAFSCALE_BOOTSTRAP_SERVERS = h.brokers, KAFSCALE_TOPIC = topic }
      assert.is_truthy(run(env):err():find("cluster", 1, true))
      run(env, "--no-preflight")
   end)
end)
