/* SPDX-License-Identifier: Apache-2.0 */
/* Is a partition still the log that the checkpoint read?
 *
 * Kafka gives no sign when a topic is deleted and made again under its name,
 * so the last record delivered is remembered and looked at again. */
#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mutant.h"
#include "source/kafka_inside.h"

enum { SLICE_MS = 25 };

enum found { FOUND_SAME, FOUND_OTHER, FOUND_NONE };

static int bounds(struct tide_kafka *kafka, const struct tide_source_part *part, int64_t *start,
                  int64_t *end, bool *exists, struct tide_error *err);
static int look(struct tide_kafka *kafka, const struct tide_source_part *part, enum found *found,
                struct tide_error *err);

int tide_kafka_verify(struct tide_source *src, struct tide_source_part *part,
                      struct tide_loss *loss, struct tide_error *err)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	assert(part != NULL && loss != NULL);
	int64_t start = 0, end = 0;
	bool exists;
	enum found found = FOUND_NONE;
	*loss = (struct tide_loss){ .kind = TIDE_LOSS_NONE, .from = part->next, .to = part->next };
	/* Whatever is said from now on asks for another look. */
	atomic_store(&((struct kafka_part *)part)->away, false);
	int rc = bounds(kafka, part, &start, &end, &exists, err);
	if (rc != TIDE_OK)
		return rc;
	part->start = start;
	part->end = end;
	if (!exists || end < part->next) {
		loss->kind = TIDE_LOSS_RECREATED;
	} else if (start > part->next) {
		loss->kind = TIDE_LOSS_TRIMMED;
		loss->to = start;
		loss->lost = start - part->next;
		return TIDE_OK;
	} else if (part->print.offset < 0 || part->print.offset >= part->next ||
	           tide_mutant(NO_FINGERPRINT)) {
		/* None, or one from before the partition was put back. */
		return TIDE_OK;
	} else {
		if (part->print.offset >= start)
			rc = look(kafka, part, &found, err);
		if (rc != TIDE_OK || found == FOUND_SAME)
			return rc;
		loss->kind = found == FOUND_OTHER ? TIDE_LOSS_RECREATED : TIDE_LOSS_UNVERIFIED;
	}
	if (loss->kind == TIDE_LOSS_RECREATED) {
		loss->to = start;
		loss->lost = -1;
	}
	return TIDE_OK;
}

static int bounds(struct tide_kafka *kafka, const struct tide_source_part *part, int64_t *start,
                  int64_t *end, bool *exists, struct tide_error *err)
{
	char what[300];
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_t *one =
		rd_kafka_topic_partition_list_add(list, part->topic, part->partition);
	snprintf(what, sizeof what, "verifying %s-%d", part->topic, part->partition);
	one->offset = RD_KAFKA_OFFSET_END;
	int rc = tide_kafka_list_offsets(kafka, list, what, err);
	*end = one->offset;
	*exists = one->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
	          one->err != RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
	if (rc == TIDE_OK && one->err != 0 && *exists)
		rc = tide_client_fail(kafka->control, one->err, what, err);
	if (rc == TIDE_OK && *exists) {
		one->offset = RD_KAFKA_OFFSET_BEGINNING;
		rc = tide_kafka_list_offsets(kafka, list, what, err);
		*start = one->offset;
		if (rc == TIDE_OK && one->err != 0)
			rc = tide_client_fail(kafka->control, one->err, what, err);
	}
	if (!*exists)
		*start = *end = 0;
	rd_kafka_topic_partition_list_destroy(list);
	return rc;
}

/* The same digest as tide_fingerprint_of, of a message that is in no batch. */
static struct tide_fingerprint print_of(const rd_kafka_message_t *msg)
{
	struct tide_rec rec = {
		.key_ = { (uint64_t)(uintptr_t)msg->key, msg->key ? (int32_t)msg->key_len : -1, 0 },
		.value_ = { (uint64_t)(uintptr_t)msg->payload,
		            msg->payload ? (int32_t)msg->len : -1, 0 },
		.offset_ = msg->offset,
		.timestamp_ms_ = rd_kafka_message_timestamp(msg, NULL),
	};
	return tide_fingerprint_of(&rec);
}

static enum found compare(const struct tide_fingerprint *was, const rd_kafka_message_t *msg)
{
	struct tide_fingerprint is = print_of(msg);
	if (is.offset != was->offset)
		return FOUND_NONE; /* compacted away: this is the next one */
	return is.timestamp_ms == was->timestamp_ms && is.hash == was->hash ? FOUND_SAME
	                                                                    : FOUND_OTHER;
}

/* The broker's thread may have looked for something to fetch just before the
 * partition was there, and looks again after a second: a request wakes it. */
static void wake(struct tide_kafka *kafka, const struct tide_source_part *part)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, part->topic, part->partition)->offset =
		RD_KAFKA_OFFSET_END;
	rd_kafka_offsets_for_times(tide_client_handle(kafka->control), list, 0);
	rd_kafka_topic_partition_list_destroy(list);
}

/* The first thing the queue has to say from the fingerprint's offset on. */
static int read_one(struct tide_kafka *kafka, rd_kafka_queue_t *queue,
                    const struct tide_source_part *part, enum found *found, struct tide_error *err)
{
	int64_t until = tide_clock_mono_us() + (int64_t)TIDE_KAFKA_REQUEST_MS * 1000;
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
	while (tide_clock_mono_us() < until && !tide_client_refused(kafka->control)) {
		rd_kafka_message_t *msg = rd_kafka_consume_queue(queue, SLICE_MS);
		tide_client_poll(kafka->control);
		if (msg == NULL) {
			wake(kafka, part);
			continue;
		}
		code = msg->err;
		bool done = code == RD_KAFKA_RESP_ERR_NO_ERROR ||
		            code == RD_KAFKA_RESP_ERR__PARTITION_EOF ||
		            code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET;
		*found = code == RD_KAFKA_RESP_ERR_NO_ERROR ? compare(&part->print, msg)
		                                            : FOUND_NONE;
		rd_kafka_message_destroy(msg);
		if (done)
			return TIDE_OK;
	}
	return tide_client_fail(kafka->control, code, "reading the last record again", err);
}

static int look(struct tide_kafka *kafka, const struct tide_source_part *part, enum found *found,
                struct tide_error *err)
{
	rd_kafka_t *rk = tide_client_handle(kafka->control);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_queue_t *queue = rd_kafka_queue_get_partition(rk, part->topic, part->partition);
	assert(queue != NULL);
	rd_kafka_queue_forward(queue, NULL);
	rd_kafka_topic_partition_list_add(list, part->topic, part->partition)->offset =
		part->print.offset;
	int rc;
	rd_kafka_error_t *error = rd_kafka_incremental_assign(rk, list);
	if (error != NULL) {
		rc = tide_client_fail(kafka->control, rd_kafka_error_code(error),
		                      rd_kafka_error_string(error), err);
	} else {
		rc = read_one(kafka, queue, part, found, err);
		error = rd_kafka_incremental_unassign(rk, list);
	}
	if (error != NULL)
		rd_kafka_error_destroy(error);
	rd_kafka_queue_destroy(queue);
	rd_kafka_topic_partition_list_destroy(list);
	return rc;
}
