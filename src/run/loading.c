/* SPDX-License-Identifier: Apache-2.0 */
/* All states of an operator into memory, shard by shard, where they fit. */
#include "run/loading.h"

#include "run/exchange.h"
#include "state/value.h"

enum {
	AHEAD = 64,
	RATIO = 16,   /* look-ups are worth loading so many times as many states in all … */
	RATIO_NOW = 8 /* … of which so many times as many take twice as long, and may now */
};

/* Read, and not in the table yet. */
struct batch {
	struct tide_buf bytes;
	size_t count;
	uint32_t shards[AHEAD];
	size_t keys[AHEAD], values[AHEAD], ends[AHEAD]; /* where they begin in `bytes` */
};

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for state");
}

void tide_loading_init(struct tide_shards *shards, int keyed, const struct tide_meta *meta)
{
	const struct tide_shards_options *options = &shards->options;
	struct tide_slice_of *slice = &shards->slices[keyed];
	const struct tide_state_count *count =
		meta != NULL ? tide_meta_state(meta, options->plan->keyed[keyed].name) : NULL;
	slice->stored = count != NULL ? count->rows / (uint64_t)options->workers : UINT64_MAX;
	slice->ratio = RATIO;
}

/* The shards of an owner are one behind the other: [*first, *end). */
static void own_shards(const struct tide_shards *shards, uint32_t *first, uint32_t *end)
{
	const struct tide_shards_options *options = &shards->options;
	*first = 0;
	while (*first < TIDE_SHARDS &&
	       tide_exchange_owner(*first, options->workers) < options->index)
		++*first;
	*end = *first;
	while (*end < TIDE_SHARDS && tide_exchange_owner(*end, options->workers) == options->index)
		++*end;
}

static bool pays(const struct tide_shards *shards, int keyed, uint64_t more,
                 const struct tide_table *delta)
{
	const struct tide_slice_of *slice = &shards->slices[keyed];
	/* Of windows and sessions only the open ones are wanted, and of a dedup most keys
	 * are new. */
	if (slice->ends != NULL || slice->sessions != NULL || slice->stored == UINT64_MAX)
		return false;
	if ((slice->looked + more) * slice->ratio < slice->stored)
		return false;
	/* States take as much as changes do, and these are to have room beside them. */
	double coming = (double)tide_table_bytes(delta);
	double each = coming / (double)(tide_table_count(delta) + 1);
	return (double)slice->stored * each + 2 * coming < (double)slice->share;
}

static int fail_entry(const struct tide_shards *shards, int keyed, struct tide_slice key,
                      struct tide_error *err)
{
	struct tide_cell cells[TIDE_KEY_PARTS_MAX];
	if (tide_key_decode(&shards->options.specs[keyed], key.p, key.len, cells))
		return fail_memory(err);
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "state of %s has a key that is none of its keys; run `tidemark checkpoint "
	                 "verify`",
	                 shards->options.plan->keyed[keyed].name);
}

static int take(struct tide_shards *shards, int keyed, struct batch *batch, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	struct tide_slice keys[AHEAD];
	const char *bytes = batch->bytes.p;
	for (size_t i = 0; i < batch->count; i++)
		keys[i] = (struct tide_slice){ bytes + batch->keys[i],
			                       batch->values[i] - batch->keys[i] };
	tide_table_expect(slice->table, keys, batch->count);
	for (size_t i = 0; i < batch->count; i++) {
		uint32_t before = tide_table_count(slice->table);
		struct tide_entry *entry =
			tide_table_put(slice->table, keys[i].p, (uint32_t)keys[i].len);
		if (entry == NULL)
			return fail_entry(shards, keyed, keys[i], err);
		if (tide_table_count(slice->table) == before)
			continue;
		entry->flags = 0;
		entry->shard = (uint8_t)batch->shards[i];
		struct tide_slice value = { bytes + batch->values[i],
			                    batch->ends[i] - batch->values[i] };
		if (!tide_value_decode(value, tide_entry_state(entry), slice->value_size))
			return tide_value_fail(shards->options.plan->keyed[keyed].name, value,
			                       slice->value_size, err);
	}
	tide_buf_clear(&batch->bytes);
	batch->count = 0;
	return TIDE_OK;
}

static int add(struct tide_shards *shards, int keyed, struct batch *batch, struct tide_slice key,
               struct tide_slice value, struct tide_error *err)
{
	static const char slack[TIDE_KEY_SLACK];
	size_t i = batch->count;
	batch->keys[i] = batch->bytes.len;
	if (!tide_state_split(key, shards->options.ops[keyed], &batch->shards[i], &batch->bytes))
		return TIDE_OK;
	batch->values[i] = batch->bytes.len;
	tide_buf_put(&batch->bytes, value.p, value.len);
	batch->ends[i] = batch->bytes.len;
	tide_buf_put(&batch->bytes, slack, sizeof slack);
	if (batch->bytes.failed)
		return fail_memory(err);
	return ++batch->count < AHEAD ? TIDE_OK : take(shards, keyed, batch, err);
}

static int load_shard(struct tide_shards *shards, int keyed, uint32_t shard, struct tide_error *err)
{
	struct tide_state_op op = shards->options.ops[keyed];
	struct batch batch = { .count = 0 };
	struct tide_buf from = { 0 }, to = { 0 };
	struct tide_slice key, value;
	struct tide_rocks_iter *it = NULL;
	int rc = TIDE_OK;
	tide_state_range(&from, &to, op);
	tide_buf_clear(&from);
	tide_state_key(&from, op, shard, "", 0);
	if (shard + 1 < TIDE_SHARDS) {
		tide_buf_clear(&to);
		tide_state_key(&to, op, shard + 1, "", 0);
	}
	if (!from.failed && !to.failed)
		it = tide_rocks_iter_new(shards->options.rocks,
		                         (struct tide_slice){ from.p, from.len },
		                         (struct tide_slice){ to.p, to.len });
	while (rc == TIDE_OK && it != NULL && tide_rocks_iter_next(it, &key, &value))
		rc = add(shards, keyed, &batch, key, value, err);
	int end =
		it != NULL ? tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL) : fail_memory(err);
	rc = rc != TIDE_OK ? rc : end;
	if (rc == TIDE_OK)
		rc = take(shards, keyed, &batch, err);
	tide_buf_fini(&batch.bytes);
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	return rc;
}

int tide_loading_some(struct tide_shards *shards, int keyed, uint64_t more,
                      const struct tide_table *delta, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	uint32_t first, end;
	int rc = TIDE_OK;
	if (!pays(shards, keyed, more, delta))
		return TIDE_OK;
	own_shards(shards, &first, &end);
	if (slice->loaded_to < first)
		slice->loaded_to = first;
	uint64_t now = more * RATIO_NOW, each = slice->stored / (end - first) + 1;
	for (; rc == TIDE_OK && now >= each && slice->loaded_to < end; now -= each) {
		/* There may be more than the record says. */
		if (tide_table_bytes(slice->table) > slice->share)
			return TIDE_OK;
		rc = load_shard(shards, keyed, slice->loaded_to, err);
		slice->loaded_to += rc == TIDE_OK;
	}
	if (rc != TIDE_OK || slice->loaded_to < end)
		return rc;
	slice->complete = true;
	return TIDE_OK;
}

void tide_loading_evicted(struct tide_slice_of *slice)
{
	if (slice->loaded_to == 0)
		return;
	slice->loaded_to = 0;
	slice->looked = 0;
	slice->ratio = slice->ratio > 4 ? slice->ratio / 4 : 1;
}
