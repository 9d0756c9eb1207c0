/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of records, a ring of them per worker, and when a view dies.
 *
 * A worker fills one batch, runs it, and takes the next of its ring. Taking a
 * batch retires what it held: its generation ends and its views are zeroed, so
 * a view kept too long is an error and not another record's data.
 *
 * This holds for ever for a copy of a view: its generation is not found again.
 * A reference into the batch reads a dead view only until the memory is filled
 * anew, so what outlives a call must hold a copy, or the generation beside it. */
#ifndef TIDE_RECORD_BATCH_H
#define TIDE_RECORD_BATCH_H

#include <stdbool.h>

#include "base/buf.h"
#include "record/abi.h"
#include "record/arena.h"

enum {
	TIDE_BATCH_RECORDS_MAX = 512,
	TIDE_BATCH_BYTES_MAX = 256 * 1024, /* a batch ends after the record that passes it */
	TIDE_BATCH_RING = 4
};

struct tide_ring; /* One worker's batches; its only user is that worker. */

struct tide_ring *tide_ring_new(void);
void tide_ring_free(struct tide_ring *ring);
/* Retire the oldest batch and give it out empty, under a new generation, with
 * a copy of `topic`. NULL when out of memory. */
struct tide_batch *tide_ring_next(struct tide_ring *ring, const char *topic, int32_t partition);
/* The batch of a generation, or NULL when it has been retired. */
struct tide_batch *tide_ring_find(struct tide_ring *ring, uint32_t gen);

/* Add a record; bytes are copied. A NULL key or value is a null one. Returns
 * the record, for its headers to be set, or NULL when out of memory. */
struct tide_rec *tide_batch_add(struct tide_batch *batch, struct tide_slice key,
                                struct tide_slice value, int64_t offset, int64_t timestamp_ms);
/* Room for `count` headers of the newest record, to be filled by set. */
bool tide_batch_headers(struct tide_batch *batch, uint32_t count);
bool tide_batch_header_set(struct tide_batch *batch, uint32_t i, struct tide_slice name,
                           struct tide_slice value);
bool tide_batch_full(const struct tide_batch *batch);

/* A view of bytes that live in the batch's arena. */
struct tide_view tide_view_of(const struct tide_batch *batch, const char *p, int32_t len);
static inline const char *tide_view_p(const struct tide_view *view)
{
	return (const char *)(uintptr_t)view->addr_;
}

#endif
