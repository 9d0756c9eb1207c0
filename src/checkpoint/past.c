/* SPDX-License-Identifier: Apache-2.0 */
/* What the newest decisions have left behind: a moment of RocksDB for each, which costs
 * nothing to make and keeps what later ones overwrite. How much that may be is what
 * bounds it: an epoch that changes a large state whole leaves no past. */
#include "checkpoint/past.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "checkpoint/inside.h"
#include "checkpoint/kept.h"

struct entry {
	const struct tide_moment *moment;
	int64_t epoch;
	uint64_t written; /* bytes of all changes until then */
};

struct tide_past {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct tide_rocks *rocks; /* NULL: no checkpoint is open */
	size_t bytes_max;
	int most, count;
	bool reading, closing;
	int64_t read;           /* the epoch that is being read, which stays meanwhile */
	struct entry entries[]; /* the oldest first */
};

struct tide_past *tide_past_new(int epochs, size_t bytes_max)
{
	/* The newest is no past; and one is there for a moment before another goes. */
	struct tide_past *past =
		calloc(1, sizeof *past + ((size_t)epochs + 2) * sizeof *past->entries);
	if (past == NULL)
		return NULL;
	past->most = epochs + 1;
	past->bytes_max = bytes_max;
	pthread_mutex_init(&past->lock, NULL);
	pthread_cond_init(&past->changed, NULL);
	return past;
}

void tide_past_free(struct tide_past *past)
{
	if (past == NULL)
		return;
	assert(past->rocks == NULL);
	pthread_mutex_destroy(&past->lock);
	pthread_cond_destroy(&past->changed);
	free(past);
}

static void remove_at(struct tide_past *past, int at)
{
	tide_rocks_forget(past->rocks, past->entries[at].moment);
	for (int i = at + 1; i < past->count; i++)
		past->entries[i - 1] = past->entries[i];
	past->count--;
}

/* The one that is read goes later, and nothing else waits for it. */
static void trim(struct tide_past *past)
{
	uint64_t written = tide_rocks_written(past->rocks);
	for (int i = 0; i < past->count - 1;) {
		const struct entry *entry = &past->entries[i];
		if (past->count <= past->most && written - entry->written <= past->bytes_max)
			return;
		if (past->reading && past->read == entry->epoch)
			i++;
		else
			remove_at(past, i);
	}
}

static void add(struct tide_past *past, int64_t epoch)
{
	const struct tide_moment *moment = tide_rocks_moment(past->rocks);
	if (moment == NULL)
		return;
	assert(past->count <= past->most);
	past->entries[past->count++] =
		(struct entry){ moment, epoch, tide_rocks_written(past->rocks) };
	trim(past);
}

void tide_past_open(struct tide_past *past, struct tide_rocks *rocks, int64_t epoch)
{
	pthread_mutex_lock(&past->lock);
	assert(past->rocks == NULL && past->count == 0);
	past->rocks = rocks;
	past->closing = false;
	add(past, epoch);
	pthread_mutex_unlock(&past->lock);
}

/* What would go behind that change goes before it. And while somebody remembers anything,
 * RocksDB takes new files for changes of what is there, and writes them once more when it
 * is forgotten: so no past is kept across those. */
void tide_past_expect(struct tide_past *past, size_t bytes, bool in_files)
{
	pthread_mutex_lock(&past->lock);
	bool goes = in_files || bytes > past->bytes_max;
	for (int i = past->count - 1; goes && i >= 0; i--)
		if (!past->reading || past->read != past->entries[i].epoch)
			remove_at(past, i);
	pthread_mutex_unlock(&past->lock);
}

void tide_past_note(struct tide_past *past, int64_t epoch)
{
	pthread_mutex_lock(&past->lock);
	int last = past->count - 1;
	/* One more record of the same epoch, or its states in another form. */
	bool again = last >= 0 && past->entries[last].epoch == epoch;
	bool read = again && past->reading && past->read == epoch;
	if (again && !read)
		remove_at(past, last);
	if (!read)
		add(past, epoch);
	pthread_mutex_unlock(&past->lock);
}

void tide_past_close(struct tide_past *past)
{
	pthread_mutex_lock(&past->lock);
	past->closing = true;
	while (past->reading)
		pthread_cond_wait(&past->changed, &past->lock);
	while (past->count > 0)
		remove_at(past, past->count - 1);
	past->rocks = NULL;
	pthread_mutex_unlock(&past->lock);
}

static bool closes(void *arg)
{
	struct tide_past *past = arg;
	pthread_mutex_lock(&past->lock);
	bool closing = past->closing;
	pthread_mutex_unlock(&past->lock);
	return closing;
}

static int fail_nothing(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_UNAVAILABLE, "nothing is kept of the epochs before");
}

int tide_past_copy(struct tide_past *past, int epochs, size_t bytes_max, int64_t *epoch,
                   int64_t *newest, struct tide_buf *meta, struct tide_buf *state,
                   struct tide_error *err)
{
	struct entry entry = { 0 };
	pthread_mutex_lock(&past->lock);
	bool there = past->count > 1 && !past->closing && !past->reading;
	if (there) {
		int at = 0;
		*newest = past->entries[past->count - 1].epoch;
		while (past->entries[at].epoch < *newest - epochs)
			at++;
		entry = past->entries[at];
		past->reading = true;
		past->read = entry.epoch;
	}
	struct tide_rocks *rocks = past->rocks;
	pthread_mutex_unlock(&past->lock);
	if (!there)
		return fail_nothing(err);
	struct tide_copy copy = { .rocks = rocks,
		                  .moment = entry.moment,
		                  .dir = "that runs",
		                  .bytes_max = bytes_max,
		                  .stopped = closes,
		                  .arg = past };
	int rc = tide_copy_meta(&copy, meta, err);
	if (rc == TIDE_OK)
		rc = tide_copy_states(&copy, state, err);
	*epoch = entry.epoch;
	pthread_mutex_lock(&past->lock);
	past->reading = false;
	trim(past);
	pthread_cond_broadcast(&past->changed);
	pthread_mutex_unlock(&past->lock);
	return rc;
}

int tide_past_keep(struct tide_past *past, const char *dir, int most, struct tide_kept *kept,
                   struct tide_error *err)
{
	pthread_mutex_lock(&past->lock);
	struct tide_rocks *rocks = past->closing || past->reading ? NULL : past->rocks;
	past->reading = past->reading || rocks != NULL;
	past->read = rocks != NULL ? -1 : past->read; /* the newest, of which it needs no moment */
	pthread_mutex_unlock(&past->lock);
	if (rocks == NULL)
		return tide_fail(err, TIDE_ERR_UNAVAILABLE,
		                 "the job starts, stops or looks back just now; ask again");
	int rc = tide_kept_make(dir, rocks, most, kept, err);
	pthread_mutex_lock(&past->lock);
	past->reading = false;
	trim(past);
	pthread_cond_broadcast(&past->changed);
	pthread_mutex_unlock(&past->lock);
	return rc;
}
