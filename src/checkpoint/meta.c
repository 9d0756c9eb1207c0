/* SPDX-License-Identifier: Apache-2.0 */
/* The decision record: memory, bytes, and back. */
#include "checkpoint/checkpoint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { MAGIC = 0x4154454d /* "META" */ };

void tide_meta_fini(struct tide_meta *meta)
{
	for (int i = 0; i < meta->position_count; i++)
		free(meta->positions[i].topic);
	for (int i = 0; i < meta->sink_count; i++)
		free(meta->sinks[i].name);
	free(meta->positions);
	free(meta->sinks);
	free(meta->job);
	free(meta->plan);
	free(meta->cluster);
	*meta = (struct tide_meta){ 0 };
}

static char *text_copy(const char *s)
{
	return strdup(s != NULL ? s : "");
}

bool tide_meta_copy(struct tide_meta *to, const struct tide_meta *from)
{
	*to = *from;
	to->job = text_copy(from->job);
	to->plan = text_copy(from->plan);
	to->cluster = text_copy(from->cluster);
	to->position_count = to->sink_count = 0;
	to->positions = NULL;
	to->sinks = NULL;
	bool ok = to->job != NULL && to->plan != NULL && to->cluster != NULL;
	for (int i = 0; ok && i < from->position_count; i++) {
		const struct tide_position *old = &from->positions[i];
		struct tide_position *at = tide_meta_position_add(to, old->topic, old->partition);
		ok = at != NULL;
		if (ok) {
			char *topic = at->topic;
			*at = *old;
			at->topic = topic;
		}
	}
	for (int i = 0; ok && i < from->sink_count; i++) {
		struct tide_sink_mark *mark = tide_meta_sink_add(to, from->sinks[i].name);
		ok = mark != NULL;
		if (ok) {
			char *name = mark->name;
			*mark = from->sinks[i];
			mark->name = name;
		}
	}
	if (!ok)
		tide_meta_fini(to);
	return ok;
}

struct tide_position *tide_meta_position(struct tide_meta *meta, const char *topic,
                                         int32_t partition)
{
	for (int i = 0; i < meta->position_count; i++) {
		struct tide_position *at = &meta->positions[i];
		if (at->partition == partition && strcmp(at->topic, topic) == 0)
			return at;
	}
	return NULL;
}

struct tide_position *tide_meta_position_add(struct tide_meta *meta, const char *topic,
                                             int32_t partition)
{
	struct tide_position *grown =
		realloc(meta->positions, ((size_t)meta->position_count + 1) * sizeof *grown);
	if (grown == NULL)
		return NULL;
	meta->positions = grown;
	struct tide_position *at = &grown[meta->position_count];
	*at = (struct tide_position){ .topic = strdup(topic),
		                      .partition = partition,
		                      .print_offset = -1,
		                      .print_timestamp_ms = -1 };
	if (at->topic == NULL)
		return NULL;
	meta->position_count++;
	return at;
}

struct tide_sink_mark *tide_meta_sink(struct tide_meta *meta, const char *name)
{
	for (int i = 0; i < meta->sink_count; i++)
		if (strcmp(meta->sinks[i].name, name) == 0)
			return &meta->sinks[i];
	return NULL;
}

struct tide_sink_mark *tide_meta_sink_add(struct tide_meta *meta, const char *name)
{
	struct tide_sink_mark *grown =
		realloc(meta->sinks, ((size_t)meta->sink_count + 1) * sizeof *grown);
	if (grown == NULL)
		return NULL;
	meta->sinks = grown;
	struct tide_sink_mark *mark = &grown[meta->sink_count];
	*mark = (struct tide_sink_mark){ .name = strdup(name) };
	if (mark->name == NULL)
		return NULL;
	meta->sink_count++;
	return mark;
}

void tide_meta_sink_remove(struct tide_meta *meta, struct tide_sink_mark *mark)
{
	int i = (int)(mark - meta->sinks);
	assert(i >= 0 && i < meta->sink_count);
	free(mark->name);
	memmove(mark, mark + 1, (size_t)(meta->sink_count - i - 1) * sizeof *mark);
	meta->sink_count--;
}

void tide_meta_encode(const struct tide_meta *meta, struct tide_buf *out)
{
	size_t start = out->len;
	tide_buf_u32(out, MAGIC);
	tide_buf_u32(out, TIDE_CHECKPOINT_FORMAT);
	tide_buf_u64(out, meta->checkpoint_id);
	tide_buf_u64(out, meta->decision);
	tide_buf_u64(out, (uint64_t)meta->epoch);
	tide_buf_u64(out, (uint64_t)meta->decided_us);
	tide_buf_u64(out, (uint64_t)meta->now_us);
	tide_buf_u64(out, meta->job_hash);
	tide_buf_str(out, meta->job != NULL ? meta->job : "");
	tide_buf_str(out, meta->plan != NULL ? meta->plan : "");
	tide_buf_str(out, meta->cluster != NULL ? meta->cluster : "");
	tide_buf_u64(out, (uint64_t)meta->watermark_us);
	tide_buf_u64(out, meta->rows_in);
	tide_buf_u64(out, meta->rows_out);
	tide_buf_u64(out, meta->rows_filtered);
	tide_buf_u64(out, meta->rows_failed);
	tide_buf_u64(out, meta->rows_late);
	tide_buf_u64(out, meta->rows_lost);
	tide_buf_u32(out, (uint32_t)meta->position_count);
	for (int i = 0; i < meta->position_count; i++) {
		const struct tide_position *at = &meta->positions[i];
		tide_buf_str(out, at->topic);
		tide_buf_u32(out, (uint32_t)at->partition);
		tide_buf_u64(out, (uint64_t)at->from);
		tide_buf_u64(out, (uint64_t)at->next);
		tide_buf_u64(out, (uint64_t)at->print_offset);
		tide_buf_u64(out, (uint64_t)at->print_timestamp_ms);
		tide_buf_u64(out, at->print_hash);
	}
	tide_buf_u32(out, (uint32_t)meta->sink_count);
	for (int i = 0; i < meta->sink_count; i++) {
		const struct tide_sink_mark *mark = &meta->sinks[i];
		tide_buf_str(out, mark->name);
		tide_buf_u64(out, (uint64_t)mark->since);
		tide_buf_u64(out, (uint64_t)mark->due);
		tide_buf_u64(out, (uint64_t)mark->acked);
	}
	if (!out->failed)
		tide_buf_u64(out, tide_hash(out->p + start, out->len - start, MAGIC));
}

/* A text, and whether memory sufficed. */
static bool read_text(struct tide_reader *in, char **out)
{
	*out = tide_read_str(in);
	return *out != NULL;
}

static bool read_positions(struct tide_reader *in, struct tide_meta *meta)
{
	uint32_t count = tide_read_u32(in);
	for (uint32_t i = 0; !in->failed && i < count; i++) {
		char *topic;
		if (!read_text(in, &topic))
			return false;
		struct tide_position *at =
			tide_meta_position_add(meta, topic, (int32_t)tide_read_u32(in));
		free(topic);
		if (at == NULL)
			return false;
		at->from = (int64_t)tide_read_u64(in);
		at->next = (int64_t)tide_read_u64(in);
		at->print_offset = (int64_t)tide_read_u64(in);
		at->print_timestamp_ms = (int64_t)tide_read_u64(in);
		at->print_hash = tide_read_u64(in);
	}
	return true;
}

static bool read_sinks(struct tide_reader *in, struct tide_meta *meta)
{
	uint32_t count = tide_read_u32(in);
	for (uint32_t i = 0; !in->failed && i < count; i++) {
		char *name;
		if (!read_text(in, &name))
			return false;
		struct tide_sink_mark *mark = tide_meta_sink_add(meta, name);
		free(name);
		if (mark == NULL)
			return false;
		mark->since = (int64_t)tide_read_u64(in);
		mark->due = (int64_t)tide_read_u64(in);
		mark->acked = (int64_t)tide_read_u64(in);
	}
	return true;
}

/* False when out of memory; damage is in->failed. */
static bool read_meta(struct tide_reader *in, struct tide_meta *meta)
{
	meta->checkpoint_id = tide_read_u64(in);
	meta->decision = tide_read_u64(in);
	meta->epoch = (int64_t)tide_read_u64(in);
	meta->decided_us = (int64_t)tide_read_u64(in);
	meta->now_us = (int64_t)tide_read_u64(in);
	meta->job_hash = tide_read_u64(in);
	if (!read_text(in, &meta->job) || !read_text(in, &meta->plan) ||
	    !read_text(in, &meta->cluster))
		return in->failed;
	meta->watermark_us = (int64_t)tide_read_u64(in);
	meta->rows_in = tide_read_u64(in);
	meta->rows_out = tide_read_u64(in);
	meta->rows_filtered = tide_read_u64(in);
	meta->rows_failed = tide_read_u64(in);
	meta->rows_late = tide_read_u64(in);
	meta->rows_lost = tide_read_u64(in);
	return (read_positions(in, meta) && read_sinks(in, meta)) || in->failed;
}

int tide_meta_decode(struct tide_slice bytes, struct tide_meta *out, struct tide_error *err)
{
	*out = (struct tide_meta){ 0 };
	struct tide_reader in = tide_reader_of(bytes.p, bytes.len);
	uint32_t magic = tide_read_u32(&in);
	uint32_t format = tide_read_u32(&in);
	if (in.failed || magic != MAGIC)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "a decision record is damaged (it does not begin as one)");
	if (format != TIDE_CHECKPOINT_FORMAT)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "a decision record has format %u; this program knows %d", format,
		                 TIDE_CHECKPOINT_FORMAT);
	size_t body = bytes.len - sizeof(uint64_t);
	struct tide_reader tail = tide_reader_of(bytes.p + body, sizeof(uint64_t));
	if (bytes.len < 16 || tide_read_u64(&tail) != tide_hash(bytes.p, body, MAGIC))
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "a decision record is damaged (its checksum differs)");
	in.end -= sizeof(uint64_t);
	out->format = format;
	bool memory = read_meta(&in, out);
	if (memory && !in.failed && in.p == in.end)
		return TIDE_OK;
	tide_meta_fini(out);
	if (!memory)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a decision record");
	return tide_fail(err, TIDE_ERR_CHECKPOINT, "a decision record is damaged (its length)");
}
