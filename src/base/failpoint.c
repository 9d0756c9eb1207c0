/* SPDX-License-Identifier: Apache-2.0 */
/* Fail points: read once from TIDEMARK_FAILPOINT, hit by name. */
#include "base/failpoint.h"

#ifdef TIDE_FAILPOINTS

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { POINTS_MAX = 64, NAME_MAX_ = 48, TRACE_LAST = 64, TRACE_SIZE = 4096 };
enum action { ACT_KILL, ACT_EXIT, ACT_IO, ACT_ENOSPC, ACT_DELAY, ACT_STOP, ACT_COUNT };

static const char *const actions[ACT_COUNT] = { "kill", "exit", "io", "enospc", "delay", "stop" };

struct point {
	char name[NAME_MAX_];
	enum action action;
	long delay_ms;
	unsigned long only; /* act on this hit; 0: on each */
	atomic_ulong hits;
};

static struct point points[POINTS_MAX];
static size_t point_count;
static char *trace; /* TRACE_SIZE bytes of TIDEMARK_FAILPOINT_TRACE, or NULL */
static pthread_once_t loaded = PTHREAD_ONCE_INIT;

/* A misspelt fail point would let a test pass for nothing. */
static void refuse(const char *item)
{
	fprintf(stderr,
	        "TIDEMARK_FAILPOINT: cannot read \"%s\"; "
	        "write name=kill|exit|io|enospc|stop|delay:MS, optionally @HIT; "
	        "`tidemark --failpoints` lists the names\n",
	        item);
	abort();
}

static const struct tide_failpoint_note *note_of(const char *name)
{
	const struct tide_failpoint_note *note;
	for (int i = 0; (note = tide_failpoint_at(i)) != NULL; i++)
		if (strcmp(note->name, name) == 0)
			return note;
	return NULL;
}

static bool action_parse(struct point *point, const char *text)
{
	size_t len = strcspn(text, ":@");
	const char *rest = text + len;
	size_t i = 0;
	while (i < ACT_COUNT && (strlen(actions[i]) != len || memcmp(actions[i], text, len) != 0))
		i++;
	if (i == ACT_COUNT)
		return false;
	point->action = (enum action)i;
	char *end = NULL;
	if (*rest == ':') {
		point->delay_ms = strtol(rest + 1, &end, 10);
		if (point->action != ACT_DELAY || end == rest + 1 || point->delay_ms < 0)
			return false;
		rest = end;
	} else if (point->action == ACT_DELAY) {
		return false;
	}
	if (*rest == '@') {
		point->only = strtoul(rest + 1, &end, 10);
		if (end == rest + 1 || point->only == 0)
			return false;
		rest = end;
	}
	return *rest == '\0';
}

/* The place last reached, in a file that outlives a SIGKILL: so a kill loop can
 * tell in which phase its kills landed. */
static void trace_open(void)
{
	const char *path = getenv("TIDEMARK_FAILPOINT_TRACE");
	if (path == NULL || *path == '\0')
		return;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, TRACE_SIZE) != 0) {
		fprintf(stderr, "TIDEMARK_FAILPOINT_TRACE: %s: %s\n", path, strerror(errno));
		abort();
	}
	void *map = mmap(NULL, TRACE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	trace = map;
	trace[TRACE_LAST] = '\n';
}

static void trace_put(const char *name)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&lock);
	if (strchr(name, '=') == NULL)
		strncpy(trace, name, TRACE_LAST - 1);
	char *seen = trace + TRACE_LAST, line[NAME_MAX_ + 16];
	int len = snprintf(line, sizeof line, "\n%s\n", name) - 1;
	size_t used = strlen(seen);
	if (strstr(seen, line) == NULL && used + (size_t)len < TRACE_SIZE - TRACE_LAST)
		memcpy(seen + used, line + 1, (size_t)len);
	pthread_mutex_unlock(&lock);
}

static void load(void)
{
	trace_open();
	const char *spec = getenv("TIDEMARK_FAILPOINT");
	char *copy = spec != NULL ? strdup(spec) : NULL;
	char *rest = copy;
	for (char *item; rest != NULL && (item = strsep(&rest, ",")) != NULL;) {
		if (*item == '\0')
			continue;
		const char *sign = strchr(item, '=');
		size_t len = sign != NULL ? (size_t)(sign - item) : 0;
		struct point *point = &points[point_count];
		if (point_count == POINTS_MAX || len == 0 || len >= NAME_MAX_)
			refuse(item);
		memcpy(point->name, item, len);
		const struct tide_failpoint_note *note = note_of(point->name);
		if (note == NULL || !action_parse(point, sign + 1))
			refuse(item);
		/* It would not be looked at. */
		if (!note->fails && (point->action == ACT_IO || point->action == ACT_ENOSPC))
			refuse(item);
		point_count++;
	}
	free(copy);
}

static int act(const struct point *point)
{
	char struck[NAME_MAX_ + 8];
	snprintf(struck, sizeof struck, "%.47s=%s", point->name, actions[point->action]);
	if (trace != NULL)
		trace_put(struck);
	switch (point->action) {
	case ACT_ENOSPC: return ENOSPC;
	case ACT_KILL: kill(getpid(), SIGKILL); return 0;
	case ACT_EXIT: _exit(1);
	case ACT_IO: return EIO;
	case ACT_STOP: kill(getpid(), SIGSTOP); return 0;
	case ACT_DELAY:
	case ACT_COUNT: break;
	}
	struct timespec left = { point->delay_ms / 1000, point->delay_ms % 1000 * 1000000 };
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
	return 0;
}

int tide_failpoint(const char *name)
{
	int before = errno, result = 0;
	assert(name != NULL && *name != '\0');
	pthread_once(&loaded, load);
	if (trace == NULL && point_count == 0)
		return 0;
	assert(note_of(name) != NULL);
	if (trace != NULL)
		trace_put(name);
	for (size_t i = 0; i < point_count; i++) {
		struct point *point = &points[i];
		if (strcmp(point->name, name) != 0)
			continue;
		unsigned long hit = atomic_fetch_add(&point->hits, 1) + 1;
		if (point->only == 0 || point->only == hit) {
			int failed = act(point);
			result = failed != 0 ? failed : result;
		}
	}
	errno = result != 0 ? result : before;
	return result;
}

int tide_pass(const char *name, struct tide_error *err)
{
	int error = tide_failpoint(name);
	return error == 0 ? TIDE_OK
	                  : tide_fail(err, TIDE_ERR_IO, "made to fail at %s: %s", name,
	                              strerror(error));
}

#endif
