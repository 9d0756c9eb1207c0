/* SPDX-License-Identifier: Apache-2.0 */
/* Keys as bytes: from the cells of a row, and back.
 *
 * Part by part: text is a length byte (255 escapes to 4 bytes) and the bytes;
 * other types are a tag byte, which is the type's number, and 8 bytes; null is
 * the tag 254 alone. Numbers are little-endian. Equal keys have equal bytes:
 * -0.0 is 0.0, every NaN is one NaN, a true bool is 1. The shard of a key is a
 * hash of these bytes, so the encoding never changes under a checkpoint. */
#ifndef TIDE_STATE_KEYS_H
#define TIDE_STATE_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "record/abi.h"

enum { TIDE_KEY_PARTS_MAX = 16, TIDE_SHARDS = 64 };

struct tide_keyspec {
	int count;
	int columns[TIDE_KEY_PARTS_MAX]; /* cells of the row */
	enum tide_type types[TIDE_KEY_PARTS_MAX];
	int shard_at; /* only the bytes of the key from there on decide its shard */
};

/* Bytes that the encoding of this row's key takes. */
size_t tide_key_size(const struct tide_keyspec *spec, const struct tide_cell *row);
/* Writes them; returns the end. */
char *tide_key_encode(const struct tide_keyspec *spec, const struct tide_cell *row, char *out);
/* spec->count cells, text borrowed from `key`. Returns false on bytes that are
 * not a key of this spec, and on a second encoding of one. */
bool tide_key_decode(const struct tide_keyspec *spec, const char *key, size_t len,
                     struct tide_cell *cells);
uint32_t tide_key_shard(const char *key, size_t len);

/* A key whose first part is a timestamp that is not null: what it is. */
enum { TIDE_KEY_TIME_SIZE = 9 };
int64_t tide_key_time(const char *key);
void tide_key_put_time(struct tide_buf *key, int64_t us);

/* The 8 bytes of a part that is neither text nor null. */
uint64_t tide_key_number(enum tide_type type, const struct tide_cell *cell);

#endif
