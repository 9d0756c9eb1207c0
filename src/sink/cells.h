/* SPDX-License-Identifier: Apache-2.0 */
/* One cell as text, for each way that rows leave on stdout. Internal to sink/.
 *
 * Doubles are written as Java writes them, with the fewest digits that give the
 * same double again: 15.0, 0.1, 1.0E10, 1.0E-5, NaN, -Infinity. All of it but
 * the last two is JSON as well. Invalid UTF-8 becomes U+FFFD everywhere. */
#ifndef TIDE_SINK_CELLS_H
#define TIDE_SINK_CELLS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "record/abi.h"

void tide_cell_double(struct tide_buf *out, double value);

/* For people: what is shown in a grid. Nulls are `null`, times are UTC as
 * "2024-01-01 12:00:00" with a fraction only if there is one, bytes are
 * "[0A FF]". Newline, return, tab, form feed, backspace, vertical tab and bell
 * are shown as \n \r \t \f \b \v \a, other control characters as \x1B, so that
 * data cannot steer a terminal. Text of more than `chars_max` characters is cut
 * and ends in "..."; 0 never cuts. Returns the columns it takes on a terminal:
 * two for wide characters. */
size_t tide_cell_show(struct tide_buf *out, enum tide_type type, struct tide_cell cell,
                      size_t chars_max);
size_t tide_cell_show_text(struct tide_buf *out, const char *p, size_t len, size_t chars_max);

/* A JSON value. Times are text in ISO 8601, "2024-01-01T12:00:00.000Z", to
 * microseconds if it takes them; bytes are Base64; what is no number is null.
 * Only printable characters appear, the others as \u001b. */
void tide_cell_json(struct tide_buf *out, enum tide_type type, struct tide_cell cell);
void tide_cell_json_text(struct tide_buf *out, const char *p, size_t len);

/* A field as RFC 4180 has it. Null is nothing, empty text is "". On a terminal
 * control characters other than newlines are left out. */
void tide_cell_csv(struct tide_buf *out, enum tide_type type, struct tide_cell cell, bool terminal);
void tide_cell_csv_text(struct tide_buf *out, const char *p, size_t len, bool terminal);

#endif
