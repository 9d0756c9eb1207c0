/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of two runs compared: by keys, whole, and with other columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "run/difference.h"

/* Ints by the letters of their names, doubles from x on. */
static struct tide_rows *rows_of(const char *columns)
{
	struct tide_schema *schema = tide_schema_new((int)strlen(columns));
	for (int c = 0; columns[c] != '\0'; c++) {
		schema->columns[c] =
			(struct tide_column){ .type = columns[c] >= 'x' ? TIDE_DOUBLE : TIDE_INT,
			                      .nullable = true };
		schema->columns[c].name[0] = columns[c];
	}
	struct tide_rows *rows = tide_rows_new(schema);
	free(schema);
	return rows;
}

static void add(struct tide_rows *rows, int64_t a, int64_t b)
{
	struct tide_cell cells[2] = { { .i = a }, { .i = b } };
	if (b < 0)
		cells[1].len = -1;
	assert_true(tide_rows_append(rows, cells));
}

static struct tide_difference find(const struct tide_rows *a, const struct tide_rows *b,
                                   int key_count)
{
	static const int keys[] = { 0 };
	struct tide_difference difference;
	assert_int_equal(tide_difference_find(a, b, keys, key_count, &difference, NULL), TIDE_OK);
	return difference;
}

static void expect(const struct tide_difference *found, uint64_t equal, uint64_t changed,
                   uint64_t only_old, uint64_t only_new)
{
	assert_int_equal(found->equal, equal);
	assert_int_equal(found->changed, changed);
	assert_int_equal(found->only_old, only_old);
	assert_int_equal(found->only_new, only_new);
}

static void rows_with_keys_are_equal_changed_or_alone(void **state)
{
	struct tide_rows *a = rows_of("kn"), *b = rows_of("kn");
	(void)state;
	add(a, 1, 10), add(a, 2, 20), add(a, 3, 30);
	add(b, 4, 40), add(b, 2, 21), add(b, 1, 10);
	struct tide_difference found = find(a, b, 1);
	expect(&found, 1, 1, 1, 1);
	assert_int_equal(found.samples[TIDE_CHANGED][0].old_row, 1);
	assert_int_equal(found.samples[TIDE_CHANGED][0].new_row, 1);
	assert_true(tide_difference_any(&found));
	assert_true(tide_difference_share(&found) > 0.74 && tide_difference_share(&found) < 0.76);
	tide_rows_free(a);
	tide_rows_free(b);
}

static void several_rows_of_a_key_are_paired_in_their_order(void **state)
{
	struct tide_rows *a = rows_of("kn"), *b = rows_of("kn");
	(void)state;
	add(a, 1, 10), add(a, 1, 11), add(a, 1, 12);
	add(b, 1, 10), add(b, 1, 12);
	struct tide_difference found = find(a, b, 1);
	expect(&found, 1, 1, 1, 0);
	tide_rows_free(a);
	tide_rows_free(b);
}

static void rows_without_keys_count_as_often_as_they_are_there(void **state)
{
	struct tide_rows *a = rows_of("kn"), *b = rows_of("kn");
	(void)state;
	add(a, 1, 10), add(a, 1, 10), add(a, 2, -1);
	add(b, 2, -1), add(b, 1, 10), add(b, 3, 0);
	struct tide_difference found = find(a, b, 0);
	expect(&found, 2, 0, 1, 1);
	tide_rows_free(a);
	tide_rows_free(b);
}

static void null_is_not_zero(void **state)
{
	struct tide_rows *a = rows_of("kn"), *b = rows_of("kn");
	(void)state;
	add(a, 1, -1);
	add(b, 1, 0);
	struct tide_difference found = find(a, b, 1);
	expect(&found, 0, 1, 0, 0);
	tide_rows_free(a);
	tide_rows_free(b);
}

static void columns_of_one_side_do_not_count_but_are_named(void **state)
{
	struct tide_rows *a = rows_of("kn"), *b = rows_of("nkz");
	struct tide_cell cells[3] = { { .i = 10 }, { .i = 1 }, { .d = 0.5 } };
	struct tide_buf text = { 0 };
	(void)state;
	add(a, 1, 10);
	assert_true(tide_rows_append(b, cells));
	struct tide_difference found = find(a, b, 1);
	expect(&found, 1, 0, 0, 0);
	tide_difference_write(&found, "out", a, b, &text);
	tide_buf_u8(&text, 0);
	assert_non_null(strstr(text.p, "out: 1 equal, 0 changed"));
	assert_non_null(strstr(text.p, "z:double is not compared"));
	tide_buf_fini(&text);
	tide_rows_free(a);
	tide_rows_free(b);
}

static void dead_letters_are_compared_without_their_line(void **state)
{
	static const char *const names[] = { "partition", "offset", "reason", "line" };
	struct tide_schema *schema = tide_schema_new(4);
	(void)state;
	for (int c = 0; c < 4; c++) {
		schema->columns[c] = (struct tide_column){ .type = TIDE_INT };
		strcpy(schema->columns[c].name, names[c]);
	}
	struct tide_rows *a = tide_rows_new(schema), *b = tide_rows_new(schema);
	struct tide_cell cells[4] = { { .i = 1 }, { .i = 2 }, { .i = 3 }, { .i = 4 } };
	assert_true(tide_rows_append(a, cells));
	cells[3].i = 5;
	assert_true(tide_rows_append(b, cells));
	struct tide_difference found = find(a, b, 0);
	expect(&found, 1, 0, 0, 0);
	free(schema);
	tide_rows_free(a);
	tide_rows_free(b);
}

static void nothing_in_common_and_nothing_at_all(void **state)
{
	struct tide_rows *a = rows_of("ab"), *b = rows_of("cd");
	struct tide_buf text = { 0 };
	(void)state;
	add(a, 1, 2), add(b, 1, 2), add(b, 3, 4);
	struct tide_difference found = find(a, b, 0);
	expect(&found, 0, 0, 1, 2);
	found = find(NULL, b, 1);
	expect(&found, 0, 0, 0, 2);
	tide_difference_write(&found, "new", NULL, b, &text);
	assert_false(text.failed);
	found = find(a, NULL, 1);
	expect(&found, 0, 0, 1, 0);
	found = find(NULL, NULL, 0);
	assert_false(tide_difference_any(&found));
	tide_buf_fini(&text);
	tide_rows_free(a);
	tide_rows_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_with_keys_are_equal_changed_or_alone),
		cmocka_unit_test(several_rows_of_a_key_are_paired_in_their_order),
		cmocka_unit_test(rows_without_keys_count_as_often_as_they_are_there),
		cmocka_unit_test(null_is_not_zero),
		cmocka_unit_test(columns_of_one_side_do_not_count_but_are_named),
		cmocka_unit_test(dead_letters_are_compared_without_their_line),
		cmocka_unit_test(nothing_in_common_and_nothing_at_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
