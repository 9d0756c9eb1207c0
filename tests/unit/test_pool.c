/* SPDX-License-Identifier: Apache-2.0 */
/* Pool memory: what a kept address reads as its batch comes and goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "job/pool.h"

static uint32_t oldest; /* generation that lives */

static bool alive(const struct tide_ctx *ctx, uint32_t gen)
{
	(void)ctx;
	return gen >= oldest;
}

static void turn(struct tide_pool *pool, uint32_t gen)
{
	oldest = gen > 3 ? gen - 3 : 1;
	tide_pool_turn(pool, gen, alive, NULL);
}

static struct tide_word *take(struct tide_pool *pool, uint32_t count, uint32_t gen)
{
	struct tide_word *words = tide_pool_take(pool, count);
	assert_non_null(words);
	for (uint32_t i = 0; i < count; i++) {
		struct tide_word word = { 0x1000, 5, gen, i + 1 < count ? sizeof word : 0 };
		memcpy(&words[i], &word, sizeof word);
	}
	return words;
}

static void kept_address_reads_as_it_did_while_its_segment_rests(void **state)
{
	(void)state;
	struct tide_pool *pool = tide_pool_new();
	turn(pool, 1);
	struct tide_word *kept = take(pool, 10, 1);
	for (uint32_t gen = 2; gen <= TIDE_POOL_RESTING_MIN; gen++) {
		turn(pool, gen);
		take(pool, 100, gen);
		assert_int_equal(kept[9].gen_, 1);
	}
	tide_pool_free(pool);
}

static void memory_is_used_again_after_a_rest(void **state)
{
	(void)state;
	struct tide_pool *pool = tide_pool_new();
	turn(pool, 1);
	struct tide_word *first = take(pool, 1, 1);
	uint32_t again = 0;
	for (uint32_t gen = 2; gen < 200 && again == 0; gen++) {
		turn(pool, gen);
		if (take(pool, 1, gen) == first)
			again = gen;
	}
	assert_true(again > TIDE_POOL_RESTING_MIN);
	assert_true(again < 60);
	tide_pool_free(pool);
}

static void long_lists_are_adjacent_and_used_again(void **state)
{
	(void)state;
	struct tide_pool *pool = tide_pool_new();
	struct tide_word *seen[8];
	enum { LONG = 3 * TIDE_POOL_SEGMENT };
	for (uint32_t gen = 1; gen <= 8; gen++) {
		turn(pool, gen);
		seen[gen - 1] = take(pool, LONG, gen);
	}
	assert_ptr_equal(seen[4], seen[0]); /* four batches later its segment rests */
	tide_pool_free(pool);
}

static void what_is_trimmed_is_given_out_again(void **state)
{
	(void)state;
	struct tide_pool *pool = tide_pool_new();
	turn(pool, 1);
	struct tide_word *first = take(pool, 100, 1);
	tide_pool_trim(pool, first + 10);
	assert_ptr_equal(take(pool, 5, 1), first + 10);
	tide_pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kept_address_reads_as_it_did_while_its_segment_rests),
		cmocka_unit_test(memory_is_used_again_after_a_rest),
		cmocka_unit_test(long_lists_are_adjacent_and_used_again),
		cmocka_unit_test(what_is_trimmed_is_given_out_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
