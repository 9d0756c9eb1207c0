/* SPDX-License-Identifier: Apache-2.0 */
/* A job's Lua states: made, called, given up. The Lua side is lua/tidemark/boot.lua, whose
 * twelve functions are called here; each returns nothing, or the message of what went wrong.
 *
 * A call that does not return is ended by hang.c, and its Lua state is lost. What it
 * was about is all in the ctx, so another state of the same version takes its place:
 * first one that watches each line and does the same for nothing, to see where it
 * hangs; then one that lets the row fail and goes on behind it at full speed.
 *
 * A call that wants more memory than its state may have ends the same way. LuaJIT would
 * raise an error, but where compiled code asked for the memory the stack may be in no
 * order when it looks for somebody to catch it, and the process dies. */
#include "job/vm_inside.h"

#include <assert.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/ffi.h"
#include "job/library.h"
#include "job/pool.h"
#include "job/sampler.h"
#include "job/trial.h"

enum {
	LOAD_TIMES = 4,     /* as long as a record may take, a job may to load */
	SEARCH_US = 250000, /* to find the line that does not return */
	TEXT_PER_US = 5     /* bytes of a batch that make the limit longer */
};

static const char *const entry_names[ENTRY_COUNT] = { "load",  "lint",  "sample", "found",
	                                              "bind",  "run",   "search", "condemn",
	                                              "trace", "merge", "finish", "migrate" };

/* Names the limit: "not enough memory" alone sends people to look at the machine. */
int tide_vm_full(const struct tide_vm *vm, struct tide_error *err, const char *what)
{
	return tide_fail(
		err, TIDE_ERR_SCRIPT,
		"%s: the script's Lua state may use %zu MiB (--script-memory) and asked for more; "
		"keep less in tables that live between records, or give it more",
		what, vm->memory_max / (1024 * 1024));
}

static int vm_fail(struct tide_vm *vm, struct tide_error *err, const char *message)
{
	if (!vm->state->heap.hit || strstr(message, "not enough memory") == NULL)
		return tide_fail(err, TIDE_ERR_SCRIPT, "%s", message);
	vm->state->heap.hit = false;
	return tide_vm_full(vm, err, message);
}

static int collect(lua_State *lua)
{
	lua_gc(lua, LUA_GCCOLLECT, 0);
	return 0;
}

/* What failed at the limit leaves a full heap behind, and collecting it asks for
 * a little more. */
static void vm_collect(struct tide_vm *vm)
{
	size_t max = vm->state->heap.max;
	vm->state->heap.max = SIZE_MAX;
	if (lua_cpcall(vm->state->lua, collect, NULL) != 0)
		lua_settop(vm->state->lua, 0);
	vm->state->heap.max = max;
}

static const char *error_text(lua_State *lua)
{
	return lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1)
	                                        : "an error that is not text";
}

static int vm_perform(struct tide_vm *vm, enum tide_vm_entry entry, struct tide_error *err)
{
	struct tide_vm_state *state = vm->state;
	lua_State *lua = state->lua;
	int rc = TIDE_OK;
	assert(lua_gettop(lua) == 0);
	lua_rawgeti(lua, LUA_REGISTRYINDEX, state->entries[entry]);
	if (vm->sampler != NULL)
		tide_sampler_enter(vm->sampler, vm->number, lua);
	int failed = lua_pcall(lua, 0, 1, 0);
	if (vm->sampler != NULL)
		tide_sampler_exit(vm->sampler, vm->number, lua);
	if (failed != 0 || !lua_isnil(lua, -1))
		rc = vm_fail(vm, err, error_text(lua));
	lua_settop(lua, 0);
	if (rc != TIDE_OK)
		vm_collect(vm);
	return rc;
}

static int64_t limit_of(const struct tide_vm *vm, enum tide_vm_entry entry)
{
	int64_t limit_us = tide_hang_limit_us();
	if (limit_us == 0)
		return 0;
	if (entry == ENTRY_SEARCH)
		return limit_us < SEARCH_US ? limit_us : SEARCH_US;
	if (entry < ENTRY_RUN)
		return limit_us * LOAD_TIMES;
	/* Large records take long. */
	return limit_us + (int64_t)(tide_arena_used(vm->ctx->arena) / TEXT_PER_US);
}

enum { BY_SIGNAL = 1, BY_HEAP };

static void leave_full(void *home)
{
	siglongjmp(*(sigjmp_buf *)home, BY_HEAP);
}

static void give_up(struct tide_vm *vm)
{
	vm->state->next = vm->given_up;
	vm->given_up = vm->state;
	vm->state = NULL;
}

/* Call an entry on what vm->ctx->call says. A profiled state is left alone: LuaJIT's
 * profiler would outlive it. */
int tide_vm_call(struct tide_vm *vm, enum tide_vm_entry entry, struct tide_error *err)
{
	if (vm->state == NULL)
		return tide_fail(err, TIDE_ERR_SCRIPT, "the job's Lua state was given up");
	if (vm->sampler != NULL)
		tide_sampler_turn(vm->sampler, vm->number, vm->state->lua);
	if (vm->sampler != NULL && tide_sampler_looks(vm->sampler, vm->number))
		return vm_perform(vm, entry, err);
	int how = sigsetjmp(vm->hang.home, 0);
	if (how != 0) {
		tide_hang_landed(&vm->hang);
		if (vm->sampler != NULL)
			tide_sampler_lose(vm->sampler, vm->number, vm->state->lua);
		vm->full = how == BY_HEAP;
		give_up(vm);
		return vm->full && !vm->given_up->heap.hit
		               ? tide_fail(err, TIDE_ERR_NOMEM, "a Lua state")
		               : ENTRY_ENDED;
	}
	tide_hang_enter(&vm->hang, limit_of(vm, entry));
	vm->state->heap.full = leave_full;
	vm->state->heap.full_arg = &vm->hang.home;
	int rc = vm_perform(vm, entry, err);
	vm->state->heap.full = NULL;
	tide_hang_exit(&vm->hang);
	return rc;
}

struct boot {
	struct tide_vm *vm;
	struct tide_vm_state *state;
	bool jit_off;
};

/* Runs protected: LuaJIT's libraries, of which ffi is opened when it is required. */
static int vm_libraries(lua_State *lua)
{
	luaL_openlibs(lua);
	lua_getglobal(lua, "require");
	lua_pushliteral(lua, "ffi");
	lua_call(lua, 1, 0);
	return 0;
}

/* Runs protected: open the runtime, keep its entries. */
static int vm_boot(lua_State *lua)
{
	const struct boot *boot = lua_touserdata(lua, 1);
	const struct tide_vm *vm = boot->vm;
	if (boot->jit_off)
		luaJIT_setmode(lua, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
	lua_getglobal(lua, "package");
	lua_pushfstring(lua, "%s/?.lua;%s/?/init.lua", vm->lua_dir, vm->lua_dir);
	lua_setfield(lua, -2, "path");
	tide_library_open(lua, vm->lua_dir);
	lua_getfield(lua, -1, "loaded");
	lua_pushlightuserdata(lua, vm->ctx);
	lua_setfield(lua, -2, "tidemark.ctx");
	lua_getglobal(lua, "require");
	lua_pushliteral(lua, "tidemark.boot");
	lua_call(lua, 1, 1);
	for (int i = 0; i < ENTRY_COUNT; i++) {
		lua_getfield(lua, -1, entry_names[i]);
		luaL_checktype(lua, -1, LUA_TFUNCTION);
		boot->state->entries[i] = luaL_ref(lua, LUA_REGISTRYINDEX);
	}
	return 0;
}

void tide_vm_state_free(struct tide_vm_state *state)
{
	if (state == NULL)
		return;
	if (state->lua != NULL)
		lua_close(state->lua);
	tide_heap_fini(&state->heap);
	free(state);
}

int tide_vm_state_new(struct tide_vm *vm, bool jit_off, struct tide_error *err)
{
	sigjmp_buf lacking;
	struct tide_vm_state *state = calloc(1, sizeof *state);
	if (state == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "a Lua state");
	if (sigsetjmp(lacking, 0) != 0) {
		bool hit = state->heap.hit;
		vm->state = state;
		give_up(vm);
		return hit ? tide_vm_full(vm, err, "the Lua library does not start")
		           : tide_fail(err, TIDE_ERR_NOMEM, "a Lua state");
	}
	state->heap.full = leave_full;
	state->heap.full_arg = &lacking;
	/* LuaJIT does not survive running out of memory while it makes a state, and
	 * leaks when it does while it opens ffi, so the limit begins to count
	 * afterwards. */
	state->heap.max = SIZE_MAX;
	state->lua = lua_newstate(tide_heap_alloc, &state->heap);
	if (state->lua == NULL || lua_cpcall(state->lua, vm_libraries, NULL) != 0) {
		tide_vm_state_free(state);
		return tide_fail(err, TIDE_ERR_NOMEM, "a Lua state");
	}
	state->heap.max = vm->memory_max;
	vm->state = state;
	struct boot boot = { vm, state, jit_off };
	if (lua_cpcall(state->lua, vm_boot, &boot) != 0) {
		int rc = vm_fail(vm, err, error_text(state->lua));
		vm->state = NULL;
		tide_vm_state_free(state);
		tide_fail_within(err, "the Lua library in %s does not start", vm->lua_dir);
		return rc;
	}
	lua_settop(state->lua, 0);
	state->heap.full = NULL;
	return TIDE_OK;
}

/* They are not closed: nobody knows what LuaJIT had in hand. What their objects held
 * outside of their heaps is lost; builds that look for leaks keep it all. */
void tide_vm_forget_given_up(struct tide_vm *vm)
{
	while (vm->given_up != NULL) {
		struct tide_vm_state *state = vm->given_up;
		vm->given_up = state->next;
#ifdef __SANITIZE_ADDRESS__
		static _Atomic(struct tide_vm_state *) all;
		state->next = atomic_exchange(&all, state);
#else
		tide_heap_fini(&state->heap);
		free(state);
		malloc_trim(0);
#endif
	}
}

/* ---- calls that were ended ---- */

/* Where the newest line of the job was, as far as anybody looked. */
void tide_vm_put_place(const struct tide_vm *vm, char *out, size_t size)
{
	const struct tide_ctx *ctx = vm->ctx;
	out[0] = '\0';
	if (ctx->place_line > 0)
		snprintf(out, size, "%s:%d: ", ctx->place, ctx->place_line);
}

/* Another state of the same version, which stands where the last one stood. */
static int revive(struct tide_vm *vm, bool careful, struct tide_plan *plan, struct tide_error *err)
{
	struct tide_ctx *ctx = vm->ctx;
	struct tide_ctx *kept = malloc(sizeof *kept);
	if (kept == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "a Lua state");
	*kept = *ctx;
	int rc = tide_vm_state_new(vm, vm->jit_off || careful, err);
	if (rc == TIDE_OK) {
		tide_ffi_ctx_scratch(ctx);
		ctx->call = (struct tide_call){ .path = vm->path, .plan = plan };
		rc = tide_vm_call(vm, ENTRY_LOAD, err);
	}
	kept->scratch_gen = ctx->scratch_gen;
	kept->sources = ctx->sources;
	*ctx = *kept;
	if (ctx->batch != NULL)
		tide_pool_turn(ctx->pool, ctx->gen, tide_ffi_alive, ctx);
	free(kept);
	return rc == ENTRY_ENDED ? tide_fail(err, TIDE_ERR_SCRIPT, "the job does not load again")
	                         : rc;
}

/* Where nothing comes of it. */
static void bind_trial(struct tide_ctx *ctx, struct tide_trial *trial)
{
	struct tide_vm_bind bind = tide_trial_bind(trial);
	ctx->ops = *bind.state_ops;
	ctx->queues = bind.queues;
	ctx->timed = bind.timed;
	ctx->sieves = bind.sieves;
	ctx->events = bind.marks;
	ctx->rows = bind.rows;
	ctx->bad_row = bind.bad_row;
	ctx->set_aside = bind.set_aside;
}

/* Sets ctx->place_line; it stays 0 where that cannot be found out. */
static void find_place(struct tide_vm *vm)
{
	struct tide_ctx *ctx = vm->ctx;
	struct tide_plan *plan = tide_plan_new();
	struct tide_ctx *kept = malloc(sizeof *kept);
	struct tide_trial *trial = NULL;
	struct tide_error ignored;
	int rc = plan == NULL || kept == NULL ? TIDE_ERR_NOMEM : revive(vm, true, plan, &ignored);
	if (rc == TIDE_OK)
		trial = tide_trial_new(plan);
	if (trial != NULL) {
		*kept = *ctx;
		if (ctx->adding == 0)
			bind_trial(ctx, trial);
		ctx->place_line = 0;
		rc = tide_vm_call(vm, ENTRY_SEARCH, &ignored);
		kept->place_line = rc == ENTRY_ENDED ? ctx->place_line : 0;
		memcpy(kept->place, ctx->place, sizeof kept->place);
		*ctx = *kept;
	}
	tide_vm_state_free(vm->state);
	vm->state = NULL;
	if (ctx->adding == 0)
		tide_vm_forget_given_up(vm);
	tide_trial_free(trial);
	tide_plan_free(plan);
	free(kept);
}

/* The row whose call was ended fails, and the rest of the batch runs. */
int tide_vm_condemn(struct tide_vm *vm, struct tide_error *err)
{
	struct tide_ctx *ctx = vm->ctx;
	ctx->place_line = 0;
	bool full = vm->full;
	ctx->stuck_us = full ? -1 : vm->hang.spent_us;
	/* Its memory first: the same may fill as much again. What it kept of states
	 * while it added is still wanted. */
	if (ctx->adding == 0)
		tide_vm_forget_given_up(vm);
	if (!full)
		find_place(vm);
	int rc = revive(vm, false, NULL, err);
	if (rc != TIDE_OK)
		return tide_fail_within(err, "after a record that was given up");
	/* Nothing of the batch may have begun when its state was full already. */
	rc = tide_vm_call(vm, ctx->begun != 0 ? ENTRY_CONDEMN : ENTRY_RUN, err);
	ctx->place_line = 0;
	return rc;
}

/* States are half changed by then: the job ends, and says where. */
int tide_vm_call_whole(struct tide_vm *vm, enum tide_vm_entry entry, const char *what,
                       struct tide_error *err)
{
	char place[1200];
	int rc = tide_vm_call(vm, entry, err);
	if (rc != ENTRY_ENDED)
		return rc;
	bool full = vm->full;
	int64_t spent_us = vm->hang.spent_us;
	vm->ctx->place_line = 0;
	tide_vm_forget_given_up(vm);
	if (revive(vm, true, NULL, err) == TIDE_OK &&
	    tide_vm_call(vm, ENTRY_TRACE, err) == TIDE_OK &&
	    tide_vm_call(vm, entry, err) != ENTRY_ENDED)
		vm->ctx->place_line = 0;
	tide_vm_state_free(vm->state);
	vm->state = NULL;
	tide_vm_forget_given_up(vm);
	tide_vm_put_place(vm, place, sizeof place);
	if (full)
		return tide_vm_full(vm, err,
		                    strncat(place, what, sizeof place - strlen(place) - 1));
	return tide_fail(err, TIDE_ERR_SCRIPT,
	                 "%s%s does not return, after %.0f ms of processor time "
	                 "(--record-timeout): a loop may never end, or a pattern try too much",
	                 place, what, (double)spent_us / 1e3);
}
