/* SPDX-License-Identifier: Apache-2.0 */
/* Recordings: what goes in comes out, and no other file is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <unistd.h>

#include "source/memory.h"
#include "source/recording.h"

static struct tide_slice slice(const char *text)
{
	return (struct tide_slice){ text, text != NULL ? strlen(text) : 0 };
}

static struct tide_rows *some_rows(void)
{
	struct tide_schema *schema = tide_schema_new(1);
	schema->columns[0] = (struct tide_column){ .name = "n", .type = TIDE_INT };
	struct tide_rows *rows = tide_rows_new(schema);
	assert_true(tide_rows_append(rows, &(struct tide_cell){ .i = 42 }));
	free(schema);
	return rows;
}

/* Two partitions; an epoch of three records, and a look. */
static void make(struct tide_recording *recording)
{
	*recording = (struct tide_recording){ .job_hash = 7 };
	assert_true(tide_option_set(&recording->info, "job", "words"));
	assert_true(tide_option_set(&recording->set, "limit", "5"));
	assert_non_null(tide_recording_file(recording, "words.lua", "return {}"));
	assert_non_null(tide_recording_part(recording, 0, "t", 0));
	assert_non_null(tide_recording_part(recording, 0, "t", 1));
	assert_true(tide_recording_output(recording, "out"));
	tide_buf_str(&recording->meta, "meta");
	tide_buf_str(&recording->state, "state");
	struct tide_recorded_step *step = tide_recording_step(recording);
	assert_true(tide_recorded_step_init(step, 2, 1, 1));
	step->kind = TIDE_RECORDED_EPOCH;
	step->epoch = 3;
	step->now_us = 1700000000000001;
	step->marks[0] = (struct tide_recorded_mark){ strdup("at"), INT64_MIN, 5 };
	step->rows[0] = some_rows();
	struct tide_recorded_range *range = &step->ranges[0];
	*range = (struct tide_recorded_range){ .from = 10, .to = 20, .end = 21 };
	tide_recorded_begin(&range->records, 10, 1, slice("k"), slice(NULL), 0);
	tide_recorded_begin(&range->records, 15, -1, slice(NULL), slice(""), 2);
	tide_recorded_put_header(&range->records, slice("h"), slice("v"));
	tide_recorded_put_header(&range->records, slice(""), slice(NULL));
	range = &step->ranges[1];
	*range = (struct tide_recorded_range){ .from = 0, .to = 1, .end = 1 };
	tide_recorded_begin(&range->records, 0, 2, slice(""), slice("x"), 0);
	step = tide_recording_step(recording);
	assert_true(tide_recorded_step_init(step, 2, 0, 0));
	step->kind = TIDE_RECORDED_LOOK;
}

static void what_goes_in_comes_out(void **state)
{
	struct tide_recording recording, again;
	struct tide_buf bytes = { 0 }, second = { 0 };
	struct tide_recorded rec;
	struct tide_slice name, value;
	(void)state;
	make(&recording);
	tide_recording_encode(&recording, &bytes);
	assert_int_equal(
		tide_recording_decode((struct tide_slice){ bytes.p, bytes.len }, "r", &again, NULL),
		TIDE_OK);
	assert_int_equal(tide_recording_records(&again), 3);
	assert_int_equal(tide_recording_epochs(&again), 1);
	assert_string_equal(tide_option_get(&again.info, "job"), "words");
	assert_string_equal(tide_option_get(&again.set, "limit"), "5");
	assert_string_equal(again.files[0].text, "return {}");
	assert_int_equal(again.steps[0].marks[0].used_us, INT64_MIN);
	assert_int_equal(tide_rows_cell(again.steps[0].rows[0], 0, 0).i, 42);
	const struct tide_buf *records = &again.steps[0].ranges[0].records;
	struct tide_reader in = tide_reader_of(records->p, records->len);
	assert_true(tide_recorded_next(&in, &rec));
	assert_null(rec.value.p);
	assert_int_equal(rec.key.len, 1);
	assert_true(tide_recorded_next(&in, &rec));
	assert_null(rec.key.p);
	assert_non_null(rec.value.p);
	assert_int_equal(rec.offset, 15);
	assert_true(tide_recorded_header(&rec, &name, &value));
	assert_memory_equal(value.p, "v", 1);
	assert_true(tide_recorded_header(&rec, &name, &value));
	assert_null(value.p);
	assert_false(tide_recorded_header(&rec, &name, &value));
	assert_false(tide_recorded_next(&in, &rec));
	assert_false(in.failed);
	tide_recording_encode(&again, &second);
	assert_int_equal(bytes.len, second.len);
	assert_memory_equal(bytes.p, second.p, bytes.len);
	tide_buf_fini(&bytes);
	tide_buf_fini(&second);
	tide_recording_fini(&recording);
	tide_recording_fini(&again);
}

/* A copy of exact size, so that reading beyond it is seen. */
static int decode(const char *p, size_t len, struct tide_error *err)
{
	struct tide_recording recording;
	char *copy = malloc(len + 1);
	memcpy(copy, p, len);
	int rc = tide_recording_decode((struct tide_slice){ copy, len }, "case.tide", &recording,
	                               err);
	tide_recording_fini(&recording);
	free(copy);
	return rc;
}

static void every_cut_is_refused_with_the_reason(void **state)
{
	struct tide_recording recording;
	struct tide_buf bytes = { 0 };
	struct tide_error err;
	(void)state;
	make(&recording);
	tide_recording_encode(&recording, &bytes);
	for (size_t len = 0; len < bytes.len; len++) {
		assert_int_equal(decode(bytes.p, len, &err), TIDE_ERR_USAGE);
		assert_non_null(strstr(err.text, len < 8 ? "not a recording" : "cut short"));
		assert_non_null(strstr(err.text, "case.tide"));
	}
	tide_buf_put(&bytes, "x", 1);
	assert_int_equal(decode(bytes.p, bytes.len, &err), TIDE_ERR_USAGE);
	assert_non_null(strstr(err.text, "behind its end"));
	tide_buf_fini(&bytes);
	tide_recording_fini(&recording);
}

static void every_flipped_bit_is_refused(void **state)
{
	struct tide_recording recording;
	struct tide_buf bytes = { 0 };
	(void)state;
	make(&recording);
	tide_recording_encode(&recording, &bytes);
	for (size_t i = 0; i < bytes.len * 8; i++) {
		bytes.p[i / 8] = (char)(bytes.p[i / 8] ^ (1 << i % 8));
		assert_int_equal(decode(bytes.p, bytes.len, NULL), TIDE_ERR_USAGE);
		bytes.p[i / 8] = (char)(bytes.p[i / 8] ^ (1 << i % 8));
	}
	assert_int_equal(decode(bytes.p, bytes.len, NULL), TIDE_OK);
	tide_buf_fini(&bytes);
	tide_recording_fini(&recording);
}

static void another_version_is_refused_by_its_number(void **state)
{
	struct tide_recording recording;
	struct tide_buf bytes = { 0 };
	struct tide_error err;
	(void)state;
	make(&recording);
	tide_recording_encode(&recording, &bytes);
	bytes.p[8] = 9;
	assert_int_equal(decode(bytes.p, bytes.len, &err), TIDE_ERR_USAGE);
	assert_non_null(strstr(err.text, "has format 9"));
	tide_buf_fini(&bytes);
	tide_recording_fini(&recording);
}

static void a_file_appears_whole_and_comes_back(void **state)
{
	struct tide_recording recording, again;
	struct tide_error err;
	char path[] = "/tmp/tide-recording-XXXXXX";
	(void)state;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	make(&recording);
	assert_int_equal(tide_recording_write(&recording, path, &err), TIDE_OK);
	assert_int_equal(tide_recording_read(path, &again, &err), TIDE_OK);
	assert_int_equal(again.job_hash, 7);
	unlink(path);
	assert_int_equal(tide_recording_write(&recording, "/nowhere/at/all", &err), TIDE_ERR_IO);
	tide_recording_fini(&recording);
	tide_recording_fini(&again);
}

static void memory_has_offsets_of_its_own(void **state)
{
	struct tide_memory *memory = tide_memory_new(0);
	struct tide_source *source = NULL;
	struct tide_source_part **parts = NULL;
	struct tide_options options = { 0 };
	struct tide_ring *ring = tide_ring_new();
	int64_t offset = -1;
	int count = 0;
	(void)state;
	assert_true(tide_option_set(&options, "topics", "t"));
	assert_true(tide_memory_place(memory, "t", 3, 10));
	assert_true(tide_memory_add_at(memory, "t", 3, 12, slice("a"), slice("b"), 5));
	assert_false(tide_memory_lacks(memory, "t", 3, 12));
	assert_true(tide_memory_lacks(memory, "t", 3, 13));
	tide_memory_end(memory, "t", 3, 20, 30);
	assert_int_equal(tide_memory_open(memory, &options, &source, NULL), TIDE_OK);
	assert_int_equal(source->ops->discover(source, &parts, &count, NULL), TIDE_OK);
	assert_int_equal(count, 1);
	assert_int_equal(source->ops->ends(source, parts, count, NULL), TIDE_OK);
	assert_int_equal(parts[0]->end, 30);
	assert_int_equal(source->ops->resolve(source, parts, 1, "earliest", &offset, NULL),
	                 TIDE_OK);
	assert_int_equal(offset, 10);
	parts[0]->next = 10;
	struct tide_batch *batch = tide_ring_next(ring, "t", 3);
	assert_int_equal(source->ops->fetch(source, parts[0], 12, 0, batch, NULL), TIDE_OK);
	assert_int_equal(batch->count, 0);
	assert_int_equal(parts[0]->next, 12);
	assert_int_equal(source->ops->fetch(source, parts[0], 18, 0, batch, NULL), TIDE_OK);
	assert_int_equal(batch->count, 1);
	assert_int_equal(batch->recs[0].offset_, 12);
	assert_int_equal(parts[0]->next, 18);
	source->ops->close(source);
	tide_ring_free(ring);
	tide_memory_free(memory);
	tide_options_fini(&options);
	free(parts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_in_comes_out),
		cmocka_unit_test(every_cut_is_refused_with_the_reason),
		cmocka_unit_test(every_flipped_bit_is_refused),
		cmocka_unit_test(another_version_is_refused_by_its_number),
		cmocka_unit_test(a_file_appears_whole_and_comes_back),
		cmocka_unit_test(memory_has_offsets_of_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
