/* SPDX-License-Identifier: Apache-2.0 */
/* The decision record: there and back, and no damaged one is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/hash.h"
#include "checkpoint/checkpoint.h"

static struct tide_error err;

static void fill(struct tide_meta *meta)
{
	*meta = (struct tide_meta){ .format = TIDE_CHECKPOINT_FORMAT,
		                    .checkpoint_id = 0x1122334455667788,
		                    .decision = 12,
		                    .epoch = 9,
		                    .decided_us = 5,
		                    .now_us = -6,
		                    .job_hash = 7,
		                    .job = strdup("wordcount"),
		                    .plan = strdup("plan\n\xc3\xa4"),
		                    .cluster = strdup(""),
		                    .watermark_us = INT64_MIN,
		                    .rows_in = 1,
		                    .rows_out = 2,
		                    .rows_filtered = 3,
		                    .rows_failed = 4,
		                    .rows_late = 5,
		                    .rows_lost = UINT64_MAX,
		                    .rows_malformed = 6 };
	for (int p = 0; p < 3; p++) {
		struct tide_position *at = tide_meta_position_add(meta, p == 2 ? "b" : "a", p % 2);
		assert_non_null(at);
		assert_int_equal(at->print_offset, -1); /* no fingerprint yet */
		at->from = 10 * p;
		at->next = 10 * p + 5;
		at->print_hash = UINT64_MAX - (uint64_t)p;
	}
	struct tide_sink_mark *mark = tide_meta_sink_add(meta, "console");
	assert_non_null(mark);
	mark->since = 1;
	mark->due = 9;
	mark->acked = -1;
	struct tide_event_mark *event = tide_meta_mark(meta, "events.ts");
	assert_non_null(event);
	assert_int_equal(event->next_us, INT64_MIN); /* unset */
	event->used_us = -5;
	event->next_us = 1000;
	event->ahead = 2;
	struct tide_event_part *part = tide_meta_mark_part(event, "a", 1);
	assert_non_null(part);
	assert_int_equal(part->max_us, INT64_MIN);
	part->max_us = 31000;
	part->idle = true;
	struct tide_late_count *late = tide_meta_late(meta, "count(id,window)");
	assert_non_null(late);
	late->late = 7;
	late->untimed = 1;
	late->most_us = 99;
	late->seen = 12;
	late->beyond = 3;
	late->keys[0] = 4;
	late->keys[TIDE_LATE_REGISTERS - 1] = UINT32_MAX;
	assert_non_null(tide_meta_late(meta, "none yet"));
	struct tide_state_count *state = tide_meta_state_add(meta, "count(id,window)");
	assert_non_null(state);
	assert_int_equal(state->closed_us, INT64_MIN); /* none */
	state->rows = 8;
	state->closed_us = -7;
}

static void assert_same_bytes(const struct tide_meta *a, const struct tide_meta *b)
{
	struct tide_buf x = { 0 }, y = { 0 };
	tide_meta_encode(a, &x);
	tide_meta_encode(b, &y);
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.p, y.p, x.len);
	tide_buf_fini(&x);
	tide_buf_fini(&y);
}

static void record_comes_back_as_it_was(void **state)
{
	(void)state;
	struct tide_meta meta, back, copy;
	struct tide_buf bytes = { 0 };
	fill(&meta);
	tide_meta_encode(&meta, &bytes);
	assert_int_equal(tide_meta_decode((struct tide_slice){ bytes.p, bytes.len }, &back, &err),
	                 TIDE_OK);
	assert_same_bytes(&meta, &back);
	assert_string_equal(back.job, "wordcount");
	assert_int_equal(back.watermark_us, INT64_MIN);
	assert_int_equal(back.rows_lost, UINT64_MAX);
	assert_int_equal(back.rows_malformed, 6);
	assert_int_equal(tide_meta_position(&back, "b", 0)->next, 25);
	assert_null(tide_meta_position(&back, "b", 1));
	assert_int_equal(tide_meta_sink(&back, "console")->acked, -1);
	assert_null(tide_meta_sink(&back, "other"));
	assert_int_equal(back.mark_count, 1);
	assert_int_equal(tide_meta_mark(&back, "events.ts")->used_us, -5);
	assert_true(tide_meta_mark_part(&back.marks[0], "a", 1)->idle);
	assert_int_equal(tide_meta_late(&back, "count(id,window)")->late, 7);
	assert_int_equal(tide_meta_late(&back, "count(id,window)")->beyond, 3);
	assert_int_equal(tide_meta_state(&back, "count(id,window)")->rows, 8);
	assert_int_equal(tide_meta_state(&back, "count(id,window)")->closed_us, -7);
	assert_null(tide_meta_state(&back, "other"));
	assert_true(tide_meta_copy(&copy, &back));
	assert_same_bytes(&copy, &back);
	tide_meta_fini(&back); /* the copy owns its texts */
	assert_same_bytes(&copy, &meta);
	tide_meta_fini(&copy);
	tide_meta_fini(&meta);
	tide_buf_fini(&bytes);
}

static void forget_lates(struct tide_meta *meta)
{
	for (int i = 0; i < meta->late_count; i++)
		free(meta->lates[i].name);
	meta->late_count = 0;
}

/* What of it formats 4 and 5 have added. */
enum {
	NEW_IN_4 = 2 * 2 * sizeof(uint64_t) + 4 * TIDE_LATE_REGISTERS,
	NEW_IN_5 = 2 * sizeof(uint32_t) + sizeof("count(id,window)") - 1 + 2 * sizeof(uint64_t)
};

/* Format 4 does not know how many states there are, so somebody will count them. */
static void a_record_of_format_4_has_counted_no_states(void **state)
{
	(void)state;
	enum { HASH_SEED = 0x4154454d };
	struct tide_meta meta, back;
	struct tide_buf bytes = { 0 }, old = { 0 };
	fill(&meta);
	tide_meta_encode(&meta, &bytes);
	size_t body = bytes.len - sizeof(uint64_t) - NEW_IN_5;
	tide_buf_put(&old, bytes.p, body);
	old.p[4] = 4;
	tide_buf_u64(&old, tide_hash(old.p, body, HASH_SEED));
	assert_int_equal(tide_meta_decode((struct tide_slice){ old.p, old.len }, &back, &err),
	                 TIDE_OK);
	assert_int_equal(back.lates[0].seen, 12);
	assert_null(tide_meta_state(&back, "count(id,window)"));
	tide_meta_fini(&back);
	tide_meta_fini(&meta);
	tide_buf_fini(&old);
	tide_buf_fini(&bytes);
}

/* Format 3 knows of late rows how many there were, and how late. */
static void a_record_of_format_3_knows_how_many_rows_were_late(void **state)
{
	(void)state;
	enum { HASH_SEED = 0x4154454d };
	struct tide_meta meta, back;
	struct tide_buf bytes = { 0 }, old = { 0 };
	fill(&meta);
	tide_meta_encode(&meta, &bytes);
	size_t body = bytes.len - sizeof(uint64_t) - NEW_IN_4 - NEW_IN_5;
	tide_buf_put(&old, bytes.p, body);
	old.p[4] = 3;
	tide_buf_u64(&old, tide_hash(old.p, body, HASH_SEED));
	assert_int_equal(tide_meta_decode((struct tide_slice){ old.p, old.len }, &back, &err),
	                 TIDE_OK);
	assert_int_equal(back.lates[0].late, 7);
	assert_int_equal(back.lates[0].most_us, 99);
	assert_int_equal(back.lates[0].seen, 0);
	assert_int_equal(back.lates[0].keys[0], 0);
	assert_int_equal(back.rows_malformed, 6);
	tide_meta_fini(&back);
	tide_meta_fini(&meta);
	tide_buf_fini(&old);
	tide_buf_fini(&bytes);
}

/* Up to its lists of event time a record is what it was in format 1. */
static void a_record_of_format_1_is_one_without_event_time(void **state)
{
	(void)state;
	enum { NEW = 2 * sizeof(uint32_t) + sizeof(uint64_t), HASH_SEED = 0x4154454d };
	struct tide_meta meta, back;
	struct tide_buf bytes = { 0 }, old = { 0 };
	fill(&meta);
	tide_meta_forget_marks(&meta);
	forget_lates(&meta);
	tide_meta_encode(&meta, &bytes);
	size_t body = bytes.len - sizeof(uint64_t) - NEW - NEW_IN_5;
	tide_buf_put(&old, bytes.p, body);
	old.p[4] = 1;
	tide_buf_u64(&old, tide_hash(old.p, body, HASH_SEED));
	assert_int_equal(tide_meta_decode((struct tide_slice){ old.p, old.len }, &back, &err),
	                 TIDE_OK);
	assert_int_equal(back.format, 1);
	assert_int_equal(back.mark_count, 0);
	assert_int_equal(tide_meta_sink(&back, "console")->due, 9);
	tide_meta_fini(&back);
	tide_meta_fini(&meta);
	tide_buf_fini(&bytes);
	tide_buf_fini(&old);
}

/* A record of format 2 ends before the count of malformed records. */
static void a_record_of_format_2_has_counted_none_as_malformed(void **state)
{
	(void)state;
	enum { HASH_SEED = 0x4154454d };
	struct tide_meta meta, back;
	struct tide_buf bytes = { 0 }, old = { 0 };
	fill(&meta);
	tide_meta_encode(&meta, &bytes);
	size_t body = bytes.len - 2 * sizeof(uint64_t) - NEW_IN_4 - NEW_IN_5;
	tide_buf_put(&old, bytes.p, body);
	old.p[4] = 2;
	tide_buf_u64(&old, tide_hash(old.p, body, HASH_SEED));
	assert_int_equal(tide_meta_decode((struct tide_slice){ old.p, old.len }, &back, &err),
	                 TIDE_OK);
	assert_int_equal(back.rows_malformed, 0);
	assert_int_equal(tide_meta_late(&back, "count(id,window)")->late, 7);
	tide_meta_fini(&back);
	tide_meta_fini(&meta);
	tide_buf_fini(&bytes);
	tide_buf_fini(&old);
}

static void every_flipped_bit_is_refused(void **state)
{
	(void)state;
	struct tide_meta meta, back;
	struct tide_buf bytes = { 0 };
	fill(&meta);
	tide_meta_encode(&meta, &bytes);
	for (size_t bit = 0; bit < bytes.len * 8; bit++) {
		bytes.p[bit / 8] = (char)(bytes.p[bit / 8] ^ (1 << bit % 8));
		assert_int_equal(
			tide_meta_decode((struct tide_slice){ bytes.p, bytes.len }, &back, &err),
			TIDE_ERR_CHECKPOINT);
		assert_null(back.positions);
		bytes.p[bit / 8] = (char)(bytes.p[bit / 8] ^ (1 << bit % 8));
	}
	tide_meta_fini(&meta);
	tide_buf_fini(&bytes);
}

static void every_other_length_is_refused(void **state)
{
	(void)state;
	struct tide_meta meta, back;
	struct tide_buf bytes = { 0 };
	fill(&meta);
	tide_meta_encode(&meta, &bytes);
	for (size_t len = 0; len <= bytes.len + 1; len++) {
		/* Of exactly this size, so that the sanitizer sees a byte too many. */
		char *part = malloc(len > 0 ? len : 1);
		assert_non_null(part);
		memset(part, 0, len);
		memcpy(part, bytes.p, len < bytes.len ? len : bytes.len);
		int rc = tide_meta_decode((struct tide_slice){ part, len }, &back, &err);
		assert_int_equal(rc, len == bytes.len ? TIDE_OK : TIDE_ERR_CHECKPOINT);
		tide_meta_fini(&back);
		free(part);
	}
	tide_meta_fini(&meta);
	tide_buf_fini(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_comes_back_as_it_was),
		cmocka_unit_test(a_record_of_format_4_has_counted_no_states),
		cmocka_unit_test(a_record_of_format_3_knows_how_many_rows_were_late),
		cmocka_unit_test(a_record_of_format_1_is_one_without_event_time),
		cmocka_unit_test(a_record_of_format_2_has_counted_none_as_malformed),
		cmocka_unit_test(every_flipped_bit_is_refused),
		cmocka_unit_test(every_other_length_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
