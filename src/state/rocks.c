/* SPDX-License-Identifier: Apache-2.0 */
/* RocksDB: one column family that holds decided epochs and no others.
 *
 * Settings, and why. The log of writes is recovered with
 * kTolerateCorruptedTailRecords: RocksDB's default opens quietly with an older
 * state after a flipped bit, this mode refuses. What it still accepts quietly
 * (a log cut short, a MANIFEST that lost its end) the checkpoint's anchor
 * notices. Logs are never recycled, every decision is synced, checksums are
 * verified on every read. Block cache, indexes, filters and memtables share one
 * budget: the C API of 7.8 has no write buffer manager that charges a cache, so
 * memtables get a fixed part of it (db_write_buffer_size), the cache the rest.
 *
 * A small set of changes is one synced WriteBatch. A large one is sorted and
 * written as SST files that are ingested in one call, which is atomic: all files
 * enter in one version edit. The two kinds stay in order because every decision
 * writes the key `meta`: a file that holds a key which the memtable holds too
 * makes RocksDB flush the memtable before the file gets its sequence number. So
 * a log replayed after a crash never lays older values over newer ones.
 *
 * Ranges are deleted through a WriteBatch only, however large the set is: in one
 * SST a range tombstone and a put of the same decision have one sequence number.
 * Ranges that nobody reads any more follow in a WriteBatch of their own, which
 * is not synced: closing windows must not make large decisions slow. The next file
 * to ingest lies over that batch, so RocksDB flushes it, to a file of level 0 for a
 * few bytes, and compacts twice as often: so behind large changes they wait for some
 * more. Each begins where its kind does, so it covers what a crash leaves.
 *
 * After any error the database takes no more writes: what a failed write or
 * fsync left behind is known only after closing and opening again. */
#include "state/rocks.h"

#include <assert.h>
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/failpoint.h"
#include "base/mutant.h"
#include "state/rocks_inside.h"
#include "state/writes.h"

enum {
	MEMORY_DEFAULT = 64 << 20,
	MEMORY_MIN = 8 << 20,
	BATCH_BYTES_MAX = 4 << 20, /* beyond this or a part of the memtables, or … */
	BATCH_COUNT_MAX = 50000,   /* … this, changes become SST files */
	OPEN_FILES_MAX = 256,
	CACHE_SHARD_BITS = 2,
	DROPS_WAIT = 8, /* large changes */
	/* of enum WALRecoveryMode */
	RECOVER_TOLERATE_TAIL = 0,
	RECOVER_POINT_IN_TIME = 2,
	CHECKSUM_XXH3 = 4,
	LOG_WARN = 2
};

struct tide_rocks_iter {
	rocksdb_iterator_t *it;
	rocksdb_readoptions_t *read;
	const char *path;
	char *to; /* the bound is borrowed by `read` */
	bool started;
};

/* ---- errors ---- */

int tide_rocks_fail(struct tide_error *err, const char *path, const char *doing, char *text)
{
	static const char *const outside[] = { "No space left",       "Permission denied",
		                               "Too many open files", "Read-only file system",
		                               "lock file",           "lock hold" };
	int status = TIDE_ERR_CHECKPOINT;
	const char *advice = "; `tidemark checkpoint verify` reads and checks all of it";
	for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
		if (strstr(text, outside[i]) != NULL) {
			status = TIDE_ERR_IO;
			advice = "";
		}
	tide_fail(err, status, "%s: RocksDB cannot %s: %s%s", path, doing, text, advice);
	rocksdb_free(text);
	return status;
}

/* ---- opening ---- */

static void options_memory(struct tide_rocks *db, size_t memory)
{
	if (memory == 0)
		memory = MEMORY_DEFAULT;
	if (memory < MEMORY_MIN)
		memory = MEMORY_MIN;
	/* A quarter is left for what nothing counts: table readers, the SST
	 * writer, compaction's read buffers. */
	size_t memtables = memory / 4;
	db->batch_bytes_max = memtables / 4 < BATCH_BYTES_MAX ? memtables / 4 : BATCH_BYTES_MAX;
	/* Few shards: by default each would be half a MiB, and a block that is
	 * larger than its shard is read from the file again for every key. */
	rocksdb_lru_cache_options_t *lru = rocksdb_lru_cache_options_create();
	rocksdb_lru_cache_options_set_capacity(lru, memory / 2);
	rocksdb_lru_cache_options_set_num_shard_bits(lru, CACHE_SHARD_BITS);
	db->cache = rocksdb_cache_create_lru_opts(lru);
	rocksdb_lru_cache_options_destroy(lru);
	rocksdb_options_set_db_write_buffer_size(db->options, memtables);
	rocksdb_options_set_write_buffer_size(db->options, memtables / 2);
	rocksdb_options_set_max_write_buffer_number(db->options, 3);
	rocksdb_options_set_max_open_files(db->options, OPEN_FILES_MAX);
}

static rocksdb_block_based_table_options_t *table_options(const struct tide_rocks *db)
{
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
	rocksdb_block_based_options_set_block_cache(table, db->cache);
	rocksdb_block_based_options_set_block_size(table, 8 << 10);
	rocksdb_block_based_options_set_format_version(table, 5);
	rocksdb_block_based_options_set_checksum(table, CHECKSUM_XXH3);
	rocksdb_block_based_options_set_filter_policy(table,
	                                              rocksdb_filterpolicy_create_bloom_full(10));
	return table;
}

static void options_table(struct tide_rocks *db)
{
	rocksdb_block_based_table_options_t *table = db->table = table_options(db);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
	rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
	/* The filter of a compacted file has megabytes; in partitions only the
	 * part that a key needs has to be in the cache. */
	rocksdb_block_based_options_set_index_type(
		table, rocksdb_block_based_table_index_type_two_level_index_search);
	rocksdb_block_based_options_set_partition_filters(table, 1);
	rocksdb_block_based_options_set_metadata_block_size(table, 8 << 10);
	rocksdb_block_based_options_set_pin_top_level_index_and_filter(table, 1);
	rocksdb_options_set_block_based_table_factory(db->options, table);
}

/* Of files to ingest, which the writer would compress as the last level does. A look-up
 * asks up to two dozen of them, and finds the part of a filter in twice the time that
 * the filter takes; whole ones of an epoch are small. */
static void options_sst(struct tide_rocks *db)
{
	rocksdb_block_based_table_options_t *table = table_options(db);
	db->sst_options = rocksdb_options_create_copy(db->options);
	rocksdb_options_set_compression(db->sst_options, rocksdb_no_compression);
	rocksdb_options_set_block_based_table_factory(db->sst_options, table);
	rocksdb_block_based_options_destroy(table);
}

/* Most of what a window writes is gone two epochs later. Compacting every few
 * epochs, and compressing what is compacted soon, cost a fifth of the CPU of such
 * jobs; a lookup that memory cannot answer asks some filters more. */
static void options_levels(struct tide_rocks *db)
{
	rocksdb_options_t *options = db->options;
	enum { LEVELS = 7 };
	int compression[LEVELS];
	for (int level = 0; level < LEVELS; level++)
		compression[level] = level < 2 ? rocksdb_no_compression : rocksdb_lz4_compression;
	options_sst(db);
	rocksdb_options_set_compression_per_level(options, compression, LEVELS);
	rocksdb_options_set_level0_file_num_compaction_trigger(options, TIDE_ROCKS_L0_COMPACT);
	rocksdb_options_set_level0_slowdown_writes_trigger(options, TIDE_ROCKS_L0_WAIT + 4);
	rocksdb_options_set_level0_stop_writes_trigger(options, TIDE_ROCKS_L0_WAIT + 12);
}

static void options_make(struct tide_rocks *db, const struct tide_rocks_options *given)
{
	db->options = rocksdb_options_create();
	db->read = rocksdb_readoptions_create();
	db->write = rocksdb_writeoptions_create();
	db->write_lazy = rocksdb_writeoptions_create();
	rocksdb_options_t *options = db->options;
	options_memory(db, given->memory_max);
	options_table(db);
	rocksdb_options_set_create_if_missing(options, given->create);
	rocksdb_options_set_paranoid_checks(options, 1);
	rocksdb_options_set_wal_recovery_mode(options, RECOVER_TOLERATE_TAIL);
	rocksdb_options_set_recycle_log_file_num(options, 0);
	rocksdb_options_set_wal_bytes_per_sync(options, 0);
	rocksdb_options_set_manual_wal_flush(options, 0);
	rocksdb_options_set_bytes_per_sync(options, 1 << 20);
	rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
	options_levels(db);
	rocksdb_options_set_target_file_size_base(options, 32 << 20);
	rocksdb_options_set_max_bytes_for_level_base(options, 128 << 20);
	rocksdb_options_set_max_background_jobs(options, 2);
	rocksdb_options_set_max_manifest_file_size(options, 16 << 20);
	/* 4 MiB by default, of which file systems in memory fill each page. */
	rocksdb_options_set_manifest_preallocation_size(options, 64 << 10);
	rocksdb_options_set_stats_dump_period_sec(options, 0);
	rocksdb_options_set_stats_persist_period_sec(options, 0);
	rocksdb_options_set_info_log_level(options, LOG_WARN);
	rocksdb_options_set_keep_log_file_num(options, 2);
	rocksdb_options_set_max_log_file_size(options, 4 << 20);
	/* Who only looks shall not rotate the running job's LOG: under a path that
	 * cannot be made, RocksDB goes without one. */
	if (given->read_only)
		rocksdb_options_set_db_log_dir(options, "/dev/null/none");
	rocksdb_readoptions_set_verify_checksums(db->read, 1);
	rocksdb_writeoptions_set_sync(db->write, !tide_mutant(NO_SYNC));
}

/* Files that a killed process had not ingested yet. */
static void sst_dir_clean(const struct tide_rocks *db)
{
	DIR *dir = opendir(db->sst_dir);
	if (dir == NULL)
		return;
	for (struct dirent *item; (item = readdir(dir)) != NULL;) {
		size_t len = strlen(item->d_name);
		if (len > 4 && strcmp(item->d_name + len - 4, ".sst") == 0)
			unlinkat(dirfd(dir), item->d_name, 0);
	}
	closedir(dir);
}

/* NULL, or what RocksDB says. */
static char *open_db(struct tide_rocks *db)
{
	const char *names[] = { "default" };
	const rocksdb_options_t *of_cf[] = { db->options };
	char *text = NULL;
	if (db->read_only)
		db->db = rocksdb_open_for_read_only_column_families(db->options, db->path, 1, names,
		                                                    of_cf, &db->cf, 0, &text);
	else
		db->db = rocksdb_open_column_families(db->options, db->path, 1, names, of_cf,
		                                      &db->cf, &text);
	if (text != NULL)
		db->db = NULL;
	return text;
}

/* What was being written when the power went may have holes on a disk that keeps
 * no order, which RocksDB takes for damage. Up to there its log is whole. Whether a
 * decision is missing then, the anchor tells. */
static bool open_torn(struct tide_rocks *db)
{
	rocksdb_options_set_wal_recovery_mode(db->options, RECOVER_POINT_IN_TIME);
	char *text = open_db(db);
	rocksdb_options_set_wal_recovery_mode(db->options, RECOVER_TOLERATE_TAIL);
	if (text == NULL)
		tide_log(TIDE_WARN,
		         "%s: the end of its log is torn, as after a loss of power; it is used up "
		         "to there if no decision is missing",
		         db->path);
	rocksdb_free(text);
	return text == NULL;
}

int tide_rocks_open(const char *path, const struct tide_rocks_options *options,
                    struct tide_rocks **out, struct tide_error *err)
{
	assert(!(options->create && options->read_only));
	struct tide_rocks *db = calloc(1, sizeof *db);
	if (db == NULL || (db->path = strdup(path)) == NULL ||
	    asprintf(&db->sst_dir, "%s.ingest", path) < 0) {
		tide_rocks_close(db);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to open %s", path);
	}
	db->read_only = options->read_only;
	pthread_mutex_init(&db->lock, NULL);
	options_make(db, options);
	if (!db->read_only)
		sst_dir_clean(db);
	char *text = open_db(db);
	if (text != NULL && !db->read_only && strncmp(text, "Corruption", 10) == 0 &&
	    open_torn(db)) {
		rocksdb_free(text);
		text = NULL;
	}
	if (text != NULL) {
		tide_rocks_close(db);
		return tide_rocks_fail(err, path, "open it", text);
	}
	*out = db;
	return TIDE_OK;
}

void tide_rocks_close(struct tide_rocks *db)
{
	if (db == NULL)
		return;
	if (db->db != NULL) {
		tide_rocks_dead_fini(db);
		rocksdb_column_family_handle_destroy(db->cf);
		rocksdb_close(db->db);
	}
	if (db->options != NULL) {
		rocksdb_options_destroy(db->options);
		rocksdb_options_destroy(db->sst_options);
		rocksdb_block_based_options_destroy(db->table);
		rocksdb_cache_destroy(db->cache);
		rocksdb_readoptions_destroy(db->read);
		rocksdb_writeoptions_destroy(db->write);
		rocksdb_writeoptions_destroy(db->write_lazy);
	}
	free(db->path);
	free(db->sst_dir);
	free(db);
}

/* ---- reading ---- */

int tide_rocks_get(struct tide_rocks *db, struct tide_slice key, struct tide_buf *value,
                   bool *found, struct tide_error *err)
{
	char *text = NULL;
	size_t len = 0;
	*found = false;
	rocksdb_pinnableslice_t *slice =
		rocksdb_get_pinned_cf(db->db, db->read, db->cf, key.p, key.len, &text);
	if (text != NULL)
		return tide_rocks_fail(err, db->path, "read", text);
	if (slice == NULL)
		return TIDE_OK;
	const char *p = rocksdb_pinnableslice_value(slice, &len);
	tide_buf_clear(value);
	tide_buf_put(value, p, len);
	rocksdb_pinnableslice_destroy(slice);
	if (value->failed)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for %zu bytes of %s", len,
		                 db->path);
	*found = true;
	return TIDE_OK;
}

/* One answer of a multi-get: to malloc'd bytes, or to an error. */
static int take_value(struct tide_rocks *db, rocksdb_pinnableslice_t *slice, char *text,
                      struct tide_slice *value, struct tide_error *err)
{
	*value = (struct tide_slice){ NULL, 0 };
	if (text != NULL)
		return tide_rocks_fail(err, db->path, "read", text);
	if (slice == NULL)
		return TIDE_OK;
	size_t len = 0;
	const char *p = rocksdb_pinnableslice_value(slice, &len);
	char *copy = malloc(len > 0 ? len : 1);
	if (copy == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for %zu bytes of %s", len,
		                 db->path);
	memcpy(copy, p, len);
	*value = (struct tide_slice){ copy, len };
	/* cppcheck-suppress memleak; the caller frees it through *value */
	return TIDE_OK;
}

int tide_rocks_multi_get(struct tide_rocks *db, const struct tide_slice *keys, size_t count,
                         struct tide_slice *values, struct tide_error *err)
{
	int rc = TIDE_OK;
	if (count == 0)
		return TIDE_OK;
	const char **ps = calloc(count, sizeof *ps);
	size_t *lens = calloc(count, sizeof *lens);
	rocksdb_pinnableslice_t **slices = calloc(count, sizeof(rocksdb_pinnableslice_t *));
	char **texts = calloc(count, sizeof *texts);
	memset(values, 0, count * sizeof *values);
	if (ps == NULL || lens == NULL || slices == NULL || texts == NULL) {
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory to read %zu keys", count);
		goto out;
	}
	for (size_t i = 0; i < count; i++) {
		ps[i] = keys[i].p;
		lens[i] = keys[i].len;
	}
	rocksdb_batched_multi_get_cf(db->db, db->read, db->cf, count, ps, lens, slices, texts,
	                             false);
	for (size_t i = 0; i < count; i++) {
		if (rc == TIDE_OK)
			rc = take_value(db, slices[i], texts[i], &values[i], err);
		else
			rocksdb_free(texts[i]);
		if (slices[i] != NULL)
			rocksdb_pinnableslice_destroy(slices[i]);
	}
	for (size_t i = 0; rc != TIDE_OK && i < count; i++) {
		free((char *)(uintptr_t)values[i].p);
		values[i] = (struct tide_slice){ NULL, 0 };
	}
out:
	free(ps);
	free(lens);
	free(slices);
	free(texts);
	return rc;
}

uint64_t tide_rocks_written(const struct tide_rocks *db)
{
	return atomic_load(&db->written);
}

struct tide_rocks_iter *tide_rocks_iter_new(struct tide_rocks *db, struct tide_slice from,
                                            struct tide_slice to)
{
	return tide_rocks_iter_at(db, NULL, from, to);
}

struct tide_rocks_iter *tide_rocks_iter_at(struct tide_rocks *db, const struct tide_moment *moment,
                                           struct tide_slice from, struct tide_slice to)
{
	struct tide_rocks_iter *it = calloc(1, sizeof *it);
	if (it == NULL || (it->to = malloc(to.len + 1)) == NULL) {
		free(it);
		return NULL;
	}
	memcpy(it->to, to.p, to.len);
	it->path = db->path;
	it->read = rocksdb_readoptions_create();
	rocksdb_readoptions_set_iterate_upper_bound(it->read, it->to, to.len);
	rocksdb_readoptions_set_verify_checksums(it->read, 1);
	/* One long scan must not push the points' blocks out of the cache. */
	rocksdb_readoptions_set_fill_cache(it->read, 0);
	if (moment != NULL)
		rocksdb_readoptions_set_snapshot(it->read, tide_moment_snapshot(moment));
	it->it = rocksdb_create_iterator_cf(db->db, it->read, db->cf);
	rocksdb_iter_seek(it->it, from.p, from.len);
	return it;
}

bool tide_rocks_iter_next(struct tide_rocks_iter *it, struct tide_slice *key,
                          struct tide_slice *value)
{
	if (it->started && rocksdb_iter_valid(it->it))
		rocksdb_iter_next(it->it);
	it->started = true;
	if (!rocksdb_iter_valid(it->it))
		return false;
	key->p = rocksdb_iter_key(it->it, &key->len);
	value->p = rocksdb_iter_value(it->it, &value->len);
	return true;
}

int tide_rocks_iter_end(struct tide_rocks_iter *it, struct tide_error *err)
{
	if (it == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to read the state");
	char *text = NULL;
	rocksdb_iter_get_error(it->it, &text);
	int rc = text != NULL ? tide_rocks_fail(err, it->path, "read", text) : TIDE_OK;
	rocksdb_iter_destroy(it->it);
	rocksdb_readoptions_destroy(it->read);
	free(it->to);
	free(it);
	return rc;
}

/* ---- writing ---- */

static int apply_batch(struct tide_rocks *db, struct tide_writes *const *sets, int count,
                       const rocksdb_writeoptions_t *how, struct tide_error *err)
{
	char *text = NULL;
	rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
	for (int i = 0; i < count; i++) {
		struct tide_writes_walk walk = { 0 };
		struct tide_write w;
		while (tide_writes_next(sets[i], &walk, &w)) {
			if (w.kind == TIDE_WRITE_PUT)
				rocksdb_writebatch_put(batch, w.key.p, w.key.len, w.value.p,
				                       w.value.len);
			else if (w.kind == TIDE_WRITE_DELETE)
				rocksdb_writebatch_delete(batch, w.key.p, w.key.len);
			else
				rocksdb_writebatch_delete_range(batch, w.key.p, w.key.len,
				                                w.value.p, w.value.len);
		}
	}
	rocksdb_write(db->db, how, batch, &text);
	rocksdb_writebatch_destroy(batch);
	return text != NULL ? tide_rocks_fail(err, db->path, "write", text) : TIDE_OK;
}

static int apply_drops(struct tide_rocks *db, struct tide_writes *const *sets, int count,
                       bool in_files, struct tide_error *err)
{
	for (int i = 0; i < count; i++) {
		const struct tide_writes *dropped = tide_writes_dropped(sets[i]);
		if (dropped != NULL && !tide_rocks_drop(db, dropped))
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory to write %s", db->path);
	}
	int rc = tide_rocks_bury(db, err);
	if (rc != TIDE_OK || db->drops == NULL || (in_files && ++db->drops_wait < DROPS_WAIT))
		return rc;
	rc = apply_batch(db, &db->drops, 1, db->write_lazy, err);
	tide_writes_free(db->drops);
	db->drops = NULL;
	db->drops_wait = 0;
	return rc;
}

struct load {
	size_t bytes, changes;
	bool in_files;
};

static struct load load_of(const struct tide_rocks *db, struct tide_writes *const *sets, int count)
{
	struct load load = { 0 };
	bool ranges = false, staged = false;
	for (int i = 0; i < count; i++) {
		load.bytes += tide_writes_bytes(sets[i]);
		load.changes += tide_writes_count(sets[i]);
		ranges = ranges || tide_writes_has_ranges(sets[i]);
		staged = staged || *tide_writes_staged(sets[i]) != NULL;
	}
	assert(!ranges || !staged);
	load.in_files =
		staged ||
		(!ranges && (load.bytes >= db->batch_bytes_max || load.changes >= BATCH_COUNT_MAX));
	return load;
}

bool tide_rocks_in_files(const struct tide_rocks *db, struct tide_writes *const *sets, int count)
{
	return load_of(db, sets, count).in_files;
}

int tide_rocks_apply(struct tide_rocks *db, struct tide_writes *const *sets, int count,
                     struct tide_error *err)
{
	assert(!db->read_only);
	if (db->broken)
		return tide_fail(err, TIDE_ERR_IO, "%s takes no writes after an error; start again",
		                 db->path);
	struct load load = load_of(db, sets, count);
	if (load.changes == 0 && !load.in_files)
		return TIDE_OK;
	int rc;
	db->changes++;
	atomic_fetch_add(&db->written, load.bytes);
	if (!load.in_files) {
		rc = tide_pass("batch", err);
		if (rc == TIDE_OK)
			rc = apply_batch(db, sets, count, db->write, err);
	} else {
		rc = tide_rocks_ingest(db, sets, count, err);
	}
	if (rc == TIDE_OK)
		rc = apply_drops(db, sets, count, load.in_files, err);
	db->broken = rc != TIDE_OK;
	return rc;
}

/* ---- copies ---- */

/* With 0 as the size from which logs are flushed there is no log in the copy: a link
 * to one that is still written would not be whole. */
int tide_rocks_copy(struct tide_rocks *db, const char *path, struct tide_error *err)
{
	char *text = NULL;
	assert(!db->read_only);
	rocksdb_checkpoint_t *maker = rocksdb_checkpoint_object_create(db->db, &text);
	if (text == NULL)
		rocksdb_checkpoint_create(maker, path, 0, &text);
	if (maker != NULL)
		rocksdb_checkpoint_object_destroy(maker);
	return text != NULL ? tide_rocks_fail(err, path, "copy to it", text) : TIDE_OK;
}

/* ---- the version that runs ---- */

static char version[32] = "unknown";

/* The C API has no call for it; the library's file is named after it. */
static void version_find(void)
{
	Dl_info info;
	char *path = NULL;
	if (dladdr((void *)(uintptr_t)rocksdb_open, &info) != 0 && info.dli_fname != NULL)
		path = realpath(info.dli_fname, NULL);
	const char *so = path != NULL ? strstr(path, ".so.") : NULL;
	if (so != NULL)
		snprintf(version, sizeof version, "%s", so + 4);
	free(path);
}

const char *tide_rocks_version(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, version_find);
	return version;
}
