/* SPDX-License-Identifier: Apache-2.0 */
/* Sketches: what they say, within which error, and that neither the order of
 * values nor that of merging changes a byte of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/hash.h"
#include "job/distinct.h"
#include "job/exact_set.h"
#include "job/quantiles.h"
#include "job/top.h"

enum { PARTS = 5, ROOM = 64 };

static unsigned seed_begin(void)
{
	const char *given = getenv("SEED");
	unsigned seed = given != NULL ? (unsigned)atoi(given) : 5;
	printf("SEED=%u\n", seed);
	srand(seed);
	return seed;
}

static double chance(void)
{
	return (rand() + 0.5) / (RAND_MAX + 1.0);
}

/* ---- distinct ---- */

static void distinct_add(uint32_t *registers, int bits, uint64_t value)
{
	tide_distinct_add(registers, bits, tide_hash(&value, sizeof value, 0));
}

static void distinct_errs_as_stated_at_any_count(void **unused)
{
	(void)unused;
	static const int counts[] = { 1, 10, 100, 3000, 100000 };
	for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
		double squares = 0, sum = 0;
		int rounds = counts[c] > 10000 ? 60 : 300;
		for (int round = 0; round < rounds; round++) {
			uint32_t registers[512] = { 0 };
			for (int i = 0; i < counts[c]; i++)
				distinct_add(registers, 9, (uint64_t)round << 32 | (uint32_t)i);
			double off = tide_distinct_count(registers, 9) / counts[c] - 1;
			squares += off * off;
			sum += off;
		}
		assert_true(sqrt(squares / rounds) < 0.019);
		assert_true(fabs(sum / rounds) < 0.006);
	}
}

static void distinct_is_a_function_of_the_set(void **unused)
{
	(void)unused;
	seed_begin();
	for (int bits = TIDE_DISTINCT_BITS_MIN; bits <= TIDE_DISTINCT_BITS_MAX; bits++) {
		uint32_t whole[512] = { 0 }, parts[PARTS][512] = { { 0 } }, merged[512] = { 0 };
		for (int i = 0; i < 5000; i++)
			distinct_add(whole, bits, (uint64_t)i);
		for (int i = 4999; i >= 0; i--) {
			distinct_add(parts[rand() % PARTS], bits, (uint64_t)i);
			distinct_add(parts[rand() % PARTS], bits, (uint64_t)i);
		}
		for (int p = 0; p < PARTS; p++)
			tide_distinct_merge(merged, parts[p], bits);
		assert_memory_equal(whole, merged, sizeof whole);
		tide_distinct_merge(merged, whole, bits);
		assert_memory_equal(whole, merged, sizeof whole);
	}
}

static void distinct_counts_as_far_as_hashes_reach(void **unused)
{
	(void)unused;
	uint32_t registers[512] = { 0 };
	assert_true(tide_distinct_count(registers, 9) == 0);
	for (uint64_t i = 0; i < 512; i++)
		tide_distinct_add(registers, 9, i << 2 | 3);
	double most = tide_distinct_count(registers, 9);
	assert_true(most > 1e15 && isfinite(most));
	memset(registers, 0xff, sizeof registers);
	most = tide_distinct_count(registers, 9);
	assert_true(most >= 0);
}

/* ---- quantiles ---- */

static struct tide_quantiles *quantiles_new(void)
{
	return calloc(1, sizeof(struct tide_quantiles) + ROOM * sizeof(struct tide_bucket));
}

static double any_value(int kind)
{
	switch (kind) {
	case 0: return chance();
	case 1: return floor(1000 * (chance() - 0.5));
	case 2: return (chance() - 0.5) * pow(10, 600 * (chance() - 0.5));
	case 3: return rand() % 30 == 0 ? INFINITY : rand() % 30 == 0 ? -INFINITY : -chance();
	default: return 20 + floor(chance() * 50) / 10;
	}
}

static void quantiles_are_a_function_of_the_values(void **unused)
{
	(void)unused;
	seed_begin();
	for (int kind = 0; kind < 5; kind++) {
		struct tide_quantiles *whole = quantiles_new(), *merged = quantiles_new();
		struct tide_quantiles *parts[PARTS];
		for (int p = 0; p < PARTS; p++)
			parts[p] = quantiles_new();
		for (int i = 0; i < 3000; i++) {
			double value = any_value(kind);
			tide_quantiles_add(whole, ROOM, value);
			tide_quantiles_add(parts[rand() % PARTS], ROOM, value);
		}
		for (int p = 0; p < PARTS; p++) {
			tide_quantiles_merge(merged, parts[p], ROOM);
			free(parts[p]);
		}
		size_t size = sizeof *whole + ROOM * sizeof(struct tide_bucket);
		assert_memory_equal(whole, merged, size);
		assert_true(whole->used <= ROOM && whole->used > ROOM / 8);
		free(whole);
		free(merged);
	}
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* The width of the bucket that the value is in: when more digits are lost than
 * a fraction has, a bucket is several powers of two. */
static double width_at(const struct tide_quantiles *quantiles, double value)
{
	int lost = (int)quantiles->lost - 52;
	return fabs(value) * (lost <= 0 ? ldexp(1, lost) : ldexp(1, 1 << lost));
}

static void quantiles_are_off_by_a_bucket_at_most(void **unused)
{
	(void)unused;
	enum { COUNT = 4000 };
	static double values[COUNT];
	seed_begin();
	for (int kind = 0; kind < 5; kind++) {
		struct tide_quantiles *quantiles = quantiles_new();
		for (int i = 0; i < COUNT; i++) {
			values[i] = any_value(kind);
			tide_quantiles_add(quantiles, ROOM, values[i]);
		}
		qsort(values, COUNT, sizeof *values, ascending);
		for (int i = 0; i <= COUNT - 1; i += 37) {
			double got;
			bool whole = kind == 1;
			assert_true(
				tide_quantiles_at(quantiles, (double)i / (COUNT - 1), whole, &got));
			/* The division may ask for a place just beside the value's. */
			double low = values[i > 0 ? i - 1 : 0];
			double high = values[i < COUNT - 1 ? i + 1 : i];
			if (isfinite(low))
				assert_true(got >= low - width_at(quantiles, low));
			if (isfinite(high))
				assert_true(got <= high + width_at(quantiles, high));
		}
		free(quantiles);
	}
}

static void quantiles_leave_out_what_has_no_rank(void **unused)
{
	(void)unused;
	struct tide_quantiles *quantiles = quantiles_new();
	double got;
	tide_quantiles_add(quantiles, ROOM, NAN);
	assert_false(tide_quantiles_at(quantiles, 0.5, false, &got));
	tide_quantiles_add(quantiles, ROOM, -0.0);
	tide_quantiles_add(quantiles, ROOM, 0.0);
	assert_int_equal(quantiles->used, 1);
	assert_true(tide_quantiles_at(quantiles, 0.5, false, &got));
	assert_true(got == 0 && !signbit(got));
	tide_quantiles_add(quantiles, ROOM, -1.7e308);
	tide_quantiles_add(quantiles, ROOM, 1.7e308);
	assert_true(tide_quantiles_at(quantiles, 0.1, false, &got));
	assert_true(got >= -1.7e308 && got < 0);
	free(quantiles);
}

/* ---- top ---- */

static const struct tide_top_shape SHAPE = { 40, 12 };

static void top_add(struct tide_top *top, int value)
{
	char text[16];
	int len = snprintf(text, sizeof text, "w%d", value);
	tide_top_add(top, SHAPE, (struct tide_slice){ text, (size_t)len });
}

static void top_is_exact_while_there_is_room(void **unused)
{
	(void)unused;
	size_t size = tide_top_size(SHAPE);
	struct tide_top *whole = calloc(1, size), *merged = calloc(1, size);
	seed_begin();
	for (int p = 0; p < PARTS; p++) {
		struct tide_top *part = calloc(1, size);
		for (int i = 0; i < 500; i++) {
			int value = rand() % 40;
			top_add(whole, value);
			top_add(part, value);
		}
		tide_top_merge(merged, part, SHAPE);
		free(part);
	}
	assert_memory_equal(whole, merged, size);
	int64_t rows = 0, before = INT64_MAX;
	struct tide_top_item item;
	for (uint32_t n = 0; tide_top_nth(whole, SHAPE, n, &item); n++) {
		assert_true(item.count <= before && item.error == 0);
		before = item.count;
		rows += item.count;
	}
	assert_int_equal(rows, PARTS * 500);
	free(whole);
	free(merged);
}

static void top_never_counts_too_few(void **unused)
{
	(void)unused;
	enum { ROWS = 20000, VALUES = 400 };
	static int64_t truth[VALUES];
	size_t size = tide_top_size(SHAPE);
	struct tide_top *merged = calloc(1, size), *parts[PARTS];
	seed_begin();
	for (int p = 0; p < PARTS; p++)
		parts[p] = calloc(1, size);
	for (int i = 0; i < ROWS; i++) {
		int value = (int)(VALUES * chance() * chance() * chance());
		truth[value]++;
		top_add(parts[rand() % PARTS], value);
	}
	for (int p = 0; p < PARTS; p++) {
		tide_top_merge(merged, parts[p], SHAPE);
		free(parts[p]);
	}
	assert_int_equal(merged->used, SHAPE.places);
	struct tide_top_item item;
	char found[VALUES] = { 0 };
	for (uint32_t n = 0; tide_top_nth(merged, SHAPE, n, &item); n++) {
		char text[16] = { 0 };
		memcpy(text, item.value.p, item.value.len);
		int value = atoi(text + 1);
		found[value] = 1;
		assert_true(item.count >= truth[value]);
		assert_true(item.count - truth[value] <= item.error);
		assert_true(item.error <= ROWS / SHAPE.places);
	}
	for (int value = 0; value < VALUES; value++)
		assert_true(found[value] || truth[value] <= ROWS / SHAPE.places);
	free(merged);
}

/* ---- exact ---- */

static void exact_set_holds_what_was_added_and_no_more(void **unused)
{
	(void)unused;
	enum { MEMBERS = 100 };
	size_t size = sizeof(struct tide_exact_set) + MEMBERS * sizeof(struct tide_member);
	struct tide_exact_set *whole = calloc(1, size), *merged = calloc(1, size);
	seed_begin();
	for (int p = 0; p < PARTS; p++) {
		struct tide_exact_set *part = calloc(1, size);
		for (int i = 0; i < 60; i++) {
			struct tide_member member = { (uint64_t)(rand() % 2),
				                      (uint64_t)(rand() % 50) };
			assert_true(tide_exact_set_add(whole, MEMBERS, member));
			assert_true(tide_exact_set_add(part, MEMBERS, member));
		}
		assert_true(tide_exact_set_merge(merged, part, MEMBERS));
		free(part);
	}
	assert_memory_equal(whole, merged, size);
	uint32_t used = (uint32_t)whole->used;
	struct tide_member other = { 7, 7 }, known = whole->members[used / 2];
	assert_false(tide_exact_set_add(whole, used, other));
	assert_true(tide_exact_set_add(whole, used, known));
	assert_true(tide_exact_set_merge(whole, merged, used));
	memset(merged, 0, size);
	assert_true(tide_exact_set_add(merged, used, other));
	assert_false(tide_exact_set_merge(whole, merged, used));
	assert_int_equal(whole->used, used);
	free(whole);
	free(merged);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(distinct_errs_as_stated_at_any_count),
		cmocka_unit_test(distinct_is_a_function_of_the_set),
		cmocka_unit_test(distinct_counts_as_far_as_hashes_reach),
		cmocka_unit_test(quantiles_are_a_function_of_the_values),
		cmocka_unit_test(quantiles_are_off_by_a_bucket_at_most),
		cmocka_unit_test(quantiles_leave_out_what_has_no_rank),
		cmocka_unit_test(top_is_exact_while_there_is_room),
		cmocka_unit_test(top_never_counts_too_few),
		cmocka_unit_test(exact_set_holds_what_was_added_and_no_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
