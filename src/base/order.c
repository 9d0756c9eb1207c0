/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting much by numbers that nearly always tell things apart. */
#include "base/order.h"

#include <stdlib.h>
#include <string.h>

enum {
	FEW = 64,   /* up to this, counting bytes costs more than comparing */
	AT_ONCE = 4 /* bytes that are counted before one looks what they leave together */
};

struct comparison {
	tide_order_compare *compare;
	void *arg;
};

uint64_t tide_order_head(const void *bytes, size_t len)
{
	uint64_t head = 0;
	memcpy(&head, bytes, len < sizeof head ? len : sizeof head);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	head = __builtin_bswap64(head);
#endif
	return head;
}

static bool before(const struct tide_order_item *a, const struct tide_order_item *b,
                   const struct comparison *comparison)
{
	if (a->major != b->major)
		return a->major < b->major;
	if (a->minor != b->minor)
		return a->minor < b->minor;
	return comparison->compare != NULL &&
	       comparison->compare(a->what, b->what, comparison->arg) < 0;
}

/* Stable, by merging halves; for what is few, or has equal numbers. */
static void by_comparing(struct tide_order_item *items, struct tide_order_item *spare, size_t count,
                         const struct comparison *comparison)
{
	size_t half = count / 2, left = 0, right = half, at = 0;
	if (count < 2)
		return;
	by_comparing(items, spare, half, comparison);
	by_comparing(items + half, spare, count - half, comparison);
	memcpy(spare, items, half * sizeof *spare);
	while (left < half && right < count)
		items[at++] = before(&items[right], &spare[left], comparison) ? items[right++]
		                                                              : spare[left++];
	memcpy(items + at, spare + left, (half - left) * sizeof *items);
}

/* Of 16 bytes, the most significant first. */
static inline unsigned byte_of(const struct tide_order_item *item, int byte)
{
	return (byte < 8 ? item->major : item->minor) >> (7 - byte % 8) * 8 & 255;
}

/* Stable, by one byte. */
static void pass(const struct tide_order_item *from, struct tide_order_item *to, size_t count,
                 int byte)
{
	size_t at[256] = { 0 };
	for (size_t i = 0; i < count; i++)
		at[byte_of(&from[i], byte)]++;
	for (size_t value = 0, sum = 0; value < 256; value++) {
		size_t some = at[value];
		at[value] = sum;
		sum += some;
	}
	for (size_t i = 0; i < count; i++)
		to[at[byte_of(&from[i], byte)]++] = from[i];
}

/* The first bytes in which any differ. */
static int differing(const struct tide_order_item *items, size_t count, int bytes[AT_ONCE])
{
	struct tide_order_item all = { 0, 0, NULL };
	int found = 0;
	for (size_t i = 1; i < count; i++) {
		all.major |= items[i].major ^ items[0].major;
		all.minor |= items[i].minor ^ items[0].minor;
	}
	for (int byte = 0; byte < 16 && found < AT_ONCE; byte++)
		if (byte_of(&all, byte) != 0)
			bytes[found++] = byte;
	return found;
}

/* Are they, in all bytes up to that one? */
static bool same_up_to(const struct tide_order_item *a, const struct tide_order_item *b, int byte)
{
	int shift = (7 - byte % 8) * 8;
	return byte < 8 ? (a->major ^ b->major) >> shift == 0
	                : a->major == b->major && (a->minor ^ b->minor) >> shift == 0;
}

/* A few bytes tell nearly all apart; what they leave together is sorted alone. */
static void sort(struct tide_order_item *items, struct tide_order_item *spare, size_t count,
                 const struct comparison *comparison)
{
	int bytes[AT_ONCE], some = count > FEW ? differing(items, count, bytes) : 0;
	if (some == 0) {
		if (count <= FEW || comparison->compare != NULL)
			by_comparing(items, spare, count, comparison);
		return;
	}
	struct tide_order_item *from = items, *to = spare;
	for (int i = some - 1; i >= 0; i--) {
		pass(from, to, count, bytes[i]);
		struct tide_order_item *sorted = to;
		to = from;
		from = sorted;
	}
	if (from != items)
		memcpy(items, from, count * sizeof *items);
	for (size_t at = 0, end; at < count; at = end) {
		for (end = at + 1; end < count; end++)
			if (!same_up_to(&items[at], &items[end], bytes[some - 1]))
				break;
		if (end - at > 1)
			sort(items + at, spare, end - at, comparison);
	}
}

bool tide_order_sort(struct tide_order_item *items, size_t count, tide_order_compare *compare,
                     void *arg)
{
	struct comparison comparison = { compare, arg };
	struct tide_order_item few[FEW], *spare;
	if (count <= FEW) {
		by_comparing(items, few, count, &comparison);
		return true;
	}
	spare = malloc(count * sizeof *spare);
	if (spare == NULL)
		return false;
	sort(items, spare, count, &comparison);
	free(spare);
	return true;
}
