/* SPDX-License-Identifier: Apache-2.0 */
/* An epoch that has run and folded: everything it changed, as one thing to
 * decide and publish. */
#ifndef TIDE_RUN_FINISHED_H
#define TIDE_RUN_FINISHED_H

#include "checkpoint/checkpoint.h"
#include "record/plan.h"
#include "run/board.h"
#include "run/crew.h"
#include "run/events.h"
#include "run/facts.h"
#include "run/partitions.h"
#include "run/progress.h"

/* An epoch that has run and folded, but is not decided. Owns all it holds. */
struct tide_finished {
	struct tide_meta meta;
	struct tide_writes **writes;
	int write_count;
	struct tide_rows **rows; /* per output; NULL: nothing */
	int output_count;
	int64_t records;               /* read by this epoch */
	struct tide_board_part *parts; /* for the board: where each partition stands */
	struct tide_board_epoch note;  /* likewise; its last times are filled in here */
	struct tide_progress progress; /* likewise, and its sinks' rows */
	struct tide_buf diagnosis;     /* likewise: JSON of what holds after it */
};

struct tide_finished *tide_finished_new(const struct tide_meta *before, int workers,
                                        int output_count);
void tide_finished_free(struct tide_finished *finished);

struct tide_gather {
	const struct tide_plan *plan;
	struct tide_partitions *partitions;
	struct tide_crew *crew;
	const struct tide_work *work;
	struct tide_events *events;
	struct tide_tally *tally;
	int64_t began_us;          /* the epoch; monotonic */
	int64_t ran_us, waited_us; /* all is read; the epoch before is published */
};

/* Fill it with what the workers have; they begin anew. */
int tide_finished_gather(struct tide_finished *finished, const struct tide_gather *from,
                         struct tide_error *err);

#endif
