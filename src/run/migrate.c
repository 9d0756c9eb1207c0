/* SPDX-License-Identifier: Apache-2.0 */
/* States of a checkpoint, made to fit a job that has more aggregates. */
#include "run/migrate.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "run/plan.h"
#include "state/value.h"

/* One operator's states, from their old layout to their new one. */
struct moving {
	const struct tide_plan_keyed *keyed;
	struct tide_plan_move moves[TIDE_PLAN_MOVES_MAX];
	int count;
	size_t old_size;
	char *old, *new;
	struct tide_buf bytes;
};

static int fail_memory(const struct moving *moving, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory to give %s its new aggregates",
	                 moving->keyed->name);
}

static int move_one(struct moving *moving, struct tide_slice key, struct tide_slice value,
                    struct tide_writes *writes, struct tide_error *err)
{
	size_t size = (size_t)moving->keyed->state_size;
	if (!tide_value_decode(value, moving->old, moving->old_size))
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "state of %s has %zu bytes that are no state of %zu; run "
		                 "`tidemark checkpoint verify`",
		                 moving->keyed->name, value.len, moving->old_size);
	memset(moving->new, 0, size);
	for (int i = 0; i < moving->count; i++)
		memcpy(moving->new + moving->moves[i].to, moving->old + moving->moves[i].from,
		       moving->moves[i].size);
	tide_buf_clear(&moving->bytes);
	tide_value_encode(moving->new, size, &moving->bytes);
	bool ok = !moving->bytes.failed &&
	          tide_writes_put(writes, key,
	                          (struct tide_slice){ moving->bytes.p, moving->bytes.len });
	return ok ? TIDE_OK : fail_memory(moving, err);
}

static int move_all(struct moving *moving, struct tide_rocks *rocks, struct tide_state_op op,
                    struct tide_writes *writes, struct tide_error *err)
{
	struct tide_buf from = { 0 }, to = { 0 };
	struct tide_slice key, value;
	struct tide_rocks_iter *it = NULL;
	int rc = TIDE_OK;
	moving->old = malloc(moving->old_size + 1);
	moving->new = malloc((size_t)moving->keyed->state_size + 1);
	tide_state_range(&from, &to, op);
	if (moving->old != NULL && moving->new != NULL && !from.failed && !to.failed)
		it = tide_rocks_iter_new(rocks, (struct tide_slice){ from.p, from.len },
		                         (struct tide_slice){ to.p, to.len });
	if (it == NULL)
		rc = fail_memory(moving, err);
	while (rc == TIDE_OK && tide_rocks_iter_next(it, &key, &value))
		rc = move_one(moving, key, value, writes, err);
	int end = it != NULL ? tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL) : TIDE_OK;
	free(moving->old);
	free(moving->new);
	tide_buf_fini(&moving->bytes);
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	return rc != TIDE_OK ? rc : end;
}

int tide_migrate(struct tide_checkpoint *cp, const struct tide_plan *plan,
                 const struct tide_state_op *ops, const char *stored, const struct tide_meta *meta,
                 struct tide_error *err)
{
	struct tide_writes *writes = NULL;
	int rc = TIDE_OK;
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++) {
		struct moving moving = { .keyed = &plan->keyed[k] };
		moving.count =
			tide_plan_moves(stored, &plan->keyed[k], moving.moves, &moving.old_size);
		if (moving.count == 0)
			continue;
		if (writes == NULL)
			writes = tide_writes_new();
		if (writes == NULL) {
			rc = fail_memory(&moving, err);
			break;
		}
		tide_log(TIDE_WARN,
		         "state \"%s\" has aggregates that the checkpoint does not know: for keys "
		         "and windows that are there already they begin with the next row",
		         plan->keyed[k].name);
		rc = move_all(&moving, tide_checkpoint_rocks(cp), ops[k], writes, err);
	}
	if (rc == TIDE_OK && writes != NULL)
		rc = tide_checkpoint_decide(cp, meta, &writes, 1, NULL, 0, err);
	tide_writes_free(writes);
	return rc;
}
