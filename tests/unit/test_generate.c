/* SPDX-License-Identifier: Apache-2.0 */
/* The generators of the examples make what their documentation says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "broker/generate.h"

static struct tide_generator *generator(const char *name, const char *options[][2], int count)
{
	struct tide_generator *gen = NULL;
	struct tide_options list = { 0 };
	struct tide_error err = { 0 };
	for (int i = 0; i < count; i++)
		assert_true(tide_option_set(&list, options[i][0], options[i][1]));
	assert_int_equal(tide_generator_new(name, 7, &list, &gen, &err), TIDE_OK);
	tide_options_fini(&list);
	return gen;
}

/* The text of a JSON field, with or without quotes. */
static void field(const struct tide_message *msg, const char *name, char *out, size_t size)
{
	char text[1024], head[64];
	snprintf(text, sizeof text, "%.*s", (int)msg->value.len, msg->value.p);
	snprintf(head, sizeof head, "\"%s\":", name);
	char *at = strstr(text, head);
	assert_non_null(at);
	at += strlen(head) + (at[strlen(head)] == '"');
	snprintf(out, size, "%.*s", (int)strcspn(at, "\",}"), at);
}

static int64_t time_of(const struct tide_message *msg, const char *name)
{
	char text[64], *colon;
	int64_t us;
	/* Its colons are not the end of it. */
	char all[1024];
	snprintf(all, sizeof all, "%.*s", (int)msg->value.len, msg->value.p);
	colon = strstr(all, name);
	assert_non_null(colon);
	snprintf(text, sizeof text, "%.24s", colon + strlen(name) + 3);
	assert_int_equal(tide_clock_parse_us(text, strlen(text), &us), 0);
	return us;
}

static void readings_cycle_through_their_sensors(void **state)
{
	(void)state;
	struct tide_generator *gen = generator("readings", NULL, 0);
	struct tide_message msg;
	for (int i = 0; i < 100; i++) {
		char id[32], value[32], source[32];
		tide_clock_set(1700000000000000 + i);
		tide_generator_next(gen, &msg);
		field(&msg, "id", id, sizeof id);
		field(&msg, "value", value, sizeof value);
		field(&msg, "source", source, sizeof source);
		assert_int_equal(atoi(id), i % 10);
		assert_int_equal(msg.key.len, strlen(id));
		assert_memory_equal(msg.key.p, id, msg.key.len);
		assert_true(atof(value) >= 0 && atof(value) <= 100);
		assert_string_equal(source, "sim-producer");
		assert_int_equal(time_of(&msg, "ts"), 1700000000000000);
	}
	tide_clock_set(-1);
	tide_generator_free(gen);
}

static void readings_with_a_step_are_late_as_often_as_told(void **state)
{
	(void)state;
	const char *options[][2] = { { "ids", "10000" },
		                     { "order", "random" },
		                     { "step", "1ms" },
		                     { "late", "5" },
		                     { "late_by", "20s" } };
	struct tide_generator *gen = generator("readings", options, 5);
	struct tide_message msg;
	int late = 0;
	for (int64_t i = 0; i < 20000; i++) {
		tide_generator_next(gen, &msg);
		int64_t behind = 1704067200000000 + i * 1000 - time_of(&msg, "ts");
		assert_true(behind >= 0 && behind <= 20000000);
		late += behind > 0;
	}
	assert_in_range(late, 800, 1200);
	tide_generator_free(gen);
}

static void half_of_the_articles_are_there_already(void **state)
{
	(void)state;
	struct tide_generator *gen = generator("articles", NULL, 0);
	struct tide_message msg;
	int repeats = 0;
	bool seen[20000] = { false };
	for (int64_t i = 0; i < 20000; i++) {
		char id[64];
		tide_generator_next(gen, &msg);
		field(&msg, "id", id, sizeof id);
		int number = atoi(id + strlen("article-"));
		assert_in_range(number, 0, 19999);
		repeats += seen[number];
		seen[number] = true;
		assert_memory_equal(msg.key.p, id, msg.key.len);
		assert_int_equal(time_of(&msg, "published_at"), 1704067200000000 + i * 10000);
		assert_in_range(msg.value.len, 250, 350);
	}
	assert_in_range(repeats, 9500, 10500);
	tide_generator_free(gen);
}

static void bad_option_is_named(void **state)
{
	(void)state;
	struct tide_generator *gen = NULL;
	struct tide_options list = { 0 };
	struct tide_error err = { 0 };
	assert_int_equal(tide_generator_new("letters", 1, NULL, &gen, &err), TIDE_ERR_USAGE);
	assert_non_null(strstr(err.text, "readings"));
	assert_true(tide_option_set(&list, "step", "soon"));
	assert_int_equal(tide_generator_new("readings", 1, &list, &gen, &err), TIDE_ERR_USAGE);
	assert_non_null(strstr(err.text, "step must be a span"));
	assert_null(gen);
	tide_options_fini(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readings_cycle_through_their_sensors),
		cmocka_unit_test(readings_with_a_step_are_late_as_often_as_told),
		cmocka_unit_test(half_of_the_articles_are_there_already),
		cmocka_unit_test(bad_option_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
