/* SPDX-License-Identifier: Apache-2.0 */
/* Quantiles from a bounded number of buckets. */
#include "job/quantiles.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* The bits of a double as an integer that sorts like it, and back. */
static int64_t key_of(double value)
{
	int64_t bits;
	value = value == 0 ? 0 : value;
	memcpy(&bits, &value, sizeof bits);
	return bits < 0 ? INT64_MIN - bits : bits;
}

static double value_of(int64_t key)
{
	double value;
	int64_t bits = key < 0 ? INT64_MIN - key : key;
	memcpy(&value, &bits, sizeof value);
	return key == INT64_MIN ? NAN : value;
}

/* Arithmetic: negative keys go down. */
static int64_t key_less(int64_t key, uint32_t digits)
{
	return key >> digits;
}

/* Where the key is, or belongs. */
static uint32_t find(const struct tide_quantiles *quantiles, int64_t key)
{
	uint32_t low = 0, high = quantiles->used;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (quantiles->buckets[middle].key < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* All buckets lose `digits`; neighbours that are the same now become one. */
static uint32_t coarsen(struct tide_bucket *buckets, uint32_t used, uint32_t digits)
{
	uint32_t to = 0;
	for (uint32_t i = 0; i < used; i++) {
		struct tide_bucket bucket = { key_less(buckets[i].key, digits), buckets[i].count };
		if (to > 0 && buckets[to - 1].key == bucket.key)
			buckets[to - 1].count += bucket.count;
		else
			buckets[to++] = bucket;
	}
	memset(buckets + to, 0, (used - to) * sizeof *buckets);
	return to;
}

static void span_widen(struct tide_quantiles *quantiles, double least, double greatest)
{
	bool first = quantiles->used == 0;
	if (first || least < quantiles->least)
		quantiles->least = least;
	if (first || greatest > quantiles->greatest)
		quantiles->greatest = greatest;
}

void tide_quantiles_add(struct tide_quantiles *quantiles, uint32_t room, double value)
{
	assert(room > 1 && room <= TIDE_QUANTILES_MAX && quantiles->used <= room);
	if (isnan(value))
		return;
	value = value == 0 ? 0 : value;
	span_widen(quantiles, value, value);
	for (int64_t key = key_less(key_of(value), quantiles->lost);; key = key_less(key, 1)) {
		uint32_t at = find(quantiles, key);
		struct tide_bucket *bucket = &quantiles->buckets[at];
		if (at < quantiles->used && bucket->key == key) {
			bucket->count++;
			return;
		}
		if (quantiles->used < room) {
			memmove(bucket + 1, bucket, (quantiles->used - at) * sizeof *bucket);
			*bucket = (struct tide_bucket){ key, 1 };
			quantiles->used++;
			return;
		}
		quantiles->used = coarsen(quantiles->buckets, quantiles->used, 1);
		quantiles->lost++;
	}
}

/* Both lists at their common resolution, in key order, each key once. */
static uint32_t join(const struct tide_quantiles *a, const struct tide_quantiles *b, uint32_t lost,
                     struct tide_bucket *out)
{
	uint32_t i = 0, k = 0, count = 0;
	while (i < a->used || k < b->used) {
		int64_t left =
			i < a->used ? key_less(a->buckets[i].key, lost - a->lost) : INT64_MAX;
		int64_t right =
			k < b->used ? key_less(b->buckets[k].key, lost - b->lost) : INT64_MAX;
		struct tide_bucket bucket = left <= right ? a->buckets[i++] : b->buckets[k++];
		bucket.key = left <= right ? left : right;
		if (count > 0 && out[count - 1].key == bucket.key)
			out[count - 1].count += bucket.count;
		else
			out[count++] = bucket;
	}
	return count;
}

void tide_quantiles_merge(struct tide_quantiles *into, const struct tide_quantiles *from,
                          uint32_t room)
{
	struct tide_bucket both[2 * TIDE_QUANTILES_MAX];
	assert(room <= TIDE_QUANTILES_MAX && into->used <= room && from->used <= room);
	if (from->used == 0)
		return;
	span_widen(into, from->least, from->greatest);
	uint32_t lost = into->lost > from->lost ? into->lost : from->lost;
	uint32_t count = join(into, from, lost, both);
	for (; count > room; lost++)
		count = coarsen(both, count, 1);
	memcpy(into->buckets, both, count * sizeof *both);
	if (count < into->used)
		memset(into->buckets + count, 0, (into->used - count) * sizeof *both);
	into->used = count;
	into->lost = lost;
}

static double between(double low, double high, double part)
{
	if (low == high || part == 0)
		return low;
	if (isinf(low) || isinf(high))
		return part < 0.5 ? low : high;
	double span = high - low;
	return isinf(span) ? low * (1 - part) + high * part : low + span * part;
}

/* The values of a bucket, evenly spread over what it and the span allow. */
static double value_in(const struct tide_quantiles *quantiles, const struct tide_bucket *bucket,
                       double nth, bool whole)
{
	int64_t first = bucket->key * (INT64_C(1) << quantiles->lost);
	double low = value_of(first);
	if (quantiles->lost == 0)
		return low;
	double high = value_of(first | ((INT64_C(1) << quantiles->lost) - 1));
	/* What lies beyond infinity is no number, and the span decides. */
	low = fmax(low, quantiles->least);
	high = fmin(high, quantiles->greatest);
	double share = (nth + 0.5) / (double)bucket->count;
	if (whole) {
		low = ceil(low);
		high = floor(high);
		return fmin(fmax(low - 0.5 + (high - low + 1) * share, low), high);
	}
	return between(low, high, share);
}

/* The nth value in order, from 0 on. */
static double value_nth(const struct tide_quantiles *quantiles, int64_t nth, bool whole)
{
	uint32_t i = 0;
	for (; i < quantiles->used - 1 && nth >= quantiles->buckets[i].count; i++)
		nth -= quantiles->buckets[i].count;
	return value_in(quantiles, &quantiles->buckets[i], (double)nth, whole);
}

bool tide_quantiles_at(const struct tide_quantiles *quantiles, double rank, bool whole,
                       double *value)
{
	int64_t count = 0;
	assert(rank >= 0 && rank <= 1);
	for (uint32_t i = 0; i < quantiles->used; i++)
		count += quantiles->buckets[i].count;
	if (count == 0)
		return false;
	double place = rank * (double)(count - 1);
	int64_t nth = (int64_t)place;
	double part = place - (double)nth;
	if (nth == count - 1)
		*value = quantiles->greatest;
	else if (part > 0)
		*value = between(value_nth(quantiles, nth, whole),
		                 value_nth(quantiles, nth + 1, whole), part);
	else
		*value = nth == 0 ? quantiles->least : value_nth(quantiles, nth, whole);
	return true;
}
