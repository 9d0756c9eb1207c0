/* SPDX-License-Identifier: Apache-2.0 */
/* Golden checkpoints: what earlier versions wrote is read exactly, and gone on from. */
#include "checkpoint_fixture.h"

enum { OLDEST_KEPT = 4, NEWEST_EPOCH = 11 };

static const char *take(int format)
{
	char from[64], name[32];
	snprintf(from, sizeof from, "tests/fault/checkpoints/format-%d", format);
	if (access(from, F_OK) != 0)
		fail_msg("%s is not there; tests/fault/checkpoints/make makes the one of a new "
		         "format",
		         from);
	snprintf(name, sizeof name, "format-%d", format);
	const char *to = path_of(name);
	shell("cp -r %s %s", from, to);
	return to;
}

static void every_format_is_read_exactly_and_gone_on_from(void **state)
{
	(void)state;
	for (int format = OLDEST_KEPT; format <= TIDE_CHECKPOINT_FORMAT; format++) {
		char dir[160];
		struct tide_verify_report report;
		snprintf(dir, sizeof dir, "%s", take(format));
		struct tide_checkpoint *cp = open_ok(dir, true);
		assert_int_equal(tide_checkpoint_meta(cp)->format, format);
		assert_whole(cp, NEWEST_EPOCH);
		tide_checkpoint_close(cp);
		assert_int_equal(tide_checkpoint_verify(dir, &report, &err), TIDE_OK);
		assert_int_equal(report.state_rows, FIX_KEYS);
		assert_int_equal(report.epochs, NEWEST_EPOCH + 1);
		cp = open_ok(dir, false);
		assert_whole(cp, NEWEST_EPOCH);
		assert_int_equal(decide_next(cp), TIDE_OK);
		assert_int_equal(tide_checkpoint_meta(cp)->format, TIDE_CHECKPOINT_FORMAT);
		tide_checkpoint_close(cp);
		cp = open_ok(dir, false);
		assert_whole(cp, NEWEST_EPOCH + 1);
		tide_checkpoint_close(cp);
		assert_verified(dir);
	}
}

static void newer_format_is_refused_by_number(void **state)
{
	(void)state;
	char dir[160], number[16];
	snprintf(dir, sizeof dir, "%s", take(TIDE_CHECKPOINT_FORMAT));
	snprintf(number, sizeof number, "%d", TIDE_CHECKPOINT_FORMAT + 1);
	shell("echo tidemark checkpoint format %s > %s/FORMAT", number, dir);
	snprintf(number, sizeof number, "format %d", TIDE_CHECKPOINT_FORMAT + 1);
	for (int read_only = 0; read_only < 2; read_only++) {
		assert_says(open_refused(dir, read_only, TIDE_ERR_CHECKPOINT), number);
		assert_says(err.text, "use the version that wrote it");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_format_is_read_exactly_and_gone_on_from),
		cmocka_unit_test(newer_format_is_refused_by_number),
	};
	return cmocka_run_group_tests(tests, root_make, root_remove);
}
