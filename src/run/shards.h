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
#include "state/table.h"

struct tide_shards;

struct tide_shards_options {
	const struct tide_plan *plan;
	const struct tide_keyspec *specs; /* per keyed operator */
	const uint16_t *ops;              /* likewise: numbers in the checkpoint */
	struct tide_rocks *rocks;
	struct tide_vm *vm; /* of the owner */
	size_t memory_max;  /* for clean entries, all operators */
	bool fresh;         /* the checkpoint holds no state yet */
};

struct tide_shards *tide_shards_new(const struct tide_shards_options *options);
void tide_shards_free(struct tide_shards *shards);

/* Fold `count` entries of `delta` in. Their shards are all of this owner. */
int tide_shards_merge(struct tide_shards *shards, int keyed, struct tide_table *delta,
                      struct tide_entry **entries, size_t count, struct tide_error *err);
/* Everything the epoch changed, in (operator, shard, key) order: state writes,
 * and result rows for the outputs in update mode. Then nothing is dirty. */
int tide_shards_finish(struct tide_shards *shards, const bool *update_outputs,
                       struct tide_writes *writes, struct tide_error *err);
/* Only between a decision and the next merge: make room. */
void tide_shards_evict(struct tide_shards *shards);

size_t tide_shards_bytes(const struct tide_shards *shards);
uint64_t tide_shards_rows(const struct tide_shards *shards); /* in memory */

#endif
