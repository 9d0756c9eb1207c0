/* SPDX-License-Identifier: Apache-2.0 */
/* Records to try a job on, from the topics that it reads. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "run/partitions.h"
#include "run/sample.h"

enum { WAIT_US = 20 * 1000 * 1000, FETCH_MS = 100 };

/* --- what is kept ------------------------------------------------------------------
 * What was asked for, a checksum of nothing: who keeps it is who reads it. Then
 * the greatest partition and records, each behind a 1; a 0 ends them. */

static void put_slice(struct tide_buf *out, const char *p, int64_t len)
{
	tide_buf_u8(out, len >= 0);
	if (len >= 0)
		tide_buf_bytes(out, p, (size_t)len);
}

static struct tide_slice read_slice(struct tide_reader *in)
{
	if (tide_read_u8(in) == 0)
		return (struct tide_slice){ NULL, 0 };
	struct tide_slice slice = tide_read_bytes(in);
	return slice.p != NULL ? slice : (struct tide_slice){ "", 0 };
}

static void put_view(struct tide_buf *out, const struct tide_view *view)
{
	put_slice(out, tide_view_p(view), view->len_);
}

static void put_record(struct tide_buf *out, const struct tide_batch *batch,
                       const struct tide_rec *rec)
{
	const struct tide_header *headers = (const void *)(uintptr_t)rec->headers_addr_;
	tide_buf_u8(out, 1);
	tide_buf_str(out, batch->topic);
	tide_buf_u32(out, (uint32_t)batch->partition);
	tide_buf_u64(out, (uint64_t)rec->offset_);
	tide_buf_u64(out, (uint64_t)rec->timestamp_ms_);
	put_view(out, &rec->key_);
	put_view(out, &rec->value_);
	tide_buf_u32(out, rec->header_count);
	for (uint32_t i = 0; i < rec->header_count; i++) {
		put_view(out, &headers[i].name_);
		put_view(out, &headers[i].value_);
	}
}

static bool add_record(struct tide_memory *memory, struct tide_reader *in)
{
	char *topic = tide_read_str(in);
	int32_t partition = (int32_t)tide_read_u32(in);
	int64_t offset = (int64_t)tide_read_u64(in);
	int64_t timestamp_ms = (int64_t)tide_read_u64(in);
	struct tide_slice key = read_slice(in), value = read_slice(in);
	uint32_t headers = tide_read_u32(in);
	bool ok = topic != NULL && !in->failed &&
	          tide_memory_add(memory, topic, partition, key, value, timestamp_ms);
	free(topic);
	if (ok)
		tide_memory_offset(memory, offset);
	for (uint32_t i = 0; ok && i < headers; i++) {
		struct tide_slice name = read_slice(in);
		ok = tide_memory_header(memory, name, read_slice(in)) && !in->failed;
	}
	return ok;
}

static struct tide_memory *memory_of(struct tide_slice kept, size_t asked)
{
	struct tide_reader in = tide_reader_of(kept.p, kept.len);
	in.p += asked;
	int partitions = (int)tide_read_u32(&in);
	struct tide_memory *memory = in.failed ? NULL : tide_memory_new(partitions);
	bool ok = memory != NULL;
	while (ok && tide_read_u8(&in) != 0)
		ok = add_record(memory, &in);
	if (ok && !in.failed)
		return memory;
	tide_memory_free(memory);
	return NULL;
}

/* What is in the file, if it answers the same question. */
static bool recall(int fd, const struct tide_buf *asked, struct tide_buf *kept)
{
	struct stat info;
	if (fd < 0 || fstat(fd, &info) != 0 || info.st_size <= (off_t)asked->len)
		return false;
	size_t size = (size_t)info.st_size;
	if (!tide_buf_reserve(kept, size) || pread(fd, kept->p, size, 0) != (ssize_t)size)
		return false;
	kept->len = size;
	return memcmp(kept->p, asked->p, asked->len) == 0;
}

static int keep(int fd, const struct tide_buf *kept, struct tide_error *err)
{
	if (fd >= 0 &&
	    (ftruncate(fd, 0) != 0 || pwrite(fd, kept->p, kept->len, 0) != (ssize_t)kept->len))
		return tide_fail(err, TIDE_ERR_IO, "cannot keep the sample: %s", strerror(errno));
	return TIDE_OK;
}

/* --- reading ----------------------------------------------------------------------- */

static int64_t held(const struct tide_source_part *part, int64_t most)
{
	int64_t there = part->end - part->start;
	return there < most ? there : most;
}

static int64_t held_by_all(struct tide_source_part **parts, int count, int64_t most)
{
	int64_t sum = 0;
	for (int p = 0; p < count; p++)
		sum += held(parts[p], most);
	return sum;
}

/* Where each partition begins, so that together they have `last`: all of the
 * short ones, and as much of each of the others. */
static void place(struct tide_source_part **parts, int count, int64_t last)
{
	int64_t low = 0, high = last;
	while (low < high) {
		int64_t middle = high - (high - low) / 2;
		if (held_by_all(parts, count, middle) > last)
			high = middle - 1;
		else
			low = middle;
	}
	int64_t left = last - held_by_all(parts, count, low);
	for (int p = 0; p < count; p++) {
		bool more = left > 0 && held(parts[p], low + 1) > low;
		left -= more;
		parts[p]->next = parts[p]->end - held(parts[p], low + more);
	}
}

static int fetch_part(struct tide_source *source, struct tide_source_part *part,
                      struct tide_ring *ring, int64_t deadline_us, struct tide_buf *out,
                      struct tide_error *err)
{
	int rc = TIDE_OK;
	while (rc == TIDE_OK && part->next < part->end) {
		struct tide_batch *batch = tide_ring_next(ring, part->topic, part->partition);
		if (batch == NULL)
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the sample");
		rc = source->ops->fetch(source, part, part->end, FETCH_MS, batch, err);
		for (uint32_t i = 0; rc == TIDE_OK && i < batch->count; i++)
			put_record(out, batch, &batch->recs[i]);
		if (rc == TIDE_OK)
			rc = source->ops->poll(source, err);
		if (out->len > TIDE_SAMPLE_BYTES_MAX)
			return tide_fail(err, TIDE_ERR_USAGE,
			                 "the sample is larger than %d MiB; ask for fewer with "
			                 "--last",
			                 TIDE_SAMPLE_BYTES_MAX >> 20);
		if (rc == TIDE_OK && part->next < part->end && tide_clock_mono_us() > deadline_us)
			rc = tide_fail(err, TIDE_ERR_UNAVAILABLE,
			               "%s[%d] is slow: no record at offset %lld yet", part->topic,
			               part->partition, (long long)part->next);
	}
	return rc;
}

static int fetch_input(struct tide_source *source, int64_t last, uint32_t *partitions,
                       struct tide_buf *out, struct tide_error *err)
{
	struct tide_source_part **parts = NULL;
	struct tide_ring *ring = tide_ring_new();
	int64_t deadline_us = tide_clock_mono_us() + WAIT_US;
	int count = 0, rc = TIDE_OK;
	if (ring == NULL)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the sample");
	if (rc == TIDE_OK)
		rc = source->ops->discover(source, &parts, &count, err);
	if (rc == TIDE_OK)
		rc = source->ops->ends(source, parts, count, err);
	if (rc == TIDE_OK) {
		place(parts, count, last);
		rc = source->ops->seek(source, parts, count, err);
	}
	for (int p = 0; rc == TIDE_OK && p < count; p++) {
		if ((uint32_t)parts[p]->partition >= *partitions)
			*partitions = (uint32_t)parts[p]->partition + 1;
		rc = fetch_part(source, parts[p], ring, deadline_us, out, err);
	}
	free(parts);
	tide_ring_free(ring);
	return rc;
}

/* Of a topic that several inputs read, once. */
static bool read_before(const struct tide_plan *plan, int input)
{
	const char *topics = tide_option_get(&plan->inputs[input].options, "topics");
	for (int i = 0; i < input; i++) {
		const char *other = tide_option_get(&plan->inputs[i].options, "topics");
		if (topics != NULL && other != NULL && strcmp(topics, other) == 0)
			return true;
	}
	return false;
}

static int fetch_all(const struct tide_plan *plan, const struct tide_settings *settings,
                     int64_t last, struct tide_buf *out, struct tide_error *err)
{
	struct tide_partitions partitions = { 0 };
	struct tide_buf records = { 0 };
	uint32_t partition_count = 1;
	int rc = tide_partitions_open(&partitions, plan, settings, err);
	for (int i = 0; rc == TIDE_OK && i < plan->input_count; i++)
		if (i == 0 || (settings->topic == NULL && !read_before(plan, i)))
			rc = fetch_input(partitions.sources[i], last, &partition_count, &records,
			                 err);
	tide_partitions_close(&partitions);
	tide_buf_u32(out, partition_count);
	tide_buf_put(out, records.p, records.len);
	tide_buf_u8(out, 0);
	if (rc == TIDE_OK && (records.failed || out->failed))
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the sample");
	tide_buf_fini(&records);
	return rc;
}

static void put_option(struct tide_buf *out, const char *value)
{
	tide_buf_str(out, value != NULL ? value : "");
}

/* All that decides what comes. */
static void ask(const struct tide_plan *plan, const struct tide_settings *settings, int64_t last,
                struct tide_buf *out)
{
	tide_buf_u64(out, (uint64_t)last);
	put_option(out, settings->brokers);
	put_option(out, settings->brokers_default);
	put_option(out, settings->topic);
	for (int i = 0; i < plan->input_count; i++) {
		put_option(out, tide_option_get(&plan->inputs[i].options, "brokers"));
		put_option(out, tide_option_get(&plan->inputs[i].options, "topics"));
	}
}

int tide_sample_topics(const struct tide_plan *plan, const struct tide_settings *settings,
                       int64_t last, int cache_fd, struct tide_memory **out, struct tide_error *err)
{
	assert(settings->harness == NULL && last > 0);
	struct tide_buf asked = { 0 }, kept = { 0 };
	int rc = TIDE_OK;
	ask(plan, settings, last, &asked);
	if (!recall(cache_fd, &asked, &kept)) {
		tide_buf_clear(&kept);
		tide_buf_put(&kept, asked.p, asked.len);
		rc = fetch_all(plan, settings, last, &kept, err);
		if (rc == TIDE_OK)
			rc = keep(cache_fd, &kept, err);
	}
	if (rc == TIDE_OK) {
		*out = memory_of((struct tide_slice){ kept.p, kept.len }, asked.len);
		if (*out == NULL)
			rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the sample");
	}
	tide_buf_fini(&asked);
	tide_buf_fini(&kept);
	return rc;
}
