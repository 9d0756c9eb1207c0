/* SPDX-License-Identifier: Apache-2.0 */
/* JSON lines to records. A parser of its own, since it needs nothing but
 * strings and integers and must keep NULs, which no DOM is asked for. */
#include "broker/lines.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024, STOP_CHECK_MS = 100 };

/* Where a text lies in `bytes` while that may still move. at < 0: null. */
struct span {
	int64_t at;
	size_t len;
};

struct tide_lines {
	int fd;
	const atomic_int *stop;
	struct tide_buf in; /* [done, in.len) has not been parsed */
	size_t done, scanned;
	bool ended;
	int64_t number; /* of the line, from 1 */

	const char *p, *end; /* the rest of the line being parsed */
	const char *fault;
	struct tide_buf bytes;
	struct span *spans; /* name, value, name, value … */
	size_t span_count, span_cap;
	struct tide_message_header *headers;
	size_t header_cap;
};

static int line_fill(struct tide_lines *lines, int timeout_ms, const char **line, size_t *len,
                     struct tide_error *err);
static bool parse_message(struct tide_lines *lines, struct tide_message *msg);
static bool parse_text(struct tide_lines *lines, struct span *out);
static bool parse_headers(struct tide_lines *lines);

struct tide_lines *tide_lines_new(int fd, const atomic_int *stop)
{
	struct tide_lines *lines = calloc(1, sizeof *lines);
	if (lines != NULL) {
		lines->fd = fd;
		lines->stop = stop;
	}
	return lines;
}

void tide_lines_free(struct tide_lines *lines)
{
	if (lines == NULL)
		return;
	tide_buf_fini(&lines->in);
	tide_buf_fini(&lines->bytes);
	free(lines->spans);
	free(lines->headers);
	free(lines);
}

static bool is_blank(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (strchr(" \t\r", p[i]) == NULL || p[i] == '\0')
			return false;
	return true;
}

int tide_lines_next(struct tide_lines *lines, int timeout_ms, struct tide_message *msg,
                    struct tide_error *err)
{
	assert(lines != NULL && msg != NULL);
	const char *line = NULL;
	size_t len = 0;
	do {
		int rc = line_fill(lines, timeout_ms, &line, &len, err);
		if (rc != 1)
			return rc;
		lines->number++;
	} while (is_blank(line, len));

	if (tide_lines_parse(lines, line, len, msg))
		return 1;
	if (lines->bytes.failed)
		return tide_fail(err, TIDE_ERR_NOMEM, "line %lld: out of memory",
		                 (long long)lines->number);
	return tide_fail(err, TIDE_ERR_USAGE,
	                 "line %lld, column %lld: %s; a line is {\"key\":…,\"value\":…,"
	                 "\"headers\":[[\"name\",\"value\"]],\"partition\":0,\"timestamp\":ms}",
	                 (long long)lines->number, (long long)(lines->p - line + 1),
	                 lines->fault != NULL ? lines->fault : "not a record");
}

bool tide_lines_parse(struct tide_lines *lines, const char *line, size_t len,
                      struct tide_message *msg)
{
	lines->p = line;
	lines->end = line + len;
	lines->fault = NULL;
	return parse_message(lines, msg);
}

static bool stopped(const struct tide_lines *lines)
{
	return lines->stop != NULL && atomic_load(lines->stop) != 0;
}

/* Drop what was parsed and read some more. 1: read or ended; 2: nothing yet. */
static int read_more(struct tide_lines *lines, int timeout_ms, struct tide_error *err)
{
	memmove(lines->in.p, lines->in.p + lines->done, lines->in.len - lines->done);
	lines->in.len -= lines->done;
	lines->scanned -= lines->done;
	lines->done = 0;
	if (lines->in.len > TIDE_LINE_LEN_MAX)
		return tide_fail(err, TIDE_ERR_USAGE, "line %lld is longer than %d bytes",
		                 (long long)lines->number + 1, TIDE_LINE_LEN_MAX);
	if (!tide_buf_reserve(&lines->in, READ_SIZE))
		return tide_fail(err, TIDE_ERR_NOMEM, "line %lld", (long long)lines->number + 1);
	struct pollfd waiting = { .fd = lines->fd, .events = POLLIN };
	int ready = poll(&waiting, 1,
	                 timeout_ms < 0 || timeout_ms > STOP_CHECK_MS ? STOP_CHECK_MS : timeout_ms);
	if (ready == 0 || (ready < 0 && errno == EINTR))
		return 2;
	ssize_t got = ready < 0 ? -1 : read(lines->fd, lines->in.p + lines->in.len, READ_SIZE);
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return 2;
	if (got < 0)
		return tide_fail(err, TIDE_ERR_IO, "reading records: %s", strerror(errno));
	lines->in.len += (size_t)got;
	lines->ended = got == 0;
	return 1;
}

/* The next line without its newline. */
static int line_fill(struct tide_lines *lines, int timeout_ms, const char **line, size_t *len,
                     struct tide_error *err)
{
	if (lines->in.p == NULL && !tide_buf_reserve(&lines->in, READ_SIZE))
		return tide_fail(err, TIDE_ERR_NOMEM, "reading records");
	for (;;) {
		char *from = lines->in.p + lines->scanned;
		char *nl = memchr(from, '\n', lines->in.len - lines->scanned);
		if (nl != NULL || (lines->ended && lines->in.len > lines->done)) {
			char *stop = nl != NULL ? nl : lines->in.p + lines->in.len;
			*line = lines->in.p + lines->done;
			*len = (size_t)(stop - *line);
			lines->done += *len + (nl != NULL);
			lines->scanned = lines->done;
			return 1;
		}
		lines->scanned = lines->in.len;
		if (lines->ended || stopped(lines))
			return 0;
		int rc = read_more(lines, timeout_ms, err);
		if (rc < 0 || (rc == 2 && timeout_ms >= 0))
			return rc;
	}
}

/* --- the parser -------------------------------------------------------------- */

static bool fail(struct tide_lines *lines, const char *fault)
{
	if (lines->fault == NULL)
		lines->fault = fault;
	return false;
}

static void skip_space(struct tide_lines *lines)
{
	while (lines->p < lines->end &&
	       (*lines->p == ' ' || *lines->p == '\t' || *lines->p == '\r'))
		lines->p++;
}

static bool take(struct tide_lines *lines, char c)
{
	skip_space(lines);
	if (lines->p == lines->end || *lines->p != c)
		return false;
	lines->p++;
	return true;
}

static bool take_word(struct tide_lines *lines, const char *word)
{
	size_t len = strlen(word);
	skip_space(lines);
	if ((size_t)(lines->end - lines->p) < len || memcmp(lines->p, word, len) != 0)
		return false;
	lines->p += len;
	return true;
}

static bool parse_int(struct tide_lines *lines, int64_t *out)
{
	skip_space(lines);
	char digits[24];
	size_t n = 0;
	while (lines->p + n < lines->end && n < sizeof digits - 1 &&
	       strchr("-0123456789", lines->p[n]) != NULL && lines->p[n] != '\0') {
		digits[n] = lines->p[n];
		n++;
	}
	digits[n] = '\0';
	char *rest;
	errno = 0;
	*out = strtoll(digits, &rest, 10);
	if (n == 0 || *rest != '\0' || errno != 0)
		return fail(lines, "expected a whole number");
	lines->p += n;
	return true;
}

static bool parse_hex4(struct tide_lines *lines, uint32_t *out)
{
	if (lines->end - lines->p < 4)
		return fail(lines, "bad \\u escape");
	*out = 0;
	for (int i = 0; i < 4; i++) {
		char c = *lines->p;
		uint32_t digit;
		if (c >= '0' && c <= '9')
			digit = (uint32_t)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			digit = (uint32_t)((c | 32) - 'a' + 10);
		else
			return fail(lines, "bad \\u escape");
		*out = *out * 16 + digit;
		lines->p++;
	}
	return true;
}

static void put_utf8(struct tide_buf *out, uint32_t c)
{
	if (c < 0x80) {
		tide_buf_u8(out, (uint8_t)c);
	} else if (c < 0x800) {
		tide_buf_u8(out, (uint8_t)(0xc0 | c >> 6));
		tide_buf_u8(out, (uint8_t)(0x80 | (c & 63)));
	} else if (c < 0x10000) {
		tide_buf_u8(out, (uint8_t)(0xe0 | c >> 12));
		tide_buf_u8(out, (uint8_t)(0x80 | (c >> 6 & 63)));
		tide_buf_u8(out, (uint8_t)(0x80 | (c & 63)));
	} else {
		tide_buf_u8(out, (uint8_t)(0xf0 | c >> 18));
		tide_buf_u8(out, (uint8_t)(0x80 | (c >> 12 & 63)));
		tide_buf_u8(out, (uint8_t)(0x80 | (c >> 6 & 63)));
		tide_buf_u8(out, (uint8_t)(0x80 | (c & 63)));
	}
}

static bool parse_escape(struct tide_lines *lines)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (lines->p == lines->end)
		return fail(lines, "the string does not end");
	char c = *lines->p++;
	const char *known = c != '\0' ? strchr(from, c) : NULL;
	if (known != NULL) {
		tide_buf_u8(&lines->bytes, (uint8_t)to[known - from]);
		return true;
	}
	uint32_t code, low;
	if (c != 'u' || !parse_hex4(lines, &code))
		return fail(lines, "bad escape");
	if (code >= 0xdc00 && code < 0xe000)
		return fail(lines, "half a surrogate pair");
	if (code >= 0xd800 && code < 0xdc00) {
		if (!take_word(lines, "\\u") || !parse_hex4(lines, &low) || low < 0xdc00 ||
		    low >= 0xe000)
			return fail(lines, "half a surrogate pair");
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	put_utf8(&lines->bytes, code);
	return true;
}

static bool parse_string(struct tide_lines *lines, struct span *out)
{
	if (!take(lines, '"'))
		return fail(lines, "expected a string");
	out->at = (int64_t)lines->bytes.len;
	while (lines->p < lines->end && *lines->p != '"') {
		const char *from = lines->p;
		while (lines->p < lines->end && *lines->p != '"' && *lines->p != '\\')
			lines->p++;
		tide_buf_put(&lines->bytes, from, (size_t)(lines->p - from));
		if (lines->p < lines->end && *lines->p == '\\') {
			lines->p++;
			if (!parse_escape(lines))
				return false;
		}
	}
	if (!take(lines, '"'))
		return fail(lines, "the string does not end");
	out->len = lines->bytes.len - (size_t)out->at;
	return !lines->bytes.failed;
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* In place: base64 never grows when decoded. */
static bool decode_base64(struct tide_lines *lines, struct span *out)
{
	char *text = lines->bytes.p + out->at;
	size_t len = out->len, n = 0;
	uint32_t bits = 0;
	int held = 0;
	while (len > 0 && text[len - 1] == '=')
		len--;
	for (size_t i = 0; i < len; i++) {
		int digit = base64_digit(text[i]);
		if (digit < 0)
			return fail(lines, "not base64");
		bits = bits << 6 | (uint32_t)digit;
		held += 6;
		if (held >= 8) {
			held -= 8;
			text[n++] = (char)(bits >> held & 255);
		}
	}
	if (len % 4 == 1)
		return fail(lines, "not base64");
	out->len = n;
	lines->bytes.len = (size_t)out->at + n;
	return true;
}

static bool parse_text(struct tide_lines *lines, struct span *out)
{
	skip_space(lines);
	*out = (struct span){ -1, 0 };
	if (take_word(lines, "null"))
		return true;
	if (lines->p < lines->end && *lines->p == '"')
		return parse_string(lines, out);
	if (take(lines, '{') && take_word(lines, "\"base64\"") && take(lines, ':'))
		return parse_string(lines, out) && decode_base64(lines, out) &&
		       (take(lines, '}') || fail(lines, "expected } after base64"));
	return fail(lines, "expected a string, null or {\"base64\":\"…\"}");
}

static bool push_span(struct tide_lines *lines, struct span span)
{
	if (lines->span_count == lines->span_cap) {
		size_t cap = lines->span_cap > 0 ? lines->span_cap * 2 : 16;
		struct span *grown = realloc(lines->spans, cap * sizeof *grown);
		if (grown == NULL) {
			lines->bytes.failed = true;
			return false;
		}
		lines->spans = grown;
		lines->span_cap = cap;
	}
	lines->spans[lines->span_count++] = span;
	return true;
}

static bool parse_headers(struct tide_lines *lines)
{
	if (take_word(lines, "null"))
		return true;
	if (!take(lines, '['))
		return fail(lines, "headers are [[\"name\",\"value\"],…]");
	if (take(lines, ']'))
		return true;
	do {
		struct span name, value;
		if (!take(lines, '[') || !parse_string(lines, &name) || !take(lines, ',') ||
		    !parse_text(lines, &value) || !take(lines, ']'))
			return fail(lines, "headers are [[\"name\",\"value\"],…]");
		if (!push_span(lines, name) || !push_span(lines, value))
			return false;
	} while (take(lines, ','));
	return take(lines, ']') || fail(lines, "headers do not end");
}

static struct tide_slice slice_of(const struct tide_lines *lines, struct span span)
{
	if (span.at < 0)
		return (struct tide_slice){ NULL, 0 };
	return (struct tide_slice){ lines->bytes.p + span.at, span.len };
}

static bool set_headers(struct tide_lines *lines, struct tide_message *msg)
{
	size_t count = lines->span_count / 2;
	if (count > lines->header_cap) {
		free(lines->headers);
		lines->headers = calloc(count, sizeof *lines->headers);
		lines->header_cap = lines->headers != NULL ? count : 0;
		if (lines->headers == NULL) {
			lines->bytes.failed = true;
			return false;
		}
	}
	for (size_t i = 0; i < count; i++) {
		lines->headers[i].name = slice_of(lines, lines->spans[2 * i]);
		lines->headers[i].value = slice_of(lines, lines->spans[2 * i + 1]);
	}
	msg->headers = lines->headers;
	msg->header_count = (uint32_t)count;
	return true;
}

static bool parse_member(struct tide_lines *lines, struct span *key, struct span *value,
                         struct tide_message *msg)
{
	int64_t partition;
	skip_space(lines);
	if (take_word(lines, "\"key\""))
		return (take(lines, ':') && parse_text(lines, key)) || fail(lines, "expected :");
	if (take_word(lines, "\"value\""))
		return (take(lines, ':') && parse_text(lines, value)) || fail(lines, "expected :");
	if (take_word(lines, "\"headers\""))
		return (take(lines, ':') && parse_headers(lines)) || fail(lines, "expected :");
	if (take_word(lines, "\"timestamp\""))
		return (take(lines, ':') && parse_int(lines, &msg->timestamp_ms)) ||
		       fail(lines, "expected :");
	if (take_word(lines, "\"partition\"")) {
		if (!take(lines, ':') || !parse_int(lines, &partition))
			return fail(lines, "expected :");
		if (partition < 0 || partition > INT32_MAX)
			return fail(lines, "no such partition number");
		msg->partition = (int32_t)partition;
		return true;
	}
	return fail(lines, "unknown field (known: key, value, headers, partition, timestamp)");
}

static bool parse_message(struct tide_lines *lines, struct tide_message *msg)
{
	struct span key = { -1, 0 }, value = { -1, 0 };
	*msg = (struct tide_message){ .partition = -1 };
	tide_buf_clear(&lines->bytes);
	lines->span_count = 0;
	/* So that an empty text has an address and is not taken for null. */
	tide_buf_u8(&lines->bytes, 0);
	if (!take(lines, '{'))
		return fail(lines, "expected {");
	if (!take(lines, '}')) {
		do {
			if (!parse_member(lines, &key, &value, msg))
				return false;
		} while (take(lines, ','));
		if (!take(lines, '}'))
			return fail(lines, "expected , or }");
	}
	skip_space(lines);
	if (lines->p != lines->end)
		return fail(lines, "more text after the record");
	if (lines->bytes.failed || !set_headers(lines, msg))
		return false;
	msg->key = slice_of(lines, key);
	msg->value = slice_of(lines, value);
	return true;
}
