/* SPDX-License-Identifier: Apache-2.0 */
/* Operators' numbers, and the keys of their state. */
#include "checkpoint/inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "state/keys.h"

enum { OPS_MAX = 65535 }; /* the range of one ends where the next would begin */

_Static_assert(TIDE_SHARDS <= 256, "a shard is one byte of a state's key");

void tide_state_key(struct tide_buf *out, uint16_t op, uint32_t shard, const char *key,
                    size_t key_len)
{
	assert(shard < TIDE_SHARDS);
	const char head[] = { 's', (char)(op >> 8), (char)op, (char)shard };
	tide_buf_put(out, head, sizeof head);
	tide_buf_put(out, key, key_len);
}

static struct tide_op *op_add(struct tide_checkpoint *cp, const char *name, size_t len)
{
	struct tide_op *grown = realloc(cp->ops, ((size_t)cp->op_count + 1) * sizeof *grown);
	if (grown == NULL)
		return NULL;
	cp->ops = grown;
	struct tide_op *op = &grown[cp->op_count];
	*op = (struct tide_op){ .name = strndup(name, len) };
	if (op->name == NULL)
		return NULL;
	cp->op_count++;
	return op;
}

int tide_ops_load(struct tide_checkpoint *cp, struct tide_error *err)
{
	struct tide_slice key, value;
	int rc = TIDE_OK;
	struct tide_rocks_iter *it = tide_rocks_iter_new(cp->rocks, (struct tide_slice){ "n", 1 },
	                                                 (struct tide_slice){ "o", 1 });
	while (rc == TIDE_OK && it != NULL && tide_rocks_iter_next(it, &key, &value)) {
		struct tide_reader in = tide_reader_of(value.p, value.len);
		uint32_t number = tide_read_u32(&in);
		struct tide_op *op = op_add(cp, key.p + 1, key.len - 1);
		if (op == NULL)
			rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for operators");
		else if (in.failed || number >= OPS_MAX)
			rc = tide_fail(err, TIDE_ERR_CHECKPOINT,
			               "checkpoint %s/db: the number of operator %s is damaged",
			               cp->dir, op->name);
		if (rc == TIDE_OK) {
			op->number = (uint16_t)number;
			op->decided = true;
		}
	}
	int end = tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL);
	return rc != TIDE_OK ? rc : end;
}

bool tide_ops_write(const struct tide_checkpoint *cp, struct tide_writes *writes)
{
	bool ok = true;
	for (int i = 0; ok && i < cp->op_count; i++) {
		const struct tide_op *op = &cp->ops[i];
		struct tide_buf key = { 0 }, value = { 0 };
		if (op->decided)
			continue;
		tide_buf_u8(&key, 'n');
		tide_buf_put(&key, op->name, strlen(op->name));
		tide_buf_u32(&value, op->number);
		ok = !key.failed && !value.failed &&
		     tide_writes_put(writes, (struct tide_slice){ key.p, key.len },
		                     (struct tide_slice){ value.p, value.len });
		tide_buf_fini(&key);
		tide_buf_fini(&value);
	}
	return ok;
}

void tide_ops_decided(struct tide_checkpoint *cp)
{
	for (int i = 0; i < cp->op_count; i++)
		cp->ops[i].decided = true;
}

int tide_checkpoint_op(struct tide_checkpoint *cp, const char *name, uint16_t *number,
                       struct tide_error *err)
{
	int next = 0;
	assert(name[0] != '\0');
	for (int i = 0; i < cp->op_count; i++) {
		if (strcmp(cp->ops[i].name, name) == 0) {
			*number = cp->ops[i].number;
			return TIDE_OK;
		}
		if (cp->ops[i].number >= next)
			next = cp->ops[i].number + 1;
	}
	if (next >= OPS_MAX)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "checkpoint %s has had %d operators and takes no more", cp->dir,
		                 OPS_MAX);
	struct tide_op *op = op_add(cp, name, strlen(name));
	if (op == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for operators");
	op->number = *number = (uint16_t)next;
	return TIDE_OK;
}
