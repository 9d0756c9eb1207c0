/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and times as text, against what the C library makes of them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "sink/cells.h"

static void assert_double(double value, const char *text)
{
	struct tide_buf out = { 0 };
	tide_cell_double(&out, value);
	tide_buf_u8(&out, 0);
	assert_string_equal(out.p, text);
	tide_buf_fini(&out);
}

static void doubles_are_written_as_java_writes_them(void **state)
{
	(void)state;
	assert_double(15, "15.0");
	assert_double(0.1, "0.1");
	assert_double(-0.0, "-0.0");
	assert_double(100, "100.0");
	assert_double(53.51, "53.51");
	assert_double(-1234.5, "-1234.5");
	assert_double(0.001, "0.001");
	assert_double(0.0123, "0.0123");
	assert_double(0.00099, "9.9E-4");
	assert_double(9999999, "9999999.0");
	assert_double(9999999.5, "9999999.5");
	assert_double(1e7, "1.0E7");
	assert_double(12345678, "1.2345678E7");
	assert_double(1e15, "1.0E15");
	assert_double(999999999999999, "9.99999999999999E14");
	assert_double(100000000000000.5, "1.000000000000005E14");
	assert_double(1.0 / 3, "0.3333333333333333");
	assert_double(0.1 + 0.2, "0.30000000000000004");
	assert_double(5e-324, "4.9E-324");
	assert_double(1.7976931348623157e308, "1.7976931348623157E308");
	assert_double(-INFINITY, "-Infinity");
	assert_double(NAN, "NaN");
}

/* Significant digits of a text, without the zeros at its ends. */
static int significant(const char *text)
{
	int count = 0, zeros = 0;
	for (; *text != '\0' && *text != 'E' && *text != 'e'; text++) {
		if (*text < '0' || *text > '9' || (count == 0 && *text == '0'))
			continue;
		zeros = *text == '0' ? zeros + 1 : 0;
		count++;
	}
	return count - zeros;
}

static void assert_shortest(double value)
{
	struct tide_buf out = { 0 };
	char other[40];
	int least = 1;
	do
		snprintf(other, sizeof other, "%.*e", least - 1, value);
	while (strtod(other, NULL) != value && least++ < 17);
	tide_cell_double(&out, value);
	tide_buf_u8(&out, 0);
	/* Java writes two digits where one would do. */
	if (strtod(out.p, NULL) != value || significant(out.p) > (least < 2 ? 2 : least))
		fail_msg("%.17g is written %s, and %s would do", value, out.p, other);
	tide_buf_fini(&out);
}

static uint64_t any(void)
{
	return (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ (uint64_t)random();
}

static void a_double_has_the_fewest_digits_that_read_back(void **state)
{
	(void)state;
	static const double tens[] = { 1, 10, 100, 1e3, 1e4, 1e6, 1e9 };
	const char *given = getenv("SEED");
	unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)time(NULL);
	printf("SEED=%u\n", seed);
	srandom(seed);
	for (int i = 0; i < 30000; i++) {
		double value;
		uint64_t bits = any();
		memcpy(&value, &bits, sizeof value);
		if (isfinite(value))
			assert_shortest(value);
		/* As measurements are: some decimals, and those with one bit more. */
		value = (double)(any() >> (12 + i % 50)) / tens[i % 7];
		assert_shortest(value);
		assert_shortest(nextafter(value, INFINITY));
		assert_shortest(value / 3);
	}
}

static void assert_int(int64_t value)
{
	struct tide_buf out = { 0 };
	char text[24];
	snprintf(text, sizeof text, "%lld", (long long)value);
	tide_cell_json(&out, TIDE_INT, (struct tide_cell){ .i = value });
	tide_buf_u8(&out, 0);
	assert_string_equal(out.p, text);
	tide_buf_fini(&out);
}

static void integers_are_decimal(void **state)
{
	(void)state;
	assert_int(0);
	assert_int(-1);
	assert_int(INT64_MAX);
	assert_int(INT64_MIN);
	for (int64_t v = 1; v < INT64_MAX / 10; v *= 10) {
		assert_int(v - 1);
		assert_int(v);
		assert_int(-v);
	}
}

static void assert_time(int64_t us, const char *iso, const char *shown)
{
	struct tide_buf out = { 0 };
	tide_cell_csv(&out, TIDE_TIMESTAMP, (struct tide_cell){ .i = us }, false);
	tide_buf_u8(&out, 0);
	assert_string_equal(out.p, iso);
	tide_buf_clear(&out);
	tide_cell_show(&out, TIDE_TIMESTAMP, (struct tide_cell){ .i = us }, 0);
	tide_buf_u8(&out, 0);
	assert_string_equal(out.p, shown);
	tide_buf_fini(&out);
}

static void times_have_the_decimals_that_they_need(void **state)
{
	(void)state;
	assert_time(INT64_C(1704110400000000), "2024-01-01T12:00:00.000Z", "2024-01-01 12:00:00");
	assert_time(INT64_C(1704110400100000), "2024-01-01T12:00:00.100Z", "2024-01-01 12:00:00.1");
	assert_time(INT64_C(1704110400000070), "2024-01-01T12:00:00.000070Z",
	            "2024-01-01 12:00:00.00007");
	assert_time(INT64_C(1704110400123456), "2024-01-01T12:00:00.123456Z",
	            "2024-01-01 12:00:00.123456");
	assert_time(-1, "1969-12-31T23:59:59.999999Z", "1969-12-31 23:59:59.999999");
	assert_time(-1000, "1969-12-31T23:59:59.999Z", "1969-12-31 23:59:59.999");
	assert_time(INT64_MAX, "294247-01-10T04:00:54.775807Z", "294247-01-10 04:00:54.775807");
	assert_time(INT64_MIN, "-290308-12-21T19:59:05.224192Z", "-290308-12-21 19:59:05.224192");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(doubles_are_written_as_java_writes_them),
		cmocka_unit_test(a_double_has_the_fewest_digits_that_read_back),
		cmocka_unit_test(integers_are_decimal),
		cmocka_unit_test(times_have_the_decimals_that_they_need),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
