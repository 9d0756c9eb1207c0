/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: filled record by record, retired in turn. */
#include "record/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Slots are found by the low bits of a generation. */
_Static_assert((TIDE_BATCH_RING & (TIDE_BATCH_RING - 1)) == 0, "a power of two");

struct slot {
	struct tide_batch batch; /* first: a batch is its slot */
	size_t bytes;            /* of records, towards TIDE_BATCH_BYTES_MAX */
};

struct tide_ring {
	struct slot slots[TIDE_BATCH_RING];
	uint32_t gen; /* of the newest batch; slot = gen % TIDE_BATCH_RING */
};

static struct slot *slot_of(const struct tide_batch *batch)
{
	return (struct slot *)(uintptr_t)batch;
}

struct tide_ring *tide_ring_new(void)
{
	struct tide_ring *ring = calloc(1, sizeof *ring);
	if (ring == NULL)
		return NULL;
	for (int i = 0; i < TIDE_BATCH_RING; i++) {
		struct tide_batch *batch = &ring->slots[i].batch;
		batch->recs = aligned_alloc(sizeof *batch->recs,
		                            TIDE_BATCH_RECORDS_MAX * sizeof *batch->recs);
		batch->arena = tide_arena_new();
		if (batch->recs == NULL || batch->arena == NULL) {
			tide_ring_free(ring);
			return NULL;
		}
		/* A reference to any record of any batch reads a dead one. */
		memset(batch->recs, 0, TIDE_BATCH_RECORDS_MAX * sizeof *batch->recs);
	}
	return ring;
}

void tide_ring_free(struct tide_ring *ring)
{
	if (ring == NULL)
		return;
	for (int i = 0; i < TIDE_BATCH_RING; i++) {
		free(ring->slots[i].batch.recs);
		tide_arena_free(ring->slots[i].batch.arena);
	}
	free(ring);
}

/* End the generation: views in records are zeroed here, those in headers and
 * lists of words by the arena. */
static void slot_retire(struct slot *slot)
{
	struct tide_batch *batch = &slot->batch;
	assert(batch->count <= TIDE_BATCH_RECORDS_MAX);
	memset(batch->recs, 0, batch->count * sizeof *batch->recs);
	tide_arena_reset(batch->arena);
	batch->count = 0;
	batch->gen = 0;
	batch->topic = "";
	batch->topic_len = 0;
	slot->bytes = 0;
}

struct tide_batch *tide_ring_next(struct tide_ring *ring, const char *topic, int32_t partition)
{
	assert(ring != NULL && topic != NULL);
	/* After 2^32 batches numbers come again, 0 never does. */
	ring->gen = ring->gen == UINT32_MAX ? TIDE_BATCH_RING : ring->gen + 1;
	struct slot *slot = &ring->slots[ring->gen % TIDE_BATCH_RING];
	struct tide_batch *batch = &slot->batch;
	slot_retire(slot);
	size_t len = strlen(topic);
	char *copy = tide_arena_text(batch->arena, len + 1);
	if (copy == NULL)
		return NULL; /* its gen is 0: nobody finds it */
	memcpy(copy, topic, len + 1);
	batch->topic = copy;
	batch->topic_len = (int32_t)len;
	batch->partition = partition;
	batch->gen = ring->gen;
	return batch;
}

struct tide_batch *tide_ring_find(struct tide_ring *ring, uint32_t gen)
{
	struct tide_batch *batch = &ring->slots[gen % TIDE_BATCH_RING].batch;
	return batch->gen == gen && gen != 0 ? batch : NULL;
}

struct tide_view tide_view_of(const struct tide_batch *batch, const char *p, int32_t len)
{
	return (struct tide_view){ .addr_ = (uintptr_t)p, .len_ = len, .gen_ = batch->gen };
}

static struct tide_view view_null(const struct tide_batch *batch)
{
	return tide_view_of(batch, NULL, -1);
}

/* A view of bytes copied to `at`; null stays null, empty does not. */
static inline struct tide_view view_copy(const struct tide_batch *batch, char *at,
                                         struct tide_slice from)
{
	if (from.p == NULL)
		return view_null(batch);
	memcpy(at, from.p, from.len);
	return tide_view_of(batch, at, (int32_t)from.len);
}

struct tide_rec *tide_batch_add(struct tide_batch *batch, struct tide_slice key,
                                struct tide_slice value, int64_t offset, int64_t timestamp_ms)
{
	assert(batch->gen != 0 && batch->count < TIDE_BATCH_RECORDS_MAX);
	size_t key_len = key.p != NULL ? key.len : 0;
	size_t value_len = value.p != NULL ? value.len : 0;
	if (key_len > INT32_MAX || value_len > INT32_MAX)
		return NULL;
	char *text = tide_arena_text(batch->arena, key_len + value_len);
	if (text == NULL)
		return NULL;
	struct tide_rec *rec = &batch->recs[batch->count];
	rec->key_ = view_copy(batch, text, key);
	rec->value_ = view_copy(batch, text + key_len, value);
	rec->offset_ = offset;
	rec->timestamp_ms_ = timestamp_ms;
	rec->headers_addr_ = 0;
	rec->header_count = 0;
	rec->gen_ = batch->gen;
	batch->count++;
	slot_of(batch)->bytes += key_len + value_len;
	return rec;
}

bool tide_batch_headers(struct tide_batch *batch, uint32_t count)
{
	assert(batch->count > 0);
	struct tide_rec *rec = &batch->recs[batch->count - 1];
	assert(rec->header_count == 0);
	if (count == 0)
		return true;
	struct tide_header *headers = tide_arena_alloc(batch->arena, count * sizeof *headers);
	if (headers == NULL)
		return false;
	for (uint32_t i = 0; i < count; i++)
		headers[i] = (struct tide_header){ view_null(batch), view_null(batch) };
	rec->headers_addr_ = (uintptr_t)headers;
	rec->header_count = count;
	return true;
}

bool tide_batch_header_set(struct tide_batch *batch, uint32_t i, struct tide_slice name,
                           struct tide_slice value)
{
	assert(batch->count > 0 && name.p != NULL);
	struct tide_rec *rec = &batch->recs[batch->count - 1];
	assert(i < rec->header_count);
	size_t value_len = value.p != NULL ? value.len : 0;
	if (name.len > INT32_MAX || value_len > INT32_MAX)
		return false;
	char *text = tide_arena_text(batch->arena, name.len + value_len);
	if (text == NULL)
		return false;
	struct tide_header *header = (struct tide_header *)(uintptr_t)rec->headers_addr_ + i;
	header->name_ = view_copy(batch, text, name);
	header->value_ = view_copy(batch, text + name.len, value);
	slot_of(batch)->bytes += name.len + value_len;
	return true;
}

bool tide_batch_full(const struct tide_batch *batch)
{
	return batch->count >= TIDE_BATCH_RECORDS_MAX ||
	       slot_of(batch)->bytes >= TIDE_BATCH_BYTES_MAX;
}
