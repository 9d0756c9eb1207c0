/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the Kafka sink: for kafka.c, kafka_link.c and kafka_shape.c. */
#ifndef TIDE_SINK_KAFKA_INSIDE_H
#define TIDE_SINK_KAFKA_INSIDE_H

#include "sink/json_row.h"
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
	struct tide_json_row json; /* the value, unless it is a column */
};

/* One message; its bytes are good until the next. p == NULL: null. */
struct tide_kafka_message {
	struct tide_slice topic, key, value;
	struct tide_slice headers[TIDE_KAFKA_HEADERS_MAX];
	int64_t timestamp_ms; /* 0: the time of sending */
	size_t bytes;         /* of key, value and headers */
};

/* Which epoch was published last, and by which process; epoch -1: none. It is
 * the metadata of a group's offset on partition 0 of `topic`. */
struct tide_kafka_memory {
	int64_t epoch;
	uint64_t writer;
	char topic[TIDE_KAFKA_TOPIC_MAX];
};

rd_kafka_resp_err_t tide_kafka_memory_read(rd_kafka_t *rk, const char *group, int timeout_ms,
                                           struct tide_kafka_memory *memory);
rd_kafka_topic_partition_list_t *tide_kafka_memory_list(const struct tide_kafka_memory *memory);
/* Where waiting does not help, what does; NULL: waiting may help. */
const char *tide_kafka_advice(rd_kafka_resp_err_t code);

struct tide_kafka_link; /* a producer, its transactions and its memory */

struct tide_kafka_link_options {
	const char *sink;  /* its name, for texts */
	const char *id;    /* transactional.id and group of the memory */
	const char *topic; /* where the memory goes; NULL: a topic of the rows */
	bool transactions; /* unless the broker has none */
	const struct tide_options *client;
	const atomic_int *stop, *failed; /* give up waiting soon; may be NULL */
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
/* There are none, although they were asked for. */
bool tide_kafka_link_fell_back(const struct tide_kafka_link *link);
/* The epoch in its memory, or -1. */
int64_t tide_kafka_link_known(const struct tide_kafka_link *link);
/* The first transaction of a producer takes about a second: one that only
 * repeats the memory takes it before rows wait. Does not fail. */
void tide_kafka_link_warm(struct tide_kafka_link *link, int64_t epoch);
/* Its client, connected; NULL when that fails. For requests beside transactions. */
struct tide_client *tide_kafka_link_client(struct tide_kafka_link *link, struct tide_error *err);
/* No batch may be larger: a topic says so. */
void tide_kafka_link_limit(struct tide_kafka_link *link, int64_t bytes);
/* Does somebody want to stop? */
bool tide_kafka_link_stopping(struct tide_kafka_link *link);

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

/* A topic that exists, and what it is known to refuse. */
struct tide_kafka_topic {
	char *name;
	int64_t bytes_max; /* of a record; 0: not known */
	bool compacted;    /* takes no record without a key */
};

/* Those that rows went to. All zeroes is none, and the broker makes what is missing. */
struct tide_kafka_topics {
	struct tide_kafka_topic *items;
	size_t count;
	bool silent;    /* the broker did not answer what it was asked about one */
	int partitions; /* of one that is made; 0: as many as the broker gives it */
};

/* Asks the broker once for each, makes one that is missing if the broker allows it,
 * and waits a little for it. */
int tide_kafka_topics_find(struct tide_kafka_topics *topics, struct tide_kafka_link *link,
                           const char *sink, const struct tide_options *client,
                           struct tide_slice name, const struct tide_kafka_topic **out,
                           struct tide_error *err);
void tide_kafka_topics_close(struct tide_kafka_topics *topics);

#endif
