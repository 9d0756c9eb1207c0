/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka source: opening, placing partitions, waiting, closing. */
#include "source/kafka.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/kafka_inside.h"

enum { CLOSE_MS = 3000, PING_US = 2 * 1000 * 1000, PING_MS = 500 };

static int tide_kafka_seek(struct tide_source *src, struct tide_source_part **parts, int count,
                           struct tide_error *err);
static void tide_kafka_wait(struct tide_source *src, int timeout_ms);
static int tide_kafka_poll(struct tide_source *src, struct tide_error *err);
static bool tide_kafka_refused(struct tide_source *src);
static void tide_kafka_close(struct tide_source *src);

static const struct tide_source_ops ops = {
	.kind = "kafka",
	.discover = tide_kafka_discover,
	.ends = tide_kafka_ends,
	.resolve = tide_kafka_resolve,
	.verify = tide_kafka_verify,
	.seek = tide_kafka_seek,
	.wait = tide_kafka_wait,
	.fetch = tide_kafka_fetch,
	.mirror = tide_kafka_mirror,
	.retention = tide_kafka_retention,
	.starts = tide_kafka_starts,
	.poll = tide_kafka_poll,
	.refused = tide_kafka_refused,
	.close = tide_kafka_close,
};

static bool options_copy(struct tide_options *to, const struct tide_options *from)
{
	for (int i = 0; i < from->count; i++)
		if (!tide_option_set(to, from->items[i].key, from->items[i].value))
			return false;
	return true;
}

int tide_kafka_open(const struct tide_options *options, struct tide_source **out,
                    struct tide_error *err)
{
	assert(options != NULL && out != NULL);
	int rc;
	struct tide_kafka *kafka = calloc(1, sizeof *kafka);
	if (kafka == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "a Kafka source");
	kafka->src.ops = &ops;
	pthread_mutex_init(&kafka->wake_lock, NULL);
	pthread_mutex_init(&kafka->parts_lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&kafka->wake, &attr);
	pthread_condattr_destroy(&attr);
	kafka->spent = tide_spent_new();
	if (kafka->spent == NULL || !options_copy(&kafka->options, options)) {
		rc = tide_fail(err, TIDE_ERR_NOMEM, "a Kafka source");
		goto out;
	}
	rc = tide_client_open(&kafka->control, TIDE_KAFKA_CONTROL, &kafka->options, 0, NULL, kafka,
	                      err);
	if (rc == TIDE_OK)
		rc = tide_kafka_topics_init(kafka, err);
	const char *preflight = tide_option_get(options, "preflight");
	if (rc == TIDE_OK && (preflight == NULL || strcmp(preflight, "false") != 0))
		rc = tide_kafka_preflight(kafka, err);
	if (rc != TIDE_OK)
		goto out;
	*out = &kafka->src;
	kafka = NULL;
out:
	if (kafka != NULL)
		tide_kafka_close(&kafka->src);
	return rc;
}

/* --- placing ---------------------------------------------------------------------- */

/* Runs on librdkafka's threads with the queue's lock held: no call back. */
static void on_records(rd_kafka_t *rk, void *opaque)
{
	struct kafka_part *part = opaque;
	struct tide_kafka *kafka = part->kafka;
	(void)rk;
	atomic_store(&part->pub.quiet, false);
	atomic_store(&kafka->woken, true);
	if (atomic_load(&kafka->waiting) == 0)
		return;
	pthread_mutex_lock(&kafka->wake_lock);
	pthread_cond_broadcast(&kafka->wake);
	pthread_mutex_unlock(&kafka->wake_lock);
}

/* A queue of its own before it is assigned: librdkafka leaves alone what was
 * forwarded by hand, so no record ever takes the way of the common queue. */
static int part_queue(struct kafka_part *part, struct tide_error *err)
{
	if (part->queue != NULL)
		return TIDE_OK;
	part->queue = rd_kafka_queue_get_partition(tide_client_handle(part->kafka->data),
	                                           part->pub.topic, part->pub.partition);
	if (part->queue == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "%s-%d", part->pub.topic,
		                 part->pub.partition);
	rd_kafka_queue_forward(part->queue, NULL);
	rd_kafka_queue_cb_event_enable(part->queue, on_records, part);
	return TIDE_OK;
}

/* A partition that was gone for a while is another one to librdkafka when it comes
 * back, with a queue of its own: nothing comes into the old one any more. */
static int queue_anew(struct kafka_part *part, struct tide_error *err)
{
	rd_kafka_queue_cb_event_enable(part->queue, NULL, NULL);
	rd_kafka_queue_destroy(part->queue);
	part->queue = NULL;
	return part_queue(part, err);
}

static int assign(struct tide_kafka *kafka, rd_kafka_topic_partition_list_t *list, bool on,
                  struct tide_error *err)
{
	rd_kafka_t *rk = tide_client_handle(kafka->data);
	if (list->cnt == 0)
		return TIDE_OK;
	rd_kafka_error_t *error = on ? rd_kafka_incremental_assign(rk, list)
	                             : rd_kafka_incremental_unassign(rk, list);
	if (error == NULL)
		return TIDE_OK;
	int rc = tide_client_fail(kafka->data, rd_kafka_error_code(error),
	                          rd_kafka_error_string(error), err);
	rd_kafka_error_destroy(error);
	return rc;
}

/* Tell librdkafka to drop the old places, forget what came from them, and only
 * then give the new ones. */
static int place(struct tide_kafka *kafka, struct tide_source_part **parts, int count,
                 struct tide_error *err)
{
	rd_kafka_topic_partition_list_t *old = rd_kafka_topic_partition_list_new(count);
	rd_kafka_topic_partition_list_t *new = rd_kafka_topic_partition_list_new(count);
	int rc = TIDE_OK;
	for (int i = 0; i < count && rc == TIDE_OK; i++) {
		struct kafka_part *part = (struct kafka_part *)parts[i];
		assert(part->kafka == kafka && part->pub.next >= 0);
		rc = part_queue(part, err);
		if (part->assigned)
			rd_kafka_topic_partition_list_add(old, part->pub.topic,
			                                  part->pub.partition);
		rd_kafka_topic_partition_list_add(new, part->pub.topic, part->pub.partition)
			->offset = part->pub.next;
	}
	if (rc == TIDE_OK)
		rc = assign(kafka, old, false, err);
	for (int i = 0; i < count && rc == TIDE_OK; i++) {
		struct kafka_part *part = (struct kafka_part *)parts[i];
		pthread_mutex_lock(&part->lock);
		tide_kafka_carry_drop(part);
		if (part->lost)
			rc = queue_anew(part, err);
		part->assigned = false;
		part->lost = part->pub.doubtful = false;
		part->error.status = TIDE_OK;
		part->reached = -1;
		atomic_store(&part->pub.quiet, false);
		part->asked_us = 0;
		pthread_mutex_unlock(&part->lock);
	}
	if (rc == TIDE_OK)
		rc = assign(kafka, new, true, err);
	for (int i = 0; i < count && rc == TIDE_OK; i++) {
		struct kafka_part *part = (struct kafka_part *)parts[i];
		part->assigned = part->pub.placed = true;
	}
	rd_kafka_topic_partition_list_destroy(old);
	rd_kafka_topic_partition_list_destroy(new);
	return rc;
}

static int prepare(rd_kafka_conf_t *conf, void *opaque, struct tide_error *err)
{
	struct tide_kafka *kafka = opaque;
	tide_spent_conf(kafka->spent, conf);
	return tide_client_watch_conf(conf)
	               ? TIDE_OK
	               : tide_fail(err, TIDE_ERR_USAGE, "librdkafka has no debug log");
}

static int tide_kafka_seek(struct tide_source *src, struct tide_source_part **parts, int count,
                           struct tide_error *err)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	/* Only now is it known how many partitions share the memory. */
	if (kafka->data == NULL) {
		int rc = tide_client_open(&kafka->data, TIDE_KAFKA_FETCH, &kafka->options,
		                          kafka->part_count, prepare, kafka, err);
		if (rc != TIDE_OK)
			return rc;
		tide_client_watch(kafka->data, tide_kafka_away);
	}
	return place(kafka, parts, count, err);
}

/* --- waiting ---------------------------------------------------------------------- */

static void tide_kafka_wait(struct tide_source *src, int timeout_ms)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&kafka->wake_lock);
	atomic_fetch_add(&kafka->waiting, 1);
	while (!atomic_exchange(&kafka->woken, false))
		if (pthread_cond_timedwait(&kafka->wake, &kafka->wake_lock, &until) == ETIMEDOUT)
			break;
	atomic_fetch_sub(&kafka->waiting, 1);
	pthread_mutex_unlock(&kafka->wake_lock);
}

/* After all brokers were lost: does fetching work again? Where no record comes
 * to prove it, the broker is asked. */
static void look_for_recovery(struct tide_kafka *kafka)
{
	const rd_kafka_metadata_t *meta;
	uint64_t fetched = atomic_load(&kafka->fetched);
	int64_t now = tide_clock_mono_us();
	bool moved = fetched != kafka->fetched_seen;
	kafka->fetched_seen = fetched;
	if (!moved && now - kafka->pinged_us < PING_US)
		return;
	kafka->pinged_us = now;
	if (!moved && tide_kafka_metadata(kafka, false, PING_MS, &meta, NULL) == TIDE_OK) {
		rd_kafka_metadata_destroy(meta);
		moved = true;
	}
	if (!moved)
		return;
	tide_client_well(kafka->control);
	if (kafka->data != NULL)
		tide_client_well(kafka->data);
}

static int tide_kafka_poll(struct tide_source *src, struct tide_error *err)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	tide_kafka_mirror_poll(kafka);
	tide_kafka_remind(kafka);
	int rc = tide_client_trouble(kafka->control, err);
	if (rc == TIDE_OK && kafka->data != NULL)
		rc = tide_client_trouble(kafka->data, err);
	if (rc == TIDE_OK)
		return rc;
	look_for_recovery(kafka);
	rc = tide_client_trouble(kafka->control, err);
	if (rc == TIDE_OK && kafka->data != NULL)
		rc = tide_client_trouble(kafka->data, err);
	return rc;
}

static bool tide_kafka_refused(struct tide_source *src)
{
	const struct tide_kafka *kafka = (struct tide_kafka *)src;
	return tide_client_refused(kafka->control) ||
	       (kafka->data != NULL && tide_client_refused(kafka->data));
}

/* --- closing ---------------------------------------------------------------------- */

static void tide_kafka_close(struct tide_source *src)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	for (int i = 0; i < kafka->part_count; i++) {
		struct kafka_part *part = kafka->parts[i];
		tide_kafka_carry_drop(part);
		if (part->queue != NULL) {
			rd_kafka_queue_cb_event_enable(part->queue, NULL, NULL);
			rd_kafka_queue_destroy(part->queue);
		}
		pthread_mutex_destroy(&part->lock);
		free(part->pub.topic);
		free(part);
	}
	free(kafka->parts);
	if (kafka->mirror_queue != NULL)
		rd_kafka_queue_destroy(kafka->mirror_queue);
	tide_kafka_topics_fini(kafka);
	if (kafka->spent != NULL)
		tide_spent_drain(kafka->spent);
	if (kafka->data != NULL)
		tide_client_watch(kafka->data, NULL);
	bool all = tide_client_close(kafka->data, CLOSE_MS);
	/* A client that is left behind goes on looking for what is spent. */
	if (all)
		tide_spent_free(kafka->spent);
	all = tide_client_close(kafka->control, CLOSE_MS) && all;
	if (!all)
		tide_log(TIDE_DEBUG, "librdkafka did not end in time and was left behind");
	tide_options_fini(&kafka->options);
	pthread_cond_destroy(&kafka->wake);
	pthread_mutex_destroy(&kafka->wake_lock);
	free(kafka);
}
