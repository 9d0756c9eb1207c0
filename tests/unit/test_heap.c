/* SPDX-License-Identifier: Apache-2.0 */
/* The heap of a Lua state against a plain model, and its limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "job/heap.h"

enum { BLOCKS = 200, ROUNDS = 100000 };

struct block {
	unsigned char *p;
	size_t size;
	unsigned char fill;
};

static void block_check(const struct block *block)
{
	for (size_t i = 0; i < block->size; i++)
		assert_int_equal(block->p[i], block->fill);
}

static void blocks_keep_what_was_written_to_them(void **state)
{
	(void)state;
	struct tide_heap heap = { .max = 64 << 20 };
	struct block blocks[BLOCKS] = { 0 };
	unsigned seed = 20240101;
	size_t used = 0;
	for (int round = 0; round < ROUNDS; round++) {
		struct block *block = &blocks[rand_r(&seed) % BLOCKS];
		size_t size = rand_r(&seed) % 4 == 0 ? 0 : (size_t)(rand_r(&seed) % 600);
		block_check(block);
		if (size == 0 && block->p == NULL)
			continue;
		unsigned char *p = tide_heap_alloc(&heap, block->p, block->size, size);
		assert_true((p == NULL) == (size == 0));
		assert_int_equal((uintptr_t)p % 8, 0);
		for (size_t i = 0; i < block->size && i < size; i++)
			assert_int_equal(p[i], block->fill);
		used += size - block->size;
		assert_int_equal(heap.used, used);
		*block = (struct block){ p, size, (unsigned char)rand_r(&seed) };
		if (size > 0)
			memset(p, block->fill, size);
	}
	for (int i = 0; i < BLOCKS; i++)
		tide_heap_alloc(&heap, blocks[i].p, blocks[i].size, 0);
	assert_int_equal(heap.used, 0);
	tide_heap_fini(&heap);
}

static void limit_refuses_and_shrinking_still_works(void **state)
{
	(void)state;
	struct tide_heap heap = { .max = 1000 };
	void *p = tide_heap_alloc(&heap, NULL, 6, 1000); /* `old` is a type here */
	assert_non_null(p);
	assert_null(tide_heap_alloc(&heap, NULL, 0, 1));
	assert_true(heap.hit);
	assert_null(tide_heap_alloc(&heap, p, 1000, 1001));
	assert_int_equal(heap.used, 1000);
	p = tide_heap_alloc(&heap, p, 1000, 10);
	assert_non_null(p);
	assert_int_equal(heap.used, 10);
	void *q = tide_heap_alloc(&heap, NULL, 0, 990);
	assert_non_null(q);
	assert_null(tide_heap_alloc(&heap, NULL, 0, SIZE_MAX));
	tide_heap_alloc(&heap, q, 990, 0);
	tide_heap_alloc(&heap, p, 10, 0);
	tide_heap_fini(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_keep_what_was_written_to_them),
		cmocka_unit_test(limit_refuses_and_shrinking_still_works),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
