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

enum { SST_BYTES_MAX = 64 << 20, L0_WAIT_MS = 5 };

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
	if (files <= TIDE_ROCKS_L0_WAIT)
		return TIDE_OK;
	tide_log(TIDE_INFO, "%s: waiting for RocksDB to compact %llu files", db->path,
	         (unsigned long long)files);
	while (files > TIDE_ROCKS_L0_WAIT) {
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
	size_t bytes; /* in that file */
};

static void ssts_fini(struct ssts *ssts)
{
	if (ssts->writer != NULL)
		rocksdb_sstfilewriter_destroy(ssts->writer);
	if (ssts->env != NULL)
		rocksdb_envoptions_destroy(ssts->env);
	for (size_t i = 0; i < ssts->count; i++) {
		unlink(ssts->paths[i]);
		free(ssts->paths[i]);
	}
	free(ssts->paths);
	*ssts = (struct ssts){ 0 };
}

static int ssts_init(struct tide_rocks *db, struct ssts *ssts, struct tide_error *err)
{
	if (mkdir(db->sst_dir, 0777) != 0 && errno != EEXIST)
		return tide_fail(err, TIDE_ERR_IO, "%s: %s", db->sst_dir, strerror(errno));
	ssts->env = rocksdb_envoptions_create();
	return TIDE_OK;
}

static int sst_open(struct tide_rocks *db, struct ssts *ssts, struct tide_error *err)
{
	ssts->bytes = 0;
	char *text = NULL, *path = NULL;
	char **grown = realloc(ssts->paths, (ssts->count + 1) * sizeof *grown);
	if (grown != NULL)
		ssts->paths = grown;
	if (grown == NULL || asprintf(&path, "%s/%d-%llu.sst", db->sst_dir, (int)getpid(),
	                              (unsigned long long)db->sst_number++) < 0)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to write %s", db->path);
	ssts->paths[ssts->count++] = path;
	ssts->writer = rocksdb_sstfilewriter_create(ssts->env, db->sst_options);
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

static int sst_put(struct tide_rocks *db, struct ssts *ssts, const struct tide_write *w,
                   struct tide_error *err)
{
	char *text = NULL;
	int rc = ssts->writer == NULL ? sst_open(db, ssts, err) : TIDE_OK;
	if (rc != TIDE_OK)
		return rc;
	if (w->kind == TIDE_WRITE_PUT)
		rocksdb_sstfilewriter_put(ssts->writer, w->key.p, w->key.len, w->value.p,
		                          w->value.len, &text);
	else
		rocksdb_sstfilewriter_delete(ssts->writer, w->key.p, w->key.len, &text);
	if (text != NULL)
		return tide_rocks_fail(err, db->sst_dir, "write a file", text);
	ssts->bytes += w->key.len + w->value.len;
	return ssts->bytes < SST_BYTES_MAX ? TIDE_OK : sst_finish(db, ssts, err);
}

/* Behind which key the database has nothing up to the end of that key's kind: the
 * last one there, or of the kind alone. */
static void frontier_find(struct tide_rocks *db, struct tide_slice key, struct tide_buf *frontier)
{
	char next[TIDE_KIND];
	size_t len = 0;
	rocksdb_iterator_t *it = rocksdb_create_iterator_cf(db->db, db->read, db->cf);
	memcpy(next, key.p, TIDE_KIND);
	for (int i = TIDE_KIND - 1; i >= 0 && ++next[i] == 0; i--)
		continue;
	rocksdb_iter_seek_for_prev(it, next, sizeof next);
	const char *last = rocksdb_iter_valid(it) ? rocksdb_iter_key(it, &len) : NULL;
	bool same = len >= TIDE_KIND && memcmp(last, key.p, TIDE_KIND) == 0;
	tide_buf_put(frontier, same ? last : key.p, same ? len : TIDE_KIND);
	rocksdb_iter_destroy(it);
}

/* All changes in key order, in files that do not overlap. Few and large: each
 * spans the hashed keys of an epoch and so counts as one file of level 0. But what
 * lies behind all that was there before gets a file of its own, which RocksDB puts
 * below all levels: keys of windows begin with their end, so these are the windows
 * that begin now, most of what such an epoch writes, and never compacted. (Only of
 * the last kind of keys: what came behind it would be one more file above.) */
static int ssts_write(struct tide_rocks *db, struct ssts *ssts, struct tide_writes_merge *merge,
                      struct tide_error *err)
{
	struct tide_write w;
	struct tide_buf frontier = { 0 };
	struct tide_slice last = tide_writes_merge_last(merge);
	int rc = TIDE_OK;
	if (last.len > TIDE_KIND)
		frontier_find(db, last, &frontier);
	bool ahead = last.len > TIDE_KIND && !frontier.failed;
	while (rc == TIDE_OK && tide_writes_merge_next(merge, &w)) {
		if (ahead && tide_writes_compare((struct tide_slice){ frontier.p, frontier.len },
		                                 w.key) < 0) {
			ahead = false;
			rc = ssts->writer != NULL ? sst_finish(db, ssts, err) : TIDE_OK;
		}
		if (rc == TIDE_OK)
			rc = sst_put(db, ssts, &w, err);
	}
	if (rc == TIDE_OK && ssts->writer != NULL)
		rc = sst_finish(db, ssts, err);
	tide_buf_fini(&frontier);
	return rc;
}

static int ssts_ingest(struct tide_rocks *db, struct ssts *ssts, struct tide_error *err)
{
	char *text = NULL;
	rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
	rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
	rocksdb_ingest_external_file_cf(db->db, db->cf, (const char *const *)ssts->paths,
	                                ssts->count, options, &text);
	rocksdb_ingestexternalfileoptions_destroy(options);
	return text != NULL ? tide_rocks_fail(err, db->path, "ingest", text) : TIDE_OK;
}

/* ---- in files ahead of the rest ---- */

struct tide_staged {
	struct tide_rocks *db;
	struct ssts ssts;
	struct tide_buf last; /* key of the file that is open */
};

void tide_staged_free(struct tide_staged *staged)
{
	if (staged == NULL)
		return;
	ssts_fini(&staged->ssts);
	tide_buf_fini(&staged->last);
	free(staged);
}

static bool is_behind(const struct tide_staged *staged, struct tide_slice key)
{
	return tide_writes_compare((struct tide_slice){ staged->last.p, staged->last.len }, key) <
	       0;
}

static int staged_add(struct tide_staged *staged, const struct tide_write *w,
                      struct tide_error *err)
{
	struct ssts *ssts = &staged->ssts;
	int rc = TIDE_OK;
	if (ssts->writer != NULL && !is_behind(staged, w->key))
		rc = sst_finish(staged->db, ssts, err);
	if (rc == TIDE_OK)
		rc = sst_put(staged->db, ssts, w, err);
	tide_buf_clear(&staged->last);
	tide_buf_put(&staged->last, w->key.p, w->key.len);
	if (rc == TIDE_OK && staged->last.failed)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory to write %s", staged->db->path);
	return rc;
}

static int staged_make(struct tide_rocks *db, struct tide_staged **out, struct tide_error *err)
{
	if (*out != NULL)
		return TIDE_OK;
	*out = calloc(1, sizeof **out);
	if (*out == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to write %s", db->path);
	(*out)->db = db;
	return ssts_init(db, &(*out)->ssts, err);
}

int tide_writes_spill(struct tide_writes *writes, struct tide_rocks *db, struct tide_error *err)
{
	struct tide_staged **staged = tide_writes_staged(writes);
	struct tide_write w;
	int rc = staged_make(db, staged, err);
	if (rc == TIDE_OK)
		rc = tide_pass("spill", err);
	if (rc != TIDE_OK)
		return rc;
	struct tide_writes_merge *merge = tide_writes_merge_new(&writes, 1);
	if (merge == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to write %s", db->path);
	while (rc == TIDE_OK && tide_writes_merge_next(merge, &w))
		rc = staged_add(*staged, &w, err);
	tide_writes_merge_free(merge);
	atomic_fetch_add(&db->written, tide_writes_bytes(writes));
	if (rc == TIDE_OK)
		tide_writes_empty(writes);
	return rc;
}

/* Its files are among those that enter from now on. */
static int staged_take(struct tide_staged *staged, struct ssts *ssts, struct tide_error *err)
{
	struct ssts *from = &staged->ssts;
	int rc = from->writer != NULL ? sst_finish(staged->db, from, err) : TIDE_OK;
	if (rc != TIDE_OK || from->count == 0)
		return rc;
	char **grown = realloc(ssts->paths, (ssts->count + from->count) * sizeof *grown);
	if (grown == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to write %s", staged->db->path);
	ssts->paths = grown;
	memcpy(grown + ssts->count, from->paths, from->count * sizeof *grown);
	ssts->count += from->count;
	from->count = 0;
	return TIDE_OK;
}

/* Where files have keys in common, RocksDB lets the later one in the list win. */
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
	rc = ssts_init(db, &ssts, err);
	for (int i = 0; rc == TIDE_OK && i < count; i++)
		if (*tide_writes_staged(sets[i]) != NULL)
			rc = staged_take(*tide_writes_staged(sets[i]), &ssts, err);
	if (rc == TIDE_OK)
		rc = tide_pass("sst", err);
	if (rc == TIDE_OK)
		rc = ssts_write(db, &ssts, merge, err);
	if (rc == TIDE_OK)
		rc = tide_pass("ingest", err);
	if (rc == TIDE_OK)
		rc = ssts_ingest(db, &ssts, err);
	ssts_fini(&ssts);
	tide_writes_merge_free(merge);
	return rc;
}
