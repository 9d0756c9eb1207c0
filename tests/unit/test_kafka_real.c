/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka source on a real Kafka: what the embedded broker has not got.
 * Skipped unless TIDE_KAFKA says where one listens:
 *
 *   tests/integration/kafka/with-kafka build/unit/test_kafka_real
 *
 * TIDE_KADMIN says where kadmin is; build/kadmin when unset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "source/kafka.h"
#include "source/settings.h"

enum { DEADLINE_US = 40 * 1000 * 1000 };

struct reader {
	struct tide_options options;
	struct tide_source *src;
	struct tide_source_part **parts;
	int count;
	struct tide_ring *ring;
	struct tide_error err;
};

static char topic[64]; /* its own for each test and run */

static const char *kadmin(void)
{
	const char *path = getenv("TIDE_KADMIN");
	return path != NULL ? path : "build/kadmin";
}

/* Run kadmin with `args`, after `feed |`; its output into out when not NULL. */
__attribute__((format(printf, 4, 5))) static void admin(char *out, size_t size, const char *feed,
                                                        const char *fmt, ...)
{
	char args[512], command[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(args, sizeof args, fmt, ap);
	va_end(ap);
	snprintf(command, sizeof command, "%s%s %s -b %s %s", feed != NULL ? feed : "",
	         feed != NULL ? " |" : "", kadmin(), getenv("TIDE_KAFKA"), args);
	FILE *in = popen(command, "r");
	assert_non_null(in);
	size_t got = out != NULL ? fread(out, 1, size - 1, in) : 0;
	if (out != NULL)
		out[got] = '\0';
	if (pclose(in) != 0)
		fail_msg("%s", command);
}

static int set_up(void **state)
{
	static int number;
	(void)state;
	snprintf(topic, sizeof topic, "real-%d-%lld-%d", getpid(), (long long)tide_clock_us(),
	         number++);
	return 0;
}

static int tear_down(void **state)
{
	char command[512];
	(void)state;
	if (getenv("TIDE_KAFKA") == NULL)
		return 0;
	snprintf(command, sizeof command, "%s -b %s delete %s 2>/dev/null", kadmin(),
	         getenv("TIDE_KAFKA"), topic);
	return system(command) < 0;
}

static void need_kafka(void)
{
	if (getenv("TIDE_KAFKA") == NULL)
		skip();
}

static void reader_open(struct reader *r)
{
	r->ring = tide_ring_new();
	tide_option_set(&r->options, "brokers", getenv("TIDE_KAFKA"));
	if (tide_option_get(&r->options, "topics") == NULL)
		tide_option_set(&r->options, "topics", topic);
	if (tide_kafka_open(&r->options, &r->src, &r->err) != TIDE_OK)
		fail_msg("%s", r->err.text);
}

static void discover(struct reader *r)
{
	if (r->src->ops->discover(r->src, &r->parts, &r->count, &r->err) != TIDE_OK)
		fail_msg("%s", r->err.text);
}

static void ends(struct reader *r)
{
	if (r->src->ops->ends(r->src, r->parts, r->count, &r->err) != TIDE_OK)
		fail_msg("%s", r->err.text);
}

static void seek_all(struct reader *r)
{
	if (r->src->ops->seek(r->src, r->parts, r->count, &r->err) != TIDE_OK)
		fail_msg("%s", r->err.text);
}

static void start(struct reader *r)
{
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	do
		discover(r);
	while (r->count == 0 && tide_clock_mono_us() < until);
	ends(r);
	for (int i = 0; i < r->count; i++)
		r->parts[i]->next = r->parts[i]->start;
	seek_all(r);
}

static void reader_close(struct reader *r)
{
	r->src->ops->close(r->src);
	tide_ring_free(r->ring);
	tide_options_fini(&r->options);
	free(r->parts);
}

/* Read partition i to `to`, at most `step` offsets a fetch. The fingerprint
 * follows, as the coordinator has it follow. `seen` may be NULL. */
static int64_t drain(struct reader *r, int i, int64_t to, int64_t step, bool *seen)
{
	struct tide_source_part *part = r->parts[i];
	int64_t records = 0, until = tide_clock_mono_us() + DEADLINE_US;
	while (part->next < to && tide_clock_mono_us() < until) {
		int64_t last = part->next - 1,
			most = part->next + step < to ? part->next + step : to;
		struct tide_batch *batch = tide_ring_next(r->ring, part->topic, part->partition);
		if (r->src->ops->fetch(r->src, part, most, 100, batch, &r->err) != TIDE_OK)
			fail_msg("%s", r->err.text);
		for (uint32_t k = 0; k < batch->count; k++) {
			assert_true(batch->recs[k].offset_ > last && batch->recs[k].offset_ < most);
			last = batch->recs[k].offset_;
			if (seen != NULL)
				seen[last] = true;
			part->print = tide_fingerprint_of(&batch->recs[k]);
		}
		assert_true(part->next > last && part->next <= most);
		records += batch->count;
	}
	assert_int_equal(part->next, to);
	return records;
}

static struct tide_loss verify(struct reader *r)
{
	struct tide_loss loss;
	if (r->src->ops->verify(r->src, r->parts, 1, &loss, &r->err) != TIDE_OK)
		fail_msg("%s", r->err.text);
	return loss;
}

static const char json_lines[] = "seq 1 %d | sed 's/.*/{\"key\":\"k\",\"value\":\"v&\"}/'";

static void produce(int count)
{
	char feed[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(feed, sizeof feed, json_lines, count);
#pragma GCC diagnostic pop
	admin(NULL, 0, feed, "produce %s 2>/dev/null", topic);
}

static void transact(const char *how, int count)
{
	char feed[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(feed, sizeof feed, json_lines, count);
#pragma GCC diagnostic pop
	admin(NULL, 0, feed, "transact %s %s 2>/dev/null", topic, how);
}

/* Delete the topic and wait until it is gone, or creating it would fail. */
static void recreate(int partitions)
{
	char out[256] = "x", command[512];
	admin(NULL, 0, NULL, "delete %s", topic);
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	snprintf(command, sizeof command, "%s -b %s create %s %d 2>/dev/null", kadmin(),
	         getenv("TIDE_KAFKA"), topic, partitions);
	while (system(command) != 0 && tide_clock_mono_us() < until)
		continue;
	admin(out, sizeof out, NULL, "offsets %s", topic);
	assert_non_null(strstr(out, "\"end\":0"));
}

/* --- bytes --------------------------------------------------------------------- */

/* The next records below `to` of the only partition, in a batch of their own. */
static struct tide_batch *fetch_so_many(struct reader *r, uint32_t count, int64_t to)
{
	struct tide_batch *batch = tide_ring_next(r->ring, topic, 0);
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (batch->count < count && tide_clock_mono_us() < until)
		assert_int_equal(r->src->ops->fetch(r->src, r->parts[0], to, 100, batch, &r->err),
		                 0);
	assert_int_equal(batch->count, count);
	return batch;
}

static void bytes_arrive_as_they_were_sent(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	char path[] = "/tmp/tide-real-XXXXXX", feed[64];
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	FILE *out = fdopen(fd, "w");
	fputs("{\"key\":{\"base64\":\"AABhAA==\"},\"value\":\"a\\u0000b\",\"timestamp\":1234567890123}\n"
	      "{\"key\":null,\"value\":\"\"}\n{\"key\":\"\",\"value\":null,\"partition\":0}\n"
	      "{\"headers\":[[\"n\",null],[\"e\",\"\"],[\"z\",{\"base64\":\"AAEA\"}]]}\n",
	      out);
	fputs("{\"value\":\"big key\",\"key\":\"", out);
	for (int i = 0; i < 1024 * 1024; i++)
		fputc('a' + i % 26, out);
	fputs("\"}\n{\"value\":\"headers\",\"headers\":[", out);
	for (int i = 0; i < 10000; i++)
		fprintf(out, "%s[\"h%d\",\"v%d\"]", i > 0 ? "," : "", i, i);
	fputs("]}\n", out);
	fclose(out);
	snprintf(feed, sizeof feed, "cat %s", path);
	admin(NULL, 0, NULL, "create %s 1 max.message.bytes=4000000", topic);
	admin(NULL, 0, feed, "produce %s 2>/dev/null", topic);
	unlink(path);
	reader_open(&r);
	start(&r);
	assert_int_equal(r.parts[0]->end, 6);
	struct tide_batch *batch = fetch_so_many(&r, 5, 5);
	const struct tide_rec *rec = batch->recs;
	assert_memory_equal(tide_view_p(&rec[0].key_), "\0\0a\0", 4);
	assert_int_equal(rec[0].key_.len_, 4);
	assert_memory_equal(tide_view_p(&rec[0].value_), "a\0b", 3);
	assert_int_equal(rec[0].timestamp_ms_, 1234567890123);
	assert_true(rec[1].key_.len_ < 0 && rec[1].value_.len_ == 0);
	assert_true(rec[2].key_.len_ == 0 && rec[2].value_.len_ < 0);
	const struct tide_header *headers =
		(const struct tide_header *)(uintptr_t)rec[3].headers_addr_;
	assert_int_equal(rec[3].header_count, 3);
	assert_true(headers[0].value_.len_ < 0 && headers[1].value_.len_ == 0);
	assert_int_equal(headers[2].value_.len_, 3);
	assert_memory_equal(tide_view_p(&headers[2].value_), "\0\1\0", 3);
	assert_int_equal(rec[4].key_.len_, 1024 * 1024);
	for (int i = 0; i < 1024 * 1024; i++)
		assert_int_equal(tide_view_p(&rec[4].key_)[i], 'a' + i % 26);
	batch = fetch_so_many(&r, 1, 6);
	assert_int_equal(batch->recs[0].header_count, 10000);
	headers = (const struct tide_header *)(uintptr_t)batch->recs[0].headers_addr_;
	for (int i = 0; i < 10000; i++) {
		char name[16];
		int len = snprintf(name, sizeof name, "v%d", i);
		assert_int_equal(headers[i].value_.len_, len);
		assert_memory_equal(tide_view_p(&headers[i].value_), name, (size_t)len);
	}
	reader_close(&r);
}

/* Where the count of headers is looked for depends on what the value is. */
static void headers_come_with_any_value(const char *codec)
{
	static const char feed[] =
		"printf '%s\\n' "
		"'{\"headers\":[[\"a\",\"1\"]]}' '{\"key\":\"k\",\"headers\":[[\"a\",\"1\"]]}' "
		"'{\"value\":\"\",\"headers\":[[\"a\",\"1\"]]}' "
		"'{\"key\":\"k\",\"value\":\"\",\"headers\":[[\"\",null]]}' "
		"'{\"value\":\"v\",\"headers\":[[\"a\",\"1\"]]}' "
		"'{\"value\":{\"base64\":\"AAA=\"},\"headers\":[[\"a\",\"1\"]]}' "
		"'{\"value\":\"v\"}' '{\"value\":\"\"}' '{\"key\":\"k\"}'";
	struct reader r = { 0 };
	admin(NULL, 0, NULL, "create %s 1 compression.type=%s", topic, codec);
	admin(NULL, 0, feed, "produce %s 2>/dev/null", topic);
	reader_open(&r);
	start(&r);
	struct tide_batch *batch = fetch_so_many(&r, 9, 9);
	for (int i = 0; i < 9; i++)
		assert_int_equal(batch->recs[i].header_count, i < 6);
	reader_close(&r);
}

static void headers_come_with_any_value_in_any_compression(void **state)
{
	need_kafka();
	static const char *const codecs[] = { "uncompressed", "gzip", "snappy", "lz4", "zstd" };
	for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
		headers_come_with_any_value(codecs[i]);
		tear_down(state);
		set_up(state);
	}
}

/* --- offsets without records ------------------------------------------------------ */

static void the_end_is_reached_over_control_records(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	admin(NULL, 0, NULL, "create %s 1", topic);
	transact("commit", 10); /* 0..9 and a marker at 10 */
	transact("abort", 7);   /* 11..17 and a marker at 18 */
	reader_open(&r);
	start(&r);
	assert_int_equal(r.parts[0]->end, 19);
	assert_int_equal(drain(&r, 0, 19, 1, NULL), 10);
	/* Records after them are seen, though a range may end inside the gap. */
	produce(5);
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (r.parts[0]->end < 24 && tide_clock_mono_us() < until) {
		r.src->ops->wait(r.src, 50);
		ends(&r);
	}
	assert_int_equal(drain(&r, 0, 24, 3, NULL), 5);
	r.parts[0]->next = 5;
	seek_all(&r);
	assert_int_equal(drain(&r, 0, 14, 100, NULL), 5);
	assert_int_equal(drain(&r, 0, 24, 100, NULL), 5);
	reader_close(&r);
}

static void an_open_transaction_holds_the_end_back(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	char command[1024];
	admin(NULL, 0, NULL, "create %s 1", topic);
	produce(3);
	reader_open(&r);
	start(&r);
	assert_int_equal(drain(&r, 0, 3, 10, NULL), 3);
	snprintf(
		command, sizeof command,
		"seq 1 4 | sed 's/.*/{\"value\":\"v&\"}/' | { %s -b %s transact %s hang & echo $!; "
		"wait; }",
		kadmin(), getenv("TIDE_KAFKA"), topic);
	FILE *open = popen(command, "r");
	int pid = 0;
	char line[64] = "";
	/* The pid is there first, "open" when all is acknowledged. */
	assert_non_null(fgets(line, sizeof line, open));
	pid = atoi(line);
	assert_non_null(fgets(line, sizeof line, open));
	assert_string_equal(line, "open\n");
	/* Long enough for a fetch to bring the high watermark; the end stays. */
	for (int i = 0; i < 20; i++) {
		struct tide_batch *batch = tide_ring_next(r.ring, topic, 0);
		r.src->ops->wait(r.src, 20);
		ends(&r);
		assert_int_equal(r.parts[0]->end, 3);
		assert_int_equal(r.src->ops->fetch(r.src, r.parts[0], 7, 10, batch, &r.err), 0);
		assert_int_equal(batch->count, 0);
	}
	snprintf(command, sizeof command, "kill %d", pid);
	assert_int_equal(system(command), 0);
	pclose(open);
	reader_close(&r);
}

static void compaction_gaps_lose_nothing(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	enum { RECORDS = 4000 };
	static bool seen[RECORDS + 10], expected[RECORDS + 10];
	char *out = malloc(1 << 20);
	memset(seen, 0, sizeof seen);
	memset(expected, 0, sizeof expected);
	admin(NULL, 0, NULL,
	      "create %s 1 cleanup.policy=compact segment.bytes=16384 segment.ms=200 "
	      "min.cleanable.dirty.ratio=0.001 max.compaction.lag.ms=200 min.compaction.lag.ms=0",
	      topic);
	char feed[256];
	snprintf(feed, sizeof feed,
	         "seq 1 %d | awk '{k=($1%%37==0)?$1:$1%%13; print "
	         "\"{\\\"key\\\":\\\"\" k \"\\\",\\\"value\\\":\\\"v\" $1 \"\\\"}\"}'",
	         RECORDS);
	int64_t until = tide_clock_mono_us() + DEADLINE_US, left = RECORDS;
	admin(NULL, 0, feed, "-X batch.num.messages=20 produce %s 2>/dev/null", topic);
	/* Once the cleaner has been there, the log is what it will be for a while. */
	while (left > RECORDS / 2 && tide_clock_mono_us() < until) {
		admin(out, 1 << 20, NULL, "consume %s 0 0 -1", topic);
		left = 0;
		for (char *p = out; (p = strstr(p, "\"offset\":")) != NULL; p++)
			left++;
	}
	assert_true(left < RECORDS / 2 && left > RECORDS / 100);
	reader_open(&r);
	start(&r);
	int64_t end = r.parts[0]->end, got = 0;
	for (char *p = out; (p = strstr(p, "\"offset\":")) != NULL; p++)
		expected[atoll(p + 9)] = true;
	got = drain(&r, 0, end, 17, seen);
	int missing = 0;
	admin(out, 1 << 20, NULL, "consume %s 0 0 -1", topic);
	/* What is still there after we have read must have been delivered. */
	for (char *p = out; (p = strstr(p, "\"offset\":")) != NULL; p++)
		missing += !seen[atoll(p + 9)];
	for (int i = 0; i < RECORDS; i++)
		assert_true(!seen[i] || expected[i]);
	assert_int_equal(missing, 0);
	assert_true(got <= left);
	/* The record of a fingerprint may be compacted away: no proof, no loss. */
	for (int i = 0; i < RECORDS; i++)
		if (!seen[i]) {
			r.parts[0]->print = (struct tide_fingerprint){ .offset = i };
			break;
		}
	assert_int_equal(verify(&r).kind, TIDE_LOSS_UNVERIFIED);
	free(out);
	reader_close(&r);
}

/* --- losing ------------------------------------------------------------------------ */

static void trimmed_records_are_counted_and_never_skipped(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	admin(NULL, 0, NULL, "create %s 1", topic);
	produce(6000);
	admin(NULL, 0, NULL, "trim %s 0 5000", topic);
	reader_open(&r);
	discover(&r);
	r.parts[0]->next = 1000;
	struct tide_loss loss = verify(&r);
	assert_int_equal(loss.kind, TIDE_LOSS_TRIMMED);
	assert_int_equal(loss.from, 1000);
	assert_int_equal(loss.to, 5000);
	assert_int_equal(loss.lost, 4000);
	/* Placed there all the same: an error, and not another place. */
	seek_all(&r);
	int rc = TIDE_OK;
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (rc == TIDE_OK && tide_clock_mono_us() < until) {
		struct tide_batch *batch = tide_ring_next(r.ring, topic, 0);
		rc = r.src->ops->fetch(r.src, r.parts[0], 6000, 100, batch, &r.err);
		assert_int_equal(batch->count, 0);
	}
	assert_int_equal(rc, TIDE_ERR_DATA_LOSS);
	assert_non_null(strstr(r.err.text, "Offset 1000 out of range"));
	assert_int_equal(r.parts[0]->next, 1000);
	r.parts[0]->next = loss.to;
	seek_all(&r);
	assert_int_equal(drain(&r, 0, 6000, 1 << 20, NULL), 1000);
	reader_close(&r);
}

static void a_caught_up_log_that_was_retired_is_no_alarm(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	admin(NULL, 0, NULL, "create %s 1", topic);
	produce(100);
	reader_open(&r);
	start(&r);
	drain(&r, 0, 100, 1000, NULL);
	assert_int_equal(verify(&r).kind, TIDE_LOSS_NONE);
	admin(NULL, 0, NULL, "trim %s 0 100", topic);
	assert_int_equal(verify(&r).kind, TIDE_LOSS_UNVERIFIED);
	reader_close(&r);
}

/* Each record is more than an answer's share for a partition, and all are more than an
 * answer: who was left out of one is told all the same. */
static void each_of_several_partitions_is_judged_by_itself(void **state)
{
	(void)state;
	need_kafka();
	enum { PARTS = 12 };
	struct reader r = { 0 };
	struct tide_loss losses[PARTS];
	admin(NULL, 0, NULL, "create %s %d", topic, PARTS);
	admin(NULL, 0,
	      "awk 'BEGIN { v = \"x\"; while (length(v) < 200000) v = v v; for (i = 0; i < 36; i++) "
	      "print \"{\\\"partition\\\":\" i % 12 \",\\\"value\\\":\\\"\" v \"\\\"}\" }'",
	      "-X compression.type=none produce %s 2>/dev/null", topic);
	reader_open(&r);
	start(&r);
	for (int i = 0; i < PARTS; i++)
		drain(&r, i, 2, 1000, NULL);
	admin(NULL, 0, "echo '{\"value\":\"a\",\"partition\":6}'", "transact %s abort 2>/dev/null",
	      topic);
	r.parts[1]->print.hash ^= 1;
	r.parts[2]->next = 0;
	admin(NULL, 0, NULL, "trim %s 2 1", topic);
	admin(NULL, 0, NULL, "trim %s 3 2", topic);
	r.parts[4]->next = 4;
	r.parts[5]->print.timestamp_ms++;
	/* The record is one that nobody is shown, and the end of the log is next. */
	r.parts[6]->next = 5;
	r.parts[6]->print.offset = 3;
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	do
		assert_int_equal(r.src->ops->verify(r.src, r.parts, PARTS, losses, &r.err), 0);
	while (r.parts[6]->end < 5 && tide_clock_mono_us() < until);
	for (int i = 7; i < PARTS; i++)
		assert_int_equal(losses[i].kind, TIDE_LOSS_NONE);
	assert_int_equal(losses[0].kind, TIDE_LOSS_NONE);
	assert_int_equal(losses[1].kind, TIDE_LOSS_RECREATED);
	assert_int_equal(losses[2].kind, TIDE_LOSS_TRIMMED);
	assert_int_equal(losses[2].lost, 1);
	assert_int_equal(losses[3].kind, TIDE_LOSS_UNVERIFIED);
	assert_int_equal(losses[4].kind, TIDE_LOSS_RECREATED);
	assert_int_equal(losses[5].kind, TIDE_LOSS_RECREATED);
	assert_int_equal(losses[6].kind, TIDE_LOSS_UNVERIFIED);
	reader_close(&r);
}

/* `records` in the new topic against 78 read from the old one. */
static void recreated(int records)
{
	struct reader r = { 0 }, again = { 0 };
	char text[2048], want[200];
	admin(NULL, 0, NULL, "create %s 1", topic);
	produce(78);
	reader_open(&r);
	start(&r);
	drain(&r, 0, 78, 1000, NULL);
	struct tide_fingerprint print = r.parts[0]->print;
	reader_close(&r);
	recreate(1);
	if (records > 0)
		produce(records);
	reader_open(&again);
	discover(&again);
	again.parts[0]->next = 78;
	again.parts[0]->print = print;
	struct tide_loss loss = verify(&again);
	assert_int_equal(loss.kind, TIDE_LOSS_RECREATED);
	tide_loss_text(again.parts[0], &loss, true, "/cp", text, sizeof text);
	snprintf(want, sizeof want, "Partition %s-0's offset was changed from 78 to 0\n", topic);
	assert_ptr_equal(strstr(text, want), text);
	again.parts[0]->next = loss.to;
	seek_all(&again);
	assert_int_equal(drain(&again, 0, records, 1000, NULL), records);
	reader_close(&again);
}

static void an_empty_recreated_topic_is_told(void **state)
{
	(void)state;
	need_kafka();
	recreated(0);
}

static void a_shorter_recreated_topic_is_told(void **state)
{
	(void)state;
	need_kafka();
	recreated(5);
}

static void a_longer_recreated_topic_is_told(void **state)
{
	(void)state;
	need_kafka();
	recreated(100);
}

static void a_topic_recreated_while_running_is_told(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	admin(NULL, 0, NULL, "create %s 1", topic);
	produce(50);
	reader_open(&r);
	start(&r);
	drain(&r, 0, 50, 1000, NULL);
	recreate(1);
	produce(20);
	int rc = TIDE_OK;
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (rc == TIDE_OK && tide_clock_mono_us() < until) {
		struct tide_batch *batch = tide_ring_next(r.ring, topic, 0);
		discover(&r);
		ends(&r);
		rc = r.src->ops->fetch(r.src, r.parts[0], INT64_MAX, 50, batch, &r.err);
		assert_int_equal(batch->count, 0);
	}
	assert_int_equal(rc, TIDE_ERR_DATA_LOSS);
	struct tide_loss loss = verify(&r);
	assert_int_equal(loss.kind, TIDE_LOSS_RECREATED);
	/* A broker may go on for a while as if the old log were there. As a job does:
	 * look at topics and ends all the time, and seek when there is a doubt. */
	while (rc == TIDE_ERR_DATA_LOSS && tide_clock_mono_us() < until) {
		r.parts[0]->next = 0;
		seek_all(&r);
		rc = TIDE_OK;
		while (rc == TIDE_OK && r.parts[0]->next == 0 && tide_clock_mono_us() < until) {
			discover(&r);
			ends(&r);
			rc = r.parts[0]->doubtful
			             ? TIDE_ERR_DATA_LOSS
			             : r.src->ops->fetch(r.src, r.parts[0], 1, 50,
			                                 tide_ring_next(r.ring, topic, 0), &r.err);
		}
	}
	assert_int_equal(drain(&r, 0, 20, 1000, NULL), 19);
	reader_close(&r);
}

/* --- finding ------------------------------------------------------------------------- */

static void new_partitions_start_at_nought(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	admin(NULL, 0, NULL, "create %s 1", topic);
	produce(30);
	reader_open(&r);
	start(&r);
	drain(&r, 0, 10, 1000, NULL);
	admin(NULL, 0, NULL, "grow %s 3", topic);
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (r.count < 3 && tide_clock_mono_us() < until)
		discover(&r);
	assert_int_equal(r.count, 3);
	assert_int_equal(r.parts[2]->next, 0);
	admin(NULL, 0, "echo '{\"value\":\"new\",\"partition\":2}'", "produce %s 2>/dev/null",
	      topic);
	assert_int_equal(r.src->ops->seek(r.src, r.parts + 1, 2, &r.err), TIDE_OK);
	assert_int_equal(drain(&r, 2, 1, 10, NULL), 1);
	/* The old one goes on where it was. */
	assert_int_equal(drain(&r, 0, 30, 10, NULL), 20);
	reader_close(&r);
}

static void a_missing_topic_is_waited_for(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	reader_open(&r);
	for (int i = 0; i < 3; i++)
		discover(&r);
	assert_int_equal(r.count, 0);
	assert_int_equal(r.src->ops->poll(r.src, &r.err), TIDE_OK);
	/* Asking did not create it. */
	admin(NULL, 0, NULL, "create %s 2", topic);
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (r.count < 2 && tide_clock_mono_us() < until)
		discover(&r);
	assert_int_equal(r.count, 2);
	assert_int_equal(r.parts[0]->next, 0);
	reader_close(&r);
}

static void a_missing_topic_is_created_when_asked(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	tide_option_set(&r.options, "create", "true");
	tide_option_set(&r.options, "partitions", "3");
	reader_open(&r);
	start(&r);
	assert_int_equal(r.count, 3);
	reader_close(&r);
}

static void times_become_offsets(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	int64_t offset = -5;
	admin(NULL, 0, NULL, "create %s 1", topic);
	admin(NULL, 0, "seq 1 9 | sed 's/.*/{\"value\":\"v\",\"timestamp\":170000000&000}/'",
	      "produce %s 2>/dev/null", topic);
	reader_open(&r);
	discover(&r);
	assert_int_equal(r.src->ops->resolve(r.src, r.parts, 1, "1700000004000", &offset, &r.err),
	                 0);
	assert_int_equal(offset, 3);
	assert_int_equal(r.src->ops->resolve(r.src, r.parts, 1, "1700000004001", &offset, &r.err),
	                 0);
	assert_int_equal(offset, 4);
	assert_int_equal(r.src->ops->resolve(r.src, r.parts, 1, "1800000000000", &offset, &r.err),
	                 0);
	assert_int_equal(offset, 9);
	reader_close(&r);
}

static void positions_are_mirrored_to_the_group(void **state)
{
	(void)state;
	need_kafka();
	struct reader r = { 0 };
	char out[256] = "";
	admin(NULL, 0, NULL, "create %s 1", topic);
	produce(30);
	tide_option_set(&r.options, "group", topic);
	reader_open(&r);
	start(&r);
	drain(&r, 0, 12, 1000, NULL);
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (strstr(out, "\"committed\":12") == NULL && tide_clock_mono_us() < until) {
		r.src->ops->mirror(r.src, r.parts, r.count);
		r.src->ops->wait(r.src, 20);
		admin(out, sizeof out, NULL, "committed %s %s 1", topic, topic);
	}
	assert_non_null(strstr(out, "\"committed\":12"));
	reader_close(&r);
}

/* By default newer librdkafkas leave a queue alone for a second once it was full. */
static void a_full_queue_is_looked_at_again_soon(void **state)
{
	struct tide_options options = { 0 };
	struct tide_secrets secrets = { 0 };
	struct tide_error err;
	rd_kafka_conf_t *conf = NULL;
	char value[32] = "";
	size_t size = sizeof value;
	(void)state;
	assert_int_equal(tide_kafka_conf(&options, TIDE_KAFKA_CONTROL, 1, &conf, &secrets, &err),
	                 TIDE_OK);
	rd_kafka_conf_res_t found = rd_kafka_conf_get(conf, "fetch.queue.backoff.ms", value, &size);
	if (rd_kafka_version() < 0x02020000) {
		assert_int_equal(found, RD_KAFKA_CONF_UNKNOWN);
	} else {
		assert_int_equal(found, RD_KAFKA_CONF_OK);
		assert_in_range(atoi(value), 1, 20);
	}
	rd_kafka_conf_destroy(conf);
	tide_secrets_fini(&secrets);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(bytes_arrive_as_they_were_sent),
		TEST(headers_come_with_any_value_in_any_compression),
		TEST(the_end_is_reached_over_control_records),
		TEST(an_open_transaction_holds_the_end_back),
		TEST(compaction_gaps_lose_nothing),
		TEST(trimmed_records_are_counted_and_never_skipped),
		TEST(a_caught_up_log_that_was_retired_is_no_alarm),
		TEST(each_of_several_partitions_is_judged_by_itself),
		TEST(an_empty_recreated_topic_is_told),
		TEST(a_shorter_recreated_topic_is_told),
		TEST(a_longer_recreated_topic_is_told),
		TEST(a_topic_recreated_while_running_is_told),
		TEST(new_partitions_start_at_nought),
		TEST(a_missing_topic_is_waited_for),
		TEST(a_missing_topic_is_created_when_asked),
		TEST(times_become_offsets),
		TEST(positions_are_mirrored_to_the_group),
		TEST(a_full_queue_is_looked_at_again_soon),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
