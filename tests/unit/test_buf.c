/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers, codecs, JSON text and whole files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"

static void what_is_put_is_read_back(void **state)
{
	(void)state;
	struct tide_buf buf = { 0 };
	tide_buf_u8(&buf, 200);
	tide_buf_u32(&buf, 0xDEADBEEF);
	tide_buf_u64(&buf, UINT64_MAX - 1);
	tide_buf_bytes(&buf, "a\0b", 3);
	tide_buf_bytes(&buf, NULL, 0);
	tide_buf_str(&buf, "text");
	struct tide_reader in = tide_reader_of(buf.p, buf.len);
	assert_int_equal(tide_read_u8(&in), 200);
	assert_int_equal(tide_read_u32(&in), 0xDEADBEEF);
	assert_true(tide_read_u64(&in) == UINT64_MAX - 1);
	struct tide_slice s = tide_read_bytes(&in);
	assert_int_equal(s.len, 3);
	assert_memory_equal(s.p, "a\0b", 3);
	assert_int_equal(tide_read_bytes(&in).len, 0);
	char *text = tide_read_str(&in);
	assert_string_equal(text, "text");
	assert_false(in.failed);
	assert_ptr_equal(in.p, in.end);
	free(text);
	tide_buf_fini(&buf);
}

static void integers_are_little_endian(void **state)
{
	(void)state;
	struct tide_buf buf = { 0 };
	tide_buf_u32(&buf, 0x04030201);
	assert_memory_equal(buf.p, "\1\2\3\4", 4);
	tide_buf_fini(&buf);
}

static void reading_past_the_end_fails_and_gives_zeroes(void **state)
{
	(void)state;
	struct tide_reader in = tide_reader_of("\1\2\3", 3);
	assert_int_equal(tide_read_u32(&in), 0);
	assert_true(in.failed);
	assert_int_equal(tide_read_u8(&in), 0); /* and stays failed */
	in = tide_reader_of("\377\377\377\377x", 5);
	assert_int_equal(tide_read_bytes(&in).len, 0);
	assert_true(in.failed);
	in = tide_reader_of("\377\377\377\377x", 5);
	assert_null(tide_read_str(&in));
	in = tide_reader_of(NULL, 0);
	assert_int_equal(tide_read_u64(&in), 0);
	assert_true(in.failed);
}

static void text_with_a_nul_inside_is_not_text(void **state)
{
	(void)state;
	struct tide_reader in = tide_reader_of("\3\0\0\0a\0b", 7);
	assert_null(tide_read_str(&in));
	assert_true(in.failed);
}

static void asking_for_too_much_fails_once_and_for_all(void **state)
{
	(void)state;
	struct tide_buf buf = { 0 };
	tide_buf_str(&buf, "kept");
	size_t len = buf.len;
	assert_false(tide_buf_reserve(&buf, SIZE_MAX));
	tide_buf_str(&buf, "not put");
	tide_buf_printf(&buf, "nor %s", "this");
	assert_true(buf.failed);
	assert_int_equal(buf.len, len);
	tide_buf_clear(&buf);
	tide_buf_str(&buf, "again");
	assert_false(buf.failed);
	tide_buf_fini(&buf);
}

static void printing_grows_the_buffer(void **state)
{
	(void)state;
	struct tide_buf buf = { 0 };
	for (int i = 0; i < 1000; i++)
		tide_buf_printf(&buf, "%03d,", i);
	assert_int_equal(buf.len, 4000);
	assert_memory_equal(buf.p + 3996, "999,", 4);
	tide_buf_fini(&buf);
}

static void assert_json(const char *text, size_t len, const char *json)
{
	struct tide_buf buf = { 0 };
	tide_buf_json(&buf, text, len);
	tide_buf_u8(&buf, 0);
	assert_string_equal(buf.p, json);
	tide_buf_fini(&buf);
}

#define BAD "\xEF\xBF\xBD"

static void json_escapes_what_it_must(void **state)
{
	(void)state;
	assert_json("", 0, "\"\"");
	assert_json(NULL, 0, "\"\"");
	assert_json("plain", 5, "\"plain\"");
	assert_json("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
	assert_json("\b\t\n\f\r", 5, "\"\\b\\t\\n\\f\\r\"");
	assert_json("\0\1\x1F\x7F", 4, "\"\\u0000\\u0001\\u001f\\u007f\"");
	assert_json("a\xC2\x9B\xC2\xA0", 5, "\"a\\u009b\xC2\xA0\""); /* C1, and what is none */
}

static void json_keeps_valid_utf8(void **state)
{
	(void)state;
	static const char *const good[] = { "\xC2\xA0",         "\xDF\xBF",         "\xE0\xA0\x80",
		                            "\xED\x9F\xBF",     "\xEE\x80\x80",     "\xEF\xBF\xBF",
		                            "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "é€😀" };
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char json[64];
		snprintf(json, sizeof json, "\"x%sy\"", good[i]);
		char text[64];
		snprintf(text, sizeof text, "x%sy", good[i]);
		assert_json(text, strlen(text), json);
	}
}

static void json_replaces_invalid_utf8(void **state)
{
	(void)state;
	assert_json("a\x80z", 3, "\"a" BAD "z\"");                     /* lone continuation */
	assert_json("\xC0\xAF", 2, "\"" BAD BAD "\"");                 /* overlong */
	assert_json("\xE0\x9F\xBF", 3, "\"" BAD BAD BAD "\"");         /* overlong */
	assert_json("\xED\xA0\x80", 3, "\"" BAD BAD BAD "\"");         /* surrogate */
	assert_json("\xF4\x90\x80\x80", 4, "\"" BAD BAD BAD BAD "\""); /* too high */
	assert_json("\xF0\x9F\x98", 3, "\"" BAD BAD BAD "\"");         /* cut short */
	assert_json("\xFF\"", 2, "\"" BAD "\\\"\"");
	assert_json("\xC2", 1, "\"" BAD "\"");
}

static void a_file_is_read_whole_or_refused(void **state)
{
	(void)state;
	char path[] = "/tmp/test_buf_XXXXXX";
	struct tide_error err = { 0 };
	char *p = NULL;
	size_t len = 0;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	char block[10000];
	memset(block, 'x', sizeof block);
	assert_int_equal(write(fd, block, sizeof block), sizeof block);
	close(fd);
	assert_int_equal(tide_file_read(path, sizeof block, &p, &len, &err), TIDE_OK);
	assert_int_equal(len, sizeof block);
	assert_int_equal(p[len], 0);
	assert_memory_equal(p, block, len);
	free(p);
	assert_int_equal(tide_file_read(path, sizeof block - 1, &p, &len, &err), TIDE_ERR_IO);
	assert_non_null(strstr(err.text, "larger than the 9999 bytes"));
	unlink(path);
	assert_int_equal(tide_file_read(path, 10, &p, &len, &err), TIDE_ERR_IO);
	assert_non_null(strstr(err.text, "No such file"));
	assert_int_equal(tide_file_read("/tmp", 10, &p, &len, &err), TIDE_ERR_IO);
	assert_non_null(strstr(err.text, "/tmp: Is a directory"));
}

static void a_file_without_a_size_is_read_too(void **state)
{
	(void)state;
	struct tide_error err = { 0 };
	char *p = NULL;
	size_t len = 0;
	assert_int_equal(tide_file_read("/proc/self/status", 1 << 20, &p, &len, &err), TIDE_OK);
	assert_true(len > 100);
	free(p);
	assert_int_equal(tide_file_read("/dev/zero", 100, &p, &len, &err), TIDE_ERR_IO);
	assert_int_equal(tide_file_read("/dev/null", 0, &p, &len, &err), TIDE_OK);
	assert_int_equal(len, 0);
	assert_int_equal(*p, 0);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_is_read_back),
		cmocka_unit_test(integers_are_little_endian),
		cmocka_unit_test(reading_past_the_end_fails_and_gives_zeroes),
		cmocka_unit_test(text_with_a_nul_inside_is_not_text),
		cmocka_unit_test(asking_for_too_much_fails_once_and_for_all),
		cmocka_unit_test(printing_grows_the_buffer),
		cmocka_unit_test(json_escapes_what_it_must),
		cmocka_unit_test(json_keeps_valid_utf8),
		cmocka_unit_test(json_replaces_invalid_utf8),
		cmocka_unit_test(a_file_is_read_whole_or_refused),
		cmocka_unit_test(a_file_without_a_size_is_read_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
