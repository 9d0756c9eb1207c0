/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: a one-pass scan for the fields a job declares, straight to cells.
 *
 * The whole document is checked: JSON as RFC 8259 has it, an object, nested at
 * most TIDE_JSON_DEPTH_MAX deep, valid UTF-8, no lone surrogates. Anything else
 * is TIDE_SCAN_MALFORMED. Then, by the type of a column:
 *
 * int        a number without a fraction, exactly: 1, 1.0 and 1e3 count, 1.5 is
 *            another type. Beyond int64 it is TIDE_SCAN_RANGE, in a nullable
 *            column too: a big number shall not become a null unnoticed.
 * double     the nearest double; beyond the largest one TIDE_SCAN_RANGE.
 * bool       true or false.
 * string     text, or any scalar as it is written: 12, 1e400, true. So big
 *            integers can be kept as text.
 * bytes      text, as its bytes in UTF-8. Base64 is not decoded.
 * timestamp  ISO 8601 text, or a number since 1970: milliseconds from 1e11 on
 *            (either sign), else seconds. A fraction counts to microseconds and
 *            is cut there.
 *
 * A nullable field that is missing, null or of another type is a null cell. One
 * that may not be null is TIDE_SCAN_MISSING or TIDE_SCAN_TYPE. A name that comes
 * again replaces the earlier one with all that was in it. */
#ifndef TIDE_DECODE_JSON_H
#define TIDE_DECODE_JSON_H

#include "record/abi.h"
#include "record/arena.h"

enum {
	TIDE_JSON_DEPTH_MAX = 512,
	/* A value beside enum tide_scan: the machine failed, not the document, so
	 * it is never to be treated as malformed input. */
	TIDE_JSON_NOMEM = 5
};

struct tide_json_spec; /* Field paths compiled for matching. */

/* Copies what it needs of `fields`. NULL when out of memory. */
struct tide_json_spec *tide_json_spec_new(const struct tide_field *fields, int count);
void tide_json_spec_free(struct tide_json_spec *spec);

/* One document to one cell per field. Text without escapes is borrowed from
 * `doc`, unescaped text lives in `arena`. Reads nothing beyond doc[len). After
 * an error in a field all cells are set, those at fault to null; after a
 * malformed document all are null. `why` is written on errors only. */
enum tide_scan tide_json_scan(const struct tide_json_spec *spec, const char *doc, int32_t len,
                              struct tide_arena *arena, struct tide_cell *cells,
                              struct tide_scan_error *why);

#endif
