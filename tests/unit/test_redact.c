/* SPDX-License-Identifier: Apache-2.0 */
/* Redaction: nothing of a named value is left, its type is, and all else stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "decode/redact.h"

static char *redacted(const char *fields, const char *value, uint64_t salt)
{
	struct tide_redaction *redaction = NULL;
	struct tide_buf out = { 0 };
	assert_int_equal(tide_redaction_new(fields, salt, &redaction, NULL), TIDE_OK);
	tide_redact_value(redaction, (struct tide_slice){ value, strlen(value) }, &out);
	tide_buf_u8(&out, 0);
	assert_false(out.failed);
	tide_redaction_free(redaction);
	return out.p;
}

static void expect(const char *fields, const char *value, const char *wanted)
{
	char *got = redacted(fields, value, 1);
	assert_string_equal(got, wanted);
	free(got);
}

static void what_is_not_named_stays_byte_for_byte(void **state)
{
	static const char *const texts[] = {
		"{\"a\":1,\"b\":[1,2.5e3,{\"c\":null}], \"d\" : \"x\\u0041\\n\" }",
		" [ ] ",
		"{}",
		"[[[]],{}]",
	};
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		expect("zip,user.name", texts[i], texts[i]);
	expect("key", "not JSON at all", "not JSON at all");
}

static void values_keep_their_types(void **state)
{
	(void)state;
	char *got = redacted("s,i,f,b,n,t",
	                     "{\"s\":\"Ada\",\"i\":-42,\"f\":1.5,\"b\":true,"
	                     "\"n\":null,\"t\":\"2024-05-06T07:08:09Z\"}",
	                     1);
	long long i;
	double f;
	char s[40], b[8], t[40];
	assert_int_equal(sscanf(got,
	                        "{\"s\":\"%[^\"]\",\"i\":%lld,\"f\":%lf,\"b\":%[^,],\"n\":null,"
	                        "\"t\":\"%[^\"]\"}",
	                        s, &i, &f, b, t),
	                 5);
	assert_int_equal(strlen(s), 17);
	assert_true(i < -99999999999999);
	assert_true(f > 1e8);
	assert_true(strcmp(b, "true") == 0 || strcmp(b, "false") == 0);
	assert_int_equal(strlen(t), strlen("2024-01-01T12:00:00.000Z"));
	assert_null(strstr(got, "Ada"));
	assert_null(strstr(got, "07:08:09"));
	free(got);
}

static void equal_values_are_equal_however_they_are_written(void **state)
{
	(void)state;
	char *got = redacted("a,b", "{\"a\":\"Ada\",\"b\":\"\\u0041da\"}", 1);
	char a[40], b[40];
	assert_int_equal(sscanf(got, "{\"a\":\"%[^\"]\",\"b\":\"%[^\"]\"}", a, b), 2);
	assert_string_equal(a, b);
	char *other = redacted("a,b", "{\"a\":\"Ada\",\"b\":\"\\u0041da\"}", 2);
	assert_string_not_equal(got, other);
	free(got);
	free(other);
}

static void paths_reach_into_objects_and_lists(void **state)
{
	(void)state;
	char *got = redacted("user.name,tags",
	                     "{\"name\":\"kept\",\"user\":{\"name\":\"secret\",\"age\":7},"
	                     "\"tags\":[\"secret\",{\"x\":\"secret\"}],\"list\":[{\"y\":1}]}",
	                     1);
	assert_null(strstr(got, "secret"));
	assert_non_null(strstr(got, "{\"name\":\"kept\",\"user\":{\"name\":\"x"));
	assert_non_null(strstr(got, "\"age\":7}"));
	assert_non_null(strstr(got, "\"list\":[{\"y\":1}]"));
	free(got);
	got = redacted("a.b", "[{\"a\":[{\"b\":\"secret\"}]},{\"a.b\":\"secret\"}]", 1);
	assert_null(strstr(got, "secret"));
	free(got);
}

static void a_name_with_escapes_is_that_name(void **state)
{
	(void)state;
	char *got = redacted("name", "{\"n\\u0061me\":\"secret\"}", 1);
	assert_null(strstr(got, "secret"));
	assert_non_null(strstr(got, "{\"n\\u0061me\":\"x"));
	free(got);
}

static void what_has_no_names_is_hidden_whole(void **state)
{
	static const char *const texts[] = { "secret",
		                             "{\"a\":\"secret\"",
		                             "{\"a\":secret}",
		                             "{\"a\":\"secret\"} x",
		                             "{a:\"secret\"}",
		                             "{\"a\":01,\"b\":\"secret\"}",
		                             "{\"a\":\"secret\x01\"}",
		                             "\"secret\"",
		                             "-0.5",
		                             "" };
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		char *got = redacted("other", texts[i], 1);
		assert_null(strstr(got, "secret"));
		assert_int_equal(strncmp(got, "redacted x", 10), 0);
		free(got);
	}
}

static void keys_and_headers_are_named_too(void **state)
{
	struct tide_redaction *redaction = NULL;
	struct tide_error err;
	struct tide_slice trace = { "trace", 5 }, other = { "other", 5 };
	(void)state;
	assert_int_equal(tide_redaction_new("key,header.trace", 1, &redaction, &err), TIDE_OK);
	assert_true(tide_redaction_key(redaction));
	assert_true(tide_redaction_header(redaction, trace));
	assert_false(tide_redaction_header(redaction, other));
	tide_redaction_free(redaction);
	assert_int_equal(tide_redaction_new("headers", 1, &redaction, &err), TIDE_OK);
	assert_false(tide_redaction_key(redaction));
	assert_true(tide_redaction_header(redaction, other));
	tide_redaction_free(redaction);
	assert_int_equal(tide_redaction_new("a,,b", 1, &redaction, &err), TIDE_ERR_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_named_stays_byte_for_byte),
		cmocka_unit_test(values_keep_their_types),
		cmocka_unit_test(equal_values_are_equal_however_they_are_written),
		cmocka_unit_test(paths_reach_into_objects_and_lists),
		cmocka_unit_test(a_name_with_escapes_is_that_name),
		cmocka_unit_test(what_has_no_names_is_hidden_whole),
		cmocka_unit_test(keys_and_headers_are_named_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
