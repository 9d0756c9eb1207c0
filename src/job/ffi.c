/* SPDX-License-Identifier: Apache-2.0 */
/* What Lua calls while records flow. Arguments come from our own Lua files,
 * which check what scripts hand them. */
#include "job/ffi.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "decode/json.h"
#include "decode/words.h"
#include "job/lookup.h"
#include "job/pool.h"
#include "job/sources.h"
#include "record/batch.h"
#include "record/kept.h"
#include "record/rows.h"

/* The declarations travel inside the program, so that a script's types and the
 * compiled ones cannot be of two versions. */
__asm__(".section .rodata\n"
        ".type tide_ffi_abi_text, @object\n"
        "tide_ffi_abi_text:\n"
        ".incbin \"src/record/abi.h\"\n"
        ".incbin \"src/job/ctx.h\"\n"
        ".incbin \"src/job/ffi.h\"\n"
        ".byte 0\n"
        ".size tide_ffi_abi_text, . - tide_ffi_abi_text\n"
        ".previous\n");
extern const char tide_ffi_abi_text[] __attribute__((visibility("hidden")));

const char *tide_ffi_abi(void)
{
	return tide_ffi_abi_text;
}

static const char *text_at(uint64_t addr)
{
	return (const char *)(uintptr_t)addr;
}

/* Field by field: made whole and then copied, it is read in wider pieces than it was
 * written in, and the processor waits until all that it has yet to store is stored. */
static void word_set(struct tide_word *word, uint64_t addr, int32_t len, uint32_t gen,
                     const struct tide_word *next)
{
	word->addr_ = addr;
	word->len_ = len;
	word->gen_ = gen;
	word->next_ = (const char *)next - (char *)word;
}

/* Scripts walk a list from the place before it. */
static bool begin(struct tide_ctx *ctx, const struct tide_word *list)
{
	word_set(&ctx->before, 0, 0, 0, list);
	return true;
}

/* Text and lists that scripts make live as long as the batch, and a loop of theirs may
 * make them for ever. */
static bool may_make(struct tide_ctx *ctx, size_t bytes, size_t words)
{
	ctx->made += bytes + words * sizeof(struct tide_word);
	return ctx->made <= ctx->made_max;
}

static bool words_begin(struct tide_ctx *ctx, struct tide_words_of *from)
{
	size_t max = tide_words_max(from->text, from->len);
	size_t lower = tide_words_lower(from->len);
	from->gen = ctx->gen;
	from->lower = tide_arena_text(ctx->arena, lower);
	struct tide_word *list = tide_pool_take(ctx->pool, (uint32_t)max);
	if (from->lower == NULL || list == NULL)
		return false;
	struct tide_word *end = tide_words(from, list);
	assert((size_t)(end - list) <= max);
	tide_pool_trim(ctx->pool, end);
	return may_make(ctx, lower, (size_t)(end - list)) && begin(ctx, list);
}

void tide_ffi_text_rewind(struct tide_ctx *ctx)
{
	ctx->made = 0;
	tide_arena_rewind(ctx->arena);
	tide_pool_rewind(ctx->pool);
}

bool tide_ffi_words(struct tide_ctx *ctx, uint64_t addr, int32_t len)
{
	assert(len >= 0);
	struct tide_words_of from = { .text = text_at(addr), .len = len };
	return words_begin(ctx, &from);
}

bool tide_ffi_words_text(struct tide_ctx *ctx, const char *text, size_t len)
{
	if (len > INT32_MAX)
		return false;
	struct tide_words_of from = { .text = text, .len = (int32_t)len, .exact = true };
	return words_begin(ctx, &from);
}

bool tide_ffi_split(struct tide_ctx *ctx, uint64_t addr, int32_t len, uint32_t gen, const char *by,
                    size_t by_len)
{
	assert(by_len > 0);
	const char *at = text_at(addr), *end = at + len;
	uint32_t count = 1;
	for (const char *p = at; (p = memmem(p, (size_t)(end - p), by, by_len)) != NULL;
	     p += by_len)
		count++;
	struct tide_word *words =
		may_make(ctx, 0, count + 1) ? tide_pool_take(ctx->pool, count + 1) : NULL;
	if (words == NULL)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const char *to = memmem(at, (size_t)(end - at), by, by_len);
		if (to == NULL)
			to = end;
		word_set(&words[i], (uintptr_t)at, (int32_t)(to - at), gen, &words[i + 1]);
		at = to + by_len;
	}
	word_set(&words[count], 0, -1, gen, &words[count]);
	return begin(ctx, words);
}

bool tide_ffi_headers(struct tide_ctx *ctx, const struct tide_rec *rec)
{
	uint32_t count = rec->header_count;
	const struct tide_header *headers = (const void *)(uintptr_t)rec->headers_addr_;
	if (count > (UINT32_MAX - 1) / 2)
		return false;
	if (!may_make(ctx, 0, 2 * (size_t)count + 1))
		return false;
	struct tide_word *words = tide_pool_take(ctx->pool, 2 * count + 1), *word = words;
	if (words == NULL)
		return false;
	for (uint32_t i = 0; i < count; i++, word += 2) {
		struct tide_view name = headers[i].name_, value = headers[i].value_;
		word_set(word, name.addr_, name.len_, name.gen_, word + 2);
		word_set(word + 1, value.addr_, value.len_, value.gen_, word + 2);
	}
	word_set(word, 0, -1, rec->gen_, word);
	return begin(ctx, words);
}

uint64_t tide_ffi_case(struct tide_ctx *ctx, uint64_t addr, int32_t len, bool upper)
{
	const char *from = text_at(addr);
	char *to = may_make(ctx, (size_t)len + 1, 0) ? tide_arena_text(ctx->arena, (size_t)len + 1)
	                                             : NULL;
	if (to == NULL)
		return 0;
	unsigned first = upper ? 'a' : 'A';
	for (int32_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)from[i];
		to[i] = (char)(c - first < 26 ? c ^ 0x20 : c);
	}
	return (uintptr_t)to;
}

static int bytes_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t common = a_len < b_len ? a_len : b_len;
	int order = common > 0 ? memcmp(a, b, common) : 0;
	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

int tide_ffi_compare(uint64_t a, int32_t a_len, uint64_t b, int32_t b_len)
{
	return bytes_compare(text_at(a), (size_t)a_len, text_at(b), (size_t)b_len);
}

int tide_ffi_compare_text(uint64_t a, int32_t a_len, const char *b, size_t b_len)
{
	return bytes_compare(text_at(a), (size_t)a_len, b, b_len);
}

int64_t tide_ffi_hash(const char *p, size_t len)
{
	return (int64_t)tide_hash(p, len, 0);
}

int32_t tide_ffi_find(uint64_t addr, int32_t len, int32_t from, const char *what, size_t what_len)
{
	if (from < 0 || from > len)
		return -1;
	const char *text = text_at(addr);
	if (what_len == 0)
		return from;
	const char *at = memmem(text + from, (size_t)(len - from), what, what_len);
	return at == NULL ? -1 : (int32_t)(at - text);
}

void tide_ffi_passed_cells(const struct tide_ctx *ctx, uint32_t i, struct tide_cell *cells)
{
	int columns = tide_rows_schema(ctx->passed)->count - 1; /* not the offset */
	for (int c = 0; c < columns; c++)
		cells[c] = tide_rows_cell(ctx->passed, ctx->passed_rows[i], c);
}

struct tide_lookup *tide_ffi_lookup_new(void)
{
	return tide_lookup_new();
}

void tide_ffi_lookup_free(struct tide_lookup *lookup)
{
	tide_lookup_free(lookup);
}

int32_t tide_ffi_lookup_add(struct tide_lookup *lookup, const char *key, size_t len)
{
	return tide_lookup_add(lookup, key, len);
}

int32_t tide_ffi_lookup_find(const struct tide_lookup *lookup, uint64_t addr, int32_t len)
{
	return tide_lookup_find(lookup, text_at(addr), (size_t)len);
}

int32_t tide_ffi_lookup_find_text(const struct tide_lookup *lookup, const char *key, size_t len)
{
	return tide_lookup_find(lookup, key, len);
}

bool tide_ffi_json_make(struct tide_json_spec **box, const struct tide_field *fields, int count)
{
	*box = tide_json_spec_new(fields, count);
	return *box != NULL;
}

void tide_ffi_json_free(struct tide_json_spec **box)
{
	tide_json_spec_free(*box);
}

int tide_ffi_json_scan(struct tide_ctx *ctx, const struct tide_json_spec *spec,
                       const struct tide_rec *rec, struct tide_cell *cells,
                       struct tide_scan_error *why)
{
	if (rec->value_.len_ < 0) {
		why->code = TIDE_SCAN_MALFORMED;
		why->field = -1;
		why->at = 0;
		strcpy(why->text, "the value is null");
		return TIDE_SCAN_MALFORMED;
	}
	return (int)tide_json_scan(spec, text_at(rec->value_.addr_), rec->value_.len_, ctx->arena,
	                           cells, why);
}

static void cell_int(struct tide_cell *cell, int64_t i)
{
	cell->i = i;
	cell->len = 0;
}

static void cell_view(struct tide_cell *cell, const struct tide_view *view)
{
	cell->p = tide_view_p(view);
	cell->len = view->len_ < 0 ? -1 : view->len_;
}

void tide_ffi_record_cells(const struct tide_batch *batch, const struct tide_rec *rec,
                           struct tide_cell *cells)
{
	cells[0].p = batch->topic;
	cells[0].len = batch->topic_len;
	cell_int(&cells[1], batch->partition);
	cell_int(&cells[2], rec->offset_);
	cell_int(&cells[3], tide_clock_us_of(rec->timestamp_ms_));
	if (rec->timestamp_ms_ < 0)
		cells[3].len = -1;
	cell_view(&cells[4], &rec->key_);
	cell_view(&cells[5], &rec->value_);
}

bool tide_ffi_keep_record(const struct tide_ctx *ctx, struct tide_cell *cells)
{
	return tide_kept_put(ctx->batch, &ctx->batch->recs[ctx->row], cells);
}

static struct tide_slice slice_of(const char *text)
{
	return (struct tide_slice){ text, text == NULL ? 0 : strlen(text) };
}

bool tide_ffi_batch_add(struct tide_batch *batch, const char *key, size_t key_len,
                        const char *value, size_t value_len, const char *header,
                        const char *header_value)
{
	enum { FIRST_MS = 1700000000 };
	struct tide_slice of_key = { key, key_len }, of_value = { value, value_len };
	int64_t number = batch->count;
	if (tide_batch_add(batch, of_key, of_value, number, FIRST_MS * INT64_C(1000) + number) ==
	    NULL)
		return false;
	return header == NULL ||
	       (tide_batch_headers(batch, 1) &&
	        tide_batch_header_set(batch, 0, slice_of(header), slice_of(header_value)));
}

bool tide_ffi_rows_append(struct tide_rows *rows, const struct tide_cell *cells)
{
	return tide_rows_append(rows, cells);
}

uint32_t tide_ffi_rows_count(const struct tide_rows *rows)
{
	return tide_rows_count(rows);
}

void tide_ffi_rows_truncate(struct tide_rows *rows, uint32_t count)
{
	tide_rows_truncate(rows, count);
}

/* A function of where the record stands and how often it asked, so that an
 * epoch that runs again sees the same. */
double tide_ffi_random(struct tide_ctx *ctx)
{
	struct {
		int64_t epoch, offset;
		uint32_t partition, call;
	} at = { ctx->epoch, (int64_t)ctx->row, 0, ctx->calls++ };
	uint64_t seed = 0;
	if (ctx->batch != NULL) {
		at.offset = ctx->batch->recs[ctx->row].offset_;
		at.partition = (uint32_t)ctx->batch->partition;
		seed = tide_hash(ctx->batch->topic, (size_t)ctx->batch->topic_len, 1);
	}
	return (double)(tide_hash(&at, sizeof at, seed) >> 11) * 0x1p-53;
}

double tide_ffi_span_ms(const char *text)
{
	return (double)tide_clock_span_ms(text);
}

bool tide_ffi_parse_us(const char *text, size_t len, int64_t *us)
{
	return tide_clock_parse_us(text, len, us) == 0;
}

void tide_ffi_format_ms(int64_t ms, char *out, size_t size)
{
	tide_clock_format_ms(ms, out, size);
}

bool tide_ffi_source_keep(struct tide_ctx *ctx, const char *path, const char *text, size_t len)
{
	return tide_sources_keep(&ctx->sources, path, text, len);
}

const char *tide_ffi_source(const struct tide_ctx *ctx, const char *path, size_t *len)
{
	return tide_sources_find(ctx->sources, path, len);
}

const char *tide_ffi_setting(const struct tide_ctx *ctx, const char *key)
{
	return ctx->set == NULL ? NULL : tide_option_get(ctx->set, key);
}

void tide_ffi_log(int level, const char *text)
{
	tide_log((enum tide_level)level, "%s", text);
}
