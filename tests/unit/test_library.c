/* SPDX-License-Identifier: Apache-2.0 */
/* The library in a second Lua state, where it comes from memory: nobody can tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <lauxlib.h>
#include <lualib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job/library.h"

static char dir[64];

static void write_module(const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof path, "%s/tidemark/%s", dir, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int make_dir(void **state)
{
	char path[128];
	(void)state;
	strcpy(dir, "/tmp/tide_library_XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/tidemark", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	write_module("init.lua", "return { inner = require 'tidemark.inner' }\n");
	write_module("inner.lua", "\nreturn function(a) return ... end\n");
	write_module("whole.lua", "\nreturn function(a)\n   error 'here'\nend\n");
	return 0;
}

static int remove_dir(void **state)
{
	char command[128];
	(void)state;
	snprintf(command, sizeof command, "rm -r %s", dir);
	return system(command);
}

/* What the code returns in a new state, or its error. */
static void answer(const char *code, char *out, size_t size)
{
	lua_State *lua = luaL_newstate();
	assert_non_null(lua);
	luaL_openlibs(lua);
	tide_library_open(lua, dir);
	assert_int_equal(lua_gettop(lua), 0);
	if (luaL_loadstring(lua, code) == 0)
		lua_pcall(lua, 0, 1, 0);
	snprintf(out, size, "%s", lua_tostring(lua, -1));
	lua_close(lua);
}

static void errors_name_their_file_and_line_in_each_state(void **state)
{
	char first[512], second[512], expected[512];
	(void)state;
	snprintf(expected, sizeof expected, "%s/tidemark/whole.lua:3: here", dir);
	answer("require 'tidemark.whole'()", first, sizeof first);
	write_module("whole.lua", "return 1\n"); /* It is not read again. */
	answer("require 'tidemark.whole'()", second, sizeof second);
	assert_string_equal(first, expected);
	assert_string_equal(second, expected);
}

static void what_does_not_compile_or_is_not_there_is_said_each_time(void **state)
{
	char text[1024], where[128];
	(void)state;
	snprintf(where, sizeof where, "%s/tidemark/inner.lua:2:", dir);
	for (int i = 0; i < 2; i++) {
		answer("require 'tidemark'", text, sizeof text);
		assert_non_null(strstr(text, "error loading module 'tidemark.inner' from file"));
		assert_non_null(strstr(text, where));
		answer("require 'tidemark.none'", text, sizeof text);
		assert_non_null(strstr(text, "module 'tidemark.none' not found"));
	}
}

static void modules_of_others_are_found_as_ever(void **state)
{
	char text[512];
	(void)state;
	answer("package.preload.tidemarked = function() return 'other' end\n"
	       "return require 'tidemarked'",
	       text, sizeof text);
	assert_string_equal(text, "other");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_name_their_file_and_line_in_each_state),
		cmocka_unit_test(what_does_not_compile_or_is_not_there_is_said_each_time),
		cmocka_unit_test(modules_of_others_are_found_as_ever),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
