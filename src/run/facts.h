/* SPDX-License-Identifier: Apache-2.0 */
/* What a diagnosis goes by: counts since rows last came out, and where the
 * partitions and the event time stand. */
#ifndef TIDE_RUN_FACTS_H
#define TIDE_RUN_FACTS_H

#include "checkpoint/checkpoint.h"
#include "record/plan.h"
#include "run/crew.h"
#include "run/diagnosis.h"
#include "run/events.h"
#include "run/partitions.h"
#include "run/progress.h"
#include "run/retention.h"

struct tide_tally;

/* `meta`: what the checkpoint holds when the run begins. NULL without memory. */
struct tide_tally *tide_tally_new(const struct tide_plan *plan, const struct tide_meta *meta);
void tide_tally_free(struct tide_tally *tally);

/* An epoch has been gathered: its records, its figures, and the rows of each
 * output (NULL: none). */
void tide_tally_add(struct tide_tally *tally, const struct tide_meta *meta,
                    const struct tide_progress *progress, struct tide_crew *crew, int workers,
                    struct tide_rows *const *rows);

/* What is known beside it. */
struct tide_look {
	const struct tide_partitions *partitions;
	const struct tide_events *events;
	const struct tide_keeping *keeping;
	const char *topic; /* given instead of the job's, or NULL */
	bool idle;
	bool trigger;
	int64_t trigger_ms, trigger_left_ms, now_us;
};

/* Facts are good until the next call. */
const struct tide_facts *tide_tally_facts(struct tide_tally *tally, const struct tide_look *look);

#endif
