/* SPDX-License-Identifier: Apache-2.0 */
/* Which sessions of which keys are open: their times, and not their states.
 *
 * An owner's index over open sessions of its shards. Of a key that it holds it has
 * all of them, so that what a row touches is known; keys may leave it, and then
 * only RocksDB knows of theirs (listing.h). */
#ifndef TIDE_RUN_SESSIONS_H
#define TIDE_RUN_SESSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tide_sessions;

/* Sessions of one key neither meet nor touch, and hang together in the order of
 * their times. */
struct tide_session {
	struct tide_session *next, *before; /* before the first is the last */
	int64_t start_us, end_us;           /* its last event is one gap before the end */
	uint32_t shard, key_len;
	bool gone;  /* in another one, closed, or no longer held */
	bool used;  /* since the last eviction swept by */
	char key[]; /* behind the end */
};

struct tide_sessions *tide_sessions_new(void);
void tide_sessions_free(struct tide_sessions *sessions);
size_t tide_sessions_count(const struct tide_sessions *sessions);
size_t tide_sessions_bytes(const struct tide_sessions *sessions);

/* The first session of a key, or NULL. */
struct tide_session *tide_sessions_of(const struct tide_sessions *sessions, const char *key,
                                      size_t key_len);

/* Events of one key, and what they make of its sessions. */
struct tide_sessions_walk {
	struct tide_session *session; /* of the key: the first, and then how far it is */
	const int64_t *ends_us;       /* of each event: one gap behind it; ascending */
	size_t count, at;
	int64_t gap_us;
};

/* Events and sessions that are one session from now on. */
struct tide_joined {
	struct tide_session *first; /* of the sessions, which follow one another; or NULL */
	size_t sessions, event, events;
	int64_t start_us, end_us;
};

/* The next ones that have an event; false: there are none. Nothing is changed. */
bool tide_sessions_next(struct tide_sessions_walk *walk, struct tide_joined *joined);

/* Makes it true: the session that they are; the others are gone. NULL without
 * memory. Other joins of the same walk stay good. */
struct tide_session *tide_sessions_put(struct tide_sessions *sessions, uint32_t shard,
                                       const char *key, size_t key_len,
                                       const struct tide_joined *joined);

/* The first end of all; INT64_MAX: none is held. */
int64_t tide_sessions_first_end(struct tide_sessions *sessions);
/* Take that session out; the caller frees it. */
struct tide_session *tide_sessions_pop(struct tide_sessions *sessions);
/* Take any out; it is no longer there for the caller. */
void tide_sessions_take(struct tide_sessions *sessions, struct tide_session *session);

/* A walk over the first sessions of all keys, in no order; NULL: that was all. */
const struct tide_session *tide_sessions_each(const struct tide_sessions *sessions, size_t *at);

/* Let go of keys, the long unused first, until at most so many bytes are in use or
 * none are left. The first end of what went; INT64_MAX: nothing did. False without
 * memory: nothing went. */
bool tide_sessions_evict(struct tide_sessions *sessions, size_t bytes_max, int64_t *first_us);

#endif
