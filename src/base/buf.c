/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes: growing buffers, little-endian codecs, JSON text, whole files. */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the codecs copy little-endian integers as they lie in memory");

enum { BUF_START = 64, DECIMAL_MAX = 20 };

void tide_buf_fini(struct tide_buf *buf)
{
	free(buf->p);
	*buf = (struct tide_buf){ 0 };
}

void tide_buf_clear(struct tide_buf *buf)
{
	buf->len = 0;
	buf->failed = false;
}

bool tide_buf_reserve(struct tide_buf *buf, size_t more)
{
	assert(buf->len <= buf->cap);
	if (buf->failed)
		return false;
	if (more <= buf->cap - buf->len)
		return true;
	if (more > SIZE_MAX / 4 || buf->len > SIZE_MAX / 4) {
		buf->failed = true;
		return false;
	}
	size_t need = buf->len + more;
	size_t cap = buf->cap < BUF_START ? BUF_START : buf->cap;
	while (cap < need)
		cap *= 2;
	char *p = realloc(buf->p, cap);
	if (p == NULL) {
		buf->failed = true;
		return false;
	}
	buf->p = p;
	buf->cap = cap;
	return true;
}

void tide_buf_put(struct tide_buf *buf, const void *p, size_t len)
{
	/* memcpy from NULL is undefined even for nothing. */
	if (!tide_buf_reserve(buf, len) || len == 0)
		return;
	memcpy(buf->p + buf->len, p, len);
	buf->len += len;
}

void tide_buf_printf(struct tide_buf *buf, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	size_t room = buf->cap - buf->len;
	int len = vsnprintf(room > 0 ? buf->p + buf->len : NULL, room, fmt, ap);
	va_end(ap);
	if (len < 0) {
		buf->failed = true;
	} else if (tide_buf_reserve(buf, (size_t)len + 1)) {
		if ((size_t)len >= room)
			vsnprintf(buf->p + buf->len, (size_t)len + 1, fmt, again);
		buf->len += (size_t)len; /* the NUL is not part of it */
	}
	va_end(again);
}

void tide_buf_decimal(struct tide_buf *buf, int64_t v)
{
	char digits[DECIMAL_MAX], *at = digits + sizeof digits;
	uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	do
		*--at = (char)('0' + rest % 10);
	while ((rest /= 10) > 0);
	if (v < 0)
		*--at = '-';
	tide_buf_put(buf, at, (size_t)(digits + sizeof digits - at));
}

void tide_buf_u8(struct tide_buf *buf, uint8_t v)
{
	tide_buf_put(buf, &v, sizeof v);
}

void tide_buf_u32(struct tide_buf *buf, uint32_t v)
{
	tide_buf_put(buf, &v, sizeof v);
}

void tide_buf_u64(struct tide_buf *buf, uint64_t v)
{
	tide_buf_put(buf, &v, sizeof v);
}

void tide_buf_bytes(struct tide_buf *buf, const void *p, size_t len)
{
	if (len > UINT32_MAX) {
		buf->failed = true;
		return;
	}
	tide_buf_u32(buf, (uint32_t)len);
	tide_buf_put(buf, p, len);
}

void tide_buf_str(struct tide_buf *buf, const char *s)
{
	assert(s != NULL);
	tide_buf_bytes(buf, s, strlen(s));
}

size_t tide_utf8_len(const char *bytes, size_t left)
{
	const unsigned char *p = (const unsigned char *)bytes;
	static const struct {
		unsigned char from, to; /* of the first byte */
		unsigned char second_from, second_to;
		unsigned char len;
	} forms[] = {
		{ 0xC2, 0xDF, 0x80, 0xBF, 2 }, { 0xE0, 0xE0, 0xA0, 0xBF, 3 },
		{ 0xE1, 0xEC, 0x80, 0xBF, 3 }, { 0xED, 0xED, 0x80, 0x9F, 3 },
		{ 0xEE, 0xEF, 0x80, 0xBF, 3 }, { 0xF0, 0xF0, 0x90, 0xBF, 4 },
		{ 0xF1, 0xF3, 0x80, 0xBF, 4 }, { 0xF4, 0xF4, 0x80, 0x8F, 4 },
	};
	if (left == 0 || p[0] < 0x80)
		return left > 0;
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		if (p[0] < forms[i].from || p[0] > forms[i].to)
			continue;
		if (left < forms[i].len || p[1] < forms[i].second_from || p[1] > forms[i].second_to)
			return 0;
		for (size_t k = 2; k < forms[i].len; k++)
			if ((p[k] & 0xC0) != 0x80)
				return 0;
		return forms[i].len;
	}
	return 0;
}

size_t tide_utf8_cut(const char *p, size_t len, size_t most)
{
	size_t shown = len < most ? len : most;
	while (shown < len && shown > 0 && ((unsigned char)p[shown] & 0xc0) == 0x80)
		shown--;
	return shown;
}

bool tide_utf8_steers(const char *p, size_t len)
{
	unsigned char first = (unsigned char)p[0];
	if (len == 1)
		return first < 0x20 || first == 0x7F;
	return len == 2 && first == 0xC2 && (unsigned char)p[1] < 0xA0;
}

static void json_escape(struct tide_buf *buf, const char *p, size_t len)
{
	static const char short_of[] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'
	};
	/* Of two bytes, the second is the code. */
	unsigned char c = (unsigned char)p[len - 1];
	char out[2] = { '\\', (char)c };
	if (c < sizeof short_of && short_of[c] != 0)
		out[1] = short_of[c];
	else if (c < 0x20 || c >= 0x7F) {
		tide_buf_printf(buf, "\\u%04x", c);
		return;
	}
	tide_buf_put(buf, out, sizeof out);
}

void tide_buf_json(struct tide_buf *buf, const char *p, size_t len)
{
	tide_buf_put(buf, "\"", 1);
	size_t plain = 0; /* bytes behind `i` that go out as they are */
	size_t i = 0;
	while (i < len) {
		size_t n = tide_utf8_len(p + i, len - i);
		if (n > 0 && p[i] != '"' && p[i] != '\\' && !tide_utf8_steers(p + i, n)) {
			plain += n;
			i += n;
			continue;
		}
		tide_buf_put(buf, p + i - plain, plain);
		plain = 0;
		if (n == 0)
			tide_buf_put(buf, "\xEF\xBF\xBD", 3);
		else
			json_escape(buf, p + i, n);
		i += n + (n == 0);
	}
	tide_buf_put(buf, len > 0 ? p + len - plain : NULL, plain);
	tide_buf_put(buf, "\"", 1);
}

struct tide_reader tide_reader_of(const void *p, size_t len)
{
	/* Adding 0 to NULL is undefined in C11. */
	const char *at = p != NULL ? p : "";
	assert(p != NULL || len == 0);
	return (struct tide_reader){ .p = at, .end = at + len };
}

/* The next `len` bytes, or NULL when there are fewer. */
static const char *reader_take(struct tide_reader *in, size_t len)
{
	if (in->failed || len > (size_t)(in->end - in->p)) {
		in->failed = true;
		return NULL;
	}
	const char *p = in->p;
	in->p += len;
	return p;
}

uint8_t tide_read_u8(struct tide_reader *in)
{
	const char *p = reader_take(in, 1);
	return p != NULL ? (uint8_t)*p : 0;
}

uint32_t tide_read_u32(struct tide_reader *in)
{
	uint32_t v = 0;
	const char *p = reader_take(in, sizeof v);
	if (p != NULL)
		memcpy(&v, p, sizeof v);
	return v;
}

uint64_t tide_read_u64(struct tide_reader *in)
{
	uint64_t v = 0;
	const char *p = reader_take(in, sizeof v);
	if (p != NULL)
		memcpy(&v, p, sizeof v);
	return v;
}

struct tide_slice tide_read_bytes(struct tide_reader *in)
{
	uint32_t len = tide_read_u32(in);
	const char *p = reader_take(in, len);
	return p != NULL ? (struct tide_slice){ p, len } : (struct tide_slice){ "", 0 };
}

char *tide_read_str(struct tide_reader *in)
{
	struct tide_slice s = tide_read_bytes(in);
	if (!in->failed && s.len > 0 && memchr(s.p, '\0', s.len) != NULL)
		in->failed = true; /* not what a put wrote */
	char *out = in->failed ? NULL : malloc(s.len + 1);
	if (out == NULL) {
		in->failed = true;
		return NULL;
	}
	memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return out;
}

/* Reads to the end, or until one byte more than `most` has been seen. */
static int file_drain(int fd, size_t most, struct tide_buf *buf)
{
	for (;;) {
		if (!tide_buf_reserve(buf, 4096))
			return ENOMEM;
		size_t room = buf->cap - buf->len - 1; /* the NUL needs one */
		ssize_t n = read(fd, buf->p + buf->len, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		buf->len += (size_t)n;
		if (n == 0 || buf->len > most)
			return 0;
	}
}

int tide_file_read(const char *path, size_t most, char **p, size_t *len, struct tide_error *err)
{
	struct tide_buf buf = { 0 };
	struct stat st;
	int rc = TIDE_OK;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		rc = tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
		goto out;
	}
	/* A file of known size is read with one allocation. */
	if (S_ISREG(st.st_mode) && (uintmax_t)st.st_size <= most)
		tide_buf_reserve(&buf, (size_t)st.st_size + 4096 + 1);
	int error = file_drain(fd, most, &buf);
	if (error == ENOMEM) {
		rc = tide_fail(err, TIDE_ERR_NOMEM, "%s: no memory to read it", path);
	} else if (error != 0) {
		rc = tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(error));
	} else if (buf.len > most) {
		rc = tide_fail(err, TIDE_ERR_IO, "%s: larger than the %zu bytes allowed", path,
		               most);
	} else {
		buf.p[buf.len] = '\0';
		*p = buf.p;
		*len = buf.len;
		buf = (struct tide_buf){ 0 }; /* Ownership moves to the caller. */
	}
out:
	tide_buf_fini(&buf);
	if (fd >= 0)
		close(fd);
	return rc;
}
