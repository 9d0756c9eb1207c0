/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching: from a partition's own queue into the worker's batch.
 *
 * No record is lost beyond `to`: what librdkafka hands over past it, because
 * offsets in between hold no record, waits in the partition's carry list. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/kafka_inside.h"

enum { PAGE = 4096, NOT_LOOKED_AT = 0x02100000 /* librdkafka 2.16 */ };

static void take_error(struct kafka_part *part, const rd_kafka_message_t *msg);
static bool deliver(struct kafka_part *part, int64_t to, struct tide_batch *batch);
static bool wait_for_one(struct kafka_part *part, int timeout_ms);

void tide_kafka_carry_drop(struct kafka_part *part)
{
	for (int i = part->carry_first; i < part->carry_count; i++)
		rd_kafka_message_destroy(part->carry[i]);
	part->carry_first = part->carry_count = 0;
}

/* Keep the records of msgs[0..n), learn from what is not one. */
static void carry_sort(struct kafka_part *part, int n)
{
	int kept = 0;
	for (int i = 0; i < n; i++) {
		rd_kafka_message_t *msg = part->carry[i];
		if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
			part->carry[kept++] = msg;
			part->reached = msg->offset + 1;
			continue;
		}
		take_error(part, msg);
		rd_kafka_message_destroy(msg);
	}
	part->carry_first = 0;
	part->carry_count = kept;
}

/* A topic that is made again is another log, which librdkafka 2.0.2 goes on reading
 * as if it were the same. But brokers answer "not mine" in between. */
void tide_kafka_away(void *arg, const char *topic, int32_t partition)
{
	struct tide_kafka *kafka = arg;
	pthread_mutex_lock(&kafka->parts_lock);
	for (int i = 0; i < kafka->part_count; i++) {
		struct kafka_part *part = kafka->parts[i];
		if (part->pub.partition != partition || strcmp(part->pub.topic, topic) != 0)
			continue;
		atomic_store(&part->away, true);
		atomic_store(&part->pub.quiet, false);
	}
	pthread_mutex_unlock(&kafka->parts_lock);
}

bool tide_kafka_doubtful(struct kafka_part *part)
{
	if (!part->assigned)
		return false;
	if (atomic_load(&part->away) && !part->lost) {
		part->lost = true;
		snprintf(part->why, sizeof part->why, "%.100s-%d: its broker was changed",
		         part->pub.topic, part->pub.partition);
	}
	return part->lost;
}

void tide_kafka_carry_fill(struct kafka_part *part, int64_t most)
{
	if (part->carry_first < part->carry_count || part->lost || atomic_load(&part->away))
		return;
	if (most > TIDE_BATCH_RECORDS_MAX)
		most = TIDE_BATCH_RECORDS_MAX;
	/* Before the look, so that what comes behind it takes the word back. */
	atomic_store(&part->pub.quiet, true);
	ssize_t n = rd_kafka_consume_batch_queue(part->queue, 0, part->carry, (size_t)most);
	if (n > 0 || atomic_load(&part->away))
		atomic_store(&part->pub.quiet, false);
	if (atomic_load(&part->away)) { /* Taken while it was said. */
		part->carry_first = 0;
		part->carry_count = n > 0 ? (int)n : 0;
		tide_kafka_carry_drop(part);
		return;
	}
	carry_sort(part, n > 0 ? (int)n : 0);
	tide_nudge(&part->nudge, tide_client_handle(part->kafka->data), part->queue,
	           part->pub.topic, part->pub.partition,
	           part->reached > part->pub.next ? part->reached : part->pub.next);
}

int tide_kafka_fetch(struct tide_source *src, struct tide_source_part *pub, int64_t to,
                     int timeout_ms, struct tide_batch *batch, struct tide_error *err)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	struct kafka_part *part = (struct kafka_part *)pub;
	assert(part->assigned && batch != NULL);
	int rc = TIDE_OK;
	uint32_t before = batch->count;
	pthread_mutex_lock(&part->lock);
	while (rc == TIDE_OK && pub->next < to && !tide_batch_full(batch)) {
		tide_kafka_carry_fill(part, to - pub->next);
		bool empty = part->carry_first == part->carry_count;
		if (!deliver(part, to, batch))
			rc = tide_fail(err, TIDE_ERR_NOMEM, "a batch of %s-%d", pub->topic,
			               pub->partition);
		if (!empty || pub->next >= to)
			continue;
		/* A batch call waits until it is full, so the wait is for one. */
		if (tide_kafka_doubtful(part) || part->error.status != 0 || batch->count > before ||
		    timeout_ms <= 0 || !wait_for_one(part, timeout_ms))
			break;
		timeout_ms = 0;
	}
	if (batch->count > before)
		atomic_fetch_add_explicit(&kafka->fetched, 1, memory_order_relaxed);
	else if (rc == TIDE_OK && pub->next < to && part->lost)
		rc = tide_fail(err, TIDE_ERR_DATA_LOSS, "%s", part->why);
	else if (rc == TIDE_OK && pub->next < to && part->error.status != 0) {
		rc = part->error.status;
		if (err != NULL)
			*err = part->error;
		part->error.status = 0;
	}
	pthread_mutex_unlock(&part->lock);
	return rc;
}

/* True when something was learnt, be it a record or the end. */
static bool wait_for_one(struct kafka_part *part, int timeout_ms)
{
	rd_kafka_message_t *msg = rd_kafka_consume_queue(part->queue, timeout_ms);
	if (msg == NULL)
		return false;
	if (atomic_load(&part->away)) {
		rd_kafka_message_destroy(msg);
		return true;
	}
	part->carry[0] = msg;
	carry_sort(part, 1);
	return true;
}

static bool add_headers(struct tide_batch *batch, const rd_kafka_headers_t *headers)
{
	size_t count = rd_kafka_header_cnt(headers);
	if (count == 0)
		return true;
	if (!tide_batch_headers(batch, (uint32_t)count))
		return false;
	for (size_t i = 0; i < count; i++) {
		const char *name;
		const void *value;
		size_t len;
		if (rd_kafka_header_get_all(headers, i, &name, &value, &len) != 0)
			return false;
		if (!tide_batch_header_set(batch, (uint32_t)i,
		                           (struct tide_slice){ name, strlen(name) },
		                           (struct tide_slice){ value, len }))
			return false;
	}
	return true;
}

/* Asked for headers, librdkafka makes a reader of them, which is a tenth of a job's time
 * where no record has any. But a value lies where the broker's answer has it, and behind
 * it the count of headers: 0 is none. Records of a format that has no headers may end
 * with the memory they are in, so we do not look into the next page, and whatever is
 * there is right. An empty value is somewhere else; where later versions have theirs,
 * nobody has looked. */
__attribute__((no_sanitize("address"))) static bool has_none(const rd_kafka_message_t *msg)
{
	if (msg->len == 0 || rd_kafka_version() >= NOT_LOOKED_AT)
		return false;
	const char *behind = (const char *)msg->payload + msg->len;
	return (uintptr_t)behind % PAGE != 0 && *behind == 0;
}

/* Headers are parsed into memory of this thread's: they are freed here, not where the
 * record is. */
static bool add(struct tide_batch *batch, rd_kafka_message_t *msg)
{
	rd_kafka_headers_t *headers;
	struct tide_slice key = { msg->key, msg->key_len }, value = { msg->payload, msg->len };
	int64_t timestamp_ms = rd_kafka_message_timestamp(msg, NULL);
	if (tide_batch_add(batch, key, value, msg->offset, timestamp_ms) == NULL)
		return false;
	if (has_none(msg))
		return true;
	if (rd_kafka_message_detach_headers(msg, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return true;
	bool added = add_headers(batch, headers);
	rd_kafka_headers_destroy(headers);
	return added;
}

/* Carried records below `to` into the batch; next goes past them, and to `to`
 * when librdkafka has passed it. False: out of memory. */
static bool deliver(struct kafka_part *part, int64_t to, struct tide_batch *batch)
{
	struct tide_source_part *pub = &part->pub;
	int first = part->carry_first;
	bool room = true;
	while (part->carry_first < part->carry_count && !tide_batch_full(batch)) {
		rd_kafka_message_t *msg = part->carry[part->carry_first];
		if (msg->offset >= to)
			break;
		/* A fetch may begin in the middle of what the broker had compressed. */
		if (msg->offset >= pub->next) {
			room = add(batch, msg);
			if (!room)
				break;
			pub->next = msg->offset + 1;
		}
		part->carry_first++;
	}
	tide_spent_add(part->kafka->spent, part->carry + first, part->carry_first - first);
	if (!room)
		return false;
	int64_t passed = part->carry_first < part->carry_count
	                         ? part->carry[part->carry_first]->offset
	                         : part->reached;
	if (passed > to)
		passed = to;
	if (passed > pub->next)
		pub->next = passed;
	return true;
}

/* What stands in a queue besides records. */
static void take_error(struct kafka_part *part, const rd_kafka_message_t *msg)
{
	const char *topic = part->pub.topic;
	int partition = part->pub.partition;
	switch (msg->err) {
	case RD_KAFKA_RESP_ERR__PARTITION_EOF: part->reached = msg->offset; return;
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
	case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
		part->lost = true;
		snprintf(part->why, sizeof part->why, "%.100s-%d: Offset %lld out of range", topic,
		         partition, (long long)part->pub.next);
		return;
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		/* It comes back, or discover says that the topic is gone. */
		tide_log(TIDE_DEBUG, "%s-%d: %s", topic, partition, rd_kafka_message_errstr(msg));
		return;
	case RD_KAFKA_RESP_ERR__BAD_MSG:
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
	case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
		tide_fail(&part->error, TIDE_ERR_FAILED,
		          "%s-%d@%lld: the broker sent a record "
		          "that does not match its checksum: %s; it was not skipped",
		          topic, partition, (long long)part->pub.next,
		          rd_kafka_message_errstr(msg));
		return;
	default:
		tide_client_fail(part->kafka->data, msg->err, rd_kafka_message_errstr(msg),
		                 &part->error);
		tide_fail_within(&part->error, "%s-%d", topic, partition);
	}
}
