/* SPDX-License-Identifier: Apache-2.0 */
/* Closing windows: what the watermark in force has passed leaves the state.
 *
 * No row of the epoch goes into a window that closes in it, so what closes is
 * decided, clean and the same in memory and in RocksDB. Where memory holds every
 * key the rows come from there, else from RocksDB, which holds them by end. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "run/exchange.h"
#include "run/shards.h"
#include "run/shards_inside.h"
#include "state/value.h"

enum { CHUNK = TIDE_SHARDS_CHUNK };

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory to close windows");
}

int tide_closing_add(struct tide_slice_of *slice, struct tide_entry *entry, struct tide_error *err)
{
	int64_t end_us = tide_key_time(tide_entry_key(slice->table, entry));
	assert(end_us > slice->closed_us);
	return tide_ends_add(slice->ends, end_us, entry) ? TIDE_OK : fail_memory(err);
}

int tide_closing_moved(struct tide_slice_of *slice, struct tide_error *err)
{
	uint64_t at = 0;
	int rc = TIDE_OK;
	struct tide_entry *entry;
	tide_ends_clear(slice->ends);
	while (rc == TIDE_OK && (entry = tide_table_each(slice->table, &at)) != NULL)
		rc = tide_closing_add(slice, entry, err);
	return rc;
}

static struct tide_slice slice_of(const struct tide_buf *buf)
{
	return (struct tide_slice){ buf->p, buf->len };
}

int tide_closing_stored(const struct tide_shards *shards, int keyed, int64_t from_us,
                        int64_t *end_us, struct tide_error *err)
{
	bool dedups = tide_plan_dedups(&shards->options.plan->keyed[keyed]);
	struct tide_state_op op =
		dedups ? shards->options.index_ops[keyed] : shards->options.ops[keyed];
	struct tide_buf from = { 0 }, to = { 0 }, ignored = { 0 }, bytes = { 0 };
	struct tide_slice key, value;
	uint32_t shard;
	int rc = TIDE_OK;
	*end_us = INT64_MAX;
	tide_state_end(&from, op, from_us);
	tide_state_range(&ignored, &to, op);
	struct tide_rocks_iter *it = NULL;
	if (!from.failed && !to.failed)
		it = tide_rocks_iter_new(shards->options.rocks, slice_of(&from), slice_of(&to));
	if (it == NULL)
		rc = fail_memory(err);
	else if (tide_rocks_iter_next(it, &key, &value) &&
	         tide_state_split(key, op, &shard, &bytes))
		*end_us = bytes.failed ? from_us : tide_key_time(bytes.p);
	if (it != NULL)
		rc = tide_rocks_iter_end(it, err);
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	tide_buf_fini(&ignored);
	tide_buf_fini(&bytes);
	return rc;
}

/* ---- rows from memory ---- */

static int emit_all(struct tide_shards *shards, int keyed, const bool *append_outputs,
                    struct tide_entry **entries, size_t count, struct tide_error *err)
{
	const struct tide_plan *plan = shards->options.plan;
	int rc = TIDE_OK;
	for (int o = 0; rc == TIDE_OK && o < plan->output_count; o++)
		if (plan->outputs[o].keyed == keyed && append_outputs[o])
			rc = tide_shards_emit(shards, keyed, o, entries, count, err);
	return rc;
}

/* The first open window goes, and its rows leave before it; both unless that has
 * been done from what is stored. */
static int close_first(struct tide_shards *shards, int keyed, const bool *append_outputs, bool emit,
                       bool counted, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	struct tide_entry *head = tide_ends_pop(slice->ends), *at;
	size_t count = 0, i = 0;
	int rc = TIDE_OK;
	for (at = head; at != NULL; at = tide_ends_next(slice->ends, at))
		count++;
	struct tide_entry **entries = malloc(count * sizeof *entries);
	if (entries == NULL)
		return fail_memory(err);
	for (at = head; at != NULL; at = tide_ends_next(slice->ends, at))
		entries[i++] = at;
	if (emit && !tide_shards_sort(shards, keyed, entries, count))
		rc = fail_memory(err);
	if (rc == TIDE_OK && emit)
		rc = emit_all(shards, keyed, append_outputs, entries, count, err);
	if (rc == TIDE_OK)
		tide_table_remove_all(slice->table, entries, count);
	slice->gone += counted ? count : 0;
	free(entries);
	return rc;
}

/* ---- rows from RocksDB ---- */

/* Keys and states read, until they are a chunk or the next window begins. */
struct reading {
	struct tide_shards *shards;
	int keyed;
	const bool *append_outputs;
	bool emit; /* else they are only counted */
	struct tide_buf keys;
	size_t key_at[CHUNK + 1];
	char *states;
	size_t count, capacity;
	int64_t end_us;
};

static int reading_emit(struct reading *reading, struct tide_error *err)
{
	struct tide_shards *shards = reading->shards;
	const struct tide_plan *plan = shards->options.plan;
	const struct tide_keyspec *spec = &shards->options.specs[reading->keyed];
	size_t size = shards->slices[reading->keyed].value_size;
	int rc = TIDE_OK;
	if (reading->keys.failed)
		return fail_memory(err);
	for (size_t i = 0; reading->emit && i < reading->count; i++) {
		const char *key = reading->keys.p + reading->key_at[i];
		if (!tide_key_decode(spec, key, reading->key_at[i + 1] - reading->key_at[i],
		                     shards->cells + i * (size_t)spec->count))
			return tide_fail(err, TIDE_ERR_CHECKPOINT,
			                 "a key of %s is damaged; run `tidemark checkpoint verify`",
			                 plan->keyed[reading->keyed].name);
		shards->states[i] = (uint64_t)(uintptr_t)(reading->states + i * size);
	}
	for (int o = 0; rc == TIDE_OK && reading->count > 0 && o < plan->output_count; o++) {
		if (!reading->emit || plan->outputs[o].keyed != reading->keyed ||
		    !reading->append_outputs[o])
			continue;
		rc = tide_vm_finish(shards->options.vm, reading->keyed, o, shards->cells,
		                    spec->count, shards->states, reading->count, err);
		if (rc == TIDE_OK)
			rc = tide_shards_segment(shards, o, reading->end_us, err);
	}
	shards->slices[reading->keyed].gone += reading->count;
	reading->count = 0;
	tide_buf_clear(&reading->keys);
	return rc;
}

static int reading_take(struct reading *reading, struct tide_slice key, struct tide_slice value,
                        struct tide_error *err)
{
	struct tide_shards *shards = reading->shards;
	const struct tide_shards_options *options = &shards->options;
	size_t size = shards->slices[reading->keyed].value_size, start = reading->keys.len;
	uint32_t shard;
	bool ok = tide_state_split(key, options->ops[reading->keyed], &shard, &reading->keys);
	if (ok && tide_exchange_owner(shard, options->workers) != options->index) {
		reading->keys.len = start;
		return TIDE_OK;
	}
	if (reading->keys.failed)
		return fail_memory(err);
	int64_t end_us = ok ? tide_key_time(reading->keys.p + start) : 0;
	if (reading->count == reading->capacity ||
	    (reading->count > 0 && end_us != reading->end_us)) {
		reading->keys.len = start; /* It comes again, first of the next. */
		int rc = reading_emit(reading, err);
		return rc == TIDE_OK ? reading_take(reading, key, value, err) : rc;
	}
	reading->end_us = end_us;
	reading->key_at[reading->count] = start;
	reading->key_at[reading->count + 1] = reading->keys.len;
	char *state = reading->states + reading->count * size;
	if (!ok || !tide_value_decode(value, state, size))
		return tide_value_fail(options->plan->keyed[reading->keyed].name, value, size, err);
	reading->count++;
	return TIDE_OK;
}

/* All windows of this owner that end in (after, up to]: how many they are, and
 * their rows. */
static int read_stored(struct tide_shards *shards, int keyed, const bool *append_outputs, bool emit,
                       int64_t after_us, int64_t to_us, struct tide_error *err)
{
	enum { STATES_BYTES = 4 << 20 };
	struct tide_slice_of *slice = &shards->slices[keyed];
	struct reading *reading = calloc(1, sizeof *reading);
	struct tide_buf from = { 0 }, to = { 0 };
	struct tide_rocks_iter *it = NULL;
	struct tide_slice key, value;
	int rc = TIDE_OK;
	if (reading == NULL)
		return fail_memory(err);
	reading->shards = shards;
	reading->keyed = keyed;
	reading->append_outputs = append_outputs;
	reading->emit = emit;
	reading->capacity = STATES_BYTES / (slice->value_size + 1) + 1;
	if (reading->capacity > CHUNK)
		reading->capacity = CHUNK;
	reading->states = malloc(reading->capacity * slice->value_size + 1);
	tide_state_end(&from, shards->options.ops[keyed], after_us + 1);
	tide_state_end(&to, shards->options.ops[keyed], to_us + 1);
	if (reading->states != NULL && !from.failed && !to.failed)
		it = tide_rocks_iter_new(shards->options.rocks, slice_of(&from), slice_of(&to));
	if (it == NULL)
		rc = fail_memory(err);
	while (rc == TIDE_OK && tide_rocks_iter_next(it, &key, &value))
		rc = reading_take(reading, key, value, err);
	if (rc == TIDE_OK)
		rc = reading_emit(reading, err);
	int end = it != NULL ? tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL) : TIDE_OK;
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	tide_buf_fini(&reading->keys);
	free(reading->states);
	free(reading);
	return rc != TIDE_OK ? rc : end;
}

/* ---- closing ---- */

bool tide_closing_appends(const struct tide_shards *shards, int keyed, const bool *append_outputs)
{
	const struct tide_plan *plan = shards->options.plan;
	for (int o = 0; o < plan->output_count; o++)
		if (plan->outputs[o].keyed == keyed && append_outputs[o])
			return true;
	return false;
}

static int close_slice(struct tide_shards *shards, int keyed, const bool *append_outputs,
                       int64_t to_us, struct tide_error *err)
{
	struct tide_slice_of *slice = &shards->slices[keyed];
	bool emit = tide_closing_appends(shards, keyed, append_outputs);
	bool stored = slice->stored_us <= to_us;
	int rc = TIDE_OK;
	slice->closed_some = false;
	if (to_us <= slice->closed_us)
		return TIDE_OK;
	slice->closed_some = stored || tide_ends_first(slice->ends) <= to_us;
	if (stored)
		rc = read_stored(shards, keyed, append_outputs, emit, slice->closed_us, to_us, err);
	while (rc == TIDE_OK && tide_ends_first(slice->ends) <= to_us)
		rc = close_first(shards, keyed, append_outputs, emit && !stored, !stored, err);
	slice->closed_us = to_us;
	if (rc == TIDE_OK && stored)
		rc = tide_closing_stored(shards, keyed, to_us + 1, &slice->stored_us, err);
	return rc;
}

int tide_shards_close(struct tide_shards *shards, int64_t epoch, const int64_t *watermarks_us,
                      const bool *append_outputs, struct tide_error *err)
{
	const struct tide_plan *plan = shards->options.plan;
	int rc = TIDE_OK;
	shards->epoch = epoch;
	shards->watermarks_us = watermarks_us;
	for (int o = 0; o < plan->output_count; o++)
		shards->segments[o].count = 0;
	for (int k = 0; k < plan->keyed_count; k++)
		shards->slices[k].made = shards->slices[k].gone = 0;
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++)
		if (tide_plan_closes(&plan->keyed[k]) && !plan->keyed[k].session)
			rc = close_slice(shards, k, append_outputs,
			                 watermarks_us[plan->keyed[k].mark], err);
	return rc;
}

int64_t tide_shards_first_end(const struct tide_shards *shards, int keyed)
{
	const struct tide_slice_of *slice = &shards->slices[keyed];
	if (slice->sessions == NULL && slice->ends == NULL)
		return INT64_MAX;
	int64_t first_us = slice->sessions != NULL ? tide_sessions_first_end(slice->sessions)
	                                           : tide_ends_first(slice->ends);
	return first_us < slice->stored_us ? first_us : slice->stored_us;
}

bool tide_shards_closed(const struct tide_shards *shards, int keyed)
{
	return shards->slices[keyed].closed_some;
}
