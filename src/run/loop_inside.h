/* SPDX-License-Identifier: Apache-2.0 */
/* The loop as its two files see it: loop.c turns it, loop_open.c opens and closes
 * what it turns. */
#ifndef TIDE_RUN_LOOP_INSIDE_H
#define TIDE_RUN_LOOP_INSIDE_H

#include "run/commit.h"
#include "run/crew.h"
#include "run/events.h"
#include "run/facts.h"
#include "run/loop.h"
#include "run/partitions.h"
#include "run/version.h"

struct loop {
	struct tide_loop_options options;
	const struct tide_settings *settings;
	const struct tide_plan *plan;
	struct tide_keyspec *specs;
	struct tide_state_op *ops, *index_ops;
	bool *update_outputs, *append_outputs, *complete_outputs;
	struct tide_checkpoint *checkpoint;
	struct tide_past *past; /* what the newest epochs have left behind; or NULL */
	struct tide_commit *commit;
	struct tide_partitions partitions;
	struct tide_events events;
	struct tide_exchange *exchange;
	struct tide_crew *crew;
	struct tide_version version;
	struct tide_vm *lent; /* the first that committed; not the loop's */
	struct tide_work work;
	struct tide_meta meta; /* of the newest epoch that was handed over */
	struct tide_rate rate;
	struct tide_fit fit;
	struct tide_tally *tally;
	struct tide_keeping keeping;
	struct tide_diagnosis diagnosis;
	int64_t explained_us; /* 0: not since the newest epoch */
	int64_t began_us, discover_us, trigger_us, busy_us;
	int64_t awake_us;                    /* a short time ago; 0: an epoch was run since */
	int64_t outage_us;                   /* since when no source answers; 0: all do */
	int64_t epoch_us, ran_us, waited_us; /* of the epoch: begun, read, alone */
	bool settled, resumed;               /* … from a checkpoint that is not new */
};

void tide_loop_init(struct loop *loop, const struct tide_loop_options *options);
int tide_loop_open_all(struct loop *loop, struct tide_error *err);
void tide_loop_close_all(struct loop *loop);
/* Partitions that came since the last look get a place and a worker. */
int tide_loop_discover(struct loop *loop, bool running, struct tide_error *err);
/* Redraws the status line; arg: the loop. */
void tide_loop_tick(void *arg);

#endif
