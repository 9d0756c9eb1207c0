/* SPDX-License-Identifier: Apache-2.0 */
/* Joining sessions: what the workers' deltas hold, into the sessions that are
 * open, and out when the watermark has passed their ends.
 *
 * A delta's entry is a session of its own: it lies at its event's time plus the
 * gap. What touches becomes one state at its last end; the states that went into
 * it leave memory and RocksDB. Joining comes before closing: a session that the
 * watermark has passed and that has not been put out may still be extended, by
 * a row that is not late. What an epoch has changed ends behind its watermark,
 * so what closes is decided, clean and the same in memory and in RocksDB. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "run/exchange.h"
#include "run/shards_inside.h"
#include "state/value.h"

enum { CHUNK = TIDE_SHARDS_CHUNK, TIME_SIZE = TIDE_KEY_TIME_SIZE };

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for sessions");
}

static int fail_damaged(const struct tide_shards *shards, int keyed, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "a session of %s is damaged; run `tidemark checkpoint verify`",
	                 shards->options.plan->keyed[keyed].name);
}

/* The state's first field, in front of those of the aggregates. */
static int64_t start_of(const void *state)
{
	int64_t start_us;
	memcpy(&start_us, state, sizeof start_us);
	return start_us;
}

/* The key that a session's state has in the table. */
static void put_key(struct tide_buf *out, int64_t end_us, const char *key, size_t key_len)
{
	tide_key_put_time(out, end_us);
	tide_buf_put(out, key, key_len);
}

/* ---- states that memory does not hold ---- */

/* Their values, in shards->values; the caller frees them. */
static int read_stored(struct tide_shards *shards, int keyed, struct tide_session *const *list,
                       const uint32_t *which, size_t count, struct tide_error *err)
{
	struct tide_buf key = { 0 };
	size_t ends[CHUNK];
	assert(count <= CHUNK);
	tide_buf_clear(&shards->key_bytes);
	for (size_t i = 0; i < count; i++) {
		const struct tide_session *session = list[which[i]];
		tide_buf_clear(&key);
		put_key(&key, session->end_us, session->key, session->key_len);
		if (!key.failed)
			tide_state_key(&shards->key_bytes, shards->options.ops[keyed],
			               session->shard, key.p, key.len);
		ends[i] = shards->key_bytes.len;
	}
	bool failed = key.failed || shards->key_bytes.failed;
	tide_buf_fini(&key);
	if (failed)
		return fail_memory(err);
	for (size_t i = 0, at = 0; i < count; at = ends[i++])
		shards->keys[i] = (struct tide_slice){ shards->key_bytes.p + at, ends[i] - at };
	return count == 0 ? TIDE_OK
	                  : tide_rocks_multi_get(shards->options.rocks, shards->keys, count,
	                                         shards->values, err);
}

static void free_values(struct tide_shards *shards, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free((void *)(uintptr_t)shards->values[i].p);
}

/* Which of at most a chunk of sessions the table does not hold; the others'
 * entries. */
static bool find_entries(struct tide_shards *shards, int keyed, struct tide_session *const *list,
                         size_t count, struct tide_entry **entries, size_t *missing_count)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	*missing_count = 0;
	for (size_t i = 0; i < count; i++) {
		tide_buf_clear(&shards->key_bytes);
		put_key(&shards->key_bytes, list[i]->end_us, list[i]->key, list[i]->key_len);
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
	if (!find_entries(shards, keyed, list, count, entries, &missing_count))
		return fail_memory(err);
	int rc = read_stored(shards, keyed, list, shards->missing, missing_count, err);
	if (rc != TIDE_OK)
		return rc;
	for (size_t i = 0; rc == TIDE_OK && i < missing_count; i++) {
		const struct tide_session *session = list[shards->missing[i]];
		struct tide_entry *entry;
		tide_buf_clear(&shards->key_bytes);
		put_key(&shards->key_bytes, session->end_us, session->key, session->key_len);
		entry = shards->key_bytes.failed ? NULL
		                                 : tide_table_put(slice->table, shards->key_bytes.p,
		                                                  (uint32_t)shards->key_bytes.len);
		entries[shards->missing[i]] = entry;
		if (entry == NULL)
			rc = fail_memory(err);
		else if (shards->values[i].p == NULL ||
		         !tide_value_decode(shards->values[i], tide_entry_state(entry),
		                            slice->value_size))
			rc = fail_damaged(shards, keyed, err);
	}
	free_values(shards, missing_count);
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
	int64_t *ends_us; /* of the arrivals of one key */
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
	put_key(&shards->key_bytes, join->joined.end_us, key.p, key.len);
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
	struct join join;
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
	for (size_t at = 0, end; rc == TIDE_OK && at < arrivals.count; at = end) {
		for (end = at + 1; end < arrivals.count; end++)
			if (by_head_and_key(arrivals.delta, &arrivals.items[at],
			                    &arrivals.items[end]) != 0)
				break;
		rc = join_key(joining, at, end - at, err);
	}
	if (rc == TIDE_OK)
		rc = flush(joining, err);
	free(joining->touched);
	free(joining->entries);
	free(joining->ends_us);
	free(joining);
	free(arrivals.items);
	return rc;
}

/* ---- closing ---- */

static int by_end_shard_and_key(const void *a, const void *b)
{
	const struct tide_session *x = *(struct tide_session *const *)a,
				  *y = *(struct tide_session *const *)b;
	if (x->end_us != y->end_us)
		return x->end_us < y->end_us ? -1 : 1;
	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	int order = memcmp(x->key, y->key, x->key_len < y->key_len ? x->key_len : y->key_len);
	if (order != 0)
		return order;
	return x->key_len < y->key_len ? -1 : x->key_len > y->key_len;
}

/* Sessions that leave together. */
struct closing {
	struct tide_shards *shards;
	int keyed;
	const bool *append_outputs;
	struct tide_session **list;
	size_t count, capacity;
	struct tide_entry *entries[CHUNK];
	char *states; /* room for those that memory does not hold */
	size_t room;  /* how many that are */
};

/* Everything that has ended by then, in the order in which it leaves. */
static bool take_ended(struct closing *closing, struct tide_sessions *sessions, int64_t to_us)
{
	while (tide_sessions_first_end(sessions) <= to_us) {
		if (closing->count == closing->capacity) {
			size_t capacity = closing->capacity * 2 + 64;
			void *grown = realloc(closing->list, capacity * sizeof *closing->list);
			if (grown == NULL)
				return false;
			closing->list = grown;
			closing->capacity = capacity;
		}
		closing->list[closing->count++] = tide_sessions_pop(sessions);
	}
	if (closing->count > 1)
		qsort(closing->list, closing->count, sizeof(struct tide_session *),
		      by_end_shard_and_key);
	return true;
}

/* Addresses of the states of some sessions, and the cells of their keys. */
static int gather(struct closing *closing, struct tide_session *const *list, size_t count,
                  struct tide_error *err)
{
	struct tide_shards *shards = closing->shards;
	const struct tide_keyspec *spec = &shards->options.specs[closing->keyed];
	size_t size = shards->slices[closing->keyed].value_size, missing_count, ends[CHUNK];
	if (!find_entries(shards, closing->keyed, list, count, closing->entries, &missing_count))
		return fail_memory(err);
	for (size_t i = 0; i < count; i++)
		if (closing->entries[i] != NULL)
			shards->states[i] =
				(uint64_t)(uintptr_t)tide_entry_state(closing->entries[i]);
	int rc = read_stored(shards, closing->keyed, list, shards->missing, missing_count, err);
	if (rc != TIDE_OK)
		return rc;
	for (size_t i = 0; i < missing_count; i++) {
		char *state = closing->states + i * size;
		if (shards->values[i].p == NULL ||
		    !tide_value_decode(shards->values[i], state, size))
			rc = fail_damaged(shards, closing->keyed, err);
		shards->states[shards->missing[i]] = (uint64_t)(uintptr_t)state;
	}
	free_values(shards, missing_count);
	tide_buf_clear(&shards->key_bytes);
	for (size_t i = 0; rc == TIDE_OK && i < count; i++) {
		put_key(&shards->key_bytes, list[i]->end_us, list[i]->key, list[i]->key_len);
		ends[i] = shards->key_bytes.len;
	}
	if (rc == TIDE_OK && shards->key_bytes.failed)
		rc = fail_memory(err);
	for (size_t i = 0, at = 0; rc == TIDE_OK && i < count; at = ends[i++])
		if (!tide_key_decode(spec, shards->key_bytes.p + at, ends[i] - at,
		                     shards->cells + i * (size_t)spec->count))
			rc = fail_damaged(shards, closing->keyed, err);
	return rc;
}

/* Their rows for one output, a segment for each end. */
static int emit(struct closing *closing, int output, struct tide_session *const *list, size_t count,
                struct tide_error *err)
{
	struct tide_shards *shards = closing->shards;
	int parts = shards->options.specs[closing->keyed].count, rc = TIDE_OK;
	for (size_t at = 0, end; rc == TIDE_OK && at < count; at = end) {
		for (end = at + 1; end < count; end++)
			if (list[end]->end_us != list[at]->end_us)
				break;
		rc = tide_vm_finish(shards->options.vm, closing->keyed, output,
		                    shards->cells + at * (size_t)parts, parts, shards->states + at,
		                    end - at, err);
		if (rc == TIDE_OK)
			rc = tide_shards_segment(shards, output, list[at]->end_us, err);
	}
	return rc;
}

static int leave(struct closing *closing, struct tide_session *const *list, size_t count, bool rows,
                 struct tide_error *err)
{
	struct tide_shards *shards = closing->shards;
	const struct tide_plan *plan = shards->options.plan;
	size_t missing_count;
	int rc = TIDE_OK;
	if (!rows &&
	    !find_entries(shards, closing->keyed, list, count, closing->entries, &missing_count))
		return fail_memory(err);
	if (rows)
		rc = gather(closing, list, count, err);
	for (int o = 0; rc == TIDE_OK && rows && o < plan->output_count; o++)
		if (plan->outputs[o].keyed == closing->keyed && closing->append_outputs[o])
			rc = emit(closing, o, list, count, err);
	for (size_t i = 0; rc == TIDE_OK && i < count; i++)
		if (closing->entries[i] != NULL)
			tide_table_remove(shards->slices[closing->keyed].table,
			                  closing->entries[i]);
	return rc;
}

static bool any_rows(const struct tide_shards *shards, int keyed, const bool *append_outputs)
{
	const struct tide_plan *plan = shards->options.plan;
	for (int o = 0; o < plan->output_count; o++)
		if (plan->outputs[o].keyed == keyed && append_outputs[o])
			return true;
	return false;
}

static int close_ended(struct tide_shards *shards, int keyed, const bool *append_outputs,
                       int64_t to_us, struct tide_error *err)
{
	enum { STATES_BYTES = 4 << 20 };
	struct tide_slice_of *slice = &shards->slices[keyed];
	struct closing *closing = calloc(1, sizeof *closing);
	int rc = TIDE_OK;
	if (closing == NULL)
		return fail_memory(err);
	closing->shards = shards;
	closing->keyed = keyed;
	closing->append_outputs = append_outputs;
	closing->room = STATES_BYTES / slice->value_size + 1;
	if (closing->room > CHUNK)
		closing->room = CHUNK;
	closing->states = malloc(closing->room * slice->value_size);
	if (closing->states == NULL || !take_ended(closing, slice->sessions, to_us))
		rc = fail_memory(err);
	bool rows = any_rows(shards, keyed, append_outputs);
	for (size_t at = 0, some; rc == TIDE_OK && at < closing->count; at += some) {
		some = closing->count - at < closing->room ? closing->count - at : closing->room;
		rc = leave(closing, closing->list + at, some, rows, err);
	}
	slice->closed_some = closing->count > 0;
	slice->gone += closing->count;
	for (size_t i = 0; i < closing->count; i++)
		free(closing->list[i]);
	free(closing->list);
	free(closing->states);
	free(closing);
	return rc;
}

int tide_joining_close(struct tide_shards *shards, const bool *append_outputs,
                       struct tide_error *err)
{
	const struct tide_plan *plan = shards->options.plan;
	int rc = TIDE_OK;
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++) {
		struct tide_slice_of *slice = &shards->slices[k];
		if (!plan->keyed[k].session || !tide_plan_closes(&plan->keyed[k]))
			continue;
		int64_t to_us = shards->watermarks_us[plan->keyed[k].mark];
		slice->closed_some = false;
		if (tide_sessions_first_end(slice->sessions) <= to_us)
			rc = close_ended(shards, k, append_outputs, to_us, err);
		slice->closed_us = to_us;
	}
	return rc;
}

/* ---- the index at the start ---- */

static int open_one(struct tide_shards *shards, int keyed, struct tide_slice key,
                    struct tide_slice value, char *state, struct tide_buf *bytes,
                    struct tide_error *err)
{
	const struct tide_shards_options *options = &shards->options;
	struct tide_slice_of *slice = &shards->slices[keyed];
	uint32_t shard;
	tide_buf_clear(bytes);
	if (!tide_state_split(key, options->ops[keyed], &shard, bytes))
		return fail_damaged(shards, keyed, err);
	if (bytes->failed)
		return fail_memory(err);
	if (tide_exchange_owner(shard, options->workers) != options->index)
		return TIDE_OK;
	if (!tide_value_decode(value, state, slice->value_size))
		return fail_damaged(shards, keyed, err);
	struct tide_joined joined = { .start_us = start_of(state),
		                      .end_us = tide_key_time(bytes->p) };
	if (joined.start_us >= joined.end_us)
		return fail_damaged(shards, keyed, err);
	return tide_sessions_put(slice->sessions, shard, bytes->p + TIME_SIZE,
	                         bytes->len - TIME_SIZE, &joined) != NULL
	               ? TIDE_OK
	               : fail_memory(err);
}

int tide_joining_open(struct tide_shards *shards, int keyed, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	struct tide_state_op op = shards->options.ops[keyed];
	struct tide_buf from = { 0 }, to = { 0 }, bytes = { 0 };
	struct tide_rocks_iter *it = NULL;
	struct tide_slice key, value;
	char *state = malloc(slice->value_size);
	int rc = TIDE_OK;
	tide_state_range(&from, &to, op);
	if (tide_plan_closes(&shards->options.plan->keyed[keyed])) {
		tide_buf_clear(&from);
		tide_state_end(&from, op, slice->closed_us + 1);
	}
	if (state != NULL && !from.failed && !to.failed)
		it = tide_rocks_iter_new(shards->options.rocks,
		                         (struct tide_slice){ from.p, from.len },
		                         (struct tide_slice){ to.p, to.len });
	if (it == NULL)
		rc = fail_memory(err);
	while (rc == TIDE_OK && tide_rocks_iter_next(it, &key, &value))
		rc = open_one(shards, keyed, key, value, state, &bytes, err);
	int end = it != NULL ? tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL) : TIDE_OK;
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	tide_buf_fini(&bytes);
	free(state);
	return rc != TIDE_OK ? rc : end;
}
