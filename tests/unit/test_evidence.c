/* SPDX-License-Identifier: Apache-2.0 */
/* What stands under an error: the line of the job and that of the sample. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <unistd.h>

#include "run/evidence.h"

static char path[32];
static struct tide_plan *plan;
static struct tide_error err;

static int begin(void **state)
{
	(void)state;
	strcpy(path, "/tmp/tide_job_XXXXXX");
	int fd = mkstemp(path);
	static const char text[] = "first\n  second\r\nthird";
	bool ok = write(fd, text, sizeof text - 1) == sizeof text - 1;
	close(fd);
	plan = tide_plan_new();
	return ok && tide_plan_add_file(plan, path) ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	tide_plan_free(plan);
	return unlink(path);
}

static const char *evidence(const char *sample, const char *format)
{
	char message[256];
	snprintf(message, sizeof message, format, path);
	tide_fail(&err, TIDE_ERR_SCRIPT, "%s", message);
	tide_evidence_add(plan, (struct tide_slice){ sample, sample ? strlen(sample) : 0 }, &err);
	assert_memory_equal(err.text, message, strlen(message));
	return err.text + strlen(message);
}

static void lines_of_job_and_sample_are_shown(void **state)
{
	(void)state;
	assert_string_equal(evidence("one\ntwo\n", "t[0]@2: %s:2: no"),
	                    "\n     2 |   second\nline 2 of the sample: two");
	assert_string_equal(evidence("one", "t[0]@1: %s:3: no"),
	                    "\n     3 | third\nline 1 of the sample: one");
}

static struct tide_view view(const char *text)
{
	return (struct tide_view){ .addr_ = (uint64_t)(uintptr_t)text,
		                   .len_ = text != NULL ? (int32_t)strlen(text) : -1 };
}

static const char *shown(const char *key, const char *value)
{
	static char out[TIDE_EVIDENCE_MAX];
	struct tide_rec rec = { .key_ = view(key), .value_ = view(value) };
	tide_evidence_record(&rec, out);
	return out;
}

static void record_is_shown_short_and_harmless(void **state)
{
	(void)state;
	char escapes[301], expected[TIDE_EVIDENCE_MAX] = "key \"", euros[301] = "";
	assert_string_equal(shown("a", "{\"n\":1}"), "key \"a\", value \"{\\\"n\\\":1}\"");
	assert_string_equal(shown(NULL, ""), "key null, value \"\"");
	assert_string_equal(shown(NULL, NULL), "");
	assert_string_equal(shown("\033]0;x\007", NULL), "key \"\\u001b]0;x\\u0007\", value null");
	/* The longest there are. */
	memset(escapes, '\001', 300);
	escapes[300] = '\0';
	const char *text = shown(escapes, escapes);
	assert_int_equal(strlen(text), TIDE_EVIDENCE_MAX - 1);
	for (int i = 0; i < 40; i++)
		strcat(expected, "\\u0001");
	assert_memory_equal(text, expected, strlen(expected));
	for (int i = 0; i < 100; i++)
		strcat(euros, "\xe2\x82\xac");
	assert_non_null(strstr(shown("k", euros), "\xe2\x82\xac\"... (300 bytes)"));
}

static void record_is_below_its_error_but_the_sample_is_better(void **state)
{
	(void)state;
	struct tide_slice sample = { "one\ntwo\n", 8 };
	tide_fail(&err, TIDE_ERR_SCRIPT, "t[0]@2: no");
	tide_evidence_add_record("", &err);
	assert_string_equal(err.text, "t[0]@2: no");
	tide_evidence_add_record("key null, value \"two\"", &err);
	assert_string_equal(err.text, "t[0]@2: no\nrecord | key null, value \"two\"");
	tide_evidence_add(NULL, sample, &err);
	assert_string_equal(err.text, "t[0]@2: no\nline 2 of the sample: two");
}

static void offsets_of_a_topic_are_no_lines(void **state)
{
	(void)state;
	assert_string_equal(evidence(NULL, "t[0]@2: %s:1: no"), "\n     1 | first");
}

static void nothing_is_said_twice_or_made_up(void **state)
{
	(void)state;
	assert_string_equal(evidence("one", "%s:1: no\n     1 | first"), "");
	assert_string_equal(evidence("one", "%s:9: no"), "");
	assert_string_equal(evidence("one", "%s: no"), "");
	assert_string_equal(evidence("one", "t[0]@7: other.lua:1: no (%s)"), "");
	assert_string_equal(evidence("one", "t[0]@x: %s:y: no"), "");
}

static void long_lines_are_cut_between_characters(void **state)
{
	(void)state;
	char line[400];
	memset(line, 'x', sizeof line);
	memcpy(line + 159, "\xc3\xa4", 2);
	line[399] = '\0';
	const char *shown = evidence(line, "t[0]@1: no (%s)");
	assert_int_equal(strlen(shown), strlen("\nline 1 of the sample: ") + 159 + 3);
	assert_string_equal(shown + strlen(shown) - 4, "x...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lines_of_job_and_sample_are_shown, begin, end),
		cmocka_unit_test(record_is_shown_short_and_harmless),
		cmocka_unit_test(record_is_below_its_error_but_the_sample_is_better),
		cmocka_unit_test_setup_teardown(offsets_of_a_topic_are_no_lines, begin, end),
		cmocka_unit_test_setup_teardown(nothing_is_said_twice_or_made_up, begin, end),
		cmocka_unit_test_setup_teardown(long_lines_are_cut_between_characters, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
