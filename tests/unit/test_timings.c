/* SPDX-License-Identifier: Apache-2.0 */
/* Phases of epochs, and what is printed of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "run/timings.h"

static const char *printed(const struct tide_timings *timings)
{
	static char text[4096];
	memset(text, 0, sizeof text);
	FILE *out = fmemopen(text, sizeof text, "w");
	assert_non_null(out);
	tide_timings_print(timings, out);
	fclose(out);
	return text;
}

static void nothing_is_said_of_no_epoch(void **state)
{
	(void)state;
	struct tide_timings timings = { 0 };
	const char *text = printed(&timings);
	assert_string_equal(text, "");
}

static void each_phase_has_its_total_median_slowest_and_share(void **state)
{
	(void)state;
	static struct tide_timings timings;
	for (int i = 0; i < 99; i++)
		tide_timings_add(&timings, (int64_t[]){ 10000, 0, 1000, 2000, 0 });
	tide_timings_add(&timings, (int64_t[]){ 10000, 0, 1000, 1102000, 0 });
	const char *text = printed(&timings);
	double total, median, slowest, share;
	assert_int_equal(sscanf(strstr(text, "decide"), "decide %lf ms %lf ms %lf ms %lf", &total,
	                        &median, &slowest, &share),
	                 4);
	assert_true(total == 1300 && slowest == 1102 && share == 54);
	assert_true(median > 1.8 && median < 2.2);
	assert_int_equal(sscanf(strstr(text, "run"), "run %lf ms %lf", &total, &median), 2);
	assert_true(total == 1000 && median > 9 && median <= 10);
	assert_non_null(strstr(text, "  wait          0.0 ms     0.00 ms      0.0 ms    0 %\n"));
}

static void times_beyond_any_are_counted(void **state)
{
	(void)state;
	static struct tide_timings timings;
	tide_timings_add(&timings, (int64_t[]){ INT64_MAX / 8, -1, 1, 0, 0 });
	const char *text = printed(&timings);
	assert_non_null(strstr(text, "publish"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_said_of_no_epoch),
		cmocka_unit_test(each_phase_has_its_total_median_slowest_and_share),
		cmocka_unit_test(times_beyond_any_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
