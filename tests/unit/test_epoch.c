/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of the backlog, and the rate limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "run/epoch.h"

static void split_is_proportional_to_the_backlog(void **state)
{
	(void)state;
	int64_t backlog[] = { 6000, 3000, 1000 }, take[3];
	tide_epoch_split(backlog, 3, 1000, take);
	assert_int_equal(take[0], 600);
	assert_int_equal(take[1], 300);
	assert_int_equal(take[2], 100);
}

static void split_takes_everything_when_it_fits(void **state)
{
	(void)state;
	int64_t backlog[] = { 5, 0, 7 }, take[3];
	tide_epoch_split(backlog, 3, 12, take);
	assert_int_equal(take[0], 5);
	assert_int_equal(take[1], 0);
	assert_int_equal(take[2], 7);
}

static void split_is_exact_in_total_and_never_more_than_there_is(void **state)
{
	(void)state;
	unsigned seed = 20240101;
	for (int round = 0; round < 20000; round++) {
		int count = 1 + rand_r(&seed) % 12;
		int64_t backlog[12], take[12], total = 0, given = 0;
		for (int i = 0; i < count; i++) {
			backlog[i] = rand_r(&seed) % 3 == 0 ? 0 : rand_r(&seed) % 100000;
			total += backlog[i];
		}
		int64_t limit = rand_r(&seed) % 120000;
		tide_epoch_split(backlog, count, limit, take);
		for (int i = 0; i < count; i++) {
			assert_true(take[i] >= 0 && take[i] <= backlog[i]);
			given += take[i];
		}
		assert_int_equal(given, total < limit ? total : limit);
	}
}

/* What one record is worth: rounding down has kept so much of it from the partition. */
static int64_t owed(int64_t backlog, int64_t limit, int64_t total)
{
	return (int64_t)((__int128)limit * backlog % total);
}

static void split_gives_what_is_left_to_those_who_are_owed_most(void **state)
{
	(void)state;
	unsigned seed = 20261121;
	for (int round = 0; round < 200; round++) {
		int64_t backlog[100], take[100], total = 0;
		for (int i = 0; i < 100; i++) {
			backlog[i] = rand_r(&seed) % 1000;
			total += backlog[i];
		}
		int64_t limit = 1 + rand_r(&seed) % (total - 1), least = total, most = -1;
		tide_epoch_split(backlog, 100, limit, take);
		for (int i = 0; i < 100; i++) {
			int64_t down = limit * backlog[i] / total;
			int64_t rest = owed(backlog[i], limit, total);
			assert_true(take[i] == down || take[i] == down + 1);
			if (take[i] > down && rest < least)
				least = rest;
			if (take[i] == down && rest > most)
				most = rest;
		}
		assert_true(least >= most);
	}
}

static void split_does_not_overflow(void **state)
{
	(void)state;
	int64_t backlog[] = { INT64_MAX / 4, INT64_MAX / 4 }, take[2];
	tide_epoch_split(backlog, 2, INT64_MAX / 4, take);
	assert_int_equal(take[0] + take[1], INT64_MAX / 4);
	assert_true(llabs(take[0] - take[1]) <= 1);
}

/* Partitions whose event time goes at so many microseconds a record. */
static void level_brings_all_to_one_event_time(void **state)
{
	(void)state;
	struct tide_pace paces[] = {
		{ .at_us = 1000, .gained_us = 10, .gained_records = 1, .backlog = 100000 },
		{ .at_us = 1000, .gained_us = 40, .gained_records = 2, .backlog = 100000 },
		{ .at_us = 51000, .gained_us = 5, .gained_records = 1, .backlog = 100000 },
		{ .at_us = 1000000000, .gained_us = 5, .gained_records = 1, .backlog = 100000 },
	};
	/* To 101,000: 10,000, 5,000 and 10,000 records; the last is beyond that. */
	tide_epoch_level(paces, 4, 25000, 0);
	assert_in_range(paces[0].allowed, 10000, 10002);
	assert_in_range(paces[1].allowed, 5000, 5002);
	assert_in_range(paces[2].allowed, 10000, 10002);
	assert_int_equal(paces[3].allowed, 0);
	/* What one does not have the others may take. */
	paces[0].backlog = 10;
	tide_epoch_level(paces, 4, 25000, 0);
	assert_int_equal(paces[0].allowed, 10);
	assert_in_range(paces[1].allowed + paces[2].allowed, 24990, 24994);
}

static void level_gives_those_of_unknown_pace_that_of_the_others(void **state)
{
	(void)state;
	struct tide_pace paces[] = {
		{ .at_us = 0, .gained_us = 100, .gained_records = 10, .backlog = 5000 },
		{ .at_us = 20000, .backlog = 5000 },
	};
	tide_epoch_level(paces, 2, 4000, 0);
	assert_in_range(paces[0].allowed, 3000, 3002);
	assert_in_range(paces[1].allowed, 1000, 1002);
}

static void level_holds_those_ahead_while_no_pace_is_known(void **state)
{
	(void)state;
	struct tide_pace paces[] = { { .at_us = INT64_MIN + 1, .backlog = 7 },
		                     { .at_us = INT64_MAX, .backlog = 8 },
		                     { .at_us = INT64_MIN + 100, .backlog = 9 } };
	tide_epoch_level(paces, 3, 5, 99);
	assert_int_equal(paces[0].allowed, 7);
	assert_int_equal(paces[1].allowed, 0);
	assert_int_equal(paces[2].allowed, 9);
}

static void level_allows_enough_and_no_more_than_there_is(void **state)
{
	(void)state;
	unsigned seed = 7;
	for (int round = 0; round < 3000; round++) {
		struct tide_pace paces[9];
		int count = 1 + rand_r(&seed) % 9;
		int64_t all = 0, allowed = 0;
		for (int i = 0; i < count; i++) {
			paces[i] = (struct tide_pace){
				.at_us = INT64_C(1700000000000000) + rand_r(&seed) % 100000000,
				.gained_us = rand_r(&seed) % 4 == 0 ? 0 : rand_r(&seed) % 1000000,
				.gained_records = rand_r(&seed) % 3 == 0 ? 0 : rand_r(&seed) % 1000,
				.backlog = 1 + rand_r(&seed) % 100000,
			};
			all += paces[i].backlog;
		}
		int64_t limit = 1 + rand_r(&seed) % all;
		tide_epoch_level(paces, count, limit, INT64_MAX / 4);
		for (int i = 0; i < count; i++) {
			assert_in_range(paces[i].allowed, 0, paces[i].backlog);
			allowed += paces[i].allowed;
		}
		assert_true(allowed >= limit);
	}
}

static void rate_never_gives_more_than_its_second(void **state)
{
	(void)state;
	struct tide_rate rate;
	int64_t now = 1000000, given[3] = { 0 };
	tide_rate_init(&rate, 5000, now);
	for (int second = 0; second < 3; second++) {
		for (int ms = 0; ms < 1000; ms++, now += 1000) {
			int64_t allowed = tide_rate_allow(&rate, 1000000, now);
			tide_rate_take(&rate, allowed);
			given[second] += allowed;
		}
		assert_true(given[second] <= 5500 && given[second] >= 4500);
	}
}

static void rate_lets_a_small_backlog_through_at_once(void **state)
{
	(void)state;
	struct tide_rate rate;
	tide_rate_init(&rate, 5000, 0);
	assert_int_equal(tide_rate_allow(&rate, 1, 1000), 1);
	tide_rate_init(&rate, 0, 0);
	assert_int_equal(tide_rate_allow(&rate, 123456, 1), 123456);
}

static void fit_takes_what_memory_has_room_for(void **state)
{
	(void)state;
	struct tide_fit fit = { 0 };
	assert_int_equal(tide_fit_allow(&fit, 1000000), 1000000);
	tide_fit_learn(&fit, 200000, 1001);
	int64_t most = tide_fit_allow(&fit, 1000000);
	assert_true(most > 150000 && most < 200000);
	assert_int_equal(tide_fit_allow(&fit, 10), 10);
	/* Half as much a record: twice as many of them. */
	tide_fit_learn(&fit, most, 437);
	assert_true(tide_fit_allow(&fit, 1000000) > most * 19 / 10);
	tide_fit_learn(&fit, most, 10);
	assert_int_equal(tide_fit_allow(&fit, 1000000), 1000000);
}

static void fit_lets_one_record_through_that_fills_all(void **state)
{
	(void)state;
	struct tide_fit fit = { 0 };
	tide_fit_learn(&fit, 1, 4000000);
	assert_int_equal(tide_fit_allow(&fit, 1000), 1);
	tide_fit_learn(&fit, INT64_MAX / 2, 1001);
	assert_int_equal(tide_fit_allow(&fit, 1000), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_is_proportional_to_the_backlog),
		cmocka_unit_test(split_takes_everything_when_it_fits),
		cmocka_unit_test(split_is_exact_in_total_and_never_more_than_there_is),
		cmocka_unit_test(split_gives_what_is_left_to_those_who_are_owed_most),
		cmocka_unit_test(split_does_not_overflow),
		cmocka_unit_test(level_brings_all_to_one_event_time),
		cmocka_unit_test(level_gives_those_of_unknown_pace_that_of_the_others),
		cmocka_unit_test(level_holds_those_ahead_while_no_pace_is_known),
		cmocka_unit_test(level_allows_enough_and_no_more_than_there_is),
		cmocka_unit_test(rate_never_gives_more_than_its_second),
		cmocka_unit_test(rate_lets_a_small_backlog_through_at_once),
		cmocka_unit_test(fit_takes_what_memory_has_room_for),
		cmocka_unit_test(fit_lets_one_record_through_that_fills_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
