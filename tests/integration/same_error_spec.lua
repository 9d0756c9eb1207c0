-- SPDX-License-Identifier: Apache-2.0
-- A mistake in a job is told in the same words wherever it shows: by check, dev, run and
-- reload, on the status line, in the log and in the page's API of the job that goes on.
local h = require "harness"
local cjson = require "cjson"

local template = [[
local tide = require "tidemark"
return tide.job { outputs = {
   tide.from(tide.kafka { topic = "unset", start = "earliest" })
      :map(function(rec) return %s, rec.offset end, { "version:string", "n:int" })
      %s
      :to(tide.console { mode = "update" })
} }
]]

local function save(body, rest)
   local path = h.path "job.lua"
   h.write_file(path .. ".new", template:format(body or '"A"',
      rest or ':group_by("version", { name = "versions" }):count()'))
   assert(os.rename(path .. ".new", path))
end

-- What is said of it, the line of the job, and how that is told; of a record: `at` stands
-- for its coordinates.
local mistakes = {
   ["an unknown column"] = {
      rest = ':group_by("verson", { name = "versions" }):count()', line = 5,
      says = ':group_by: no column "verson"; did you mean "version"?' },
   ["a misspelt step"] = {
      rest = ':group_bye("version"):count()', line = 5,
      says = 'no step "group_bye"; did you mean "group_by"?' },
   ["a misspelt function"] = {
      rest = ':group_by("version"):aggregate { tide.summ "n" }', line = 5,
      says = 'tide has no "summ"; did you mean "sum"?' },
   ["a column of the wrong type"] = {
      rest = ':group_by("version"):aggregate { tide.sum "version" }', line = 5,
      says = 'tide.sum: column "version" is a string; it is for int and double columns' },
   ["a syntax error"] = {
      body = "((", line = 4, says = "syntax error: unexpected symbol near ','" },
   ["a record's field that is not there"] = {
      body = "rec.valu.x", line = 4, record = true,
      says = 'a record has no "valu"; did you mean "value"?' },
   ["a value of the wrong type"] = {
      body = "{}", line = 4, record = true,
      says = 'column "version" is declared string and got a table; give text, or tostring() ' ..
         'of a number' },
}

describe("a mistake in a job is told alike:", function()
   local topic, tty, job, port, fed

   local function produce(count)
      h.produce_counts(topic, { count })
      fed = fed + count
   end

   local function shows(what, text)
      h.eventually(what .. ": " .. text, function()
         return tty.screen():find(text, 1, true)
      end)
   end

   before_each(function()
      h.begin()
      topic, fed = h.topic(1), 0
      tty = h.process.terminal(24, 1000)
      h.at_end(tty.close)
      save()
      job = h.start({ "run", "job.lua", "-b", h.brokers, "--topic", topic, "--output", "json",
                      "--listen", "127.0.0.1:0", "--checkpoint-dir", "cp" },
                    { tty = tty.path, env = { TERM = "xterm" } })
      port = tonumber(h.eventually("the page", function()
         return tty.screen():match "page at http://127%.0%.0%.1:(%d+)"
      end))
      produce(3)
      h.eventually("its records", function()
         local _, body = h.process.http_get(port, "/api/v1/progress")
         return body and body:find('"totalRecords":3', 1, true)
      end)
   end)

   -- Its own words, and the line of the job below them.
   local function told(mistake, said)
      local first = ("job.lua:%d: %s"):format(mistake.line, mistake.says)
      local source = ("\n%6d | "):format(mistake.line) ..
         h.read_file(h.path "job.lua"):match(("[^\n]*\n"):rep(mistake.line - 1) .. "([^\n]*)")
      if mistake.record then
         first = ("%s[0]@%d: %s; on_error = "):format(topic, mistake.offset or 0, first)
      end
      assert.truthy(said:find(first, 1, true), ("no %q in: %s"):format(first, said))
      assert.truthy(said:find(source, 1, true), ("no %q in: %s"):format(source, said))
      assert.truthy(not mistake.record or said:find('\nrecord | key ', 1, true), said)
      return first
   end

   local function by(mistake, code, args)
      local command = h.start(args)
      h.expect_exit(command, code)
      told(mistake, command:out() .. command:err())
   end

   for name, mistake in pairs(mistakes) do
      it(name, function()
         save(mistake.body, mistake.rest)
         if not mistake.record then -- check has no records.
            by(mistake, 3, { "check", "job.lua" })
         end
         by(mistake, 3, { "dev", "job.lua", "--once", "-b", h.brokers, "--topic", topic })
         by(mistake, 3, { "run", "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
                          "--until-end", "--checkpoint-dir", "cp2" })
         if mistake.record then
            -- It takes over while nothing comes, and fails on the next.
            h.expect_exit(h.start { "reload", "job.lua", "--checkpoint-dir", "cp" }, 0)
            mistake.offset = fed
            produce(1)
         else
            by(mistake, 3, { "reload", "job.lua", "--checkpoint-dir", "cp" })
         end
         local notice = h.eventually("the notice", function()
            local _, body = h.process.http_get(port, "/api/v1/progress")
            local text = body and cjson.decode(body).notice
            return text ~= "" and text
         end)
         local first = told(mistake, notice)
         shows("the log", (mistake.record and "is undone: it fails: " or "old one goes on: ") ..
            first)
         shows("the status line", " - the new version is refused: " ..
            (mistake.record and "it fails: " or "") .. first)
         job:kill "INT"
         h.eventually("the end", function()
            tty.screen()
            return job:ended()
         end)
         assert.are.equal(0, job.code, tty.screen())
      end)
   end
end)

it("records that fail are shown five times in an epoch, and then counted", function()
   h.begin()
   local topic = h.topic(1)
   h.write_file(h.path "job.lua", (template:format("rec.value.x", ':group_by("version"):count()')
      :gsub("tide.job {", '%0 on_error = "skip",')))
   h.produce_counts(topic, { 8 })
   local job = h.run({ "run", h.path "job.lua", "-b", h.brokers, "--topic", topic, "--no-ui",
                       "--until-end", "--workers", 1, "--checkpoint-dir", h.path "cp" }, nil, 0)
   local said, shown = job:err(), 0
   for _ in said:gmatch '%]@%d skipped: [^\n]-job%.lua:4: [^\n]*; key [^\n]*, value ' do
      shown = shown + 1
   end
   assert.are.equal(5, shown, said)
   assert.truthy(said:find("8 records of 8 failed, the first 5 of them are above", 1, true), said)
end)
