/* SPDX-License-Identifier: Apache-2.0 */
/* The rows a live table knows: the newest values by key, and how fast they move.
 * Internal to sink/. */
#ifndef TIDE_SINK_LIVE_ROWS_H
#define TIDE_SINK_LIVE_ROWS_H

#include "record/rows.h"

/* One row. Text of its cells lies behind them in the same allocation. */
struct tide_live_row {
	uint64_t hash; /* of its key */
	struct tide_cell *cells;
	double value; /* the last number of the row, or how often it came */
	double score; /* change per second, smoothed */
};

struct tide_live_rows;

struct tide_live_rows *tide_live_rows_new(const struct tide_schema *schema); /* copies it */
void tide_live_rows_free(struct tide_live_rows *rows);
const struct tide_schema *tide_live_rows_schema(const struct tide_live_rows *rows);
/* Leading columns that tell rows apart: all but the numbers at the end. */
int tide_live_rows_keys(const struct tide_live_rows *rows);
/* Scores fade with time, also while nothing comes. */
void tide_live_rows_fade(struct tide_live_rows *rows, int64_t now_us);
/* Every row of an epoch; false when out of memory. */
bool tide_live_rows_take(struct tide_live_rows *rows, const struct tide_rows *from);
/* The rows that change most, at most `max` of them, into `top`: the largest
 * values first, then by key. Returns how many. */
uint32_t tide_live_rows_top(struct tide_live_rows *rows, uint32_t max,
                            const struct tide_live_row **top);

#endif
