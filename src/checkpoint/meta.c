/* SPDX-License-Identifier: Apache-2.0 */
/* The decision record: memory, bytes, and back. */
#include "checkpoint/checkpoint.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { MAGIC = 0x4154454d /* "META" */ };

void tide_meta_forget_marks(struct tide_meta *meta)
{
	for (int i = 0; i < meta->mark_count; i++) {
		struct tide_event_mark *mark = &meta->marks[i];
		for (int k = 0; k < mark->part_count; k++)
			free(mark->parts[k].topic);
		free(mark->parts);
		free(mark->name);
	}
	free(meta->marks);
	meta->marks = NULL;
	meta->mark_count = 0;
	meta->watermark_us = INT64_MIN;
}

void tide_meta_fini(struct tide_meta *meta)
{
	for (int i = 0; i < meta->position_count; i++)
		free(meta->positions[i].topic);
	for (int i = 0; i < meta->sink_count; i++)
		free(meta->sinks[i].name);
	for (int i = 0; i < meta->late_count; i++)
		free(meta->lates[i].name);
	for (int i = 0; i < meta->state_count; i++)
		free(meta->states[i].name);
	tide_meta_forget_marks(meta);
	free(meta->states);
	free(meta->positions);
	free(meta->sinks);
	free(meta->lates);
	free(meta->job);
	free(meta->plan);
	free(meta->cluster);
	*meta = (struct tide_meta){ 0 };
}

static char *text_copy(const char *s)
{
	return strdup(s != NULL ? s : "");
}

static struct tide_event_part *mark_part_add(struct tide_event_mark *mark, const char *topic,
                                             int32_t partition);

/* What event time has done. */
static bool copy_marks(struct tide_meta *to, const struct tide_meta *from)
{
	for (int i = 0; i < from->mark_count; i++) {
		const struct tide_event_mark *old = &from->marks[i];
		struct tide_event_mark *mark = tide_meta_mark(to, old->name);
		if (mark == NULL)
			return false;
		mark->used_us = old->used_us;
		mark->next_us = old->next_us;
		mark->ahead = old->ahead;
		for (int k = 0; k < old->part_count; k++) {
			struct tide_event_part *part =
				mark_part_add(mark, old->parts[k].topic, old->parts[k].partition);
			if (part == NULL)
				return false;
			part->max_us = old->parts[k].max_us;
			part->idle = old->parts[k].idle;
		}
	}
	for (int i = 0; i < from->late_count; i++) {
		struct tide_late_count *late = tide_meta_late(to, from->lates[i].name);
		if (late == NULL)
			return false;
		char *name = late->name;
		*late = from->lates[i];
		late->name = name;
	}
	return true;
}

static bool copy_states(struct tide_meta *to, const struct tide_meta *from)
{
	for (int i = 0; i < from->state_count; i++) {
		const struct tide_state_count *old = &from->states[i];
		struct tide_state_count *state = tide_meta_state_add(to, old->name);
		if (state == NULL)
			return false;
		state->rows = old->rows;
		state->closed_us = old->closed_us;
	}
	return true;
}

bool tide_meta_copy(struct tide_meta *to, const struct tide_meta *from)
{
	*to = *from;
	to->job = text_copy(from->job);
	to->plan = text_copy(from->plan);
	to->cluster = text_copy(from->cluster);
	to->position_count = to->sink_count = to->mark_count = to->late_count = 0;
	to->state_count = 0;
	to->positions = NULL;
	to->sinks = NULL;
	to->marks = NULL;
	to->lates = NULL;
	to->states = NULL;
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
	ok = ok && copy_marks(to, from) && copy_states(to, from);
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

struct tide_event_mark *tide_meta_mark(struct tide_meta *meta, const char *name)
{
	for (int i = 0; i < meta->mark_count; i++)
		if (strcmp(meta->marks[i].name, name) == 0)
			return &meta->marks[i];
	struct tide_event_mark *grown =
		realloc(meta->marks, ((size_t)meta->mark_count + 1) * sizeof *grown);
	if (grown == NULL)
		return NULL;
	meta->marks = grown;
	struct tide_event_mark *mark = &grown[meta->mark_count];
	*mark = (struct tide_event_mark){ .name = strdup(name),
		                          .used_us = INT64_MIN,
		                          .next_us = INT64_MIN };
	if (mark->name == NULL)
		return NULL;
	meta->mark_count++;
	return mark;
}

/* One that the mark does not have. */
static struct tide_event_part *mark_part_add(struct tide_event_mark *mark, const char *topic,
                                             int32_t partition)
{
	struct tide_event_part *grown =
		realloc(mark->parts, ((size_t)mark->part_count + 1) * sizeof *grown);
	if (grown == NULL)
		return NULL;
	mark->parts = grown;
	struct tide_event_part *part = &grown[mark->part_count];
	*part = (struct tide_event_part){ .topic = strdup(topic),
		                          .partition = partition,
		                          .max_us = INT64_MIN };
	if (part->topic == NULL)
		return NULL;
	mark->part_count++;
	return part;
}

struct tide_event_part *tide_meta_mark_part(struct tide_event_mark *mark, const char *topic,
                                            int32_t partition)
{
	for (int i = 0; i < mark->part_count; i++)
		if (mark->parts[i].partition == partition &&
		    strcmp(mark->parts[i].topic, topic) == 0)
			return &mark->parts[i];
	return mark_part_add(mark, topic, partition);
}

struct tide_late_count *tide_meta_late(struct tide_meta *meta, const char *name)
{
	for (int i = 0; i < meta->late_count; i++)
		if (strcmp(meta->lates[i].name, name) == 0)
			return &meta->lates[i];
	struct tide_late_count *grown =
		realloc(meta->lates, ((size_t)meta->late_count + 1) * sizeof *grown);
	if (grown == NULL)
		return NULL;
	meta->lates = grown;
	struct tide_late_count *late = &grown[meta->late_count];
	*late = (struct tide_late_count){ .name = strdup(name) };
	if (late->name == NULL)
		return NULL;
	meta->late_count++;
	return late;
}

struct tide_state_count *tide_meta_state(const struct tide_meta *meta, const char *name)
{
	for (int i = 0; i < meta->state_count; i++)
		if (strcmp(meta->states[i].name, name) == 0)
			return &meta->states[i];
	return NULL;
}

struct tide_state_count *tide_meta_state_add(struct tide_meta *meta, const char *name)
{
	struct tide_state_count *grown =
		realloc(meta->states, ((size_t)meta->state_count + 1) * sizeof *grown);
	if (grown == NULL)
		return NULL;
	meta->states = grown;
	struct tide_state_count *state = &grown[meta->state_count];
	*state = (struct tide_state_count){ .name = strdup(name), .closed_us = INT64_MIN };
	if (state->name == NULL)
		return NULL;
	meta->state_count++;
	return state;
}

static void encode_marks(const struct tide_meta *meta, struct tide_buf *out)
{
	tide_buf_u32(out, (uint32_t)meta->mark_count);
	for (int i = 0; i < meta->mark_count; i++) {
		const struct tide_event_mark *mark = &meta->marks[i];
		tide_buf_str(out, mark->name);
		tide_buf_u64(out, (uint64_t)mark->used_us);
		tide_buf_u64(out, (uint64_t)mark->next_us);
		tide_buf_u64(out, mark->ahead);
		tide_buf_u32(out, (uint32_t)mark->part_count);
		for (int k = 0; k < mark->part_count; k++) {
			tide_buf_str(out, mark->parts[k].topic);
			tide_buf_u32(out, (uint32_t)mark->parts[k].partition);
			tide_buf_u64(out, (uint64_t)mark->parts[k].max_us);
			tide_buf_u8(out, mark->parts[k].idle);
		}
	}
	tide_buf_u32(out, (uint32_t)meta->late_count);
	for (int i = 0; i < meta->late_count; i++) {
		const struct tide_late_count *late = &meta->lates[i];
		tide_buf_str(out, late->name);
		tide_buf_u64(out, late->late);
		tide_buf_u64(out, late->untimed);
		tide_buf_u64(out, (uint64_t)late->most_us);
	}
}

/* More of late rows, which format 3 did not have yet. */
static void encode_lates(const struct tide_meta *meta, struct tide_buf *out)
{
	for (int i = 0; i < meta->late_count; i++) {
		const struct tide_late_count *late = &meta->lates[i];
		tide_buf_u64(out, late->seen);
		tide_buf_u64(out, late->beyond);
		for (int k = 0; late->late > 0 && k < TIDE_LATE_REGISTERS; k++)
			tide_buf_u32(out, late->keys[k]);
	}
}

/* How many states there are, which format 4 did not have yet. */
static void encode_states(const struct tide_meta *meta, struct tide_buf *out)
{
	tide_buf_u32(out, (uint32_t)meta->state_count);
	for (int i = 0; i < meta->state_count; i++) {
		const struct tide_state_count *state = &meta->states[i];
		tide_buf_str(out, state->name);
		tide_buf_u64(out, state->rows);
		tide_buf_u64(out, (uint64_t)state->closed_us);
	}
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
	encode_marks(meta, out);
	tide_buf_u64(out, meta->rows_malformed);
	encode_lates(meta, out);
	encode_states(meta, out);
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

static bool read_mark_parts(struct tide_reader *in, struct tide_event_mark *mark)
{
	uint32_t count = tide_read_u32(in);
	for (uint32_t i = 0; !in->failed && i < count; i++) {
		char *topic;
		if (!read_text(in, &topic))
			return false;
		struct tide_event_part *part =
			mark_part_add(mark, topic, (int32_t)tide_read_u32(in));
		free(topic);
		if (part == NULL)
			return false;
		part->max_us = (int64_t)tide_read_u64(in);
		part->idle = tide_read_u8(in) != 0;
	}
	return true;
}

static bool read_marks(struct tide_reader *in, struct tide_meta *meta)
{
	uint32_t count = tide_read_u32(in);
	for (uint32_t i = 0; !in->failed && i < count; i++) {
		char *name;
		if (!read_text(in, &name))
			return false;
		struct tide_event_mark *mark = tide_meta_mark(meta, name);
		free(name);
		if (mark == NULL)
			return false;
		mark->used_us = (int64_t)tide_read_u64(in);
		mark->next_us = (int64_t)tide_read_u64(in);
		mark->ahead = tide_read_u64(in);
		if (!read_mark_parts(in, mark))
			return false;
	}
	return true;
}

static bool read_lates(struct tide_reader *in, struct tide_meta *meta)
{
	uint32_t count = tide_read_u32(in);
	for (uint32_t i = 0; !in->failed && i < count; i++) {
		char *name;
		if (!read_text(in, &name))
			return false;
		struct tide_late_count *late = tide_meta_late(meta, name);
		free(name);
		if (late == NULL)
			return false;
		late->late = tide_read_u64(in);
		late->untimed = tide_read_u64(in);
		late->most_us = (int64_t)tide_read_u64(in);
	}
	return true;
}

static void read_more_of_lates(struct tide_reader *in, struct tide_meta *meta)
{
	for (int i = 0; i < meta->late_count; i++) {
		struct tide_late_count *late = &meta->lates[i];
		late->seen = tide_read_u64(in);
		late->beyond = tide_read_u64(in);
		for (int k = 0; late->late > 0 && k < TIDE_LATE_REGISTERS; k++)
			late->keys[k] = tide_read_u32(in);
	}
}

static bool read_states(struct tide_reader *in, struct tide_meta *meta)
{
	uint32_t count = tide_read_u32(in);
	for (uint32_t i = 0; !in->failed && i < count; i++) {
		char *name;
		if (!read_text(in, &name))
			return false;
		struct tide_state_count *state = tide_meta_state_add(meta, name);
		free(name);
		if (state == NULL)
			return false;
		state->rows = tide_read_u64(in);
		state->closed_us = (int64_t)tide_read_u64(in);
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
	bool ok = read_positions(in, meta) && read_sinks(in, meta);
	if (ok && meta->format > 1)
		ok = read_marks(in, meta) && read_lates(in, meta);
	if (ok && meta->format > 2)
		meta->rows_malformed = tide_read_u64(in);
	if (ok && meta->format > 3)
		read_more_of_lates(in, meta);
	if (ok && meta->format > 4)
		ok = read_states(in, meta);
	return ok || in->failed;
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
	if (format == 0 || format > TIDE_CHECKPOINT_FORMAT)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "a decision record has format %u; this program knows 1 to %d",
		                 format, TIDE_CHECKPOINT_FORMAT);
	size_t body = bytes.len - sizeof(uint64_t);
	struct tide_reader tail = tide_reader_of(bytes.p + body, sizeof(uint64_t));
	if (bytes.len < 16 || tide_read_u64(&tail) != tide_hash(bytes.p, body, MAGIC))
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "a decision record is damaged (its checksum differs)");
	in.end -= sizeof(uint64_t);
	out->format = format;
	errno = 0;
	bool memory = read_meta(&in, out) && errno != ENOMEM;
	if (memory && !in.failed && in.p == in.end)
		return TIDE_OK;
	tide_meta_fini(out);
	if (!memory)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a decision record");
	return tide_fail(err, TIDE_ERR_CHECKPOINT, "a decision record is damaged (its length)");
}
