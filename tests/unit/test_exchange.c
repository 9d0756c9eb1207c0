/* SPDX-License-Identifier: Apache-2.0 */
/* How partitions and shards are shared out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "run/crew.h"
#include "run/exchange.h"

static void ten_partitions_over_three_workers_are_four_three_three(void **state)
{
	(void)state;
	int first, some;
	tide_crew_slice(10, 3, 0, &first, &some);
	assert_int_equal(first, 0);
	assert_int_equal(some, 4);
	tide_crew_slice(10, 3, 1, &first, &some);
	assert_int_equal(first, 4);
	assert_int_equal(some, 3);
	tide_crew_slice(10, 3, 2, &first, &some);
	assert_int_equal(first, 7);
	assert_int_equal(some, 3);
}

static void slices_cover_everything_once(void **state)
{
	(void)state;
	for (int count = 0; count < 40; count++) {
		for (int workers = 1; workers < 20; workers++) {
			int next = 0;
			for (int w = 0; w < workers; w++) {
				int first, some;
				tide_crew_slice(count, workers, w, &first, &some);
				assert_int_equal(first, next);
				next += some;
			}
			assert_int_equal(next, count);
		}
	}
}

static void owners_in_order_are_shards_in_order(void **state)
{
	(void)state;
	for (int workers = 1; workers <= TIDE_WORKERS_MAX; workers++) {
		int last = 0;
		for (uint32_t shard = 0; shard < TIDE_SHARDS; shard++) {
			int owner = tide_exchange_owner(shard, workers);
			assert_true(owner == last || owner == last + 1);
			last = owner;
		}
		assert_int_equal(last, workers - 1);
	}
}

/* Every key of a delta reaches the owner of its shard, exactly once. */
static void exchange_delivers_every_entry_to_its_owner(void **state)
{
	(void)state;
	enum { WORKERS = 3, KEYS = 5000 };
	struct tide_keyspec spec = { .count = 1, .columns = { 0 }, .types = { TIDE_INT } };
	struct tide_table *delta = tide_table_new(&spec, 8);
	struct tide_exchange *exchange = tide_exchange_new(WORKERS, 1);
	struct tide_error err = { 0 };
	for (int i = 0; i < KEYS; i++) {
		struct tide_cell cell = { .i = i };
		char key[16];
		uint32_t len = (uint32_t)(tide_key_encode(&spec, &cell, key) - key);
		assert_non_null(tide_table_put(delta, key, len));
	}
	assert_int_equal(tide_exchange_send(exchange, 0, 1, delta, &err), TIDE_OK);
	size_t total = 0;
	for (int to = 0; to < WORKERS; to++) {
		size_t count;
		struct tide_table *from = NULL;
		struct tide_entry **entries =
			tide_exchange_receive(exchange, 0, 1, to, &from, &count);
		assert_ptr_equal(from, delta);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(tide_exchange_owner(entries[i]->shard, WORKERS), to);
		total += count;
	}
	assert_int_equal(total, KEYS);
	tide_exchange_free(exchange);
	tide_table_free(delta);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_partitions_over_three_workers_are_four_three_three),
		cmocka_unit_test(slices_cover_everything_once),
		cmocka_unit_test(owners_in_order_are_shards_in_order),
		cmocka_unit_test(exchange_delivers_every_entry_to_its_owner),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
