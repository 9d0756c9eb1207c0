/* SPDX-License-Identifier: Apache-2.0 */
/* The word splitter: 64 bytes become a mask of word bytes, and its edges words. */
#include "decode/words.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(TIDE_WORDS_PORTABLE)
#include <emmintrin.h>
#define WORDS_SSE2 1
#endif

enum {
	LANE = 16,        /* bytes classified at once */
	BLOCK = 64,       /* bytes whose mask fits a register */
	COUNT_FROM = 4096 /* longer text is counted first, so that views fit exactly */
};

#ifdef WORDS_SSE2
/* Bit i says that from[i] is a letter or digit; to[i] is from[i] in lower case.
 * Bytes >= 0x80 are negative here and so below every range. */
static inline uint64_t lane_lower(const char *from, char *to)
{
	const __m128i case_bit = _mm_set1_epi8(0x20);
	__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)from);
	__m128i lower = _mm_or_si128(bytes, case_bit);
	__m128i letter = _mm_and_si128(_mm_cmpgt_epi8(lower, _mm_set1_epi8('a' - 1)),
	                               _mm_cmpgt_epi8(_mm_set1_epi8('z' + 1), lower));
	__m128i digit = _mm_and_si128(_mm_cmpgt_epi8(bytes, _mm_set1_epi8('0' - 1)),
	                              _mm_cmpgt_epi8(_mm_set1_epi8('9' + 1), bytes));
	_mm_storeu_si128((__m128i *)(void *)to,
	                 _mm_or_si128(bytes, _mm_and_si128(letter, case_bit)));
	return (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_or_si128(letter, digit));
}
#else
static inline uint64_t lane_lower(const char *from, char *to)
{
	uint64_t mask = 0;
	for (int i = 0; i < LANE; i++) {
		unsigned char byte = (unsigned char)from[i];
		unsigned char lower = byte | 0x20;
		unsigned letter = (unsigned char)(lower - 'a') < 26;
		unsigned digit = (unsigned char)(byte - '0') < 10;
		to[i] = (char)(letter ? lower : byte);
		mask |= (uint64_t)(letter | digit) << i;
	}
	return mask;
}
#endif

/* The mask of up to 64 bytes. Only lanes that hold text are touched, so at most
 * 15 bytes past the end are read, and none if `exact`. */
static inline uint64_t block_lower(const char *from, int32_t len, char *to, int exact)
{
	int32_t n = len < BLOCK ? len : BLOCK;
	uint64_t mask = 0;
	int32_t i = 0;
	for (; i + LANE <= n; i += LANE)
		mask |= lane_lower(from + i, to + i) << i;
	if (i == n)
		return mask;
	if (exact) {
		char last[LANE] = { 0 };
		memcpy(last, from + i, (size_t)(n - i));
		mask |= lane_lower(last, to + i) << i;
	} else {
		mask |= lane_lower(from + i, to + i) << i;
	}
	return mask & (((uint64_t)1 << n) - 1);
}

/* How many views `text` needs at most: a word takes a byte and a gap. Long text
 * is counted, as 8 bytes of view for each byte of a large value add up. */
static size_t views_max(const char *text, int32_t len)
{
	if (len <= COUNT_FROM)
		return (size_t)(len + 1) / 2;
	char scratch[BLOCK];
	uint64_t before = 0;
	size_t count = 0;
	for (int32_t i = 0; i < len; i += BLOCK) {
		uint64_t mask = block_lower(text + i, len - i, scratch, 1);
		count += (size_t)__builtin_popcountll(mask & ~(mask << 1 | before));
		before = mask >> (BLOCK - 1);
	}
	return count;
}

static inline void view_set(struct tide_view *view, const char *p, int64_t len, uint32_t gen)
{
	view->addr_ = (uintptr_t)p;
	view->len_ = (int32_t)len;
	view->gen_ = gen;
}

/* Short text, one lane: keys, header names, header values. */
static struct tide_view *split_lane(const char *text, int32_t len, char *lower,
                                    struct tide_view *view, uint32_t gen, int exact)
{
	uint64_t mask = block_lower(text, len, lower, exact);
	uint64_t edges = mask ^ mask << 1;
	while (edges != 0) {
		int from = __builtin_ctzll(edges);
		edges &= edges - 1;
		int to = __builtin_ctzll(edges);
		edges &= edges - 1;
		view_set(view++, lower + from, to - from, gen);
	}
	return view;
}

static struct tide_view *split_blocks(const char *text, int32_t len, char *lower,
                                      struct tide_view *view, uint32_t gen, int exact)
{
	const char *open = NULL; /* start of a word that the block before left open */
	for (int32_t i = 0; i < len; i += BLOCK) {
		uint64_t mask = block_lower(text + i, len - i, lower + i, exact);
		uint64_t edges = mask ^ (mask << 1 | (open != NULL));
		if (open != NULL && edges != 0) {
			view_set(view++, open, lower + i + __builtin_ctzll(edges) - open, gen);
			edges &= edges - 1;
			open = NULL;
		}
		while (edges != 0) {
			const char *from = lower + i + __builtin_ctzll(edges);
			edges &= edges - 1;
			if (edges == 0) {
				open = from;
				break;
			}
			const char *to = lower + i + __builtin_ctzll(edges);
			edges &= edges - 1;
			view_set(view++, from, to - from, gen);
		}
	}
	if (open != NULL)
		view_set(view++, open, lower + len - open, gen);
	return view;
}

const struct tide_view *tide_words(struct tide_arena *arena, const char *text, int32_t len,
                                   uint32_t gen, int exact)
{
	assert(arena != NULL);
	assert(text != NULL || len <= 0);
	if (len < 0)
		len = 0;
	/* Whole lanes are written. The text stays apart from the views, as the arena
	 * wants it, so that bytes of a record can never be read as a view. */
	char *lower = tide_arena_text(arena, ((size_t)len + LANE - 1) & ~(size_t)(LANE - 1));
	size_t views = views_max(text, len) + 1;
	struct tide_view *first = tide_arena_alloc(arena, views * sizeof *first);
	if (lower == NULL || first == NULL)
		return NULL;
	struct tide_view *end = first;
	if (len > LANE)
		end = split_blocks(text, len, lower, first, gen, exact);
	else if (len > 0)
		end = split_lane(text, len, lower, first, gen, exact);
	view_set(end++, NULL, -1, gen);
	assert((size_t)(end - first) <= views);
	tide_arena_trim(arena, end);
	return first;
}
