/* SPDX-License-Identifier: Apache-2.0 */
/* Folders for what nobody keeps. */
#include "run/scratch.h"

#include <errno.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int fail_make(char *path, struct tide_error *err)
{
	int rc = tide_fail(err, TIDE_ERR_IO, "cannot make a folder: %s: %s", path, strerror(errno));
	path[0] = '\0';
	return rc;
}

static bool memory_has_room(void)
{
	static const uint64_t least_bytes = (uint64_t)512 << 20;
	struct statvfs room;
	return access("/dev/shm", W_OK | X_OK) == 0 && statvfs("/dev/shm", &room) == 0 &&
	       (uint64_t)room.f_bavail * room.f_frsize >= least_bytes;
}

int tide_scratch_make(char *path, size_t size, bool small, struct tide_error *err)
{
	const char *tmp = getenv("TMPDIR");
	if (tmp == NULL || tmp[0] == '\0')
		tmp = small && memory_has_room() ? "/dev/shm" : "/tmp";
	snprintf(path, size, "%s/tidemark-XXXXXX", tmp);
	if (mkdtemp(path) != NULL)
		return TIDE_OK;
	return fail_make(path, err);
}

int tide_scratch_in_memory(char *path, size_t size, const char *name, struct tide_error *err)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(path, size, "/dev/shm/tidemark-%s-XXXXXX", name);
	if (mkdtemp(path) != NULL)
		return TIDE_OK;
	snprintf(path, size, "%.900s/tidemark-%s-XXXXXX", tmp && tmp[0] ? tmp : "/tmp", name);
	return mkdtemp(path) != NULL ? TIDE_OK : fail_make(path, err);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *ftw)
{
	(void)info, (void)kind, (void)ftw;
	return remove(path);
}

void tide_scratch_remove(const char *path)
{
	if (path[0] != '\0')
		nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
