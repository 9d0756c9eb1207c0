/* SPDX-License-Identifier: Apache-2.0 */
/* A producer that knows what it has published: see kafka.h for the protocol.
 *
 *   connect ──► init_transactions ──► read the memory ──► READY
 *   READY: begin ─► send … ─► flush ─► offsets (memory) ─► commit ─► READY
 *   anything else on the way ──► throw the producer away, connect, and the
 *   memory says whether the epoch is published
 *
 * Every call has a deadline, because librdkafka 2.0.2 can hang in each. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mutant.h"
#include "sink/kafka_inside.h"

enum {
	CONNECT_MS = 15000,
	PUBLISH_MS = 600000, /* of trying, before the job gives up */
	STOP_MS = 4000,      /* likewise, once somebody wants to stop */
	CALL_FIRST_MS = 16,  /* likewise CALL_MS, to which each call comes nearer */
	CALL_MS = 500,       /* of one call: then look whether to stop, and call again */
	GUARD_MS = 5000,     /* a commit that took longer is not trusted */
	CLOSE_MS = 2000,
	PAUSE_MS = 100,
	POLL_EVERY = 1024,
	BATCH_DEFAULT = 1000000, /* bytes, of librdkafka */
	BATCH_HEAD = 128
};

struct tide_kafka_link {
	struct tide_kafka_link_options options;
	struct tide_client *client; /* NULL: to be made */
	bool exact, doubtful, warned;
	struct tide_kafka_memory memory; /* as it was last read or written */
	uint64_t writer;                 /* who we are in it */
	char home[TIDE_KAFKA_TOPIC_MAX]; /* its topic; "": any */
	int64_t stop_us;                 /* when it was first seen */
	int64_t batch_bytes;             /* the smallest limit of a topic; 0: none is known */
	unsigned sent;

	/* What delivery reports said of the messages sent since begin. */
	unsigned failed;
	rd_kafka_resp_err_t why;
	char failed_topic[TIDE_KAFKA_TOPIC_MAX];
	size_t failed_bytes;
};

static rd_kafka_t *handle(const struct tide_kafka_link *link)
{
	return tide_client_handle(link->client);
}

/* ---- time ---- */

static bool stopping(struct tide_kafka_link *link)
{
	const atomic_int *stop = link->options.stop, *failed = link->options.failed;
	if ((stop == NULL || atomic_load(stop) == 0) &&
	    (failed == NULL || atomic_load(failed) == 0))
		return false;
	if (link->stop_us == 0)
		link->stop_us = tide_clock_mono_us();
	return true;
}

/* Milliseconds left, at most `most`; 0: it is over. */
static int left_ms(struct tide_kafka_link *link, int64_t until_us, int most)
{
	if (stopping(link) && link->stop_us + STOP_MS * 1000 < until_us)
		until_us = link->stop_us + STOP_MS * 1000;
	int64_t left = (until_us - tide_clock_mono_us()) / 1000;
	return left <= 0 ? 0 : left < most ? (int)left : most;
}

static int64_t in_ms(int ms)
{
	return tide_clock_mono_us() + (int64_t)ms * 1000;
}

static void pause_ms(int ms)
{
	struct timespec span = { ms / 1000, ms % 1000 * 1000000L };
	nanosleep(&span, NULL);
}

/* Where a test build can be made to die, or to meet what may pass. */
static int pass(const char *place, struct tide_error *err)
{
	return tide_failpoint(place) == 0
	               ? TIDE_OK
	               : tide_fail(err, TIDE_ERR_UNAVAILABLE, "made to fail at %s", place);
}

/* ---- errors ---- */

/* `what` went wrong in a way that may pass: the caller tries again. */
static int passing(struct tide_kafka_link *link, rd_kafka_resp_err_t code, const char *what,
                   struct tide_error *err)
{
	return tide_client_fail(link->client, code, what, err);
}

/* Rows that were decided and are refused stay where they are. */
static int refused(const struct tide_kafka_link *link, const char *topic, size_t bytes,
                   rd_kafka_resp_err_t code, struct tide_error *err)
{
	char size[40] = "";
	if (bytes > 0)
		snprintf(size, sizeof size, " of %zu bytes", bytes);
	return tide_fail(err, TIDE_ERR_FAILED,
	                 "sink %s: topic %s does not take a record%s: %s. Do this and start again: "
	                 "%s. Nothing is lost, the rows wait in the checkpoint: `tidemark "
	                 "checkpoint outbox show` prints them, `… skip` gives them up",
	                 link->options.sink, topic, size, rd_kafka_err2str(code),
	                 tide_kafka_advice(code));
}

/* Of a step of a transaction. Takes the error. */
static int step_failed(struct tide_kafka_link *link, const char *what, rd_kafka_error_t *error,
                       struct tide_error *err)
{
	rd_kafka_resp_err_t code = rd_kafka_error_code(error);
	char text[256];
	snprintf(text, sizeof text, "%s: %s", what, rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
	tide_client_poll(link->client);
	if (link->why != 0 && tide_kafka_advice(link->why) != NULL)
		return refused(link, link->failed_topic, link->failed_bytes, link->why, err);
	if (code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && tide_kafka_advice(code) != NULL)
		return tide_fail(err, TIDE_ERR_FAILED, "sink %s: %s; %s", link->options.sink, text,
		                 tide_kafka_advice(code));
	return passing(link, code, text, err);
}

/* ---- connecting ---- */

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *opaque)
{
	struct tide_kafka_link *link = tide_client_opaque(rk);
	(void)opaque;
	if (msg->err == 0)
		return;
	link->failed++;
	/* The first is the cause, unless it only says that others failed. */
	if (link->why != 0 &&
	    (tide_kafka_advice(link->why) != NULL || tide_kafka_advice(msg->err) == NULL))
		return;
	link->why = msg->err;
	link->failed_bytes = msg->len + msg->key_len;
	snprintf(link->failed_topic, sizeof link->failed_topic, "%s",
	         rd_kafka_topic_name(msg->rkt));
}

static bool is_given(const struct tide_kafka_link *link, const char *key)
{
	char full[80];
	snprintf(full, sizeof full, "rdkafka.%s", key);
	return tide_option_get(link->options.client, full) != NULL;
}

/* Settings of the sink's own, after those of the user. */
static int prepare(rd_kafka_conf_t *conf, void *opaque, struct tide_error *err)
{
	struct tide_kafka_link *link = opaque;
	char why[256], batch[24];
	snprintf(batch, sizeof batch, "%lld", (long long)link->batch_bytes);
	const struct {
		const char *key, *value;
		bool wanted, ours;
	} settings[] = {
		{ "transactional.id", link->options.id, link->exact, true },
		{ "enable.idempotence", "true", link->exact, true },
		/* Each loss of a connection has to be seen: tide_client_failures. */
		{ "log.connection.close", "true", true, true },
		{ "log_level", "6", true, true },
		/* 100 by default, which every transaction waits for. */
		{ "retry.backoff.ms", "1", link->exact, false },
		/* A large epoch over a slow line shall end its transaction; one that a
		 * killed process left is ended by the next start, or after this. */
		{ "transaction.timeout.ms", "300000", link->exact, false },
		/* As Java's: a key is in the same partition whoever writes it. */
		{ "partitioner", "murmur2_random", true, false },
		/* One in flight keeps the order where nothing else does. */
		{ "max.in.flight.requests.per.connection", "1", !link->exact, false },
		/* A topic's limit holds for batches, too. */
		{ "batch.size", batch, link->batch_bytes > 0, false },
	};
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
		if (!settings[i].wanted || (!settings[i].ours && is_given(link, settings[i].key)))
			continue;
		if (rd_kafka_conf_set(conf, settings[i].key, settings[i].value, why, sizeof why) !=
		    RD_KAFKA_CONF_OK)
			return tide_fail(err, TIDE_ERR_USAGE, "Kafka property %s: %s",
			                 settings[i].key, why);
	}
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	return TIDE_OK;
}

/* A partition that its main thread is about to add to a transaction while its other
 * threads end meets an assertion of librdkafka's (txn_req_cnt > 0, up to 2.12 at least).
 * None is added to what is being aborted: beginning with that is enough. */
static void stop_adding(struct tide_kafka_link *link)
{
	rd_kafka_error_t *error = rd_kafka_abort_transaction(handle(link), 1);
	if (error != NULL)
		rd_kafka_error_destroy(error);
}

static void drop(struct tide_kafka_link *link)
{
	if (link->client != NULL) {
		if (link->exact)
			stop_adding(link);
		rd_kafka_purge(handle(link), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
		                                     RD_KAFKA_PURGE_F_NON_BLOCKING);
		if (!tide_client_close(link->client, CLOSE_MS))
			tide_log(TIDE_DEBUG, "librdkafka did not end in time and was left behind");
	}
	link->client = NULL;
	link->doubtful = false;
}

static bool is_unsupported(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE ||
	       code == RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION;
}

/* *exact becomes false when the broker has no transactions. Newer librdkafkas drop
 * the connection that they began with as soon as they know the brokers, and look
 * for the coordinator again only after 500 ms (2.12.1), or when they are asked. */
static int init_transactions(struct tide_kafka_link *link, int64_t until_us, bool *exact,
                             struct tide_error *err)
{
	for (int patience_ms = CALL_FIRST_MS;;) {
		int ms = left_ms(link, until_us, patience_ms);
		patience_ms = patience_ms < CALL_MS / 2 ? 2 * patience_ms : CALL_MS;
		rd_kafka_error_t *error = rd_kafka_init_transactions(handle(link), ms > 0 ? ms : 1);
		if (error == NULL)
			return TIDE_OK;
		rd_kafka_resp_err_t code = rd_kafka_error_code(error);
		bool again = rd_kafka_error_is_retriable(error) && ms > 0;
		tide_client_poll(link->client);
		if (is_unsupported(code)) {
			rd_kafka_error_destroy(error);
			*exact = false;
			return TIDE_OK;
		}
		if (!again || tide_client_refused(link->client))
			return step_failed(link, "starting transactions", error, err);
		rd_kafka_error_destroy(error);
	}
}

static void fall_back(struct tide_kafka_link *link, const char *why)
{
	link->exact = false;
	tide_log(TIDE_WARN,
	         "sink %s is at-least-once: %s. After a crash its last epoch may be published "
	         "twice",
	         link->options.sink, why);
}

/* ---- the memory ---- */

/* What we know stays what it was until the broker has said it all. A cluster that
 * no group was in yet first makes the topic of groups, and the request that finds
 * none never comes back (librdkafka 2.0.2): the next one does. */
static int memory_load(struct tide_kafka_link *link, int64_t until_us, struct tide_error *err)
{
	for (int patience_ms = 1000;;) {
		struct tide_kafka_memory memory;
		int ms = left_ms(link, until_us, patience_ms);
		if (patience_ms < CONNECT_MS)
			patience_ms *= 2;
		rd_kafka_resp_err_t code = tide_kafka_memory_read(handle(link), link->options.id,
		                                                  ms > 0 ? ms : 1, &memory);
		tide_client_poll(link->client);
		if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
			link->memory = memory;
			if (link->options.topic == NULL && memory.topic[0] != '\0')
				memcpy(link->home, memory.topic, sizeof link->home);
			return TIDE_OK;
		}
		if (tide_kafka_advice(code) != NULL)
			return tide_fail(err, TIDE_ERR_UNAVAILABLE,
			                 "sink %s: reading group %s: %s; %s", link->options.sink,
			                 link->options.id, rd_kafka_err2str(code),
			                 tide_kafka_advice(code));
		if (ms == 0 || tide_client_refused(link->client))
			return passing(link, code, "reading what was published", err);
		pause_ms(PAUSE_MS / 5);
	}
}

static int link_up(struct tide_kafka_link *link, int64_t until_us, struct tide_error *err)
{
	bool exact = link->exact;
	int rc = pass("kafka_connect", err);
	if (rc == TIDE_OK)
		rc = tide_client_open(&link->client, TIDE_KAFKA_PRODUCE, link->options.client, 0,
		                      prepare, link, err);
	if (rc == TIDE_OK && exact)
		rc = pass("kafka_init", err);
	if (rc == TIDE_OK && exact)
		rc = init_transactions(link, until_us, &exact, err);
	if (rc != TIDE_OK)
		return rc;
	if (!exact && link->exact) {
		fall_back(link, "this broker has no transactions");
		drop(link);
		return link_up(link, until_us, err);
	}
	if (!exact)
		return TIDE_OK;
	char *cluster = rd_kafka_clusterid(handle(link), 1000);
	bool mock = cluster != NULL && strncmp(cluster, "mockCluster", 11) == 0;
	if (cluster != NULL)
		rd_kafka_mem_free(handle(link), cluster);
	if (mock) {
		fall_back(link, "the embedded broker does not keep transactions");
		drop(link);
		return link_up(link, until_us, err);
	}
	rc = pass("kafka_memory", err);
	return rc == TIDE_OK ? memory_load(link, until_us, err) : rc;
}

/* A producer that nothing has disturbed; what the memory says must be what we
 * left there. */
static int ensure(struct tide_kafka_link *link, int64_t epoch, int64_t until_us,
                  struct tide_error *err)
{
	int64_t before = link->memory.epoch;
	bool well = link->client != NULL && rd_kafka_fatal_error(handle(link), NULL, 0) == 0;
	if (well && !link->doubtful && tide_client_failures(link->client) == 0)
		return TIDE_OK;
	if (well && (tide_failpoint("kafka_trust") != 0 || tide_mutant(KEEP_PRODUCER)))
		return TIDE_OK; /* So that a test can see that this rule is needed. */
	drop(link);
	int rc = link_up(link, until_us, err);
	if (rc != TIDE_OK || !link->exact)
		return rc;
	if (link->memory.epoch == before ||
	    (link->memory.epoch == epoch && link->memory.writer == link->writer))
		return TIDE_OK;
	if (link->memory.epoch < before)
		return tide_fail(err, TIDE_ERR_FAILED,
		                 "sink %s: group %s knew epoch %lld and now says %lld: was it or "
		                 "its topic removed? The rows of epoch %lld wait in the checkpoint",
		                 link->options.sink, link->options.id, (long long)before,
		                 (long long)link->memory.epoch, (long long)epoch);
	return tide_fail(err, TIDE_ERR_FAILED,
	                 "sink %s: another process publishes for this checkpoint (group %s says "
	                 "epoch %lld); was its directory copied? Run only one of them",
	                 link->options.sink, link->options.id, (long long)link->memory.epoch);
}

/* ---- a transaction ---- */

static int begin(struct tide_kafka_link *link, struct tide_error *err)
{
	link->failed = 0;
	link->why = 0;
	if (!link->exact)
		return TIDE_OK;
	rd_kafka_error_t *error = rd_kafka_begin_transaction(handle(link));
	if (error != NULL)
		return step_failed(link, "beginning a transaction", error, err);
	return pass("kafka_begin", err);
}

static rd_kafka_headers_t *headers_of(const struct tide_kafka_shape *shape,
                                      const struct tide_kafka_message *msg)
{
	rd_kafka_headers_t *headers = NULL;
	if (shape->header_count > 0)
		headers = rd_kafka_headers_new((size_t)shape->header_count);
	for (int i = 0; headers != NULL && i < shape->header_count; i++)
		rd_kafka_header_add(headers, shape->headers[i].name, -1, msg->headers[i].p,
		                    (ssize_t)msg->headers[i].len);
	return headers;
}

int tide_kafka_link_send(struct tide_kafka_link *link, const struct tide_kafka_shape *shape,
                         const struct tide_kafka_message *msg, struct tide_error *err)
{
	char topic[TIDE_KAFKA_TOPIC_MAX];
	int64_t until_us = 0;
	snprintf(topic, sizeof topic, "%.*s", (int)msg->topic.len, msg->topic.p);
	if (tide_failpoint("kafka_send") != 0)
		return refused(link, topic, msg->bytes, RD_KAFKA_RESP_ERR_POLICY_VIOLATION, err);
	if (link->home[0] == '\0')
		memcpy(link->home, topic, sizeof topic);
	if (++link->sent % POLL_EVERY == 0)
		tide_client_poll(link->client);
	for (;;) {
		rd_kafka_headers_t *headers = headers_of(shape, msg);
		rd_kafka_resp_err_t code = rd_kafka_producev(
			handle(link), RD_KAFKA_V_TOPIC(topic),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
			RD_KAFKA_V_KEY(msg->key.p, msg->key.len),
			RD_KAFKA_V_VALUE((void *)(uintptr_t)msg->value.p, msg->value.len),
			RD_KAFKA_V_TIMESTAMP(msg->timestamp_ms), RD_KAFKA_V_HEADERS(headers),
			RD_KAFKA_V_END);
		if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
			return TIDE_OK;
		if (headers != NULL)
			rd_kafka_headers_destroy(headers);
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL && tide_kafka_advice(code) != NULL)
			return refused(link, topic, msg->bytes, code, err);
		if (until_us == 0)
			until_us = in_ms(PUBLISH_MS);
		int ms = left_ms(link, until_us, PAUSE_MS);
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL || ms == 0 || link->failed > 0)
			return passing(link, code, "sending", err);
		rd_kafka_poll(handle(link), ms);
	}
}

/* Until every message is acknowledged. Those that get through give the others
 * more time. */
static int flush(struct tide_kafka_link *link, int64_t *until_us, struct tide_error *err)
{
	int before = rd_kafka_outq_len(handle(link));
	for (int left; link->failed == 0 && (left = rd_kafka_outq_len(handle(link))) > 0;) {
		if (left < before)
			*until_us = in_ms(PUBLISH_MS);
		before = left;
		int ms = left_ms(link, *until_us, PAUSE_MS);
		if (ms == 0)
			return passing(link, RD_KAFKA_RESP_ERR__TIMED_OUT,
			               "waiting for acknowledgements", err);
		rd_kafka_flush(handle(link), ms);
	}
	if (link->failed == 0)
		return TIDE_OK;
	if (tide_kafka_advice(link->why) != NULL)
		return refused(link, link->failed_topic, link->failed_bytes, link->why, err);
	return passing(link, link->why, "sending", err);
}

static int send_memory(struct tide_kafka_link *link, int64_t epoch, int64_t until_us,
                       struct tide_error *err)
{
	rd_kafka_error_t *error;
	struct tide_kafka_memory memory = { .epoch = epoch, .writer = link->writer };
	memcpy(memory.topic, link->home, sizeof memory.topic);
	rd_kafka_topic_partition_list_t *list = tide_kafka_memory_list(&memory);
	rd_kafka_consumer_group_metadata_t *group =
		rd_kafka_consumer_group_metadata_new(link->options.id);
	for (;;) {
		int ms = left_ms(link, until_us, CALL_MS);
		error = rd_kafka_send_offsets_to_transaction(handle(link), list, group,
		                                             ms > 0 ? ms : 1);
		if (error == NULL || !rd_kafka_error_is_retriable(error) || ms == 0)
			break;
		rd_kafka_error_destroy(error);
	}
	rd_kafka_consumer_group_metadata_destroy(group);
	rd_kafka_topic_partition_list_destroy(list);
	if (error == NULL)
		return TIDE_OK;
	/* Its topic may have gone: the next try looks for another. */
	if (link->options.topic == NULL)
		link->home[0] = '\0';
	return step_failed(link, "noting the epoch", error, err);
}

static int end(struct tide_kafka_link *link, int64_t until_us, struct tide_error *err)
{
	rd_kafka_error_t *error;
	int64_t began = tide_clock_mono_us();
	for (;;) {
		int ms = left_ms(link, until_us, CALL_MS);
		error = rd_kafka_commit_transaction(handle(link), ms > 0 ? ms : 1);
		if (error == NULL || !rd_kafka_error_is_retriable(error) || ms == 0)
			break;
		rd_kafka_error_destroy(error);
	}
	tide_client_poll(link->client);
	if (tide_clock_mono_us() - began > GUARD_MS * 1000)
		link->doubtful = true;
	return error == NULL ? TIDE_OK : step_failed(link, "ending a transaction", error, err);
}

static int transact(struct tide_kafka_link *link, int64_t epoch, tide_kafka_fill *fill, void *arg,
                    int64_t until_us, struct tide_error *err)
{
	int rc = begin(link, err);
	if (rc == TIDE_OK && fill != NULL)
		rc = fill(arg, link, err);
	if (rc == TIDE_OK)
		rc = pass("kafka_flush", err);
	if (rc == TIDE_OK)
		rc = flush(link, &until_us, err);
	if (rc != TIDE_OK || !link->exact)
		return rc;
	rc = pass("kafka_offsets", err);
	if (rc == TIDE_OK)
		rc = send_memory(link, epoch, until_us, err);
	if (rc == TIDE_OK)
		rc = pass("kafka_commit", err);
	if (rc == TIDE_OK)
		rc = end(link, until_us, err);
	if (rc == TIDE_OK)
		rc = pass("kafka_committed", err);
	if (rc == TIDE_OK) {
		link->memory.epoch = epoch;
		link->memory.writer = link->writer;
	}
	return rc;
}

/* For good: readers shall not wait for what never ends. */
static void abandon(struct tide_kafka_link *link)
{
	if (link->client == NULL || !link->exact)
		return;
	(void)tide_failpoint("kafka_abort");
	rd_kafka_error_t *error = rd_kafka_abort_transaction(handle(link), CLOSE_MS);
	if (error != NULL)
		rd_kafka_error_destroy(error);
}

int tide_kafka_link_publish(struct tide_kafka_link *link, int64_t epoch, tide_kafka_fill *fill,
                            void *arg, struct tide_error *err)
{
	int64_t until_us = in_ms(PUBLISH_MS);
	for (;;) {
		int rc = ensure(link, epoch, until_us, err);
		if (rc == TIDE_OK && link->exact && link->memory.epoch >= epoch &&
		    !tide_mutant(NO_MEMORY))
			return TIDE_OK; /* An end that nobody could tell was a commit. */
		if (rc == TIDE_OK)
			rc = transact(link, epoch, fill, arg, until_us, err);
		if (rc == TIDE_OK) {
			link->warned = false;
			return rc;
		}
		if (rc != TIDE_ERR_UNAVAILABLE) {
			abandon(link);
			drop(link);
			return rc;
		}
		drop(link);
		if (left_ms(link, until_us, PUBLISH_MS) == 0)
			return stopping(link)
			               ? tide_fail(err, TIDE_ERR_STOPPED,
			                           "sink %s: epoch %lld waits in the checkpoint",
			                           link->options.sink, (long long)epoch)
			               : rc;
		if (!link->warned)
			tide_log(TIDE_WARN, "sink %s: epoch %lld waits: %s", link->options.sink,
			         (long long)epoch, err != NULL ? err->text : "");
		link->warned = true;
		pause_ms(PAUSE_MS);
	}
}

/* ---- opening and closing ---- */

void tide_kafka_link_warm(struct tide_kafka_link *link, int64_t epoch)
{
	struct tide_error err;
	if (!link->exact || link->home[0] == '\0' || link->client == NULL)
		return;
	(void)tide_failpoint("kafka_warm");
	int64_t until_us = in_ms(CONNECT_MS);
	int rc = ensure(link, epoch, until_us, &err);
	if (rc == TIDE_OK)
		rc = transact(link, epoch, NULL, NULL, until_us, &err);
	if (rc == TIDE_OK)
		return;
	tide_log(TIDE_DEBUG, "sink %s: %s", link->options.sink, err.text);
	link->doubtful = true;
}

int tide_kafka_link_open(struct tide_kafka_link **out,
                         const struct tide_kafka_link_options *options, struct tide_error *err)
{
	struct tide_kafka_link *link = calloc(1, sizeof *link);
	if (link == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for sink %s", options->sink);
	link->options = *options;
	link->exact = options->transactions;
	link->memory.epoch = -1;
	if (getrandom(&link->writer, sizeof link->writer, 0) != (ssize_t)sizeof link->writer)
		link->writer = (uint64_t)tide_clock_us() << 16 ^ (uint64_t)getpid();
	if (options->topic != NULL)
		snprintf(link->home, sizeof link->home, "%s", options->topic);
	int rc = link_up(link, in_ms(CONNECT_MS), err);
	if (rc != TIDE_OK) {
		tide_kafka_link_close(link);
		return rc;
	}
	*out = link;
	return TIDE_OK;
}

struct tide_client *tide_kafka_link_client(struct tide_kafka_link *link, struct tide_error *err)
{
	if (link->client == NULL && link_up(link, in_ms(CONNECT_MS), err) != TIDE_OK)
		return NULL;
	return link->client;
}

void tide_kafka_link_limit(struct tide_kafka_link *link, int64_t bytes)
{
	int64_t most = bytes > 2 * BATCH_HEAD ? bytes - BATCH_HEAD : BATCH_HEAD;
	if (most >= BATCH_DEFAULT || (link->batch_bytes > 0 && most >= link->batch_bytes))
		return;
	link->batch_bytes = most;
	link->doubtful = true; /* The next transaction has a producer that knows. */
}

bool tide_kafka_link_stopping(struct tide_kafka_link *link)
{
	return stopping(link);
}

bool tide_kafka_link_exact(const struct tide_kafka_link *link)
{
	return link->exact;
}

bool tide_kafka_link_fell_back(const struct tide_kafka_link *link)
{
	return link->options.transactions && !link->exact;
}

int64_t tide_kafka_link_known(const struct tide_kafka_link *link)
{
	return link->memory.epoch;
}

void tide_kafka_link_close(struct tide_kafka_link *link)
{
	if (link == NULL)
		return;
	drop(link);
	free(link);
}
