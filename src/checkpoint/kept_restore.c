/* SPDX-License-Identifier: Apache-2.0 */
/* Going back to a kept copy.
 *
 * The file RESTORING stands in the checkpoint from before the first change until all
 * of the copy is in place and on the disk: nothing opens the checkpoint meanwhile,
 * and a restore that was cut short is done again from its beginning. What was there
 * before the first try is kept in replaced/. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/dir.h"
#include "checkpoint/kept_inside.h"

static const char *const parts[] = { "db", "segments", "anchor" };

static int fail_errno(const char *path, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
}

/* Out of the way; when this is not the first try it is half a copy. */
static int put_aside(const char *dir, bool again, struct tide_error *err)
{
	char replaced[TIDE_KEPT_PATH], from[TIDE_KEPT_PATH], to[TIDE_KEPT_PATH];
	snprintf(replaced, sizeof replaced, "%.1800s/replaced", dir);
	if (!again)
		tide_kept_remove(replaced);
	if (mkdir(replaced, 0777) != 0 && errno != EEXIST)
		return fail_errno(replaced, err);
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		snprintf(from, sizeof from, "%.1800s/%s", dir, parts[i]);
		snprintf(to, sizeof to, "%.1800s/%s", replaced, parts[i]);
		if (access(to, F_OK) == 0)
			tide_kept_remove(from);
		else if (rename(from, to) != 0 && errno != ENOENT)
			return fail_errno(from, err);
	}
	int rc = tide_dir_sync(replaced, err);
	return rc == TIDE_OK ? tide_dir_sync(dir, err) : rc;
}

struct placing {
	const char *dir, *copy;
};

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), tail = strlen(end);
	return len >= tail && strcmp(text + len - tail, end) == 0;
}

/* Files that never change can be the copy's own. */
static int place_file(const struct tide_manifest_file *file, void *arg, struct tide_error *err)
{
	const struct placing *placing = arg;
	char from[TIDE_KEPT_PATH], to[TIDE_KEPT_PATH];
	snprintf(from, sizeof from, "%.1800s/%.400s", placing->copy, file->name);
	snprintf(to, sizeof to, "%.1800s/%.400s", placing->dir, file->name);
	if (ends_with(file->name, ".sst") || ends_with(file->name, ".rows"))
		return tide_kept_place(from, to, err);
	return tide_kept_copy_file(from, to, err);
}

static int put_in_place(const char *dir, const char *copy, struct tide_error *err)
{
	struct placing placing = { dir, copy };
	struct tide_kept kept;
	char path[TIDE_KEPT_PATH];
	int rc = TIDE_OK;
	for (size_t i = 0; rc == TIDE_OK && i < 2; i++) {
		snprintf(path, sizeof path, "%.1800s/%s", dir, parts[i]);
		if (mkdir(path, 0777) != 0)
			rc = fail_errno(path, err);
	}
	if (rc == TIDE_OK)
		rc = tide_manifest_read(copy, &kept, place_file, &placing, err);
	for (size_t i = 0; rc == TIDE_OK && i < 2; i++) {
		snprintf(path, sizeof path, "%.1800s/%s", dir, parts[i]);
		rc = tide_dir_sync(path, err);
	}
	return rc == TIDE_OK ? tide_dir_sync(dir, err) : rc;
}

static int swap(const char *dir, const char *name, struct tide_error *err)
{
	char copy[TIDE_KEPT_PATH], mark[TIDE_KEPT_PATH], text[128];
	snprintf(copy, sizeof copy, "%.1700s/copies/%.100s", dir, name);
	snprintf(mark, sizeof mark, "%.1800s/%s", dir, TIDE_DIR_RESTORING);
	snprintf(text, sizeof text, "%.100s\n", name);
	bool again = access(mark, F_OK) == 0;
	int rc = again ? TIDE_OK : tide_dir_replace(dir, TIDE_DIR_RESTORING, text, err);
	if (rc == TIDE_OK)
		rc = put_aside(dir, again, err);
	if (rc == TIDE_OK)
		rc = put_in_place(dir, copy, err);
	if (rc == TIDE_OK && unlink(mark) != 0)
		rc = fail_errno(mark, err);
	return rc == TIDE_OK ? tide_dir_sync(dir, err) : rc;
}

int tide_kept_restore(const char *dir, const char *name, struct tide_error *err)
{
	int lock_fd = -1;
	int rc = tide_dir_lock(dir, &lock_fd, err);
	if (rc == TIDE_OK)
		rc = tide_kept_verify(dir, name, err);
	if (rc == TIDE_OK)
		rc = swap(dir, name, err);
	if (lock_fd >= 0)
		close(lock_fd);
	return rc;
}
