/* SPDX-License-Identifier: Apache-2.0 */
/* Warns before records are gone that were not read yet: where a topic keeps them no
 * longer than a stop may last, and where its log begins to catch up with us. */
#ifndef TIDE_RUN_RETENTION_H
#define TIDE_RUN_RETENTION_H

#include "run/diagnosis.h"
#include "run/partitions.h"

/* A partition as it was at the last look. */
struct tide_keeping_part {
	int64_t start, next;
	bool near, warned;
	struct tide_fact_retention fact;
};

struct tide_keeping_topic {
	const char *name; /* of a part */
	int input;
	bool known, warned;
	struct tide_retention kept;
};

/* All zeroes: nothing was looked at yet. */
struct tide_keeping {
	struct tide_keeping_topic *topics;
	struct tide_keeping_part *parts; /* as the shares of the partitions */
	struct tide_fact_retention *facts;
	int topic_count, part_count, fact_count;
	int64_t looked_us;
};

/* What there is of a partition: see tide_keeping_judge. */
struct tide_keeping_look {
	struct tide_retention kept;
	bool known;                                 /* is `kept`? */
	int64_t start, next, end;                   /* of the log, as it is now */
	int64_t start_before, next_before, span_us; /* at the last look, so long ago; 0: none */
	int64_t record_ms; /* of the last record that was read; -1: not known */
	int64_t now_ms;
};

/* Is it about to lose records that were not read? Fills all of *fact but the names. */
bool tide_keeping_judge(const struct tide_keeping_look *look, struct tide_fact_retention *fact);

/* Looks every few seconds, asks the broker if there is something to read, and logs
 * what is new. Does not fail: without an answer nothing is said. `resumed`: the job
 * goes on from a checkpoint, so that its place means something at once. */
void tide_keeping_look(struct tide_keeping *keeping, struct tide_partitions *partitions,
                       bool resumed, int64_t now_us);
/* The partitions are others now. */
void tide_keeping_fini(struct tide_keeping *keeping);

#endif
