/* SPDX-License-Identifier: Apache-2.0 */
/* Which sessions of which keys are open: a hash of keys, and a heap of ends.
 *
 * A session whose end moves gets another place in the heap, and the old one is
 * skipped when its turn comes: a push costs next to nothing as new ends are
 * mostly the latest. When most places are old, the heap is made anew. */
#include "run/sessions.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { SLOTS_MIN = 64, OLD_MIN = 1024, SPARE = 64 };

struct slot {
	uint64_t hash;
	struct tide_session *first; /* NULL: the slot is free */
};

struct place {
	int64_t end_us;
	struct tide_session *session;
};

struct tide_sessions {
	struct slot *slots;
	size_t mask, keys;
	struct place *heap; /* the least end first */
	size_t places, capacity;
	size_t count, bytes; /* of sessions */
};

struct tide_sessions *tide_sessions_new(void)
{
	struct tide_sessions *sessions = calloc(1, sizeof *sessions);
	if (sessions == NULL)
		return NULL;
	sessions->mask = SLOTS_MIN - 1;
	sessions->slots = calloc(SLOTS_MIN, sizeof *sessions->slots);
	if (sessions->slots != NULL)
		return sessions;
	free(sessions);
	return NULL;
}

/* The place that a session was last given; it has one as long as it lives. */
static bool is_newest(const struct place *place)
{
	return place->end_us == place->session->end_us;
}

void tide_sessions_free(struct tide_sessions *sessions)
{
	if (sessions == NULL)
		return;
	/* An old place may be of a session that is freed before its turn comes. */
	size_t kept = 0;
	for (size_t i = 0; i < sessions->places; i++)
		if (is_newest(&sessions->heap[i]))
			sessions->heap[kept++] = sessions->heap[i];
	for (size_t i = 0; i < kept; i++)
		free(sessions->heap[i].session);
	free(sessions->heap);
	free(sessions->slots);
	free(sessions);
}

size_t tide_sessions_count(const struct tide_sessions *sessions)
{
	return sessions->count;
}

size_t tide_sessions_bytes(const struct tide_sessions *sessions)
{
	return sessions->bytes + (sessions->mask + 1) * sizeof *sessions->slots +
	       sessions->capacity * sizeof *sessions->heap;
}

/* What malloc takes for it. */
static size_t node_bytes(size_t key_len)
{
	return (sizeof(struct tide_session) + key_len + 8 + 15) / 16 * 16;
}

/* ---- keys ---- */

/* Nobody can choose keys that all fall into one slot: where the index lies in
 * memory is not known outside. */
static uint64_t hash_of(const struct tide_sessions *sessions, const char *key, size_t key_len)
{
	return tide_hash(key, key_len, (uint64_t)(uintptr_t)sessions);
}

/* Where the key is, or where it would go. */
static struct slot *slot_of(const struct tide_sessions *sessions, const char *key, size_t key_len,
                            uint64_t hash)
{
	for (size_t at = hash & sessions->mask;; at = (at + 1) & sessions->mask) {
		struct slot *slot = &sessions->slots[at];
		if (slot->first == NULL || (slot->hash == hash && slot->first->key_len == key_len &&
		                            memcmp(slot->first->key, key, key_len) == 0))
			return slot;
	}
}

struct tide_session *tide_sessions_of(const struct tide_sessions *sessions, const char *key,
                                      size_t key_len)
{
	return slot_of(sessions, key, key_len, hash_of(sessions, key, key_len))->first;
}

static bool grow_slots(struct tide_sessions *sessions)
{
	size_t old_mask = sessions->mask, count = (old_mask + 1) * 2;
	struct slot *old = sessions->slots, *slots = calloc(count, sizeof *slots);
	if (slots == NULL)
		return false;
	for (size_t i = 0; i <= old_mask; i++) {
		if (old[i].first == NULL)
			continue;
		size_t at = old[i].hash & (count - 1);
		while (slots[at].first != NULL)
			at = (at + 1) & (count - 1);
		slots[at] = old[i];
	}
	sessions->slots = slots;
	sessions->mask = count - 1;
	free(old);
	return true;
}

/* Free a slot, and move up what was only behind it because it was taken. */
static void slot_free(struct tide_sessions *sessions, struct slot *slot)
{
	struct slot *slots = sessions->slots;
	size_t mask = sessions->mask, hole = (size_t)(slot - slots);
	for (size_t at = (hole + 1) & mask; slots[at].first != NULL; at = (at + 1) & mask) {
		size_t home = slots[at].hash & mask;
		if (((at - home) & mask) >= ((at - hole) & mask)) {
			slots[hole] = slots[at];
			hole = at;
		}
	}
	slots[hole].first = NULL;
	sessions->keys--;
}

/* Into the list of its key, in the order of times. */
static void hang(struct slot *slot, struct tide_session *session)
{
	struct tide_session *first = slot->first, *next = first;
	if (first == NULL) {
		session->before = session;
		slot->first = session;
		return;
	}
	if (first->before->start_us < session->start_us)
		next = NULL;
	while (next != NULL && next->start_us < session->start_us)
		next = next->next;
	session->next = next;
	session->before = next != NULL ? next->before : first->before;
	(next != NULL ? next : first)->before = session;
	if (next == first)
		slot->first = session;
	else
		session->before->next = session;
}

static void unhang(struct tide_sessions *sessions, struct tide_session *session)
{
	struct slot *slot = slot_of(sessions, session->key, session->key_len,
	                            hash_of(sessions, session->key, session->key_len));
	assert(slot->first != NULL && !session->gone);
	if (slot->first == session)
		slot->first = session->next;
	else
		session->before->next = session->next;
	if (session->next != NULL)
		session->next->before = session->before;
	else if (slot->first != NULL)
		slot->first->before = session->before;
	if (slot->first == NULL)
		slot_free(sessions, slot);
	session->gone = true;
	sessions->count--;
	sessions->bytes -= node_bytes(session->key_len);
}

/* ---- ends ---- */

static void sift_down(struct tide_sessions *sessions, size_t at)
{
	struct place *heap = sessions->heap, place = heap[at];
	for (size_t child; (child = 2 * at + 1) < sessions->places; at = child) {
		if (child + 1 < sessions->places && heap[child + 1].end_us < heap[child].end_us)
			child++;
		if (heap[child].end_us >= place.end_us)
			break;
		heap[at] = heap[child];
	}
	heap[at] = place;
}

static void heap_pop(struct tide_sessions *sessions)
{
	sessions->heap[0] = sessions->heap[--sessions->places];
	if (sessions->places > 0)
		sift_down(sessions, 0);
}

/* Without what is old. Sessions that are gone go with their newest place, for
 * which the older ones must not be looked at any more. */
static void heap_clean(struct tide_sessions *sessions)
{
	size_t kept = 0;
	for (size_t i = 0; i < sessions->places; i++)
		if (is_newest(&sessions->heap[i]))
			sessions->heap[kept++] = sessions->heap[i];
	sessions->places = kept;
	kept = 0;
	for (size_t i = 0; i < sessions->places; i++) {
		if (sessions->heap[i].session->gone)
			free(sessions->heap[i].session);
		else
			sessions->heap[kept++] = sessions->heap[i];
	}
	sessions->places = kept;
	for (size_t i = kept / 2; i-- > 0;)
		sift_down(sessions, i);
}

static bool heap_reserve(struct tide_sessions *sessions)
{
	if (sessions->places > 2 * sessions->count + OLD_MIN)
		heap_clean(sessions);
	if (sessions->places < sessions->capacity)
		return true;
	size_t capacity = sessions->capacity * 2 + SPARE;
	struct place *grown = realloc(sessions->heap, capacity * sizeof *grown);
	if (grown == NULL)
		return false;
	sessions->heap = grown;
	sessions->capacity = capacity;
	return true;
}

/* There is room. */
static void heap_add(struct tide_sessions *sessions, struct tide_session *session)
{
	size_t at = sessions->places++;
	struct place *heap = sessions->heap;
	for (; at > 0 && heap[(at - 1) / 2].end_us > session->end_us; at = (at - 1) / 2)
		heap[at] = heap[(at - 1) / 2];
	heap[at] = (struct place){ session->end_us, session };
}

int64_t tide_sessions_first_end(struct tide_sessions *sessions)
{
	while (sessions->places > 0) {
		struct place first = sessions->heap[0];
		bool newest = is_newest(&first);
		if (newest && !first.session->gone)
			return first.end_us;
		heap_pop(sessions);
		if (newest)
			free(first.session); /* Its older places were before this one. */
	}
	return INT64_MAX;
}

struct tide_session *tide_sessions_pop(struct tide_sessions *sessions)
{
	int64_t end_us = tide_sessions_first_end(sessions);
	assert(end_us != INT64_MAX);
	(void)end_us;
	struct tide_session *session = sessions->heap[0].session;
	unhang(sessions, session);
	heap_pop(sessions);
	return session;
}

void tide_sessions_take(struct tide_sessions *sessions, struct tide_session *session)
{
	unhang(sessions, session); /* Its place says when it is freed. */
}

/* ---- letting go ---- */

const struct tide_session *tide_sessions_each(const struct tide_sessions *sessions, size_t *at)
{
	while (*at <= sessions->mask)
		if (sessions->slots[(*at)++].first != NULL)
			return sessions->slots[*at - 1].first;
	return NULL;
}

static bool was_used(const struct tide_session *first)
{
	for (; first != NULL; first = first->next)
		if (first->used)
			return true;
	return false;
}

/* All of a key. Its slot is left as it is. */
static void let_go(struct tide_sessions *sessions, struct tide_session *first, int64_t *first_us)
{
	for (; first != NULL; first = first->next) {
		if (first->end_us < *first_us)
			*first_us = first->end_us;
		first->gone = true;
		sessions->count--;
		sessions->bytes -= node_bytes(first->key_len);
	}
	sessions->keys--;
}

/* The fewest slots for so many keys. */
static size_t slots_for(const struct tide_sessions *sessions, size_t slots)
{
	while (slots > SLOTS_MIN && sessions->keys <= slots / 4)
		slots /= 2;
	return slots;
}

/* Into fresh slots, those that are still held. */
static void move_slots(struct tide_sessions *sessions, struct slot *slots, size_t count)
{
	for (size_t i = 0; i <= sessions->mask; i++) {
		struct slot *slot = &sessions->slots[i];
		if (slot->first == NULL || slot->first->gone)
			continue;
		size_t at = slot->hash & (count - 1);
		while (slots[at].first != NULL)
			at = (at + 1) & (count - 1);
		slots[at] = *slot;
	}
	free(sessions->slots);
	struct slot *less = realloc(slots, count * sizeof *slots);
	sessions->slots = less != NULL ? less : slots;
	sessions->mask = count - 1;
}

static void heap_shrink(struct tide_sessions *sessions)
{
	size_t capacity = sessions->places + SPARE;
	struct place *less = NULL;
	if (capacity < sessions->capacity)
		less = realloc(sessions->heap, capacity * sizeof *less);
	if (less != NULL) {
		sessions->heap = less;
		sessions->capacity = capacity;
	}
}

bool tide_sessions_evict(struct tide_sessions *sessions, size_t bytes_max, int64_t *first_us)
{
	size_t count = sessions->mask + 1;
	struct slot *slots = calloc(count, sizeof *slots);
	*first_us = INT64_MAX;
	if (slots == NULL)
		return false;
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i <= sessions->mask; i++) {
			struct tide_session *first = sessions->slots[i].first;
			count = slots_for(sessions, count);
			if (sessions->bytes + count * sizeof *slots +
			            (sessions->count + SPARE) * sizeof(struct place) <=
			    bytes_max)
				break;
			if (first == NULL || first->gone)
				continue;
			if (pass > 0 || !was_used(first))
				let_go(sessions, first, first_us);
			else
				for (; first != NULL; first = first->next)
					first->used = false;
		}
	}
	move_slots(sessions, slots, count);
	heap_clean(sessions);
	heap_shrink(sessions);
	return true;
}

/* ---- joining ---- */

bool tide_sessions_next(struct tide_sessions_walk *walk, struct tide_joined *joined)
{
	if (walk->at == walk->count)
		return false;
	int64_t start = walk->ends_us[walk->at] - walk->gap_us;
	while (walk->session != NULL && walk->session->end_us < start)
		walk->session = walk->session->next;
	*joined = (struct tide_joined){ .event = walk->at,
		                        .start_us = start,
		                        .end_us = walk->ends_us[walk->at] };
	/* The first of them may be a session that began before. */
	if (walk->session != NULL && walk->session->start_us < start) {
		joined->start_us = walk->session->start_us;
		joined->end_us = walk->session->end_us;
	}
	for (;;) {
		struct tide_session *session = walk->session;
		int64_t end_us;
		if (walk->at < walk->count &&
		    walk->ends_us[walk->at] - walk->gap_us <= joined->end_us) {
			assert(walk->at == 0 ||
			       walk->ends_us[walk->at - 1] <= walk->ends_us[walk->at]);
			end_us = walk->ends_us[walk->at++];
			joined->events++;
		} else if (session != NULL && session->start_us <= joined->end_us) {
			end_us = session->end_us;
			if (joined->sessions++ == 0)
				joined->first = session;
			walk->session = session->next;
		} else {
			break;
		}
		if (end_us > joined->end_us)
			joined->end_us = end_us;
	}
	assert(joined->events > 0);
	return true;
}

static struct tide_session *session_new(struct tide_sessions *sessions, uint32_t shard,
                                        const char *key, size_t key_len,
                                        const struct tide_joined *joined)
{
	if (sessions->keys > sessions->mask / 2 && !grow_slots(sessions))
		return NULL;
	struct tide_session *session = calloc(1, sizeof *session + key_len);
	if (session == NULL)
		return NULL;
	session->used = true;
	session->start_us = joined->start_us;
	session->end_us = joined->end_us;
	session->shard = shard;
	session->key_len = (uint32_t)key_len;
	if (key_len > 0)
		memcpy(session->key, key, key_len);
	uint64_t hash = hash_of(sessions, key, key_len);
	struct slot *slot = slot_of(sessions, key, key_len, hash);
	slot->hash = hash;
	sessions->keys += slot->first == NULL;
	hang(slot, session);
	sessions->count++;
	sessions->bytes += node_bytes(key_len);
	heap_add(sessions, session);
	return session;
}

struct tide_session *tide_sessions_put(struct tide_sessions *sessions, uint32_t shard,
                                       const char *key, size_t key_len,
                                       const struct tide_joined *joined)
{
	struct tide_session *session = joined->first;
	assert(joined->start_us < joined->end_us);
	if (!heap_reserve(sessions))
		return NULL;
	if (session == NULL)
		return session_new(sessions, shard, key, key_len, joined);
	for (size_t i = 1; i < joined->sessions; i++)
		unhang(sessions, session->next);
	session->start_us = joined->start_us;
	session->used = true;
	if (session->end_us < joined->end_us) {
		session->end_us = joined->end_us;
		heap_add(sessions, session);
	}
	return session;
}
