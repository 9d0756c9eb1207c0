/* SPDX-License-Identifier: Apache-2.0 */
/* The table against a plain model, and eviction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "state/table.h"

enum { MODEL_KEYS = 4000, KEY_MAX = 1024 };

static const struct tide_keyspec one_text = { 1, { 0 }, { TIDE_STRING }, 0 };
static const struct tide_keyspec two_texts = { 2, { 1, 0 }, { TIDE_STRING, TIDE_BYTES }, 0 };
static const struct tide_keyspec mixed = {
	3, { 2, 0, 1 }, { TIDE_STRING, TIDE_INT, TIDE_DOUBLE }, 0
};

static unsigned seed;

static int seed_set(void **state)
{
	(void)state;
	seed = getenv("SEED") != NULL ? (unsigned)atoi(getenv("SEED")) : (unsigned)time(NULL);
	print_message("SEED=%u\n", seed);
	return 0;
}

static int below(int n)
{
	return rand_r(&seed) % n;
}

static struct tide_cell text(const char *s)
{
	return (struct tide_cell){ .p = s, .len = (int32_t)strlen(s) };
}

static uint32_t key_of(const struct tide_keyspec *spec, const struct tide_cell *row, char *out)
{
	return (uint32_t)(tide_key_encode(spec, row, out) - out);
}

/* As a queue would ask for one key; NULL without memory. */
static int64_t *slot_of(struct tide_table *table, const struct tide_keyspec *spec,
                        const struct tide_cell *row)
{
	char key[KEY_MAX + TIDE_KEY_SLACK] = { 0 };
	uint64_t state;
	struct tide_wanted wanted = { 0, key_of(spec, row, key), 0 };
	assert_true(wanted.len <= KEY_MAX);
	return tide_table_resolve(table, key, &wanted, 1, &state) ? (int64_t *)(uintptr_t)state
	                                                          : NULL;
}

static int64_t *slot(struct tide_table *table, const char *word)
{
	struct tide_cell row = text(word);
	int64_t *state = slot_of(table, &one_text, &row);
	assert_non_null(state);
	return state;
}

static int64_t *peek(struct tide_table *table, const char *word)
{
	char key[300];
	struct tide_cell row = text(word);
	struct tide_entry *entry = tide_table_find(table, key, key_of(&one_text, &row, key));
	return entry != NULL ? tide_entry_state(entry) : NULL;
}

/* A row whose every cell is a function of `id`: lengths on both sides of each
 * limit in the table, empty texts, nulls, equal bytes in different parts. */
static void row_of(int id, const struct tide_keyspec *spec, struct tide_cell *row, char *bytes)
{
	static const int lens[] = { 0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 253, 254, 300, -1 };
	for (int i = 0; i < spec->count; i++) {
		struct tide_cell *cell = &row[spec->columns[i]];
		int part = id / (i * 13 + 1);
		memset(cell, 0, sizeof *cell);
		if (spec->types[i] == TIDE_INT) {
			cell->i = (int64_t)part * 1000003;
			cell->len = id % 17 == 0 ? -1 : 0;
		} else if (spec->types[i] == TIDE_DOUBLE) {
			cell->d = id % 3 / 2.0;
		} else {
			cell->len = lens[part % 14];
			cell->p = bytes + i * 320;
			for (int k = 0; k < cell->len; k++)
				bytes[i * 320 + k] =
					(char)('a' + (k == cell->len / 2 ? part / 14 % 26 : 0));
		}
	}
}

/* Keys by the slow way, counted in an array; the table must agree. */
static void counts_equal_a_plain_model(void **state)
{
	(void)state;
	const struct tide_keyspec *specs[] = { &one_text, &two_texts, &mixed };
	static char bytes[1024], keys[MODEL_KEYS][700];
	static uint32_t lens[MODEL_KEYS];
	static int64_t counts[MODEL_KEYS];
	for (int s = 0; s < 3; s++) {
		struct tide_table *table = tide_table_new(specs[s], 16);
		int known = 0;
		for (int n = 0; n < 60000; n++) {
			struct tide_cell row[3];
			char key[700];
			row_of(below(MODEL_KEYS), specs[s], row, bytes);
			uint32_t len = key_of(specs[s], row, key);
			int at = 0;
			while (at < known && (lens[at] != len || memcmp(keys[at], key, len) != 0))
				at++;
			if (at == known) {
				memcpy(keys[at], key, len);
				lens[at] = len;
				counts[at] = 0;
				known++;
			}
			int64_t *value = slot_of(table, specs[s], row);
			assert_non_null(value);
			assert_int_equal(*value, counts[at]);
			counts[at] = ++*value;
			assert_int_equal(value[1], 0);
		}
		assert_int_equal(tide_table_count(table), known);
		uint64_t walk = 0;
		for (int at = 0; at < known; at++) {
			struct tide_entry *entry = tide_table_each(table, &walk);
			assert_non_null(entry); /* in insertion order */
			assert_int_equal(entry->key_len, lens[at]);
			assert_memory_equal(tide_entry_key(table, entry), keys[at], lens[at]);
			assert_int_equal(entry->shard, tide_key_shard(keys[at], lens[at]));
			assert_ptr_equal(tide_table_find(table, keys[at], lens[at]), entry);
			assert_ptr_equal(tide_table_put(table, keys[at], lens[at]), entry);
			assert_int_equal(*(int64_t *)tide_entry_state(entry), counts[at]);
		}
		assert_null(tide_table_each(table, &walk));
		tide_table_free(table);
	}
}

/* Among so many keys some ten pairs have one 32-bit hash: what tells them apart
 * is the comparison, of each part and of both halves of a short text. */
static void keys_with_one_hash_are_told_apart(void **state)
{
	(void)state;
	enum { MANY = 300000 };
	const struct tide_keyspec *specs[] = { &one_text,  &one_text,  &one_text,
		                               &two_texts, &two_texts, &mixed };
	for (int s = 0; s < 6; s++) {
		struct tide_table *table = tide_table_new(specs[s], 8);
		for (int i = 0; i < MANY; i++) {
			char vary[32], same[] = "same";
			/* Differing in the first 8 bytes, the second, and beyond 16. */
			snprintf(vary, sizeof vary,
			         s == 1   ? "prefix__%08d"
			         : s == 2 ? "prefix__prefix__%08d"
			                  : "%08d",
			         i);
			struct tide_cell row[3] = { text(vary), text(same), text(same) };
			if (s == 4) { /* the second column is the first part of the key */
				row[0] = text(same);
				row[1] = text(vary);
			} else if (s == 5) {
				row[0] = (struct tide_cell){ .i = i };
				row[1] = (struct tide_cell){ .d = 1 };
			}
			++*slot_of(table, specs[s], row);
		}
		assert_int_equal(tide_table_count(table), MANY);
		tide_table_free(table);
	}
}

static void entries_stay_put_while_the_table_grows(void **state)
{
	(void)state;
	struct tide_table *table = tide_table_new(&one_text, 8);
	int64_t *first = slot(table, "first");
	*first = 7;
	for (int i = 0; i < 300000; i++) {
		char word[16];
		snprintf(word, sizeof word, "w%d", i);
		*slot(table, word) = i;
	}
	assert_ptr_equal(slot(table, "first"), first);
	assert_int_equal(*first, 7);
	assert_int_equal(tide_table_count(table), 300001);
	tide_table_clear(table);
	assert_int_equal(tide_table_count(table), 0);
	assert_null(peek(table, "first"));
	assert_int_equal(*slot(table, "first"), 0);
	tide_table_free(table);
}

static void bytes_that_are_no_key_are_refused(void **state)
{
	(void)state;
	struct tide_table *table = tide_table_new(&one_text, 8);
	assert_null(tide_table_put(table,
	                           "\x05"
	                           "ab",
	                           3));
	assert_null(tide_table_find(table, "", 0));
	assert_int_equal(tide_table_count(table), 0);
	tide_table_free(table);
}

static void fill(struct tide_table *table, int from, int to)
{
	for (int i = from; i < to; i++) {
		char word[16];
		snprintf(word, sizeof word, "key%d", i);
		*slot(table, word) = i;
	}
}

static void flags_set(struct tide_table *table, uint8_t flags)
{
	uint64_t at = 0;
	for (struct tide_entry *entry; (entry = tide_table_each(table, &at)) != NULL;)
		entry->flags = flags;
}

static void eviction_takes_the_unused_first_and_keeps_the_changed(void **state)
{
	(void)state;
	struct tide_table *table = tide_table_new(&one_text, 8);
	fill(table, 0, 40000);
	flags_set(table, 0);
	char key[16];
	for (int i = 5000; i < 6000; i++) {
		char word[16];
		snprintf(word, sizeof word, "key%d", i);
		struct tide_cell row = text(word);
		tide_table_find(table, key, key_of(&one_text, &row, key))->flags = TIDE_ENTRY_DIRTY;
	}
	for (int i = 0; i < 1000; i++) { /* used, and pinned */
		struct tide_cell row;
		char word[16];
		snprintf(word, sizeof word, "key%d", i);
		row = text(word);
		tide_table_find(table, key, key_of(&one_text, &row, key));
		snprintf(word, sizeof word, "key%d", 10000 + i);
		row = text(word);
		tide_table_find(table, key, key_of(&one_text, &row, key))->flags =
			TIDE_ENTRY_PINNED;
	}
	size_t before = tide_table_bytes(table);
	uint32_t gone = tide_table_evict(table, before / 4);
	assert_true(gone > 20000 && gone < 37000);
	assert_true(tide_table_bytes(table) <= before / 4);
	assert_int_equal(tide_table_count(table), 40000 - gone);
	for (int i = 0; i < 40000; i++) {
		char word[16];
		snprintf(word, sizeof word, "key%d", i);
		int64_t *value = peek(table, word);
		if (i < 1000 || (i >= 5000 && i < 6000) || (i >= 10000 && i < 11000))
			assert_non_null(value);
		if (value != NULL)
			assert_int_equal(*value, i);
	}
	/* Nothing fits into nothing, but what is not stored elsewhere stays. */
	gone += tide_table_evict(table, 0);
	assert_int_equal(tide_table_count(table), 2000);
	assert_int_equal(gone, 38000);
	fill(table, 0, 40000);
	assert_int_equal(tide_table_count(table), 40000);
	tide_table_free(table);
}

static void eviction_gives_memory_back(void **state)
{
	(void)state;
	struct tide_table *table = tide_table_new(&one_text, 8);
	assert_int_equal(tide_table_evict(table, 0), 0);
	for (int round = 0; round < 3; round++) {
		fill(table, 0, 200000);
		flags_set(table, TIDE_ENTRY_USED);
		assert_true(tide_table_bytes(table) > 8 << 20);
		assert_true(tide_table_evict(table, 2 << 20) > 100000);
		assert_true(tide_table_bytes(table) <= 2 << 20);
	}
	tide_table_free(table);
}

/* Whether the page of the newest entry, as of now, has memory behind it. */
static bool page_is_held(uint64_t top)
{
	unsigned char held = 0;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	assert_int_equal(mincore((void *)(uintptr_t)((top - 1) / page * page), page, &held), 0);
	return (held & 1) != 0;
}

static void what_the_next_epoch_takes_stays_in_memory(void **state)
{
	(void)state;
	struct tide_table *table = tide_table_new(&one_text, 8);
	fill(table, 0, 300000);
	uint64_t top = tide_table_top(table);
	tide_table_clear(table);
	assert_true(page_is_held(top));
	fill(table, 0, 300000);
	assert_true(tide_table_top(table) == top);
	tide_table_clear(table);
	assert_true(page_is_held(top));
	fill(table, 0, 10);
	tide_table_clear(table); /* the one after a small epoch is likely to be small */
	assert_false(page_is_held(top));
	tide_table_free(table);
}

static void room_that_a_table_may_have_stays_in_memory(void **state)
{
	(void)state;
	struct tide_table *table = tide_table_new(&one_text, 8);
	fill(table, 0, 300000);
	uint64_t top = tide_table_top(table);
	size_t bytes = tide_table_bytes(table);
	flags_set(table, 0);
	for (int i = 0; i < 290000; i++) {
		char word[16];
		snprintf(word, sizeof word, "key%d", i);
		tide_table_remove(table, tide_entry_of(peek(table, word)));
	}
	assert_int_equal(tide_table_evict(table, bytes * 2), 0);
	assert_true(tide_table_top(table) < top);
	assert_true(page_is_held(top));
	tide_table_evict(table, bytes / 4);
	assert_false(page_is_held(top));
	assert_true(page_is_held(tide_table_top(table)));
	tide_table_free(table);
}

/* Where the process may not reserve 16 GiB of addresses, a table takes less,
 * and says when that is full. In a child: the limit cannot be lifted again. */
static void scarce_addresses_end_in_null(void **state)
{
	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip(); /* a sanitizer needs terabytes of addresses itself */
#endif
	pid_t child = fork();
	if (child == 0) {
		struct rlimit limit = { 256 << 20, 256 << 20 };
		setrlimit(RLIMIT_AS, &limit);
		struct tide_table *table = tide_table_new(&one_text, 1 << 10);
		if (table == NULL)
			_exit(2);
		for (int i = 0; i < 1000000; i++) {
			char word[16];
			snprintf(word, sizeof word, "%d", i);
			struct tide_cell row = text(word);
			if (slot_of(table, &one_text, &row) == NULL)
				_exit(i > 10000 && tide_table_count(table) == (uint32_t)i ? 0 : 3);
		}
		_exit(4);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_equal_a_plain_model),
		cmocka_unit_test(keys_with_one_hash_are_told_apart),
		cmocka_unit_test(entries_stay_put_while_the_table_grows),
		cmocka_unit_test(bytes_that_are_no_key_are_refused),
		cmocka_unit_test(eviction_takes_the_unused_first_and_keeps_the_changed),
		cmocka_unit_test(eviction_gives_memory_back),
		cmocka_unit_test(what_the_next_epoch_takes_stays_in_memory),
		cmocka_unit_test(room_that_a_table_may_have_stays_in_memory),
		cmocka_unit_test(scarce_addresses_end_in_null),
	};
	return cmocka_run_group_tests(tests, seed_set, NULL);
}
