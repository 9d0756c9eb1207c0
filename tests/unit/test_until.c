/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of keys by when they end: there and back, and what is damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "checkpoint/until.h"
#include "state/keys.h"

static const struct tide_state_op op = { .number = 7, .windowed = true };

static struct tide_slice of(const struct tide_buf *buf)
{
	assert_false(buf->failed);
	return (struct tide_slice){ buf->p, buf->len };
}

static void assert_next(struct tide_until *until, const char *want, size_t len)
{
	struct tide_slice key;
	assert_true(tide_until_next(until, &key));
	assert_int_equal(key.len, len);
	assert_memory_equal(key.p, want, len);
}

static void lists_come_back(void **state)
{
	(void)state;
	struct tide_buf key = { 0 }, value = { 0 };
	struct tide_until until;
	struct tide_slice none;
	tide_until_key(&key, op, -5000000, 63, 12, 1);
	tide_until_add(&value, "a", 1);
	tide_until_add(&value, "\0b\377", 3);
	assert_true(tide_until_open(&until, of(&key), of(&value)));
	assert_int_equal(until.end_us, -5000000);
	assert_int_equal(until.shard, 63);
	assert_next(&until, "a", 1);
	assert_next(&until, "\0b\377", 3);
	assert_false(tide_until_next(&until, &none));
	assert_false(until.left.failed);
	tide_buf_fini(&key);
	tide_buf_fini(&value);
}

static void a_key_may_be_alone(void **state)
{
	(void)state;
	struct tide_buf key = { 0 }, old = { 0 };
	struct tide_until until;
	struct tide_slice none;
	tide_until_alone(&key, op, 1704067200000000, 9, "key", 3);
	assert_true(tide_until_open(&until, of(&key), (struct tide_slice){ "", 0 }));
	assert_int_equal(until.end_us, 1704067200000000);
	assert_int_equal(until.shard, 9);
	assert_next(&until, "key", 3);
	assert_false(tide_until_next(&until, &none));
	assert_false(until.left.failed);
	/* As states lie there whose key begins with that time. */
	tide_key_put_time(&old, 1704067200000000);
	tide_buf_put(&old, "key", 3);
	struct tide_buf stored = { 0 };
	tide_state_key(&stored, op, 9, old.p, old.len);
	assert_int_equal(stored.len, key.len);
	assert_memory_equal(stored.p, key.p, key.len);
	tide_buf_fini(&key);
	tide_buf_fini(&old);
	tide_buf_fini(&stored);
}

static void lists_lie_by_their_ends_and_shards(void **state)
{
	(void)state;
	static const struct {
		int64_t end_us;
		uint32_t shard;
		int64_t epoch;
		uint32_t number;
	} lists[] = { { -1, 63, 9, 0 }, { 0, 0, 0, 0 }, { 0, 1, 0, 0 }, { 256, 0, 0, 0 } };
	struct tide_buf last = { 0 };
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		struct tide_buf key = { 0 };
		tide_until_key(&key, op, lists[i].end_us, lists[i].shard, lists[i].epoch,
		               lists[i].number);
		assert_true(i == 0 || memcmp(last.p, key.p, key.len) < 0);
		tide_buf_fini(&last);
		last = key;
	}
	tide_buf_fini(&last);
}

static void damage_is_seen(void **state)
{
	(void)state;
	struct tide_buf key = { 0 }, value = { 0 };
	struct tide_until until;
	struct tide_slice one;
	tide_until_key(&key, op, 1, 2, 3, 4);
	tide_until_add(&value, "key", 3);
	for (size_t len = 1; len < value.len; len++) {
		assert_true(tide_until_open(&until, of(&key), (struct tide_slice){ value.p, len }));
		assert_false(tide_until_next(&until, &one));
		assert_true(until.left.failed);
	}
	for (size_t len = 0; len <= 12; len++)
		assert_false(
			tide_until_open(&until, (struct tide_slice){ key.p, len }, of(&value)));
	key.p[11] = 64; /* no shard has this number */
	assert_false(tide_until_open(&until, of(&key), of(&value)));
	tide_buf_fini(&key);
	tide_buf_fini(&value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_come_back),
		cmocka_unit_test(a_key_may_be_alone),
		cmocka_unit_test(lists_lie_by_their_ends_and_shards),
		cmocka_unit_test(damage_is_seen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
