/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets as text, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "run/offsets.h"

static void fill(struct tide_meta *meta)
{
	assert_non_null(tide_meta_position_add(meta, "events", 0));
	assert_non_null(tide_meta_position_add(meta, "events", 1));
	assert_non_null(tide_meta_position_add(meta, "other", 0));
	meta->positions[0].next = 100;
	meta->positions[1].next = 150;
	meta->positions[2].next = 7;
}

static void offsets_read_as_spark_writes_them(void **state)
{
	(void)state;
	struct tide_meta meta = { 0 };
	struct tide_buf text = { 0 };
	fill(&meta);
	tide_offsets_write(&meta, &text);
	tide_buf_u8(&text, 0);
	assert_string_equal(text.p, "{\"events\":{\"0\":100,\"1\":150},\"other\":{\"0\":7}}");
	tide_buf_fini(&text);
	tide_meta_fini(&meta);
}

static void offsets_that_are_named_change_and_others_stay(void **state)
{
	(void)state;
	struct tide_meta meta = { 0 };
	struct tide_error err = { 0 };
	fill(&meta);
	assert_int_equal(
		tide_offsets_apply(" {\"events\" : {\"1\": 5 }, \"other\":{\"0\":0}}", &meta, &err),
		TIDE_OK);
	assert_int_equal(meta.positions[0].next, 100);
	assert_int_equal(meta.positions[1].next, 5);
	assert_int_equal(meta.positions[2].next, 0);
	tide_meta_fini(&meta);
}

static void offsets_that_make_no_sense_are_refused_with_a_place(void **state)
{
	(void)state;
	static const char *const bad[] = { "",
		                           "{",
		                           "{}",
		                           "[]",
		                           "{\"events\":{}}",
		                           "{\"events\":5}",
		                           "{\"events\":{\"0\":-1}}",
		                           "{\"events\":{\"0\":1}} x",
		                           "{\"nope\":{\"0\":1}}",
		                           "{\"events\":{\"9\":1}}",
		                           "{\"events\":{\"0x\":1}}",
		                           "{\"events\":{\"0\":99999999999999999999}}" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct tide_meta meta = { 0 };
		struct tide_error err = { 0 };
		fill(&meta);
		assert_int_equal(tide_offsets_apply(bad[i], &meta, &err), TIDE_ERR_USAGE);
		assert_true(strlen(err.text) > 20);
		tide_meta_fini(&meta);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offsets_read_as_spark_writes_them),
		cmocka_unit_test(offsets_that_are_named_change_and_others_stay),
		cmocka_unit_test(offsets_that_make_no_sense_are_refused_with_a_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
