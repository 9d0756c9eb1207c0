/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks that stand still, times and spans as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/clock.h"

static const int64_t NOON_US = INT64_C(1704110400000000); /* 2024-01-01T12:00:00Z */

static void a_set_clock_stands_until_it_is_undone(void **state)
{
	(void)state;
	tide_clock_set(NOON_US);
	assert_int_equal(tide_clock_us(), NOON_US);
	assert_int_equal(tide_clock_mono_us(), NOON_US);
	tide_clock_set(0);
	assert_int_equal(tide_clock_us(), 0);
	tide_clock_set(-5);
	assert_true(tide_clock_us() > NOON_US);
	int64_t before = tide_clock_mono_us();
	assert_true(tide_clock_mono_us() >= before);
}

static void assert_format(int64_t ms, const char *text)
{
	char out[32];
	tide_clock_format_ms(ms, out, sizeof out);
	assert_string_equal(out, text);
}

static void times_are_formatted_in_utc(void **state)
{
	(void)state;
	assert_format(0, "1970-01-01T00:00:00.000Z");
	assert_format(-1, "1969-12-31T23:59:59.999Z");
	assert_format(NOON_US / 1000 + 7, "2024-01-01T12:00:00.007Z");
	assert_format(INT64_C(951782400000), "2000-02-29T00:00:00.000Z");
	assert_format(INT64_C(4107542400000), "2100-03-01T00:00:00.000Z");
	assert_format(INT64_C(-62135596800000), "0001-01-01T00:00:00.000Z");
	assert_format(INT64_MAX, "292278994-08-17T07:12:55.807Z");
	assert_format(INT64_MIN, "-292275055-05-16T16:47:04.192Z");
}

static void every_day_agrees_with_the_c_library(void **state)
{
	(void)state;
	for (int64_t day = -800000; day < 800000; day += 1) {
		time_t t = (time_t)(day * 86400 + 3661);
		struct tm tm;
		char mine[32], theirs[40];
		int64_t us;
		gmtime_r(&t, &tm);
		if (tm.tm_year + 1900 < 1 || tm.tm_year + 1900 > 9999)
			continue;
		snprintf(theirs, sizeof theirs, "%04d-%02d-%02dT%02d:%02d:%02d.000Z",
		         tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
		         tm.tm_sec);
		tide_clock_format_ms((int64_t)t * 1000, mine, sizeof mine);
		if (strcmp(mine, theirs) != 0)
			fail_msg("%s is not %s", mine, theirs);
		if (tide_clock_parse_us(mine, strlen(mine), &us) != 0 || us != (int64_t)t * 1000000)
			fail_msg("%s was read as %lld", mine, (long long)us);
	}
}

static void times_are_read_in_all_their_forms(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t us; /* after noon */
	} good[] = {
		{ "2024-01-01T12:00:00Z", 0 },
		{ "2024-01-01 12:00:00", 0 },
		{ "2024-01-01t12:00:00z", 0 },
		{ "2024-01-01T12:00", 0 },
		{ "2024-01-01T14:00:00+02:00", 0 },
		{ "2024-01-01T14:00:00+0200", 0 },
		{ "2024-01-01T14:00:00+02", 0 },
		{ "2024-01-01T06:30:00-05:30", 0 },
		{ "2024-01-01T12:00:00+00:00", 0 },
		{ "2024-01-01", INT64_C(-43200000000) },
		{ "2024-01-01T12:00:00.5Z", 500000 },
		{ "2024-01-01T12:00:00.123456Z", 123456 },
		{ "2024-01-01T12:00:00.123456789Z", 123456 },
		{ "2024-01-01T12:00:00.000000999+00:00", 0 },
		{ "2024-01-01T12:00:09.000001", 9000001 },
		{ "2024-01-02T00:30:00+12:30", 0 },
	};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		int64_t us = 0;
		if (tide_clock_parse_us(good[i].text, strlen(good[i].text), &us) != 0)
			fail_msg("%s was refused", good[i].text);
		if (us - NOON_US != good[i].us)
			fail_msg("%s is off by %lld", good[i].text,
			         (long long)(us - NOON_US - good[i].us));
	}
}

static void what_is_no_time_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"2024",
		"2024-1-1",
		"2024-01-01T",
		"2024-01-01T12",
		"2024-01-01T12:00:00.",
		"2024-01-01T12:00:00.1234567890Z",
		"2024-01-01T12:00:00X",
		"2024-13-01",
		"2024-00-01",
		"2024-02-30",
		"2023-02-29",
		"1900-02-29",
		"2024-04-31",
		"2024-01-00",
		"2024-01-01T24:00:00",
		"2024-01-01T12:60:00",
		"2024-01-01T12:00:60",
		"2024-01-01T12:00:00+19:00",
		"2024-01-01T12:00:00+02:60",
		"2024-01-01T12:00:00+2",
		"2024-01-01T12:00:00Zx",
		"2024-01-01T12:00:00 Z",
		" 2024-01-01",
		"2024-01-01x",
		"20240101T120000Z",
		"2024/01/01",
		"-024-01-01",
		"2024-01-01T12:00:00+02:",
		"1704110400",
		"2024-01-01T1a:00:00",
		"2024-01-01T12:00:00,5",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int64_t us;
		if (tide_clock_parse_us(bad[i], strlen(bad[i]), &us) == 0)
			fail_msg("\"%s\" was read", bad[i]);
	}
}

static void a_time_ends_where_its_length_says(void **state)
{
	(void)state;
	int64_t us;
	const char *text = "2024-01-01T12:00:00Z and more";
	for (size_t len = 0; len < strlen(text); len++) {
		int rc = tide_clock_parse_us(text, len, &us);
		assert_int_equal(rc, len == 10 || len == 16 || len == 19 || len == 20 ? 0 : -1);
	}
}

static void spans_are_read_in_all_their_forms(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ms;
	} spans[] = {
		{ "250ms", 250 },
		{ "10s", 10000 },
		{ "5m", 300000 },
		{ "2h", 7200000 },
		{ "7d", 604800000 },
		{ "1w", 604800000 },
		{ "30 seconds", 30000 },
		{ "1 hour", 3600000 },
		{ "2 hours", 7200000 },
		{ "1 hour 30 minutes", 5400000 },
		{ "1h30m", 5400000 },
		{ " 1 min ", 60000 },
		{ "0", 0 },
		{ "0s", 0 },
		{ "1 day 1 millisecond", 86400001 },
		{ "", -1 },
		{ " ", -1 },
		{ "10", -1 },
		{ "s", -1 },
		{ "10 parsecs", -1 },
		{ "-1s", -1 },
		{ "1.5h", -1 },
		{ "1h 30", -1 },
		{ "0 0", -1 },
		{ "5M", -1 },
		{ "1s x", -1 },
		{ "99999999999999999999s", -1 },
		{ "9000000000000d", -1 },
		{ "1s,2s", -1 },
	};
	for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
		if (tide_clock_span_ms(spans[i].text) != spans[i].ms)
			fail_msg("\"%s\" is %lld", spans[i].text,
			         (long long)tide_clock_span_ms(spans[i].text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_set_clock_stands_until_it_is_undone),
		cmocka_unit_test(times_are_formatted_in_utc),
		cmocka_unit_test(every_day_agrees_with_the_c_library),
		cmocka_unit_test(times_are_read_in_all_their_forms),
		cmocka_unit_test(what_is_no_time_is_refused),
		cmocka_unit_test(a_time_ends_where_its_length_says),
		cmocka_unit_test(spans_are_read_in_all_their_forms),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
