/* SPDX-License-Identifier: Apache-2.0 */
/* From rows to Kafka messages: topic, key, value, headers, timestamp. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "sink/cells.h"
#include "sink/kafka_inside.h"

static const char json[] = "json";

int tide_kafka_shape_read(struct tide_kafka_shape *shape, const struct tide_options *options,
                          struct tide_error *err)
{
	const char *value = tide_option_get(options, "value");
	*shape = (struct tide_kafka_shape){
		.topic = tide_option_get(options, "topic"),
		.key = tide_option_get(options, "key"),
		.timestamp = tide_option_get(options, "timestamp"),
		.columns = tide_option_get(options, "columns"),
	};
	if (value != NULL && strcmp(value, json) != 0)
		shape->value = tide_option_get(options, "value_column");
	for (int i = 1;; i++) {
		char key[24];
		snprintf(key, sizeof key, "header.%02d", i);
		const char *header = tide_option_get(options, key);
		if (header == NULL)
			return TIDE_OK;
		const char *colon = strchr(header, ':');
		if (i > TIDE_KAFKA_HEADERS_MAX || colon == NULL)
			return tide_fail(err, TIDE_ERR_USAGE, "a record gets at most %d headers",
			                 TIDE_KAFKA_HEADERS_MAX);
		shape->headers[i - 1].column = header;
		shape->headers[i - 1].column_len = (size_t)(colon - header);
		shape->headers[i - 1].name = colon + 1;
		shape->header_count = i;
	}
}

int tide_kafka_places_find(struct tide_kafka_places *places, const struct tide_kafka_shape *shape,
                           const struct tide_schema *schema, struct tide_error *err)
{
	const struct {
		const char *name;
		int *place;
	} wanted[] = {
		{ shape->topic == NULL ? "@topic" : NULL, &places->topic },
		{ shape->key, &places->key },
		{ shape->value, &places->value },
		{ shape->timestamp, &places->timestamp },
	};
	*places = (struct tide_kafka_places){ 0 };
	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
		const char *name = wanted[i].name;
		*wanted[i].place =
			name == NULL ? -1 : tide_json_row_column(schema, name, strlen(name), err);
		if (name != NULL && *wanted[i].place < 0)
			return TIDE_ERR_CHECKPOINT;
	}
	for (int i = 0; i < shape->header_count; i++) {
		places->headers[i] = tide_json_row_column(schema, shape->headers[i].column,
		                                          shape->headers[i].column_len, err);
		if (places->headers[i] < 0)
			return TIDE_ERR_CHECKPOINT;
	}
	return shape->value == NULL ? tide_json_row_init(&places->json, schema, shape->columns, err)
	                            : TIDE_OK;
}

void tide_kafka_places_fini(struct tide_kafka_places *places)
{
	tide_json_row_fini(&places->json);
}

/* Text and bytes as they are, everything else as JSON has it, without quotes.
 * What is made goes to `text`, and p is set once that no longer moves. */
static struct tide_slice plain(const struct tide_rows *rows, uint32_t row, int column,
                               struct tide_buf *text)
{
	enum tide_type type = tide_rows_schema(rows)->columns[column].type;
	struct tide_cell cell = tide_rows_cell(rows, row, column);
	if (cell.len < 0)
		return (struct tide_slice){ NULL, 0 };
	if (type == TIDE_STRING || type == TIDE_BYTES)
		return (struct tide_slice){ cell.len > 0 ? cell.p : "", (size_t)cell.len };
	size_t from = text->len;
	tide_cell_json(text, type, cell);
	if (text->failed)
		return (struct tide_slice){ "", 0 };
	bool quoted = text->p[from] == '"';
	return (struct tide_slice){ text->p + from + quoted, text->len - from - 2 * quoted };
}

static struct tide_slice json_of(const struct tide_kafka_places *places,
                                 const struct tide_rows *rows, uint32_t row, struct tide_buf *text)
{
	size_t from = text->len;
	tide_json_row_put(&places->json, rows, row, text);
	if (text->failed)
		return (struct tide_slice){ "", 0 };
	return (struct tide_slice){ text->p + from, text->len - from };
}

/* How many bytes the parts that are made can take at most, so that the buffer
 * does not move while slices point into it. */
static bool reserve(const struct tide_kafka_places *places, const struct tide_rows *rows,
                    uint32_t row, struct tide_buf *text)
{
	size_t most = 64 * (size_t)(TIDE_KAFKA_HEADERS_MAX + 3) +
	              tide_json_row_bytes_max(&places->json, rows, row);
	tide_buf_clear(text);
	return tide_buf_reserve(text, most);
}

bool tide_kafka_message_of(const struct tide_kafka_shape *shape,
                           const struct tide_kafka_places *places, const struct tide_rows *rows,
                           uint32_t row, struct tide_buf *text, struct tide_kafka_message *msg)
{
	if (!reserve(places, rows, row, text))
		return false;
	const char *start = text->p;
	*msg = (struct tide_kafka_message){ 0 };
	if (shape->topic != NULL)
		msg->topic = (struct tide_slice){ shape->topic, strlen(shape->topic) };
	else
		msg->topic = plain(rows, row, places->topic, text);
	if (places->key >= 0)
		msg->key = plain(rows, row, places->key, text);
	msg->value = shape->value != NULL ? plain(rows, row, places->value, text)
	                                  : json_of(places, rows, row, text);
	if (places->timestamp >= 0) {
		struct tide_cell cell = tide_rows_cell(rows, row, places->timestamp);
		/* 0 asks librdkafka for the time; nobody misses the first millisecond. */
		int64_t ms = cell.len < 0 ? 0 : cell.i / 1000;
		msg->timestamp_ms = cell.len < 0 ? 0 : ms == 0 ? 1 : ms;
	}
	msg->bytes = msg->key.len + msg->value.len;
	for (int i = 0; i < shape->header_count; i++) {
		msg->headers[i] = plain(rows, row, places->headers[i], text);
		msg->bytes += msg->headers[i].len + strlen(shape->headers[i].name);
	}
	assert(text->p == start);
	return !text->failed;
}
