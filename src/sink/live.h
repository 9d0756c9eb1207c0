/* SPDX-License-Identifier: Apache-2.0 */
/* A table that stays at the top of a terminal while the log scrolls below it:
 * the rows that change most, refreshed by a thread of its own.
 * The first function is for others, too; the rest is internal to sink/. */
#ifndef TIDE_SINK_LIVE_H
#define TIDE_SINK_LIVE_H

#include "base/error.h"
#include "record/rows.h"
#include "sink/stream.h"

struct tide_live;

struct tide_live_options {
	struct tide_stream *stream;       /* to the terminal; outlives the table */
	const struct tide_schema *schema; /* copied */
	uint32_t rows_max;
	size_t chars_max;
};

/* Is there a terminal that understands cursor movement and has some room? */
bool tide_live_possible(int fd);
int tide_live_new(const struct tide_live_options *options, struct tide_live **out,
                  struct tide_error *err);
/* Rows of these columns can be folded in. */
bool tide_live_fits(const struct tide_live *live, const struct tide_schema *schema);
/* Fold an epoch's rows in. An error is the terminal's: it has gone away. */
int tide_live_take(struct tide_live *live, int64_t epoch, const struct tide_rows *rows,
                   struct tide_error *err);
/* Draws the last state and gives the whole terminal back. Accepts NULL. */
void tide_live_free(struct tide_live *live);

/* The same, by force, for whoever ends the process in the middle of it: safe in
 * a signal handler, and does nothing where no table is shown. */
void tide_live_abandon(void);

#endif
