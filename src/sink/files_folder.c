/* SPDX-License-Identifier: Apache-2.0 */
/* The folders of a files sink: commits, and what a crash left of one. */
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
#include "base/failpoint.h"
#include "base/hash.h"
#include "base/log.h"
#include "sink/files_inside.h"

enum { NAME_MAX_ = 80, MANIFEST_MAX = 512, KEPT = 1000, CHUNK = 1 << 16 };

static int fail_file(const struct tide_files_folder *folder, const char *name,
                     struct tide_error *err)
{
	return tide_fail(
		err, TIDE_ERR_IO,
		"sink %s: %s/%s: %s. Nothing is lost: the rows wait in the checkpoint, and "
		"the next start writes them",
		folder->sink, folder->own, name, strerror(errno));
}

static void name_of(char *out, const char *what, int64_t epoch)
{
	snprintf(out, NAME_MAX_, "%s-%012" PRId64, what, epoch);
}

static void final_name(char *out, const struct tide_files_folder *folder, int64_t epoch)
{
	snprintf(out, NAME_MAX_, "rows-%012" PRId64 "-%s.jsonl", epoch, folder->tag);
}

/* The epoch of "data-000000000012", or -1. */
static int64_t epoch_of(const char *name, const char *what)
{
	size_t len = strlen(what);
	char *end;
	if (strncmp(name, what, len) != 0 || name[len] != '-' || name[len + 1] < '0' ||
	    name[len + 1] > '9')
		return -1;
	long long epoch = strtoll(name + len + 1, &end, 10);
	return *end == '\0' ? epoch : -1;
}

/* ---- manifests ---- */

static int manifest_put(struct tide_files_folder *folder, const struct tide_files_commit *commit,
                        struct tide_error *err)
{
	char text[MANIFEST_MAX], file[NAME_MAX_], name[NAME_MAX_], temporary[NAME_MAX_ + 4];
	final_name(file, folder, commit->epoch);
	name_of(name, "manifest", commit->epoch);
	snprintf(temporary, sizeof temporary, "%s.new", name);
	int len = snprintf(text, sizeof text,
	                   "{\"format\":1,\"epoch\":%" PRId64 ",\"rows\":%" PRIu64
	                   ",\"bytes\":%" PRIu64 ",\"xxh3\":\"%016" PRIx64 "\",\"file\":\"%s\"}\n",
	                   commit->epoch, commit->rows, commit->bytes, commit->hash, file);
	int fd = tide_failpoint("files_manifest") != 0
	                 ? -1
	                 : openat(folder->own_fd, temporary,
	                          O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int rc = TIDE_OK;
	if (fd < 0 || !tide_write_all(fd, text, (size_t)len) ||
	    tide_failpoint("files_manifest_sync") != 0 || fsync(fd) != 0)
		rc = fail_file(folder, temporary, err);
	if (fd >= 0)
		close(fd);
	if (rc == TIDE_OK && (tide_failpoint("files_manifest_rename") != 0 ||
	                      renameat(folder->own_fd, temporary, folder->own_fd, name) != 0))
		rc = fail_file(folder, name, err);
	if (rc == TIDE_OK &&
	    (tide_failpoint("files_manifest_dir") != 0 || fsync(folder->own_fd) != 0))
		rc = fail_file(folder, "", err);
	return rc;
}

static bool manifest_get(const struct tide_files_folder *folder, int64_t epoch,
                         struct tide_files_commit *commit)
{
	char text[MANIFEST_MAX], name[NAME_MAX_];
	name_of(name, "manifest", epoch);
	int fd = openat(folder->own_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	if (len <= 0)
		return false;
	text[len] = '\0';
	return sscanf(text,
	              "{\"format\":1,\"epoch\":%" SCNd64 ",\"rows\":%" SCNu64 ",\"bytes\":%" SCNu64
	              ",\"xxh3\":\"%" SCNx64 "\"",
	              &commit->epoch, &commit->rows, &commit->bytes, &commit->hash) == 4 &&
	       commit->epoch == epoch;
}

static bool epoch_keep(struct tide_files_folder *folder, int64_t epoch)
{
	int64_t *grown = realloc(folder->epochs, (folder->epoch_count + 1) * sizeof *grown);
	if (grown == NULL)
		return false;
	folder->epochs = grown;
	grown[folder->epoch_count++] = epoch;
	return true;
}

/* Old manifests prove nothing any more. */
static void forget_old(struct tide_files_folder *folder)
{
	size_t much = folder->epoch_count > KEPT ? folder->epoch_count - KEPT : 0;
	for (size_t i = 0; i < much; i++) {
		char name[NAME_MAX_];
		name_of(name, "manifest", folder->epochs[i]);
		unlinkat(folder->own_fd, name, 0);
	}
	folder->epoch_count -= much;
	memmove(folder->epochs, folder->epochs + much,
	        folder->epoch_count * sizeof *folder->epochs);
}

/* ---- a commit ---- */

/* Data that a manifest stands for becomes visible. */
static int show(struct tide_files_folder *folder, int64_t epoch, struct tide_error *err)
{
	char data[NAME_MAX_], file[NAME_MAX_];
	name_of(data, "data", epoch);
	final_name(file, folder, epoch);
	if (tide_failpoint("files_rename") != 0 ||
	    renameat(folder->own_fd, data, folder->path_fd, file) != 0)
		return fail_file(folder, data, err);
	if (tide_failpoint("files_dir") != 0 || fsync(folder->path_fd) != 0)
		return fail_file(folder, data, err);
	return TIDE_OK;
}

int tide_files_data_open(struct tide_files_folder *folder, int64_t epoch, int *fd,
                         struct tide_error *err)
{
	char name[NAME_MAX_];
	int rc = tide_pass("files_data", err);
	name_of(name, "data", epoch);
	if (rc == TIDE_OK)
		*fd = openat(folder->own_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (rc == TIDE_OK && *fd < 0)
		rc = fail_file(folder, name, err);
	return rc;
}

int tide_files_commit(struct tide_files_folder *folder, const struct tide_files_commit *commit,
                      struct tide_error *err)
{
	/* A manifest says that the data is there: so the name of the data first. */
	int rc = fsync(folder->own_fd) == 0 ? TIDE_OK : fail_file(folder, "", err);
	if (rc == TIDE_OK)
		rc = manifest_put(folder, commit, err);
	if (rc == TIDE_OK)
		rc = show(folder, commit->epoch, err);
	if (rc == TIDE_OK)
		rc = tide_pass("files_done", err);
	if (rc == TIDE_OK && !epoch_keep(folder, commit->epoch))
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for sink %s", folder->sink);
	if (rc == TIDE_OK)
		forget_old(folder);
	return rc;
}

/* ---- opening ---- */

static int make_path(const char *path, struct tide_error *err)
{
	char part[TIDE_FILES_PATH_MAX + 64];
	snprintf(part, sizeof part, "%s", path);
	for (char *at = part + 1; at != NULL && *at != '\0';) {
		at = strchr(at, '/');
		if (at != NULL)
			*at = '\0';
		if (mkdir(part, 0777) != 0 && errno != EEXIST)
			return tide_fail(err, TIDE_ERR_IO, "%s: %s; choose another path", part,
			                 strerror(errno));
		if (at != NULL)
			*at++ = '/';
	}
	return TIDE_OK;
}

static int folder_fd(const char *path, int *fd, struct tide_error *err)
{
	int rc = make_path(path, err);
	if (rc != TIDE_OK)
		return rc;
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		return tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
	return TIDE_OK;
}

/* Is the data what the manifest says? */
static bool is_whole(const struct tide_files_folder *folder, const struct tide_files_commit *commit)
{
	char name[NAME_MAX_], *chunk = malloc(CHUNK);
	struct tide_hasher *hasher = tide_hasher_new();
	name_of(name, "data", commit->epoch);
	int fd = openat(folder->own_fd, name, O_RDONLY | O_CLOEXEC);
	uint64_t bytes = 0;
	ssize_t n = -1;
	while (fd >= 0 && chunk != NULL && hasher != NULL && (n = read(fd, chunk, CHUNK)) > 0) {
		tide_hasher_add(hasher, chunk, (size_t)n);
		bytes += (uint64_t)n;
	}
	bool whole = n == 0 && bytes == commit->bytes && tide_hasher_sum(hasher) == commit->hash;
	if (fd >= 0)
		close(fd);
	tide_hasher_free(hasher);
	free(chunk);
	return whole;
}

/* Data of `epoch` is still here: finish its commit, or there was none. Rows of
 * a damaged one are in the outbox as long as its data has this name. */
static int settle(struct tide_files_folder *folder, int64_t epoch, struct tide_error *err)
{
	char data[NAME_MAX_], manifest[NAME_MAX_];
	struct tide_files_commit commit;
	name_of(data, "data", epoch);
	name_of(manifest, "manifest", epoch);
	bool decided = manifest_get(folder, epoch, &commit);
	int rc = tide_pass("files_settle", err);
	if (rc != TIDE_OK)
		return rc;
	if (decided && is_whole(folder, &commit))
		return show(folder, epoch, err);
	if (decided)
		tide_log(TIDE_WARN, "sink %s: %s/%s is damaged; it will be written again",
		         folder->sink, folder->own, data);
	if (unlinkat(folder->own_fd, manifest, 0) != 0 && errno != ENOENT)
		return fail_file(folder, manifest, err);
	if (unlinkat(folder->own_fd, data, 0) != 0)
		return fail_file(folder, data, err);
	return fsync(folder->own_fd) == 0 ? TIDE_OK : fail_file(folder, "", err);
}

/* Calls `each` for the epochs of all files of one kind. */
static int scan(struct tide_files_folder *folder, const char *what,
                int (*each)(struct tide_files_folder *, int64_t, struct tide_error *),
                struct tide_error *err)
{
	DIR *dir = opendir(folder->own);
	int rc = TIDE_OK;
	if (dir == NULL)
		return fail_file(folder, "", err);
	for (struct dirent *entry; rc == TIDE_OK && (entry = readdir(dir)) != NULL;) {
		int64_t epoch = epoch_of(entry->d_name, what);
		if (epoch >= 0)
			rc = each(folder, epoch, err);
	}
	closedir(dir);
	return rc;
}

static int note(struct tide_files_folder *folder, int64_t epoch, struct tide_error *err)
{
	return epoch_keep(folder, epoch)
	               ? TIDE_OK
	               : tide_fail(err, TIDE_ERR_NOMEM, "no memory for sink %s", folder->sink);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

/* Files of another checkpoint in the same folder are somebody's rows. */
static void warn_of_others(const struct tide_files_folder *folder)
{
	char path[TIDE_FILES_PATH_MAX + 16];
	snprintf(path, sizeof path, "%s/_tidemark", folder->path);
	DIR *dir = opendir(path);
	int others = 0;
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
		others += entry->d_name[0] != '.' && strcmp(entry->d_name, folder->tag) != 0;
	if (dir != NULL)
		closedir(dir);
	if (others > 0)
		tide_log(TIDE_WARN,
		         "sink %s: %s already holds files of %d other checkpoint%s or sink%s. They "
		         "stay; records that are read again will be in both",
		         folder->sink, folder->path, others, others == 1 ? "" : "s",
		         others == 1 ? "" : "s");
}

int tide_files_folder_open(struct tide_files_folder *folder, const char *path, const char *sink,
                           uint64_t checkpoint_id, struct tide_error *err)
{
	*folder = (struct tide_files_folder){ .sink = sink, .path_fd = -1, .own_fd = -1 };
	if (strlen(path) >= sizeof folder->path)
		return tide_fail(err, TIDE_ERR_USAGE, "sink %s: its path is too long", sink);
	snprintf(folder->path, sizeof folder->path, "%s", path);
	snprintf(folder->tag, sizeof folder->tag, "%016" PRIx64,
	         tide_hash(sink, strlen(sink), checkpoint_id));
	snprintf(folder->own, sizeof folder->own, "%s/_tidemark/%s", path, folder->tag);
	struct stat st;
	bool fresh = stat(folder->own, &st) != 0;
	int rc = folder_fd(folder->path, &folder->path_fd, err);
	if (rc == TIDE_OK)
		rc = folder_fd(folder->own, &folder->own_fd, err);
	/* Else a loss of power could take the folder with all that is in it. */
	if (rc == TIDE_OK)
		rc = tide_durable_names(folder->own, err);
	if (rc == TIDE_OK && fresh)
		warn_of_others(folder);
	if (rc == TIDE_OK)
		rc = scan(folder, "data", settle, err);
	if (rc == TIDE_OK)
		rc = scan(folder, "manifest", note, err);
	if (rc != TIDE_OK) {
		tide_files_folder_close(folder);
		return rc;
	}
	if (folder->epoch_count > 1)
		qsort(folder->epochs, folder->epoch_count, sizeof *folder->epochs, by_value);
	return TIDE_OK;
}

void tide_files_folder_close(struct tide_files_folder *folder)
{
	if (folder->path_fd >= 0)
		close(folder->path_fd);
	if (folder->own_fd >= 0)
		close(folder->own_fd);
	free(folder->epochs);
	*folder = (struct tide_files_folder){ .path_fd = -1, .own_fd = -1 };
}
