/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker keeps for the sink, and what its refusals mean. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink/kafka_inside.h"

/* The newest of what there is: a topic of the rows may have become the place of
 * the memory after another. */
static void read_list(struct tide_kafka_memory *memory, const rd_kafka_topic_partition_list_t *list)
{
	for (int i = 0; i < list->cnt; i++) {
		char text[128];
		int64_t epoch;
		uint64_t writer;
		const rd_kafka_topic_partition_t *at = &list->elems[i];
		if (at->metadata == NULL || at->metadata_size >= sizeof text)
			continue;
		memcpy(text, at->metadata, at->metadata_size);
		text[at->metadata_size] = '\0';
		if (sscanf(text, "tidemark epoch=%" SCNd64 " writer=%" SCNx64, &epoch, &writer) !=
		            2 ||
		    epoch < memory->epoch)
			continue;
		memory->epoch = epoch;
		memory->writer = writer;
		snprintf(memory->topic, sizeof memory->topic, "%s", at->topic);
	}
}

static rd_kafka_resp_err_t read_event(struct tide_kafka_memory *memory, rd_kafka_event_t *event)
{
	size_t count = 0;
	rd_kafka_resp_err_t code = rd_kafka_event_error(event);
	if (code != 0)
		return code;
	const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
		rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
	if (count != 1)
		return RD_KAFKA_RESP_ERR__BAD_MSG;
	const rd_kafka_error_t *error = rd_kafka_group_result_error(groups[0]);
	if (error != NULL)
		return rd_kafka_error_code(error);
	const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(groups[0]);
	for (int i = 0; list != NULL && i < list->cnt; i++)
		if (list->elems[i].err != 0)
			return list->elems[i].err;
	if (list != NULL)
		read_list(memory, list);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* One request for all that the group has, so that a memory on a topic that this
 * run does not write to is found as well. Stable: it waits for a transaction. */
rd_kafka_resp_err_t tide_kafka_memory_read(rd_kafka_t *rk, const char *group, int timeout_ms,
                                           struct tide_kafka_memory *memory)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
	rd_kafka_ListConsumerGroupOffsets_t *request =
		rd_kafka_ListConsumerGroupOffsets_new(group, NULL);
	rd_kafka_error_t *error = rd_kafka_AdminOptions_set_require_stable_offsets(options, 1);
	*memory = (struct tide_kafka_memory){ .epoch = -1 };
	if (error != NULL)
		rd_kafka_error_destroy(error);
	rd_kafka_AdminOptions_set_request_timeout(options, TIDE_CLIENT_PATIENT_MS, NULL, 0);
	rd_kafka_ListConsumerGroupOffsets(rk, &request, 1, options, queue);
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms);
	rd_kafka_resp_err_t code =
		event != NULL ? read_event(memory, event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
	if (event != NULL)
		rd_kafka_event_destroy(event);
	rd_kafka_ListConsumerGroupOffsets_destroy(request);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_queue_destroy(queue);
	return code;
}

rd_kafka_topic_partition_list_t *tide_kafka_memory_list(const struct tide_kafka_memory *memory)
{
	char text[96];
	int len = snprintf(text, sizeof text, "tidemark epoch=%" PRId64 " writer=%" PRIx64,
	                   memory->epoch, memory->writer);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(list, memory->topic, 0);
	/* For people who look at the group: no offset of the topic. */
	at->offset = memory->epoch < 0 ? 0 : memory->epoch;
	at->metadata = strdup(text); /* librdkafka frees it with the list. */
	at->metadata_size = at->metadata != NULL ? (size_t)len : 0;
	return list;
}

const char *tide_kafka_advice(rd_kafka_resp_err_t code)
{
	switch (code) {
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		return "raise max.message.bytes of the topic (message.max.bytes of the broker), or "
		       "make the rows smaller";
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		return "create the topic (kafka-topics.sh --create --topic …)";
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		return "the user needs Write, Describe and for exactly-once Read on the topic";
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		return "the user needs IdempotentWrite on the cluster";
	case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
		return "the user needs Write and Describe on transactional ids that begin with "
		       "\"tidemark.\", or set exactly_once = false";
	case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
		return "the user needs Read on groups that begin with \"tidemark.\", or set "
		       "exactly_once = false";
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
		return "a compacted topic takes no record without a key: set key = \"column\"";
	case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
		return "the record's timestamp is further from now than "
		       "message.timestamp.difference.max.ms of the topic allows";
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION: return "a policy of the broker forbids it";
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION: return "it is no name for a topic";
	case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
		return "lower it with -X transaction.timeout.ms=…, or raise "
		       "transaction.max.timeout.ms of the broker";
	default: return NULL;
	}
}
