/* SPDX-License-Identifier: Apache-2.0 */
/* What dev shows of a run, in a pipe and on a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "run/frame.h"

static struct tide_buf out;

static struct tide_slice slice(const char *text)
{
	return (struct tide_slice){ text, strlen(text) };
}

static struct tide_frame frame_of(const char *rows, const char *log, const char *summary)
{
	return (struct tide_frame){ .job = "job.lua",
		                    .number = 3,
		                    .took_ms = 42,
		                    .rows = slice(rows),
		                    .log = slice(log),
		                    .summary = slice(summary) };
}

static const char *shown(struct tide_frame frame, int lines, int columns)
{
	tide_buf_clear(&out);
	tide_frame_put(&frame, lines, columns, &out);
	tide_buf_u8(&out, '\0');
	assert_false(out.failed);
	return out.p;
}

/* How many lines of a terminal a frame takes, by its ends of lines. */
static int ends_in(const char *text)
{
	int count = 0;
	for (; *text != '\0'; text++)
		count += *text == '\n';
	return count;
}

static void pipe_gets_rows_log_and_summary(void **state)
{
	(void)state;
	struct tide_frame frame = frame_of("a\nb\n", "", "2 rows out");
	assert_string_equal(shown(frame, 0, 0), "== job.lua, run 3\na\nb\n2 rows out\n");
	frame = frame_of("", "job.lua:1: wrong", "");
	frame.failed = true;
	assert_string_equal(shown(frame, 0, 0), "== job.lua, run 3 failed\njob.lua:1: wrong\n");
}

static void log_loses_its_times_and_says_what_is_wrong(void **state)
{
	(void)state;
	struct tide_frame frame = frame_of("",
	                                   "07:28:14.336 INFO  hello\n"
	                                   "07:28:14.336 WARN  careful\n     2 | x = 1\n"
	                                   "07:28:14.336 ERROR wrong\n"
	                                   "07:28:14 ERROR not ours\n",
	                                   "");
	assert_string_equal(shown(frame, 0, 0),
	                    "== job.lua, run 3\nhello\nwarning: careful\n     2 | x = 1\n"
	                    "error: wrong\n07:28:14 ERROR not ours\n");
}

static void terminal_is_redrawn_in_place(void **state)
{
	(void)state;
	assert_string_equal(shown(frame_of("a\nb\n", "", "2 rows out"), 24, 80),
	                    "\033[Hjob.lua, run 3 (42 ms)\033[K\na\033[K\nb\033[K\n"
	                    "2 rows out\033[K\n\033[J");
}

static void rows_give_way_on_a_low_terminal(void **state)
{
	(void)state;
	char rows[401] = "";
	for (int i = 0; i < 100; i++)
		strcat(rows, "row\n");
	const char *text = shown(frame_of(rows, "07:28:14.336 ERROR wrong\n", "done"), 10, 80);
	assert_int_equal(ends_in(text), 9);
	assert_non_null(
		strstr(text, "row\033[K\n... 95 more lines\033[K\nerror: wrong\033[K\ndone"));
	/* Exactly as many as fit are all shown. */
	rows[4 * 7] = '\0';
	text = shown(frame_of(rows, "", "done"), 10, 80);
	assert_int_equal(ends_in(text), 9);
	assert_null(strstr(text, "more line"));
}

static void long_lines_count_for_what_they_take(void **state)
{
	(void)state;
	char rows[512];
	memset(rows, 'x', sizeof rows);
	for (int i = 1; i <= 3; i++)
		rows[i * 100 - 1] = '\n';
	rows[300] = '\0';
	/* 99 columns are five lines of 20. */
	const char *text = shown(frame_of(rows, "", ""), 9, 20);
	assert_non_null(strstr(text, "... 2 more lines"));
}

static void what_a_job_prints_does_not_move_the_cursor(void **state)
{
	(void)state;
	const char *text = shown(frame_of("a\tb\033[2Jc\r\n", "\007\n", ""), 24, 80);
	assert_non_null(strstr(text, "a b?[2Jc?\033[K\n?\033[K\n"));
	/* In a pipe it stays as it is. */
	assert_non_null(strstr(shown(frame_of("a\tb\033[2Jc\r\n", "", ""), 0, 0), "\033[2Jc\r\n"));
}

static int forget(void **state)
{
	(void)state;
	tide_buf_fini(&out);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pipe_gets_rows_log_and_summary),
		cmocka_unit_test(log_loses_its_times_and_says_what_is_wrong),
		cmocka_unit_test(terminal_is_redrawn_in_place),
		cmocka_unit_test(rows_give_way_on_a_low_terminal),
		cmocka_unit_test(long_lines_count_for_what_they_take),
		cmocka_unit_test(what_a_job_prints_does_not_move_the_cursor),
	};
	return cmocka_run_group_tests(tests, NULL, forget);
}
