/* SPDX-License-Identifier: Apache-2.0 */
/* See heap.h. Small blocks come from lists by size and return to them; chunks
 * go back to the system with the state. Larger blocks are malloc's, in one list. */
#include "job/heap.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
enum { SMALL_MAX = 0 }; /* every block on its own, so that misuse shows */
#else
enum { SMALL_MAX = TIDE_HEAP_STEP * TIDE_HEAP_CLASSES };
#endif

/* Before each block of malloc's. */
struct tide_heap_large {
	struct tide_heap_large *next, *before;
};

static void *large_link(struct tide_heap *heap, struct tide_heap_large *large)
{
	if (large == NULL)
		return NULL;
	large->next = heap->large;
	large->before = NULL;
	if (heap->large != NULL)
		heap->large->before = large;
	heap->large = large;
	return large + 1;
}

static struct tide_heap_large *large_unlink(struct tide_heap *heap, void *p)
{
	struct tide_heap_large *large = (struct tide_heap_large *)p - 1;
	if (large->next != NULL)
		large->next->before = large->before;
	if (large->before != NULL)
		large->before->next = large->next;
	else
		heap->large = large->next;
	return large;
}

static void *large_take(struct tide_heap *heap, size_t size)
{
	return large_link(heap, malloc(sizeof(struct tide_heap_large) + size));
}

static void *large_move(struct tide_heap *heap, void *p, size_t size)
{
	struct tide_heap_large *large = large_unlink(heap, p);
	struct tide_heap_large *to = realloc(large, sizeof *large + size);
	void *moved = large_link(heap, to != NULL ? to : large);
	return to != NULL ? moved : NULL;
}

static size_t class_of(size_t size)
{
	return (size - 1) / TIDE_HEAP_STEP;
}

static void *chunk_carve(struct tide_heap *heap, size_t size)
{
	if ((size_t)(heap->end - heap->at) < size) {
		char *chunk = malloc(TIDE_HEAP_CHUNK_BYTES);
		if (chunk == NULL)
			return NULL;
		memcpy(chunk, &heap->chunks, sizeof heap->chunks);
		heap->chunks = chunk;
		heap->at = chunk + TIDE_HEAP_STEP;
		heap->end = chunk + TIDE_HEAP_CHUNK_BYTES;
	}
	char *p = heap->at;
	heap->at += size;
	return p;
}

static void *block_take(struct tide_heap *heap, size_t size)
{
	if (size > SMALL_MAX)
		return large_take(heap, size);
	size_t class = class_of(size);
	void *p = heap->free[class];
	if (p == NULL)
		return chunk_carve(heap, (class + 1) * TIDE_HEAP_STEP);
	memcpy(&heap->free[class], p, sizeof heap->free[class]);
	return p;
}

static void block_give(struct tide_heap *heap, void *p, size_t size)
{
	if (size > SMALL_MAX) {
		free(large_unlink(heap, p));
		return;
	}
	size_t class = class_of(size);
	memcpy(p, &heap->free[class], sizeof heap->free[class]);
	heap->free[class] = p;
}

static void *block_move(struct tide_heap *heap, void *p, size_t old, size_t size)
{
	if (old > SMALL_MAX && size > SMALL_MAX)
		return large_move(heap, p, size);
	if (old <= SMALL_MAX && size <= SMALL_MAX && class_of(old) == class_of(size))
		return p;
	void *to = block_take(heap, size);
	if (to == NULL)
		return NULL;
	memcpy(to, p, old < size ? old : size);
	block_give(heap, p, old);
	return to;
}

static void *refuse(struct tide_heap *heap)
{
	if (heap->full != NULL)
		heap->full(heap->full_arg);
	return NULL;
}

void *tide_heap_alloc(void *ud, void *p, size_t old, size_t size)
{
	struct tide_heap *heap = ud;
	if (p == NULL)
		old = 0;
	assert(old <= heap->used);
	if (size == 0) {
		if (old > 0)
			block_give(heap, p, old);
		heap->used -= old;
		return NULL;
	}
	if (size > old && (heap->used > heap->max || size - old > heap->max - heap->used)) {
		heap->hit = true;
		return refuse(heap);
	}
	void *to = old == 0 ? block_take(heap, size) : block_move(heap, p, old, size);
	if (to == NULL)
		return size <= old ? p : refuse(heap);
	heap->used += size - old;
	return to;
}

void tide_heap_fini(struct tide_heap *heap)
{
	while (heap->large != NULL)
		free(large_unlink(heap, heap->large + 1));
	while (heap->chunks != NULL) {
		void *chunk = heap->chunks;
		memcpy(&heap->chunks, chunk, sizeof heap->chunks);
		free(chunk);
	}
	memset(heap, 0, sizeof *heap);
}
