/* SPDX-License-Identifier: Apache-2.0 */
/* The Lua library that comes with the program, compiled once in a process: each VM
 * needs all of it, and a run has many. */
#ifndef TIDE_JOB_LIBRARY_H
#define TIDE_JOB_LIBRARY_H

struct lua_State;

/* `require` of its modules in this state takes them from here, and those of other
 * folders as ever. Runs protected, with package.path set. */
void tide_library_open(struct lua_State *lua, const char *dir);

#endif
