/* SPDX-License-Identifier: Apache-2.0 */
/* One worker: reads its share of the partitions, runs the job's loops over
 * them, and owns a run of shards. Everything here happens on one thread at a
 * time, its own or the crew's caller, between two barriers of the crew. */
#ifndef TIDE_RUN_WORKER_H
#define TIDE_RUN_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "job/vm.h"
#include "record/plan.h"
#include "run/evidence.h"
#include "run/exchange.h"
#include "run/settings.h"
#include "run/shards.h"
#include "run/share.h"
#include "run/sieve.h"
#include "run/timed.h"
#include "source/source.h"
#include "state/queue.h"

/* What all workers of a run have in common. */
struct tide_work {
	const struct tide_plan *plan;
	const struct tide_settings *settings;
	const struct tide_keyspec *specs;
	const struct tide_state_op *ops, *index_ops; /* (shards.h) */
	struct tide_share *const *shares;            /* all, in their order */
	int share_count;
	atomic_int left[TIDE_WORKERS_MAX]; /* per worker: its shares that are not done */
	int level; /* how many dedups are behind what is folded or resumed */
	/* Of aggregated rows. Those of complete ones are made behind the decision, and
	 * here only looked at. */
	const bool *update_outputs, *append_outputs, *complete_outputs;
	const int64_t *watermarks_us; /* in force; INT64_MIN: unset */
	const int64_t *limits_us;     /* per watermark: no event time beyond is believed */
	const int64_t *closed_us;     /* likewise, when the run began: what has closed */
	struct tide_rocks *rocks;
	const struct tide_meta *meta; /* of the epoch before the run */
	struct tide_vm **vms;         /* one for each worker to take; NULL: they load their own */
	struct tide_exchange *exchange;
	bool fresh;              /* the checkpoint holds no state yet */
	bool skip_bad_rows;      /* on_error = "skip", or a sink … */
	int letters;             /* … which is this output; -1: none */
	int64_t now_us, epoch;   /* of the running epoch */
	atomic_bool cut;         /* end the epoch where it stands */
	atomic_int filled;       /* how much of what memory allows it, in thousandths */
	const atomic_int *stop;  /* non-zero: likewise, for good */
	void (*tick)(void *arg); /* called now and then while an epoch runs */
	void *tick_arg;
	atomic_ullong records; /* read since start, for the status line */
};

struct tide_worker {
	int index;
	struct tide_work *work;
	struct tide_vm *vm;
	struct tide_ring *ring;
	struct tide_table **deltas; /* per keyed operator */
	struct tide_queue **queues; /* likewise: keys that wait for their delta */
	struct tide_rows **rows;    /* per output, and then per dedup: where the loops write */
	struct tide_mark *marks;    /* per watermark */
	struct tide_timed **timed;  /* per keyed operator; NULL: event time says nothing */
	struct tide_late_records late_records; /* that they have dropped rows of */
	struct tide_sieve **sieves;            /* per step that late rows pass */
	struct tide_shards *shards;
	struct tide_share **shares;    /* room for all; the first are set by the crew … */
	int own_count, share_count;    /* … and those behind were taken over in this epoch */
	struct tide_writes *writes;    /* of the fold; the crew takes it */
	struct tide_run_result totals; /* of the epoch */
	uint64_t *repeats;             /* likewise: rows that each dedup did not pass on */
	size_t held_rows, held_claims; /* likewise: bytes of rows for outputs, and for dedups */
	uint64_t bad_rows_logged;
	char failing[TIDE_EVIDENCE_MAX]; /* the record that ends the job */
	int rc;
	struct tide_error err;
};

int tide_worker_init(struct tide_worker *worker, struct tide_work *work, int index,
                     struct tide_error *err);
void tide_worker_fini(struct tide_worker *worker);

/* First half of an epoch: read every share to its end, put deltas up. */
int tide_worker_run(struct tide_worker *worker, struct tide_error *err);
/* Second half: fold in what all workers put up for this owner, as far as it is
 * behind as many dedups as work->level says. After the last level worker->writes
 * and worker->rows hold what the epoch changed. */
int tide_worker_fold(struct tide_worker *worker, struct tide_error *err);
/* Between two levels: rows of this worker's shares that have passed run on. */
int tide_worker_resume(struct tide_worker *worker, struct tide_error *err);
/* Between two epochs: run another version's functions. Gives the old VM. */
struct tide_vm *tide_worker_vm(struct tide_worker *worker, struct tide_vm *vm);
/* Of a plan: one more than its longest chain of dedups. */
int tide_worker_levels(const struct tide_plan *plan);

#endif
