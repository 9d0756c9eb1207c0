/* SPDX-License-Identifier: Apache-2.0 */
/* What rocks.c sees of a set of changes; everybody else uses rocks.h. */
#ifndef TIDE_STATE_WRITES_H
#define TIDE_STATE_WRITES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "state/rocks.h"

enum { TIDE_KIND = 3 /* bytes that the keys of one operator begin with */ };

enum tide_write_kind { TIDE_WRITE_PUT = 1, TIDE_WRITE_DELETE = 2, TIDE_WRITE_DELETE_RANGE = 3 };

struct tide_write {
	enum tide_write_kind kind;
	struct tide_slice key, value; /* of a range: from, to */
};

/* The order of keys: below 0 when a comes first, 0 when they are the same. */
int tide_writes_compare(struct tide_slice a, struct tide_slice b);

bool tide_writes_has_ranges(const struct tide_writes *writes);
/* What was dropped, as deletions of ranges; NULL: nothing. */
struct tide_writes *tide_writes_dropped(const struct tide_writes *writes);

/* What is in files already, and where a set keeps it; NULL: nothing. */
struct tide_staged;
struct tide_staged **tide_writes_staged(struct tide_writes *writes);
void tide_staged_free(struct tide_staged *staged);
/* As new, but for what is in files or was dropped. */
void tide_writes_empty(struct tide_writes *writes);

/* In the order of the calls: start with a zeroed walk. */
struct tide_writes_walk {
	const void *chunk;
	size_t at;
	bool started;
};
bool tide_writes_next(const struct tide_writes *writes, struct tide_writes_walk *walk,
                      struct tide_write *out);

/* Several sets as one, in key order, each key once: a later set wins over an
 * earlier one, and a later call over an earlier one. No ranges. */
struct tide_writes_merge;
struct tide_writes_merge *tide_writes_merge_new(struct tide_writes *const *sets, int count);
bool tide_writes_merge_next(struct tide_writes_merge *merge, struct tide_write *out);
/* The last key that comes; no bytes: none does. */
struct tide_slice tide_writes_merge_last(const struct tide_writes_merge *merge);
void tide_writes_merge_free(struct tide_writes_merge *merge);

#endif
