/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a topic that is missing, as the broker allows it. */
#ifndef TIDE_SOURCE_CREATE_H
#define TIDE_SOURCE_CREATE_H

#include "source/client.h"

/* By request, with so many partitions; `why` is what the broker said against it.
 * RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE where it knows no such request. */
rd_kafka_resp_err_t tide_topic_request(struct tide_client *client, const char *name, int partitions,
                                       char *why, size_t size);

/* By asking about it: a broker that makes topics by itself (auto.create.topics.enable)
 * does so, with its own number of partitions, and it shows up in a moment. `options`
 * are those of a client. TIDE_OK says nothing of whether it was made. */
int tide_topic_ask(const struct tide_options *options, const char *name, struct tide_error *err);

/* Calls `take` for each setting of a topic that has a value. False when the broker
 * does not answer in time; *known says whether it told them, for which an account
 * needs DescribeConfigs. */
typedef void tide_topic_setting(void *arg, const char *name, const char *value);
bool tide_topic_settings(struct tide_client *client, const char *name, int timeout_ms,
                         tide_topic_setting *take, void *arg, bool *known);

#endif
