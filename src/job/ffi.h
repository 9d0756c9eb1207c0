/* SPDX-License-Identifier: Apache-2.0 */
/* Every entry that Lua calls. Read by C and, like abi.h, by ffi.cdef. */
#ifndef TIDE_JOB_FFI_H
#define TIDE_JOB_FFI_H
#include "job/ctx.h"

struct tide_json_spec;
struct tide_lookup;

/* This file, ctx.h and abi.h, as one text. */
const char *tide_ffi_abi(void);

/* Contexts: the VM makes its own, specs make one here. NULL without memory. */
struct tide_ctx *tide_ffi_ctx_new(void);
void tide_ffi_ctx_free(struct tide_ctx *ctx);
/* A batch begins: new text belongs to it. */
void tide_ffi_ctx_batch(struct tide_ctx *ctx, struct tide_batch *batch);
/* No batch: new text lives until the next of these two calls. */
void tide_ffi_ctx_scratch(struct tide_ctx *ctx);

/* Text. Addresses come from views that were found alive. */
bool tide_ffi_alive(const struct tide_ctx *ctx, uint32_t gen);
/* Lists, to be walked from ctx->before; their end has a len_ of -1. False
 * without memory. */
bool tide_ffi_words(struct tide_ctx *ctx, uint64_t addr, int32_t len);
bool tide_ffi_words_text(struct tide_ctx *ctx, const char *text, size_t len);
bool tide_ffi_split(struct tide_ctx *ctx, uint64_t addr, int32_t len, uint32_t gen, const char *by,
                    size_t by_len);
/* Of names; the value of each is the place behind it. */
bool tide_ffi_headers(struct tide_ctx *ctx, const struct tide_rec *rec);
/* A copy in lower or upper case (ASCII); 0 without memory. */
uint64_t tide_ffi_case(struct tide_ctx *ctx, uint64_t addr, int32_t len, bool upper);
int tide_ffi_compare(uint64_t a, int32_t a_len, uint64_t b, int32_t b_len);
int tide_ffi_compare_text(uint64_t a, int32_t a_len, const char *b, size_t b_len);
/* Where `what` begins in the text from `from` on, or -1. */
int32_t tide_ffi_find(uint64_t addr, int32_t len, int32_t from, const char *what, size_t what_len);

/* The hash of base/hash.h: the same on every machine, for ever. */
int64_t tide_ffi_hash(const char *p, size_t len);

/* The cells of the i-th row that has passed a dedup, with its event time behind. */
void tide_ffi_passed_cells(const struct tide_ctx *ctx, uint32_t i, struct tide_cell *cells);

/* Sets and maps of text: each key has a number from 0 on. */
struct tide_lookup *tide_ffi_lookup_new(void);
void tide_ffi_lookup_free(struct tide_lookup *lookup);
int32_t tide_ffi_lookup_add(struct tide_lookup *lookup, const char *key, size_t len);
int32_t tide_ffi_lookup_find(const struct tide_lookup *lookup, uint64_t addr, int32_t len);
int32_t tide_ffi_lookup_find_text(const struct tide_lookup *lookup, const char *key, size_t len);

/* Records. */
/* Into a box that Lua owns already: between a call and the object for what it returns
 * Lua may run out of memory. */
bool tide_ffi_json_make(struct tide_json_spec **box, const struct tide_field *fields, int count);
void tide_ffi_json_free(struct tide_json_spec **box);
int tide_ffi_json_scan(struct tide_ctx *ctx, const struct tide_json_spec *spec,
                       const struct tide_rec *rec, struct tide_cell *cells,
                       struct tide_scan_error *why);
/* topic, partition, offset, timestamp, key, value. */
void tide_ffi_record_cells(const struct tide_batch *batch, const struct tide_rec *rec,
                           struct tide_cell *cells);

/* The running record in cells, as record/kept.h has them. False without memory. */
bool tide_ffi_keep_record(const struct tide_ctx *ctx, struct tide_cell *cells);

/* A made-up record; NULL for a null key or value or no header. False without
 * memory. */
bool tide_ffi_batch_add(struct tide_batch *batch, const char *key, size_t key_len,
                        const char *value, size_t value_len, const char *header,
                        const char *header_value);

/* Rows. */
bool tide_ffi_rows_append(struct tide_rows *rows, const struct tide_cell *cells);
uint32_t tide_ffi_rows_count(const struct tide_rows *rows);
void tide_ffi_rows_truncate(struct tide_rows *rows, uint32_t count);

/* Sketches, each in a state of its own shape: distinct.h, quantiles.h, top.h,
 * exact_set.h. Cells that are added are not null; type is their column's. */
void tide_ffi_distinct_add(void *registers, int bits, const struct tide_cell *cell, int type);
void tide_ffi_distinct_merge(void *into, const void *from, int bits);
double tide_ffi_distinct_count(const void *registers, int bits);
void tide_ffi_quantiles_add(void *quantiles, uint32_t room, double value);
void tide_ffi_quantiles_merge(void *into, const void *from, uint32_t room);
void tide_ffi_quantiles_at(const void *quantiles, double rank, bool whole, struct tide_cell *cell);
uint32_t tide_ffi_top_size(uint32_t places, uint32_t bytes);
void tide_ffi_top_add(void *top, uint32_t places, uint32_t bytes, const struct tide_cell *cell,
                      int type);
void tide_ffi_top_merge(void *into, const void *from, uint32_t places, uint32_t bytes);
/* The `count` most frequent as JSON, in the context's text. False without memory. */
bool tide_ffi_top_json(struct tide_ctx *ctx, const void *top, uint32_t places, uint32_t bytes,
                       uint32_t count, int type, struct tide_cell *cell);
/* False: the set is full. */
bool tide_ffi_exact_set_add(void *set, uint32_t room, const struct tide_cell *cell, int type);
bool tide_ffi_exact_set_merge(void *into, const void *from, uint32_t room);

/* The files of a job: what was read stays the same for every Lua state that is made
 * later for the same version. NULL: not read yet. */
bool tide_ffi_source_keep(struct tide_ctx *ctx, const char *path, const char *text, size_t len);
const char *tide_ffi_source(const struct tide_ctx *ctx, const char *path, size_t *len);
/* The running row has failed for want of text: what the batch's rows have made goes. */
void tide_ffi_text_rewind(struct tide_ctx *ctx);

/* Time, chance, settings, the log. */
double tide_ffi_random(struct tide_ctx *ctx);
double tide_ffi_span_ms(const char *text);
bool tide_ffi_parse_us(const char *text, size_t len, int64_t *us);
void tide_ffi_format_ms(int64_t ms, char *out, size_t size);
const char *tide_ffi_setting(const struct tide_ctx *ctx, const char *key);
void tide_ffi_log(int level, const char *text);

/* The plan. Each adds to what was added last; false or -1 without memory. */
bool tide_ffi_plan_job(struct tide_plan *plan, const char *name, const char *path);
bool tide_ffi_plan_file(struct tide_plan *plan, const char *path);
void tide_ffi_plan_hash(struct tide_plan *plan, const char *source, size_t len);
bool tide_ffi_plan_setting(struct tide_plan *plan, const char *key, const char *value);
int tide_ffi_plan_input(struct tide_plan *plan, const char *kind, int line);
bool tide_ffi_plan_input_option(struct tide_plan *plan, const char *key, const char *value);
/* Inputs are a bit for each. */
int tide_ffi_plan_mark(struct tide_plan *plan, const char *name, uint64_t inputs, int line);
/* The newest watermark. Spans are milliseconds; ahead_ms < 0: no limit. */
void tide_ffi_plan_mark_options(struct tide_plan *plan, double delay_ms, bool per_partition,
                                double idle_ms, double ahead_ms);
/* Another one observes for it. */
void tide_ffi_plan_mark_of(struct tide_plan *plan, int of);
/* A step for rows that are late; own: its watermark behind it, or -1. Then its
 * windows, if it has them, and the columns of its key. */
int tide_ffi_plan_late(struct tide_plan *plan, const char *name, int mark, int own, int late,
                       double sample);
void tide_ffi_plan_late_window(struct tide_plan *plan, double size_ms, double slide_ms,
                               double offset_ms);
void tide_ffi_plan_late_column(struct tide_plan *plan, int column, bool is_text);
int tide_ffi_plan_keyed(struct tide_plan *plan, const char *name, uint64_t inputs,
                        const char *layout, int line);
/* The newest keyed operator: first its sizes, then the columns of its row. */
bool tide_ffi_plan_keyed_sizes(struct tide_plan *plan, int row, int keys, int args, int state_size);
/* Its event time: the number of the watermark, what is late (enum tide_late), and
 * its windows in milliseconds, or zeroes. */
void tide_ffi_plan_keyed_time(struct tide_plan *plan, int mark, int late, double size_ms,
                              double slide_ms, double offset_ms);
void tide_ffi_plan_keyed_session(struct tide_plan *plan);
void tide_ffi_plan_keyed_dedup(struct tide_plan *plan, double within_ms, bool latest);
void tide_ffi_plan_keyed_level(struct tide_plan *plan, int level);
void tide_ffi_plan_keyed_version(struct tide_plan *plan, int version, bool migrates);
void tide_ffi_plan_keyed_arg(struct tide_plan *plan, int i, int column);
void tide_ffi_plan_keyed_row(struct tide_plan *plan, int i, const char *name, int type,
                             bool nullable);
void tide_ffi_plan_keyed_key(struct tide_plan *plan, int i, int column);
int tide_ffi_plan_output(struct tide_plan *plan, uint64_t inputs, int keyed, const char *sink,
                         const char *name, int line);
bool tide_ffi_plan_output_size(struct tide_plan *plan, int row);
void tide_ffi_plan_output_row(struct tide_plan *plan, int i, const char *name, int type,
                              bool nullable);
bool tide_ffi_plan_output_option(struct tide_plan *plan, const char *key, const char *value);
int tide_ffi_plan_step(struct tide_plan *plan, int parent, const char *kind, const char *text,
                       int line);
/* A step leads to another one besides its children. */
void tide_ffi_plan_step_joins(struct tide_plan *plan, int step, int into);
bool tide_ffi_plan_warning(struct tide_plan *plan, const char *path, int line, const char *text,
                           const char *source);
#endif
