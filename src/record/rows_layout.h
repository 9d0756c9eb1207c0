/* SPDX-License-Identifier: Apache-2.0 */
/* How rows lie in memory: for rows.c and rows_codec.c, nobody else. */
#ifndef TIDE_RECORD_ROWS_LAYOUT_H
#define TIDE_RECORD_ROWS_LAYOUT_H

#include "record/rows.h"

/* Null rows hold 0 or an empty text. Bits behind the last row are anything. */
struct column {
	uint8_t *valid;    /* bit i: row i is not null */
	int64_t *values;   /* all types but text */
	uint32_t *offsets; /* row i's text is [offsets[i], offsets[i + 1]) */
	char *text;
	size_t text_cap;
};

struct tide_rows {
	struct tide_schema *schema;
	struct column *columns;
	uint32_t count, cap;
	size_t max; /* bytes; 0: as many as there are */
};

bool tide_rows_reserve(struct tide_rows *rows, uint32_t more);
bool tide_rows_reserve_text(struct tide_rows *rows, int c, size_t more);

static inline bool tide_rows_is_text(enum tide_type type)
{
	return type == TIDE_STRING || type == TIDE_BYTES;
}

static inline size_t tide_rows_bitmap_size(uint32_t count)
{
	return ((size_t)count + 7) / 8;
}

static inline bool tide_rows_valid(const struct column *column, uint32_t row)
{
	return (column->valid[row >> 3] >> (row & 7)) & 1;
}

static inline uint32_t tide_rows_text_len(const struct tide_rows *rows, int c)
{
	return rows->count > 0 ? rows->columns[c].offsets[rows->count] : 0;
}

#endif
