/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON scan: types, layouts, escapes, errors, and random documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "decode/json.h"

enum { FIELDS_MAX = 16 };

static struct tide_arena *arena;
static struct tide_cell cells[FIELDS_MAX];
static struct tide_scan_error why;

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(random_state >> 33) % n;
}

static int type_of(const char *name)
{
	static const char *const names[] = {
		"int", "double", "bool", "string", "bytes", "timestamp"
	};
	for (int i = 0; i < 6; i++)
		if (strcmp(names[i], name) == 0)
			return i + 1;
	fail_msg("no type %s", name);
	return 0;
}

/* "a:int b.c:string?" to fields; the text must outlive them. */
static int fields_of(const char *text, struct tide_field *fields)
{
	int count = 0;
	while (*text != '\0') {
		const char *colon = strchr(text, ':');
		const char *end = strchr(colon, ' ');
		size_t len = end != NULL ? (size_t)(end - colon - 1) : strlen(colon + 1);
		char name[16] = { 0 };
		struct tide_field *field = &fields[count++];
		field->path = text;
		field->path_len = (int32_t)(colon - text);
		field->nullable = colon[len] == '?';
		memcpy(name, colon + 1, len - field->nullable);
		field->type = (uint8_t)type_of(name);
		text = end != NULL ? end + 1 : colon + 1 + len;
	}
	return count;
}

/* Scans a copy of exactly its size, so that the sanitizer sees a byte too many.
 * The copy lives until the next scan: cells borrow from it. */
static enum tide_scan scan_bytes(const char *spec_text, const char *doc, size_t len)
{
	static char *copy;
	struct tide_field fields[FIELDS_MAX];
	int count = fields_of(spec_text, fields);
	struct tide_json_spec *spec = tide_json_spec_new(fields, count);
	assert_non_null(spec);
	free(copy);
	copy = malloc(len + (len == 0));
	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, doc, len);
	memset(&why, 0, sizeof why);
	tide_arena_reset(arena);
	enum tide_scan code = tide_json_scan(spec, copy, (int32_t)len, arena, cells, &why);
	for (int i = 0; i < count; i++)
		assert_int_equal(cells[i].spare, 0);
	tide_json_spec_free(spec);
	if (len == 0) {
		free(copy);
		copy = NULL;
	}
	return code;
}

static enum tide_scan scan(const char *spec_text, const char *doc)
{
	return scan_bytes(spec_text, doc, strlen(doc));
}

static void assert_text(int i, const char *want)
{
	assert_int_equal(cells[i].len, strlen(want));
	assert_memory_equal(cells[i].p, want, strlen(want));
}

#define assert_no_value(i) assert_int_equal(cells[i].len, -1)

static void all_types_are_read(void **state)
{
	(void)state;
	assert_int_equal(scan("id:int ok:bool x:double s:string b:bytes t:timestamp",
	                      "{\"id\":-42,\"ok\":true,\"x\":1.5,\"s\":\"hi\",\"b\":\"raw=\","
	                      "\"t\":\"2024-01-01T12:00:00.123456+00:00\"}"),
	                 TIDE_SCAN_OK);
	assert_int_equal(cells[0].i, -42);
	assert_int_equal(cells[0].len, 0);
	assert_int_equal(cells[1].i, 1);
	assert_true(cells[2].d == 1.5);
	assert_text(3, "hi");
	assert_text(4, "raw=");
	assert_int_equal(cells[5].i, 1704110400123456);
}

static void integers_are_exact_or_an_error(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum tide_scan code;
		int64_t value;
	} cases[] = {
		{ "0", TIDE_SCAN_OK, 0 },
		{ "-0", TIDE_SCAN_OK, 0 },
		{ "9007199254740993", TIDE_SCAN_OK, 9007199254740993 },
		{ "9223372036854775807", TIDE_SCAN_OK, INT64_MAX },
		{ "-9223372036854775808", TIDE_SCAN_OK, INT64_MIN },
		{ "9223372036854775808", TIDE_SCAN_RANGE, 0 },
		{ "-9223372036854775809", TIDE_SCAN_RANGE, 0 },
		{ "18446744073709551616", TIDE_SCAN_RANGE, 0 },
		{ "100000000000000000000000000000000000000000", TIDE_SCAN_RANGE, 0 },
		{ "1e3", TIDE_SCAN_OK, 1000 },
		{ "1.0", TIDE_SCAN_OK, 1 },
		{ "1.000000000000000000000000000000000", TIDE_SCAN_OK, 1 },
		{ "9223372036854775.807e3", TIDE_SCAN_OK, INT64_MAX },
		{ "9223372036854775.808e3", TIDE_SCAN_RANGE, 0 },
		{ "120e-1", TIDE_SCAN_OK, 12 },
		{ "0e999999999999999999999999", TIDE_SCAN_OK, 0 },
		{ "1e999999999999999999999999", TIDE_SCAN_RANGE, 0 },
		{ "1.5", TIDE_SCAN_TYPE, 0 },
		{ "1e-999999999999999999999999", TIDE_SCAN_TYPE, 0 },
		{ "125e-1", TIDE_SCAN_TYPE, 0 },
		{ "\"12\"", TIDE_SCAN_TYPE, 0 },
		{ "true", TIDE_SCAN_TYPE, 0 },
		{ "null", TIDE_SCAN_MISSING, 0 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char doc[128];
		snprintf(doc, sizeof doc, "{\"n\":%s}", cases[i].text);
		enum tide_scan code = scan("n:int", doc);
		if (code != cases[i].code)
			fail_msg("%s gave %d", doc, (int)code);
		if (code == TIDE_SCAN_OK)
			assert_int_equal(cells[0].i, cases[i].value);
		else
			assert_no_value(0);
		/* Kept as text, nothing is lost; a nullable column hides no big number. */
		if (cases[i].text[0] != '"' && cases[i].text[0] != 'n') {
			assert_int_equal(scan("n:string", doc), TIDE_SCAN_OK);
			assert_text(0, cases[i].text);
		}
		assert_int_equal(scan("n:int?", doc),
		                 code == TIDE_SCAN_RANGE ? code : TIDE_SCAN_OK);
	}
}

static void doubles_are_the_nearest_ones(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"0.1",
		"-0.0",
		"1e22",
		"1e23",
		"123456789012345678",
		"9007199254740993",
		"0.3",
		"5e-324",
		"1.7976931348623157e308",
		"2.2250738585072011e-308",
		"1e-400",
		"8.41e21",
		"9007199254740992.5",
		"0.000000000000000000000000000000000000000000000000000000000000001",
		"179769313486231570000000000000000000000000000000000000000000000000000000000000000000000",
		"3.141592653589793238462643383279502884197169399375105820974944592307816406286208998628"
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		char doc[160];
		snprintf(doc, sizeof doc, "{\"x\":%s}", texts[i]);
		assert_int_equal(scan("x:double", doc), TIDE_SCAN_OK);
		double want = strtod(texts[i], NULL);
		assert_memory_equal(&cells[0].d, &want, sizeof want);
	}
	assert_int_equal(scan("x:double?", "{\"x\":1e400}"), TIDE_SCAN_RANGE);
	assert_int_equal(scan("x:double?", "{\"x\":-1e400}"), TIDE_SCAN_RANGE);
}

static void timestamps_come_as_text_or_numbers(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t us;
	} cases[] = {
		{ "\"2024-01-01T12:00:00Z\"", 1704110400000000 },
		{ "\"2024-01-01T12:00:00\"", 1704110400000000 },
		{ "\"2024-01-01T13:30:00+01:30\"", 1704110400000000 },
		{ "1704110400", 1704110400000000 },
		{ "1704110400000", 1704110400000000 },
		{ "1704110400.123456", 1704110400123456 },
		{ "1704110400123.4567", 1704110400123456 },
		{ "1.7041104e9", 1704110400000000 },
		{ "99999999999", 99999999999000000 },
		{ "100000000000", 100000000000000 },
		{ "-99999999999", -99999999999000000 },
		{ "-100000000000", -100000000000000 },
		{ "-0.5", -500000 },
		{ "0", 0 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char doc[128];
		snprintf(doc, sizeof doc, "{\"t\": %s}", cases[i].text);
		assert_int_equal(scan("t:timestamp", doc), TIDE_SCAN_OK);
		assert_int_equal(cells[0].i, cases[i].us);
	}
	assert_int_equal(scan("t:timestamp", "{\"t\":\"bad\"}"), TIDE_SCAN_TYPE);
	assert_int_equal(scan("t:timestamp", "{\"t\":true}"), TIDE_SCAN_TYPE);
	assert_int_equal(scan("t:timestamp", "{\"t\":1e18}"), TIDE_SCAN_RANGE);
}

/* The six documents of the sensor pipeline's vector. */
static void sensor_vector_keeps_what_it_should(void **state)
{
	(void)state;
	static const char spec[] = "id:int? ts:timestamp? value:double? source:string?";
	assert_int_equal(scan(spec, "{\"id\":1,\"ts\":\"2024-01-01T12:00:00.123456+00:00\","
	                            "\"value\":1.5,\"source\":\"s\"}"),
	                 TIDE_SCAN_OK);
	assert_int_equal(cells[1].i, 1704110400123456);
	assert_int_equal(scan(spec, "{\"id\":1,\"ts\":\"bad\",\"value\":1,\"source\":\"s\"}"),
	                 TIDE_SCAN_OK);
	assert_no_value(1);
	assert_int_equal(scan(spec, "not json"), TIDE_SCAN_MALFORMED);
	assert_int_equal(scan(spec, "{\"id\":\"x\",\"ts\":\"2024-01-01T12:00:00Z\",\"value\":2}"),
	                 TIDE_SCAN_OK);
	assert_no_value(0);
	assert_true(cells[2].d == 2.0);
	assert_no_value(3);
	assert_int_equal(scan(spec, "{\"id\":2,\"ts\":\"2024-01-01T12:00:00Z\"}"), TIDE_SCAN_OK);
	assert_no_value(2);
	assert_int_equal(
		scan(spec, "{\"id\":3,\"ts\":\"2024-01-01T12:00:00\",\"value\":1,\"extra\":9}"),
		TIDE_SCAN_OK);
	assert_int_equal(cells[0].i, 3);
}

static void escapes_become_characters(void **state)
{
	(void)state;
	assert_int_equal(
		scan("s:string",
	             "{\"s\":\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u65E5\\ud83C\\uDf89z\"}"),
		TIDE_SCAN_OK);
	assert_text(0, "a\"\\/\b\f\n\r\t\xc3\xa9\xe6\x97\xa5\xf0\x9f\x8e\x89z");
	assert_int_equal(scan("s:string", "{\"s\":\"a\\u0000b\"}"), TIDE_SCAN_OK);
	assert_int_equal(cells[0].len, 3);
	assert_memory_equal(cells[0].p, "a\0b", 3);
	assert_int_equal(scan("na\xc3\xafve:int", "{\"na\\u00efve\":7}"), TIDE_SCAN_OK);
	assert_int_equal(cells[0].i, 7);
	assert_int_equal(scan("t:timestamp", "{\"t\":\"2024-01-01T12\\u003a00:00Z\"}"),
	                 TIDE_SCAN_OK);
}

static void text_without_escapes_is_borrowed(void **state)
{
	(void)state;
	assert_int_equal(scan("s:string e:string", "{\"s\":\"caf\xc3\xa9\",\"e\":\"\"}"),
	                 TIDE_SCAN_OK);
	assert_text(0, "caf\xc3\xa9");
	assert_int_equal(cells[1].len, 0);
	assert_int_equal(tide_arena_used(arena), 0);
}

static void nested_paths_are_found(void **state)
{
	(void)state;
	static const char spec[] = "a.b.c:int? a.b:string? a.d:string? x:int? a:string?";
	assert_int_equal(scan(spec, "{ \"q\":[{\"a\":{\"b\":{\"c\":9}}}], \"a\":{\"z\":{\"b\":1},"
	                            "\"b\":{\"c\":5,\"x\":6},\"d\":\"t\"}, \"x\":7}"),
	                 TIDE_SCAN_OK);
	assert_int_equal(cells[0].i, 5);
	assert_no_value(1);
	assert_text(2, "t");
	assert_int_equal(cells[3].i, 7);
	assert_no_value(4);
	assert_int_equal(scan(spec, "{\"a\":{\"b\":3}}"), TIDE_SCAN_OK);
	assert_no_value(0);
	assert_text(1, "3");
}

static void the_last_of_repeated_names_wins(void **state)
{
	(void)state;
	assert_int_equal(scan("a:int b.c:int?", "{\"a\":\"x\",\"a\":1,\"b\":{\"c\":2},\"a\":3}"),
	                 TIDE_SCAN_OK);
	assert_int_equal(cells[0].i, 3);
	assert_int_equal(cells[1].i, 2);
	assert_int_equal(scan("a:int", "{\"a\":1,\"a\":null}"), TIDE_SCAN_MISSING);
	/* The second b has no c, so there is none. */
	assert_int_equal(scan("b.c:int?", "{\"b\":{\"c\":2},\"b\":{}}"), TIDE_SCAN_OK);
	assert_no_value(0);
	assert_int_equal(scan("b.c:int?", "{\"b\":{\"c\":2},\"b\":5}"), TIDE_SCAN_OK);
	assert_no_value(0);
	/* A big number that was replaced is no error. */
	assert_int_equal(scan("a:int?", "{\"a\":1e30,\"a\":4}"), TIDE_SCAN_OK);
	assert_int_equal(cells[0].i, 4);
}

static void one_path_may_feed_two_columns(void **state)
{
	(void)state;
	assert_int_equal(scan("a:int? a:string?", "{\"a\":12345678901234567890}"), TIDE_SCAN_RANGE);
	assert_no_value(0);
	assert_text(1, "12345678901234567890");
}

static const char *const malformed[] = {
	"",
	" ",
	"null",
	"[]",
	"1",
	"\"x\"",
	"{",
	"}",
	"{]",
	"{\"a\"}",
	"{\"a\":}",
	"{\"a\":1,}",
	"{,}",
	"{\"a\":1 \"b\":2}",
	"{\"a\":1}x",
	"{\"a\":1}{}",
	"{a:1}",
	"{'a':1}",
	"{\"a\":01}",
	"{\"a\":1.}",
	"{\"a\":.5}",
	"{\"a\":+1}",
	"{\"a\":1e}",
	"{\"a\":1e+}",
	"{\"a\":-}",
	"{\"a\":0x10}",
	"{\"a\":NaN}",
	"{\"a\":Infinity}",
	"{\"a\":tru}",
	"{\"a\":truE}",
	"{\"a\":nul",
	"{\"a\":[1,]}",
	"{\"a\":[,1]}",
	"{\"a\":[1}",
	"{\"a\":{\"b\":1]}",
	"{\"a\":\"\n\"}",
	"{\"a\":\"\t\"}",
	"{\"a\":\"x}",
	"{\"a\":\"\\\"}",
	"{\"a\":\"\\x\"}",
	"{\"a\":\"\\u12g4\"}",
	"{\"a\":\"\\u12\"}",
	"{\"a\":\"\\ud800\"}",
	"{\"a\":\"\\udc00\"}",
	"{\"a\":\"\\ud800\\u0041\"}",
	"{\"a\":\"\\ud800x\"}",
	"{\"\\ud800\":1}",
	"{\"a\":\"\\ud800\\ud800\"}",
	"/**/{\"a\":1}",
	"\xef\xbb\xbf{}",
	"{\"a\":1}\f",
	"{\"a\":\\u0031}",
};

static void malformed_documents_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
		/* Wanted or not, a value is judged the same. */
		for (int wanted = 0; wanted <= 1; wanted++) {
			enum tide_scan code =
				scan(wanted ? "a:string?" : "other:int?", malformed[i]);
			if (code != TIDE_SCAN_MALFORMED)
				fail_msg("accepted (%d): %s", (int)code, malformed[i]);
			assert_int_equal(why.field, -1);
			assert_no_value(0);
		}
	}
	assert_int_equal(scan_bytes("a:int?", "{\"a\":1\0}", 8), TIDE_SCAN_MALFORMED);
	assert_int_equal(scan_bytes("a:int?", "{\"a\":\"\0\"}", 9), TIDE_SCAN_MALFORMED);
	assert_int_equal(scan_bytes("a:int?", "{\"a\":1}\0", 8), TIDE_SCAN_MALFORMED);
}

static void invalid_utf8_is_malformed(void **state)
{
	(void)state;
	static const char *const bad[] = { "\x80",
		                           "\xc3",
		                           "\xc0\xaf",
		                           "\xc1\xbf",
		                           "\xe0\x9f\xbf",
		                           "\xed\xa0\x80",
		                           "\xf0\x8f\xbf\xbf",
		                           "\xf4\x90\x80\x80",
		                           "\xf5\x80\x80\x80",
		                           "\xe6\x97",
		                           "\xf0\x9f\x8e",
		                           "\xff" };
	static const char *const good[] = { "\xc2\x80",         "\xdf\xbf",        "\xe0\xa0\x80",
		                            "\xed\x9f\xbf",     "\xee\x80\x80",    "\xef\xbf\xbf",
		                            "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf" };
	char doc[80];
	for (int pad = 0; pad < 40; pad++) {
		for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
			snprintf(doc, sizeof doc, "{\"a\":\"%*s%s\"}", pad, "", bad[i]);
			assert_int_equal(scan("a:string?", doc), TIDE_SCAN_MALFORMED);
			snprintf(doc, sizeof doc, "{\"%*s%s\":1}", pad, "", bad[i]);
			assert_int_equal(scan("a:string?", doc), TIDE_SCAN_MALFORMED);
		}
		for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
			snprintf(doc, sizeof doc, "{\"a\":\"%*s%s\"}", pad, "", good[i]);
			assert_int_equal(scan("a:string", doc), TIDE_SCAN_OK);
			assert_memory_equal(cells[0].p + pad, good[i], strlen(good[i]));
		}
	}
}

static void depth_is_limited(void **state)
{
	(void)state;
	enum { MANY = 100 * 1000 };
	char *doc = malloc(2 * MANY + 32);
	assert_non_null(doc);
	for (int arrays = TIDE_JSON_DEPTH_MAX - 2; arrays <= TIDE_JSON_DEPTH_MAX; arrays++) {
		size_t n = (size_t)sprintf(doc, "{\"a\":");
		memset(doc + n, '[', (size_t)arrays);
		memset(doc + n + arrays, ']', (size_t)arrays);
		doc[n + 2 * (size_t)arrays] = '}';
		bool fits = arrays < TIDE_JSON_DEPTH_MAX; /* the object is a level too */
		assert_int_equal(scan_bytes("a:int?", doc, n + 2 * (size_t)arrays + 1),
		                 fits ? TIDE_SCAN_OK : TIDE_SCAN_MALFORMED);
	}
	size_t n = 0;
	for (int i = 0; i < MANY / 4; i++)
		n += (size_t)sprintf(doc + n, "{\"a\":");
	assert_int_equal(scan_bytes("a.a.a:int?", doc, n), TIDE_SCAN_MALFORMED);
	free(doc);
}

static void messages_say_what_and_where(void **state)
{
	(void)state;
	assert_int_equal(scan("id:int", "{\"id\":\"x\\ny\"}"), TIDE_SCAN_TYPE);
	assert_string_equal(why.text, "\"id\" is \"x\\ny\", not an int");
	assert_int_equal(why.at, 6);
	assert_int_equal(scan("a:int? id:int", "{\"id\":99999999999999999999}"), TIDE_SCAN_RANGE);
	assert_string_equal(why.text, "\"id\" is 99999999999999999999, too big for an int");
	assert_int_equal(why.field, 1);
	scan("id:int", "{}");
	assert_string_equal(why.text, "\"id\" is missing");
	scan("id:int", "{\"id\":null}");
	assert_string_equal(why.text, "\"id\" is null");
	scan("id:bool", "{\"id\":[1]}");
	assert_string_equal(why.text, "\"id\" is an array, not a bool");
	scan("id:timestamp",
	     "{\"id\":\"caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9\"}");
	assert_string_equal(why.text,
	                    "\"id\" is \"caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 ca..., "
	                    "not a timestamp");
	scan("id:int", "not json");
	assert_string_equal(why.text, "not a JSON object: expected '{' at byte 0");
	scan("id:int", "{\"id\": ");
	assert_string_equal(why.text, "not a JSON object: it ends, expected a value at byte 7");
	assert_int_equal(scan_bytes("id:int", NULL, 0), TIDE_SCAN_MALFORMED);
	assert_string_equal(why.text, "not a JSON object: it ends, expected '{' at byte 0 (empty)");
}

/* A document under construction, with what the scan must make of it. */
struct making {
	char text[4096];
	size_t len;
};

static void add(struct making *doc, const char *text)
{
	size_t len = strlen(text);
	assert_true(doc->len + len < sizeof doc->text);
	memcpy(doc->text + doc->len, text, len + 1);
	doc->len += len;
}

static void add_blanks(struct making *doc)
{
	static const char *const blanks[] = { "", "", "", " ", "\n\t", "\r\n  " };
	add(doc, blanks[random_below(6)]);
}

/* Plain text, as JSON with every letter escaped or not by chance. */
static void add_string(struct making *doc, const char *plain)
{
	add(doc, "\"");
	for (; *plain != '\0'; plain++) {
		char one[8] = { *plain, 0 };
		if (*plain == '"' || *plain == '\\' || random_below(40) == 0)
			snprintf(one, sizeof one, "\\u%04x", (unsigned char)*plain);
		add(doc, one);
	}
	add(doc, "\"");
}

static void add_noise(struct making *doc, int depth)
{
	static const char *const scalars[] = { "1",    "-2.5e3",     "null",
		                               "true", "\"a, } ]\"", "\"\\\\\"" };
	uint32_t kind = random_below(depth > 4 ? 6 : 8);
	if (kind < 6) {
		add(doc, scalars[kind]);
		return;
	}
	add(doc, kind == 6 ? "[" : "{");
	for (uint32_t i = random_below(4), first = 1; i > 0; i--, first = 0) {
		add(doc, first ? "" : ",");
		add_blanks(doc);
		if (kind == 7)
			add(doc, i & 1 ? "\"int\":" : "\"text\" : ");
		add_noise(doc, depth + 1);
		add_blanks(doc);
	}
	add(doc, kind == 6 ? "]" : "}");
}

/* Values for "int", "text", "a_longer_name.double" and "flag". */
struct values {
	bool present[4];
	int64_t number;
	char text[64];
	double real;
	bool flag;
};

static void values_choose(struct values *v)
{
	static const char letters[] = "abc \"\\,:{}[]xyz";
	memset(v, 0, sizeof *v);
	for (int i = 0; i < 4; i++)
		v->present[i] = random_below(8) != 0;
	v->number = (int64_t)((uint64_t)random_below(1u << 31) << 33) >> random_below(62);
	v->real = (double)v->number / (1 + random_below(1000));
	v->flag = random_below(2) != 0;
	for (uint32_t i = random_below(60); i > 0; i--)
		v->text[i - 1] = letters[random_below(sizeof letters - 1)];
}

static void add_member(struct making *doc, const struct values *v, uint32_t i)
{
	static const char *const names[] = { "int", "text", "a_longer_name", "flag" };
	char number[64];
	add_blanks(doc);
	add_string(doc, names[i]);
	add_blanks(doc);
	add(doc, ":");
	add_blanks(doc);
	if (i == 0) {
		snprintf(number, sizeof number, "%lld", (long long)v->number);
		add(doc, number);
	} else if (i == 1) {
		add_string(doc, v->text);
	} else if (i == 2) {
		snprintf(number, sizeof number, "{ \"x\":[], \"double\":%.17g}", v->real);
		add(doc, number);
	} else {
		add(doc, v->flag ? "true" : "false");
	}
	add_blanks(doc);
}

static void add_document(struct making *doc, const struct values *v)
{
	uint32_t start = random_below(4), step = random_below(2) != 0 ? 1 : 3;
	const char *comma = "";
	add_blanks(doc);
	add(doc, "{");
	for (uint32_t k = 0; k < 4; k++) {
		uint32_t i = (start + k * step) % 4;
		if (random_below(3) == 0) {
			add(doc, comma);
			add(doc, "\"noise\":");
			add_noise(doc, 0);
			comma = ",";
		}
		if (v->present[i]) {
			add(doc, comma);
			add_member(doc, v, i);
			comma = ",";
		}
	}
	add(doc, "}");
}

static void any_layout_gives_the_same_cells(void **state)
{
	(void)state;
	static const char spec[] = "int:int? text:string? a_longer_name.double:double? flag:bool?";
	for (int round = 0; round < 20000; round++) {
		struct making doc = { .len = 0 };
		struct values v;
		values_choose(&v);
		add_document(&doc, &v);
		size_t end = doc.len;
		add_blanks(&doc);
		if (scan_bytes(spec, doc.text, doc.len) != TIDE_SCAN_OK)
			fail_msg("%s: %s", why.text, doc.text);
		for (int i = 0; i < 4; i++)
			assert_int_equal(cells[i].len >= 0, v.present[i]);
		if (v.present[0])
			assert_int_equal(cells[0].i, v.number);
		if (v.present[1])
			assert_text(1, v.text);
		if (v.present[2])
			assert_true(cells[2].d == v.real);
		if (v.present[3])
			assert_int_equal(cells[3].i, v.flag);
		/* Cut anywhere, it is no document. */
		size_t cut = random_below((uint32_t)end);
		assert_int_equal(scan_bytes(spec, doc.text, cut), TIDE_SCAN_MALFORMED);
	}
}

/* The arena is new, and its next growth is made to fail, once. */
static void lack_of_memory_is_not_the_documents_fault(void **state)
{
	(void)state;
	static char doc[200 * 1024];
	size_t len = (size_t)sprintf(doc, "{\"a\":\"\\n");
	memset(doc + len, 'x', sizeof doc - len);
	memcpy(doc + sizeof doc - 2, "\"}", 2);
	assert_int_equal(scan_bytes("a:string? b:int?", doc, sizeof doc), TIDE_JSON_NOMEM);
	assert_int_equal(why.code, TIDE_JSON_NOMEM);
	assert_int_equal(why.field, -1);
	assert_string_equal(why.text, "out of memory while reading JSON");
	assert_no_value(0);
	assert_no_value(1);
	assert_int_equal(scan_bytes("a:string? b:int?", doc, sizeof doc), TIDE_SCAN_OK);
	assert_int_equal(cells[0].len, sizeof doc - len - 1);
}

static int make_arena(void **state)
{
	(void)state;
	const char *given = getenv("SEED");
	random_state = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)(uintptr_t)&given >> 4;
	printf("SEED=%llu\n", (unsigned long long)random_state);
	setenv("TIDEMARK_FAILPOINT", "arena=io@3", 1); /* it begins with two */
	arena = tide_arena_new();
	return arena == NULL;
}

static int drop_arena(void **state)
{
	(void)state;
	scan_bytes("a:int?", "", 0); /* lets go of the last copy */
	tide_arena_free(arena);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(lack_of_memory_is_not_the_documents_fault), /* first */
		cmocka_unit_test(all_types_are_read),
		cmocka_unit_test(integers_are_exact_or_an_error),
		cmocka_unit_test(doubles_are_the_nearest_ones),
		cmocka_unit_test(timestamps_come_as_text_or_numbers),
		cmocka_unit_test(sensor_vector_keeps_what_it_should),
		cmocka_unit_test(escapes_become_characters),
		cmocka_unit_test(text_without_escapes_is_borrowed),
		cmocka_unit_test(nested_paths_are_found),
		cmocka_unit_test(the_last_of_repeated_names_wins),
		cmocka_unit_test(one_path_may_feed_two_columns),
		cmocka_unit_test(malformed_documents_are_refused),
		cmocka_unit_test(invalid_utf8_is_malformed),
		cmocka_unit_test(depth_is_limited),
		cmocka_unit_test(messages_say_what_and_where),
		cmocka_unit_test(any_layout_gives_the_same_cells),
	};
	return cmocka_run_group_tests(tests, make_arena, drop_arena);
}
