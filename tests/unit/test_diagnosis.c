/* SPDX-License-Identifier: Apache-2.0 */
/* From facts to sentences: each case by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "run/diagnosis.h"

static const int64_t SECOND = 1000000, BEGIN = 1704067200000000; /* 2024 */

static struct tide_watermark_part parts[2];
static struct tide_fact_mark mark;
static struct tide_fact_keyed keyed;
static struct tide_fact_filter filters[2];
static struct tide_facts facts;

/* A job in append mode that has read ten records and waits for more. */
static void quiet_job(void)
{
	parts[0] = (struct tide_watermark_part){
		.topic = (char *)(uintptr_t) "t", .partition = 0, .max_us = BEGIN, .quiet_us = BEGIN
	};
	parts[1] = parts[0];
	parts[1].partition = 1;
	mark = (struct tide_fact_mark){ .name = "ts",
		                        .at_us = BEGIN - 30 * SECOND,
		                        .delay_us = 30 * SECOND,
		                        .idle_us = 60 * SECOND,
		                        .ahead_us = 300 * SECOND,
		                        .count = 10,
		                        .min_us = BEGIN - SECOND,
		                        .max_us = BEGIN,
		                        .parts = parts,
		                        .part_count = 2 };
	keyed = (struct tide_fact_keyed){ .name = "g", .mark = 0, .next_end_us = INT64_MAX };
	filters[0] = (struct tide_fact_filter){ "filter(good)", 4, 0 };
	filters[1] = (struct tide_fact_filter){ "filter(new)", 5, 0 };
	facts = (struct tide_facts){ .job = "job",
		                     .topic = "t",
		                     .now_us = BEGIN + 20 * SECOND,
		                     .partitions = 2,
		                     .present = 10,
		                     .epoch = 3,
		                     .idle = true,
		                     .ever_read = true,
		                     .read = 10,
		                     .filters = filters,
		                     .marks = &mark,
		                     .keyed = &keyed,
		                     .filter_count = 2,
		                     .mark_count = 1,
		                     .keyed_count = 1 };
}

/* In this order, each beginning as "kind: text"; NULL ends them. */
static void assert_says(const char *first, ...)
{
	struct tide_diagnosis diagnosis;
	char line[1024];
	va_list args;
	int i = 0;
	tide_diagnose(&facts, &diagnosis);
	va_start(args, first);
	for (const char *text = first; text != NULL; text = va_arg(args, const char *), i++) {
		assert_true(i < diagnosis.count);
		snprintf(line, sizeof line, "%s: %s", diagnosis.findings[i].kind,
		         diagnosis.findings[i].text);
		assert_string_equal(line, text);
	}
	va_end(args);
	assert_int_equal(diagnosis.count, i);
}

static void a_job_without_records_says_what_of_the_topic_is_missing(void **state)
{
	(void)state;
	quiet_job();
	facts.ever_read = false;
	facts.read = 0;
	assert_says("nothing_new: nothing new in topic t since the job's start offsets; --from "
	            "earliest in a new checkpoint reads the 10 records before them",
	            NULL);
	facts.resumed = true;
	assert_says("nothing_new: nothing new in topic t since epoch 3 of the checkpoint", NULL);
	facts.present = 0;
	assert_says("empty_topic: topic t is empty", NULL);
	facts.partitions = 0;
	assert_says("no_topic: waiting for topic t to exist", NULL);
}

static void a_trigger_is_waited_for_beside_what_else_holds(void **state)
{
	(void)state;
	quiet_job();
	facts.ever_read = false;
	facts.read = 0;
	facts.trigger = true;
	facts.trigger_ms = 10000;
	facts.trigger_left_ms = 2500;
	assert_says("trigger: waiting for the trigger, every 10.0 s; the next is in 2.5 s", NULL);
	facts.read = facts.filtered = 3;
	filters[0].rows = 3;
	assert_says("filtered: all 3 records filtered out by filter(good) in line 4",
	            "trigger: waiting for the trigger, every 10.0 s; the next is in 2.5 s", NULL);
}

static void dropped_rows_are_told_by_who_drops_them(void **state)
{
	(void)state;
	quiet_job();
	facts.filtered = filters[1].rows = 10;
	assert_says("filtered: all 10 records filtered out by filter(new) in line 5", NULL);
	filters[1].rows = 4;
	filters[0].rows = 6;
	assert_says("filtered: all 10 records filtered out by 2 steps, 6 of them by filter(good) "
	            "in line 4",
	            NULL);
	facts.filtered = 2;
	facts.failed = 3;
	facts.malformed = 5;
	filters[1].rows = 0;
	assert_says("filtered: 2 of 10 records filtered out by filter(good) in line 4",
	            "failed: 3 of 10 records failed: the log says why, and on_error where they go",
	            "malformed: 5 of 10 records malformed: not what :json reads", NULL);
	facts.filtered = facts.malformed = 0;
	facts.read = facts.failed = 1;
	assert_says("failed: the only record failed: the log says why, and on_error where they go",
	            NULL);
}

static void rows_dropped_by_event_time_are_told_with_the_watermark(void **state)
{
	(void)state;
	quiet_job();
	keyed.late = 10;
	keyed.most_late_us = 7500 * SECOND;
	assert_says("late: all 10 records late for g: up to 2 h 5 min behind the watermark "
	            "(2023-12-31T23:59:30.000Z, a delay of 30 s)",
	            NULL);
	keyed.late = 0;
	keyed.untimed = 4;
	keyed.repeats = 16;
	assert_says("untimed: 4 of 10 records without an event time for g",
	            "repeats: 16 rows that g has passed on before", NULL);
}

static void steps_that_make_no_rows_are_suspected_last(void **state)
{
	(void)state;
	quiet_job();
	facts.filtered = 1;
	facts.keyed_count = 0;
	assert_says("filtered: 1 of 10 records filtered out",
	            "no_rows: 9 of 10 records became no row: :flat_map emitted none", NULL);
}

static void nothing_is_said_when_rows_came_out(void **state)
{
	(void)state;
	quiet_job();
	facts.came_out = true;
	facts.filtered = 4;
	assert_says(NULL);
}

static void open_windows_wait_for_low_input(void **state)
{
	(void)state;
	static const char next[] =
		"windows: the next window of g ends at 2024-01-01T00:00:10.000Z and the watermark "
		"is at 2023-12-31T23:59:30.000Z, 40 s before it: an event of "
		"2024-01-01T00:00:40.000Z closes it";
	quiet_job();
	facts.came_out = true;
	keyed.next_end_us = BEGIN + 10 * SECOND;
	assert_says(next,
	            "watermark: low input: the newest event is of 2024-01-01T00:00:00.000Z, and no "
	            "later one has come for 20 s",
	            NULL);
	parts[0].stuck = true;
	assert_says(next,
	            "watermark: the newest records of t-0 brought no later event time than "
	            "2024-01-01T00:00:00.000Z",
	            NULL);
	mark.min_us = mark.max_us;
	assert_says(next,
	            "watermark: all 10 event times are the same, 2024-01-01T00:00:00.000Z, and "
	            "only a later one moves the watermark",
	            NULL);
	mark.at_us = keyed.next_end_us;
	assert_says("windows: the window of g that ends at 2024-01-01T00:00:10.000Z closes with "
	            "the next epoch",
	            NULL);
	facts.idle = false; /* As if it ran on: rows come out, and all is well. */
	assert_says(NULL);
}

static void a_partition_that_holds_the_others_back_is_named(void **state)
{
	(void)state;
	quiet_job();
	mark.per_partition = true;
	mark.at_us = INT64_MIN;
	keyed.next_end_us = BEGIN + 10 * SECOND;
	parts[1].max_us = INT64_MIN;
	assert_says("windows: windows of g wait for a watermark, and there is none yet",
	            "watermark: t-1 has had no event yet and holds the watermark back until it has "
	            "been quiet for 1 min (idle), 40 s from now",
	            NULL);
	parts[1].max_us = BEGIN - 90 * SECOND;
	parts[1].quiet_us = INT64_MIN; /* it is read right now */
	mark.at_us = BEGIN - 120 * SECOND;
	assert_says("windows: the next window of g ends at 2024-01-01T00:00:10.000Z and the "
	            "watermark is at 2023-12-31T23:58:00.000Z, 2 min 10 s before it: an event of "
	            "2024-01-01T00:00:40.000Z closes it",
	            "watermark: t-1 holds the watermark back: its newest event is of "
	            "2023-12-31T23:58:30.000Z, 1 min 30 s behind the newest of all; it counts no "
	            "more when it has been quiet for 1 min (idle), 1 min from now",
	            NULL);
	parts[1].idle = true;
	mark.at_us = BEGIN - 30 * SECOND;
	parts[0].quiet_us = INT64_MIN;
	assert_says("windows: the next window of g ends at 2024-01-01T00:00:10.000Z and the "
	            "watermark is at 2023-12-31T23:59:30.000Z, 40 s before it: an event of "
	            "2024-01-01T00:00:40.000Z closes it",
	            "watermark: low input: the newest event is of 2024-01-01T00:00:00.000Z, and no "
	            "later one has come",
	            NULL);
}

static void event_times_beyond_belief_are_told(void **state)
{
	(void)state;
	quiet_job();
	mark.at_us = parts[0].max_us = parts[1].max_us = INT64_MIN;
	mark.ahead = 3;
	keyed.next_end_us = BEGIN + 10 * SECOND;
	assert_says("windows: windows of g wait for a watermark, and there is none yet",
	            "ahead: 3 event times more than 5 min ahead of the clock are not believed "
	            "(max_ahead)",
	            NULL);
	mark.ahead = 0;
	assert_says("windows: windows of g wait for a watermark, and there is none yet",
	            "watermark: no record had an event time yet", NULL);
}

static void findings_become_a_line_and_json(void **state)
{
	(void)state;
	struct tide_diagnosis diagnosis;
	struct tide_buf json = { 0 };
	char line[160], tight[8];
	quiet_job();
	facts.filtered = filters[0].rows = 4;
	facts.failed = 6;
	filters[0].text = "filter(\"x\")";
	tide_diagnose(&facts, &diagnosis);
	tide_diagnosis_line(&diagnosis, line, sizeof line);
	assert_string_equal(line,
	                    "4 of 10 records filtered out by filter(\"x\") in line 4; 6 of 10 "
	                    "records failed: the log says why, and on_error where they go");
	tide_diagnosis_line(&diagnosis, tight, sizeof tight);
	assert_string_equal(tight, "4 of 10");
	tide_diagnosis_write(&diagnosis, &json);
	tide_buf_u8(&json, '\0');
	assert_string_equal(
		json.p,
		"\"findings\":[{\"kind\":\"filtered\",\"rows\":4,\"step\":\"filter(\\\"x\\\")\","
		"\"line\":4,\"text\":\"4 of 10 records filtered out by filter(\\\"x\\\") in line "
		"4\"},{\"kind\":\"failed\",\"rows\":6,\"text\":\"6 of 10 records failed: the log "
		"says why, and on_error where they go\"}],\"text\":\"- 4 of 10 records filtered out "
		"by filter(\\\"x\\\") in line 4\\n- 6 of 10 records failed: the log says why, and "
		"on_error where they go\\n\"");
	tide_buf_fini(&json);
	quiet_job();
	facts.came_out = true;
	tide_diagnose(&facts, &diagnosis);
	tide_diagnosis_line(&diagnosis, line, sizeof line);
	assert_string_equal(line, "");
}

static void more_findings_than_fit_are_left_out(void **state)
{
	(void)state;
	struct tide_fact_keyed many[3 * TIDE_FINDINGS_MAX];
	struct tide_diagnosis diagnosis;
	quiet_job();
	for (int i = 0; i < 3 * TIDE_FINDINGS_MAX; i++) {
		many[i] = keyed;
		many[i].untimed = 1;
	}
	facts.keyed = many;
	facts.keyed_count = 3 * TIDE_FINDINGS_MAX;
	tide_diagnose(&facts, &diagnosis);
	assert_int_equal(diagnosis.count, TIDE_FINDINGS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_job_without_records_says_what_of_the_topic_is_missing),
		cmocka_unit_test(a_trigger_is_waited_for_beside_what_else_holds),
		cmocka_unit_test(dropped_rows_are_told_by_who_drops_them),
		cmocka_unit_test(rows_dropped_by_event_time_are_told_with_the_watermark),
		cmocka_unit_test(steps_that_make_no_rows_are_suspected_last),
		cmocka_unit_test(nothing_is_said_when_rows_came_out),
		cmocka_unit_test(open_windows_wait_for_low_input),
		cmocka_unit_test(a_partition_that_holds_the_others_back_is_named),
		cmocka_unit_test(event_times_beyond_belief_are_told),
		cmocka_unit_test(findings_become_a_line_and_json),
		cmocka_unit_test(more_findings_than_fit_are_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
