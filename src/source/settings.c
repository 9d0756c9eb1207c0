/* SPDX-License-Identifier: Apache-2.0 */
/* librdkafka's configuration from our table and the user's properties. */
#include "source/settings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "source/kafka.h"

enum {
	PREFETCH_KBYTES = 16 * 1024, /* over all partitions, as far as that goes */
	/* Of that a partition has at least … */
	PREFETCH_PART_KBYTES_LEAST = 1024,
	/* … until there are so many that it adds up to this, and then less of it. */
	PREFETCH_PARTS_KBYTES = 64 * 1024,
	PREFETCH_PART_KBYTES_MIN = 64,
	/* What an answer may bring of a partition comes on top: this over all, too. */
	FETCH_PARTS_BYTES = 128 << 20,
	FETCH_PART_BYTES_MIN = 128 * 1024,
	FETCH_PART_BYTES_MAX = 512 * 1024,
	PREFETCH_PART_KBYTES_MAX = 16 * 1024,
	/* Beside its bytes a record costs librdkafka some 350: for each KiB so many. */
	PREFETCH_RECORDS = 4,
	PREFETCH_PART_RECORDS_MIN = 300,
	PREFETCH_PART_RECORDS_MAX = 50000,
	ANSWER_HEAD_BYTES = 512, /* what librdkafka wants to be left for an answer's head */
	SECRET_LEN_MAX = 1024 * 1024,
	SECRET_LEN_MIN = 3 /* hiding shorter ones would garble every text */
};

struct setting {
	const char *key, *value;
	bool ours; /* correctness rests on it: -X cannot change it */
};

static const struct setting for_all[] = {
	{ "client.id", "tidemark", false },
	{ "socket.keepalive.enable", "true", false },
	{ "socket.nagle.disable", "true", false },
	{ "reconnect.backoff.ms", "50", false },
	{ "reconnect.backoff.max.ms", "2000", false },
	/* A leader that is not known yet is asked for at once, not after 250 ms. */
	{ "topic.metadata.refresh.fast.interval.ms", "50", false },
	{ "log.connection.close", "false", false },
	{ "log_level", "4", false },
};

/* Offsets are the checkpoint's, so nothing may move or store them behind it:
 * out of range is an error to be judged, and the group is only told. */
static const struct setting for_consumers[] = {
	{ "enable.auto.commit", "false", true },
	{ "enable.auto.offset.store", "false", true },
	{ "auto.offset.reset", "error", true },
	{ "enable.partition.eof", "true", true },
	{ "allow.auto.create.topics", "false", true },
	{ "isolation.level", "read_committed", false },
	{ "check.crcs", "true", false },
	/* While a fetch waits at the end of a log, nothing else is answered on that
	 * connection and no partition can join it: keep the wait short. */
	{ "fetch.wait.max.ms", "100", false },
	{ "fetch.error.backoff.ms", "50", false },
};

/* Of librdkafka 2.2 and later, which otherwise leave a queue alone for a second once
 * it was full, however fast it is emptied. Debian's 2.0.2 does not, nor know it. */
static const struct setting for_new_consumers[] = {
	{ "fetch.queue.backoff.ms", "10", false },
};

static const struct setting for_control[] = {
	{ "fetch.wait.max.ms", "10", false },
	{ "queued.min.messages", "1", false },
	{ "queued.max.messages.kbytes", "1024", false },
	{ "fetch.message.max.bytes", "65536", false },
};

static const struct setting for_producers[] = {
	{ "acks", "all", false },
	{ "linger.ms", "5", false },
	{ "queue.buffering.max.kbytes", "65536", false },
	{ "queue.buffering.max.messages", "500000", false },
	/* The broker knows its limit; ours would only hide its answer. */
	{ "message.max.bytes", "104857600", false },
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static int conf_user(rd_kafka_conf_t *conf, const struct tide_options *options,
                     enum tide_kafka_role role, struct tide_secrets *secrets,
                     struct tide_error *err);
static int value_read(const char *key, const char *given, char **value, struct tide_error *err);

const char *tide_kafka_brokers(const struct tide_options *options)
{
	const char *brokers = tide_option_get(options, "brokers");
	return brokers != NULL && *brokers != '\0' ? brokers : "127.0.0.1:39092";
}

void tide_secrets_fini(struct tide_secrets *secrets)
{
	for (int i = 0; i < secrets->count; i++) {
		explicit_bzero(secrets->items[i], strlen(secrets->items[i]));
		free(secrets->items[i]);
	}
	free(secrets->items);
	*secrets = (struct tide_secrets){ 0 };
}

/* Takes `value`. */
static int secret_add(struct tide_secrets *secrets, char *value, struct tide_error *err)
{
	char **grown = realloc(secrets->items, (size_t)(secrets->count + 1) * sizeof *grown);
	if (grown == NULL) {
		free(value);
		return tide_fail(err, TIDE_ERR_NOMEM, "a Kafka property");
	}
	secrets->items = grown;
	secrets->items[secrets->count++] = value;
	return TIDE_OK;
}

void tide_secrets_hide(const struct tide_secrets *secrets, char *text)
{
	for (int i = 0; i < secrets->count; i++) {
		size_t len = strlen(secrets->items[i]);
		if (len < SECRET_LEN_MIN)
			continue;
		for (char *p = text; (p = strstr(p, secrets->items[i])) != NULL; p += len)
			memset(p, '*', len);
	}
}

static int conf_set(rd_kafka_conf_t *conf, const char *key, const char *value,
                    struct tide_error *err)
{
	char why[256];
	if (rd_kafka_conf_set(conf, key, value, why, sizeof why) == RD_KAFKA_CONF_OK)
		return TIDE_OK;
	return tide_fail(err, TIDE_ERR_USAGE, "Kafka property %s: %s", key, why);
}

static int conf_table(rd_kafka_conf_t *conf, const struct setting *table, size_t count,
                      struct tide_error *err)
{
	int rc = TIDE_OK;
	for (size_t i = 0; i < count && rc == TIDE_OK; i++)
		rc = conf_set(conf, table[i].key, table[i].value, err);
	return rc;
}

/* What this librdkafka does not know is left out. */
static int conf_known(rd_kafka_conf_t *conf, const struct setting *table, size_t count,
                      struct tide_error *err)
{
	int rc = TIDE_OK;
	for (size_t i = 0; i < count && rc == TIDE_OK; i++)
		if (rd_kafka_conf_get(conf, table[i].key, NULL, &(size_t){ 0 }) == RD_KAFKA_CONF_OK)
			rc = conf_set(conf, table[i].key, table[i].value, err);
	return rc;
}

static int prefetch_kbytes(const struct tide_options *options, long *total, struct tide_error *err)
{
	const char *given = tide_option_get(options, "prefetch_kbytes");
	char *rest = NULL;
	*total = given != NULL ? strtol(given, &rest, 10) : PREFETCH_KBYTES;
	if (*total < 1 || *total > 2097151 || (rest != NULL && *rest != '\0'))
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "prefetch_kbytes = \"%s\": expected 1 to 2097151", given);
	return TIDE_OK;
}

static int conf_number(rd_kafka_conf_t *conf, const char *key, long number, struct tide_error *err)
{
	char text[24];
	snprintf(text, sizeof text, "%ld", number);
	return conf_set(conf, key, text, err);
}

static long between(long least, long number, long most)
{
	return number < least ? least : number > most ? most : number;
}

/* With a queue to each partition librdkafka's limits are those of one partition. An
 * epoch takes a part of each, and a thousand that are fetched half a mebibyte at a
 * time hold gigabytes for the epochs to come; but below what a producer's batches
 * are, a broker answers with one batch of one partition. */
static int conf_prefetch(rd_kafka_conf_t *conf, const struct tide_options *options, int partitions,
                         struct tide_error *err)
{
	long total, each;
	int rc = prefetch_kbytes(options, &total, err);
	if (partitions < 1)
		partitions = 1;
	if (rc == TIDE_OK)
		rc = conf_number(conf, "queued.min.messages",
		                 between(PREFETCH_PART_RECORDS_MIN,
		                         total * PREFETCH_RECORDS / partitions,
		                         PREFETCH_PART_RECORDS_MAX),
		                 err);
	if (rc != TIDE_OK)
		return rc;
	long least = between(PREFETCH_PART_KBYTES_MIN, PREFETCH_PARTS_KBYTES / partitions,
	                     PREFETCH_PART_KBYTES_LEAST);
	each = total / partitions;
	if (each < least)
		each = least;
	if (each > PREFETCH_PART_KBYTES_MAX && tide_option_get(options, "prefetch_kbytes") == NULL)
		each = PREFETCH_PART_KBYTES_MAX;
	rc = conf_number(conf, "queued.max.messages.kbytes", each, err);
	return rc == TIDE_OK
	               ? conf_number(conf, "fetch.message.max.bytes",
	                             between(FETCH_PART_BYTES_MIN, FETCH_PARTS_BYTES / partitions,
	                                     FETCH_PART_BYTES_MAX),
	                             err)
	               : rc;
}

static long conf_read(const rd_kafka_conf_t *conf, const char *key)
{
	char text[32] = "";
	size_t size = sizeof text;
	return rd_kafka_conf_get(conf, key, text, &size) == RD_KAFKA_CONF_OK
	               ? strtol(text, NULL, 10)
	               : 0;
}

/* Left to itself librdkafka lets no answer be larger than one partition's queue, and
 * a thousand partitions are asked for each time to get the records of a few. What
 * the user has set of the limits that must fit together is kept. */
static int conf_answer(rd_kafka_conf_t *conf, const struct tide_options *options,
                       struct tide_error *err)
{
	long bytes, record = conf_read(conf, "message.max.bytes");
	long most = conf_read(conf, "receive.message.max.bytes") - ANSWER_HEAD_BYTES;
	if (tide_option_get(options, "rdkafka.fetch.max.bytes") != NULL)
		return TIDE_OK;
	int rc = prefetch_kbytes(options, &bytes, err);
	if (rc != TIDE_OK)
		return rc;
	bytes *= 1024;
	if (bytes > most)
		bytes = most;
	if (bytes < record)
		bytes = record;
	return conf_number(conf, "fetch.max.bytes", bytes, err);
}

int tide_kafka_conf(const struct tide_options *options, enum tide_kafka_role role, int partitions,
                    rd_kafka_conf_t **out, struct tide_secrets *secrets, struct tide_error *err)
{
	assert(options != NULL && out != NULL && secrets != NULL);
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	const char *group = tide_option_get(options, "group");
	bool consumes = role != TIDE_KAFKA_PRODUCE;
	int rc = conf_table(conf, for_all, COUNT(for_all), err);
	if (rc == TIDE_OK)
		rc = conf_set(conf, "bootstrap.servers", tide_kafka_brokers(options), err);
	if (rc == TIDE_OK && consumes)
		rc = conf_table(conf, for_consumers, COUNT(for_consumers), err);
	if (rc == TIDE_OK && consumes)
		rc = conf_known(conf, for_new_consumers, COUNT(for_new_consumers), err);
	/* assign() wants a group even where nobody joins it. */
	if (rc == TIDE_OK && consumes)
		rc = conf_set(conf, "group.id",
		              group != NULL && *group != '\0' ? group : "tidemark", err);
	if (rc == TIDE_OK && role == TIDE_KAFKA_FETCH)
		rc = conf_prefetch(conf, options, partitions, err);
	if (rc == TIDE_OK && role == TIDE_KAFKA_PRODUCE)
		rc = conf_table(conf, for_producers, COUNT(for_producers), err);
	if (rc == TIDE_OK)
		rc = conf_user(conf, options, role, secrets, err);
	if (rc == TIDE_OK && role == TIDE_KAFKA_FETCH)
		rc = conf_answer(conf, options, err);
	/* After the user's, whose figures are meant for the records. */
	if (rc == TIDE_OK && role == TIDE_KAFKA_CONTROL)
		rc = conf_table(conf, for_control, COUNT(for_control), err);
	if (rc != TIDE_OK) {
		rd_kafka_conf_destroy(conf);
		return rc;
	}
	*out = conf;
	return TIDE_OK;
}

/* --- -X --------------------------------------------------------------------- */

static bool is_secret(const char *key)
{
	static const char *const marks[] = { "password",           "secret", "key.pem", "sasl.jaas",
		                             "oauthbearer.config", "token" };
	for (size_t i = 0; i < COUNT(marks); i++)
		if (strstr(key, marks[i]) != NULL)
			return true;
	return false;
}

static bool is_ours(const char *key)
{
	for (size_t i = 0; i < COUNT(for_consumers); i++)
		if (for_consumers[i].ours && strcmp(for_consumers[i].key, key) == 0)
			return true;
	return strcmp(key, "group.id") == 0 || strcmp(key, "bootstrap.servers") == 0 ||
	       strcmp(key, "metadata.broker.list") == 0;
}

/* Properties that would quietly change what a record is. */
static bool is_harmful(const char *key, const char *value)
{
	if (strcmp(key, "broker.version.fallback") == 0)
		return true;
	return strcmp(key, "api.version.request") == 0 &&
	       (strcasecmp(value, "false") == 0 || strcmp(value, "0") == 0);
}

static void warn_ignored(enum tide_kafka_role role, const char *key, const char *why)
{
	/* Said once, by the client that is always there. */
	if (role != TIDE_KAFKA_FETCH)
		tide_log(TIDE_WARN, "-X %s is ignored: %s", key, why);
}

static const char *const consumer_only[] = { "fetch.",
	                                     "queued.",
	                                     "isolation.level",
	                                     "check.crcs",
	                                     "max.poll",
	                                     "session.timeout",
	                                     "heartbeat",
	                                     "partition.assignment",
	                                     "group.",
	                                     "enable.partition.eof",
	                                     "auto.offset.reset",
	                                     "enable.auto",
	                                     "auto.commit" };

static bool is_for(enum tide_kafka_role role, const char *key)
{
	if (role != TIDE_KAFKA_PRODUCE)
		return true;
	for (size_t i = 0; i < COUNT(consumer_only); i++)
		if (strncmp(key, consumer_only[i], strlen(consumer_only[i])) == 0)
			return false;
	return true;
}

static int conf_one(rd_kafka_conf_t *conf, enum tide_kafka_role role, const char *key,
                    const char *given, struct tide_secrets *secrets, struct tide_error *err)
{
	char why[512], *value = NULL;
	int rc = value_read(key, given, &value, err);
	if (rc != TIDE_OK)
		return rc;
	bool hidden = is_secret(key) || strcmp(given, value) != 0;
	if (is_harmful(key, value)) {
		warn_ignored(role, key, "records would lose their headers and timestamps");
		free(value);
		return TIDE_OK;
	}
	if (rd_kafka_conf_set(conf, key, value, why, sizeof why) != RD_KAFKA_CONF_OK)
		rc = tide_fail(err, TIDE_ERR_USAGE, "-X %s: %s", key,
		               hidden && strstr(why, value) != NULL && *value != '\0'
		                       ? "librdkafka does not take this value"
		                       : why);
	if (hidden && rc == TIDE_OK)
		return secret_add(secrets, value, err);
	free(value);
	return rc;
}

static int conf_user(rd_kafka_conf_t *conf, const struct tide_options *options,
                     enum tide_kafka_role role, struct tide_secrets *secrets,
                     struct tide_error *err)
{
	static const char prefix[] = "rdkafka.";
	int rc = TIDE_OK;
	for (int i = 0; i < options->count && rc == TIDE_OK; i++) {
		const char *key = options->items[i].key;
		if (strncmp(key, prefix, sizeof prefix - 1) != 0)
			continue;
		key += sizeof prefix - 1;
		if (is_ours(key))
			warn_ignored(role, key,
			             "Tidemark sets it (brokers and group have their "
			             "own settings, offsets are the checkpoint's)");
		else if (is_for(role, key))
			rc = conf_one(conf, role, key, options->items[i].value, secrets, err);
	}
	return rc;
}

/* "@path" and "env:NAME" keep secrets out of command lines; "@@x" is "@x". */
static int value_read(const char *key, const char *given, char **value, struct tide_error *err)
{
	size_t len = 0;
	if (given[0] == '@' && given[1] != '@') {
		int rc = tide_file_read(given + 1, SECRET_LEN_MAX, value, &len, err);
		if (rc != TIDE_OK)
			return tide_fail_within(err, "-X %s", key);
		while (len > 0 && ((*value)[len - 1] == '\n' || (*value)[len - 1] == '\r'))
			(*value)[--len] = '\0';
		return TIDE_OK;
	}
	if (strncmp(given, "env:", 4) == 0) {
		const char *found = getenv(given + 4);
		if (found == NULL)
			return tide_fail(err, TIDE_ERR_USAGE,
			                 "-X %s: the environment has no variable %s", key,
			                 given + 4);
		given = found;
	} else if (given[0] == '@') {
		given++;
	}
	*value = strdup(given);
	if (*value == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "-X %s", key);
	return TIDE_OK;
}

/* --- printing ------------------------------------------------------------------ */

void tide_kafka_conf_print(rd_kafka_conf_t *conf, const struct tide_secrets *secrets,
                           struct tide_buf *out)
{
	size_t count = 0, default_count = 0;
	rd_kafka_conf_t *plain = rd_kafka_conf_new();
	const char **now = rd_kafka_conf_dump(conf, &count);
	const char **was = rd_kafka_conf_dump(plain, &default_count);
	for (size_t i = 0; i + 1 < count; i += 2) {
		bool same = false;
		for (size_t j = 0; j + 1 < default_count && !same; j += 2)
			same = strcmp(now[i], was[j]) == 0 && strcmp(now[i + 1], was[j + 1]) == 0;
		/* Callbacks and the like show as addresses. */
		if (same || strstr(now[i], "_cb") != NULL || strcmp(now[i], "opaque") == 0)
			continue;
		tide_buf_printf(out, "%s=%s\n", now[i], is_secret(now[i]) ? "***" : now[i + 1]);
	}
	tide_buf_u8(out, 0);
	if (!out->failed) {
		out->len--;
		tide_secrets_hide(secrets, out->p);
	}
	rd_kafka_conf_dump_free(now, count);
	rd_kafka_conf_dump_free(was, default_count);
	rd_kafka_conf_destroy(plain);
}

const char *tide_kafka_version(void)
{
	return rd_kafka_version_str();
}
