/* SPDX-License-Identifier: Apache-2.0 */
/* Kept copies: making, listing, checking and removing them. kept_restore.c goes back
 * to one. */
#include "checkpoint/kept.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "checkpoint/anchor.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/dir.h"
#include "checkpoint/kept_inside.h"
#include "checkpoint/outbox.h"
#include "state/rocks.h"

enum { TRIES = 5 };

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

void tide_kept_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for copies of a checkpoint");
}

static int fail_errno(const char *path, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
}

/* ---- making ---- */

static int make_dir(const char *path, struct tide_error *err)
{
	return mkdir(path, 0777) == 0 || errno == EEXIST ? TIDE_OK : fail_errno(path, err);
}

/* Rows of the outbox that lie in files of their own. One may have been released
 * since the database was copied: *gone. */
static int link_segments(const char *dir, const char *copy, struct tide_rocks *rocks, bool *gone,
                         struct tide_error *err)
{
	struct tide_outbox outbox;
	char from[TIDE_KEPT_PATH], to[TIDE_KEPT_PATH];
	int rc = tide_outbox_load(&outbox, copy, rocks, err);
	if (rc == TIDE_OK)
		rc = make_dir(outbox.dir, err);
	for (size_t i = 0; rc == TIDE_OK && i < outbox.count; i++) {
		const char *segment = outbox.items[i].segment;
		if (segment == NULL)
			continue;
		snprintf(from, sizeof from, "%.1800s/segments/%.200s", dir, segment);
		snprintf(to, sizeof to, "%.1800s/segments/%.200s", copy, segment);
		rc = tide_kept_place(from, to, err);
		*gone = *gone || (rc != TIDE_OK && access(from, F_OK) != 0);
	}
	tide_outbox_fini(&outbox);
	return rc;
}

/* What the copied database says of itself: the anchor is made of that. */
static int anchor_of(const char *copy, struct tide_rocks *rocks, struct tide_kept *kept,
                     struct tide_error *err)
{
	struct tide_buf record = { 0 };
	struct tide_meta meta = { 0 };
	bool found = false;
	int rc = tide_rocks_get(rocks, (struct tide_slice){ "meta", 4 }, &record, &found, err);
	if (rc == TIDE_OK && !found)
		rc = tide_fail(err, TIDE_ERR_CHECKPOINT, "%s has no decision record", copy);
	struct tide_slice bytes = { record.p, record.len };
	if (rc == TIDE_OK)
		rc = tide_meta_decode(bytes, &meta, err);
	if (rc == TIDE_OK && meta.epoch < 0)
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "no epoch has been decided yet: there is nothing to copy");
	if (rc == TIDE_OK) {
		struct tide_anchor_mark mark = tide_anchor_mark_of(&meta, bytes);
		*kept = (struct tide_kept){ .checkpoint_id = meta.checkpoint_id,
			                    .decision = meta.decision,
			                    .epoch = meta.epoch,
			                    .made_us = tide_clock_us() };
		snprintf(kept->name, sizeof kept->name, "%012" PRId64 "-%012" PRIu64, meta.epoch,
		         meta.decision);
		rc = tide_anchor_make(copy, &mark, err);
	}
	tide_meta_fini(&meta);
	tide_buf_fini(&record);
	return rc;
}

static int copy_once(const char *dir, const char *copy, struct tide_rocks *rocks,
                     struct tide_kept *kept, bool *gone, struct tide_error *err)
{
	char db[TIDE_KEPT_PATH];
	struct tide_rocks_options options = { .read_only = true };
	struct tide_rocks *copied = NULL;
	*gone = false;
	tide_kept_remove(copy);
	snprintf(db, sizeof db, "%.1800s/db", copy);
	int rc = make_dir(copy, err);
	if (rc == TIDE_OK)
		rc = tide_rocks_copy(rocks, db, err);
	if (rc == TIDE_OK)
		rc = tide_rocks_open(db, &options, &copied, err);
	if (rc == TIDE_OK)
		rc = anchor_of(copy, copied, kept, err);
	if (rc == TIDE_OK)
		rc = link_segments(dir, copy, copied, gone, err);
	tide_rocks_close(copied);
	return rc;
}

/* All of it is on the disk before it has its name. */
static int settle(const char *copies, const char *copy, struct tide_kept *kept,
                  struct tide_error *err)
{
	char text[64], path[TIDE_KEPT_PATH];
	snprintf(text, sizeof text, "tidemark checkpoint format %d\n", TIDE_CHECKPOINT_FORMAT);
	int rc = tide_dir_replace(copy, "FORMAT", text, err);
	if (rc == TIDE_OK)
		rc = tide_manifest_write(copy, kept, err);
	for (int i = 0; rc == TIDE_OK && i < 2; i++) {
		snprintf(path, sizeof path, "%.1800s/%s", copy, i == 0 ? "db" : "segments");
		rc = tide_dir_sync(path, err);
	}
	if (rc == TIDE_OK)
		rc = tide_dir_sync(copy, err);
	snprintf(path, sizeof path, "%.1800s/%s", copies, kept->name);
	if (rc == TIDE_OK && rename(copy, path) != 0) {
		/* Of this very decision there is one. */
		if (errno != ENOTEMPTY && errno != EEXIST)
			return fail_errno(path, err);
		tide_kept_remove(copy);
	}
	return rc == TIDE_OK ? tide_dir_sync(copies, err) : rc;
}

int tide_kept_make(const char *dir, struct tide_rocks *rocks, int most, struct tide_kept *out,
                   struct tide_error *err)
{
	char copies[TIDE_KEPT_PATH], copy[TIDE_KEPT_PATH];
	bool gone = true;
	int ignored;
	snprintf(copies, sizeof copies, "%.1700s/copies", dir);
	snprintf(copy, sizeof copy, "%.1800s/new", copies);
	int rc = make_dir(copies, err);
	if (rc == TIDE_OK)
		rc = tide_dir_sync(dir, err);
	if (rc != TIDE_OK)
		return rc;
	for (int i = 0; i < TRIES && gone; i++)
		rc = copy_once(dir, copy, rocks, out, &gone, err);
	if (rc == TIDE_OK)
		rc = settle(copies, copy, out, err);
	if (rc != TIDE_OK) {
		tide_kept_remove(copy);
		return rc;
	}
	return tide_kept_prune(dir, most, &ignored, err);
}

/* ---- listing ---- */

void tide_kept_say(const struct tide_kept *kept, char *text, size_t size)
{
	char when[32];
	tide_clock_format_ms(kept->made_us / 1000, when, sizeof when);
	if (kept->epoch < 0)
		snprintf(text, size, "%s  its manifest cannot be read", kept->name);
	else
		snprintf(text, size,
		         "%s  epoch %" PRId64 ", made %s, %" PRIu64 " files, %" PRIu64 " bytes",
		         kept->name, kept->epoch, when, kept->files, kept->bytes);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct tide_kept *)a)->name, ((const struct tide_kept *)b)->name);
}

int tide_kept_list(const char *dir, struct tide_kept **out, int *count, struct tide_error *err)
{
	char path[TIDE_KEPT_PATH];
	struct tide_kept *list = NULL;
	int rc = TIDE_OK;
	*out = NULL;
	*count = 0;
	snprintf(path, sizeof path, "%.1800s/copies", dir);
	DIR *copies = opendir(path);
	if (copies == NULL)
		return errno == ENOENT ? TIDE_OK : fail_errno(path, err);
	for (struct dirent *item; rc == TIDE_OK && (item = readdir(copies)) != NULL;) {
		if (item->d_name[0] < '0' || item->d_name[0] > '9')
			continue;
		struct tide_kept *grown = realloc(list, ((size_t)*count + 1) * sizeof *grown);
		if (grown == NULL) {
			rc = fail_memory(err);
			break;
		}
		list = grown;
		struct tide_kept *kept = &list[(*count)++];
		snprintf(path, sizeof path, "%.1700s/copies/%.100s", dir, item->d_name);
		if (tide_manifest_read(path, kept, NULL, NULL, NULL) != TIDE_OK)
			*kept = (struct tide_kept){ .epoch = -1 };
		snprintf(kept->name, sizeof kept->name, "%.40s", item->d_name);
	}
	closedir(copies);
	if (rc != TIDE_OK) {
		free(list);
		return rc;
	}
	if (*count > 1)
		qsort(list, (size_t)*count, sizeof *list, by_name);
	*out = list;
	return TIDE_OK;
}

int tide_kept_prune(const char *dir, int most, int *removed, struct tide_error *err)
{
	char path[TIDE_KEPT_PATH];
	struct tide_kept *list = NULL;
	int count = 0;
	*removed = 0;
	int rc = tide_kept_list(dir, &list, &count, err);
	for (int i = 0; rc == TIDE_OK && i < count - most; i++) {
		snprintf(path, sizeof path, "%.1700s/copies/%s", dir, list[i].name);
		tide_kept_remove(path);
		if (access(path, F_OK) == 0)
			rc = fail_errno(path, err);
		(*removed)++;
	}
	free(list);
	return rc;
}
