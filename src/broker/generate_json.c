/* SPDX-License-Identifier: Apache-2.0 */
/* Generators of JSON with event time: sensor readings, and articles that come
 * more than once. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "broker/generate_inside.h"

enum {
	READING_IDS = 10,
	ARTICLE_MEMORY = 100000, /* a repeat is of one of so many before it */
	ARTICLE_STEP_MS = 10
};

/* When the next one happened: now, or a step after the one before, and some of
 * them late. */
static int64_t event_time_ms(struct tide_generator *gen)
{
	int64_t ms = gen->step_ms > 0 ? gen->start_ms + (int64_t)gen->made * gen->step_ms
	                              : tide_clock_us() / 1000;
	if (gen->late_percent > 0 && tide_below(gen, 100) < gen->late_percent)
		ms -= tide_below(gen, (uint32_t)gen->late_ms + 1);
	return ms;
}

static void reading_next(struct tide_generator *gen, struct tide_message *msg)
{
	char time[32];
	int64_t id = gen->shuffled ? tide_below(gen, (uint32_t)gen->ids)
	                           : (int64_t)(gen->made % (uint64_t)gen->ids);
	uint32_t value = tide_below(gen, 10001); /* hundredths */
	tide_clock_format_ms(event_time_ms(gen), time, sizeof time);
	int key_len = snprintf(gen->key, sizeof gen->key, "%lld", (long long)id);
	int len = snprintf(gen->value, sizeof gen->value,
	                   "{\"id\":%lld,\"ts\":\"%s\",\"value\":%u.%02u,"
	                   "\"source\":\"sim-producer\"}",
	                   (long long)id, time, value / 100, value % 100);
	msg->key = (struct tide_slice){ gen->key, (size_t)key_len };
	msg->value = (struct tide_slice){ gen->value, (size_t)len };
	gen->made++;
}

static void article_next(struct tide_generator *gen, struct tide_message *msg)
{
	static const char text[] =
		"The harbour was quiet when the last boat came in and the crew counted the "
		"boxes twice, because the numbers of the morning had been wrong and nobody "
		"wanted to carry them back up the hill again.";
	char time[32];
	uint64_t number = gen->articles;
	if (number > 0 && tide_below(gen, 2) == 0)
		number -= 1 + tide_below(gen, number < ARTICLE_MEMORY ? (uint32_t)number
		                                                      : ARTICLE_MEMORY);
	else
		gen->articles++;
	tide_clock_format_ms(event_time_ms(gen), time, sizeof time);
	int key_len =
		snprintf(gen->key, sizeof gen->key, "article-%llu", (unsigned long long)number);
	int len =
		snprintf(gen->value, sizeof gen->value,
	                 "{\"id\":\"%s\",\"published_at\":\"%s\",\"title\":\"News %llu\","
	                 "\"source\":\"wire-%u\",\"body\":\"%s\"}",
	                 gen->key, time, (unsigned long long)gen->made, tide_below(gen, 20), text);
	msg->key = (struct tide_slice){ gen->key, (size_t)key_len };
	msg->value = (struct tide_slice){ gen->value, (size_t)len };
	gen->made++;
}

static int bad(const char *key, const char *value, const char *wanted, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_USAGE, "the generator's %s must be %s, not \"%s\"", key,
	                 wanted, value);
}

static int take_number(const struct tide_options *options, const char *key, int64_t max,
                       int64_t *out, struct tide_error *err)
{
	const char *text = options != NULL ? tide_option_get(options, key) : NULL;
	char *end;
	if (text == NULL)
		return TIDE_OK;
	*out = strtoll(text, &end, 10);
	return end == text || *end != '\0' || *out < 1 || *out > max
	               ? bad(key, text, "a number from 1 on", err)
	               : TIDE_OK;
}

static int take_span(const struct tide_options *options, const char *key, int64_t *out,
                     struct tide_error *err)
{
	const char *text = options != NULL ? tide_option_get(options, key) : NULL;
	if (text == NULL)
		return TIDE_OK;
	*out = tide_clock_span_ms(text);
	return *out < 0 || *out > INT32_MAX ? bad(key, text, "a span like \"1ms\"", err) : TIDE_OK;
}

static int take_start(const struct tide_options *options, int64_t *out, struct tide_error *err)
{
	const char *text = options != NULL ? tide_option_get(options, "start") : NULL;
	int64_t us;
	if (text == NULL)
		return TIDE_OK;
	if (tide_clock_parse_us(text, strlen(text), &us) != 0)
		return bad("start", text, "a time like 2024-01-01T00:00:00Z", err);
	*out = us / 1000;
	return TIDE_OK;
}

int tide_generate_json(struct tide_generator *gen, const char *name,
                       const struct tide_options *options, struct tide_error *err)
{
	bool articles = strcmp(name, "articles") == 0;
	const char *order = options != NULL ? tide_option_get(options, "order") : NULL;
	int64_t late = 0;
	gen->next = articles ? article_next : reading_next;
	gen->ids = READING_IDS;
	gen->start_ms = INT64_C(1704067200000); /* 2024-01-01 */
	gen->step_ms = articles ? ARTICLE_STEP_MS : 0;
	gen->late_ms = 20000;
	gen->shuffled = order != NULL && strcmp(order, "random") == 0;
	if (order != NULL && !gen->shuffled && strcmp(order, "cycle") != 0)
		return bad("order", order, "cycle or random", err);
	int rc = take_number(options, "ids", UINT32_MAX, &gen->ids, err);
	if (rc == TIDE_OK)
		rc = take_number(options, "late", 100, &late, err);
	if (rc == TIDE_OK)
		rc = take_span(options, "late_by", &gen->late_ms, err);
	if (rc == TIDE_OK)
		rc = take_span(options, "step", &gen->step_ms, err);
	if (rc == TIDE_OK)
		rc = take_start(options, &gen->start_ms, err);
	gen->late_percent = (uint32_t)late;
	return rc;
}
