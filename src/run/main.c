/* SPDX-License-Identifier: Apache-2.0 */
/* The process: signals, the exit code, and the only exit. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "run/cli.h"

/* A stop that takes longer than this drops the epoch in progress: it leaves no
 * trace, so the next start repeats it. */
enum { STOP_SECONDS_MAX = 9 };

static atomic_int stop_count;

static void on_stop(int number)
{
	if (atomic_fetch_add(&stop_count, 1) > 0)
		_exit(128 + number);
	alarm(STOP_SECONDS_MAX);
}

static void on_alarm(int number)
{
	static const char text[] =
		"tidemark: stopping took too long; the epoch in progress was dropped whole and "
		"will be read again\n";
	(void)number;
	ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
	(void)written;
	_exit(0);
}

static void handle(int number, void (*handler)(int))
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_handler = handler;
	sigemptyset(&action.sa_mask);
	sigaction(number, &action, NULL);
}

int main(int argc, char **argv)
{
	static struct tide_error err;
	handle(SIGINT, on_stop);
	handle(SIGTERM, on_stop);
	handle(SIGALRM, on_alarm);
	handle(SIGPIPE, SIG_IGN);
	int rc = tide_cli_main(argc, argv, environ, &stop_count, &err);
	if (rc != TIDE_OK && rc != TIDE_ERR_STOPPED && err.text[0] != '\0') {
		tide_log_status("");
		tide_log(TIDE_ERROR, "%s", err.text);
	}
	if (fflush(stdout) != 0 && rc == TIDE_OK)
		rc = TIDE_ERR_UNAVAILABLE;
	return tide_exit_code(rc);
}
