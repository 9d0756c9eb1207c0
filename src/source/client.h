/* SPDX-License-Identifier: Apache-2.0 */
/* One librdkafka client: made from the settings, with its log said once per
 * reason, its troubles kept as sentences, and an end that cannot hang. */
#ifndef TIDE_SOURCE_CLIENT_H
#define TIDE_SOURCE_CLIENT_H

#include <stdbool.h>

#include "source/settings.h"

struct tide_client; /* Opaque. */

/* May be NULL or return NULL; called on the rd_kafka_conf_t before it is used,
 * to add callbacks or settings of the caller's own. */
typedef int tide_client_prepare(rd_kafka_conf_t *conf, void *opaque, struct tide_error *err);

/* Of requests to the coordinator of a group, the longest that librdkafka takes. One that
 * it gives up itself and that finds the coordinator after all ends the process (an
 * assertion, up to 2.12 at least): so who asks stops waiting, and it never does. */
enum { TIDE_CLIENT_PATIENT_MS = 3600000 };

int tide_client_open(struct tide_client **out, enum tide_kafka_role role,
                     const struct tide_options *options, int partitions,
                     tide_client_prepare *prepare, void *opaque, struct tide_error *err);
/* Waits at most deadline_ms for librdkafka, then leaves it behind: 2.0.2 can
 * hang for ever when its broker is gone. True when all was freed. */
bool tide_client_close(struct tide_client *client, int deadline_ms);

rd_kafka_t *tide_client_handle(const struct tide_client *client);
/* What tide_client_open was given as `opaque`, for callbacks. */
void *tide_client_opaque(const rd_kafka_t *rk);

/* Serve callbacks without waiting. */
void tide_client_poll(struct tide_client *client);
/* Is no broker answering, or was the client refused? Fills err with the broker,
 * what happened and what to check; TIDE_OK while all is well. */
int tide_client_trouble(struct tide_client *client, struct tide_error *err);
/* A broker answered: forget the trouble. */
void tide_client_well(struct tide_client *client);
/* The error of a request that failed with `code`, as a sentence like those of
 * trouble. `what` is "reading offsets". Returns TIDE_ERR_UNAVAILABLE or what
 * fits the code better. */
int tide_client_fail(struct tide_client *client, rd_kafka_resp_err_t code, const char *what,
                     struct tide_error *err);
/* How many connections were lost and requests timed out so far: after one, a
 * request may have reached its broker twice, or late. Those that librdkafka logs
 * count; with log.connection.close = true and log_level = 6 that is all of them
 * but idle connections that the broker closes. */
unsigned tide_client_failures(const struct tide_client *client);
/* True when waiting longer cannot help: wrong password, certificate, version. */
bool tide_client_refused(struct tide_client *client);
/* Calls `away` on a thread of librdkafka's when a broker says that a partition is not
 * its own (any more), before anything else of that partition arrives. To be set in
 * `prepare`, with tide_client_watch_conf. */
typedef void tide_client_away(void *opaque, const char *topic, int32_t partition);
void tide_client_watch(struct tide_client *client, tide_client_away *away);
/* librdkafka says so in its debug log only. */
bool tide_client_watch_conf(rd_kafka_conf_t *conf);
/* The brokers that answered advertise these: for the advertised-host hint. */
void tide_client_advertised(struct tide_client *client, const rd_kafka_metadata_t *meta);

#endif
