/* SPDX-License-Identifier: Apache-2.0 */
/* A request that is made for its side effect: the broker thread looks again. */
#include "source/nudge.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/clock.h"

/* Per partition, and over all: a nudge serves every partition of its broker. */
enum { PART_US = 8000, ALL_US = 2000 };

static atomic_int_fast64_t last_us;

void tide_nudge(struct tide_nudge *nudge, rd_kafka_t *rk, rd_kafka_queue_t *queue,
                const char *topic, int32_t partition, int64_t next)
{
	assert(nudge != NULL && rk != NULL && queue != NULL);
	size_t held = rd_kafka_queue_length(queue);
	int64_t low, high = -1;
	if (held > nudge->peak)
		nudge->peak = held;
	if (held >= nudge->peak / 2 && held > 0)
		return;
	int64_t now = tide_clock_mono_us();
	int_fast64_t last = atomic_load_explicit(&last_us, memory_order_relaxed);
	if (now - nudge->last_us < PART_US || now - last < ALL_US)
		return;
	rd_kafka_get_watermark_offsets(rk, topic, partition, &low, &high);
	if (high <= next + (int64_t)held || !atomic_compare_exchange_strong(&last_us, &last, now))
		return;
	nudge->last_us = now;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, topic, partition)->offset = RD_KAFKA_OFFSET_END;
	rd_kafka_offsets_for_times(rk, list, 0);
	rd_kafka_topic_partition_list_destroy(list);
}
