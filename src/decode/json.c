/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON scan: one pass, an explicit stack, no tree and no recursion. */
#include "decode/json.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "decode/json_number.h"
#include "decode/json_spec.h"
#include "decode/json_text.h"

/* From here on a number that is a timestamp counts milliseconds, not seconds:
 * 1e11 seconds are the year 5138, 1e11 milliseconds March 1973. */
static const int64_t epoch_ms_from = 100000000000;

/* An open object or array. */
struct frame {
	const struct tide_json_slot *first, *last; /* wanted names; both NULL: none */
	const struct tide_json_slot *expect;       /* which probably comes next */
	bool array;
};

/* One document under way. Functions return where they stopped, or NULL with
 * `bad` set. A cell whose value is missing or wrong is null, and until the end
 * holds the reason in `spare` and the place in `i`. */
struct scan {
	const struct tide_json_spec *spec;
	const char *doc, *end;
	struct tide_arena *arena;
	struct tide_cell *cells;
	const char *bad_at, *bad;
	bool nomem;
};

static const char *fail_at(struct scan *scan, const char *at, const char *bad)
{
	scan->bad_at = at;
	scan->bad = bad;
	return NULL;
}

static const char *fail_memory(struct scan *scan)
{
	scan->nomem = true;
	return NULL;
}

static inline char peek(const struct scan *scan, const char *p)
{
	return p < scan->end ? *p : '\0'; /* NUL is nothing that JSON expects */
}

static inline const char *skip_blanks(const struct scan *scan, const char *p)
{
	while (p < scan->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

static inline void cell_null(const struct scan *scan, int32_t field, enum tide_scan why,
                             const char *at)
{
	struct tide_cell *cell = &scan->cells[field];
	cell->i = at - scan->doc;
	cell->len = -1;
	cell->spare = (int32_t)why;
}

static inline void cell_set(struct tide_cell *cell, int32_t len)
{
	cell->len = len;
	cell->spare = TIDE_SCAN_OK;
}

static inline void cell_text(const struct scan *scan, int32_t field, const char *p, int32_t len)
{
	scan->cells[field].p = p;
	cell_set(&scan->cells[field], len);
}

/* Every field of a slot has the wrong type, or is null. */
static void slot_null(const struct scan *scan, const struct tide_json_slot *slot,
                      enum tide_scan why, const char *at)
{
	for (int32_t f = slot->field; f >= 0; f = scan->spec->next[f])
		cell_null(scan, f, why, at);
}

static enum tide_scan time_of_number(const struct tide_json_number *number, int64_t *us)
{
	int64_t whole;
	enum tide_scan rc = tide_json_number_int(number, 0, true, &whole);
	if (rc != TIDE_SCAN_OK)
		return rc;
	bool ms = whole >= epoch_ms_from || whole <= -epoch_ms_from;
	return tide_json_number_int(number, ms ? 3 : 6, true, us);
}

static void store_number(struct scan *scan, const struct tide_json_slot *slot,
                         const struct tide_json_number *number)
{
	for (int32_t f = slot->field; f >= 0; f = scan->spec->next[f]) {
		struct tide_cell *cell = &scan->cells[f];
		enum tide_scan rc = TIDE_SCAN_TYPE;
		cell_set(cell, 0);
		switch (scan->spec->fields[f].type) {
		case TIDE_INT: rc = tide_json_number_int(number, 0, false, &cell->i); break;
		case TIDE_DOUBLE:
			rc = tide_json_number_double(number, scan->spec->c_locale, scan->arena,
			                             &cell->d);
			break;
		case TIDE_TIMESTAMP: rc = time_of_number(number, &cell->i); break;
		case TIDE_STRING: cell_text(scan, f, number->p, number->len); continue;
		default: break;
		}
		if ((int)rc == TIDE_JSON_NOMEM)
			scan->nomem = true;
		if (rc != TIDE_SCAN_OK)
			cell_null(scan, f, rc, number->p);
	}
}

static const char *scan_number(struct scan *scan, const char *p, const struct tide_json_slot *slot)
{
	struct tide_json_number number;
	const char *end = tide_json_number_scan(&number, p, scan->end);
	if (end == NULL)
		return fail_at(scan, p, "expected a number");
	if (slot != NULL)
		store_number(scan, slot, &number);
	return scan->nomem ? NULL : end;
}

/* The string at `p`, unescaped. A wanted one that had escapes moves to the arena. */
static inline const char *read_text(struct scan *scan, const char *p, bool wanted, const char **out,
                                    int32_t *len)
{
	struct tide_json_text text;
	tide_json_text_scan(&text, p + 1, scan->end);
	if (text.end == NULL)
		return fail_at(scan, text.bad_at, text.bad);
	*out = text.p;
	*len = text.len;
	if (!text.escaped)
		return text.end;
	char *plain = tide_arena_text(scan->arena, (size_t)text.len);
	if (plain == NULL)
		return fail_memory(scan);
	*len = tide_json_text_unescape(&text, plain);
	*out = plain;
	tide_arena_trim(scan->arena, wanted && *len > 0 ? plain + *len : plain);
	return *len < 0 ? fail_at(scan, text.bad_at, text.bad) : text.end;
}

static const char *scan_string(struct scan *scan, const char *p, const struct tide_json_slot *slot)
{
	const char *text;
	int32_t len;
	const char *end = read_text(scan, p, slot != NULL && slot->field >= 0, &text, &len);
	if (end == NULL || slot == NULL)
		return end;
	for (int32_t f = slot->field; f >= 0; f = scan->spec->next[f]) {
		uint8_t type = scan->spec->fields[f].type;
		struct tide_cell *cell = &scan->cells[f];
		if (type == TIDE_STRING || type == TIDE_BYTES)
			cell_text(scan, f, text, len);
		else if (type == TIDE_TIMESTAMP &&
		         tide_clock_parse_us(text, (size_t)len, &cell->i) == 0)
			cell_set(cell, 0);
		else
			cell_null(scan, f, TIDE_SCAN_TYPE, p);
	}
	return end;
}

static const char *scan_literal(struct scan *scan, const char *p, const struct tide_json_slot *slot)
{
	ptrdiff_t left = scan->end - p;
	int32_t len = 4;
	if (left >= 5 && memcmp(p, "false", 5) == 0)
		len = 5;
	else if (left < 4 || (memcmp(p, "true", 4) != 0 && memcmp(p, "null", 4) != 0))
		return fail_at(scan, p, "expected a value");
	if (slot == NULL)
		return p + len;
	if (*p == 'n') {
		slot_null(scan, slot, TIDE_SCAN_MISSING, p);
		return p + len;
	}
	for (int32_t f = slot->field; f >= 0; f = scan->spec->next[f]) {
		uint8_t type = scan->spec->fields[f].type;
		if (type == TIDE_STRING) {
			cell_text(scan, f, p, len);
		} else if (type == TIDE_BOOL) {
			scan->cells[f].i = *p == 't';
			cell_set(&scan->cells[f], 0);
		} else {
			cell_null(scan, f, TIDE_SCAN_TYPE, p);
		}
	}
	return p + len;
}

/* The slot of the name at `p`, if the hint is right and the name short enough
 * to be compared at once. */
static inline const struct tide_json_slot *guess_slot(const struct scan *scan,
                                                      const struct frame *top, const char *p)
{
	const struct tide_json_slot *slot = top->expect;
	if (slot == top->last)
		return NULL;
	if (!slot->plain || scan->end - p < slot->name_len + 10)
		return NULL;
	if ((tide_json_head(p + 1) & slot->head_mask) != slot->head || p[slot->name_len + 1] != '"')
		return NULL;
	if (slot->name_len > 8 && memcmp(p + 9, slot->name + 8, (size_t)slot->name_len - 8) != 0)
		return NULL;
	return slot;
}

/* "name" : in an object. The slot it belongs to, or NULL if nobody wants it. */
static const char *scan_name(struct scan *scan, const char *p, struct frame *top,
                             const struct tide_json_slot **found)
{
	if (peek(scan, p) != '"')
		return fail_at(scan, p, "expected a name in quotes");
	const struct tide_json_slot *slot = guess_slot(scan, top, p);
	if (slot != NULL) {
		p += slot->name_len + 2;
	} else {
		const char *name;
		int32_t len;
		p = read_text(scan, p, false, &name, &len);
		if (p == NULL)
			return NULL;
		slot = tide_json_slot_find(top->first, top->last, top->expect, name, len);
	}
	p = skip_blanks(scan, p);
	if (peek(scan, p) != ':')
		return fail_at(scan, p, "expected ':'");
	if (slot != NULL) {
		top->expect = slot + 1;
		for (int32_t i = 0; i < slot->under_count; i++)
			cell_null(scan, scan->spec->under[slot->under_first + i], TIDE_SCAN_MISSING,
			          p);
	}
	*found = slot;
	return skip_blanks(scan, p + 1);
}

static const char *scan_scalar(struct scan *scan, const char *p, const struct tide_json_slot *slot)
{
	char c = peek(scan, p);
	if (c == '"')
		return scan_string(scan, p, slot);
	if ((c >= '0' && c <= '9') || c == '-')
		return scan_number(scan, p, slot);
	return scan_literal(scan, p, slot);
}

static void frame_want(struct frame *frame, const struct tide_json_spec *spec, int32_t node)
{
	frame->first = frame->expect = spec->slots + spec->nodes[node].first;
	frame->last = frame->first + spec->nodes[node].count;
}

/* `p` is at a bracket that opens: what is wanted inside. */
static struct frame frame_of(const struct scan *scan, const char *p,
                             const struct tide_json_slot *slot)
{
	struct frame frame = { .array = *p == '[' };
	if (slot != NULL) {
		slot_null(scan, slot, TIDE_SCAN_TYPE, p);
		if (*p == '{' && slot->node >= 0)
			frame_want(&frame, scan->spec, slot->node);
	}
	return frame;
}

/* Behind a value: closes what ends here. Returns the start of the next value or
 * name, or the end of the document with *depth 0. */
static const char *scan_after(struct scan *scan, const char *p, const struct frame *stack,
                              int *depth)
{
	while (*depth > 0) {
		bool array = stack[*depth - 1].array;
		p = skip_blanks(scan, p);
		char c = peek(scan, p);
		if (c == ',')
			return skip_blanks(scan, p + 1);
		if (c != (array ? ']' : '}'))
			return fail_at(scan, p,
			               array ? "expected ',' or ']'" : "expected ',' or '}'");
		p++;
		--*depth;
	}
	p = skip_blanks(scan, p);
	return p == scan->end ? p : fail_at(scan, p, "expected nothing more");
}

static bool scan_document(struct scan *scan)
{
	struct frame stack[TIDE_JSON_DEPTH_MAX];
	int depth = 1;
	const char *p = skip_blanks(scan, scan->doc);
	if (peek(scan, p) != '{')
		return fail_at(scan, p, "expected '{'") != NULL;
	stack[0] = (struct frame){ .array = false };
	frame_want(&stack[0], scan->spec, 0);
	p = skip_blanks(scan, p + 1);
	if (peek(scan, p) == '}')
		p = scan_after(scan, p, stack, &depth);
	while (p != NULL && depth > 0) {
		const struct tide_json_slot *slot = NULL;
		if (!stack[depth - 1].array) {
			p = scan_name(scan, p, &stack[depth - 1], &slot);
			if (p == NULL)
				break;
		}
		char c = peek(scan, p);
		if (c == '{' || c == '[') {
			if (depth == TIDE_JSON_DEPTH_MAX)
				return fail_at(scan, p, "nested too deep") != NULL;
			stack[depth++] = frame_of(scan, p, slot);
			p = skip_blanks(scan, p + 1);
			if (peek(scan, p) != (c == '{' ? '}' : ']'))
				continue;
		} else {
			p = scan_scalar(scan, p, slot);
		}
		if (p != NULL)
			p = scan_after(scan, p, stack, &depth);
	}
	return p != NULL;
}

/* The value at `at` as it shall stand in a message: short, on one line. */
static void snippet(const struct scan *scan, int32_t at, char *out, size_t size)
{
	const char *p = scan->doc + at, *end = scan->end;
	size_t n = 0;
	if (*p == '{' || *p == '[') {
		snprintf(out, size, *p == '{' ? "an object" : "an array");
		return;
	}
	bool quoted = *p == '"', whole = true;
	for (; p < end; p++) {
		if (n > 0 && (quoted ? *p == '"' : strchr(",}] \t\r\n", *p) != NULL))
			break;
		whole = n + 5 < size;
		if (!whole)
			break;
		out[n++] = (unsigned char)*p < 0x20 || *p == 0x7F ? '?' : *p;
	}
	if (!whole) { /* Not half a character: drop its tail, then its head. */
		while (n > 0 && ((unsigned char)out[n - 1] & 0xC0) == 0x80)
			n--;
		n -= n > 0 && (unsigned char)out[n - 1] >= 0xC0;
	}
	snprintf(out + n, size - n, "%s", whole ? (quoted ? "\"" : "") : "...");
}

static void explain_field(const struct scan *scan, int32_t field, enum tide_scan code,
                          struct tide_scan_error *why)
{
	static const char *const types[] = { "",         "an int", "a double",   "a bool",
		                             "a string", "bytes",  "a timestamp" };
	const struct tide_field *one = &scan->spec->fields[field];
	const char *type = one->type <= TIDE_TIMESTAMP ? types[one->type] : "";
	int32_t at = (int32_t)scan->cells[field].i;
	int name_len = one->path_len < 40 ? one->path_len : 40;
	char value[32];
	why->code = (int32_t)code;
	why->field = field;
	why->at = at;
	if (code == TIDE_SCAN_MISSING) {
		const char *what =
			at < scan->end - scan->doc && scan->doc[at] == 'n' ? "null" : "missing";
		snprintf(why->text, sizeof why->text, "\"%.*s\" is %s", name_len, one->path, what);
		return;
	}
	snippet(scan, at, value, sizeof value);
	snprintf(why->text, sizeof why->text, "\"%.*s\" is %s, %s %s", name_len, one->path, value,
	         code == TIDE_SCAN_RANGE ? "too big for" : "not", type);
}

/* Clears the reasons out of the cells and reports the first that counts. */
static enum tide_scan settle(const struct scan *scan, struct tide_scan_error *why)
{
	enum tide_scan first = TIDE_SCAN_OK;
	for (int32_t f = 0; f < scan->spec->count; f++) {
		struct tide_cell *cell = &scan->cells[f];
		enum tide_scan code = (enum tide_scan)cell->spare;
		if (code == TIDE_SCAN_OK)
			continue;
		bool counts = !scan->spec->fields[f].nullable || code == TIDE_SCAN_RANGE;
		if (counts && first == TIDE_SCAN_OK) {
			first = code;
			explain_field(scan, f, code, why);
		}
		cell->i = 0;
		cell->spare = 0;
	}
	return first;
}

static enum tide_scan give_up(const struct scan *scan, struct tide_scan_error *why)
{
	for (int32_t f = 0; f < scan->spec->count; f++)
		scan->cells[f] = (struct tide_cell){ .len = -1 };
	why->field = -1;
	if (scan->nomem) {
		why->code = TIDE_JSON_NOMEM;
		why->at = 0;
		snprintf(why->text, sizeof why->text, "out of memory while reading JSON");
		return (enum tide_scan)TIDE_JSON_NOMEM;
	}
	why->code = TIDE_SCAN_MALFORMED;
	why->at = (int32_t)(scan->bad_at - scan->doc);
	snprintf(why->text, sizeof why->text, "not a JSON object: %s%s at byte %d%s",
	         scan->bad_at == scan->end ? "it ends, " : "", scan->bad, why->at,
	         scan->end == scan->doc ? " (empty)" : "");
	return TIDE_SCAN_MALFORMED;
}

enum tide_scan tide_json_scan(const struct tide_json_spec *spec, const char *doc, int32_t len,
                              struct tide_arena *arena, struct tide_cell *cells,
                              struct tide_scan_error *why)
{
	assert(spec != NULL && arena != NULL && why != NULL);
	assert(doc != NULL || len <= 0);
	if (doc == NULL || len < 0) { /* a null value is an empty document */
		doc = "";
		len = 0;
	}
	struct scan scan = {
		.spec = spec, .doc = doc, .end = doc + len, .arena = arena, .cells = cells
	};
	for (int32_t f = 0; f < spec->count; f++)
		cells[f] = (struct tide_cell){ .i = len, .len = -1, .spare = TIDE_SCAN_MISSING };
	if (!scan_document(&scan))
		return give_up(&scan, why);
	return settle(&scan, why);
}
