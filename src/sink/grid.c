/* SPDX-License-Identifier: Apache-2.0 */
/* Grids of cells, and the one that Spark's console prints. */
#include "sink/grid.h"

#include <assert.h>
#include <string.h>

#include "sink/cells.h"

struct tide_grid_cell {
	size_t from, len; /* in the grid's text */
	size_t width;
};

enum { WIDTH_MIN = 3 }; /* of a column, as Spark has it */

void tide_grid_fini(struct tide_grid *grid)
{
	tide_buf_fini(&grid->text);
	tide_buf_fini(&grid->cells);
}

/* What was appended to the text since `from` is the next cell. */
static void cell_end(struct tide_grid *grid, size_t from, size_t width)
{
	struct tide_grid_cell cell = { from, grid->text.len - from, width };
	size_t column = grid->count % (size_t)grid->columns;
	if (grid->width[column] < width)
		grid->width[column] = width;
	tide_buf_put(&grid->cells, &cell, sizeof cell);
	grid->text.failed = grid->text.failed || grid->cells.failed;
	grid->count++;
}

void tide_grid_add(struct tide_grid *grid, enum tide_type type, struct tide_cell cell,
                   size_t chars_max)
{
	assert(grid->columns > 0 && grid->columns <= TIDE_COLUMNS_MAX + 1);
	size_t from = grid->text.len;
	size_t width = tide_cell_show(&grid->text, type, cell, chars_max);
	cell_end(grid, from, width);
}

void tide_grid_add_text(struct tide_grid *grid, const char *text)
{
	size_t from = grid->text.len;
	size_t width = tide_cell_show_text(&grid->text, text, strlen(text), 0);
	cell_end(grid, from, width);
}

void tide_grid_add_names(struct tide_grid *grid, const struct tide_schema *schema)
{
	for (int c = 0; c < schema->count; c++)
		tide_grid_add_text(grid, schema->columns[c].name);
}

static void put_times(struct tide_buf *out, char c, size_t times)
{
	if (times > 0 && tide_buf_reserve(out, times)) {
		memset(out->p + out->len, c, times);
		out->len += times;
	}
}

void tide_grid_put(const struct tide_grid *grid, size_t row, const struct tide_grid_line *line,
                   struct tide_buf *out)
{
	size_t gap = strlen(line->between), at = 0;
	if (grid->text.failed) {
		out->failed = true;
		return;
	}
	for (int c = 0; c < grid->columns; c++) {
		struct tide_grid_cell cell;
		size_t i = row * (size_t)grid->columns + (size_t)c;
		assert(i < grid->count);
		memcpy(&cell, grid->cells.p + i * sizeof cell, sizeof cell);
		at += gap + grid->width[c];
		if (line->width_max > 0 && at > line->width_max)
			break;
		tide_buf_put(out, line->between, gap);
		put_times(out, ' ', grid->width[c] - cell.width);
		tide_buf_put(out, grid->text.p + cell.from, cell.len);
	}
	if (line->closed)
		tide_buf_put(out, line->between, gap);
}

static void put_rule(const struct tide_grid *grid, struct tide_buf *out)
{
	for (int c = 0; c < grid->columns; c++) {
		tide_buf_put(out, "+", 1);
		put_times(out, '-', grid->width[c]);
	}
	tide_buf_put(out, "+\n", 2);
}

void tide_spark_put(const struct tide_rows *rows, const uint32_t *order,
                    const struct tide_spark_options *options, struct tide_buf *out)
{
	static const char dashes[] = "-------------------------------------------\n";
	static const struct tide_grid_line line = { .between = "|", .closed = true };
	const struct tide_schema *schema = tide_rows_schema(rows);
	struct tide_grid grid = { .columns = schema->count };
	uint32_t count = tide_rows_count(rows);
	uint32_t shown = count < options->rows_max ? count : options->rows_max;
	assert(schema->count > 0);
	for (int c = 0; c < schema->count; c++)
		grid.width[c] = WIDTH_MIN;
	tide_grid_add_names(&grid, schema);
	for (uint32_t r = 0; r < shown; r++)
		for (int c = 0; c < schema->count; c++)
			tide_grid_add(&grid, schema->columns[c].type,
			              tide_rows_cell(rows, order[r], c), options->chars_max);
	tide_buf_printf(out, "%sBatch: %lld\n%s", dashes, (long long)options->batch, dashes);
	put_rule(&grid, out);
	for (uint32_t r = 0; r <= shown; r++) {
		tide_grid_put(&grid, r, &line, out);
		tide_buf_put(out, "\n", 1);
		if (r == 0)
			put_rule(&grid, out);
	}
	put_rule(&grid, out);
	if (count > shown)
		tide_buf_printf(out, "only showing top %u row%s\n", shown, shown == 1 ? "" : "s");
	tide_buf_put(out, "\n", 1);
	tide_grid_fini(&grid);
}
