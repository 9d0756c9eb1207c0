-- SPDX-License-Identifier: Apache-2.0
-- TLS, SASL and permissions: what works, what is refused and why, and that a
-- secret is never shown.
local h = require "harness"

local secret = "alice-secret"

local function address(listener)
   return (h.read_file(h.kafka_dir .. "/address." .. listener):match("%S+"))
end

local function wordcount(topic, brokers, ...)
   return { "wordcount", "-b", brokers, "--topic", topic, "--from", "earliest", "--until-end",
            "--no-ui", "--checkpoint-dir", h.path "cp", "--output", "json", ... }
end

local function sasl(password)
   return "-X", "security.protocol=SASL_PLAINTEXT", "-X", "sasl.mechanism=PLAIN",
          "-X", "sasl.username=alice", "-X", "sasl.password=" .. password
end

local function allow(topic, operation)
   h.expect_exit(h.spawn { h.root .. "/tests/integration/kafka/server", "acl", h.kafka_dir,
                           "--add", "--allow-principal", "User:alice", "--operation", operation,
                           "--topic", topic }, 0)
end

describe("security", function()
   before_each(h.begin)

   local function topic_with_words()
      local topic = h.topic(1)
      h.produce(topic, { { key = "k", value = "one two" } })
      return topic
   end

   it("reads over TLS with the right authority", function()
      local job = h.run(wordcount(topic_with_words(), address "ssl", "-X", "security.protocol=SSL",
                                  "-X", "ssl.ca.location=" .. h.kafka_dir .. "/ca.pem"))
      assert.is_truthy(job:out():find('"word":"two"', 1, true))
   end)

   it("refuses a certificate of an unknown authority, and says so", function()
      local job = h.start(wordcount(topic_with_words(), address "ssl",
                                    "-X", "security.protocol=SSL"))
      h.expect_exit(job, 7)
      assert.is_truthy(job:err():lower():find("certificate", 1, true), job:err())
      assert.are.equal("", job:out())
   end)

   it("signs in with a password from a file, and never shows it", function()
      local topic = topic_with_words()
      allow(topic, "Read")
      local file = h.write_file(h.path "password", secret .. "\n")
      local job = h.run(wordcount(topic, address "sasl", "-v", "--no-preflight", sasl("@" .. file)))
      assert.is_truthy(job:out():find('"word":"two"', 1, true))
      assert.is_falsy((job:out() .. job:err()):find(secret, 1, true))
   end)

   it("signs in with a password from the environment", function()
      local topic = topic_with_words()
      allow(topic, "Read")
      local job = h.run(wordcount(topic, address "sasl", "--no-preflight", sasl "env:KAFKA_PW"),
                        { env = { KAFKA_PW = secret } })
      assert.is_truthy(job:out():find('"word":"two"', 1, true))
   end)

   it("names a wrong password as the cause", function()
      local job = h.start(wordcount(topic_with_words(), address "sasl", sasl "wrong-guess"))
      h.expect_exit(job, 7)
      assert.is_truthy(job:err():lower():find("authentication", 1, true), job:err())
      assert.is_falsy(job:err():find("wrong-guess", 1, true), job:err())
   end)

   it("names a missing permission and the topic", function()
      local topic = topic_with_words()
      local job = h.start(wordcount(topic, address "sasl", sasl(secret)))
      h.expect_exit(job, 7)
      assert.is_truthy(job:err():lower():find("authoriz", 1, true), job:err())
      assert.is_truthy(job:err():find(topic, 1, true), job:err())
   end)

   it("masks secrets in config --origin", function()
      local shown = h.run { "config", "wordcount", "--origin", sasl(secret) }
      assert.is_falsy((shown:out() .. shown:err()):find(secret, 1, true))
      assert.is_truthy(shown:out():find("sasl.username", 1, true))
   end)

   it("writes to a topic when it may, and says what it may not", function()
      local from, to = topic_with_words(), h.topic(1, "out")
      h.job(([[return tide.from(tide.kafka { topic = "unset", start = "earliest" })
         :to(tide.kafka { topic = %q })]]):format(to))
      local args = { "run", h.path "job.lua", "-b", address "sasl", "--topic", from, "--until-end",
                     "--no-ui", "--no-preflight", "--checkpoint-dir", h.path "cp", sasl(secret) }
      local function may(...)
         h.expect_exit(h.spawn { h.root .. "/tests/integration/kafka/server", "acl", h.kafka_dir,
                                 "--add", "--allow-principal", "User:alice", ... }, 0)
      end
      local function says(code, part)
         local job = h.start(args)
         job:wait(60)
         assert.is_truthy(job:err():find(part, 1, true), job:err())
         assert.are.equal(code, job.code)
      end
      allow(from, "Read")
      says(1, 'the user needs Write and Describe on transactional ids that begin with "tidemark."')
      may("--operation", "Write", "--transactional-id", "tidemark.", "--resource-pattern-type",
          "prefixed")
      says(7, 'the user needs Read on groups that begin with "tidemark."')
      may("--operation", "Read", "--group", "tidemark.", "--resource-pattern-type", "prefixed")
      says(7, "the user needs Write, Describe and for exactly-once Read on the topic")
      allow(to, "Write")
      -- The memory of an epoch is an offset in it.
      says(1, "the user needs Write, Describe and for exactly-once Read on the topic")
      allow(to, "Read")
      h.run(args)
      assert.are.equal("one two", h.json_lines(h.kadmin("consume", to, 0, 0, -1))[1].value)
   end)
end)
