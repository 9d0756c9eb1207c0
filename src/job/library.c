/* SPDX-License-Identifier: Apache-2.0 */
/* See library.h. What is kept is bytecode with its lines and names, so that errors
 * read as if the text had been compiled. */
#include "job/library.h"

#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum { PATH_SIZE = 1200, BEFORE_PATHS = 2 };

/* They stay until the process ends. */
struct module {
	char *path;
	struct tide_buf code;
	struct module *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct module *modules;

static const struct module *find(const char *path)
{
	pthread_mutex_lock(&lock);
	const struct module *module = modules;
	while (module != NULL && strcmp(module->path, path) != 0)
		module = module->next;
	pthread_mutex_unlock(&lock);
	return module;
}

static int write_code(lua_State *lua, const void *bytes, size_t len, void *arg)
{
	struct tide_buf *code = arg;
	(void)lua;
	tide_buf_put(code, bytes, len);
	return code->failed;
}

/* Lua may jump out of writing it (heap.h): the next one finds it here. */
static _Thread_local struct tide_buf written;

/* The function on top. Without memory it is compiled again the next time. */
static void keep(lua_State *lua, const char *path)
{
	tide_buf_clear(&written);
	bool whole = lua_dump(lua, write_code, &written) == 0 && !written.failed;
	struct module *module = whole ? calloc(1, sizeof *module) : NULL;
	if (module != NULL)
		module->path = strdup(path);
	if (module == NULL || module->path == NULL) {
		tide_buf_fini(&written);
		free(module);
		return;
	}
	module->code = written;
	written = (struct tide_buf){ 0 };
	pthread_mutex_lock(&lock);
	module->next = modules;
	modules = module;
	pthread_mutex_unlock(&lock);
}

/* Leaves the chunk or an error on top; LUA_ERRFILE: there is no such file. */
static int load(lua_State *lua, const char *path)
{
	const struct module *module = find(path);
	if (module != NULL)
		return luaL_loadbuffer(lua, module->code.p, module->code.len, path);
	int rc = luaL_loadfile(lua, path);
	if (rc == 0)
		keep(lua, path);
	return rc;
}

/* As Lua's own searchers: the chunk, or a text that says where it is not. */
static int search(lua_State *lua)
{
	const char *name = luaL_checkstring(lua, 1), *dir = lua_tostring(lua, lua_upvalueindex(1));
	static const char *const ends[] = { ".lua", "/init.lua" };
	if (strcmp(name, "tidemark") != 0 && strncmp(name, "tidemark.", 9) != 0)
		return 0;
	for (int i = 0; i < 2; i++) {
		char path[PATH_SIZE];
		size_t len = (size_t)snprintf(path, sizeof path, "%s/", dir);
		size_t at = len;
		len += (size_t)snprintf(path + len, len < sizeof path ? sizeof path - len : 0,
		                        "%s%s", name, ends[i]);
		if (len >= sizeof path)
			return 0;
		for (char *dot = path + at; dot < path + at + strlen(name); dot++)
			if (*dot == '.')
				*dot = '/';
		int rc = load(lua, path);
		if (rc == 0)
			return 1;
		if (rc != LUA_ERRFILE)
			return luaL_error(lua, "error loading module '%s' from file '%s':\n\t%s",
			                  name, path, lua_tostring(lua, -1));
		lua_pop(lua, 1);
	}
	return 0;
}

void tide_library_open(lua_State *lua, const char *dir)
{
	lua_getglobal(lua, "package");
	lua_getfield(lua, -1, "loaders");
	for (int i = (int)lua_objlen(lua, -1); i >= BEFORE_PATHS; i--) {
		lua_rawgeti(lua, -1, i);
		lua_rawseti(lua, -2, i + 1);
	}
	lua_pushstring(lua, dir);
	lua_pushcclosure(lua, search, 1);
	lua_rawseti(lua, -2, BEFORE_PATHS);
	lua_pop(lua, 2);
}
