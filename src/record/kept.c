/* SPDX-License-Identifier: Apache-2.0 */
/* A record in cells of a row, for as long as the row waits. */
#include "record/kept.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"

enum { KEY, VALUE, TIMESTAMP, HEADERS };

static struct tide_cell view_cell(const struct tide_view *view)
{
	return (struct tide_cell){ .p = tide_view_p(view), .len = view->len_ };
}

/* A length, -1 for null, and the bytes. */
static char *put_side(char *at, const struct tide_view *view)
{
	memcpy(at, (const char *)&view->len_, sizeof view->len_);
	at += sizeof view->len_;
	if (view->len_ > 0) {
		memcpy(at, tide_view_p(view), (size_t)view->len_);
		at += view->len_;
	}
	return at;
}

static size_t side_bytes(const struct tide_view *view)
{
	return sizeof view->len_ + (view->len_ > 0 ? (size_t)view->len_ : 0);
}

static bool put_headers(const struct tide_batch *batch, const struct tide_rec *rec,
                        struct tide_cell *cell)
{
	const struct tide_header *headers =
		(const struct tide_header *)(uintptr_t)rec->headers_addr_;
	size_t bytes = 0;
	cell->len = -1;
	if (rec->header_count == 0)
		return true;
	for (uint32_t i = 0; i < rec->header_count; i++)
		bytes += side_bytes(&headers[i].name_) + side_bytes(&headers[i].value_);
	char *text = tide_arena_text(batch->arena, bytes), *at = text;
	if (text == NULL)
		return false;
	for (uint32_t i = 0; i < rec->header_count; i++)
		at = put_side(put_side(at, &headers[i].name_), &headers[i].value_);
	cell->p = text;
	cell->len = (int32_t)bytes;
	return true;
}

bool tide_kept_put(const struct tide_batch *batch, const struct tide_rec *rec,
                   struct tide_cell *cells)
{
	cells[KEY] = view_cell(&rec->key_);
	cells[VALUE] = view_cell(&rec->value_);
	cells[TIMESTAMP] = (struct tide_cell){ .i = tide_clock_us_of(rec->timestamp_ms_),
		                               .len = rec->timestamp_ms_ < 0 ? -1 : 0 };
	return put_headers(batch, rec, &cells[HEADERS]);
}

static struct tide_slice slice_of(const struct tide_cell *cell)
{
	return (struct tide_slice){ cell->len < 0    ? NULL
		                    : cell->len == 0 ? ""
		                                     : cell->p,
		                    cell->len < 0 ? 0 : (size_t)cell->len };
}

static struct tide_slice take_side(struct tide_reader *in)
{
	int32_t len = (int32_t)tide_read_u32(in);
	struct tide_slice side = { len < 0 ? NULL : in->p, len < 0 ? 0 : (size_t)len };
	in->p += side.len;
	assert(!in->failed && in->p <= in->end);
	return side;
}

static bool add_headers(struct tide_batch *batch, const struct tide_cell *cell)
{
	uint32_t count = 0;
	bool ok = true;
	if (cell->len < 0)
		return true;
	struct tide_reader in = tide_reader_of(cell->p, (size_t)cell->len);
	for (; in.p < in.end; count++)
		take_side(&in), take_side(&in);
	ok = tide_batch_headers(batch, count);
	in = tide_reader_of(cell->p, (size_t)cell->len);
	for (uint32_t i = 0; ok && i < count; i++) {
		struct tide_slice name = take_side(&in);
		ok = tide_batch_header_set(batch, i, name, take_side(&in));
	}
	return ok;
}

bool tide_kept_add(struct tide_batch *batch, const struct tide_cell *cells, int64_t offset)
{
	int64_t ms = cells[TIMESTAMP].len < 0 ? -1 : cells[TIMESTAMP].i / 1000;
	return tide_batch_add(batch, slice_of(&cells[KEY]), slice_of(&cells[VALUE]), offset, ms) !=
	               NULL &&
	       add_headers(batch, &cells[HEADERS]);
}
