/* SPDX-License-Identifier: Apache-2.0 */
/* The whole result of a keyed operator, from decided state. */
#include "run/result.h"

#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "state/value.h"

enum { CHUNK = 1024, STATES_BYTES = 16 << 20 };

struct tide_result {
	struct tide_result_options options;
	struct tide_rows **rows; /* per output */
	struct tide_buf keys;    /* of a chunk: cells borrow text from here */
	size_t key_at[CHUNK + 1];
	char *states; /* chunk states, 8-byte aligned */
	size_t chunk; /* states at a time: fewer when they are large */
	uint64_t addresses[CHUNK];
	struct tide_cell cells[CHUNK * TIDE_KEY_PARTS_MAX];
};

static size_t state_size(const struct tide_result *result, int keyed)
{
	return (size_t)result->options.plan->keyed[keyed].state_size;
}

int tide_result_new(const struct tide_result_options *options, struct tide_result **out,
                    struct tide_error *err)
{
	struct tide_result *result = calloc(1, sizeof *result);
	const struct tide_plan *plan = options->plan;
	if (result == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for results");
	result->options = *options;
	result->rows = calloc((size_t)plan->output_count + 1, sizeof *result->rows);
	size_t widest = 8;
	for (int k = 0; k < plan->keyed_count; k++)
		if (state_size(result, k) > widest)
			widest = state_size(result, k);
	result->chunk = widest > STATES_BYTES / CHUNK ? 1 + STATES_BYTES / widest : CHUNK;
	result->states = malloc(widest * result->chunk);
	bool ok = result->rows != NULL && result->states != NULL;
	for (int o = 0; ok && o < plan->output_count; o++) {
		result->rows[o] = tide_rows_new(plan->outputs[o].row);
		ok = result->rows[o] != NULL;
	}
	if (!ok) {
		tide_result_free(result);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for results");
	}
	*out = result;
	return TIDE_OK;
}

void tide_result_vm(struct tide_result *result, struct tide_vm *vm)
{
	result->options.vm = vm;
}

void tide_result_free(struct tide_result *result)
{
	if (result == NULL)
		return;
	for (int o = 0; result->rows != NULL && o < result->options.plan->output_count; o++)
		tide_rows_free(result->rows[o]);
	free(result->rows);
	free(result->states);
	tide_buf_fini(&result->keys);
	free(result);
}

static int begin(struct tide_result *result, int output, struct tide_error *err)
{
	struct tide_vm_bind bind = { .rows = result->rows };
	tide_rows_clear(result->rows[output]);
	return tide_vm_bind(result->options.vm, &bind, err);
}

/* Closed windows stay in RocksDB for a moment, or after a crash longer. */
static bool has_closed(const struct tide_result *result, int keyed, const char *key)
{
	const struct tide_plan *plan = result->options.plan;
	const struct tide_meta *meta = result->options.meta;
	if (!tide_plan_closes(&plan->keyed[keyed]))
		return false;
	const char *name = plan->marks[plan->keyed[keyed].mark].name;
	for (int i = 0; i < meta->mark_count; i++)
		if (strcmp(meta->marks[i].name, name) == 0)
			return tide_key_time(key) <= meta->marks[i].used_us;
	return false;
}

/* Take one stored state into the chunk, of which it becomes number i. */
static int collect(struct tide_result *result, int keyed, size_t i, struct tide_slice key,
                   struct tide_slice value, struct tide_error *err)
{
	size_t size = state_size(result, keyed);
	if (!tide_value_decode(value, result->states + i * size, size))
		return tide_value_fail(result->options.plan->keyed[keyed].name, value, size, err);
	result->addresses[i] = (uint64_t)(uintptr_t)(result->states + i * size);
	result->key_at[i] = result->keys.len;
	tide_buf_put(&result->keys, key.p, key.len);
	result->key_at[i + 1] = result->keys.len;
	return TIDE_OK;
}

static int fail_key(const struct tide_result *result, int keyed, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "a key of %s is damaged; run `tidemark checkpoint verify`",
	                 result->options.plan->keyed[keyed].name);
}

static int flush(struct tide_result *result, int keyed, int output, size_t count,
                 struct tide_error *err)
{
	const struct tide_keyspec *spec = &result->options.specs[keyed];
	if (result->keys.failed)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for results");
	for (size_t i = 0; i < count; i++) {
		const char *key = result->keys.p + result->key_at[i];
		size_t len = result->key_at[i + 1] - result->key_at[i];
		if (!tide_key_decode(spec, key, len, result->cells + i * (size_t)spec->count))
			return fail_key(result, keyed, err);
	}
	tide_buf_clear(&result->keys);
	return tide_vm_finish(result->options.vm, keyed, output, result->cells, spec->count,
	                      result->addresses, count, err);
}

int tide_result_all(struct tide_result *result, int output, const struct tide_rows **rows,
                    struct tide_error *err)
{
	int keyed = result->options.plan->outputs[output].keyed;
	struct tide_state_op op = result->options.ops[keyed];
	struct tide_buf from = { 0 }, to = { 0 }, bytes = { 0 };
	struct tide_slice key, value;
	uint32_t shard;
	size_t count = 0;
	int rc = begin(result, output, err);
	if (rc != TIDE_OK)
		return rc;
	tide_state_range(&from, &to, op);
	struct tide_rocks_iter *it =
		tide_rocks_iter_new(result->options.rocks, (struct tide_slice){ from.p, from.len },
	                            (struct tide_slice){ to.p, to.len });
	while (rc == TIDE_OK && it != NULL && tide_rocks_iter_next(it, &key, &value)) {
		tide_buf_clear(&bytes);
		if (!tide_state_split(key, op, &shard, &bytes))
			rc = fail_key(result, keyed, err);
		else if (has_closed(result, keyed, bytes.p))
			continue;
		key = (struct tide_slice){ bytes.p, bytes.len };
		if (rc == TIDE_OK)
			rc = collect(result, keyed, count, key, value, err);
		if (rc == TIDE_OK && ++count == result->chunk) {
			rc = flush(result, keyed, output, count, err);
			count = 0;
		}
	}
	if (rc == TIDE_OK && count > 0)
		rc = flush(result, keyed, output, count, err);
	if (it == NULL)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory to read state");
	else if (rc == TIDE_OK)
		rc = tide_rocks_iter_end(it, err);
	else
		tide_rocks_iter_end(it, NULL);
	tide_buf_clear(&result->keys);
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	tide_buf_fini(&bytes);
	*rows = result->rows[output];
	return rc;
}

int tide_result_key(struct tide_result *result, int output, struct tide_slice key,
                    const struct tide_rows **rows, struct tide_error *err)
{
	int keyed = result->options.plan->outputs[output].keyed;
	struct tide_buf at = { 0 }, value = { 0 };
	bool found = false;
	int rc = begin(result, output, err);
	struct tide_state_op op = result->options.ops[keyed];
	tide_state_key(&at, op, tide_state_shard(op, key.p, key.len), key.p, key.len);
	if (rc == TIDE_OK)
		rc = tide_rocks_get(result->options.rocks, (struct tide_slice){ at.p, at.len },
		                    &value, &found, err);
	if (rc == TIDE_OK && found && has_closed(result, keyed, key.p))
		found = false;
	if (rc == TIDE_OK && found)
		rc = collect(result, keyed, 0, key, (struct tide_slice){ value.p, value.len }, err);
	if (rc == TIDE_OK && found)
		rc = flush(result, keyed, output, 1, err);
	tide_buf_clear(&result->keys);
	tide_buf_fini(&at);
	tide_buf_fini(&value);
	*rows = result->rows[output];
	return rc;
}
