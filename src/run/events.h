/* SPDX-License-Identifier: Apache-2.0 */
/* Event time of a run: from what the workers saw, over the watermarks, to what
 * the next epoch is judged by, and to the checkpoint's record. */
#ifndef TIDE_RUN_EVENTS_H
#define TIDE_RUN_EVENTS_H

#include "checkpoint/checkpoint.h"
#include "record/plan.h"
#include "run/crew.h"
#include "run/worker.h"
#include "time/watermark.h"

struct tide_events {
	const struct tide_plan *plan;
	bool bounded;                 /* a bounded run believes every event time */
	struct tide_watermark *marks; /* as the plan has them */
	int64_t *used_us;             /* likewise: in force for the running epoch */
	int64_t *limits_us;           /* likewise */
	int64_t *first_us;            /* likewise: the first that is open; INT64_MAX: none */
};

int tide_events_init(struct tide_events *events, const struct tide_plan *plan, bool bounded,
                     const struct tide_meta *meta, struct tide_error *err);
void tide_events_fini(struct tide_events *events);

/* The partitions are these. */
int tide_events_adopt(struct tide_events *events, struct tide_share **shares, int count,
                      struct tide_error *err);
/* Between epochs: who is caught up may become idle. */
void tide_events_look(struct tide_events *events, struct tide_share **shares, int count,
                      int64_t now_us);
/* Does something close that is open, or is a key forgotten, if an epoch runs now,
 * even without a record? */
bool tide_events_due(const struct tide_events *events);
/* An epoch of `limit` records, less than there are, is to leave all partitions at
 * about the same event time: their backlog[i] becomes what that takes of each. */
void tide_events_level(const struct tide_events *events, struct tide_share **shares, int count,
                       int64_t limit, int64_t *backlog);

/* An epoch begins: the stored watermarks are in force. */
void tide_events_begin(struct tide_events *events, int64_t now_us);
/* Its records are read: the watermarks move. */
void tide_events_end(struct tide_events *events, struct tide_share **shares, int count);
/* For tests: as if every partition had come to the last event time there is. */
void tide_events_flush(struct tide_events *events);
/* Its windows have closed: what is dropped goes to `writes`. */
int tide_events_closed(struct tide_events *events, struct tide_crew *crew, int workers,
                       const struct tide_state_op *ops, struct tide_writes *writes,
                       struct tide_error *err);
/* Everything on record, totals of late rows too. */
int tide_events_note(const struct tide_events *events, struct tide_crew *crew, int workers,
                     struct tide_meta *meta, struct tide_error *err);

#endif
