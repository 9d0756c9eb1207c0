/* SPDX-License-Identifier: Apache-2.0 */
/* Two sets of rows compared: what two versions of a job made of the same records. */
#ifndef TIDE_RUN_DIFFERENCE_H
#define TIDE_RUN_DIFFERENCE_H

#include "base/buf.h"
#include "record/plan.h"
#include "record/rows.h"

enum { TIDE_DIFFERENCE_SAMPLES = 5 }; /* of each kind */

enum tide_difference_kind {
	TIDE_CHANGED = 0, /* the same key, other values */
	TIDE_ONLY_OLD = 1,
	TIDE_ONLY_NEW = 2,
	TIDE_DIFFERENCE_KINDS
};

/* Row numbers; that which is not there is 0. */
struct tide_difference_sample {
	uint32_t old_row, new_row;
};

struct tide_difference {
	uint64_t equal, changed, only_old, only_new;
	struct tide_difference_sample samples[TIDE_DIFFERENCE_KINDS][TIDE_DIFFERENCE_SAMPLES];
	int sample_count[TIDE_DIFFERENCE_KINDS];
};

/* Columns are paired by name; those that one side alone has, or that are of another
 * type there, do not count, nor does the line of a dead letter. Rows are paired by `keys`, columns of the old rows: of
 * several with the same key the first with the first, and so on. Without keys a row
 * is equal or it is alone. NULL rows are none. */
int tide_difference_find(const struct tide_rows *old_rows, const struct tide_rows *new_rows,
                         const int *keys, int key_count, struct tide_difference *out,
                         struct tide_error *err);

/* More of the same, for totals. Samples are not taken over. */
void tide_difference_add(struct tide_difference *sum, const struct tide_difference *other);
/* What differs, in all rows: 0 to 1. */
double tide_difference_share(const struct tide_difference *difference);
bool tide_difference_any(const struct tide_difference *difference);

/* Columns of an output's rows that tell one from the other: the keys of its
 * aggregate, with the window if there is one. Returns how many; `keys` holds
 * TIDE_COLUMNS_MAX. */
int tide_difference_keys(const struct tide_plan *plan, int output, int *keys);

/* Counts on one line, then columns that only one side has, then the samples. */
void tide_difference_write(const struct tide_difference *difference, const char *name,
                           const struct tide_rows *old_rows, const struct tide_rows *new_rows,
                           struct tide_buf *out);

#endif
