/* SPDX-License-Identifier: Apache-2.0 */
/* One epoch in figures: what it did to state and event time, what its sinks
 * got; and the whole of it as JSON under the names that users of Spark know. */
#ifndef TIDE_RUN_PROGRESS_H
#define TIDE_RUN_PROGRESS_H

#include "base/buf.h"
#include "checkpoint/checkpoint.h"
#include "record/plan.h"
#include "run/crew.h"

/* A keyed operator. */
struct tide_progress_op {
	const char *name;
	uint64_t rows, updated, bytes; /* bytes: in memory */
	uint64_t late, untimed;        /* dropped by event time, in this epoch */
};

/* A watermark, and the event times that the epoch saw. INT64_MIN: none. */
struct tide_progress_mark {
	const char *name;
	int of;          /* which one observes for it: itself, mostly */
	int64_t used_us; /* in force for the epoch */
	int64_t max_us, min_us;
	uint64_t count, ahead; /* ahead: beyond belief */
	double sum_us;
};

/* Rows that were late at one place since the job began. */
struct tide_progress_late {
	const char *name;
	uint64_t seen, late, untimed, beyond, keys;
	int64_t most_us, delay_us; /* behind the watermark; its own, behind the newest */
};

struct tide_progress_sink {
	const char *kind, *name;
	uint64_t rows;
};

/* Names are borrowed from the plan. */
struct tide_progress {
	int op_count, mark_count, sink_count, late_count;
	struct tide_progress_op *ops;
	struct tide_progress_mark *marks;
	struct tide_progress_sink *sinks;
	struct tide_progress_late *lates;
};

/* Of the epoch that the crew has folded and `meta` has on record; its event times
 * begin anew. Sinks have no rows yet. False without memory. */
bool tide_progress_take(struct tide_progress *progress, const struct tide_work *work,
                        struct tide_crew *crew, const struct tide_meta *meta);
/* What the epoch's record says of late rows. False without memory. */
bool tide_progress_lates(struct tide_progress *progress, const struct tide_plan *plan,
                         struct tide_meta *meta);
void tide_progress_fini(struct tide_progress *progress);

/* "eventTime":{…},"stateOperators":[…],"late":[…],"sink":{…},"sinks":[…] */
void tide_progress_write(const struct tide_progress *progress, struct tide_buf *out);

#endif
