/* SPDX-License-Identifier: Apache-2.0 */
/* Ends of entries against a plain model, and removal from the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <time.h>

#include "state/ends.h"

enum { KEYS = 5000, ENDS = 700 };

static const struct tide_keyspec one_int = { 1, { 0 }, { TIDE_INT }, 0 };
static unsigned seed;

static int seed_set(void **state)
{
	(void)state;
	seed = getenv("SEED") != NULL ? (unsigned)atoi(getenv("SEED")) : (unsigned)time(NULL);
	print_message("SEED=%u\n", seed);
	return 0;
}

static struct tide_entry *entry_of(struct tide_table *table, int64_t i, bool make)
{
	char key[16];
	struct tide_cell row = { .i = i };
	uint32_t len = (uint32_t)(tide_key_encode(&one_int, &row, key) - key);
	return make ? tide_table_put(table, key, len) : tide_table_find(table, key, len);
}

/* What closes in order is each entry at its end, and nothing is left of it. */
static void entries_leave_at_their_ends_and_the_others_stay(void **state)
{
	(void)state;
	struct tide_table *table = tide_table_new(&one_int, 8 + TIDE_ENDS_LINK);
	struct tide_ends *ends = tide_ends_new(8);
	static int64_t end_of[KEYS];
	assert_int_equal(tide_ends_first(ends), INT64_MAX);
	for (int i = 0; i < KEYS; i++) {
		end_of[i] = (rand_r(&seed) % ENDS - ENDS / 2) * INT64_C(10000000);
		struct tide_entry *entry = entry_of(table, i, true);
		memcpy(tide_entry_state(entry), &end_of[i], sizeof end_of[i]);
		assert_true(tide_ends_add(ends, end_of[i], entry));
	}
	int64_t last = INT64_MIN;
	uint32_t left = KEYS;
	while (tide_ends_first(ends) != INT64_MAX) {
		int64_t end = tide_ends_first(ends);
		assert_true(end > last);
		last = end;
		struct tide_entry *next, *entry = tide_ends_pop(ends);
		assert_non_null(entry);
		for (; entry != NULL; entry = next, left--) {
			next = tide_ends_next(ends, entry);
			assert_memory_equal(tide_entry_state(entry), &end, sizeof end);
			tide_table_remove(table, entry);
		}
		assert_int_equal(tide_table_count(table), left);
		for (int i = rand_r(&seed) % 50; i < KEYS; i += 50) {
			struct tide_entry *found = entry_of(table, i, false);
			assert_int_equal(found != NULL, end_of[i] > end);
		}
	}
	assert_int_equal(left, 0);
	tide_ends_free(ends);
	tide_table_free(table);
}

static void removed_entries_are_not_walked_and_give_their_room_back(void **state)
{
	(void)state;
	struct tide_table *table = tide_table_new(&one_int, 64);
	for (int i = 0; i < KEYS; i++)
		*(int64_t *)tide_entry_state(entry_of(table, i, true)) = i;
	size_t full = tide_table_bytes(table);
	for (int i = 0; i < KEYS; i++)
		if (i % 10 != 0)
			tide_table_remove(table, entry_of(table, i, false));
	assert_true(tide_table_dead_bytes(table) > full / 2);
	assert_int_equal(tide_table_evict(table, SIZE_MAX), 0);
	assert_int_equal(tide_table_dead_bytes(table), 0);
	assert_true(tide_table_bytes(table) < full / 4);
	int64_t sum = 0;
	uint64_t at = 0;
	struct tide_entry *entry;
	while ((entry = tide_table_each(table, &at)) != NULL)
		sum += *(int64_t *)tide_entry_state(entry);
	assert_int_equal(sum, (int64_t)(KEYS / 10) * (KEYS / 10 - 1) / 2 * 10);
	for (int i = 0; i < KEYS; i++)
		assert_int_equal(entry_of(table, i, false) != NULL, i % 10 == 0);
	/* A key that went comes back as a new one. */
	assert_int_equal(*(int64_t *)tide_entry_state(entry_of(table, 7, true)), 0);
	tide_table_free(table);
}

static void entries_that_leave_together_leave_the_others(void **state)
{
	(void)state;
	struct tide_table *table = tide_table_new(&one_int, 8);
	struct tide_entry *leaving[KEYS];
	char bytes[KEYS][64] = { { 0 } };
	struct tide_slice keys[KEYS];
	size_t count = 0, found = 0;
	for (int i = 0; i < KEYS; i++) {
		struct tide_entry *entry = entry_of(table, i, true);
		memcpy(bytes[i], tide_entry_key(table, entry), entry->key_len);
		keys[i] = (struct tide_slice){ bytes[i], entry->key_len };
		if (random() % 3 != 0)
			leaving[count++] = entry;
	}
	tide_table_remove_all(table, leaving, 0);
	tide_table_remove_all(table, leaving, count);
	assert_int_equal(tide_table_count(table), KEYS - count);
	tide_table_expect(table, keys, KEYS); /* of absent ones, too */
	for (int i = 0; i < KEYS; i++) {
		struct tide_entry *entry = tide_table_find(table, keys[i].p, (uint32_t)keys[i].len);
		bool left = false;
		for (size_t k = 0; k < count && entry != NULL; k++)
			left |= leaving[k] == entry;
		assert_false(left);
		found += entry != NULL;
	}
	assert_int_equal(found, KEYS - count);
	tide_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_leave_at_their_ends_and_the_others_stay),
		cmocka_unit_test(removed_entries_are_not_walked_and_give_their_room_back),
		cmocka_unit_test(entries_that_leave_together_leave_the_others),
	};
	return cmocka_run_group_tests(tests, seed_set, NULL);
}
