/* SPDX-License-Identifier: Apache-2.0 */
/* A step that only lets late rows through, and counts them. */
#ifndef TIDE_RUN_SIEVE_H
#define TIDE_RUN_SIEVE_H

#include "record/batch.h"
#include "run/late.h"

struct tide_sieve {
	const struct tide_plan_late *plan;
	const struct tide_mark *mark; /* for which rows are late … */
	struct tide_mark *own;        /* … and which they have behind it; may be NULL */
	const struct tide_batch *batch;
	struct tide_late_keys keys;
	struct tide_lates counts, before; /* before the row of that … */
	uint32_t row;                     /* … number, which may fail yet */
};

/* Everything is borrowed. */
void tide_sieve_init(struct tide_sieve *sieve, const struct tide_plan_late *plan,
                     struct tide_mark *marks);
void tide_sieve_batch(struct tide_sieve *sieve, const struct tide_batch *batch);

/* For tide_state_ops. */
bool tide_sieve_sift(struct tide_sieve *sieve, const struct tide_cell *row, uint32_t number);
void tide_sieve_drop(struct tide_sieve *sieve, uint32_t number);

#endif
