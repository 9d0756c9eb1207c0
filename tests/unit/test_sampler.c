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
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "job/sampler.h"
#include "job/trial.h"
#include "record/batch.h"

enum { RECORDS = 200, BUSY_MS = 150, LOOK_MS = 10 };

static const char job_text[] = "local tide = require \"tidemark\"\n"
			       "return tide.from(tide.kafka { topic = \"t\" })\n"
			       "   :map(function(rec)\n"
			       "      local n = 0 if rec.key == \"quick\" then return 0 end\n"
			       "      for word in (\"a b c d e f g h\"):rep(9):gmatch(\"%%a\") do\n"
			       "         n = n + #word\n"
			       "      end\n"
			       "      return n + %d\n"
			       "   end, { \"n:int\" })\n"
			       "   :to(tide.console {})\n";

/* The share of the time that line 5 stands in the report with. */
static double slow_share(const char *report)
{
	const char *line = strstr(report, " 5 |       for word in");
	while (line != NULL && line > report && line[-1] != '\n')
		line--;
	return line != NULL ? strtod(line, NULL) : 0;
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

static void work_batch(struct stand *stand, struct tide_slice key)
{
	struct tide_run_result result;
	struct tide_batch *batch = tide_trial_batch(stand->trial);
	for (int i = 0; i < RECORDS; i++)
		assert_non_null(tide_batch_add(batch, key, key, i, 0));
	if (tide_vm_run(stand->vm, 0, batch, &result, &stand->err) != 0)
		fail_msg("%s", stand->err.text);
	assert_int_equal(result.rows_failed, 0);
	struct tide_vm_bind bind = tide_trial_bind(stand->trial);
	assert_int_equal(tide_vm_bind(stand->vm, &bind, &stand->err), 0);
}

/* Batches, for a while of this thread's time. */
static void work(struct stand *stand)
{
	int64_t end = busy_ms() + BUSY_MS;
	while (busy_ms() < end)
		work_batch(stand, (struct tide_slice){ "v", 1 });
}

static void follow_as(struct stand *stand, struct tide_sampler *sampler, int number)
{
	if (tide_vm_sample(stand->vm, sampler, number, &stand->err) != 0)
		fail_msg("%s", stand->err.text);
}

static void follow(struct stand *stand, struct tide_sampler *sampler)
{
	follow_as(stand, sampler, 0);
}

static struct tide_sampler *sampler_new(bool adds_up)
{
	struct tide_sampler_options options = { .lua_dir = "lua", .vms = 1, .adds_up = adds_up };
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
	assert_true(slow_share(report) > 20);
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
	assert_true(slow_share(tide_sampler_report(sampler)) > 20);
	tide_sampler_free(sampler);
}

/* Two workers, of which one has the keys that are slow. Both go on until both have
 * worked long enough: who is idle keeps its turn. */
struct pair {
	struct tide_sampler *sampler;
	struct stand stands[2];
	pthread_barrier_t begin;
	atomic_int ready;
};

struct half {
	struct pair *pair;
	int number;
};

static void *work_beside(void *arg)
{
	struct half *half = arg;
	struct pair *pair = half->pair;
	struct stand *stand = &pair->stands[half->number];
	struct tide_slice key = half->number == 1 ? (struct tide_slice){ "slow", 4 }
	                                          : (struct tide_slice){ "quick", 5 };
	follow_as(stand, pair->sampler, half->number);
	pthread_barrier_wait(&pair->begin);
	bool ready = false;
	for (int64_t end = busy_ms() + 3 * BUSY_MS; atomic_load(&pair->ready) < 2;) {
		work_batch(stand, key);
		if (!ready && busy_ms() >= end) {
			atomic_fetch_add(&pair->ready, 1);
			ready = true;
		}
	}
	return NULL;
}

static void lines_of_all_workers_are_in_the_report(void **state)
{
	(void)state;
	struct tide_sampler_options options = { .lua_dir = "lua", .vms = 2, .look_ms = LOOK_MS };
	struct pair pair = { .sampler = tide_sampler_new(&options) };
	struct half halves[2] = { { &pair, 0 }, { &pair, 1 } };
	pthread_t threads[2];
	assert_non_null(pair.sampler);
	pthread_barrier_init(&pair.begin, NULL, 2);
	for (int i = 0; i < 2; i++) {
		stand_open(&pair.stands[i], 1);
		assert_int_equal(pthread_create(&threads[i], NULL, work_beside, &halves[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&pair.begin);
	stand_close(&pair.stands[0]);
	assert_null(tide_sampler_report(pair.sampler));
	stand_close(&pair.stands[1]);
	const char *report = tide_sampler_report(pair.sampler);
	assert_non_null(strstr(report, " samples of the processor time of 2 workers\n"));
	assert_non_null(strstr(report, "worker 0: "));
	assert_non_null(strstr(report, "worker 1: "));
	assert_null(strstr(report, "too short"));
	assert_true(slow_share(report) > 0);
	assert_non_null(strstr(report, ":5: not compiled: string.gmatch ("));
	tide_sampler_free(pair.sampler);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_line_is_in_the_report),
		cmocka_unit_test(report_is_of_the_vm_that_ran_last),
		cmocka_unit_test(a_vm_may_go_on_on_another_thread),
		cmocka_unit_test(lines_of_all_workers_are_in_the_report),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
