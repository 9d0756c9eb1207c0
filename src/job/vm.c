/* SPDX-License-Identifier: Apache-2.0 */
/* See vm.h. The Lua side is lua/tidemark/boot.lua, whose nine functions are
 * called here; each returns nothing, or the message of what went wrong. */
#include "job/vm.h"

#include <assert.h>
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "job/ffi.h"
#include "job/heap.h"
#include "job/sampler.h"
#include "job/trial.h"
#include "record/rows.h"

enum {
	MEMORY_MAX_DEFAULT = 512 * 1024 * 1024,
	GROWTH_MAX = 64 * 1024 * 1024 /* of a heap before it is collected */
};

enum entry { LOAD, LINT, SAMPLE, FOUND, BIND, RUN, MERGE, FINISH, MIGRATE, ENTRIES };
static const char *const entry_names[ENTRIES] = { "load", "lint",  "sample", "found",  "bind",
	                                          "run",  "merge", "finish", "migrate" };

struct tide_vm {
	lua_State *lua;
	struct tide_ctx *ctx;
	struct tide_heap heap;
	int entries[ENTRIES];         /* in the registry */
	struct tide_sampler *sampler; /* NULL: nobody asks where time goes */
};

/* Names the limit: "not enough memory" alone sends people to look at the machine. */
static int vm_fail(struct tide_vm *vm, struct tide_error *err, const char *message)
{
	if (!vm->heap.hit || strstr(message, "not enough memory") == NULL)
		return tide_fail(err, TIDE_ERR_SCRIPT, "%s", message);
	vm->heap.hit = false;
	return tide_fail(
		err, TIDE_ERR_SCRIPT,
		"%s: the script's Lua state may use %zu MiB (memory_max) and asked for more; "
		"keep less in tables that live between records, or give it more memory",
		message, vm->heap.max / (1024 * 1024));
}

/* What makes garbage makes it for each record, and a collection costs as much as
 * what lives: while that is little the heap may triple before the next one (more
 * would leave the cache), and less the nearer the limit is. */
static void vm_pace(struct tide_vm *vm)
{
	size_t room = vm->heap.max / 4 < GROWTH_MAX ? vm->heap.max / 4 : GROWTH_MAX;
	size_t percent = room / (vm->heap.used / 100 + 1);
	int pause = percent > 300 ? 300 : percent < 120 ? 120 : (int)percent;
	lua_gc(vm->lua, LUA_GCSETPAUSE, pause);
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
	size_t max = vm->heap.max;
	vm->heap.max = SIZE_MAX;
	if (lua_cpcall(vm->lua, collect, NULL) != 0)
		lua_settop(vm->lua, 0);
	vm->heap.max = max;
}

static const char *error_text(lua_State *lua)
{
	return lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1)
	                                        : "an error that is not text";
}

/* Call an entry on what vm->ctx->call says. */
static int vm_call(struct tide_vm *vm, enum entry entry, struct tide_error *err)
{
	lua_State *lua = vm->lua;
	int rc = TIDE_OK;
	assert(lua_gettop(lua) == 0);
	lua_rawgeti(lua, LUA_REGISTRYINDEX, vm->entries[entry]);
	if (vm->sampler != NULL)
		tide_sampler_enter(vm->sampler, lua);
	int failed = lua_pcall(lua, 0, 1, 0);
	if (vm->sampler != NULL)
		tide_sampler_exit();
	if (failed != 0 || !lua_isnil(lua, -1))
		rc = vm_fail(vm, err, error_text(lua));
	lua_settop(lua, 0);
	if (rc != TIDE_OK)
		vm_collect(vm);
	return rc;
}

struct boot {
	struct tide_vm *vm;
	const struct tide_vm_options *options;
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
	struct tide_vm *vm = boot->vm;
	const struct tide_vm_options *options = boot->options;
	if (options->jit_off)
		luaJIT_setmode(lua, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
	lua_getglobal(lua, "package");
	lua_pushfstring(lua, "%s/?.lua;%s/?/init.lua", options->lua_dir, options->lua_dir);
	lua_setfield(lua, -2, "path");
	lua_getfield(lua, -1, "loaded");
	lua_pushlightuserdata(lua, vm->ctx);
	lua_setfield(lua, -2, "tidemark.ctx");
	lua_getglobal(lua, "require");
	lua_pushliteral(lua, "tidemark.boot");
	lua_call(lua, 1, 1);
	for (int i = 0; i < ENTRIES; i++) {
		lua_getfield(lua, -1, entry_names[i]);
		luaL_checktype(lua, -1, LUA_TFUNCTION);
		vm->entries[i] = luaL_ref(lua, LUA_REGISTRYINDEX);
	}
	return 0;
}

int tide_vm_new(const struct tide_vm_options *options, struct tide_vm **out, struct tide_error *err)
{
	assert(options->lua_dir != NULL);
	struct tide_vm *vm = calloc(1, sizeof *vm);
	int rc = TIDE_OK;
	if (vm == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "a Lua state");
	/* LuaJIT does not survive running out of memory while it makes a state, and
	 * leaks when it does while it opens ffi, so the limit begins to count
	 * afterwards. */
	vm->heap.max = SIZE_MAX;
	vm->ctx = tide_ffi_ctx_new();
	if (vm->ctx != NULL)
		vm->lua = lua_newstate(tide_heap_alloc, &vm->heap);
	if (vm->lua == NULL || lua_cpcall(vm->lua, vm_libraries, NULL) != 0) {
		rc = tide_fail(err, TIDE_ERR_NOMEM, "a Lua state");
		goto out;
	}
	vm->heap.max = options->memory_max != 0 ? options->memory_max : MEMORY_MAX_DEFAULT;
	vm->ctx->set = options->set;
	vm->ctx->memory_mib = (uint32_t)(vm->heap.max / (1024 * 1024));
	struct boot boot = { vm, options };
	if (lua_cpcall(vm->lua, vm_boot, &boot) != 0) {
		rc = vm_fail(vm, err, error_text(vm->lua));
		tide_fail_within(err, "the Lua library in %s does not start", options->lua_dir);
		goto out;
	}
	lua_settop(vm->lua, 0);
	*out = vm;
	vm = NULL;
out:
	tide_vm_free(vm);
	return rc;
}

void tide_vm_free(struct tide_vm *vm)
{
	if (vm == NULL)
		return;
	if (vm->sampler != NULL)
		tide_sampler_leave(vm->sampler, vm->lua);
	if (vm->lua != NULL)
		lua_close(vm->lua);
	tide_heap_fini(&vm->heap);
	tide_ffi_ctx_free(vm->ctx);
	free(vm);
}

int tide_vm_load(struct tide_vm *vm, const char *path, struct tide_plan *plan,
                 struct tide_error *err)
{
	assert(path != NULL);
	tide_ffi_ctx_scratch(vm->ctx);
	vm->ctx->call = (struct tide_call){ .path = path, .plan = plan };
	return vm_call(vm, LOAD, err);
}

/* Run made-up records through the loops. What goes wrong in them is not of
 * interest: real records may be others. */
static int try_inputs(struct tide_vm *vm, const struct tide_plan *plan, struct tide_trial *trial,
                      struct tide_error *err)
{
	struct tide_vm_bind bind = tide_trial_bind(trial);
	int rc = tide_vm_bind(vm, &bind, err);
	for (int i = 0; rc == TIDE_OK && i < plan->input_count; i++) {
		struct tide_run_result result;
		struct tide_batch *batch = tide_trial_batch(trial);
		if (batch == NULL)
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a batch");
		tide_ffi_ctx_scratch(vm->ctx);
		vm->ctx->call = (struct tide_call){ .number = i, .batch = batch };
		rc = vm_call(vm, SAMPLE, err);
		if (rc == TIDE_OK)
			tide_vm_run(vm, i, batch, &result, NULL);
	}
	return rc;
}

int tide_vm_lint(struct tide_vm *vm, struct tide_plan *plan, bool try, struct tide_error *err)
{
	assert(plan != NULL && plan->warning_count == 0);
	struct tide_trial *trial = NULL;
	tide_ffi_ctx_scratch(vm->ctx);
	vm->ctx->call = (struct tide_call){ .number = try };
	int rc = vm_call(vm, LINT, err);
	if (rc == TIDE_OK && try) {
		trial = tide_trial_new(plan);
		rc = trial == NULL ? tide_fail(err, TIDE_ERR_NOMEM, "no memory to try a job")
		                   : try_inputs(vm, plan, trial, err);
		tide_ffi_ctx_scratch(vm->ctx);
	}
	if (rc == TIDE_OK) {
		vm->ctx->call = (struct tide_call){ .plan = plan };
		rc = vm_call(vm, FOUND, err);
	}
	if (trial != NULL)
		tide_vm_bind(vm, &(struct tide_vm_bind){ 0 }, NULL);
	tide_trial_free(trial);
	return rc;
}

int tide_vm_bind(struct tide_vm *vm, const struct tide_vm_bind *bind, struct tide_error *err)
{
	struct tide_ctx *ctx = vm->ctx;
	memset(&ctx->ops, 0, sizeof ctx->ops);
	if (bind->state_ops != NULL)
		ctx->ops = *bind->state_ops;
	ctx->queues = bind->queues;
	ctx->timed = bind->timed;
	ctx->sieves = bind->sieves;
	ctx->events = bind->marks;
	ctx->rows = bind->rows;
	ctx->ring = bind->ring;
	ctx->bad_row = bind->bad_row;
	ctx->set_aside = bind->set_aside;
	ctx->arg = bind->arg;
	ctx->now_us = bind->now_us;
	ctx->epoch = bind->epoch;
	return vm_call(vm, BIND, err);
}

int tide_vm_run(struct tide_vm *vm, int input, const struct tide_batch *batch,
                struct tide_run_result *result, struct tide_error *err)
{
	assert(batch != NULL && result != NULL);
	tide_ffi_ctx_batch(vm->ctx, (struct tide_batch *)(uintptr_t)batch);
	memset(result, 0, sizeof *result);
	vm->ctx->call = (struct tide_call){ .number = input, .result = result };
	vm_pace(vm);
	return vm_call(vm, RUN, err);
}

int tide_vm_resume(struct tide_vm *vm, int number, const struct tide_batch *batch,
                   const struct tide_rows *rows, const uint32_t *passed,
                   struct tide_run_result *result, struct tide_error *err)
{
	vm->ctx->passed = rows;
	vm->ctx->passed_rows = passed;
	return tide_vm_run(vm, number, batch, result, err);
}

int tide_vm_merge(struct tide_vm *vm, int keyed, const struct tide_pair *pairs, size_t count,
                  struct tide_error *err)
{
	if (count == 0)
		return TIDE_OK;
	tide_ffi_ctx_scratch(vm->ctx);
	vm->ctx->call = (struct tide_call){ .number = keyed, .pairs = pairs, .count = count };
	return vm_call(vm, MERGE, err);
}

int tide_vm_finish(struct tide_vm *vm, int keyed, int output, const struct tide_cell *cells,
                   int stride, const uint64_t *states, size_t count, struct tide_error *err)
{
	if (count == 0)
		return TIDE_OK;
	tide_ffi_ctx_scratch(vm->ctx);
	vm->ctx->call = (struct tide_call){
		.number = keyed,
		.output = output,
		.keys = cells,
		.stride = stride,
		.states = states,
		.count = count,
	};
	return vm_call(vm, FINISH, err);
}

int tide_vm_sample(struct tide_vm *vm, struct tide_sampler *sampler, struct tide_error *err)
{
	vm->sampler = sampler;
	return tide_sampler_follow(sampler, vm->lua, err);
}

int tide_vm_migrate(struct tide_vm *vm, int keyed, const char *layout, struct tide_pair *pairs,
                    size_t count, size_t *at, struct tide_error *err)
{
	tide_ffi_ctx_scratch(vm->ctx);
	vm->ctx->row = 0;
	vm->ctx->call = (struct tide_call){
		.number = keyed,
		.path = layout,
		.pairs = pairs,
		.count = count,
	};
	vm_pace(vm);
	int rc = vm_call(vm, MIGRATE, err);
	*at = vm->ctx->row;
	return rc;
}

uint64_t tide_vm_filtered(const struct tide_vm *vm, int step)
{
	assert(step >= 0 && step < 256);
	return (uint64_t)vm->ctx->filtered_by[step];
}

size_t tide_vm_memory(const struct tide_vm *vm)
{
	return vm->heap.used;
}

const char *tide_vm_version(void)
{
	return LUAJIT_VERSION;
}
