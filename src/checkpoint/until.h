/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of keys by when they may be forgotten: what lies beside the states of a
 * dedup, "NAME#until".
 *
 * Keys of one shard that end together, as one epoch has found them, are one record: a
 * list costs RocksDB what a key costs. A key may also be a record by itself, and all
 * were once. One that is renewed is there again, and only where it ends last counts. */
#ifndef TIDE_CHECKPOINT_UNTIL_H
#define TIDE_CHECKPOINT_UNTIL_H

#include "checkpoint/checkpoint.h"

/* The key of a list. Of one end, shard and epoch there may be several, which are
 * numbered. */
void tide_until_key(struct tide_buf *out, struct tide_state_op op, int64_t end_us, uint32_t shard,
                    int64_t epoch, uint32_t number);
/* The key of a record whose value is empty: a list of one. */
void tide_until_alone(struct tide_buf *out, struct tide_state_op op, int64_t end_us, uint32_t shard,
                      const char *key, size_t len);
/* One more of the keys of a list, at the end of its value. */
void tide_until_add(struct tide_buf *value, const char *key, size_t len);

/* A list that is read. It borrows the record. */
struct tide_until {
	int64_t end_us;
	uint32_t shard;
	struct tide_slice alone; /* the only key, until it has been read */
	struct tide_reader left;
};

/* False: it is none. */
bool tide_until_open(struct tide_until *until, struct tide_slice key, struct tide_slice value);
/* The next key. False behind the last one, and with left.failed where it is cut. */
bool tide_until_next(struct tide_until *until, struct tide_slice *key);

#endif
