/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as bytes: one way to write them, and nothing else is read.
 *
 *   "TRW1" u32 columns, then per column: name, u8 type, u8 nullable
 *   u32 rows, then per column: u8 has_nulls, [bitmap], and
 *     8 bytes a row, or for text u32 ends[rows] and the bytes
 *   u64 hash of all before it
 *
 * The hash finds damage; the checks behind it find bytes that were written by
 * something else, so that what is decoded always encodes to the same bytes. */
#include "record/rows.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "record/rows_layout.h"

static const char MAGIC[4] = { 'T', 'R', 'W', '1' };

static bool column_has_nulls(const struct tide_rows *rows, int c)
{
	for (uint32_t i = 0; i < rows->count; i++)
		if (!tide_rows_valid(&rows->columns[c], i))
			return true;
	return false;
}

static void column_encode(const struct tide_rows *rows, int c, struct tide_buf *out)
{
	const struct column *column = &rows->columns[c];
	uint32_t count = rows->count;
	bool nulls = column_has_nulls(rows, c);
	tide_buf_u8(out, nulls);
	if (nulls) {
		size_t size = tide_rows_bitmap_size(count);
		tide_buf_put(out, column->valid, size - 1);
		uint8_t spare = (uint8_t)(size * 8 - count);
		tide_buf_u8(out, (uint8_t)(column->valid[size - 1] & (0xFFu >> spare)));
	}
	if (!tide_rows_is_text(rows->schema->columns[c].type)) {
		tide_buf_put(out, column->values, count * sizeof *column->values);
	} else if (count > 0) {
		tide_buf_put(out, column->offsets + 1, count * sizeof *column->offsets);
		tide_buf_put(out, column->text, tide_rows_text_len(rows, c));
	}
}

void tide_rows_encode(const struct tide_rows *rows, struct tide_buf *out)
{
	assert(rows != NULL && out != NULL);
	size_t start = out->len;
	const struct tide_schema *schema = rows->schema;
	tide_buf_put(out, MAGIC, sizeof MAGIC);
	tide_buf_u32(out, (uint32_t)schema->count);
	for (int c = 0; c < schema->count; c++) {
		tide_buf_str(out, schema->columns[c].name);
		tide_buf_u8(out, (uint8_t)schema->columns[c].type);
		tide_buf_u8(out, schema->columns[c].nullable);
	}
	tide_buf_u32(out, rows->count);
	for (int c = 0; c < schema->count; c++)
		column_encode(rows, c, out);
	if (!out->failed)
		tide_buf_u64(out, tide_hash(out->p + start, out->len - start, 0));
}

static bool column_decode_schema(struct tide_reader *in, struct tide_column *column)
{
	struct tide_slice name = tide_read_bytes(in);
	uint8_t type = tide_read_u8(in);
	uint8_t nullable = tide_read_u8(in);
	if (in->failed || name.len >= TIDE_NAME_MAX || memchr(name.p, '\0', name.len) != NULL)
		return false;
	if (type < TIDE_INT || type > TIDE_TIMESTAMP || nullable > 1)
		return false;
	memcpy(column->name, name.p, name.len);
	column->type = (enum tide_type)type;
	column->nullable = nullable;
	return true;
}

/* The next `size` bytes, or NULL. */
static const char *take(struct tide_reader *in, uint64_t size)
{
	if (in->failed || size > (uint64_t)(in->end - in->p)) {
		in->failed = true;
		return NULL;
	}
	const char *p = in->p;
	in->p += size;
	return p;
}

/* All rows valid, or the bitmap that was written, with at least one null. */
static bool column_decode_valid(struct tide_reader *in, struct tide_rows *rows, int c)
{
	uint8_t *valid = rows->columns[c].valid;
	size_t size = tide_rows_bitmap_size(rows->count);
	uint8_t nulls = tide_read_u8(in);
	if (nulls == 0) {
		if (size > 0)
			memset(valid, 0xFF, size);
		return !in->failed;
	}
	const char *p = take(in, size);
	if (nulls > 1 || p == NULL || size == 0 || !rows->schema->columns[c].nullable)
		return false;
	memcpy(valid, p, size);
	uint8_t used = (uint8_t)(0xFFu >> (size * 8 - rows->count));
	return (valid[size - 1] & ~used) == 0 && column_has_nulls(rows, c);
}

static bool column_decode_values(struct tide_reader *in, struct tide_rows *rows, int c)
{
	struct column *column = &rows->columns[c];
	uint64_t size = (uint64_t)rows->count * sizeof *column->values;
	const char *p = take(in, size);
	if (p == NULL)
		return false;
	if (size > 0)
		memcpy(column->values, p, size);
	bool is_bool = rows->schema->columns[c].type == TIDE_BOOL;
	for (uint32_t i = 0; i < rows->count; i++) {
		int64_t v = column->values[i];
		if ((!tide_rows_valid(column, i) && v != 0) || (is_bool && v != 0 && v != 1))
			return false;
	}
	return true;
}

static bool column_decode_text(struct tide_reader *in, struct tide_rows *rows, int c)
{
	struct column *column = &rows->columns[c];
	const char *ends = take(in, (uint64_t)rows->count * sizeof *column->offsets);
	if (ends == NULL)
		return false;
	if (rows->count == 0)
		return true;
	memcpy(column->offsets + 1, ends, rows->count * sizeof *column->offsets);
	for (uint32_t i = 0; i < rows->count; i++) {
		uint32_t from = column->offsets[i], to = column->offsets[i + 1];
		if (to < from || to - from > INT32_MAX)
			return false;
		if (to != from && !tide_rows_valid(column, i))
			return false;
	}
	uint32_t len = column->offsets[rows->count];
	const char *text = take(in, len);
	if (text == NULL)
		return false;
	/* Room for `len` more than there is: the rows count already. */
	uint32_t count = rows->count;
	rows->count = 0;
	bool room = tide_rows_reserve_text(rows, c, len);
	rows->count = count;
	if (room && len > 0)
		memcpy(column->text, text, len);
	return room;
}

/* Rows of the schema at `in`, empty, or NULL. */
static struct tide_rows *schema_decode(struct tide_reader *in)
{
	const char *magic = take(in, sizeof MAGIC);
	uint32_t count = tide_read_u32(in);
	if (in->failed || memcmp(magic, MAGIC, sizeof MAGIC) != 0)
		return NULL;
	if (count < 1 || count > TIDE_COLUMNS_MAX)
		return NULL;
	struct tide_schema *schema = tide_schema_new((int)count);
	struct tide_rows *rows = NULL;
	bool good = schema != NULL;
	for (uint32_t c = 0; good && c < count; c++)
		good = column_decode_schema(in, &schema->columns[c]);
	if (good)
		rows = tide_rows_new(schema);
	free(schema);
	return rows;
}

static bool columns_decode(struct tide_reader *in, struct tide_rows *rows)
{
	uint32_t count = tide_read_u32(in);
	/* A cell takes at least 4 bytes: no memory is asked for on a lie. */
	uint64_t cells = (uint64_t)count * (uint64_t)rows->schema->count;
	if (in->failed || cells > (uint64_t)(in->end - in->p) / 4)
		return false;
	if (!tide_rows_reserve(rows, count))
		return false;
	rows->count = count;
	for (int c = 0; c < rows->schema->count; c++) {
		if (!column_decode_valid(in, rows, c))
			return false;
		bool text = tide_rows_is_text(rows->schema->columns[c].type);
		if (!(text ? column_decode_text : column_decode_values)(in, rows, c))
			return false;
	}
	return in->p == in->end;
}

int tide_rows_decode(struct tide_slice bytes, struct tide_rows **out, struct tide_error *err)
{
	assert(out != NULL);
	size_t size = bytes.len - sizeof(uint64_t);
	if (bytes.len < sizeof(uint64_t))
		return tide_fail(err, TIDE_ERR_CHECKPOINT, "stored rows are cut short: %zu bytes",
		                 bytes.len);
	struct tide_reader sum = tide_reader_of(bytes.p + size, sizeof(uint64_t));
	if (tide_read_u64(&sum) != tide_hash(bytes.p, size, 0))
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "stored rows are damaged: the checksum of %zu bytes differs",
		                 bytes.len);
	struct tide_reader in = tide_reader_of(bytes.p, size);
	errno = 0;
	struct tide_rows *rows = schema_decode(&in);
	if (rows == NULL || !columns_decode(&in, rows)) {
		bool memory = errno == ENOMEM;
		tide_rows_free(rows);
		if (memory)
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for stored rows");
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "stored rows cannot be read: byte %zu of %zu is not of a form "
		                 "that this version writes",
		                 (size_t)(in.p - bytes.p), bytes.len);
	}
	*out = rows;
	return TIDE_OK;
}
