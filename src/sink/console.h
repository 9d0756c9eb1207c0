/* SPDX-License-Identifier: Apache-2.0 */
/* Rows on stdout. A sink like any other; its formats are
 *
 * spark  a grid per epoch, to the byte what Spark's console sink prints, but
 *        right-aligned also where nothing is cut. Up to `rows` rows (20), cells
 *        cut at `truncate` characters (true: 20, false: never, or a number).
 * table  a live table at the top of a terminal, the log scrolling below: the
 *        rows that change most, as many as fit. For running results only
 *        (update, complete); where that is not so, the same as spark.
 * json   one object per row, columns in declared order, nothing else.
 * csv    RFC 4180, with the names once.
 *
 * Rows are in ascending order of their columns from left to right, nulls first,
 * text by its bytes: Kafka and the workers give them no order that would be the
 * same a second time. `rows` and `truncate` do not touch json and csv.
 *
 * At-least-once: an epoch that was printed when the program was killed may be
 * printed again, after a clean stop never. */
#ifndef TIDE_SINK_CONSOLE_H
#define TIDE_SINK_CONSOLE_H

#include "sink/sink.h"

extern const struct tide_sink_ops tide_console_ops;

#endif
