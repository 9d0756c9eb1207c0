/* SPDX-License-Identifier: Apache-2.0 */
/* Answering claims: which of the rows that wait are the first of their key
 * within the time, or its newest, and forgetting keys whose time is over.
 *
 * Rows are looked at in the order of their partitions and offsets, whoever read
 * them, so the answer depends on no worker. A key is decided by event time
 * against what is stored, never by being there: when it is forgotten shows
 * nowhere but in memory. In RocksDB an index by time, rounded up, says what may
 * be over. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/order.h"
#include "checkpoint/until.h"
#include "run/claims.h"
#include "run/exchange.h"
#include "run/shards_inside.h"
#include "state/value.h"

enum { CHUNK = TIDE_SHARDS_CHUNK, GRAINS = 64, AHEAD = 32 };

/* What is stored of a key. */
struct first {
	int64_t until_us; /* rows before it are repeats */
};

struct latest {
	int64_t time_us, offset;
	uint64_t winner; /* of the running epoch: its claim's address; not stored */
};

_Static_assert(sizeof(struct first) == 8 && sizeof(struct latest) == 24, "as plan_write says");

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for what waits");
}

static int64_t until_of(const struct tide_plan_keyed *keyed, const void *state)
{
	return keyed->latest ? ((const struct latest *)state)->time_us + keyed->within_us
	                     : ((const struct first *)state)->until_us;
}

/* Rounded up, so that many keys end together. */
static int64_t end_of(const struct tide_plan_keyed *keyed, int64_t until_us)
{
	int64_t grain = keyed->within_us / GRAINS + 1, into = until_us % grain;
	return until_us - into + (into > 0 ? grain : 0);
}

static int hang(const struct tide_plan_keyed *keyed, struct tide_slice_of *slice,
                struct tide_entry *entry, struct tide_error *err)
{
	return tide_ends_add(slice->ends, end_of(keyed, until_of(keyed, tide_entry_state(entry))),
	                     entry)
	               ? TIDE_OK
	               : fail_memory(err);
}

int tide_claiming_moved(struct tide_shards *shards, int keyed, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	uint64_t at = 0;
	int rc = TIDE_OK;
	struct tide_entry *entry;
	tide_ends_clear(slice->ends);
	while (rc == TIDE_OK && (entry = tide_table_each(slice->table, &at)) != NULL)
		rc = hang(&shards->options.plan->keyed[keyed], slice, entry, err);
	return rc;
}

/* ---- answers ---- */

/* Whether the row goes on; the state then knows of it. */
static bool passes(const struct tide_plan_keyed *keyed, struct tide_entry *entry, bool fresh,
                   struct tide_claim *claim)
{
	if (!keyed->latest) {
		struct first *first = tide_entry_state(entry);
		if (!fresh && claim->time_us < first->until_us)
			return false;
		first->until_us = claim->time_us + keyed->within_us;
		return true;
	}
	struct latest *latest = tide_entry_state(entry);
	if (!fresh && (claim->time_us < latest->time_us ||
	               (claim->time_us == latest->time_us && claim->offset <= latest->offset)))
		return false;
	/* Only the newest of the epoch leaves it. */
	struct tide_claim *winner = (struct tide_claim *)(uintptr_t)latest->winner;
	if (winner != NULL)
		winner->passes = false;
	*latest = (struct latest){ claim->time_us, claim->offset, (uintptr_t)claim };
	return true;
}

static int answer(struct tide_shards *shards, int keyed, struct tide_claim *claim, const char *key,
                  struct tide_slice stored, struct tide_error *err)
{
	const struct tide_plan_keyed *plan = &shards->options.plan->keyed[keyed];
	struct tide_slice_of *slice = &shards->slices[keyed];
	struct tide_entry *entry = tide_table_find(slice->table, key, claim->key_len);
	bool made = entry == NULL, fresh = made && stored.p == NULL;
	if (made) {
		entry = tide_table_put(slice->table, key, claim->key_len);
		if (entry == NULL)
			return fail_memory(err);
		if (stored.p != NULL &&
		    !tide_value_decode(stored, tide_entry_state(entry), slice->value_size))
			return tide_value_fail(plan->name, stored, slice->value_size, err);
	}
	slice->made += fresh;
	claim->passes = passes(plan, entry, fresh, claim);
	if (claim->passes && !tide_shards_dirty(slice, entry))
		return fail_memory(err);
	return made ? hang(plan, slice, entry, err) : TIDE_OK;
}

/* What RocksDB has of the keys that memory does not hold. */
static int look_up(struct tide_shards *shards, int keyed, const struct tide_claim *claims,
                   const char *keys, size_t count, struct tide_slice *stored,
                   struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	size_t ends[CHUNK], missing = 0;
	memset(stored, 0, count * sizeof *stored);
	if (slice->complete)
		return TIDE_OK;
	tide_buf_clear(&shards->key_bytes);
	for (size_t i = 0; i < count; i++) {
		const struct tide_claim *claim = &claims[i];
		const char *key = keys + claim->key_at;
		if (tide_table_find(slice->table, key, claim->key_len) != NULL)
			continue;
		tide_state_key(&shards->key_bytes, shards->options.ops[keyed], claim->shard, key,
		               claim->key_len);
		ends[missing] = shards->key_bytes.len;
		shards->missing[missing++] = (uint32_t)i;
	}
	if (shards->key_bytes.failed)
		return fail_memory(err);
	int rc = tide_shards_read(shards, ends, missing, err);
	for (size_t i = 0; rc == TIDE_OK && i < missing; i++)
		stored[shards->missing[i]] = shards->values[i];
	return rc;
}

static void expect(const struct tide_table *table, const struct tide_claim *claims, size_t count,
                   const char *keys)
{
	struct tide_slice expected[AHEAD];
	for (size_t i = 0; i < count; i++)
		expected[i] = (struct tide_slice){ keys + claims[i].key_at, claims[i].key_len };
	tide_table_expect(table, expected, count);
}

int tide_shards_claim(struct tide_shards *shards, int keyed, struct tide_claims *claims,
                      struct tide_error *err)
{
	size_t count;
	struct tide_claim *list = tide_claims_of(claims, shards->options.index, &count);
	const char *keys = tide_claims_keys(claims);
	struct tide_slice stored[CHUNK];
	int rc = TIDE_OK;
	for (size_t at = 0; rc == TIDE_OK && at < count; at += CHUNK) {
		size_t some = count - at < CHUNK ? count - at : CHUNK;
		rc = look_up(shards, keyed, list + at, keys, some, stored, err);
		for (size_t i = 0; rc == TIDE_OK && i < some; i++) {
			if (i % AHEAD == 0)
				expect(shards->slices[keyed].table, list + at + i,
				       some - i < AHEAD ? some - i : AHEAD, keys);
			rc = answer(shards, keyed, &list[at + i], keys + list[at + i].key_at,
			            stored[i], err);
		}
		for (size_t i = 0; i < some; i++)
			free((void *)(uintptr_t)stored[i].p);
	}
	return rc;
}

/* ---- writing ---- */

/* Keys that end together and are of one shard, as lists. */
static bool write_lists(struct tide_shards *shards, int keyed, const struct tide_order_item *items,
                        size_t count, struct tide_buf *key, struct tide_writes *writes)
{
	enum { LIST_BYTES_MAX = 32 << 10 };
	const struct tide_table *table = shards->slices[keyed].table;
	struct tide_buf *list = &shards->key_bytes;
	uint32_t number = 0;
	bool ok = true;
	tide_buf_clear(list);
	for (size_t i = 0; ok && i < count; i++) {
		const struct tide_entry *entry = items[i].what;
		if (i + AHEAD < count)
			__builtin_prefetch(items[i + AHEAD].what);
		tide_until_add(list, tide_entry_key(table, entry), entry->key_len);
		if (i + 1 < count && list->len < LIST_BYTES_MAX)
			continue;
		tide_buf_clear(key);
		tide_until_key(key, shards->options.index_ops[keyed], (int64_t)items[i].major,
		               entry->shard, shards->epoch, number++);
		ok = !key->failed && !list->failed &&
		     tide_writes_put(writes, (struct tide_slice){ key->p, key->len },
		                     (struct tide_slice){ list->p, list->len });
		tide_buf_clear(list);
	}
	return ok;
}

/* Keys that come once and not again before they end. */
static bool write_firsts(struct tide_shards *shards, int keyed, struct tide_writes *writes)
{
	const struct tide_plan_keyed *plan = &shards->options.plan->keyed[keyed];
	const struct tide_slice_of *slice = &shards->slices[keyed];
	size_t count = slice->dirty_count;
	struct tide_buf key = { 0 };
	struct tide_order_item *items = malloc((count + 1) * sizeof *items);
	if (items == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		struct tide_entry *entry = slice->dirty[i];
		if (i + AHEAD < count)
			__builtin_prefetch(slice->dirty[i + AHEAD]);
		uint64_t end = (uint64_t)end_of(plan, until_of(plan, tide_entry_state(entry)));
		items[i] = (struct tide_order_item){ end, entry->shard, entry };
	}
	bool ok = tide_order_sort(items, count, NULL, NULL);
	for (size_t at = 0, end; ok && at < count; at = end) {
		for (end = at + 1; end < count; end++)
			if (items[end].major != items[at].major ||
			    items[end].minor != items[at].minor)
				break;
		ok = write_lists(shards, keyed, items + at, end - at, &key, writes);
	}
	free(items);
	tide_buf_fini(&key);
	return ok;
}

/* Keys that are renewed all the time: alone, a key that ends as it did before is where
 * it was, in place of being in two lists. */
static bool write_latest(struct tide_shards *shards, int keyed, struct tide_writes *writes)
{
	const struct tide_plan_keyed *plan = &shards->options.plan->keyed[keyed];
	struct tide_slice_of *slice = &shards->slices[keyed];
	struct tide_buf *key = &shards->key_bytes;
	bool ok = true;
	for (size_t i = 0; ok && i < slice->dirty_count; i++) {
		struct tide_entry *entry = slice->dirty[i];
		((struct latest *)tide_entry_state(entry))->winner = 0;
		tide_buf_clear(key);
		tide_until_alone(key, shards->options.index_ops[keyed],
		                 end_of(plan, until_of(plan, tide_entry_state(entry))),
		                 entry->shard, tide_entry_key(slice->table, entry), entry->key_len);
		ok = !key->failed &&
		     tide_writes_put(writes, (struct tide_slice){ key->p, key->len },
		                     (struct tide_slice){ "", 0 });
	}
	return ok;
}

int tide_claiming_write(struct tide_shards *shards, int keyed, struct tide_writes *writes,
                        struct tide_error *err)
{
	bool latest = shards->options.plan->keyed[keyed].latest;
	bool ok =
		latest ? write_latest(shards, keyed, writes) : write_firsts(shards, keyed, writes);
	return ok ? TIDE_OK : fail_memory(err);
}

/* ---- forgetting ---- */

static int forget_key(struct tide_shards *shards, int keyed, uint32_t shard, const char *key,
                      size_t len, struct tide_writes *writes, struct tide_error *err)
{
	tide_buf_clear(&shards->key_bytes);
	tide_state_key(&shards->key_bytes, shards->options.ops[keyed], shard, key, len);
	struct tide_slice stored = { shards->key_bytes.p, shards->key_bytes.len };
	return !shards->key_bytes.failed && tide_writes_delete(writes, stored) ? TIDE_OK
	                                                                       : fail_memory(err);
}

/* Keys in memory whose end has come; those that were renewed hang on. */
static int forget_held(struct tide_shards *shards, int keyed, int64_t to_us,
                       struct tide_writes *writes, struct tide_error *err)
{
	const struct tide_plan_keyed *plan = &shards->options.plan->keyed[keyed];
	struct tide_slice_of *slice = &shards->slices[keyed];
	int rc = TIDE_OK;
	while (rc == TIDE_OK && tide_ends_first(slice->ends) <= to_us) {
		struct tide_entry *at = tide_ends_pop(slice->ends), *next;
		for (; rc == TIDE_OK && at != NULL; at = next) {
			next = tide_ends_next(slice->ends, at);
			if (end_of(plan, until_of(plan, tide_entry_state(at))) > to_us) {
				rc = hang(plan, slice, at, err);
				continue;
			}
			rc = forget_key(shards, keyed, at->shard, tide_entry_key(slice->table, at),
			                at->key_len, writes, err);
			tide_table_remove(slice->table, at);
			slice->gone++;
		}
	}
	return rc;
}

/* Keys of the index that memory does not hold, until they are a chunk. */
struct over {
	struct tide_shards *shards;
	int keyed;
	struct tide_writes *writes;
	size_t count, ends[CHUNK]; /* of their keys in RocksDB, in shards->key_bytes */
	int64_t ends_us[CHUNK];
};

static int fail_list(const struct over *over, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "a list of keys of %s is damaged; run `tidemark checkpoint verify`",
	                 over->shards->options.plan->keyed[over->keyed].name);
}

/* When a key ends by its state; one that has gone already, before everything. */
static int stored_end(const struct over *over, struct tide_slice stored, int64_t *end_us,
                      struct tide_error *err)
{
	const struct tide_plan_keyed *plan = &over->shards->options.plan->keyed[over->keyed];
	size_t size = over->shards->slices[over->keyed].value_size;
	union {
		struct first first;
		struct latest latest;
	} state;
	*end_us = INT64_MIN;
	if (stored.p == NULL)
		return TIDE_OK;
	if (!tide_value_decode(stored, (char *)&state, size))
		return tide_value_fail(plan->name, stored, size, err);
	*end_us = end_of(plan, until_of(plan, &state));
	return TIDE_OK;
}

/* All of them, but for those that were renewed: these are in the index once more, and
 * only that place counts. */
static int forget_stored(struct over *over, struct tide_error *err)
{
	struct tide_shards *shards = over->shards;
	size_t count = over->count;
	if (shards->key_bytes.failed)
		return fail_memory(err);
	int rc = tide_shards_read(shards, over->ends, count, err);
	if (rc != TIDE_OK)
		return rc;
	for (size_t i = 0; rc == TIDE_OK && i < count; i++) {
		int64_t end_us;
		rc = stored_end(over, shards->values[i], &end_us, err);
		if (rc != TIDE_OK || end_us != over->ends_us[i])
			continue;
		if (!tide_writes_delete(over->writes, shards->keys[i]))
			rc = fail_memory(err);
		shards->slices[over->keyed].gone++;
	}
	tide_shards_free_values(shards, count);
	tide_buf_clear(&shards->key_bytes);
	over->count = 0;
	return rc;
}

static int take_key(struct over *over, const struct tide_until *until, struct tide_slice key,
                    struct tide_error *err)
{
	struct tide_shards *shards = over->shards;
	if (tide_table_find(shards->slices[over->keyed].table, key.p, (uint32_t)key.len) != NULL)
		return TIDE_OK;
	tide_state_key(&shards->key_bytes, shards->options.ops[over->keyed], until->shard, key.p,
	               key.len);
	over->ends[over->count] = shards->key_bytes.len;
	over->ends_us[over->count++] = until->end_us;
	return over->count < CHUNK ? TIDE_OK : forget_stored(over, err);
}

/* Each list is in the order of its keys, so that a chunk lies together. */
static int take_list(struct over *over, struct tide_slice key, struct tide_slice value,
                     struct tide_error *err)
{
	const struct tide_shards_options *options = &over->shards->options;
	struct tide_until until;
	struct tide_slice one;
	int rc = TIDE_OK;
	if (!tide_until_open(&until, key, value))
		return fail_list(over, err);
	if (tide_exchange_owner(until.shard, options->workers) != options->index)
		return TIDE_OK;
	while (rc == TIDE_OK && tide_until_next(&until, &one))
		rc = take_key(over, &until, one, err);
	return rc == TIDE_OK && until.left.failed ? fail_list(over, err) : rc;
}

static int scan_index(struct tide_shards *shards, int keyed, struct tide_slice from,
                      struct tide_slice to, struct tide_writes *writes, struct tide_error *err)
{
	struct over over = { .shards = shards, .keyed = keyed, .writes = writes };
	struct tide_slice key, value;
	int rc = TIDE_OK;
	struct tide_rocks_iter *it = tide_rocks_iter_new(shards->options.rocks, from, to);
	if (it == NULL)
		return fail_memory(err);
	tide_buf_clear(&shards->key_bytes);
	while (rc == TIDE_OK && tide_rocks_iter_next(it, &key, &value))
		rc = take_list(&over, key, value, err);
	if (rc == TIDE_OK)
		rc = forget_stored(&over, err);
	int end = tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL);
	return rc != TIDE_OK ? rc : end;
}

int tide_claiming_forget(struct tide_shards *shards, int keyed, int64_t to_us,
                         struct tide_writes *writes, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	struct tide_buf from = { 0 }, to = { 0 };
	if (to_us <= slice->closed_us)
		return TIDE_OK;
	tide_state_end(&from, shards->options.index_ops[keyed],
	               slice->closed_us == INT64_MIN ? INT64_MIN : slice->closed_us + 1);
	tide_state_end(&to, shards->options.index_ops[keyed], to_us + 1);
	struct tide_slice first = { from.p, from.len }, last = { to.p, to.len };
	int rc = from.failed || to.failed ? fail_memory(err) : TIDE_OK;
	if (rc == TIDE_OK && !slice->complete)
		rc = scan_index(shards, keyed, first, last, writes, err);
	if (rc == TIDE_OK)
		rc = forget_held(shards, keyed, to_us, writes, err);
	/* All owners have read it by now: it is the decided one. */
	if (rc == TIDE_OK && shards->options.index == 0 && !tide_writes_drop(writes, last))
		rc = fail_memory(err);
	slice->closed_us = to_us;
	if (rc == TIDE_OK && slice->stored_us <= to_us)
		rc = tide_closing_stored(shards, keyed, to_us + 1, &slice->stored_us, err);
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	return rc;
}
