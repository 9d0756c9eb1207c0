/* SPDX-License-Identifier: Apache-2.0 */
/* Bump allocation in mapped chunks, structs and text apart.
 *
 * A script may hold a reference into a batch that is gone. Two rules keep that
 * from becoming a fault or a forged pointer. Chunks stay mapped until the arena
 * is freed, so such a reference always reads zeroes or a newer struct. And text
 * has a lane of its own, so a struct is never read out of a record's bytes. */
#include "record/arena.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/failpoint.h"

/* Does nothing unless the build has ASan, whichever compiler it is. */
#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, size)   ((void)(p), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(p, size) ((void)(p), (void)(size))
#endif

enum {
	SLACK = 32, /* readable behind every allocation */
	CHUNK_START = 64 * 1024,
	CHUNK_STEP_MAX = 1024 * 1024, /* chunks double up to here, then fit the need */
	KEEP_MAX = 1024 * 1024        /* bytes a lane keeps; the rest goes back to the system */
};
static const size_t SIZE_LIMIT = (size_t)1 << 40;

struct chunk {
	char *data;
	size_t size; /* with the slack */
	size_t used; /* once the lane has gone on to the next */
};

struct lane {
	char *p, *end; /* free bytes of the current chunk, without the slack */
	char *newest;  /* start of the newest allocation */
	struct chunk *chunks;
	size_t count, at;
	size_t mark_at, mark_used; /* a chunk, and how much of it was in use */
};

struct tide_arena {
	struct lane structs;
	struct lane text;
};

static void lane_enter(struct lane *lane, size_t at)
{
	struct chunk *chunk = &lane->chunks[at];
	lane->at = at;
	lane->p = lane->newest = chunk->data;
	lane->end = chunk->data + chunk->size - SLACK;
}

/* A new last chunk with room for `size`. */
static bool lane_grow(struct lane *lane, size_t size)
{
	size_t last = lane->count > 0 ? lane->chunks[lane->count - 1].size : CHUNK_START / 2;
	size_t want = last < CHUNK_STEP_MAX ? last * 2 : CHUNK_STEP_MAX;
	while (want < size + SLACK)
		want *= 2;
	struct chunk *chunks = realloc(lane->chunks, (lane->count + 1) * sizeof *chunks);
	if (chunks == NULL)
		return false;
	lane->chunks = chunks;
	if (tide_failpoint("arena") != 0)
		return false;
	void *data = mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED)
		return false;
	ASAN_POISON_MEMORY_REGION(data, want);
	chunks[lane->count++] = (struct chunk){ .data = data, .size = want };
	return true;
}

static void lane_fini(struct lane *lane)
{
	for (size_t i = 0; i < lane->count; i++) {
		ASAN_UNPOISON_MEMORY_REGION(lane->chunks[i].data, lane->chunks[i].size);
		munmap(lane->chunks[i].data, lane->chunks[i].size);
	}
	free(lane->chunks);
}

static size_t lane_used(const struct lane *lane)
{
	size_t used = (size_t)(lane->p - lane->chunks[lane->at].data);
	for (size_t i = 0; i < lane->at; i++)
		used += lane->chunks[i].used;
	return used;
}

/* Start again in the first chunk. What is beyond KEEP_MAX is dropped by the
 * system, which leaves zeroes at its addresses; `zero` asks for the same of
 * the chunks that are kept. */
static void lane_reset(struct lane *lane, bool zero)
{
	size_t kept = 0;
	lane->chunks[lane->at].used = (size_t)(lane->p - lane->chunks[lane->at].data);
	for (size_t i = 0; i <= lane->at; i++) {
		struct chunk *chunk = &lane->chunks[i];
		ASAN_UNPOISON_MEMORY_REGION(chunk->data, chunk->size);
		bool keep = kept + chunk->size <= KEEP_MAX;
		if (keep)
			kept += chunk->size;
		if (keep ? zero : madvise(chunk->data, chunk->size, MADV_DONTNEED) != 0)
			memset(chunk->data, 0, chunk->used);
		chunk->used = 0;
		ASAN_POISON_MEMORY_REGION(chunk->data, chunk->size);
	}
	lane_enter(lane, 0);
	lane->mark_at = lane->mark_used = 0;
}

static void lane_rewind(struct lane *lane)
{
	lane->chunks[lane->at].used = (size_t)(lane->p - lane->chunks[lane->at].data);
	for (size_t i = lane->mark_at; i <= lane->at; i++) {
		struct chunk *chunk = &lane->chunks[i];
		size_t from = i == lane->mark_at ? lane->mark_used : 0;
		ASAN_UNPOISON_MEMORY_REGION(chunk->data + from, chunk->size - from);
		if (from > 0 || madvise(chunk->data, chunk->size, MADV_DONTNEED) != 0)
			memset(chunk->data + from, 0, chunk->used - from);
		size_t keep = from > 0 ? from + SLACK : 0; /* of what is before it */
		ASAN_POISON_MEMORY_REGION(chunk->data + keep, chunk->size - keep);
	}
	lane_enter(lane, lane->mark_at);
	lane->p += lane->mark_used;
	lane->newest = lane->p;
}

/* Out of the way of the short path. */
static __attribute__((noinline)) char *lane_alloc_next(struct lane *lane, size_t size)
{
	size_t next = lane->at + 1;
	while (next < lane->count && lane->chunks[next].size < size + SLACK)
		next++;
	if (next == lane->count && !lane_grow(lane, size))
		return NULL;
	lane->chunks[lane->at].used = (size_t)(lane->p - lane->chunks[lane->at].data);
	lane_enter(lane, next);
	lane->p += size;
	return lane->newest;
}

static inline char *lane_alloc(struct lane *lane, size_t size)
{
	char *p = lane->p;
	if (__builtin_expect(size <= (size_t)(lane->end - p), 1)) {
		lane->newest = p;
		lane->p = p + size;
	} else {
		p = lane_alloc_next(lane, size);
	}
	if (p != NULL)
		ASAN_UNPOISON_MEMORY_REGION(p, size + SLACK);
	return p;
}

struct tide_arena *tide_arena_new(void)
{
	struct tide_arena *arena = calloc(1, sizeof *arena);
	if (arena == NULL)
		return NULL;
	if (!lane_grow(&arena->structs, 0) || !lane_grow(&arena->text, 0)) {
		tide_arena_free(arena);
		return NULL;
	}
	lane_enter(&arena->structs, 0);
	lane_enter(&arena->text, 0);
	return arena;
}

void tide_arena_free(struct tide_arena *arena)
{
	if (arena == NULL)
		return;
	lane_fini(&arena->structs);
	lane_fini(&arena->text);
	free(arena);
}

void tide_arena_reset(struct tide_arena *arena)
{
	assert(arena != NULL);
	lane_reset(&arena->structs, true);
	lane_reset(&arena->text, false);
}

static void lane_mark(struct lane *lane)
{
	lane->mark_at = lane->at;
	lane->mark_used = (size_t)(lane->p - lane->chunks[lane->at].data);
}

void tide_arena_mark(struct tide_arena *arena)
{
	lane_mark(&arena->structs);
	lane_mark(&arena->text);
}

void tide_arena_rewind(struct tide_arena *arena)
{
	lane_rewind(&arena->structs);
	lane_rewind(&arena->text);
}

void *tide_arena_alloc(struct tide_arena *arena, size_t size)
{
	if (size > SIZE_LIMIT)
		return NULL;
	return lane_alloc(&arena->structs, (size + 7) & ~(size_t)7);
}

char *tide_arena_text(struct tide_arena *arena, size_t size)
{
	if (size > SIZE_LIMIT)
		return NULL;
	return lane_alloc(&arena->text, size);
}

void tide_arena_trim(struct tide_arena *arena, void *end)
{
	char *at = end;
	struct lane *lane = &arena->text;
	if (at < lane->newest || at > lane->p) {
		lane = &arena->structs;
		assert(at >= lane->newest && at <= lane->p);
		at = lane->newest + (((size_t)(at - lane->newest) + 7) & ~(size_t)7);
	}
	ASAN_POISON_MEMORY_REGION(at + SLACK, (size_t)(lane->p - at));
	lane->p = at;
}

size_t tide_arena_used(const struct tide_arena *arena)
{
	return lane_used(&arena->structs) + lane_used(&arena->text);
}
