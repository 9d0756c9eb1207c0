/* SPDX-License-Identifier: Apache-2.0 */
/* Rows: against a plain array of cells, and against bytes that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/hash.h"
#include "record/rows.h"

enum { COLUMNS = 6 };

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(random_state >> 33) % n;
}

static void seed_random(void)
{
	const char *given = getenv("SEED");
	random_state = given != NULL ? strtoull(given, NULL, 10) : (uintptr_t)&given >> 4;
	printf("SEED=%llu\n", (unsigned long long)random_state);
}

/* One column of each type; all may be null but the first. */
static struct tide_schema *schema_of_all(void)
{
	struct tide_schema *schema = tide_schema_new(COLUMNS);
	for (int c = 0; c < COLUMNS; c++) {
		struct tide_column *column = &schema->columns[c];
		column->type = (enum tide_type)(c + 1);
		column->nullable = c > 0;
		snprintf(column->name, sizeof column->name, "%s", tide_type_name(column->type));
	}
	return schema;
}

static struct tide_rows *rows_of_all(void)
{
	struct tide_schema *schema = schema_of_all();
	struct tide_rows *rows = tide_rows_new(schema);
	free(schema);
	return rows;
}

static struct tide_cell cell_random(enum tide_type type, bool nullable)
{
	static char text[64];
	struct tide_cell cell = { .i = 0, .len = 0 };
	if (nullable && random_below(4) == 0) {
		cell.len = -1;
		return cell;
	}
	switch (type) {
	case TIDE_DOUBLE: cell.d = (double)random_below(5) - 2; break;
	case TIDE_BOOL: cell.i = random_below(2); break;
	case TIDE_STRING:
	case TIDE_BYTES:
		cell.len = (int32_t)random_below(4);
		cell.p = text + random_below(16);
		for (size_t i = 0; i < sizeof text; i++)
			text[i] = (char)random_below(3);
		break;
	default: cell.i = (int64_t)random_below(5) - 2;
	}
	return cell;
}

/* Appends one row; the cells' text is only good until the next one. */
static void append_random(struct tide_rows *rows)
{
	struct tide_cell cells[COLUMNS];
	static char texts[COLUMNS][64];
	for (int c = 0; c < COLUMNS; c++) {
		cells[c] = cell_random((enum tide_type)(c + 1), c > 0);
		if (cells[c].len > 0) {
			memcpy(texts[c], cells[c].p, (size_t)cells[c].len);
			cells[c].p = texts[c];
		}
	}
	assert_true(tide_rows_append(rows, cells));
}

static bool cells_equal(enum tide_type type, struct tide_cell a, struct tide_cell b)
{
	if (a.len != b.len)
		return false;
	if (a.len < 0)
		return true;
	if (type == TIDE_STRING || type == TIDE_BYTES)
		return memcmp(a.p, b.p, (size_t)a.len) == 0;
	return a.i == b.i;
}

static void assert_rows_equal(const struct tide_rows *a, const struct tide_rows *b)
{
	assert_int_equal(tide_rows_count(a), tide_rows_count(b));
	for (uint32_t r = 0; r < tide_rows_count(a); r++)
		for (int c = 0; c < COLUMNS; c++)
			if (!cells_equal((enum tide_type)(c + 1), tide_rows_cell(a, r, c),
			                 tide_rows_cell(b, r, c)))
				fail_msg("row %u column %d differs", r, c);
}

static void every_type_comes_out_as_it_went_in(void **state)
{
	(void)state;
	struct tide_rows *rows = rows_of_all();
	struct tide_cell cells[COLUMNS] = {
		{ .i = INT64_MIN },
		{ .d = -0.0 },
		{ .i = 5 },
		{ .p = "text", .len = 4 },
		{ .p = "\0\1", .len = 2 },
		{ .i = INT64_MAX },
	};
	assert_true(tide_rows_append(rows, cells));
	for (int c = 1; c < COLUMNS; c++)
		cells[c] = (struct tide_cell){ .i = 7, .len = -1 };
	assert_true(tide_rows_append(rows, cells));
	assert_true(tide_rows_cell(rows, 0, 0).i == INT64_MIN);
	assert_true(signbit(tide_rows_cell(rows, 0, 1).d));
	assert_int_equal(tide_rows_cell(rows, 0, 2).i, 1); /* true is 1 */
	assert_int_equal(tide_rows_cell(rows, 0, 3).len, 4);
	assert_memory_equal(tide_rows_cell(rows, 0, 3).p, "text", 4);
	assert_memory_equal(tide_rows_cell(rows, 0, 4).p, "\0\1", 2);
	assert_true(tide_rows_cell(rows, 0, 5).i == INT64_MAX);
	for (int c = 1; c < COLUMNS; c++) {
		assert_int_equal(tide_rows_cell(rows, 1, c).len, -1);
		assert_int_equal(tide_rows_cell(rows, 1, c).i, 0);
	}
	tide_rows_free(rows);
}

static void empty_text_is_not_null(void **state)
{
	(void)state;
	struct tide_rows *rows = rows_of_all();
	struct tide_cell cells[COLUMNS] = { { .i = 0 } };
	assert_true(tide_rows_append(rows, cells)); /* p is NULL, len is 0 */
	assert_int_equal(tide_rows_cell(rows, 0, 3).len, 0);
	assert_non_null(tide_rows_cell(rows, 0, 3).p);
	tide_rows_free(rows);
}

static void a_schema_is_copied_and_searched(void **state)
{
	(void)state;
	struct tide_schema *schema = schema_of_all();
	struct tide_rows *rows = tide_rows_new(schema);
	schema->columns[0].name[0] = 'X';
	assert_int_equal(tide_schema_find(tide_rows_schema(rows), "int"), 0);
	assert_int_equal(tide_schema_find(tide_rows_schema(rows), "timestamp"), 5);
	assert_int_equal(tide_schema_find(tide_rows_schema(rows), "Xnt"), -1);
	free(schema);
	tide_rows_free(rows);
	tide_rows_free(NULL);
}

static void truncating_undoes_appending(void **state)
{
	(void)state;
	seed_random();
	struct tide_rows *rows = rows_of_all(), *kept = rows_of_all();
	for (int round = 0; round < 200; round++) {
		uint64_t before = random_state;
		append_random(rows);
		uint64_t after = random_state;
		random_state = before;
		append_random(kept);
		assert_true(random_state == after);
		uint32_t extra = random_below(5);
		for (uint32_t i = 0; i < extra; i++)
			append_random(rows);
		tide_rows_truncate(rows, tide_rows_count(kept));
	}
	assert_rows_equal(rows, kept);
	assert_int_equal(tide_rows_bytes(rows), tide_rows_bytes(kept));
	tide_rows_clear(rows);
	assert_int_equal(tide_rows_count(rows), 0);
	assert_int_equal(tide_rows_bytes(rows), 0);
	tide_rows_free(rows);
	tide_rows_free(kept);
}

static void extending_is_appending_each(void **state)
{
	(void)state;
	seed_random();
	struct tide_rows *rows = rows_of_all(), *part = rows_of_all(), *each = rows_of_all();
	for (int round = 0; round < 60; round++) {
		uint64_t before = random_state;
		uint32_t count = random_below(20);
		tide_rows_clear(part);
		for (uint32_t i = 0; i < count; i++)
			append_random(part);
		random_state = before;
		count = random_below(20);
		for (uint32_t i = 0; i < count; i++)
			append_random(each);
		assert_true(tide_rows_extend(rows, part));
		assert_rows_equal(rows, each);
	}
	tide_rows_free(rows);
	tide_rows_free(part);
	tide_rows_free(each);
}

static void rows_sort_by_columns_with_nulls_first(void **state)
{
	(void)state;
	struct tide_schema *schema = tide_schema_new(2);
	schema->columns[0] = (struct tide_column){ "d", TIDE_DOUBLE, true };
	schema->columns[1] = (struct tide_column){ "s", TIDE_STRING, true };
	struct tide_rows *rows = tide_rows_new(schema);
	free(schema);
	struct tide_cell cells[][2] = {
		{ { .d = NAN }, { .p = "x", .len = 1 } },  /* 8th */
		{ { .d = 1 }, { .p = "b", .len = 1 } },    /* 5th */
		{ { .d = 1 }, { .p = "ab", .len = 2 } },   /* 4th */
		{ { .d = 1 }, { .len = -1 } },             /* 2nd */
		{ { .len = -1 }, { .p = "z", .len = 1 } }, /* 0th */
		{ { .d = 1 }, { .p = "a", .len = 1 } },    /* 3rd */
		{ { .d = -INFINITY }, { .len = -1 } },     /* 1st */
		{ { .d = 1 }, { .p = "b", .len = 1 } },    /* 6th: as it came */
		{ { .d = 1 }, { .p = "\xFF", .len = 1 } }, /* 7th: bytes are unsigned */
		{ { .d = -NAN }, { .p = "x", .len = 1 } }, /* 9th: NaNs are equal */
	};
	uint32_t order[10], expected[10] = { 4, 6, 3, 5, 2, 1, 7, 8, 0, 9 };
	for (size_t i = 0; i < 10; i++)
		assert_true(tide_rows_append(rows, cells[i]));
	tide_rows_sort(rows, order);
	assert_memory_equal(order, expected, sizeof order);
	tide_rows_clear(rows);
	tide_rows_sort(rows, order); /* nothing to write */
	tide_rows_free(rows);
}

static void equal_rows_keep_their_order(void **state)
{
	(void)state;
	struct tide_schema *schema = tide_schema_new(1);
	schema->columns[0] = (struct tide_column){ "n", TIDE_INT, false };
	struct tide_rows *rows = tide_rows_new(schema);
	free(schema);
	enum { N = 5000 };
	static uint32_t order[N];
	for (int i = 0; i < N; i++)
		tide_rows_append(rows, &(struct tide_cell){ .i = i % 7 });
	tide_rows_sort(rows, order);
	for (int i = 1; i < N; i++)
		assert_true(order[i] % 7 > order[i - 1] % 7 ||
		            (order[i] % 7 == order[i - 1] % 7 && order[i] > order[i - 1]));
	tide_rows_free(rows);
}

static void encoded_rows_decode_and_encode_to_the_same_bytes(void **state)
{
	(void)state;
	seed_random();
	struct tide_rows *rows = rows_of_all();
	for (int count = 0; count < 70; count++) {
		struct tide_buf bytes = { 0 }, again = { 0 };
		struct tide_rows *back = NULL;
		struct tide_error err = { 0 };
		tide_buf_u8(&bytes, 'x'); /* what is there before does not matter */
		tide_rows_encode(rows, &bytes);
		assert_int_equal(tide_rows_decode((struct tide_slice){ bytes.p + 1, bytes.len - 1 },
		                                  &back, &err),
		                 TIDE_OK);
		assert_rows_equal(rows, back);
		assert_string_equal(tide_rows_schema(back)->columns[5].name, "timestamp");
		assert_false(tide_rows_schema(back)->columns[0].nullable);
		tide_rows_encode(back, &again);
		assert_int_equal(again.len, bytes.len - 1);
		assert_memory_equal(again.p, bytes.p + 1, again.len);
		append_random(back); /* and go on from there */
		tide_rows_free(back);
		tide_buf_fini(&bytes);
		tide_buf_fini(&again);
		append_random(rows);
	}
	tide_rows_free(rows);
}

static void the_way_to_some_rows_leaves_no_trace_in_their_bytes(void **state)
{
	(void)state;
	seed_random();
	struct tide_rows *straight = rows_of_all(), *crooked = rows_of_all();
	struct tide_buf a = { 0 }, b = { 0 };
	for (int i = 0; i < 100; i++)
		append_random(crooked);
	tide_rows_clear(crooked);
	uint64_t before = random_state;
	for (int i = 0; i < 11; i++)
		append_random(straight);
	random_state = before;
	for (int i = 0; i < 11; i++)
		append_random(crooked);
	tide_rows_encode(straight, &a);
	tide_rows_encode(crooked, &b);
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.p, b.p, a.len);
	tide_buf_fini(&a);
	tide_buf_fini(&b);
	tide_rows_free(straight);
	tide_rows_free(crooked);
}

/* Decodes a copy of exactly this size, so that a read past it is seen. */
static int decode_copy(const char *p, size_t len, struct tide_rows **rows, struct tide_error *err)
{
	char *copy = malloc(len + (len == 0));
	memcpy(copy, p, len);
	int rc = tide_rows_decode((struct tide_slice){ copy, len }, rows, err);
	free(copy);
	return rc;
}

static void encode_some(struct tide_buf *bytes, int count)
{
	struct tide_rows *rows = rows_of_all();
	for (int i = 0; i < count; i++)
		append_random(rows);
	tide_rows_encode(rows, bytes);
	tide_rows_free(rows);
}

static void every_flipped_bit_and_every_cut_is_refused(void **state)
{
	(void)state;
	seed_random();
	struct tide_buf bytes = { 0 };
	struct tide_error err = { 0 };
	struct tide_rows *rows = NULL;
	encode_some(&bytes, 9);
	for (size_t len = 0; len < bytes.len; len++) {
		assert_int_equal(decode_copy(bytes.p, len, &rows, &err), TIDE_ERR_CHECKPOINT);
		assert_non_null(strstr(err.text, "stored rows"));
	}
	for (size_t i = 0; i < bytes.len * 8; i++) {
		bytes.p[i / 8] = (char)(bytes.p[i / 8] ^ (1 << i % 8));
		assert_int_equal(decode_copy(bytes.p, bytes.len, &rows, &err), TIDE_ERR_CHECKPOINT);
		bytes.p[i / 8] = (char)(bytes.p[i / 8] ^ (1 << i % 8));
	}
	assert_null(rows);
	tide_buf_fini(&bytes);
}

static void reseal(char *p, size_t len)
{
	uint64_t sum = tide_hash(p, len - sizeof sum, 0);
	memcpy(p + len - sizeof sum, &sum, sizeof sum);
}

/* With a good checksum, so that the checks behind it are what is tried: what
 * is accepted must be what encoding writes. */
static void assert_refused_or_canonical(const char *p, size_t len, unsigned *accepted)
{
	struct tide_rows *rows = NULL;
	struct tide_error err = { 0 };
	if (decode_copy(p, len, &rows, &err) != TIDE_OK) {
		assert_int_equal(err.status, TIDE_ERR_CHECKPOINT);
		return;
	}
	struct tide_buf again = { 0 };
	tide_rows_encode(rows, &again);
	assert_int_equal(again.len, len);
	assert_memory_equal(again.p, p, len);
	tide_buf_fini(&again);
	tide_rows_free(rows);
	++*accepted;
}

static void forged_bytes_are_refused_or_mean_what_they_say(void **state)
{
	(void)state;
	seed_random();
	unsigned accepted = 0, tried = 0;
	for (int round = 0; round < 40; round++) {
		struct tide_buf bytes = { 0 };
		encode_some(&bytes, (int)random_below(20));
		char *forged = malloc(bytes.len + 16);
		for (size_t i = 0; i + 8 < bytes.len; i++, tried++) {
			memcpy(forged, bytes.p, bytes.len);
			forged[i] = (char)(random_below(3) > 0 ? forged[i] ^ (1 << random_below(8))
			                                       : (int)random_below(256));
			reseal(forged, bytes.len);
			assert_refused_or_canonical(forged, bytes.len, &accepted);
		}
		for (size_t len = 8; len < bytes.len; len++) {
			memcpy(forged, bytes.p, len);
			reseal(forged, len);
			assert_refused_or_canonical(forged, len, &accepted);
		}
		memcpy(forged, bytes.p, bytes.len);
		reseal(forged, bytes.len + 3); /* something behind the end */
		struct tide_rows *rows = NULL;
		assert_int_equal(decode_copy(forged, bytes.len + 3, &rows, NULL),
		                 TIDE_ERR_CHECKPOINT);
		free(forged);
		tide_buf_fini(&bytes);
	}
	assert_in_range(accepted, 1, tried - 1); /* both happened */
}

static void a_claim_of_many_rows_costs_no_memory(void **state)
{
	(void)state;
	struct tide_buf bytes = { 0 };
	struct tide_rows *rows = NULL;
	tide_buf_put(&bytes, "TRW1", 4);
	tide_buf_u32(&bytes, 1);
	tide_buf_str(&bytes, "n");
	tide_buf_u8(&bytes, TIDE_INT);
	tide_buf_u8(&bytes, 0);
	tide_buf_u32(&bytes, UINT32_MAX);
	tide_buf_u64(&bytes, 0);
	reseal(bytes.p, bytes.len);
	assert_int_equal(decode_copy(bytes.p, bytes.len, &rows, NULL), TIDE_ERR_CHECKPOINT);
	tide_buf_fini(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_comes_out_as_it_went_in),
		cmocka_unit_test(empty_text_is_not_null),
		cmocka_unit_test(a_schema_is_copied_and_searched),
		cmocka_unit_test(truncating_undoes_appending),
		cmocka_unit_test(extending_is_appending_each),
		cmocka_unit_test(rows_sort_by_columns_with_nulls_first),
		cmocka_unit_test(equal_rows_keep_their_order),
		cmocka_unit_test(encoded_rows_decode_and_encode_to_the_same_bytes),
		cmocka_unit_test(the_way_to_some_rows_leaves_no_trace_in_their_bytes),
		cmocka_unit_test(every_flipped_bit_and_every_cut_is_refused),
		cmocka_unit_test(forged_bytes_are_refused_or_mean_what_they_say),
		cmocka_unit_test(a_claim_of_many_rows_costs_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
