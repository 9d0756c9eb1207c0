/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of texts: numbers in the order the keys came, any bytes as keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "job/lookup.h"

static void keys_are_numbered_in_order(void **state)
{
	(void)state;
	struct tide_lookup *lookup = tide_lookup_new();
	char key[16];
	assert_int_equal(tide_lookup_find(lookup, "a", 1), -1);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 5000; i++) {
			int len = snprintf(key, sizeof key, "key%d", i);
			assert_int_equal(tide_lookup_add(lookup, key, (size_t)len), i);
		}
	}
	for (int i = 4999; i >= 0; i--) {
		int len = snprintf(key, sizeof key, "key%d", i);
		assert_int_equal(tide_lookup_find(lookup, key, (size_t)len), i);
	}
	assert_int_equal(tide_lookup_find(lookup, "key5000", 7), -1);
	tide_lookup_free(lookup);
}

static void empty_and_binary_keys_are_keys(void **state)
{
	(void)state;
	struct tide_lookup *lookup = tide_lookup_new();
	assert_int_equal(tide_lookup_add(lookup, "", 0), 0);
	assert_int_equal(tide_lookup_add(lookup, "\0", 1), 1);
	assert_int_equal(tide_lookup_add(lookup, "\0\0", 2), 2);
	assert_int_equal(tide_lookup_find(lookup, "\0\0", 1), 1);
	assert_int_equal(tide_lookup_find(lookup, "x", 0), 0);
	tide_lookup_free(lookup);
	tide_lookup_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_numbered_in_order),
		cmocka_unit_test(empty_and_binary_keys_are_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
