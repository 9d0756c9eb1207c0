/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of open sessions in RocksDB: one for each key that has any.
 *
 * States of sessions lie there by their ends. What lies beside them says which
 * ends those are, so that a key is looked up at one point, and is written in the
 * same decision. The index in memory (sessions.h) holds some of the keys. */
#ifndef TIDE_RUN_LISTING_H
#define TIDE_RUN_LISTING_H

#include "run/shards_inside.h"

/* A key, without an end. */
struct tide_listed {
	uint32_t shard;
	struct tide_slice key;
};

/* At the start: what the index need not hold, and where the first end is. Before
 * there were lists the index held everything; then it is so made, and has to be
 * written, all of it. */
int tide_listing_open(struct tide_shards *shards, int keyed, struct tide_error *err);
int tide_listing_write_all(struct tide_shards *shards, int keyed, struct tide_writes *writes,
                           struct tide_error *err);

/* Of at most a chunk of keys, bring those into the index that it does not hold. */
int tide_listing_hold(struct tide_shards *shards, int keyed, const struct tide_listed *keys,
                      size_t count, struct tide_error *err);
/* The sessions of a key that the index holds, or has held until now. */
int tide_listing_write(struct tide_shards *shards, int keyed, struct tide_listed key,
                       struct tide_writes *writes, struct tide_error *err);
/* Of at most a chunk of keys that the index does not hold: what ends by then is no
 * longer open. */
int tide_listing_close(struct tide_shards *shards, int keyed, const struct tide_listed *keys,
                       size_t count, int64_t to_us, struct tide_writes *writes,
                       struct tide_error *err);

/* Let go of keys when the index takes more than so much, with about so much coming. */
int tide_listing_evict(struct tide_slice_of *slice, size_t bytes_max, size_t coming,
                       struct tide_error *err);

#endif
