/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka sink: an epoch's rows become messages, and those one transaction. */
#include "sink/kafka.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink/kafka_inside.h"

struct kafka {
	struct tide_sink sink; /* first */
	struct tide_kafka_shape shape;
	struct tide_kafka_link *link;
	struct tide_options client;
	struct tide_buf text;
	const char *name;
	char id[TIDE_KAFKA_TOPIC_MAX + 64];
};

static bool copy_client(struct kafka *kafka, const struct tide_sink_options *options)
{
	const char *brokers = tide_option_get(&options->output->options, "brokers");
	bool ok = true;
	for (int i = 0; ok && options->client != NULL && i < options->client->count; i++)
		ok = tide_option_set(&kafka->client, options->client->items[i].key,
		                     options->client->items[i].value);
	return ok && (brokers == NULL || tide_option_set(&kafka->client, "brokers", brokers));
}

static void kafka_close(struct tide_sink *sink)
{
	struct kafka *kafka = (struct kafka *)sink;
	if (kafka == NULL)
		return;
	tide_kafka_link_close(kafka->link);
	tide_options_fini(&kafka->client);
	tide_buf_fini(&kafka->text);
	free(kafka);
}

static int open_link(struct kafka *kafka, const struct tide_sink_options *options,
                     struct tide_error *err)
{
	const char *exactly_once = tide_option_get(&options->output->options, "exactly_once");
	struct tide_kafka_link_options link = {
		.sink = kafka->name,
		.id = kafka->id,
		.topic = kafka->shape.topic,
		.transactions = exactly_once == NULL || strcmp(exactly_once, "false") != 0,
		.client = &kafka->client,
		.stop = options->stop,
	};
	snprintf(kafka->id, sizeof kafka->id, "tidemark.%016llx.%s",
	         (unsigned long long)options->checkpoint_id, kafka->name);
	int rc = tide_kafka_link_open(&kafka->link, &link, err);
	if (rc == TIDE_OK)
		kafka->sink.exactly_once = tide_kafka_link_exact(kafka->link);
	return rc;
}

static int kafka_open(struct tide_sink **out, const struct tide_sink_options *options,
                      struct tide_error *err)
{
	assert(options->output != NULL);
	struct kafka *kafka = calloc(1, sizeof *kafka);
	if (kafka == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a Kafka sink");
	kafka->sink.ops = &tide_kafka_sink_ops;
	kafka->name = options->output->name;
	int rc = tide_kafka_shape_read(&kafka->shape, &options->output->options, err);
	if (rc == TIDE_OK && !copy_client(kafka, options))
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for a Kafka sink");
	if (rc == TIDE_OK)
		rc = open_link(kafka, options, err);
	if (rc != TIDE_OK) {
		kafka_close(&kafka->sink);
		return rc;
	}
	*out = &kafka->sink;
	return TIDE_OK;
}

static int kafka_last_epoch(struct tide_sink *sink, int64_t *epoch, struct tide_error *err)
{
	(void)err;
	*epoch = tide_kafka_link_known(((struct kafka *)sink)->link);
	return TIDE_OK;
}

/* Each message of some rows goes to `use`. */
typedef int use_message(struct kafka *kafka, struct tide_kafka_link *link,
                        const struct tide_kafka_message *msg, struct tide_error *err);

static int each_message(struct kafka *kafka, struct tide_kafka_link *link,
                        const struct tide_rows *rows, use_message *use, struct tide_error *err)
{
	struct tide_kafka_places places;
	struct tide_kafka_message msg;
	int rc = tide_kafka_places_find(&places, &kafka->shape, tide_rows_schema(rows), err);
	uint32_t count = tide_rows_count(rows);
	for (uint32_t row = 0; rc == TIDE_OK && row < count; row++) {
		if (tide_kafka_message_of(&kafka->shape, &places, rows, row, &kafka->text, &msg))
			rc = use(kafka, link, &msg, err);
		else
			rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for a record of sink %s",
			               kafka->name);
	}
	tide_kafka_places_fini(&places);
	return rc;
}

static int send_message(struct kafka *kafka, struct tide_kafka_link *link,
                        const struct tide_kafka_message *msg, struct tide_error *err)
{
	return tide_kafka_link_send(link, &kafka->shape, msg, err);
}

struct filling {
	struct kafka *kafka;
	const struct tide_rows *rows;
};

static int fill(void *arg, struct tide_kafka_link *link, struct tide_error *err)
{
	struct filling *filling = arg;
	return each_message(filling->kafka, link, filling->rows, send_message, err);
}

static int kafka_publish(struct tide_sink *sink, int64_t epoch, const struct tide_rows *rows,
                         struct tide_error *err)
{
	struct kafka *kafka = (struct kafka *)sink;
	struct filling filling = { kafka, rows };
	return tide_kafka_link_publish(kafka->link, epoch, fill, &filling, err);
}

const struct tide_sink_ops tide_kafka_sink_ops = {
	.kind = "kafka",
	.modes = TIDE_MODE_APPEND | TIDE_MODE_UPDATE | TIDE_MODE_COMPLETE,
	.open = kafka_open,
	.last_epoch = kafka_last_epoch,
	.publish = kafka_publish,
	.close = kafka_close,
};
