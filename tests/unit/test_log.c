/* SPDX-License-Identifier: Apache-2.0 */
/* The log, with a file in stderr's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

static FILE *file;
static int stderr_fd;

static int setup(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	tide_clock_set(INT64_C(1704110400123000));
	file = tmpfile();
	stderr_fd = dup(STDERR_FILENO);
	return file != NULL && dup2(fileno(file), STDERR_FILENO) >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	dup2(stderr_fd, STDERR_FILENO);
	close(stderr_fd);
	fclose(file);
	tide_log_init(&(struct tide_log_options){ .level = TIDE_INFO });
	tide_clock_set(-1);
	return 0;
}

/* What was written since the last call. */
static void assert_written(const char *expected)
{
	static char text[1 << 16];
	rewind(file);
	size_t len = fread(text, 1, sizeof text - 1, file);
	text[len] = '\0';
	assert_string_equal(text, expected);
	rewind(file);
	assert_int_equal(ftruncate(fileno(file), 0), 0);
	lseek(STDERR_FILENO, 0, SEEK_SET);
}

static void text_lines_carry_time_and_level(void **state)
{
	(void)state;
	tide_log_init(&(struct tide_log_options){ .level = TIDE_DEBUG });
	tide_log(TIDE_DEBUG, "a %d", 1);
	tide_log(TIDE_INFO, "b");
	tide_log(TIDE_WARN, "c\n");
	tide_log(TIDE_ERROR, "d\nsecond line");
	assert_written("12:00:00.123 DEBUG a 1\n"
	               "12:00:00.123 INFO  b\n"
	               "12:00:00.123 WARN  c\n"
	               "12:00:00.123 ERROR d\nsecond line\n");
}

static void json_lines_are_one_object_each(void **state)
{
	(void)state;
	tide_log_init(&(struct tide_log_options){ .json = true, .level = TIDE_INFO });
	tide_log(TIDE_WARN, "say \"%s\"\nnow \x1b[2J \xFF", "hi");
	assert_written("{\"time\":\"2024-01-01T12:00:00.123Z\",\"level\":\"warn\",\"message\":"
	               "\"say \\\"hi\\\"\\nnow \\u001b[2J \xEF\xBF\xBD\"}\n");
}

static void what_is_below_the_level_is_dropped(void **state)
{
	(void)state;
	tide_log_init(&(struct tide_log_options){ .level = TIDE_WARN });
	tide_log(TIDE_INFO, "no");
	tide_log(TIDE_WARN, "yes");
	assert_written("12:00:00.123 WARN  yes\n");
}

static void a_message_cannot_drive_the_terminal(void **state)
{
	(void)state;
	tide_log_init(&(struct tide_log_options){ .terminal = true, .level = TIDE_INFO });
	tide_log(TIDE_INFO, "key \x1b[31m\r\x07\x7f");
	tide_log(TIDE_INFO, "key\tk");
	assert_written("12:00:00.123 INFO  key \\x1B[31m \\x07\\x7F\n"
	               "12:00:00.123 INFO  key\tk\n");
	/* C1 in UTF-8 and as a byte, half a character, and whole ones. */
	tide_log(TIDE_INFO, "\xC2\x9B"
	                    "1m \x9B"
	                    "1m \xC3 \xC3\xBC\xE2\x82\xAC");
	assert_written("12:00:00.123 INFO  \\x9B1m \\x9B1m \\xC3 \xC3\xBC\xE2\x82\xAC\n");
}

static void colors_are_for_terminals_only(void **state)
{
	(void)state;
	tide_log_init(&(struct tide_log_options){ .color = true, .level = TIDE_INFO });
	tide_log(TIDE_ERROR, "x");
	assert_written("12:00:00.123 ERROR x\n");
	tide_log_init(
		&(struct tide_log_options){ .color = true, .terminal = true, .level = TIDE_INFO });
	tide_log(TIDE_ERROR, "x");
	tide_log(TIDE_INFO, "y");
	assert_written("12:00:00.123 \033[31mERROR\033[0m x\n"
	               "12:00:00.123 INFO  y\n");
}

static void the_status_line_stays_below_the_log(void **state)
{
	(void)state;
	tide_log_init(&(struct tide_log_options){ .terminal = true, .level = TIDE_INFO });
	tide_log_status("one");
	tide_log(TIDE_INFO, "x");
	tide_log_status("two");
	tide_log_status("");
	tide_log(TIDE_INFO, "y");
	assert_written("one"
	               "\r\033[K12:00:00.123 INFO  x\none"
	               "\r\033[Ktwo"
	               "\r\033[K"
	               "12:00:00.123 INFO  y\n");
}

static void there_is_no_status_line_in_a_pipe(void **state)
{
	(void)state;
	tide_log_init(&(struct tide_log_options){ .level = TIDE_INFO });
	tide_log_status("one");
	tide_log_pause();
	tide_log_resume();
	tide_log(TIDE_INFO, "x");
	assert_written("12:00:00.123 INFO  x\n");
}

static void results_are_written_where_the_status_line_was(void **state)
{
	(void)state;
	tide_log_init(&(struct tide_log_options){ .terminal = true, .level = TIDE_INFO });
	tide_log_status("one");
	tide_log_pause();
	assert_written("one\r\033[K");
	tide_log(TIDE_INFO, "x");
	tide_log_status("two");
	assert_written("12:00:00.123 INFO  x\n");
	tide_log_pause();
	tide_log_resume();
	assert_written("");
	tide_log_resume();
	assert_written("two");
}

static void a_status_line_never_wraps(void **state)
{
	(void)state;
	char line[300], expected[300];
	tide_log_init(&(struct tide_log_options){ .terminal = true, .level = TIDE_INFO });
	memset(line, 'x', 200);
	memcpy(line, "a\nb", 3);
	line[200] = '\0';
	memcpy(expected, line, 79); /* a file has no width: 80 columns, one to spare */
	expected[1] = ' ';
	expected[79] = '\0';
	tide_log_status(line);
	assert_written(expected);
	/* Two bytes a letter. */
	for (int i = 0; i < 100; i++)
		memcpy(line + 2 * i, "é", 2);
	memcpy(expected, "\r\033[K", 4);
	memcpy(expected + 4, line, 158);
	expected[162] = '\0';
	tide_log_status(line);
	assert_written(expected);
}

static void a_long_message_is_written_whole(void **state)
{
	(void)state;
	static char text[20001], expected[20100];
	memset(text, 'm', sizeof text - 1);
	tide_log_init(&(struct tide_log_options){ .level = TIDE_INFO });
	tide_log(TIDE_INFO, "%s", text);
	snprintf(expected, sizeof expected, "12:00:00.123 INFO  %s\n", text);
	assert_written(expected);
}

enum { THREADS = 4, LINES = 200 };

static void *write_lines(void *arg)
{
	for (int i = 0; i < LINES; i++) {
		tide_log(TIDE_INFO, "%s %s", (const char *)arg, (const char *)arg);
		if (i % 16 == 0)
			tide_log_status(arg);
	}
	return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
	(void)state;
	static char *names[THREADS] = { "aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb",
		                        "cccccccccccccccccccc", "dddddddddddddddddddd" };
	pthread_t threads[THREADS];
	char line[256];
	int lines = 0;
	tide_log_init(&(struct tide_log_options){ .level = TIDE_INFO });
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	rewind(file);
	while (fgets(line, sizeof line, file) != NULL) {
		assert_int_equal(strlen(line), strlen("12:00:00.123 INFO  ") + 42);
		assert_memory_equal(line + 19, line + 40, 20);
		assert_int_equal(line[19], line[38]);
		lines++;
	}
	assert_int_equal(lines, THREADS * LINES);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(text_lines_carry_time_and_level),
		TEST(json_lines_are_one_object_each),
		TEST(what_is_below_the_level_is_dropped),
		TEST(a_message_cannot_drive_the_terminal),
		TEST(colors_are_for_terminals_only),
		TEST(the_status_line_stays_below_the_log),
		TEST(there_is_no_status_line_in_a_pipe),
		TEST(results_are_written_where_the_status_line_was),
		TEST(a_status_line_never_wraps),
		TEST(a_long_message_is_written_whole),
		TEST(lines_of_threads_do_not_mix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
