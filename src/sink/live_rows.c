/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded memory of running results: what moves is kept, what stands still goes. */
#include "sink/live_rows.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
	ROWS_MAX = 4096, /* known at once; then the quieter half is forgotten */
	SLOTS = 4 * ROWS_MAX
};

static const double half_life_s = 2;

struct tide_live_rows {
	struct tide_schema *schema;
	int keys, value_column; /* -1: rows have no number to watch */
	int64_t faded_us;
	bool forgot; /* a key we do not know may still be an old one */
	uint32_t count;
	struct tide_live_row rows[ROWS_MAX];
	const struct tide_live_row *order[ROWS_MAX];
	int32_t slots[SLOTS]; /* row + 1 by hash, linear probing */
	struct tide_buf key, probe;
};

static bool is_number(const struct tide_schema *schema, int column)
{
	enum tide_type type = schema->columns[column].type;
	return type == TIDE_INT || type == TIDE_DOUBLE;
}

static bool is_text(enum tide_type type)
{
	return type == TIDE_STRING || type == TIDE_BYTES;
}

struct tide_live_rows *tide_live_rows_new(const struct tide_schema *schema)
{
	assert(schema->count > 0);
	struct tide_live_rows *rows = calloc(1, sizeof *rows);
	if (rows == NULL)
		return NULL;
	rows->schema = tide_schema_copy(schema);
	if (rows->schema == NULL) {
		free(rows);
		return NULL;
	}
	int last = schema->count - 1;
	rows->value_column = last > 0 && is_number(schema, last) ? last : -1;
	rows->keys = schema->count;
	while (rows->keys > 1 && is_number(schema, rows->keys - 1))
		rows->keys--;
	return rows;
}

void tide_live_rows_free(struct tide_live_rows *rows)
{
	if (rows == NULL)
		return;
	for (uint32_t i = 0; i < rows->count; i++)
		free(rows->rows[i].cells);
	tide_buf_fini(&rows->key);
	tide_buf_fini(&rows->probe);
	free(rows->schema);
	free(rows);
}

const struct tide_schema *tide_live_rows_schema(const struct tide_live_rows *rows)
{
	return rows->schema;
}

int tide_live_rows_keys(const struct tide_live_rows *rows)
{
	return rows->keys;
}

void tide_live_rows_fade(struct tide_live_rows *rows, int64_t now_us)
{
	double seconds = (double)(now_us - rows->faded_us) / 1e6;
	if (rows->faded_us != 0 && seconds > 0) {
		double factor = exp2(-seconds / half_life_s);
		for (uint32_t i = 0; i < rows->count; i++)
			rows->rows[i].score *= factor;
	}
	if (rows->faded_us == 0 || seconds > 0)
		rows->faded_us = now_us;
}

/* The key's bytes, so that equal keys are equal bytes. */
static void key_put(const struct tide_live_rows *rows, const struct tide_cell *cells,
                    struct tide_buf *out)
{
	tide_buf_clear(out);
	for (int c = 0; c < rows->keys; c++) {
		tide_buf_u32(out, (uint32_t)cells[c].len);
		if (cells[c].len < 0)
			continue;
		if (is_text(rows->schema->columns[c].type))
			tide_buf_put(out, cells[c].p, (size_t)cells[c].len);
		else
			tide_buf_u64(out, (uint64_t)cells[c].i);
	}
}

/* The slot of the key in rows->key: its own, or the free one it would take. */
static int32_t *slot_find(struct tide_live_rows *rows, uint64_t hash)
{
	for (size_t i = hash % SLOTS;; i = (i + 1) % SLOTS) {
		int32_t *slot = &rows->slots[i];
		if (*slot == 0)
			return slot;
		const struct tide_live_row *row = &rows->rows[*slot - 1];
		if (row->hash != hash)
			continue;
		key_put(rows, row->cells, &rows->probe);
		if (rows->probe.len == rows->key.len &&
		    memcmp(rows->probe.p, rows->key.p, rows->key.len) == 0)
			return slot;
	}
}

static int by_score(const void *a, const void *b)
{
	const struct tide_live_row *left = a, *right = b;
	return (left->score < right->score) - (left->score > right->score);
}

/* Forgets the half that changes least. */
static void rows_prune(struct tide_live_rows *rows)
{
	qsort(rows->rows, rows->count, sizeof rows->rows[0], by_score);
	for (uint32_t i = ROWS_MAX / 2; i < rows->count; i++)
		free(rows->rows[i].cells);
	rows->count = ROWS_MAX / 2;
	rows->forgot = true;
	memset(rows->slots, 0, sizeof rows->slots);
	for (uint32_t i = 0; i < rows->count; i++) {
		size_t at = rows->rows[i].hash % SLOTS;
		while (rows->slots[at] != 0)
			at = (at + 1) % SLOTS;
		rows->slots[at] = (int32_t)i + 1;
	}
}

/* A copy of cells with their text, in one allocation. */
static struct tide_cell *cells_copy(const struct tide_schema *schema, const struct tide_cell *cells)
{
	size_t count = (size_t)schema->count, size = count * sizeof *cells;
	for (size_t c = 0; c < count; c++)
		if (is_text(schema->columns[c].type) && cells[c].len > 0)
			size += (size_t)cells[c].len;
	struct tide_cell *copy = malloc(size);
	if (copy == NULL)
		return NULL;
	memcpy(copy, cells, count * sizeof *cells);
	char *text = (char *)(copy + count);
	for (size_t c = 0; c < count; c++) {
		if (!is_text(schema->columns[c].type) || cells[c].len <= 0)
			continue;
		memcpy(text, cells[c].p, (size_t)cells[c].len);
		copy[c].p = text;
		text += cells[c].len;
	}
	return copy;
}

static double value_of(const struct tide_live_rows *rows, const struct tide_cell *cells,
                       double before)
{
	if (rows->value_column < 0)
		return before + 1;
	const struct tide_cell *cell = &cells[rows->value_column];
	if (cell->len < 0)
		return before;
	double value = rows->schema->columns[rows->value_column].type == TIDE_INT ? (double)cell->i
	                                                                          : cell->d;
	return isfinite(value) ? value : before;
}

static bool row_take(struct tide_live_rows *rows, const struct tide_cell *cells)
{
	key_put(rows, cells, &rows->key);
	if (rows->key.failed)
		return false;
	uint64_t hash = tide_hash(rows->key.p, rows->key.len, 0);
	int32_t *slot = slot_find(rows, hash);
	if (*slot == 0 && rows->count == ROWS_MAX) {
		rows_prune(rows);
		slot = slot_find(rows, hash);
	}
	struct tide_cell *copy = cells_copy(rows->schema, cells);
	if (copy == NULL)
		return false;
	bool known = *slot != 0;
	if (!known) {
		rows->rows[rows->count] = (struct tide_live_row){ .hash = hash };
		*slot = (int32_t)++rows->count;
	}
	struct tide_live_row *row = &rows->rows[*slot - 1];
	double value = value_of(rows, cells, row->value);
	/* What a forgotten key had before is not known; it did change, though. */
	double change = known || !rows->forgot ? fabs(value - row->value) : 1;
	free(row->cells);
	row->cells = copy;
	row->value = value;
	row->score += change * log(2) / half_life_s;
	return true;
}

bool tide_live_rows_take(struct tide_live_rows *rows, const struct tide_rows *from)
{
	int columns = rows->schema->count;
	assert(tide_rows_schema(from)->count == columns);
	struct tide_cell *cells = malloc((size_t)columns * sizeof *cells);
	bool ok = cells != NULL;
	for (uint32_t r = 0; ok && r < tide_rows_count(from); r++) {
		for (int c = 0; c < columns; c++)
			cells[c] = tide_rows_cell(from, r, c);
		ok = row_take(rows, cells);
	}
	free(cells);
	return ok;
}

static int by_score_of(const void *a, const void *b)
{
	return by_score(*(const struct tide_live_row *const *)a,
	                *(const struct tide_live_row *const *)b);
}

static int by_value_of(const void *a, const void *b)
{
	const struct tide_live_row *left = *(const struct tide_live_row *const *)a;
	const struct tide_live_row *right = *(const struct tide_live_row *const *)b;
	if (left->value != right->value)
		return left->value < right->value ? 1 : -1;
	return (left->hash > right->hash) - (left->hash < right->hash);
}

uint32_t tide_live_rows_top(struct tide_live_rows *rows, uint32_t max,
                            const struct tide_live_row **top)
{
	uint32_t count = rows->count < max ? rows->count : max;
	for (uint32_t i = 0; i < rows->count; i++)
		rows->order[i] = &rows->rows[i];
	if (rows->count > max)
		qsort(rows->order, rows->count, sizeof rows->order[0], by_score_of);
	qsort(rows->order, count, sizeof rows->order[0], by_value_of);
	memcpy(top, rows->order, count * sizeof *top);
	return count;
}
