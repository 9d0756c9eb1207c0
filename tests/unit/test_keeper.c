/* SPDX-License-Identifier: Apache-2.0 */
/* Sinks that keep what they get, and a lack of memory when they open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "run/keeper.h"

static bool names_fail;

char *strdup(const char *text)
{
	char *copy = names_fail ? NULL : malloc(strlen(text) + 1);
	return copy == NULL ? NULL : strcpy(copy, text);
}

static int keeper_open(struct tide_keeper *keeper, struct tide_schema *row, struct tide_sink **sink)
{
	struct tide_error err = { 0 };
	struct tide_plan_output output = { .name = (char *)(uintptr_t) "words", .row = row };
	struct tide_sink_options options = { .output = &output, .arg = keeper };
	return tide_keeper_ops.open(sink, &options, &err);
}

static void a_name_without_memory_leaves_nothing_behind(void **state)
{
	(void)state;
	struct tide_schema *row = tide_schema_new(1);
	struct tide_keeper keeper = { 0 };
	struct tide_sink *sink = NULL;
	names_fail = true;
	assert_int_equal(keeper_open(&keeper, row, &sink), TIDE_ERR_NOMEM);
	names_fail = false;
	assert_int_equal(keeper.count, 0);
	assert_null(keeper.kept[0].rows);
	assert_int_equal(keeper_open(&keeper, row, &sink), TIDE_OK);
	assert_non_null(tide_keeper_rows(&keeper, "words"));
	tide_keeper_ops.close(sink);
	tide_keeper_fini(&keeper);
	free(row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_without_memory_leaves_nothing_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
