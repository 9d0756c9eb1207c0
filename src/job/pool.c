/* SPDX-License-Identifier: Apache-2.0 */
/* See pool.h. Two queues of segments: in use, oldest first, and resting. */
#include "job/pool.h"

#include <assert.h>
#include <stdlib.h>

struct segment {
	struct segment *next;
	uint32_t gen;
	uint32_t size, used;
	struct tide_word words[];
};

struct queue {
	struct segment *first, **end;
	uint32_t count;
};

struct tide_pool {
	struct queue busy, resting;
	struct segment *now; /* the last of busy, or NULL: a new one is due */
	uint32_t gen;
};

static void queue_push(struct queue *queue, struct segment *segment)
{
	segment->next = NULL;
	*queue->end = segment;
	queue->end = &segment->next;
	queue->count++;
}

static struct segment *queue_pop(struct queue *queue)
{
	struct segment *segment = queue->first;
	queue->first = segment->next;
	if (queue->first == NULL)
		queue->end = &queue->first;
	queue->count--;
	return segment;
}

struct tide_pool *tide_pool_new(void)
{
	struct tide_pool *pool = calloc(1, sizeof *pool);
	if (pool == NULL)
		return NULL;
	pool->busy.end = &pool->busy.first;
	pool->resting.end = &pool->resting.first;
	return pool;
}

void tide_pool_free(struct tide_pool *pool)
{
	if (pool == NULL)
		return;
	while (pool->busy.first != NULL)
		free(queue_pop(&pool->busy));
	while (pool->resting.first != NULL)
		free(queue_pop(&pool->resting));
	free(pool);
}

void tide_pool_turn(struct tide_pool *pool, uint32_t gen,
                    bool (*alive)(const struct tide_ctx *ctx, uint32_t gen),
                    const struct tide_ctx *ctx)
{
	assert(gen != 0);
	pool->gen = gen;
	pool->now = NULL;
	for (uint32_t n = pool->busy.count; n > 0; n--) {
		struct segment *segment = queue_pop(&pool->busy);
		if (alive(ctx, segment->gen)) {
			queue_push(&pool->busy, segment);
			continue;
		}
		segment->used = 0;
		queue_push(&pool->resting, segment);
	}
}

void tide_pool_rewind(struct tide_pool *pool)
{
	pool->now = NULL;
	for (uint32_t n = pool->busy.count; n > 0; n--) {
		struct segment *segment = queue_pop(&pool->busy);
		bool mine = segment->gen == pool->gen;
		if (mine)
			segment->used = 0;
		queue_push(mine ? &pool->resting : &pool->busy, segment);
	}
}

static struct segment *segment_new(uint32_t size)
{
	struct segment *segment = calloc(1, sizeof *segment + size * sizeof segment->words[0]);
	if (segment != NULL)
		segment->size = size;
	return segment;
}

/* One that rested long enough, or a new one. Long lists look through all that
 * rest, or each of them would grow the pool for ever. */
static struct segment *segment_take(struct tide_pool *pool, uint32_t count)
{
	struct queue *resting = &pool->resting;
	uint32_t most = resting->count > TIDE_POOL_RESTING_MIN || count > TIDE_POOL_SEGMENT
	                        ? resting->count
	                        : 0;
	for (uint32_t n = most; n > 0; n--) {
		struct segment *segment = queue_pop(resting);
		if (segment->size >= count)
			return segment;
		queue_push(resting, segment);
	}
	return segment_new(count > TIDE_POOL_SEGMENT ? count : TIDE_POOL_SEGMENT);
}

struct tide_word *tide_pool_take(struct tide_pool *pool, uint32_t count)
{
	assert(pool->gen != 0);
	struct segment *now = pool->now;
	if (now == NULL || now->size - now->used < count) {
		now = segment_take(pool, count);
		if (now == NULL)
			return NULL;
		now->gen = pool->gen;
		queue_push(&pool->busy, now);
		pool->now = now;
	}
	struct tide_word *words = &now->words[now->used];
	now->used += count;
	return words;
}

void tide_pool_trim(struct tide_pool *pool, const struct tide_word *end)
{
	struct segment *now = pool->now;
	assert(end >= now->words && end <= now->words + now->used);
	now->used = (uint32_t)(end - now->words);
}
