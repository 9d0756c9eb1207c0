/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: items are zeroed, indexes stand, everything is freed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "record/plan.h"
#include "run/plan.h"

static void options_keep_the_last_value_of_a_key(void **state)
{
	(void)state;
	struct tide_options options = { 0 };
	assert_null(tide_option_get(&options, "a"));
	assert_true(tide_option_set(&options, "a", "1"));
	assert_true(tide_option_set(&options, "b", ""));
	assert_true(tide_option_set(&options, "a", "2"));
	assert_int_equal(options.count, 2);
	assert_string_equal(options.items[0].key, "a"); /* in the order of coming */
	assert_string_equal(tide_option_get(&options, "a"), "2");
	assert_string_equal(tide_option_get(&options, "b"), "");
	assert_null(tide_option_get(&options, "c"));
	tide_options_fini(&options);
	assert_int_equal(options.count, 0);
	assert_null(tide_option_get(&options, "a"));
}

static void an_option_may_be_set_to_itself(void **state)
{
	(void)state;
	struct tide_options options = { 0 };
	tide_option_set(&options, "a", "value");
	assert_true(tide_option_set(&options, "a", tide_option_get(&options, "a")));
	assert_string_equal(tide_option_get(&options, "a"), "value");
	tide_options_fini(&options);
}

static void items_are_zeroed_and_numbered(void **state)
{
	(void)state;
	struct tide_plan *plan = tide_plan_new();
	for (int i = 0; i < 20; i++) {
		assert_int_equal(tide_plan_add_input(plan), i);
		assert_int_equal(tide_plan_add_keyed(plan), i);
		assert_int_equal(tide_plan_add_output(plan), i);
		assert_int_equal(tide_plan_add_step(plan), i);
		assert_null(plan->inputs[i].kind);
		assert_int_equal(plan->keyed[i].key_count, 0);
		assert_null(plan->outputs[i].row);
		assert_int_equal(plan->steps[i].parent, 0);
		plan->inputs[i].line = plan->steps[i].line = i;
	}
	assert_int_equal(plan->input_count, 20);
	assert_int_equal(plan->output_count, 20);
	for (int i = 0; i < 20; i++)
		assert_int_equal(plan->inputs[i].line, i);
	tide_plan_free(plan);
}

/* For the leak checker. */
static void a_full_plan_is_freed_whole(void **state)
{
	(void)state;
	struct tide_plan *plan = tide_plan_new();
	plan->job = strdup("job");
	plan->path = strdup("job.lua");
	tide_option_set(&plan->settings, "trigger", "1s");
	assert_int_equal(tide_plan_add_input(plan), 0);
	assert_int_equal(tide_plan_add_keyed(plan), 0);
	assert_int_equal(tide_plan_add_output(plan), 0);
	assert_int_equal(tide_plan_add_step(plan), 0);
	struct tide_plan_input *input = plan->inputs;
	input->kind = strdup("kafka");
	tide_option_set(&input->options, "topic", "t");
	struct tide_plan_keyed *keyed = plan->keyed;
	keyed->name = strdup("count");
	keyed->row = tide_schema_new(2);
	keyed->keys = calloc(2, sizeof *keyed->keys);
	keyed->layout = strdup("1");
	struct tide_plan_output *output = plan->outputs;
	output->row = tide_schema_new(3);
	output->sink = strdup("console");
	output->name = strdup("console");
	tide_option_set(&output->options, "mode", "update");
	struct tide_plan_step *step = plan->steps;
	step->kind = strdup("kafka");
	step->text = strdup("kafka(t)");
	tide_plan_free(plan);
	tide_plan_free(NULL);
}

static void a_stored_plan_whose_line_is_cut_short_is_read(void **state)
{
	(void)state;
	int keys[] = { 0 };
	char name[] = "count", layout[] = "key{int}; n=count{, 8 bytes}";
	struct tide_plan_keyed keyed = { .name = name,
		                         .layout = layout,
		                         .keys = keys,
		                         .key_count = 1,
		                         .state_size = 8,
		                         .mark = -1 };
	struct tide_plan_move moves[TIDE_PLAN_MOVES_MAX];
	struct tide_buf out = { 0 };
	size_t old_size;
	const char *stored = "state\tcount\taggregate n\nstate\tcount\taggregate m\n";
	assert_int_equal(tide_plan_stored_layout(stored, &keyed, &out), 0);
	assert_string_equal(out.p, "\n\n");
	assert_int_equal(tide_plan_moves(stored, &keyed, moves, &old_size), 0);
	assert_int_equal(old_size, 0);
	tide_buf_fini(&out);
}

static void a_stored_size_is_believed_only_where_it_stands(void **state)
{
	static const struct {
		const char *what;
		size_t size;
	} cases[] = {
		{ "n=count{, 8 bytes}", 8 },
		{ "n=count{, 8", 0 },
		{ "n=count{, 8 bytes} ", 0 },
		{ "n=count{, -8 bytes}", 0 },
		{ "n=count{,-8 bytes}", 0 },
		{ " bytes}", 0 },
		{ "n=count{,,77777777777777777777777777777777777", 0 },
		{ "n=count{, 77777777777777777777777777777777777 bytes}", 0 },
	};
	char name[] = "count";
	struct tide_plan_keyed keyed = { .name = name, .mark = -1 };
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char stored[128];
		struct tide_buf out = { 0 };
		snprintf(stored, sizeof stored, "state\tcount\taggregate n\t%s\n", cases[i].what);
		assert_int_equal(tide_plan_stored_layout(stored, &keyed, &out), cases[i].size);
		tide_buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_keep_the_last_value_of_a_key),
		cmocka_unit_test(an_option_may_be_set_to_itself),
		cmocka_unit_test(items_are_zeroed_and_numbered),
		cmocka_unit_test(a_full_plan_is_freed_whole),
		cmocka_unit_test(a_stored_plan_whose_line_is_cut_short_is_read),
		cmocka_unit_test(a_stored_size_is_believed_only_where_it_stands),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
