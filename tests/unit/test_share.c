/* SPDX-License-Identifier: Apache-2.0 */
/* Shares that are handed over while they are read: each to its end, by one at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "record/batch.h"
#include "run/share.h"

enum { SHARES = 16, EACH = 40000, BATCH = 100 };

static struct tide_source_part parts[SHARES];
static struct tide_share shares[SHARES];

struct reader {
	pthread_t thread;
	int worker;
	int64_t batches;
};

static void *read_shares(void *arg)
{
	struct reader *reader = arg;
	int other = 1 - reader->worker;
	bool left = true;
	while (left) {
		left = false;
		for (int i = 0; i < SHARES; i++) {
			if (!tide_share_hold(&shares[i], reader->worker))
				continue;
			if (!tide_share_done(&shares[i])) {
				shares[i].part->next += BATCH;
				reader->batches++;
			}
			left = left || !tide_share_done(&shares[i]);
			tide_share_let_go(&shares[i]);
		}
		for (int i = 0; !left && i < SHARES; i++)
			left = tide_share_take(&shares[i], other, reader->worker);
	}
	return NULL;
}

static void each_is_read_to_its_end_and_once(void **state)
{
	struct reader readers[2] = { { .worker = 0 }, { .worker = 1 } };
	(void)state;
	for (int i = 0; i < SHARES; i++) {
		parts[i].next = 0;
		shares[i] = (struct tide_share){ .part = &parts[i], .to = EACH };
		tide_share_give(&shares[i], 0); /* All are the first one's. */
	}
	for (int w = 0; w < 2; w++)
		assert_int_equal(pthread_create(&readers[w].thread, NULL, read_shares, &readers[w]),
		                 0);
	for (int w = 0; w < 2; w++)
		assert_int_equal(pthread_join(readers[w].thread, NULL), 0);
	for (int i = 0; i < SHARES; i++)
		assert_int_equal(parts[i].next, EACH);
	assert_int_equal(readers[0].batches + readers[1].batches, SHARES * (EACH / BATCH));
}

static void only_what_is_worth_it_is_taken(void **state)
{
	struct tide_source_part part = { .next = 0 };
	struct tide_share share = { .part = &part, .to = TIDE_BATCH_RECORDS_MAX };
	(void)state;
	tide_share_give(&share, 3);
	assert_false(tide_share_take(&share, 2, 1)); /* not his */
	assert_true(tide_share_hold(&share, 3));
	assert_false(tide_share_take(&share, 3, 1)); /* it is being read */
	tide_share_let_go(&share);
	atomic_store(&part.quiet, true);
	assert_false(tide_share_take(&share, 3, 1)); /* nothing is there to read */
	atomic_store(&part.quiet, false);
	part.next = share.to - 1;
	assert_false(tide_share_take(&share, 3, 1)); /* almost done */
	part.next = 0;
	assert_true(tide_share_take(&share, 3, 1));
	assert_true(tide_share_is_of(&share, 1));
	assert_false(tide_share_hold(&share, 3));
	assert_true(tide_share_hold(&share, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_read_to_its_end_and_once),
		cmocka_unit_test(only_what_is_worth_it_is_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
