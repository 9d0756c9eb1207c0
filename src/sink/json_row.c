/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as JSON objects, columns in declared order. */
#include "sink/json_row.h"

#include <string.h>

#include "sink/cells.h"

int tide_json_row_column(const struct tide_schema *schema, const char *name, size_t len,
                         struct tide_error *err)
{
	for (int c = 0; c < schema->count; c++)
		if (strlen(schema->columns[c].name) == len &&
		    memcmp(schema->columns[c].name, name, len) == 0)
			return c;
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "the rows have no column %.*s: they were decided by another version of "
	                 "this job; run that once more",
	                 (int)len, name);
}

static void add(struct tide_json_row *json, const struct tide_schema *schema, int c)
{
	int n = json->count++;
	const char *name = schema->columns[c].name;
	json->columns[n] = c;
	json->name_at[n] = json->names.len;
	tide_buf_put(&json->names, n > 0 ? "," : "{", 1);
	tide_cell_json_text(&json->names, name, strlen(name));
	tide_buf_put(&json->names, ":", 1);
	json->name_at[n + 1] = json->names.len;
}

int tide_json_row_init(struct tide_json_row *json, const struct tide_schema *schema,
                       const char *list, struct tide_error *err)
{
	*json = (struct tide_json_row){ 0 };
	for (int c = 0; list == NULL && c < schema->count; c++)
		if (schema->columns[c].name[0] != '@')
			add(json, schema, c);
	while (list != NULL) {
		size_t len = strcspn(list, ",");
		int c = tide_json_row_column(schema, list, len, err);
		if (c < 0)
			return c;
		add(json, schema, c);
		list = list[len] == ',' ? list + len + 1 : NULL;
	}
	return json->names.failed ? tide_fail(err, TIDE_ERR_NOMEM, "no memory for names") : TIDE_OK;
}

void tide_json_row_fini(struct tide_json_row *json)
{
	tide_buf_fini(&json->names);
}

void tide_json_row_put(const struct tide_json_row *json, const struct tide_rows *rows, uint32_t row,
                       struct tide_buf *out)
{
	const struct tide_schema *schema = tide_rows_schema(rows);
	for (int i = 0; i < json->count; i++) {
		int c = json->columns[i];
		tide_buf_put(out, json->names.p + json->name_at[i],
		             json->name_at[i + 1] - json->name_at[i]);
		tide_cell_json(out, schema->columns[c].type, tide_rows_cell(rows, row, c));
	}
	tide_buf_put(out, json->count > 0 ? "}" : "{}", json->count > 0 ? 1 : 2);
}

size_t tide_json_row_bytes_max(const struct tide_json_row *json, const struct tide_rows *rows,
                               uint32_t row)
{
	/* A byte of text is six at most, as \u001b; a number or a time is short. */
	size_t most = json->names.len + 2;
	for (int i = 0; i < json->count; i++) {
		struct tide_cell cell = tide_rows_cell(rows, row, json->columns[i]);
		most += 64 + 6 * (cell.len > 0 ? (size_t)cell.len : 0);
	}
	return most;
}
