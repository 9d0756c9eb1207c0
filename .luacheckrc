-- SPDX-License-Identifier: Apache-2.0
-- luacheck: everything local, nothing unused, lines up to 100 columns.
std = "luajit"
max_line_length = 100
unused_args = true
ignore = { "212/_.*", "213/_.*" }
exclude_files = { "build", "lua/tidemark/meta" }

files["lua/tidemark/templates"] = { std = "luajit+busted" }
files["tests/spec"] = { std = "luajit+busted" }
files["tests/integration"] = { std = "luajit+busted" }
files["tests/golden"] = { std = "luajit+busted" }
files["tests/fault"] = { std = "luajit+busted" }
