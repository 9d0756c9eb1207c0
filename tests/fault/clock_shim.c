/* SPDX-License-Identifier: Apache-2.0 */
/* To be preloaded: the wall clock of a program is ahead of the machine's by what a
 * file says, eight bytes of microseconds, which a test may change at any time. The
 * program's timed waits for a wall clock time see that too, as they would if the
 * machine's clock were set: they end at once, or wait on. A second number in the
 * file counts how often the clock was read. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

enum { SLICE_MS = 50 };

struct shift {
	_Atomic int64_t ahead_us, reads;
};

static struct shift none, *shift = &none;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_cond_wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*real_cnd_wait)(cnd_t *, mtx_t *, const struct timespec *);

__attribute__((constructor)) static void open_shift(void)
{
	const char *path = getenv("CLOCK_SHIM_FILE");
	real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	real_cond_wait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
	real_cnd_wait = dlsym(RTLD_NEXT, "cnd_timedwait");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map = fd < 0 ? MAP_FAILED
	                   : mmap(NULL, sizeof *shift, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		abort();
	shift = map;
}

static struct timespec moved(struct timespec at, int64_t by_us)
{
	int64_t us = (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000 + by_us;
	if (us < 0)
		us = 0;
	return (struct timespec){ us / 1000000, us % 1000000 * 1000 + at.tv_nsec % 1000 };
}

int clock_gettime(clockid_t id, struct timespec *out)
{
	if (real_gettime == NULL)
		real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	int rc = real_gettime(id, out);
	if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
		*out = moved(*out, atomic_load(&shift->ahead_us));
		atomic_fetch_add(&shift->reads, 1);
	}
	return rc;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	struct timespec now;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	out->tv_sec = now.tv_sec;
	out->tv_usec = now.tv_nsec / 1000;
	return 0;
}

int timespec_get(struct timespec *out, int base)
{
	return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, out) == 0 ? base : 0;
}

time_t time(time_t *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (out != NULL)
		*out = now.tv_sec;
	return now.tv_sec;
}

/* How far to wait by the machine's clock; false: `until` is over by ours. Times that
 * are near a clock that began with the machine are not the wall clock's. */
static int slice(const struct timespec *until, struct timespec *next)
{
	struct timespec now, up;
	clock_gettime(CLOCK_REALTIME, &now);
	int64_t left_us = ((int64_t)until->tv_sec - now.tv_sec) * 1000000 +
	                  (until->tv_nsec - now.tv_nsec) / 1000;
	real_gettime(CLOCK_REALTIME, &up);
	*next = moved(up, left_us < 0 ? 0 : left_us < SLICE_MS * 1000 ? left_us : SLICE_MS * 1000);
	return left_us > SLICE_MS * 1000;
}

static int is_uptime(const struct timespec *until)
{
	struct timespec up;
	real_gettime(CLOCK_MONOTONIC, &up);
	int64_t apart = (int64_t)until->tv_sec - up.tv_sec;
	return apart > -1000 && apart < 100000;
}

/* Waking for nothing is allowed: whoever waits looks again. */
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
                           const struct timespec *until)
{
	struct timespec next;
	if (is_uptime(until))
		return real_cond_wait(cond, lock, until);
	int more = slice(until, &next);
	int rc = real_cond_wait(cond, lock, &next);
	return rc == ETIMEDOUT && more ? 0 : rc;
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict lock, const struct timespec *restrict until)
{
	struct timespec next;
	int more = slice(until, &next);
	int rc = real_cnd_wait(cond, lock, &next);
	return rc == thrd_timedout && more ? thrd_success : rc;
}
