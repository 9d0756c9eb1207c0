/* SPDX-License-Identifier: Apache-2.0 */
/* A recording as a file: sections, each with its length and its checksum, and an
 * end that says how many there were. README.md beside this has the layout. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "source/recording.h"

enum { HEAD_SIZE = 12, SECTION_HEAD = 9, SECTION_TAIL = 8 };
enum section { INFO = 1, FILE_TEXT = 2, BEGINNING = 3, PART = 4, OUTPUT = 5, STEP = 6, END = 127 };

static const char magic[8] = { 'T', 'I', 'D', 'E', 'C', 'A', 'S', 'E' };
static const size_t file_bytes_max = (size_t)4 << 30;

/* ---- writing ---- */

/* Where a section stands is part of its checksum: none can be taken for another. */
static uint64_t sum_of(enum section kind, uint32_t number, const char *p, size_t len)
{
	return tide_hash(p, len, (uint64_t)number << 8 | (uint64_t)kind);
}

static void put_section(struct tide_buf *out, enum section kind, uint32_t *number,
                        struct tide_buf *body)
{
	out->failed = out->failed || body->failed;
	tide_buf_u8(out, (uint8_t)kind);
	tide_buf_u64(out, body->len);
	tide_buf_put(out, body->p, body->len);
	tide_buf_u64(out, sum_of(kind, (*number)++, body->p, body->len));
	tide_buf_clear(body);
}

static void put_options(struct tide_buf *out, const struct tide_options *options)
{
	tide_buf_u32(out, (uint32_t)options->count);
	for (int i = 0; i < options->count; i++) {
		tide_buf_str(out, options->items[i].key);
		tide_buf_str(out, options->items[i].value);
	}
}

static void put_long(struct tide_buf *out, const struct tide_buf *bytes)
{
	tide_buf_u64(out, bytes->len);
	tide_buf_put(out, bytes->p, bytes->len);
}

static void put_step(struct tide_buf *out, const struct tide_recorded_step *step)
{
	tide_buf_u8(out, (uint8_t)step->kind);
	tide_buf_u64(out, (uint64_t)step->epoch);
	tide_buf_u64(out, (uint64_t)step->now_us);
	tide_buf_str(out, step->error != NULL ? step->error : "");
	tide_buf_u32(out, (uint32_t)step->range_count);
	tide_buf_u32(out, (uint32_t)step->mark_count);
	tide_buf_u32(out, (uint32_t)step->row_count);
	for (int i = 0; i < step->range_count; i++) {
		const struct tide_recorded_range *range = &step->ranges[i];
		tide_buf_u64(out, (uint64_t)range->from);
		tide_buf_u64(out, (uint64_t)range->to);
		tide_buf_u64(out, (uint64_t)range->end);
		put_long(out, &range->records);
		out->failed = out->failed || range->records.failed;
	}
	for (int i = 0; i < step->mark_count; i++) {
		tide_buf_str(out, step->marks[i].name);
		tide_buf_u64(out, (uint64_t)step->marks[i].used_us);
		tide_buf_u64(out, (uint64_t)step->marks[i].next_us);
	}
	struct tide_buf rows = { 0 };
	for (int i = 0; i < step->row_count; i++) {
		tide_buf_clear(&rows);
		if (step->rows[i] != NULL)
			tide_rows_encode(step->rows[i], &rows);
		put_long(out, &rows);
		out->failed = out->failed || rows.failed;
	}
	tide_buf_fini(&rows);
}

void tide_recording_encode(const struct tide_recording *recording, struct tide_buf *out)
{
	struct tide_buf body = { 0 };
	uint32_t number = 0;
	tide_buf_put(out, magic, sizeof magic);
	tide_buf_u32(out, TIDE_RECORDING_VERSION);
	put_options(&body, &recording->info);
	put_options(&body, &recording->set);
	tide_buf_u64(&body, recording->job_hash);
	put_section(out, INFO, &number, &body);
	for (int i = 0; i < recording->file_count; i++) {
		tide_buf_str(&body, recording->files[i].name);
		tide_buf_str(&body, recording->files[i].text);
		put_section(out, FILE_TEXT, &number, &body);
	}
	if (recording->meta.len > 0) {
		put_long(&body, &recording->meta);
		put_long(&body, &recording->state);
		put_section(out, BEGINNING, &number, &body);
	}
	for (int i = 0; i < recording->part_count; i++) {
		tide_buf_u32(&body, (uint32_t)recording->parts[i].input);
		tide_buf_str(&body, recording->parts[i].topic);
		tide_buf_u32(&body, (uint32_t)recording->parts[i].partition);
		put_section(out, PART, &number, &body);
	}
	for (int i = 0; i < recording->output_count; i++) {
		tide_buf_str(&body, recording->outputs[i]);
		put_section(out, OUTPUT, &number, &body);
	}
	for (int i = 0; i < recording->step_count; i++) {
		put_step(&body, &recording->steps[i]);
		put_section(out, STEP, &number, &body);
	}
	tide_buf_u32(&body, number);
	put_section(out, END, &number, &body);
	tide_buf_fini(&body);
}

/* ---- reading ---- */

static void read_options(struct tide_reader *in, struct tide_options *options)
{
	uint32_t count = tide_read_u32(in);
	for (uint32_t i = 0; !in->failed && i < count; i++) {
		char *key = tide_read_str(in), *value = tide_read_str(in);
		if (key == NULL || value == NULL || tide_option_get(options, key) != NULL ||
		    !tide_option_set(options, key, value))
			in->failed = true;
		free(key);
		free(value);
	}
}

static struct tide_slice read_long(struct tide_reader *in)
{
	uint64_t len = tide_read_u64(in);
	if (in->failed || len > (uint64_t)(in->end - in->p)) {
		in->failed = true;
		return (struct tide_slice){ "", 0 };
	}
	struct tide_slice slice = { in->p, (size_t)len };
	in->p += len;
	return slice;
}

/* Their number, and that they are in order and within what was read. */
static bool count_records(struct tide_recorded_range *range)
{
	struct tide_reader in = tide_reader_of(range->records.p, range->records.len);
	struct tide_recorded rec;
	int64_t next = range->from;
	if (range->from < 0 || range->to < range->from)
		return false;
	while (tide_recorded_next(&in, &rec)) {
		if (rec.offset < next || rec.offset >= range->to)
			return false;
		next = rec.offset + 1;
		range->count++;
	}
	return !in.failed;
}

static void read_range(struct tide_reader *in, struct tide_recorded_range *range)
{
	range->from = (int64_t)tide_read_u64(in);
	range->to = (int64_t)tide_read_u64(in);
	range->end = (int64_t)tide_read_u64(in);
	struct tide_slice records = read_long(in);
	tide_buf_put(&range->records, records.p, records.len);
	if (range->records.failed || !count_records(range))
		in->failed = true;
}

/* One item takes at least so many bytes: counts beyond that are none. */
static bool believable(const struct tide_reader *in, uint32_t ranges, uint32_t marks, uint32_t rows)
{
	enum { RANGE = 32, MARK = 20, ROWS = 8 };
	uint64_t least = (uint64_t)ranges * RANGE + (uint64_t)marks * MARK + (uint64_t)rows * ROWS;
	return !in->failed && least <= (uint64_t)(in->end - in->p);
}

static void read_step(struct tide_reader *in, struct tide_recording *recording)
{
	struct tide_recorded_step *step = tide_recording_step(recording);
	if (step == NULL) {
		in->failed = true;
		return;
	}
	step->kind = (enum tide_recorded_kind)tide_read_u8(in);
	step->epoch = (int64_t)tide_read_u64(in);
	step->now_us = (int64_t)tide_read_u64(in);
	step->error = tide_read_str(in);
	uint32_t ranges = tide_read_u32(in), marks = tide_read_u32(in), rows = tide_read_u32(in);
	if (step->kind < TIDE_RECORDED_EPOCH || step->kind > TIDE_RECORDED_FAILED ||
	    ranges > (uint32_t)recording->part_count || rows > (uint32_t)recording->output_count ||
	    !believable(in, ranges, marks, rows) ||
	    !tide_recorded_step_init(step, (int)ranges, (int)marks, (int)rows)) {
		in->failed = true;
		return;
	}
	for (uint32_t i = 0; !in->failed && i < ranges; i++)
		read_range(in, &step->ranges[i]);
	for (uint32_t i = 0; !in->failed && i < marks; i++) {
		step->marks[i].name = tide_read_str(in);
		step->marks[i].used_us = (int64_t)tide_read_u64(in);
		step->marks[i].next_us = (int64_t)tide_read_u64(in);
	}
	for (uint32_t i = 0; !in->failed && i < rows; i++) {
		struct tide_slice bytes = read_long(in);
		if (!in->failed && bytes.len > 0 &&
		    tide_rows_decode(bytes, &step->rows[i], NULL) != TIDE_OK)
			in->failed = true;
	}
}

static void read_file(struct tide_reader *in, struct tide_recording *recording)
{
	char *name = tide_read_str(in), *text = tide_read_str(in);
	if (name == NULL || text == NULL || tide_recording_file(recording, name, text) == NULL)
		in->failed = true;
	free(name);
	free(text);
}

static void read_part(struct tide_reader *in, struct tide_recording *recording)
{
	int32_t input = (int32_t)tide_read_u32(in);
	char *topic = tide_read_str(in);
	int32_t partition = (int32_t)tide_read_u32(in);
	if (topic == NULL || partition < 0 || input < 0 ||
	    tide_recording_part(recording, input, topic, partition) == NULL)
		in->failed = true;
	free(topic);
}

static void read_output(struct tide_reader *in, struct tide_recording *recording)
{
	char *name = tide_read_str(in);
	if (name == NULL || !tide_recording_output(recording, name))
		in->failed = true;
	free(name);
}

static void read_beginning(struct tide_reader *in, struct tide_recording *recording)
{
	struct tide_slice meta = read_long(in), state = read_long(in);
	if (recording->meta.len > 0 || meta.len == 0)
		in->failed = true;
	tide_buf_put(&recording->meta, meta.p, meta.len);
	tide_buf_put(&recording->state, state.p, state.len);
	in->failed = in->failed || recording->meta.failed || recording->state.failed;
}

/* False: it is not what a section of this kind holds. */
static bool read_section(enum section kind, struct tide_slice body, uint32_t number,
                         struct tide_recording *recording)
{
	struct tide_reader in = tide_reader_of(body.p, body.len);
	if ((kind == INFO) != (number == 0))
		return false;
	switch (kind) {
	case INFO:
		read_options(&in, &recording->info);
		read_options(&in, &recording->set);
		recording->job_hash = tide_read_u64(&in);
		break;
	case FILE_TEXT: read_file(&in, recording); break;
	case BEGINNING: read_beginning(&in, recording); break;
	case PART: read_part(&in, recording); break;
	case OUTPUT: read_output(&in, recording); break;
	case STEP: read_step(&in, recording); break;
	case END: in.failed = tide_read_u32(&in) != number; break;
	default: return false;
	}
	return !in.failed && in.p == in.end;
}

static int check_head(struct tide_slice bytes, const char *name, struct tide_error *err)
{
	if (bytes.len < sizeof magic || memcmp(bytes.p, magic, sizeof magic) != 0)
		return tide_fail(
			err, TIDE_ERR_USAGE,
			"%s is not a recording: `tidemark record JOB.lua -o FILE` makes one", name);
	struct tide_reader in = tide_reader_of(bytes.p + sizeof magic, bytes.len - sizeof magic);
	uint32_t version = tide_read_u32(&in);
	if (in.failed)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "the recording %s was cut short: it ends after %zu bytes; record "
		                 "it again, or copy it again",
		                 name, bytes.len);
	if (version != TIDE_RECORDING_VERSION)
		return tide_fail(
			err, TIDE_ERR_USAGE,
			"the recording %s has format %u, and this tidemark reads format %d: "
			"replay it with the tidemark that made it, or record it again",
			name, version, TIDE_RECORDING_VERSION);
	return TIDE_OK;
}

static int refuse(const char *name, const char *what, size_t at, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_USAGE,
	                 "the recording %s %s at byte %zu; record it again, or copy it again", name,
	                 what, at);
}

int tide_recording_decode(struct tide_slice bytes, const char *name, struct tide_recording *out,
                          struct tide_error *err)
{
	*out = (struct tide_recording){ 0 };
	int rc = check_head(bytes, name, err), kind = 0;
	size_t at = HEAD_SIZE;
	for (uint32_t number = 0; rc == TIDE_OK && kind != END; number++) {
		struct tide_reader in = tide_reader_of(bytes.p + at, bytes.len - at);
		kind = tide_read_u8(&in);
		struct tide_slice body = read_long(&in);
		errno = 0;
		uint64_t sum = tide_read_u64(&in);
		if (in.failed)
			rc = refuse(name, "was cut short: a part of it is missing", at, err);
		else if (sum != sum_of((enum section)kind, number, body.p, body.len))
			rc = refuse(name, "is damaged: its checksum is wrong", at, err);
		else if (!read_section((enum section)kind, body, number, out))
			rc = errno == ENOMEM
			             ? tide_fail(err, TIDE_ERR_NOMEM,
			                         "no memory for the recording %s", name)
			             : refuse(name, "holds what no recording does,", at, err);
		at += SECTION_HEAD + body.len + SECTION_TAIL;
	}
	if (rc == TIDE_OK && at != bytes.len)
		rc = refuse(name, "has something behind its end,", at, err);
	if (rc != TIDE_OK)
		tide_recording_fini(out);
	return rc;
}

/* ---- files ---- */

static int write_all(int fd, const char *path, const struct tide_buf *bytes, struct tide_error *err)
{
	for (size_t done = 0; done < bytes->len;) {
		ssize_t n = write(fd, bytes->p + done, bytes->len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
		done += (size_t)n;
	}
	if (fsync(fd) != 0)
		return tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
	return TIDE_OK;
}

int tide_recording_write(const struct tide_recording *recording, const char *path,
                         struct tide_error *err)
{
	struct tide_buf bytes = { 0 };
	char part[4096];
	int fd = -1, rc = TIDE_OK;
	tide_recording_encode(recording, &bytes);
	if (bytes.failed)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the recording %s", path);
	else if (bytes.len > file_bytes_max)
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "the recording would have %zu bytes, and at most %zu are kept: "
		               "record fewer records",
		               bytes.len, file_bytes_max);
	else if ((size_t)snprintf(part, sizeof part, "%s.part", path) >= sizeof part)
		rc = tide_fail(err, TIDE_ERR_USAGE, "the path %s is too long", path);
	if (rc == TIDE_OK)
		fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (rc == TIDE_OK && fd < 0)
		rc = tide_fail(err, TIDE_ERR_IO, "%s: %s", part, strerror(errno));
	if (rc == TIDE_OK)
		rc = write_all(fd, part, &bytes, err);
	if (fd >= 0)
		close(fd);
	if (rc == TIDE_OK && rename(part, path) != 0)
		rc = tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
	if (rc != TIDE_OK && fd >= 0)
		unlink(part);
	tide_buf_fini(&bytes);
	return rc;
}

int tide_recording_read(const char *path, struct tide_recording *out, struct tide_error *err)
{
	char *bytes = NULL;
	size_t len = 0;
	*out = (struct tide_recording){ 0 };
	int rc = tide_file_read(path, file_bytes_max, &bytes, &len, err);
	if (rc == TIDE_OK)
		rc = tide_recording_decode((struct tide_slice){ bytes, len }, path, out, err);
	free(bytes);
	return rc;
}
