/* SPDX-License-Identifier: Apache-2.0 */
/* RocksDB, and the only file that knows it. Holds decided epochs, no others. */
#ifndef TIDE_STATE_ROCKS_H
#define TIDE_STATE_ROCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct tide_rocks;

struct tide_rocks_options {
	bool create;       /* make it if it is not there */
	bool read_only;    /* for show, verify and get while a job runs */
	size_t memory_max; /* block cache, memtables, filters; 0: 64 MiB */
};

int tide_rocks_open(const char *path, const struct tide_rocks_options *options,
                    struct tide_rocks **out, struct tide_error *err);
void tide_rocks_close(struct tide_rocks *db);

/* One value; *found says whether there is one. */
int tide_rocks_get(struct tide_rocks *db, struct tide_slice key, struct tide_buf *value,
                   bool *found, struct tide_error *err);
/* Many at once: values[i] is malloc'd or p == NULL when absent. */
int tide_rocks_multi_get(struct tide_rocks *db, const struct tide_slice *keys, size_t count,
                         struct tide_slice *values, struct tide_error *err);

/* Changes that become true together or not at all. */
struct tide_writes;
struct tide_writes *tide_writes_new(void);
void tide_writes_free(struct tide_writes *writes);
bool tide_writes_put(struct tide_writes *writes, struct tide_slice key, struct tide_slice value);
bool tide_writes_delete(struct tide_writes *writes, struct tide_slice key);
bool tide_writes_delete_range(struct tide_writes *writes, struct tide_slice from,
                              struct tide_slice to);
/* What has the same first three bytes and lies before it nobody reads any more, as the
 * other changes say: it goes some changes after them, and if the process ends before,
 * then with the next drop. */
bool tide_writes_drop(struct tide_writes *writes, struct tide_slice to);
/* What is in memory goes to files beside the database, which enter with the rest:
 * for more changes than fit into memory. Those that come later win; no ranges. */
int tide_writes_spill(struct tide_writes *writes, struct tide_rocks *db, struct tide_error *err);
/* Of what is in memory. */
size_t tide_writes_bytes(const struct tide_writes *writes);
size_t tide_writes_count(const struct tide_writes *writes);

/* Are they so many that they become files? */
bool tide_rocks_in_files(const struct tide_rocks *db, struct tide_writes *const *sets, int count);
/* Apply, synced: a WriteBatch when small, sorted SSTs in one ingest when large.
 * The last put of a key wins. After an error the database is closed for writing:
 * the caller stops the process. */
int tide_rocks_apply(struct tide_rocks *db, struct tide_writes *const *sets, int count,
                     struct tide_error *err);

/* Bytes of all changes since the database was opened, in files ahead of their
 * decision too. */
uint64_t tide_rocks_written(const struct tide_rocks *db);

/* What there is now, to be read later: until it is forgotten, and that is before the
 * database is closed, what overwrites it is kept beside it. Any thread. */
struct tide_moment;
const struct tide_moment *tide_rocks_moment(struct tide_rocks *db);
void tide_rocks_forget(struct tide_rocks *db, const struct tide_moment *moment);

/* A database of its own at `path`, which must not exist, with all that is decided now;
 * files that never change are shared. From any thread, also while others write. */
int tide_rocks_copy(struct tide_rocks *db, const char *path, struct tide_error *err);

/* In key order over [from, to). The slices are good until the next call. */
struct tide_rocks_iter;
struct tide_rocks_iter *tide_rocks_iter_new(struct tide_rocks *db, struct tide_slice from,
                                            struct tide_slice to);
/* Of that moment; NULL: now. */
struct tide_rocks_iter *tide_rocks_iter_at(struct tide_rocks *db, const struct tide_moment *moment,
                                           struct tide_slice from, struct tide_slice to);
bool tide_rocks_iter_next(struct tide_rocks_iter *it, struct tide_slice *key,
                          struct tide_slice *value);
int tide_rocks_iter_end(struct tide_rocks_iter *it, struct tide_error *err); /* and frees it */

const char *tide_rocks_version(void);

#endif
