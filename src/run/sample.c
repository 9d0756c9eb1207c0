/* SPDX-License-Identifier: Apache-2.0 */
/* Records to try a job on, from lines of text. */
#include "run/sample.h"

#include <assert.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/lines.h"

enum { TOPIC_MAX = 250 };

/* A name that a pattern like ^logs-.* fits: its plain beginning, or with more. */
static bool name_for(const char *pattern, char out[TOPIC_MAX])
{
	static const char *const more[] = { "", "sample", "1", "a" };
	size_t plain = strcspn(pattern + 1, "\\^$.[]|()*+?{}");
	regex_t regex;
	bool fits = false;
	if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		return false;
	for (size_t i = 0; !fits && i < sizeof more / sizeof more[0]; i++) {
		snprintf(out, TOPIC_MAX, "%.*s%s", (int)plain, pattern + 1, more[i]);
		fits = out[0] != '\0' && regexec(&regex, out, 0, NULL, 0) == 0;
	}
	regfree(&regex);
	return fits;
}

/* The topic of an input that gets the lines: the first that it names. */
static int topic_of(const struct tide_plan *plan, const struct tide_settings *settings, int input,
                    char out[TOPIC_MAX], struct tide_error *err)
{
	const char *topics = settings->topic != NULL
	                             ? settings->topic
	                             : tide_option_get(&plan->inputs[input].options, "topics");
	if (topics == NULL)
		return tide_fail(err, TIDE_ERR_USAGE, "the job names no topic; say --topic TOPIC");
	if (topics[0] == '^' && !name_for(topics, out))
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "no topic for the sample comes to mind that %s fits; say --topic "
		                 "TOPIC",
		                 topics);
	if (topics[0] != '^')
		snprintf(out, TOPIC_MAX, "%.*s", (int)strcspn(topics, ","), topics);
	return TIDE_OK;
}

static bool next_line(struct tide_slice *rest, struct tide_slice *line)
{
	if (rest->len == 0)
		return false;
	const char *end = memchr(rest->p, '\n', rest->len);
	size_t len = end != NULL ? (size_t)(end - rest->p) : rest->len;
	size_t taken = end != NULL ? len + 1 : len;
	*line = (struct tide_slice){ rest->p, len > 0 && rest->p[len - 1] == '\r' ? len - 1 : len };
	rest->p += taken;
	rest->len -= taken;
	return true;
}

static bool is_blank(struct tide_slice line)
{
	for (size_t i = 0; i < line.len; i++)
		if (line.p[i] != ' ' && line.p[i] != '\t')
			return false;
	return true;
}

static struct tide_message message_of(struct tide_lines *lines, struct tide_slice line)
{
	struct tide_message msg;
	if (!tide_lines_parse(lines, line.p, line.len, &msg))
		msg = (struct tide_message){ .value = line, .partition = -1 };
	if (msg.partition < 0)
		msg.partition = 0;
	return msg;
}

static int count_partitions(struct tide_lines *lines, struct tide_slice text, int *partitions,
                            struct tide_error *err)
{
	struct tide_slice line;
	*partitions = 1;
	for (int64_t number = 1; next_line(&text, &line); number++) {
		int32_t partition = is_blank(line) ? 0 : message_of(lines, line).partition;
		if (partition >= TIDE_SAMPLE_PARTITIONS_MAX)
			return tide_fail(err, TIDE_ERR_USAGE,
			                 "line %lld of the sample: partition %d; there may be %d",
			                 (long long)number, partition, TIDE_SAMPLE_PARTITIONS_MAX);
		if (partition >= *partitions)
			*partitions = partition + 1;
	}
	return TIDE_OK;
}

static bool add(struct tide_memory *memory, const char *topic, const struct tide_message *msg,
                int64_t number, int64_t now_ms)
{
	int64_t timestamp_ms = msg->timestamp_ms != 0 ? msg->timestamp_ms : now_ms;
	if (!tide_memory_add(memory, topic, msg->partition, msg->key, msg->value, timestamp_ms))
		return false;
	tide_memory_offset(memory, number);
	for (uint32_t i = 0; i < msg->header_count; i++)
		if (!tide_memory_header(memory, msg->headers[i].name, msg->headers[i].value))
			return false;
	return true;
}

static bool add_all(struct tide_memory *memory, struct tide_lines *lines, const char *topic,
                    struct tide_slice text, int64_t now_ms)
{
	struct tide_slice line;
	bool ok = true;
	for (int64_t number = 1; ok && next_line(&text, &line); number++) {
		if (is_blank(line))
			continue;
		struct tide_message msg = message_of(lines, line);
		ok = add(memory, topic, &msg, number, now_ms);
	}
	return ok;
}

int tide_sample_lines(const struct tide_plan *plan, const struct tide_settings *settings,
                      struct tide_slice text, int64_t now_ms, struct tide_memory **out,
                      struct tide_error *err)
{
	assert(text.p != NULL || text.len == 0);
	struct tide_lines *lines = tide_lines_new(-1, NULL);
	struct tide_memory *memory = NULL;
	char(*topics)[TOPIC_MAX] = calloc((size_t)plan->input_count + 1, sizeof *topics);
	int partitions = 1, rc = TIDE_OK;
	if (lines == NULL || topics == NULL)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the sample");
	if (rc == TIDE_OK)
		rc = count_partitions(lines, text, &partitions, err);
	if (rc == TIDE_OK && (memory = tide_memory_new(partitions)) == NULL)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the sample");
	for (int i = 0; rc == TIDE_OK && i < plan->input_count; i++) {
		bool had = false;
		rc = topic_of(plan, settings, i, topics[i], err);
		for (int before = 0; before < i; before++)
			had = had || strcmp(topics[before], topics[i]) == 0;
		if (rc == TIDE_OK && !had && !add_all(memory, lines, topics[i], text, now_ms))
			rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the sample");
	}
	tide_lines_free(lines);
	free(topics);
	if (rc != TIDE_OK)
		tide_memory_free(memory);
	else
		*out = memory;
	return rc;
}
