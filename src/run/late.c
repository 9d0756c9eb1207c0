/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of rows that are late. */
#include "run/late.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "job/distinct.h"

enum { BITS = 7 };
_Static_assert(TIDE_LATE_REGISTERS == 1 << BITS, "registers of a count of keys");

void tide_late_keys_of(struct tide_late_keys *keys, const struct tide_plan_keyed *keyed)
{
	*keys = (struct tide_late_keys){ 0 };
	assert(keyed->key_count <= (int)(sizeof keys->columns / sizeof keys->columns[0]));
	for (int i = keyed->size_us > 0; i < keyed->key_count; i++) {
		enum tide_type type = keyed->row->columns[keyed->keys[i]].type;
		keys->columns[keys->column_count] = keyed->keys[i];
		keys->is_text[keys->column_count++] = type == TIDE_STRING || type == TIDE_BYTES;
	}
}

void tide_late_keys_clear(struct tide_late_keys *keys)
{
	keys->waiting_count = 0;
	memset(keys->registers, 0, sizeof keys->registers);
}

void tide_late_keys_count_waiting(struct tide_late_keys *keys)
{
	for (int i = 0; i < keys->waiting_count; i++)
		tide_distinct_add(keys->registers, BITS, keys->waiting[i]);
	keys->waiting_count = 0;
}

void tide_late_keys_add_hash(struct tide_late_keys *keys, uint64_t hash)
{
	if (keys->waiting_count == (int)(sizeof keys->waiting / sizeof keys->waiting[0]))
		tide_late_keys_settle(keys);
	keys->waiting[keys->waiting_count++] = hash;
}

void tide_late_keys_add(struct tide_late_keys *keys, const struct tide_cell *row)
{
	uint64_t hash = 0;
	for (int i = 0; i < keys->column_count; i++) {
		const struct tide_cell *cell = &row[keys->columns[i]];
		if (cell->len < 0)
			hash = tide_hash("", 0, hash + 1);
		else if (keys->is_text[i])
			hash = tide_hash(cell->p, (size_t)cell->len, hash);
		else
			hash = tide_hash(&cell->i, sizeof cell->i, hash);
	}
	tide_late_keys_add_hash(keys, hash);
}

void tide_late_note(struct tide_late_count *stored, const struct tide_lates *lates,
                    struct tide_late_keys *keys)
{
	stored->seen += lates->seen;
	stored->late += lates->late;
	stored->untimed += lates->untimed;
	stored->beyond += lates->beyond;
	if (lates->most_us > stored->most_us)
		stored->most_us = lates->most_us;
	tide_late_keys_settle(keys);
	if (lates->late > 0)
		tide_distinct_merge(stored->keys, keys->registers, BITS);
}

uint64_t tide_late_keys_count(const struct tide_late_count *stored)
{
	return (uint64_t)(tide_distinct_count(stored->keys, BITS) + 0.5);
}
