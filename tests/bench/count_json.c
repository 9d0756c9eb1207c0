/* SPDX-License-Identifier: Apache-2.0 */
/* What the jobs over JSON have to come to, counted by a program that shares
 * nothing with them but the question: librdkafka's plain consumer, strstr, one
 * chained table.
 *
 *   count_json windows BROKERS TOPIC   window_start_ms,id,count,sum lines, unsorted
 *   count_json unique BROKERS TOPIC    how many ids there are
 *   count_json routes BROKERS TOPIC    where routes.lua has to take readings: a line
 *                                      for even ids and one for odd, "records sum",
 *                                      with a sum of all bytes that knows no order
 *   count_json committed BROKERS TOPIC…  the same line for each of these topics, of
 *                                      what a read_committed consumer sees */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 1 << 22, TEXT_MAX = 4096, REQUEST_MS = 10000, WINDOW_MS = 10000, LEAST = 50 };

enum mode { WINDOWS, UNIQUE, ROUTES, COMMITTED, MODES };
static const char *const MODE_NAMES[MODES] = { "windows", "unique", "routes", "committed" };

struct route {
	long long records;
	unsigned long long sum;
};

struct group {
	struct group *next;
	long long start_ms, count;
	double sum;
	char id[];
};

static struct group *slots[SLOTS];
static long long groups;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "count_json: %s: %s\n", what, why);
	exit(1);
}

static struct group *group_of(long long start_ms, const char *id)
{
	unsigned long h = (unsigned long)start_ms;
	for (const char *p = id; *p != '\0'; p++)
		h = h * 1000003 ^ (unsigned char)*p;
	struct group **at = &slots[h % SLOTS];
	while (*at != NULL && ((*at)->start_ms != start_ms || strcmp((*at)->id, id) != 0))
		at = &(*at)->next;
	if (*at == NULL) {
		*at = calloc(1, sizeof **at + strlen(id) + 1);
		if (*at == NULL)
			die(id, "no memory");
		(*at)->start_ms = start_ms;
		strcpy((*at)->id, id);
		groups++;
	}
	return *at;
}

static void field(const char *text, const char *name, char *out, size_t size)
{
	const char *at = strstr(text, name);
	if (at == NULL)
		die(name, "missing");
	at += strlen(name);
	at += *at == '"';
	snprintf(out, size, "%.*s", (int)strcspn(at, "\",}"), at);
}

/* "2024-01-01T00:00:00.123Z" */
static long long milliseconds(const char *text)
{
	struct tm t = { 0 };
	int ms = 0;
	if (sscanf(text, "%d-%d-%dT%d:%d:%d.%d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour,
	           &t.tm_min, &t.tm_sec, &ms) != 7)
		die(text, "not a time");
	t.tm_year -= 1900;
	t.tm_mon -= 1;
	return (long long)timegm(&t) * 1000 + ms;
}

static void take(const rd_kafka_message_t *msg, bool windows)
{
	char text[TEXT_MAX], id[64], ts[64], value[64];
	snprintf(text, sizeof text, "%.*s", (int)msg->len, (const char *)msg->payload);
	field(text, "\"id\":", id, sizeof id);
	if (!windows) {
		group_of(0, id);
		return;
	}
	field(text, "\"ts\":", ts, sizeof ts);
	field(text, "\"value\":", value, sizeof value);
	long long ms = milliseconds(ts);
	struct group *group = group_of(ms - ms % WINDOW_MS, id);
	group->count++;
	group->sum += strtod(value, NULL);
}

/* Of a key and a value: FNV-1a, ended by one of the bytes that text has not. */
static unsigned long long hash_of(const rd_kafka_message_t *msg)
{
	const unsigned char *parts[2] = { msg->key, msg->payload };
	size_t sizes[2] = { msg->key_len, msg->len };
	unsigned long long hash = 14695981039346656037ULL;
	for (int part = 0; part < 2; part++) {
		for (size_t i = 0; i < sizes[part]; i++)
			hash = (hash ^ parts[part][i]) * 1099511628211ULL;
		hash = (hash ^ 0xff) * 1099511628211ULL;
	}
	return hash;
}

static void count_route(const rd_kafka_message_t *msg, struct route *route)
{
	route->records++;
	route->sum += hash_of(msg);
}

static void take_route(const rd_kafka_message_t *msg, struct route *routes)
{
	char text[TEXT_MAX], id[64], value[64];
	snprintf(text, sizeof text, "%.*s", (int)msg->len, (const char *)msg->payload);
	field(text, "\"id\":", id, sizeof id);
	field(text, "\"value\":", value, sizeof value);
	if (strtod(value, NULL) >= LEAST)
		count_route(msg, &routes[strtol(id, NULL, 10) % 2]);
}

static int assign_all(rd_kafka_t *rk, const char *topic)
{
	const rd_kafka_metadata_t *meta;
	rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
	if (rd_kafka_metadata(rk, 0, handle, &meta, REQUEST_MS) != 0)
		die(topic, "no metadata");
	int partitions = meta->topics[0].partition_cnt;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
	for (int p = 0; p < partitions; p++)
		rd_kafka_topic_partition_list_add(list, topic, p)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_metadata_destroy(meta);
	rd_kafka_topic_destroy(handle);
	return partitions;
}

static void take_as(enum mode mode, const rd_kafka_message_t *msg, struct route *routes)
{
	if (mode == ROUTES)
		take_route(msg, routes);
	else if (mode == COMMITTED)
		count_route(msg, routes);
	else
		take(msg, mode == WINDOWS);
}

static void read_all(rd_kafka_t *rk, const char *topic, enum mode mode, struct route *routes)
{
	for (int open = assign_all(rk, topic); open > 0;) {
		rd_kafka_message_t *msg = rd_kafka_consumer_poll(rk, REQUEST_MS);
		if (msg == NULL)
			die(topic, "nothing comes");
		if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			open--;
		else if (msg->err != 0)
			die(topic, rd_kafka_message_errstr(msg));
		else
			take_as(mode, msg, routes);
		rd_kafka_message_destroy(msg);
	}
}

static void print(enum mode mode, const struct route *routes)
{
	if (mode == UNIQUE)
		printf("%lld\n", groups);
	for (int i = 0; i < 2 && mode == ROUTES; i++)
		printf("%lld %016llx\n", routes[i].records, routes[i].sum);
	for (size_t i = 0; i < SLOTS && mode == WINDOWS; i++)
		for (struct group *g = slots[i]; g != NULL; g = g->next)
			printf("%lld,%s,%lld,%.2f\n", g->start_ms, g->id, g->count, g->sum);
}

int main(int argc, char **argv)
{
	char why[256] = "usage: count_json windows|unique|routes|committed BROKERS TOPIC";
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	struct route routes[2] = { { 0 } };
	int mode = 0;
	while (argc > 1 && mode < MODES && strcmp(argv[1], MODE_NAMES[mode]) != 0)
		mode++;
	if (argc < 4 || mode == MODES || (argc > 4 && mode != COMMITTED) ||
	    rd_kafka_conf_set(conf, "bootstrap.servers", argv[2], why, sizeof why) ||
	    rd_kafka_conf_set(conf, "group.id", "count-json", why, sizeof why) ||
	    rd_kafka_conf_set(conf, "isolation.level", "read_committed", why, sizeof why) ||
	    rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why) ||
	    rd_kafka_conf_set(conf, "enable.partition.eof", "true", why, sizeof why))
		die("settings", why);
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
	if (rk == NULL)
		die("client", why);
	rd_kafka_poll_set_consumer(rk);
	for (int i = 3; i < argc; i++) {
		read_all(rk, argv[i], (enum mode)mode, routes);
		if (mode == COMMITTED) {
			printf("%lld %016llx\n", routes[0].records, routes[0].sum);
			routes[0] = (struct route){ 0 };
		}
	}
	print((enum mode)mode, routes);
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return 0;
}
