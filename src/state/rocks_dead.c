/* SPDX-License-Identifier: Apache-2.0 */
/* Moments, and files that hold nothing that anybody may still read.
 *
 * What is dropped lies under a tombstone until a compaction meets both. Windows drop
 * all that they have written, in the order in which they wrote it, so whole files end
 * up below what is dropped: those are unlinked, and never compacted. Snapshots do not
 * hold a file that is unlinked so, hence it waits until no moment is older. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "state/rocks_inside.h"
#include "state/writes.h"

struct tide_moment {
	const rocksdb_snapshot_t *snapshot;
	uint64_t changes; /* that it sees */
	struct tide_moment *next;
};

const struct tide_moment *tide_rocks_moment(struct tide_rocks *db)
{
	struct tide_moment *moment = malloc(sizeof *moment);
	if (moment == NULL)
		return NULL;
	pthread_mutex_lock(&db->lock);
	*moment = (struct tide_moment){ rocksdb_create_snapshot(db->db), db->changes, db->moments };
	db->moments = moment;
	pthread_mutex_unlock(&db->lock);
	return moment;
}

void tide_rocks_forget(struct tide_rocks *db, const struct tide_moment *moment)
{
	pthread_mutex_lock(&db->lock);
	struct tide_moment **at = &db->moments;
	while (*at != moment)
		at = &(*at)->next;
	struct tide_moment *found = *at;
	*at = found->next;
	rocksdb_release_snapshot(db->db, found->snapshot);
	pthread_mutex_unlock(&db->lock);
	free(found);
}

const rocksdb_snapshot_t *tide_moment_snapshot(const struct tide_moment *moment)
{
	return moment->snapshot;
}

static void forget_first(struct tide_rocks *db)
{
	tide_buf_fini(&db->dead[0].to);
	db->dead_count--;
	memmove(db->dead, db->dead + 1, db->dead_count * sizeof *db->dead);
}

/* The one that has waited longest goes if there is no room: of each kind, a younger
 * one says all that it says. */
static bool remember(struct tide_rocks *db, struct tide_slice to)
{
	if (db->dead_count == TIDE_DEAD_MAX)
		forget_first(db);
	struct tide_dead *dead = &db->dead[db->dead_count++];
	*dead = (struct tide_dead){ .changes = db->changes };
	tide_buf_put(&dead->to, to.p, to.len);
	return !dead->to.failed;
}

static bool is_remembered(struct tide_rocks *db, const struct tide_dead *dead)
{
	bool found = false;
	pthread_mutex_lock(&db->lock);
	for (struct tide_moment *at = db->moments; at != NULL && !found; at = at->next)
		found = at->changes < dead->changes;
	pthread_mutex_unlock(&db->lock);
	return found;
}

static int remove_files(struct tide_rocks *db, const struct tide_buf *to, struct tide_error *err)
{
	char *text = NULL;
	assert(to->len > TIDE_KIND);
	rocksdb_delete_file_in_range_cf(db->db, db->cf, to->p, TIDE_KIND, to->p, to->len, &text);
	return text != NULL ? tide_rocks_fail(err, db->path, "remove files", text) : TIDE_OK;
}

bool tide_rocks_drop(struct tide_rocks *db, const struct tide_writes *dropped)
{
	struct tide_writes_walk walk = { 0 };
	struct tide_write w;
	if (db->drops == NULL)
		db->drops = tide_writes_new();
	bool ok = db->drops != NULL;
	while (ok && tide_writes_next(dropped, &walk, &w))
		ok = remember(db, w.value) && tide_writes_delete_range(db->drops, w.key, w.value);
	return ok;
}

int tide_rocks_bury(struct tide_rocks *db, struct tide_error *err)
{
	while (db->dead_count > 0 && !is_remembered(db, &db->dead[0])) {
		int rc = remove_files(db, &db->dead[0].to, err);
		if (rc != TIDE_OK)
			return rc;
		forget_first(db);
	}
	return TIDE_OK;
}

void tide_rocks_dead_fini(struct tide_rocks *db)
{
	assert(db->moments == NULL);
	tide_writes_free(db->drops);
	while (db->dead_count > 0)
		tide_buf_fini(&db->dead[--db->dead_count].to);
}
