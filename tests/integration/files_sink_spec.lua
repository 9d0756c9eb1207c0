-- SPDX-License-Identifier: Apache-2.0
-- Conformance vector V20 for the files sink: whatever happens while an epoch is
-- written, whoever lists the folder finds whole files, and in them the rows of a
-- run without a crash, once.
local h = require "harness"
local cjson = require "cjson"

local counts = { 330, 170 }

local job_text = [[
return tide.from(tide.kafka { topic = "unset", start = "earliest" })
   :map(function(rec) return rec.partition .. "/" .. rec.offset, "ü\n" end,
        { "id:string", "text:string" })
   :to(tide.files { path = "out/deep", %s })
]]

local function job_args(topic, ...)
   return { "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--until-end", "--no-ui",
            "--checkpoint-dir", h.path "cp", "--max-records-per-batch", 60, ... }
end

local function setting(options)
   local topic = h.topic(2)
   h.job(job_text:format(options or 'every = "0s"'))
   h.produce_counts(topic, counts)
   return topic
end

local function list(folder)
   local names = {}
   for name in io.popen("ls -1 '" .. folder .. "' 2>/dev/null"):lines() do
      names[#names + 1] = name
   end
   return names
end

-- What a reader sees now: whole files, by name, and never other than before.
local function look(seen)
   for _, name in ipairs(list(h.path "out/deep")) do
      if name:match "^rows%-.*%.jsonl$" then
         local text = h.read_file(h.path("out/deep/" .. name))
         assert.is_truthy(text:match "}\n$", name .. " is not whole")
         assert.are.equal(seen[name] or text, text, name .. " has changed")
         seen[name] = text
      else
         assert.are.equal("_tidemark", name)
      end
   end
   return seen
end

local function own_folder()
   return h.path "out/deep/_tidemark/" .. list(h.path "out/deep/_tidemark")[1]
end

-- The files hold every record once, the manifests every file as it is, and
-- nothing is left over.
local function assert_exact(seen)
   look(seen)
   local ids, total, files, size = {}, 0, 0, 0
   for name, text in pairs(seen) do
      for line in text:gmatch "[^\n]+" do
         local row = cjson.decode(line)
         assert.are.equal(('{"id":"%s","text":"ü\\n"}'):format(row.id), line)
         assert.is_nil(ids[row.id], row.id .. " is there twice")
         ids[row.id], total = true, total + 1
      end
      files = files + 1
      assert.are.equal(text, h.read_file(h.path("out/deep/" .. name)))
   end
   assert.are.equal(counts[1] + counts[2], total)
   local manifests = list(own_folder())
   assert.are.equal(files, #manifests)
   for _, name in ipairs(manifests) do
      local manifest = cjson.decode(h.read_file(own_folder() .. "/" .. name))
      local text = seen[manifest.file]
      assert.are.equal(#text, manifest.bytes)
      assert.are.equal(select(2, text:gsub("\n", "\n")), manifest.rows)
      size = size + manifest.bytes
   end
   return files, size
end

describe("the files sink", function()
   before_each(h.begin)

   it("writes every row once, whole files only", function()
      local topic = setting()
      local job, seen = h.start(job_args(topic)), {}
      while not job:ended() do
         look(seen)
      end
      h.expect_exit(job, 0)
      assert.is_true(assert_exact(seen) >= 500 / 60)
   end)

   it("gathers epochs, and writes what is left when it stops", function()
      local topic = setting 'every = "1h"'
      h.run(job_args(topic))
      assert.are.equal(1, (assert_exact {}))
   end)

   for _, point in ipairs { "decide", "decided", "publish", "files_data", "files_manifest",
                            "files_rename", "files_done", "published", "release" } do
      it("is exact after a kill at " .. point .. " (V20)", function()
         local topic, seen = setting(), {}
         for hit = 1, 3 do
            local job = h.start(job_args(topic),
               { env = { TIDEMARK_FAILPOINT = ("%s=kill@%d"):format(point, hit) } })
            local _, signal = job:wait(60)
            assert.are.equal(h.process.signals.KILL, signal, job:err())
            look(seen)
         end
         h.run(job_args(topic))
         assert_exact(seen)
      end)
   end

   it("publishes what it had gathered when it was killed", function()
      local topic = setting 'every = "1h"'
      local job = h.start(job_args(topic), { env = { TIDEMARK_FAILPOINT = "decided=kill@5" } })
      job:wait(60)
      assert.are.same({}, look {})
      h.run(job_args(topic))
      -- A file of what waited, and one of the rest.
      assert.are.equal(2, (assert_exact {}))
   end)

   it("writes again what was damaged before it was shown", function()
      local topic = setting()
      local job = h.start(job_args(topic), { env = { TIDEMARK_FAILPOINT = "files_rename=kill@2" } })
      job:wait(60)
      local data = own_folder() .. "/data-000000000001"
      h.write_file(data, (h.read_file(data):gsub("0", "1", 1)))
      job = h.run(job_args(topic))
      assert.is_truthy(job:err():find("is damaged; it will be written again", 1, true))
      assert_exact {}
   end)

   it("stops when the disk says no, and loses nothing", function()
      local topic = setting()
      local job = h.start(job_args(topic), { env = { TIDEMARK_FAILPOINT = "files_rename=io@3" } })
      h.expect_exit(job, 1)
      h.run(job_args(topic))
      assert_exact {}
   end)

   it("says so when another checkpoint wrote to the folder", function()
      local topic = setting()
      h.run(job_args(topic))
      local again = h.run(job_args(topic, "--checkpoint-dir", h.path "cp2"))
      assert.is_truthy(again:err():find("already holds files of 1 other checkpoint", 1, true))
   end)
end)
