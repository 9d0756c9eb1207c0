/* SPDX-License-Identifier: Apache-2.0 */
/* A Lua program of ours, such as the one behind `tidemark test`: with all of
 * LuaJIT's libraries, without limits, and not closed as jobs are. */
#ifndef TIDE_JOB_SCRIPT_H
#define TIDE_JOB_SCRIPT_H

#include "base/error.h"

struct tide_script {
	const char *lua_dir; /* holds tidemark/init.lua */
	const char *module;  /* "tidemark.specs": a table with the function main */
	char **args;         /* of main, as one list; ends with NULL */
};

/* TIDE_OK where main returns nothing; else it returns a number of enum
 * tide_status and the message, which may be "": all is said. */
int tide_script_run(const struct tide_script *script, struct tide_error *err);

#endif
