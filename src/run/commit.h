/* SPDX-License-Identifier: Apache-2.0 */
/* Decide, publish, release: the second half of an epoch's life, on a thread of
 * its own, so that the next epoch is read meanwhile. */
#ifndef TIDE_RUN_COMMIT_H
#define TIDE_RUN_COMMIT_H

#include <stdatomic.h>

#include "checkpoint/checkpoint.h"
#include "job/vm.h"
#include "record/plan.h"
#include "run/board.h"
#include "run/finished.h"
#include "run/settings.h"
#include "sink/sink.h"
#include "state/keys.h"

struct tide_commit_options {
	struct tide_checkpoint *checkpoint;
	const struct tide_plan *plan;
	const struct tide_settings *settings;
	const struct tide_keyspec *specs;
	const struct tide_state_op *ops;
	struct tide_vm *vm;       /* finishes whole states in complete mode; this thread's */
	struct tide_board *board; /* is told of every published epoch */
	int result_fd;
	const atomic_int *stop; /* non-zero: sinks give up waiting soon */
};

struct tide_commit;

/* The sinks in the checkpoint's record become those of the plan: new ones take
 * epochs from the next on; one that is gone must have published all it has. */
int tide_commit_adopt(struct tide_meta *meta, const struct tide_plan *plan, struct tide_error *err);
/* Opens the sinks, and publishes what an earlier process decided and may not
 * have published. */
int tide_commit_start(const struct tide_commit_options *options, struct tide_commit **out,
                      struct tide_error *err);
/* While nothing is committed: another version's VM. Gives the old one. */
struct tide_vm *tide_commit_vm(struct tide_commit *commit, struct tide_vm *vm);
/* While nothing is committed: would this VM make rows of all states that complete
 * mode puts out? */
int tide_commit_try(struct tide_commit *commit, struct tide_vm *vm, struct tide_error *err);
/* Hand an epoch over. The one before must have been waited for. */
void tide_commit_hand(struct tide_commit *commit, struct tide_finished *finished);
/* Until what was handed over is decided and published. */
int tide_commit_wait(struct tide_commit *commit, struct tide_error *err);
/* How far the sinks are, into a record that is about to be decided. Nothing is
 * being handed over. */
void tide_commit_mark(const struct tide_commit *commit, struct tide_meta *meta);
bool tide_commit_idle(struct tide_commit *commit);
/* Publish what sinks with a cadence are due, or `all` that they are spared yet,
 * and write down what is published, if that is not on record yet; that also
 * when a sink was stopped before it was done (TIDE_ERR_STOPPED). */
int tide_commit_settle(struct tide_commit *commit, bool all, struct tide_error *err);
/* Is there more for a later settle? */
bool tide_commit_holds(const struct tide_commit *commit);
/* Ends the thread and closes the sinks. */
void tide_commit_stop(struct tide_commit *commit);

#endif
