/* SPDX-License-Identifier: Apache-2.0 */
/* What tests do to a real Kafka: topics, trimming, transactions, and records
 * in and out as JSON lines.
 *
 *   kadmin [-b BROKERS] [-X key=value]… COMMAND
 *     create TOPIC PARTITIONS [config=value]…
 *     delete TOPIC
 *     grow TOPIC PARTITIONS
 *     trim TOPIC PARTITION OFFSET          records below OFFSET are gone
 *     offsets TOPIC                        a line per partition
 *     consume TOPIC PARTITION FROM TO      FROM and TO as offsets; TO -1: the end
 *     follow TOPIC                         every committed record of all partitions, as they
 *                                          come, until it is killed
 *     produce TOPIC [text|words COUNT SEED] else JSON lines from stdin
 *     transact TOPIC commit|abort|hang     JSON lines from stdin in a transaction;
 *                                          hang prints "open" and waits to be killed
 *     committed GROUP TOPIC PARTITIONS
 *     ready SECONDS                        waits for a broker to answer */
#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/lines.h"
#include "broker/produce.h"
#include "source/client.h"

enum { REQUEST_MS = 15000, IDLE_MS = 10000, POLL_US = 10000 };

static struct tide_options options; /* brokers and -X */
static struct tide_client *client;
static rd_kafka_t *rk;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("kadmin: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static long long number(const char *text)
{
	char *rest;
	long long n = strtoll(text, &rest, 10);
	if (rest == text || *rest != '\0')
		die("not a number: %s", text);
	return n;
}

static void open_client(enum tide_kafka_role role)
{
	struct tide_error err;
	if (tide_client_open(&client, role, &options, 0, NULL, NULL, &err) != TIDE_OK)
		die("%s", err.text);
	rk = tide_client_handle(client);
}

/* --- admin ------------------------------------------------------------------ */

static rd_kafka_queue_t *admin_queue(rd_kafka_admin_op_t op, rd_kafka_AdminOptions_t **opts)
{
	open_client(TIDE_KAFKA_CONTROL);
	*opts = rd_kafka_AdminOptions_new(rk, op);
	rd_kafka_AdminOptions_set_request_timeout(*opts, REQUEST_MS, NULL, 0);
	rd_kafka_AdminOptions_set_operation_timeout(*opts, REQUEST_MS, NULL, 0);
	return rd_kafka_queue_new(rk);
}

static rd_kafka_event_t *admin_wait(rd_kafka_queue_t *queue)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, REQUEST_MS + 1000);
	if (event == NULL)
		die("no answer");
	if (rd_kafka_event_error(event) != 0)
		die("%s", rd_kafka_event_error_string(event));
	rd_kafka_queue_destroy(queue);
	return event;
}

static void check_topics(const rd_kafka_topic_result_t **results, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (rd_kafka_topic_result_error(results[i]) != 0)
			die("%s: %s", rd_kafka_topic_result_name(results[i]),
			    rd_kafka_topic_result_error_string(results[i]));
}

static const rd_kafka_metadata_t *metadata(const char *name, int timeout_ms)
{
	const rd_kafka_metadata_t *meta = NULL;
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
	rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, topic, &meta, timeout_ms);
	rd_kafka_topic_destroy(topic);
	if (code != 0)
		die("%s: %s", name, rd_kafka_err2str(code));
	return meta;
}

/* A topic is made before every broker knows of it. */
static void await_topic(const char *name)
{
	int64_t until_us = tide_clock_mono_us() + (int64_t)REQUEST_MS * 1000;
	for (bool known = false; !known;) {
		const rd_kafka_metadata_t *meta = metadata(name, REQUEST_MS);
		const struct rd_kafka_metadata_topic *topic = &meta->topics[0];
		known = topic->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
		for (int i = 0; i < topic->partition_cnt; i++)
			known = known &&
			        topic->partitions[i].err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
		rd_kafka_metadata_destroy(meta);
		if (!known && tide_clock_mono_us() > until_us)
			die("%s: nobody knows of it", name);
		if (!known)
			usleep(POLL_US);
	}
}

static void create(int argc, char **argv)
{
	char why[256];
	size_t count;
	rd_kafka_AdminOptions_t *opts;
	rd_kafka_queue_t *queue = admin_queue(RD_KAFKA_ADMIN_OP_CREATETOPICS, &opts);
	rd_kafka_NewTopic_t *topic =
		rd_kafka_NewTopic_new(argv[0], (int)number(argv[1]), -1, why, sizeof why);
	if (topic == NULL)
		die("%s", why);
	for (int i = 2; i < argc; i++) {
		char *equals = strchr(argv[i], '=');
		if (equals == NULL)
			die("config=value, not %s", argv[i]);
		*equals = '\0';
		rd_kafka_NewTopic_set_config(topic, argv[i], equals + 1);
	}
	rd_kafka_CreateTopics(rk, &topic, 1, opts, queue);
	rd_kafka_event_t *event = admin_wait(queue);
	const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
		rd_kafka_event_CreateTopics_result(event), &count);
	check_topics(results, count);
	rd_kafka_event_destroy(event);
	rd_kafka_AdminOptions_destroy(opts);
	rd_kafka_NewTopic_destroy(topic);
	await_topic(argv[0]);
}

static void delete (char **argv)
{
	size_t count;
	rd_kafka_AdminOptions_t *opts;
	rd_kafka_queue_t *queue = admin_queue(RD_KAFKA_ADMIN_OP_DELETETOPICS, &opts);
	rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(argv[0]);
	rd_kafka_DeleteTopics(rk, &topic, 1, opts, queue);
	rd_kafka_event_t *event = admin_wait(queue);
	const rd_kafka_topic_result_t **results = rd_kafka_DeleteTopics_result_topics(
		rd_kafka_event_DeleteTopics_result(event), &count);
	check_topics(results, count);
	rd_kafka_event_destroy(event);
	rd_kafka_AdminOptions_destroy(opts);
	rd_kafka_DeleteTopic_destroy(topic);
}

static void grow(char **argv)
{
	char why[256];
	size_t count;
	rd_kafka_AdminOptions_t *opts;
	rd_kafka_queue_t *queue = admin_queue(RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, &opts);
	rd_kafka_NewPartitions_t *parts =
		rd_kafka_NewPartitions_new(argv[0], (size_t)number(argv[1]), why, sizeof why);
	if (parts == NULL)
		die("%s", why);
	rd_kafka_CreatePartitions(rk, &parts, 1, opts, queue);
	rd_kafka_event_t *event = admin_wait(queue);
	const rd_kafka_topic_result_t **results = rd_kafka_CreatePartitions_result_topics(
		rd_kafka_event_CreatePartitions_result(event), &count);
	check_topics(results, count);
	rd_kafka_event_destroy(event);
	rd_kafka_AdminOptions_destroy(opts);
	rd_kafka_NewPartitions_destroy(parts);
}

static void trim(char **argv)
{
	rd_kafka_AdminOptions_t *opts;
	rd_kafka_queue_t *queue = admin_queue(RD_KAFKA_ADMIN_OP_DELETERECORDS, &opts);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, argv[0], (int32_t)number(argv[1]))->offset =
		number(argv[2]);
	rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);
	rd_kafka_DeleteRecords(rk, &request, 1, opts, queue);
	rd_kafka_event_t *event = admin_wait(queue);
	const rd_kafka_topic_partition_list_t *result =
		rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
	if (result->elems[0].err != 0)
		die("%s", rd_kafka_err2str(result->elems[0].err));
	rd_kafka_event_destroy(event);
	rd_kafka_DeleteRecords_destroy(request);
	rd_kafka_AdminOptions_destroy(opts);
	rd_kafka_topic_partition_list_destroy(list);
}

static void committed(char **argv)
{
	int count = (int)number(argv[2]);
	if (!tide_option_set(&options, "group", argv[0]))
		die("out of memory");
	open_client(TIDE_KAFKA_CONTROL);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	rd_kafka_topic_partition_list_add_range(list, argv[1], 0, count - 1);
	rd_kafka_resp_err_t code = rd_kafka_committed(rk, list, REQUEST_MS);
	if (code != 0)
		die("%s", rd_kafka_err2str(code));
	for (int i = 0; i < list->cnt; i++)
		printf("{\"partition\":%d,\"committed\":%lld}\n", list->elems[i].partition,
		       (long long)list->elems[i].offset);
	rd_kafka_topic_partition_list_destroy(list);
}

static void offsets(char **argv)
{
	open_client(TIDE_KAFKA_CONTROL);
	const rd_kafka_metadata_t *meta = metadata(argv[0], REQUEST_MS);
	if (meta->topics[0].err != 0)
		die("%s: %s", argv[0], rd_kafka_err2str(meta->topics[0].err));
	for (int32_t p = 0; p < meta->topics[0].partition_cnt; p++) {
		int64_t start, end;
		rd_kafka_resp_err_t code =
			rd_kafka_query_watermark_offsets(rk, argv[0], p, &start, &end, REQUEST_MS);
		if (code != 0)
			die("%s-%d: %s", argv[0], p, rd_kafka_err2str(code));
		printf("{\"topic\":\"%s\",\"partition\":%d,\"start\":%lld,\"end\":%lld}\n", argv[0],
		       p, (long long)start, (long long)end);
	}
	rd_kafka_metadata_destroy(meta);
}

static void ready(char **argv)
{
	const rd_kafka_metadata_t *meta;
	int64_t until = tide_clock_mono_us() + number(argv[0]) * 1000000;
	open_client(TIDE_KAFKA_CONTROL);
	while (rd_kafka_metadata(rk, 0, NULL, &meta, 500) != 0)
		if (tide_clock_mono_us() > until)
			die("no broker within %s s", argv[0]);
	rd_kafka_metadata_destroy(meta);
}

/* --- records out --------------------------------------------------------------- */

static bool is_utf8(const unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t more = p[i] < 0x80                   ? 0
		              : p[i] >= 0xc2 && p[i] < 0xe0 ? 1
		              : p[i] >= 0xe0 && p[i] < 0xf0 ? 2
		              : p[i] >= 0xf0 && p[i] < 0xf5 ? 3
		                                            : 9;
		if (more == 9 || i + more >= len || p[i] == 0)
			return false;
		for (size_t k = 1; k <= more; k++)
			if ((p[i + k] & 0xc0) != 0x80)
				return false;
		i += more + 1;
	}
	return true;
}

static void put_bytes(struct tide_buf *out, const void *p, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *from = p;
	if (p == NULL) {
		tide_buf_printf(out, "null");
		return;
	}
	if (is_utf8(from, len)) {
		tide_buf_json(out, p, len);
		return;
	}
	tide_buf_printf(out, "{\"base64\":\"");
	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = (uint32_t)from[i] << 16;
		bits |= i + 1 < len ? (uint32_t)from[i + 1] << 8 : 0;
		bits |= i + 2 < len ? from[i + 2] : 0;
		tide_buf_u8(out, (uint8_t)digits[bits >> 18]);
		tide_buf_u8(out, (uint8_t)digits[bits >> 12 & 63]);
		tide_buf_u8(out, (uint8_t)(i + 1 < len ? digits[bits >> 6 & 63] : '='));
		tide_buf_u8(out, (uint8_t)(i + 2 < len ? digits[bits & 63] : '='));
	}
	tide_buf_printf(out, "\"}");
}

static void print_message(const rd_kafka_message_t *msg, struct tide_buf *out)
{
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t len;
	tide_buf_clear(out);
	tide_buf_printf(out, "{\"partition\":%d,\"offset\":%lld,\"timestamp\":%lld,\"key\":",
	                msg->partition, (long long)msg->offset,
	                (long long)rd_kafka_message_timestamp(msg, NULL));
	put_bytes(out, msg->key, msg->key_len);
	tide_buf_printf(out, ",\"value\":");
	put_bytes(out, msg->payload, msg->len);
	if (rd_kafka_message_headers(msg, &headers) == 0) {
		tide_buf_printf(out, ",\"headers\":[");
		for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &len) == 0;
		     i++) {
			tide_buf_printf(out, "%s[", i > 0 ? "," : "");
			put_bytes(out, name, strlen(name));
			tide_buf_printf(out, ",");
			put_bytes(out, value, len);
			tide_buf_printf(out, "]");
		}
		tide_buf_printf(out, "]");
	}
	tide_buf_printf(out, "}\n");
	fwrite(out->p, 1, out->len, stdout);
}

static void consume(char **argv)
{
	int32_t partition = (int32_t)number(argv[1]);
	int64_t from = number(argv[2]), to = number(argv[3]), start, end;
	struct tide_buf out = { 0 };
	open_client(TIDE_KAFKA_FETCH);
	rd_kafka_resp_err_t code =
		rd_kafka_query_watermark_offsets(rk, argv[0], partition, &start, &end, REQUEST_MS);
	if (code != 0)
		die("%s-%d: %s", argv[0], partition, rd_kafka_err2str(code));
	if (to < 0)
		to = end;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, argv[0], partition)->offset = from;
	code = from < to ? rd_kafka_assign(rk, list) : 0;
	for (bool done = from >= to; !done;) {
		rd_kafka_message_t *msg = rd_kafka_consumer_poll(rk, IDLE_MS);
		if (msg == NULL)
			die("nothing for %d ms", IDLE_MS);
		if (msg->err == 0 && msg->offset < to)
			print_message(msg, &out);
		else if (msg->err != 0 && msg->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
			die("%s", rd_kafka_message_errstr(msg));
		done = msg->offset + (msg->err == 0) >= to;
		rd_kafka_message_destroy(msg);
	}
	rd_kafka_topic_partition_list_destroy(list);
	tide_buf_fini(&out);
}

static void follow(char **argv)
{
	struct tide_buf out = { 0 };
	open_client(TIDE_KAFKA_FETCH);
	const rd_kafka_metadata_t *meta = metadata(argv[0], REQUEST_MS);
	if (meta->topics[0].err != 0)
		die("%s: %s", argv[0], rd_kafka_err2str(meta->topics[0].err));
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	for (int32_t p = 0; p < meta->topics[0].partition_cnt; p++)
		rd_kafka_topic_partition_list_add(list, argv[0], p)->offset = 0;
	rd_kafka_metadata_destroy(meta);
	rd_kafka_resp_err_t code = rd_kafka_assign(rk, list);
	if (code != 0)
		die("%s", rd_kafka_err2str(code));
	for (;;) {
		rd_kafka_message_t *msg = rd_kafka_consumer_poll(rk, REQUEST_MS);
		if (msg == NULL)
			continue;
		if (msg->err == 0) {
			print_message(msg, &out);
			fflush(stdout);
		}
		rd_kafka_message_destroy(msg);
	}
}

/* --- records in ------------------------------------------------------------------ */

static void produce(int argc, char **argv)
{
	struct tide_error err;
	int64_t produced;
	struct tide_produce_options o = { .brokers = tide_kafka_brokers(&options),
		                          .topic = argv[0],
		                          .rdkafka = &options,
		                          .in = STDIN_FILENO };
	if (argc >= 4) {
		o.generator = argv[1];
		o.count = number(argv[2]);
		o.seed = (uint64_t)number(argv[3]);
	}
	if (tide_produce(&o, &produced, &err) != TIDE_OK)
		die("%s", err.text);
	fprintf(stderr, "%lld produced\n", (long long)produced);
}

static void check(rd_kafka_error_t *error)
{
	if (error != NULL)
		die("%s", rd_kafka_error_string(error));
}

static void transact(char **argv)
{
	struct tide_error err;
	struct tide_message msg;
	char id[64];
	int rc;
	snprintf(id, sizeof id, "kadmin-%d-%lld", getpid(), (long long)tide_clock_us());
	if (!tide_option_set(&options, "rdkafka.transactional.id", id))
		die("out of memory");
	open_client(TIDE_KAFKA_PRODUCE);
	check(rd_kafka_init_transactions(rk, REQUEST_MS));
	check(rd_kafka_begin_transaction(rk));
	struct tide_lines *lines = tide_lines_new(STDIN_FILENO, NULL);
	while ((rc = tide_lines_next(lines, -1, &msg, &err)) > 0) {
		rd_kafka_resp_err_t code = rd_kafka_producev(
			rk, RD_KAFKA_V_TOPIC(argv[0]),
			RD_KAFKA_V_PARTITION(msg.partition < 0 ? 0 : msg.partition),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
			RD_KAFKA_V_KEY(msg.key.p, msg.key.len),
			RD_KAFKA_V_VALUE((void *)(uintptr_t)msg.value.p, msg.value.len),
			RD_KAFKA_V_TIMESTAMP(msg.timestamp_ms), RD_KAFKA_V_END);
		if (code != 0)
			die("%s", rd_kafka_err2str(code));
	}
	if (rc < 0)
		die("%s", err.text);
	tide_lines_free(lines);
	if (rd_kafka_flush(rk, REQUEST_MS) != 0)
		die("not all was acknowledged");
	if (strcmp(argv[1], "hang") == 0) {
		puts("open");
		fflush(stdout);
		for (;;)
			pause();
	}
	check(strcmp(argv[1], "abort") == 0 ? rd_kafka_abort_transaction(rk, REQUEST_MS)
	                                    : rd_kafka_commit_transaction(rk, REQUEST_MS));
}

static void run(int argc, char **argv)
{
	const char *command = argv[0];
	argc--;
	argv++;
	if (strcmp(command, "create") == 0 && argc >= 2)
		create(argc, argv);
	else if (strcmp(command, "delete") == 0 && argc == 1)
		delete (argv);
	else if (strcmp(command, "grow") == 0 && argc == 2)
		grow(argv);
	else if (strcmp(command, "trim") == 0 && argc == 3)
		trim(argv);
	else if (strcmp(command, "offsets") == 0 && argc == 1)
		offsets(argv);
	else if (strcmp(command, "consume") == 0 && argc == 4)
		consume(argv);
	else if (strcmp(command, "follow") == 0 && argc == 1)
		follow(argv);
	else if (strcmp(command, "produce") == 0 && (argc == 1 || argc == 4))
		produce(argc, argv);
	else if (strcmp(command, "transact") == 0 && argc == 2)
		transact(argv);
	else if (strcmp(command, "committed") == 0 && argc == 3)
		committed(argv);
	else if (strcmp(command, "ready") == 0 && argc == 1)
		ready(argv);
	else
		die("unknown command or wrong arguments: %s", command);
}

int main(int argc, char **argv)
{
	char key[256];
	int opt;
	while ((opt = getopt(argc, argv, "+b:X:")) != -1) {
		char *equals = opt == 'X' ? strchr(optarg, '=') : NULL;
		if (opt == '?' || (opt == 'X' && equals == NULL))
			die("usage: kadmin [-b BROKERS] [-X key=value] COMMAND");
		if (opt == 'X')
			*equals = '\0';
		snprintf(key, sizeof key, opt == 'X' ? "rdkafka.%s" : "brokers", optarg);
		if (!tide_option_set(&options, key, opt == 'X' ? equals + 1 : optarg))
			die("out of memory");
	}
	if (optind == argc)
		die("no command");
	run(argc - optind, argv + optind);
	tide_client_close(client, 3000);
	tide_options_fini(&options);
	return 0;
}
