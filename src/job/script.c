/* SPDX-License-Identifier: Apache-2.0 */
/* A Lua program of ours in a state of its own. */
#include "job/script.h"

#include <assert.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

struct call {
	const struct tide_script *script;
	int status;
	struct tide_error *err;
};

/* With the traceback, for what main does not catch is ours to mend. */
static int with_traceback(lua_State *lua)
{
	luaL_traceback(lua, lua, lua_tostring(lua, 1), 1);
	return 1;
}

static void put_path(lua_State *lua, const char *lua_dir)
{
	lua_getglobal(lua, "package");
	lua_getfield(lua, -1, "path");
	lua_pushfstring(lua, "%s/?.lua;%s/?/init.lua;%s", lua_dir, lua_dir, lua_tostring(lua, -1));
	lua_setfield(lua, -3, "path");
	lua_pop(lua, 2);
}

/* Runs protected. */
static int run(lua_State *lua)
{
	struct call *call = lua_touserdata(lua, 1);
	luaL_openlibs(lua);
	put_path(lua, call->script->lua_dir);
	lua_getglobal(lua, "require");
	lua_pushstring(lua, call->script->module);
	lua_call(lua, 1, 1);
	lua_getfield(lua, -1, "main");
	lua_newtable(lua);
	for (int i = 0; call->script->args[i] != NULL; i++) {
		lua_pushstring(lua, call->script->args[i]);
		lua_rawseti(lua, -2, i + 1);
	}
	lua_call(lua, 1, 2);
	if (lua_isnumber(lua, -2)) {
		const char *message = lua_tostring(lua, -1);
		call->status = (int)lua_tointeger(lua, -2);
		tide_fail(call->err, call->status, "%s", message != NULL ? message : "");
	}
	return 0;
}

int tide_script_run(const struct tide_script *script, struct tide_error *err)
{
	assert(script->lua_dir != NULL && script->module != NULL && script->args != NULL);
	struct call call = { script, TIDE_OK, err };
	lua_State *lua = luaL_newstate();
	if (lua == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "a Lua state");
	lua_pushcfunction(lua, with_traceback);
	lua_pushcfunction(lua, run);
	lua_pushlightuserdata(lua, &call);
	if (lua_pcall(lua, 1, 0, 1) != 0) {
		const char *message = lua_tostring(lua, -1);
		call.status = tide_fail(err, TIDE_ERR_FAILED, "%s: %s", script->module,
		                        message != NULL ? message : "an error that is not text");
	}
	lua_close(lua);
	return call.status;
}
