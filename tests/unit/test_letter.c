/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters: what a record becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "record/batch.h"
#include "run/letter.h"

enum { KEY = 4, VALUE, HEADERS, REASON, LINE, RAW_KEY, RAW_VALUE, COLUMNS };

static struct tide_rows *rows_new(void)
{
	static const enum tide_type types[COLUMNS] = { TIDE_STRING,    TIDE_INT,    TIDE_INT,
		                                       TIDE_TIMESTAMP, TIDE_STRING, TIDE_STRING,
		                                       TIDE_STRING,    TIDE_STRING, TIDE_STRING,
		                                       TIDE_BYTES,     TIDE_BYTES };
	struct tide_schema *schema = tide_schema_new(COLUMNS);
	for (int c = 0; c < COLUMNS; c++) {
		snprintf(schema->columns[c].name, TIDE_NAME_MAX, "c%d", c);
		schema->columns[c].type = types[c];
		schema->columns[c].nullable = true;
	}
	struct tide_rows *rows = tide_rows_new(schema);
	free(schema);
	return rows;
}

struct world {
	struct tide_ring *ring;
	struct tide_batch *batch;
	struct tide_rows *rows;
};

static void world_open(struct world *world)
{
	world->ring = tide_ring_new();
	world->batch = tide_ring_next(world->ring, "events", 3);
	world->rows = rows_new();
}

static void world_close(struct world *world)
{
	tide_rows_free(world->rows);
	tide_ring_free(world->ring);
}

static void letter(struct world *world, struct tide_slice key, struct tide_slice value)
{
	uint32_t row = world->batch->count;
	assert_non_null(tide_batch_add(world->batch, key, value, 70 + row, 1700000000000));
	assert_true(tide_letter_add(world->rows, world->batch, row, "bad", "job.lua:7"));
}

static struct tide_slice text_of(const char *text)
{
	return (struct tide_slice){ text, text == NULL ? 0 : strlen(text) };
}

static bool cell_is(const struct world *world, uint32_t row, int column, const char *text)
{
	struct tide_cell cell = tide_rows_cell(world->rows, row, column);
	if (text == NULL)
		return cell.len < 0;
	return cell.len == (int32_t)strlen(text) && memcmp(cell.p, text, (size_t)cell.len) == 0;
}

static void a_letter_says_where_and_why(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	letter(&world, text_of("k"), text_of("v\xc3\xbc"));
	assert_true(cell_is(&world, 0, 0, "events"));
	assert_int_equal(tide_rows_cell(world.rows, 0, 1).i, 3);
	assert_int_equal(tide_rows_cell(world.rows, 0, 2).i, 70);
	assert_int_equal(tide_rows_cell(world.rows, 0, 3).i, 1700000000000000);
	assert_true(cell_is(&world, 0, KEY, "k") && cell_is(&world, 0, VALUE, "v\xc3\xbc"));
	assert_true(cell_is(&world, 0, HEADERS, NULL));
	assert_true(cell_is(&world, 0, REASON, "bad") && cell_is(&world, 0, LINE, "job.lua:7"));
	assert_true(cell_is(&world, 0, RAW_KEY, "k") && cell_is(&world, 0, RAW_VALUE, "v\xc3\xbc"));
	letter(&world, text_of(NULL), text_of(""));
	assert_true(cell_is(&world, 1, KEY, NULL) && cell_is(&world, 1, RAW_KEY, NULL));
	assert_true(cell_is(&world, 1, VALUE, "") && cell_is(&world, 1, RAW_VALUE, ""));
	assert_true(tide_letter_add(world.rows, world.batch, 0, "", ""));
	assert_true(cell_is(&world, 2, REASON, "") && cell_is(&world, 2, LINE, NULL));
	world_close(&world);
}

static void what_is_no_text_is_encoded_and_never_mistaken(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "\xff", "base64:/w==" },
		{ "a\xc3", "base64:YcM=" },
		{ "\xed\x9f", "base64:7Z8=" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
		{ "base64", "base64" },
		{ "base64:YQ==", "base64:YmFzZTY0OllRPT0=" },
		/* What JSON would replace: half a pair, too long a form, too high. */
		{ "\xed\xa0\x80", "base64:7aCA" },
		{ "\xe0\x80\xaf", "base64:4ICv" },
		{ "\xf4\x90\x80\x80", "base64:9JCAgA==" },
	};
	struct world world;
	world_open(&world);
	for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		letter(&world, text_of("k"), text_of(cases[i][0]));
		if (!cell_is(&world, i, VALUE, cases[i][1]))
			fail_msg("case %u", i);
		assert_true(cell_is(&world, i, RAW_VALUE, cases[i][0]));
	}
	world_close(&world);
}

static void times_beyond_any_calendar_stay_there(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	assert_non_null(tide_batch_add(world.batch, text_of("k"), text_of("v"), 1, INT64_MAX));
	assert_true(tide_letter_add(world.rows, world.batch, 0, "bad", ""));
	assert_true(tide_rows_cell(world.rows, 0, 3).i == INT64_MAX);
	world_close(&world);
}

static void headers_are_a_list_of_pairs(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	assert_non_null(tide_batch_add(world.batch, text_of("k"), text_of("v"), 1, -1));
	assert_true(tide_batch_headers(world.batch, 3));
	assert_true(tide_batch_header_set(world.batch, 0, text_of("a"), text_of("x\"y")));
	assert_true(tide_batch_header_set(world.batch, 1, text_of("b"), text_of(NULL)));
	assert_true(tide_batch_header_set(world.batch, 2, text_of("c"), text_of("\xff")));
	assert_true(tide_letter_add(world.rows, world.batch, 0, "bad", ""));
	assert_true(cell_is(&world, 0, HEADERS,
	                    "[[\"a\",\"x\\\"y\"],[\"b\",null],[\"c\",\"base64:/w==\"]]"));
	assert_int_equal(tide_rows_cell(world.rows, 0, 3).len, -1); /* no timestamp */
	world_close(&world);
}

static void long_values_are_cut_at_a_character(void **state)
{
	(void)state;
	enum { LEN = 300001 };
	struct world world;
	char *text = malloc(LEN);
	assert_non_null(text);
	text[0] = 'a';
	for (size_t i = 1; i < LEN; i += 2)
		memcpy(text + i, "\xc3\xbc", 2);
	world_open(&world);
	letter(&world, text_of("k"), (struct tide_slice){ text, LEN });
	struct tide_cell cell = tide_rows_cell(world.rows, 0, VALUE);
	assert_in_range(cell.len, 128 * 1024 - 1, 128 * 1024 + 40);
	assert_memory_equal(cell.p, text, 128 * 1024 - 1);
	assert_memory_equal(cell.p + cell.len - 14, "(300001 bytes)", 14);
	assert_int_equal(tide_rows_cell(world.rows, 0, RAW_VALUE).len, LEN);
	free(text);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_letter_says_where_and_why),
		cmocka_unit_test(what_is_no_text_is_encoded_and_never_mistaken),
		cmocka_unit_test(times_beyond_any_calendar_stay_there),
		cmocka_unit_test(headers_are_a_list_of_pairs),
		cmocka_unit_test(long_values_are_cut_at_a_character),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
