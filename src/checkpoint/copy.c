/* SPDX-License-Identifier: Apache-2.0 */
/* What a job would go on from, as bytes, and a new checkpoint made of them. */
#include "checkpoint/copy.h"

#include <assert.h>
#include <stdlib.h>

#include "checkpoint/inside.h"

enum { LOOK_ROWS = 4096 }; /* between looks whether the checkpoint closes */

static int fail_memory(const char *dir, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory to copy the checkpoint %s", dir);
}

static int copy_range(const struct tide_copy *copy, const char *from, const char *to,
                      struct tide_buf *out, struct tide_error *err)
{
	struct tide_slice key, value;
	int rc = TIDE_OK, count = 0;
	struct tide_rocks_iter *it =
		tide_rocks_iter_at(copy->rocks, copy->moment, (struct tide_slice){ from, 1 },
	                           (struct tide_slice){ to, 1 });
	if (it == NULL)
		return fail_memory(copy->dir, err);
	while (rc == TIDE_OK && tide_rocks_iter_next(it, &key, &value)) {
		tide_buf_bytes(out, key.p, key.len);
		tide_buf_bytes(out, value.p, value.len);
		if (out->failed)
			rc = fail_memory(copy->dir, err);
		else if (out->len > copy->bytes_max)
			rc = tide_fail(err, TIDE_ERR_USAGE,
			               "the state in %s is larger than the %zu MiB that fit: "
			               "begin without it, or with a smaller checkpoint",
			               copy->dir, copy->bytes_max >> 20);
		else if (++count % LOOK_ROWS == 0 && copy->stopped != NULL &&
		         copy->stopped(copy->arg))
			rc = tide_fail(err, TIDE_ERR_UNAVAILABLE, "the checkpoint %s closes",
			               copy->dir);
	}
	int end = tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL);
	return rc != TIDE_OK ? rc : end;
}

int tide_copy_states(const struct tide_copy *copy, struct tide_buf *state, struct tide_error *err)
{
	int rc = copy_range(copy, "n", "o", state, err);
	return rc == TIDE_OK ? copy_range(copy, "s", "t", state, err) : rc;
}

int tide_copy_meta(const struct tide_copy *copy, struct tide_buf *meta, struct tide_error *err)
{
	struct tide_slice key, value;
	struct tide_rocks_iter *it =
		tide_rocks_iter_at(copy->rocks, copy->moment, (struct tide_slice){ "meta", 4 },
	                           (struct tide_slice){ "n", 1 });
	if (it != NULL && tide_rocks_iter_next(it, &key, &value))
		tide_buf_put(meta, value.p, value.len);
	int rc = it != NULL ? tide_rocks_iter_end(it, err) : fail_memory(copy->dir, err);
	return rc == TIDE_OK && (meta->failed || meta->len == 0) ? fail_memory(copy->dir, err) : rc;
}

int tide_checkpoint_copy(struct tide_checkpoint *cp, size_t bytes_max, struct tide_buf *meta,
                         struct tide_buf *state, struct tide_error *err)
{
	struct tide_copy copy = { .rocks = cp->rocks, .dir = cp->dir, .bytes_max = bytes_max };
	assert(meta->len == 0 && state->len == 0);
	tide_meta_encode(&cp->meta, meta);
	return meta->failed ? fail_memory(cp->dir, err) : tide_copy_states(&copy, state, err);
}

static int stage_pairs(struct tide_slice state, const char *dir, struct tide_writes *writes,
                       struct tide_error *err)
{
	struct tide_reader in = tide_reader_of(state.p, state.len);
	while (!in.failed && in.p < in.end) {
		struct tide_slice key = tide_read_bytes(&in), value = tide_read_bytes(&in);
		if (in.failed || key.len == 0 || (key.p[0] != 'n' && key.p[0] != 's'))
			return tide_fail(err, TIDE_ERR_CHECKPOINT,
			                 "the state to begin with is damaged: it holds what no "
			                 "checkpoint does");
		if (!tide_writes_put(writes, key, value))
			return fail_memory(dir, err);
	}
	return TIDE_OK;
}

int tide_checkpoint_plant(const char *dir, struct tide_slice meta, struct tide_slice state,
                          struct tide_error *err)
{
	struct tide_checkpoint_options options = { 0 };
	struct tide_checkpoint *cp = NULL;
	struct tide_meta next = { 0 };
	struct tide_writes *writes = tide_writes_new();
	int rc = writes != NULL ? tide_checkpoint_open(dir, &options, &cp, err)
	                        : fail_memory(dir, err);
	if (rc == TIDE_OK)
		rc = tide_meta_decode(meta, &next, err);
	if (rc == TIDE_OK)
		rc = stage_pairs(state, dir, writes, err);
	if (rc == TIDE_OK) {
		for (int i = 0; i < next.sink_count; i++)
			next.sinks[i].acked = next.sinks[i].due;
		next.checkpoint_id = cp->meta.checkpoint_id;
		cp->meta.epoch = next.epoch; /* It is not the one after, but the first. */
		rc = tide_checkpoint_decide(cp, &next, &writes, 1, NULL, 0, err);
	}
	tide_meta_fini(&next);
	tide_writes_free(writes);
	tide_checkpoint_close(cp);
	return rc;
}
