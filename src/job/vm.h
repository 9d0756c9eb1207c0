/* SPDX-License-Identifier: Apache-2.0 */
/* One lua_State: loads a job, makes its plan, runs its loops. A VM belongs to
 * one thread. */
#ifndef TIDE_JOB_VM_H
#define TIDE_JOB_VM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "record/abi.h"
#include "record/batch.h"
#include "record/plan.h"

struct tide_sampler;
struct tide_vm;

struct tide_vm_options {
	const char *lua_dir; /* holds tidemark/init.lua */
	size_t memory_max;   /* of this state; 0: 512 MiB */
	bool jit_off;
	const struct tide_options *set; /* of --set: tide.setting(key) */
};

int tide_vm_new(const struct tide_vm_options *options, struct tide_vm **out,
                struct tide_error *err);
void tide_vm_free(struct tide_vm *vm);

/* Load the job and check its plan. Fills *plan if it is not NULL. Errors are
 * TIDE_ERR_SCRIPT with file, line, source text and the next step. */
int tide_vm_load(struct tide_vm *vm, const char *path, struct tide_plan *plan,
                 struct tide_error *err);

/* Fill plan->warnings with what the loaded job says and hardly means: views as
 * keys of plain tables, state outside of aggregates. With `try`, its row
 * functions run on a few made-up records, so that the VM is good for nothing
 * else afterwards; without, nothing of the job runs. */
int tide_vm_lint(struct tide_vm *vm, struct tide_plan *plan, bool try, struct tide_error *err);

/* Called for each row that failed, before the loop goes on behind it. The rows
 * it emitted are already undone. Return false to stop the batch: the run then
 * fails with TIDE_ERR_SCRIPT and this row's message. */
typedef bool tide_vm_bad_row(void *arg, const struct tide_batch *batch, uint32_t row,
                             const char *message, const char *reason, const char *place);

/* A row that the job gives to a sink of its own as it came: output `output` gets
 * it. False without memory. */
typedef bool tide_vm_set_aside(void *arg, const struct tide_batch *batch, uint32_t row,
                               int32_t output, const char *reason, const char *place);

/* What a worker's loops write to. queues[k] serves keyed operator k (state_ops
 * reach it); rows[o] collects the rows of output o. All belong to the caller
 * and may be exchanged between runs by binding again. */
struct tide_vm_bind {
	const struct tide_state_ops *state_ops;
	struct tide_queue **queues;
	struct tide_timed **timed;  /* timed[k]: NULL where event time says nothing */
	struct tide_sieve **sieves; /* per step of the plan that late rows pass */
	struct tide_mark *marks;    /* per watermark of the plan */
	struct tide_rows **rows;
	struct tide_ring *ring;
	tide_vm_bad_row *bad_row;
	tide_vm_set_aside *set_aside;
	void *arg;
	int64_t now_us; /* of the epoch */
	int64_t epoch;
};
int tide_vm_bind(struct tide_vm *vm, const struct tide_vm_bind *bind, struct tide_error *err);

/* Every row function between input `input` and the next keyed operator or sink,
 * over one batch. */
int tide_vm_run(struct tide_vm *vm, int input, const struct tide_batch *batch,
                struct tide_run_result *result, struct tide_error *err);

/* The same over rows that have passed a dedup, and what lies behind it: those of
 * `rows` that are numbered in `passed`, one for each record of the batch. */
int tide_vm_resume(struct tide_vm *vm, int number, const struct tide_batch *batch,
                   const struct tide_rows *rows, const uint32_t *passed,
                   struct tide_run_result *result, struct tide_error *err);

/* Fold states: into = merge(into, from), for each pair. */
int tide_vm_merge(struct tide_vm *vm, int keyed, const struct tide_pair *pairs, size_t count,
                  struct tide_error *err);

/* Finish states: for each i, cells[i * stride …] holds the key, states[i] the
 * address of the state; result columns, later steps, then rows of the outputs
 * that hang on this keyed operator. `output` < 0: all of them; else only it. */
int tide_vm_finish(struct tide_vm *vm, int keyed, int output, const struct tide_cell *cells,
                   int stride, const uint64_t *states, size_t count, struct tide_error *err);

/* From now on: where its time goes, as the worker of this number. On the thread that
 * runs it, between two calls; the sampler outlives the VM. */
int tide_vm_sample(struct tide_vm *vm, struct tide_sampler *sampler, int number,
                   struct tide_error *err);

/* Fill states, which are zero, from those of an older version of the job: from
 * each pair's `from`, which lies as the lines of `layout` say, into its `into`. A
 * pair whose key the job gives up has no `into` afterwards. *at: where it failed. */
int tide_vm_migrate(struct tide_vm *vm, int keyed, const char *layout, struct tide_pair *pairs,
                    size_t count, size_t *at, struct tide_error *err);

/* Rows that a step of the plan has taken away since the VM was made. */
uint64_t tide_vm_filtered(const struct tide_vm *vm, int step);

size_t tide_vm_memory(const struct tide_vm *vm);

/* Of the LuaJIT that is linked. */
const char *tide_vm_version(void);

#endif
