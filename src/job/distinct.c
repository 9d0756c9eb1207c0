/* SPDX-License-Identifier: Apache-2.0 */
/* Counts different values in a few registers. */
#include "job/distinct.h"

#include <assert.h>
#include <math.h>

/* A rank is one of four for each number of leading zeroes of the hash, so ranks
 * 4a+1 to 4a+4 have a chance of 2^-(a+3) each, but for the last four. */
enum { SHIFT = 2, HISTORY = 24, CHANCES = 65 };
static const uint32_t HISTORY_MASK = (1u << HISTORY) - 1;

void tide_distinct_add(uint32_t *registers, int bits, uint64_t hash)
{
	assert(bits >= TIDE_DISTINCT_BITS_MIN && bits <= TIDE_DISTINCT_BITS_MAX);
	uint32_t *reg = &registers[hash >> SHIFT & ((1u << bits) - 1)];
	uint64_t rest = hash | ((UINT64_C(1) << (bits + SHIFT)) - 1);
	uint32_t zeroes = (uint32_t)__builtin_clzll(rest);
	uint32_t rank = (zeroes << SHIFT) + (uint32_t)(hash & ((1u << SHIFT) - 1)) + 1;
	uint32_t top = *reg >> HISTORY;
	if (rank > top) {
		uint32_t history = (1u << HISTORY) | (*reg & HISTORY_MASK);
		uint32_t by = rank - top;
		*reg = rank << HISTORY | (by <= HISTORY ? history >> by : 0);
	} else if (rank < top && top - rank <= HISTORY) {
		*reg |= 1u << (HISTORY - (top - rank));
	}
}

void tide_distinct_merge(uint32_t *into, const uint32_t *from, int bits)
{
	for (uint32_t i = 0; i < 1u << bits; i++) {
		uint32_t high = into[i], low = from[i];
		if (high >> HISTORY < low >> HISTORY) {
			high = from[i];
			low = into[i];
		}
		uint32_t by = (high >> HISTORY) - (low >> HISTORY);
		if (by == 0)
			into[i] = high | low;
		else if (by <= HISTORY)
			into[i] = high | ((1u << HISTORY) | (low & HISTORY_MASK)) >> by;
		else
			into[i] = high;
	}
}

/* What the registers say: `unmet` is the chance of all ranks that certainly did
 * not come, met[c] the number of ranks of chance 2^-c that did. */
struct evidence {
	double unmet;
	uint32_t met[CHANCES];
};

static int chance_of(uint32_t rank, int bits)
{
	int chance = SHIFT + 1 + (int)((rank - 1) >> SHIFT);
	return chance < 64 - bits ? chance : 64 - bits;
}

static void register_read(uint32_t reg, int bits, struct evidence *all)
{
	uint32_t top = reg >> HISTORY;
	if (top == 0) {
		all->unmet += 1;
		return;
	}
	/* Above: the rest of its four, and half as much again and again. */
	int zeroes = (int)((top - 1) >> SHIFT);
	all->unmet += ldexp(3 - (int)((top - 1) & 3), -chance_of(top, bits));
	if (zeroes < 64 - bits - SHIFT)
		all->unmet += ldexp(1, -(zeroes + 1));
	all->met[chance_of(top, bits)]++;
	for (uint32_t below = 1; below <= HISTORY && below < top; below++) {
		int chance = chance_of(top - below, bits);
		if (reg >> (HISTORY - below) & 1)
			all->met[chance]++;
		else
			all->unmet += ldexp(1, -chance);
	}
}

/* The number of values that makes the evidence likeliest: where
 * sum(met * w / (e^(w x) - 1)) = unmet, w = 2^-chance, x per register. The left
 * side falls and is convex, so Newton's steps from the left never overshoot. */
double tide_distinct_count(const uint32_t *registers, int bits)
{
	struct evidence all = { 0 };
	double count = 0, weight = 0;
	for (uint32_t i = 0; i < 1u << bits; i++)
		register_read(registers[i], bits, &all);
	for (int c = 0; c < CHANCES; c++) {
		count += all.met[c];
		weight += ldexp(all.met[c], -c);
	}
	if (count == 0)
		return 0;
	double x = count / (all.unmet + weight / 2), before = 0;
	for (int i = 0; i < 50 && x - before > 1e-9 * x; i++) {
		double value = -all.unmet, slope = 0;
		for (int c = 0; c < CHANCES; c++) {
			if (all.met[c] == 0)
				continue;
			double w = ldexp(1, -c), e = expm1(w * x);
			value += all.met[c] * w / e;
			slope += all.met[c] * w * w * (e + 1) / (e * e);
		}
		before = x;
		x += value / slope;
	}
	return ldexp(x, bits);
}
