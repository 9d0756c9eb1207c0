/* SPDX-License-Identifier: Apache-2.0 */
/* What every Kafka client of Tidemark is configured with: our table, then the
 * user's -X properties, with secrets read here and never shown. */
#ifndef TIDE_SOURCE_SETTINGS_H
#define TIDE_SOURCE_SETTINGS_H

#include <librdkafka/rdkafka.h>

#include "base/buf.h"
#include "base/error.h"
#include "record/plan.h"

enum tide_kafka_role {
	TIDE_KAFKA_FETCH,   /* carries the records */
	TIDE_KAFKA_CONTROL, /* metadata, offsets, one record for a fingerprint */
	TIDE_KAFKA_PRODUCE
};

/* Values that must not appear in any text. All zeroes is an empty list. */
struct tide_secrets {
	int count;
	char **items;
};

void tide_secrets_fini(struct tide_secrets *secrets);
/* Overwrite each secret in `text` with asterisks. */
void tide_secrets_hide(const struct tide_secrets *secrets, char *text);

/* Options read: brokers, group, prefetch_kbytes, and rdkafka.*; `partitions` is
 * how many share the prefetch memory (0: unknown). *secrets is added to. */
int tide_kafka_conf(const struct tide_options *options, enum tide_kafka_role role, int partitions,
                    rd_kafka_conf_t **out, struct tide_secrets *secrets, struct tide_error *err);

/* The settings in force for a role that are not librdkafka's defaults, a line
 * each, secrets masked: for benchmarks and -v. */
void tide_kafka_conf_print(rd_kafka_conf_t *conf, const struct tide_secrets *secrets,
                           struct tide_buf *out);

/* "127.0.0.1:39092" when nothing else is said. */
const char *tide_kafka_brokers(const struct tide_options *options);

#endif
