/* SPDX-License-Identifier: Apache-2.0 */
/* The most frequent values (Space-Saving, Metwally 2005; merged as Agarwal 2012).
 *
 * While a state has met no more different values than it has places, all counts
 * are exact. After that a new value takes the place of the one met least, and
 * inherits its count: counts are never too low, and at most rows / places too
 * high; how much they may be is kept with them. Any value that more than
 * rows / places rows have is there. All zero is empty. */
#ifndef TIDE_JOB_TOP_H
#define TIDE_JOB_TOP_H

#include <stdint.h>

#include "base/buf.h"

struct tide_top {
	uint32_t used;
	uint32_t spare;
	char places[]; /* `places` of tide_top_stride() bytes, by ascending value */
};

/* How a state is laid out: values have up to `bytes` bytes. */
struct tide_top_shape {
	uint32_t places;
	uint32_t bytes;
};

enum { TIDE_TOP_PLACES_MAX = 256, TIDE_TOP_BYTES_MAX = 256 };

size_t tide_top_size(struct tide_top_shape shape); /* of a state */
/* The value fits. */
void tide_top_add(struct tide_top *top, struct tide_top_shape shape, struct tide_slice value);
void tide_top_merge(struct tide_top *into, const struct tide_top *from,
                    struct tide_top_shape shape);
/* The place with the nth greatest count, equal ones by ascending value. */
struct tide_top_item {
	struct tide_slice value;
	int64_t count, error;
};
bool tide_top_nth(const struct tide_top *top, struct tide_top_shape shape, uint32_t nth,
                  struct tide_top_item *item);

#endif
