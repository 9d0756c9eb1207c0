/* SPDX-License-Identifier: Apache-2.0 */
/* Spent records in piles, by broker: any thread puts one on top, its broker's takes all. */
#include "source/spent.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	BROKERS = 16, /* by a broker's id; two in one place only cost time */
	FEW = 64,
	HELD_MAX = 8 << 20, /* of one place: some answers */
	RECORD_BYTES = 320, /* that librdkafka adds */
	FETCH = 1           /* Kafka's number of that request */
};

struct pile {
	struct pile *below;
	size_t bytes;
	int count;
	rd_kafka_message_t *records[];
};

struct place {
	_Atomic(struct pile *) top;
	atomic_size_t bytes;
};

struct tide_spent {
	struct place places[BROKERS];
};

static void destroy(rd_kafka_message_t *const *records, int count)
{
	for (int i = 0; i < count; i++)
		rd_kafka_message_destroy(records[i]);
}

static void place_empty(struct place *place)
{
	struct pile *pile = atomic_exchange(&place->top, NULL);
	while (pile != NULL) {
		struct pile *below = pile->below;
		atomic_fetch_sub(&place->bytes, pile->bytes);
		destroy(pile->records, pile->count);
		free(pile);
		pile = below;
	}
}

static struct place *place_of(struct tide_spent *spent, int32_t broker)
{
	return &spent->places[(uint32_t)broker % BROKERS];
}

/* Runs in a broker's thread. */
static rd_kafka_resp_err_t on_answer(rd_kafka_t *rk, int sockfd, const char *name, int32_t broker,
                                     int16_t request, int16_t version, int32_t id, size_t size,
                                     int64_t rtt, rd_kafka_resp_err_t code, void *spent)
{
	(void)rk, (void)sockfd, (void)name, (void)version, (void)id, (void)size, (void)rtt;
	(void)code;
	if (request == FETCH)
		place_empty(place_of(spent, broker));
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *spent,
                                  char *why, size_t size)
{
	(void)conf, (void)why, (void)size;
	return rd_kafka_interceptor_add_on_response_received(rk, "spent", on_answer, spent);
}

struct tide_spent *tide_spent_new(void)
{
	return calloc(1, sizeof(struct tide_spent));
}

void tide_spent_drain(struct tide_spent *spent)
{
	for (int i = 0; i < BROKERS; i++)
		place_empty(&spent->places[i]);
}

void tide_spent_free(struct tide_spent *spent)
{
	assert(spent == NULL || tide_spent_held(spent) == 0);
	free(spent);
}

void tide_spent_conf(struct tide_spent *spent, rd_kafka_conf_t *conf)
{
	rd_kafka_conf_interceptor_add_on_new(conf, "spent", on_new, spent);
}

void tide_spent_add(struct tide_spent *spent, rd_kafka_message_t *const *records, int count)
{
	assert(spent != NULL && count >= 0);
	if (count < FEW) {
		destroy(records, count);
		return;
	}
	struct place *place = place_of(spent, rd_kafka_message_broker_id(records[0]));
	size_t bytes = 0;
	for (int i = 0; i < count; i++)
		bytes += records[i]->len + records[i]->key_len + RECORD_BYTES;
	struct pile *pile = atomic_load(&place->bytes) + bytes > HELD_MAX
	                            ? NULL
	                            : malloc(sizeof *pile + (size_t)count * sizeof records[0]);
	if (pile == NULL) {
		destroy(records, count);
		return;
	}
	pile->bytes = bytes;
	pile->count = count;
	memcpy(pile->records, records, (size_t)count * sizeof records[0]);
	atomic_fetch_add(&place->bytes, bytes);
	pile->below = atomic_load(&place->top);
	while (!atomic_compare_exchange_weak(&place->top, &pile->below, pile))
		;
}

size_t tide_spent_held(struct tide_spent *spent)
{
	size_t bytes = 0;
	for (int i = 0; i < BROKERS; i++)
		bytes += atomic_load(&spent->places[i].bytes);
	return bytes;
}
