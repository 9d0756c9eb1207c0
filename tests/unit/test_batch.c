/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: what goes in comes out, and what is retired is dead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "record/batch.h"

static const struct tide_slice NONE = { NULL, 0 };

static struct tide_slice slice(const char *s)
{
	return (struct tide_slice){ s, strlen(s) };
}

static int setup(void **state)
{
	*state = tide_ring_new();
	return *state != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	tide_ring_free(*state);
	return 0;
}

static void assert_view(const struct tide_batch *batch, struct tide_view view, const char *s,
                        size_t len)
{
	assert_int_equal(view.gen_, batch->gen);
	assert_int_equal(view.len_, len);
	assert_memory_equal(tide_view_p(&view), s, len);
}

static void records_come_out_as_they_went_in(void **state)
{
	struct tide_batch *batch = tide_ring_next(*state, "orders", 3);
	char key[] = "k\0y", value[] = "some value";
	struct tide_slice k = { key, 3 }, v = { value, 10 };
	struct tide_rec *rec = tide_batch_add(batch, k, v, 42, 1000);
	memset(key, 'x', 3); /* they are copies */
	memset(value, 'x', 10);
	assert_ptr_equal(rec, &batch->recs[0]);
	assert_int_equal(batch->count, 1);
	assert_view(batch, rec->key_, "k\0y", 3);
	assert_view(batch, rec->value_, "some value", 10);
	assert_int_equal(rec->offset_, 42);
	assert_int_equal(rec->timestamp_ms_, 1000);
	assert_int_equal(rec->header_count, 0);
	assert_int_equal(rec->headers_addr_, 0);
	assert_int_equal(rec->gen_, batch->gen);
	assert_string_equal(batch->topic, "orders");
	assert_int_equal(batch->topic_len, 6);
	assert_int_equal(batch->partition, 3);
}

static void null_is_not_empty(void **state)
{
	struct tide_batch *batch = tide_ring_next(*state, "t", 0);
	struct tide_rec *rec = tide_batch_add(batch, NONE, slice(""), 0, -1);
	assert_int_equal(rec->key_.len_, -1);
	assert_int_equal(rec->key_.addr_, 0);
	assert_int_equal(rec->key_.gen_, batch->gen);
	assert_int_equal(rec->value_.len_, 0);
	assert_int_not_equal(rec->value_.addr_, 0);
	assert_int_equal(rec->timestamp_ms_, -1);
}

static void headers_belong_to_the_newest_record(void **state)
{
	struct tide_batch *batch = tide_ring_next(*state, "t", 0);
	tide_batch_add(batch, NONE, NONE, 0, 0);
	assert_true(tide_batch_headers(batch, 0));
	struct tide_rec *rec = tide_batch_add(batch, slice("k"), slice("v"), 1, 0);
	assert_true(tide_batch_headers(batch, 3));
	assert_true(tide_batch_header_set(batch, 0, slice("a"), slice("1")));
	assert_true(tide_batch_header_set(batch, 2, slice(""), NONE));
	assert_int_equal(batch->recs[0].header_count, 0);
	assert_int_equal(rec->header_count, 3);
	struct tide_header *headers = (struct tide_header *)(uintptr_t)rec->headers_addr_;
	assert_view(batch, headers[0].name_, "a", 1);
	assert_view(batch, headers[0].value_, "1", 1);
	assert_int_equal(headers[1].name_.len_, -1); /* never set */
	assert_int_equal(headers[2].name_.len_, 0);
	assert_int_equal(headers[2].value_.len_, -1);
}

static void ten_thousand_headers_and_a_large_key_fit(void **state)
{
	size_t size = 1 << 20;
	char *large = malloc(size);
	memset(large, 'L', size);
	for (int round = 0; round < 6; round++) {
		struct tide_batch *batch = tide_ring_next(*state, "t", 0);
		struct tide_rec *rec =
			tide_batch_add(batch, (struct tide_slice){ large, size }, NONE, 0, 0);
		assert_true(tide_batch_full(batch));
		assert_true(tide_batch_headers(batch, 10000));
		for (uint32_t i = 0; i < 10000; i++) {
			char name[16];
			snprintf(name, sizeof name, "h%u", i);
			assert_true(tide_batch_header_set(batch, i, slice(name), slice("v")));
		}
		struct tide_header *headers = (struct tide_header *)(uintptr_t)rec->headers_addr_;
		assert_view(batch, headers[9999].name_, "h9999", 5);
		assert_view(batch, rec->key_, large, size);
	}
	free(large);
}

static void a_batch_is_full_by_count_or_by_bytes(void **state)
{
	struct tide_batch *batch = tide_ring_next(*state, "t", 0);
	for (int i = 0; i < TIDE_BATCH_RECORDS_MAX; i++) {
		assert_false(tide_batch_full(batch));
		tide_batch_add(batch, NONE, slice("v"), i, 0);
	}
	assert_true(tide_batch_full(batch));
	batch = tide_ring_next(*state, "t", 0);
	static char value[TIDE_BATCH_BYTES_MAX];
	tide_batch_add(batch, slice("k"), (struct tide_slice){ value, sizeof value - 2 }, 0, 0);
	assert_false(tide_batch_full(batch));
	tide_batch_add(batch, NONE, slice("v"), 1, 0);
	assert_true(tide_batch_full(batch));
	batch = tide_ring_next(*state, "t", 0);
	assert_false(tide_batch_full(batch));
	tide_batch_add(batch, NONE, NONE, 0, 0);
	tide_batch_headers(batch, 1);
	tide_batch_header_set(batch, 0, slice("h"), (struct tide_slice){ value, sizeof value });
	assert_true(tide_batch_full(batch));
}

static void generations_never_repeat_and_are_never_zero(void **state)
{
	assert_null(tide_ring_find(*state, 0));
	assert_null(tide_ring_find(*state, 1));
	for (uint32_t i = 1; i < 1000; i++) {
		struct tide_batch *batch = tide_ring_next(*state, "t", 0);
		assert_int_equal(batch->gen, i);
		for (uint32_t gen = 0; gen < i + 10; gen++) {
			struct tide_batch *found = tide_ring_find(*state, gen);
			if (gen > i || gen == 0 || gen + TIDE_BATCH_RING <= i)
				assert_null(found);
			else
				assert_int_equal(found->gen, gen);
		}
	}
	assert_null(tide_ring_find(*state, 0));
	assert_null(tide_ring_find(*state, UINT32_MAX));
}

static struct tide_view read_dead(const struct tide_view *view)
{
#ifdef __SANITIZE_ADDRESS__
	ASAN_UNPOISON_MEMORY_REGION(view, sizeof *view);
#endif
	return *view;
}

static void a_retired_batch_leaves_only_dead_views(void **state)
{
	struct tide_batch *batch = tide_ring_next(*state, "t", 0);
	enum { N = TIDE_BATCH_RECORDS_MAX };
	struct tide_header *headers[N];
	struct tide_view *words[N];
	for (int i = 0; i < N; i++) {
		struct tide_rec *rec = tide_batch_add(batch, slice("key"), slice("value"), i, 0);
		tide_batch_headers(batch, 2);
		tide_batch_header_set(batch, 0, slice("n"), slice("v"));
		headers[i] = (struct tide_header *)(uintptr_t)rec->headers_addr_;
		words[i] = tide_arena_alloc(batch->arena, 4 * sizeof *words[i]);
		for (int k = 0; k < 4; k++)
			words[i][k] = tide_view_of(batch, "w", 1);
	}
	struct tide_view copy = batch->recs[7].value_;
	assert_non_null(tide_ring_find(*state, copy.gen_));
	for (int i = 1; i < TIDE_BATCH_RING; i++)
		tide_ring_next(*state, "t", 0);
	assert_ptr_equal(tide_ring_find(*state, copy.gen_), batch); /* not yet */
	assert_ptr_equal(tide_ring_next(*state, "t", 0), batch);
	for (int i = 0; i < N; i++) {
		assert_int_equal(batch->recs[i].gen_, 0);
		assert_int_equal(batch->recs[i].key_.gen_, 0);
		assert_int_equal(batch->recs[i].value_.gen_, 0);
		assert_int_equal(batch->recs[i].header_count, 0);
		for (int k = 0; k < 2; k++) {
			assert_int_equal(read_dead(&headers[i][k].name_).gen_, 0);
			assert_int_equal(read_dead(&headers[i][k].value_).gen_, 0);
		}
		for (int k = 0; k < 4; k++)
			assert_int_equal(read_dead(&words[i][k]).gen_, 0);
	}
	assert_null(tide_ring_find(*state, copy.gen_)); /* a copy is dead for ever */
	assert_int_equal(batch->count, 0);
}

static void neighbours_survive_when_one_batch_is_retired(void **state)
{
	struct tide_batch *batches[TIDE_BATCH_RING];
	for (int i = 0; i < TIDE_BATCH_RING; i++) {
		char text[32];
		snprintf(text, sizeof text, "value %d", i);
		batches[i] = tide_ring_next(*state, "t", i);
		tide_batch_add(batches[i], NONE, slice(text), i, 0);
	}
	tide_batch_add(tide_ring_next(*state, "u", 9), NONE, slice("new"), 0, 0);
	for (int i = 1; i < TIDE_BATCH_RING; i++) {
		char text[32];
		snprintf(text, sizeof text, "value %d", i);
		assert_view(batches[i], batches[i]->recs[0].value_, text, 7);
		assert_int_equal(batches[i]->partition, i);
	}
	assert_string_equal(batches[0]->topic, "u");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(records_come_out_as_they_went_in),
		TEST(null_is_not_empty),
		TEST(headers_belong_to_the_newest_record),
		TEST(ten_thousand_headers_and_a_large_key_fit),
		TEST(a_batch_is_full_by_count_or_by_bytes),
		TEST(generations_never_repeat_and_are_never_zero),
		TEST(a_retired_batch_leaves_only_dead_views),
		TEST(neighbours_survive_when_one_batch_is_retired),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
