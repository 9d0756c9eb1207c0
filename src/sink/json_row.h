/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as JSON objects, columns in declared order. Internal to sink/. */
#ifndef TIDE_SINK_JSON_ROW_H
#define TIDE_SINK_JSON_ROW_H

#include "base/buf.h"
#include "record/rows.h"

/* Which columns, with their names as JSON. All zeroes is none. */
struct tide_json_row {
	int count, columns[TIDE_COLUMNS_MAX];
	struct tide_buf names; /* `{"a":`, `,"b":`, … */
	size_t name_at[TIDE_COLUMNS_MAX + 1];
};

/* `list` is "a,b"; NULL: all, but those that begin with '@', which are the
 * sink's own. */
int tide_json_row_init(struct tide_json_row *json, const struct tide_schema *schema,
                       const char *list, struct tide_error *err);
void tide_json_row_fini(struct tide_json_row *json);
void tide_json_row_put(const struct tide_json_row *json, const struct tide_rows *rows, uint32_t row,
                       struct tide_buf *out);
/* At most so many bytes does a row take. */
size_t tide_json_row_bytes_max(const struct tide_json_row *json, const struct tide_rows *rows,
                               uint32_t row);

/* The column of that name, or an error that says what that means for rows which
 * come from the outbox. */
int tide_json_row_column(const struct tide_schema *schema, const char *name, size_t len,
                         struct tide_error *err);

#endif
