/* SPDX-License-Identifier: Apache-2.0 */
/* A job on sample records, again after each save. This process loads nothing of
 * the job and opens no database, so that it can fork and outlives what the job
 * does. */
#include "run/dev.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/watch.h"
#include "run/frame.h"
#include "run/rehearse.h"
#include "run/sample.h"
#include "run/scratch.h"
#include "sink/live.h"

enum {
	WAIT_MS = 50,
	BUSY_MS = 5,
	SHOWN_BYTES_MAX = 1024 * 1024, /* of what a try puts out */
	FILES_MAX = 256,
	RESIDENT_MIB_MAX = 1024,
	HURRY_MS = 2000
};

enum stream { ROWS, LOG, TOLD, STREAMS };

struct dev {
	const struct tide_dev_options *options;
	struct tide_watch *watch;
	char dir[1024], scratch[1100]; /* ours, and of a try in it */
	int cache_fd;
	char *text; /* of the sample, where it is lines */
	size_t text_len;
	bool terminal; /* one on which the cursor can be moved */
	int number;

	pid_t child;
	int fds[STREAMS];
	struct tide_buf got[STREAMS];
	int64_t began_us, deadline_us;
	bool begun;   /* it has loaded, and runs */
	bool done;    /* all that it puts out is there: it closes what it had open */
	bool shown;   /* so that was drawn */
	int hurry_ms; /* see rehearse.h */
	int wait_status;

	bool failed;
	struct tide_slice summary; /* in what was told */
	int64_t took_ms;
	struct winsize drawn; /* on how large a terminal; 0 lines before the first time */
};

/* The terminal was closed: what is in memory must not stay there. */
static volatile sig_atomic_t hung_up;

static void on_hangup(int number)
{
	(void)number;
	hung_up = 1;
}

static bool stopped(const struct dev *dev)
{
	return hung_up != 0 || atomic_load(dev->options->cli->stop) != 0;
}

/* --- a try: the child ---------------------------------------------------------------- */

static int rehearse(struct dev *dev, struct tide_error *err)
{
	const struct tide_dev_options *options = dev->options;
	struct tide_rehearsal rehearsal = {
		.cli = options->cli,
		.job = options->job,
		.lines = options->input != NULL,
		.text = { dev->text, dev->text_len },
		.last = options->last,
		.cache_fd = dev->cache_fd,
		.dir = dev->scratch,
		.hurry_ms = dev->hurry_ms,
		.terminal = dev->terminal,
		.told_fd = dev->fds[TOLD],
	};
	return tide_rehearse(&rehearsal, err);
}

/* Ctrl+C is for the parent to deal with; where that dies, so does this. */
static void become_child(const int ends[STREAMS], pid_t parent)
{
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		raise(SIGKILL);
	dup2(ends[ROWS], STDOUT_FILENO);
	dup2(ends[LOG], STDERR_FILENO);
	close(ends[ROWS]);
	close(ends[LOG]);
}

/* One that is to end by itself, which it does by its processor time, gets enough for
 * that where others keep the processors busy. */
static int64_t allowed_us(const struct dev *dev)
{
	int64_t ms = dev->hurry_ms == 0 ? dev->options->limit_ms : 10 * HURRY_MS;
	return ms * 1000;
}

static int start(struct dev *dev, bool *child, struct tide_error *err)
{
	int pipes[STREAMS][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } }, ends[STREAMS];
	int rc = TIDE_OK;
	pid_t parent = getpid();
	snprintf(dev->scratch, sizeof dev->scratch, "%s/%d", dev->dir, ++dev->number);
	for (int s = 0; s < STREAMS; s++) {
		if (rc == TIDE_OK && pipe2(pipes[s], O_CLOEXEC) != 0)
			rc = tide_fail(err, TIDE_ERR_FAILED, "cannot make a pipe: %s",
			               strerror(errno));
		tide_buf_clear(&dev->got[s]);
		dev->fds[s] = pipes[s][0];
		ends[s] = pipes[s][1];
	}
	dev->began_us = tide_clock_mono_us();
	dev->begun = dev->done = dev->shown = false;
	dev->deadline_us = dev->began_us + allowed_us(dev);
	if (rc == TIDE_OK && (dev->child = fork()) < 0)
		rc = tide_fail(err, TIDE_ERR_FAILED, "cannot fork: %s", strerror(errno));
	*child = rc == TIDE_OK && dev->child == 0;
	for (int s = 0; s < STREAMS; s++) {
		int unused = *child ? dev->fds[s] : ends[s];
		if (unused >= 0)
			close(unused);
	}
	if (*child) {
		dev->fds[TOLD] = ends[TOLD];
		become_child(ends, parent);
	}
	return rc;
}

/* --- a try: seen from here ------------------------------------------------------------ */

/* How a try ended; the first four of themselves. */
enum end { RUNNING, OVER, STOPPED, SAVED, HUNG, GREEDY };

/* The time of the job: to load, and then to run, but not that of the sample. */
static void listen(struct dev *dev, size_t from)
{
	const struct tide_buf *told = &dev->got[TOLD];
	bool summary = false;
	for (size_t i = from; i < told->len; i++) {
		bool first = i == 0 || told->p[i - 1] == '\n';
		if (first && told->p[i] == TIDE_TOLD_READING)
			dev->deadline_us = INT64_MAX;
		if (first && told->p[i] == TIDE_TOLD_BEGUN) {
			dev->deadline_us = tide_clock_mono_us() + allowed_us(dev);
			dev->begun = true;
		}
		if (told->p[i] == TIDE_TOLD_SUMMARY && first)
			summary = true;
		if (summary && told->p[i] == '\n')
			dev->done = true;
	}
}

static void take(struct dev *dev, enum stream s)
{
	char bytes[65536];
	struct tide_buf *got = &dev->got[s];
	ssize_t len = read(dev->fds[s], bytes, sizeof bytes);
	if (len <= 0) {
		if (len < 0 && errno == EINTR)
			return;
		close(dev->fds[s]);
		dev->fds[s] = -1;
		return;
	}
	size_t before = got->len, room = SHOWN_BYTES_MAX - before;
	tide_buf_put(got, bytes, (size_t)len < room ? (size_t)len : room);
	if (s == TOLD)
		listen(dev, before);
}

static bool finished(const struct dev *dev)
{
	return dev->fds[ROWS] < 0 && dev->fds[LOG] < 0 && dev->fds[TOLD] < 0;
}

static bool greedy(const struct dev *dev)
{
	char path[64];
	long pages = 0;
	snprintf(path, sizeof path, "/proc/%d/statm", (int)dev->child);
	FILE *file = fopen(path, "r");
	bool known = file != NULL && fscanf(file, "%*s %ld", &pages) == 1;
	if (file != NULL)
		fclose(file);
	return known && pages > ((long)RESIDENT_MIB_MAX << 20) / sysconf(_SC_PAGESIZE);
}

static void poll_streams(struct dev *dev)
{
	struct pollfd fds[STREAMS + 1];
	for (int s = 0; s < STREAMS; s++)
		fds[s] = (struct pollfd){ .fd = dev->fds[s], .events = POLLIN };
	fds[STREAMS] = (struct pollfd){ .fd = tide_watch_fd(dev->watch), .events = POLLIN };
	if (poll(fds, STREAMS + 1, tide_watch_busy(dev->watch) ? BUSY_MS : WAIT_MS) <= 0)
		return;
	for (int s = 0; s < STREAMS; s++)
		if (fds[s].revents != 0)
			take(dev, (enum stream)s);
}

static enum end look(struct dev *dev)
{
	if (stopped(dev))
		return STOPPED;
	if (tide_watch_wait(dev->watch, 0))
		return SAVED;
	if (finished(dev))
		return OVER;
	if (tide_clock_mono_us() > dev->deadline_us)
		return HUNG;
	return greedy(dev) ? GREEDY : RUNNING;
}

/* Until it has ended or is to be ended, or RUNNING: it is done, and closes. */
static enum end follow(struct dev *dev)
{
	enum end end;
	do
		poll_streams(dev);
	while ((end = look(dev)) == RUNNING && !dev->done);
	return end;
}

/* What has been put out before it was done is in the pipes. */
static void drain(struct dev *dev)
{
	static const enum stream both[] = { ROWS, LOG };
	for (int i = 0; i < 2; i++) {
		struct pollfd ready = { .events = POLLIN };
		while ((ready.fd = dev->fds[both[i]]) >= 0 && poll(&ready, 1, 0) > 0)
			take(dev, both[i]);
	}
}

/* A save that comes while it closes is for later. */
static enum end close_down(struct dev *dev)
{
	while (!finished(dev)) {
		poll_streams(dev);
		if (stopped(dev))
			return STOPPED;
		if (tide_clock_mono_us() > dev->deadline_us)
			return HUNG;
	}
	return OVER;
}

static void reap(struct dev *dev, enum end end)
{
	if (end != OVER)
		kill(dev->child, SIGKILL);
	while (!finished(dev))
		for (int s = 0; s < STREAMS; s++)
			if (dev->fds[s] >= 0)
				take(dev, (enum stream)s);
	while (waitpid(dev->child, &dev->wait_status, 0) < 0 && errno == EINTR) {
	}
}

/* --- what came of it ------------------------------------------------------------------ */

/* The next line that was told, without its end; its letter in *what. */
static bool next_told(char **at, const char *end, char *what, char **text)
{
	char *newline = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
	if (newline == NULL)
		return false;
	*newline = '\0';
	*what = **at;
	*text = *at + 1;
	*at = newline + 1;
	return true;
}

/* Watch what the job consists of now. Where it hung before it could say so, what
 * it was made of before will do. */
static int understand(struct dev *dev, struct tide_error *err)
{
	const char *files[FILES_MAX];
	int count = 0;
	char *at = dev->got[TOLD].p, *end = at + dev->got[TOLD].len, *text, what;
	dev->summary = (struct tide_slice){ NULL, 0 };
	files[count++] = dev->options->path;
	if (dev->options->input != NULL && strcmp(dev->options->input, "-") != 0)
		files[count++] = dev->options->input;
	int own = count;
	while (next_told(&at, end, &what, &text)) {
		if (what == TIDE_TOLD_SUMMARY)
			dev->summary = (struct tide_slice){ text, strlen(text) };
		else if (what == TIDE_TOLD_FILE && count < FILES_MAX)
			files[count++] = text;
	}
	return count > own ? tide_watch_set(dev->watch, files, count, err) : TIDE_OK;
}

static void say_more(struct dev *dev)
{
	if (dev->got[ROWS].len >= SHOWN_BYTES_MAX)
		tide_buf_printf(&dev->got[LOG], "... and more rows than fit here\n");
}

static void say_end(struct dev *dev, enum end end)
{
	struct tide_buf *log = &dev->got[LOG];
	if (end == HUNG)
		tide_buf_printf(log,
		                "error: the job was stopped after %lld ms %s: it has a loop "
		                "without end, or needs longer (--limit)\n",
		                (long long)dev->options->limit_ms,
		                dev->begun ? "on the sample" : "of loading");
	else if (end == GREEDY)
		tide_buf_printf(log,
		                "error: the job was stopped: it took more than %d MiB of memory; "
		                "does it emit without end?\n",
		                RESIDENT_MIB_MAX);
	else if (WIFSIGNALED(dev->wait_status))
		tide_buf_printf(log, "error: the job was ended by signal %d (%s)\n",
		                WTERMSIG(dev->wait_status), strsignal(WTERMSIG(dev->wait_status)));
	if (!dev->shown)
		say_more(dev);
}

static int write_all(const struct tide_buf *out, struct tide_error *err)
{
	for (size_t at = 0; at < out->len;) {
		ssize_t len = write(STDOUT_FILENO, out->p + at, out->len - at);
		if (len < 0 && errno != EINTR)
			return tide_fail(err, TIDE_ERR_UNAVAILABLE, "nobody reads the output: %s",
			                 strerror(errno));
		at += len > 0 ? (size_t)len : 0;
	}
	return TIDE_OK;
}

static struct winsize window(void)
{
	struct winsize size;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
		size = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	return size;
}

/* What was on the screen goes into the terminal's history. */
static void clear(struct dev *dev, struct tide_buf *out)
{
	struct winsize size = window();
	if (dev->drawn.ws_row == 0)
		for (int i = 0; i < size.ws_row; i++)
			tide_buf_u8(out, '\n');
	else if (dev->drawn.ws_row != size.ws_row || dev->drawn.ws_col != size.ws_col)
		tide_buf_printf(out, "\033[2J");
	dev->drawn = size;
}

static int draw(struct dev *dev, struct tide_error *err)
{
	struct tide_buf out = { 0 };
	struct tide_frame frame = {
		.job = dev->options->job,
		.number = dev->number,
		.failed = dev->failed,
		.took_ms = dev->took_ms,
		.rows = { dev->got[ROWS].p, dev->got[ROWS].len },
		.log = { dev->got[LOG].p, dev->got[LOG].len },
		.summary = dev->summary,
	};
	if (dev->terminal)
		clear(dev, &out);
	tide_frame_put(&frame, dev->terminal ? dev->drawn.ws_row : 0, dev->drawn.ws_col, &out);
	int rc = out.failed ? tide_fail(err, TIDE_ERR_NOMEM, "no memory to show a run")
	                    : write_all(&out, err);
	tide_buf_fini(&out);
	return rc;
}

static bool resized(const struct dev *dev)
{
	struct winsize size = window();
	return dev->terminal &&
	       (size.ws_row != dev->drawn.ws_row || size.ws_col != dev->drawn.ws_col);
}

/* --- the loop ------------------------------------------------------------------------ */

/* To its end, which somebody at a terminal may never type. */
static int read_stdin(struct dev *dev, struct tide_error *err)
{
	struct tide_buf text = { 0 };
	ssize_t len = 1;
	if (isatty(STDIN_FILENO) == 1)
		tide_log(TIDE_INFO, "type records, a line each; Ctrl+D ends them");
	while (len != 0 && !stopped(dev)) {
		char bytes[65536];
		struct pollfd ready = { .fd = STDIN_FILENO, .events = POLLIN };
		if (poll(&ready, 1, WAIT_MS) <= 0)
			continue;
		len = read(STDIN_FILENO, bytes, sizeof bytes);
		if (len < 0)
			break;
		tide_buf_put(&text, bytes, len > 0 ? (size_t)len : 0);
		if (text.failed || text.len > TIDE_SAMPLE_BYTES_MAX)
			break;
	}
	dev->text_len = text.len;
	tide_buf_u8(&text, '\0');
	if (len >= 0 && !text.failed && dev->text_len <= TIDE_SAMPLE_BYTES_MAX) {
		dev->text = text.p;
		return TIDE_OK;
	}
	tide_buf_fini(&text);
	return len < 0 ? tide_fail(err, TIDE_ERR_IO, "stdin: %s", strerror(errno))
	               : tide_fail(err, TIDE_ERR_USAGE, "stdin: more than %d MiB of records",
	                           TIDE_SAMPLE_BYTES_MAX >> 20);
}

static int read_input(struct dev *dev, struct tide_error *err)
{
	const char *input = dev->options->input;
	if (input == NULL)
		return TIDE_OK;
	if (strcmp(input, "-") == 0)
		return dev->text == NULL ? read_stdin(dev, err) : TIDE_OK;
	free(dev->text);
	dev->text = NULL;
	dev->text_len = 0;
	return tide_file_read(input, TIDE_SAMPLE_BYTES_MAX, &dev->text, &dev->text_len, err);
}

/* Its rows need not wait for what nobody will look at again to be closed. */
static int show_done(struct dev *dev, struct tide_error *err)
{
	dev->took_ms = (tide_clock_mono_us() - dev->began_us) / 1000;
	dev->failed = false;
	dev->shown = true;
	int rc = understand(dev, err);
	say_more(dev);
	return rc == TIDE_OK ? draw(dev, err) : rc;
}

static int attempt(struct dev *dev, bool *child, enum end *end, struct tide_error *err)
{
	int rc = start(dev, child, err);
	if (rc != TIDE_OK || *child)
		return rc;
	*end = follow(dev);
	if (*end == RUNNING && dev->hurry_ms == 0) {
		drain(dev);
		rc = show_done(dev, err);
	}
	if (*end == RUNNING)
		*end = rc == TIDE_OK ? close_down(dev) : STOPPED;
	reap(dev, *end);
	tide_scratch_remove(dev->scratch);
	return rc;
}

/* A compiled loop cannot be asked where it is, so the job runs once more, slowly. */
static int locate(struct dev *dev, bool *child, enum end *end, struct tide_error *err)
{
	enum end again = OVER;
	dev->number--;
	dev->hurry_ms = HURRY_MS < dev->options->limit_ms ? HURRY_MS : (int)dev->options->limit_ms;
	int rc = attempt(dev, child, &again, err);
	if (rc != TIDE_OK || *child)
		return rc;
	dev->hurry_ms = 0;
	if (again == STOPPED || again == SAVED)
		*end = again;
	return TIDE_OK;
}

/* One try, shown. */
static int try_once(struct dev *dev, bool *child, enum end *end, struct tide_error *err)
{
	int rc = attempt(dev, child, end, err);
	if (rc == TIDE_OK && !*child && *end == HUNG && !dev->shown)
		rc = locate(dev, child, end, err);
	if (rc != TIDE_OK || *child || *end == STOPPED)
		return rc;
	bool failed =
		*end != OVER || !WIFEXITED(dev->wait_status) || WEXITSTATUS(dev->wait_status) != 0;
	if (dev->shown && !failed)
		return TIDE_OK;
	dev->failed = failed;
	dev->took_ms = (tide_clock_mono_us() - dev->began_us) / 1000;
	rc = dev->shown ? TIDE_OK : understand(dev, err);
	if (rc != TIDE_OK || *end == SAVED)
		return rc;
	say_end(dev, *end);
	return draw(dev, err);
}

/* A sample that cannot be read is an end only at the beginning. */
static int show_unread(struct dev *dev, struct tide_error *err)
{
	for (int s = 0; s < STREAMS; s++)
		tide_buf_clear(&dev->got[s]);
	tide_buf_printf(&dev->got[LOG], "error: %s\n", err->text);
	dev->summary = (struct tide_slice){ NULL, 0 };
	dev->failed = true;
	dev->number++;
	dev->took_ms = 0;
	return draw(dev, err);
}

/* Until a save; false: somebody stops it. */
static bool wait_for_save(struct dev *dev, int *rc, struct tide_error *err)
{
	while (*rc == TIDE_OK && !tide_watch_wait(dev->watch, WAIT_MS)) {
		if (stopped(dev))
			return false;
		if (resized(dev))
			*rc = draw(dev, err);
	}
	return *rc == TIDE_OK;
}

static int status_of(const struct dev *dev, enum end end)
{
	if (!dev->failed)
		return TIDE_OK;
	bool script =
		end == OVER && WIFEXITED(dev->wait_status) && WEXITSTATUS(dev->wait_status) == 3;
	return script ? TIDE_ERR_SCRIPT : TIDE_ERR_FAILED;
}

static int run(struct dev *dev, bool *child, struct tide_error *err)
{
	for (;;) {
		enum end end = OVER;
		int rc = read_input(dev, err);
		if (stopped(dev))
			return rc;
		if (rc == TIDE_OK)
			rc = try_once(dev, child, &end, err);
		else if (dev->number > 0)
			rc = show_unread(dev, err);
		if (rc != TIDE_OK || *child || end == STOPPED)
			return rc;
		if (end == SAVED)
			continue;
		if (dev->options->once)
			return status_of(dev, end);
		if (!wait_for_save(dev, &rc, err))
			return rc;
	}
}

int tide_dev(const struct tide_dev_options *options, bool *tried, struct tide_error *err)
{
	struct dev *dev = calloc(1, sizeof *dev);
	const char *paths[] = { options->path, options->input };
	bool file = options->input != NULL && strcmp(options->input, "-") != 0;
	*tried = false;
	if (dev == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to begin");
	dev->options = options;
	dev->terminal = isatty(STDOUT_FILENO) == 1 && tide_live_possible(STDOUT_FILENO);
	if (signal(SIGHUP, on_hangup) == SIG_IGN) /* nohup wants it so */
		signal(SIGHUP, SIG_IGN);
	dev->cache_fd = memfd_create("sample", MFD_CLOEXEC);
	int rc = tide_watch_new(paths, file ? 2 : 1, &dev->watch, err);
	if (rc == TIDE_OK)
		rc = tide_scratch_in_memory(dev->dir, sizeof dev->dir, "dev", err);
	if (rc == TIDE_OK)
		rc = run(dev, tried, err);
	if (*tried)
		rc = rehearse(dev, err);
	else if (dev->dir[0] != '\0')
		tide_scratch_remove(dev->dir);
	for (int s = 0; s < STREAMS; s++)
		tide_buf_fini(&dev->got[s]);
	if (dev->cache_fd >= 0)
		close(dev->cache_fd);
	tide_watch_free(dev->watch);
	free(dev->text);
	free(dev);
	return rc;
}
