/* SPDX-License-Identifier: Apache-2.0 */
/* A job under test: the real loop, workers, state and checkpoint, between a
 * source in memory and a sink that keeps what it gets.
 *
 * lua/tidemark/testing.lua calls these through the FFI, so all is plain types.
 * What returns bool or a pointer says why not in tide_testing_error(). The
 * clock of the whole process stands where the test puts it. */
#ifndef TIDE_RUN_TESTING_H
#define TIDE_RUN_TESTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record/abi.h"

struct tide_testing;

struct tide_testing_options {
	const char *job_path, *lua_dir, *checkpoint_dir;
	const char *from; /* NULL: as the job says */
	int32_t workers, partitions;
	int64_t batch_records_max; /* 0: no limit */
	int64_t memory_bytes;      /* likewise: plenty */
	bool jit_off;
	bool forget; /* see run/settings.h */
};

/* This file, to be read by ffi.cdef. */
const char *tide_testing_abi(void);

/* The topics, and the memory of the sinks, live through stop and start. */
struct tide_testing *tide_testing_new(int32_t partitions);
void tide_testing_free(struct tide_testing *testing);
const char *tide_testing_error(const struct tide_testing *testing);

/* What tide.setting(key) says, from the next start on. */
bool tide_testing_set(struct tide_testing *testing, const char *key, const char *value);
bool tide_testing_start(struct tide_testing *testing, const struct tide_testing_options *options);
/* clean = false: as if the process had been killed between two epochs. */
bool tide_testing_stop(struct tide_testing *testing, bool clean);

void tide_testing_clock(int64_t us);
/* NULL with a length is null. */
bool tide_testing_feed(struct tide_testing *testing, const char *topic, int32_t partition,
                       const char *key, size_t key_len, const char *value, size_t value_len,
                       int64_t timestamp_ms);
bool tide_testing_header(struct tide_testing *testing, const char *name, size_t name_len,
                         const char *value, size_t value_len);
/* One epoch over what has been fed; *ran: there was something to do. */
bool tide_testing_epoch(struct tide_testing *testing, bool *ran);

/* Outputs in the order of the job, and what they got since the last clear. */
int32_t tide_testing_outputs(const struct tide_testing *testing);
const char *tide_testing_output(const struct tide_testing *testing, int32_t output);
int32_t tide_testing_columns(const struct tide_testing *testing, int32_t output);
const char *tide_testing_column(const struct tide_testing *testing, int32_t output, int32_t column,
                                int32_t *type);
int32_t tide_testing_rows(const struct tide_testing *testing, int32_t output);
struct tide_cell tide_testing_cell(const struct tide_testing *testing, int32_t output, int32_t row,
                                   int32_t column);
void tide_testing_clear(struct tide_testing *testing);

/* What --progress says of the newest epoch that ran since the start, as JSON;
 * "" when none has. Good until the next call. */
const char *tide_testing_progress(struct tide_testing *testing);

/* A number of the newest epoch's record by name: epoch, rows_in, rows_out,
 * rows_filtered, rows_failed, rows_malformed, rows_late, watermark_us, state_rows,
 * state_rows_stored (counted now), state_rows_held (those in memory). INT64_MIN: unset. */
int64_t tide_testing_number(const struct tide_testing *testing, const char *name);

#endif
