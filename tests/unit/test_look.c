/* SPDX-License-Identifier: Apache-2.0 */
/* Verifying many partitions: each by itself, and all with a few requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "broker/broker.h"
#include "broker/produce.h"
#include "source/kafka.h"
#include "source/settings.h"

enum { PARTS = 700, EACH = 2, DEADLINE_US = 60 * 1000 * 1000 };

static struct tide_broker *broker;
static struct tide_options options;
static struct tide_source *src;
static struct tide_source_part **parts;
static int count;
static struct tide_error err;
static int assigned, asked; /* how often, since they were set to 0 */

/* Where our objects call these (the Makefile says so), it is these that are called. */
rd_kafka_error_t *__real_rd_kafka_incremental_assign(rd_kafka_t *rk,
                                                     const rd_kafka_topic_partition_list_t *list);
rd_kafka_error_t *__wrap_rd_kafka_incremental_assign(rd_kafka_t *rk,
                                                     const rd_kafka_topic_partition_list_t *list);
rd_kafka_resp_err_t __real_rd_kafka_offsets_for_times(rd_kafka_t *rk,
                                                      rd_kafka_topic_partition_list_t *list,
                                                      int timeout_ms);
rd_kafka_resp_err_t __wrap_rd_kafka_offsets_for_times(rd_kafka_t *rk,
                                                      rd_kafka_topic_partition_list_t *list,
                                                      int timeout_ms);

rd_kafka_error_t *__wrap_rd_kafka_incremental_assign(rd_kafka_t *rk,
                                                     const rd_kafka_topic_partition_list_t *list)
{
	assigned++;
	return __real_rd_kafka_incremental_assign(rk, list);
}

rd_kafka_resp_err_t __wrap_rd_kafka_offsets_for_times(rd_kafka_t *rk,
                                                      rd_kafka_topic_partition_list_t *list,
                                                      int timeout_ms)
{
	asked += timeout_ms > 0; /* Who does not wait for the answer does not want it. */
	return __real_rd_kafka_offsets_for_times(rk, list, timeout_ms);
}

static void produce(int64_t records)
{
	int64_t produced;
	struct tide_produce_options o = { .brokers = tide_broker_address(broker),
		                          .topic = "many",
		                          .generator = "text",
		                          .count = records,
		                          .seed = 7,
		                          .quiet = true };
	if (tide_produce(&o, &produced, &err) != TIDE_OK)
		fail_msg("%s", err.text);
}

/* Reads all, so that every partition has the fingerprint of its last record. */
static void read_all(void)
{
	struct tide_ring *ring = tide_ring_new();
	int64_t until = tide_clock_mono_us() + DEADLINE_US;
	for (int i = 0; i < count; i++)
		parts[i]->next = 0;
	assert_int_equal(src->ops->seek(src, parts, count, &err), TIDE_OK);
	for (int i = 0; i < count; i++)
		while (parts[i]->next < EACH && tide_clock_mono_us() < until) {
			struct tide_batch *batch = tide_ring_next(ring, "many", i);
			if (src->ops->fetch(src, parts[i], EACH, 100, batch, &err) != TIDE_OK)
				fail_msg("%s", err.text);
			if (batch->count > 0)
				parts[i]->print =
					tide_fingerprint_of(&batch->recs[batch->count - 1]);
		}
	tide_ring_free(ring);
	for (int i = 0; i < count; i++)
		assert_int_equal(parts[i]->print.offset, EACH - 1);
}

static int set_up(void **state)
{
	(void)state;
	if (tide_broker_start(&broker, &err) != TIDE_OK ||
	    tide_broker_topic(broker, "many", PARTS, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	produce((int64_t)PARTS * EACH);
	tide_option_set(&options, "brokers", tide_broker_address(broker));
	tide_option_set(&options, "topics", "many");
	if (tide_kafka_open(&options, &src, &err) != TIDE_OK ||
	    src->ops->discover(src, &parts, &count, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	assert_int_equal(count, PARTS);
	read_all();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	src->ops->close(src);
	tide_options_fini(&options);
	free(parts);
	tide_broker_stop(broker);
	return 0;
}

static void each_of_many_partitions_is_judged_by_itself_and_few_requests_are_made(void **state)
{
	(void)state;
	static struct tide_loss losses[PARTS];
	assigned = asked = 0;
	for (int i = 0; i < count; i++) {
		assert_int_equal(parts[i]->partition, i);
		parts[i]->print.hash ^= i % 7 == 1;
		parts[i]->next += i % 7 == 2;
		if (i % 7 == 3)
			parts[i]->print.offset = -1;
		parts[i]->print.timestamp_ms += i % 7 == 4;
		/* As after a loss: the fingerprint is ahead of where it goes on. */
		if (i % 7 == 5)
			parts[i]->next = 0;
	}
	if (src->ops->verify(src, parts, count, losses, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	for (int i = 0; i < count; i++) {
		int kind = i % 7;
		bool other = kind == 1 || kind == 2 || kind == 4;
		if (losses[i].kind != (other ? TIDE_LOSS_RECREATED : TIDE_LOSS_NONE))
			fail_msg("%d is said to be %d", i, (int)losses[i].kind);
		assert_int_equal(losses[i].from, parts[i]->next);
		assert_int_equal(losses[i].to, other ? 0 : parts[i]->next);
	}
	/* One by one it would be 400 of the first and 1,400 of the second. */
	assert_in_range(assigned, 1, 8);
	assert_in_range(asked, 2, 16);
	/* And again, after the first look has let them go. */
	if (src->ops->verify(src, parts, count, losses, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	assert_int_equal(losses[0].kind, TIDE_LOSS_NONE);
	assert_int_equal(losses[1].kind, TIDE_LOSS_RECREATED);
	for (int i = 0; i < count; i++) {
		parts[i]->print.hash ^= i % 7 == 1;
		parts[i]->print.timestamp_ms -= i % 7 == 4;
		parts[i]->print.offset = EACH - 1;
		parts[i]->next = EACH;
	}
}

static void one_that_cannot_be_verified_is_named(void **state)
{
	(void)state;
	static struct tide_loss losses[PARTS];
	parts[500]->partition = PARTS + 3;
	assert_int_equal(src->ops->verify(src, parts, count, losses, &err), TIDE_ERR_UNAVAILABLE);
	parts[500]->partition = 500;
	if (strstr(err.text, "verifying many-703: ") == NULL)
		fail_msg("%s", err.text);
	assert_int_equal(parts[0]->end, EACH);
	assert_int_equal(src->ops->verify(src, parts, count, losses, &err), TIDE_OK);
	for (int i = 0; i < count; i++)
		assert_int_equal(losses[i].kind, TIDE_LOSS_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			each_of_many_partitions_is_judged_by_itself_and_few_requests_are_made),
		cmocka_unit_test(one_that_cannot_be_verified_is_named),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
