/* SPDX-License-Identifier: Apache-2.0 */
/* The anchor file. */
#include "checkpoint/anchor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/hash.h"
#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/dir.h"

enum { SLOT_DISTANCE = 4096, SYNC_US = 1000000, RECORD_SEED = 0x616e6368 };

static const uint64_t magic = UINT64_C(0x31726f68636e4174); /* "tAnchor1" */

/* As it is on disk; little-endian like everything here. */
struct slot {
	uint64_t magic;
	struct tide_anchor_mark mark;
	uint64_t checksum;
};
_Static_assert(sizeof(struct slot) == 48, "the anchor's slots are on disk");

struct tide_anchor {
	char *path;
	int fd;
	bool broken, unsynced;
	int slot; /* that is written; the other one is certain */
	int64_t synced_us;
};

struct tide_anchor_mark tide_anchor_mark_of(const struct tide_meta *meta, struct tide_slice record)
{
	return (struct tide_anchor_mark){ meta->checkpoint_id, meta->decision, meta->epoch,
		                          tide_hash(record.p, record.len, RECORD_SEED) };
}

static uint64_t checksum_of(const struct slot *slot)
{
	return tide_hash(slot, offsetof(struct slot, checksum), magic);
}

/* *newest: which of the two it is. */
static int slots_read(int fd, const char *path, struct tide_anchor_mark *mark, int *newest,
                      struct tide_error *err)
{
	bool good = false;
	for (int i = 0; i < 2; i++) {
		struct slot slot = { 0 };
		ssize_t len = pread(fd, &slot, sizeof slot, (off_t)i * SLOT_DISTANCE);
		if (len < 0)
			return tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
		if (len < (ssize_t)sizeof slot || slot.magic != magic ||
		    slot.checksum != checksum_of(&slot))
			continue;
		if (!good || slot.mark.decision > mark->decision) {
			*mark = slot.mark;
			*newest = i;
		}
		good = true;
	}
	if (good)
		return TIDE_OK;
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "%s is damaged: neither of its two slots can be read, so nothing proves "
	                 "that the state is the newest. Restore the directory from a copy, or "
	                 "start over with an empty one",
	                 path);
}

int tide_anchor_read(const char *dir, struct tide_anchor_mark *mark, bool *found,
                     struct tide_error *err)
{
	char *path = tide_dir_path(dir, "anchor");
	if (path == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to open %s", dir);
	int rc = TIDE_OK, newest = 0;
	*mark = (struct tide_anchor_mark){ 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	*found = fd >= 0;
	if (fd >= 0)
		rc = slots_read(fd, path, mark, &newest, err);
	else if (errno != ENOENT)
		rc = tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(path);
	return rc;
}

static struct slot slot_of(const struct tide_anchor_mark *mark)
{
	assert(mark->epoch >= -1 && mark->checkpoint_id != 0);
	struct slot slot = { .magic = magic, .mark = *mark };
	slot.checksum = checksum_of(&slot);
	return slot;
}

int tide_anchor_make(const char *dir, const struct tide_anchor_mark *mark, struct tide_error *err)
{
	char *path = tide_dir_path(dir, "anchor"), *temporary = tide_dir_path(dir, "anchor.tmp");
	struct slot slot = slot_of(mark);
	int rc = TIDE_OK, fd = -1;
	if (path == NULL || temporary == NULL) {
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory to open %s", dir);
		goto out;
	}
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int error = fd < 0 ? errno : tide_failpoint("anchor_make");
	errno = 0;
	if (error == 0 && (pwrite(fd, &slot, sizeof slot, 0) != (ssize_t)sizeof slot ||
	                   fsync(fd) != 0 || rename(temporary, path) != 0))
		error = errno != 0 ? errno : ENOSPC;
	if (error != 0)
		rc = tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(error));
	else
		rc = tide_dir_sync(dir, err);
out:
	if (fd >= 0)
		close(fd);
	free(path);
	free(temporary);
	return rc;
}

int tide_anchor_open(const char *dir, struct tide_anchor **out, struct tide_error *err)
{
	struct tide_anchor *anchor = calloc(1, sizeof *anchor);
	if (anchor == NULL || (anchor->path = tide_dir_path(dir, "anchor")) == NULL) {
		free(anchor);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to open %s", dir);
	}
	struct tide_anchor_mark mark = { 0 };
	int newest = 0, rc = TIDE_OK;
	anchor->fd = open(anchor->path, O_RDWR | O_CLOEXEC);
	if (anchor->fd >= 0)
		rc = slots_read(anchor->fd, anchor->path, &mark, &newest, err);
	/* A process that was killed may have left it in the kernel's hands only. */
	if (anchor->fd < 0 || (rc == TIDE_OK && fdatasync(anchor->fd) != 0))
		rc = tide_fail(err, TIDE_ERR_IO, "%s: %s", anchor->path, strerror(errno));
	if (rc != TIDE_OK) {
		tide_anchor_close(anchor);
		return rc;
	}
	anchor->slot = 1 - newest;
	anchor->synced_us = tide_clock_mono_us();
	*out = anchor;
	return TIDE_OK;
}

int tide_anchor_write(struct tide_anchor *anchor, const struct tide_anchor_mark *mark,
                      struct tide_error *err)
{
	if (anchor->broken)
		return tide_fail(err, TIDE_ERR_IO, "%s takes no writes after an error; start again",
		                 anchor->path);
	struct slot slot = slot_of(mark);
	off_t at = (off_t)anchor->slot * SLOT_DISTANCE;
	int64_t now_us = tide_clock_mono_us();
	int error = tide_failpoint("anchor");
	errno = 0;
	if (error == 0 && pwrite(anchor->fd, &slot, sizeof slot, at) != (ssize_t)sizeof slot)
		error = errno != 0 ? errno : ENOSPC;
	anchor->unsynced = true;
	if (error == 0 && now_us - anchor->synced_us >= SYNC_US) {
		if (tide_failpoint("anchor_sync") != 0 || fdatasync(anchor->fd) != 0)
			error = errno;
		anchor->synced_us = now_us;
		anchor->unsynced = false;
		anchor->slot = 1 - anchor->slot;
	}
	anchor->broken = error != 0;
	if (error != 0)
		return tide_fail(err, TIDE_ERR_IO, "%s: %s", anchor->path, strerror(error));
	return TIDE_OK;
}

void tide_anchor_close(struct tide_anchor *anchor)
{
	if (anchor == NULL)
		return;
	if (anchor->fd >= 0) {
		if (anchor->unsynced && !anchor->broken && fdatasync(anchor->fd) != 0)
			tide_log(TIDE_WARN, "%s: %s", anchor->path, strerror(errno));
		close(anchor->fd);
	}
	free(anchor->path);
	free(anchor);
}
