/* SPDX-License-Identifier: Apache-2.0 */
/* Records that are done with, on their way back to the thread that made them.
 *
 * librdkafka allocates each record in the thread of its broker. Freed by workers, all of
 * them meet in that thread's arena of malloc, at one lock, and sleep there, the broker's
 * thread with them: a sixth of a word count's time. So they are freed where they came
 * from, when its next answer arrives; few, or more than is good to hold, are freed by who
 * is done with them. */
#ifndef TIDE_SOURCE_SPENT_H
#define TIDE_SOURCE_SPENT_H

#include <librdkafka/rdkafka.h>
#include <stddef.h>

struct tide_spent;

/* NULL: no memory. */
struct tide_spent *tide_spent_new(void);

/* Frees what is held: when nobody adds any more, before the client goes, which waits for
 * its records. */
void tide_spent_drain(struct tide_spent *spent);
/* Drained, and behind the client that `conf` became. */
void tide_spent_free(struct tide_spent *spent);

/* The threads of the client that `conf` becomes will free what is spent. */
void tide_spent_conf(struct tide_spent *spent, rd_kafka_conf_t *conf);

/* Records of one partition, which nobody may use any more. From any thread. */
void tide_spent_add(struct tide_spent *spent, rd_kafka_message_t *const *records, int count);

/* About so many bytes wait to be freed. */
size_t tide_spent_held(struct tide_spent *spent);

#endif
