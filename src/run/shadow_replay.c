/* SPDX-License-Identifier: Apache-2.0 */
/* A replay in a process of its own: the clock of a replay stands still for the whole
 * process, and a version that never returns must be stopped. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "job/hang.h"
#include "run/shadow.h"

enum { LOOK_MS = 50, NICE = 10 };

extern char **environ;

static const char nothing[] = "0%";

struct child {
	pid_t pid;
	int out; /* its stdout */
	struct tide_buf said;
	bool ended;
};

/* The same with our own TMPDIR, so that what a killed one leaves is found, and without
 * what is to strike the job that runs. */
static char **environment_of(const char *scratch, char *tmpdir, size_t size)
{
	int count = 0, kept = 0;
	while (environ[count] != NULL)
		count++;
	char **out = malloc(sizeof *out * ((size_t)count + 2));
	for (int i = 0; out != NULL && i < count; i++)
		if (strncmp(environ[i], "TMPDIR=", 7) != 0 &&
		    strncmp(environ[i], "TIDEMARK_FAILPOINT", 18) != 0)
			out[kept++] = environ[i];
	if (out == NULL)
		return NULL;
	snprintf(tmpdir, size, "TMPDIR=%s", scratch);
	out[kept++] = tmpdir;
	out[kept] = NULL;
	return out;
}

static int spawn(struct child *child, char **args, char **env, const char *errors, int out)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t how;
	sigset_t none;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&how);
	posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setpgroup(&how, 0); /* Ctrl+C is for the job that runs. */
	posix_spawnattr_setsigmask(&how, &none);
	int rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(&files, out, 1);
	if (rc == 0)
		rc = posix_spawn_file_actions_addopen(&files, 2, errors,
		                                      O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(&files, 3);
	if (rc == 0)
		rc = posix_spawn(&child->pid, "/proc/self/exe", &files, &how, args, env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&how);
	return rc;
}

/* Should we die, it ends by itself. */
static void bound(const struct child *child, int seconds)
{
	struct rlimit cpu = { 2 * (rlim_t)seconds, 2 * (rlim_t)seconds + 1 };
	setpriority(PRIO_PGRP, (id_t)child->pid, NICE);
	prlimit(child->pid, RLIMIT_CPU, &cpu, NULL);
}

/* Lines that are whole go to whoever waits; what a trial says is its verdict. */
static void pass_on(struct child *child, const struct tide_shadow *shadow)
{
	size_t from = 0;
	for (size_t i = 0; i < child->said.len && !shadow->trial; i++) {
		if (child->said.p[i] != '\n')
			continue;
		child->said.p[i] = '\0';
		shadow->line(shadow->arg, true, child->said.p + from);
		from = i + 1;
	}
	child->said.len -= from;
	memmove(child->said.p, child->said.p + from, child->said.len);
}

/* TIDE_OK: it has closed its stdout. */
static int listen_to(struct child *child, const struct tide_shadow *shadow, int seconds,
                     struct tide_error *err)
{
	int64_t end_us = tide_clock_mono_us() + (int64_t)seconds * 1000000;
	while (!child->ended) {
		struct pollfd ready = { .fd = child->out, .events = POLLIN };
		char bytes[4096];
		if (shadow->stopped(shadow->arg))
			return tide_fail(err, TIDE_ERR_STOPPED,
			                 "stopped before the versions were compared");
		if (tide_clock_mono_us() > end_us)
			return tide_fail(err, TIDE_ERR_DIFFER,
			                 "the replay of both versions does not come to its end: "
			                 "stopped after %d s. Does the new one return on every "
			                 "record?",
			                 seconds);
		if (poll(&ready, 1, LOOK_MS) <= 0)
			continue;
		ssize_t got = read(child->out, bytes, sizeof bytes);
		child->ended = got <= 0;
		if (got > 0)
			tide_buf_put(&child->said, bytes, (size_t)got);
		if (child->said.failed)
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for what differs");
		if (got > 0)
			pass_on(child, shadow);
	}
	return TIDE_OK;
}

/* The last of what it said on stderr. */
static void last_word(const char *errors, char *out, size_t size)
{
	char *text = NULL;
	size_t len = 0;
	snprintf(out, size, "no reason was given");
	if (tide_file_read(errors, 1 << 20, &text, &len, NULL) != TIDE_OK)
		return;
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	if (len > 0)
		snprintf(out, size, "%s", len < size ? text : text + len - size + 1);
	free(text);
}

static int verdict(int status, const char *most, const char *errors, struct tide_error *err)
{
	char why[1500];
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return TIDE_OK;
	if (WIFEXITED(status) && WEXITSTATUS(status) == tide_exit_code(TIDE_ERR_DIFFER))
		return strcmp(most, nothing) == 0
		               ? tide_fail(err, TIDE_ERR_DIFFER, "rows differ")
		               : tide_fail(err, TIDE_ERR_DIFFER, "more than %s of the rows differ",
		                           most);
	last_word(errors, why, sizeof why);
	return tide_fail(err, TIDE_ERR_DIFFER, "the versions could not be compared: %s", why);
}

/* In the folder of the job's file, and not where it was run. */
static void name_files(const struct tide_shadow *shadow, const char *job, struct tide_buf *text)
{
	const char *own = shadow->settings->job_path, *slash = strrchr(own, '/');
	size_t len = (size_t)(strrchr(job, '/') - job) + 1;
	struct tide_buf out = { 0 };
	for (size_t i = 0; i < text->len;) {
		bool here = text->len - i >= len && memcmp(text->p + i, job, len) == 0;
		if (here && slash != NULL)
			tide_buf_put(&out, own, (size_t)(slash - own) + 1);
		else if (!here)
			tide_buf_put(&out, text->p + i, 1);
		i += here ? len : 1;
	}
	tide_buf_fini(text);
	*text = out;
}

static int verdict_of_trial(int status, struct child *child, const char *errors,
                            struct tide_error *err)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	struct tide_buf *said = &child->said;
	while (said->len > 0 && said->p[said->len - 1] == '\n')
		said->len--;
	if (code == 0)
		return TIDE_OK;
	static const int of_the_job[] = { TIDE_ERR_SCRIPT, TIDE_ERR_CHECKPOINT };
	for (size_t i = 0; i < sizeof of_the_job / sizeof of_the_job[0]; i++)
		if (said->len > 0 && code == tide_exit_code(of_the_job[i]))
			return tide_fail(err, of_the_job[i], "%.*s", (int)said->len, said->p);
	if (said->len > 0)
		return tide_fail(err, TIDE_ERR_DIFFER, "%.*s", (int)said->len, said->p);
	return verdict(status, nothing, errors, err);
}

int tide_shadow_replay(const struct tide_shadow *shadow, const char *recording, const char *job,
                       const char *scratch, int seconds, struct tide_error *err)
{
	char tmpdir[4200], errors[4200];
	const char *most = shadow->max_diff != NULL ? shadow->max_diff : nothing;
	const char *args[] = { "tidemark",   "replay", recording,   "--job", job, "--diff",
		               "--max-diff", most,     "--workers", "1",     NULL };
	char timeout[40];
	if (shadow->trial) {
		args[5] = "--failures";
		args[6] = "--record-timeout"; /* ours, wherever it came from */
		args[7] = timeout;
	}
	snprintf(timeout, sizeof timeout, "%lldms", (long long)tide_hang_limit_us() / 1000);
	char **env = environment_of(scratch, tmpdir, sizeof tmpdir);
	struct child child = { .pid = -1, .out = -1 };
	int ends[2] = { -1, -1 }, status = 0, rc = TIDE_OK;
	snprintf(errors, sizeof errors, "%s/errors", scratch);
	if (env == NULL)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for a replay");
	if (rc == TIDE_OK && pipe2(ends, O_CLOEXEC) != 0)
		rc = tide_fail(err, TIDE_ERR_IO, "no pipe for a replay: %s", strerror(errno));
	child.out = ends[0];
	int why = rc == TIDE_OK ? spawn(&child, (char **)(uintptr_t)args, env, errors, ends[1]) : 0;
	if (rc == TIDE_OK && why != 0)
		rc = tide_fail(err, TIDE_ERR_FAILED, "cannot start a replay: %s", strerror(why));
	if (ends[1] >= 0)
		close(ends[1]);
	if (rc == TIDE_OK) {
		bound(&child, seconds);
		rc = listen_to(&child, shadow, seconds, err);
		if (rc != TIDE_OK)
			kill(child.pid, SIGKILL);
		while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
			;
		if (rc == TIDE_OK && shadow->trial) {
			name_files(shadow, job, &child.said);
			rc = verdict_of_trial(status, &child, errors, err);
		} else if (rc == TIDE_OK) {
			rc = verdict(status, most, errors, err);
		}
	}
	if (child.out >= 0)
		close(child.out);
	tide_buf_fini(&child.said);
	free(env);
	return rc;
}
