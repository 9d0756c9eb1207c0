/* SPDX-License-Identifier: Apache-2.0 */
/* Ending sessions: out when the watermark has passed their ends.
 *
 * Joining comes before: a session that the watermark has passed and that has not
 * been put out may still be extended, by a row that is not late. What an epoch has
 * changed ends behind its watermark, so what ends is decided, clean and the same in
 * memory and in RocksDB. Where the index holds all of it, it says what ends, else
 * RocksDB does, which has the states in the order of their ends. */
#include <stdlib.h>
#include <string.h>

#include "run/exchange.h"
#include "run/joining.h"
#include "run/listing.h"
#include "state/value.h"

enum { CHUNK = TIDE_SHARDS_CHUNK, TIME_SIZE = TIDE_KEY_TIME_SIZE, STATES_BYTES = 4 << 20 };

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory to end sessions");
}

/* Sessions that leave together. */
struct ending {
	struct tide_shards *shards;
	int keyed;
	const bool *append_outputs;
	bool rows; /* for any of them */
	int64_t to_us;
	struct tide_writes *writes;
	struct tide_session **list;
	size_t count, capacity, ended;
	struct tide_entry *entries[CHUNK];
	struct tide_listed unheld[CHUNK]; /* keys that the index does not hold */
	size_t unheld_count;
	char *states; /* room for those that memory does not hold */
	size_t room;  /* how many that are */
};

/* ---- a chunk leaves ---- */

/* Addresses of their states. */
static int find_states(struct ending *ending, struct tide_session *const *list, size_t count,
                       struct tide_error *err)
{
	struct tide_shards *shards = ending->shards;
	size_t size = shards->slices[ending->keyed].value_size, missing_count;
	if (!tide_joining_find(shards, ending->keyed, list, count, ending->entries, &missing_count))
		return fail_memory(err);
	if (!ending->rows)
		return TIDE_OK;
	for (size_t i = 0; i < count; i++)
		if (ending->entries[i] != NULL)
			shards->states[i] =
				(uint64_t)(uintptr_t)tide_entry_state(ending->entries[i]);
	int rc =
		tide_joining_read(shards, ending->keyed, list, shards->missing, missing_count, err);
	if (rc != TIDE_OK)
		return rc;
	for (size_t i = 0; i < missing_count; i++) {
		char *state = ending->states + i * size;
		if (shards->values[i].p == NULL ||
		    !tide_value_decode(shards->values[i], state, size))
			rc = tide_joining_damaged(shards, ending->keyed, err);
		shards->states[shards->missing[i]] = (uint64_t)(uintptr_t)state;
	}
	tide_shards_free_values(shards, missing_count);
	return rc;
}

/* The cells of their keys. */
static int decode_keys(struct ending *ending, struct tide_session *const *list, size_t count,
                       struct tide_error *err)
{
	struct tide_shards *shards = ending->shards;
	const struct tide_keyspec *spec = &shards->options.specs[ending->keyed];
	size_t ends[CHUNK];
	tide_buf_clear(&shards->key_bytes);
	for (size_t i = 0; i < count; i++) {
		tide_joining_key(&shards->key_bytes, list[i]->end_us, list[i]->key,
		                 list[i]->key_len);
		ends[i] = shards->key_bytes.len;
	}
	if (shards->key_bytes.failed)
		return fail_memory(err);
	for (size_t i = 0, at = 0; i < count; at = ends[i++])
		if (!tide_key_decode(spec, shards->key_bytes.p + at, ends[i] - at,
		                     shards->cells + i * (size_t)spec->count))
			return tide_joining_damaged(shards, ending->keyed, err);
	return TIDE_OK;
}

/* Their rows for one output, a segment for each end. */
static int emit(struct ending *ending, int output, struct tide_session *const *list, size_t count,
                struct tide_error *err)
{
	struct tide_shards *shards = ending->shards;
	int parts = shards->options.specs[ending->keyed].count, rc = TIDE_OK;
	for (size_t at = 0, end; rc == TIDE_OK && at < count; at = end) {
		for (end = at + 1; end < count; end++)
			if (list[end]->end_us != list[at]->end_us)
				break;
		rc = tide_vm_finish(shards->options.vm, ending->keyed, output,
		                    shards->cells + at * (size_t)parts, parts, shards->states + at,
		                    end - at, err);
		if (rc == TIDE_OK)
			rc = tide_shards_segment(shards, output, list[at]->end_us, err);
	}
	return rc;
}

static int emit_all(struct ending *ending, struct tide_session *const *list, size_t count,
                    struct tide_error *err)
{
	const struct tide_plan *plan = ending->shards->options.plan;
	int rc = ending->rows ? decode_keys(ending, list, count, err) : TIDE_OK;
	for (int o = 0; rc == TIDE_OK && ending->rows && o < plan->output_count; o++)
		if (plan->outputs[o].keyed == ending->keyed && ending->append_outputs[o])
			rc = emit(ending, o, list, count, err);
	return rc;
}

/* Their states, from memory. */
static void forget(struct ending *ending, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ending->entries[i] != NULL)
			tide_table_remove(ending->shards->slices[ending->keyed].table,
			                  ending->entries[i]);
	ending->ended += count;
}

static struct tide_listed listed_of(const struct tide_session *session)
{
	return (struct tide_listed){ session->shard, { session->key, session->key_len } };
}

/* ---- from the index ---- */

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

/* Everything that has ended by then, in the order in which it leaves. */
static bool take_ended(struct ending *ending, struct tide_sessions *sessions)
{
	while (tide_sessions_first_end(sessions) <= ending->to_us) {
		if (ending->count == ending->capacity) {
			size_t capacity = ending->capacity * 2 + 64;
			void *grown = realloc(ending->list, capacity * sizeof *ending->list);
			if (grown == NULL)
				return false;
			ending->list = grown;
			ending->capacity = capacity;
		}
		ending->list[ending->count++] = tide_sessions_pop(sessions);
	}
	if (ending->count > 1)
		qsort(ending->list, ending->count, sizeof(struct tide_session *),
		      by_end_shard_and_key);
	return true;
}

static int end_held(struct ending *ending, struct tide_error *err)
{
	struct tide_shards *shards = ending->shards;
	int rc = take_ended(ending, shards->slices[ending->keyed].sessions) ? TIDE_OK
	                                                                    : fail_memory(err);
	for (size_t at = 0, some; rc == TIDE_OK && at < ending->count; at += some) {
		struct tide_session *const *list = ending->list + at;
		some = ending->count - at < ending->room ? ending->count - at : ending->room;
		rc = find_states(ending, list, some, err);
		if (rc == TIDE_OK)
			rc = emit_all(ending, list, some, err);
		if (rc == TIDE_OK)
			forget(ending, some);
		for (size_t i = 0; rc == TIDE_OK && i < some; i++)
			rc = tide_listing_write(shards, ending->keyed, listed_of(list[i]),
			                        ending->writes, err);
	}
	return rc;
}

/* ---- from RocksDB ---- */

static void list_free(struct ending *ending)
{
	for (size_t i = 0; i < ending->count; i++)
		free(ending->list[i]);
	ending->count = 0;
}

/* What has been read leaves. */
static int end_read(struct ending *ending, struct tide_error *err)
{
	struct tide_shards *shards = ending->shards;
	size_t size = shards->slices[ending->keyed].value_size, missing_count;
	if (!tide_joining_find(shards, ending->keyed, ending->list, ending->count, ending->entries,
	                       &missing_count))
		return fail_memory(err);
	for (size_t i = 0; i < ending->count; i++)
		shards->states[i] = (uint64_t)(uintptr_t)(ending->states + i * size);
	int rc = emit_all(ending, ending->list, ending->count, err);
	if (rc == TIDE_OK)
		rc = tide_listing_close(shards, ending->keyed, ending->unheld, ending->unheld_count,
		                        ending->to_us, ending->writes, err);
	if (rc == TIDE_OK)
		forget(ending, ending->count);
	ending->unheld_count = 0;
	list_free(ending);
	return rc;
}

/* A session of a key that the index holds is open still if the index has it: this
 * epoch may have joined it. */
static struct tide_session *find_end(struct tide_session *session, int64_t end_us)
{
	while (session != NULL && session->end_us != end_us)
		session = session->next;
	return session;
}

/* It is the last of the list now, and its state is where that is. */
static int take_read(struct ending *ending, struct tide_session *read, struct tide_error *err)
{
	struct tide_shards *shards = ending->shards;
	struct tide_sessions *sessions = shards->slices[ending->keyed].sessions;
	struct tide_session *first = tide_sessions_of(sessions, read->key, read->key_len);
	if (first == NULL) {
		ending->list[ending->count++] = read;
		ending->unheld[ending->unheld_count++] = listed_of(read);
		return TIDE_OK;
	}
	struct tide_session *held = find_end(first, read->end_us);
	if (held == NULL) {
		free(read);
		return TIDE_OK;
	}
	ending->list[ending->count++] = read;
	tide_sessions_take(sessions, held);
	return tide_listing_write(shards, ending->keyed, listed_of(read), ending->writes, err);
}

static int read_one(struct ending *ending, struct tide_slice key, struct tide_slice value,
                    struct tide_buf *bytes, struct tide_error *err)
{
	struct tide_shards *shards = ending->shards;
	const struct tide_shards_options *options = &shards->options;
	size_t size = shards->slices[ending->keyed].value_size;
	uint32_t shard;
	tide_buf_clear(bytes);
	if (!tide_state_split(key, options->ops[ending->keyed], &shard, bytes))
		return tide_joining_damaged(shards, ending->keyed, err);
	if (bytes->failed)
		return fail_memory(err);
	if (tide_exchange_owner(shard, options->workers) != options->index)
		return TIDE_OK;
	if (!tide_value_decode(value, ending->states + ending->count * size, size))
		return tide_joining_damaged(shards, ending->keyed, err);
	size_t key_len = bytes->len - TIME_SIZE;
	struct tide_session *read = calloc(1, sizeof *read + key_len);
	if (read == NULL)
		return fail_memory(err);
	read->end_us = tide_key_time(bytes->p);
	read->shard = shard;
	read->key_len = (uint32_t)key_len;
	memcpy(read->key, bytes->p + TIME_SIZE, key_len);
	int rc = take_read(ending, read, err);
	return rc == TIDE_OK && ending->count == ending->room ? end_read(ending, err) : rc;
}

static int end_stored(struct ending *ending, int64_t after_us, struct tide_error *err)
{
	struct tide_shards *shards = ending->shards;
	struct tide_buf from = { 0 }, to = { 0 }, bytes = { 0 };
	struct tide_rocks_iter *it = NULL;
	struct tide_slice key, value;
	int rc = TIDE_OK;
	ending->list = malloc(ending->room * sizeof(struct tide_session *));
	tide_state_end(&from, shards->options.ops[ending->keyed], after_us + 1);
	tide_state_end(&to, shards->options.ops[ending->keyed], ending->to_us + 1);
	if (ending->list != NULL && !from.failed && !to.failed)
		it = tide_rocks_iter_new(shards->options.rocks,
		                         (struct tide_slice){ from.p, from.len },
		                         (struct tide_slice){ to.p, to.len });
	if (it == NULL)
		rc = fail_memory(err);
	while (rc == TIDE_OK && tide_rocks_iter_next(it, &key, &value))
		rc = read_one(ending, key, value, &bytes, err);
	int end = it != NULL ? tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL) : TIDE_OK;
	if (rc == TIDE_OK)
		rc = end;
	if (rc == TIDE_OK)
		rc = end_read(ending, err);
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	tide_buf_fini(&bytes);
	/* What the index holds and has ended is stored, so it was read. */
	if (rc == TIDE_OK &&
	    tide_sessions_first_end(shards->slices[ending->keyed].sessions) <= ending->to_us)
		rc = tide_joining_damaged(shards, ending->keyed, err);
	return rc;
}

/* ---- all that ends ---- */

static int end_slice(struct ending *ending, struct tide_error *err)
{
	struct tide_shards *shards = ending->shards;
	struct tide_slice_of *slice = &shards->slices[ending->keyed];
	bool stored = slice->stored_us <= ending->to_us;
	ending->rows = tide_closing_appends(shards, ending->keyed, ending->append_outputs);
	ending->room = STATES_BYTES / slice->value_size + 1;
	if (ending->room > CHUNK)
		ending->room = CHUNK;
	ending->states = malloc(ending->room * slice->value_size);
	if (ending->states == NULL)
		return fail_memory(err);
	int rc = stored ? end_stored(ending, slice->closed_us, err) : end_held(ending, err);
	slice->closed_some = ending->ended > 0;
	slice->gone += ending->ended;
	if (rc == TIDE_OK && stored)
		rc = tide_closing_stored(shards, ending->keyed, ending->to_us + 1,
		                         &slice->stored_us, err);
	return rc;
}

static int end_some(struct tide_shards *shards, int keyed, const bool *append_outputs,
                    int64_t to_us, struct tide_writes *writes, struct tide_error *err)
{
	struct ending *ending = calloc(1, sizeof *ending);
	if (ending == NULL)
		return fail_memory(err);
	ending->shards = shards;
	ending->keyed = keyed;
	ending->append_outputs = append_outputs;
	ending->to_us = to_us;
	ending->writes = writes;
	int rc = end_slice(ending, err);
	list_free(ending);
	free(ending->list);
	free(ending->states);
	free(ending);
	return rc;
}

int tide_shards_end_sessions(struct tide_shards *shards, const bool *append_outputs,
                             struct tide_writes *writes, struct tide_error *err)
{
	const struct tide_plan *plan = shards->options.plan;
	int rc = TIDE_OK;
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++) {
		struct tide_slice_of *slice = &shards->slices[k];
		if (!plan->keyed[k].session)
			continue;
		if (tide_plan_closes(&plan->keyed[k])) {
			int64_t to_us = shards->watermarks_us[plan->keyed[k].mark];
			slice->closed_some = false;
			if (to_us > slice->closed_us && tide_shards_first_end(shards, k) <= to_us)
				rc = end_some(shards, k, append_outputs, to_us, writes, err);
			slice->closed_us = to_us;
		}
		if (rc == TIDE_OK && slice->unlisted)
			rc = tide_listing_write_all(shards, k, writes, err);
	}
	return rc;
}
