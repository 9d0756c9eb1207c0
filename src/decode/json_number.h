/* SPDX-License-Identifier: Apache-2.0 */
/* JSON numbers: exact integers, correctly rounded doubles.
 * Internal to decode/json*.c. */
#ifndef TIDE_DECODE_JSON_NUMBER_H
#define TIDE_DECODE_JSON_NUMBER_H

#include <locale.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "record/abi.h"
#include "record/arena.h"

/* A number as it was written. */
struct tide_json_number {
	const char *p;
	int32_t len;
	int32_t digits;    /* before the exponent; above 19 `mantissa` is no use */
	uint64_t mantissa; /* those digits as one integer */
	int64_t scale;     /* the value is mantissa * 10^scale */
	bool negative;
	bool integer; /* neither fraction nor exponent */
};

/* Behind the 'e' of a number: adds the exponent to its scale. */
const char *tide_json_exponent_scan(struct tide_json_number *number, const char *p,
                                    const char *end);

static inline bool tide_json_is_digit(const char *p, const char *end)
{
	return p < end && *p >= '0' && *p <= '9';
}

/* Appends 8 digits at once: pairs, then fours, then all. False if they are not. */
static inline bool tide_json_digits8(const char *p, uint64_t *mantissa)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	uint64_t v;
	memcpy(&v, p, sizeof v);
	v ^= 0x3030303030303030;
	if (((v + 0x7676767676767676) | v) & 0x8080808080808080)
		return false;
	v = v * 10 + (v >> 8);
	v = ((v & 0x000000FF000000FF) * 0x000F424000000064 +
	     (v >> 16 & 0x000000FF000000FF) * 0x0000271000000001) >>
	    32;
	*mantissa = *mantissa * 100000000 + v;
	return true;
#else
	(void)p;
	(void)mantissa;
	return false;
#endif
}

/* Digits into the mantissa. Wraps beyond 19 of them, where it is not used. */
static inline const char *tide_json_digits_scan(struct tide_json_number *number, const char *p,
                                                const char *end)
{
	const char *from = p;
	uint64_t mantissa = number->mantissa;
	while (end - p >= 8 && tide_json_digits8(p, &mantissa))
		p += 8;
	while (tide_json_is_digit(p, end))
		mantissa = mantissa * 10 + (uint64_t)(*p++ - '0');
	number->mantissa = mantissa;
	number->digits += (int32_t)(p - from);
	return p;
}

/* Reads the number at `p`. Returns where it ends, or NULL if there is none; a
 * number cut short by `end` is none. Inline, as most values are numbers. */
static inline const char *tide_json_number_scan(struct tide_json_number *number, const char *p,
                                                const char *end)
{
	number->p = p;
	number->mantissa = 0;
	number->digits = 0;
	number->scale = 0;
	number->integer = true;
	number->negative = p < end && *p == '-';
	p += number->negative;
	if (!tide_json_is_digit(p, end))
		return NULL;
	const char *first = p;
	p = tide_json_digits_scan(number, p, end);
	if (*first == '0' && p - first > 1)
		return NULL; /* 01 */
	if (p < end && *p == '.') {
		const char *point = p++;
		number->integer = false;
		p = tide_json_digits_scan(number, p, end);
		number->scale = -(p - point - 1);
		if (number->scale == 0)
			return NULL; /* 1. */
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		number->integer = false;
		p = tide_json_exponent_scan(number, p + 1, end);
		if (p == NULL)
			return NULL;
	}
	number->len = (int32_t)(p - number->p);
	return p;
}

/* number * 10^shift as an int64. With `cut` a fraction is dropped, without it a
 * fraction is TIDE_SCAN_TYPE. Beyond int64 is TIDE_SCAN_RANGE. */
enum tide_scan tide_json_number_int(const struct tide_json_number *number, int shift, bool cut,
                                    int64_t *out);

/* The nearest double; TIDE_SCAN_RANGE beyond the largest one. The arena serves
 * very long numbers and is left as it was; without memory, TIDE_JSON_NOMEM. */
enum tide_scan tide_json_number_double(const struct tide_json_number *number, locale_t c_locale,
                                       struct tide_arena *arena, double *out);

#endif
