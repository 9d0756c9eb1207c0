/* SPDX-License-Identifier: Apache-2.0 */
/* One epoch in figures: what it did to state and event time, what its sinks
 * got; and the whole of it as JSON under the names that users of Spark know. */
#ifndef TIDE_RUN_PROGRESS_H
#define TIDE_RUN_PROGRESS_H

#include "base/buf.h"
#include "record/plan.h"
#include "run/crew.h"

/* A keyed operator. */
struct tide_progress_op {
	const char *name;
	uint64_t rows, updated, bytes; /* rows: in memory */
	uint64_t late, untimed;        /* dropped by event time, in this epoch */
};

/* A watermark, and the event times that the epoch saw. INT64_MIN: none. */
struct tide_progress_mark {
	const char *name;
	int64_t used_us; /* in force for the epoch */
	int64_t max_us, min_us;
	uint64_t count, ahead; /* ahead: beyond belief */
	double sum_us;
};

struct tide_progress_sink {
	const char *kind, *name;
	uint64_t rows;
};

/* Names are borrowed from the plan. */
struct tide_progress {
	int op_count, mark_count, sink_count;
	struct tide_progress_op *ops;
	struct tide_progress_mark *marks;
	struct tide_progress_sink *sinks;
};

/* Of the epoch that the crew has folded; its event times begin anew. Sinks have
 * no rows yet. False without memory. */
bool tide_progress_take(struct tide_progress *progress, const struct tide_work *work,
                        struct tide_crew *crew);
void tide_progress_fini(struct tide_progress *progress);

/* "eventTime":{…},"stateOperators":[…],"sink":{…},"sinks":[…] */
void tide_progress_write(const struct tide_progress *progress, struct tide_buf *out);

#endif
