/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting much by numbers that nearly always tell things apart. */
#include "base/order.h"

#include <stdlib.h>
#include <string.h>

/* Below this, counting bytes costs more than comparing. */
enum { FEW = 64 };

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
	return comparison->compare(a->what, b->what, comparison->arg) < 0;
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

/* Stable, by one byte of the major or the minor number. */
static void pass(const struct tide_order_item *from, struct tide_order_item *to, size_t count,
                 bool major, int shift)
{
	size_t at[256] = { 0 };
	for (size_t i = 0; i < count; i++)
		at[((major ? from[i].major : from[i].minor) >> shift) & 255]++;
	for (size_t byte = 0, sum = 0; byte < 256; byte++) {
		size_t some = at[byte];
		at[byte] = sum;
		sum += some;
	}
	for (size_t i = 0; i < count; i++)
		to[at[((major ? from[i].major : from[i].minor) >> shift) & 255]++] = from[i];
}

/* By the numbers alone, from the last byte to the first; bytes in which none
 * differs are left out. Returns which of the two has the items then. */
static struct tide_order_item *by_bytes(struct tide_order_item *items,
                                        struct tide_order_item *spare, size_t count)
{
	uint64_t major = 0, minor = 0;
	for (size_t i = 1; i < count; i++) {
		major |= items[i].major ^ items[0].major;
		minor |= items[i].minor ^ items[0].minor;
	}
	for (int byte = 0; byte < 16; byte++) {
		int shift = byte % 8 * 8;
		if ((((byte < 8 ? minor : major) >> shift) & 255) == 0)
			continue;
		pass(items, spare, count, byte >= 8, shift);
		struct tide_order_item *sorted = spare;
		spare = items;
		items = sorted;
	}
	return items;
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
	if (by_bytes(items, spare, count) == spare)
		memcpy(items, spare, count * sizeof *items);
	for (size_t at = 0, end; at < count; at = end) {
		for (end = at + 1; end < count; end++)
			if (items[end].minor != items[at].minor ||
			    items[end].major != items[at].major)
				break;
		by_comparing(items + at, spare, end - at, &comparison);
	}
	free(spare);
	return true;
}
