/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that a sink refuses leave the others and become letters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"
#include "run/refused.h"

enum { TOPIC, PARTITION, OFFSET, TIMESTAMP, KEY, VALUE, HEADERS, REASON, LINE, RAW_KEY, RAW_VALUE };

static struct tide_error err;

static struct tide_schema *letter_schema(void)
{
	static const enum tide_type types[RAW_VALUE + 1] = {
		TIDE_STRING, TIDE_INT,    TIDE_INT,    TIDE_TIMESTAMP, TIDE_STRING, TIDE_STRING,
		TIDE_STRING, TIDE_STRING, TIDE_STRING, TIDE_BYTES,     TIDE_BYTES
	};
	struct tide_schema *schema = tide_schema_new(RAW_VALUE + 1);
	for (int c = 0; c <= RAW_VALUE; c++) {
		snprintf(schema->columns[c].name, TIDE_NAME_MAX, "c%d", c);
		schema->columns[c].type = types[c];
		schema->columns[c].nullable = true;
	}
	return schema;
}

/* Rows 0 to count - 1. */
static struct tide_rows *numbers(int count)
{
	struct tide_schema *schema = tide_schema_new(1);
	snprintf(schema->columns[0].name, TIDE_NAME_MAX, "n");
	schema->columns[0].type = TIDE_INT;
	struct tide_rows *rows = tide_rows_new(schema);
	for (int i = 0; i < count; i++)
		assert_true(tide_rows_append(rows, &(struct tide_cell){ .i = i }));
	free(schema);
	return rows;
}

/* A sink that refuses every row of which its mask has the bit. */
struct picky {
	struct tide_sink sink;
	unsigned mask;
	int rc;
};

static int picky_check(struct tide_sink *sink, const struct tide_rows *rows,
                       const struct tide_refuse *refuse, struct tide_error *why)
{
	static const struct tide_slice names[] = { { "h", 1 } }, values[] = { { "v", 1 } };
	const struct picky *picky = (const struct picky *)sink;
	for (uint32_t row = 0; row < tide_rows_count(rows); row++) {
		struct tide_refused refused = { .row = row,
			                        .topic = { "out", 3 },
			                        .value = { "big", 3 },
			                        .header_count = 1,
			                        .header_names = names,
			                        .header_values = values,
			                        .timestamp_ms = 5,
			                        .reason = "too big" };
		if ((picky->mask >> row & 1u) != 0 && !refuse->row(refuse->arg, &refused))
			return tide_fail(why, TIDE_ERR_NOMEM, "no memory");
	}
	return picky->rc == TIDE_OK ? TIDE_OK : tide_fail(why, picky->rc, "gone");
}

static const struct tide_sink_ops picky_ops = { .kind = "picky", .check = picky_check };

static void assert_text(const struct tide_rows *rows, int column, const char *text)
{
	struct tide_cell cell = tide_rows_cell(rows, 0, column);
	assert_int_equal(cell.len, (int)strlen(text));
	assert_memory_equal(cell.p, text, strlen(text));
}

static void refused_rows_become_letters_whichever_they_are(void **state)
{
	(void)state;
	enum { COUNT = 4 };
	struct tide_schema *schema = letter_schema();
	for (unsigned mask = 0; mask < 1u << COUNT; mask++) {
		struct picky picky = { { .ops = &picky_ops }, mask, TIDE_OK };
		struct tide_rows *rows = numbers(COUNT), *letters = NULL;
		assert_int_equal(
			tide_refused_sift(&picky.sink, &rows, &letters, schema, "job.lua:7", &err),
			TIDE_OK);
		uint32_t refused = (uint32_t)__builtin_popcount(mask), at = 0;
		assert_int_equal(tide_rows_count(letters), refused);
		assert_int_equal(tide_rows_count(rows), COUNT - refused);
		for (unsigned n = 0; n < COUNT; n++)
			if ((mask >> n & 1u) == 0)
				assert_int_equal(tide_rows_cell(rows, at++, 0).i, n);
		tide_rows_free(rows);
		tide_rows_free(letters);
	}
	free(schema);
}

static void a_letter_has_what_the_record_would_have_had(void **state)
{
	(void)state;
	struct tide_schema *schema = letter_schema();
	struct picky picky = { { .ops = &picky_ops }, 1, TIDE_OK };
	struct tide_rows *rows = numbers(1), *letters = NULL;
	assert_int_equal(tide_refused_sift(&picky.sink, &rows, &letters, schema, "job.lua:7", &err),
	                 TIDE_OK);
	assert_text(letters, TOPIC, "out");
	assert_int_equal(tide_rows_cell(letters, 0, PARTITION).i, -1);
	assert_int_equal(tide_rows_cell(letters, 0, OFFSET).i, -1);
	assert_int_equal(tide_rows_cell(letters, 0, TIMESTAMP).i, 5000);
	assert_int_equal(tide_rows_cell(letters, 0, KEY).len, -1);
	assert_text(letters, VALUE, "big");
	assert_text(letters, HEADERS, "[[\"h\",\"v\"]]");
	assert_text(letters, REASON, "too big");
	assert_text(letters, LINE, "job.lua:7");
	assert_text(letters, RAW_VALUE, "big");
	tide_rows_free(rows);
	tide_rows_free(letters);
	free(schema);
}

static void a_sink_that_is_gone_is_an_error(void **state)
{
	(void)state;
	struct tide_schema *schema = letter_schema();
	struct picky picky = { { .ops = &picky_ops }, 1, TIDE_ERR_UNAVAILABLE };
	struct tide_rows *rows = numbers(2), *letters = NULL;
	assert_int_equal(tide_refused_sift(&picky.sink, &rows, &letters, schema, "", &err),
	                 TIDE_ERR_UNAVAILABLE);
	assert_string_equal(err.text, "gone");
	tide_rows_free(rows);
	tide_rows_free(letters);
	free(schema);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused_rows_become_letters_whichever_they_are),
		cmocka_unit_test(a_letter_has_what_the_record_would_have_had),
		cmocka_unit_test(a_sink_that_is_gone_is_an_error),
	};
	tide_log_init(&(struct tide_log_options){ .level = TIDE_ERROR });
	return cmocka_run_group_tests(tests, NULL, NULL);
}
