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
#define tide_words tide_words_portable
const struct tide_view *tide_words_portable(struct tide_arena *arena, const char *text, int32_t len,
                                            uint32_t gen, int exact);
#include "../../src/decode/words.c"
#undef tide_words

typedef const struct tide_view *splitter(struct tide_arena *arena, const char *text, int32_t len,
                                         uint32_t gen, int exact);

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

/* Walks both: the views must be the runs of word bytes, lower-cased. */
static void assert_words_of(const struct tide_view *view, const char *text, int32_t len,
                            uint32_t gen)
{
	int32_t i = 0;
	for (;; view++) {
		while (i < len && !is_word_byte(text[i]))
			i++;
		int32_t from = i;
		while (i < len && is_word_byte(text[i]))
			i++;
		assert_int_equal(view->gen_, gen);
		if (i == from)
			break;
		assert_int_equal(view->len_, i - from);
		const char *word = (const char *)(uintptr_t)view->addr_;
		for (int32_t k = 0; k < i - from; k++) {
			char want = text[from + k];
			if (want >= 'A' && want <= 'Z')
				want = (char)(want + 32);
			assert_int_equal(word[k], want);
		}
	}
	assert_int_equal(view->len_, -1);
}

/* Text in memory of exactly its size, or followed by 32 bytes of letters that
 * must never join a word. */
static void check_text(splitter *split, struct tide_arena *arena, const char *text, int32_t len)
{
	for (int exact = 0; exact <= 1; exact++) {
		size_t size = (size_t)len + (exact ? 0 : 32);
		char *copy = malloc(size + (size == 0));
		assert_non_null(copy);
		memset(copy, 'x', size);
		if (len > 0)
			memcpy(copy, text, (size_t)len);
		tide_arena_reset(arena);
		const struct tide_view *views = split(arena, copy, len, 77, exact);
		assert_non_null(views);
		assert_words_of(views, text, len, 77);
		/* The source is not touched, and not needed any more. */
		assert_int_equal(len == 0 || memcmp(copy, text, (size_t)len) == 0, 1);
		memset(copy, 'y', size);
		assert_words_of(views, text, len, 77);
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

static void random_text(splitter *split)
{
	struct tide_arena *arena = tide_arena_new();
	char text[300];
	for (int32_t len = 0; len <= 300; len++) {
		for (int round = 0; round < 40; round++) {
			fill(text, len, round % 4);
			check_text(split, arena, text, len);
		}
	}
	tide_arena_free(arena);
}

static void random_text_splits_as_the_naive_splitter_does(void **state)
{
	(void)state;
	random_text(tide_words);
}

static void portable_splitter_agrees(void **state)
{
	(void)state;
	random_text(tide_words_portable);
}

static void every_byte_alone_is_a_word_or_not(void **state)
{
	(void)state;
	struct tide_arena *arena = tide_arena_new();
	for (int c = 0; c < 256; c++) {
		char text[3] = { 'a', (char)c, 'B' };
		check_text(tide_words, arena, text, 3);
		check_text(tide_words, arena, text + 1, 1);
		check_text(tide_words_portable, arena, text, 3);
		check_text(tide_words_portable, arena, text + 1, 1);
	}
	tide_arena_free(arena);
}

static void long_text_is_counted_and_split(void **state)
{
	(void)state;
	struct tide_arena *arena = tide_arena_new();
	enum { LEN = 300 * 1000 };
	char *text = malloc(LEN);
	assert_non_null(text);
	static const int32_t lens[] = { 4095, 4096, 4097, 4160, 4161, 65536, LEN };
	for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
		for (int kind = 0; kind < 4; kind++) {
			fill(text, lens[i], kind);
			check_text(tide_words, arena, text, lens[i]);
			check_text(tide_words_portable, arena, text, lens[i]);
		}
	}
	memset(text, 'A', LEN); /* one word across every block */
	check_text(tide_words, arena, text, LEN);
	free(text);
	tide_arena_free(arena);
}

static void no_text_has_no_words(void **state)
{
	(void)state;
	struct tide_arena *arena = tide_arena_new();
	assert_int_equal(tide_words(arena, NULL, 0, 5, 1)->len_, -1);
	assert_int_equal(tide_words(arena, NULL, -1, 5, 1)->len_, -1); /* a null view */
	tide_arena_free(arena);
}

static void lists_survive_later_lists(void **state)
{
	(void)state;
	struct tide_arena *arena = tide_arena_new();
	static const char outer[] = "One two THREE";
	static const char inner[] = "four FIVE six seven eight nine ten";
	const struct tide_view *kept = tide_words(arena, outer, (int32_t)strlen(outer), 9, 1);
	for (int i = 0; i < 1000; i++)
		assert_words_of(tide_words(arena, inner, (int32_t)strlen(inner), 9, 1), inner,
		                (int32_t)strlen(inner), 9);
	assert_words_of(kept, outer, (int32_t)strlen(outer), 9);
	tide_arena_free(arena);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_text_has_no_words),
		cmocka_unit_test(every_byte_alone_is_a_word_or_not),
		cmocka_unit_test(random_text_splits_as_the_naive_splitter_does),
		cmocka_unit_test(portable_splitter_agrees),
		cmocka_unit_test(long_text_is_counted_and_split),
		cmocka_unit_test(lists_survive_later_lists),
	};
	seed_random();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
