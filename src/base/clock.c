/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, ISO 8601 times and spans of time. */
#include "base/clock.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const int64_t SECOND_US = 1000000;
static const int64_t DAY_MS = 86400000;

static _Atomic int64_t stands_at = -1;

static int64_t clock_read_us(clockid_t id)
{
	int64_t set = atomic_load_explicit(&stands_at, memory_order_relaxed);
	if (set >= 0)
		return set;
	struct timespec now;
	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

int64_t tide_clock_us(void)
{
	return clock_read_us(CLOCK_REALTIME);
}

int64_t tide_clock_mono_us(void)
{
	return clock_read_us(CLOCK_MONOTONIC);
}

void tide_clock_set(int64_t us)
{
	atomic_store_explicit(&stands_at, us < 0 ? -1 : us, memory_order_relaxed);
}

/* Days of the proleptic Gregorian calendar, counted in years that begin in
 * March, so that the leap day is the last of its year. */
static int64_t days_of_date(int64_t year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t m = (month + 9) % 12;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t in_era = y - era * 400;
	int64_t days = in_era * 365 + in_era / 4 - in_era / 100 + (153 * m + 2) / 5 + day - 1;
	return era * 146097 + days - 719468;
}

static void date_of_days(int64_t days, int64_t *year, int *month, int *day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t d = days - era * 146097;
	int64_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
	int64_t in_year = d - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * in_year + 2) / 153;
	*day = (int)(in_year - (153 * m + 2) / 5 + 1);
	*month = (int)(m < 10 ? m + 3 : m - 9);
	*year = y + era * 400 + (*month <= 2);
}

static void put_digits(char *out, int count, int v)
{
	for (; count > 0; v /= 10)
		out[--count] = (char)('0' + v % 10);
}

void tide_clock_format_ms(int64_t ms, char *out, size_t size)
{
	assert(out != NULL && size >= 32);
	int64_t days = ms / DAY_MS;
	int64_t in_day = ms % DAY_MS;
	if (in_day < 0) {
		in_day += DAY_MS;
		days--;
	}
	int64_t year;
	int month, day;
	date_of_days(days, &year, &month, &day);
	int t = (int)in_day, lead = 4;
	/* By hand: rows are full of times, and printf takes as long as all else. */
	if (year >= 0 && year <= 9999)
		put_digits(out, 4, (int)year);
	else
		lead = snprintf(out, size, "%04lld", (long long)year);
	out += lead;
	memcpy(out, "-00-00T00:00:00.000Z", sizeof "-00-00T00:00:00.000Z");
	put_digits(out + 1, 2, month);
	put_digits(out + 4, 2, day);
	put_digits(out + 7, 2, t / 3600000);
	put_digits(out + 10, 2, t / 60000 % 60);
	put_digits(out + 13, 2, t / 1000 % 60);
	put_digits(out + 16, 3, t % 1000);
}

int64_t tide_clock_us_of(int64_t ms)
{
	if (ms > INT64_MAX / 1000)
		return INT64_MAX;
	return ms < INT64_MIN / 1000 ? INT64_MIN : ms * 1000;
}

struct scan {
	const char *p, *end;
};

static bool scan_char(struct scan *in, char c)
{
	if (in->p == in->end || *in->p != c)
		return false;
	in->p++;
	return true;
}

/* Exactly `digits` digits. */
static bool scan_number(struct scan *in, int digits, int *out)
{
	if (in->end - in->p < digits)
		return false;
	int v = 0;
	for (int i = 0; i < digits; i++) {
		unsigned d = (unsigned)(unsigned char)in->p[i] - '0';
		if (d > 9)
			return false;
		v = v * 10 + (int)d;
	}
	in->p += digits;
	*out = v;
	return true;
}

static bool scan_date(struct scan *in, int64_t *days)
{
	static const char lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int year, month, day;
	if (!scan_number(in, 4, &year) || !scan_char(in, '-') || !scan_number(in, 2, &month) ||
	    !scan_char(in, '-') || !scan_number(in, 2, &day))
		return false;
	if (month < 1 || month > 12 || day < 1)
		return false;
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	if (day > lengths[month - 1] + (month == 2 && leap))
		return false;
	*days = days_of_date(year, month, day);
	return true;
}

/* hh:mm, hh:mm:ss or hh:mm:ss.f with 1 to 9 digits; more than 6 are cut. */
static bool scan_time(struct scan *in, int64_t *us)
{
	int hour, minute, second = 0;
	int64_t fraction = 0;
	if (!scan_number(in, 2, &hour) || !scan_char(in, ':') || !scan_number(in, 2, &minute))
		return false;
	if (scan_char(in, ':')) {
		if (!scan_number(in, 2, &second))
			return false;
		if (scan_char(in, '.')) {
			int digits = 0;
			for (int d; digits < 10 && scan_number(in, 1, &d); digits++)
				if (digits < 6)
					fraction = fraction * 10 + d;
			if (digits < 1 || digits > 9)
				return false;
			for (; digits < 6; digits++)
				fraction *= 10;
		}
	}
	if (hour > 23 || minute > 59 || second > 59)
		return false;
	*us = ((hour * 60 + minute) * INT64_C(60) + second) * SECOND_US + fraction;
	return true;
}

/* Z, +hh:mm, +hhmm, +hh, or nothing. */
static bool scan_zone(struct scan *in, int64_t *us)
{
	*us = 0;
	if (in->p == in->end || scan_char(in, 'Z') || scan_char(in, 'z'))
		return true;
	bool west = *in->p == '-';
	int hour, minute = 0;
	if (!scan_char(in, '+') && !scan_char(in, '-'))
		return false;
	if (!scan_number(in, 2, &hour))
		return false;
	if (in->p != in->end) {
		scan_char(in, ':');
		if (!scan_number(in, 2, &minute))
			return false;
	}
	if (hour > 18 || minute > 59)
		return false;
	*us = (hour * 60 + minute) * 60 * SECOND_US * (west ? -1 : 1);
	return true;
}

int tide_clock_parse_us(const char *text, size_t len, int64_t *us)
{
	assert(text != NULL || len == 0);
	struct scan in = { text, text + len };
	int64_t days, time_us = 0, zone_us = 0;
	if (len == 0 || !scan_date(&in, &days))
		return -1;
	if (in.p != in.end) {
		if (!scan_char(&in, 'T') && !scan_char(&in, 't') && !scan_char(&in, ' '))
			return -1;
		if (!scan_time(&in, &time_us) || !scan_zone(&in, &zone_us))
			return -1;
	}
	if (in.p != in.end)
		return -1;
	*us = days * DAY_MS * 1000 + time_us - zone_us;
	return 0;
}

/* Milliseconds of a unit's name, or 0. */
static int64_t unit_ms(const char *name, size_t len)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {
		{ "ms", 1 },           { "millisecond", 1 },   { "milliseconds", 1 },
		{ "s", 1000 },         { "sec", 1000 },        { "second", 1000 },
		{ "seconds", 1000 },   { "m", 60000 },         { "min", 60000 },
		{ "minute", 60000 },   { "minutes", 60000 },   { "h", 3600000 },
		{ "hour", 3600000 },   { "hours", 3600000 },   { "d", 86400000 },
		{ "day", 86400000 },   { "days", 86400000 },   { "w", 604800000 },
		{ "week", 604800000 }, { "weeks", 604800000 },
	};
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (strlen(units[i].name) == len && memcmp(units[i].name, name, len) == 0)
			return units[i].ms;
	return 0;
}

/* The digits at *p as a number; -1 when there are none or too many. */
static int64_t span_number(const char **p)
{
	int64_t v = -1;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		v = (v < 0 ? 0 : v) * 10 + (**p - '0');
		if (v > INT64_MAX / 604800000 / 16)
			return -1;
	}
	return v;
}

int64_t tide_clock_span_ms(const char *text)
{
	assert(text != NULL);
	const char *p = text + strspn(text, " ");
	int64_t total = -1;
	while (*p != '\0') {
		int64_t number = span_number(&p);
		if (number < 0)
			return -1;
		p += strspn(p, " ");
		size_t len = strspn(p, "abcdefghijklmnopqrstuvwxyz");
		int64_t unit = unit_ms(p, len);
		/* Nothing needs no unit. */
		if (unit == 0 && (len > 0 || number != 0 || total >= 0))
			return -1;
		p += len + strspn(p + len, " ");
		if (len == 0 && *p != '\0')
			return -1;
		total = (total < 0 ? 0 : total) + number * unit;
		if (total > INT64_MAX / 4)
			return -1;
	}
	return total;
}
