/* SPDX-License-Identifier: Apache-2.0 */
/* Which topics and partitions there are: names, patterns, waiting, creating. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/create.h"
#include "source/kafka_inside.h"

enum { REMIND_US = 30 * 1000 * 1000, SLICE_MS = 250 };

static int topic_add(struct tide_kafka *kafka, const char *name, struct tide_error *err);
static int topics_match(struct tide_kafka *kafka, const rd_kafka_metadata_t *meta,
                        struct tide_error *err);
static int topic_update(struct tide_kafka *kafka, struct kafka_topic *topic,
                        const rd_kafka_metadata_t *meta, struct tide_error *err);
static int topic_create(struct tide_kafka *kafka, struct kafka_topic *topic,
                        struct tide_error *err);

/* --- the option ------------------------------------------------------------- */

static int pattern_add(struct tide_kafka *kafka, const char *text, struct tide_error *err)
{
	char why[128];
	size_t n = (size_t)kafka->pattern_count;
	regex_t *patterns = realloc(kafka->patterns, (n + 1) * sizeof *patterns);
	if (patterns != NULL)
		kafka->patterns = patterns;
	char **texts = realloc(kafka->pattern_texts, (n + 1) * sizeof *texts);
	if (texts != NULL)
		kafka->pattern_texts = texts;
	char *copy = strdup(text);
	if (patterns == NULL || texts == NULL || copy == NULL) {
		free(copy);
		return tide_fail(err, TIDE_ERR_NOMEM, "topics");
	}
	int rc = regcomp(&patterns[n], text, REG_EXTENDED | REG_NOSUB);
	if (rc != 0) {
		regerror(rc, &patterns[n], why, sizeof why);
		free(copy);
		return tide_fail(err, TIDE_ERR_USAGE, "topics: \"%s\" is no regular expression: %s",
		                 text, why);
	}
	texts[n] = copy;
	kafka->pattern_count++;
	return TIDE_OK;
}

static bool is_topic_name(const char *name)
{
	size_t len = strlen(name);
	return len > 0 && len < 250 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
	               len;
}

static char *trim(char *text)
{
	text += strspn(text, " \t");
	size_t len = strlen(text);
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		text[--len] = '\0';
	return text;
}

/* A comma inside {1,3}, (…) or […] belongs to a pattern. */
static size_t item_len(const char *text)
{
	int depth = 0;
	size_t n = 0;
	bool pattern = text[strspn(text, " \t")] == '^';
	for (; text[n] != '\0'; n++) {
		if (pattern && strchr("{([", text[n]) != NULL)
			depth++;
		else if (pattern && strchr("})]", text[n]) != NULL)
			depth--;
		else if (text[n] == ',' && depth <= 0)
			break;
	}
	return n;
}

int tide_kafka_topics_init(struct tide_kafka *kafka, struct tide_error *err)
{
	const char *given = tide_option_get(&kafka->options, "topics");
	char *list = given != NULL ? strdup(given) : NULL;
	int rc = TIDE_OK;
	if (given != NULL && list == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "topics");
	for (char *next = list; next != NULL && rc == TIDE_OK;) {
		char *item = next;
		size_t len = item_len(item);
		next = item[len] != '\0' ? item + len + 1 : NULL;
		item[len] = '\0';
		item = trim(item);
		if (*item == '\0')
			continue;
		if (kafka->topic_count + kafka->pattern_count == TIDE_KAFKA_TOPICS_MAX)
			rc = tide_fail(err, TIDE_ERR_USAGE,
			               "topics: more than %d names; use a "
			               "pattern such as \"^orders-\"",
			               TIDE_KAFKA_TOPICS_MAX);
		else if (*item == '^')
			rc = pattern_add(kafka, item, err);
		else if (!is_topic_name(item))
			rc = tide_fail(err, TIDE_ERR_USAGE,
			               "topics: \"%s\" is no topic name; a "
			               "pattern begins with ^",
			               item);
		else
			rc = topic_add(kafka, item, err);
	}
	free(list);
	if (rc == TIDE_OK && kafka->topic_count + kafka->pattern_count == 0)
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "no topic is given: --topic NAME, or topic = "
		               "\"NAME\" in the job");
	return rc;
}

void tide_kafka_topics_fini(struct tide_kafka *kafka)
{
	for (int i = 0; i < kafka->topic_count; i++) {
		if (kafka->topics[i].handle != NULL)
			rd_kafka_topic_destroy(kafka->topics[i].handle);
		free(kafka->topics[i].name);
	}
	for (int i = 0; i < kafka->pattern_count; i++) {
		regfree(&kafka->patterns[i]);
		free(kafka->pattern_texts[i]);
	}
	free(kafka->topics);
	free(kafka->patterns);
	free(kafka->pattern_texts);
}

static int topic_add(struct tide_kafka *kafka, const char *name, struct tide_error *err)
{
	size_t n = (size_t)kafka->topic_count;
	for (size_t i = 0; i < n; i++)
		if (strcmp(kafka->topics[i].name, name) == 0)
			return TIDE_OK;
	struct kafka_topic *grown = realloc(kafka->topics, (n + 1) * sizeof *grown);
	char *copy = strdup(name);
	if (grown != NULL)
		kafka->topics = grown;
	if (grown == NULL || copy == NULL) {
		free(copy);
		return tide_fail(err, TIDE_ERR_NOMEM, "topic %s", name);
	}
	grown[n] = (struct kafka_topic){ .name = copy };
	grown[n].handle = rd_kafka_topic_new(tide_client_handle(kafka->control), name, NULL);
	kafka->topic_count++;
	if (grown[n].handle == NULL)
		return tide_fail(err, TIDE_ERR_USAGE, "topic %s: %s", name,
		                 rd_kafka_err2str(rd_kafka_last_error()));
	return TIDE_OK;
}

/* --- metadata ------------------------------------------------------------------ */

int tide_kafka_metadata(struct tide_kafka *kafka, bool all, int timeout_ms,
                        const rd_kafka_metadata_t **meta, struct tide_error *err)
{
	int64_t until = tide_clock_mono_us() + (int64_t)timeout_ms * 1000;
	/* Slices, so that a refusal is seen early; growing, so that a slow
	 * broker's answer is not given up each time. */
	int slice = SLICE_MS;
	for (;;) {
		int64_t left = (until - tide_clock_mono_us()) / 1000;
		if (left < 1)
			left = 1;
		rd_kafka_resp_err_t code =
			rd_kafka_metadata(tide_client_handle(kafka->control), all, NULL, meta,
		                          left < slice ? (int)left : slice);
		tide_client_poll(kafka->control);
		if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
			tide_client_well(kafka->control);
			tide_client_advertised(kafka->control, *meta);
			return TIDE_OK;
		}
		bool again = code == RD_KAFKA_RESP_ERR__TRANSPORT ||
		             code == RD_KAFKA_RESP_ERR__TIMED_OUT;
		if (!again || left <= slice || tide_client_refused(kafka->control))
			return tide_client_fail(kafka->control, code, "asking for its topics", err);
		slice *= 2;
	}
}

int tide_kafka_preflight(struct tide_kafka *kafka, struct tide_error *err)
{
	const rd_kafka_metadata_t *meta;
	const char *given = tide_option_get(&kafka->options, "connect_timeout");
	int64_t timeout_ms = given != NULL ? tide_clock_span_ms(given) : 10000;
	if (timeout_ms < 1 || timeout_ms > 3600000)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "connect_timeout = \"%s\": expected a time "
		                 "such as \"10s\"",
		                 given);
	int rc = tide_kafka_metadata(kafka, false, (int)timeout_ms, &meta, err);
	if (rc != TIDE_OK)
		return rc;
	char *id = rd_kafka_clusterid(tide_client_handle(kafka->control), 1000);
	kafka->is_mock = id != NULL && strncmp(id, "mockCluster", 11) == 0;
	tide_log(TIDE_INFO, "Kafka at %s: cluster %s, %d broker%s",
	         tide_kafka_brokers(&kafka->options), id != NULL ? id : "(no id)", meta->broker_cnt,
	         meta->broker_cnt == 1 ? "" : "s");
	if (id != NULL)
		rd_kafka_mem_free(tide_client_handle(kafka->control), id);
	rd_kafka_metadata_destroy(meta);
	return TIDE_OK;
}

/* --- discovering ----------------------------------------------------------------- */

static struct kafka_part *part_new(struct tide_kafka *kafka, const char *topic, int32_t partition)
{
	struct kafka_part *part = calloc(1, sizeof *part);
	if (part == NULL)
		return NULL;
	part->pub = (struct tide_source_part){ .topic = strdup(topic),
		                               .partition = partition,
		                               .next = kafka->discovered ? 0 : -1,
		                               .print = { .offset = -1, .timestamp_ms = -1 } };
	part->kafka = kafka;
	part->reached = -1;
	pthread_mutex_init(&part->lock, NULL);
	if (part->pub.topic == NULL) {
		free(part);
		return NULL;
	}
	return part;
}

static int part_add(struct tide_kafka *kafka, const char *topic, int32_t partition,
                    struct tide_error *err)
{
	size_t n = (size_t)kafka->part_count;
	pthread_mutex_lock(&kafka->parts_lock);
	struct kafka_part **grown = realloc(kafka->parts, (n + 1) * sizeof(struct kafka_part *));
	if (grown != NULL) {
		kafka->parts = grown;
		grown[n] = part_new(kafka, topic, partition);
	}
	bool made = grown != NULL && grown[n] != NULL;
	if (made) {
		grown[n]->pub.priv = grown[n];
		kafka->part_count++;
	}
	pthread_mutex_unlock(&kafka->parts_lock);
	return made ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "%s-%d", topic, partition);
}

/* What the source knows and the caller's list lacks: the list may hold other
 * sources' parts too. */
static int append_new(struct tide_kafka *kafka, int known, struct tide_source_part ***parts,
                      int *count, struct tide_error *err)
{
	size_t more = (size_t)(kafka->part_count - known);
	if (more == 0)
		return TIDE_OK;
	struct tide_source_part **grown =
		realloc(*parts, ((size_t)*count + more) * sizeof(struct tide_source_part *));
	if (grown == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "partitions");
	*parts = grown;
	for (int i = known; i < kafka->part_count; i++)
		grown[(*count)++] = &kafka->parts[i]->pub;
	return TIDE_OK;
}

int tide_kafka_discover(struct tide_source *src, struct tide_source_part ***parts, int *count,
                        struct tide_error *err)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	const rd_kafka_metadata_t *meta = NULL;
	int known = kafka->part_count;
	assert(parts != NULL && count != NULL);
	int rc = tide_kafka_metadata(kafka, kafka->pattern_count > 0, TIDE_KAFKA_REQUEST_MS, &meta,
	                             err);
	if (rc == TIDE_OK)
		rc = topics_match(kafka, meta, err);
	for (int i = 0; i < kafka->topic_count && rc == TIDE_OK; i++)
		rc = topic_update(kafka, &kafka->topics[i], meta, err);
	if (meta != NULL)
		rd_kafka_metadata_destroy(meta);
	/* Even after an error: what was found stays found. */
	int appended = append_new(kafka, known, parts, count, rc == TIDE_OK ? err : NULL);
	if (rc != TIDE_OK)
		return rc;
	kafka->discovered = true;
	return appended;
}

static int topics_match(struct tide_kafka *kafka, const rd_kafka_metadata_t *meta,
                        struct tide_error *err)
{
	int rc = TIDE_OK;
	for (int t = 0; t < meta->topic_cnt && kafka->pattern_count > 0; t++) {
		const char *name = meta->topics[t].topic;
		for (int p = 0; p < kafka->pattern_count && rc == TIDE_OK; p++) {
			/* Kafka's own topics only for those who spell it out. */
			if (strncmp(name, "__", 2) == 0 &&
			    strncmp(kafka->pattern_texts[p], "^__", 3) != 0)
				continue;
			if (meta->topics[t].err == RD_KAFKA_RESP_ERR_NO_ERROR &&
			    regexec(&kafka->patterns[p], name, 0, NULL, 0) == 0)
				rc = topic_add(kafka, name, err);
		}
	}
	return rc;
}

static const rd_kafka_metadata_topic_t *find(const rd_kafka_metadata_t *meta, const char *name)
{
	for (int i = 0; i < meta->topic_cnt; i++)
		if (strcmp(meta->topics[i].topic, name) == 0)
			return &meta->topics[i];
	return NULL;
}

static int topic_absent(struct tide_kafka *kafka, struct kafka_topic *topic, struct tide_error *err)
{
	const char *create = tide_option_get(&kafka->options, "create");
	if (topic->partitions > 0) {
		if (!topic->gone)
			tide_log(TIDE_WARN, "topic %s is gone: waiting for it to come back",
			         topic->name);
		topic->gone = true;
		return TIDE_OK;
	}
	if (create != NULL && strcmp(create, "true") == 0)
		return topic_create(kafka, topic, err);
	if (!topic->missing) {
		topic->missing = true;
		kafka->reminded_us = tide_clock_mono_us();
		tide_log(TIDE_INFO,
		         "topic %s does not exist: waiting for it (create = true makes it)",
		         topic->name);
	}
	return TIDE_OK;
}

/* What comes back under this name is another log until it is proved the same. */
static void topic_back(struct tide_kafka *kafka, const struct kafka_topic *topic)
{
	for (int i = 0; i < kafka->part_count; i++) {
		struct kafka_part *part = kafka->parts[i];
		if (strcmp(part->pub.topic, topic->name) != 0)
			continue;
		pthread_mutex_lock(&part->lock);
		if (part->assigned && !part->lost) {
			part->lost = true;
			tide_kafka_carry_drop(part);
			snprintf(part->why, sizeof part->why,
			         "%.100s-%d: the topic was deleted and is back", topic->name,
			         part->pub.partition);
		}
		pthread_mutex_unlock(&part->lock);
	}
}

static int topic_update(struct tide_kafka *kafka, struct kafka_topic *topic,
                        const rd_kafka_metadata_t *meta, struct tide_error *err)
{
	const rd_kafka_metadata_topic_t *now = find(meta, topic->name);
	rd_kafka_resp_err_t code = now != NULL ? now->err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
	    code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
		return topic_absent(kafka, topic, err);
	if (code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
		return TIDE_OK; /* It is being made; the next call finds it. */
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
		char what[300];
		snprintf(what, sizeof what, "topic %s", topic->name);
		return tide_client_fail(kafka->control, code, what, err);
	}
	bool was_known = topic->partitions > 0;
	if (topic->missing || topic->gone)
		tide_log(TIDE_INFO, "topic %s is there now", topic->name);
	if (topic->gone)
		topic_back(kafka, topic);
	topic->missing = topic->gone = false;
	for (int32_t p = topic->partitions; p < now->partition_cnt; p++) {
		int rc = part_add(kafka, topic->name, p, err);
		if (rc != TIDE_OK)
			return rc;
		topic->partitions = p + 1;
	}
	if (!was_known)
		tide_log(TIDE_INFO, "topic %s: %d partition%s", topic->name, topic->partitions,
		         topic->partitions == 1 ? "" : "s");
	return TIDE_OK;
}

void tide_kafka_remind(struct tide_kafka *kafka)
{
	int64_t now = tide_clock_mono_us();
	if (now - kafka->reminded_us < REMIND_US)
		return;
	kafka->reminded_us = now;
	for (int i = 0; i < kafka->topic_count; i++)
		if (kafka->topics[i].missing || kafka->topics[i].gone)
			tide_log(TIDE_INFO, "still waiting for topic %s", kafka->topics[i].name);
	if (kafka->pattern_count > 0 && kafka->topic_count == 0)
		tide_log(TIDE_INFO, "still waiting for a topic that matches %s",
		         kafka->pattern_texts[0]);
}

/* --- creating ---------------------------------------------------------------------- */

static int topic_create(struct tide_kafka *kafka, struct kafka_topic *topic, struct tide_error *err)
{
	char why[256] = "";
	const char *given = tide_option_get(&kafka->options, "partitions");
	char *rest = NULL;
	long partitions = given != NULL ? strtol(given, &rest, 10) : 1;
	if (partitions < 1 || partitions > 100000 || (rest != NULL && *rest != '\0'))
		return tide_fail(err, TIDE_ERR_USAGE, "partitions = \"%s\": expected 1 to 100000",
		                 given);
	if (topic->missing)
		return TIDE_OK; /* Made already: it shows up in a moment. */
	rd_kafka_resp_err_t code =
		tide_topic_request(kafka->control, topic->name, (int)partitions, why, sizeof why);
	if (code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE) {
		int rc = tide_topic_ask(&kafka->options, topic->name, err);
		if (rc != TIDE_OK)
			return rc;
		tide_log(TIDE_INFO,
		         "topic %s did not exist: the broker was asked to create it with "
		         "its own number of partitions",
		         topic->name);
	} else if (code != RD_KAFKA_RESP_ERR_NO_ERROR &&
	           code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
		return tide_fail(err, TIDE_ERR_UNAVAILABLE,
		                 "topic %s does not exist and could not "
		                 "be created: %s; create it by hand, or wait for it with create = "
		                 "false",
		                 topic->name, why[0] != '\0' ? why : rd_kafka_err2str(code));
	} else {
		tide_log(TIDE_INFO, "topic %s did not exist: created with %ld partition%s",
		         topic->name, partitions, partitions == 1 ? "" : "s");
	}
	topic->missing = true;
	return TIDE_OK;
}
