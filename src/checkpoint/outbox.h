/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox: a queue of decided rows per sink, small ones in RocksDB, large
 * ones in files of their own with a checksummed reference there. */
#ifndef TIDE_CHECKPOINT_OUTBOX_H
#define TIDE_CHECKPOINT_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "state/rocks.h"

enum { TIDE_SEGMENT_BYTES_MIN = 1 << 20 };

/* An entry that has not been released. */
struct tide_outbox_item {
	char *sink;
	int64_t epoch;
	char *segment; /* its file's name, or NULL */
	bool going;    /* released by the decision that is being made */
};

/* What RocksDB holds, kept in memory: scanning a queue in RocksDB would walk
 * over the tombstones of everything that was ever released. */
struct tide_outbox {
	char *dir; /* of segments */
	struct tide_outbox_item *items;
	size_t count, capacity;
};

int tide_outbox_load(struct tide_outbox *outbox, const char *checkpoint_dir,
                     struct tide_rocks *rocks, struct tide_error *err);
void tide_outbox_fini(struct tide_outbox *outbox);
/* Removes files that nothing refers to: of an epoch that was not decided, or
 * released by a process that was killed. */
void tide_outbox_sweep(const struct tide_outbox *outbox);

/* Adds an entry to a decision: a file first if it is large. If the decision
 * fails the process stops, and the next start sweeps. */
int tide_outbox_add(struct tide_outbox *outbox, struct tide_writes *writes, const char *sink,
                    int64_t epoch, uint64_t decision, struct tide_slice rows,
                    struct tide_error *err);
/* Marks an item as released by this decision. */
bool tide_outbox_release(struct tide_outbox_item *item, struct tide_writes *writes);
/* After the decision: forget what went, and its files. Returns how many. */
size_t tide_outbox_forget(struct tide_outbox *outbox);

/* Rows of a stored value; reads and checks its file if it has one. */
int tide_outbox_rows(const char *checkpoint_dir, struct tide_slice value, struct tide_buf *rows,
                     struct tide_error *err);

void tide_outbox_key(struct tide_buf *out, const char *sink, int64_t epoch);

#endif
