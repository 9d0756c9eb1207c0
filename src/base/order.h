/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting much by numbers that nearly always tell things apart.
 *
 * State leaves in the order of its keys, epoch after epoch. A comparison sort
 * spends most of its time fetching keys from all over memory; here a key's head
 * stands in the item, bytes of heads are counted instead of compared, and keys
 * are only looked at where heads are equal. */
#ifndef TIDE_BASE_ORDER_H
#define TIDE_BASE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tide_order_item {
	uint64_t major, minor; /* by major, then minor, then the comparison */
	const void *what;
};

/* As for qsort_r, of two `what`; NULL: numbers are all. What is equal stays as it
 * came. */
typedef int tide_order_compare(const void *a, const void *b, void *arg);

/* False without memory: the items are then in any order. */
bool tide_order_sort(struct tide_order_item *items, size_t count, tide_order_compare *compare,
                     void *arg);

/* Up to eight bytes as a number that sorts as memcmp would. */
uint64_t tide_order_head(const void *bytes, size_t len);

#endif
