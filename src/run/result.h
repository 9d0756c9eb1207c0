/* SPDX-License-Identifier: Apache-2.0 */
/* The whole result of a keyed operator, from decided state: what complete mode
 * prints and what `tidemark state` shows. */
#ifndef TIDE_RUN_RESULT_H
#define TIDE_RUN_RESULT_H

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "job/vm.h"
#include "record/plan.h"
#include "state/keys.h"
#include "state/rocks.h"

struct tide_result_options {
	const struct tide_plan *plan;
	const struct tide_keyspec *specs;
	const struct tide_state_op *ops;
	const struct tide_meta *meta; /* says which windows have closed */
	struct tide_rocks *rocks;
	struct tide_vm *vm;
};

struct tide_result;

int tide_result_new(const struct tide_result_options *options, struct tide_result **out,
                    struct tide_error *err);
void tide_result_vm(struct tide_result *result, struct tide_vm *vm);
void tide_result_free(struct tide_result *result);

/* Rows of all keys for one output; *rows is good until the next call. */
int tide_result_all(struct tide_result *result, int output, const struct tide_rows **rows,
                    struct tide_error *err);
/* Rows of one key, given by its encoding; none when there is no such key. */
int tide_result_key(struct tide_result *result, int output, struct tide_slice key,
                    const struct tide_rows **rows, struct tide_error *err);

#endif
