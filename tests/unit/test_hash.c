/* SPDX-License-Identifier: Apache-2.0 */
/* The hash is on disk: these values never change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"

static void the_hash_is_xxh3_for_ever(void **state)
{
	(void)state;
	unsigned char bytes[1000];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)(i * 7);
	/* One for each way XXH3 has: 0, to 3, 8, 16, 128, 240, more. */
	static const struct {
		size_t len;
		uint64_t seed, hash;
	} known[] = {
		{ 0, 42, 0xB029411FF43D84D2 },    { 1, 0, 0xC44BDFF4074EECDB },
		{ 3, 42, 0x534CAA7AE6CCF938 },    { 5, 0, 0x559935C0F3F7327F },
		{ 8, 42, 0x7B954FC823483166 },    { 12, 0, 0x305C5BAE3681D0E0 },
		{ 16, 42, 0x93B3FA7DC2D7C0DF },   { 17, 0, 0xF34C3C9CF5A112D1 },
		{ 100, 42, 0x618671BC27428AC8 },  { 128, 0, 0x65F3C2C00FA93185 },
		{ 129, 42, 0xC257AB1A853AED31 },  { 240, 0, 0x4917A75C0EF8EED7 },
		{ 241, 42, 0x30AA8F89CC1DFBFC },  { 600, 0, 0xE9F573F33118A350 },
		{ 1000, 42, 0x715C5BBC12530D92 },
	};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		assert_int_equal(tide_hash(bytes, known[i].len, known[i].seed), known[i].hash);
}

static void nothing_can_be_hashed_too(void **state)
{
	(void)state;
	assert_int_equal(tide_hash(NULL, 0, 0), 0x2D06800538D394C2);
}

static void pieces_make_the_hash_of_the_whole(void **state)
{
	(void)state;
	unsigned char bytes[5000];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)(i * 13);
	struct tide_hasher *hasher = tide_hasher_new();
	assert_non_null(hasher);
	for (size_t at = 0, n = 0; at < sizeof bytes; at += n) {
		assert_int_equal(tide_hasher_sum(hasher), tide_hash(bytes, at, 0));
		n = at % 700 + 1 < sizeof bytes - at ? at % 700 + 1 : sizeof bytes - at;
		tide_hasher_add(hasher, bytes + at, n);
	}
	assert_int_equal(tide_hasher_sum(hasher), tide_hash(bytes, sizeof bytes, 0));
	tide_hasher_free(hasher);
	tide_hasher_free(NULL);
}

static void the_seed_matters(void **state)
{
	(void)state;
	assert_int_not_equal(tide_hash("a", 1, 0), tide_hash("a", 1, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hash_is_xxh3_for_ever),
		cmocka_unit_test(nothing_can_be_hashed_too),
		cmocka_unit_test(pieces_make_the_hash_of_the_whole),
		cmocka_unit_test(the_seed_matters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
