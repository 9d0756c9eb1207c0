/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the Kafka source: for kafka.c, fetch.c, topics.c, offsets.c,
 * verify.c, look.c.
 *
 * Two clients. The one that fetches may have a request waiting at the end of
 * a log, and brokers answer a connection in order, so whatever must not wait
 * (metadata, offsets, the record of a fingerprint) goes through the other. */
#ifndef TIDE_SOURCE_KAFKA_INSIDE_H
#define TIDE_SOURCE_KAFKA_INSIDE_H

#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>

#include "source/client.h"
#include "source/nudge.h"
#include "source/source.h"
#include "source/spent.h"

enum {
	TIDE_KAFKA_TOPICS_MAX = 64, /* names and patterns in one option */
	TIDE_KAFKA_REQUEST_MS = 5000
};

struct kafka_part {
	struct tide_source_part pub; /* first: a part is also its public face */
	struct tide_kafka *kafka;
	rd_kafka_queue_t *queue;
	bool assigned;

	/* Guards the rest and pub's offsets: a fetch beside ends(). */
	pthread_mutex_t lock;
	/* Taken from the queue and not yet delivered: beyond `to`, or more than
	 * the batch had room for. Ascending. */
	rd_kafka_message_t *carry[TIDE_BATCH_RECORDS_MAX];
	int carry_first, carry_count;
	int64_t reached; /* librdkafka has handed over all below this */
	struct tide_nudge nudge;
	int64_t asked_us;        /* when the broker was last asked for the end */
	atomic_bool away;        /* the broker has sent us off: what comes is doubtful */
	bool lost;               /* out of range, or the log's end went back … */
	char why[160];           /* … and the sentence about it */
	struct tide_error error; /* another error from the queue, not yet returned */
};

struct kafka_topic {
	char *name;
	rd_kafka_topic_t *handle; /* makes metadata requests ask for it */
	int partitions;           /* that we know */
	bool missing, gone;
};

struct tide_kafka {
	struct tide_source src; /* first */
	struct tide_options options;
	struct tide_client *control, *data;
	struct tide_spent *spent; /* records of `data` */
	bool is_mock;
	bool discovered; /* once: what appears later starts at 0 */

	struct kafka_topic *topics;
	int topic_count;
	regex_t *patterns;
	char **pattern_texts;
	int pattern_count;
	int64_t reminded_us;

	struct kafka_part **parts; /* parts_lock: when it changes, and to look from … */
	int part_count;
	pthread_mutex_t parts_lock; /* … a thread of librdkafka's */

	/* wait(): set by librdkafka's threads. */
	pthread_mutex_t wake_lock;
	pthread_cond_t wake;
	atomic_bool woken;
	atomic_int waiting;

	/* To notice that fetching works again after a trouble. */
	atomic_uint_fast64_t fetched;
	uint64_t fetched_seen;
	int64_t pinged_us;

	rd_kafka_queue_t *mirror_queue;
	bool mirror_busy, mirror_off, mirror_warned;
	int64_t mirror_us, mirror_patience_us; /* sent when; 0: as for the first */
	int64_t mirrored; /* sum of the offsets last sent; -1: not all arrived */
};

/* topics.c */
int tide_kafka_topics_init(struct tide_kafka *kafka, struct tide_error *err);
void tide_kafka_topics_fini(struct tide_kafka *kafka);
int tide_kafka_preflight(struct tide_kafka *kafka, struct tide_error *err);
int tide_kafka_discover(struct tide_source *src, struct tide_source_part ***parts, int *count,
                        struct tide_error *err);
void tide_kafka_remind(struct tide_kafka *kafka);
/* Ask for metadata until it comes or the client is refused. */
int tide_kafka_metadata(struct tide_kafka *kafka, bool all, int timeout_ms,
                        const rd_kafka_metadata_t **meta, struct tide_error *err);

/* offsets.c */
int tide_kafka_ends(struct tide_source *src, struct tide_source_part **parts, int count,
                    struct tide_error *err);
int tide_kafka_starts(struct tide_source *src, struct tide_source_part **parts, int count,
                      struct tide_error *err);
int tide_kafka_resolve(struct tide_source *src, struct tide_source_part **parts, int count,
                       const char *position, int64_t *offsets, struct tide_error *err);
void tide_kafka_mirror(struct tide_source *src, struct tide_source_part **parts, int count);
void tide_kafka_mirror_poll(struct tide_kafka *kafka);
/* One ListOffsets for all: times in, offsets out in list->elems[i].offset. One partition's
 * error from the broker is that of all, and does not say whose it is. */
rd_kafka_resp_err_t tide_kafka_try_offsets(struct tide_kafka *kafka,
                                           rd_kafka_topic_partition_list_t *list);
int tide_kafka_list_offsets(struct tide_kafka *kafka, rd_kafka_topic_partition_list_t *list,
                            const char *what, struct tide_error *err);

/* retention.c */
bool tide_kafka_retention(struct tide_source *src, const char *topic, struct tide_retention *out);

/* verify.c */
int tide_kafka_verify(struct tide_source *src, struct tide_source_part **parts, int count,
                      struct tide_loss *losses, struct tide_error *err);

/* look.c */
enum tide_kafka_found { TIDE_FOUND_NONE, TIDE_FOUND_SAME, TIDE_FOUND_OTHER };

struct tide_kafka_look {
	struct tide_source_part *part; /* with the fingerprint to look for */
	enum tide_kafka_found found;
	/* While it is being looked at: */
	bool answered;
	rd_kafka_resp_err_t code;
};

/* What is there now at the offset of each part's fingerprint? */
int tide_kafka_look_again(struct tide_kafka *kafka, struct tide_kafka_look *looks, int count,
                          struct tide_error *err);

/* fetch.c */
void tide_kafka_away(void *arg, const char *topic, int32_t partition);
/* Is what lies at next another log's now, perhaps? With the lock. */
bool tide_kafka_doubtful(struct kafka_part *part);
int tide_kafka_fetch(struct tide_source *src, struct tide_source_part *part, int64_t to,
                     int timeout_ms, struct tide_batch *batch, struct tide_error *err);
/* Take what the queue has, without waiting, if nothing is carried. With the lock. */
void tide_kafka_carry_fill(struct kafka_part *part, int64_t most);
void tide_kafka_carry_drop(struct kafka_part *part);

#endif
