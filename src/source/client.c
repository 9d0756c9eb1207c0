/* SPDX-License-Identifier: Apache-2.0 */
/* A librdkafka client with sentences instead of noise. */
#include "source/client.h"

#include <assert.h>
#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/log.h"

enum { REASONS_MAX = 64, TROUBLE_MAX = 384, BROKERS_MAX = 256 };

/* What keeps the client from its brokers, worst last: one broker is down, all
 * are, and what waiting cannot help. */
enum trouble { WELL, DOWN, LOST, UNSUPPORTED, UNTRUSTED, DENIED };

struct tide_client {
	rd_kafka_t *rk;
	enum tide_kafka_role role;
	void *opaque;
	_Atomic(tide_client_away *) away;
	struct tide_secrets secrets;
	char *profile;             /* for the hint; may be NULL */
	char brokers[BROKERS_MAX]; /* for texts: maybe cut */
	char advertised[BROKERS_MAX];
	atomic_uint failures;

	/* Guards what librdkafka's threads write. */
	pthread_mutex_t lock;
	uint64_t reasons[REASONS_MAX];
	int reason_count;
	enum trouble trouble;
	bool forbidden; /* a request was, by an ACL */
	char why[TROUBLE_MAX];
};

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text);
static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque);

int tide_client_open(struct tide_client **out, enum tide_kafka_role role,
                     const struct tide_options *options, int partitions,
                     tide_client_prepare *prepare, void *opaque, struct tide_error *err)
{
	assert(out != NULL && options != NULL);
	char why[512];
	rd_kafka_conf_t *conf = NULL;
	const char *profile = tide_option_get(options, "profile");
	struct tide_client *client = calloc(1, sizeof *client);
	if (client == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "a Kafka client");
	client->role = role;
	client->opaque = opaque;
	client->profile = profile != NULL ? strdup(profile) : NULL;
	snprintf(client->brokers, sizeof client->brokers, "%s", tide_kafka_brokers(options));
	pthread_mutex_init(&client->lock, NULL);
	int rc = tide_kafka_conf(options, role, partitions, &conf, &client->secrets, err);
	if (rc == TIDE_OK && prepare != NULL)
		rc = prepare(conf, opaque, err);
	if (rc != TIDE_OK)
		goto out;
	rd_kafka_conf_set_opaque(conf, client);
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_error_cb(conf, on_error);
	client->rk =
		rd_kafka_new(role == TIDE_KAFKA_PRODUCE ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER,
	                     conf, why, sizeof why);
	if (client->rk == NULL) {
		tide_secrets_hide(&client->secrets, why);
		rc = tide_fail(err, TIDE_ERR_USAGE, "Kafka client for %s: %s", client->brokers,
		               why);
		goto out;
	}
	conf = NULL; /* Ownership moved to librdkafka. */
	if (role != TIDE_KAFKA_PRODUCE)
		rd_kafka_poll_set_consumer(client->rk);
	*out = client;
	client = NULL;
out:
	if (conf != NULL)
		rd_kafka_conf_destroy(conf);
	if (client != NULL)
		tide_client_close(client, 0);
	return rc;
}

static void *destroy(void *rk)
{
	/* No close: nobody joined a group, so there is nothing to leave. */
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return NULL;
}

bool tide_client_close(struct tide_client *client, int deadline_ms)
{
	if (client == NULL)
		return true;
	if (client->rk != NULL) {
		pthread_t thread;
		struct timespec until;
		if (pthread_create(&thread, NULL, destroy, client->rk) != 0)
			return false;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += deadline_ms / 1000;
		until.tv_nsec += (long)(deadline_ms % 1000) * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		if (pthread_timedjoin_np(thread, NULL, &until) != 0) {
			/* Its callbacks still use *client: both are left behind. */
			pthread_detach(thread);
			return false;
		}
	}
	pthread_mutex_destroy(&client->lock);
	tide_secrets_fini(&client->secrets);
	free(client->profile);
	free(client);
	return true;
}

rd_kafka_t *tide_client_handle(const struct tide_client *client)
{
	return client->rk;
}

void *tide_client_opaque(const rd_kafka_t *rk)
{
	return ((struct tide_client *)rd_kafka_opaque(rk))->opaque;
}

void tide_client_poll(struct tide_client *client)
{
	if (client->role == TIDE_KAFKA_PRODUCE) {
		rd_kafka_poll(client->rk, 0);
		return;
	}
	rd_kafka_message_t *msg;
	while ((msg = rd_kafka_consumer_poll(client->rk, 0)) != NULL) {
		if (msg->err != 0 && msg->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
			on_error(client->rk, msg->err, rd_kafka_message_errstr(msg), client);
		rd_kafka_message_destroy(msg);
	}
}

/* --- the log ---------------------------------------------------------------- */

/* Has this reason not been seen? Numbers do not make a new one: ports, times
 * and attempts differ each time. Called with the lock held. */
static bool is_new_reason(struct tide_client *client, const char *text)
{
	char shape[256];
	size_t n = 0;
	for (const char *p = text; *p != '\0' && n < sizeof shape; p++)
		if (!isdigit((unsigned char)*p))
			shape[n++] = *p;
	uint64_t reason = tide_hash(shape, n, 0);
	for (int i = 0; i < client->reason_count; i++)
		if (client->reasons[i] == reason)
			return false;
	if (client->reason_count < REASONS_MAX)
		client->reasons[client->reason_count++] = reason;
	return client->reason_count < REASONS_MAX;
}

/* Warnings of librdkafka's that ask nothing of anybody. */
static bool is_harmless(const char *text)
{
	static const char *const known[] = {
		"allow.auto.create.topics=false not supported", /* the embedded broker */
		"Coordinator load in progress",                 /* a broker that has just started */
		"another concurrent operation on the same transaction", /* after a crash */
	};
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strstr(text, known[i]) != NULL)
			return true;
	return false;
}

static void say_once(struct tide_client *client, const char *text)
{
	pthread_mutex_lock(&client->lock);
	bool first = !is_harmless(text) && is_new_reason(client, text);
	pthread_mutex_unlock(&client->lock);
	tide_log(first ? TIDE_WARN : TIDE_DEBUG, "Kafka: %s%s", text, first ? " (said once)" : "");
}

/* "name [3]: broker unavailable: fetch: Broker: Unknown topic or partition" */
static void tell_away(struct tide_client *client, const char *line)
{
	char topic[256];
	int partition;
	tide_client_away *away = atomic_load(&client->away);
	if (away != NULL && sscanf(line, "%255[^ ] [%d]: ", topic, &partition) == 2)
		away(client->opaque, topic, partition);
}

void tide_client_watch(struct tide_client *client, tide_client_away *away)
{
	atomic_store(&client->away, away);
}

bool tide_client_watch_conf(rd_kafka_conf_t *conf)
{
	char debug[512], with[600], why[256];
	size_t size = sizeof debug;
	if (rd_kafka_conf_get(conf, "debug", debug, &size) != RD_KAFKA_CONF_OK)
		debug[0] = '\0';
	snprintf(with, sizeof with, "%s%stopic", debug, debug[0] != '\0' ? "," : "");
	return rd_kafka_conf_set(conf, "debug", with, why, sizeof why) == RD_KAFKA_CONF_OK;
}

/* Runs on any of librdkafka's threads. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	struct tide_client *client = rd_kafka_opaque(rk);
	char line[1024];
	const char *rest = strstr(text, "]: ");
	snprintf(line, sizeof line, "%s",
	         strncmp(text, "[thrd:", 6) == 0 && rest != NULL ? rest + 3 : text);
	if (level > 6 && strcmp(facility, "BROKERUA") == 0)
		tell_away(client, line);
	tide_secrets_hide(&client->secrets, line);
	/* Failures come to on_error as well, with a code to tell them by. */
	bool twice = strcmp(facility, "FAIL") == 0 || strcmp(facility, "ERROR") == 0;
	if (twice || strcmp(facility, "REQTMOUT") == 0)
		atomic_fetch_add(&client->failures, 1);
	if (twice || level > 4)
		tide_log(TIDE_DEBUG, "Kafka: %s: %s", facility, line);
	else
		say_once(client, line);
}

static enum trouble trouble_of(int code)
{
	switch (code) {
	case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN: return LOST;
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR__RESOLVE: return DOWN;
	case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE: return UNSUPPORTED;
	case RD_KAFKA_RESP_ERR__SSL: return UNTRUSTED;
	case RD_KAFKA_RESP_ERR__AUTHENTICATION:
	case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
	case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM: return DENIED;
	default: return WELL;
	}
}

/* Served by tide_client_poll. */
static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
	struct tide_client *client = opaque;
	char text[TROUBLE_MAX];
	enum trouble trouble = trouble_of(code);
	if (code == RD_KAFKA_RESP_ERR__FATAL)
		code = rd_kafka_fatal_error(rk, text, sizeof text);
	snprintf(text, sizeof text, "%s", reason);
	tide_secrets_hide(&client->secrets, text);
	/* The time it took is noise. */
	char *tail = strstr(text, " (after ");
	if (tail != NULL)
		*tail = '\0';
	pthread_mutex_lock(&client->lock);
	/* "All brokers are down" adds nothing to the reason before it. */
	if (trouble != WELL && (trouble != LOST || client->why[0] == '\0') &&
	    (trouble >= client->trouble || client->trouble == LOST))
		memcpy(client->why, text, sizeof text);
	if (trouble > client->trouble)
		client->trouble = trouble;
	pthread_mutex_unlock(&client->lock);
	if (trouble != LOST)
		say_once(client, text);
}

/* --- sentences ----------------------------------------------------------------- */

void tide_client_well(struct tide_client *client)
{
	pthread_mutex_lock(&client->lock);
	client->trouble = WELL;
	client->forbidden = false;
	client->why[0] = '\0';
	pthread_mutex_unlock(&client->lock);
}

unsigned tide_client_failures(const struct tide_client *client)
{
	return atomic_load(&client->failures);
}

bool tide_client_refused(struct tide_client *client)
{
	pthread_mutex_lock(&client->lock);
	bool refused = client->trouble >= UNSUPPORTED || client->forbidden;
	pthread_mutex_unlock(&client->lock);
	return refused;
}

void tide_client_advertised(struct tide_client *client, const rd_kafka_metadata_t *meta)
{
	size_t len = 0;
	pthread_mutex_lock(&client->lock);
	client->advertised[0] = '\0';
	for (int i = 0; i < meta->broker_cnt && len + 1 < sizeof client->advertised; i++)
		len += (size_t)snprintf(client->advertised + len, sizeof client->advertised - len,
		                        "%s%s:%d", i > 0 ? "," : "", meta->brokers[i].host,
		                        meta->brokers[i].port);
	pthread_mutex_unlock(&client->lock);
}

/* "host:port host port" of the first bootstrap server, for commands to try. */
static void first_broker(const struct tide_client *client, char *host, size_t size,
                         const char **port)
{
	const char *from = strstr(client->brokers, "://");
	from = from != NULL ? from + 3 : client->brokers;
	snprintf(host, size, "%.*s", (int)strcspn(from, ","), from);
	char *colon = strrchr(host, ':');
	*port = "9092";
	if (colon != NULL) {
		*colon = '\0';
		*port = colon + 1;
	}
}

/* Did the bootstrap answer, but the addresses it gave not? */
static bool is_advertised_fault(const struct tide_client *client)
{
	if (client->advertised[0] == '\0')
		return false;
	char first[BROKERS_MAX];
	snprintf(first, sizeof first, "%.*s", (int)strcspn(client->advertised, ","),
	         client->advertised);
	return strstr(client->why, first) != NULL && strstr(client->brokers, first) == NULL;
}

static void hint(const struct tide_client *client, char *text, size_t size)
{
	char host[BROKERS_MAX];
	const char *port;
	first_broker(client, host, sizeof host, &port);
	switch (client->trouble) {
	case DENIED:
		snprintf(text, size,
		         "the broker refused the login: check -X sasl.mechanism, "
		         "sasl.username, sasl.password and security.protocol");
		return;
	case UNTRUSTED:
		snprintf(text, size,
		         "TLS failed: check -X ssl.ca.location, the host name in "
		         "the broker's certificate, and that %s:%s is its TLS port",
		         host, port);
		return;
	case UNSUPPORTED:
		snprintf(text, size,
		         "this broker needs librdkafka 2.12 or later and this is "
		         "%s: build with `make RDKAFKA=new`",
		         rd_kafka_version_str());
		return;
	default: break;
	}
	if (is_advertised_fault(client)) {
		snprintf(text, size,
		         "%s:%s answers, but it advertises %s, which cannot be "
		         "reached from here: correct advertised.listeners on the broker, or use "
		         "the listener meant for this machine",
		         host, port, client->advertised);
		return;
	}
	snprintf(text, size,
	         "is the broker up? Try `nc -zv %s %s` and `kafka-topics.sh --list "
	         "--bootstrap-server %s:%s`; check the address%s%s%s against where the broker "
	         "listens",
	         host, port, host, port, client->profile != NULL ? " (profile " : "",
	         client->profile != NULL ? client->profile : "",
	         client->profile != NULL ? ")" : "");
}

int tide_client_trouble(struct tide_client *client, struct tide_error *err)
{
	char advice[1024];
	tide_client_poll(client);
	pthread_mutex_lock(&client->lock);
	/* One lost connection is no trouble while others may answer. */
	bool well = client->trouble < LOST;
	if (!well) {
		hint(client, advice, sizeof advice);
		tide_fail(err, TIDE_ERR_UNAVAILABLE, "Kafka at %s: %s; %s", client->brokers,
		          client->why, advice);
	}
	pthread_mutex_unlock(&client->lock);
	return well ? TIDE_OK : TIDE_ERR_UNAVAILABLE;
}

int tide_client_fail(struct tide_client *client, rd_kafka_resp_err_t code, const char *what,
                     struct tide_error *err)
{
	char advice[1024];
	tide_client_poll(client);
	if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
	    code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
	    code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
		pthread_mutex_lock(&client->lock);
		client->forbidden = true;
		pthread_mutex_unlock(&client->lock);
		return tide_fail(err, TIDE_ERR_UNAVAILABLE,
		                 "Kafka at %s: %s: %s; the user needs Read and Describe on the "
		                 "topic (without Describe: preflight = false)",
		                 client->brokers, what, rd_kafka_err2str(code));
	}
	pthread_mutex_lock(&client->lock);
	if (code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE)
		client->trouble = UNSUPPORTED;
	hint(client, advice, sizeof advice);
	const char *why = client->why[0] != '\0' ? client->why : rd_kafka_err2str(code);
	tide_fail(err, TIDE_ERR_UNAVAILABLE, "Kafka at %s: %s: %s; %s", client->brokers, what, why,
	          advice);
	pthread_mutex_unlock(&client->lock);
	return TIDE_ERR_UNAVAILABLE;
}
