/* SPDX-License-Identifier: Apache-2.0 */
/* The topics that rows go to: that they exist, and what they refuse. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "sink/kafka_inside.h"
#include "source/create.h"

enum { REQUEST_MS = 5000, DESCRIBE_MS = 1000, FOUND_US = 5000000, PAUSE_MS = 100 };

/* TIDE_OK with a state: whether the topic is there is for the caller to judge. */
static int ask(struct tide_client *client, const char *name, rd_kafka_resp_err_t *state,
               int *partitions, struct tide_error *err)
{
	const rd_kafka_metadata_t *meta = NULL;
	rd_kafka_t *rk = tide_client_handle(client);
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, name, NULL);
	rd_kafka_resp_err_t code = rkt == NULL ? rd_kafka_last_error()
	                                       : rd_kafka_metadata(rk, 0, rkt, &meta, REQUEST_MS);
	if (rkt != NULL)
		rd_kafka_topic_destroy(rkt);
	tide_client_poll(client);
	if (code != 0)
		return tide_client_fail(client, code, "asking for a topic", err);
	*state = meta->topic_cnt == 1 ? meta->topics[0].err
	                              : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	*partitions = meta->topic_cnt == 1 ? meta->topics[0].partition_cnt : 0;
	rd_kafka_metadata_destroy(meta);
	return TIDE_OK;
}

/* How a missing topic is made: as the job says, or else as the broker does it. */
static int make(struct tide_kafka_topics *topics, struct tide_kafka_link *link, const char *sink,
                const struct tide_options *options, const char *name, struct tide_error *err)
{
	char why[256] = "";
	struct tide_client *client = tide_kafka_link_client(link, err);
	if (topics->partitions == 0)
		return tide_topic_ask(options, name, err);
	if (client == NULL)
		return TIDE_ERR_UNAVAILABLE;
	rd_kafka_resp_err_t code =
		tide_topic_request(client, name, topics->partitions, why, sizeof why);
	if (code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE)
		return tide_topic_ask(options, name, err);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		return TIDE_OK;
	return tide_fail(err, TIDE_ERR_UNAVAILABLE,
	                 "sink %s: topic %s does not exist and could not be created with %d "
	                 "partition%s: %s; create it by hand",
	                 sink, name, topics->partitions, topics->partitions == 1 ? "" : "s",
	                 why[0] != '\0' ? why : rd_kafka_err2str(code));
}

static int missing(const char *sink, const struct tide_options *options, const char *name,
                   struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_UNAVAILABLE,
	                 "sink %s: topic %s does not exist, and this broker makes none by itself; "
	                 "create it: kafka-topics.sh --create --topic %s --bootstrap-server %s, or "
	                 "set partitions = N in the sink, which creates it",
	                 sink, name, name, tide_kafka_brokers(options));
}

static int wait_for(struct tide_kafka_topics *topics, struct tide_kafka_link *link,
                    const char *sink, const struct tide_options *options, const char *name,
                    struct tide_error *err)
{
	int64_t until_us = tide_clock_mono_us() + FOUND_US;
	for (bool made = false;;) {
		rd_kafka_resp_err_t state = 0;
		int partitions = 0;
		struct tide_client *client = tide_kafka_link_client(link, err);
		int rc = client == NULL ? TIDE_ERR_UNAVAILABLE
		                        : ask(client, name, &state, &partitions, err);
		if (rc == TIDE_OK && state == RD_KAFKA_RESP_ERR_NO_ERROR && made)
			tide_log(TIDE_INFO,
			         "sink %s: topic %s did not exist: created with %d partition%s",
			         sink, name, partitions, partitions == 1 ? "" : "s");
		if (rc != TIDE_OK || state == RD_KAFKA_RESP_ERR_NO_ERROR)
			return rc;
		bool absent = state == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
		bool over = tide_clock_mono_us() > until_us || tide_kafka_link_stopping(link);
		if (absent && over)
			return missing(sink, options, name, err);
		if (absent && !made &&
		    (rc = make(topics, link, sink, options, name, err)) != TIDE_OK)
			return rc;
		made = made || absent;
		if (!absent && tide_kafka_advice(state) != NULL)
			return tide_fail(err, TIDE_ERR_UNAVAILABLE, "sink %s: topic %s: %s; %s",
			                 sink, name, rd_kafka_err2str(state),
			                 tide_kafka_advice(state));
		if (over)
			return tide_client_fail(client, state, name, err);
		nanosleep(&(struct timespec){ 0, PAUSE_MS * 1000000L }, NULL);
	}
}

static void take_setting(void *arg, const char *name, const char *value)
{
	struct tide_kafka_topic *topic = arg;
	if (strcmp(name, "max.message.bytes") == 0)
		topic->bytes_max = strtoll(value, NULL, 10);
	if (strcmp(name, "cleanup.policy") == 0)
		topic->compacted = strstr(value, "compact") != NULL;
}

/* What the topic refuses, as far as we may know it: without DescribeConfigs
 * the broker tells later. False when it does not answer. */
static bool describe(struct tide_client *client, struct tide_kafka_topic *topic)
{
	bool known = false;
	bool answered =
		tide_topic_settings(client, topic->name, DESCRIBE_MS, take_setting, topic, &known);
	if (!known)
		tide_log(TIDE_DEBUG, "the settings of topic %s are not known", topic->name);
	return answered;
}

static int add(struct tide_kafka_topics *topics, struct tide_slice name,
               struct tide_kafka_topic **out, struct tide_error *err)
{
	struct tide_kafka_topic *grown =
		realloc(topics->items, (topics->count + 1) * sizeof *grown);
	char *copy = strndup(name.p, name.len);
	if (grown != NULL)
		topics->items = grown;
	if (grown == NULL || copy == NULL) {
		free(copy);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a topic");
	}
	*out = &grown[topics->count++];
	**out = (struct tide_kafka_topic){ .name = copy };
	return TIDE_OK;
}

static bool is_topic_name(struct tide_slice name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	if (name.p == NULL || name.len == 0 || name.len >= TIDE_KAFKA_TOPIC_MAX ||
	    (name.p[0] == '.' && (name.len == 1 || (name.len == 2 && name.p[1] == '.'))))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (name.p[i] == '\0' || strchr(allowed, name.p[i]) == NULL)
			return false;
	return true;
}

int tide_kafka_topics_find(struct tide_kafka_topics *topics, struct tide_kafka_link *link,
                           const char *sink, const struct tide_options *client,
                           struct tide_slice name, const struct tide_kafka_topic **out,
                           struct tide_error *err)
{
	struct tide_kafka_topic *topic = NULL;
	for (size_t i = 0; i < topics->count; i++) {
		*out = &topics->items[i];
		if (strlen((*out)->name) == name.len && memcmp((*out)->name, name.p, name.len) == 0)
			return TIDE_OK;
	}
	if (!is_topic_name(name))
		return tide_fail(err, TIDE_ERR_FAILED, "\"%.*s\" is no name for a topic",
		                 name.p == NULL ? 0 : (int)name.len, name.p);
	int rc = add(topics, name, &topic, err);
	if (rc == TIDE_OK)
		rc = wait_for(topics, link, sink, client, topic->name, err);
	struct tide_client *open = rc == TIDE_OK ? tide_kafka_link_client(link, err) : NULL;
	if (open == NULL) {
		if (topic != NULL)
			free(topics->items[--topics->count].name);
		return rc != TIDE_OK ? rc : TIDE_ERR_UNAVAILABLE;
	}
	/* Brokers without transactions lack this, too, and do not say so. */
	if (!tide_kafka_link_fell_back(link) && !topics->silent)
		topics->silent = !describe(open, topic);
	if (topic->bytes_max > 0)
		tide_kafka_link_limit(link, topic->bytes_max);
	*out = topic;
	return TIDE_OK;
}

void tide_kafka_topics_close(struct tide_kafka_topics *topics)
{
	for (size_t i = 0; i < topics->count; i++)
		free(topics->items[i].name);
	free(topics->items);
	*topics = (struct tide_kafka_topics){ .partitions = topics->partitions };
}
