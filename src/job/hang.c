/* SPDX-License-Identifier: Apache-2.0 */
/* See hang.h. */
#include "job/hang.h"

#include <assert.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "job/ctx.h"

enum {
	LOOK_US = 50000,            /* between looks … */
	PRESS_US = 500,             /* … and while a call that is to end is in code of others */
	COUNT_US_MAX = 2 * LOOK_US, /* that one look counts */
	CODES_MAX = 512
};

/* Where code lies that must not be jumped out of. */
struct code {
	uintptr_t from, to;
};

static struct {
	pthread_mutex_t lock;
	struct tide_hang *first;
	pthread_t thread;
	bool running;
	atomic_int_fast64_t limit_us;
	struct code codes[CODES_MAX];
	int code_count;
} watch = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Thread_local struct tide_hang *volatile running;
static _Thread_local pid_t this_thread;

/* ---- the thread that is to end a call ---- */

static uintptr_t place_of(const ucontext_t *context)
{
#if defined(__x86_64__)
	return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return (uintptr_t)context->uc_mcontext.pc;
#else
	(void)context;
	return (uintptr_t)tide_hang_start; /* Nobody has tried it there: nothing is ended. */
#endif
}

/* In LuaJIT, or in what it has compiled, which is in no file at all. */
static bool may_jump(uintptr_t place)
{
	for (int i = 0; i < watch.code_count; i++)
		if (place >= watch.codes[i].from && place < watch.codes[i].to)
			return false;
	return true;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	struct tide_hang *hang = running;
	(void)number, (void)info;
	if (hang == NULL || atomic_load(&hang->over) != atomic_load(&hang->calls) ||
	    !may_jump(place_of(context)))
		return;
	hang->blocked = ((const ucontext_t *)context)->uc_sigmask;
	hang->signalled = true;
	siglongjmp(hang->home, 1);
}

void tide_hang_enter(struct tide_hang *hang, int64_t limit_us)
{
	if (this_thread == 0)
		this_thread = (pid_t)syscall(SYS_gettid);
	atomic_store_explicit(&hang->thread, this_thread, memory_order_relaxed);
	hang->outer = running;
	atomic_store_explicit(&hang->limit_us, limit_us, memory_order_relaxed);
	atomic_fetch_add_explicit(&hang->calls, 1, memory_order_release);
	running = hang;
}

void tide_hang_exit(struct tide_hang *hang)
{
	running = hang->outer;
	atomic_fetch_add_explicit(&hang->calls, 1, memory_order_release);
}

void tide_hang_landed(struct tide_hang *hang)
{
	tide_hang_exit(hang);
	if (hang->signalled)
		pthread_sigmask(SIG_SETMASK, &hang->blocked, NULL);
	hang->signalled = false;
}

/* ---- the thread that watches ---- */

/* The processor time of a thread that may be gone. */
static int64_t spent_us(pid_t thread)
{
	enum { OF_THREAD = 4, SCHEDULED = 2 };
	clockid_t clock = (clockid_t)(~(unsigned)thread << 3 | OF_THREAD | SCHEDULED);
	struct timespec spent;
	if (clock_gettime(clock, &spent) != 0)
		return -1;
	return (int64_t)spent.tv_sec * 1000000 + spent.tv_nsec / 1000;
}

/* Different whenever the call got to another row or state. */
static uint64_t place_in(const struct tide_ctx *ctx)
{
	uint64_t row = __atomic_load_n(&ctx->row, __ATOMIC_RELAXED);
	uint64_t at = __atomic_load_n(&ctx->at, __ATOMIC_RELAXED);
	return (row << 32 | at) ^ (uint64_t)__atomic_load_n(&ctx->adding, __ATOMIC_RELAXED) << 24;
}

int64_t tide_hang_count(struct tide_hang *hang, unsigned call, uint64_t place, int64_t now_us)
{
	int64_t more_us = now_us - hang->read_us;
	bool further = call != hang->seen || place != hang->seen_at;
	hang->seen = call;
	hang->seen_at = place;
	hang->read_us = now_us;
	if (further)
		hang->counted_us = 0;
	else
		hang->counted_us += more_us < COUNT_US_MAX ? more_us : COUNT_US_MAX;
	return hang->counted_us;
}

/* True: it has to end. */
static bool look_at(struct tide_hang *hang)
{
	unsigned call = atomic_load_explicit(&hang->calls, memory_order_acquire);
	if (call % 2 == 0)
		return false;
	uint64_t place = place_in(hang->ctx);
	int64_t now_us = spent_us(hang->thread);
	if (now_us < 0)
		return false;
	int64_t long_us = tide_hang_count(hang, call, place, now_us);
	int64_t limit_us = atomic_load_explicit(&hang->limit_us, memory_order_relaxed);
	if (limit_us == 0 || long_us < limit_us)
		return false;
	atomic_store(&hang->spent_us, long_us);
	atomic_store(&hang->over, call);
	syscall(SYS_tgkill, getpid(), hang->thread, SIGRTMIN);
	return true;
}

static void *watch_main(void *arg)
{
	(void)arg;
	for (;;) {
		bool pressing = false;
		pthread_mutex_lock(&watch.lock);
		for (struct tide_hang *hang = watch.first; hang != NULL; hang = hang->next)
			pressing = look_at(hang) || pressing;
		pthread_mutex_unlock(&watch.lock);
		long wait_us = pressing ? PRESS_US : LOOK_US;
		nanosleep(&(struct timespec){ .tv_nsec = wait_us * 1000 }, NULL);
	}
	return NULL;
}

/* ---- starting ---- */

static int note_code(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size, (void)arg;
	if (info->dlpi_name != NULL && strstr(info->dlpi_name, "libluajit") != NULL)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0)
			continue;
		if (watch.code_count == CODES_MAX)
			return 1;
		uintptr_t from = info->dlpi_addr + part->p_vaddr;
		watch.codes[watch.code_count++] = (struct code){ from, from + part->p_memsz };
	}
	return 0;
}

/* The watching thread is not in a child, and what it held may be locked. */
static void after_fork(void)
{
	pthread_mutex_init(&watch.lock, NULL);
	watch.first = NULL;
	watch.running = false;
	atomic_store(&watch.limit_us, 0);
	this_thread = 0;
}

static int start_thread(struct tide_error *err)
{
	static bool asked;
	struct sigaction action;
	sigset_t all, before;
	watch.code_count = 0;
	if (dl_iterate_phdr(note_code, NULL) != 0)
		return tide_fail(err, TIDE_ERR_FAILED,
		                 "too many libraries to watch over scripts; turn that off with "
		                 "--record-timeout 0s");
	memset(&action, 0, sizeof action);
	action.sa_sigaction = on_signal;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	sigfillset(&action.sa_mask);
	sigaction(SIGRTMIN, &action, NULL);
	if (!asked)
		pthread_atfork(NULL, NULL, after_fork);
	asked = true;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failed = pthread_create(&watch.thread, NULL, watch_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed != 0)
		return tide_fail(err, TIDE_ERR_FAILED,
		                 "cannot start the thread that watches over "
		                 "scripts: %s",
		                 strerror(failed));
	pthread_detach(watch.thread);
	watch.running = true;
	return TIDE_OK;
}

int tide_hang_start(int64_t limit_ms, struct tide_error *err)
{
	assert(limit_ms >= 0);
	int rc = limit_ms > 0 && !watch.running ? start_thread(err) : TIDE_OK;
	if (rc == TIDE_OK)
		atomic_store(&watch.limit_us, limit_ms * 1000);
	return rc;
}

int64_t tide_hang_limit_us(void)
{
	return atomic_load_explicit(&watch.limit_us, memory_order_relaxed);
}

void tide_hang_join(struct tide_hang *hang, const struct tide_ctx *ctx)
{
	memset(hang, 0, sizeof *hang);
	hang->ctx = ctx;
	pthread_mutex_lock(&watch.lock);
	hang->next = watch.first;
	watch.first = hang;
	pthread_mutex_unlock(&watch.lock);
}

void tide_hang_leave(struct tide_hang *hang)
{
	pthread_mutex_lock(&watch.lock);
	for (struct tide_hang **at = &watch.first; *at != NULL; at = &(*at)->next)
		if (*at == hang) {
			*at = hang->next;
			break;
		}
	pthread_mutex_unlock(&watch.lock);
}
