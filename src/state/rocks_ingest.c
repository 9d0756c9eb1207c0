/* SPDX-License-Identifier: Apache-2.0 */
/* Large decisions: changes sorted into SST files, ingested in one call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "state/rocks_inside.h"
#include "state/writes.h"

enum { SST_BYTES_MAX = 64 << 20, L0_FILES_MAX = 16, L0_WAIT_MS = 5 };

static uint64_t property(struct tide_rocks *db, const char *name)
{
	/* Not all of these can be had as numbers. */
	char *text = rocksdb_property_value_cf(db->db, db->cf, name);
	uint64_t v = text != NULL ? strtoull(text, NULL, 10) : 0;
	rocksdb_free(text);
	return v;
}

/* Ingested files pile up unthrottled, and then one small batch pays for all of
 * them: so the large ones wait here. */
static int wait_for_compaction(struct tide_rocks *db, struct tide_error *err)
{
	uint64_t files = property(db, "rocksdb.num-files-at-level0");
	if (files <= L0_FILES_MAX)
		return TIDE_OK;
	tide_log(TIDE_INFO, "%s: waiting for RocksDB to compact %llu files", db->path,
	         (unsigned long long)files);
	while (files > L0_FILES_MAX) {
		const struct timespec pause = { 0, L0_WAIT_MS * 1000000L };
		if (property(db, "rocksdb.background-errors") > 0)
			return tide_fail(err, TIDE_ERR_IO,
			                 "%s: RocksDB cannot compact; its LOG file says why",
			                 db->path);
		nanosleep(&pause, NULL);
		files = property(db, "rocksdb.num-files-at-level0");
	}
	return TIDE_OK;
}

struct ssts {
	rocksdb_envoptions_t *env;
	rocksdb_sstfilewriter_t *writer; /* of the last file, while it is open */
	char **paths;
	size_t count;
};

static int sst_open(struct tide_rocks *db, struct ssts *ssts, struct tide_error *err)
{
	char *text = NULL, *path = NULL;
	char **grown = realloc(ssts->paths, (ssts->count + 1) * sizeof *grown);
	if (grown != NULL)
		ssts->paths = grown;
	if (grown == NULL || asprintf(&path, "%s/%d-%llu.sst", db->sst_dir, (int)getpid(),
	                              (unsigned long long)db->sst_number++) < 0)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to write %s", db->path);
	ssts->paths[ssts->count++] = path;
	ssts->writer = rocksdb_sstfilewriter_create(ssts->env, db->options);
	rocksdb_sstfilewriter_open(ssts->writer, path, &text);
	return text != NULL ? tide_rocks_fail(err, path, "make the file", text) : TIDE_OK;
}

static int sst_finish(struct tide_rocks *db, struct ssts *ssts, struct tide_error *err)
{
	char *text = NULL;
	rocksdb_sstfilewriter_finish(ssts->writer, &text);
	rocksdb_sstfilewriter_destroy(ssts->writer);
	ssts->writer = NULL;
	return text != NULL ? tide_rocks_fail(err, db->sst_dir, "finish a file", text) : TIDE_OK;
}

/* All changes in key order, in files that do not overlap. Few and large: each
 * spans the hashed keys of an epoch and so counts as one file of level 0. */
static int ssts_write(struct tide_rocks *db, struct ssts *ssts, struct tide_writes_merge *merge,
                      struct tide_error *err)
{
	struct tide_write w;
	size_t bytes = 0;
	int rc = TIDE_OK;
	while (rc == TIDE_OK && tide_writes_merge_next(merge, &w)) {
		char *text = NULL;
		if (ssts->writer == NULL)
			rc = sst_open(db, ssts, err);
		if (rc != TIDE_OK)
			break;
		if (w.kind == TIDE_WRITE_PUT)
			rocksdb_sstfilewriter_put(ssts->writer, w.key.p, w.key.len, w.value.p,
			                          w.value.len, &text);
		else
			rocksdb_sstfilewriter_delete(ssts->writer, w.key.p, w.key.len, &text);
		if (text != NULL)
			rc = tide_rocks_fail(err, db->sst_dir, "write a file", text);
		bytes += w.key.len + w.value.len;
		if (rc == TIDE_OK && bytes >= SST_BYTES_MAX) {
			rc = sst_finish(db, ssts, err);
			bytes = 0;
		}
	}
	if (rc == TIDE_OK && ssts->writer != NULL)
		rc = sst_finish(db, ssts, err);
	return rc;
}

static int ssts_ingest(struct tide_rocks *db, struct ssts *ssts, struct tide_error *err)
{
	char *text = NULL;
	if (tide_failpoint("ingest") != 0)
		return tide_fail(err, TIDE_ERR_IO, "%s: fail point ingest", db->path);
	rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
	rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
	rocksdb_ingest_external_file_cf(db->db, db->cf, (const char *const *)ssts->paths,
	                                ssts->count, options, &text);
	rocksdb_ingestexternalfileoptions_destroy(options);
	return text != NULL ? tide_rocks_fail(err, db->path, "ingest", text) : TIDE_OK;
}

int tide_rocks_ingest(struct tide_rocks *db, struct tide_writes *const *sets, int count,
                      struct tide_error *err)
{
	struct ssts ssts = { 0 };
	int rc = wait_for_compaction(db, err);
	if (rc != TIDE_OK)
		return rc;
	struct tide_writes_merge *merge = tide_writes_merge_new(sets, count);
	if (merge == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to write %s", db->path);
	if (mkdir(db->sst_dir, 0777) != 0 && errno != EEXIST) {
		rc = tide_fail(err, TIDE_ERR_IO, "%s: %s", db->sst_dir, strerror(errno));
		goto out;
	}
	ssts.env = rocksdb_envoptions_create();
	rc = ssts_write(db, &ssts, merge, err);
	if (rc == TIDE_OK)
		rc = ssts_ingest(db, &ssts, err);
out:
	if (ssts.writer != NULL)
		rocksdb_sstfilewriter_destroy(ssts.writer);
	if (ssts.env != NULL)
		rocksdb_envoptions_destroy(ssts.env);
	for (size_t i = 0; i < ssts.count; i++) {
		unlink(ssts.paths[i]);
		free(ssts.paths[i]);
	}
	free(ssts.paths);
	tide_writes_merge_free(merge);
	return rc;
}
