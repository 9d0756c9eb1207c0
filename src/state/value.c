/* SPDX-License-Identifier: Apache-2.0 */
/* State as bytes on disk. */
#include "state/value.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

enum { RUN_MIN = 4 }; /* zeroes that are worth two numbers */

/* Where the next run of zeroes that is worth it begins, or the end. */
static size_t literal_end(const char *state, size_t at, size_t size)
{
	size_t zeroes = 0;
	for (; at < size && zeroes < RUN_MIN; at++)
		zeroes = state[at] == 0 ? zeroes + 1 : 0;
	return zeroes == RUN_MIN || at == size ? at - zeroes : at;
}

static size_t zeroes_end(const char *state, size_t at, size_t size)
{
	static const char none[8];
	while (at + sizeof none <= size && memcmp(state + at, none, sizeof none) == 0)
		at += sizeof none;
	while (at < size && state[at] == 0)
		at++;
	return at;
}

/* Seven bits a byte, the low ones first. */
static void number_put(struct tide_buf *out, size_t number)
{
	for (; number >= 0x80; number >>= 7)
		tide_buf_u8(out, (uint8_t)(number | 0x80));
	tide_buf_u8(out, (uint8_t)number);
}

void tide_value_encode(const char *state, size_t size, struct tide_buf *out)
{
	size_t begin = out->len;
	assert(size > 0);
	for (size_t at = 0; size > TIDE_VALUE_PLAIN_MAX && at < size;) {
		size_t from = zeroes_end(state, at, size), to = literal_end(state, from, size);
		if (from < to || at == 0)
			number_put(out, from - at);
		if (from < to) {
			number_put(out, to - from);
			tide_buf_put(out, state + from, to - from);
		}
		at = to;
	}
	if (out->len == begin || (!out->failed && out->len - begin >= size)) {
		out->len = begin;
		tide_buf_put(out, state, size);
	}
}

static bool number_get(struct tide_slice *in, size_t *number)
{
	*number = 0;
	for (unsigned shift = 0; in->len > 0 && shift <= 28; shift += 7) {
		uint8_t byte = (uint8_t)*in->p++;
		in->len--;
		*number |= (size_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

bool tide_value_decode(struct tide_slice value, char *state, size_t size)
{
	size_t at = 0, count;
	if (value.len == size) {
		memcpy(state, value.p, size);
		return true;
	}
	if (size <= TIDE_VALUE_PLAIN_MAX || value.len == 0 || value.len > size)
		return false;
	memset(state, 0, size);
	while (value.len > 0) {
		if (!number_get(&value, &count) || count > size - at)
			return false;
		at += count;
		if (value.len == 0)
			break;
		if (!number_get(&value, &count) || count > size - at || count > value.len)
			return false;
		memcpy(state + at, value.p, count);
		at += count;
		value.p += count;
		value.len -= count;
	}
	return true;
}

int tide_value_fail(const char *operator, struct tide_slice value, size_t size,
                    struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "state of %s has %zu bytes that are no state of %zu; run "
	                 "`tidemark checkpoint verify`",
	                 operator, value.len, size);
}
