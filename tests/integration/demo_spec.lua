-- SPDX-License-Identifier: Apache-2.0
-- `make demo` as somebody sees it who just cloned: a table, a page, a way out.
local h = require "harness"

-- The program below make, once it is there.
local function demo_below(make)
   return h.eventually("build/tidemark below make", function()
      return h.process.descendant(make.pid, "/tidemark")
   end, make)
end

describe("make demo", function()
   before_each(h.begin)

   local function start(options)
      options = options or {}
      -- As if typed by hand, not below the make that runs the tests.
      options.env = { MAKEFLAGS = false, MAKELEVEL = false, MFLAGS = false }
      return h.spawn({ "make", "--no-print-directory", "-C", h.root, "demo",
                       "DEMO_FLAGS=--listen 127.0.0.1:0" }, options)
   end

   it("counts words, serves a page and ends well when interrupted", function()
      local make = start()
      local pid = demo_below(make)
      -- A second table shows that it goes on.
      h.eventually("a table of words", function()
         return make:out():find("Batch: 1\n.-| field|%s*word|%s*count|.-|%s*value|%s*%a+|%s*%d+|")
      end, make)
      local port = tonumber(h.eventually("the page's address", function()
         return make:err():match("http://127%.0%.0%.1:(%d+)")
      end, make))
      local status, page = h.process.http_get(port, "/")
      assert.are.equal(200, status)
      assert.is_truthy(page:find("<html", 1, true))
      status = h.process.http_get(port, "/livez")
      assert.are.equal(200, status)
      local progress
      status, progress = h.process.http_get(port, "/api/v1/progress")
      assert.are.equal(200, status)
      assert.is_truthy(progress:find("numInputRows", 1, true))

      h.process.kill_pid(pid, "INT")
      h.expect_exit(make, 0)
      for _, word in ipairs { "records", "epochs", "words" } do
         assert.is_truthy(make:err():lower():find(word, 1, true), "summary without " .. word)
      end
   end)

   it("ends with exit 0 on Ctrl+C at a terminal", function()
      local tty = h.process.terminal()
      h.at_end(tty.close)
      local make = start { tty = tty.path }
      demo_below(make)
      h.eventually("counts on the terminal", function()
         return tty.screen():find("value", 1, true)
      end, make)
      tty.type "\3"
      h.eventually("the end", function()
         tty.screen()
         return make:ended()
      end)
      assert.are.equal(0, make.code, tty.screen())
   end)

   -- An epoch that takes longer than its records took to come has more in the
   -- next, and so on: then thirty never come.
   it("keeps up with its generator in many short epochs", function()
      local job = h.start { "demo", "--trigger", "0s", "--output", "none", "--no-ui",
                            "--progress", h.path "progress" }
      h.eventually("the thirtieth epoch", function() return #h.progress() >= 30 end, job)
      job:kill "INT"
      h.expect_exit(job, 0)
   end)
end)
