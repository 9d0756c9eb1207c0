/* SPDX-License-Identifier: Apache-2.0 */
/* Time, replaceable so that tests never sleep. */
#ifndef TIDE_BASE_CLOCK_H
#define TIDE_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t tide_clock_us(void);      /* wall clock since 1970, UTC */
int64_t tide_clock_mono_us(void); /* never goes back */
/* Tests: from now on both clocks stand at `us`; a negative value undoes it. */
void tide_clock_set(int64_t us);

/* "2024-01-01T12:00:00.000Z"; `out` holds at least 32 bytes. */
void tide_clock_format_ms(int64_t ms, char *out, size_t size);
/* ISO 8601 with zone, fraction or neither (then UTC), to microseconds.
 * Returns 0, or -1 if `text` is not a time. */
int tide_clock_parse_us(const char *text, size_t len, int64_t *us);
/* Microseconds of milliseconds from outside, as far as they go. */
int64_t tide_clock_us_of(int64_t ms);
/* "250ms", "10s", "5m", "2h", "7d", "1 hour 30 minutes" to milliseconds, or -1. */
int64_t tide_clock_span_ms(const char *text);

#endif
