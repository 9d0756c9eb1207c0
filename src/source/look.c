/* SPDX-License-Identifier: Apache-2.0 */
/* The last records delivered, looked at again: those of many partitions at once.
 *
 * A group of partitions is assigned, each at the record of its fingerprint, with one
 * queue for all. What has answered is let go before more is asked for: it is fetched
 * no further, and no more than an answer of the broker's lies in memory. An answer may
 * leave partitions out when those before them filled it; the next begins with others. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "source/kafka_inside.h"

enum {
	GROUP = 256, /* librdkafka searches lists of them one by one */
	SLICE_MS = 25,
	TAKEN_MAX = 256
};

struct group {
	struct tide_kafka *kafka;
	struct tide_kafka_look *looks;
	int count, pending, last; /* last: the look that the last message was for */
	rd_kafka_queue_t *queue;
	rd_kafka_queue_t *own[GROUP]; /* each partition's, which leads to it */
	bool assigned[GROUP];
};

static rd_kafka_topic_partition_t *add(rd_kafka_topic_partition_list_t *list,
                                       const struct tide_source_part *part, int64_t offset)
{
	rd_kafka_topic_partition_t *one =
		rd_kafka_topic_partition_list_add(list, part->topic, part->partition);
	one->offset = offset;
	return one;
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

static enum tide_kafka_found compare(const struct tide_fingerprint *was,
                                     const rd_kafka_message_t *msg)
{
	struct tide_fingerprint is = print_of(msg);
	if (is.offset != was->offset)
		return TIDE_FOUND_NONE; /* compacted away: this is the next one */
	return is.timestamp_ms == was->timestamp_ms && is.hash == was->hash ? TIDE_FOUND_SAME
	                                                                    : TIDE_FOUND_OTHER;
}

/* Whose message this is; many of one partition come in a row. */
static struct tide_kafka_look *look_of(struct group *group, const rd_kafka_message_t *msg)
{
	const char *topic = msg->rkt != NULL ? rd_kafka_topic_name(msg->rkt) : NULL;
	for (int i = 0; topic != NULL && i < group->count; i++) {
		int at = (group->last + i) % group->count;
		const struct tide_source_part *part = group->looks[at].part;
		if (part->partition != msg->partition || strcmp(part->topic, topic) != 0)
			continue;
		group->last = at;
		return &group->looks[at];
	}
	return NULL;
}

/* The first thing that is said of a partition from the fingerprint's offset on. */
static void take(struct group *group, const rd_kafka_message_t *msg)
{
	struct tide_kafka_look *look = look_of(group, msg);
	if (look == NULL || look->answered)
		return;
	const struct tide_fingerprint *print = &look->part->print;
	look->code = msg->err;
	if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR && msg->offset < print->offset)
		return; /* of a batch that begins before it */
	if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		look->found = compare(print, msg);
	else if (msg->err != RD_KAFKA_RESP_ERR__PARTITION_EOF &&
	         msg->err != RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
		return;
	look->answered = true;
	group->pending--;
}

/* All that lies in the queue, or what comes first. */
static void take_all(struct group *group)
{
	rd_kafka_message_t *taken[TAKEN_MAX];
	/* A batch call waits until it is full, so the wait is for one. */
	taken[0] = rd_kafka_consume_queue(group->queue, SLICE_MS);
	ssize_t n = taken[0] != NULL ? 1 : 0;
	while (n > 0) {
		for (ssize_t i = 0; i < n; i++) {
			take(group, taken[i]);
			rd_kafka_message_destroy(taken[i]);
		}
		n = group->pending == 0
		            ? 0
		            : rd_kafka_consume_batch_queue(group->queue, 0, taken, TAKEN_MAX);
	}
}

/* A broker's thread that found nothing to fetch, because the partitions were not there
 * yet or the queue was full, looks again after a second: a request wakes it. */
static void wake(struct group *group)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(group->pending);
	for (int i = 0; i < group->count; i++)
		if (!group->looks[i].answered)
			add(list, group->looks[i].part, RD_KAFKA_OFFSET_END);
	rd_kafka_offsets_for_times(tide_client_handle(group->kafka->control), list, 0);
	rd_kafka_topic_partition_list_destroy(list);
}

/* Those that have answered, or all, are fetched no more. */
static void let_go(struct group *group, bool all)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(group->count);
	for (int i = 0; i < group->count; i++) {
		if (!group->assigned[i] || !(all || group->looks[i].answered))
			continue;
		add(list, group->looks[i].part, 0);
		group->assigned[i] = false;
	}
	if (list->cnt > 0) {
		rd_kafka_error_t *error = rd_kafka_incremental_unassign(
			tide_client_handle(group->kafka->control), list);
		if (error != NULL)
			rd_kafka_error_destroy(error);
	}
	rd_kafka_topic_partition_list_destroy(list);
}

/* What is still on its way to those that were let go comes into the group's queue until
 * now, and is dropped with it. */
static void end(struct group *group)
{
	let_go(group, true);
	for (int i = 0; i < group->count; i++) {
		rd_kafka_queue_forward(group->own[i], NULL);
		rd_kafka_queue_destroy(group->own[i]);
	}
	rd_kafka_queue_destroy(group->queue);
}

static int begin(struct group *group, struct tide_error *err)
{
	rd_kafka_t *rk = tide_client_handle(group->kafka->control);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(group->count);
	group->queue = rd_kafka_queue_new(rk);
	for (int i = 0; i < group->count; i++) {
		const struct tide_source_part *part = group->looks[i].part;
		add(list, part, part->print.offset);
		group->own[i] = rd_kafka_queue_get_partition(rk, part->topic, part->partition);
		assert(group->own[i] != NULL);
		rd_kafka_queue_forward(group->own[i], group->queue);
	}
	int rc = TIDE_OK;
	rd_kafka_error_t *error = rd_kafka_incremental_assign(rk, list);
	if (error != NULL) {
		rc = tide_client_fail(group->kafka->control, rd_kafka_error_code(error),
		                      rd_kafka_error_string(error), err);
		rd_kafka_error_destroy(error);
	}
	for (int i = 0; i < group->count; i++)
		group->assigned[i] = rc == TIDE_OK;
	rd_kafka_topic_partition_list_destroy(list);
	return rc;
}

/* Name one that has not answered: the first with an error, or the first. */
static int fail(const struct group *group, struct tide_error *err)
{
	const struct tide_kafka_look *named = NULL;
	char what[400], more[60] = "";
	for (int i = 0; i < group->count; i++) {
		const struct tide_kafka_look *look = &group->looks[i];
		if (!look->answered && (named == NULL || (named->code == 0 && look->code != 0)))
			named = look;
	}
	assert(named != NULL);
	if (group->pending > 1)
		snprintf(more, sizeof more, " (and of %d more)", group->pending - 1);
	snprintf(what, sizeof what, "reading the last record of %s-%d%s again", named->part->topic,
	         named->part->partition, more);
	return tide_client_fail(group->kafka->control,
	                        named->code != 0 ? named->code : RD_KAFKA_RESP_ERR__TIMED_OUT, what,
	                        err);
}

static int look_at(struct group *group, struct tide_error *err)
{
	struct tide_client *control = group->kafka->control;
	int64_t until = tide_clock_mono_us() + (int64_t)TIDE_KAFKA_REQUEST_MS * 1000;
	int rc = begin(group, err);
	while (rc == TIDE_OK && group->pending > 0 && tide_clock_mono_us() < until &&
	       !tide_client_refused(control)) {
		int before = group->pending;
		take_all(group);
		tide_client_poll(control);
		if (group->pending < before) {
			let_go(group, false);
			until = tide_clock_mono_us() + (int64_t)TIDE_KAFKA_REQUEST_MS * 1000;
		}
		if (group->pending > 0)
			wake(group);
	}
	end(group);
	if (rc == TIDE_OK && group->pending > 0)
		rc = fail(group, err);
	return rc;
}

int tide_kafka_look_again(struct tide_kafka *kafka, struct tide_kafka_look *looks, int count,
                          struct tide_error *err)
{
	int rc = TIDE_OK;
	for (int i = 0; i < count; i++) {
		looks[i].found = TIDE_FOUND_NONE;
		looks[i].code = RD_KAFKA_RESP_ERR_NO_ERROR;
		looks[i].answered = false;
	}
	for (int at = 0; at < count && rc == TIDE_OK; at += GROUP) {
		int some = count - at < GROUP ? count - at : GROUP;
		struct group group = {
			.kafka = kafka, .looks = looks + at, .count = some, .pending = some
		};
		rc = look_at(&group, err);
	}
	return rc;
}
