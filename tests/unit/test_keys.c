/* SPDX-License-Identifier: Apache-2.0 */
/* Keys: the bytes that are on disk, equality, and bytes that are no key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <math.h>
#include <time.h>

#include "state/keys.h"

static struct tide_cell text(const char *s)
{
	return (struct tide_cell){ .p = s, .len = s != NULL ? (int32_t)strlen(s) : -1 };
}

static size_t encode(const struct tide_keyspec *spec, const struct tide_cell *row, char *out)
{
	size_t size = tide_key_size(spec, row);
	assert_ptr_equal(tide_key_encode(spec, row, out), out + size);
	return size;
}

static void encoding_is_the_documented_one(void **state)
{
	(void)state;
	char out[64];
	struct tide_keyspec spec = {
		4, { 2, 0, 1, 3 }, { TIDE_STRING, TIDE_INT, TIDE_BOOL, TIDE_STRING }, 0
	};
	struct tide_cell row[4] = { { .i = -2 }, { .i = 7 }, text("ab"), text(NULL) };
	const char want[] = "\x02"
			    "ab"
			    "\x01\xfe\xff\xff\xff\xff\xff\xff\xff"
			    "\x03\x01\0\0\0\0\0\0\0"
			    "\xfe";
	assert_int_equal(encode(&spec, row, out), sizeof want - 1);
	assert_memory_equal(out, want, sizeof want - 1);
}

static void long_text_has_an_escaped_length(void **state)
{
	(void)state;
	static char bytes[400], out[512];
	struct tide_keyspec spec = { 1, { 0 }, { TIDE_BYTES }, 0 };
	memset(bytes, 'x', sizeof bytes);
	for (int32_t len = 250; len < 260; len++) {
		struct tide_cell back, row = { .p = bytes, .len = len };
		size_t size = encode(&spec, &row, out);
		assert_int_equal(size, (size_t)len + (len <= 253 ? 1 : 5));
		assert_int_equal((uint8_t)out[0], len <= 253 ? len : 255);
		assert_true(tide_key_decode(&spec, out, size, &back));
		assert_int_equal(back.len, len);
		assert_false(tide_key_decode(&spec, out, size - 1, &back));
	}
}

static void equal_numbers_have_equal_bytes(void **state)
{
	(void)state;
	struct tide_keyspec spec = { 1, { 0 }, { TIDE_DOUBLE }, 0 };
	struct tide_cell zero = { .d = 0.0 }, minus = { .d = -0.0 }, nan1 = { .d = NAN },
			 nan2 = { .d = -NAN };
	char a[16], b[16];
	assert_int_equal(encode(&spec, &zero, a), encode(&spec, &minus, b));
	assert_memory_equal(a, b, 9);
	encode(&spec, &nan1, a);
	encode(&spec, &nan2, b);
	assert_memory_equal(a, b, 9);
	struct tide_keyspec bools = { 1, { 0 }, { TIDE_BOOL }, 0 };
	struct tide_cell yes = { .i = 1 }, also = { .i = 2 };
	encode(&bools, &yes, a);
	encode(&bools, &also, b);
	assert_memory_equal(a, b, 9);
}

static void a_second_encoding_is_no_key(void **state)
{
	(void)state;
	struct tide_cell cells[2];
	struct tide_keyspec string = { 1, { 0 }, { TIDE_STRING }, 0 };
	struct tide_keyspec real = { 1, { 0 }, { TIDE_DOUBLE }, 0 };
	struct tide_keyspec boolean = { 1, { 0 }, { TIDE_BOOL }, 0 };
	assert_false(tide_key_decode(&string, "\xff\x02\0\0\0ab", 7, cells));
	assert_false(tide_key_decode(&string, "\xff\xff\xff\xff\xff", 5, cells));
	assert_false(tide_key_decode(&string,
	                             "\x02"
	                             "abc",
	                             4, cells));
	assert_false(tide_key_decode(&string, "", 0, cells));
	assert_false(tide_key_decode(&real, "\x02\0\0\0\0\0\0\0\x80", 9, cells));
	assert_false(tide_key_decode(&real, "\x01\0\0\0\0\0\0\0\0", 9, cells));
	assert_false(tide_key_decode(&boolean, "\x03\x02\0\0\0\0\0\0\0", 9, cells));
}

/* Any bytes: either they are refused, or they come back as they were. */
static void random_bytes_decode_to_themselves_or_not_at_all(void **state)
{
	(void)state;
	unsigned seed =
		getenv("SEED") != NULL ? (unsigned)atoi(getenv("SEED")) : (unsigned)time(NULL);
	print_message("SEED=%u\n", seed);
	struct tide_keyspec spec = { 3, { 0, 1, 2 }, { TIDE_STRING, TIDE_DOUBLE, TIDE_BYTES }, 0 };
	int accepted = 0;
	for (int n = 0; n < 200000; n++) {
		char out[64];
		struct tide_cell cells[3];
		size_t len = (size_t)(rand_r(&seed) % 24);
		char *in = malloc(len + 1); /* exact size: the sanitizer sees a byte too many */
		assert_non_null(in);
		for (size_t i = 0; i < len; i++)
			in[i] = (char)(rand_r(&seed) % 4 == 0 ? 254 : rand_r(&seed) % 4);
		if (tide_key_decode(&spec, in, len, cells)) {
			accepted++;
			assert_int_equal(encode(&spec, cells, out), len);
			assert_memory_equal(out, in, len);
		}
		free(in);
	}
	assert_true(accepted > 100);
}

static void shard_of_a_key_never_changes(void **state)
{
	(void)state;
	struct tide_keyspec spec = { 2, { 0, 1 }, { TIDE_STRING, TIDE_STRING }, 0 };
	struct tide_cell row[2] = { text("value"), text("tide") };
	char out[32];
	size_t size = encode(&spec, row, out);
	assert_int_equal(tide_key_shard(out, size), 55);
	int seen[TIDE_SHARDS] = { 0 };
	for (int i = 0; i < 6400; i++) {
		char word[16];
		snprintf(word, sizeof word, "w%d", i);
		row[1] = text(word);
		seen[tide_key_shard(out, encode(&spec, row, out))]++;
	}
	for (int i = 0; i < TIDE_SHARDS; i++)
		assert_in_range(seen[i], 50, 150);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encoding_is_the_documented_one),
		cmocka_unit_test(long_text_has_an_escaped_length),
		cmocka_unit_test(equal_numbers_have_equal_bytes),
		cmocka_unit_test(a_second_encoding_is_no_key),
		cmocka_unit_test(random_bytes_decode_to_themselves_or_not_at_all),
		cmocka_unit_test(shard_of_a_key_never_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
