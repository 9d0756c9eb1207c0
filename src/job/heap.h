/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of one Lua state: counted, limited, and quick for the small
 * objects that a loop over records makes and drops by the million. */
#ifndef TIDE_JOB_HEAP_H
#define TIDE_JOB_HEAP_H

#include <stdbool.h>
#include <stddef.h>

enum {
	TIDE_HEAP_STEP = 8,
	TIDE_HEAP_CLASSES = 32,           /* of up to 256 bytes */
	TIDE_HEAP_CHUNK_BYTES = 64 * 1024 /* carved up for them */
};

struct tide_heap_large;

struct tide_heap {
	size_t used, max;
	bool hit;                /* the limit refused an allocation */
	void (*full)(void *arg); /* called then, where there is one; does not return */
	void *full_arg;
	struct tide_heap_large *large; /* all blocks that are malloc's */
	void *free[TIDE_HEAP_CLASSES];
	void *chunks;   /* a list through their first words */
	char *at, *end; /* the rest of the newest chunk */
};

/* All zeroes but max is an empty heap. What is still in it goes with it: a Lua state
 * that was given up is never closed. */
void tide_heap_fini(struct tide_heap *heap);
/* A lua_Alloc; ud is the heap. Shrinking always works, as Lua asks. */
void *tide_heap_alloc(void *ud, void *p, size_t old, size_t size);

#endif
