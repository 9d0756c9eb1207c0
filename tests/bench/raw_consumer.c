/* SPDX-License-Identifier: Apache-2.0 */
/* The yardstick: librdkafka alone, with Tidemark's consumer settings, touching
 * every byte of every record and doing nothing else.
 *
 *   raw_consumer [-b BROKERS] [-X key=value]… [-k PREFETCH_KBYTES] [-m MODE]
 *                [-w TIMES] TOPIC
 *
 * Reads the topic from start to end and prints one JSON object. -w touches the
 * bytes so many times more, to see what the settings do for a slow reader.
 * Modes:
 *   parts     a queue to each partition, batches (how Tidemark reads; default)
 *   plain     the same, without nudging librdkafka when the queues run low
 *   single    one queue, batches
 *   callback  a queue to each partition, callbacks */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "source/nudge.h"
#include "source/settings.h"

enum { PARTS_MAX = 1024, BATCH = 512, REQUEST_MS = 10000 };

static struct {
	int64_t records, bytes, first_us, last_us;
	uint64_t sum;
	int open; /* partitions whose end has not been seen */
} seen;

static struct tide_options options;
static long work;

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "raw_consumer: %s: %s\n", what, why);
	exit(1);
}

static uint64_t touch(const void *p, size_t len)
{
	const unsigned char *at = p;
	uint64_t sum = 0;
	for (size_t i = 0; i < len; i++)
		sum += at[i];
	return sum;
}

static void take(rd_kafka_message_t *msg)
{
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t len;
	if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		seen.open--;
		return;
	}
	if (msg->err != 0)
		fail("fetching", rd_kafka_message_errstr(msg));
	if (seen.records++ == 0)
		seen.first_us = tide_clock_mono_us();
	seen.bytes += (int64_t)(msg->len + msg->key_len);
	seen.sum += touch(msg->payload, msg->len) + touch(msg->key, msg->key_len);
	for (long i = 0; i < work; i++) {
		__asm__ volatile("" ::: "memory"); /* not to be folded into one pass */
		seen.sum += touch(msg->payload, msg->len);
	}
	if (rd_kafka_message_headers(msg, &headers) != 0)
		return;
	for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &len) == 0; i++)
		seen.sum += touch(name, strlen(name)) + touch(value, len);
}

static void on_message(rd_kafka_message_t *msg, void *opaque)
{
	(void)opaque;
	take(msg);
}

/* `next` is kept by each partition's own queue; NULL for a shared one. */
static int read_batch(rd_kafka_queue_t *queue, int timeout_ms, int64_t *next)
{
	rd_kafka_message_t *msgs[BATCH];
	ssize_t n = rd_kafka_consume_batch_queue(queue, timeout_ms, msgs, BATCH);
	for (ssize_t i = 0; i < n; i++) {
		if (next != NULL && msgs[i]->err == 0)
			*next = msgs[i]->offset + 1;
		take(msgs[i]);
		rd_kafka_message_destroy(msgs[i]);
	}
	return (int)n;
}

static int partition_count(rd_kafka_t *rk, const char *name)
{
	const rd_kafka_metadata_t *meta;
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
	rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, topic, &meta, REQUEST_MS);
	if (code != 0)
		fail(name, rd_kafka_err2str(code));
	int count = meta->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(meta);
	rd_kafka_topic_destroy(topic);
	if (count < 1 || count > PARTS_MAX)
		fail(name, "no such topic, or too many partitions");
	return count;
}

static rd_kafka_t *client(int partitions, bool print)
{
	struct tide_secrets secrets = { 0 };
	struct tide_error err;
	struct tide_buf text = { 0 };
	rd_kafka_conf_t *conf;
	char why[256];
	if (tide_kafka_conf(&options, TIDE_KAFKA_FETCH, partitions, &conf, &secrets, &err) != 0)
		fail("settings", err.text);
	if (print) {
		tide_kafka_conf_print(conf, &secrets, &text);
		fprintf(stderr, "%.*s", (int)text.len, text.p);
		tide_buf_fini(&text);
	}
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
	if (rk == NULL)
		fail("client", why);
	rd_kafka_poll_set_consumer(rk);
	tide_secrets_fini(&secrets);
	return rk;
}

static void consume(rd_kafka_t *rk, const char *topic, int count, const char *mode)
{
	rd_kafka_queue_t *queues[PARTS_MAX];
	static struct tide_nudge nudges[PARTS_MAX];
	static int64_t next[PARTS_MAX];
	bool nudging = strcmp(mode, "parts") == 0;
	bool single = strcmp(mode, "single") == 0, callback = strcmp(mode, "callback") == 0;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	for (int p = 0; p < count; p++) {
		/* A plain number: "beginning" costs librdkafka half a second. */
		int64_t start, end;
		if (rd_kafka_query_watermark_offsets(rk, topic, p, &start, &end, REQUEST_MS) != 0)
			fail(topic, "no offsets");
		rd_kafka_topic_partition_list_add(list, topic, p)->offset = start;
		if (single)
			continue;
		queues[p] = rd_kafka_queue_get_partition(rk, topic, p);
		rd_kafka_queue_forward(queues[p], NULL);
	}
	if (single)
		queues[0] = rd_kafka_queue_get_consumer(rk);
	int queue_count = single ? 1 : count;
	seen.open = count;
	rd_kafka_assign(rk, list);
	while (seen.open > 0) {
		int64_t before = seen.records;
		int got = 0;
		for (int q = 0; q < queue_count; q++) {
			got += callback ? rd_kafka_consume_callback_queue(queues[q], 0, on_message,
			                                                  NULL)
			                : read_batch(queues[q], 0, &next[q]);
			if (nudging)
				tide_nudge(&nudges[q], rk, queues[q], topic, q, next[q]);
		}
		/* Nothing anywhere: wait for the first partition a moment. */
		if (got == 0)
			read_batch(queues[0], 1, &next[0]);
		/* That there is no more is learnt later, up to fetch.wait.max.ms. */
		if (seen.records > before)
			seen.last_us = tide_clock_mono_us();
	}
	for (int q = 0; q < queue_count; q++)
		rd_kafka_queue_destroy(queues[q]);
	rd_kafka_topic_partition_list_destroy(list);
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	const char *mode = "parts";
	char key[256];
	int opt;
	while ((opt = getopt(argc, argv, "b:X:k:m:w:")) != -1) {
		char *equals = opt == 'X' ? strchr(optarg, '=') : NULL;
		if (equals != NULL)
			*equals = '\0';
		snprintf(key, sizeof key,
		         opt == 'X'   ? "rdkafka.%s"
		         : opt == 'k' ? "prefetch_kbytes"
		                      : "brokers",
		         optarg);
		if (opt == 'm')
			mode = optarg;
		else if (opt == 'w')
			work = strtol(optarg, NULL, 10);
		else if (opt == '?' || (opt == 'X' && equals == NULL) ||
		         !tide_option_set(&options, key, equals != NULL ? equals + 1 : optarg))
			fail("usage", "raw_consumer [-b BROKERS] [-X key=value] [-k KBYTES] "
			              "[-m parts|plain|single|callback] [-w TIMES] TOPIC");
	}
	if (optind + 1 != argc)
		fail("usage", "one topic");
	int64_t began_us = tide_clock_mono_us();
	rd_kafka_t *rk = client(1, false);
	int count = partition_count(rk, argv[optind]);
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	rk = client(count, true);
	consume(rk, argv[optind], count, mode);
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	double took = (double)(seen.last_us - seen.first_us) / 1e6, records = (double)seen.records;
	printf("{\"mode\":\"%s\",\"records\":%lld,\"bytes\":%lld,\"seconds\":%.3f,"
	       "\"records_per_s\":%.0f,\"cpu_s_per_million\":%.3f,\"rss_mb\":%.1f,"
	       "\"first_record_s\":%.3f,\"sum\":%llu}\n",
	       mode, (long long)seen.records, (long long)seen.bytes, took, records / took,
	       (seconds(used.ru_utime) + seconds(used.ru_stime)) / (records / 1e6),
	       (double)used.ru_maxrss / 1024, (double)(seen.first_us - began_us) / 1e6,
	       (unsigned long long)seen.sum);
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	tide_options_fini(&options);
	return 0;
}
