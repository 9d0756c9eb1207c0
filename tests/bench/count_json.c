/* SPDX-License-Identifier: Apache-2.0 */
/* What the jobs over JSON have to come to, counted by a program that shares
 * nothing with them but the question: librdkafka's plain consumer, strstr, one
 * chained table.
 *
 *   count_json windows BROKERS TOPIC   window_start_ms,id,count,sum lines, unsorted
 *   count_json unique BROKERS TOPIC    how many ids there are */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 1 << 22, TEXT_MAX = 4096, REQUEST_MS = 10000, WINDOW_MS = 10000 };

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

int main(int argc, char **argv)
{
	char why[256] = "usage: count_json windows|unique BROKERS TOPIC";
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (argc != 4 || rd_kafka_conf_set(conf, "bootstrap.servers", argv[2], why, sizeof why) ||
	    rd_kafka_conf_set(conf, "group.id", "count-json", why, sizeof why) ||
	    rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why) ||
	    rd_kafka_conf_set(conf, "enable.partition.eof", "true", why, sizeof why))
		die("settings", why);
	bool windows = strcmp(argv[1], "windows") == 0;
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
	if (rk == NULL)
		die("client", why);
	rd_kafka_poll_set_consumer(rk);
	for (int open = assign_all(rk, argv[3]); open > 0;) {
		rd_kafka_message_t *msg = rd_kafka_consumer_poll(rk, REQUEST_MS);
		if (msg == NULL)
			die(argv[3], "nothing comes");
		if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			open--;
		else if (msg->err != 0)
			die(argv[3], rd_kafka_message_errstr(msg));
		else
			take(msg, windows);
		rd_kafka_message_destroy(msg);
	}
	if (!windows)
		printf("%lld\n", groups);
	for (size_t i = 0; windows && i < SLOTS; i++)
		for (struct group *g = slots[i]; g != NULL; g = g->next)
			printf("%lld,%s,%lld,%.2f\n", g->start_ms, g->id, g->count, g->sum);
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return 0;
}
