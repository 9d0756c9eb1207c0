/* SPDX-License-Identifier: Apache-2.0 */
/* When records are said to be near their deletion, and what is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "run/retention.h"

static const int64_t HOUR_MS = 3600000, SECOND_US = 1000000, NOW_MS = 1704067200000;

/* A log of 1000 records from 1000 on, half of it read, kept for ten hours. */
static struct tide_keeping_look look;
static struct tide_fact_retention fact;

static int half_read(void **state)
{
	(void)state;
	look = (struct tide_keeping_look){ .kept = { 10 * HOUR_MS, -1 },
		                           .known = true,
		                           .start = 1000,
		                           .next = 1500,
		                           .end = 2000,
		                           .record_ms = NOW_MS - HOUR_MS,
		                           .now_ms = NOW_MS };
	return 0;
}

static void half_of_a_log_is_no_reason(void **state)
{
	(void)state;
	assert_false(tide_keeping_judge(&look, &fact));
}

static void a_tenth_of_the_log_is_near(void **state)
{
	(void)state;
	look.next = 1100;
	assert_false(tide_keeping_judge(&look, &fact));
	look.next = 1099;
	assert_true(tide_keeping_judge(&look, &fact));
	assert_int_equal(fact.left_ms, -1);
	look.start = 0; /* Nothing was ever deleted. */
	look.next = 10;
	assert_false(tide_keeping_judge(&look, &fact));
}

static void a_tenth_of_the_time_is_near(void **state)
{
	(void)state;
	look.record_ms = NOW_MS - 9 * HOUR_MS;
	assert_false(tide_keeping_judge(&look, &fact));
	look.record_ms -= 1;
	assert_true(tide_keeping_judge(&look, &fact));
	assert_int_equal(fact.left_ms, HOUR_MS - 1);
	look.record_ms = 0;
	assert_true(tide_keeping_judge(&look, &fact));
	assert_int_equal(fact.left_ms, 0);
	look.record_ms = -1;
	assert_false(tide_keeping_judge(&look, &fact));
}

static void deletion_that_is_faster_is_seen_coming(void **state)
{
	(void)state;
	look.span_us = 10 * SECOND_US;
	look.start_before = 900;
	look.next_before = 1490;
	/* 500 records at 90 in ten seconds. */
	assert_true(tide_keeping_judge(&look, &fact));
	assert_int_equal(fact.left_ms, 55555);
	look.next_before = 1400; /* As fast as it. */
	assert_false(tide_keeping_judge(&look, &fact));
	look.next_before = 1499;
	look.start_before = 998; /* An hour and more away. */
	assert_false(tide_keeping_judge(&look, &fact));
}

static void what_is_read_or_kept_for_ever_is_safe(void **state)
{
	(void)state;
	look.start = look.next = look.end;
	assert_false(tide_keeping_judge(&look, &fact));
	half_read(NULL);
	look.next = 1001;
	look.record_ms = 0;
	look.kept = (struct tide_retention){ -1, -1 };
	assert_false(tide_keeping_judge(&look, &fact));
	look.kept.bytes = 1000;
	assert_true(tide_keeping_judge(&look, &fact));
	/* Who may not ask is warned by the log alone. */
	look.known = false;
	look.kept.bytes = -1;
	assert_true(tide_keeping_judge(&look, &fact));
}

static void sentences_name_the_place_and_the_way_out(void **state)
{
	char text[512];
	(void)state;
	look.next = 1001;
	look.record_ms = NOW_MS - 9 * HOUR_MS - HOUR_MS / 2;
	assert_true(tide_keeping_judge(&look, &fact));
	fact.topic = "t";
	fact.partition = 3;
	tide_diagnose_retention(&fact, text, sizeof text);
	assert_non_null(strstr(text, "t-3: what is read next, offset 1001, is near the log's start "
	                             "(1000; its end is 2000) and may be deleted before it is "
	                             "read, in about 30 min"));
	assert_non_null(strstr(text, "raise retention.ms"));
	fact = (struct tide_fact_retention){
		.topic = "t", .partition = -1, .kept_ms = HOUR_MS, .downtime_ms = 2 * HOUR_MS
	};
	tide_diagnose_retention(&fact, text, sizeof text);
	assert_non_null(strstr(text, "topic t keeps records for 1 h, and a stop may last 2 h"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(half_of_a_log_is_no_reason, half_read),
		cmocka_unit_test_setup(a_tenth_of_the_log_is_near, half_read),
		cmocka_unit_test_setup(a_tenth_of_the_time_is_near, half_read),
		cmocka_unit_test_setup(deletion_that_is_faster_is_seen_coming, half_read),
		cmocka_unit_test_setup(what_is_read_or_kept_for_ever_is_safe, half_read),
		cmocka_unit_test_setup(sentences_name_the_place_and_the_way_out, half_read),
	};
	return cmocka_run_group_tests_name("retention", tests, NULL, NULL);
}
