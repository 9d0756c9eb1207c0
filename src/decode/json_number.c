/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a JSON document, without passing integers through a double. */
#include "decode/json_number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "decode/json.h"

enum {
	DIGITS_EXACT = 19, /* so many decimal digits always fit a uint64_t */
	TEXT_SHORT = 64    /* longer number text needs memory for strtod */
};

/* Beyond what any document's digits could make up for; sums fit an int64_t. */
static const int64_t exponent_max = (int64_t)1 << 40;

const char *tide_json_exponent_scan(struct tide_json_number *number, const char *p, const char *end)
{
	bool negative = p < end && *p == '-';
	int64_t exponent = 0;
	if (p < end && (*p == '-' || *p == '+'))
		p++;
	if (!tide_json_is_digit(p, end))
		return NULL;
	for (; tide_json_is_digit(p, end); p++)
		if (exponent < exponent_max)
			exponent = exponent * 10 + (*p - '0');
	number->scale += negative ? -exponent : exponent;
	return p;
}

/* The digits of the number's text that are left of 10^drop. Zeroes at either
 * end cost nothing, so 1.000…0e5 of any length is still exact. */
static enum tide_scan digits_int(const struct tide_json_number *number, int64_t scale, bool cut,
                                 uint64_t *out)
{
	uint64_t value = 0;
	int64_t left = number->digits + scale; /* digits before the decimal point */
	const char *p = number->p + number->negative;
	for (int32_t i = 0; i < number->digits; p++) {
		if (*p == '.')
			continue;
		unsigned digit = (unsigned)(*p - '0');
		if (i++ >= left) {
			if (digit != 0 && !cut)
				return TIDE_SCAN_TYPE;
			continue;
		}
		if (__builtin_mul_overflow(value, 10U, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return TIDE_SCAN_RANGE;
	}
	for (int64_t i = number->digits; i < left && value != 0; i++)
		if (__builtin_mul_overflow(value, 10U, &value))
			return TIDE_SCAN_RANGE;
	*out = value;
	return TIDE_SCAN_OK;
}

enum tide_scan tide_json_number_int(const struct tide_json_number *number, int shift, bool cut,
                                    int64_t *out)
{
	uint64_t value = number->mantissa;
	if (number->digits > DIGITS_EXACT || number->scale + shift != 0) {
		enum tide_scan rc = digits_int(number, number->scale + shift, cut, &value);
		if (rc != TIDE_SCAN_OK)
			return rc;
	}
	if (value > (uint64_t)INT64_MAX + number->negative)
		return TIDE_SCAN_RANGE;
	*out = (int64_t)(number->negative ? 0 - value : value);
	return TIDE_SCAN_OK;
}

enum tide_scan tide_json_number_double(const struct tide_json_number *number, locale_t c_locale,
                                       struct tide_arena *arena, double *out)
{
	static const double ten[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
		                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
		                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
	/* Both factors are exact doubles, so one operation rounds once. */
	if (number->digits <= DIGITS_EXACT && number->mantissa <= (uint64_t)1 << 53 &&
	    number->scale >= -22 && number->scale <= 22) {
		double value = (double)number->mantissa;
		value = number->scale < 0 ? value / ten[-number->scale]
		                          : value * ten[number->scale];
		*out = number->negative ? -value : value;
		return TIDE_SCAN_OK;
	}
	char shorts[TEXT_SHORT];
	char *text = shorts;
	if (number->len >= TEXT_SHORT) {
		text = tide_arena_text(arena, (size_t)number->len + 1);
		if (text == NULL)
			return (enum tide_scan)TIDE_JSON_NOMEM;
	}
	memcpy(text, number->p, (size_t)number->len);
	text[number->len] = '\0';
	*out = strtod_l(text, NULL, c_locale);
	if (text != shorts)
		tide_arena_trim(arena, text);
	return isinf(*out) ? TIDE_SCAN_RANGE : TIDE_SCAN_OK;
}
