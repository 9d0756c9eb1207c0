/* SPDX-License-Identifier: Apache-2.0 */
/* Ends calls into Lua that do not return.
 *
 * Compiled loops look at no hook, and a pattern that backtracks for ever is C. So a
 * thread of its own sees which call has got no further while its thread used up the
 * limit in processor time (one that is stopped or starved is not blamed, nor one whose
 * whole machine was taken away, while its clock went on), and sends a signal there.
 * The handler jumps out of the call, but only from code of LuaJIT's or compiled by it:
 * no lock of ours or of the C library is held there and no structure of ours half
 * changed. What LuaJIT itself had in hand is lost, so that state must never be entered
 * or closed again.
 *
 * Nothing ends before tide_hang_start. A process that was forked has to start anew. */
#ifndef TIDE_JOB_HANG_H
#define TIDE_JOB_HANG_H

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct tide_ctx;

/* Of one VM. */
struct tide_hang {
	sigjmp_buf home;   /* of the running call */
	atomic_uint calls; /* odd while one runs */
	atomic_uint over;  /* the call that is to end */
	atomic_int_fast64_t limit_us;
	atomic_int_fast64_t spent_us; /* by the call that is to end, where it stood */
	_Atomic pid_t thread;         /* that runs it */
	const struct tide_ctx *ctx;   /* says how far it is */
	struct tide_hang *outer;      /* of the same thread, while this one runs */
	sigset_t blocked;             /* when the signal came … */
	bool signalled;               /* … that ended the call */
	/* The watching thread's alone. */
	struct tide_hang *next;
	unsigned seen;
	uint64_t seen_at;
	int64_t read_us; /* of the thread's clock */
	int64_t counted_us;
};

/* From now on, in the whole process; again to change the limit. 0: none does. */
int tide_hang_start(int64_t limit_ms, struct tide_error *err);
int64_t tide_hang_limit_us(void);

/* A VM comes and goes. */
void tide_hang_join(struct tide_hang *hang, const struct tide_ctx *ctx);
void tide_hang_leave(struct tide_hang *hang);

/* Around a call, on its thread, in this order:
 *   if (sigsetjmp(hang->home, 0) != 0) { tide_hang_landed(hang); … it did not return }
 *   tide_hang_enter(hang, limit_us); … tide_hang_exit(hang); */
void tide_hang_enter(struct tide_hang *hang, int64_t limit_us);
void tide_hang_exit(struct tide_hang *hang);
void tide_hang_landed(struct tide_hang *hang);

/* What the watching thread does at a look: how long the call has now been at that place.
 * A look counts for no more than two could be apart, however far the clock has gone. */
int64_t tide_hang_count(struct tide_hang *hang, unsigned call, uint64_t place, int64_t now_us);

#endif
