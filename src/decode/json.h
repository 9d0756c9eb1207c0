/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: a one-pass scan for the fields a job declares, straight to cells. */
#ifndef TIDE_DECODE_JSON_H
#define TIDE_DECODE_JSON_H

#include "record/abi.h"
#include "record/arena.h"

struct tide_json_spec; /* Field paths compiled for matching. */

struct tide_json_spec *tide_json_spec_new(const struct tide_field *fields, int count);
void tide_json_spec_free(struct tide_json_spec *spec);

/* One document to one cell per field. Text without escapes is borrowed from
 * `doc`, unescaped text lives in `arena`. The whole document is checked for
 * being JSON with valid UTF-8. A nullable field that is missing, null or of
 * another type is a null cell. Integers are exact or an error; a `string`
 * column takes any scalar as its text ("12", "true", 1e400), so big integers
 * can be kept as text. A repeated field: the last one wins. */
enum tide_scan tide_json_scan(const struct tide_json_spec *spec, const char *doc, int32_t len,
                              struct tide_arena *arena, struct tide_cell *cells,
                              struct tide_scan_error *why);

#endif
