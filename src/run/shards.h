/* SPDX-License-Identifier: Apache-2.0 */
/* The shards one worker owns: folding deltas in, and what that changed.
 *
 * Memory holds a cache over RocksDB plus what the running epoch changed. A
 * shard never reaches outside itself. */
#ifndef TIDE_RUN_SHARDS_H
#define TIDE_RUN_SHARDS_H

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "job/vm.h"
#include "record/plan.h"
#include "run/claims.h"
#include "state/table.h"

struct tide_shards;

struct tide_shards_options {
	const struct tide_plan *plan;
	const struct tide_keyspec *specs; /* per keyed operator */
	const struct tide_state_op *ops;  /* likewise: as the checkpoint knows it */
	/* Beside them: of a dedup its keys by when they end, of sessions which of a key
	 * are open. */
	const struct tide_state_op *index_ops;
	struct tide_rows **rows;  /* per output: where the loops write */
	const int64_t *closed_us; /* per watermark: windows up to it have closed */
	int index, workers;       /* whose shards */
	struct tide_rocks *rocks;
	const struct tide_meta *meta; /* of the last epoch; only looked at by new */
	struct tide_vm *vm;           /* of the owner */
	size_t memory_max;            /* for clean entries, all operators */
	bool fresh;                   /* the checkpoint holds no state yet */
	bool adopt; /* tests: a key's first delta is its state, and not merged into none */
};

/* Rows of windows leave in the order of the windows' ends, over all workers: up
 * to `rows` of an output are of windows that end by then. */
struct tide_segment {
	int64_t end_us;
	uint32_t rows;
};

struct tide_segments {
	struct tide_segment *items;
	size_t count, capacity;
};

int tide_shards_new(const struct tide_shards_options *options, struct tide_shards **out,
                    struct tide_error *err);
void tide_shards_vm(struct tide_shards *shards, struct tide_vm *vm);
void tide_shards_free(struct tide_shards *shards);

/* Before the rest of this epoch: close the windows, but for sessions, that the
 * watermarks in force have passed. Their rows are for the outputs in append mode. */
int tide_shards_close(struct tide_shards *shards, int64_t epoch, const int64_t *watermarks_us,
                      const bool *append_outputs, struct tide_error *err);
/* Whether that closed any window of an operator. */
bool tide_shards_closed(const struct tide_shards *shards, int keyed);
/* The first open window of an operator that closes them, or when the first key of a
 * dedup may be forgotten; INT64_MAX: there is none. */
int64_t tide_shards_first_end(const struct tide_shards *shards, int keyed);
/* Of the epoch, for an output of windows. */
const struct tide_segments *tide_shards_segments(const struct tide_shards *shards, int output);

/* Fold `count` entries of `delta` in. Their shards are all of this owner. */
int tide_shards_merge(struct tide_shards *shards, int keyed, struct tide_table *delta,
                      struct tide_entry **entries, size_t count, struct tide_error *err);
/* The same for sessions, of all workers together: what is in others then is
 * deleted in `writes`. */
struct tide_parcel {
	struct tide_table *delta;
	struct tide_entry **entries;
	size_t count;
};
struct tide_parcels {
	struct tide_parcel items[TIDE_SHARDS];
	int count;
};
int tide_shards_join(struct tide_shards *shards, int keyed, const struct tide_parcels *parcels,
                     struct tide_writes *writes, struct tide_error *err);
/* Decide about the rows of one partition that wait for a dedup. Partitions come in
 * their order. */
int tide_shards_claim(struct tide_shards *shards, int keyed, struct tide_claims *claims,
                      struct tide_error *err);
/* Behind all of that: sessions close. */
int tide_shards_end_sessions(struct tide_shards *shards, const bool *append_outputs,
                             struct tide_writes *writes, struct tide_error *err);
/* Everything the epoch changed, in (operator, shard, key) order: state writes,
 * and result rows for the outputs in update mode. Those of complete mode are made and
 * thrown away: what fails must fail before the decision. Then nothing is dirty. */
int tide_shards_finish(struct tide_shards *shards, const bool *update_outputs,
                       const bool *complete_outputs, struct tide_writes *writes,
                       struct tide_error *err);
/* Only between a decision and the next merge: make room for what is coming, of
 * which each worker has about as much as this one. */
int tide_shards_evict(struct tide_shards *shards, struct tide_table *const *coming,
                      struct tide_error *err);

/* Of one operator, after the epoch. */
struct tide_shards_figures {
	uint64_t held, bytes; /* states in memory */
	uint64_t updated;     /* that the epoch changed */
	uint64_t made, gone;  /* by it, whether or not memory held them */
};
struct tide_shards_figures tide_shards_figures(const struct tide_shards *shards, int keyed);
uint64_t tide_shards_held(const struct tide_shards *shards); /* in memory, of all operators */

#endif
