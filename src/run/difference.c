/* SPDX-License-Identifier: Apache-2.0 */
/* Two sets of rows compared. */
#include "run/difference.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sink/json_row.h"

/* Columns that both have, keys first. */
struct pairing {
	int count, key_count;
	int old_columns[TIDE_COLUMNS_MAX], new_columns[TIDE_COLUMNS_MAX];
};

/* A row as bytes: equal keys are equal bytes, and so are equal rows. */
struct line {
	size_t key_at, rest_at, end;
	uint32_t row;
	const char *bytes; /* of all lines, once they are written */
};

struct side {
	const struct tide_rows *rows;
	const int *columns;
	struct line *lines;
	uint32_t count;
	struct tide_buf bytes;
};

static const struct tide_schema *schema_of(const struct tide_rows *rows)
{
	return rows != NULL ? tide_rows_schema(rows) : NULL;
}

static int partner_of(const struct tide_schema *schema, const struct tide_column *column)
{
	int at = tide_schema_find(schema, column->name);
	return at >= 0 && schema->columns[at].type == column->type ? at : -1;
}

/* In which line of the job a record failed is another one with every edit, and
 * names the job's file: dead letters are the same without it. */
static bool is_place(const struct tide_schema *schema, int column)
{
	return strcmp(schema->columns[column].name, "line") == 0 &&
	       tide_schema_find(schema, "reason") >= 0 &&
	       tide_schema_find(schema, "partition") >= 0 &&
	       tide_schema_find(schema, "offset") >= 0;
}

static void pair(struct pairing *pairing, const struct tide_schema *old_schema,
                 const struct tide_schema *new_schema, int column)
{
	int partner = partner_of(new_schema, &old_schema->columns[column]);
	for (int i = 0; i < pairing->count; i++)
		if (pairing->old_columns[i] == column)
			return;
	if (partner < 0 || is_place(old_schema, column))
		return;
	pairing->old_columns[pairing->count] = column;
	pairing->new_columns[pairing->count++] = partner;
}

/* A key that one side lacks is none at all: then whole rows are compared. */
static void pair_all(struct pairing *pairing, const struct tide_schema *old_schema,
                     const struct tide_schema *new_schema, const int *keys, int key_count)
{
	pairing->count = 0;
	for (int i = 0; i < key_count; i++)
		pair(pairing, old_schema, new_schema, keys[i]);
	pairing->key_count = pairing->count == key_count ? key_count : 0;
	for (int c = 0; c < old_schema->count; c++)
		pair(pairing, old_schema, new_schema, c);
	if (pairing->key_count == 0)
		pairing->key_count = pairing->count;
}

static void put_cell(struct tide_buf *out, struct tide_cell cell, enum tide_type type)
{
	tide_buf_u8(out, cell.len >= 0);
	if (cell.len < 0)
		return;
	if (type == TIDE_STRING || type == TIDE_BYTES)
		tide_buf_bytes(out, cell.p, (size_t)cell.len);
	else
		tide_buf_u64(out, (uint64_t)cell.i);
}

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t least = a_len < b_len ? a_len : b_len;
	int order = least > 0 ? memcmp(a, b, least) : 0;
	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_keys(const struct line *a, const struct line *b)
{
	return compare_bytes(a->bytes + a->key_at, a->rest_at - a->key_at, b->bytes + b->key_at,
	                     b->rest_at - b->key_at);
}

static int compare_rests(const struct line *a, const struct line *b)
{
	return compare_bytes(a->bytes + a->rest_at, a->end - a->rest_at, b->bytes + b->rest_at,
	                     b->end - b->rest_at);
}

static int by_key_and_row(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	int order = compare_keys(x, y);
	return order != 0 ? order : (x->row > y->row) - (x->row < y->row);
}

static bool write_side(struct side *side, const struct pairing *pairing)
{
	side->count = side->rows != NULL ? tide_rows_count(side->rows) : 0;
	side->lines = calloc((size_t)side->count + 1, sizeof *side->lines);
	if (side->lines == NULL)
		return false;
	for (uint32_t r = 0; r < side->count; r++) {
		struct line *line = &side->lines[r];
		line->row = r;
		line->key_at = line->rest_at = side->bytes.len;
		for (int i = 0; i < pairing->count; i++) {
			int column = side->columns[i];
			if (i == pairing->key_count)
				line->rest_at = side->bytes.len;
			put_cell(&side->bytes, tide_rows_cell(side->rows, r, column),
			         tide_rows_schema(side->rows)->columns[column].type);
		}
		if (pairing->key_count == pairing->count)
			line->rest_at = side->bytes.len;
		line->end = side->bytes.len;
	}
	for (uint32_t r = 0; r < side->count; r++)
		side->lines[r].bytes = side->bytes.p != NULL ? side->bytes.p : "";
	qsort(side->lines, side->count, sizeof *side->lines, by_key_and_row);
	return !side->bytes.failed;
}

static void sample(struct tide_difference *out, enum tide_difference_kind kind, uint32_t old_row,
                   uint32_t new_row)
{
	int *count = &out->sample_count[kind];
	if (*count < TIDE_DIFFERENCE_SAMPLES)
		out->samples[kind][(*count)++] =
			(struct tide_difference_sample){ old_row, new_row };
}

/* Both are sorted by key, and within a key by row. */
static void walk(const struct side *old_side, const struct side *new_side,
                 struct tide_difference *out)
{
	uint32_t i = 0, j = 0;
	while (i < old_side->count || j < new_side->count) {
		const struct line *a = &old_side->lines[i], *b = &new_side->lines[j];
		int order = i == old_side->count   ? 1
		            : j == new_side->count ? -1
		                                   : compare_keys(a, b);
		if (order < 0) {
			out->only_old++;
			sample(out, TIDE_ONLY_OLD, a->row, 0);
		} else if (order > 0) {
			out->only_new++;
			sample(out, TIDE_ONLY_NEW, 0, b->row);
		} else if (compare_rests(a, b) == 0) {
			out->equal++;
		} else {
			out->changed++;
			sample(out, TIDE_CHANGED, a->row, b->row);
		}
		i += order <= 0;
		j += order >= 0;
	}
}

int tide_difference_find(const struct tide_rows *old_rows, const struct tide_rows *new_rows,
                         const int *keys, int key_count, struct tide_difference *out,
                         struct tide_error *err)
{
	assert(key_count >= 0 && key_count <= TIDE_COLUMNS_MAX);
	struct pairing *pairing = calloc(1, sizeof *pairing);
	const struct tide_schema *old_schema = schema_of(old_rows);
	const struct tide_schema *new_schema = schema_of(new_rows);
	*out = (struct tide_difference){ 0 };
	if (pairing == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to compare rows");
	if (old_schema != NULL && new_schema != NULL)
		pair_all(pairing, old_schema, new_schema, keys, key_count);
	struct side old_side = { .rows = old_rows, .columns = pairing->old_columns };
	struct side new_side = { .rows = new_rows, .columns = pairing->new_columns };
	bool ok = write_side(&old_side, pairing) && write_side(&new_side, pairing);
	if (ok && (pairing->count > 0 || old_rows == NULL || new_rows == NULL))
		walk(&old_side, &new_side, out);
	else if (ok) { /* Nothing in common. */
		out->only_old = old_side.count;
		out->only_new = new_side.count;
	}
	free(old_side.lines);
	free(new_side.lines);
	tide_buf_fini(&old_side.bytes);
	tide_buf_fini(&new_side.bytes);
	free(pairing);
	return ok ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory to compare rows");
}

void tide_difference_add(struct tide_difference *sum, const struct tide_difference *other)
{
	sum->equal += other->equal;
	sum->changed += other->changed;
	sum->only_old += other->only_old;
	sum->only_new += other->only_new;
}

bool tide_difference_any(const struct tide_difference *difference)
{
	return difference->changed + difference->only_old + difference->only_new > 0;
}

double tide_difference_share(const struct tide_difference *difference)
{
	uint64_t other = difference->changed + difference->only_old + difference->only_new;
	uint64_t all = other + difference->equal;
	return all == 0 ? 0 : (double)other / (double)all;
}

int tide_difference_keys(const struct tide_plan *plan, int output, int *keys)
{
	const struct tide_schema *row = plan->outputs[output].row;
	int keyed = plan->outputs[output].keyed, count = 0;
	if (keyed < 0 || tide_plan_dedups(&plan->keyed[keyed]))
		return 0;
	const struct tide_plan_keyed *by = &plan->keyed[keyed];
	for (int i = 0; i < by->key_count; i++) {
		const char *name = by->row->columns[by->keys[i]].name;
		int at = tide_schema_find(row, name);
		if (at < 0 && by->size_us > 0 && i == 0) /* the end of a window */
			at = tide_schema_find(row, "window_start");
		if (at < 0)
			return 0; /* It was dropped behind the aggregate. */
		keys[count++] = at;
	}
	return count;
}

/* ---- for people ---- */

static void write_columns(const struct tide_schema *schema, const struct tide_schema *other,
                          const char *what, struct tide_buf *out)
{
	for (int c = 0; c < schema->count; c++)
		if (partner_of(other, &schema->columns[c]) < 0)
			tide_buf_printf(out, "  column %s %s:%s is not compared\n", what,
			                schema->columns[c].name,
			                tide_type_name(schema->columns[c].type));
}

static void write_row(const char *what, const struct tide_rows *rows, uint32_t row,
                      struct tide_buf *out)
{
	struct tide_json_row json = { 0 };
	if (tide_json_row_init(&json, tide_rows_schema(rows), NULL, NULL) != TIDE_OK) {
		out->failed = true;
		return;
	}
	tide_buf_printf(out, "  %s ", what);
	tide_json_row_put(&json, rows, row, out);
	tide_buf_put(out, "\n", 1);
	tide_json_row_fini(&json);
}

void tide_difference_write(const struct tide_difference *difference, const char *name,
                           const struct tide_rows *old_rows, const struct tide_rows *new_rows,
                           struct tide_buf *out)
{
	tide_buf_printf(
		out, "%s: %llu equal, %llu changed, %llu only old, %llu only new\n", name,
		(unsigned long long)difference->equal, (unsigned long long)difference->changed,
		(unsigned long long)difference->only_old, (unsigned long long)difference->only_new);
	if (old_rows != NULL && new_rows != NULL) {
		write_columns(schema_of(old_rows), schema_of(new_rows), "of the old rows", out);
		write_columns(schema_of(new_rows), schema_of(old_rows), "of the new rows", out);
	}
	for (int i = 0; i < difference->sample_count[TIDE_CHANGED]; i++) {
		const struct tide_difference_sample *at = &difference->samples[TIDE_CHANGED][i];
		write_row("-", old_rows, at->old_row, out);
		write_row("+", new_rows, at->new_row, out);
	}
	for (int i = 0; i < difference->sample_count[TIDE_ONLY_OLD]; i++)
		write_row("-", old_rows, difference->samples[TIDE_ONLY_OLD][i].old_row, out);
	for (int i = 0; i < difference->sample_count[TIDE_ONLY_NEW]; i++)
		write_row("+", new_rows, difference->samples[TIDE_ONLY_NEW][i].new_row, out);
}
