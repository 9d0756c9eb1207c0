/* SPDX-License-Identifier: Apache-2.0 */
/* Quantiles from a bounded number of buckets.
 *
 * Each bucket is a range of doubles that differ in their last digits only. At
 * first every value has a bucket of its own, and the answers are exact. When
 * there would be more buckets than room, all of them lose one binary digit and
 * neighbours become one, as often as it takes. Which buckets there are and
 * what they count depends on the values alone, not on the order of adding or
 * merging. All zero is empty. */
#ifndef TIDE_JOB_QUANTILES_H
#define TIDE_JOB_QUANTILES_H

#include <stdbool.h>
#include <stdint.h>

enum { TIDE_QUANTILES_MAX = 1024 };

struct tide_bucket {
	int64_t key; /* sorts like the values: their digits without the last `lost` */
	int64_t count;
};

struct tide_quantiles {
	uint32_t used;
	uint32_t lost; /* binary digits */
	double least, greatest;
	struct tide_bucket buckets[]; /* `room` of them, `used` by ascending key, then zeroes */
};

/* NaN has no rank and is left out. */
void tide_quantiles_add(struct tide_quantiles *quantiles, uint32_t room, double value);
void tide_quantiles_merge(struct tide_quantiles *into, const struct tide_quantiles *from,
                          uint32_t room);
/* The value at `rank` (0 to 1) of the way from the least to the greatest, between
 * two values in proportion. `whole`: the values are whole numbers. False: there
 * are none. */
bool tide_quantiles_at(const struct tide_quantiles *quantiles, double rank, bool whole,
                       double *value);

#endif
