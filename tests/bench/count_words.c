/* SPDX-License-Identifier: Apache-2.0 */
/* What the word count has to come to, counted by a program that shares nothing
 * with it but the question: librdkafka's plain consumer, isalnum, one chained
 * table.
 *
 *   count_words BROKERS TOPIC     prints field,word,count lines, unsorted */
#include <ctype.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1 << 20, WORD_MAX = 4096, REQUEST_MS = 10000 };

struct word {
	struct word *next;
	const char *field;
	long long count;
	char text[];
};

static struct word *slots[SLOTS];

static void die(const char *what, const char *why)
{
	fprintf(stderr, "count_words: %s: %s\n", what, why);
	exit(1);
}

static void count(const char *field, const char *text)
{
	unsigned long h = (unsigned char)field[0];
	for (const char *p = text; *p != '\0'; p++)
		h = h * 1000003 ^ (unsigned char)*p;
	struct word **at = &slots[h % SLOTS];
	while (*at != NULL && ((*at)->field != field || strcmp((*at)->text, text) != 0))
		at = &(*at)->next;
	if (*at == NULL) {
		*at = calloc(1, sizeof **at + strlen(text) + 1);
		if (*at == NULL)
			die(text, "no memory");
		(*at)->field = field;
		strcpy((*at)->text, text);
	}
	(*at)->count++;
}

static void split(const char *field, const char *text, size_t len)
{
	char word[WORD_MAX];
	size_t n = 0;
	for (size_t i = 0; i <= len; i++) {
		unsigned char c = i < len ? (unsigned char)text[i] : ' ';
		if (c < 128 && isalnum(c) && n < sizeof word - 1) {
			word[n++] = (char)tolower(c);
		} else if (n > 0) {
			word[n] = '\0';
			count(field, word);
			n = 0;
		}
	}
}

static void take(const rd_kafka_message_t *msg)
{
	static const char key[] = "key", value[] = "value", header[] = "header", stats[] = "stats";
	rd_kafka_headers_t *headers;
	const char *name;
	const void *bytes;
	size_t len, i;
	if (msg->key_len == 0)
		count(stats, "no-key");
	if (msg->len == 0)
		count(stats, "no-value");
	split(key, msg->key, msg->key_len);
	split(value, msg->payload, msg->len);
	if (rd_kafka_message_headers(msg, &headers) != 0) {
		count(stats, "no-header");
		return;
	}
	for (i = 0; rd_kafka_header_get_all(headers, i, &name, &bytes, &len) == 0; i++) {
		split(header, name, strlen(name));
		split(header, bytes, len);
	}
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
	char why[256] = "usage: count_words BROKERS TOPIC";
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (argc != 3 || rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], why, sizeof why) ||
	    rd_kafka_conf_set(conf, "group.id", "count-words", why, sizeof why) ||
	    rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why) ||
	    rd_kafka_conf_set(conf, "enable.partition.eof", "true", why, sizeof why))
		die("settings", why);
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
	if (rk == NULL)
		die("client", why);
	rd_kafka_poll_set_consumer(rk);
	for (int open = assign_all(rk, argv[2]); open > 0;) {
		rd_kafka_message_t *msg = rd_kafka_consumer_poll(rk, REQUEST_MS);
		if (msg == NULL)
			die(argv[2], "nothing comes");
		if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			open--;
		else if (msg->err != 0)
			die(argv[2], rd_kafka_message_errstr(msg));
		else
			take(msg);
		rd_kafka_message_destroy(msg);
	}
	for (size_t i = 0; i < SLOTS; i++)
		for (struct word *word = slots[i]; word != NULL; word = word->next)
			printf("%s,%s,%lld\n", word->field, word->text, word->count);
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return 0;
}
