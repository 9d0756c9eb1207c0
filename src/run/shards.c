/* SPDX-License-Identifier: Apache-2.0 */
/* The shards one worker owns: folding deltas in, and what that changed. */
#include "run/shards.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/order.h"
#include "run/listing.h"
#include "run/loading.h"
#include "run/shards_inside.h"
#include "state/value.h"

enum { CHUNK = TIDE_SHARDS_CHUNK, DEAD_BYTES_MIN = 256 << 10, AHEAD = 8 };

static int session_init(struct tide_shards *shards, int k, struct tide_error *err)
{
	const struct tide_shards_options *options = &shards->options;
	const struct tide_plan_keyed *keyed = &options->plan->keyed[k];
	struct tide_slice_of *slice = &shards->slices[k];
	slice->table = tide_table_new(&options->specs[k], slice->value_size);
	slice->sessions = tide_sessions_new();
	slice->complete = true;
	slice->stored_us = INT64_MAX;
	slice->closed_us = options->closed_us[keyed->mark];
	if (slice->table == NULL || slice->sessions == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for sessions");
	return options->fresh ? TIDE_OK : tide_listing_open(shards, k, err);
}

static int slice_init(struct tide_shards *shards, int k, struct tide_error *err)
{
	const struct tide_shards_options *options = &shards->options;
	const struct tide_plan_keyed *keyed = &options->plan->keyed[k];
	struct tide_slice_of *slice = &shards->slices[k];
	bool dedups = tide_plan_dedups(keyed), closes = tide_plan_closes(keyed) || dedups;
	slice->value_size = (size_t)keyed->state_size;
	if (keyed->session)
		return session_init(shards, k, err);
	slice->table = tide_table_new(&options->specs[k],
	                              slice->value_size + (closes ? TIDE_ENDS_LINK : 0));
	slice->complete = options->fresh;
	if (closes)
		slice->ends = tide_ends_new(slice->value_size);
	if (slice->table == NULL || (closes && slice->ends == NULL))
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for state");
	slice->stored_us = INT64_MAX;
	tide_loading_init(shards, k, options->meta);
	if (!closes)
		return TIDE_OK;
	slice->closed_us = options->closed_us[keyed->mark];
	if (slice->complete)
		return TIDE_OK;
	return tide_closing_stored(shards, k, slice->closed_us + 1, &slice->stored_us, err);
}

int tide_shards_new(const struct tide_shards_options *options, struct tide_shards **out,
                    struct tide_error *err)
{
	struct tide_shards *shards = calloc(1, sizeof *shards);
	const struct tide_plan *plan = options->plan;
	if (shards == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for state");
	shards->options = *options;
	shards->slices = calloc((size_t)plan->keyed_count + 1, sizeof *shards->slices);
	shards->segments = calloc((size_t)plan->output_count + 1, sizeof *shards->segments);
	shards->cells = malloc(sizeof(struct tide_cell) * CHUNK * TIDE_KEY_PARTS_MAX);
	int rc = TIDE_OK;
	if (shards->slices == NULL || shards->segments == NULL || shards->cells == NULL)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for state");
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++)
		rc = slice_init(shards, k, err);
	if (rc != TIDE_OK) {
		tide_shards_free(shards);
		return rc;
	}
	*out = shards;
	return TIDE_OK;
}

void tide_shards_vm(struct tide_shards *shards, struct tide_vm *vm)
{
	shards->options.vm = vm;
}

void tide_shards_free(struct tide_shards *shards)
{
	if (shards == NULL)
		return;
	const struct tide_plan *plan = shards->options.plan;
	for (int k = 0; shards->slices != NULL && k < plan->keyed_count; k++) {
		tide_table_free(shards->slices[k].table);
		tide_ends_free(shards->slices[k].ends);
		tide_sessions_free(shards->slices[k].sessions);
		free(shards->slices[k].dirty);
	}
	for (int o = 0; shards->segments != NULL && o < plan->output_count; o++)
		free(shards->segments[o].items);
	free(shards->slices);
	free(shards->segments);
	free(shards->cells);
	tide_buf_fini(&shards->key_bytes);
	free(shards);
}

bool tide_shards_dirty(struct tide_slice_of *slice, struct tide_entry *entry)
{
	if (entry->flags & TIDE_ENTRY_DIRTY)
		return true;
	if (slice->dirty_count == slice->dirty_capacity) {
		size_t capacity = slice->dirty_capacity * 2 + 1024;
		void *grown = realloc(slice->dirty, capacity * sizeof *slice->dirty);
		if (grown == NULL)
			return false;
		slice->dirty = grown;
		slice->dirty_capacity = capacity;
	}
	entry->flags |= TIDE_ENTRY_DIRTY | TIDE_ENTRY_USED;
	slice->dirty[slice->dirty_count++] = entry;
	return true;
}

static int64_t end_of(const struct tide_table *table, const struct tide_entry *entry)
{
	return tide_key_time(tide_entry_key(table, entry));
}

static int by_key(const void *a, const void *b, void *table)
{
	const struct tide_entry *x = a, *y = b;
	uint32_t common = x->key_len < y->key_len ? x->key_len : y->key_len;
	int order = memcmp(tide_entry_key(table, x), tide_entry_key(table, y), common);
	if (order != 0)
		return order;
	return x->key_len < y->key_len ? -1 : x->key_len > y->key_len;
}

/* The shard and 15 bytes of the key; with windows their end, the shard, and 7. */
static struct tide_order_item order_of(const struct tide_table *table, bool windowed,
                                       const struct tide_entry *entry)
{
	const char *key = tide_entry_key(table, entry);
	size_t skip = windowed ? TIDE_KEY_TIME_SIZE : 0, rest = entry->key_len - skip;
	uint8_t head[16] = { entry->shard };
	memcpy(head + 1, key + skip, rest < 15 ? rest : 15);
	uint64_t first = tide_order_head(head, 8);
	if (windowed)
		return (struct tide_order_item){
			(uint64_t)tide_key_time(key) ^ (uint64_t)INT64_MIN,
			first,
			entry,
		};
	return (struct tide_order_item){ first, tide_order_head(head + 8, 8), entry };
}

/* By the keys that a table has them under. False without memory. */
static bool sort_of(const struct tide_table *table, bool windowed, struct tide_entry **entries,
                    size_t count)
{
	struct tide_order_item *items = malloc((count + 1) * sizeof *items);
	if (items == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (i + AHEAD < count)
			__builtin_prefetch(entries[i + AHEAD]);
		items[i] = order_of(table, windowed, entries[i]);
	}
	bool ok = tide_order_sort(items, count, by_key, (void *)(uintptr_t)table);
	for (size_t i = 0; ok && i < count; i++)
		entries[i] = (struct tide_entry *)items[i].what;
	free(items);
	return ok;
}

bool tide_shards_sort(const struct tide_shards *shards, int keyed, struct tide_entry **entries,
                      size_t count)
{
	return sort_of(shards->slices[keyed].table, shards->options.ops[keyed].windowed, entries,
	               count);
}

int tide_shards_read(struct tide_shards *shards, const size_t *ends, size_t count,
                     struct tide_error *err)
{
	assert(count <= CHUNK && !shards->key_bytes.failed);
	for (size_t i = 0, at = 0; i < count; at = ends[i++])
		shards->keys[i] = (struct tide_slice){ shards->key_bytes.p + at, ends[i] - at };
	return tide_rocks_multi_get(shards->options.rocks, shards->keys, count, shards->values,
	                            err);
}

void tide_shards_free_values(struct tide_shards *shards, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free((void *)(uintptr_t)shards->values[i].p);
}

/* Whether RocksDB may have a state that memory has not. */
static bool may_be_stored(const struct tide_slice_of *slice, const struct tide_entry *entry)
{
	return entry->shard >= slice->loaded_to;
}

/* Read the states that memory does not hold, all of a chunk in one call. */
static int load_missing(struct tide_shards *shards, int keyed, struct tide_table *delta,
                        struct tide_entry **entries, size_t missing_count, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	size_t ends[CHUNK], asked = 0;
	tide_buf_clear(&shards->key_bytes);
	for (size_t i = 0; i < missing_count; i++) {
		struct tide_entry *entry = entries[shards->missing[i]];
		if (!may_be_stored(slice, entry))
			continue;
		tide_state_key(&shards->key_bytes, shards->options.ops[keyed], entry->shard,
		               tide_entry_key(delta, entry), entry->key_len);
		ends[asked++] = shards->key_bytes.len;
	}
	if (shards->key_bytes.failed)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to read state");
	int rc = tide_shards_read(shards, ends, asked, err);
	slice->looked += asked;
	for (size_t i = missing_count; rc == TIDE_OK && i-- > 0;)
		shards->values[i] = may_be_stored(slice, entries[shards->missing[i]])
		                            ? shards->values[--asked]
		                            : (struct tide_slice){ NULL, 0 };
	return rc;
}

static void adopt(struct tide_pair *pair, size_t size)
{
	memcpy((void *)(uintptr_t)pair->into, (const void *)(uintptr_t)pair->from, size);
	pair->into = 0;
}

/* Pairs that are still to be merged. */
static size_t left_of(struct tide_pair *pairs, size_t count)
{
	size_t left = 0;
	for (size_t i = 0; i < count; i++)
		if (pairs[i].into != 0)
			pairs[left++] = pairs[i];
	return left;
}

/* Make entries for what was missing, from the values read or as zeroes. */
static int place_missing(struct tide_shards *shards, int keyed, struct tide_table *delta,
                         struct tide_entry **entries, size_t missing_count, bool loaded,
                         struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	int rc = TIDE_OK;
	for (size_t i = 0; i < missing_count; i++) {
		uint32_t at = shards->missing[i];
		struct tide_slice value = loaded ? shards->values[i] : (struct tide_slice){ 0 };
		struct tide_entry *entry = NULL;
		if (rc == TIDE_OK) {
			entry = tide_table_put(slice->table, tide_entry_key(delta, entries[at]),
			                       entries[at]->key_len);
			if (entry == NULL)
				rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for state");
		}
		if (rc == TIDE_OK && value.p != NULL &&
		    !tide_value_decode(value, tide_entry_state(entry), slice->value_size))
			rc = tide_value_fail(shards->options.plan->keyed[keyed].name, value,
			                     slice->value_size, err);
		if (rc == TIDE_OK) {
			entry->shard = entries[at]->shard;
			slice->made += value.p == NULL;
			shards->pairs[at].into = (uint64_t)(uintptr_t)tide_entry_state(entry);
			if (shards->options.adopt && value.p == NULL)
				adopt(&shards->pairs[at], slice->value_size);
			if (!tide_shards_dirty(slice, entry))
				rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for state");
			else if (slice->ends != NULL)
				rc = tide_closing_add(slice, entry, err);
		}
		free((void *)(uintptr_t)value.p);
	}
	return rc;
}

static int merge_chunk(struct tide_shards *shards, int keyed, struct tide_table *delta,
                       struct tide_entry **entries, size_t count, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	struct tide_entry *found[CHUNK];
	size_t missing_count = 0;
	tide_table_find_all(slice->table, delta, entries, count, found);
	for (size_t i = 0; i < count; i++) {
		struct tide_entry *into = found[i];
		shards->pairs[i].from = (uint64_t)(uintptr_t)tide_entry_state(entries[i]);
		if (into == NULL) {
			shards->missing[missing_count++] = (uint32_t)i;
			continue;
		}
		shards->pairs[i].into = (uint64_t)(uintptr_t)tide_entry_state(into);
		if (!tide_shards_dirty(slice, into))
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for state");
	}
	bool load = missing_count > 0 && !slice->complete;
	int rc = TIDE_OK;
	if (load)
		rc = load_missing(shards, keyed, delta, entries, missing_count, err);
	if (rc == TIDE_OK)
		rc = place_missing(shards, keyed, delta, entries, missing_count, load, err);
	if (rc == TIDE_OK)
		rc = tide_vm_merge(shards->options.vm, keyed, shards->pairs,
		                   shards->options.adopt ? left_of(shards->pairs, count) : count,
		                   err);
	return rc;
}

/* How many entries, in the order of their shards, none is stored of but in memory. */
static size_t first_stored(const struct tide_slice_of *slice, struct tide_entry *const *entries,
                           size_t count)
{
	size_t low = 0;
	for (size_t high = count; low < high;) {
		size_t middle = low + (high - low) / 2;
		if (may_be_stored(slice, entries[middle]))
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

int tide_shards_merge(struct tide_shards *shards, int keyed, struct tide_table *delta,
                      struct tide_entry **entries, size_t count, struct tide_error *err)
{
	/* What has to be read lies in the order of its keys: one block holds many of them,
	 * and is read once when they are asked for together. */
	if (!shards->slices[keyed].complete && count > CHUNK &&
	    !sort_of(delta, shards->options.ops[keyed].windowed, entries, count))
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to sort states");
	struct tide_slice_of *slice = &shards->slices[keyed];
	uint64_t before = slice->looked;
	size_t from = first_stored(slice, entries, count);
	bool loaded = false;
	int rc = TIDE_OK;
	for (size_t at = 0, some; rc == TIDE_OK && at < count; at += some) {
		some = count - at < CHUNK ? count - at : CHUNK;
		rc = merge_chunk(shards, keyed, delta, entries + at, some, err);
		if (rc != TIDE_OK || loaded || slice->complete || at + some <= from ||
		    at + some == count)
			continue;
		/* As many as if no shard had been loaded yet. */
		uint64_t more = (slice->looked - before) * count / (at + some - from);
		loaded = more > 0;
		if (loaded)
			rc = tide_loading_some(shards, keyed, more, delta, err);
	}
	return rc;
}

/* Result rows of at most a chunk of keys for one output. */
static int emit_chunk(struct tide_shards *shards, int keyed, int output,
                      struct tide_entry **entries, size_t count, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	const struct tide_keyspec *spec = &shards->options.specs[keyed];
	for (size_t i = 0; i < count; i++) {
		bool ok = tide_key_decode(spec, tide_entry_key(slice->table, entries[i]),
		                          entries[i]->key_len,
		                          shards->cells + i * (size_t)spec->count);
		assert(ok);
		(void)ok;
		shards->states[i] = (uint64_t)(uintptr_t)tide_entry_state(entries[i]);
	}
	return tide_vm_finish(shards->options.vm, keyed, output, shards->cells, spec->count,
	                      shards->states, count, err);
}

int tide_shards_segment(struct tide_shards *shards, int output, int64_t end_us,
                        struct tide_error *err)
{
	struct tide_segments *segments = &shards->segments[output];
	if (segments->count == segments->capacity) {
		size_t capacity = segments->capacity * 2 + 64;
		void *grown = realloc(segments->items, capacity * sizeof *segments->items);
		if (grown == NULL)
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows of windows");
		segments->items = grown;
		segments->capacity = capacity;
	}
	segments->items[segments->count++] =
		(struct tide_segment){ end_us, tide_rows_count(shards->options.rows[output]) };
	return TIDE_OK;
}

/* How many of the entries go together: those of one window, else a chunk. */
static size_t emit_count(const struct tide_shards *shards, int keyed, struct tide_entry **entries,
                         size_t count)
{
	const struct tide_table *table = shards->slices[keyed].table;
	size_t some = 1;
	if (count > CHUNK)
		count = CHUNK;
	if (!shards->options.ops[keyed].windowed)
		return count;
	for (int64_t end = end_of(table, entries[0]); some < count; some++)
		if (end_of(table, entries[some]) != end)
			break;
	return some;
}

int tide_shards_emit(struct tide_shards *shards, int keyed, int output, struct tide_entry **entries,
                     size_t count, struct tide_error *err)
{
	int rc = TIDE_OK;
	for (size_t at = 0, some; rc == TIDE_OK && at < count; at += some) {
		some = emit_count(shards, keyed, entries + at, count - at);
		rc = emit_chunk(shards, keyed, output, entries + at, some, err);
		if (rc == TIDE_OK && shards->options.ops[keyed].windowed)
			rc = tide_shards_segment(shards, output,
			                         end_of(shards->slices[keyed].table, entries[at]),
			                         err);
	}
	return rc;
}

const struct tide_segments *tide_shards_segments(const struct tide_shards *shards, int output)
{
	return &shards->segments[output];
}

static int try_rows(struct tide_shards *shards, int keyed, int output, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	int rc = TIDE_OK;
	for (size_t at = 0; rc == TIDE_OK && at < slice->dirty_count; at += CHUNK) {
		size_t some = slice->dirty_count - at;
		rc = emit_chunk(shards, keyed, output, slice->dirty + at,
		                some < CHUNK ? some : CHUNK, err);
		tide_rows_clear(shards->options.rows[output]);
	}
	return rc;
}

static int finish_slice(struct tide_shards *shards, int keyed, const bool *update_outputs,
                        const bool *complete_outputs, struct tide_writes *writes,
                        struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	const struct tide_plan *plan = shards->options.plan;
	bool dedups = tide_plan_dedups(&plan->keyed[keyed]);
	bool ok = tide_shards_sort(shards, keyed, slice->dirty, slice->dirty_count);
	int rc = ok && dedups ? tide_claiming_write(shards, keyed, writes, err) : TIDE_OK;
	if (rc != TIDE_OK)
		return rc;
	for (size_t i = 0; ok && i < slice->dirty_count; i++) {
		struct tide_entry *entry = slice->dirty[i];
		if (i + AHEAD < slice->dirty_count)
			__builtin_prefetch(slice->dirty[i + AHEAD], 1);
		tide_buf_clear(&shards->key_bytes);
		tide_state_key(&shards->key_bytes, shards->options.ops[keyed], entry->shard,
		               tide_entry_key(slice->table, entry), entry->key_len);
		size_t key_len = shards->key_bytes.len;
		tide_value_encode(tide_entry_state(entry), slice->value_size, &shards->key_bytes);
		const char *bytes = shards->key_bytes.p;
		ok = !shards->key_bytes.failed &&
		     tide_writes_put(writes, (struct tide_slice){ bytes, key_len },
		                     (struct tide_slice){ bytes + key_len,
		                                          shards->key_bytes.len - key_len });
		entry->flags &= (uint8_t)~TIDE_ENTRY_DIRTY;
	}
	if (!ok)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to write state");
	for (int o = 0; rc == TIDE_OK && o < plan->output_count; o++)
		if (plan->outputs[o].keyed == keyed && update_outputs[o])
			rc = tide_shards_emit(shards, keyed, o, slice->dirty, slice->dirty_count,
			                      err);
		else if (plan->outputs[o].keyed == keyed && complete_outputs[o])
			rc = try_rows(shards, keyed, o, err);
	if (slice->stored != UINT64_MAX)
		slice->stored += slice->made;
	slice->updated = slice->dirty_count;
	slice->dirty_count = 0;
	if (rc == TIDE_OK && dedups)
		rc = tide_claiming_forget(
			shards, keyed, shards->watermarks_us[plan->keyed[keyed].mark], writes, err);
	return rc;
}

int tide_shards_finish(struct tide_shards *shards, const bool *update_outputs,
                       const bool *complete_outputs, struct tide_writes *writes,
                       struct tide_error *err)
{
	int rc = TIDE_OK;
	for (int k = 0; rc == TIDE_OK && k < shards->options.plan->keyed_count; k++)
		rc = finish_slice(shards, k, update_outputs, complete_outputs, writes, err);
	return rc;
}

static size_t slice_bytes(const struct tide_slice_of *slice)
{
	size_t index = slice->sessions != NULL ? tide_sessions_bytes(slice->sessions) : 0;
	return tide_table_bytes(slice->table) + index;
}

/* Each operator has an equal part of memory, and what others leave of theirs goes to
 * those that want more. */
static void divide_memory(struct tide_shards *shards, struct tide_table *const *coming)
{
	size_t count = (size_t)shards->options.plan->keyed_count, spare = 0, wanting = 0;
	size_t each = count > 0 ? shards->options.memory_max / count : 0;
	for (size_t k = 0; k < count; k++) {
		struct tide_slice_of *slice = &shards->slices[k];
		slice->share = slice_bytes(slice) + tide_table_bytes(coming[k]);
		spare += slice->share < each ? each - slice->share : 0;
		wanting += slice->share > each;
	}
	for (size_t k = 0; k < count; k++) {
		struct tide_slice_of *slice = &shards->slices[k];
		slice->share = each + (slice->share > each ? spare / wanting : 0);
	}
}

/* Down to three quarters, so that it is not done every epoch, and so far that
 * what is coming fits. What has been removed goes before that: when it is more than
 * half of what is left, or, where there is no room, an eighth of all. The index of
 * sessions has half of it. */
static int evict_slice(struct tide_shards *shards, int keyed, size_t coming, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	size_t share = slice->share;
	if (slice->sessions != NULL) {
		int rc = tide_listing_evict(slice, share / 2, coming, err);
		if (rc != TIDE_OK)
			return rc;
		size_t index = tide_sessions_bytes(slice->sessions);
		share = share > index ? share - index : 0;
	}
	size_t used = tide_table_bytes(slice->table), dead = tide_table_dead_bytes(slice->table);
	size_t live = used - dead, left = coming < share / 4 ? share / 4 * 3 : share / 2;
	size_t dead_max = used + coming > share ? used / 8 : used / 3;
	bool full = live + coming > share && live > share / 2;
	if (!full && (dead <= dead_max || dead < DEAD_BYTES_MIN))
		return TIDE_OK;
	int64_t first_us = slice->ends != NULL ? tide_ends_first(slice->ends) : INT64_MAX;
	if (tide_table_evict(slice->table, full ? left : share) > 0 && slice->sessions == NULL) {
		slice->complete = false;
		tide_loading_evicted(slice);
		if (first_us < slice->stored_us)
			slice->stored_us = first_us;
	}
	if (tide_plan_dedups(&shards->options.plan->keyed[keyed]))
		return tide_claiming_moved(shards, keyed, err);
	return slice->ends != NULL ? tide_closing_moved(slice, err) : TIDE_OK;
}

int tide_shards_evict(struct tide_shards *shards, struct tide_table *const *coming,
                      struct tide_error *err)
{
	int keyed_count = shards->options.plan->keyed_count, rc = TIDE_OK;
	divide_memory(shards, coming);
	for (int k = 0; rc == TIDE_OK && k < keyed_count; k++)
		rc = evict_slice(shards, k, tide_table_bytes(coming[k]), err);
	return rc;
}

struct tide_shards_figures tide_shards_figures(const struct tide_shards *shards, int keyed)
{
	const struct tide_slice_of *slice = &shards->slices[keyed];
	return (struct tide_shards_figures){ .held = tide_table_count(slice->table),
		                             .bytes = slice_bytes(slice),
		                             .updated = slice->updated,
		                             .made = slice->made,
		                             .gone = slice->gone };
}

uint64_t tide_shards_held(const struct tide_shards *shards)
{
	uint64_t rows = 0;
	for (int k = 0; k < shards->options.plan->keyed_count; k++)
		rows += tide_table_count(shards->slices[k].table);
	return rows;
}
