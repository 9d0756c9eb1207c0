/* SPDX-License-Identifier: Apache-2.0 */
/* The word splitter against one that is too simple to be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "decode/words.h"

/* The same source once more without SSE2, so that both are tested here. */
#define TIDE_WORDS_PORTABLE
#define tide_words       tide_words_portable
#define tide_words_lower tide_words_lower_portable
#define tide_words_max   tide_words_max_portable
size_t tide_words_lower_portable(int32_t len);
size_t tide_words_max_portable(const char *text, int32_t len);
struct tide_word *tide_words_portable(const struct tide_words_of *from, struct tide_word *list);
#include "../../src/decode/words.c"
#undef tide_words
#undef tide_words_lower
#undef tide_words_max

/* Splits into memory of exactly the promised size. The caller frees both. */
struct split {
	char *lower;
	struct tide_word *list;
};
typedef struct split splitter(const char *text, int32_t len, uint32_t gen, bool exact);

static struct split split(const char *text, int32_t len, uint32_t gen, bool exact)
{
	size_t max = tide_words_max(text, len);
	struct split made = { malloc(tide_words_lower(len) + 1), malloc(max * sizeof *made.list) };
	assert_true(made.lower != NULL && made.list != NULL);
	struct tide_words_of from = { text, len, exact, gen, made.lower };
	struct tide_word *end = tide_words(&from, made.list);
	assert_true((size_t)(end - made.list) <= max);
	return made;
}

static struct split split_portable(const char *text, int32_t len, uint32_t gen, bool exact)
{
	size_t max = tide_words_max_portable(text, len);
	struct split made = { malloc(tide_words_lower_portable(len) + 1),
		              malloc(max * sizeof *made.list) };
	assert_true(made.lower != NULL && made.list != NULL);
	struct tide_words_of from = { text, len, exact, gen, made.lower };
	struct tide_word *end = tide_words_portable(&from, made.list);
	assert_true((size_t)(end - made.list) <= max);
	return made;
}

static void split_free(struct split made)
{
	free(made.lower);
	free(made.list);
}

static uint64_t random_state;

static uint32_t random_next(void)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(random_state >> 33);
}

static void seed_random(void)
{
	const char *given = getenv("SEED");
	random_state = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)(uintptr_t)&given >> 4;
	printf("SEED=%llu\n", (unsigned long long)random_state);
}

static int is_word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Walks both: the words must be the runs of word bytes, lower-cased. */
static void assert_words_of(const struct tide_word *word, const char *text, int32_t len,
                            uint32_t gen)
{
	int32_t i = 0;
	for (;; word = (const void *)((const char *)word + word->next_)) {
		while (i < len && !is_word_byte(text[i]))
			i++;
		int32_t from = i;
		while (i < len && is_word_byte(text[i]))
			i++;
		assert_int_equal(word->gen_, gen);
		if (i == from)
			break;
		assert_int_equal(word->len_, i - from);
		const char *bytes = (const char *)(uintptr_t)word->addr_;
		for (int32_t k = 0; k < i - from; k++) {
			char want = text[from + k];
			if (want >= 'A' && want <= 'Z')
				want = (char)(want + 32);
			assert_int_equal(bytes[k], want);
		}
	}
	assert_int_equal(word->len_, -1);
}

/* Text in memory of exactly its size, or followed by 32 bytes of letters that
 * must never join a word. */
static void check_text(splitter *splits, const char *text, int32_t len)
{
	for (int exact = 0; exact <= 1; exact++) {
		size_t size = (size_t)len + (exact ? 0 : 32);
		char *copy = malloc(size + (size == 0));
		assert_non_null(copy);
		memset(copy, 'x', size);
		if (len > 0)
			memcpy(copy, text, (size_t)len);
		struct split made = splits(copy, len, 77, exact);
		assert_words_of(made.list, text, len, 77);
		/* The source is not touched, and not needed any more. */
		assert_int_equal(len == 0 || memcmp(copy, text, (size_t)len) == 0, 1);
		memset(copy, 'y', size);
		assert_words_of(made.list, text, len, 77);
		split_free(made);
		free(copy);
	}
}

static void fill(char *text, int32_t len, int kind)
{
	static const char mixed[] = "aZ09 -_@[`{/:\x80\xff\xc3\xe1\x00zA";
	for (int32_t i = 0; i < len; i++) {
		if (kind == 0)
			text[i] = (char)random_next();
		else if (kind == 1)
			text[i] = mixed[random_next() % (sizeof mixed - 1)];
		else if (kind == 2)
			text[i] = random_next() % 40 == 0 ? ' ' : 'Q';
		else
			text[i] = random_next() % 40 == 0 ? 'Q' : '\0';
	}
}

static void random_text(splitter *splits)
{
	char text[300];
	for (int32_t len = 0; len <= 300; len++) {
		for (int round = 0; round < 40; round++) {
			fill(text, len, round % 4);
			check_text(splits, text, len);
		}
	}
}

static void random_text_splits_as_the_naive_splitter_does(void **state)
{
	(void)state;
	random_text(split);
}

static void portable_splitter_agrees(void **state)
{
	(void)state;
	random_text(split_portable);
}

static void every_byte_alone_is_a_word_or_not(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		char text[3] = { 'a', (char)c, 'B' };
		check_text(split, text, 3);
		check_text(split, text + 1, 1);
		check_text(split_portable, text, 3);
		check_text(split_portable, text + 1, 1);
	}
}

static void long_text_is_counted_and_split(void **state)
{
	(void)state;
	enum { LEN = 300 * 1000 };
	char *text = malloc(LEN);
	assert_non_null(text);
	static const int32_t lens[] = { 4095, 4096, 4097, 4160, 4161, 65536, LEN };
	for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
		for (int kind = 0; kind < 4; kind++) {
			fill(text, lens[i], kind);
			check_text(split, text, lens[i]);
			check_text(split_portable, text, lens[i]);
		}
	}
	memset(text, 'A', LEN); /* one word across every block */
	check_text(split, text, LEN);
	free(text);
}

static void no_text_has_no_words(void **state)
{
	(void)state;
	for (int32_t len = -1; len <= 0; len++) { /* -1: a null view */
		struct split made = split(NULL, len, 5, true);
		assert_int_equal(made.list->len_, -1);
		split_free(made);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_text_has_no_words),
		cmocka_unit_test(every_byte_alone_is_a_word_or_not),
		cmocka_unit_test(random_text_splits_as_the_naive_splitter_does),
		cmocka_unit_test(portable_splitter_agrees),
		cmocka_unit_test(long_text_is_counted_and_split),
	};
	seed_random();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
