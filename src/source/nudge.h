/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping librdkafka fetching.
 *
 * When every partition's queue is full, its broker thread sleeps, and nothing
 * in 2.0.2 wakes it when the queues are emptied: it looks again after up to a
 * second. So a reader slower than the broker got one queueful a second, unless
 * a second's worth was prefetched. Any request to that broker wakes it; the
 * cheapest is to ask for an end without waiting for the answer. */
#ifndef TIDE_SOURCE_NUDGE_H
#define TIDE_SOURCE_NUDGE_H

#include <librdkafka/rdkafka.h>

/* One per partition; all zeroes at first. */
struct tide_nudge {
	size_t peak; /* records that its queue has held */
	int64_t last_us;
};

/* To be called by the partition's reader after taking records. `next` is the
 * offset after the last one taken. */
void tide_nudge(struct tide_nudge *nudge, rd_kafka_t *rk, rd_kafka_queue_t *queue,
                const char *topic, int32_t partition, int64_t next);

#endif
