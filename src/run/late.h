/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of rows that are late: how many, by how much, of which keys. */
#ifndef TIDE_RUN_LATE_H
#define TIDE_RUN_LATE_H

#include <stdbool.h>

#include "checkpoint/checkpoint.h"
#include "record/abi.h"
#include "record/plan.h"

/* Rows that came to one place, and what event time says of them. */
struct tide_lates {
	uint64_t seen, late;
	uint64_t untimed; /* they had no event time */
	uint64_t beyond;  /* later than late, and not counted as that */
	int64_t most_us;  /* the furthest behind the watermark */
};

/* How many different keys late rows have, within about 3 %. A row may fail
 * after it was looked at, so its keys wait until the next one comes. */
struct tide_late_keys {
	int columns[16];
	bool is_text[16];
	int column_count;
	int waiting_count;
	uint64_t waiting[16];
	uint32_t registers[TIDE_LATE_REGISTERS];
};

/* Of the columns of a keyed operator's key, without the window. */
void tide_late_keys_of(struct tide_late_keys *keys, const struct tide_plan_keyed *keyed);
void tide_late_keys_add(struct tide_late_keys *keys, const struct tide_cell *row);
void tide_late_keys_add_hash(struct tide_late_keys *keys, uint64_t hash);
/* None of the epoch any more. */
void tide_late_keys_clear(struct tide_late_keys *keys);
/* What waits counts. Asked for each row, which is why these are here. */
void tide_late_keys_count_waiting(struct tide_late_keys *keys);
static inline void tide_late_keys_settle(struct tide_late_keys *keys)
{
	if (keys->waiting_count > 0)
		tide_late_keys_count_waiting(keys);
}

/* The end of the newest window that contains a time; there is one every slide. */
static inline int64_t tide_late_window_end(int64_t time_us, int64_t size_us, int64_t slide_us,
                                           int64_t offset_us)
{
	int64_t into = (time_us - offset_us) % slide_us;
	if (into < 0)
		into += slide_us;
	return time_us - into + size_us;
}

/* Add to what the checkpoint knows. */
void tide_late_note(struct tide_late_count *stored, const struct tide_lates *lates,
                    struct tide_late_keys *keys);
/* Different keys that it knows of. */
uint64_t tide_late_keys_count(const struct tide_late_count *stored);

#endif
