/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/order.h"

/* What is sorted: items tell where they were by their address. */
struct thing {
	uint64_t major, minor;
	int rest;
};

static int by_rest(const void *a, const void *b, void *arg)
{
	const struct thing *x = a, *y = b;
	++*(int *)arg;
	return (x->rest > y->rest) - (x->rest < y->rest);
}

static int by_all_and_place(const void *a, const void *b)
{
	const struct thing *x = *(const struct thing *const *)a,
			   *y = *(const struct thing *const *)b;
	if (x->major != y->major)
		return x->major < y->major ? -1 : 1;
	if (x->minor != y->minor)
		return x->minor < y->minor ? -1 : 1;
	if (x->rest != y->rest)
		return x->rest < y->rest ? -1 : 1;
	return x < y ? -1 : x > y;
}

static uint64_t some(uint64_t kinds)
{
	uint64_t v = (uint64_t)random() % kinds;
	return kinds > 256 ? v * 0x0101010101010101u : v << 8;
}

static void sorts_as_a_comparison_would(size_t count, uint64_t majors, uint64_t minors, int rests)
{
	struct thing *things = calloc(count + 1, sizeof *things);
	const struct thing **expected = calloc(count + 1, sizeof *expected);
	struct tide_order_item *items = calloc(count + 1, sizeof *items);
	int compared = 0;
	for (size_t i = 0; i < count; i++) {
		things[i] = (struct thing){ some(majors), some(minors), (int)random() % rests };
		expected[i] = &things[i];
		items[i] = (struct tide_order_item){ things[i].major, things[i].minor, &things[i] };
	}
	qsort(expected, count, sizeof *expected, by_all_and_place);
	assert_true(tide_order_sort(items, count, rests > 1 ? by_rest : NULL, &compared));
	for (size_t i = 0; i < count; i++)
		assert_ptr_equal(items[i].what, expected[i]);
	free(things);
	free(expected);
	free(items);
}

static void any_number_of_items_is_sorted_and_equal_ones_stay_as_they_came(void **state)
{
	(void)state;
	const char *given = getenv("SEED");
	unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)time(NULL);
	printf("SEED=%u\n", seed);
	srandom(seed);
	for (size_t count = 0; count < 200; count++)
		sorts_as_a_comparison_would(count, 3, 5, 4);
	sorts_as_a_comparison_would(20000, 1, 1, 100);
	sorts_as_a_comparison_would(20000, 1, 1 << 20, 2);
	sorts_as_a_comparison_would(20000, 40, 1 << 20, 2);
	sorts_as_a_comparison_would(20000, 1 << 20, 3, 1);
	sorts_as_a_comparison_would(20000, 3, 5, 1);
}

static void keys_are_not_looked_at_where_heads_differ(void **state)
{
	(void)state;
	enum { COUNT = 1000 };
	static struct tide_order_item items[COUNT];
	int compared = 0;
	for (uint64_t i = 0; i < COUNT; i++)
		items[i] = (struct tide_order_item){ 7, i * 7919 % COUNT, NULL };
	assert_true(tide_order_sort(items, COUNT, by_rest, &compared));
	assert_int_equal(compared, 0);
	assert_int_equal(items[COUNT - 1].minor, COUNT - 1);
}

static void a_head_sorts_as_memcmp_does(void **state)
{
	(void)state;
	assert_true(tide_order_head("a", 1) < tide_order_head("ab", 2));
	assert_true(tide_order_head("ab\xff", 3) < tide_order_head("b", 1));
	assert_true(tide_order_head("\x7f", 1) < tide_order_head("\x80", 1));
	assert_int_equal(tide_order_head("12345678", 8), tide_order_head("123456789", 9));
	assert_int_equal(tide_order_head("", 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_number_of_items_is_sorted_and_equal_ones_stay_as_they_came),
		cmocka_unit_test(keys_are_not_looked_at_where_heads_differ),
		cmocka_unit_test(a_head_sorts_as_memcmp_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
