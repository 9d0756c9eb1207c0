/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a topic that is missing, as the broker allows it, and reads the settings of
 * one that is there. */
#include "source/create.h"

#include <stdio.h>
#include <string.h>

#include "source/settings.h"

enum { CREATE_MS = 15000 };

int tide_topic_ask(const struct tide_options *given, const char *name, struct tide_error *err)
{
	struct tide_options options = { 0 };
	struct tide_client *asker = NULL;
	const rd_kafka_metadata_t *meta = NULL;
	bool ok = tide_option_set(&options, "brokers", tide_kafka_brokers(given));
	for (int i = 0; i < given->count && ok; i++)
		if (strncmp(given->items[i].key, "rdkafka.", 8) == 0)
			ok = tide_option_set(&options, given->items[i].key, given->items[i].value);
	ok = ok && tide_option_set(&options, "rdkafka.allow.auto.create.topics", "true");
	int rc = ok ? tide_client_open(&asker, TIDE_KAFKA_PRODUCE, &options, 0, NULL, NULL, err)
	            : tide_fail(err, TIDE_ERR_NOMEM, "topic %s", name);
	if (rc == TIDE_OK) {
		rd_kafka_topic_t *handle =
			rd_kafka_topic_new(tide_client_handle(asker), name, NULL);
		rd_kafka_resp_err_t code =
			rd_kafka_metadata(tide_client_handle(asker), 0, handle, &meta, CREATE_MS);
		if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
			rc = tide_client_fail(asker, code, "creating a topic", err);
		else
			rd_kafka_metadata_destroy(meta);
		rd_kafka_topic_destroy(handle);
	}
	tide_client_close(asker, 1000);
	tide_options_fini(&options);
	return rc;
}

rd_kafka_resp_err_t tide_topic_request(struct tide_client *client, const char *name, int partitions,
                                       char *why, size_t size)
{
	rd_kafka_t *rk = tide_client_handle(client);
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, -1, why, size);
	if (topic == NULL)
		return RD_KAFKA_RESP_ERR__INVALID_ARG;
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_AdminOptions_set_request_timeout(options, CREATE_MS, NULL, 0);
	rd_kafka_AdminOptions_set_operation_timeout(options, CREATE_MS, NULL, 0);
	rd_kafka_CreateTopics(rk, &topic, 1, options, queue);
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CREATE_MS + 1000);
	if (event != NULL) {
		size_t count = 0;
		code = rd_kafka_event_error(event);
		snprintf(why, size, "%s", code != 0 ? rd_kafka_event_error_string(event) : "");
		const rd_kafka_topic_result_t **made =
			code == 0 ? rd_kafka_CreateTopics_result_topics(
					    rd_kafka_event_CreateTopics_result(event), &count)
				  : NULL;
		if (count == 1) {
			code = rd_kafka_topic_result_error(made[0]);
			const char *text = rd_kafka_topic_result_error_string(made[0]);
			snprintf(why, size, "%s", text != NULL ? text : rd_kafka_err2str(code));
		}
		rd_kafka_event_destroy(event);
	}
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_queue_destroy(queue);
	rd_kafka_NewTopic_destroy(topic);
	return code;
}

static void take_settings(const rd_kafka_ConfigResource_t *resource, tide_topic_setting *take,
                          void *arg)
{
	size_t count = 0;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
	for (size_t i = 0; i < count; i++)
		if (rd_kafka_ConfigEntry_value(entries[i]) != NULL)
			take(arg, rd_kafka_ConfigEntry_name(entries[i]),
			     rd_kafka_ConfigEntry_value(entries[i]));
}

bool tide_topic_settings(struct tide_client *client, const char *name, int timeout_ms,
                         tide_topic_setting *take, void *arg, bool *known)
{
	rd_kafka_t *rk = tide_client_handle(client);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	rd_kafka_ConfigResource_t *resource =
		rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
	rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, NULL, 0);
	rd_kafka_DescribeConfigs(rk, &resource, 1, options, queue);
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms + 100);
	bool answered = event != NULL && rd_kafka_event_error(event) == 0;
	size_t count = 0;
	const rd_kafka_ConfigResource_t **found =
		answered ? rd_kafka_DescribeConfigs_result_resources(
				   rd_kafka_event_DescribeConfigs_result(event), &count)
			 : NULL;
	*known = count == 1 && rd_kafka_ConfigResource_error(found[0]) == 0;
	if (*known)
		take_settings(found[0], take, arg);
	if (event != NULL)
		rd_kafka_event_destroy(event);
	rd_kafka_ConfigResource_destroy(resource);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_queue_destroy(queue);
	return answered;
}
