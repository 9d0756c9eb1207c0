/* SPDX-License-Identifier: Apache-2.0 */
/* Rows in columns: what leaves Lua and what every sink takes.
 *
 * Laid out as the Arrow C data interface lays it out: a validity bitmap, 8-byte
 * values, and for text 32-bit offsets into bytes. */
#ifndef TIDE_RECORD_ROWS_H
#define TIDE_RECORD_ROWS_H

#include <stdbool.h>

#include "base/buf.h"
#include "record/abi.h"

enum { TIDE_NAME_MAX = 64, TIDE_COLUMNS_MAX = 256 };

struct tide_column {
	char name[TIDE_NAME_MAX];
	enum tide_type type;
	bool nullable;
};

struct tide_schema {
	int count;
	struct tide_column columns[]; /* count of them */
};

struct tide_schema *tide_schema_new(int count);
struct tide_schema *tide_schema_copy(const struct tide_schema *schema);
int tide_schema_find(const struct tide_schema *schema, const char *name); /* or -1 */
const char *tide_type_name(enum tide_type type);

struct tide_rows;

struct tide_rows *tide_rows_new(const struct tide_schema *schema); /* copies it */
void tide_rows_free(struct tide_rows *rows);
/* No column takes more than about so much; what would does not fit. */
void tide_rows_limit(struct tide_rows *rows, size_t bytes);
const struct tide_schema *tide_rows_schema(const struct tide_rows *rows);
uint32_t tide_rows_count(const struct tide_rows *rows);
size_t tide_rows_bytes(const struct tide_rows *rows);
void tide_rows_clear(struct tide_rows *rows);
/* Copies the cells in; false when out of memory. */
bool tide_rows_append(struct tide_rows *rows, const struct tide_cell *cells);
/* Drop what was appended after there were `count` rows. */
void tide_rows_truncate(struct tide_rows *rows, uint32_t count);
/* All rows of `from`, which has the same schema. */
bool tide_rows_extend(struct tide_rows *rows, const struct tide_rows *from);
/* `count` of them, from row `first` on. */
bool tide_rows_extend_range(struct tide_rows *rows, const struct tide_rows *from, uint32_t first,
                            uint32_t count);
/* Borrowed until the next change. */
struct tide_cell tide_rows_cell(const struct tide_rows *rows, uint32_t row, int column);
/* Row numbers by ascending columns, left to right, nulls first, text by bytes.
 * `order` holds tide_rows_count() numbers. */
void tide_rows_sort(const struct tide_rows *rows, uint32_t *order);

/* Bytes for the outbox and back; the schema travels with them. */
void tide_rows_encode(const struct tide_rows *rows, struct tide_buf *out);
int tide_rows_decode(struct tide_slice bytes, struct tide_rows **out, struct tide_error *err);

#endif
