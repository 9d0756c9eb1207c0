/* SPDX-License-Identifier: Apache-2.0 */
/* A recording: what it holds in memory. recording_file.c makes a file of it. */
#include "source/recording.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { NONE = 0xffffffff };

/* ---- records ---- */

static void put_slice(struct tide_buf *out, struct tide_slice slice)
{
	if (slice.p == NULL)
		tide_buf_u32(out, (uint32_t)NONE);
	else
		tide_buf_bytes(out, slice.p, slice.len);
}

static struct tide_slice read_slice(struct tide_reader *in)
{
	struct tide_reader at = *in;
	if (tide_read_u32(&at) == (uint32_t)NONE && !at.failed) {
		*in = at;
		return (struct tide_slice){ NULL, 0 };
	}
	return tide_read_bytes(in);
}

void tide_recorded_begin(struct tide_buf *out, int64_t offset, int64_t timestamp_ms,
                         struct tide_slice key, struct tide_slice value, uint32_t header_count)
{
	tide_buf_u64(out, (uint64_t)offset);
	tide_buf_u64(out, (uint64_t)timestamp_ms);
	put_slice(out, key);
	put_slice(out, value);
	tide_buf_u32(out, header_count);
}

void tide_recorded_put_header(struct tide_buf *out, struct tide_slice name, struct tide_slice value)
{
	tide_buf_bytes(out, name.p, name.len);
	put_slice(out, value);
}

bool tide_recorded_next(struct tide_reader *in, struct tide_recorded *out)
{
	struct tide_slice name, value;
	if (in->failed || in->p == in->end)
		return false;
	out->offset = (int64_t)tide_read_u64(in);
	out->timestamp_ms = (int64_t)tide_read_u64(in);
	out->key = read_slice(in);
	out->value = read_slice(in);
	out->header_count = tide_read_u32(in);
	out->headers = *in;
	for (uint32_t i = 0; !in->failed && i < out->header_count; i++) {
		name = tide_read_bytes(in);
		value = read_slice(in);
	}
	(void)name, (void)value;
	out->headers.end = in->p;
	return !in->failed;
}

bool tide_recorded_header(struct tide_recorded *rec, struct tide_slice *name,
                          struct tide_slice *value)
{
	if (rec->headers.failed || rec->headers.p == rec->headers.end)
		return false;
	*name = tide_read_bytes(&rec->headers);
	*value = read_slice(&rec->headers);
	return !rec->headers.failed;
}

/* ---- the whole ---- */

bool tide_recorded_step_init(struct tide_recorded_step *step, int ranges, int marks, int rows)
{
	step->ranges = calloc((size_t)ranges + 1, sizeof *step->ranges);
	step->marks = calloc((size_t)marks + 1, sizeof *step->marks);
	step->rows = calloc((size_t)rows + 1, sizeof(struct tide_rows *));
	if (step->ranges == NULL || step->marks == NULL || step->rows == NULL)
		return false;
	step->range_count = ranges;
	step->mark_count = marks;
	step->row_count = rows;
	return true;
}

void tide_recorded_step_fini(struct tide_recorded_step *step)
{
	for (int i = 0; i < step->range_count; i++)
		tide_buf_fini(&step->ranges[i].records);
	for (int i = 0; i < step->mark_count; i++)
		free(step->marks[i].name);
	for (int i = 0; i < step->row_count; i++)
		tide_rows_free(step->rows[i]);
	free(step->ranges);
	free(step->marks);
	free(step->rows);
	free(step->error);
	*step = (struct tide_recorded_step){ 0 };
}

void tide_recording_fini(struct tide_recording *recording)
{
	for (int i = 0; i < recording->step_count; i++)
		tide_recorded_step_fini(&recording->steps[i]);
	for (int i = 0; i < recording->part_count; i++)
		free(recording->parts[i].topic);
	for (int i = 0; i < recording->output_count; i++)
		free(recording->outputs[i]);
	for (int i = 0; i < recording->file_count; i++) {
		free(recording->files[i].name);
		free(recording->files[i].text);
	}
	free(recording->steps);
	free(recording->parts);
	free(recording->outputs);
	free(recording->files);
	tide_options_fini(&recording->info);
	tide_options_fini(&recording->set);
	tide_buf_fini(&recording->meta);
	tide_buf_fini(&recording->state);
	*recording = (struct tide_recording){ 0 };
}

struct tide_recorded_file *tide_recording_file(struct tide_recording *recording, const char *name,
                                               const char *text)
{
	struct tide_recorded_file *files =
		realloc(recording->files, ((size_t)recording->file_count + 1) * sizeof *files);
	if (files == NULL)
		return NULL;
	recording->files = files;
	struct tide_recorded_file *file = &files[recording->file_count];
	*file = (struct tide_recorded_file){ strdup(name), strdup(text) };
	if (file->name == NULL || file->text == NULL) {
		free(file->name);
		free(file->text);
		return NULL;
	}
	recording->file_count++;
	return file;
}

struct tide_recorded_part *tide_recording_part(struct tide_recording *recording, int32_t input,
                                               const char *topic, int32_t partition)
{
	struct tide_recorded_part *parts =
		realloc(recording->parts, ((size_t)recording->part_count + 1) * sizeof *parts);
	if (parts == NULL)
		return NULL;
	recording->parts = parts;
	struct tide_recorded_part *part = &parts[recording->part_count];
	*part = (struct tide_recorded_part){ input, strdup(topic), partition };
	if (part->topic == NULL)
		return NULL;
	recording->part_count++;
	return part;
}

bool tide_recording_output(struct tide_recording *recording, const char *name)
{
	char **outputs = realloc(recording->outputs,
	                         ((size_t)recording->output_count + 1) * sizeof *outputs);
	if (outputs == NULL)
		return false;
	recording->outputs = outputs;
	outputs[recording->output_count] = strdup(name);
	return outputs[recording->output_count] != NULL && ++recording->output_count > 0;
}

struct tide_recorded_step *tide_recording_step(struct tide_recording *recording)
{
	struct tide_recorded_step *steps =
		realloc(recording->steps, ((size_t)recording->step_count + 1) * sizeof *steps);
	if (steps == NULL)
		return NULL;
	recording->steps = steps;
	struct tide_recorded_step *step = &steps[recording->step_count++];
	*step = (struct tide_recorded_step){ 0 };
	return step;
}

void tide_recording_drop_step(struct tide_recording *recording)
{
	assert(recording->step_count > 0);
	tide_recorded_step_fini(&recording->steps[--recording->step_count]);
}

uint64_t tide_recording_records(const struct tide_recording *recording)
{
	uint64_t records = 0;
	for (int s = 0; s < recording->step_count; s++)
		for (int i = 0; i < recording->steps[s].range_count; i++)
			records += recording->steps[s].ranges[i].count;
	return records;
}

uint64_t tide_recording_epochs(const struct tide_recording *recording)
{
	uint64_t epochs = 0;
	for (int s = 0; s < recording->step_count; s++)
		epochs += recording->steps[s].kind != TIDE_RECORDED_LOOK;
	return epochs;
}
