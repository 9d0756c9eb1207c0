/* SPDX-License-Identifier: Apache-2.0 */
/* A word with a running job: what is understood, and who keeps it waiting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "run/control.h"

static void only_whole_requests_are_understood(void **state)
{
	(void)state;
	struct tide_control_request request;
	assert_true(tide_control_parse("reload", &request));
	assert_int_equal(request.epochs, 0);
	assert_true(tide_control_parse("reload shadow=7", &request));
	assert_int_equal(request.epochs, 7);
	assert_string_equal(request.max_diff, "");
	assert_true(tide_control_parse("reload shadow=50 max=1e-05%", &request));
	assert_int_equal(request.epochs, 50);
	assert_string_equal(request.max_diff, "1e-05%");
	static const char *const wrong[] = {
		"",
		"reloads",
		"reload ",
		"reload shadow=",
		"reload shadow=0",
		"reload shadow=-1",
		"reload shadow=51",
		"reload shadow=99999999999999999999",
		"reload shadow=7 max=",
		"reload shadow=7 max=%",
		"reload shadow=7 max=1",
		"reload shadow=7 max=1%x",
		"reload shadow=7 max=1111111111111111111111111111111%",
		"reload max=1%",
		"\xff",
	};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		if (tide_control_parse(wrong[i], &request))
			fail_msg("\"%s\" is taken for a request", wrong[i]);
}

static int hear(const char *text)
{
	struct tide_error err = { 0 };
	FILE *in = tmpfile(), *out = tmpfile();
	assert_true(in != NULL && out != NULL);
	fputs(text, in);
	rewind(in);
	int rc = tide_control_hear(in, out, &err);
	assert_true(rc == TIDE_OK || err.text[0] != '\0');
	fclose(in);
	fclose(out);
	return rc;
}

static void an_answer_has_an_end_that_is_known(void **state)
{
	(void)state;
	assert_int_equal(hear("= a row\ndone hot 0 it runs\n"), TIDE_OK);
	assert_int_equal(hear("done cold -5 the key\n"), TIDE_ERR_CHECKPOINT);
	assert_int_equal(hear("= a row\n"), TIDE_ERR_UNAVAILABLE);
	assert_int_equal(hear(""), TIDE_ERR_UNAVAILABLE);
	assert_int_equal(hear("done hot\n"), TIDE_ERR_FAILED);
	assert_int_equal(hear("done hot 4 what\n"), TIDE_ERR_FAILED);
	assert_int_equal(hear("done hot -4000 what\n"), TIDE_ERR_FAILED);
}

struct dripping {
	const char *dir;
	atomic_int stop;
};

/* Byte by byte, for as long as anybody listens. */
static void *drip(void *arg)
{
	struct dripping *dripping = arg;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timespec pause = { .tv_nsec = 100000000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof address.sun_path, "%s/control", dripping->dir);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		while (!atomic_load(&dripping->stop) && send(fd, "r", 1, MSG_NOSIGNAL) == 1)
			nanosleep(&pause, NULL);
	close(fd);
	return NULL;
}

static void whoever_sends_byte_by_byte_is_left(void **state)
{
	(void)state;
	char dir[] = "/tmp/tide_control_XXXXXX", line[256];
	struct dripping dripping = { .dir = mkdtemp(dir) };
	pthread_t thread;
	int fd = -1;
	assert_non_null(dripping.dir);
	assert_int_equal(tide_control_listen(dir, &fd, NULL), TIDE_OK);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0); /* wait for whoever comes */
	assert_int_equal(pthread_create(&thread, NULL, drip, &dripping), 0);
	int64_t began_us = tide_clock_mono_us();
	assert_null(tide_control_accept(fd, line, sizeof line));
	/* 255 bytes would have taken 25 s. */
	int64_t took_us = tide_clock_mono_us() - began_us;
	atomic_store(&dripping.stop, 1);
	pthread_join(thread, NULL);
	assert_in_range(took_us, 0, 15000000);
	tide_control_close(dir, fd);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_whole_requests_are_understood),
		cmocka_unit_test(an_answer_has_an_end_that_is_known),
		cmocka_unit_test(whoever_sends_byte_by_byte_is_left),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
