/* SPDX-License-Identifier: Apache-2.0 */
/* Watermarks: where they go, that they never go back, and who holds them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "time/watermark.h"

enum { SECOND = 1000000 };

static struct tide_watermark mark;

static int setup(void **state)
{
	(void)state;
	mark = (struct tide_watermark){ .delay_us = 30 * SECOND,
		                        .idle_us = 60 * SECOND,
		                        .at_us = INT64_MIN };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tide_watermark_fini(&mark);
	return 0;
}

/* As the end of an epoch in which partition p had this event time. */
static int64_t after(int32_t p, int64_t second)
{
	struct tide_watermark_part *part = tide_watermark_part(&mark, "t", p);
	assert_non_null(part);
	tide_watermark_observe(part, second * SECOND, 100);
	mark.at_us = tide_watermark_next(&mark);
	return mark.at_us / SECOND;
}

static void no_event_time_leaves_it_unset(void **state)
{
	(void)state;
	assert_int_equal(tide_watermark_next(&mark), INT64_MIN);
	tide_watermark_observe(tide_watermark_part(&mark, "t", 0), INT64_MIN, 100);
	assert_int_equal(tide_watermark_next(&mark), INT64_MIN);
}

static void it_is_the_greatest_event_time_less_the_delay(void **state)
{
	(void)state;
	assert_int_equal(after(0, 100), 70);
	assert_int_equal(after(1, 200), 170);
	assert_int_equal(after(0, 110), 170);
}

static void it_does_not_pass_what_is_left_of_those_behind(void **state)
{
	(void)state;
	struct tide_watermark_part *slow = tide_watermark_part(&mark, "t", 0);
	tide_watermark_left(slow, true);
	assert_int_equal(after(1, 500), INT64_MIN / SECOND); /* Nobody knows where it is. */
	slow = tide_watermark_part(&mark, "t", 0);
	assert_int_equal(after(0, 100), 70);
	assert_int_equal(after(1, 600), 70);
	slow = tide_watermark_part(&mark, "t", 0);
	tide_watermark_left(slow, false);
	assert_int_equal(after(1, 601), 571);
}

static void those_without_event_times_are_waited_for_once(void **state)
{
	(void)state;
	struct tide_watermark_part *without = tide_watermark_part(&mark, "t", 0);
	tide_watermark_left(without, true);
	tide_watermark_observe(without, INT64_MIN, 100);
	assert_int_equal(after(1, 500), 470);
}

static void it_never_goes_back(void **state)
{
	(void)state;
	assert_int_equal(after(0, 100), 70);
	assert_int_equal(after(0, 50), 70);
	mark.delay_us = 60 * SECOND; /* the job was changed */
	assert_int_equal(after(0, 101), 70);
	assert_int_equal(after(0, 140), 80);
}

static void the_slowest_partition_holds_it_when_each_counts(void **state)
{
	(void)state;
	mark.per_partition = true;
	assert_non_null(tide_watermark_part(&mark, "t", 1));
	assert_int_equal(after(0, 100), INT64_MIN / SECOND); /* 1 has not begun */
	assert_int_equal(after(1, 80), 50);
	assert_int_equal(after(0, 500), 50);
	assert_int_equal(after(1, 90), 60);
}

static void a_partition_is_idle_once_it_was_caught_up_for_long(void **state)
{
	(void)state;
	mark.per_partition = true;
	after(0, 100);
	after(1, 80);
	struct tide_watermark_part *slow = tide_watermark_part(&mark, "t", 1);
	tide_watermark_look(&mark, slow, true, 1000 * (int64_t)SECOND);
	tide_watermark_look(&mark, slow, true, 1059 * (int64_t)SECOND);
	assert_false(slow->idle);
	tide_watermark_look(&mark, slow, false, 1059 * (int64_t)SECOND); /* it was behind again */
	tide_watermark_look(&mark, slow, true, 1061 * (int64_t)SECOND);
	assert_false(slow->idle);
	tide_watermark_look(&mark, slow, true, 1121 * (int64_t)SECOND);
	assert_true(slow->idle);
	assert_int_equal(tide_watermark_next(&mark) / SECOND, 70);
	/* It comes back at the mark as it stands. */
	mark.at_us = tide_watermark_next(&mark);
	assert_int_equal(after(1, 90), 70);
	assert_false(slow->idle);
	assert_int_equal(after(0, 200), 70);
	assert_int_equal(after(1, 150), 120);
}

static void a_clock_that_was_set_back_begins_a_new_wait(void **state)
{
	(void)state;
	struct tide_watermark_part *part = tide_watermark_part(&mark, "t", 0);
	tide_watermark_look(&mark, part, true, 5000 * (int64_t)SECOND);
	tide_watermark_look(&mark, part, true, 10 * (int64_t)SECOND);
	assert_false(part->idle);
	tide_watermark_look(&mark, part, true, 70 * (int64_t)SECOND);
	assert_true(part->idle);
}

static void all_idle_is_as_none(void **state)
{
	(void)state;
	mark.per_partition = true;
	after(0, 100);
	after(1, 80);
	for (int p = 0; p < 2; p++)
		tide_watermark_part(&mark, "t", p)->idle = true;
	assert_int_equal(tide_watermark_next(&mark) / SECOND, 70);
}

static void event_times_at_the_end_of_numbers_do_not_wrap(void **state)
{
	(void)state;
	tide_watermark_observe(tide_watermark_part(&mark, "t", 0), INT64_MIN + 5, 100);
	assert_int_equal(tide_watermark_next(&mark), INT64_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_event_time_leaves_it_unset, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_the_greatest_event_time_less_the_delay, setup,
		                                teardown),
		cmocka_unit_test_setup_teardown(it_does_not_pass_what_is_left_of_those_behind,
		                                setup, teardown),
		cmocka_unit_test_setup_teardown(those_without_event_times_are_waited_for_once,
		                                setup, teardown),
		cmocka_unit_test_setup_teardown(it_never_goes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(the_slowest_partition_holds_it_when_each_counts,
		                                setup, teardown),
		cmocka_unit_test_setup_teardown(a_partition_is_idle_once_it_was_caught_up_for_long,
		                                setup, teardown),
		cmocka_unit_test_setup_teardown(a_clock_that_was_set_back_begins_a_new_wait, setup,
		                                teardown),
		cmocka_unit_test_setup_teardown(all_idle_is_as_none, setup, teardown),
		cmocka_unit_test_setup_teardown(event_times_at_the_end_of_numbers_do_not_wrap,
		                                setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
