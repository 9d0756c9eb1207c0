/* SPDX-License-Identifier: Apache-2.0 */
/* Cells as text: numbers, times, and text that must not do harm where it lands. */
#include "sink/cells.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static const char REPLACEMENT[] = "\xEF\xBF\xBD"; /* U+FFFD */

/* The next character of p[0, len); returns its bytes. Invalid UTF-8 is one byte
 * and U+FFFD. */
static size_t utf8_next(const char *p, size_t len, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *s = (const unsigned char *)p;
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
	uint32_t value = n == 1 ? s[0] : s[0] & (0x7Fu >> n);
	if (s[0] >= 0xF8 || (s[0] >= 0x80 && s[0] < 0xC2) || n > len)
		goto bad;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xC0) != 0x80)
			goto bad;
		value = value << 6 | (s[i] & 0x3F);
	}
	if (value < least[n] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
		goto bad;
	*code = value;
	return n;
bad:
	*code = 0xFFFD;
	return 1;
}

static bool is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7F && code < 0xA0);
}

/* Columns on a terminal, as Spark counts them: East Asian wide characters and
 * everything beyond the basic plane take two. */
static size_t width_of(uint32_t code)
{
	static const struct {
		uint32_t from, to;
	} wide[] = { { 0x1100, 0x115F }, { 0x2E80, 0xA4CF }, { 0xAC00, 0xD7A3 },
		     { 0xF900, 0xFAFF }, { 0xFE10, 0xFE19 }, { 0xFE30, 0xFE6F },
		     { 0xFF00, 0xFF60 }, { 0xFFE0, 0xFFE6 }, { 0x10000, 0x10FFFF } };
	for (size_t i = 0; code >= wide[0].from && i < sizeof wide / sizeof wide[0]; i++)
		if (code >= wide[i].from && code <= wide[i].to)
			return 2;
	return 1;
}

/* A number's digits, the first of which is not 0, with a point behind the first, times
 * ten to the power of `exponent`. */
struct digits {
	char text[20];
	int count, exponent;
};

static void digits_trim(struct digits *out)
{
	while (out->count > 1 && out->text[out->count - 1] == '0')
		out->count--;
}

/* Most numbers have few decimals. What at most 15 digits say is read back as the same
 * double by one division, as both its sides are exact; no other so short text is. */
static bool digits_few(double value, struct digits *out)
{
	static const double tens[] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9 };
	static const double most = 1e15;
	char reversed[sizeof out->text];
	int decimals = 0, count = 0;
	int64_t whole;
	while ((double)(whole = (int64_t)(value * tens[decimals] + 0.5)) / tens[decimals] != value)
		if (++decimals == (int)(sizeof tens / sizeof *tens) ||
		    value * tens[decimals] >= most)
			return false;
	for (; whole > 0; whole /= 10)
		reversed[count++] = (char)('0' + whole % 10);
	for (int i = 0; i < count; i++)
		out->text[i] = reversed[count - 1 - i];
	out->count = count;
	out->exponent = count - 1 - decimals;
	return true;
}

/* The fewest significant digits that read back as the same double. What 15
 * digits can say, fewer can say too once trailing zeroes are dropped; below the
 * normal range that no longer holds. */
static void digits_many(double value, struct digits *out)
{
	char text[40];
	int count = value < 2.2250738585072014e-308 ? 2 : 15;
	for (;; count++) {
		snprintf(text, sizeof text, "%.*e", count - 1, value);
		if (count == 17 || strtod(text, NULL) == value)
			break;
	}
	/* d.ddde±xx; the point may be a locale's. */
	out->text[0] = text[0];
	memcpy(out->text + 1, text + 2, (size_t)count - 1);
	out->count = count;
	out->exponent = atoi(strchr(text, 'e') + 1);
}

static void put_digits(struct tide_buf *out, const struct digits *digits)
{
	static const char zeros[] = "0000000";
	size_t count = (size_t)digits->count;
	int exponent = digits->exponent;
	if (exponent < -3 || exponent >= 7) {
		tide_buf_put(out, digits->text, 1);
		tide_buf_put(out, ".", 1);
		tide_buf_put(out, count > 1 ? digits->text + 1 : zeros, count > 1 ? count - 1 : 1);
		tide_buf_put(out, "E", 1);
		tide_buf_decimal(out, exponent);
	} else if (exponent < 0) {
		tide_buf_put(out, "0.", 2);
		tide_buf_put(out, zeros, (size_t)(-exponent - 1));
		tide_buf_put(out, digits->text, count);
	} else {
		size_t whole = (size_t)exponent + 1, there = count < whole ? count : whole;
		tide_buf_put(out, digits->text, there);
		tide_buf_put(out, zeros, whole - there);
		tide_buf_put(out, ".", 1);
		tide_buf_put(out, count > whole ? digits->text + whole : zeros,
		             count > whole ? count - whole : 1);
	}
}

void tide_cell_double(struct tide_buf *out, double value)
{
	struct digits digits;
	if (isnan(value) || isinf(value)) {
		const char *name = isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
		tide_buf_put(out, name, strlen(name));
		return;
	}
	if (signbit(value))
		tide_buf_put(out, "-", 1);
	value = fabs(value);
	if (value == 0) {
		tide_buf_put(out, "0.0", 3);
		return;
	}
	if (value < 1e-3 || value >= 1e15 || !digits_few(value, &digits))
		digits_many(value, &digits);
	digits_trim(&digits);
	put_digits(out, &digits);
}

/* Date and time of day up to the microseconds, six decimals of the second; the length. */
static size_t time_text(int64_t us, char *out, size_t size)
{
	int64_t ms = us / 1000, rest = us % 1000;
	if (rest < 0) {
		rest += 1000;
		ms--;
	}
	tide_clock_format_ms(ms, out, size);
	char *z = out + strlen(out) - 1;
	for (int i = 2; i >= 0; i--, rest /= 10)
		z[i] = (char)('0' + rest % 10);
	return (size_t)(z - out) + 3;
}

static void show_time(struct tide_buf *out, int64_t us)
{
	char text[48];
	size_t len = time_text(us, text, sizeof text);
	while (text[len - 1] == '0')
		len--;
	len -= text[len - 1] == '.';
	*strchr(text, 'T') = ' ';
	tide_buf_put(out, text, len);
}

static void iso_time(struct tide_buf *out, int64_t us)
{
	char text[48];
	size_t len = time_text(us, text, sizeof text);
	tide_buf_put(out, text, us % 1000 == 0 ? len - 3 : len);
	tide_buf_put(out, "Z", 1);
}

static void base64(struct tide_buf *out, const char *p, size_t len)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *s = (const unsigned char *)p;
	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)s[i] << 16;
		if (i + 1 < len)
			v |= (uint32_t)s[i + 1] << 8;
		if (i + 2 < len)
			v |= s[i + 2];
		char four[4] = { letters[v >> 18], letters[v >> 12 & 63],
			         i + 1 < len ? letters[v >> 6 & 63] : '=',
			         i + 2 < len ? letters[v & 63] : '=' };
		tide_buf_put(out, four, 4);
	}
}

/* Values that need no care: false if the cell is text or bytes. */
static bool put_plain(struct tide_buf *out, enum tide_type type, struct tide_cell cell)
{
	if (type == TIDE_INT)
		tide_buf_decimal(out, cell.i);
	else if (type == TIDE_DOUBLE)
		tide_cell_double(out, cell.d);
	else if (type == TIDE_BOOL)
		tide_buf_put(out, cell.i != 0 ? "true" : "false", cell.i != 0 ? 4 : 5);
	else
		return false;
	return true;
}

/* One character as it may be shown, in plain ASCII if it is a control. Returns
 * the bytes written to `shown`, which holds 8. */
static size_t shown_char(const char *p, size_t n, uint32_t code, char *shown)
{
	static const char named[] = "\a\b\t\n\v\f\r";
	static const char letters[] = "abtnvfr";
	const char *name = code < 0x20 && code != 0 ? strchr(named, (int)code) : NULL;
	if (name != NULL) {
		shown[0] = '\\';
		shown[1] = letters[name - named];
		return 2;
	}
	if (is_control(code))
		return (size_t)snprintf(shown, 8, "\\x%02X", (unsigned)code);
	if (code == 0xFFFD) {
		memcpy(shown, REPLACEMENT, 3);
		return 3;
	}
	memcpy(shown, p, n);
	return n;
}

/* Text under way into a grid cell. */
struct showing {
	struct tide_buf *out;
	size_t chars, width;
	size_t chars_max, keep;      /* cut beyond chars_max, then keep so many */
	size_t kept_len, kept_width; /* how far those reach */
};

/* False when it is clear that the text will be cut. */
static bool show_char(struct showing *show, const char *p, size_t n, size_t width)
{
	if (show->chars == show->keep) {
		show->kept_len = show->out->len;
		show->kept_width = show->width;
	}
	if (show->chars_max > 0 && show->chars == show->chars_max)
		return false;
	tide_buf_put(show->out, p, n);
	show->chars++;
	show->width += width;
	return true;
}

static size_t show_cut(struct showing *show)
{
	show->out->len = show->kept_len;
	if (show->chars_max < 4) /* Spark shows no dots where they would be all. */
		return show->kept_width;
	tide_buf_put(show->out, "...", 3);
	return show->kept_width + 3;
}

static struct showing show_start(struct tide_buf *out, size_t chars_max)
{
	size_t keep = chars_max < 4 ? chars_max : chars_max - 3;
	return (struct showing){ .out = out, .chars_max = chars_max, .keep = keep };
}

size_t tide_cell_show_text(struct tide_buf *out, const char *p, size_t len, size_t chars_max)
{
	struct showing show = show_start(out, chars_max);
	while (len > 0) {
		uint32_t code;
		char shown[8];
		size_t n = utf8_next(p, len, &code);
		size_t size = shown_char(p, n, code, shown);
		bool escaped = is_control(code);
		p += n;
		len -= n;
		for (size_t i = 0; escaped && i < size; i++)
			if (!show_char(&show, shown + i, 1, 1))
				return show_cut(&show);
		if (!escaped && !show_char(&show, shown, size, width_of(code)))
			return show_cut(&show);
	}
	return show.width;
}

static size_t show_bytes(struct tide_buf *out, const char *p, size_t len, size_t chars_max)
{
	struct showing show = show_start(out, chars_max);
	bool fits = show_char(&show, "[", 1, 1);
	for (size_t i = 0; fits && i < len; i++) {
		char hex[4];
		snprintf(hex, sizeof hex, "%02X ", (unsigned)(unsigned char)p[i]);
		for (int k = 0; fits && k < (i + 1 < len ? 3 : 2); k++)
			fits = show_char(&show, hex + k, 1, 1);
	}
	fits = fits && show_char(&show, "]", 1, 1);
	return fits ? show.width : show_cut(&show);
}

size_t tide_cell_show(struct tide_buf *out, enum tide_type type, struct tide_cell cell,
                      size_t chars_max)
{
	struct tide_buf plain = { 0 };
	size_t width;
	if (cell.len < 0)
		return tide_cell_show_text(out, "null", 4, chars_max);
	if (type == TIDE_STRING)
		return tide_cell_show_text(out, cell.p, (size_t)cell.len, chars_max);
	if (type == TIDE_BYTES)
		return show_bytes(out, cell.p, (size_t)cell.len, chars_max);
	if (!put_plain(&plain, type, cell))
		show_time(&plain, cell.i);
	width = tide_cell_show_text(out, plain.p, plain.len, chars_max);
	out->failed = out->failed || plain.failed;
	tide_buf_fini(&plain);
	return width;
}

void tide_cell_json_text(struct tide_buf *out, const char *p, size_t len)
{
	size_t plain = 0; /* bytes behind p that go out as they are */
	tide_buf_put(out, "\"", 1);
	while (len > 0) {
		uint32_t code;
		size_t n = utf8_next(p, len, &code);
		bool valid = code != 0xFFFD || n == 3;
		if (valid && !is_control(code) && code != '"' && code != '\\') {
			plain += n;
		} else {
			tide_buf_put(out, p - plain, plain);
			plain = 0;
			if (!valid)
				tide_buf_put(out, REPLACEMENT, 3);
			else if (code == '"' || code == '\\')
				tide_buf_printf(out, "\\%c", (int)code);
			else if (code == '\n' || code == '\r' || code == '\t')
				tide_buf_printf(out, "\\%c",
				                code == '\n'   ? 'n'
				                : code == '\r' ? 'r'
				                               : 't');
			else
				tide_buf_printf(out, "\\u%04x", (unsigned)code);
		}
		p += n;
		len -= n;
	}
	tide_buf_put(out, plain > 0 ? p - plain : "", plain);
	tide_buf_put(out, "\"", 1);
}

void tide_cell_json(struct tide_buf *out, enum tide_type type, struct tide_cell cell)
{
	bool number = type != TIDE_DOUBLE || isfinite(cell.d);
	if (cell.len < 0 || !number) {
		tide_buf_put(out, "null", 4);
	} else if (type == TIDE_STRING) {
		tide_cell_json_text(out, cell.p, (size_t)cell.len);
	} else if (!put_plain(out, type, cell)) {
		tide_buf_put(out, "\"", 1);
		if (type == TIDE_BYTES)
			base64(out, cell.p, (size_t)cell.len);
		else
			iso_time(out, cell.i);
		tide_buf_put(out, "\"", 1);
	}
}

static bool csv_needs_quotes(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] == ',' || p[i] == '"' || p[i] == '\n' || p[i] == '\r')
			return true;
	return len == 0 || p[0] == ' ' || p[len - 1] == ' ';
}

void tide_cell_csv_text(struct tide_buf *out, const char *p, size_t len, bool terminal)
{
	bool quotes = csv_needs_quotes(p, len);
	if (quotes)
		tide_buf_put(out, "\"", 1);
	while (len > 0) {
		uint32_t code;
		size_t n = utf8_next(p, len, &code);
		if (code == 0xFFFD)
			tide_buf_put(out, REPLACEMENT, 3);
		else if (code == '"')
			tide_buf_put(out, "\"\"", 2);
		else if (!terminal || code == '\n' || !is_control(code))
			tide_buf_put(out, p, n);
		p += n;
		len -= n;
	}
	if (quotes)
		tide_buf_put(out, "\"", 1);
}

void tide_cell_csv(struct tide_buf *out, enum tide_type type, struct tide_cell cell, bool terminal)
{
	if (cell.len < 0)
		return;
	if (type == TIDE_STRING)
		tide_cell_csv_text(out, cell.p, (size_t)cell.len, terminal);
	else if (type == TIDE_BYTES)
		base64(out, cell.p, (size_t)cell.len);
	else if (!put_plain(out, type, cell))
		iso_time(out, cell.i);
}
