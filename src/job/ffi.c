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
#include "record/batch.h"
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

static void word_set(struct tide_word *word, const struct tide_view *view)
{
	memcpy(word, view, sizeof *word);
}

/* From the arena, where the splitter leaves them, to the pool, where a script
 * may keep their addresses. */
static struct tide_word *words_keep(struct tide_ctx *ctx, const struct tide_view *views)
{
	if (views == NULL)
		return NULL;
	uint32_t count = 1; /* the end */
	while (views[count - 1].len_ >= 0)
		count++;
	struct tide_word *words = tide_pool_take(ctx->pool, count + 1);
	if (words != NULL)
		memcpy(words + 1, views, count * sizeof *words);
	return words;
}

struct tide_word *tide_ffi_words(struct tide_ctx *ctx, uint64_t addr, int32_t len)
{
	assert(len >= 0);
	return words_keep(ctx, tide_words(ctx->arena, text_at(addr), len, ctx->gen, 0));
}

struct tide_word *tide_ffi_words_text(struct tide_ctx *ctx, const char *text, size_t len)
{
	if (len > INT32_MAX)
		return NULL;
	return words_keep(ctx, tide_words(ctx->arena, text, (int32_t)len, ctx->gen, 1));
}

struct tide_word *tide_ffi_split(struct tide_ctx *ctx, uint64_t addr, int32_t len, uint32_t gen,
                                 const char *by, size_t by_len)
{
	assert(by_len > 0);
	const char *at = text_at(addr), *end = at + len;
	uint32_t count = 1;
	for (const char *p = at; (p = memmem(p, (size_t)(end - p), by, by_len)) != NULL;
	     p += by_len)
		count++;
	struct tide_word *words = tide_pool_take(ctx->pool, count + 2);
	if (words == NULL)
		return NULL;
	for (uint32_t i = 1; i <= count; i++) {
		const char *to = memmem(at, (size_t)(end - at), by, by_len);
		if (to == NULL)
			to = end;
		struct tide_view view = { (uintptr_t)at, (int32_t)(to - at), gen };
		word_set(&words[i], &view);
		at = to + by_len;
	}
	struct tide_view last = { 0, -1, gen };
	word_set(&words[count + 1], &last);
	return words;
}

struct tide_word *tide_ffi_headers(struct tide_ctx *ctx, const struct tide_rec *rec)
{
	uint32_t count = rec->header_count;
	const struct tide_header *headers = (const void *)(uintptr_t)rec->headers_addr_;
	if (count > (UINT32_MAX - 4) / 2)
		return NULL;
	struct tide_word *words = tide_pool_take(ctx->pool, 2 * count + 4);
	if (words == NULL)
		return NULL;
	_Static_assert(sizeof(struct tide_header) == 2 * sizeof(struct tide_word), "name, value");
	if (count > 0)
		memcpy(words + 2, headers, count * sizeof *headers);
	struct tide_view last = { 0, -1, rec->gen_ };
	word_set(&words[2 * count + 2], &last);
	word_set(&words[2 * count + 3], &last);
	return words;
}

uint64_t tide_ffi_case(struct tide_ctx *ctx, uint64_t addr, int32_t len, bool upper)
{
	const char *from = text_at(addr);
	char *to = tide_arena_text(ctx->arena, (size_t)len + 1);
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

struct tide_json_spec *tide_ffi_json_new(const struct tide_field *fields, int count)
{
	return tide_json_spec_new(fields, count);
}

void tide_ffi_json_free(struct tide_json_spec *spec)
{
	tide_json_spec_free(spec);
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
	cell_int(&cells[3], rec->timestamp_ms_ * 1000);
	if (rec->timestamp_ms_ < 0)
		cells[3].len = -1;
	cell_view(&cells[4], &rec->key_);
	cell_view(&cells[5], &rec->value_);
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

const char *tide_ffi_setting(const struct tide_ctx *ctx, const char *key)
{
	return ctx->set == NULL ? NULL : tide_option_get(ctx->set, key);
}

void tide_ffi_log(int level, const char *text)
{
	tide_log((enum tide_level)level, "%s", text);
}
