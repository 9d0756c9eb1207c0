/* SPDX-License-Identifier: Apache-2.0 */
/* JSON numbers: exact integers, correctly rounded doubles.
 * Internal to decode/json*.c. */
#ifndef TIDE_DECODE_JSON_NUMBER_H
#define TIDE_DECODE_JSON_NUMBER_H

#include <locale.h>
#include <stdbool.h>
#include <stdint.h>

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

/* Reads the number at `p`. Returns where it ends, or NULL if there is none; a
 * number cut short by `end` is none. */
const char *tide_json_number_scan(struct tide_json_number *number, const char *p, const char *end);

/* number * 10^shift as an int64. With `cut` a fraction is dropped, without it a
 * fraction is TIDE_SCAN_TYPE. Beyond int64 is TIDE_SCAN_RANGE. */
enum tide_scan tide_json_number_int(const struct tide_json_number *number, int shift, bool cut,
                                    int64_t *out);

/* The nearest double; TIDE_SCAN_RANGE beyond the largest one. The arena serves
 * very long numbers and is left as it was; without memory, TIDE_JSON_NOMEM. */
enum tide_scan tide_json_number_double(const struct tide_json_number *number, locale_t c_locale,
                                       struct tide_arena *arena, double *out);

#endif
