/* SPDX-License-Identifier: Apache-2.0 */
/* Arenas: addresses, slack, trimming, what a reset leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "record/arena.h"

static int setup(void **state)
{
	*state = tide_arena_new();
	return *state != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	tide_arena_free(*state);
	return 0;
}

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(random_state >> 33) % n;
}

static void structs_are_aligned_and_text_is_packed(void **state)
{
	char *a = tide_arena_alloc(*state, 3);
	char *b = tide_arena_alloc(*state, 16);
	assert_int_equal((uintptr_t)a % 8, 0);
	assert_ptr_equal(b, a + 8);
	char *t = tide_arena_text(*state, 3);
	char *u = tide_arena_text(*state, 5);
	assert_ptr_equal(u, t + 3);
}

static void nothing_has_an_address_too(void **state)
{
	assert_non_null(tide_arena_alloc(*state, 0));
	assert_non_null(tide_arena_text(*state, 0));
	assert_int_equal(tide_arena_used(*state), 0);
}

static void more_than_there_can_be_is_refused(void **state)
{
	assert_null(tide_arena_alloc(*state, SIZE_MAX));
	assert_null(tide_arena_text(*state, SIZE_MAX - 7));
	assert_non_null(tide_arena_text(*state, 1));
}

static void thirty_two_bytes_behind_each_end_are_readable(void **state)
{
	volatile unsigned sum = 0;
	for (size_t size = 0; size < 300000; size = size * 3 + 1) {
		const char *p = tide_arena_text(*state, size);
		const char *q = tide_arena_alloc(*state, size);
		for (size_t i = 0; i < 32; i++)
			sum = sum + (unsigned char)p[size + i] + (unsigned char)q[size + i];
	}
}

static void bytes_stay_put_and_whole_until_the_reset(void **state)
{
	enum { N = 3000 };
	static struct {
		unsigned char *p;
		size_t size;
	} made[N];
	random_state = getenv("SEED") != NULL ? strtoull(getenv("SEED"), NULL, 10)
	                                      : (uintptr_t)&state >> 4;
	printf("SEED=%llu\n", (unsigned long long)random_state);
	for (int round = 0; round < 4; round++) {
		size_t used = 0;
		for (int i = 0; i < N; i++) {
			size_t size = random_below(i % 100 == 0 ? 200000 : 500);
			made[i].size = size;
			if (i % 2 == 0) {
				made[i].p = (unsigned char *)tide_arena_text(*state, size);
				used += size;
			} else {
				made[i].p = tide_arena_alloc(*state, size);
				used += (size + 7) & ~(size_t)7;
			}
			memset(made[i].p, i & 255, size);
		}
		assert_int_equal(tide_arena_used(*state), used);
		for (int i = 0; i < N; i++)
			for (size_t k = 0; k < made[i].size; k++)
				if (made[i].p[k] != (unsigned char)i)
					fail_msg("allocation %d was overwritten", i);
		tide_arena_reset(*state);
		assert_int_equal(tide_arena_used(*state), 0);
	}
}

static void the_end_of_the_newest_allocation_can_be_given_back(void **state)
{
	char *p = tide_arena_alloc(*state, 1000);
	tide_arena_trim(*state, p + 20);
	assert_int_equal(tide_arena_used(*state), 24);
	assert_ptr_equal(tide_arena_alloc(*state, 8), p + 24);
	char *t = tide_arena_text(*state, 1000);
	tide_arena_trim(*state, t + 21);
	assert_ptr_equal(tide_arena_text(*state, 1), t + 21);
	char *q = tide_arena_alloc(*state, 100); /* text is newer, both can be trimmed */
	tide_arena_text(*state, 1);
	tide_arena_trim(*state, q);
	assert_ptr_equal(tide_arena_alloc(*state, 1), q);
}

static void a_large_trimmed_allocation_does_not_waste_its_chunk(void **state)
{
	char *p = tide_arena_alloc(*state, 8 << 20);
	tide_arena_trim(*state, p + 16);
	assert_ptr_equal(tide_arena_alloc(*state, 4 << 20), p + 16);
}

/* A script's reference into a batch that is gone reads this. */
static uint32_t gen_at(const struct tide_view *view)
{
#ifdef __SANITIZE_ADDRESS__
	ASAN_UNPOISON_MEMORY_REGION(view, sizeof *view);
#endif
	return view->gen_;
}

static void a_reset_leaves_dead_views_everywhere(void **state)
{
	enum { N = 400 };
	static struct tide_view *views[N];
	for (int i = 0; i < N; i++) {
		/* 8 MB in all: kept chunks and dropped ones. */
		views[i] = tide_arena_alloc(*state, i % 2 == 0 ? 16 : 40000);
		*views[i] = (struct tide_view){ .addr_ = 1, .len_ = 1, .gen_ = 77 };
	}
	tide_arena_reset(*state);
	for (int i = 0; i < N; i++)
		assert_int_equal(gen_at(views[i]), 0);
}

static void a_reset_gives_the_same_addresses_again(void **state)
{
	char *p = tide_arena_alloc(*state, 100);
	char *t = tide_arena_text(*state, 100);
	char *big = tide_arena_alloc(*state, 3 << 20);
	tide_arena_reset(*state);
	assert_ptr_equal(tide_arena_alloc(*state, 100), p);
	assert_ptr_equal(tide_arena_text(*state, 100), t);
	assert_ptr_equal(tide_arena_alloc(*state, 3 << 20), big);
}

static void text_is_never_where_structs_are(void **state)
{
	for (int round = 0; round < 3; round++) {
		uintptr_t low = UINTPTR_MAX, high = 0;
		static char *texts[500];
		for (int i = 0; i < 500; i++) {
			uintptr_t p = (uintptr_t)tide_arena_alloc(*state, 64);
			low = p < low ? p : low;
			high = p + 64 > high ? p + 64 : high;
			texts[i] = tide_arena_text(*state, 64);
		}
		for (int i = 0; i < 500; i++)
			assert_true((uintptr_t)texts[i] >= high || (uintptr_t)texts[i] < low);
		tide_arena_reset(*state);
	}
}

#ifdef __SANITIZE_ADDRESS__
static void the_sanitizer_knows_what_is_free(void **state)
{
	char *p = tide_arena_alloc(*state, 100);
	char *t = tide_arena_text(*state, 64);
	assert_false(__asan_address_is_poisoned(p + 103));
	assert_true(__asan_address_is_poisoned(p + 104 + 40));
	assert_true(__asan_address_is_poisoned(t + 64 + 40));
	tide_arena_trim(*state, t + 8);
	assert_true(__asan_address_is_poisoned(t + 48));
	tide_arena_reset(*state);
	assert_true(__asan_address_is_poisoned(p));
	assert_true(__asan_address_is_poisoned(t));
}
#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(structs_are_aligned_and_text_is_packed),
		TEST(nothing_has_an_address_too),
		TEST(more_than_there_can_be_is_refused),
		TEST(thirty_two_bytes_behind_each_end_are_readable),
		TEST(bytes_stay_put_and_whole_until_the_reset),
		TEST(the_end_of_the_newest_allocation_can_be_given_back),
		TEST(a_large_trimmed_allocation_does_not_waste_its_chunk),
		TEST(a_reset_leaves_dead_views_everywhere),
		TEST(a_reset_gives_the_same_addresses_again),
		TEST(text_is_never_where_structs_are),
#ifdef __SANITIZE_ADDRESS__
		TEST(the_sanitizer_knows_what_is_free),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
