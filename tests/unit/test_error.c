/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: text that fits, text of itself, exit codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"

static void failing_fills_status_and_text(void **state)
{
	(void)state;
	struct tide_error err = { 0 };
	assert_int_equal(tide_fail(&err, TIDE_ERR_IO, "%s: %d", "a", 7), TIDE_ERR_IO);
	assert_int_equal(err.status, TIDE_ERR_IO);
	assert_string_equal(err.text, "a: 7");
}

static void nobody_has_to_want_the_text(void **state)
{
	(void)state;
	assert_int_equal(tide_fail(NULL, TIDE_ERR_NOMEM, "x"), TIDE_ERR_NOMEM);
}

static void an_error_may_be_made_of_its_own_text(void **state)
{
	(void)state;
	struct tide_error err = { 0 };
	tide_fail(&err, TIDE_ERR_IO, "inner");
	tide_fail(&err, TIDE_ERR_FAILED, "outer (%s)", err.text);
	assert_string_equal(err.text, "outer (inner)");
	assert_int_equal(err.status, TIDE_ERR_FAILED);
}

static void context_goes_before_the_text_and_keeps_the_status(void **state)
{
	(void)state;
	struct tide_error err = { 0 };
	tide_fail(&err, TIDE_ERR_DATA_LOSS, "gone");
	assert_int_equal(tide_fail_within(&err, "%s[%d]", "orders", 3), TIDE_ERR_DATA_LOSS);
	assert_string_equal(err.text, "orders[3]: gone");
}

static void long_text_is_cut_at_a_whole_character(void **state)
{
	(void)state;
	struct tide_error err = { 0 };
	char text[sizeof err.text * 2];
	for (size_t shift = 0; shift < 3; shift++) {
		memset(text, 'a', sizeof text);
		for (size_t i = shift; i + 3 < sizeof text; i += 3)
			memcpy(text + i, "\xE2\x82\xAC", 3); /* € */
		text[sizeof text - 1] = '\0';
		tide_fail(&err, TIDE_ERR_IO, "%s", text);
		size_t len = strlen(err.text);
		assert_in_range(len, sizeof err.text - 4, sizeof err.text - 1);
		assert_int_equal((len - shift) % 3, 0);
		tide_fail_within(&err, "%s", text);
		len = strlen(err.text);
		assert_in_range(len, sizeof err.text - 4, sizeof err.text - 1);
	}
}

static void every_status_has_the_documented_exit_code(void **state)
{
	(void)state;
	static const int codes[][2] = {
		{ TIDE_OK, 0 },
		{ TIDE_ERR_STOPPED, 0 },
		{ TIDE_ERR_FAILED, 1 },
		{ TIDE_ERR_NOMEM, 1 },
		{ TIDE_ERR_IO, 1 },
		{ TIDE_ERR_USAGE, 2 },
		{ TIDE_ERR_SCRIPT, 3 },
		{ TIDE_ERR_DIFFER, 4 },
		{ TIDE_ERR_CHECKPOINT, 5 },
		{ TIDE_ERR_DATA_LOSS, 6 },
		{ TIDE_ERR_UNAVAILABLE, 7 },
		{ -99, 1 },
	};
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		assert_int_equal(tide_exit_code(codes[i][0]), codes[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failing_fills_status_and_text),
		cmocka_unit_test(nobody_has_to_want_the_text),
		cmocka_unit_test(an_error_may_be_made_of_its_own_text),
		cmocka_unit_test(context_goes_before_the_text_and_keeps_the_status),
		cmocka_unit_test(long_text_is_cut_at_a_whole_character),
		cmocka_unit_test(every_status_has_the_documented_exit_code),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
