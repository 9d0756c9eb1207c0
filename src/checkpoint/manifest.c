/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest of a kept copy: lines of text, and a checksum of them at the end.
 *
 *   tidemark copy 1
 *   id 00f1e2d3c4b5a697 epoch 12 decision 34 made 1700000000000000
 *   file 4096 0123456789abcdef db/000012.sst
 *   end 0123456789abcdef */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/durable.h"
#include "base/hash.h"
#include "checkpoint/dir.h"
#include "checkpoint/kept_inside.h"

enum { CHUNK = 1 << 20, MANIFEST_MAX = 16 << 20, SEED = 0x636f7079 };

static const char head[] = "tidemark copy 1\n";

static int fail_errno(const char *path, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
}

/* ---- files ---- */

/* Size and checksum; `sync`: and on the disk. */
static int file_sum(const char *path, bool sync, struct tide_manifest_file *file,
                    struct tide_error *err)
{
	struct tide_hasher *hasher = tide_hasher_new();
	char *chunk = malloc(CHUNK);
	ssize_t n = -1;
	int rc = TIDE_OK;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	file->size = 0;
	if (hasher == NULL || chunk == NULL)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory to read %s", path);
	while (rc == TIDE_OK && fd >= 0 && (n = read(fd, chunk, CHUNK)) > 0) {
		tide_hasher_add(hasher, chunk, (size_t)n);
		file->size += (uint64_t)n;
	}
	if (rc == TIDE_OK && (n < 0 || (sync && fsync(fd) != 0)))
		rc = fail_errno(path, err);
	if (rc == TIDE_OK)
		file->hash = tide_hasher_sum(hasher);
	if (fd >= 0)
		close(fd);
	free(chunk);
	tide_hasher_free(hasher);
	return rc;
}

int tide_kept_copy_file(const char *from, const char *to, struct tide_error *err)
{
	char *chunk = malloc(CHUNK);
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ssize_t n = -1;
	bool ok = chunk != NULL && out >= 0;
	while (ok && (n = read(in, chunk, CHUNK)) > 0)
		ok = tide_write_all(out, chunk, (size_t)n);
	int rc = ok && n == 0 && fsync(out) == 0 ? TIDE_OK : fail_errno(in < 0 ? from : to, err);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	free(chunk);
	return rc;
}

int tide_kept_place(const char *from, const char *to, struct tide_error *err)
{
	if (link(from, to) == 0)
		return TIDE_OK;
	return tide_kept_copy_file(from, to, err);
}

/* ---- writing ---- */

static int add_file(const char *copy, const char *name, struct tide_kept *kept,
                    struct tide_buf *text, struct tide_error *err)
{
	char path[TIDE_KEPT_PATH];
	struct tide_manifest_file file = { .name = name };
	snprintf(path, sizeof path, "%.1800s/%.400s", copy, name);
	int rc = file_sum(path, true, &file, err);
	tide_buf_printf(text, "file %" PRIu64 " %016" PRIx64 " %s\n", file.size, file.hash, name);
	kept->files++;
	kept->bytes += file.size;
	return rc;
}

static int add_folder(const char *copy, const char *folder, struct tide_kept *kept,
                      struct tide_buf *text, struct tide_error *err)
{
	char path[TIDE_KEPT_PATH], name[512];
	int rc = TIDE_OK;
	snprintf(path, sizeof path, "%.1800s/%s", copy, folder);
	DIR *dir = opendir(path);
	if (dir == NULL)
		return fail_errno(path, err);
	for (struct dirent *item; rc == TIDE_OK && (item = readdir(dir)) != NULL;) {
		if (item->d_name[0] == '.')
			continue;
		snprintf(name, sizeof name, "%s/%s", folder, item->d_name);
		rc = add_file(copy, name, kept, text, err);
	}
	closedir(dir);
	return rc;
}

int tide_manifest_write(const char *copy, struct tide_kept *kept, struct tide_error *err)
{
	struct tide_buf text = { 0 };
	tide_buf_printf(&text,
	                "%sid %016" PRIx64 " epoch %" PRId64 " decision %" PRIu64 " made %" PRId64
	                "\n",
	                head, kept->checkpoint_id, kept->epoch, kept->decision, kept->made_us);
	kept->files = kept->bytes = 0;
	int rc = add_file(copy, "FORMAT", kept, &text, err);
	if (rc == TIDE_OK)
		rc = add_file(copy, "anchor", kept, &text, err);
	if (rc == TIDE_OK)
		rc = add_folder(copy, "db", kept, &text, err);
	if (rc == TIDE_OK)
		rc = add_folder(copy, "segments", kept, &text, err);
	if (rc == TIDE_OK && !text.failed)
		tide_buf_printf(&text, "end %016" PRIx64 "\n", tide_hash(text.p, text.len, SEED));
	tide_buf_put(&text, "", 1);
	if (rc == TIDE_OK && text.failed)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the manifest of %s", copy);
	if (rc == TIDE_OK)
		rc = tide_dir_replace(copy, "manifest", text.p, err);
	tide_buf_fini(&text);
	return rc;
}

/* ---- reading ---- */

static int fail_manifest(const char *copy, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "%s/manifest is damaged, so nothing proves that this copy is whole; take "
	                 "another one (`tidemark checkpoint copies`)",
	                 copy);
}

/* The text without its last line, which is its checksum. */
static bool sealed(char *text, size_t len)
{
	static const size_t last = sizeof "end 0123456789abcdef\n" - 1;
	uint64_t hash = 0;
	if (len < sizeof head - 1 + last || strlen(text) != len ||
	    memcmp(text, head, sizeof head - 1) != 0 ||
	    sscanf(text + len - last, "end %16" SCNx64 "\n", &hash) != 1 ||
	    hash != tide_hash(text, len - last, SEED))
		return false;
	text[len - last] = '\0';
	return true;
}

static int read_lines(const char *copy, char *lines, struct tide_kept *kept,
                      int (*each)(const struct tide_manifest_file *, void *, struct tide_error *),
                      void *arg, struct tide_error *err)
{
	int rc = TIDE_OK;
	for (char *line; rc == TIDE_OK && (line = strsep(&lines, "\n")) != NULL && *line != '\0';) {
		struct tide_manifest_file file = { 0 };
		int at = 0;
		if (sscanf(line, "file %" SCNu64 " %16" SCNx64 " %n", &file.size, &file.hash,
		           &at) != 2 ||
		    at == 0 || strstr(line + at, "..") != NULL)
			return fail_manifest(copy, err);
		file.name = line + at;
		kept->files++;
		kept->bytes += file.size;
		if (each != NULL)
			rc = each(&file, arg, err);
	}
	return rc;
}

int tide_manifest_read(const char *copy, struct tide_kept *kept,
                       int (*each)(const struct tide_manifest_file *file, void *arg,
                                   struct tide_error *err),
                       void *arg, struct tide_error *err)
{
	char path[TIDE_KEPT_PATH], *text = NULL;
	size_t len = 0;
	int lines = 0;
	*kept = (struct tide_kept){ 0 };
	snprintf(path, sizeof path, "%.1800s/manifest", copy);
	int rc = tide_file_read(path, MANIFEST_MAX, &text, &len, err);
	if (rc == TIDE_OK &&
	    (!sealed(text, len) ||
	     sscanf(text + sizeof head - 1,
	            "id %16" SCNx64 " epoch %" SCNd64 " decision %" SCNu64 " made %" SCNd64 "\n%n",
	            &kept->checkpoint_id, &kept->epoch, &kept->decision, &kept->made_us,
	            &lines) != 4 ||
	     lines == 0))
		rc = fail_manifest(copy, err);
	if (rc == TIDE_OK)
		rc = read_lines(copy, text + sizeof head - 1 + lines, kept, each, arg, err);
	free(text);
	return rc;
}

/* ---- checking ---- */

static int check_file(const struct tide_manifest_file *want, void *arg, struct tide_error *err)
{
	static const char way_out[] =
		"this copy cannot be restored; take another one (`tidemark checkpoint copies`)";
	const char *copy = arg;
	char path[TIDE_KEPT_PATH];
	struct tide_manifest_file is = { 0 };
	snprintf(path, sizeof path, "%.1800s/%.400s", copy, want->name);
	int rc = file_sum(path, false, &is, err);
	if (rc != TIDE_OK)
		return access(path, F_OK) == 0 ? rc
		                               : tide_fail(err, TIDE_ERR_CHECKPOINT,
		                                           "%s is missing: %s", path, way_out);
	if (is.size != want->size)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "%s is damaged: it has %" PRIu64 " bytes and should have %" PRIu64
		                 "; %s",
		                 path, is.size, want->size, way_out);
	if (is.hash != want->hash)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "%s is damaged: its checksum differs; %s", path, way_out);
	return TIDE_OK;
}

int tide_kept_verify(const char *dir, const char *name, struct tide_error *err)
{
	char copy[TIDE_KEPT_PATH];
	struct tide_kept kept;
	snprintf(copy, sizeof copy, "%.1700s/copies/%.100s", dir, name);
	if (strchr(name, '/') != NULL || access(copy, F_OK) != 0)
		return tide_fail(
			err, TIDE_ERR_USAGE,
			"there is no copy %s in %s; `tidemark checkpoint copies` lists them", name,
			dir);
	return tide_manifest_read(copy, &kept, check_file, copy, err);
}
