/* SPDX-License-Identifier: Apache-2.0 */
/* The rarer half of JSON strings: UTF-8 beyond ASCII, escapes, and what is wrong. */
#include "decode/json_text.h"

#include <assert.h>
#include <string.h>

static void text_bad(struct tide_json_text *text, const char *at, const char *why)
{
	text->end = NULL;
	text->bad_at = at;
	text->bad = why;
}

/* The bytes of the UTF-8 sequence at p, or 0: cut short, overlong, a surrogate
 * or beyond U+10FFFF. */
static int utf8_len(const char *p, const char *end)
{
	const unsigned char *s = (const unsigned char *)p;
	ptrdiff_t left = end - p;
	unsigned char low = 0x80, high = 0xBF; /* of the second byte */
	int len = 0;
	if (s[0] >= 0xC2 && s[0] <= 0xDF) {
		len = 2;
	} else if (s[0] >= 0xE0 && s[0] <= 0xEF) {
		len = 3;
		if (s[0] == 0xE0)
			low = 0xA0;
		else if (s[0] == 0xED)
			high = 0x9F;
	} else if (s[0] >= 0xF0 && s[0] <= 0xF4) {
		len = 4;
		if (s[0] == 0xF0)
			low = 0x90;
		else if (s[0] == 0xF4)
			high = 0x8F;
	}
	if (len == 0 || left < len || s[1] < low || s[1] > high)
		return 0;
	for (int i = 2; i < len; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	return len;
}

void tide_json_text_slow(struct tide_json_text *text, const char *p, const char *end)
{
	assert(p <= end);
	while (p < end) {
		unsigned char c = (unsigned char)*p;
		if (tide_json_text_plain(c)) {
			p++;
		} else if (c == '"') {
			text->len = (int32_t)(p - text->p);
			text->end = p + 1;
			return;
		} else if (c == '\\') {
			/* Unescaping judges what follows; here only \" matters. */
			if (end - p < 2)
				break;
			text->escaped = true;
			p++;
			if ((unsigned char)*p >= 0x80 || (unsigned char)*p < 0x20) {
				text_bad(text, p, "an unknown escape");
				return;
			}
			p++;
		} else if (c >= 0x80) {
			int len = utf8_len(p, end);
			if (len == 0) {
				text_bad(text, p, "text that is not UTF-8");
				return;
			}
			p += len;
		} else {
			text_bad(text, p, "a control character inside a string");
			return;
		}
	}
	text_bad(text, end, "the end inside a string");
}

/* Four hex digits, or -1. */
static int32_t hex4(const char *p, const char *end)
{
	if (end - p < 4)
		return -1;
	int32_t value = 0;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int32_t digit;
		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10;
		else
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

static char *utf8_put(char *out, int32_t code)
{
	if (code < 0x80) {
		*out++ = (char)code;
	} else if (code < 0x800) {
		*out++ = (char)(0xC0 | code >> 6);
		*out++ = (char)(0x80 | (code & 0x3F));
	} else if (code < 0x10000) {
		*out++ = (char)(0xE0 | code >> 12);
		*out++ = (char)(0x80 | (code >> 6 & 0x3F));
		*out++ = (char)(0x80 | (code & 0x3F));
	} else {
		*out++ = (char)(0xF0 | code >> 18);
		*out++ = (char)(0x80 | (code >> 12 & 0x3F));
		*out++ = (char)(0x80 | (code >> 6 & 0x3F));
		*out++ = (char)(0x80 | (code & 0x3F));
	}
	return out;
}

/* `p` is behind "\u". A pair of surrogates is one character; one of them alone
 * stands for nothing that UTF-8 could hold. Returns where to go on, or NULL. */
static const char *unicode_escape(const char *p, const char *end, char **out)
{
	int32_t code = hex4(p, end);
	if (code < 0 || (code >= 0xDC00 && code <= 0xDFFF))
		return NULL;
	p += 4;
	if (code >= 0xD800 && code <= 0xDBFF) {
		if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
			return NULL;
		int32_t low = hex4(p + 2, end);
		if (low < 0xDC00 || low > 0xDFFF)
			return NULL;
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
		p += 6;
	}
	*out = utf8_put(*out, code);
	return p;
}

int32_t tide_json_text_unescape(struct tide_json_text *text, char *out)
{
	static const char plain[] = "\"\\/bfnrt";
	static const char meant[] = "\"\\/\b\f\n\r\t";
	const char *p = text->p, *end = p + text->len;
	char *start = out;
	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		const char *stop = slash != NULL ? slash : end;
		memcpy(out, p, (size_t)(stop - p));
		out += stop - p;
		p = stop;
		if (slash == NULL)
			break;
		const char *which = memchr(plain, p[1], sizeof plain - 1);
		if (which != NULL) {
			*out++ = meant[which - plain];
			p += 2;
		} else if (p[1] == 'u') {
			p = unicode_escape(p + 2, end, &out);
			if (p == NULL) {
				text_bad(text, slash, "a \\u escape that is no character");
				return -1;
			}
		} else {
			text_bad(text, slash, "an unknown escape");
			return -1;
		}
	}
	assert(out - start <= text->len);
	return (int32_t)(out - start);
}
