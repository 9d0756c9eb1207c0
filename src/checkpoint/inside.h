/* SPDX-License-Identifier: Apache-2.0 */
/* An open checkpoint, as the files of this room see it. */
#ifndef TIDE_CHECKPOINT_INSIDE_H
#define TIDE_CHECKPOINT_INSIDE_H

#include "checkpoint/anchor.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/outbox.h"

/* An operator's number. A new one is true with the next decision. */
struct tide_op {
	char *name;
	struct tide_state_op op;
	bool decided;
	uint64_t counted; /* when it is verified: states */
};

struct tide_checkpoint {
	char *dir;
	int lock_fd; /* -1: only looking */
	bool read_only;
	bool broken; /* a decision failed: the process must stop */
	struct tide_rocks *rocks;
	struct tide_past *past; /* NULL: nobody looks back */
	struct tide_anchor *anchor;
	struct tide_meta meta;
	struct tide_outbox outbox;
	struct tide_op *ops;
	int op_count;
};

/* From a key of RocksDB "n" + name and its value. */
int tide_ops_load(struct tide_checkpoint *cp, struct tide_error *err);
/* Puts those that are not decided yet. */
bool tide_ops_write(const struct tide_checkpoint *cp, struct tide_writes *writes);
void tide_ops_decided(struct tide_checkpoint *cp);

/* What a job would go on from, as bytes. */
struct tide_copy {
	struct tide_rocks *rocks;
	const struct tide_moment *moment; /* NULL: now */
	const char *dir;                  /* for messages */
	size_t bytes_max;
	bool (*stopped)(void *arg); /* NULL: never */
	void *arg;
};
int tide_copy_states(const struct tide_copy *copy, struct tide_buf *state, struct tide_error *err);
/* The newest decision record of that moment. */
int tide_copy_meta(const struct tide_copy *copy, struct tide_buf *meta, struct tide_error *err);

void tide_history_key(struct tide_buf *out, int64_t epoch);

#endif
