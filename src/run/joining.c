/* SPDX-License-Identifier: Apache-2.0 */
/* Joining sessions: what the workers' deltas hold, into the sessions that are open.
 *
 * A delta's entry is a session of its own: it lies at its event's time plus the
 * gap. What touches becomes one state at its last end; the states that went into
 * it leave memory and RocksDB. Which sessions of a key are open the index says, or
 * the key's list in RocksDB, which is written anew when that changes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "run/joining.h"
#include "run/listing.h"
#include "run/shards_inside.h"
#include "state/value.h"

enum { CHUNK = TIDE_SHARDS_CHUNK, TIME_SIZE = TIDE_KEY_TIME_SIZE };

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for sessions");
}

int tide_joining_damaged(const struct tide_shards *shards, int keyed, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "a session of %s is damaged; run `tidemark checkpoint verify`",
	                 shards->options.plan->keyed[keyed].name);
}

void tide_joining_key(struct tide_buf *out, int64_t end_us, const char *key, size_t key_len)
{
	tide_key_put_time(out, end_us);
	tide_buf_put(out, key, key_len);
}

/* ---- states that memory does not hold ---- */

int tide_joining_read(struct tide_shards *shards, int keyed, struct tide_session *const *list,
                      const uint32_t *which, size_t count, struct tide_error *err)
{
	struct tide_buf key = { 0 };
	size_t ends[CHUNK];
	assert(count <= CHUNK);
	tide_buf_clear(&shards->key_bytes);
	for (size_t i = 0; i < count; i++) {
		const struct tide_session *session = list[which[i]];
		tide_buf_clear(&key);
		tide_joining_key(&key, session->end_us, session->key, session->key_len);
		if (!key.failed)
			tide_state_key(&shards->key_bytes, shards->options.ops[keyed],
			               session->shard, key.p, key.len);
		ends[i] = shards->key_bytes.len;
	}
	bool failed = key.failed || shards->key_bytes.failed;
	tide_buf_fini(&key);
	if (failed)
		return fail_memory(err);
	return tide_shards_read(shards, ends, count, err);
}

bool tide_joining_find(struct tide_shards *shards, int keyed, struct tide_session *const *list,
                       size_t count, struct tide_entry **entries, size_t *missing_count)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	*missing_count = 0;
	for (size_t i = 0; i < count; i++) {
		tide_buf_clear(&shards->key_bytes);
		tide_joining_key(&shards->key_bytes, list[i]->end_us, list[i]->key,
		                 list[i]->key_len);
		if (shards->key_bytes.failed)
			return false;
		entries[i] = tide_table_find(slice->table, shards->key_bytes.p,
		                             (uint32_t)shards->key_bytes.len);
		if (entries[i] == NULL)
			shards->missing[(*missing_count)++] = (uint32_t)i;
	}
	return true;
}

/* Bring at most a chunk of them into memory. */
static int hold(struct tide_shards *shards, int keyed, struct tide_session *const *list,
                size_t count, struct tide_entry **entries, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	size_t missing_count;
	if (!tide_joining_find(shards, keyed, list, count, entries, &missing_count))
		return fail_memory(err);
	int rc = tide_joining_read(shards, keyed, list, shards->missing, missing_count, err);
	if (rc != TIDE_OK)
		return rc;
	for (size_t i = 0; rc == TIDE_OK && i < missing_count; i++) {
		const struct tide_session *session = list[shards->missing[i]];
		struct tide_entry *entry;
		tide_buf_clear(&shards->key_bytes);
		tide_joining_key(&shards->key_bytes, session->end_us, session->key,
		                 session->key_len);
		entry = shards->key_bytes.failed ? NULL
		                                 : tide_table_put(slice->table, shards->key_bytes.p,
		                                                  (uint32_t)shards->key_bytes.len);
		entries[shards->missing[i]] = entry;
		if (entry == NULL)
			rc = fail_memory(err);
		else if (shards->values[i].p == NULL ||
		         !tide_value_decode(shards->values[i], tide_entry_state(entry),
		                            slice->value_size))
			rc = tide_joining_damaged(shards, keyed, err);
	}
	tide_shards_free_values(shards, missing_count);
	return rc;
}

/* ---- the order of arrivals ---- */

/* A delta's entry. */
struct arrival {
	uint64_t head; /* its shard, and the first 7 bytes of its key behind the end */
	int64_t end_us;
	struct tide_entry *entry;
	int from;
};

struct arrivals {
	const struct tide_table *delta; /* any: their keys lie alike */
	struct arrival *items;
	size_t count;
};

static struct tide_slice key_of(const struct tide_table *delta, const struct arrival *arrival)
{
	return (struct tide_slice){ tide_entry_key(delta, arrival->entry) + TIME_SIZE,
		                    arrival->entry->key_len - TIME_SIZE };
}

static int by_head_and_key(const struct tide_table *delta, const struct arrival *a,
                           const struct arrival *b)
{
	if (a->head != b->head)
		return a->head < b->head ? -1 : 1;
	struct tide_slice x = key_of(delta, a), y = key_of(delta, b);
	int order = memcmp(x.p, y.p, x.len < y.len ? x.len : y.len);
	if (order != 0)
		return order;
	return x.len < y.len ? -1 : x.len > y.len;
}

/* What is of one key is in the order of time, and of workers. */
static int by_key_and_time(const void *a, const void *b, void *delta)
{
	const struct arrival *x = a, *y = b;
	int order = by_head_and_key(delta, x, y);
	if (order != 0)
		return order;
	if (x->end_us != y->end_us)
		return x->end_us < y->end_us ? -1 : 1;
	return x->from < y->from ? -1 : x->from > y->from;
}

static bool arrivals_take(struct arrivals *arrivals, const struct tide_parcels *parcels)
{
	size_t count = 0;
	for (int i = 0; i < parcels->count; i++)
		count += parcels->items[i].count;
	arrivals->items = malloc((count + 1) * sizeof *arrivals->items);
	if (arrivals->items == NULL)
		return false;
	for (int i = 0; i < parcels->count; i++) {
		const struct tide_parcel *parcel = &parcels->items[i];
		for (size_t e = 0; e < parcel->count; e++) {
			struct arrival *arrival = &arrivals->items[arrivals->count++];
			struct tide_entry *entry = parcel->entries[e];
			uint8_t bytes[8] = { entry->shard };
			arrivals->delta = parcel->delta;
			*arrival = (struct arrival){ .entry = entry, .from = i };
			struct tide_slice key = key_of(parcel->delta, arrival);
			memcpy(bytes + 1, key.p, key.len < 7 ? key.len : 7);
			memcpy(&arrival->head, bytes, sizeof bytes);
			arrival->head = __builtin_bswap64(arrival->head);
			arrival->end_us = tide_key_time(tide_entry_key(parcel->delta, entry));
		}
	}
	qsort_r(arrivals->items, count, sizeof *arrivals->items, by_key_and_time,
	        (void *)(uintptr_t)arrivals->delta);
	return true;
}

/* ---- joining ---- */

/* One session to be, of some that are and some arrivals. */
struct join {
	struct tide_joined joined;
	size_t key;     /* the first arrival of its key */
	size_t arrival; /* the first of them; they follow one another */
	size_t touched; /* likewise */
};

/* Joins that are made together. */
struct joining {
	struct tide_shards *shards;
	int keyed;
	struct tide_writes *writes;
	const struct arrivals *arrivals;
	struct join joins[CHUNK];
	size_t join_count, pair_count;
	struct tide_session **touched; /* and the entries of their states */
	struct tide_entry **entries;
	size_t touched_count, touched_capacity;
	struct tide_listed keys[CHUNK]; /* that are looked up together */
	int64_t *ends_us;               /* of the arrivals of one key */
	size_t ends_capacity;
};

static bool touched_reserve(struct joining *joining, size_t more)
{
	size_t wanted = joining->touched_count + more;
	if (wanted <= joining->touched_capacity)
		return true;
	wanted = wanted * 2 + CHUNK;
	void *touched = realloc(joining->touched, wanted * sizeof *joining->touched);
	if (touched != NULL)
		joining->touched = touched;
	void *entries = realloc(joining->entries, wanted * sizeof *joining->entries);
	if (entries != NULL)
		joining->entries = entries;
	if (touched == NULL || entries == NULL)
		return false;
	joining->touched_capacity = wanted;
	return true;
}

static int pair(struct joining *joining, struct tide_entry *into, struct tide_entry *from,
                struct tide_error *err)
{
	struct tide_shards *shards = joining->shards;
	int rc = TIDE_OK;
	if (joining->pair_count == CHUNK) {
		rc = tide_vm_merge(shards->options.vm, joining->keyed, shards->pairs, CHUNK, err);
		joining->pair_count = 0;
	}
	shards->pairs[joining->pair_count++] =
		(struct tide_pair){ (uint64_t)(uintptr_t)tide_entry_state(into),
		                    (uint64_t)(uintptr_t)tide_entry_state(from) };
	return rc;
}

/* The entry where the joined state goes: the last session's, when it ends no
 * later than that, else a new one, which begins as the first session's. */
static struct tide_entry *target_of(struct joining *joining, const struct join *join)
{
	struct tide_shards *shards = joining->shards;
	struct tide_slice_of *slice = &shards->slices[joining->keyed];
	size_t sessions = join->joined.sessions, last = join->touched + sessions - 1;
	if (sessions > 0 && joining->touched[last]->end_us == join->joined.end_us)
		return joining->entries[last];
	struct tide_slice key =
		key_of(joining->arrivals->delta, &joining->arrivals->items[join->arrival]);
	tide_buf_clear(&shards->key_bytes);
	tide_joining_key(&shards->key_bytes, join->joined.end_us, key.p, key.len);
	if (shards->key_bytes.failed)
		return NULL;
	struct tide_entry *entry =
		tide_table_put(slice->table, shards->key_bytes.p, (uint32_t)shards->key_bytes.len);
	if (entry != NULL && sessions > 0)
		memcpy(tide_entry_state(entry), tide_entry_state(joining->entries[join->touched]),
		       slice->value_size);
	return entry;
}

/* States into one another, in the order of time. */
static int merge(struct joining *joining, const struct join *join, struct tide_error *err)
{
	struct tide_slice_of *slice = &joining->shards->slices[joining->keyed];
	struct tide_entry *into = target_of(joining, join);
	if (into == NULL || !tide_shards_dirty(slice, into))
		return fail_memory(err);
	bool begun = join->joined.sessions > 0 &&
	             into != joining->entries[join->touched + join->joined.sessions - 1];
	int rc = TIDE_OK;
	for (size_t i = begun ? 1 : 0; rc == TIDE_OK && i < join->joined.sessions; i++)
		if (joining->entries[join->touched + i] != into)
			rc = pair(joining, into, joining->entries[join->touched + i], err);
	for (size_t i = 0; rc == TIDE_OK && i < join->joined.events; i++)
		rc = pair(joining, into, joining->arrivals->items[join->arrival + i].entry, err);
	memcpy(tide_entry_state(into), &join->joined.start_us, sizeof join->joined.start_us);
	return rc;
}

/* Sessions that end elsewhere now leave, and the index knows of it. */
static int replace(struct joining *joining, const struct join *join, struct tide_error *err)
{
	struct tide_shards *shards = joining->shards;
	struct tide_slice_of *slice = &shards->slices[joining->keyed];
	for (size_t i = join->touched; i < join->touched + join->joined.sessions; i++) {
		struct tide_entry *entry = joining->entries[i];
		if (joining->touched[i]->end_us == join->joined.end_us)
			continue;
		tide_buf_clear(&shards->key_bytes);
		tide_state_key(&shards->key_bytes, shards->options.ops[joining->keyed],
		               entry->shard, tide_entry_key(slice->table, entry), entry->key_len);
		struct tide_slice key = { shards->key_bytes.p, shards->key_bytes.len };
		if (shards->key_bytes.failed || !tide_writes_delete(joining->writes, key))
			return fail_memory(err);
		tide_table_remove(slice->table, entry);
	}
	const struct arrival *first = &joining->arrivals->items[join->arrival];
	struct tide_slice key = key_of(joining->arrivals->delta, first);
	slice->made++;
	slice->gone += join->joined.sessions;
	return tide_sessions_put(slice->sessions, first->entry->shard, key.p, key.len,
	                         &join->joined) != NULL
	               ? TIDE_OK
	               : fail_memory(err);
}

static struct tide_listed listed_of(const struct joining *joining, const struct join *join)
{
	const struct arrival *arrival = &joining->arrivals->items[join->arrival];
	return (struct tide_listed){ arrival->entry->shard,
		                     key_of(joining->arrivals->delta, arrival) };
}

/* The lists of their keys; joins of one key follow one another. */
static int write_lists(struct joining *joining, struct tide_error *err)
{
	int rc = TIDE_OK;
	for (size_t i = 0; rc == TIDE_OK && i < joining->join_count; i++) {
		if (i + 1 < joining->join_count &&
		    joining->joins[i].key == joining->joins[i + 1].key)
			continue;
		rc = tide_listing_write(joining->shards, joining->keyed,
		                        listed_of(joining, &joining->joins[i]), joining->writes,
		                        err);
	}
	return rc;
}

static int flush(struct joining *joining, struct tide_error *err)
{
	struct tide_shards *shards = joining->shards;
	int rc = TIDE_OK;
	for (size_t at = 0, some; rc == TIDE_OK && at < joining->touched_count; at += some) {
		some = joining->touched_count - at < CHUNK ? joining->touched_count - at : CHUNK;
		rc = hold(shards, joining->keyed, joining->touched + at, some,
		          joining->entries + at, err);
	}
	for (size_t i = 0; rc == TIDE_OK && i < joining->join_count; i++)
		rc = merge(joining, &joining->joins[i], err);
	if (rc == TIDE_OK)
		rc = tide_vm_merge(shards->options.vm, joining->keyed, shards->pairs,
		                   joining->pair_count, err);
	for (size_t i = 0; rc == TIDE_OK && i < joining->join_count; i++)
		rc = replace(joining, &joining->joins[i], err);
	if (rc == TIDE_OK)
		rc = write_lists(joining, err);
	joining->join_count = joining->pair_count = joining->touched_count = 0;
	return rc;
}

/* All arrivals of one key. */
static int join_key(struct joining *joining, size_t first, size_t count, struct tide_error *err)
{
	struct tide_shards *shards = joining->shards;
	const struct arrival *items = joining->arrivals->items + first;
	struct tide_slice key = key_of(joining->arrivals->delta, items);
	if (count > joining->ends_capacity) {
		void *grown = realloc(joining->ends_us, count * 2 * sizeof *joining->ends_us);
		if (grown == NULL)
			return fail_memory(err);
		joining->ends_us = grown;
		joining->ends_capacity = count * 2;
	}
	for (size_t i = 0; i < count; i++)
		joining->ends_us[i] = items[i].end_us;
	struct tide_sessions_walk walk = {
		.session =
			tide_sessions_of(shards->slices[joining->keyed].sessions, key.p, key.len),
		.ends_us = joining->ends_us,
		.count = count,
		.gap_us = shards->options.plan->keyed[joining->keyed].size_us,
	};
	struct join join = { .key = first };
	int rc = TIDE_OK;
	while (rc == TIDE_OK && tide_sessions_next(&walk, &join.joined)) {
		join.arrival = first + join.joined.event;
		join.touched = joining->touched_count;
		if (!touched_reserve(joining, join.joined.sessions))
			return fail_memory(err);
		struct tide_session *session = join.joined.first;
		for (size_t i = 0; i < join.joined.sessions; i++, session = session->next)
			joining->touched[joining->touched_count++] = session;
		joining->joins[joining->join_count++] = join;
		if (joining->join_count == CHUNK)
			rc = flush(joining, err);
	}
	return rc;
}

/* Up to a chunk of keys, from arrival *at on, which moves behind them. */
static int join_keys(struct joining *joining, size_t *at, struct tide_error *err)
{
	const struct arrivals *arrivals = joining->arrivals;
	const struct arrival *items = arrivals->items;
	size_t firsts[CHUNK + 1], count = 0, end = *at;
	struct tide_listed *keys = joining->keys;
	for (; end < arrivals->count; end++) {
		if (count > 0 &&
		    by_head_and_key(arrivals->delta, &items[end - 1], &items[end]) == 0)
			continue;
		if (count == CHUNK)
			break;
		keys[count] = (struct tide_listed){ items[end].entry->shard,
			                            key_of(arrivals->delta, &items[end]) };
		firsts[count++] = end;
	}
	firsts[count] = *at = end;
	int rc = tide_listing_hold(joining->shards, joining->keyed, keys, count, err);
	for (size_t i = 0; rc == TIDE_OK && i < count; i++)
		rc = join_key(joining, firsts[i], firsts[i + 1] - firsts[i], err);
	return rc;
}

int tide_shards_join(struct tide_shards *shards, int keyed, const struct tide_parcels *parcels,
                     struct tide_writes *writes, struct tide_error *err)
{
	struct arrivals arrivals = { 0 };
	struct joining *joining = calloc(1, sizeof *joining);
	int rc = TIDE_OK;
	if (joining == NULL || !arrivals_take(&arrivals, parcels)) {
		free(joining);
		return fail_memory(err);
	}
	joining->shards = shards;
	joining->keyed = keyed;
	joining->writes = writes;
	joining->arrivals = &arrivals;
	for (size_t at = 0; rc == TIDE_OK && at < arrivals.count;)
		rc = join_keys(joining, &at, err);
	if (rc == TIDE_OK)
		rc = flush(joining, err);
	free(joining->touched);
	free(joining->entries);
	free(joining->ends_us);
	free(joining);
	free(arrivals.items);
	return rc;
}
