/* SPDX-License-Identifier: Apache-2.0 */
/* The most frequent values. */
#include "job/top.h"

#include <assert.h>
#include <string.h>

/* One place; the bytes behind the value are zero. */
struct place {
	int64_t count, error;
	uint32_t len, spare;
	char value[];
};

static size_t stride_of(struct tide_top_shape shape)
{
	return sizeof(struct place) + ((size_t)shape.bytes + 7) / 8 * 8;
}

size_t tide_top_size(struct tide_top_shape shape)
{
	return sizeof(struct tide_top) + shape.places * stride_of(shape);
}

static struct place *place_at(const struct tide_top *top, struct tide_top_shape shape, uint32_t i)
{
	return (struct place *)(uintptr_t)(top->places + i * stride_of(shape));
}

static int compare(const struct place *place, struct tide_slice value)
{
	size_t common = place->len < value.len ? place->len : value.len;
	int order = common > 0 ? memcmp(place->value, value.p, common) : 0;
	return order != 0 ? order : (place->len > value.len) - (place->len < value.len);
}

/* Where the value is, or belongs. */
static uint32_t find(const struct tide_top *top, struct tide_top_shape shape,
                     struct tide_slice value)
{
	uint32_t low = 0, high = top->used;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (compare(place_at(top, shape, middle), value) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The place with the least count; of equal ones the last. */
static uint32_t least_of(const struct tide_top *top, struct tide_top_shape shape)
{
	uint32_t least = 0;
	for (uint32_t i = 1; i < top->used; i++)
		if (place_at(top, shape, i)->count <= place_at(top, shape, least)->count)
			least = i;
	return least;
}

static void take_out(struct tide_top *top, struct tide_top_shape shape, uint32_t at)
{
	size_t stride = stride_of(shape);
	struct place *place = place_at(top, shape, at);
	top->used--;
	memmove(place, (char *)place + stride, (top->used - at) * stride);
	memset(place_at(top, shape, top->used), 0, stride);
}

static void put_in(struct tide_top *top, struct tide_top_shape shape, uint32_t at,
                   const struct tide_top_item *item)
{
	size_t stride = stride_of(shape);
	struct place *place = place_at(top, shape, at);
	memmove((char *)place + stride, place, (top->used - at) * stride);
	memset(place, 0, stride);
	*place = (struct place){ .count = item->count,
		                 .error = item->error,
		                 .len = (uint32_t)item->value.len };
	if (item->value.len > 0)
		memcpy(place->value, item->value.p, item->value.len);
	top->used++;
}

void tide_top_add(struct tide_top *top, struct tide_top_shape shape, struct tide_slice value)
{
	assert(value.len <= shape.bytes && top->used <= shape.places);
	uint32_t at = find(top, shape, value);
	if (at < top->used && compare(place_at(top, shape, at), value) == 0) {
		place_at(top, shape, at)->count++;
		return;
	}
	struct tide_top_item item = { value, 1, 0 };
	if (top->used == shape.places) {
		uint32_t least = least_of(top, shape);
		item.error = place_at(top, shape, least)->count;
		item.count = item.error + 1;
		take_out(top, shape, least);
		at -= least < at;
	}
	put_in(top, shape, at, &item);
}

/* What a value that has no place may have been met at most. */
static int64_t unseen_max(const struct tide_top *top, struct tide_top_shape shape)
{
	return top->used < shape.places ? 0 : place_at(top, shape, least_of(top, shape))->count;
}

static struct tide_top_item item_of(const struct place *place)
{
	return (struct tide_top_item){ { place->value, place->len }, place->count, place->error };
}

/* Both lists in order of value, counts added; a list without the value may have
 * met it as often as its least. */
static uint32_t join(const struct tide_top *a, const struct tide_top *b,
                     struct tide_top_shape shape, struct tide_top_item *out)
{
	int64_t a_unseen = unseen_max(a, shape), b_unseen = unseen_max(b, shape);
	uint32_t i = 0, k = 0, count = 0;
	while (i < a->used || k < b->used) {
		const struct place *left = i < a->used ? place_at(a, shape, i) : NULL;
		const struct place *right = k < b->used ? place_at(b, shape, k) : NULL;
		int order = left == NULL    ? 1
		            : right == NULL ? -1
		                            : compare(left, item_of(right).value);
		struct tide_top_item *item = &out[count++];
		*item = item_of(order <= 0 ? left : right);
		item->count += order < 0 ? b_unseen : order > 0 ? a_unseen : right->count;
		item->error += order < 0 ? b_unseen : order > 0 ? a_unseen : right->error;
		i += order <= 0;
		k += order >= 0;
	}
	return count;
}

void tide_top_merge(struct tide_top *into, const struct tide_top *from, struct tide_top_shape shape)
{
	struct tide_top_item both[2 * TIDE_TOP_PLACES_MAX];
	char bytes[TIDE_TOP_PLACES_MAX * TIDE_TOP_BYTES_MAX];
	if (from->used == 0)
		return;
	uint32_t count = join(into, from, shape, both);
	for (; count > shape.places; count--) {
		uint32_t least = 0;
		for (uint32_t i = 1; i < count; i++)
			if (both[i].count <= both[least].count)
				least = i;
		memmove(both + least, both + least + 1, (count - least - 1) * sizeof *both);
	}
	/* Values of `into` are overwritten while they are still read. */
	char *at = bytes;
	for (uint32_t i = 0; i < count; i++) {
		memcpy(at, both[i].value.p, both[i].value.len);
		both[i].value.p = at;
		at += both[i].value.len;
	}
	memset(into, 0, sizeof *into + into->used * stride_of(shape));
	for (uint32_t i = 0; i < count; i++)
		put_in(into, shape, i, &both[i]);
}

/* More first; of equal counts the lesser value, which comes first in the list. */
bool tide_top_nth(const struct tide_top *top, struct tide_top_shape shape, uint32_t nth,
                  struct tide_top_item *item)
{
	for (uint32_t i = 0; i < top->used; i++) {
		int64_t count = place_at(top, shape, i)->count;
		uint32_t before = 0;
		for (uint32_t k = 0; k < top->used && before <= nth; k++) {
			int64_t other = place_at(top, shape, k)->count;
			before += other > count || (other == count && k < i);
		}
		if (before == nth) {
			*item = item_of(place_at(top, shape, i));
			return true;
		}
	}
	return false;
}
