/* SPDX-License-Identifier: Apache-2.0 */
/* See vm.h: what a job's VM is asked for, each by a call into its Lua state. */
#include "job/vm_inside.h"

#include <assert.h>
#include <luajit.h>
#include <stdlib.h>
#include <string.h>

#include "job/ffi.h"
#include "job/sampler.h"
#include "job/sources.h"
#include "job/trial.h"

enum {
	MEMORY_MAX_DEFAULT = 512 * 1024 * 1024,
	GROWTH_MAX = 64 * 1024 * 1024 /* of a heap before it is collected */
};

int tide_vm_new(const struct tide_vm_options *options, struct tide_vm **out, struct tide_error *err)
{
	assert(options->lua_dir != NULL);
	struct tide_vm *vm = calloc(1, sizeof *vm);
	if (vm == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "a Lua state");
	vm->jit_off = options->jit_off;
	vm->memory_max = options->memory_max != 0 ? options->memory_max : MEMORY_MAX_DEFAULT;
	vm->lua_dir = strdup(options->lua_dir);
	vm->ctx = tide_ffi_ctx_new();
	tide_hang_join(&vm->hang, vm->ctx);
	int rc = vm->ctx == NULL || vm->lua_dir == NULL
	                 ? tide_fail(err, TIDE_ERR_NOMEM, "a Lua state")
	                 : TIDE_OK;
	if (rc == TIDE_OK) {
		vm->ctx->set = options->set;
		vm->ctx->made_max = vm->memory_max;
		vm->ctx->memory_mib = (uint32_t)(vm->memory_max / (1024 * 1024));
		rc = tide_vm_state_new(vm, vm->jit_off, err);
	}
	if (rc != TIDE_OK) {
		tide_vm_free(vm);
		return rc;
	}
	*out = vm;
	return TIDE_OK;
}

void tide_vm_free(struct tide_vm *vm)
{
	if (vm == NULL)
		return;
	if (vm->sampler != NULL && vm->state != NULL)
		tide_sampler_leave(vm->sampler, vm->number, vm->state->lua);
	tide_vm_state_free(vm->state);
	tide_vm_forget_given_up(vm);
	tide_hang_leave(&vm->hang);
	tide_ffi_ctx_free(vm->ctx);
	free(vm->lua_dir);
	free(vm->path);
	free(vm);
}

int tide_vm_load(struct tide_vm *vm, const char *path, struct tide_plan *plan,
                 struct tide_error *err)
{
	assert(path != NULL);
	char place[1300], *copy = strdup(path);
	if (copy == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a job");
	free(vm->path);
	vm->path = copy;
	tide_vm_forget_given_up(vm);
	int rc = vm->state != NULL ? TIDE_OK : tide_vm_state_new(vm, vm->jit_off, err);
	if (rc != TIDE_OK)
		return rc;
	tide_sources_free(vm->ctx->sources);
	vm->ctx->sources = NULL;
	tide_ffi_ctx_scratch(vm->ctx);
	vm->ctx->place_line = 0;
	vm->ctx->call = (struct tide_call){ .path = path, .plan = plan };
	rc = tide_vm_call(vm, ENTRY_LOAD, err);
	if (rc != ENTRY_ENDED)
		return rc;
	tide_vm_put_place(vm, place, sizeof place);
	if (vm->full)
		return tide_vm_full(vm, err, strcat(place, "the job file"));
	return tide_fail(err, TIDE_ERR_SCRIPT,
	                 "%sthe job file does not return: a loop in it may never end, or a "
	                 "pattern try too much",
	                 place);
}

static int tried_fail(const struct tide_vm *vm, struct tide_error *err)
{
	if (vm->full)
		return tide_vm_full(vm, err, "a function of the job was tried on a made-up record");
	return tide_fail(err, TIDE_ERR_SCRIPT,
	                 "a function of the job was tried on a made-up record and does not "
	                 "return: a pattern may try too much, or a loop never end");
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
		rc = tide_vm_call(vm, ENTRY_SAMPLE, err);
		if (rc == TIDE_OK)
			tide_vm_run(vm, i, batch, &result, NULL);
		if (rc == TIDE_OK && vm->state == NULL)
			rc = ENTRY_ENDED;
	}
	return rc;
}

int tide_vm_lint(struct tide_vm *vm, struct tide_plan *plan, bool try, struct tide_error *err)
{
	assert(plan != NULL && plan->warning_count == 0);
	struct tide_trial *trial = NULL;
	tide_ffi_ctx_scratch(vm->ctx);
	vm->ctx->call = (struct tide_call){ .number = try };
	vm->trying = true;
	int rc = tide_vm_call(vm, ENTRY_LINT, err);
	if (rc == TIDE_OK && try) {
		trial = tide_trial_new(plan);
		rc = trial == NULL ? tide_fail(err, TIDE_ERR_NOMEM, "no memory to try a job")
		                   : try_inputs(vm, plan, trial, err);
		tide_ffi_ctx_scratch(vm->ctx);
	}
	if (rc == TIDE_OK) {
		vm->ctx->call = (struct tide_call){ .plan = plan };
		rc = tide_vm_call(vm, ENTRY_FOUND, err);
	}
	if (rc == ENTRY_ENDED)
		rc = tried_fail(vm, err);
	vm->trying = false;
	if (trial != NULL && vm->state != NULL)
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
	return tide_vm_call_whole(vm, ENTRY_BIND, "the job", err);
}

/* What makes garbage makes it for each record, and a collection costs as much as
 * what lives: while that is little the heap may triple before the next one (more
 * would leave the cache), and less the nearer the limit is. */
static void pace(struct tide_vm *vm)
{
	if (vm->state == NULL)
		return;
	size_t room = vm->state->heap.max / 4 < GROWTH_MAX ? vm->state->heap.max / 4 : GROWTH_MAX;
	size_t percent = room / (vm->state->heap.used / 100 + 1);
	int pause = percent > 300 ? 300 : percent < 120 ? 120 : (int)percent;
	lua_gc(vm->state->lua, LUA_GCSETPAUSE, pause);
}

int tide_vm_run(struct tide_vm *vm, int input, const struct tide_batch *batch,
                struct tide_run_result *result, struct tide_error *err)
{
	assert(batch != NULL && result != NULL);
	tide_ffi_ctx_batch(vm->ctx, (struct tide_batch *)(uintptr_t)batch);
	memset(result, 0, sizeof *result);
	vm->ctx->call = (struct tide_call){ .number = input, .result = result };
	pace(vm);
	int rc = tide_vm_call(vm, ENTRY_RUN, err);
	if (rc != ENTRY_ENDED)
		return rc;
	if (vm->trying)
		return tried_fail(vm, err);
	for (bool begun = true; rc == ENTRY_ENDED; rc = tide_vm_condemn(vm, err)) {
		if (!begun && vm->ctx->begun == 0)
			return tide_vm_full(vm, err, "not enough memory to begin a batch");
		begun = vm->ctx->begun != 0;
	}
	tide_vm_forget_given_up(vm);
	if (rc == TIDE_OK && vm->sampler != NULL)
		rc = tide_vm_sample(vm, vm->sampler, vm->number, err);
	return rc;
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
	return tide_vm_call_whole(vm, ENTRY_MERGE, "merging states", err);
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
	return tide_vm_call_whole(vm, ENTRY_FINISH, "finishing states", err);
}

int tide_vm_sample(struct tide_vm *vm, struct tide_sampler *sampler, int number,
                   struct tide_error *err)
{
	if (vm->state == NULL)
		return TIDE_OK;
	vm->sampler = sampler;
	vm->number = number;
	return tide_sampler_follow(sampler, number, vm->state->lua, err);
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
	pace(vm);
	int rc = tide_vm_call_whole(vm, ENTRY_MIGRATE, "migrating a state", err);
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
	return vm->state != NULL ? vm->state->heap.used : 0;
}

const char *tide_vm_version(void)
{
	return LUAJIT_VERSION;
}
