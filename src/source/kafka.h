/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka source: assigned partitions, our own offsets, a queue to each.
 *
 * Options:
 *   topics           "a,b" or "^regex", or both in one list
 *   brokers          "host:port,…"; 127.0.0.1:39092 when not given
 *   group            whose committed offsets mirror our positions; none: no mirror
 *   profile          named in errors about the address
 *   create           "true": a missing topic is created, else waited for
 *   partitions       of a topic that is created (1)
 *   preflight        "false": open asks the broker nothing
 *   connect_timeout  how long open tries ("10s")
 *   prefetch_kbytes  memory for records fetched ahead, over all partitions
 *   rdkafka.*        librdkafka's properties; "@file" and "env:NAME" for secrets */
#ifndef TIDE_SOURCE_KAFKA_H
#define TIDE_SOURCE_KAFKA_H

#include "source/source.h"

/* The options are copied. TIDE_ERR_UNAVAILABLE, within the connect timeout,
 * when no broker answers. */
int tide_kafka_open(const struct tide_options *options, struct tide_source **out,
                    struct tide_error *err);

/* Of the librdkafka that is linked. */
const char *tide_kafka_version(void);

#endif
