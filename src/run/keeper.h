/* SPDX-License-Identifier: Apache-2.0 */
/* Sinks that keep what they get, for jobs that are run to be looked at. */
#ifndef TIDE_RUN_KEEPER_H
#define TIDE_RUN_KEEPER_H

#include "record/plan.h"
#include "record/rows.h"
#include "sink/sink.h"

/* What the outputs of a job got since the last clear. It outlives the runs of
 * the job, as a real sink's memory does: all zeroes is a new one. */
struct tide_kept {
	char *name;
	int64_t epoch; /* the newest that it has */
	struct tide_rows *rows;
};

struct tide_keeper {
	struct tide_kept kept[TIDE_OUTPUTS_MAX];
	int count;
};

/* For struct tide_harness, with the keeper as its sink_arg. */
extern const struct tide_sink_ops tide_keeper_ops;

void tide_keeper_fini(struct tide_keeper *keeper);
void tide_keeper_clear(struct tide_keeper *keeper);
/* Rows of the output of that name; NULL: it was never opened. */
struct tide_rows *tide_keeper_rows(const struct tide_keeper *keeper, const char *name);

#endif
