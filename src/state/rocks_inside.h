/* SPDX-License-Identifier: Apache-2.0 */
/* The open database, for the files that read and write it.
 * Internal to state/. */
#ifndef TIDE_STATE_ROCKS_INSIDE_H
#define TIDE_STATE_ROCKS_INSIDE_H

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "state/rocks.h"

/* Files in level 0: with so many they are compacted; above so many, large changes
 * wait for that. Small ones slow down only behind it. */
enum { TIDE_ROCKS_L0_COMPACT = 12, TIDE_ROCKS_L0_WAIT = 24 };

enum { TIDE_DEAD_MAX = 16 };

/* What was dropped, from the beginning of its kind to here, by that change. */
struct tide_dead {
	struct tide_buf to;
	uint64_t changes;
};

struct tide_rocks {
	char *path;
	char *sst_dir; /* for files on their way in; on the same file system */
	rocksdb_t *db;
	rocksdb_column_family_handle_t *cf;
	rocksdb_options_t *options, *sst_options;
	rocksdb_block_based_table_options_t *table;
	rocksdb_cache_t *cache;
	rocksdb_readoptions_t *read;
	rocksdb_writeoptions_t *write, *write_lazy;
	size_t batch_bytes_max; /* larger changes become files */
	bool read_only;
	bool broken; /* a write failed */
	uint64_t sst_number;
	atomic_ullong written; /* bytes of changes so far */
	pthread_mutex_t lock;  /* of the moments */
	struct tide_moment *moments;
	uint64_t changes; /* applied so far */
	struct tide_dead dead[TIDE_DEAD_MAX];
	size_t dead_count;
	struct tide_writes *drops; /* that RocksDB does not know of yet */
	int drops_wait;            /* for so many large changes */
};

/* What RocksDB says, as ours. Frees `text`. */
int tide_rocks_fail(struct tide_error *err, const char *path, const char *doing, char *text);

/* A large set of changes, without ranges, as files that enter in one step. */
int tide_rocks_ingest(struct tide_rocks *db, struct tide_writes *const *sets, int count,
                      struct tide_error *err);

const rocksdb_snapshot_t *tide_moment_snapshot(const struct tide_moment *moment);
/* These ranges have been dropped; false without memory. */
bool tide_rocks_drop(struct tide_rocks *db, const struct tide_writes *dropped);
/* Unlink files below what has been dropped so far. */
int tide_rocks_bury(struct tide_rocks *db, struct tide_error *err);
void tide_rocks_dead_fini(struct tide_rocks *db);

#endif
