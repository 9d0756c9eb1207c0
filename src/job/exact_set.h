/* SPDX-License-Identifier: Apache-2.0 */
/* A set of different values, exact and bounded: numbers of 128 bits in order.
 * Whole numbers are themselves, text is its hash, of which two of the same are
 * less likely than the machine's errors. All zero is empty. */
#ifndef TIDE_JOB_EXACT_SET_H
#define TIDE_JOB_EXACT_SET_H

#include <stdbool.h>
#include <stdint.h>

struct tide_member {
	uint64_t high, low;
};

struct tide_exact_set {
	uint64_t used;
	struct tide_member members[]; /* `room` of them, `used` ascending, then zeroes */
};

/* False: it is not a member, and there is no room for another. */
bool tide_exact_set_add(struct tide_exact_set *set, uint32_t room, struct tide_member member);
bool tide_exact_set_merge(struct tide_exact_set *into, const struct tide_exact_set *from,
                          uint32_t room);

#endif
