/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: runs a checked job until it ends or is told to stop. */
#ifndef TIDE_RUN_LOOP_H
#define TIDE_RUN_LOOP_H

#include <stdatomic.h>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "job/vm.h"
#include "record/plan.h"
#include "run/board.h"
#include "run/settings.h"

struct tide_loop_options {
	const struct tide_settings *settings;
	const struct tide_plan *plan;
	struct tide_vm *vm; /* that loaded the plan; the loop uses it from now on */
	struct tide_board *board;
	const atomic_int *stop; /* set by a signal handler */
	int result_fd;
	bool reloads;              /* new versions of the job may take over … */
	bool watch;                /* … as soon as they are saved, … */
	int shadow_epochs;         /* … after a look at what they change on so many; 0: none */
	const char *max_diff;      /* what they may change, as a share; NULL: anything */
	const atomic_int *hangups; /* counts SIGHUP, or NULL */
};

int tide_loop_run(const struct tide_loop_options *options, struct tide_error *err);

/* The same in steps, for tests: nothing happens between them. */
struct tide_loop;
int tide_loop_open(const struct tide_loop_options *options, struct tide_loop **out,
                   struct tide_error *err);
/* One epoch over what is there, decided and published; *ran: there was one. */
int tide_loop_step(struct tide_loop *loop, bool *ran, struct tide_error *err);
/* Clean: what the sinks have published goes on record; else it is a crash. */
int tide_loop_close(struct tide_loop *loop, bool clean, struct tide_error *err);
/* Event time comes to its end: the next steps close every window. */
void tide_loop_flush(struct tide_loop *loop);
/* Of the newest epoch. */
const struct tide_meta *tide_loop_meta(const struct tide_loop *loop);
uint64_t tide_loop_state_rows(const struct tide_loop *loop);
int64_t tide_loop_state_stored(const struct tide_loop *loop); /* counted; -1: it fails */
uint64_t tide_loop_state_held(const struct tide_loop *loop);  /* of them, in memory */

#endif
