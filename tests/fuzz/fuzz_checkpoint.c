/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a checkpoint holds, under good checksums: a decision record,
 * keys and states, an entry of the outbox, a fingerprint of a plan. Each is
 * refused, or exactly what encoding writes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/outbox.h"
#include "run/plan.h"
#include "state/keys.h"
#include "state/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

enum { MAGIC = 0x4154454d, OUTBOX_SEED = 0x6f757462, KINDS = 6 };

static void require(int holds)
{
	if (!holds)
		abort();
}

/* ---- decision records ---- */

static void try_meta(const uint8_t *data, size_t size)
{
	struct tide_buf bytes = { 0 }, again = { 0 }, twice = { 0 };
	struct tide_meta meta, copy;
	struct tide_error err;
	tide_buf_u32(&bytes, MAGIC);
	tide_buf_put(&bytes, data, size);
	tide_buf_u64(&bytes, tide_hash(bytes.p, bytes.len, MAGIC));
	require(!bytes.failed);
	struct tide_slice given = { bytes.p, bytes.len };
	if (tide_meta_decode(given, &meta, &err) == TIDE_OK) {
		tide_meta_encode(&meta, &again);
		struct tide_slice written = { again.p, again.len };
		require(!again.failed && tide_meta_decode(written, &copy, NULL) == TIDE_OK);
		tide_meta_encode(&copy, &twice);
		require(twice.len == again.len && memcmp(twice.p, again.p, again.len) == 0);
		tide_meta_fini(&copy);
		require(tide_meta_copy(&copy, &meta));
		tide_meta_fini(&copy);
		tide_meta_fini(&meta);
	} else {
		require(err.text[0] != '\0');
	}
	tide_buf_fini(&bytes);
	tide_buf_fini(&again);
	tide_buf_fini(&twice);
}

/* ---- keys and states ---- */

static void try_key(const uint8_t *data, size_t size)
{
	struct tide_keyspec spec = { 0 };
	struct tide_cell cells[TIDE_KEY_PARTS_MAX];
	if (size < 1 || size < 1 + (size_t)(data[0] % TIDE_KEY_PARTS_MAX) + 1)
		return;
	spec.count = data[0] % TIDE_KEY_PARTS_MAX + 1;
	for (int i = 0; i < spec.count; i++) {
		spec.columns[i] = i;
		spec.types[i] = (enum tide_type)(TIDE_INT + data[1 + i] % 6);
	}
	data += 1 + spec.count;
	size -= 1 + (size_t)spec.count;
	if (!tide_key_decode(&spec, (const char *)data, size, cells))
		return;
	char *again = malloc(size + 1);
	require(again != NULL && tide_key_size(&spec, cells) == size);
	require(tide_key_encode(&spec, cells, again) == again + size);
	require(memcmp(again, data, size) == 0);
	free(again);
}

static void try_value(const uint8_t *data, size_t size)
{
	struct tide_buf out = { 0 };
	size_t state_size = size < 2 ? 8 : ((size_t)data[0] << 8 | data[1]) % 4096 + 1;
	char *state = malloc(state_size), *again = malloc(state_size);
	require(state != NULL && again != NULL);
	struct tide_slice value = { (const char *)data + (size < 2 ? 0 : 2),
		                    size < 2 ? 0 : size - 2 };
	if (tide_value_decode(value, state, state_size)) {
		tide_value_encode(state, state_size, &out);
		value = (struct tide_slice){ out.p, out.len };
		require(!out.failed && out.len <= state_size);
		require(tide_value_decode(value, again, state_size));
		require(memcmp(state, again, state_size) == 0);
	}
	tide_buf_fini(&out);
	free(state);
	free(again);
}

/* As a scan of an operator's range finds it: of that operator. */
static void try_split(const uint8_t *data, size_t size)
{
	struct tide_buf given = { 0 }, key = { 0 }, again = { 0 };
	uint32_t shard;
	if (size == 0)
		return;
	struct tide_state_op op = { data[0] & 3, (data[0] & 4) != 0, (data[0] & 12) == 12 };
	tide_buf_put(&given, (const char[]){ 's', 0, (char)op.number }, 3);
	tide_buf_put(&given, data + 1, size - 1);
	struct tide_slice stored = { given.p, given.len };
	if (tide_state_split(stored, op, &shard, &key)) {
		require(!key.failed && shard < TIDE_SHARDS);
		tide_state_key(&again, op, shard, key.p != NULL ? key.p : "", key.len);
		require(again.len == stored.len && memcmp(again.p, stored.p, stored.len) == 0);
	}
	tide_buf_fini(&given);
	tide_buf_fini(&key);
	tide_buf_fini(&again);
}

/* ---- the outbox, and plans ---- */

static void try_outbox(const uint8_t *data, size_t size)
{
	struct tide_buf bytes = { 0 }, rows = { 0 };
	struct tide_error err;
	tide_buf_put(&bytes, data, size);
	tide_buf_u64(&bytes, tide_hash(bytes.p, bytes.len, OUTBOX_SEED));
	struct tide_slice value = { bytes.p, bytes.len };
	if (tide_outbox_rows("/nowhere", value, &rows, &err) != TIDE_OK)
		require(err.text[0] != '\0');
	else
		require(rows.len <= size);
	tide_buf_fini(&bytes);
	tide_buf_fini(&rows);
}

static struct tide_plan_keyed *keyed_of(struct tide_plan *plan)
{
	static int keys[] = { 0 };
	static struct tide_schema *row;
	static struct tide_plan_keyed keyed = {
		.name = (char *)(uintptr_t) "count",
		.key_count = 1,
		.keys = keys,
		.state_size = 24,
		.version = 2,
		.migrates = true,
		.mark = -1,
		.layout =
			(char *)(uintptr_t) "key{int}; n=count{, 8 bytes}; s=sum{v:int, 16 bytes}",
	};
	if (row == NULL) {
		row = tide_schema_new(1);
		require(row != NULL);
		row->columns[0] = (struct tide_column){ "part", TIDE_INT, false };
	}
	keyed.row = row;
	*plan = (struct tide_plan){ .keyed_count = 1, .keyed = &keyed };
	return &keyed;
}

static void try_plan(const uint8_t *data, size_t size)
{
	struct tide_plan plan;
	struct tide_plan_move moves[TIDE_PLAN_MOVES_MAX];
	struct tide_error err;
	struct tide_buf layout = { 0 };
	struct tide_plan_keyed *keyed = keyed_of(&plan);
	size_t old_size = 0;
	char *stored = malloc(size + 1);
	require(stored != NULL);
	memcpy(stored, data, size);
	stored[size] = '\0';
	if (tide_plan_compare(stored, &plan, "/cp", &err) != TIDE_OK)
		require(err.text[0] != '\0');
	else if (tide_plan_migrates(stored, keyed))
		require(tide_plan_stored_layout(stored, keyed, &layout) < SIZE_MAX / 2);
	else
		require(tide_plan_moves(stored, keyed, moves, &old_size) <= TIDE_PLAN_MOVES_MAX);
	tide_buf_fini(&layout);
	free(stored);
}

/* ---- what to begin with ---- */

static void put_sample(uint8_t kind, struct tide_buf *out)
{
	struct tide_meta meta = { .epoch = 7, .checkpoint_id = 9, .watermark_us = INT64_MIN };
	struct tide_plan plan;
	tide_buf_u8(out, kind);
	if (kind == 0) {
		require(tide_meta_position_add(&meta, "orders", 1) != NULL);
		require(tide_meta_sink_add(&meta, "console:orders") != NULL);
		struct tide_event_mark *mark = tide_meta_mark(&meta, "at");
		require(mark != NULL && tide_meta_mark_part(mark, "orders", 1) != NULL);
		struct tide_late_count *late = tide_meta_late(&meta, "count");
		require(late != NULL);
		late->late = 3;
		size_t from = out->len;
		tide_meta_encode(&meta, out);
		/* The magic before and the checksum behind it are put there again. */
		memmove(out->p + from, out->p + from + 4, out->len - from - 12);
		out->len -= 12;
		tide_meta_fini(&meta);
	} else if (kind == 1) {
		tide_buf_put(out, "\1\1\4\3abc\1\7\0\0\0\0\0\0\0", 16);
	} else if (kind == 4) {
		tide_buf_u8(out, 1);
		tide_buf_str(out, "7.rows");
		tide_buf_u64(out, 100);
		tide_buf_u64(out, 1);
	} else if (kind == 5) {
		keyed_of(&plan);
		tide_plan_fingerprint(&plan, out);
	} else {
		tide_buf_put(out, "\0\20\0abcdefgh", 11);
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	if (size < 2 || seed % 64 == 0) {
		struct tide_buf sample = { 0 };
		put_sample((uint8_t)(seed / 64 % KINDS), &sample);
		require(!sample.failed);
		size = sample.len < max_size ? sample.len : max_size;
		memcpy(data, sample.p, size);
		tide_buf_fini(&sample);
	}
	return LLVMFuzzerMutate(data, size, max_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[KINDS])(const uint8_t *, size_t) = { try_meta,   try_key,
		                                                       try_value,  try_split,
		                                                       try_outbox, try_plan };
	if (size > 0)
		tries[data[0] % KINDS](data + 1, size - 1);
	return 0;
}
