/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters: a record that failed, as a row for the sink of on_error. */
#include "run/letter.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "sink/cells.h"

/* So long that a topic with usual limits takes the letter as JSON, where a byte
 * may become six. */
enum { TEXT_MAX = 128 * 1024, KEY_MAX = 8 * 1024 };
enum { TOPIC, PARTITION, OFFSET, TIMESTAMP, KEY, VALUE, HEADERS, REASON, LINE, RAW_KEY, RAW_VALUE };

static const char encoded[] = "base64:";

static bool is_utf8(const char *p, size_t len)
{
	for (size_t n; len > 0; p += n, len -= n)
		if ((n = tide_utf8_len(p, len)) == 0)
			return false;
	return true;
}

/* Bytes as text into `out`. */
static void put_text(struct tide_buf *out, const char *p, size_t len, size_t most)
{
	/* A cut character is not worth an encoding. */
	size_t begin = sizeof encoded - 1, shown = tide_utf8_cut(p, len, most);
	bool plain = is_utf8(p, shown) && (shown < begin || memcmp(p, encoded, begin) != 0);
	if (plain) {
		tide_buf_put(out, p, shown);
	} else {
		size_t at;
		struct tide_cell cell = { .p = p, .len = (int32_t)shown };
		tide_buf_put(out, encoded, begin);
		at = out->len;
		tide_cell_json(out, TIDE_BYTES, cell);
		if (!out->failed && out->len - at >= 2) { /* without its quotes */
			memmove(out->p + at, out->p + at + 1, out->len - at - 2);
			out->len -= 2;
		}
	}
	if (shown < len)
		tide_buf_printf(out, "… (%zu bytes)", len);
}

/* Text of a view, NULL for null: [from, out->len) of the buffer. */
static bool put_view(struct tide_buf *out, const struct tide_view *view, size_t most)
{
	if (view->len_ < 0)
		return false;
	put_text(out, (const char *)(uintptr_t)view->addr_, (size_t)view->len_, most);
	return true;
}

static void put_headers(struct tide_buf *out, struct tide_buf *text, const struct tide_rec *rec)
{
	const struct tide_header *headers =
		(const struct tide_header *)(uintptr_t)rec->headers_addr_;
	tide_buf_put(out, "[", 1);
	for (uint32_t i = 0; i < rec->header_count && out->len < TEXT_MAX; i++) {
		const struct tide_view *sides[] = { &headers[i].name_, &headers[i].value_ };
		for (int side = 0; side < 2; side++) {
			tide_buf_printf(out, "%s", side > 0 ? "," : i > 0 ? ",[" : "[");
			tide_buf_clear(text);
			if (put_view(text, sides[side], KEY_MAX))
				tide_buf_json(out, text->len > 0 ? text->p : "", text->len);
			else
				tide_buf_printf(out, "null");
		}
		tide_buf_put(out, "]", 1);
	}
	tide_buf_put(out, "]", 1);
}

static struct tide_cell text_cell(const struct tide_buf *buf, bool present)
{
	return (struct tide_cell){ .p = buf->len > 0 ? buf->p : "",
		                   .len = present ? (int32_t)buf->len : -1 };
}

static struct tide_cell raw_cell(const struct tide_view *view)
{
	return (struct tide_cell){ .p = (const char *)(uintptr_t)view->addr_, .len = view->len_ };
}

bool tide_letter_add(struct tide_rows *rows, const struct tide_batch *batch, uint32_t row,
                     const char *reason, const char *place)
{
	const struct tide_rec *rec = &batch->recs[row];
	struct tide_buf key = { 0 }, value = { 0 }, headers = { 0 }, why = { 0 }, scratch = { 0 };
	assert(tide_rows_schema(rows)->count == RAW_VALUE + 1);
	bool has_key = put_view(&key, &rec->key_, KEY_MAX);
	bool has_value = put_view(&value, &rec->value_, TEXT_MAX);
	if (rec->header_count > 0)
		put_headers(&headers, &scratch, rec);
	put_text(&why, reason, strlen(reason), KEY_MAX);
	struct tide_cell cells[RAW_VALUE + 1] = {
		[TOPIC] = { .p = batch->topic, .len = batch->topic_len },
		[PARTITION] = { .i = batch->partition },
		[OFFSET] = { .i = rec->offset_ },
		[TIMESTAMP] = { .i = tide_clock_us_of(rec->timestamp_ms_),
		                .len = rec->timestamp_ms_ < 0 ? -1 : 0 },
		[KEY] = text_cell(&key, has_key),
		[VALUE] = text_cell(&value, has_value),
		[HEADERS] = text_cell(&headers, rec->header_count > 0),
		[REASON] = text_cell(&why, true),
		[LINE] = { .p = place, .len = *place != '\0' ? (int32_t)strlen(place) : -1 },
		[RAW_KEY] = raw_cell(&rec->key_),
		[RAW_VALUE] = raw_cell(&rec->value_),
	};
	bool ok = !key.failed && !value.failed && !headers.failed && !why.failed &&
	          !scratch.failed && tide_rows_append(rows, cells);
	tide_buf_fini(&key);
	tide_buf_fini(&value);
	tide_buf_fini(&headers);
	tide_buf_fini(&why);
	tide_buf_fini(&scratch);
	return ok;
}
