/* SPDX-License-Identifier: Apache-2.0 */
/* What a job allocates once it runs, by call site: tidemark itself, whose linker
 * wraps the functions below for our own objects.
 *
 *   ALLOCATIONS="FILE FROM EPOCHS" allocations run JOB.lua …
 *
 * counts in so many epochs, behind the one that reaches record FROM. What LuaJIT,
 * librdkafka, RocksDB and libc take for themselves does not count; what Lua asks of its
 * heap does, in bytes. At the end FILE holds
 *
 *   records N taken COUNT lua BYTES
 *                      BYTES a record, the median of epochs: a trace that is compiled late
 *                      is no garbage, nor are PER_BATCH bytes of each batch
 *   COUNT ADDRESS…     a site, and who called it, for addr2line */
#include <execinfo.h>
#include <lua.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "job/heap.h"
#include "job/vm.h"
#include "run/finished.h"

enum { CALLERS = 5, SITES_MAX = 4096, EPOCHS_MAX = 1024, PER_BATCH = 256 };

struct site {
	void *frames[CALLERS];
	unsigned long count;
};

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t count, size_t size);
void *__wrap_reallocarray(void *p, size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **p, size_t alignment, size_t size);
int __wrap_posix_memalign(void **p, size_t alignment, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
char *__wrap_strndup(const char *text, size_t len);
int __wrap_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __real_vasprintf(char **text, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
int __wrap_vasprintf(char **text, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
int __real_lua_pcall(lua_State *lua, int args, int results, int handler);
int __wrap_lua_pcall(lua_State *lua, int args, int results, int handler);
void *__real_tide_heap_alloc(void *ud, void *p, size_t old, size_t size);
void *__wrap_tide_heap_alloc(void *ud, void *p, size_t old, size_t size);
int __real_tide_vm_run(struct tide_vm *vm, int input, const struct tide_batch *batch,
                       struct tide_run_result *result, struct tide_error *err);
int __wrap_tide_vm_run(struct tide_vm *vm, int input, const struct tide_batch *batch,
                       struct tide_run_result *result, struct tide_error *err);
struct tide_finished *__real_tide_finished_new(const struct tide_meta *before, int workers,
                                               int output_count);
struct tide_finished *__wrap_tide_finished_new(const struct tide_meta *before, int workers,
                                               int output_count);

extern const char __executable_start;

static char path[1024];
static unsigned long from;
static int wanted;
static atomic_ulong records, batches, lua_bytes;
static atomic_bool counting;
static _Thread_local bool within_lua;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct site sites[SITES_MAX];
static int site_count;
static unsigned long taken, counted; /* allocations, records */

/* Where an epoch ended. */
static struct mark {
	unsigned long records, batches, lua_bytes;
} last;
static double epochs[EPOCHS_MAX]; /* Lua's bytes a record */
static int epoch_count;

/* ---- counting ---- */

static struct site *site_of(void *const frames[CALLERS])
{
	int i = 0;
	while (i < site_count && memcmp(sites[i].frames, frames, sizeof sites[i].frames) != 0)
		i++;
	if (i == SITES_MAX)
		return &sites[SITES_MAX - 1];
	if (i == site_count)
		memcpy(sites[site_count++].frames, frames, sizeof sites[i].frames);
	return &sites[i];
}

/* Callers of callers, but not through what LuaJIT has compiled: nobody can. */
static __attribute__((noinline)) void note(void *caller)
{
	void *all[CALLERS + 2] = { 0 }, **frames = all;
	if (!atomic_load_explicit(&counting, memory_order_relaxed))
		return;
	if (!within_lua) {
		backtrace(all, CALLERS + 2);
		while (frames < all + 2 && *frames != caller)
			frames++;
	}
	frames[0] = caller;
	pthread_mutex_lock(&lock);
	taken++;
	site_of(frames)->count++;
	pthread_mutex_unlock(&lock);
}

void *__wrap_malloc(size_t size)
{
	note(__builtin_return_address(0));
	return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	note(__builtin_return_address(0));
	return __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	note(__builtin_return_address(0));
	return __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t count, size_t size)
{
	note(__builtin_return_address(0));
	return __real_reallocarray(p, count, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	note(__builtin_return_address(0));
	return __real_aligned_alloc(alignment, size);
}

int __wrap_posix_memalign(void **p, size_t alignment, size_t size)
{
	note(__builtin_return_address(0));
	return __real_posix_memalign(p, alignment, size);
}

char *__wrap_strdup(const char *text)
{
	note(__builtin_return_address(0));
	return __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
	note(__builtin_return_address(0));
	return __real_strndup(text, len);
}

int __wrap_vasprintf(char **text, const char *format, va_list args)
{
	note(__builtin_return_address(0));
	return __real_vasprintf(text, format, args);
}

int __wrap_asprintf(char **text, const char *format, ...)
{
	va_list args;
	note(__builtin_return_address(0));
	va_start(args, format);
	int len = __real_vasprintf(text, format, args);
	va_end(args);
	return len;
}

FILE *__wrap_fopen(const char *name, const char *mode)
{
	note(__builtin_return_address(0));
	return __real_fopen(name, mode);
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	note(__builtin_return_address(0));
	return __real_mmap(at, len, prot, flags, fd, offset);
}

int __wrap_lua_pcall(lua_State *lua, int args, int results, int handler)
{
	within_lua = true;
	int rc = __real_lua_pcall(lua, args, results, handler);
	within_lua = false;
	return rc;
}

void *__wrap_tide_heap_alloc(void *ud, void *p, size_t old, size_t size)
{
	size_t had = p != NULL ? old : 0;
	if (size > had)
		atomic_fetch_add_explicit(&lua_bytes, size - had, memory_order_relaxed);
	return __real_tide_heap_alloc(ud, p, old, size);
}

/* ---- records and epochs ---- */

int __wrap_tide_vm_run(struct tide_vm *vm, int input, const struct tide_batch *batch,
                       struct tide_run_result *result, struct tide_error *err)
{
	int rc = __real_tide_vm_run(vm, input, batch, result, err);
	atomic_fetch_add(&records, result->rows_in);
	atomic_fetch_add(&batches, 1);
	return rc;
}

static void close_epoch(const struct mark *now)
{
	double bytes = (double)(now->lua_bytes - last.lua_bytes);
	double read = (double)(now->records - last.records);
	bytes -= PER_BATCH * (double)(now->batches - last.batches);
	epochs[epoch_count++] = bytes > 0 && read > 0 ? bytes / read : 0;
	counted += now->records - last.records;
}

/* An epoch has been folded. */
struct tide_finished *__wrap_tide_finished_new(const struct tide_meta *before, int workers,
                                               int output_count)
{
	struct mark now = { atomic_load(&records), atomic_load(&batches), atomic_load(&lua_bytes) };
	if (atomic_load(&counting)) {
		close_epoch(&now);
		atomic_store(&counting, epoch_count < wanted);
	} else if (path[0] != '\0' && now.records >= from && epoch_count == 0) {
		atomic_store(&counting, true);
	}
	last = now;
	return __real_tide_finished_new(before, workers, output_count);
}

/* ---- the report ---- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

__attribute__((constructor)) static void load(void)
{
	const char *told = getenv("ALLOCATIONS");
	void *frame[1];
	if (told == NULL)
		return;
	if (sscanf(told, "%1023s %lu %d", path, &from, &wanted) != 3 || wanted < 1 ||
	    wanted > EPOCHS_MAX) {
		fprintf(stderr, "allocations: cannot read \"%s\"\n", told);
		abort();
	}
	backtrace(frame, 1); /* loads what it needs */
}

__attribute__((destructor)) static void report(void)
{
	FILE *file = path[0] != '\0' ? __real_fopen(path, "w") : NULL;
	if (file == NULL)
		return;
	if (epoch_count > 0 && epoch_count == wanted) {
		qsort(epochs, (size_t)epoch_count, sizeof epochs[0], compare);
		fprintf(file, "records %lu taken %lu lua %.2f\n", counted, taken,
		        epochs[epoch_count / 2]);
	}
	for (int i = 0; i < site_count; i++) {
		fprintf(file, "%lu", sites[i].count);
		for (int f = 0; f < CALLERS && sites[i].frames[f] != NULL; f++)
			fprintf(file, " 0x%lx",
			        (unsigned long)((uintptr_t)sites[i].frames[f] -
			                        (uintptr_t)&__executable_start) -
			                1);
		fprintf(file, "\n");
	}
	fclose(file);
}
