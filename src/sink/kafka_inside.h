/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the Kafka sink: for kafka.c, kafka_link.c and kafka_shape.c. */
#ifndef TIDE_SINK_KAFKA_INSIDE_H
#define TIDE_SINK_KAFKA_INSIDE_H

#include "sink/sink.h"
#include "source/client.h"

enum { TIDE_KAFKA_HEADERS_MAX = 32, TIDE_KAFKA_TOPIC_MAX = 250 };

/* How rows become messages: columns by name, as the job said. All text
 * belongs to the plan. */
struct tide_kafka_shape {
	const char *topic;                   /* NULL: column "@topic" */
	const char *key, *value, *timestamp; /* columns; NULL: none (value: JSON) */
	const char *columns;                 /* "a,b": of the JSON; NULL: all */
	int header_count;
	struct {
		const char *column, *name;
		size_t column_len;
	} headers[TIDE_KAFKA_HEADERS_MAX];
};

/* The same as places in the rows that are being published; -1: none. */
struct tide_kafka_places {
	int topic, key, value, timestamp;
	int headers[TIDE_KAFKA_HEADERS_MAX];
	int json_count, json[TIDE_COLUMNS_MAX];
	struct tide_buf names; /* of the JSON: `{"a":`, `,"b":`, … */
	size_t name_at[TIDE_COLUMNS_MAX + 1];
};

/* One message; its bytes are good until the next. p == NULL: null. */
struct tide_kafka_message {
	struct tide_slice topic, key, value;
	struct tide_slice headers[TIDE_KAFKA_HEADERS_MAX];
	int64_t timestamp_ms; /* 0: the time of sending */
	size_t bytes;         /* of key, value and headers */
};

struct tide_kafka_link; /* a producer, its transactions and its memory */

struct tide_kafka_link_options {
	const char *sink;  /* its name, for texts */
	const char *id;    /* transactional.id and group of the memory */
	const char *topic; /* where the memory goes; NULL: a topic of the rows */
	bool transactions; /* unless the broker has none */
	const struct tide_options *client;
	const atomic_int *stop;
};

int tide_kafka_shape_read(struct tide_kafka_shape *shape, const struct tide_options *options,
                          struct tide_error *err);
int tide_kafka_places_find(struct tide_kafka_places *places, const struct tide_kafka_shape *shape,
                           const struct tide_schema *schema, struct tide_error *err);
void tide_kafka_places_fini(struct tide_kafka_places *places);
/* `text` is the memory for what is not in the rows as it is. False without memory. */
bool tide_kafka_message_of(const struct tide_kafka_shape *shape,
                           const struct tide_kafka_places *places, const struct tide_rows *rows,
                           uint32_t row, struct tide_buf *text, struct tide_kafka_message *msg);

/* Connects, and for `topic` waits a little until it is there. */
int tide_kafka_link_open(struct tide_kafka_link **out,
                         const struct tide_kafka_link_options *options, struct tide_error *err);
/* Are there transactions? */
bool tide_kafka_link_exact(const struct tide_kafka_link *link);
/* The epoch in its memory, or -1. */
int64_t tide_kafka_link_known(const struct tide_kafka_link *link);
/* The first transaction of a producer takes about a second: one that only
 * repeats the memory takes it before rows wait. Does not fail. */
void tide_kafka_link_warm(struct tide_kafka_link *link, int64_t epoch);
/* Does the topic exist? Asks the broker once for each. */
int tide_kafka_link_topic(struct tide_kafka_link *link, const char *topic, struct tide_error *err);

/* Calls put for each message of an epoch: `fill` is called with a function to
 * send through, and must do the same each time it is called. */
typedef int tide_kafka_send(struct tide_kafka_link *link, const struct tide_kafka_shape *shape,
                            const struct tide_kafka_message *msg, struct tide_error *err);
typedef int tide_kafka_fill(void *arg, struct tide_kafka_link *link, struct tide_error *err);
int tide_kafka_link_publish(struct tide_kafka_link *link, int64_t epoch, tide_kafka_fill *fill,
                            void *arg, struct tide_error *err);
int tide_kafka_link_send(struct tide_kafka_link *link, const struct tide_kafka_shape *shape,
                         const struct tide_kafka_message *msg, struct tide_error *err);
void tide_kafka_link_close(struct tide_kafka_link *link);

#endif
