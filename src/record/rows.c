/* SPDX-License-Identifier: Apache-2.0 */
/* Rows in columns: appended, read, ordered. Their bytes are in rows_codec.c. */
#include "record/rows.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "record/rows_layout.h"

enum { ROWS_START = 64 };

struct tide_schema *tide_schema_new(int count)
{
	assert(count > 0 && count <= TIDE_COLUMNS_MAX);
	struct tide_schema *schema =
		calloc(1, sizeof *schema + (size_t)count * sizeof *schema->columns);
	if (schema != NULL)
		schema->count = count;
	return schema;
}

struct tide_schema *tide_schema_copy(const struct tide_schema *schema)
{
	struct tide_schema *copy = tide_schema_new(schema->count);
	if (copy != NULL)
		memcpy(copy->columns, schema->columns,
		       (size_t)schema->count * sizeof *schema->columns);
	return copy;
}

int tide_schema_find(const struct tide_schema *schema, const char *name)
{
	for (int i = 0; i < schema->count; i++)
		if (strcmp(schema->columns[i].name, name) == 0)
			return i;
	return -1;
}

const char *tide_type_name(enum tide_type type)
{
	static const char *const names[] = {
		[TIDE_INT] = "int",       [TIDE_DOUBLE] = "double", [TIDE_BOOL] = "bool",
		[TIDE_STRING] = "string", [TIDE_BYTES] = "bytes",   [TIDE_TIMESTAMP] = "timestamp",
	};
	assert(type >= TIDE_INT && type <= TIDE_TIMESTAMP);
	return names[type];
}

struct tide_rows *tide_rows_new(const struct tide_schema *schema)
{
	struct tide_rows *rows = calloc(1, sizeof *rows);
	if (rows == NULL)
		return NULL;
	rows->schema = tide_schema_copy(schema);
	rows->columns = calloc((size_t)schema->count, sizeof *rows->columns);
	if (rows->schema == NULL || rows->columns == NULL) {
		tide_rows_free(rows);
		return NULL;
	}
	return rows;
}

void tide_rows_free(struct tide_rows *rows)
{
	if (rows == NULL)
		return;
	for (int c = 0; rows->columns != NULL && rows->schema != NULL && c < rows->schema->count;
	     c++) {
		free(rows->columns[c].valid);
		free(rows->columns[c].values);
		free(rows->columns[c].offsets);
		free(rows->columns[c].text);
	}
	free(rows->columns);
	free(rows->schema);
	free(rows);
}

const struct tide_schema *tide_rows_schema(const struct tide_rows *rows)
{
	return rows->schema;
}

uint32_t tide_rows_count(const struct tide_rows *rows)
{
	return rows->count;
}

size_t tide_rows_bytes(const struct tide_rows *rows)
{
	size_t bytes = 0;
	for (int c = 0; c < rows->schema->count; c++) {
		bytes += tide_rows_bitmap_size(rows->count);
		if (tide_rows_is_text(rows->schema->columns[c].type))
			bytes += rows->count * sizeof(uint32_t) + tide_rows_text_len(rows, c);
		else
			bytes += rows->count * sizeof(int64_t);
	}
	return bytes;
}

void tide_rows_clear(struct tide_rows *rows)
{
	rows->count = 0;
}

/* realloc that leaves *p alone when it fails. */
static bool grow(void *p, size_t size)
{
	void *old;
	memcpy(&old, p, sizeof old);
	void *grown = realloc(old, size);
	if (grown == NULL)
		return false;
	memcpy(p, &grown, sizeof grown);
	return true;
}

void tide_rows_limit(struct tide_rows *rows, size_t bytes)
{
	rows->max = bytes;
}

static bool beyond(const struct tide_rows *rows, size_t bytes)
{
	return rows->max != 0 && bytes > rows->max;
}

bool tide_rows_reserve(struct tide_rows *rows, uint32_t more)
{
	uint64_t need = (uint64_t)rows->count + more;
	if (need <= rows->cap)
		return true;
	uint64_t cap = rows->cap < ROWS_START ? ROWS_START : rows->cap;
	while (cap < need)
		cap *= 2;
	if (cap > UINT32_MAX / 2 || beyond(rows, cap * 8 * (size_t)rows->schema->count))
		return false;
	for (int c = 0; c < rows->schema->count; c++) {
		struct column *column = &rows->columns[c];
		if (!grow(&column->valid, tide_rows_bitmap_size((uint32_t)cap)))
			return false;
		if (!tide_rows_is_text(rows->schema->columns[c].type)) {
			if (!grow(&column->values, cap * sizeof *column->values))
				return false;
			continue;
		}
		if (!grow(&column->offsets, (cap + 1) * sizeof *column->offsets))
			return false;
		column->offsets[0] = 0;
	}
	rows->cap = (uint32_t)cap;
	return true;
}

bool tide_rows_reserve_text(struct tide_rows *rows, int c, size_t more)
{
	struct column *column = &rows->columns[c];
	size_t need = tide_rows_text_len(rows, c) + more;
	if (more > UINT32_MAX || need > UINT32_MAX)
		return false; /* beyond what an offset can say */
	if (need <= column->text_cap)
		return true;
	size_t cap = column->text_cap < ROWS_START ? ROWS_START : column->text_cap;
	while (cap < need)
		cap *= 2;
	if (beyond(rows, cap) || !grow(&column->text, cap))
		return false;
	column->text_cap = cap;
	return true;
}

static void valid_set(struct column *column, uint32_t row, bool valid)
{
	uint8_t bit = (uint8_t)(1u << (row & 7));
	uint8_t *byte = &column->valid[row >> 3];
	*byte = (uint8_t)(valid ? *byte | bit : *byte & ~bit);
}

/* Into memory that has been reserved. */
static void cell_put(struct tide_rows *rows, int c, const struct tide_cell *cell)
{
	struct column *column = &rows->columns[c];
	const struct tide_column *meta = &rows->schema->columns[c];
	uint32_t row = rows->count;
	bool valid = cell->len >= 0;
	assert(valid || meta->nullable);
	valid_set(column, row, valid);
	if (tide_rows_is_text(meta->type)) {
		uint32_t at = column->offsets[row];
		uint32_t len = valid ? (uint32_t)cell->len : 0;
		if (len > 0)
			memcpy(column->text + at, cell->p, len);
		column->offsets[row + 1] = at + len;
	} else if (meta->type == TIDE_BOOL) {
		column->values[row] = valid && cell->i != 0;
	} else {
		/* A double travels as its bits. */
		column->values[row] = valid ? cell->i : 0;
	}
}

bool tide_rows_append(struct tide_rows *rows, const struct tide_cell *cells)
{
	/* All room first, so that a failure leaves no half row. */
	if (rows->count == rows->cap && !tide_rows_reserve(rows, 1))
		return false;
	int count = rows->schema->count;
	for (int c = 0; c < count; c++)
		if (cells[c].len > 0 && tide_rows_is_text(rows->schema->columns[c].type) &&
		    !tide_rows_reserve_text(rows, c, (size_t)cells[c].len))
			return false;
	for (int c = 0; c < count; c++)
		cell_put(rows, c, &cells[c]);
	rows->count++;
	return true;
}

void tide_rows_truncate(struct tide_rows *rows, uint32_t count)
{
	assert(count <= rows->count);
	rows->count = count; /* text ends where the last row's does */
}

static bool same_types(const struct tide_schema *a, const struct tide_schema *b)
{
	if (a->count != b->count)
		return false;
	for (int c = 0; c < a->count; c++)
		if (a->columns[c].type != b->columns[c].type ||
		    a->columns[c].nullable != b->columns[c].nullable)
			return false;
	return true;
}

bool tide_rows_extend(struct tide_rows *rows, const struct tide_rows *from)
{
	return tide_rows_extend_range(rows, from, 0, from->count);
}

bool tide_rows_extend_range(struct tide_rows *rows, const struct tide_rows *from, uint32_t first,
                            uint32_t count)
{
	assert(rows != from && same_types(rows->schema, from->schema));
	assert(first <= from->count && count <= from->count - first);
	if (count == 0)
		return true;
	if (!tide_rows_reserve(rows, count))
		return false;
	for (int c = 0; c < rows->schema->count; c++) {
		const uint32_t *offsets = from->columns[c].offsets;
		if (tide_rows_is_text(rows->schema->columns[c].type) &&
		    !tide_rows_reserve_text(rows, c, offsets[first + count] - offsets[first]))
			return false;
	}
	for (int c = 0; c < rows->schema->count; c++) {
		struct column *to = &rows->columns[c];
		const struct column *source = &from->columns[c];
		for (uint32_t i = 0; i < count; i++)
			valid_set(to, rows->count + i, tide_rows_valid(source, first + i));
		if (!tide_rows_is_text(rows->schema->columns[c].type)) {
			memcpy(to->values + rows->count, source->values + first,
			       count * sizeof *to->values);
			continue;
		}
		uint32_t base = to->offsets[rows->count], from_base = source->offsets[first];
		uint32_t text_len = source->offsets[first + count] - from_base;
		for (uint32_t i = 1; i <= count; i++)
			to->offsets[rows->count + i] =
				base + source->offsets[first + i] - from_base;
		if (text_len > 0)
			memcpy(to->text + base, source->text + from_base, text_len);
	}
	rows->count += count;
	return true;
}

struct tide_cell tide_rows_cell(const struct tide_rows *rows, uint32_t row, int column)
{
	assert(row < rows->count && column >= 0 && column < rows->schema->count);
	const struct column *from = &rows->columns[column];
	struct tide_cell cell = { .i = 0, .len = 0 };
	bool text = tide_rows_is_text(rows->schema->columns[column].type);
	if (!tide_rows_valid(from, row)) {
		cell.len = -1;
		if (text)
			cell.p = NULL;
	} else if (text) {
		uint32_t at = from->offsets[row];
		cell.p = from->text != NULL ? from->text + at : "";
		cell.len = (int32_t)(from->offsets[row + 1] - at);
	} else {
		cell.i = from->values[row];
	}
	return cell;
}

static int compare_double(double a, double b)
{
	if (a < b)
		return -1;
	if (a > b)
		return 1;
	return (a != a) - (b != b); /* NaN comes last, all of them equal */
}

static int compare_cells(enum tide_type type, struct tide_cell a, struct tide_cell b)
{
	if (a.len < 0 || b.len < 0)
		return (b.len < 0) - (a.len < 0);
	if (tide_rows_is_text(type)) {
		int32_t len = a.len < b.len ? a.len : b.len;
		int order = len > 0 ? memcmp(a.p, b.p, (size_t)len) : 0;
		return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
	}
	if (type == TIDE_DOUBLE)
		return compare_double(a.d, b.d);
	return (a.i > b.i) - (a.i < b.i);
}

static int compare_rows(const void *a, const void *b, void *arg)
{
	const struct tide_rows *rows = arg;
	uint32_t left = *(const uint32_t *)a;
	uint32_t right = *(const uint32_t *)b;
	for (int c = 0; c < rows->schema->count; c++) {
		int order =
			compare_cells(rows->schema->columns[c].type, tide_rows_cell(rows, left, c),
		                      tide_rows_cell(rows, right, c));
		if (order != 0)
			return order;
	}
	return (left > right) - (left < right); /* equal rows keep their order */
}

void tide_rows_sort(const struct tide_rows *rows, uint32_t *order)
{
	for (uint32_t i = 0; i < rows->count; i++)
		order[i] = i;
	if (rows->count > 1)
		qsort_r(order, rows->count, sizeof *order, compare_rows, (void *)(uintptr_t)rows);
}
