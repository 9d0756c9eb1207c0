/* SPDX-License-Identifier: Apache-2.0 */
/* The anchor: outside RocksDB, how far the decisions have come.
 *
 * RocksDB can open older than it was, or empty, without an error. This small
 * file has two slots, each with its own checksum. One is certain; the other takes
 * all writes until a sync has made it certain, then they change places: what a
 * loss of power tears is never the one that was synced. */
#ifndef TIDE_CHECKPOINT_ANCHOR_H
#define TIDE_CHECKPOINT_ANCHOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct tide_anchor_mark {
	uint64_t checkpoint_id;
	uint64_t decision;
	int64_t epoch;
	uint64_t meta_hash; /* of the encoded decision record */
};

struct tide_meta;
/* The mark of a decision record; `record` is its encoding. */
struct tide_anchor_mark tide_anchor_mark_of(const struct tide_meta *meta, struct tide_slice record);

struct tide_anchor;

/* *found is false when there is no such file; a file without one good slot is
 * an error. */
int tide_anchor_read(const char *dir, struct tide_anchor_mark *mark, bool *found,
                     struct tide_error *err);

/* A new file with its first mark; whole or not there, and durable. */
int tide_anchor_make(const char *dir, const struct tide_anchor_mark *mark, struct tide_error *err);

int tide_anchor_open(const char *dir, struct tide_anchor **out, struct tide_error *err);
/* Synced when the last sync is a second ago. After an error every further
 * write is refused: a failed fsync is not tried again. */
int tide_anchor_write(struct tide_anchor *anchor, const struct tide_anchor_mark *mark,
                      struct tide_error *err);
/* Syncs what is not synced yet. */
void tide_anchor_close(struct tide_anchor *anchor);

#endif
