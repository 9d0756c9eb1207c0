/* SPDX-License-Identifier: Apache-2.0 */
/* Producing: a generator or lines, at a rate, until all are acknowledged. */
#include "broker/produce.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "broker/generate.h"
#include "broker/lines.h"
#include "source/client.h"

enum {
	TICK_MS = 100, /* how late a stop may be seen */
	CONNECT_MS = 10000,
	FLUSH_MS = 60000,     /* for what is on its way at the end */
	IDEMPOTENT_MS = 5000, /* for the first record, to see if the broker can */
	PROGRESS_US = 500 * 1000,
	CLOSE_MS = 3000
};

struct producer {
	const struct tide_produce_options *options;
	struct tide_client *client;
	rd_kafka_topic_t *topic;
	int32_t partitions, turn;
	struct tide_generator *gen;
	struct tide_lines *lines;
	bool idempotent;
	int64_t sent, acked, failed;
	int64_t began_us, shown_us, shown_acked;
	char why[256]; /* of the first failure */
};

static int open_client(struct producer *producer, bool idempotent, struct tide_error *err);
static void close_client(struct producer *producer);
static int first_record(struct producer *producer, const struct tide_message *msg,
                        struct tide_error *err);
static int send_one(struct producer *producer, const struct tide_message *msg,
                    struct tide_error *err);
static int send_all(struct producer *producer, struct tide_error *err);
static int drain(struct producer *producer, int deadline_ms, struct tide_error *err);

int tide_produce(const struct tide_produce_options *options, int64_t *produced,
                 struct tide_error *err)
{
	assert(options != NULL && options->topic != NULL && produced != NULL);
	struct producer producer = { .options = options, .began_us = tide_clock_mono_us() };
	const char *wanted =
		options->rdkafka != NULL
			? tide_option_get(options->rdkafka, "rdkafka.enable.idempotence")
			: NULL;
	int rc = TIDE_OK;
	*produced = 0;
	if (options->generator != NULL) {
		rc = tide_generator_new(options->generator, options->seed, options->shape,
		                        &producer.gen, err);
	} else {
		producer.lines = tide_lines_new(options->in, options->stop);
		if (producer.lines == NULL)
			rc = tide_fail(err, TIDE_ERR_NOMEM, "producing to %s", options->topic);
	}
	if (rc == TIDE_OK)
		rc = open_client(&producer, wanted == NULL, err);
	if (rc == TIDE_OK)
		rc = send_all(&producer, err);
	*produced = producer.acked;
	close_client(&producer);
	tide_generator_free(producer.gen);
	tide_lines_free(producer.lines);
	tide_log_status("");
	return rc == TIDE_ERR_STOPPED ? TIDE_OK : rc;
}

static bool stopped(const struct producer *producer)
{
	return producer->options->stop != NULL && atomic_load(producer->options->stop) != 0;
}

/* --- the client --------------------------------------------------------------- */

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *opaque)
{
	struct producer *producer = tide_client_opaque(rk);
	(void)opaque;
	if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
		producer->acked++;
		return;
	}
	if (producer->failed++ == 0)
		snprintf(producer->why, sizeof producer->why, "%s", rd_kafka_err2str(msg->err));
}

static int prepare(rd_kafka_conf_t *conf, void *opaque, struct tide_error *err)
{
	const struct producer *producer = opaque;
	(void)err;
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	if (producer->idempotent)
		rd_kafka_conf_set(conf, "enable.idempotence", "true", NULL, 0);
	/* Under load, wait to fill batches; at a rate, keep it prompt. */
	if (producer->options->rate == 0)
		rd_kafka_conf_set(conf, "linger.ms", "20", NULL, 0);
	return TIDE_OK;
}

/* The topic's partitions; a broker that creates topics does it when asked. */
static int find_topic(struct producer *producer, struct tide_error *err)
{
	const char *name = producer->options->topic;
	rd_kafka_t *rk = tide_client_handle(producer->client);
	int64_t until = tide_clock_mono_us() + (int64_t)CONNECT_MS * 1000;
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
	producer->topic = rd_kafka_topic_new(rk, name, NULL);
	if (producer->topic == NULL)
		return tide_fail(err, TIDE_ERR_USAGE, "topic %s: %s", name,
		                 rd_kafka_err2str(rd_kafka_last_error()));
	for (int slice = TICK_MS; tide_clock_mono_us() < until && !stopped(producer); slice *= 2) {
		const rd_kafka_metadata_t *meta;
		code = rd_kafka_metadata(rk, 0, producer->topic, &meta, slice);
		tide_client_poll(producer->client);
		if (tide_client_refused(producer->client))
			break;
		if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
			continue;
		tide_client_well(producer->client);
		tide_client_advertised(producer->client, meta);
		code = meta->topic_cnt == 1 ? meta->topics[0].err
		                            : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
		if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
			producer->partitions = meta->topics[0].partition_cnt;
		rd_kafka_metadata_destroy(meta);
		if (producer->partitions > 0)
			return TIDE_OK;
		if (code != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE &&
		    code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
			break;
		/* Being created: librdkafka's own callbacks are the pause. */
		rd_kafka_poll(rk, TICK_MS);
	}
	if (stopped(producer))
		return TIDE_ERR_STOPPED;
	if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		return tide_fail(err, TIDE_ERR_UNAVAILABLE,
		                 "topic %s does not exist and the broker "
		                 "did not create it: kafka-topics.sh --create --topic %s "
		                 "--bootstrap-server %s",
		                 name, name, producer->options->brokers);
	char what[300];
	snprintf(what, sizeof what, "producing to %s", name);
	return tide_client_fail(producer->client, code, what, err);
}

static int open_client(struct producer *producer, bool idempotent, struct tide_error *err)
{
	struct tide_options options = { 0 };
	const struct tide_options *given = producer->options->rdkafka;
	producer->idempotent = idempotent;
	bool ok = producer->options->brokers == NULL ||
	          tide_option_set(&options, "brokers", producer->options->brokers);
	for (int i = 0; given != NULL && i < given->count && ok; i++)
		ok = tide_option_set(&options, given->items[i].key, given->items[i].value);
	int rc = ok ? tide_client_open(&producer->client, TIDE_KAFKA_PRODUCE, &options, 0, prepare,
	                               producer, err)
	            : tide_fail(err, TIDE_ERR_NOMEM, "producing to %s", producer->options->topic);
	tide_options_fini(&options);
	return rc == TIDE_OK ? find_topic(producer, err) : rc;
}

static void close_client(struct producer *producer)
{
	if (producer->client == NULL)
		return;
	rd_kafka_purge(tide_client_handle(producer->client),
	               RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	if (producer->topic != NULL)
		rd_kafka_topic_destroy(producer->topic);
	tide_client_close(producer->client, CLOSE_MS);
	producer->client = NULL;
	producer->topic = NULL;
}

/* --- sending -------------------------------------------------------------------- */

static rd_kafka_headers_t *headers_of(const struct tide_message *msg)
{
	if (msg->header_count == 0)
		return NULL;
	rd_kafka_headers_t *headers = rd_kafka_headers_new(msg->header_count);
	for (uint32_t i = 0; i < msg->header_count; i++)
		rd_kafka_header_add(headers, msg->headers[i].name.p,
		                    (ssize_t)msg->headers[i].name.len, msg->headers[i].value.p,
		                    (ssize_t)msg->headers[i].value.len);
	return headers;
}

static int32_t partition_of(struct producer *producer, const struct tide_message *msg)
{
	if (msg->partition >= 0)
		return msg->partition;
	/* Generators go round, so that a seed gives the same partitions. */
	if (producer->gen == NULL && msg->key.p != NULL)
		return RD_KAFKA_PARTITION_UA;
	return producer->turn++ % producer->partitions;
}

static int send_one(struct producer *producer, const struct tide_message *msg,
                    struct tide_error *err)
{
	rd_kafka_t *rk = tide_client_handle(producer->client);
	int32_t partition = partition_of(producer, msg);
	if (partition >= producer->partitions)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "record %lld: topic %s has no partition %d: it "
		                 "has %d",
		                 (long long)producer->sent + 1, producer->options->topic, partition,
		                 producer->partitions);
	for (;;) {
		rd_kafka_headers_t *headers = headers_of(msg);
		rd_kafka_vu_t args[] = {
			{ .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = producer->topic },
			{ .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition },
			{ .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY },
			{ .vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = msg->timestamp_ms },
			{ .vtype = RD_KAFKA_VTYPE_KEY,
			  .u.mem = { .ptr = (void *)(uintptr_t)msg->key.p, .size = msg->key.len } },
			{ .vtype = RD_KAFKA_VTYPE_VALUE,
			  .u.mem = { .ptr = (void *)(uintptr_t)msg->value.p,
			             .size = msg->value.len } },
			{ .vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers },
		};
		rd_kafka_error_t *error = rd_kafka_produceva(rk, args, headers != NULL ? 7 : 6);
		if (error == NULL)
			break;
		rd_kafka_resp_err_t code = rd_kafka_error_code(error);
		int rc = TIDE_OK;
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			rc = tide_fail(err, TIDE_ERR_UNAVAILABLE, "record %lld: %s",
			               (long long)producer->sent + 1, rd_kafka_error_string(error));
		rd_kafka_error_destroy(error);
		if (headers != NULL)
			rd_kafka_headers_destroy(headers);
		if (rc != TIDE_OK)
			return rc;
		rd_kafka_poll(rk, TICK_MS);
		rc = tide_client_trouble(producer->client, err);
		if (rc != TIDE_OK || stopped(producer))
			return rc != TIDE_OK ? rc : TIDE_ERR_STOPPED;
	}
	producer->sent++;
	return TIDE_OK;
}

/* Wait until all is acknowledged or has failed. */
static int drain(struct producer *producer, int deadline_ms, struct tide_error *err)
{
	rd_kafka_t *rk = tide_client_handle(producer->client);
	int64_t until = tide_clock_mono_us() + (int64_t)deadline_ms * 1000;
	while (producer->acked + producer->failed < producer->sent &&
	       tide_clock_mono_us() < until && !tide_client_refused(producer->client))
		rd_kafka_flush(rk, TICK_MS);
	if (producer->failed > 0)
		return tide_fail(
			err, TIDE_ERR_UNAVAILABLE,
			"%lld of %lld records were not accepted by the broker, the first: %s",
			(long long)producer->failed, (long long)producer->sent, producer->why);
	if (producer->acked < producer->sent) {
		char what[300];
		snprintf(what, sizeof what, "%lld of %lld records were not acknowledged",
		         (long long)(producer->sent - producer->acked), (long long)producer->sent);
		return tide_client_fail(producer->client, RD_KAFKA_RESP_ERR__TIMED_OUT, what, err);
	}
	return TIDE_OK;
}

/* Idempotence needs a producer id from the broker; not all brokers give one,
 * and only the first record tells. */
static bool lacks_producer_id(struct producer *producer)
{
	char why[256];
	rd_kafka_t *rk = tide_client_handle(producer->client);
	bool silent = producer->acked == 0 && producer->failed == 0;
	return silent || rd_kafka_fatal_error(rk, why, sizeof why) != 0;
}

static int first_record(struct producer *producer, const struct tide_message *msg,
                        struct tide_error *err)
{
	int rc = send_one(producer, msg, err);
	if (rc != TIDE_OK || !producer->idempotent)
		return rc;
	rc = drain(producer, IDEMPOTENT_MS, err);
	if (rc == TIDE_OK || stopped(producer) || !lacks_producer_id(producer))
		return rc;
	tide_log(TIDE_INFO, "the broker gives no producer id: producing without idempotence");
	close_client(producer);
	producer->sent = producer->acked = producer->failed = 0;
	producer->turn = 0;
	producer->why[0] = '\0';
	rc = open_client(producer, false, err);
	return rc == TIDE_OK ? send_one(producer, msg, err) : rc;
}

static void show_progress(struct producer *producer)
{
	char line[160];
	int64_t now = tide_clock_mono_us();
	if (producer->options->quiet || now - producer->shown_us < PROGRESS_US)
		return;
	double seconds =
		(double)(now - (producer->shown_us > 0 ? producer->shown_us : producer->began_us)) /
		1e6;
	snprintf(line, sizeof line, "%s: %lld records, %.0f/s", producer->options->topic,
	         (long long)producer->acked,
	         (double)(producer->acked - producer->shown_acked) / (seconds > 0 ? seconds : 1));
	tide_log_status(line);
	producer->shown_us = now;
	producer->shown_acked = producer->acked;
}

/* Serve callbacks until record number `sent` is due. */
static void keep_rate(struct producer *producer)
{
	rd_kafka_t *rk = tide_client_handle(producer->client);
	double rate = producer->options->rate;
	if (rate <= 0) {
		if (producer->sent % 1000 == 0)
			rd_kafka_poll(rk, 0);
		return;
	}
	int64_t due = producer->began_us + (int64_t)((double)producer->sent * 1e6 / rate);
	for (;;) {
		int64_t left_ms = (due - tide_clock_mono_us()) / 1000;
		if (left_ms <= 0 || stopped(producer))
			break;
		rd_kafka_poll(rk, left_ms < TICK_MS ? (int)left_ms : TICK_MS);
		show_progress(producer);
	}
	rd_kafka_poll(rk, 0);
}

/* 1: a message; 0: no more; 2: none yet; else a status. */
static int next_message(struct producer *producer, struct tide_message *msg, struct tide_error *err)
{
	if (stopped(producer) ||
	    (producer->options->count > 0 && producer->sent >= producer->options->count))
		return 0;
	if (producer->lines != NULL)
		return tide_lines_next(producer->lines, TICK_MS, msg, err);
	tide_generator_next(producer->gen, msg);
	return 1;
}

static int send_all(struct producer *producer, struct tide_error *err)
{
	struct tide_message msg;
	int rc = TIDE_OK, more;
	producer->began_us = tide_clock_mono_us();
	while ((more = next_message(producer, &msg, err)) > 0) {
		if (more == 2) {
			rd_kafka_poll(tide_client_handle(producer->client), 0);
			continue;
		}
		rc = producer->sent == 0 ? first_record(producer, &msg, err)
		                         : send_one(producer, &msg, err);
		if (rc != TIDE_OK)
			break;
		keep_rate(producer);
		show_progress(producer);
		if (producer->failed > 0)
			break;
	}
	if (more < 0 || (rc != TIDE_OK && rc != TIDE_ERR_STOPPED)) {
		/* What came before the fault is still the user's. */
		drain(producer, FLUSH_MS, NULL);
		return more < 0 ? more : rc;
	}
	return drain(producer, stopped(producer) ? CLOSE_MS : FLUSH_MS, err);
}
