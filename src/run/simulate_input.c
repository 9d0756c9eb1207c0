/* SPDX-License-Identifier: Apache-2.0 */
/* Records to simulate with. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "broker/lines.h"
#include "run/simulate_inside.h"

enum { GENERATED = 60, INPUT_MAX = 2000, WORDS_MAX = 64, WORD_LEN = 24, FILE_BYTES_MAX = 64 << 20 };

static const int64_t start_us = 1704067200000000; /* 2024-01-01 */

/* ---- random numbers ---- */

uint64_t tide_sim_next(struct tide_sim_random *random)
{
	uint64_t z = random->state += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint32_t tide_sim_below(struct tide_sim_random *random, uint32_t most)
{
	assert(most > 0);
	return (uint32_t)(tide_sim_next(random) >> 32) % most;
}

bool tide_sim_chance(struct tide_sim_random *random, uint32_t percent)
{
	return tide_sim_below(random, 100) < percent;
}

/* ---- the list ---- */

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory to simulate");
}

struct tide_sim_record *tide_sim_input_add(struct tide_sim_input *input, int part)
{
	struct tide_sim_record *grown =
		realloc(input->records, ((size_t)input->count + 1) * sizeof *grown);
	if (grown == NULL)
		return NULL;
	input->records = grown;
	struct tide_sim_record *record = &grown[input->count];
	*record = (struct tide_sim_record){ .part = part,
		                            .from = input->bytes.len,
		                            .to = input->bytes.len };
	record->times_us = calloc((size_t)input->plan->mark_count + 1, sizeof *record->times_us);
	if (record->times_us == NULL)
		return NULL;
	input->count++;
	return record;
}

void tide_sim_input_clear(struct tide_sim_input *input)
{
	for (int i = 0; i < input->count; i++)
		free(input->records[i].times_us);
	free(input->records);
	input->records = NULL;
	input->count = 0;
	tide_buf_clear(&input->bytes);
}

void tide_sim_input_fini(struct tide_sim_input *input)
{
	tide_sim_input_clear(input);
	for (int i = 0; i < input->part_count; i++)
		free(input->parts[i].topic);
	free(input->parts);
	tide_buf_fini(&input->bytes);
	tide_options_fini(&input->set);
	*input = (struct tide_sim_input){ 0 };
}

int tide_sim_input_part(struct tide_sim_input *input, int32_t number, const char *topic,
                        int32_t partition)
{
	for (int i = 0; i < input->part_count; i++)
		if (input->parts[i].partition == partition &&
		    strcmp(input->parts[i].topic, topic) == 0)
			return i;
	struct tide_recorded_part *grown =
		realloc(input->parts, ((size_t)input->part_count + 1) * sizeof *grown);
	if (grown == NULL)
		return -1;
	input->parts = grown;
	grown[input->part_count] = (struct tide_recorded_part){ number, strdup(topic), partition };
	return grown[input->part_count].topic != NULL ? input->part_count++ : -1;
}

struct tide_recorded tide_sim_record_of(const struct tide_sim_input *input, int record)
{
	const struct tide_sim_record *at = &input->records[record];
	struct tide_recorded rec;
	struct tide_reader in = tide_reader_of(input->bytes.p + at->from, at->to - at->from);
	bool there = tide_recorded_next(&in, &rec);
	assert(there);
	(void)there;
	return rec;
}

/* The topic of an input: the first that it names. */
static int topic_of(const struct tide_sim_input *input, int number, char *out, size_t size,
                    struct tide_error *err)
{
	const char *topics = input->options->topic;
	if (topics == NULL)
		topics = tide_option_get(&input->plan->inputs[number].options, "topics");
	if (topics == NULL || topics[0] == '^')
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "the job reads no topic by its name; say --topic TOPIC");
	snprintf(out, size, "%.*s", (int)strcspn(topics, ","), topics);
	return TIDE_OK;
}

/* ---- from a recording ---- */

static int take_record(struct tide_sim_input *input, int part, const struct tide_recorded *given,
                       struct tide_error *err)
{
	struct tide_recorded rec = *given;
	struct tide_slice name, value;
	if (input->count >= INPUT_MAX)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "%s holds more than the %d records that a simulation takes: "
		                 "record fewer, with -n",
		                 input->options->input_path, INPUT_MAX);
	struct tide_sim_record *record = tide_sim_input_add(input, part);
	if (record == NULL)
		return fail_memory(err);
	tide_recorded_begin(&input->bytes, 0, rec.timestamp_ms, rec.key, rec.value,
	                    rec.header_count);
	while (tide_recorded_header(&rec, &name, &value))
		tide_recorded_put_header(&input->bytes, name, value);
	record->to = input->bytes.len;
	return input->bytes.failed ? fail_memory(err) : TIDE_OK;
}

/* The records of a step by their time, each partition in its order. */
static int take_step(struct tide_sim_input *input, const struct tide_recorded_step *step,
                     const int *parts, struct tide_error *err)
{
	size_t count = (size_t)step->range_count + 1;
	struct tide_reader *readers = calloc(count, sizeof *readers);
	struct tide_recorded *heads = calloc(count, sizeof *heads);
	bool *there = calloc(count, sizeof *there);
	int rc = readers != NULL && heads != NULL && there != NULL ? TIDE_OK : fail_memory(err);
	for (int i = 0; rc == TIDE_OK && i < step->range_count; i++) {
		readers[i] = tide_reader_of(step->ranges[i].records.p, step->ranges[i].records.len);
		there[i] = parts[i] >= 0 && tide_recorded_next(&readers[i], &heads[i]);
	}
	while (rc == TIDE_OK) {
		int best = -1;
		for (int i = 0; i < step->range_count; i++)
			if (there[i] &&
			    (best < 0 || heads[i].timestamp_ms < heads[best].timestamp_ms))
				best = i;
		if (best < 0)
			break;
		rc = take_record(input, parts[best], &heads[best], err);
		there[best] = tide_recorded_next(&readers[best], &heads[best]);
	}
	free(readers);
	free(heads);
	free(there);
	return rc;
}

/* Two inputs of a job may have read one partition: then it is taken once. */
static int take_recording(struct tide_sim_input *input, const struct tide_recording *recording,
                          struct tide_error *err)
{
	int *parts = calloc((size_t)recording->part_count + 1, sizeof *parts), rc = TIDE_OK;
	if (parts == NULL)
		return fail_memory(err);
	for (int i = 0; rc == TIDE_OK && i < recording->part_count; i++) {
		int before = input->part_count;
		parts[i] = tide_sim_input_part(input, recording->parts[i].input,
		                               recording->parts[i].topic,
		                               recording->parts[i].partition);
		if (parts[i] < 0)
			rc = fail_memory(err);
		else if (input->part_count == before)
			parts[i] = -1;
	}
	for (int i = 0; rc == TIDE_OK && i < recording->set.count; i++)
		if (tide_option_get(&input->set, recording->set.items[i].key) == NULL &&
		    !tide_option_set(&input->set, recording->set.items[i].key,
		                     recording->set.items[i].value))
			rc = fail_memory(err);
	for (int s = 0; rc == TIDE_OK && s < recording->step_count; s++) {
		if (recording->steps[s].now_us > input->now_us)
			input->now_us = recording->steps[s].now_us;
		rc = take_step(input, &recording->steps[s], parts, err);
	}
	free(parts);
	return rc;
}

/* ---- from lines ---- */

static int take_line(struct tide_sim_input *input, struct tide_lines *lines, const char *topic,
                     int number, struct tide_slice line, struct tide_error *err)
{
	struct tide_message msg;
	if (!tide_lines_parse(lines, line.p, line.len, &msg))
		msg = (struct tide_message){ .value = line, .partition = -1 };
	if (msg.partition < 0)
		msg.partition = input->count % TIDE_SIM_PARTITIONS;
	int part = tide_sim_input_part(input, number, topic, msg.partition);
	struct tide_sim_record *record = part >= 0 ? tide_sim_input_add(input, part) : NULL;
	if (record == NULL)
		return fail_memory(err);
	tide_recorded_begin(&input->bytes, 0,
	                    msg.timestamp_ms != 0 ? msg.timestamp_ms
	                                          : start_us / 1000 + input->count,
	                    msg.key, msg.value, msg.header_count);
	for (uint32_t i = 0; i < msg.header_count; i++)
		tide_recorded_put_header(&input->bytes, msg.headers[i].name, msg.headers[i].value);
	record->to = input->bytes.len;
	return input->bytes.failed ? fail_memory(err) : TIDE_OK;
}

static int take_lines(struct tide_sim_input *input, struct tide_slice text, struct tide_error *err)
{
	struct tide_lines *lines = tide_lines_new(-1, NULL);
	int rc = lines != NULL ? TIDE_OK : fail_memory(err);
	for (int i = 0; rc == TIDE_OK && i < input->plan->input_count; i++) {
		const char *at = text.p, *end = text.p + text.len;
		char topic[256];
		int before = input->part_count;
		rc = topic_of(input, i, topic, sizeof topic, err);
		/* An input that reads the same topic has it already. */
		for (int p = 0; p < before; p++)
			if (strcmp(input->parts[p].topic, topic) == 0)
				at = end;
		while (rc == TIDE_OK && at < end) {
			const char *stop = memchr(at, '\n', (size_t)(end - at));
			size_t len = (size_t)((stop != NULL ? stop : end) - at);
			if (input->count >= INPUT_MAX)
				rc = tide_fail(err, TIDE_ERR_USAGE,
				               "%s holds more than the %d records that a "
				               "simulation takes",
				               input->options->input_path, INPUT_MAX);
			else if (len > 0)
				rc = take_line(input, lines, topic, i,
				               (struct tide_slice){ at, len }, err);
			at = stop != NULL ? stop + 1 : end;
		}
	}
	tide_lines_free(lines);
	return rc;
}

int tide_sim_input_open(struct tide_sim_input *input, const struct tide_simulation_options *options,
                        const struct tide_plan *plan, struct tide_error *err)
{
	char *text = NULL;
	size_t len = 0;
	*input =
		(struct tide_sim_input){ .options = options, .plan = plan, .now_us = start_us * 2 };
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && options->set != NULL && i < options->set->count; i++)
		if (!tide_option_set(&input->set, options->set->items[i].key,
		                     options->set->items[i].value))
			rc = fail_memory(err);
	if (rc != TIDE_OK || options->input_path == NULL)
		return rc;
	rc = tide_file_read(options->input_path, FILE_BYTES_MAX, &text, &len, err);
	if (rc == TIDE_OK && len >= 8 && memcmp(text, "TIDECASE", 8) == 0) {
		struct tide_recording recording;
		rc = tide_recording_decode((struct tide_slice){ text, len }, options->input_path,
		                           &recording, err);
		if (rc == TIDE_OK)
			rc = take_recording(input, &recording, err);
		tide_recording_fini(&recording);
	} else if (rc == TIDE_OK) {
		rc = take_lines(input, (struct tide_slice){ text, len }, err);
	}
	if (rc == TIDE_OK && input->count == 0)
		rc = tide_fail(err, TIDE_ERR_USAGE, "%s holds no records", options->input_path);
	free(text);
	return rc;
}

/* ---- made up ---- */

struct making {
	struct tide_sim_random random;
	char words[WORDS_MAX][WORD_LEN];
	int word_count;
	int64_t time_us; /* of the record */
};

/* Texts that the job compares with are those that matter to it. */
static void learn_words(struct making *making, const char *path)
{
	static const char *const plain[] = { "red", "green", "blue", "one two", "x", "" };
	char *text = NULL;
	size_t len = 0;
	for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
		snprintf(making->words[making->word_count++], WORD_LEN, "%s", plain[i]);
	if (tide_file_read(path, FILE_BYTES_MAX, &text, &len, NULL) != TIDE_OK)
		return;
	for (char *at = strchr(text, '"'); at != NULL && making->word_count < WORDS_MAX;) {
		size_t size = strcspn(at + 1, "\"\n");
		if (size > 0 && size < WORD_LEN && at[1 + size] == '"' &&
		    strspn(at + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		                   "0123456789_-") == size)
			snprintf(making->words[making->word_count++], WORD_LEN, "%.*s", (int)size,
			         at + 1);
		at += 1 + size;
		at = *at != '\0' ? strchr(at + 1, '"') : NULL;
	}
	free(text);
}

static const char *any_word(struct making *making)
{
	/* Mostly a few: keys are to meet. */
	uint32_t most = tide_sim_chance(&making->random, 70) ? 3 : (uint32_t)making->word_count;
	return making->words[tide_sim_below(&making->random, most)];
}

static void put_value(struct making *making, const char *type, size_t len, struct tide_buf *out)
{
	struct tide_sim_random *random = &making->random;
	char time[40];
	if (strncmp(type, "int", len) == 0) {
		tide_buf_printf(out, "%u",
		                tide_sim_below(random, tide_sim_chance(random, 80) ? 4 : 1000));
	} else if (strncmp(type, "double", len) == 0) {
		double value = (double)(1 + tide_sim_below(random, 99999)) / 1000;
		tide_buf_printf(out, "%.6g", tide_sim_chance(random, 20) ? value * 1e4 : value);
	} else if (strncmp(type, "bool", len) == 0) {
		tide_buf_printf(out, tide_sim_chance(random, 50) ? "true" : "false");
	} else if (strncmp(type, "timestamp", len) == 0) {
		tide_clock_format_ms(making->time_us / 1000, time, sizeof time);
		tide_buf_printf(out, "\"%s\"", time);
	} else {
		const char *word = any_word(making);
		tide_buf_json(out, word, strlen(word));
	}
}

/* One column "user.name:string?" of the text of a json step, as a member; `open` is
 * the object that is being written. */
static void put_member(struct making *making, const char *column, size_t len, struct tide_buf *out)
{
	const char *colon = memrchr(column, ':', len);
	if (colon == NULL)
		return;
	size_t name_len = (size_t)(colon - column), type_len = len - name_len - 1;
	bool nullable = type_len > 0 && colon[type_len] == '?';
	const char *at = column;
	int depth = 0;
	if (out->len > 0 && out->p[out->len - 1] != '{')
		tide_buf_put(out, ",", 1);
	for (size_t left = name_len; left > 0;) {
		const char *dot = memchr(at, '.', left);
		size_t part = dot != NULL ? (size_t)(dot - at) : left;
		tide_buf_json(out, at, part);
		tide_buf_printf(out, dot != NULL ? ":{" : ":");
		depth += dot != NULL;
		at += part + (dot != NULL);
		left -= part + (dot != NULL);
	}
	if (nullable && tide_sim_chance(&making->random, 6))
		tide_buf_printf(out, "null");
	else
		put_value(making, colon + 1, type_len - nullable, out);
	for (; depth > 0; depth--)
		tide_buf_put(out, "}", 1);
}

static int root_of(const struct tide_plan *plan, int step)
{
	while (plan->steps[step].parent >= 0)
		step = plan->steps[step].parent;
	int input = 0;
	for (int i = 0; i < step; i++)
		input += plan->steps[i].parent < 0;
	return input;
}

/* A document with what the json steps below an input declare; none: some words. */
static void put_document(struct making *making, const struct tide_plan *plan, int input,
                         struct tide_buf *out)
{
	static const char head[] = "json -> ";
	size_t before = out->len;
	for (int s = 0; s < plan->step_count; s++) {
		const struct tide_plan_step *step = &plan->steps[s];
		if (strcmp(step->kind, "json") != 0 || root_of(plan, s) != input ||
		    strncmp(step->text, head, sizeof head - 1) != 0)
			continue;
		if (out->len == before)
			tide_buf_put(out, "{", 1);
		for (const char *at = step->text + sizeof head - 1; *at != '\0';) {
			size_t len = strcspn(at, ",");
			put_member(making, at, len, out);
			at += len + strspn(at + len, ", ");
		}
	}
	if (out->len > before)
		tide_buf_put(out, "}", 1);
	for (uint32_t i = 0, n = tide_sim_below(&making->random, 5); out->len == before && i < n;)
		tide_buf_printf(out, "%s%s", any_word(making), ++i < n ? " " : "");
}

/* Event time goes six windows and three delays far. */
static int64_t span_of(const struct tide_plan *plan)
{
	int64_t span_us = 60000000;
	for (int k = 0; k < plan->keyed_count; k++)
		if (plan->keyed[k].size_us * 6 > span_us)
			span_us = plan->keyed[k].size_us * 6;
	for (int m = 0; m < plan->mark_count; m++)
		if (plan->marks[m].delay_us * 3 > span_us)
			span_us = plan->marks[m].delay_us * 3;
	return span_us;
}

/* A record is behind the newest by less than the delay, some by more. */
static int64_t any_delay(struct making *making, const struct tide_plan *plan)
{
	int64_t least_us = plan->mark_count > 0 ? INT64_MAX : 0;
	for (int m = 0; m < plan->mark_count; m++)
		if (plan->marks[m].delay_us < least_us)
			least_us = plan->marks[m].delay_us;
	int64_t most_us = tide_sim_chance(&making->random, 10) ? least_us * 2 : least_us * 3 / 4;
	return most_us > 0 ? (int64_t)(tide_sim_next(&making->random) % (uint64_t)most_us) : 0;
}

static int make_record(struct tide_sim_input *input, struct making *making, int number,
                       const char *topic, struct tide_error *err)
{
	struct tide_sim_random *random = &making->random;
	struct tide_buf value = { 0 };
	const char *key = any_word(making);
	int32_t partition = (int32_t)tide_sim_below(random, TIDE_SIM_PARTITIONS);
	int part = tide_sim_input_part(input, number, topic, partition);
	bool headers = tide_sim_chance(random, 30), null_key = tide_sim_chance(random, 10);
	put_document(making, input->plan, number, &value);
	struct tide_sim_record *record = part >= 0 ? tide_sim_input_add(input, part) : NULL;
	if (record == NULL || value.failed) {
		tide_buf_fini(&value);
		return fail_memory(err);
	}
	tide_recorded_begin(&input->bytes, 0, making->time_us / 1000,
	                    (struct tide_slice){ null_key ? NULL : key, strlen(key) },
	                    (struct tide_slice){ value.p != NULL ? value.p : "", value.len },
	                    headers);
	if (headers)
		tide_recorded_put_header(&input->bytes, (struct tide_slice){ "name", 4 },
		                         (struct tide_slice){ key, strlen(key) });
	record->to = input->bytes.len;
	tide_buf_fini(&value);
	return input->bytes.failed ? fail_memory(err) : TIDE_OK;
}

/* Some come twice, to the byte: for who drops duplicates. */
static int repeat(struct tide_sim_input *input, struct making *making, struct tide_error *err)
{
	int again = (int)tide_sim_below(&making->random, (uint32_t)input->count);
	struct tide_buf copy = { 0 };
	struct tide_sim_record old = input->records[again];
	tide_buf_put(&copy, input->bytes.p + old.from, old.to - old.from);
	struct tide_sim_record *record = tide_sim_input_add(input, old.part);
	tide_buf_put(&input->bytes, copy.p, copy.len);
	if (record != NULL)
		record->to = input->bytes.len;
	bool ok = record != NULL && !copy.failed && !input->bytes.failed;
	tide_buf_fini(&copy);
	return ok ? TIDE_OK : fail_memory(err);
}

int tide_sim_input_generate(struct tide_sim_input *input, uint64_t seed, struct tide_error *err)
{
	struct making *making = calloc(1, sizeof *making);
	int64_t step_us = span_of(input->plan) / GENERATED;
	int rc = making != NULL ? TIDE_OK : fail_memory(err);
	tide_sim_input_clear(input);
	if (making != NULL) {
		making->random.state = seed;
		learn_words(making, input->options->job_path);
	}
	for (int i = 0; rc == TIDE_OK && i < input->plan->input_count; i++) {
		int64_t newest_us = start_us;
		char topic[256];
		rc = topic_of(input, i, topic, sizeof topic, err);
		for (int n = 0; rc == TIDE_OK && n < GENERATED; n++) {
			newest_us +=
				(int64_t)(tide_sim_next(&making->random) % (uint64_t)(step_us * 2));
			/* No two times are the same, so that none is first by chance. */
			making->time_us = newest_us - any_delay(making, input->plan);
			making->time_us += n * 1000 - making->time_us % (GENERATED * 1000);
			rc = input->count > 0 && tide_sim_chance(&making->random, 12)
			             ? repeat(input, making, err)
			             : make_record(input, making, i, topic, err);
		}
	}
	free(making);
	return rc;
}
