/* SPDX-License-Identifier: Apache-2.0 */
/* The partitions of a run: which there are, and where each begins. */
#ifndef TIDE_RUN_PARTITIONS_H
#define TIDE_RUN_PARTITIONS_H

#include "checkpoint/checkpoint.h"
#include "record/plan.h"
#include "run/epoch.h"
#include "run/events.h"
#include "run/settings.h"
#include "run/worker.h"
#include "source/source.h"

struct tide_partitions {
	const struct tide_plan *plan;
	const struct tide_settings *settings;
	struct tide_source **sources;     /* per input */
	struct tide_source_part ***parts; /* per input, as the source gave them */
	int *part_counts;
	struct tide_share **shares; /* all, by (input, topic, partition) */
	int count;
	uint64_t lost; /* records known to be lost in this run */
};

/* Opens a source per input. */
int tide_partitions_open(struct tide_partitions *partitions, const struct tide_plan *plan,
                         const struct tide_settings *settings, struct tide_error *err);
void tide_partitions_close(struct tide_partitions *partitions);

/* Look for new topics and partitions; *found says whether any came. */
int tide_partitions_discover(struct tide_partitions *partitions, bool *found,
                             struct tide_error *err);
/* Give every partition that has none its place: from the checkpoint, verified;
 * from the configured start in a new job; from its beginning when it appeared
 * since. Data loss is an error or a warning, as the settings say. */
int tide_partitions_place(struct tide_partitions *partitions, const struct tide_meta *meta,
                          bool running, struct tide_error *err);
int tide_partitions_ends(struct tide_partitions *partitions, struct tide_error *err);

/* Ranges of the next epoch, from..to of every share; returns how many records
 * they span. */
int64_t tide_partitions_ranges(struct tide_partitions *partitions, const struct tide_events *events,
                               const struct tide_fit *fit, struct tide_rate *rate);
/* The next epoch reads nothing. */
void tide_partitions_rest(struct tide_partitions *partitions);
/* We were away for so long that each of them may be another log now. */
void tide_partitions_doubt(struct tide_partitions *partitions);
/* Is anything left to read, as far as is known? */
bool tide_partitions_behind(const struct tide_partitions *partitions);
/* Has the running epoch read anything? */
bool tide_partitions_moved(const struct tide_partitions *partitions);
/* The running epoch is dropped: its ranges will be read again. */
int tide_partitions_drop(struct tide_partitions *partitions, const struct tide_meta *meta,
                         struct tide_error *err);
/* Where every partition stands, and what is known to be lost, onto the record. */
int tide_partitions_note(struct tide_partitions *partitions, struct tide_meta *meta,
                         struct tide_error *err);
/* Where they stand, to the consumer group, for lag tools. */
void tide_partitions_mirror(struct tide_partitions *partitions);

#endif
