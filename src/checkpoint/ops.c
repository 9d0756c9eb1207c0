/* SPDX-License-Identifier: Apache-2.0 */
/* Operators' numbers, and the keys of their state. */
#include "checkpoint/inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "state/keys.h"

enum {
	OPS_MAX = 65535, /* the range of one ends where the next would begin */
	OP_SIZE = 3      /* of a state's key: what it is, and whose */
};

_Static_assert(TIDE_SHARDS <= 256, "a shard is one byte of a state's key");

static void put_op(struct tide_buf *out, uint32_t number)
{
	const char head[] = { 's', (char)(number >> 8), (char)number };
	tide_buf_put(out, head, sizeof head);
}

/* In the order of numbers: big-endian, the sign flipped. */
static void put_end(struct tide_buf *out, int64_t end_us)
{
	uint64_t bits = __builtin_bswap64((uint64_t)end_us ^ (uint64_t)INT64_MIN);
	tide_buf_put(out, &bits, sizeof bits);
}

static struct tide_state_op op_of(int number, enum tide_state_order order)
{
	return (struct tide_state_op){ (uint16_t)number, order != TIDE_ORDER_KEYS,
		                       order == TIDE_ORDER_SESSIONS };
}

static enum tide_state_order order_of(struct tide_state_op op)
{
	if (!op.windowed)
		return TIDE_ORDER_KEYS;
	return op.sessions ? TIDE_ORDER_SESSIONS : TIDE_ORDER_WINDOWS;
}

uint32_t tide_state_shard(struct tide_state_op op, const char *key, size_t key_len)
{
	size_t from = op.sessions ? TIDE_KEY_TIME_SIZE : 0;
	assert(key_len >= from);
	return tide_key_shard(key + from, key_len - from);
}

void tide_state_range(struct tide_buf *from, struct tide_buf *to, struct tide_state_op op)
{
	put_op(from, op.number);
	put_op(to, op.number + 1u);
}

void tide_state_end(struct tide_buf *out, struct tide_state_op op, int64_t end_us)
{
	assert(op.windowed);
	put_op(out, op.number);
	put_end(out, end_us);
}

void tide_state_key(struct tide_buf *out, struct tide_state_op op, uint32_t shard, const char *key,
                    size_t key_len)
{
	assert(shard < TIDE_SHARDS);
	put_op(out, op.number);
	if (op.windowed) {
		assert(key_len >= TIDE_KEY_TIME_SIZE);
		put_end(out, tide_key_time(key));
		key += TIDE_KEY_TIME_SIZE;
		key_len -= TIDE_KEY_TIME_SIZE;
	}
	tide_buf_u8(out, (uint8_t)shard);
	tide_buf_put(out, key, key_len);
}

bool tide_state_split(struct tide_slice stored, struct tide_state_op op, uint32_t *shard,
                      struct tide_buf *key)
{
	size_t head = OP_SIZE + (op.windowed ? sizeof(uint64_t) : 0);
	if (stored.len < head + 1)
		return false;
	if (op.windowed) {
		uint64_t bits;
		memcpy(&bits, stored.p + OP_SIZE, sizeof bits);
		tide_key_put_time(key, (int64_t)(__builtin_bswap64(bits) ^ (uint64_t)INT64_MIN));
	}
	*shard = (uint8_t)stored.p[head];
	tide_buf_put(key, stored.p + head + 1, stored.len - head - 1);
	return *shard < TIDE_SHARDS;
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
		/* Before there were windows, there was nothing behind the number. */
		uint8_t order = in.p < in.end ? tide_read_u8(&in) : TIDE_ORDER_KEYS;
		struct tide_op *op = op_add(cp, key.p + 1, key.len - 1);
		if (op == NULL)
			rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for operators");
		else if (in.failed || number >= OPS_MAX || order > TIDE_ORDER_SESSIONS)
			rc = tide_fail(err, TIDE_ERR_CHECKPOINT,
			               "checkpoint %s/db: the number of operator %s is damaged",
			               cp->dir, op->name);
		if (rc == TIDE_OK) {
			op->op = op_of((int)number, (enum tide_state_order)order);
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
		tide_buf_u32(&value, op->op.number);
		tide_buf_u8(&value, (uint8_t)order_of(op->op));
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

int tide_checkpoint_op(struct tide_checkpoint *cp, const char *name, enum tide_state_order order,
                       struct tide_state_op *op, struct tide_error *err)
{
	static const char *const orders[] = { "without windows", "in windows", "in sessions" };
	int next = 0;
	assert(name[0] != '\0');
	for (int i = 0; i < cp->op_count; i++) {
		if (strcmp(cp->ops[i].name, name) == 0) {
			*op = cp->ops[i].op;
			if (order_of(*op) == order)
				return TIDE_OK;
			return tide_fail(err, TIDE_ERR_CHECKPOINT,
			                 "checkpoint %s has state \"%s\" %s, and the job has it "
			                 "%s; give the new one another name",
			                 cp->dir, name, orders[order_of(*op)], orders[order]);
		}
		if (cp->ops[i].op.number >= next)
			next = cp->ops[i].op.number + 1;
	}
	if (next >= OPS_MAX)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "checkpoint %s has had %d operators and takes no more", cp->dir,
		                 OPS_MAX);
	struct tide_op *added = op_add(cp, name, strlen(name));
	if (added == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for operators");
	added->op = *op = op_of(next, order);
	return TIDE_OK;
}
