/* SPDX-License-Identifier: Apache-2.0 */
/* Fail points, each tried in a child: they are read once, and some kill. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/failpoint.h"

#ifdef TIDE_FAILPOINTS

/* Hits `run` three times and `decide` once; exits with 100 plus the results as bits. */
static int hit_in_child(const char *spec)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(99);
		setenv("TIDEMARK_FAILPOINT", spec, 1);
		int bits = 0;
		for (int i = 0; i < 3; i++)
			bits |= (tide_failpoint("run") == EIO) << i;
		bits |= (tide_failpoint("decide") == EIO) << 3;
		_exit(100 + bits);
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return -SIGSTOP;
	}
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void nothing_happens_unasked(void **state)
{
	(void)state;
	assert_int_equal(hit_in_child(""), 100);
	assert_int_equal(hit_in_child("idle=kill"), 100);
}

static void io_is_seen_by_the_caller(void **state)
{
	(void)state;
	assert_int_equal(hit_in_child("run=io"), 100 + 7);
	assert_int_equal(hit_in_child("run=io@2"), 100 + 2);
	assert_int_equal(hit_in_child("run=io@1,run=io@3,decide=io"), 100 + 13);
	assert_int_equal(hit_in_child("run=io@4"), 100);
	assert_int_equal(hit_in_child("run=enospc"), 100); /* not EIO */
}

static void the_process_dies_where_asked(void **state)
{
	(void)state;
	assert_int_equal(hit_in_child("run=kill@3"), -SIGKILL);
	assert_int_equal(hit_in_child("run=kill@4"), 100);
	assert_int_equal(hit_in_child("decide=exit"), 1);
	assert_int_equal(hit_in_child("run=stop@1"), -SIGSTOP);
}

static void a_delay_takes_its_time(void **state)
{
	(void)state;
	int64_t before = tide_clock_mono_us();
	assert_int_equal(hit_in_child("run=delay:10"), 100);
	assert_true(tide_clock_mono_us() - before >= 30000);
}

static void a_misspelt_fail_point_aborts(void **state)
{
	(void)state;
	static const char *const bad[] = { "run",        "=kill",    "run=",     "run=explode",
		                           "other=kill", "idle=io",  "run=io:5", "run=delay",
		                           "run=delay:", "run=io@0", "run=io@",  "run=io@1x",
		                           "run=kill 3" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(hit_in_child(bad[i]), -SIGABRT);
}

static void the_trace_outlives_a_kill(void **state)
{
	char path[] = "/tmp/tidemark-trace-XXXXXX", bytes[4096] = "";
	int fd = mkstemp(path);
	(void)state;
	assert_true(fd >= 0);
	setenv("TIDEMARK_FAILPOINT_TRACE", path, 1);
	assert_int_equal(hit_in_child("decide=kill"), -SIGKILL);
	unsetenv("TIDEMARK_FAILPOINT_TRACE");
	assert_int_equal(read(fd, bytes, sizeof bytes), sizeof bytes);
	assert_string_equal(bytes, "decide"); /* the last */
	/* All, once, and what they did. */
	assert_string_equal(bytes + 64, "\nrun\ndecide\ndecide=kill\n");
	close(fd);
	unlink(path);
}

#else

static void a_release_has_no_fail_points(void **state)
{
	(void)state;
	assert_int_equal(tide_failpoint("a"), 0);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef TIDE_FAILPOINTS
		cmocka_unit_test(nothing_happens_unasked),
		cmocka_unit_test(io_is_seen_by_the_caller),
		cmocka_unit_test(the_process_dies_where_asked),
		cmocka_unit_test(a_delay_takes_its_time),
		cmocka_unit_test(a_misspelt_fail_point_aborts),
		cmocka_unit_test(the_trace_outlives_a_kill),
#else
		cmocka_unit_test(a_release_has_no_fail_points),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
