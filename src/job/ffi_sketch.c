/* SPDX-License-Identifier: Apache-2.0 */
/* What aggregates call whose state is a sketch of their values. */
#include <assert.h>
#include <endian.h>
#include <string.h>

#include "base/hash.h"
#include "job/distinct.h"
#include "job/exact_set.h"
#include "job/ffi.h"
#include "job/quantiles.h"
#include "job/top.h"
#include "record/arena.h"

static bool is_text(int type)
{
	return type == TIDE_STRING || type == TIDE_BYTES;
}

/* Equal values have equal bytes: -0.0 is 0.0, and every NaN is one NaN. */
static struct tide_slice value_of(const struct tide_cell *cell, int type, uint64_t *room)
{
	assert(cell->len >= 0);
	if (is_text(type))
		return (struct tide_slice){ cell->p, (size_t)cell->len };
	memcpy(room, &cell->i, sizeof *room);
	if (type == TIDE_DOUBLE) {
		double value = cell->d == 0 ? 0 : cell->d;
		if (value != value)
			*room = UINT64_C(0x7ff8000000000000);
		else
			memcpy(room, &value, sizeof *room);
	}
	return (struct tide_slice){ (const char *)room, sizeof *room };
}

void tide_ffi_distinct_add(void *registers, int bits, const struct tide_cell *cell, int type)
{
	uint64_t room;
	struct tide_slice value = value_of(cell, type, &room);
	tide_distinct_add(registers, bits, tide_hash(value.p, value.len, 0));
}

void tide_ffi_distinct_merge(void *into, const void *from, int bits)
{
	tide_distinct_merge(into, from, bits);
}

double tide_ffi_distinct_count(const void *registers, int bits)
{
	return tide_distinct_count(registers, bits);
}

void tide_ffi_quantiles_add(void *quantiles, uint32_t room, double value)
{
	tide_quantiles_add(quantiles, room, value);
}

void tide_ffi_quantiles_merge(void *into, const void *from, uint32_t room)
{
	tide_quantiles_merge(into, from, room);
}

void tide_ffi_quantiles_at(const void *quantiles, double rank, bool whole, struct tide_cell *cell)
{
	cell->len = tide_quantiles_at(quantiles, rank, whole, &cell->d) ? 0 : -1;
}

uint32_t tide_ffi_top_size(uint32_t places, uint32_t bytes)
{
	return (uint32_t)tide_top_size((struct tide_top_shape){ places, bytes });
}

/* Whole numbers as bytes that sort like them. */
static const uint64_t SIGN = UINT64_C(1) << 63;

void tide_ffi_top_add(void *top, uint32_t places, uint32_t bytes, const struct tide_cell *cell,
                      int type)
{
	struct tide_slice value = { cell->p, (size_t)cell->len };
	uint64_t number;
	assert(cell->len >= 0);
	if (!is_text(type)) {
		number = htobe64((uint64_t)cell->i ^ SIGN);
		value = (struct tide_slice){ (const char *)&number, sizeof number };
	}
	tide_top_add(top, (struct tide_top_shape){ places, bytes }, value);
}

void tide_ffi_top_merge(void *into, const void *from, uint32_t places, uint32_t bytes)
{
	tide_top_merge(into, from, (struct tide_top_shape){ places, bytes });
}

static void item_json(struct tide_buf *out, const struct tide_top_item *item, int type)
{
	uint64_t number;
	tide_buf_printf(out, "{\"item\":");
	if (is_text(type)) {
		tide_buf_json(out, item->value.p, item->value.len);
	} else {
		memcpy(&number, item->value.p, sizeof number);
		number = be64toh(number) ^ SIGN;
		if (type == TIDE_BOOL)
			tide_buf_printf(out, number != 0 ? "true" : "false");
		else
			tide_buf_printf(out, "%lld", (long long)number);
	}
	tide_buf_printf(out, ",\"count\":%lld", (long long)item->count);
	if (item->error > 0)
		tide_buf_printf(out, ",\"error\":%lld", (long long)item->error);
	tide_buf_put(out, "}", 1);
}

bool tide_ffi_top_json(struct tide_ctx *ctx, const void *top, uint32_t places, uint32_t bytes,
                       uint32_t count, int type, struct tide_cell *cell)
{
	struct tide_buf out = { 0 };
	struct tide_top_item item;
	tide_buf_put(&out, "[", 1);
	for (uint32_t n = 0; n < count; n++) {
		if (!tide_top_nth(top, (struct tide_top_shape){ places, bytes }, n, &item))
			break;
		if (n > 0)
			tide_buf_put(&out, ",", 1);
		item_json(&out, &item, type);
	}
	tide_buf_put(&out, "]", 1);
	char *text = out.failed ? NULL : tide_arena_text(ctx->arena, out.len);
	if (text != NULL) {
		memcpy(text, out.p, out.len);
		cell->p = text;
		cell->len = (int32_t)out.len;
	}
	tide_buf_fini(&out);
	return text != NULL;
}

bool tide_ffi_exact_set_add(void *set, uint32_t room, const struct tide_cell *cell, int type)
{
	uint64_t number;
	struct tide_slice value = value_of(cell, type, &number);
	struct tide_member member = { 0 };
	if (is_text(type))
		member = (struct tide_member){ tide_hash(value.p, value.len, 1),
			                       tide_hash(value.p, value.len, 2) };
	else
		memcpy(&member.low, value.p, sizeof member.low);
	return tide_exact_set_add(set, room, member);
}

bool tide_ffi_exact_set_merge(void *into, const void *from, uint32_t room)
{
	return tide_exact_set_merge(into, from, room);
}
