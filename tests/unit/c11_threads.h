/* SPDX-License-Identifier: Apache-2.0 */
/* For TSan builds of tests that run librdkafka: its threads, locks and
 * conditions are C11's, which TSan does not know and crashes on. Exported from
 * the test program, these stand in for libc's and go through what TSan sees.
 * Empty in every other build. */
#ifndef C11_THREADS_H
#define C11_THREADS_H
#ifdef __SANITIZE_THREAD__

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "glibc lays them out alike");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "glibc lays them out alike");

/* librdkafka counts references with atomics that TSan does not see: what it
 * frees, it may, and a lock that it made before a thread saw it was made in
 * time. Races between two lines of ours are still told. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "called_from_lib:librdkafka.so\nrace:^mtx_\nrace:^cnd_\n";
}

struct c11_start {
	thrd_start_t run;
	void *arg;
};

static void *c11_run(void *arg)
{
	struct c11_start start = *(struct c11_start *)arg;
	free(arg);
	return (void *)(intptr_t)start.run(start.arg);
}

int thrd_create(thrd_t *thread, thrd_start_t run, void *arg)
{
	struct c11_start *start = malloc(sizeof *start);
	if (start == NULL)
		return thrd_nomem;
	*start = (struct c11_start){ run, arg };
	if (pthread_create(thread, NULL, c11_run, start) == 0)
		return thrd_success;
	free(start);
	return thrd_error;
}

int thrd_join(thrd_t thread, int *result)
{
	void *value;
	if (pthread_join(thread, &value) != 0)
		return thrd_error;
	if (result != NULL)
		*result = (int)(intptr_t)value;
	return thrd_success;
}

int thrd_detach(thrd_t thread)
{
	return pthread_detach(thread) == 0 ? thrd_success : thrd_error;
}

int mtx_init(mtx_t *lock, int type)
{
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	if (type & mtx_recursive)
		pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	int rc = pthread_mutex_init((pthread_mutex_t *)lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return rc == 0 ? thrd_success : thrd_error;
}

int mtx_lock(mtx_t *lock)
{
	return pthread_mutex_lock((pthread_mutex_t *)lock) == 0 ? thrd_success : thrd_error;
}

int mtx_trylock(mtx_t *lock)
{
	int rc = pthread_mutex_trylock((pthread_mutex_t *)lock);
	return rc == 0 ? thrd_success : rc == EBUSY ? thrd_busy : thrd_error;
}

int mtx_unlock(mtx_t *lock)
{
	return pthread_mutex_unlock((pthread_mutex_t *)lock) == 0 ? thrd_success : thrd_error;
}

void mtx_destroy(mtx_t *lock)
{
	pthread_mutex_destroy((pthread_mutex_t *)lock);
}

int cnd_init(cnd_t *cond)
{
	return pthread_cond_init((pthread_cond_t *)cond, NULL) == 0 ? thrd_success : thrd_error;
}

int cnd_signal(cnd_t *cond)
{
	return pthread_cond_signal((pthread_cond_t *)cond) == 0 ? thrd_success : thrd_error;
}

int cnd_broadcast(cnd_t *cond)
{
	return pthread_cond_broadcast((pthread_cond_t *)cond) == 0 ? thrd_success : thrd_error;
}

int cnd_wait(cnd_t *cond, mtx_t *lock)
{
	int rc = pthread_cond_wait((pthread_cond_t *)cond, (pthread_mutex_t *)lock);
	return rc == 0 ? thrd_success : thrd_error;
}

int cnd_timedwait(cnd_t *cond, mtx_t *lock, const struct timespec *until)
{
	int rc = pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)lock, until);
	return rc == 0 ? thrd_success : rc == ETIMEDOUT ? thrd_timedout : thrd_error;
}

void cnd_destroy(cnd_t *cond)
{
	pthread_cond_destroy((pthread_cond_t *)cond);
}

#endif
#endif
