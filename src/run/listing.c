/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of open sessions in RocksDB: 16 bytes for each, its start and its end, in
 * the order of time. */
#include "run/listing.h"

#include <stdlib.h>
#include <string.h>

#include "run/exchange.h"
#include "state/value.h"

enum { CHUNK = TIDE_SHARDS_CHUNK, TIME_SIZE = TIDE_KEY_TIME_SIZE, SPAN_SIZE = 16 };

/* A session in a list. */
struct span {
	int64_t start_us, end_us;
};

_Static_assert(sizeof(struct span) == SPAN_SIZE, "as it is stored");

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for sessions");
}

static int fail_damaged(const struct tide_shards *shards, int keyed, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "the sessions of a key of %s are damaged; run `tidemark checkpoint "
	                 "verify`",
	                 shards->options.plan->keyed[keyed].name);
}

/* ---- reading ---- */

static struct span span_at(struct tide_slice list, size_t i)
{
	struct span span;
	memcpy(&span, list.p + i * SPAN_SIZE, SPAN_SIZE);
	return span;
}

/* How many sessions a list has; 0: it is none. */
static size_t spans_of(struct tide_slice list)
{
	size_t count = list.len / SPAN_SIZE;
	if (list.len % SPAN_SIZE != 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		struct span span = span_at(list, i);
		if (span.start_us >= span.end_us ||
		    (i > 0 && span.start_us <= span_at(list, i - 1).end_us))
			return 0;
	}
	return count;
}

/* Their lists, in shards->values; the caller frees them. */
static int read_lists(struct tide_shards *shards, int keyed, const struct tide_listed *keys,
                      const uint32_t *which, size_t count, struct tide_error *err)
{
	size_t ends[CHUNK];
	tide_buf_clear(&shards->key_bytes);
	for (size_t i = 0; i < count; i++) {
		const struct tide_listed *key = &keys[which[i]];
		tide_state_key(&shards->key_bytes, shards->options.index_ops[keyed], key->shard,
		               key->key.p, key->key.len);
		ends[i] = shards->key_bytes.len;
	}
	if (shards->key_bytes.failed)
		return fail_memory(err);
	return tide_shards_read(shards, ends, count, err);
}

static int hold_one(struct tide_shards *shards, int keyed, struct tide_listed key,
                    struct tide_slice list, struct tide_error *err)
{
	struct tide_sessions *sessions = shards->slices[keyed].sessions;
	size_t count = spans_of(list);
	if (count == 0)
		return fail_damaged(shards, keyed, err);
	for (size_t i = 0; i < count; i++) {
		struct span span = span_at(list, i);
		struct tide_joined joined = { .start_us = span.start_us, .end_us = span.end_us };
		if (tide_sessions_put(sessions, key.shard, key.key.p, key.key.len, &joined) == NULL)
			return fail_memory(err);
	}
	return TIDE_OK;
}

int tide_listing_hold(struct tide_shards *shards, int keyed, const struct tide_listed *keys,
                      size_t count, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	size_t missing = 0;
	if (slice->complete)
		return TIDE_OK;
	for (size_t i = 0; i < count; i++)
		if (tide_sessions_of(slice->sessions, keys[i].key.p, keys[i].key.len) == NULL)
			shards->missing[missing++] = (uint32_t)i;
	if (missing == 0)
		return TIDE_OK;
	int rc = read_lists(shards, keyed, keys, shards->missing, missing, err);
	if (rc != TIDE_OK)
		return rc;
	for (size_t i = 0; rc == TIDE_OK && i < missing; i++)
		if (shards->values[i].p != NULL)
			rc = hold_one(shards, keyed, keys[shards->missing[i]], shards->values[i],
			              err);
	tide_shards_free_values(shards, missing);
	return rc;
}

/* ---- writing ---- */

/* An empty list is none. The key is in shards->key_bytes, and behind it the list. */
static int write_list(struct tide_shards *shards, size_t key_len, struct tide_writes *writes,
                      struct tide_error *err)
{
	const struct tide_buf *bytes = &shards->key_bytes;
	struct tide_slice key = { bytes->p, key_len };
	if (bytes->failed)
		return fail_memory(err);
	bool ok = bytes->len == key_len
	                  ? tide_writes_delete(writes, key)
	                  : tide_writes_put(writes, key,
	                                    (struct tide_slice){ bytes->p + key_len,
	                                                         bytes->len - key_len });
	return ok ? TIDE_OK : fail_memory(err);
}

int tide_listing_write(struct tide_shards *shards, int keyed, struct tide_listed key,
                       struct tide_writes *writes, struct tide_error *err)
{
	struct tide_buf *bytes = &shards->key_bytes;
	const struct tide_session *session =
		tide_sessions_of(shards->slices[keyed].sessions, key.key.p, key.key.len);
	tide_buf_clear(bytes);
	tide_state_key(bytes, shards->options.index_ops[keyed], key.shard, key.key.p, key.key.len);
	size_t key_len = bytes->len;
	for (; session != NULL; session = session->next) {
		struct span span = { session->start_us, session->end_us };
		tide_buf_put(bytes, &span, sizeof span);
	}
	return write_list(shards, key_len, writes, err);
}

int tide_listing_write_all(struct tide_shards *shards, int keyed, struct tide_writes *writes,
                           struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	const struct tide_session *first;
	size_t at = 0;
	int rc = TIDE_OK;
	while (rc == TIDE_OK && (first = tide_sessions_each(slice->sessions, &at)) != NULL)
		rc = tide_listing_write(
			shards, keyed,
			(struct tide_listed){ first->shard, { first->key, first->key_len } },
			writes, err);
	slice->unlisted = false;
	return rc;
}

static int close_one(struct tide_shards *shards, int keyed, struct tide_listed key,
                     struct tide_slice list, int64_t to_us, struct tide_writes *writes,
                     struct tide_error *err)
{
	struct tide_buf *bytes = &shards->key_bytes;
	size_t count = spans_of(list), over = 0;
	while (over < count && span_at(list, over).end_us <= to_us)
		over++;
	if (over == 0)
		return fail_damaged(shards, keyed, err);
	tide_buf_clear(bytes);
	tide_state_key(bytes, shards->options.index_ops[keyed], key.shard, key.key.p, key.key.len);
	size_t key_len = bytes->len;
	tide_buf_put(bytes, list.p + over * SPAN_SIZE, list.len - over * SPAN_SIZE);
	return write_list(shards, key_len, writes, err);
}

int tide_listing_close(struct tide_shards *shards, int keyed, const struct tide_listed *keys,
                       size_t count, int64_t to_us, struct tide_writes *writes,
                       struct tide_error *err)
{
	if (count == 0)
		return TIDE_OK;
	for (size_t i = 0; i < count; i++)
		shards->missing[i] = (uint32_t)i;
	int rc = read_lists(shards, keyed, keys, shards->missing, count, err);
	if (rc != TIDE_OK)
		return rc;
	for (size_t i = 0; rc == TIDE_OK && i < count; i++)
		rc = close_one(shards, keyed, keys[i], shards->values[i], to_us, writes, err);
	tide_shards_free_values(shards, count);
	return rc;
}

/* ---- memory ---- */

int tide_listing_evict(struct tide_slice_of *slice, size_t bytes_max, size_t coming,
                       struct tide_error *err)
{
	size_t used = tide_sessions_bytes(slice->sessions);
	int64_t first_us;
	if (slice->unlisted || used + coming <= bytes_max || used <= bytes_max / 2)
		return TIDE_OK;
	if (!tide_sessions_evict(slice->sessions,
	                         coming < bytes_max / 4 ? bytes_max / 4 * 3 : bytes_max / 2,
	                         &first_us))
		return fail_memory(err);
	if (first_us == INT64_MAX)
		return TIDE_OK;
	slice->complete = false;
	if (first_us < slice->stored_us)
		slice->stored_us = first_us;
	return TIDE_OK;
}

/* ---- the start ---- */

/* A state of a checkpoint without lists. */
static int open_one(struct tide_shards *shards, int keyed, struct tide_slice key,
                    struct tide_slice value, char *state, struct tide_buf *bytes,
                    struct tide_error *err)
{
	const struct tide_shards_options *options = &shards->options;
	struct tide_slice_of *slice = &shards->slices[keyed];
	struct tide_joined joined = { 0 };
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
	/* The state's first field, in front of those of the aggregates. */
	memcpy(&joined.start_us, state, sizeof joined.start_us);
	joined.end_us = tide_key_time(bytes->p);
	if (joined.start_us >= joined.end_us)
		return fail_damaged(shards, keyed, err);
	return tide_sessions_put(slice->sessions, shard, bytes->p + TIME_SIZE,
	                         bytes->len - TIME_SIZE, &joined) != NULL
	               ? TIDE_OK
	               : fail_memory(err);
}

static int hold_all(struct tide_shards *shards, int keyed, int64_t from_us, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	struct tide_state_op op = shards->options.ops[keyed];
	struct tide_buf from = { 0 }, to = { 0 }, ignored = { 0 }, bytes = { 0 };
	struct tide_rocks_iter *it = NULL;
	struct tide_slice key, value;
	char *state = malloc(slice->value_size);
	int rc = TIDE_OK;
	tide_state_range(&ignored, &to, op);
	tide_state_end(&from, op, from_us);
	if (state != NULL && !from.failed && !to.failed)
		it = tide_rocks_iter_new(shards->options.rocks,
		                         (struct tide_slice){ from.p, from.len },
		                         (struct tide_slice){ to.p, to.len });
	if (it == NULL)
		rc = fail_memory(err);
	while (rc == TIDE_OK && tide_rocks_iter_next(it, &key, &value))
		rc = open_one(shards, keyed, key, value, state, &bytes, err);
	int end = it != NULL ? tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL) : TIDE_OK;
	tide_buf_fini(&ignored);
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	tide_buf_fini(&bytes);
	free(state);
	return rc != TIDE_OK ? rc : end;
}

static int any_list(const struct tide_shards *shards, int keyed, bool *found,
                    struct tide_error *err)
{
	struct tide_buf from = { 0 }, to = { 0 };
	struct tide_slice key, value;
	struct tide_rocks_iter *it = NULL;
	tide_state_range(&from, &to, shards->options.index_ops[keyed]);
	if (!from.failed && !to.failed)
		it = tide_rocks_iter_new(shards->options.rocks,
		                         (struct tide_slice){ from.p, from.len },
		                         (struct tide_slice){ to.p, to.len });
	*found = it != NULL && tide_rocks_iter_next(it, &key, &value);
	int rc = it != NULL ? tide_rocks_iter_end(it, err) : fail_memory(err);
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	return rc;
}

int tide_listing_open(struct tide_shards *shards, int keyed, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	bool closes = tide_plan_closes(&shards->options.plan->keyed[keyed]), listed;
	int64_t from_us =
		closes && slice->closed_us != INT64_MIN ? slice->closed_us + 1 : INT64_MIN;
	int rc = tide_closing_stored(shards, keyed, from_us, &slice->stored_us, err);
	slice->complete = slice->stored_us == INT64_MAX;
	if (rc != TIDE_OK || slice->complete)
		return rc;
	rc = any_list(shards, keyed, &listed, err);
	if (rc != TIDE_OK || listed)
		return rc;
	slice->complete = slice->unlisted = true;
	slice->stored_us = INT64_MAX;
	return hold_all(shards, keyed, from_us, err);
}
