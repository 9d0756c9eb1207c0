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
		                    .rows_lost = UINT64_MAX };
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
	assert_int_equal(tide_meta_position(&back, "b", 0)->next, 25);
	assert_null(tide_meta_position(&back, "b", 1));
	assert_int_equal(tide_meta_sink(&back, "console")->acked, -1);
	assert_null(tide_meta_sink(&back, "other"));
	assert_true(tide_meta_copy(&copy, &back));
	assert_same_bytes(&copy, &back);
	tide_meta_fini(&back); /* the copy owns its texts */
	assert_same_bytes(&copy, &meta);
	tide_meta_fini(&copy);
	tide_meta_fini(&meta);
	tide_buf_fini(&bytes);
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
		cmocka_unit_test(every_flipped_bit_is_refused),
		cmocka_unit_test(every_other_length_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
