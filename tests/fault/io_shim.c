/* SPDX-License-Identifier: Apache-2.0 */
/* A bad disk, for any program that calls libc: LD_PRELOAD=io_shim.so.
 *
 *   IO_SHIM_ROOT=DIR     the folder that is watched, absolute; nothing else is
 *   IO_SHIM_FAULT=OP:PATTERN=WHAT@N[+],…
 *                        the Nth call (with +: and all behind it) of OP (write, sync,
 *                        rename, open) on a path that matches PATTERN, as fnmatch does
 *                        below DIR, fails with WHAT: EIO, ENOSPC, or short: half is written
 *   IO_SHIM_LOG=FILE     a line for each strike, and for each sync behind the first
 *   IO_SHIM_JOURNAL=FILE every change below DIR, with its bytes; nothing is really
 *                        synced. power_loss.lua makes of it what a disk could hold
 *   IO_SHIM_KILL=N       SIGKILL in place of the Nth change
 *
 * Only what Tidemark and RocksDB call with our settings is here: `strace -f` shows
 * no others on files of a checkpoint. Bytes that go through stdio (RocksDB's LOG)
 * are not seen, and nothing reads them. */
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS_MAX = 4096, PATH_ROOM = 1024, FAULTS_MAX = 8 };
enum op { OP_WRITE, OP_SYNC, OP_RENAME, OP_OPEN };
enum kind { K_OPEN = 1, K_WRITE, K_SYNC, K_TRUNCATE, K_RENAME, K_UNLINK, K_LINK, K_MKDIR, K_RMDIR };
enum { SHORT = -1 };

/* A journal's entry; behind it two texts, or a path and bytes. power_loss.lua
 * reads these. */
struct entry {
	uint32_t kind, handle;
	uint64_t offset; /* of a write; a truncated length; the flags of an open */
	uint32_t first, second;
};
_Static_assert(sizeof(struct entry) == 24, "the journal's entries are on disk");

struct fault {
	enum op op;
	char pattern[128];
	int error;
	unsigned long at, seen;
	bool onwards;
};

/* Of a descriptor that is watched. handle 0: it is not. */
struct watched {
	uint32_t handle;
	bool append;
	char path[PATH_ROOM];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t loaded = PTHREAD_ONCE_INIT;
static struct watched fds[FDS_MAX];
static uint32_t handles;
static struct fault faults[FAULTS_MAX];
static int fault_count;
static const char *root;
static size_t root_len;
static int journal = -1, log_fd = -1;
static unsigned long changes, kill_at;
static bool struck;

#define REAL(name, ...) ((__typeof__(&name))(uintptr_t)real(#name))(__VA_ARGS__)

static void *real(const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);
	assert(symbol != NULL);
	return symbol;
}

/* ---- settings ---- */

static void refuse(const char *text)
{
	fprintf(stderr, "io_shim: cannot read \"%s\"\n", text);
	abort();
}

static void fault_parse(char *text)
{
	static const char *const ops[] = { "write", "sync", "rename", "open" };
	struct fault *fault = &faults[fault_count++];
	char op[8], what[8], more[2] = "";
	if (fault_count > FAULTS_MAX || sscanf(text, "%7[a-z]:%127[^=]=%7[A-Za-z]@%lu%1[+]", op,
	                                       fault->pattern, what, &fault->at, more) < 4)
		refuse(text);
	size_t i = 0;
	while (i < 4 && strcmp(ops[i], op) != 0)
		i++;
	fault->op = (enum op)i;
	fault->onwards = more[0] == '+';
	fault->error = strcmp(what, "EIO") == 0      ? EIO
	               : strcmp(what, "ENOSPC") == 0 ? ENOSPC
	               : strcmp(what, "short") == 0  ? SHORT
	                                             : 0;
	if (i == 4 || fault->error == 0)
		refuse(text);
}

static int file_of(const char *variable)
{
	const char *path = getenv(variable);
	if (path == NULL)
		return -1;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
	                      0644);
	if (fd < 0)
		refuse(path);
	return fd;
}

static void load(void)
{
	const char *spec = getenv("IO_SHIM_FAULT"), *at = getenv("IO_SHIM_KILL");
	char *copy = spec != NULL ? strdup(spec) : NULL, *rest = copy;
	root = getenv("IO_SHIM_ROOT");
	if (root == NULL || root[0] != '/')
		refuse("IO_SHIM_ROOT");
	root_len = strlen(root);
	for (char *item; rest != NULL && (item = strsep(&rest, ",")) != NULL;)
		fault_parse(item);
	free(copy);
	kill_at = at != NULL ? strtoul(at, NULL, 10) : 0;
	journal = file_of("IO_SHIM_JOURNAL");
	log_fd = file_of("IO_SHIM_LOG");
}

/* ---- paths ---- */

/* Without "." and "x/..", absolute; there are no links where tests put folders. */
static void tidy(char *path)
{
	char out[PATH_ROOM] = "", *save = NULL;
	for (char *part = strtok_r(path, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		size_t len = strlen(out);
		char *slash = strrchr(out, '/');
		if (strcmp(part, "..") == 0 && slash != NULL)
			*slash = '\0';
		else if (strcmp(part, ".") != 0)
			snprintf(out + len, sizeof out - len, "/%s", part);
	}
	memcpy(path, out, sizeof out);
}

/* The path below the root, "." for itself; NULL: not watched. */
static const char *below(int dirfd, const char *given, char path[PATH_ROOM])
{
	char link[64], base[PATH_ROOM / 2] = "";
	pthread_once(&loaded, load);
	if (given[0] != '/') {
		if (dirfd == AT_FDCWD)
			snprintf(link, sizeof link, "/proc/self/cwd");
		else
			snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
		ssize_t len = readlink(link, base, sizeof base - 1);
		base[len > 0 ? len : 0] = '\0';
	}
	snprintf(path, PATH_ROOM, "%.500s/%.500s", base, given);
	tidy(path);
	if (strncmp(path, root, root_len) != 0)
		return NULL;
	if (path[root_len] == '\0')
		return ".";
	return path[root_len] == '/' ? path + root_len + 1 : NULL;
}

static struct watched *watched(int fd)
{
	return fd >= 0 && fd < FDS_MAX && fds[fd].handle != 0 ? &fds[fd] : NULL;
}

/* ---- faults, and the log of them ---- */

static void log_line(const char *what, const char *path, const char *how)
{
	char line[PATH_ROOM + 64];
	int len = snprintf(line, sizeof line, "%s %s %s\n", what, path, how);
	if (log_fd >= 0 && syscall(SYS_write, log_fd, line, (size_t)len) != len)
		abort();
}

/* 0, an errno, or SHORT: what this call shall meet. */
static int strike(enum op op, const char *path)
{
	static const char *const ops[] = { "write", "sync", "rename", "open" };
	int error = 0;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < fault_count; i++) {
		struct fault *fault = &faults[i];
		if (fault->op != op || fnmatch(fault->pattern, path, 0) != 0)
			continue;
		fault->seen++;
		if (fault->seen == fault->at || (fault->onwards && fault->seen > fault->at))
			error = fault->error;
	}
	if (error != 0)
		log_line("strike", path, ops[op]);
	else if (struck && op == OP_SYNC)
		log_line("after", path, ops[op]);
	struck = struck || error != 0;
	pthread_mutex_unlock(&lock);
	return error;
}

/* ---- the journal ---- */

/* Call with the lock, in this order: before, the change, after. */
static void before_change(void)
{
	if (++changes == kill_at)
		kill(getpid(), SIGKILL);
}

static void put(enum kind kind, uint32_t handle, uint64_t offset, const char *first,
                const void *second, size_t second_len)
{
	struct entry entry = { (uint32_t)kind, handle, offset,
		               (uint32_t)(first != NULL ? strlen(first) : 0),
		               (uint32_t)second_len };
	struct iovec parts[] = { { &entry, sizeof entry },
		                 { (void *)(uintptr_t)first, entry.first },
		                 { (void *)(uintptr_t)second, second_len } };
	size_t all = sizeof entry + entry.first + second_len;
	if (journal >= 0 && syscall(SYS_writev, journal, parts, 3) != (long)all)
		abort();
}

/* ---- open and close ---- */

static int open_watched(int dirfd, const char *path, const char *rel, int flags, mode_t mode)
{
	bool changes_it = (flags & (O_CREAT | O_TRUNC)) != 0;
	int error = strike(OP_OPEN, rel);
	if (error > 0) {
		errno = error;
		return -1;
	}
	pthread_mutex_lock(&lock);
	if (changes_it)
		before_change();
	int fd = (int)syscall(SYS_openat, dirfd, path, flags, mode), kept = errno;
	if (fd >= 0 && fd < FDS_MAX) {
		fds[fd].handle = ++handles;
		fds[fd].append = (flags & O_APPEND) != 0;
		snprintf(fds[fd].path, sizeof fds[fd].path, "%s", rel);
		put(K_OPEN, handles, (uint64_t)flags, rel, NULL, 0);
	}
	pthread_mutex_unlock(&lock);
	errno = kept;
	return fd;
}

static int open_any(int dirfd, const char *path, int flags, mode_t mode)
{
	char room[PATH_ROOM];
	const char *rel = below(dirfd, path, room);
	if (rel != NULL)
		return open_watched(dirfd, path, rel, flags, mode);
	int fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);
	if (fd >= 0 && fd < FDS_MAX)
		fds[fd].handle = 0;
	return fd;
}

static mode_t mode_of(int flags, va_list args)
{
	return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int dirfd, const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	return open_any(dirfd, path, flags, mode);
}

int close(int fd)
{
	if (fd >= 0 && fd < FDS_MAX)
		fds[fd].handle = 0;
	return (int)syscall(SYS_close, fd);
}

/* From here on its bytes go where we do not see them. */
FILE *fdopen(int fd, const char *how)
{
	if (fd >= 0 && fd < FDS_MAX)
		fds[fd].handle = 0;
	return REAL(fdopen, fd, how);
}

/* ---- bytes ---- */

/* At `offset`, or where the descriptor stands if that is negative. */
static ssize_t write_watched(struct watched *file, int fd, const void *bytes, size_t len,
                             off_t offset)
{
	struct stat st;
	int error = strike(OP_WRITE, file->path);
	if (error > 0) {
		errno = error;
		return -1;
	}
	if (error == SHORT && len > 1)
		len /= 2;
	pthread_mutex_lock(&lock);
	before_change();
	off_t at = offset >= 0 ? offset : lseek(fd, 0, SEEK_CUR);
	if (file->append && fstat(fd, &st) == 0)
		at = st.st_size;
	ssize_t n = offset >= 0 ? syscall(SYS_pwrite64, fd, bytes, len, offset)
	                        : syscall(SYS_write, fd, bytes, len);
	int kept = errno;
	if (n > 0)
		put(K_WRITE, file->handle, (uint64_t)at, NULL, bytes, (size_t)n);
	pthread_mutex_unlock(&lock);
	errno = kept;
	return n;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	struct watched *file = watched(fd);
	return file != NULL ? write_watched(file, fd, bytes, len, -1)
	                    : syscall(SYS_write, fd, bytes, len);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
	struct watched *file = watched(fd);
	return file != NULL ? write_watched(file, fd, bytes, len, offset)
	                    : syscall(SYS_pwrite64, fd, bytes, len, offset);
}

int ftruncate(int fd, off_t len)
{
	struct watched *file = watched(fd);
	if (file == NULL)
		return (int)syscall(SYS_ftruncate, fd, len);
	pthread_mutex_lock(&lock);
	before_change();
	int rc = (int)syscall(SYS_ftruncate, fd, len), kept = errno;
	if (rc == 0)
		put(K_TRUNCATE, file->handle, (uint64_t)len, NULL, NULL, 0);
	pthread_mutex_unlock(&lock);
	errno = kept;
	return rc;
}

/* ---- syncs ---- */

static int sync_any(int fd, long call)
{
	struct watched *file = watched(fd);
	if (file == NULL)
		return (int)syscall(call, fd);
	int error = strike(OP_SYNC, file->path);
	if (error > 0) {
		errno = error;
		return -1;
	}
	if (journal < 0)
		return (int)syscall(call, fd);
	pthread_mutex_lock(&lock);
	before_change();
	put(K_SYNC, file->handle, 0, NULL, NULL, 0);
	pthread_mutex_unlock(&lock);
	return 0;
}

int fsync(int fd)
{
	return sync_any(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return sync_any(fd, SYS_fdatasync);
}

/* ---- names ---- */

/* A change of names; `b` NULL where there is one name only. */
static int names(enum kind kind, const char *a, const char *b, int (*change)(void *), void *arg)
{
	int error = kind == K_RENAME ? strike(OP_RENAME, b) : 0;
	if (error > 0) {
		errno = error;
		return -1;
	}
	pthread_mutex_lock(&lock);
	before_change();
	int rc = change(arg), kept = errno;
	if (rc == 0)
		put(kind, 0, 0, a, b, b != NULL ? strlen(b) : 0);
	pthread_mutex_unlock(&lock);
	errno = kept;
	return rc;
}

struct two {
	int from_fd, to_fd;
	const char *from, *to;
	mode_t mode;
	int flags;
};

static int do_rename(void *arg)
{
	const struct two *t = arg;
	return (int)syscall(SYS_renameat, t->from_fd, t->from, t->to_fd, t->to);
}

static int do_link(void *arg)
{
	const struct two *t = arg;
	return (int)syscall(SYS_linkat, AT_FDCWD, t->from, AT_FDCWD, t->to, 0);
}

static int do_unlink(void *arg)
{
	const struct two *t = arg;
	return (int)syscall(SYS_unlinkat, t->from_fd, t->from, t->flags);
}

static int do_mkdir(void *arg)
{
	const struct two *t = arg;
	return (int)syscall(SYS_mkdirat, AT_FDCWD, t->from, t->mode);
}

static int change_two(enum kind kind, struct two *t, int (*change)(void *))
{
	char a[PATH_ROOM], b[PATH_ROOM];
	const char *from = below(t->from_fd, t->from, a), *to = below(t->to_fd, t->to, b);
	if (from == NULL && to == NULL)
		return change(t);
	assert(from != NULL && to != NULL);
	return names(kind, from, to, change, t);
}

static int change_one(enum kind kind, struct two *t, int (*change)(void *))
{
	char room[PATH_ROOM];
	const char *path = below(t->from_fd, t->from, room);
	return path == NULL ? change(t) : names(kind, path, NULL, change, t);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	struct two t = { .from_fd = from_fd, .to_fd = to_fd, .from = from, .to = to };
	return change_two(K_RENAME, &t, do_rename);
}

int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int link(const char *from, const char *to)
{
	struct two t = { .from_fd = AT_FDCWD, .to_fd = AT_FDCWD, .from = from, .to = to };
	return change_two(K_LINK, &t, do_link);
}

int unlinkat(int dirfd, const char *path, int flags)
{
	struct two t = { .from_fd = dirfd, .from = path, .flags = flags };
	return change_one((flags & AT_REMOVEDIR) != 0 ? K_RMDIR : K_UNLINK, &t, do_unlink);
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
	return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdir(const char *path, mode_t mode)
{
	struct two t = { .from_fd = AT_FDCWD, .from = path, .mode = mode };
	return change_one(K_MKDIR, &t, do_mkdir);
}
