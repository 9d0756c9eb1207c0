/* SPDX-License-Identifier: Apache-2.0 */
/* The sampler on VMs that come and go: whose lines it reports, and that nothing of
 * it is left behind. Lines are compared, never times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "job/sampler.h"
#include "job/trial.h"
#include "record/batch.h"

enum { RECORDS = 200, BUSY_MS = 150 };

static const char job_text[] = "local tide = require \"tidemark\"\n"
			       "return tide.from(tide.kafka { topic = \"t\" })\n"
			       "   :map(function(rec)\n"
			       "      local n = 0\n"
			       "      for word in (\"a b c d e f g h\"):rep(9):gmatch(\"%%a\") do\n"
			       "         n = n + #word\n"
			       "      end\n"
			       "      return n + %d\n"
			       "   end, { \"n:int\" })\n"
			       "   :to(tide.console {})\n";

/* Line 5 stands in the report with a share of the time. */
static bool tells_the_slow_line(const char *report)
{
	const char *line = strstr(report, " 5 |       for word in");
	while (line != NULL && line > report && line[-1] != '\n')
		line--;
	return line != NULL && strtod(line, NULL) > 20;
}

struct stand {
	char path[64];
	struct tide_vm *vm;
	struct tide_plan *plan;
	struct tide_trial *trial;
	struct tide_error err;
};

static void stand_open(struct stand *stand, int number)
{
	struct tide_vm_options options = { .lua_dir = "lua" };
	char text[1024];
	memset(stand, 0, sizeof *stand);
	strcpy(stand->path, "/tmp/tide_sampler_XXXXXX.lua");
	int fd = mkstemps(stand->path, 4);
	int len = snprintf(text, sizeof text, job_text, number);
	assert_true(fd >= 0 && write(fd, text, (size_t)len) == len);
	close(fd);
	stand->plan = tide_plan_new();
	assert_int_equal(tide_vm_new(&options, &stand->vm, &stand->err), 0);
	if (tide_vm_load(stand->vm, stand->path, stand->plan, &stand->err) != 0)
		fail_msg("%s", stand->err.text);
	unlink(stand->path);
	stand->trial = tide_trial_new(stand->plan);
	struct tide_vm_bind bind = tide_trial_bind(stand->trial);
	assert_int_equal(tide_vm_bind(stand->vm, &bind, &stand->err), 0);
}

static void stand_close(struct stand *stand)
{
	tide_vm_free(stand->vm);
	tide_trial_free(stand->trial);
	tide_plan_free(stand->plan);
}

static int64_t busy_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Batches, for a while of this thread's time. */
static void work(struct stand *stand)
{
	struct tide_slice value = { "v", 1 };
	int64_t end = busy_ms() + BUSY_MS;
	while (busy_ms() < end) {
		struct tide_run_result result;
		struct tide_batch *batch = tide_trial_batch(stand->trial);
		for (int i = 0; i < RECORDS; i++)
			assert_non_null(tide_batch_add(batch, value, value, i, 0));
		if (tide_vm_run(stand->vm, 0, batch, &result, &stand->err) != 0)
			fail_msg("%s", stand->err.text);
		assert_int_equal(result.rows_failed, 0);
		struct tide_vm_bind bind = tide_trial_bind(stand->trial);
		assert_int_equal(tide_vm_bind(stand->vm, &bind, &stand->err), 0);
	}
}

static void follow(struct stand *stand, struct tide_sampler *sampler)
{
	if (tide_vm_sample(stand->vm, sampler, &stand->err) != 0)
		fail_msg("%s", stand->err.text);
}

static struct tide_sampler *sampler_new(bool adds_up)
{
	struct tide_sampler_options options = { .lua_dir = "lua", .adds_up = adds_up };
	struct tide_sampler *sampler = tide_sampler_new(&options);
	assert_non_null(sampler);
	return sampler;
}

static void slow_line_is_in_the_report(void **state)
{
	(void)state;
	struct stand stand;
	struct tide_sampler *sampler = sampler_new(false);
	stand_open(&stand, 1);
	follow(&stand, sampler);
	follow(&stand, sampler);
	work(&stand);
	assert_null(tide_sampler_report(sampler));
	stand_close(&stand);
	const char *report = tide_sampler_report(sampler);
	assert_non_null(report);
	assert_true(tells_the_slow_line(report));
	assert_non_null(strstr(report, ":5: not compiled: string.gmatch ("));
	raise(SIGPROF); /* one that is late ends nothing */
	tide_sampler_free(sampler);
}

static void report_is_of_the_vm_that_ran_last(void **state)
{
	(void)state;
	struct stand one, two;
	struct tide_sampler *sampler = sampler_new(false);
	stand_open(&one, 1);
	stand_open(&two, 2);
	follow(&one, sampler);
	work(&one);
	follow(&two, sampler);
	assert_non_null(strstr(tide_sampler_report(sampler), one.path));
	stand_close(&one); /* is not followed any more */
	work(&two);
	stand_close(&two);
	assert_null(strstr(tide_sampler_report(sampler), one.path));
	assert_non_null(strstr(tide_sampler_report(sampler), two.path));
	tide_sampler_free(sampler);
}

static void *work_elsewhere(void *arg)
{
	struct stand *stand = ((void **)arg)[0];
	struct tide_sampler *sampler = ((void **)arg)[1];
	follow(stand, sampler);
	work(stand);
	return NULL;
}

/* As when the workers of a run are made anew around the same VMs. */
static void a_vm_may_go_on_on_another_thread(void **state)
{
	(void)state;
	struct stand stand;
	struct tide_sampler *sampler = sampler_new(true);
	void *arg[] = { &stand, sampler };
	stand_open(&stand, 1);
	for (int i = 0; i < 3; i++) {
		pthread_t thread;
		assert_int_equal(pthread_create(&thread, NULL, work_elsewhere, arg), 0);
		pthread_join(thread, NULL);
	}
	stand_close(&stand);
	assert_true(tells_the_slow_line(tide_sampler_report(sampler)));
	tide_sampler_free(sampler);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_line_is_in_the_report),
		cmocka_unit_test(report_is_of_the_vm_that_ran_last),
		cmocka_unit_test(a_vm_may_go_on_on_another_thread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
