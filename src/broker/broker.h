/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded broker: librdkafka's mock cluster on loopback, in memory. It
 * keeps a few MB a partition and is not a database. */
#ifndef TIDE_BROKER_BROKER_H
#define TIDE_BROKER_BROKER_H

#include "base/error.h"

struct tide_broker;

int tide_broker_start(struct tide_broker **out, struct tide_error *err);
int tide_broker_topic(struct tide_broker *broker, const char *topic, int partitions,
                      struct tide_error *err);
const char *tide_broker_address(const struct tide_broker *broker); /* "127.0.0.1:41234" */
void tide_broker_stop(struct tide_broker *broker);

#endif
