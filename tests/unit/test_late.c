/* SPDX-License-Identifier: Apache-2.0 */
/* Late rows: what is one, and what is counted of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "record/batch.h"
#include "run/sieve.h"

static void the_newest_window_of_a_time_is_found_before_1970_too(void **state)
{
	(void)state;
	assert_int_equal(tide_late_window_end(0, 10, 10, 0), 10);
	assert_int_equal(tide_late_window_end(9, 10, 10, 0), 10);
	assert_int_equal(tide_late_window_end(10, 10, 10, 0), 20);
	assert_int_equal(tide_late_window_end(-1, 10, 10, 0), 0);
	assert_int_equal(tide_late_window_end(-10, 10, 10, 0), 0);
	assert_int_equal(tide_late_window_end(-11, 10, 10, 0), -10);
	assert_int_equal(tide_late_window_end(12, 30, 10, 0), 40);
	assert_int_equal(tide_late_window_end(12, 10, 10, 3), 13);
	assert_int_equal(tide_late_window_end(13, 10, 10, 3), 23);
}

/* Rows of one int column, from a batch of as many records. */
struct fixture {
	struct tide_ring *ring;
	struct tide_batch *batch;
	struct tide_mark marks[2];
	struct tide_plan_late plan;
	struct tide_sieve sieve;
};

static void begin(struct fixture *f, struct tide_plan_late plan, int records)
{
	*f = (struct fixture){ .ring = tide_ring_new(), .plan = plan };
	assert_non_null(f->ring);
	f->batch = tide_ring_next(f->ring, "t", 3);
	assert_non_null(f->batch);
	for (int i = 0; i < records; i++)
		assert_non_null(tide_batch_add(f->batch, (struct tide_slice){ "k", 1 },
		                               (struct tide_slice){ "v", 1 }, 1000 + i, -1));
	f->marks[0].watermark_us = 100;
	f->marks[1].watermark_us = 50;
	tide_sieve_init(&f->sieve, &f->plan, f->marks);
	tide_sieve_batch(&f->sieve, f->batch);
}

static bool sift(struct fixture *f, uint32_t row, int64_t time_us, int64_t key)
{
	struct tide_cell cell = { .i = key };
	f->marks[0].time_us = time_us;
	return tide_sieve_sift(&f->sieve, &cell, row);
}

static const struct tide_plan_late audit = {
	.own = 1, .late = TIDE_LATE_STRICT, .sample = 1, .column_count = 1
};

static void late_is_before_one_watermark_and_not_before_the_other(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, audit, 5);
	f.marks[1].untimed = 1;
	assert_false(sift(&f, 0, 100, 1));
	assert_true(f.marks[1].untimed);
	assert_true(sift(&f, 1, 99, 1));
	assert_false(f.marks[1].untimed);
	assert_int_equal(f.marks[1].time_us, 99);
	assert_true(sift(&f, 2, 50, 2));
	assert_false(sift(&f, 3, 49, 3));
	f.marks[0].untimed = 1;
	assert_false(sift(&f, 4, 60, 4));
	assert_int_equal(f.sieve.counts.seen, 5);
	assert_int_equal(f.sieve.counts.late, 2);
	assert_int_equal(f.sieve.counts.beyond, 1);
	assert_int_equal(f.sieve.counts.untimed, 1);
	assert_int_equal(f.sieve.counts.most_us, 50);
	tide_ring_free(f.ring);
}

static uint64_t keys_of(struct fixture *f)
{
	struct tide_late_count *known = calloc(1, sizeof *known);
	assert_non_null(known);
	tide_late_note(known, &f->sieve.counts, &f->sieve.keys);
	uint64_t count = tide_late_keys_count(known);
	free(known);
	return count;
}

static void a_row_that_failed_was_not_late(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, audit, 4);
	assert_true(sift(&f, 0, 99, 1));
	assert_true(sift(&f, 1, 51, 2)); /* one record, two rows */
	assert_true(sift(&f, 1, 51, 3));
	tide_sieve_drop(&f.sieve, 0); /* another row, long past */
	assert_int_equal(f.sieve.counts.late, 3);
	tide_sieve_drop(&f.sieve, 1);
	assert_int_equal(f.sieve.counts.late, 1);
	assert_int_equal(f.sieve.counts.most_us, 1);
	assert_int_equal(keys_of(&f), 1);
	tide_ring_free(f.ring);
}

static void a_sample_is_decided_by_where_a_record_is(void **state)
{
	(void)state;
	enum { RECORDS = TIDE_BATCH_RECORDS_MAX };
	struct fixture f;
	struct tide_plan_late plan = audit;
	plan.sample = 0.25;
	static bool first[RECORDS];
	int shown = 0;
	for (int round = 0; round < 2; round++) {
		begin(&f, plan, RECORDS);
		for (uint32_t i = 0; i < RECORDS; i++) {
			bool in = sift(&f, i, 60, i);
			shown += in;
			if (round == 0)
				first[i] = in;
			assert_int_equal(in, first[i]);
		}
		assert_int_equal(f.sieve.counts.late, RECORDS);
		assert_in_range(keys_of(&f), RECORDS * 85 / 100, RECORDS * 115 / 100);
		tide_ring_free(f.ring);
	}
	assert_in_range(shown / 2, RECORDS / 5, RECORDS * 3 / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_window_of_a_time_is_found_before_1970_too),
		cmocka_unit_test(late_is_before_one_watermark_and_not_before_the_other),
		cmocka_unit_test(a_row_that_failed_was_not_late),
		cmocka_unit_test(a_sample_is_decided_by_where_a_record_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
