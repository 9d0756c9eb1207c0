/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that wait: what comes out is what went in, whatever the row was. */
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

#include "state/queue.h"

enum { PAGE = 4096 };

static const struct tide_keyspec one_text = { 1, { 0 }, { TIDE_STRING }, 0 };
static const struct tide_keyspec two_texts = { 2, { 1, 0 }, { TIDE_STRING, TIDE_BYTES }, 0 };
static const struct tide_keyspec mixed = {
	3, { 2, 0, 1 }, { TIDE_STRING, TIDE_INT, TIDE_DOUBLE }, 0
};

static struct tide_cell text(const char *s)
{
	return (struct tide_cell){ .p = s, .len = (int32_t)strlen(s) };
}

static void every_key_gets_its_own_state_in_the_order_of_the_rows(void **state)
{
	(void)state;
	struct tide_table *table = tide_table_new(&one_text, 8);
	struct tide_queue *queue = tide_queue_new(table, &one_text, NULL, NULL, 0);
	uint32_t count;
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 5000; i++) {
			char word[32];
			snprintf(word, sizeof word, "%s%u",
			         i % 7 == 0 ? "a-longer-beginning-" : "w", i % 1000);
			struct tide_cell row = text(word);
			assert_true(tide_queue_push(queue, &row, i));
		}
		assert_int_equal(queue->count, 5000);
		assert_true(tide_queue_resolve(queue, &count));
		assert_int_equal(count, 5000);
		assert_int_equal(queue->count, 0);
		for (uint32_t i = 0; i < count; i++) {
			assert_int_equal(queue->rows[i], i);
			++*(int64_t *)(uintptr_t)queue->states[i];
		}
	}
	int64_t total = 0;
	uint64_t at = 0;
	for (struct tide_entry *entry; (entry = tide_table_each(table, &at)) != NULL;)
		total += *(int64_t *)tide_entry_state(entry);
	assert_int_equal(total, 15000);
	tide_queue_free(queue);
	tide_table_free(table);
}

static void what_a_failed_row_queued_never_reaches_the_table(void **state)
{
	(void)state;
	struct tide_table *table = tide_table_new(&one_text, 8);
	struct tide_queue *queue = tide_queue_new(table, &one_text, NULL, NULL, 0);
	struct tide_cell kept = text("kept"), failed = text("failed"), last = text("last");
	uint32_t count;
	assert_true(tide_queue_push(queue, &kept, 0));
	uint32_t mark = queue->count;
	for (int i = 0; i < 3000; i++)
		assert_true(tide_queue_push(queue, &failed, 1));
	tide_queue_drop(queue, mark);
	assert_true(tide_queue_push(queue, &last, 2));
	assert_true(tide_queue_resolve(queue, &count));
	assert_int_equal(count, 2);
	assert_int_equal(queue->rows[1], 2);
	assert_int_equal(tide_table_count(table), 2);
	tide_queue_free(queue);
	tide_table_free(table);
}

/* Text arguments may be gone when they are added: the queue has its own copy. */
static void arguments_outlive_the_row_they_came_from(void **state)
{
	(void)state;
	static const int columns[] = { 1, 2 };
	static const bool is_text[] = { true, false };
	struct tide_table *table = tide_table_new(&one_text, 8);
	struct tide_queue *queue = tide_queue_new(table, &one_text, columns, is_text, 2);
	uint32_t count;
	for (int i = 0; i < 4000; i++) {
		char *value = malloc(64);
		snprintf(value, 64, "value %d", i);
		struct tide_cell row[3] = { text("k"), text(value), { .i = i } };
		if (i % 5 == 0)
			row[1] = row[2] = (struct tide_cell){ .len = -1 };
		assert_true(tide_queue_push(queue, row, (uint32_t)i));
		memset(value, 'x', 64);
		free(value);
	}
	assert_true(tide_queue_resolve(queue, &count));
	for (int i = 0; i < 4000; i++) {
		const struct tide_cell *args = queue->args + 2 * i;
		char value[64];
		snprintf(value, sizeof value, "value %d", i);
		if (i % 5 == 0) {
			assert_int_equal(args[0].len, -1);
			assert_int_equal(args[1].len, -1);
			continue;
		}
		assert_int_equal(args[0].len, (int)strlen(value));
		assert_memory_equal(args[0].p, value, strlen(value));
		assert_int_equal(args[1].i, i);
	}
	tide_queue_free(queue);
	tide_table_free(table);
}

/* A text that ends where the mapped memory ends: one byte more would fault. */
static void text_may_end_at_the_end_of_memory(void **state)
{
	(void)state;
	char *pages =
		mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(pages != MAP_FAILED);
	assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
	const struct tide_keyspec *specs[] = { &one_text, &two_texts, &mixed };
	for (int s = 0; s < 3; s++) {
		struct tide_table *table = tide_table_new(specs[s], 8);
		struct tide_queue *queue = tide_queue_new(table, specs[s], NULL, NULL, 0);
		for (int32_t len = 0; len <= 300; len++) {
			char far[512] = { 0 };
			char *end = pages + PAGE - len;
			uint32_t count;
			memset(end, 'x', (size_t)len);
			memset(far, 'x', (size_t)len);
			struct tide_cell near[3] = { { .p = end, .len = len },
				                     { .p = end, .len = len },
				                     { .p = end, .len = len } };
			struct tide_cell copy[3] = { { .p = far, .len = len },
				                     { .p = far, .len = len },
				                     { .p = far, .len = len } };
			if (s == 2)
				near[0].i = near[1].i = copy[0].i = copy[1].i = 3;
			assert_true(tide_queue_push(queue, near, 0));
			assert_true(tide_queue_push(queue, copy, 1));
			assert_true(tide_queue_resolve(queue, &count));
			assert_int_equal(queue->states[0], queue->states[1]);
		}
		assert_int_equal(tide_table_count(table), 301);
		tide_queue_free(queue);
		tide_table_free(table);
	}
	munmap(pages, 2 * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_gets_its_own_state_in_the_order_of_the_rows),
		cmocka_unit_test(what_a_failed_row_queued_never_reaches_the_table),
		cmocka_unit_test(arguments_outlive_the_row_they_came_from),
		cmocka_unit_test(text_may_end_at_the_end_of_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
