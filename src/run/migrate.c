/* SPDX-License-Identifier: Apache-2.0 */
/* States of a checkpoint, made to fit a job that has other aggregates.
 *
 * They are read in the order of their keys, a chunk of them at a time, and go to
 * files that enter the database with the decision, so that memory is bounded
 * however many there are. */
#include "run/migrate.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "run/plan.h"
#include "state/keys.h"
#include "state/value.h"

enum {
	CHUNK_BYTES = 1 << 20,
	CHUNK_STATES = 1024,
	SPILL_BYTES = 8 << 20, /* of new states in memory */
	SHOWN_MAX = 64
};

/* One operator's states, from their old layout to their new one. */
struct moving {
	const struct tide_plan_keyed *keyed;
	int number; /* of the operator in the plan */
	struct tide_state_op op;
	struct tide_rocks *rocks;
	struct tide_writes *writes;
	struct tide_vm *vm;     /* with the job's function; NULL: what there was moves */
	struct tide_buf layout; /* the old one */
	struct tide_plan_move moves[TIDE_PLAN_MOVES_MAX];
	int count;
	size_t old_size, new_size;
	/* The chunk: states, and the keys that they are stored under. */
	size_t room, have;
	char *old, *new;
	struct tide_pair *pairs;
	size_t *ends;
	struct tide_buf keys, bytes;
	unsigned long long states, gone;
	struct tide_state_count *count_of; /* on record; NULL: nobody knows */
};

static int fail_memory(const struct moving *moving, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory to change the states of %s",
	                 moving->keyed->name);
}

static struct tide_slice key_at(const struct moving *moving, size_t i)
{
	size_t from = i > 0 ? moving->ends[i - 1] : 0;
	return (struct tide_slice){ moving->keys.p + from, moving->ends[i] - from };
}

/* ---- what the job's function is told of ---- */

static void show_text(struct tide_slice text, struct tide_buf *out)
{
	size_t len = text.len < SHOWN_MAX ? text.len : SHOWN_MAX;
	tide_buf_u8(out, '"');
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text.p[i];
		tide_buf_u8(out, c < ' ' || c == 0x7f ? '?' : c);
	}
	tide_buf_printf(out, len < text.len ? "…\"" : "\"");
}

static void show_cell(enum tide_type type, const struct tide_cell *cell, struct tide_buf *out)
{
	char when[64];
	if (cell->len < 0) {
		tide_buf_printf(out, "null");
		return;
	}
	switch (type) {
	case TIDE_STRING:
	case TIDE_BYTES: show_text((struct tide_slice){ cell->p, (size_t)cell->len }, out); break;
	case TIDE_DOUBLE: tide_buf_printf(out, "%.17g", cell->d); break;
	case TIDE_BOOL: tide_buf_printf(out, cell->i != 0 ? "true" : "false"); break;
	case TIDE_INT: tide_buf_printf(out, "%lld", (long long)cell->i); break;
	case TIDE_TIMESTAMP:
		tide_clock_format_ms(cell->i / 1000, when, sizeof when);
		tide_buf_printf(out, "%s", when);
		break;
	}
}

static void show_key(const struct moving *moving, struct tide_slice stored, struct tide_buf *out)
{
	const struct tide_plan_keyed *keyed = moving->keyed;
	struct tide_keyspec spec;
	struct tide_cell cells[TIDE_KEY_PARTS_MAX];
	struct tide_buf key = { 0 };
	uint32_t shard;
	tide_plan_keyspec(keyed, &spec);
	if (tide_state_split(stored, moving->op, &shard, &key) && !key.failed &&
	    tide_key_decode(&spec, key.p, key.len, cells))
		for (int i = 0; i < keyed->key_count; i++) {
			tide_buf_printf(out, "%s%s = ", i > 0 ? ", " : "",
			                keyed->row->columns[keyed->keys[i]].name);
			show_cell(spec.types[i], &cells[i], out);
		}
	tide_buf_fini(&key);
}

static int ask_job(struct moving *moving, struct tide_error *err)
{
	size_t at;
	struct tide_buf key = { 0 };
	int rc = tide_vm_migrate(moving->vm, moving->number, moving->layout.p, moving->pairs,
	                         moving->have, &at, err);
	if (rc == TIDE_OK)
		return rc;
	show_key(moving, key_at(moving, at), &key);
	tide_fail_within(err,
	                 "state \"%s\" is not taken over and nothing was changed, as migrate fails "
	                 "for the key %.*s",
	                 moving->keyed->name, (int)key.len, key.p != NULL ? key.p : "");
	tide_buf_fini(&key);
	return rc;
}

/* ---- a chunk ---- */

static void move_one(const struct moving *moving, const char *old, char *new)
{
	for (int i = 0; i < moving->count; i++)
		memcpy(new + moving->moves[i].to, old + moving->moves[i].from,
		       moving->moves[i].size);
}

/* Nobody counts it any more. */
static bool is_over(const struct moving *moving, struct tide_slice stored)
{
	struct tide_buf end = { 0 };
	if (!moving->op.windowed)
		return false;
	tide_state_end(&end, moving->op, moving->count_of->closed_us + 1);
	bool over = !end.failed && moving->count_of->closed_us != INT64_MIN &&
	            memcmp(stored.p, end.p, stored.len < end.len ? stored.len : end.len) < 0;
	tide_buf_fini(&end);
	return over;
}

static bool put_one(struct moving *moving, size_t i)
{
	struct tide_slice key = key_at(moving, i);
	if (moving->pairs[i].into == 0) {
		moving->gone++;
		if (moving->count_of != NULL && !is_over(moving, key))
			moving->count_of->rows--;
		return tide_writes_delete(moving->writes, key);
	}
	tide_buf_clear(&moving->bytes);
	tide_value_encode(moving->new + i * moving->new_size, moving->new_size, &moving->bytes);
	return !moving->bytes.failed &&
	       tide_writes_put(moving->writes, key,
	                       (struct tide_slice){ moving->bytes.p, moving->bytes.len });
}

static int chunk_move(struct moving *moving, struct tide_error *err)
{
	int rc = tide_pass("migrate", err);
	bool ok = true;
	memset(moving->new, 0, moving->have * moving->new_size);
	for (size_t i = 0; i < moving->have; i++) {
		char *old = moving->old + i * moving->old_size;
		char *new = moving->new + i * moving->new_size;
		moving->pairs[i] = (struct tide_pair){ (uintptr_t) new, (uintptr_t)old };
		if (moving->vm == NULL)
			move_one(moving, old, new);
	}
	if (rc == TIDE_OK && moving->vm != NULL && moving->have > 0)
		rc = ask_job(moving, err);
	for (size_t i = 0; rc == TIDE_OK && ok && i < moving->have; i++)
		ok = put_one(moving, i);
	moving->states += moving->have;
	moving->have = 0;
	tide_buf_clear(&moving->keys);
	if (rc == TIDE_OK && !ok)
		rc = fail_memory(moving, err);
	if (rc == TIDE_OK && tide_writes_bytes(moving->writes) > SPILL_BYTES)
		rc = tide_writes_spill(moving->writes, moving->rocks, err);
	return rc;
}

static int chunk_add(struct moving *moving, struct tide_slice key, struct tide_slice value,
                     struct tide_error *err)
{
	char *old = moving->old + moving->have * moving->old_size;
	if (!tide_value_decode(value, old, moving->old_size))
		return tide_value_fail(moving->keyed->name, value, moving->old_size, err);
	tide_buf_put(&moving->keys, key.p, key.len);
	if (moving->keys.failed)
		return fail_memory(moving, err);
	moving->ends[moving->have++] = moving->keys.len;
	return moving->have == moving->room ? chunk_move(moving, err) : TIDE_OK;
}

/* ---- all of an operator ---- */

static bool chunk_make(struct moving *moving)
{
	size_t both = moving->old_size + moving->new_size;
	moving->room = CHUNK_BYTES / (both + 1) + 1;
	if (moving->room > CHUNK_STATES)
		moving->room = CHUNK_STATES;
	moving->old = malloc(moving->room * moving->old_size + 1);
	moving->new = malloc(moving->room * moving->new_size + 1);
	moving->pairs = calloc(moving->room, sizeof *moving->pairs);
	moving->ends = calloc(moving->room, sizeof *moving->ends);
	return moving->old != NULL && moving->new != NULL && moving->pairs != NULL &&
	       moving->ends != NULL;
}

static int move_all(struct moving *moving, struct tide_error *err)
{
	struct tide_buf from = { 0 }, to = { 0 };
	struct tide_slice key, value;
	struct tide_rocks_iter *it = NULL;
	int rc = TIDE_OK;
	tide_state_range(&from, &to, moving->op);
	if (chunk_make(moving) && !from.failed && !to.failed)
		it = tide_rocks_iter_new(moving->rocks, (struct tide_slice){ from.p, from.len },
		                         (struct tide_slice){ to.p, to.len });
	if (it == NULL)
		rc = fail_memory(moving, err);
	while (rc == TIDE_OK && tide_rocks_iter_next(it, &key, &value))
		rc = chunk_add(moving, key, value, err);
	int end = it != NULL ? tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL) : TIDE_OK;
	if (rc == TIDE_OK)
		rc = end;
	if (rc == TIDE_OK)
		rc = chunk_move(moving, err);
	free(moving->old);
	free(moving->new);
	free(moving->pairs);
	free(moving->ends);
	tide_buf_fini(&moving->keys);
	tide_buf_fini(&moving->bytes);
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	return rc;
}

/* Sessions that were given up are in the lists of their keys still. Without lists
 * they are made anew at the start (listing.h). */
static int drop_lists(struct moving *moving, struct tide_checkpoint *cp, struct tide_error *err)
{
	struct tide_state_op op;
	struct tide_buf from = { 0 }, to = { 0 };
	struct tide_slice key, value;
	struct tide_rocks_iter *it = NULL;
	int rc = tide_plan_index_op(moving->keyed, cp, &op, err);
	if (rc != TIDE_OK)
		return rc;
	tide_state_range(&from, &to, op);
	if (!from.failed && !to.failed)
		it = tide_rocks_iter_new(moving->rocks, (struct tide_slice){ from.p, from.len },
		                         (struct tide_slice){ to.p, to.len });
	bool ok = it != NULL;
	while (ok && rc == TIDE_OK && tide_rocks_iter_next(it, &key, &value)) {
		ok = tide_writes_delete(moving->writes, key);
		if (ok && tide_writes_bytes(moving->writes) > SPILL_BYTES)
			rc = tide_writes_spill(moving->writes, moving->rocks, err);
	}
	int end = it != NULL ? tide_rocks_iter_end(it, ok && rc == TIDE_OK ? err : NULL) : TIDE_OK;
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	if (rc == TIDE_OK && !ok)
		return fail_memory(moving, err);
	return rc != TIDE_OK ? rc : end;
}

static void tell(const struct moving *moving)
{
	if (moving->vm != NULL)
		tide_log(
			TIDE_INFO,
			"state \"%s\" is of version %d from now on: %llu keys were taken over, %llu "
			"were given up",
			moving->keyed->name, moving->keyed->version, moving->states - moving->gone,
			moving->gone);
	else
		tide_log(TIDE_WARN,
		         "state \"%s\" has aggregates that the checkpoint does not know: for keys "
		         "and windows that are there already they begin with the next row",
		         moving->keyed->name);
}

static int move_operator(struct moving *moving, struct tide_checkpoint *cp, const char *stored,
                         struct tide_error *err)
{
	const struct tide_plan_keyed *keyed = moving->keyed;
	moving->new_size = (size_t)keyed->state_size;
	if (tide_plan_migrates(stored, keyed))
		moving->old_size = tide_plan_stored_layout(stored, keyed, &moving->layout);
	else
		moving->vm = NULL;
	int rc = moving->layout.failed ? fail_memory(moving, err) : TIDE_OK;
	if (rc == TIDE_OK)
		rc = tide_checkpoint_op(cp, keyed->name, tide_plan_order(keyed), &moving->op, err);
	moving->rocks = tide_checkpoint_rocks(cp);
	if (rc == TIDE_OK)
		rc = move_all(moving, err);
	if (rc == TIDE_OK && keyed->session && moving->gone > 0)
		rc = drop_lists(moving, cp, err);
	tide_buf_fini(&moving->layout);
	if (rc == TIDE_OK)
		tell(moving);
	return rc;
}

int tide_migrate(struct tide_checkpoint *cp, const struct tide_plan *plan, struct tide_vm *vm,
                 const char *stored, struct tide_meta *meta, struct tide_error *err)
{
	struct tide_writes *writes = NULL;
	int rc = TIDE_OK;
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++) {
		struct moving moving = { .keyed = &plan->keyed[k], .number = k, .vm = vm };
		moving.count =
			tide_plan_moves(stored, &plan->keyed[k], moving.moves, &moving.old_size);
		if (moving.count == 0 && !tide_plan_migrates(stored, &plan->keyed[k]))
			continue;
		if (writes == NULL)
			writes = tide_writes_new();
		moving.writes = writes;
		moving.count_of = tide_meta_state(meta, plan->keyed[k].name);
		rc = writes == NULL ? fail_memory(&moving, err)
		                    : move_operator(&moving, cp, stored, err);
	}
	if (rc == TIDE_OK && writes != NULL)
		rc = tide_checkpoint_decide(cp, meta, &writes, 1, NULL, 0, err);
	tide_writes_free(writes);
	return rc;
}
