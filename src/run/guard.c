/* SPDX-License-Identifier: Apache-2.0 */
/* A child that does what may never end, watched by its parent. */
#include "run/guard.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "run/rerun.h"
#include "run/scratch.h"

/* Where the parent dies, so does this. */
static void become_child(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		raise(SIGKILL);
}

int tide_guard_fork(struct tide_guard *guard, struct tide_error *err)
{
	int ends[2];
	pid_t parent = getpid();
	*guard = (struct tide_guard){ .fd = -1 };
	int rc = tide_scratch_make(guard->folder, sizeof guard->folder, true, err);
	if (rc != TIDE_OK)
		return rc;
	if (setenv("TMPDIR", guard->folder, 1) != 0 || pipe2(ends, O_CLOEXEC) != 0) {
		rc = tide_fail(err, TIDE_ERR_FAILED, "cannot make a pipe: %s", strerror(errno));
	} else if ((guard->child = fork()) < 0) {
		rc = tide_fail(err, TIDE_ERR_FAILED, "cannot fork: %s", strerror(errno));
		close(ends[0]);
		close(ends[1]);
	}
	if (rc != TIDE_OK) {
		tide_scratch_remove(guard->folder);
		return rc;
	}
	close(ends[guard->child == 0 ? 0 : 1]);
	guard->fd = ends[guard->child == 0 ? 1 : 0];
	if (guard->child == 0)
		become_child(parent);
	return TIDE_OK;
}

void tide_guard_beat(struct tide_guard *guard, uint64_t number)
{
	assert(guard->child == 0);
	ssize_t written = write(guard->fd, &number, sizeof number);
	(void)written; /* A parent that is gone takes this with it. */
}

/* False: the child has ended, or is to be ended. */
static bool listen(struct tide_guard *guard, int64_t limit_ms, bool *hung)
{
	int64_t until_us = tide_clock_mono_us() + limit_ms * 1000;
	struct pollfd fd = { .fd = guard->fd, .events = POLLIN };
	int64_t left_ms;
	bool patient = guard->patient && guard->number == 0;
	while ((left_ms = (until_us - tide_clock_mono_us()) / 1000) > 0 || patient) {
		int ready = poll(&fd, 1, left_ms < 1000 && !patient ? (int)left_ms : 1000);
		if (ready <= 0)
			continue;
		return read(guard->fd, &guard->number, sizeof guard->number) ==
		       (ssize_t)sizeof guard->number;
	}
	*hung = true;
	return false;
}

static int status_of(int code)
{
	for (int status = 0; status >= TIDE_ERR_STOPPED; status--)
		if (tide_exit_code(status) == code)
			return status;
	return TIDE_ERR_FAILED;
}

int tide_guard_wait(struct tide_guard *guard, int64_t limit_ms, bool *hung, struct tide_error *err)
{
	int status = 0;
	assert(guard->child > 0);
	*hung = false;
	while (listen(guard, limit_ms, hung)) {
	}
	if (*hung)
		kill(guard->child, SIGKILL);
	while (waitpid(guard->child, &status, 0) < 0 && errno == EINTR) {
	}
	close(guard->fd);
	tide_scratch_remove(guard->folder);
	if (*hung)
		return TIDE_ERR_SCRIPT;
	if (WIFSIGNALED(status))
		return tide_fail(err, TIDE_ERR_FAILED, "the run was ended by signal %d (%s)",
		                 WTERMSIG(status), strsignal(WTERMSIG(status)));
	return status_of(WEXITSTATUS(status));
}
