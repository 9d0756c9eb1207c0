/* SPDX-License-Identifier: Apache-2.0 */
/* From rows to messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sink/kafka_inside.h"

static struct tide_error err;

/* A row of every type, one of nulls, one of empty text. */
static struct tide_rows *rows_new(void)
{
	static const struct {
		const char *name;
		enum tide_type type;
	} columns[] = { { "s", TIDE_STRING }, { "b", TIDE_BYTES },     { "i", TIDE_INT },
		        { "d", TIDE_DOUBLE }, { "t", TIDE_TIMESTAMP }, { "@topic", TIDE_STRING } };
	struct tide_schema *schema = tide_schema_new(6);
	for (int c = 0; c < 6; c++) {
		strcpy(schema->columns[c].name, columns[c].name);
		schema->columns[c].type = columns[c].type;
		schema->columns[c].nullable = true;
	}
	struct tide_rows *rows = tide_rows_new(schema);
	free(schema);
	struct tide_cell full[] = {
		{ .p = "a\"b", .len = 3 }, { .p = "\x00\xff", .len = 2 }, { .i = -5 }, { .d = 0.5 },
		{ .i = 1704110160000000 }, { .p = "out", .len = 3 }
	};
	struct tide_cell nulls[6], empty[6] = { 0 };
	for (int c = 0; c < 6; c++)
		nulls[c] = (struct tide_cell){ .len = -1 };
	empty[0].p = empty[1].p = empty[5].p = "";
	assert_true(tide_rows_append(rows, full) && tide_rows_append(rows, nulls) &&
	            tide_rows_append(rows, empty));
	return rows;
}

static void option(struct tide_options *options, const char *key, const char *value)
{
	assert_true(tide_option_set(options, key, value));
}

static bool is(struct tide_slice slice, const char *text)
{
	if (text == NULL)
		return slice.p == NULL && slice.len == 0;
	return slice.p != NULL && slice.len == strlen(text) &&
	       memcmp(slice.p, text, slice.len) == 0;
}

struct shaped {
	struct tide_rows *rows;
	struct tide_options options;
	struct tide_kafka_shape shape;
	struct tide_kafka_places places;
	struct tide_buf text;
	struct tide_kafka_message msg;
};

static void shape(struct shaped *shaped)
{
	shaped->rows = rows_new();
	assert_int_equal(tide_kafka_shape_read(&shaped->shape, &shaped->options, &err), TIDE_OK);
	assert_int_equal(tide_kafka_places_find(&shaped->places, &shaped->shape,
	                                        tide_rows_schema(shaped->rows), &err),
	                 TIDE_OK);
}

static void row(struct shaped *shaped, uint32_t number)
{
	assert_true(tide_kafka_message_of(&shaped->shape, &shaped->places, shaped->rows, number,
	                                  &shaped->text, &shaped->msg));
}

static void shaped_fini(struct shaped *shaped)
{
	tide_kafka_places_fini(&shaped->places);
	tide_buf_fini(&shaped->text);
	tide_options_fini(&shaped->options);
	tide_rows_free(shaped->rows);
}

static void all_columns_are_json_but_the_sinks_own(void **state)
{
	(void)state;
	struct shaped shaped = { 0 };
	option(&shaped.options, "value", "json");
	shape(&shaped);
	row(&shaped, 0);
	assert_true(is(shaped.msg.topic, "out"));
	assert_true(is(shaped.msg.key, NULL));
	assert_true(is(shaped.msg.value, "{\"s\":\"a\\\"b\",\"b\":\"AP8=\",\"i\":-5,\"d\":0.5,"
	                                 "\"t\":\"2024-01-01T11:56:00.000Z\"}"));
	assert_int_equal(shaped.msg.timestamp_ms, 0);
	assert_int_equal(shaped.msg.bytes, shaped.msg.value.len);
	row(&shaped, 1);
	assert_true(
		is(shaped.msg.value, "{\"s\":null,\"b\":null,\"i\":null,\"d\":null,\"t\":null}"));
	assert_true(is(shaped.msg.topic, NULL));
	shaped_fini(&shaped);
}

static void columns_are_keys_values_headers_and_times(void **state)
{
	(void)state;
	struct shaped shaped = { 0 };
	option(&shaped.options, "topic", "fixed");
	option(&shaped.options, "key", "i");
	option(&shaped.options, "value", "column");
	option(&shaped.options, "value_column", "b");
	option(&shaped.options, "timestamp", "t");
	option(&shaped.options, "header.01", "s:name: with a colon");
	option(&shaped.options, "header.02", "t:at");
	shape(&shaped);
	row(&shaped, 0);
	assert_true(is(shaped.msg.topic, "fixed"));
	assert_true(is(shaped.msg.key, "-5"));
	assert_int_equal(shaped.msg.value.len, 2);
	assert_memory_equal(shaped.msg.value.p, "\x00\xff", 2);
	assert_int_equal(shaped.msg.timestamp_ms, 1704110160000);
	assert_int_equal(shaped.shape.header_count, 2);
	assert_string_equal(shaped.shape.headers[0].name, "name: with a colon");
	assert_true(is(shaped.msg.headers[0], "a\"b"));
	assert_true(is(shaped.msg.headers[1], "2024-01-01T11:56:00.000Z"));
	shaped_fini(&shaped);
}

static void null_stays_null_and_empty_stays_empty(void **state)
{
	(void)state;
	struct shaped shaped = { 0 };
	option(&shaped.options, "topic", "fixed");
	option(&shaped.options, "key", "s");
	option(&shaped.options, "value", "column");
	option(&shaped.options, "value_column", "b");
	option(&shaped.options, "timestamp", "t");
	option(&shaped.options, "header.01", "s:h");
	shape(&shaped);
	row(&shaped, 1);
	assert_true(is(shaped.msg.key, NULL) && is(shaped.msg.value, NULL));
	assert_true(is(shaped.msg.headers[0], NULL));
	assert_int_equal(shaped.msg.timestamp_ms, 0);
	row(&shaped, 2);
	assert_true(is(shaped.msg.key, "") && is(shaped.msg.value, ""));
	assert_true(is(shaped.msg.headers[0], ""));
	/* 1970 itself would mean "now". */
	assert_int_equal(shaped.msg.timestamp_ms, 1);
	shaped_fini(&shaped);
}

static void listed_columns_come_in_the_order_of_the_list(void **state)
{
	(void)state;
	struct shaped shaped = { 0 };
	option(&shaped.options, "topic", "fixed");
	option(&shaped.options, "value", "json");
	option(&shaped.options, "columns", "i,s");
	shape(&shaped);
	row(&shaped, 0);
	assert_true(is(shaped.msg.value, "{\"i\":-5,\"s\":\"a\\\"b\"}"));
	shaped_fini(&shaped);
}

static void rows_of_another_version_are_refused(void **state)
{
	(void)state;
	static const char *const options[][2] = { { "key", "gone" },
		                                  { "timestamp", "gone" },
		                                  { "header.01", "gone:h" },
		                                  { "columns", "s,gone" } };
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		struct shaped shaped = { .rows = rows_new() };
		option(&shaped.options, "topic", "fixed");
		option(&shaped.options, "value", "json");
		option(&shaped.options, options[i][0], options[i][1]);
		assert_int_equal(tide_kafka_shape_read(&shaped.shape, &shaped.options, &err),
		                 TIDE_OK);
		assert_int_equal(tide_kafka_places_find(&shaped.places, &shaped.shape,
		                                        tide_rows_schema(shaped.rows), &err),
		                 TIDE_ERR_CHECKPOINT);
		assert_non_null(strstr(err.text, "no column gone"));
		shaped_fini(&shaped);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_columns_are_json_but_the_sinks_own),
		cmocka_unit_test(columns_are_keys_values_headers_and_times),
		cmocka_unit_test(null_stays_null_and_empty_stays_empty),
		cmocka_unit_test(listed_columns_come_in_the_order_of_the_list),
		cmocka_unit_test(rows_of_another_version_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
