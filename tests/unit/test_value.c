/* SPDX-License-Identifier: Apache-2.0 */
/* State on disk: there and back, short while little is in it, never longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "state/value.h"

enum { SIZE = 2048 };

static size_t there_and_back(const char *state, size_t size)
{
	static char back[SIZE];
	struct tide_buf buf = { 0 };
	memset(back, 0xee, sizeof back);
	tide_value_encode(state, size, &buf);
	assert_false(buf.failed);
	assert_true(buf.len > 0 && buf.len <= size);
	assert_true(tide_value_decode((struct tide_slice){ buf.p, buf.len }, back, size));
	assert_memory_equal(back, state, size);
	size_t len = buf.len;
	tide_buf_fini(&buf);
	return len;
}

static void small_states_are_stored_as_they_are(void **unused)
{
	(void)unused;
	char state[TIDE_VALUE_PLAIN_MAX] = { 0 };
	assert_int_equal(there_and_back(state, 8), 8);
	assert_int_equal(there_and_back(state, sizeof state), sizeof state);
}

static void a_large_state_costs_what_is_in_it(void **unused)
{
	(void)unused;
	static char state[SIZE];
	assert_int_equal(there_and_back(state, SIZE), 2);
	state[3] = 1;
	assert_int_equal(there_and_back(state, SIZE), 3);
	memcpy(state + SIZE - 3, "abc", 3);
	assert_int_equal(there_and_back(state, SIZE), 3 + 2 + 1 + 3);
	memset(state, 0, SIZE);
}

static void a_full_state_is_no_longer_on_disk(void **unused)
{
	(void)unused;
	static char state[SIZE];
	memset(state, 1, SIZE);
	assert_int_equal(there_and_back(state, SIZE), SIZE);
	memset(state, 0, 2);
	assert_int_equal(there_and_back(state, SIZE), SIZE);
}

static void any_state_comes_back(void **unused)
{
	(void)unused;
	static char state[SIZE];
	const char *given = getenv("SEED");
	unsigned seed = given != NULL ? (unsigned)atoi(given) : 11;
	printf("SEED=%u\n", seed);
	srand(seed);
	for (int round = 0; round < 5000; round++) {
		size_t size = 8 + 8 * (size_t)(rand() % (SIZE / 8));
		int density = 1 + rand() % 100;
		for (size_t i = 0; i < size; i++)
			state[i] = (char)(rand() % 100 < density ? 0 : rand());
		there_and_back(state, size);
	}
}

static void damaged_bytes_are_refused_or_stay_inside(void **unused)
{
	(void)unused;
	static char state[SIZE], back[SIZE];
	struct tide_buf buf = { 0 };
	for (int i = 0; i < SIZE; i += 50)
		memset(state + i, i + 1, 20);
	tide_value_encode(state, SIZE, &buf);
	for (size_t len = 0; len < buf.len; len++)
		tide_value_decode((struct tide_slice){ buf.p, len }, back, SIZE);
	for (size_t bit = 0; bit < buf.len * 8; bit++) {
		buf.p[bit / 8] ^= (char)(1 << bit % 8);
		tide_value_decode((struct tide_slice){ buf.p, buf.len }, back, SIZE);
		buf.p[bit / 8] ^= (char)(1 << bit % 8);
	}
	assert_false(tide_value_decode((struct tide_slice){ buf.p, 0 }, back, SIZE));
	assert_false(
		tide_value_decode((struct tide_slice){ "\xff\xff\xff\xff\x7f", 5 }, back, SIZE));
	assert_false(tide_value_decode((struct tide_slice){ "\x00\x05"
	                                                    "abc",
	                                                    5 },
	                               back, SIZE));
	assert_false(tide_value_decode((struct tide_slice){ "abcdefg", 7 }, back, 8));
	tide_buf_fini(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_states_are_stored_as_they_are),
		cmocka_unit_test(a_large_state_costs_what_is_in_it),
		cmocka_unit_test(a_full_state_is_no_longer_on_disk),
		cmocka_unit_test(any_state_comes_back),
		cmocka_unit_test(damaged_bytes_are_refused_or_stay_inside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
