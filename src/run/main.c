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
#include "sink/live.h"

/* A stop that takes longer than this ends without being finished, as a crash
 * would; it takes a second more when nobody reads stderr. */
enum { STOP_SECONDS_MAX = 8 };

static atomic_int stop_count;
static struct tide_hangups hangups;
static struct sigaction before_crash[NSIG];
static atomic_int end_code; /* of an end that the alarm may have to finish */

static void on_stop(int number)
{
	int before = atomic_fetch_add(&stop_count, 1);
	if (before == 0)
		alarm(STOP_SECONDS_MAX);
	/* A third one may come on another thread while the second gives back the terminal. */
	if (before != 1)
		return;
	atomic_store(&end_code, 128 + number);
	tide_live_abandon();
	_exit(128 + number);
}

static void on_alarm(int number)
{
	static const char text[] =
		"tidemark: stopping took too long. What is not decided is dropped whole and will "
		"be read again; what is decided and not yet put out will be at the next start\n";
	static atomic_int before;
	(void)number;
	if (atomic_exchange(&before, 1) != 0)
		_exit(atomic_load(&end_code));
	alarm(1);
	tide_live_abandon();
	ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
	(void)written;
	_exit(0);
}

/* The terminal comes back before the signal does what it does without us. Debian's
 * RocksDB keeps its assertions, and a damaged file may meet one before a checksum. */
static void on_crash(int number)
{
	static const char text[] =
		"tidemark: ended by an assertion, said above, of its own or of a library's. What is "
		"decided is kept, and the next start goes on behind it; if it ends again, "
		"`tidemark checkpoint verify` tells whether the checkpoint is damaged, and "
		"`tidemark checkpoint restore` goes back to a copy\n";
	tide_live_abandon();
	ssize_t written = number == SIGABRT ? write(STDERR_FILENO, text, sizeof text - 1) : 0;
	(void)written;
	sigaction(number, &before_crash[number], NULL);
	raise(number);
}

static void on_hangup(int number)
{
	if (atomic_load(&hangups.wanted))
		atomic_fetch_add(&hangups.count, 1);
	else
		on_crash(number);
}

static void handle(int number, void (*handler)(int), struct sigaction *before)
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_handler = handler;
	/* The alarm interrupts its own handler. */
	action.sa_flags = number == SIGALRM ? SA_NODEFER : 0;
	sigemptyset(&action.sa_mask);
	sigaction(number, &action, before);
	if (before != NULL && before->sa_handler == SIG_IGN) /* nohup wants it so */
		sigaction(number, before, NULL);
}

int main(int argc, char **argv)
{
	static struct tide_error err;
	static const int crashes[] = { SIGABRT, SIGQUIT };
	for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
		handle(crashes[i], on_crash, &before_crash[crashes[i]]);
	handle(SIGHUP, on_hangup, &before_crash[SIGHUP]);
	handle(SIGINT, on_stop, NULL);
	handle(SIGTERM, on_stop, NULL);
	handle(SIGALRM, on_alarm, NULL);
	handle(SIGPIPE, SIG_IGN, NULL);
	int rc = tide_cli_main(argc, argv, environ, &stop_count, &hangups, &err);
	if (rc != TIDE_OK && err.text[0] != '\0') {
		tide_log_status("");
		tide_log(rc == TIDE_ERR_STOPPED ? TIDE_WARN : TIDE_ERROR, "%s", err.text);
	}
	if (fflush(stdout) != 0 && rc == TIDE_OK)
		rc = TIDE_ERR_UNAVAILABLE;
	return tide_exit_code(rc);
}
