/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka source on the embedded broker: what it delivers, and what it says. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "c11_threads.h"

#include "base/clock.h"
#include "broker/broker.h"
#include "broker/produce.h"
#include "source/kafka.h"
#include "source/kafka_inside.h"
#include "source/settings.h"

enum { DEADLINE_US = 20 * 1000 * 1000 };

static struct tide_broker *broker;

struct reader {
	struct tide_options options;
	struct tide_source *src;
	struct tide_source_part **parts;
	int count;
	struct tide_ring *ring;
	struct tide_error err;
};

static void option(struct reader *r, const char *key, const char *value)
{
	assert_true(tide_option_set(&r->options, key, value));
}

static void reader_open(struct reader *r, const char *topics)
{
	r->ring = tide_ring_new();
	option(r, "brokers", tide_broker_address(broker));
	option(r, "topics", topics);
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

static void start(struct reader *r)
{
	discover(r);
	ends(r);
	for (int i = 0; i < r->count; i++)
		r->parts[i]->next = r->parts[i]->start;
	assert_int_equal(r->src->ops->seek(r->src, r->parts, r->count, &r->err), TIDE_OK);
}

static void reader_close(struct reader *r)
{
	r->src->ops->close(r->src);
	tide_ring_free(r->ring);
	tide_options_fini(&r->options);
	free(r->parts);
}

static struct tide_batch *fetch(struct reader *r, int i, int64_t to)
{
	struct tide_batch *batch =
		tide_ring_next(r->ring, r->parts[i]->topic, r->parts[i]->partition);
	if (r->src->ops->fetch(r->src, r->parts[i], to, 100, batch, &r->err) != TIDE_OK)
		fail_msg("%s", r->err.text);
	return batch;
}

/* Read partition i up to `to`, at most `step` offsets a fetch. */
static int64_t drain(struct reader *r, int i, int64_t to, int64_t step)
{
	int64_t records = 0, until = tide_clock_mono_us() + DEADLINE_US;
	while (r->parts[i]->next < to && tide_clock_mono_us() < until) {
		int64_t next = r->parts[i]->next, most = next + step < to ? next + step : to;
		struct tide_batch *batch = fetch(r, i, most);
		for (uint32_t k = 0; k < batch->count; k++) {
			assert_int_equal(batch->recs[k].offset_, next + k);
			assert_true(batch->recs[k].offset_ < most);
		}
		assert_int_equal(r->parts[i]->next, next + batch->count);
		records += batch->count;
	}
	assert_int_equal(r->parts[i]->next, to);
	return records;
}

static void produce(const char *topic, const char *generator, int64_t count)
{
	struct tide_error err;
	int64_t produced;
	struct tide_produce_options o = { .brokers = tide_broker_address(broker),
		                          .topic = topic,
		                          .generator = generator,
		                          .count = count,
		                          .seed = 7,
		                          .quiet = true };
	if (tide_produce(&o, &produced, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	assert_int_equal(produced, count);
}

static int produce_lines(const char *topic, const char *lines, struct tide_error *err)
{
	int fds[2];
	int64_t produced;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], lines, strlen(lines)), (ssize_t)strlen(lines));
	close(fds[1]);
	struct tide_produce_options o = {
		.brokers = tide_broker_address(broker), .topic = topic, .in = fds[0], .quiet = true
	};
	int rc = tide_produce(&o, &produced, err);
	close(fds[0]);
	return rc;
}

static void create_topic(const char *topic, int partitions)
{
	struct tide_error err;
	if (tide_broker_topic(broker, topic, partitions, &err) != TIDE_OK)
		fail_msg("%s", err.text);
}

static bool is(struct tide_view view, const char *text, int32_t len)
{
	return view.len_ == len && (len <= 0 || memcmp(tide_view_p(&view), text, (size_t)len) == 0);
}

/* --- delivering ----------------------------------------------------------------- */

static void every_record_comes_once_and_in_order(void **state)
{
	(void)state;
	struct reader r = { 0 };
	create_topic("all", 3);
	produce("all", "text", 9000);
	reader_open(&r, "all");
	start(&r);
	assert_int_equal(r.count, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(drain(&r, i, 3000, 1 << 20), 3000);
	reader_close(&r);
}

static void spent_records_are_freed_by_who_made_them(void **state)
{
	(void)state;
	struct reader r = { 0 };
	size_t most = 0;
	produce("spent", "words", 5000);
	reader_open(&r, "spent");
	start(&r);
	struct tide_spent *spent = ((struct tide_kafka *)r.src)->spent;
	for (int i = 0; i < r.count; i++)
		while (r.parts[i]->next < r.parts[i]->end) {
			fetch(&r, i, r.parts[i]->end);
			size_t held = tide_spent_held(spent);
			most = held > most ? held : most;
		}
	assert_true(most > 64 * 100);
	/* Nobody here frees them: an answer comes to the next request. */
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (tide_spent_held(spent) > 0 && tide_clock_mono_us() < until)
		usleep(1000);
	assert_int_equal(tide_spent_held(spent), 0);
	reader_close(&r);
}

static void a_range_gives_no_record_beyond_it(void **state)
{
	(void)state;
	struct reader r = { 0 };
	create_topic("ranges", 1);
	produce("ranges", "text", 2000);
	reader_open(&r, "ranges");
	start(&r);
	assert_int_equal(drain(&r, 0, 1, 1), 1);
	assert_int_equal(drain(&r, 0, 500, 7), 499);
	assert_int_equal(drain(&r, 0, 2000, 333), 1500);
	reader_close(&r);
}

static void a_partition_can_be_placed_again(void **state)
{
	(void)state;
	struct reader r = { 0 };
	create_topic("again", 2);
	produce("again", "text", 4000);
	reader_open(&r, "again");
	start(&r);
	for (int round = 0; round < 20; round++) {
		drain(&r, 0, r.parts[0]->next + 50, 50);
		drain(&r, 1, r.parts[1]->next + 50, 50);
		r.parts[0]->next = round * 60;
		assert_int_equal(r.src->ops->seek(r.src, r.parts, 1, &r.err), TIDE_OK);
		assert_int_equal(r.parts[1]->next, (round + 1) * 50);
	}
	assert_int_equal(drain(&r, 0, 2000, 1 << 20), 2000 - 19 * 60);
	assert_int_equal(drain(&r, 1, 2000, 1 << 20), 1000);
	reader_close(&r);
}

static void bytes_arrive_as_they_were_sent(void **state)
{
	(void)state;
	struct reader r = { 0 };
	struct tide_error err;
	create_topic("bytes", 1);
	int rc = produce_lines(
		"bytes",
		"{\"key\":{\"base64\":\"AABhAA==\"},\"value\":\"a\\u0000b\",\"timestamp\":1234567890123}\n"
		"{\"key\":null,\"value\":\"\"}\n"
		"{\"key\":\"\",\"value\":null}\n"
		"\n"
		"{\"headers\":[[\"a\",\"1\"],[\"a\",\"2\"],[\"n\",null],[\"e\",\"\"]],\"partition\":0}\n"
		"{\"value\":\"\\u00e9\\ud83d\\ude00 \\\"q\\\"\"}",
		&err);
	if (rc != TIDE_OK)
		fail_msg("%s", err.text);
	reader_open(&r, "bytes");
	start(&r);
	struct tide_batch *batch = tide_ring_next(r.ring, "bytes", 0);
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (batch->count < 5 && tide_clock_mono_us() < until)
		assert_int_equal(r.src->ops->fetch(r.src, r.parts[0], 5, 100, batch, &r.err), 0);
	assert_int_equal(batch->count, 5);
	assert_true(is(batch->recs[0].key_, "\0\0a\0", 4));
	assert_true(is(batch->recs[0].value_, "a\0b", 3));
	assert_int_equal(batch->recs[0].timestamp_ms_, 1234567890123);
	assert_true(batch->recs[1].key_.len_ < 0);
	assert_int_equal(batch->recs[1].value_.len_, 0);
	assert_int_equal(batch->recs[2].key_.len_, 0);
	assert_true(batch->recs[2].value_.len_ < 0);
	assert_int_equal(batch->recs[3].header_count, 4);
	const struct tide_header *headers =
		(const struct tide_header *)(uintptr_t)batch->recs[3].headers_addr_;
	assert_true(is(headers[0].name_, "a", 1) && is(headers[0].value_, "1", 1));
	assert_true(is(headers[1].name_, "a", 1) && is(headers[1].value_, "2", 1));
	assert_true(headers[2].value_.len_ < 0);
	assert_int_equal(headers[3].value_.len_, 0);
	assert_true(is(batch->recs[4].value_, "\xc3\xa9\xf0\x9f\x98\x80 \"q\"", 10));
	reader_close(&r);
}

static void an_end_grows_without_a_new_question(void **state)
{
	(void)state;
	struct reader r = { 0 };
	create_topic("grows", 1);
	reader_open(&r, "grows");
	start(&r);
	assert_int_equal(r.parts[0]->end, 0);
	produce("grows", "text", 700);
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (r.parts[0]->next < 700 && tide_clock_mono_us() < until) {
		r.src->ops->wait(r.src, 100);
		ends(&r);
		assert_true(r.parts[0]->end >= r.parts[0]->next && r.parts[0]->end <= 700);
		if (r.parts[0]->end > r.parts[0]->next)
			drain(&r, 0, r.parts[0]->end, 1 << 20);
	}
	assert_int_equal(r.parts[0]->next, 700);
	reader_close(&r);
}

struct worker {
	struct reader *r;
	int part;
	int64_t to, records;
	pthread_t thread;
};

/* No asserts here: cmocka's jump out of a test is for its own thread only. */
static void *work(void *arg)
{
	struct worker *worker = arg;
	struct tide_source_part *part = worker->r->parts[worker->part];
	struct tide_ring *ring = tide_ring_new();
	struct tide_error err;
	int64_t until = tide_clock_mono_us() + DEADLINE_US, next = 0;
	while (next < worker->to && tide_clock_mono_us() < until) {
		struct tide_batch *batch = tide_ring_next(ring, part->topic, part->partition);
		if (worker->r->src->ops->fetch(worker->r->src, part, worker->to, 10, batch, &err) !=
		    0)
			break;
		for (uint32_t k = 0; k < batch->count && batch->recs[k].offset_ == next; k++)
			next++;
		worker->records += batch->count;
	}
	tide_ring_free(ring);
	return NULL;
}

static void fetches_run_beside_the_coordinator(void **state)
{
	(void)state;
	struct reader r = { 0 };
	struct worker workers[4];
	create_topic("beside", 4);
	produce("beside", "text", 40000);
	option(&r, "group", "beside");
	reader_open(&r, "beside");
	start(&r);
	for (int i = 0; i < 4; i++) {
		workers[i] = (struct worker){ .r = &r, .part = i, .to = 10000 };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < 200; i++) {
		ends(&r);
		r.src->ops->wait(r.src, 1);
		assert_int_equal(r.src->ops->poll(r.src, &r.err), TIDE_OK);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].records, 10000);
		assert_int_equal(r.parts[i]->next, 10000);
	}
	reader_close(&r);
}

/* --- finding ---------------------------------------------------------------------- */

static void a_partition_is_quiet_until_something_comes(void **state)
{
	(void)state;
	struct reader r = { 0 };
	create_topic("quiet", 1);
	produce("quiet", "words", 100);
	reader_open(&r, "quiet");
	start(&r);
	struct tide_source_part *part = r.parts[0];
	assert_int_equal(drain(&r, 0, part->end, 1000), 100);
	/* That the log is at its end comes as news, too. */
	int64_t until = tide_clock_mono_us() + DEADLINE_US, records = 0;
	bool quiet = false;
	while (!quiet && tide_clock_mono_us() < until) {
		assert_int_equal(fetch(&r, 0, INT64_MAX)->count, 0);
		quiet = atomic_load(&part->quiet);
	}
	assert_true(quiet);
	produce("quiet", "words", 100);
	until = tide_clock_mono_us() + DEADLINE_US;
	while (records < 100 && tide_clock_mono_us() < until) {
		if (atomic_load(&part->quiet))
			usleep(1000);
		else
			records += fetch(&r, 0, INT64_MAX)->count;
	}
	assert_int_equal(records, 100);
	reader_close(&r);
}

static void a_pattern_finds_topics_that_come_later(void **state)
{
	(void)state;
	struct reader r = { 0 };
	create_topic("fleet-1", 2);
	create_topic("other", 1);
	reader_open(&r, "^fleet-[0-9]{1,3}$");
	discover(&r);
	assert_int_equal(r.count, 2);
	assert_int_equal(r.parts[0]->next, -1);
	struct tide_source_part *first = r.parts[0];
	create_topic("fleet-22", 3);
	discover(&r);
	assert_int_equal(r.count, 5);
	assert_ptr_equal(r.parts[0], first);
	assert_string_equal(r.parts[4]->topic, "fleet-22");
	/* It appeared while running: all of it is new. */
	assert_int_equal(r.parts[4]->next, 0);
	reader_close(&r);
}

static void a_missing_topic_is_created_when_asked(void **state)
{
	(void)state;
	struct reader r = { 0 };
	option(&r, "create", "true");
	reader_open(&r, "made");
	discover(&r);
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (r.count == 0 && tide_clock_mono_us() < until)
		discover(&r);
	assert_true(r.count > 0);
	reader_close(&r);
}

static void positions_become_offsets(void **state)
{
	(void)state;
	struct reader r = { 0 };
	int64_t offset = -5;
	create_topic("where", 1);
	produce("where", "words", 12);
	reader_open(&r, "where");
	discover(&r);
	assert_int_equal(r.src->ops->resolve(r.src, r.parts, 1, "earliest", &offset, &r.err), 0);
	assert_int_equal(offset, 0);
	assert_int_equal(r.src->ops->resolve(r.src, r.parts, 1, "latest", &offset, &r.err), 0);
	assert_int_equal(offset, 12);
	assert_int_equal(r.src->ops->resolve(r.src, r.parts, 1, "1700000000000", &offset, &r.err),
	                 TIDE_ERR_USAGE);
	assert_non_null(strstr(r.err.text, "embedded broker"));
	assert_int_equal(r.src->ops->resolve(r.src, r.parts, 1, "newest", &offset, &r.err),
	                 TIDE_ERR_USAGE);
	reader_close(&r);
}

/* --- verifying --------------------------------------------------------------------- */

static void a_recreated_topic_is_told_by_its_last_record(void **state)
{
	(void)state;
	struct reader r = { 0 };
	struct tide_loss loss;
	create_topic("proof", 1);
	produce("proof", "words", 78);
	reader_open(&r, "proof");
	start(&r);
	struct tide_batch *batch = fetch(&r, 0, 78);
	while (r.parts[0]->next < 78)
		batch = fetch(&r, 0, 78);
	struct tide_source_part *part = r.parts[0];
	part->print = tide_fingerprint_of(&batch->recs[batch->count - 1]);
	assert_int_equal(part->print.offset, 77);
	assert_int_equal(r.src->ops->verify(r.src, &part, 1, &loss, &r.err), TIDE_OK);
	assert_int_equal(loss.kind, TIDE_LOSS_NONE);

	part->print.hash ^= 1;
	assert_int_equal(r.src->ops->verify(r.src, &part, 1, &loss, &r.err), TIDE_OK);
	assert_int_equal(loss.kind, TIDE_LOSS_RECREATED);
	assert_int_equal(loss.from, 78);
	assert_int_equal(loss.to, 0);

	part->print.hash ^= 1;
	part->print.timestamp_ms++;
	assert_int_equal(r.src->ops->verify(r.src, &part, 1, &loss, &r.err), TIDE_OK);
	assert_int_equal(loss.kind, TIDE_LOSS_RECREATED);

	/* Shorter than what was read. */
	part->print = (struct tide_fingerprint){ .offset = -1 };
	part->next = 79;
	assert_int_equal(r.src->ops->verify(r.src, &part, 1, &loss, &r.err), TIDE_OK);
	assert_int_equal(loss.kind, TIDE_LOSS_RECREATED);
	reader_close(&r);
}

static void a_fingerprint_tells_null_from_empty(void **state)
{
	(void)state;
	struct tide_rec null = { .key_ = { 0, -1, 0 }, .value_ = { 0, -1, 0 } };
	struct tide_rec empty = { .key_ = { 0, 0, 0 }, .value_ = { 0, -1, 0 } };
	struct tide_rec moved = { .key_ = { (uint64_t)(uintptr_t) "ab", 1, 0 },
		                  .value_ = { (uint64_t)(uintptr_t) "b", 1, 0 } };
	struct tide_rec other = { .key_ = { (uint64_t)(uintptr_t) "ab", 2, 0 },
		                  .value_ = { (uint64_t)(uintptr_t) "", 0, 0 } };
	assert_true(tide_fingerprint_of(&null).hash != tide_fingerprint_of(&empty).hash);
	assert_true(tide_fingerprint_of(&moved).hash != tide_fingerprint_of(&other).hash);
}

static void a_loss_is_told_with_its_options(void **state)
{
	(void)state;
	char text[2048];
	struct tide_source_part part = { .topic = (char *)(uintptr_t) "demo-topic-1" };
	struct tide_loss loss = { .kind = TIDE_LOSS_RECREATED, .from = 78, .to = 0, .lost = -1 };
	tide_loss_text(&part, &loss, true, "/data/cp", text, sizeof text);
	assert_ptr_equal(
		strstr(text, "Partition demo-topic-1-0's offset was changed from 78 to 0\n"), text);
	assert_non_null(strstr(text, "data loss - messages between offset 0 and 78 are missing"));
	assert_non_null(strstr(text, "fail_on_data_loss = false"));
	assert_non_null(strstr(text, "rm -rf /data/cp"));
	loss = (struct tide_loss){
		.kind = TIDE_LOSS_TRIMMED, .from = 1000, .to = 5000, .lost = 4000
	};
	tide_loss_text(&part, &loss, false, NULL, text, sizeof text);
	assert_non_null(strstr(text, "Offset 1000 out of range"));
	assert_non_null(strstr(text, "messages between offset 1000 and 5000 are missing"));
	assert_non_null(strstr(text, "4000"));
	loss.kind = TIDE_LOSS_NONE;
	tide_loss_text(&part, &loss, false, NULL, text, sizeof text);
	assert_string_equal(text, "");
}

/* --- trouble ------------------------------------------------------------------------ */

static void an_absent_broker_is_named_in_time(void **state)
{
	(void)state;
	struct tide_options options = { 0 };
	struct tide_source *src;
	struct tide_error err;
	tide_option_set(&options, "brokers", "127.0.0.1:1");
	tide_option_set(&options, "topics", "t");
	tide_option_set(&options, "profile", "default");
	tide_option_set(&options, "connect_timeout", "600ms");
	int64_t began = tide_clock_mono_us();
	assert_int_equal(tide_kafka_open(&options, &src, &err), TIDE_ERR_UNAVAILABLE);
	assert_true(tide_clock_mono_us() - began < DEADLINE_US);
	assert_non_null(strstr(err.text, "127.0.0.1:1"));
	assert_non_null(strstr(err.text, "Connection refused"));
	assert_non_null(strstr(err.text, "nc -zv 127.0.0.1 1"));
	assert_non_null(strstr(err.text, "kafka-topics.sh --list --bootstrap-server 127.0.0.1:1"));
	assert_non_null(strstr(err.text, "profile default"));
	tide_options_fini(&options);
}

static int open_with(const char *key, const char *value, struct tide_error *err)
{
	struct tide_options options = { 0 };
	struct tide_source *src = NULL;
	tide_option_set(&options, "brokers", tide_broker_address(broker));
	tide_option_set(&options, "topics", "all");
	tide_option_set(&options, key, value);
	int rc = tide_kafka_open(&options, &src, err);
	if (rc == TIDE_OK)
		src->ops->close(src);
	tide_options_fini(&options);
	return rc;
}

static void a_secret_is_never_told(void **state)
{
	(void)state;
	struct tide_error err;
	setenv("TIDE_TEST_SECRET", "canary-7f3a", 1);
	assert_int_equal(open_with("rdkafka.sasl.mechanism", "env:TIDE_TEST_SECRET", &err),
	                 TIDE_OK);
	assert_int_equal(open_with("rdkafka.security.protocol", "env:TIDE_TEST_SECRET", &err),
	                 TIDE_ERR_USAGE);
	assert_null(strstr(err.text, "canary"));
	assert_non_null(strstr(err.text, "security.protocol"));
	assert_int_equal(open_with("rdkafka.ssl.key.password", "env:TIDE_NO_SUCH_VARIABLE", &err),
	                 TIDE_ERR_USAGE);
	assert_non_null(strstr(err.text, "TIDE_NO_SUCH_VARIABLE"));
	assert_int_not_equal(open_with("rdkafka.sasl.password", "@/no/such/file", &err), TIDE_OK);
	assert_non_null(strstr(err.text, "/no/such/file"));
	char text[] = "login canary-7f3a refused";
	char *items[] = { (char *)(uintptr_t) "canary-7f3a" };
	tide_secrets_hide(&(struct tide_secrets){ .count = 1, .items = items }, text);
	assert_string_equal(text, "login *********** refused");
}

static void a_wrong_property_is_refused_and_a_harmful_one_ignored(void **state)
{
	(void)state;
	struct tide_error err;
	assert_int_equal(open_with("rdkafka.no.such.thing", "1", &err), TIDE_ERR_USAGE);
	assert_non_null(strstr(err.text, "no.such.thing"));
	assert_int_equal(open_with("rdkafka.api.version.request", "false", &err), TIDE_OK);
	assert_int_equal(open_with("rdkafka.broker.version.fallback", "0.9.0", &err), TIDE_OK);
	assert_int_equal(open_with("rdkafka.enable.auto.commit", "true", &err), TIDE_OK);
	assert_int_equal(open_with("topics", "a b", &err), TIDE_ERR_USAGE);
	assert_int_equal(open_with("topics", "^a(", &err), TIDE_ERR_USAGE);
	assert_int_equal(open_with("topics", " , ", &err), TIDE_ERR_USAGE);
}

/* What a setting is for so many partitions; librdkafka has to take them all. */
static long setting_of(const char *what, int partitions, const char *key, const char *value)
{
	struct tide_options options = { 0 };
	struct tide_secrets secrets = { 0 };
	struct tide_error err;
	rd_kafka_conf_t *conf = NULL;
	char text[32], why[256];
	size_t size = sizeof text;
	tide_option_set(&options, "brokers", tide_broker_address(broker));
	assert_true(key == NULL || tide_option_set(&options, key, value));
	assert_int_equal(
		tide_kafka_conf(&options, TIDE_KAFKA_FETCH, partitions, &conf, &secrets, &err),
		TIDE_OK);
	assert_int_equal(rd_kafka_conf_get(conf, what, text, &size), 0);
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
	if (rk == NULL)
		fail_msg("%s = %s: %s", key, value, why);
	rd_kafka_destroy(rk);
	tide_secrets_fini(&secrets);
	tide_options_fini(&options);
	return strtol(text, NULL, 10);
}

static long answer_of(int partitions, const char *key, const char *value)
{
	return setting_of("fetch.max.bytes", partitions, key, value);
}

static void an_answer_has_room_for_many_partitions(void **state)
{
	(void)state;
	assert_int_equal(answer_of(1000, NULL, NULL), 16 << 20);
	assert_int_equal(answer_of(4, NULL, NULL), 16 << 20);
	assert_int_equal(answer_of(1000, "prefetch_kbytes", "32768"), 32 << 20);
	assert_int_equal(answer_of(1000, "prefetch_kbytes", "1"), 1000000);
	assert_int_equal(answer_of(1000, "prefetch_kbytes", "2097151"), 100000000 - 512);
	assert_int_equal(answer_of(1000, "rdkafka.message.max.bytes", "120000000"), 120000000);
	assert_int_equal(answer_of(1000, "rdkafka.receive.message.max.bytes", "5000000"),
	                 5000000 - 512);
	assert_int_equal(answer_of(1000, "rdkafka.fetch.max.bytes", "2000000"), 2000000);
}

static void many_partitions_are_fetched_less_far_ahead(void **state)
{
	(void)state;
	const char *queue = "queued.max.messages.kbytes", *piece = "fetch.message.max.bytes";
	const char *records = "queued.min.messages";
	assert_int_equal(setting_of(records, 1, NULL, NULL), 50000);
	assert_int_equal(setting_of(records, 4, NULL, NULL), 16384);
	assert_int_equal(setting_of(records, 100, NULL, NULL), 655);
	assert_int_equal(setting_of(records, 4000, NULL, NULL), 300);
	assert_int_equal(setting_of(records, 4, "prefetch_kbytes", "32768"), 32768);
	assert_int_equal(setting_of(records, 4, "rdkafka.queued.min.messages", "99"), 99);
	assert_int_equal(setting_of(queue, 4, NULL, NULL), 4096);
	assert_int_equal(setting_of(queue, 64, NULL, NULL), 1024);
	assert_int_equal(setting_of(queue, 256, NULL, NULL), 256);
	assert_int_equal(setting_of(queue, 4000, NULL, NULL), 64);
	assert_int_equal(setting_of(queue, 256, "prefetch_kbytes", "1048576"), 4096);
	assert_int_equal(setting_of(queue, 4000, "rdkafka.queued.max.messages.kbytes", "99"), 99);
	assert_int_equal(setting_of(piece, 4, NULL, NULL), 512 * 1024);
	assert_int_equal(setting_of(piece, 256, NULL, NULL), 512 * 1024);
	assert_int_equal(setting_of(piece, 512, NULL, NULL), 256 * 1024);
	assert_int_equal(setting_of(piece, 4000, NULL, NULL), 128 * 1024);
	assert_int_equal(setting_of(piece, 4000, "rdkafka.fetch.message.max.bytes", "70000"),
	                 70000);
}

static void a_lost_broker_is_told_and_closing_still_ends(void **state)
{
	(void)state;
	struct reader r = { 0 };
	struct tide_broker *other, *kept = broker;
	struct tide_error err;
	assert_int_equal(tide_broker_start(&other, &err), TIDE_OK);
	broker = other;
	create_topic("gone", 1);
	reader_open(&r, "gone");
	start(&r);
	assert_int_equal(r.src->ops->poll(r.src, &r.err), TIDE_OK);
	tide_broker_stop(other);
	broker = kept;
	int rc = TIDE_OK;
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	while (rc == TIDE_OK && tide_clock_mono_us() < until) {
		r.src->ops->wait(r.src, 50);
		rc = r.src->ops->poll(r.src, &r.err);
	}
	assert_int_equal(rc, TIDE_ERR_UNAVAILABLE);
	assert_non_null(strstr(r.err.text, "nc -zv"));
	int64_t began = tide_clock_mono_us();
	reader_close(&r);
	assert_true(tide_clock_mono_us() - began < DEADLINE_US);
}

/* --- producing ------------------------------------------------------------------------ */

static void a_wrong_line_is_named(void **state)
{
	(void)state;
	struct tide_error err;
	create_topic("lines", 1);
	static const char *const wrong[] = { "[1]",
		                             "{\"value\":1}",
		                             "{\"vlaue\":\"x\"}",
		                             "{\"value\":\"x\"} y",
		                             "{\"value\":\"\\ud800\"}",
		                             "{\"value\":{\"base64\":\"?\"}}",
		                             "{\"value\":\"x\"",
		                             "{\"headers\":[[\"a\"]]}",
		                             "{\"partition\":-1}" };
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		char text[128];
		snprintf(text, sizeof text, "{\"value\":\"good\"}\n%s\n", wrong[i]);
		assert_int_equal(produce_lines("lines", text, &err), TIDE_ERR_USAGE);
		assert_non_null(strstr(err.text, "line 2"));
	}
	assert_int_equal(produce_lines("lines", "{\"value\":\"x\",\"partition\":3}\n", &err),
	                 TIDE_ERR_USAGE);
	assert_non_null(strstr(err.text, "no partition 3"));
	/* What came before a fault is produced. */
	struct reader r = { 0 };
	reader_open(&r, "lines");
	discover(&r);
	ends(&r);
	assert_int_equal(r.parts[0]->end, (int64_t)(sizeof wrong / sizeof wrong[0]));
	reader_close(&r);
}

static int start_broker(void **state)
{
	struct tide_error err;
	(void)state;
	return tide_broker_start(&broker, &err);
}

static int stop_broker(void **state)
{
	(void)state;
	tide_broker_stop(broker);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_record_comes_once_and_in_order),
		cmocka_unit_test(spent_records_are_freed_by_who_made_them),
		cmocka_unit_test(a_range_gives_no_record_beyond_it),
		cmocka_unit_test(a_partition_can_be_placed_again),
		cmocka_unit_test(bytes_arrive_as_they_were_sent),
		cmocka_unit_test(an_end_grows_without_a_new_question),
		cmocka_unit_test(fetches_run_beside_the_coordinator),
		cmocka_unit_test(a_partition_is_quiet_until_something_comes),
		cmocka_unit_test(a_pattern_finds_topics_that_come_later),
		cmocka_unit_test(a_missing_topic_is_created_when_asked),
		cmocka_unit_test(positions_become_offsets),
		cmocka_unit_test(a_recreated_topic_is_told_by_its_last_record),
		cmocka_unit_test(a_fingerprint_tells_null_from_empty),
		cmocka_unit_test(a_loss_is_told_with_its_options),
		cmocka_unit_test(an_absent_broker_is_named_in_time),
		cmocka_unit_test(a_secret_is_never_told),
		cmocka_unit_test(a_wrong_property_is_refused_and_a_harmful_one_ignored),
		cmocka_unit_test(an_answer_has_room_for_many_partitions),
		cmocka_unit_test(many_partitions_are_fetched_less_far_ahead),
		cmocka_unit_test(a_lost_broker_is_told_and_closing_still_ends),
		cmocka_unit_test(a_wrong_line_is_named),
	};
	return cmocka_run_group_tests(tests, start_broker, stop_broker);
}
