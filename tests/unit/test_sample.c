/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a file as records of the topics that a job reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "run/sample.h"

static struct tide_plan *plan;
static struct tide_settings settings;
static struct tide_memory *memory;
static struct tide_error err;

static int begin(void **state)
{
	(void)state;
	plan = tide_plan_new();
	settings = (struct tide_settings){ 0 };
	return 0;
}

static int end(void **state)
{
	(void)state;
	tide_memory_free(memory);
	memory = NULL;
	tide_plan_free(plan);
	return 0;
}

static void input(const char *topics)
{
	int i = tide_plan_add_input(plan);
	assert_true(tide_option_set(&plan->inputs[i].options, "topics", topics));
}

static int read_lines(const char *text)
{
	tide_memory_free(memory);
	memory = NULL;
	return tide_sample_lines(plan, &settings, (struct tide_slice){ text, strlen(text) }, 5,
	                         &memory, &err);
}

static void put_text(struct tide_buf *out, const struct tide_view *view)
{
	if (view->len_ < 0)
		tide_buf_printf(out, "null");
	else
		tide_buf_printf(out, "'%.*s'", view->len_, tide_view_p(view));
}

static void put_batch(struct tide_buf *out, const struct tide_batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct tide_rec *rec = &batch->recs[i];
		const struct tide_header *headers = (const void *)(uintptr_t)rec->headers_addr_;
		tide_buf_printf(out, "%s[%d]@%lld %lld ", batch->topic, batch->partition,
		                (long long)rec->offset_, (long long)rec->timestamp_ms_);
		put_text(out, &rec->key_);
		tide_buf_printf(out, "=");
		put_text(out, &rec->value_);
		for (uint32_t h = 0; h < rec->header_count; h++) {
			tide_buf_printf(out, " ");
			put_text(out, &headers[h].name_);
			put_text(out, &headers[h].value_);
		}
		tide_buf_printf(out, "\n");
	}
}

/* All that a source over the memory gives, as the loop reads it. */
static void assert_records(const char *topics, const char *expected)
{
	struct tide_options options = { 0 };
	struct tide_source *source = NULL;
	struct tide_source_part **parts = NULL;
	struct tide_buf out = { 0 };
	struct tide_ring *ring = tide_ring_new();
	int count = 0;
	assert_true(tide_option_set(&options, "topics", topics));
	assert_int_equal(tide_memory_open(memory, &options, &source, &err), TIDE_OK);
	assert_int_equal(source->ops->discover(source, &parts, &count, &err), TIDE_OK);
	assert_int_equal(source->ops->ends(source, parts, count, &err), TIDE_OK);
	for (int p = 0; p < count; p++) {
		struct tide_batch *batch =
			tide_ring_next(ring, parts[p]->topic, parts[p]->partition);
		source->ops->resolve(source, &parts[p], 1, "earliest", &parts[p]->next, &err);
		int64_t to = parts[p]->end;
		assert_int_equal(source->ops->fetch(source, parts[p], to, 0, batch, &err), TIDE_OK);
		assert_int_equal(parts[p]->next, to);
		put_batch(&out, batch);
	}
	tide_buf_u8(&out, '\0');
	assert_string_equal(out.p, expected);
	source->ops->close(source);
	tide_options_fini(&options);
	tide_ring_free(ring);
	tide_buf_fini(&out);
	free(parts);
}

static void lines_are_records_or_values_at_their_number(void **state)
{
	(void)state;
	input("t");
	assert_int_equal(read_lines("plain text\r\n"
	                            "\n"
	                            "{\"key\":\"k\",\"value\":null,\"timestamp\":7,"
	                            "\"headers\":[[\"a\",\"b\"]]}\n"
	                            "{\"id\":1}\n"
	                            "  \t\n"
	                            "{\"value\":\"v\"} \n"
	                            "last"),
	                 TIDE_OK);
	assert_records("t", "t[0]@1 5 null='plain text'\n"
	                    "t[0]@3 7 'k'=null 'a''b'\n"
	                    "t[0]@4 5 null='{\"id\":1}'\n"
	                    "t[0]@6 5 null='v'\n"
	                    "t[0]@7 5 null='last'\n");
}

static void partitions_are_as_many_as_the_lines_name(void **state)
{
	(void)state;
	input("t");
	assert_int_equal(read_lines("{\"value\":\"a\",\"partition\":2}\nb\n"
	                            "{\"value\":\"c\",\"partition\":2}\n"),
	                 TIDE_OK);
	assert_records("t", "t[0]@2 5 null='b'\nt[2]@1 5 null='a'\nt[2]@3 5 null='c'\n");
	assert_int_equal(read_lines("a\n{\"value\":\"a\",\"partition\":1024}\n"), TIDE_ERR_USAGE);
	assert_string_equal(err.text, "line 2 of the sample: partition 1024; there may be 1024");
}

static void each_input_gets_them_in_the_topic_that_it_names_first(void **state)
{
	(void)state;
	input("a,b");
	input("c");
	input("a");
	assert_int_equal(read_lines("x"), TIDE_OK);
	assert_records("a,b,c", "a[0]@1 5 null='x'\nc[0]@1 5 null='x'\n");
}

static void topic_for_a_pattern_is_one_that_fits(void **state)
{
	(void)state;
	input("^logs-.*");
	assert_int_equal(read_lines("x"), TIDE_OK);
	assert_records("^logs-.*", "logs-[0]@1 5 null='x'\n");
	plan->inputs[0].options.items[0].value[0] = '^';
	strcpy(plan->inputs[0].options.items[0].value, "^[xyz]$");
	assert_int_equal(read_lines("x"), TIDE_ERR_USAGE);
	assert_non_null(strstr(err.text, "say --topic TOPIC"));
	settings.topic = "mine";
	assert_int_equal(read_lines("x"), TIDE_OK);
	assert_records("mine", "mine[0]@1 5 null='x'\n");
}

static void empty_sample_is_an_empty_topic(void **state)
{
	(void)state;
	input("t");
	assert_int_equal(read_lines(""), TIDE_OK);
	assert_records("t", "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(lines_are_records_or_values_at_their_number),
		TEST(partitions_are_as_many_as_the_lines_name),
		TEST(each_input_gets_them_in_the_topic_that_it_names_first),
		TEST(topic_for_a_pattern_is_one_that_fits),
		TEST(empty_sample_is_an_empty_topic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
