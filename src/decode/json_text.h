/* SPDX-License-Identifier: Apache-2.0 */
/* JSON strings: where one ends, whether it is UTF-8, and what its escapes mean.
 * Internal to decode/json*.c. */
#ifndef TIDE_DECODE_JSON_TEXT_H
#define TIDE_DECODE_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* A string between its quotes. */
struct tide_json_text {
	const char *p;
	int32_t len;
	bool escaped;    /* holds backslashes */
	const char *end; /* behind the closing quote, or NULL: bad says why */
	const char *bad_at;
	const char *bad;
};

/* The part of tide_json_text_scan for what is not plain ASCII: `p` is at the
 * first byte that is a quote, a backslash, a control or beyond ASCII. */
void tide_json_text_slow(struct tide_json_text *text, const char *p, const char *end);

/* What the escapes of `text` stand for; `out` holds text->len bytes. Returns the
 * length, or -1 with bad and bad_at set. */
int32_t tide_json_text_unescape(struct tide_json_text *text, char *out);

static inline bool tide_json_text_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* `p` is behind the opening quote. Never reads at or beyond `end`. */
static inline void tide_json_text_scan(struct tide_json_text *text, const char *p, const char *end)
{
	text->p = p;
	text->escaped = false;
#if defined(__SSE2__)
	while (end - p >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		/* Signed, controls and bytes beyond ASCII are both below a blank. */
		__m128i stop = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)),
		                            _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
		                                         _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
		unsigned mask = (unsigned)_mm_movemask_epi8(stop);
		if (mask != 0) {
			p += __builtin_ctz(mask);
			goto stopped;
		}
		p += 16;
	}
#endif
	while (p < end && tide_json_text_plain((unsigned char)*p))
		p++;
#if defined(__SSE2__)
stopped:
#endif
	if (p < end && *p == '"') {
		text->len = (int32_t)(p - text->p);
		text->end = p + 1;
		return;
	}
	tide_json_text_slow(text, p, end);
}

#endif
