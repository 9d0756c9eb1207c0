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
	struct tide_kafka_topics topics;
	struct tide_options client;
	struct tide_buf text;
	const char *name;
	bool compressed; /* how many bytes a record takes is not known before */
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
	tide_kafka_topics_close(&kafka->topics);
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
		.failed = options->failed,
	};
	snprintf(kafka->id, sizeof kafka->id, "tidemark.%016llx.%s",
	         (unsigned long long)options->checkpoint_id, kafka->name);
	int rc = tide_kafka_link_open(&kafka->link, &link, err);
	if (rc == TIDE_OK && link.topic != NULL) {
		struct tide_slice topic = { link.topic, strlen(link.topic) };
		const struct tide_kafka_topic *found;
		rc = tide_kafka_topics_find(&kafka->topics, kafka->link, kafka->name,
		                            &kafka->client, topic, &found, err);
	}
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
	kafka->compressed = options->client != NULL &&
	                    (tide_option_get(options->client, "rdkafka.compression.type") ||
	                     tide_option_get(options->client, "rdkafka.compression.codec"));
	const char *partitions = tide_option_get(&options->output->options, "partitions");
	kafka->topics.partitions = partitions != NULL ? atoi(partitions) : 0;
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

static void kafka_resume(struct tide_sink *sink, int64_t epoch)
{
	tide_kafka_link_warm(((struct kafka *)sink)->link, epoch);
}

static int fail_memory(const struct kafka *kafka, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a record of sink %s", kafka->name);
}

/* ---- before the decision ---- */

/* What a batch of one record takes beside its key, value and headers. */
enum { BATCH_BYTES = 61, RECORD_BYTES = 40 };

static int check_size(struct kafka *kafka, const struct tide_kafka_places *places,
                      const struct tide_rows *rows, uint32_t row,
                      const struct tide_kafka_topic *topic, struct tide_error *err)
{
	struct tide_kafka_message msg;
	if (!tide_kafka_message_of(&kafka->shape, places, rows, row, &kafka->text, &msg))
		return fail_memory(kafka, err);
	if ((int64_t)msg.bytes + BATCH_BYTES <= topic->bytes_max)
		return TIDE_OK;
	return tide_fail(err, TIDE_ERR_FAILED,
	                 "a row makes a record of %zu bytes (key %.*s) and topic %s takes %lld; %s",
	                 msg.bytes, msg.key.len > 60 ? 60 : (int)msg.key.len,
	                 msg.key.p != NULL ? msg.key.p : "", topic->name,
	                 (long long)topic->bytes_max,
	                 tide_kafka_advice(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE));
}

/* More than the row's message can have. */
static size_t bytes_most(const struct tide_kafka_shape *shape,
                         const struct tide_kafka_places *places, const struct tide_rows *rows,
                         uint32_t row)
{
	int columns[TIDE_KAFKA_HEADERS_MAX + 2] = { places->key, places->value };
	size_t most = BATCH_BYTES + RECORD_BYTES;
	for (int i = 0; i < shape->header_count; i++)
		columns[2 + i] = places->headers[i];
	for (int i = 0; i < shape->header_count + 2; i++) {
		struct tide_cell cell = { .len = 0 };
		if (columns[i] >= 0)
			cell = tide_rows_cell(rows, row, columns[i]);
		most += 64 + TIDE_KAFKA_TOPIC_MAX + (cell.len > 0 ? (size_t)cell.len : 0);
	}
	return most + tide_json_row_bytes_max(&places->json, rows, row);
}

/* TIDE_ERR_FAILED: the topic does not take the row. `early`: this must be known
 * before the decision, so that bytes count as they are before compression. */
static int check_row(struct kafka *kafka, const struct tide_kafka_places *places,
                     const struct tide_rows *rows, uint32_t row,
                     const struct tide_kafka_topic *topic, bool early, struct tide_error *err)
{
	if (places->timestamp >= 0) {
		struct tide_cell time = tide_rows_cell(rows, row, places->timestamp);
		if (time.len >= 0 && time.i < 0)
			return tide_fail(err, TIDE_ERR_FAILED,
			                 "Kafka has no timestamps before 1970, and column %s is",
			                 kafka->shape.timestamp);
	}
	if (topic->compacted && (places->key < 0 || tide_rows_cell(rows, row, places->key).len < 0))
		return tide_fail(err, TIDE_ERR_FAILED,
		                 "topic %s is compacted and takes no record without a key: set "
		                 "key = \"column\" and let it not be null",
		                 topic->name);
	if (topic->bytes_max <= 0 || (kafka->compressed && !early) ||
	    bytes_most(&kafka->shape, places, rows, row) <= (size_t)topic->bytes_max)
		return TIDE_OK;
	return check_size(kafka, places, rows, row, topic, err);
}

static int not_decided(const struct kafka *kafka, struct tide_error *err)
{
	struct tide_error why = *err;
	return tide_fail(err, TIDE_ERR_FAILED,
	                 "sink %s: %s. Nothing was decided: the next start reads the same records",
	                 kafka->name, why.text);
}

static int tell_refused(struct kafka *kafka, const struct tide_kafka_places *places,
                        const struct tide_rows *rows, uint32_t row,
                        const struct tide_refuse *refuse, struct tide_error *err)
{
	struct tide_kafka_message msg;
	struct tide_slice names[TIDE_KAFKA_HEADERS_MAX];
	struct tide_refused refused = { .row = row, .reason = err->text };
	if (!tide_kafka_message_of(&kafka->shape, places, rows, row, &kafka->text, &msg))
		return fail_memory(kafka, err);
	for (int i = 0; i < kafka->shape.header_count; i++)
		names[i] = (struct tide_slice){ kafka->shape.headers[i].name,
			                        strlen(kafka->shape.headers[i].name) };
	refused.topic = msg.topic;
	refused.key = msg.key;
	refused.value = msg.value;
	refused.timestamp_ms = msg.timestamp_ms;
	refused.header_count = kafka->shape.header_count;
	refused.header_names = names;
	refused.header_values = msg.headers;
	return refuse->row(refuse->arg, &refused) ? TIDE_OK : fail_memory(kafka, err);
}

static int kafka_check(struct tide_sink *sink, const struct tide_rows *rows,
                       const struct tide_refuse *refuse, struct tide_error *err)
{
	struct kafka *kafka = (struct kafka *)sink;
	struct tide_kafka_places places;
	const struct tide_kafka_topic *topic = kafka->topics.items;
	struct tide_error why;
	int rc = tide_kafka_places_find(&places, &kafka->shape, tide_rows_schema(rows), err);
	uint32_t count = tide_rows_count(rows);
	for (uint32_t row = 0; rc == TIDE_OK && row < count; row++) {
		if (places.topic >= 0) {
			struct tide_cell cell = tide_rows_cell(rows, row, places.topic);
			struct tide_slice name = { cell.p, cell.len > 0 ? (size_t)cell.len : 0 };
			rc = tide_kafka_topics_find(&kafka->topics, kafka->link, kafka->name,
			                            &kafka->client, name, &topic, &why);
		}
		if (rc == TIDE_OK)
			rc = check_row(kafka, &places, rows, row, topic, refuse != NULL, &why);
		if (rc == TIDE_ERR_FAILED && refuse != NULL)
			rc = tell_refused(kafka, &places, rows, row, refuse, &why);
		else if (rc == TIDE_ERR_FAILED)
			rc = not_decided(kafka, &why);
		if (rc != TIDE_OK && err != NULL)
			*err = why;
	}
	tide_kafka_places_fini(&places);
	return rc;
}

/* ---- after it ---- */

struct filling {
	struct kafka *kafka;
	const struct tide_rows *rows;
};

static int fill(void *arg, struct tide_kafka_link *link, struct tide_error *err)
{
	struct filling *filling = arg;
	struct kafka *kafka = filling->kafka;
	struct tide_kafka_places places;
	struct tide_kafka_message msg;
	const struct tide_rows *rows = filling->rows;
	int rc = tide_kafka_places_find(&places, &kafka->shape, tide_rows_schema(rows), err);
	uint32_t count = tide_rows_count(rows);
	for (uint32_t row = 0; rc == TIDE_OK && row < count; row++) {
		if (tide_kafka_message_of(&kafka->shape, &places, rows, row, &kafka->text, &msg))
			rc = tide_kafka_link_send(link, &kafka->shape, &msg, err);
		else
			rc = fail_memory(kafka, err);
	}
	tide_kafka_places_fini(&places);
	return rc;
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
	.resume = kafka_resume,
	.check = kafka_check,
	.publish = kafka_publish,
	.close = kafka_close,
};
