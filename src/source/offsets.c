/* SPDX-License-Identifier: Apache-2.0 */
/* Where logs begin and end, what a time is in offsets, and the mirror. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/kafka_inside.h"

enum {
	TRIES = 8,
	TRIES_RUNNING = 2, /* who reads asks again, and looks in between whether to stop */
	TRY_AGAIN_MS = 50,
	REFRESH_US = 1000 * 1000, /* of an end that nobody is waiting for */
	MIRROR_US = 1000 * 1000,
	MIRROR_PATIENCE_US = 5000 * 1000
};

/* --- asking the broker --------------------------------------------------------- */

static bool worth_repeating(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
	       code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
	       code == RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE ||
	       code == RD_KAFKA_RESP_ERR__TRANSPORT ||
	       code == RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH ||
	       code == RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH;
}

/* An election takes a moment, so a partition between leaders is asked again. */
rd_kafka_resp_err_t tide_kafka_try_offsets(struct tide_kafka *kafka,
                                           rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_t *rk = tide_client_handle(kafka->control);
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_topic_partition_list_t *asked = NULL;
	int tries = kafka->data != NULL ? TRIES_RUNNING : TRIES;
	for (int try = 0; try < tries; try++) {
		asked = rd_kafka_topic_partition_list_copy(list);
		code = rd_kafka_offsets_for_times(rk, asked, TIDE_KAFKA_REQUEST_MS);
		bool again = worth_repeating(code);
		for (int i = 0; code == 0 && i < asked->cnt; i++)
			again = again || worth_repeating(asked->elems[i].err);
		if (!again || tide_client_refused(kafka->control))
			break;
		if (try + 1 < tries) {
			rd_kafka_topic_partition_list_destroy(asked);
			rd_kafka_message_t *msg = rd_kafka_consumer_poll(rk, TRY_AGAIN_MS << try);
			if (msg != NULL)
				rd_kafka_message_destroy(msg);
			asked = NULL;
		}
	}
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR && asked != NULL) {
		tide_client_well(kafka->control);
		for (int i = 0; i < asked->cnt; i++) {
			list->elems[i].offset = asked->elems[i].offset;
			list->elems[i].err = asked->elems[i].err;
		}
	}
	if (asked != NULL)
		rd_kafka_topic_partition_list_destroy(asked);
	return code;
}

int tide_kafka_list_offsets(struct tide_kafka *kafka, rd_kafka_topic_partition_list_t *list,
                            const char *what, struct tide_error *err)
{
	rd_kafka_resp_err_t code = tide_kafka_try_offsets(kafka, list);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		return tide_client_fail(kafka->control, code, what, err);
	return TIDE_OK;
}

static int fail_part(struct tide_kafka *kafka, const rd_kafka_topic_partition_t *one,
                     struct tide_error *err)
{
	char what[300];
	snprintf(what, sizeof what, "offsets of %s-%d", one->topic, one->partition);
	return tide_client_fail(kafka->control, one->err, what, err);
}

/* Asked at once, however many there are. Those that `only` says, or all. */
static int offsets_at(struct tide_kafka *kafka, struct tide_source_part **parts, int count,
                      int64_t time, bool (*only)(int64_t), int64_t *offsets, struct tide_error *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	for (int i = 0; i < count; i++) {
		if (only != NULL && !only(offsets[i]))
			continue;
		rd_kafka_topic_partition_t *one = rd_kafka_topic_partition_list_add(
			list, parts[i]->topic, parts[i]->partition);
		one->offset = time;
		one->opaque = &offsets[i];
	}
	int rc = list->cnt > 0 ? tide_kafka_list_offsets(kafka, list, "asking for offsets", err)
	                       : TIDE_OK;
	for (int i = 0; i < list->cnt && rc == TIDE_OK; i++) {
		const rd_kafka_topic_partition_t *one = &list->elems[i];
		if (one->err != 0)
			rc = fail_part(kafka, one, err);
		*(int64_t *)one->opaque = one->offset;
	}
	rd_kafka_topic_partition_list_destroy(list);
	return rc;
}

static bool is_none(int64_t offset)
{
	return offset < 0;
}

int tide_kafka_resolve(struct tide_source *src, struct tide_source_part **parts, int count,
                       const char *position, int64_t *offsets, struct tide_error *err)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	assert(parts != NULL && position != NULL && offsets != NULL);
	if (strcmp(position, "earliest") == 0)
		return offsets_at(kafka, parts, count, RD_KAFKA_OFFSET_BEGINNING, NULL, offsets,
		                  err);
	if (strcmp(position, "latest") == 0)
		return offsets_at(kafka, parts, count, RD_KAFKA_OFFSET_END, NULL, offsets, err);
	char *rest;
	long long ms = strtoll(position, &rest, 10);
	if (rest == position || *rest != '\0' || ms < 0)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "start = \"%s\": expected earliest, latest or "
		                 "a time",
		                 position);
	if (kafka->is_mock)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "the embedded broker cannot find offsets by "
		                 "time: use earliest or latest, or a real Kafka");
	int rc = offsets_at(kafka, parts, count, ms, NULL, offsets, err);
	/* Nothing that late: what is produced from now on is. */
	if (rc == TIDE_OK)
		rc = offsets_at(kafka, parts, count, RD_KAFKA_OFFSET_END, is_none, offsets, err);
	return rc;
}

/* --- ends ----------------------------------------------------------------------- */

/* Learn from what fetching brings along. True when the broker must be asked.
 *
 * librdkafka's cached high watermark counts records of open transactions, so
 * it says that there is something and not what may be read. What may be read
 * is known up to what lies in the queue; asked for when nothing lies there, and
 * now and then, so that a backlog is told in full. With the lock. */
static bool learn(struct kafka_part *part, int64_t now_us)
{
	struct tide_source_part *pub = &part->pub;
	int64_t low = -1, high = -1;
	if (!part->assigned)
		return true;
	rd_kafka_get_watermark_offsets(tide_client_handle(part->kafka->data), pub->topic,
	                               pub->partition, &low, &high);
	if (low > pub->start)
		pub->start = low;
	tide_kafka_carry_fill(part, TIDE_BATCH_RECORDS_MAX);
	if (part->reached > pub->end)
		pub->end = part->reached;
	if (high >= 0 && high <= pub->end)
		return false;
	return pub->next >= pub->end ? high >= 0 : now_us - part->asked_us > REFRESH_US;
}

static void take_end(struct kafka_part *part, int64_t end, int64_t now_us)
{
	pthread_mutex_lock(&part->lock);
	part->asked_us = now_us;
	if (part->assigned && end < part->pub.next && !part->lost) {
		part->lost = true;
		tide_kafka_carry_drop(part);
		snprintf(part->why, sizeof part->why,
		         "%.80s-%d: the log's end went back to %lld, before offset %lld",
		         part->pub.topic, part->pub.partition, (long long)end,
		         (long long)part->pub.next);
	}
	if (end > part->pub.end || !part->assigned || part->lost)
		part->pub.end = end;
	pthread_mutex_unlock(&part->lock);
}

static void take_start(struct kafka_part *part, int64_t start)
{
	pthread_mutex_lock(&part->lock);
	part->pub.start = start;
	pthread_mutex_unlock(&part->lock);
}

static int ask(struct tide_kafka *kafka, rd_kafka_topic_partition_list_t *list, int64_t position,
               struct tide_error *err)
{
	int64_t now = tide_clock_mono_us();
	for (int i = 0; i < list->cnt; i++)
		list->elems[i].offset = position;
	int rc = tide_kafka_list_offsets(kafka, list, "asking for offsets", err);
	for (int i = 0; i < list->cnt && rc == TIDE_OK; i++) {
		struct kafka_part *part = list->elems[i].opaque;
		rd_kafka_topic_partition_t *one = &list->elems[i];
		/* A topic that was deleted is discover's to say. */
		if (one->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
			continue;
		if (one->err != 0)
			rc = fail_part(kafka, one, err);
		else if (position == RD_KAFKA_OFFSET_END)
			take_end(part, one->offset, now);
		else
			take_start(part, one->offset);
	}
	return rc;
}

int tide_kafka_ends(struct tide_source *src, struct tide_source_part **parts, int count,
                    struct tide_error *err)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	int64_t now = tide_clock_mono_us();
	int rc = TIDE_OK;
	rd_kafka_topic_partition_list_t *ends = rd_kafka_topic_partition_list_new(count);
	rd_kafka_topic_partition_list_t *starts = rd_kafka_topic_partition_list_new(count);
	for (int i = 0; i < count; i++) {
		struct kafka_part *part = (struct kafka_part *)parts[i];
		assert(part->kafka == kafka);
		/* One that is being fetched has something to do already. */
		if (pthread_mutex_trylock(&part->lock) != 0)
			continue;
		bool must = learn(part, now), first = !part->assigned;
		pthread_mutex_unlock(&part->lock);
		if (must)
			rd_kafka_topic_partition_list_add(ends, part->pub.topic,
			                                  part->pub.partition)
				->opaque = part;
		if (first)
			rd_kafka_topic_partition_list_add(starts, part->pub.topic,
			                                  part->pub.partition)
				->opaque = part;
	}
	/* The start first: a log that is being trimmed then never shows start > end. */
	if (starts->cnt > 0)
		rc = ask(kafka, starts, RD_KAFKA_OFFSET_BEGINNING, err);
	if (ends->cnt > 0 && rc == TIDE_OK)
		rc = ask(kafka, ends, RD_KAFKA_OFFSET_END, err);
	rd_kafka_topic_partition_list_destroy(ends);
	rd_kafka_topic_partition_list_destroy(starts);
	for (int i = 0; i < count && rc == TIDE_OK; i++) {
		struct kafka_part *part = (struct kafka_part *)parts[i];
		if (pthread_mutex_trylock(&part->lock) != 0)
			continue;
		part->pub.doubtful = part->pub.doubtful || tide_kafka_doubtful(part);
		pthread_mutex_unlock(&part->lock);
	}
	return rc;
}

int tide_kafka_starts(struct tide_source *src, struct tide_source_part **parts, int count,
                      struct tide_error *err)
{
	rd_kafka_topic_partition_list_t *starts = rd_kafka_topic_partition_list_new(count);
	for (int i = 0; i < count; i++)
		rd_kafka_topic_partition_list_add(starts, parts[i]->topic, parts[i]->partition)
			->opaque = parts[i];
	int rc = count > 0 ? ask((struct tide_kafka *)src, starts, RD_KAFKA_OFFSET_BEGINNING, err)
	                   : TIDE_OK;
	rd_kafka_topic_partition_list_destroy(starts);
	return rc;
}

/* --- the mirror ------------------------------------------------------------------- */

/* An admin request and not a commit: librdkafka starts no new partition while
 * a commit waits, and without a coordinator it waits long. */
static void mirror_send(struct tide_kafka *kafka, const rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_t *rk = tide_client_handle(kafka->control);
	const char *group = tide_option_get(&kafka->options, "group");
	rd_kafka_AlterConsumerGroupOffsets_t *alter =
		rd_kafka_AlterConsumerGroupOffsets_new(group, list);
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS);
	rd_kafka_AdminOptions_set_request_timeout(options, TIDE_CLIENT_PATIENT_MS, NULL, 0);
	if (kafka->mirror_queue == NULL)
		kafka->mirror_queue = rd_kafka_queue_new(rk);
	rd_kafka_AlterConsumerGroupOffsets(rk, &alter, 1, options, kafka->mirror_queue);
	kafka->mirror_busy = true;
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_AlterConsumerGroupOffsets_destroy(alter);
}

void tide_kafka_mirror(struct tide_source *src, struct tide_source_part **parts, int count)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	const char *group = tide_option_get(&kafka->options, "group");
	int64_t now = tide_clock_mono_us();
	if (group == NULL || *group == '\0')
		return;
	tide_kafka_mirror_poll(kafka);
	if (kafka->mirror_busy || kafka->mirror_off || now - kafka->mirror_us < MIRROR_US)
		return;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	int64_t read = 0;
	for (int i = 0; i < count; i++)
		if (parts[i]->next >= 0) {
			rd_kafka_topic_partition_list_add(list, parts[i]->topic,
			                                  parts[i]->partition)
				->offset = parts[i]->next;
			read += parts[i]->next;
		}
	kafka->mirror_us = now;
	if (list->cnt > 0 && read != kafka->mirrored)
		mirror_send(kafka, list);
	kafka->mirrored = read;
	rd_kafka_topic_partition_list_destroy(list);
}

static void mirror_failed(struct tide_kafka *kafka, rd_kafka_resp_err_t code, const char *why)
{
	if (!kafka->mirror_warned)
		tide_log(TIDE_WARN,
		         "positions are not mirrored to group %s: %s; lag tools will not "
		         "see them, nothing else depends on it",
		         tide_option_get(&kafka->options, "group"),
		         why != NULL ? why : rd_kafka_err2str(code));
	kafka->mirror_warned = true;
	kafka->mirrored = -1;
	/* It will not change for these; others may pass. */
	kafka->mirror_off = code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE ||
	                    code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
}

/* It may answer yet, or never (2.0.2, where there has been no group before): another one
 * asks, and each waits longer, so that an outage does not make many. */
static void mirror_unanswered(struct tide_kafka *kafka)
{
	int64_t patience_us = kafka->mirror_patience_us;
	if (patience_us == 0)
		patience_us = MIRROR_PATIENCE_US;
	if (tide_clock_mono_us() - kafka->mirror_us < patience_us)
		return;
	mirror_failed(kafka, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL);
	rd_kafka_queue_destroy(kafka->mirror_queue);
	kafka->mirror_queue = NULL;
	kafka->mirror_busy = false;
	kafka->mirror_patience_us = 2 * patience_us;
}

void tide_kafka_mirror_poll(struct tide_kafka *kafka)
{
	if (!kafka->mirror_busy)
		return;
	rd_kafka_event_t *event = rd_kafka_queue_poll(kafka->mirror_queue, 0);
	if (event == NULL) {
		mirror_unanswered(kafka);
		return;
	}
	kafka->mirror_busy = false;
	kafka->mirror_patience_us = 0;
	rd_kafka_resp_err_t code = rd_kafka_event_error(event);
	size_t count = 0;
	if (code != 0) {
		mirror_failed(kafka, code, rd_kafka_event_error_string(event));
	} else {
		const rd_kafka_group_result_t **results =
			rd_kafka_AlterConsumerGroupOffsets_result_groups(
				rd_kafka_event_AlterConsumerGroupOffsets_result(event), &count);
		const rd_kafka_error_t *error =
			count > 0 ? rd_kafka_group_result_error(results[0]) : NULL;
		if (error != NULL)
			mirror_failed(kafka, rd_kafka_error_code(error),
			              rd_kafka_error_string(error));
	}
	rd_kafka_event_destroy(event);
}
