/* SPDX-License-Identifier: Apache-2.0 */
/* A recording: real records with their epochs, in one file, for a job to be run
 * on again exactly. README.md beside this says what the file holds. */
#ifndef TIDE_SOURCE_RECORDING_H
#define TIDE_SOURCE_RECORDING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "record/plan.h"
#include "record/rows.h"

enum { TIDE_RECORDING_VERSION = 1 };

/* One record as it is kept. A p of NULL is null; headers are read with
 * tide_recorded_header. */
struct tide_recorded {
	int64_t offset, timestamp_ms;
	struct tide_slice key, value;
	uint32_t header_count;
	struct tide_reader headers;
};

/* What a range needs: records that lie one behind the other. */
void tide_recorded_begin(struct tide_buf *out, int64_t offset, int64_t timestamp_ms,
                         struct tide_slice key, struct tide_slice value, uint32_t header_count);
void tide_recorded_put_header(struct tide_buf *out, struct tide_slice name,
                              struct tide_slice value);
/* False at the end and after damage, which in->failed tells apart. */
bool tide_recorded_next(struct tide_reader *in, struct tide_recorded *out);
bool tide_recorded_header(struct tide_recorded *rec, struct tide_slice *name,
                          struct tide_slice *value);

struct tide_recorded_part {
	int32_t input; /* of the job: two of them may read one partition */
	char *topic;
	int32_t partition;
};

/* What a step took of one partition. */
struct tide_recorded_range {
	int64_t from, to; /* offsets [from, to) */
	int64_t end;      /* of the log, as seen then */
	uint64_t count;
	struct tide_buf records;
};

/* A watermark behind an epoch. INT64_MIN: unset. */
struct tide_recorded_mark {
	char *name;
	int64_t used_us, next_us;
};

enum tide_recorded_kind {
	TIDE_RECORDED_EPOCH = 1,
	TIDE_RECORDED_LOOK = 2,  /* nothing was read, but time went on: partitions became idle */
	TIDE_RECORDED_FAILED = 3 /* the job failed in this epoch */
};

struct tide_recorded_step {
	enum tide_recorded_kind kind;
	int64_t epoch, now_us;
	char *error; /* NULL, or why it failed */
	int range_count, mark_count, row_count;
	struct tide_recorded_range *ranges; /* of the partitions known then, the first of all */
	struct tide_recorded_mark *marks;
	struct tide_rows **rows; /* per output; NULL: none */
};

/* A text with its name. */
struct tide_recorded_file {
	char *name, *text;
};

struct tide_recording {
	/* job, path, tidemark, created, input (topics of the first one), bounded,
	 * redacted, partial: what there is of it. */
	struct tide_options info;
	struct tide_options set; /* of --set */
	uint64_t job_hash;
	int file_count, part_count, output_count, step_count;
	struct tide_recorded_file *files; /* the job first, then what it requires */
	struct tide_recorded_part *parts;
	char **outputs; /* names */
	struct tide_recorded_step *steps;
	struct tide_buf meta, state; /* where it begins, as checkpoint/copy.h has it; or empty */
};

void tide_recording_fini(struct tide_recording *recording);

/* Each adds one zeroed item. NULL without memory, or where the name has none. */
struct tide_recorded_file *tide_recording_file(struct tide_recording *recording, const char *name,
                                               const char *text);
struct tide_recorded_part *tide_recording_part(struct tide_recording *recording, int32_t input,
                                               const char *topic, int32_t partition);
bool tide_recording_output(struct tide_recording *recording, const char *name);
struct tide_recorded_step *tide_recording_step(struct tide_recording *recording);
/* The last step as if it had never been. */
void tide_recording_drop_step(struct tide_recording *recording);
bool tide_recorded_step_init(struct tide_recorded_step *step, int ranges, int marks, int rows);
void tide_recorded_step_fini(struct tide_recorded_step *step);

uint64_t tide_recording_records(const struct tide_recording *recording);
uint64_t tide_recording_epochs(const struct tide_recording *recording);

void tide_recording_encode(const struct tide_recording *recording, struct tide_buf *out);
/* What is cut short, damaged or of another version is refused; `name` is for the
 * message. *out is zeroed then. */
int tide_recording_decode(struct tide_slice bytes, const char *name, struct tide_recording *out,
                          struct tide_error *err);

/* The file appears whole or not at all. */
int tide_recording_write(const struct tide_recording *recording, const char *path,
                         struct tide_error *err);
int tide_recording_read(const char *path, struct tide_recording *out, struct tide_error *err);

#endif
