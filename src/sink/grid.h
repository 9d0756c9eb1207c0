/* SPDX-License-Identifier: Apache-2.0 */
/* Cells under their names, right-aligned, as wide as the widest of a column.
 * Internal to sink/. */
#ifndef TIDE_SINK_GRID_H
#define TIDE_SINK_GRID_H

#include "base/buf.h"
#include "record/abi.h"
#include "record/rows.h"

/* All zeroes but `columns` is an empty grid. Cells are added row by row, from
 * left to right; without memory `text.failed` is set and stays. */
struct tide_grid {
	int columns;
	size_t count; /* cells so far */
	struct tide_buf text;
	struct tide_buf cells; /* of struct tide_grid_cell */
	size_t width[TIDE_COLUMNS_MAX + 1];
};

void tide_grid_fini(struct tide_grid *grid);
/* A cell, cut at chars_max characters, or a text of our own as it is. */
void tide_grid_add(struct tide_grid *grid, enum tide_type type, struct tide_cell cell,
                   size_t chars_max);
void tide_grid_add_text(struct tide_grid *grid, const char *text);
void tide_grid_add_names(struct tide_grid *grid, const struct tide_schema *schema);
/* One row, with `between` before, between and (if `closed`) behind the cells;
 * only columns that fit into `width_max`, 0: all. */
struct tide_grid_line {
	const char *between;
	bool closed;
	size_t width_max;
};
void tide_grid_put(const struct tide_grid *grid, size_t row, const struct tide_grid_line *line,
                   struct tide_buf *out);

/* How Spark's console shows a batch: the block with its number, the first
 * `rows_max` rows, and a remark if there are more. */
struct tide_spark_options {
	int64_t batch;
	uint32_t rows_max;
	size_t chars_max; /* 0: do not cut */
};
void tide_spark_put(const struct tide_rows *rows, const uint32_t *order,
                    const struct tide_spark_options *options, struct tide_buf *out);

#endif
