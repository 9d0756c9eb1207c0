/* SPDX-License-Identifier: Apache-2.0 */
/* Keys as bytes. */
#include "state/keys.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"

/* These bytes are in every checkpoint and decide every shard. */
enum {
	TAG_TEXT_MAX = 253, /* up to here a text's first byte is its length */
	TAG_NULL = 254,
	TAG_LONG = 255, /* a 32-bit length follows */
	SIZE_LONG = 5,
	SIZE_NUMBER = 9
};

static bool is_text(enum tide_type type)
{
	return type == TIDE_STRING || type == TIDE_BYTES;
}

size_t tide_key_size(const struct tide_keyspec *spec, const struct tide_cell *row)
{
	assert(spec->count >= 0 && spec->count <= TIDE_KEY_PARTS_MAX);
	size_t size = 0;
	for (int i = 0; i < spec->count; i++) {
		int32_t len = row[spec->columns[i]].len;
		if (len < 0)
			size += 1;
		else if (!is_text(spec->types[i]))
			size += SIZE_NUMBER;
		else
			size += (size_t)len + (len <= TAG_TEXT_MAX ? 1 : SIZE_LONG);
	}
	return size;
}

uint64_t tide_key_number(enum tide_type type, const struct tide_cell *cell)
{
	uint64_t bits;
	if (type == TIDE_BOOL)
		return cell->i != 0;
	if (type != TIDE_DOUBLE)
		return (uint64_t)cell->i;
	/* Adding zero makes -0.0 into 0.0. A key that is not a number equals
	 * itself here, whatever its sign and payload are. */
	double d = cell->d == cell->d ? cell->d + 0.0 : 0.0;
	memcpy(&bits, &d, sizeof bits);
	return cell->d == cell->d ? bits : UINT64_C(0x7ff8000000000000);
}

static char *put_le(char *out, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		*out++ = (char)(v >> (8 * i));
	return out;
}

static uint64_t get_le(const char *p, int bytes)
{
	uint64_t v = 0;
	for (int i = 0; i < bytes; i++)
		v |= (uint64_t)(uint8_t)p[i] << (8 * i);
	return v;
}

static char *encode_text(const char *p, uint32_t len, char *out)
{
	if (len <= TAG_TEXT_MAX) {
		*out++ = (char)len;
	} else {
		*out++ = (char)TAG_LONG;
		out = put_le(out, len, 4);
	}
	if (len > 0)
		memcpy(out, p, len);
	return out + len;
}

char *tide_key_encode(const struct tide_keyspec *spec, const struct tide_cell *row, char *out)
{
	for (int i = 0; i < spec->count; i++) {
		const struct tide_cell *cell = &row[spec->columns[i]];
		if (cell->len < 0) {
			*out++ = (char)TAG_NULL;
		} else if (is_text(spec->types[i])) {
			out = encode_text(cell->p, (uint32_t)cell->len, out);
		} else {
			*out++ = (char)spec->types[i];
			out = put_le(out, tide_key_number(spec->types[i], cell), 8);
		}
	}
	return out;
}

/* The length of a text part, its tag at *p; moves *p to its bytes. A length
 * that the short form could hold would be a second encoding of the same key. */
static bool decode_length(const char **p, const char *end, uint32_t *len)
{
	uint8_t tag = (uint8_t) * (*p)++;
	*len = tag;
	if (tag != TAG_LONG)
		return (size_t)(end - *p) >= tag;
	if (end - *p < 4)
		return false;
	*len = (uint32_t)get_le(*p, 4);
	*p += 4;
	return *len > TAG_TEXT_MAX && *len <= INT32_MAX && (size_t)(end - *p) >= *len;
}

static bool decode_number(enum tide_type type, const char *p, struct tide_cell *cell)
{
	uint64_t bits = get_le(p + 1, 8);
	if ((uint8_t)*p != type)
		return false;
	cell->i = (int64_t)bits;
	if (type == TIDE_DOUBLE)
		memcpy(&cell->d, &bits, sizeof bits);
	cell->len = 0;
	return tide_key_number(type, cell) == bits;
}

bool tide_key_decode(const struct tide_keyspec *spec, const char *key, size_t len,
                     struct tide_cell *cells)
{
	const char *p = key, *end = key + len;
	for (int i = 0; i < spec->count; i++) {
		struct tide_cell *cell = &cells[i];
		memset(cell, 0, sizeof *cell);
		if (p == end)
			return false;
		if ((uint8_t)*p == TAG_NULL) {
			cell->len = -1;
			p++;
		} else if (is_text(spec->types[i])) {
			uint32_t text_len;
			if (!decode_length(&p, end, &text_len))
				return false;
			cell->p = p;
			cell->len = (int32_t)text_len;
			p += text_len;
		} else {
			if (end - p < SIZE_NUMBER || !decode_number(spec->types[i], p, cell))
				return false;
			p += SIZE_NUMBER;
		}
	}
	return p == end;
}

uint32_t tide_key_shard(const char *key, size_t len)
{
	return (uint32_t)(tide_hash(key, len, 0) % TIDE_SHARDS);
}

int64_t tide_key_time(const char *key)
{
	assert(key[0] == TIDE_TIMESTAMP);
	return (int64_t)get_le(key + 1, 8);
}

void tide_key_put_time(struct tide_buf *key, int64_t us)
{
	char bytes[TIDE_KEY_TIME_SIZE] = { TIDE_TIMESTAMP };
	put_le(bytes + 1, (uint64_t)us, 8);
	tide_buf_put(key, bytes, sizeof bytes);
}
