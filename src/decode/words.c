/* SPDX-License-Identifier: Apache-2.0 */
/* The word splitter: 64 bytes become a mask of word bytes, and its edges words. */
#include "decode/words.h"

#include <assert.h>
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

size_t tide_words_lower(int32_t len)
{
	/* Whole lanes are written. */
	return len <= 0 ? 0 : ((size_t)len + LANE - 1) & ~(size_t)(LANE - 1);
}

/* A word takes a byte and a gap. Long text is counted, as 12 bytes of list for
 * each byte of a large value add up. */
size_t tide_words_max(const char *text, int32_t len)
{
	if (len <= 0)
		return 1;
	if (len <= COUNT_FROM)
		return (size_t)(len + 1) / 2 + 1;
	char scratch[BLOCK];
	uint64_t before = 0;
	size_t count = 1;
	for (int32_t i = 0; i < len; i += BLOCK) {
		uint64_t mask = block_lower(text + i, len - i, scratch, 1);
		count += (size_t)__builtin_popcountll(mask & ~(mask << 1 | before));
		before = mask >> (BLOCK - 1);
	}
	return count;
}

static inline struct tide_word *word_set(struct tide_word *word, const char *p, int64_t len,
                                         uint32_t gen)
{
	word->addr_ = (uintptr_t)p;
	word->len_ = (int32_t)len;
	word->gen_ = gen;
	word->next_ = sizeof *word;
	return word + 1;
}

/* Short text, one lane: keys, header names, header values. */
static struct tide_word *split_lane(const struct tide_words_of *from, struct tide_word *word)
{
	uint64_t mask = block_lower(from->text, from->len, from->lower, from->exact);
	uint64_t edges = mask ^ mask << 1;
	while (edges != 0) {
		int start = __builtin_ctzll(edges);
		edges &= edges - 1;
		int end = __builtin_ctzll(edges);
		edges &= edges - 1;
		word = word_set(word, from->lower + start, end - start, from->gen);
	}
	return word;
}

static struct tide_word *split_blocks(const struct tide_words_of *from, struct tide_word *word)
{
	const char *open = NULL; /* start of a word that the block before left open */
	char *lower = from->lower;
	uint32_t gen = from->gen;
	for (int32_t i = 0; i < from->len; i += BLOCK, lower += BLOCK) {
		uint64_t mask = block_lower(from->text + i, from->len - i, lower, from->exact);
		uint64_t edges = mask ^ (mask << 1 | (open != NULL));
		if (open != NULL && edges != 0) {
			word = word_set(word, open, lower + __builtin_ctzll(edges) - open, gen);
			edges &= edges - 1;
			open = NULL;
		}
		while (edges != 0) {
			const char *start = lower + __builtin_ctzll(edges);
			edges &= edges - 1;
			if (edges == 0) {
				open = start;
				break;
			}
			const char *end = lower + __builtin_ctzll(edges);
			edges &= edges - 1;
			word = word_set(word, start, end - start, gen);
		}
	}
	if (open != NULL)
		word = word_set(word, open, from->lower + from->len - open, gen);
	return word;
}

struct tide_word *tide_words(const struct tide_words_of *from, struct tide_word *list)
{
	assert(from->text != NULL || from->len <= 0);
	if (from->len > LANE)
		list = split_blocks(from, list);
	else if (from->len > 0)
		list = split_lane(from, list);
	return word_set(list, NULL, -1, from->gen);
}
