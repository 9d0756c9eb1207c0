/* SPDX-License-Identifier: Apache-2.0 */
/* What an error about a record speaks of, beside it. */
#include "run/evidence.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 4 * 1024 * 1024, SHOWN_MAX = 160, KEY_MAX = 40, VALUE_MAX = 80 };

static const char record_front[] = "\nrecord | ";

/* As JSON, so that it cannot drive a terminal; cut between two characters. */
static void put_view(struct tide_buf *out, const char *name, const struct tide_view *view,
                     size_t most)
{
	const char *p = (const char *)(uintptr_t)view->addr_;
	if (view->len_ < 0) {
		tide_buf_printf(out, "%s null", name);
		return;
	}
	size_t len = (size_t)view->len_, shown = tide_utf8_cut(p, len, most);
	tide_buf_printf(out, "%s ", name);
	tide_buf_json(out, p, shown);
	if (shown < len)
		tide_buf_printf(out, "... (%zu bytes)", len);
}

void tide_evidence_record(const struct tide_rec *rec, char out[TIDE_EVIDENCE_MAX])
{
	struct tide_buf text = { 0 };
	out[0] = '\0';
	/* Of what waited behind a dedup only its row is left. */
	if (rec->key_.len_ < 0 && rec->value_.len_ < 0)
		return;
	put_view(&text, "key", &rec->key_, KEY_MAX);
	tide_buf_put(&text, ", ", 2);
	put_view(&text, "value", &rec->value_, VALUE_MAX);
	if (!text.failed)
		snprintf(out, TIDE_EVIDENCE_MAX, "%.*s", (int)text.len, text.p);
	tide_buf_fini(&text);
}

void tide_evidence_add_record(const char *shown, struct tide_error *err)
{
	size_t used = strlen(err->text);
	if (shown[0] != '\0')
		snprintf(err->text + used, sizeof err->text - used, "%s%s", record_front, shown);
}

static void drop_record(struct tide_error *err)
{
	char *from = strstr(err->text, record_front);
	const char *to = from != NULL ? strchr(from + 1, '\n') : NULL;
	if (to != NULL)
		memmove(from, to, strlen(to) + 1);
	else if (from != NULL)
		*from = '\0';
}

static bool line_of(struct tide_slice text, long number, struct tide_slice *line)
{
	const char *at = text.p, *end = text.p + text.len;
	for (long i = 1; at != NULL && at < end; i++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((newline != NULL ? newline : end) - at);
		*line = (struct tide_slice){ at, len };
		if (i == number)
			return true;
		at = newline != NULL ? newline + 1 : NULL;
	}
	return false;
}

static void append(struct tide_error *err, const char *front, struct tide_slice line)
{
	size_t used = strlen(err->text);
	size_t len = line.len > 0 && line.p[line.len - 1] == '\r' ? line.len - 1 : line.len;
	size_t shown = tide_utf8_cut(line.p, len, SHOWN_MAX);
	snprintf(err->text + used, sizeof err->text - used, "\n%s%.*s%s", front, (int)shown, line.p,
	         shown < len ? "..." : "");
}

/* The number behind `before`, if there is one and then a colon. */
static bool number_behind(const char *text, const char *before, long *number)
{
	const char *at = text;
	while ((at = strstr(at, before)) != NULL) {
		char *end;
		at += strlen(before);
		*number = strtol(at, &end, 10);
		if (end != at && *end == ':' && *number > 0)
			return true;
	}
	return false;
}

static void add_source(const char *path, struct tide_error *err)
{
	char before[4100], front[32], *text = NULL;
	long number;
	size_t size = 0;
	struct tide_slice line;
	snprintf(before, sizeof before, "%.4096s:", path);
	if (!number_behind(err->text, before, &number))
		return;
	snprintf(front, sizeof front, "%6ld | ", number);
	if (strstr(err->text, front) != NULL ||
	    tide_file_read(path, FILE_BYTES_MAX, &text, &size, NULL) != TIDE_OK)
		return;
	if (line_of((struct tide_slice){ text, size }, number, &line))
		append(err, front, line);
	free(text);
}

void tide_evidence_add(const struct tide_plan *plan, struct tide_slice sample,
                       struct tide_error *err)
{
	assert(err != NULL);
	char front[48];
	long number;
	struct tide_slice line;
	bool record = sample.p != NULL && number_behind(err->text, "]@", &number) &&
	              line_of(sample, number, &line);
	if (record)
		drop_record(err);
	for (int i = 0; plan != NULL && i < plan->file_count; i++)
		add_source(plan->files[i], err);
	if (!record)
		return;
	snprintf(front, sizeof front, "line %ld of the sample: ", number);
	append(err, front, line);
}
