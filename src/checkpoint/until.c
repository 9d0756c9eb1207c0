/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of keys by when they may be forgotten. */
#include "checkpoint/until.h"

#include <string.h>

#include "state/keys.h"

enum { AT_END = 3, AT_SHARD = AT_END + 8, HEAD = AT_SHARD + 1 }; /* as tide_state_key has it */

static void put_head(struct tide_buf *out, struct tide_state_op op, int64_t end_us, uint32_t shard)
{
	tide_state_end(out, op, end_us);
	tide_buf_u8(out, (uint8_t)shard);
}

void tide_until_key(struct tide_buf *out, struct tide_state_op op, int64_t end_us, uint32_t shard,
                    int64_t epoch, uint32_t number)
{
	put_head(out, op, end_us, shard);
	tide_buf_u64(out, (uint64_t)epoch);
	tide_buf_u32(out, number);
}

void tide_until_alone(struct tide_buf *out, struct tide_state_op op, int64_t end_us, uint32_t shard,
                      const char *key, size_t len)
{
	put_head(out, op, end_us, shard);
	tide_buf_put(out, key, len);
}

void tide_until_add(struct tide_buf *value, const char *key, size_t len)
{
	tide_buf_bytes(value, key, len);
}

bool tide_until_open(struct tide_until *until, struct tide_slice key, struct tide_slice value)
{
	uint64_t bits;
	if (key.len <= HEAD)
		return false;
	memcpy(&bits, key.p + AT_END, sizeof bits);
	*until = (struct tide_until){
		.end_us = (int64_t)(__builtin_bswap64(bits) ^ (uint64_t)INT64_MIN),
		.shard = (uint8_t)key.p[AT_SHARD],
		.left = tide_reader_of(value.p, value.len),
	};
	if (value.len == 0)
		until->alone = (struct tide_slice){ key.p + HEAD, key.len - HEAD };
	return until->shard < TIDE_SHARDS;
}

bool tide_until_next(struct tide_until *until, struct tide_slice *key)
{
	if (until->alone.len > 0) {
		*key = until->alone;
		until->alone.len = 0;
		return true;
	}
	if (until->left.failed || until->left.p == until->left.end)
		return false;
	*key = tide_read_bytes(&until->left);
	return !until->left.failed;
}
