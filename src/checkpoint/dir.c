/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint's directory. */
#include "checkpoint/dir.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/durable.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mutant.h"
#include "checkpoint/checkpoint.h"

enum { LOCK_TEXT_MAX = 512, FORMAT_TEXT_MAX = 64, NAMES_SHOWN = 3 };

static const char format_start[] = "tidemark checkpoint format ";

char *tide_dir_path(const char *dir, const char *name)
{
	char *path = NULL;
	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static int fail_memory(const char *dir, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory to open the checkpoint %s", dir);
}

/* What to do about an errno, as the end of a sentence. */
static const char *advice_of(int error)
{
	if (error == ENOENT)
		return "make its parent with mkdir -p, or choose another --checkpoint-dir";
	if (error == EACCES || error == EPERM)
		return "allow it with chmod -R 755 (or chown), or choose another --checkpoint-dir";
	if (error == ENOSPC || error == EDQUOT)
		return "make room, or choose another --checkpoint-dir";
	return "choose another --checkpoint-dir";
}

static int fail_errno(const char *path, const char *doing, int error, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_IO, "checkpoint %s: cannot %s: %s; %s", path, doing,
	                 strerror(error), advice_of(error));
}

/* ---- writing names and files ---- */

int tide_dir_sync(const char *dir, struct tide_error *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error = fd < 0 || fsync(fd) != 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	return error != 0 ? fail_errno(dir, "sync it", error, err) : TIDE_OK;
}

int tide_dir_replace(const char *dir, const char *name, const char *bytes, struct tide_error *err)
{
	char *path = tide_dir_path(dir, name), *temporary = NULL;
	if (path == NULL || asprintf(&temporary, "%s.tmp", path) < 0) {
		free(path);
		return fail_memory(dir, err);
	}
	int rc = TIDE_OK;
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || !tide_write_all(fd, bytes, strlen(bytes)) || fsync(fd) != 0 ||
	    rename(temporary, path) != 0)
		rc = fail_errno(path, "write it", errno, err);
	if (fd >= 0)
		close(fd);
	if (rc == TIDE_OK)
		rc = tide_dir_sync(dir, err);
	free(path);
	free(temporary);
	return rc;
}

/* ---- whose directory it is ---- */

/* What lies in a directory that has no FORMAT. */
struct finding {
	int foreign; /* entries that a new checkpoint does not have */
	bool spark;
	char names[128]; /* of a few of them */
};

static bool listed(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static void finding_add(struct finding *found, const char *name)
{
	/* A start that was killed before it wrote FORMAT leaves these two; a
	 * volume's own directory is nobody's data. */
	static const char *const own[] = { "lock", "FORMAT.tmp", "lost+found" };
	static const char *const sparks[] = { "offsets", "commits", "metadata" };
	if (listed(name, own, sizeof own / sizeof *own))
		return;
	found->spark = found->spark || listed(name, sparks, sizeof sparks / sizeof *sparks);
	if (found->foreign++ < NAMES_SHOWN) {
		size_t len = strlen(found->names);
		snprintf(found->names + len, sizeof found->names - len, "%s%.32s",
		         len > 0 ? ", " : "", name);
	}
}

static int look_around(const char *dir, struct tide_error *err)
{
	struct finding found = { 0 };
	DIR *d = opendir(dir);
	if (d == NULL)
		return fail_errno(dir, "read the directory", errno, err);
	for (struct dirent *item; (item = readdir(d)) != NULL;)
		if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
			finding_add(&found, item->d_name);
	closedir(d);
	if (found.spark)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "checkpoint %s: this is a checkpoint of Spark (it holds %s). "
		                 "Nothing was touched; choose another --checkpoint-dir",
		                 dir, found.names);
	if (found.foreign > 0)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "checkpoint %s: the directory is not empty and is no checkpoint "
		                 "of Tidemark: it holds %s%s and no file FORMAT. Nothing was "
		                 "touched; choose another --checkpoint-dir",
		                 dir, found.names, found.foreign > NAMES_SHOWN ? ", …" : "");
	return TIDE_OK;
}

/* *present is false when there is no FORMAT at all. */
static int format_check(const char *dir, bool *present, struct tide_error *err)
{
	char *bytes = NULL, *path = tide_dir_path(dir, "FORMAT");
	size_t len = 0;
	int rc = TIDE_OK, format = 0, end = 0;
	if (path == NULL)
		return fail_memory(dir, err);
	*present = access(path, F_OK) == 0;
	if (!*present && errno != ENOENT)
		rc = fail_errno(dir, "look into it", errno, err);
	if (*present)
		rc = tide_file_read(path, FORMAT_TEXT_MAX, &bytes, &len, err);
	if (*present && rc == TIDE_OK) {
		size_t start = strlen(format_start);
		if (len < start || memcmp(bytes, format_start, start) != 0 ||
		    sscanf(bytes + start, "%d%n", &format, &end) != 1 ||
		    strcmp(bytes + start + end, "\n") != 0 || format < 0)
			rc = tide_fail(err, TIDE_ERR_CHECKPOINT,
			               "%s is damaged; it should read \"%s%d\"", path, format_start,
			               TIDE_CHECKPOINT_FORMAT);
		else if (format < 1 || format > TIDE_CHECKPOINT_FORMAT)
			rc = tide_fail(err, TIDE_ERR_CHECKPOINT,
			               "checkpoint %s has format %d; this program knows format "
			               "%d: use the version that wrote it",
			               dir, format, TIDE_CHECKPOINT_FORMAT);
	}
	free(bytes);
	free(path);
	return rc;
}

/* ---- the lock ---- */

static int fail_locked(const char *dir, int fd, struct tide_error *err)
{
	char owner[LOCK_TEXT_MAX + 1] = { 0 };
	ssize_t len = pread(fd, owner, LOCK_TEXT_MAX, 0);
	if (len <= 0)
		strcpy(owner, "another process, which is just starting");
	owner[strcspn(owner, "\n")] = '\0';
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "checkpoint %s is in use by %s; stop it first, or choose another "
	                 "--checkpoint-dir",
	                 dir, owner);
}

static int lock_take(const char *dir, int *lock_fd, struct tide_error *err)
{
	char host[128] = "unknown host", text[LOCK_TEXT_MAX], *path = tide_dir_path(dir, "lock");
	int rc = TIDE_OK;
	if (path == NULL)
		return fail_memory(dir, err);
	int fd = tide_failpoint("lock") != 0 ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		rc = fail_errno(path, "open it", errno, err);
	else if (!tide_mutant(NO_LOCK) && flock(fd, LOCK_EX | LOCK_NB) != 0)
		rc = errno == EWOULDBLOCK ? fail_locked(dir, fd, err)
		                          : fail_errno(path, "lock it", errno, err);
	free(path);
	if (rc != TIDE_OK) {
		if (fd >= 0)
			close(fd);
		return rc;
	}
	/* For people; the lock itself is the kernel's, and ends with the process. */
	gethostname(host, sizeof host - 1);
	int len = snprintf(text, sizeof text, "%s, process %d on %s\n",
	                   program_invocation_short_name, (int)getpid(), host);
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len)
		tide_log(TIDE_WARN, "checkpoint %s: cannot write into its lock file: %s", dir,
		         strerror(errno));
	*lock_fd = fd;
	return TIDE_OK;
}

/* ---- opening ---- */

static int dir_make(const char *dir, struct tide_error *err)
{
	struct stat st;
	if (stat(dir, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			return fail_errno(dir, "use it", ENOTDIR, err);
		if (access(dir, R_OK | W_OK | X_OK) != 0)
			return fail_errno(dir, "write into the directory", errno, err);
		return TIDE_OK;
	}
	if (errno != ENOENT || mkdir(dir, 0777) != 0)
		return fail_errno(dir, "make the directory", errno, err);
	return TIDE_OK;
}

/* Half of a copy is nothing to go on from. */
static int restoring_check(const char *dir, struct tide_error *err)
{
	char *path = tide_dir_path(dir, TIDE_DIR_RESTORING);
	if (path == NULL)
		return fail_memory(dir, err);
	bool restoring = access(path, F_OK) == 0;
	free(path);
	if (!restoring)
		return TIDE_OK;
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "checkpoint %s: a restore was begun and not ended; run `tidemark "
	                 "checkpoint restore` again. What was there before is in %s/replaced",
	                 dir, dir);
}

int tide_dir_lock(const char *dir, int *lock_fd, struct tide_error *err)
{
	bool present = false;
	int rc = format_check(dir, &present, err);
	if (rc == TIDE_OK && !present)
		rc = tide_fail(err, TIDE_ERR_CHECKPOINT, "there is no checkpoint in %s", dir);
	return rc == TIDE_OK ? lock_take(dir, lock_fd, err) : rc;
}

int tide_dir_open(const char *dir, int *lock_fd, struct tide_error *err)
{
	char text[FORMAT_TEXT_MAX];
	bool present = false;
	int rc = dir_make(dir, err);
	if (rc == TIDE_OK)
		rc = format_check(dir, &present, err);
	if (rc == TIDE_OK && !present)
		rc = look_around(dir, err);
	if (rc == TIDE_OK)
		rc = lock_take(dir, lock_fd, err);
	if (rc != TIDE_OK)
		return rc;
	/* Once more, now that nobody else can be making it. */
	rc = format_check(dir, &present, err);
	if (rc == TIDE_OK)
		rc = restoring_check(dir, err);
	/* Whoever made the directory, it is certain before something is in it. */
	if (rc == TIDE_OK && !present)
		rc = tide_durable_names(dir, err);
	if (rc == TIDE_OK && !present) {
		snprintf(text, sizeof text, "%s%d\n", format_start, TIDE_CHECKPOINT_FORMAT);
		rc = tide_pass("format", err);
		if (rc == TIDE_OK)
			rc = tide_dir_replace(dir, "FORMAT", text, err);
	}
	if (rc != TIDE_OK) {
		close(*lock_fd);
		*lock_fd = -1;
	}
	return rc;
}

int tide_dir_check(const char *dir, struct tide_error *err)
{
	bool present = false;
	struct stat st;
	if (stat(dir, &st) != 0)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "there is no checkpoint %s: %s; has the job run, and is this its "
		                 "--checkpoint-dir?",
		                 dir, strerror(errno));
	int rc = format_check(dir, &present, err);
	if (rc == TIDE_OK && !present)
		rc = look_around(dir, err);
	if (rc == TIDE_OK && !present)
		rc = tide_fail(err, TIDE_ERR_CHECKPOINT, "there is no checkpoint in %s yet", dir);
	return rc == TIDE_OK ? restoring_check(dir, err) : rc;
}
