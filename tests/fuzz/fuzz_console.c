/* SPDX-License-Identifier: Apache-2.0 */
/* Any cells in every format of the console: nothing of them can steer a terminal,
 * JSON is JSON in whole lines, CSV has its fields, and a grid's lines are as wide. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode/json.h"
#include "sink/cells.h"
#include "sink/grid.h"
#include "sink/json_row.h"
#include "sink/live_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COLUMNS_MAX = 5, ROWS_MAX = 40 };

static void require(int holds)
{
	if (!holds)
		abort();
}

/* UTF-8 without controls but those of `but`. */
static void require_calm(const struct tide_buf *out, const char *but)
{
	const unsigned char *p = (const unsigned char *)out->p;
	require(!out->failed);
	for (size_t i = 0; i < out->len; i++) {
		bool allowed = p[i] != 0 && strchr(but, p[i]) != NULL;
		require(allowed || (p[i] >= 0x20 && p[i] != 0x7F));
		/* U+0080 to U+009F, or a byte that begins no character. */
		require(p[i] != 0xC2 || (i + 1 < out->len && p[i + 1] >= 0xA0 && p[i + 1] < 0xC0));
		bool follows = i > 0 && p[i - 1] >= 0x80;
		require((p[i] & 0xC0) != 0x80 || follows);
	}
}

static uint8_t take(const uint8_t **data, size_t *size)
{
	if (*size == 0)
		return 0;
	(*size)--;
	return *(*data)++;
}

static struct tide_schema *make_schema(const uint8_t **data, size_t *size)
{
	struct tide_schema *schema = tide_schema_new(take(data, size) % COLUMNS_MAX + 1);
	require(schema != NULL);
	for (int c = 0; c < schema->count; c++) {
		uint8_t kind = take(data, size);
		schema->columns[c].type = (enum tide_type)(TIDE_INT + kind % 6);
		schema->columns[c].nullable = true;
		snprintf(schema->columns[c].name, TIDE_NAME_MAX, "%c%d", 'a' + kind / 6 % 26, c);
	}
	return schema;
}

static struct tide_cell make_cell(enum tide_type type, const uint8_t **data, size_t *size)
{
	struct tide_cell cell = { .i = 0, .len = 0 };
	uint8_t first = take(data, size);
	size_t len = first < *size ? first : *size;
	if (first == 255)
		return (struct tide_cell){ .len = -1 };
	if (type == TIDE_STRING || type == TIDE_BYTES) {
		cell.p = (const char *)*data;
		cell.len = (int32_t)len;
	} else {
		len = len < sizeof cell.i ? len : sizeof cell.i;
		memcpy(&cell.i, *data, len);
		if (type == TIDE_BOOL)
			cell.i &= 1;
	}
	*data += len;
	*size -= len;
	return cell;
}

static struct tide_rows *make_rows(const uint8_t *data, size_t size)
{
	struct tide_schema *schema = make_schema(&data, &size);
	struct tide_rows *rows = tide_rows_new(schema);
	require(rows != NULL);
	for (int r = 0; size > 0 && r < ROWS_MAX; r++) {
		struct tide_cell cells[COLUMNS_MAX];
		for (int c = 0; c < schema->count; c++)
			cells[c] = make_cell(schema->columns[c].type, &data, &size);
		require(tide_rows_append(rows, cells));
	}
	free(schema);
	return rows;
}

static size_t count_of(const struct tide_buf *out, char c)
{
	size_t n = 0;
	for (size_t i = 0; i < out->len; i++)
		n += out->p[i] == c;
	return n;
}

/* Every line is a document that our own reader takes. */
static void try_json(const struct tide_rows *rows, struct tide_buf *out)
{
	static struct tide_json_spec *spec;
	static struct tide_arena *arena;
	static const struct tide_field field = { "none", 4, TIDE_STRING, 1, 0 };
	struct tide_json_row json;
	struct tide_cell cell;
	struct tide_scan_error why;
	if (spec == NULL) {
		spec = tide_json_spec_new(&field, 1);
		arena = tide_arena_new();
	}
	require(spec != NULL && arena != NULL);
	require(tide_json_row_init(&json, tide_rows_schema(rows), NULL, NULL) == TIDE_OK);
	for (uint32_t r = 0; r < tide_rows_count(rows); r++) {
		tide_buf_clear(out);
		tide_json_row_put(&json, rows, r, out);
		require_calm(out, "");
		require(out->len <= tide_json_row_bytes_max(&json, rows, r));
		tide_arena_reset(arena);
		require(tide_json_scan(spec, out->p, (int32_t)out->len, arena, &cell, &why) ==
		        TIDE_SCAN_OK);
	}
	tide_json_row_fini(&json);
}

static void try_csv(const struct tide_rows *rows, bool terminal, struct tide_buf *out)
{
	const struct tide_schema *schema = tide_rows_schema(rows);
	for (uint32_t r = 0; r < tide_rows_count(rows); r++)
		for (int c = 0; c < schema->count; c++) {
			tide_buf_clear(out);
			tide_cell_csv(out, schema->columns[c].type, tide_rows_cell(rows, r, c),
			              terminal);
			require(!out->failed && count_of(out, '"') % 2 == 0);
			require(out->len == 0 || out->p[0] == '"' ||
			        memchr(out->p, ',', out->len) == NULL);
			if (terminal)
				require_calm(out, "\n");
		}
}

static void try_spark(const struct tide_rows *rows, size_t chars_max, struct tide_buf *out)
{
	struct tide_spark_options options = { 7, ROWS_MAX / 2, chars_max };
	uint32_t count = tide_rows_count(rows), order[ROWS_MAX];
	tide_rows_sort(rows, order);
	tide_buf_clear(out);
	tide_spark_put(rows, order, &options, out);
	require_calm(out, "\n");
	/* The remark, if any, is the last but one. */
	uint32_t shown = count < options.rows_max ? count : options.rows_max;
	require(count_of(out, '\n') == 8 + (size_t)shown + (count > shown));
}

/* The live table's, without the terminal. */
static void try_live(const struct tide_rows *rows, struct tide_buf *out)
{
	const struct tide_schema *schema = tide_rows_schema(rows);
	const struct tide_live_row *top[ROWS_MAX];
	struct tide_live_rows *live = tide_live_rows_new(schema);
	require(live != NULL && tide_live_rows_take(live, rows));
	tide_live_rows_fade(live, 1000000);
	require(tide_live_rows_take(live, rows));
	tide_live_rows_fade(live, 2000000);
	uint32_t count = tide_live_rows_top(live, ROWS_MAX, top);
	struct tide_grid grid = { .columns = schema->count };
	struct tide_grid_line line = { .between = "  ", .width_max = 60 };
	require(count <= tide_rows_count(rows));
	tide_buf_clear(out);
	tide_grid_add_names(&grid, schema);
	for (uint32_t r = 0; r < count; r++)
		for (int c = 0; c < schema->count; c++)
			tide_grid_add(&grid, schema->columns[c].type, top[r]->cells[c], 15);
	for (uint32_t r = 0; r <= count; r++)
		tide_grid_put(&grid, r, &line, out);
	require_calm(out, "");
	tide_grid_fini(&grid);
	tide_live_rows_free(live);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tide_buf out = { 0 };
	struct tide_rows *rows = make_rows(data, size);
	try_json(rows, &out);
	try_csv(rows, false, &out);
	try_csv(rows, true, &out);
	try_spark(rows, size > 0 ? data[size - 1] % 30 : 0, &out);
	try_live(rows, &out);
	tide_buf_fini(&out);
	tide_rows_free(rows);
	return 0;
}
