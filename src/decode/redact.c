/* SPDX-License-Identifier: Apache-2.0 */
/* Redaction: values that must not be seen give way to hashes of the same type. */
#include "decode/redact.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "decode/json.h"
#include "decode/json_text.h"

struct tide_redaction {
	uint64_t salt;
	char *text;  /* as given */
	char *split; /* the same, cut into fields */
	int field_count;
	char **fields; /* paths of JSON values */
	bool key, headers;
	int header_count;
	char **header_names;
};

static int add(char ***list, int *count, char *item, struct tide_error *err)
{
	char **grown = realloc(*list, ((size_t)*count + 1) * sizeof(char *));
	if (grown == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for fields");
	*list = grown;
	grown[(*count)++] = item;
	return TIDE_OK;
}

int tide_redaction_new(const char *fields, uint64_t salt, struct tide_redaction **out,
                       struct tide_error *err)
{
	struct tide_redaction *redaction = calloc(1, sizeof *redaction);
	int rc = TIDE_OK;
	if (redaction != NULL) {
		redaction->salt = salt;
		redaction->text = strdup(fields);
		redaction->split = strdup(fields);
	}
	if (redaction == NULL || redaction->text == NULL || redaction->split == NULL) {
		tide_redaction_free(redaction);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for fields");
	}
	char *rest = redaction->split, *field;
	while (rc == TIDE_OK && (field = strsep(&rest, ",")) != NULL) {
		if (field[0] == '\0')
			rc = tide_fail(err, TIDE_ERR_USAGE,
			               "an empty name among the fields to redact: \"%s\"", fields);
		else if (strcmp(field, "key") == 0)
			redaction->key = true;
		else if (strcmp(field, "headers") == 0)
			redaction->headers = true;
		else if (strncmp(field, "header.", 7) == 0)
			rc = add(&redaction->header_names, &redaction->header_count, field + 7,
			         err);
		else
			rc = add(&redaction->fields, &redaction->field_count, field, err);
	}
	if (rc != TIDE_OK) {
		tide_redaction_free(redaction);
		return rc;
	}
	*out = redaction;
	return TIDE_OK;
}

void tide_redaction_free(struct tide_redaction *redaction)
{
	if (redaction == NULL)
		return;
	free(redaction->text);
	free(redaction->split);
	free(redaction->fields);
	free(redaction->header_names);
	free(redaction);
}

const char *tide_redaction_text(const struct tide_redaction *redaction)
{
	return redaction->text;
}

bool tide_redaction_key(const struct tide_redaction *redaction)
{
	return redaction->key;
}

bool tide_redaction_header(const struct tide_redaction *redaction, struct tide_slice name)
{
	for (int i = 0; i < redaction->header_count; i++)
		if (strlen(redaction->header_names[i]) == name.len &&
		    memcmp(redaction->header_names[i], name.p, name.len) == 0)
			return true;
	return redaction->headers;
}

/* ---- hashes ---- */

static void put_text(const struct tide_redaction *redaction, struct tide_slice text,
                     struct tide_buf *out)
{
	tide_buf_printf(out, "x%016" PRIx64, tide_hash(text.p, text.len, redaction->salt));
}

void tide_redact_bytes(const struct tide_redaction *redaction, struct tide_slice bytes,
                       struct tide_buf *out)
{
	put_text(redaction, bytes, out);
}

/* A time stays one, or the job would find none where it looks for it. */
static void put_string(const struct tide_redaction *redaction, struct tide_slice text,
                       struct tide_buf *out)
{
	static const uint64_t from_ms = 946684800000, span_ms = 946684800000; /* 2000 to 2030 */
	enum { DATE_LEN = 10 };
	char time[32];
	int64_t us;
	tide_buf_put(out, "\"", 1);
	if (text.len >= DATE_LEN && tide_clock_parse_us(text.p, text.len, &us) == 0) {
		uint64_t hash = tide_hash(text.p, text.len, redaction->salt);
		tide_clock_format_ms((int64_t)(from_ms + hash % span_ms), time, sizeof time);
		tide_buf_put(out, time, strlen(time));
	} else {
		put_text(redaction, text, out);
	}
	tide_buf_put(out, "\"", 1);
}

/* Fifteen digits: exact in a double, and too many for two numbers to meet. */
static void put_number(const struct tide_redaction *redaction, struct tide_slice text,
                       struct tide_buf *out)
{
	static const uint64_t least = 100000000000000, room = 900000000000000;
	bool fraction = false;
	for (size_t i = 0; i < text.len; i++)
		fraction = fraction || strchr(".eE", text.p[i]) != NULL;
	uint64_t digits = least + tide_hash(text.p, text.len, redaction->salt) % room;
	if (text.p[0] == '-')
		tide_buf_put(out, "-", 1);
	if (fraction)
		tide_buf_printf(out, "%" PRIu64 ".%06" PRIu64, digits / 1000000, digits % 1000000);
	else
		tide_buf_printf(out, "%" PRIu64, digits);
}

/* ---- a document ---- */

struct document {
	const struct tide_redaction *redaction;
	const char *p, *end;
	struct tide_buf path; /* "user.name" */
	struct tide_buf *out;
	int depth;
};

static void blanks(struct document *doc)
{
	const char *from = doc->p;
	while (doc->p < doc->end && strchr(" \t\r\n", *doc->p) != NULL && *doc->p != '\0')
		doc->p++;
	tide_buf_put(doc->out, from, (size_t)(doc->p - from));
}

static bool take(struct document *doc, char c)
{
	if (doc->p == doc->end || *doc->p != c)
		return false;
	doc->p++;
	tide_buf_put(doc->out, &c, 1);
	return true;
}

static bool hidden(const struct document *doc)
{
	for (int i = 0; i < doc->redaction->field_count; i++) {
		const char *field = doc->redaction->fields[i];
		if (strlen(field) == doc->path.len &&
		    memcmp(field, doc->path.p, doc->path.len) == 0)
			return true;
	}
	return false;
}

/* A string, its quotes included; `text` is what it means, appended to `meaning`. */
static bool read_string(struct document *doc, struct tide_slice *raw, struct tide_buf *meaning)
{
	struct tide_json_text text = { 0 };
	const char *from = doc->p;
	if (doc->p == doc->end || *doc->p != '"')
		return false;
	tide_json_text_scan(&text, doc->p + 1, doc->end);
	if (text.end == NULL || !tide_buf_reserve(meaning, (size_t)text.len + 1))
		return false;
	if (text.escaped) {
		int32_t len = tide_json_text_unescape(&text, meaning->p + meaning->len);
		if (len < 0)
			return false;
		meaning->len += (size_t)len;
	} else {
		tide_buf_put(meaning, text.p, (size_t)text.len);
	}
	doc->p = text.end;
	*raw = (struct tide_slice){ from, (size_t)(text.end - from) };
	return true;
}

static bool string(struct document *doc, bool hide)
{
	struct tide_buf meaning = { 0 };
	struct tide_slice raw;
	bool ok = read_string(doc, &raw, &meaning);
	if (ok && hide)
		put_string(doc->redaction, (struct tide_slice){ meaning.p, meaning.len }, doc->out);
	else if (ok)
		tide_buf_put(doc->out, raw.p, raw.len);
	tide_buf_fini(&meaning);
	return ok;
}

static bool word(struct document *doc, const char *name, bool hide)
{
	size_t len = strlen(name);
	if ((size_t)(doc->end - doc->p) < len || memcmp(doc->p, name, len) != 0)
		return false;
	doc->p += len;
	if (hide && name[0] != 'n')
		name = (tide_hash(name, len, doc->redaction->salt) & 1) != 0 ? "true" : "false";
	tide_buf_put(doc->out, name, strlen(name));
	return true;
}

static bool digits(struct document *doc)
{
	const char *from = doc->p;
	while (doc->p < doc->end && *doc->p >= '0' && *doc->p <= '9')
		doc->p++;
	return doc->p > from;
}

static bool skip(struct document *doc, const char *any)
{
	bool there = doc->p < doc->end && *doc->p != '\0' && strchr(any, *doc->p) != NULL;
	doc->p += there;
	return there;
}

static bool number(struct document *doc, bool hide)
{
	const char *from = doc->p;
	skip(doc, "-");
	bool zero = doc->p < doc->end && *doc->p == '0';
	const char *first = doc->p;
	if (!digits(doc) || (zero && doc->p > first + 1) || (skip(doc, ".") && !digits(doc)))
		return false;
	if (skip(doc, "eE")) {
		skip(doc, "+-");
		if (!digits(doc))
			return false;
	}
	struct tide_slice text = { from, (size_t)(doc->p - from) };
	if (hide)
		put_number(doc->redaction, text, doc->out);
	else
		tide_buf_put(doc->out, text.p, text.len);
	return true;
}

static bool value(struct document *doc, bool hide);

/* "name": value. The path is longer meanwhile. */
static bool member(struct document *doc, bool hide)
{
	size_t before = doc->path.len;
	struct tide_slice raw;
	if (before > 0)
		tide_buf_put(&doc->path, ".", 1);
	bool ok = read_string(doc, &raw, &doc->path) && !doc->path.failed;
	if (ok)
		tide_buf_put(doc->out, raw.p, raw.len);
	bool below = ok && (hide || hidden(doc));
	if (ok) {
		blanks(doc);
		ok = take(doc, ':') && value(doc, below);
	}
	doc->path.len = before;
	return ok;
}

/* What stands between brackets, with commas. */
static bool list(struct document *doc, char close, bool hide)
{
	blanks(doc);
	if (take(doc, close))
		return true;
	do {
		blanks(doc);
		if (close == '}' ? !member(doc, hide) : !value(doc, hide))
			return false;
		blanks(doc);
	} while (take(doc, ','));
	return take(doc, close);
}

static bool value(struct document *doc, bool hide)
{
	bool ok = false;
	blanks(doc);
	if (doc->p == doc->end || ++doc->depth > TIDE_JSON_DEPTH_MAX)
		return false;
	switch (*doc->p) {
	case '{': ok = take(doc, '{') && list(doc, '}', hide); break;
	case '[': ok = take(doc, '[') && list(doc, ']', hide); break;
	case '"': ok = string(doc, hide); break;
	case 't': ok = word(doc, "true", hide); break;
	case 'f': ok = word(doc, "false", hide); break;
	case 'n': ok = word(doc, "null", hide); break;
	default: ok = number(doc, hide);
	}
	doc->depth--;
	return ok;
}

void tide_redact_value(const struct tide_redaction *redaction, struct tide_slice bytes,
                       struct tide_buf *out)
{
	struct document doc = {
		.redaction = redaction,
		.p = bytes.p,
		.end = bytes.p + bytes.len,
		.out = out,
	};
	size_t before = out->len;
	assert(bytes.p != NULL);
	if (redaction->field_count == 0) {
		tide_buf_put(out, bytes.p, bytes.len);
		return;
	}
	blanks(&doc);
	/* Alone, a text or a number has no name that could be looked for. */
	bool ok = doc.p < doc.end && (*doc.p == '{' || *doc.p == '[') && value(&doc, false);
	if (ok)
		blanks(&doc);
	tide_buf_fini(&doc.path);
	if (ok && doc.p == doc.end)
		return;
	out->len = before;
	tide_buf_printf(out, "redacted ");
	put_text(redaction, bytes, out);
}
