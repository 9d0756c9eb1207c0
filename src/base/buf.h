/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes: a slice that borrows, a buffer that grows, and little-endian codecs. */
#ifndef TIDE_BASE_BUF_H
#define TIDE_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct tide_slice {
	const char *p;
	size_t len;
};

/* All zeroes is an empty buffer. Running out of memory sets `failed` and
 * later puts do nothing, so a writer checks once, at its end. */
struct tide_buf {
	char *p;
	size_t len, cap;
	bool failed;
};

void tide_buf_fini(struct tide_buf *buf);
void tide_buf_clear(struct tide_buf *buf); /* keeps the memory */
bool tide_buf_reserve(struct tide_buf *buf, size_t more);
void tide_buf_put(struct tide_buf *buf, const void *p, size_t len);
void tide_buf_printf(struct tide_buf *buf, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void tide_buf_decimal(struct tide_buf *buf, int64_t v);
void tide_buf_u8(struct tide_buf *buf, uint8_t v);
void tide_buf_u32(struct tide_buf *buf, uint32_t v);
void tide_buf_u64(struct tide_buf *buf, uint64_t v);
/* A length and then the bytes. */
void tide_buf_bytes(struct tide_buf *buf, const void *p, size_t len);
void tide_buf_str(struct tide_buf *buf, const char *s);
/* Text as a JSON string with quotes; invalid UTF-8 becomes U+FFFD, and only
 * printable characters appear. */
void tide_buf_json(struct tide_buf *buf, const char *p, size_t len);

/* Bytes of the UTF-8 character at p, of which there are `left`, or 0 when there is
 * none: too short, too long a form, a surrogate, or beyond U+10FFFF. */
size_t tide_utf8_len(const char *p, size_t left);
/* How much of a text to show of at most so much, so that no character is cut. */
size_t tide_utf8_cut(const char *p, size_t len, size_t most);
/* Of these bytes: a character that steers a terminal, alone or as the first of a
 * sequence: C0, DEL, and C1, which a terminal takes in UTF-8 too. */
bool tide_utf8_steers(const char *p, size_t len);

/* Reads what the puts wrote. Reading past the end sets `failed` and gives
 * zeroes, so a reader checks once too. */
struct tide_reader {
	const char *p, *end;
	bool failed;
};

struct tide_reader tide_reader_of(const void *p, size_t len);
uint8_t tide_read_u8(struct tide_reader *in);
uint32_t tide_read_u32(struct tide_reader *in);
uint64_t tide_read_u64(struct tide_reader *in);
struct tide_slice tide_read_bytes(struct tide_reader *in);
char *tide_read_str(struct tide_reader *in); /* malloc'd, NUL-terminated */

/* A whole file, at most `most` bytes; *p is malloc'd with a NUL behind it. */
int tide_file_read(const char *path, size_t most, char **p, size_t *len, struct tide_error *err);

#endif
