/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that wait for their states. */
#include "state/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

enum {
	SHORT = 16, /* texts of 1 to 16 bytes are copied as one wide word */
	PAGE = 4096,
	ROOM_MIN = 1024 /* bytes free before a push: for a key of short texts */
};

/* What Lua sees of it comes first. */
struct queue {
	struct tide_queue pub;
	struct tide_table *table;
	const struct tide_keyspec *keyspec;
	struct tide_wanted *wanted;
	uint32_t capacity;
	char *keys, *keys_at, *keys_end;
	int *arg_columns;
	bool *arg_is_text;
	int arg_count;
	size_t max; /* bytes; 0: as many as there are */
	uint64_t total;
	uint64_t top; /* where entries began that the last resolve made */
};

/* The text may be a Lua string, behind whose end nothing is promised. A wide
 * load inside the page where the text begins cannot fault; the sanitizers
 * cannot know that, so their builds copy exactly. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define wide_ok(p) ((void)(p), false)
#else
#define wide_ok(p) (((uintptr_t)(p) & (PAGE - 1)) <= PAGE - SHORT)
#endif

static bool grow_items(struct queue *queue)
{
	uint32_t capacity = queue->capacity * 2 + 1024;
	size_t args = (size_t)capacity * (size_t)queue->arg_count + 1;
	size_t each = sizeof *queue->wanted + sizeof *queue->pub.states + sizeof *queue->pub.rows;
	if (queue->max != 0 && capacity * each + args * sizeof *queue->pub.args > queue->max)
		return false;
	struct tide_wanted *wanted = realloc(queue->wanted, capacity * sizeof *wanted);
	if (wanted != NULL)
		queue->wanted = wanted;
	uint64_t *states = realloc(queue->pub.states, capacity * sizeof *states);
	if (states != NULL)
		queue->pub.states = states;
	uint32_t *rows = realloc(queue->pub.rows, capacity * sizeof *rows);
	if (rows != NULL)
		queue->pub.rows = rows;
	struct tide_cell *cells = realloc(queue->pub.args, args * sizeof *cells);
	if (cells != NULL)
		queue->pub.args = cells;
	if (wanted == NULL || states == NULL || rows == NULL || cells == NULL)
		return false;
	queue->capacity = capacity;
	return true;
}

static bool grow_keys(struct queue *queue, size_t more)
{
	size_t used = (size_t)(queue->keys_at - queue->keys);
	size_t size = (used + more) * 2 + 64 * 1024;
	if (size > UINT32_MAX || (queue->max != 0 && size > queue->max))
		return false;
	char *keys = realloc(queue->keys, size);
	if (keys == NULL)
		return false;
	queue->keys = keys;
	queue->keys_at = keys + used;
	queue->keys_end = keys + size - TIDE_KEY_SLACK;
	return true;
}

struct tide_queue *tide_queue_new(struct tide_table *table, const struct tide_keyspec *keyspec,
                                  const int *args, const bool *arg_is_text, int arg_count)
{
	struct queue *queue = calloc(1, sizeof *queue);
	if (queue == NULL)
		return NULL;
	queue->table = table;
	queue->keyspec = keyspec;
	queue->arg_count = arg_count;
	queue->arg_columns = calloc((size_t)arg_count + 1, sizeof *queue->arg_columns);
	queue->arg_is_text = calloc((size_t)arg_count + 1, sizeof *queue->arg_is_text);
	if (queue->arg_columns == NULL || queue->arg_is_text == NULL || !grow_items(queue) ||
	    !grow_keys(queue, 0)) {
		tide_queue_free(&queue->pub);
		return NULL;
	}
	for (int i = 0; i < arg_count; i++) {
		queue->arg_columns[i] = args[i];
		queue->arg_is_text[i] = arg_is_text[i];
	}
	return &queue->pub;
}

void tide_queue_limit(struct tide_queue *pub, size_t bytes)
{
	((struct queue *)pub)->max = bytes;
}

void tide_queue_free(struct tide_queue *pub)
{
	struct queue *queue = (struct queue *)pub;
	if (queue == NULL)
		return;
	free(queue->wanted);
	free(queue->pub.states);
	free(queue->pub.rows);
	free(queue->pub.args);
	free(queue->keys);
	free(queue->arg_columns);
	free(queue->arg_is_text);
	free(queue);
}

/* As tide_key_encode, for keys of short texts; NULL: not one of those. */
static inline char *encode_short(const struct tide_keyspec *spec, const struct tide_cell *row,
                                 char *out)
{
	for (int i = 0; i < spec->count; i++) {
		/* Read once: what is stored through `out` could be the cell, for all that
		 * the compiler knows. */
		const struct tide_cell cell = row[spec->columns[i]];
		if ((spec->types[i] != TIDE_STRING && spec->types[i] != TIDE_BYTES) ||
		    (uint32_t)cell.len - 1 >= SHORT || !wide_ok(cell.p))
			return NULL;
		*out = (char)cell.len;
		memcpy(out + 1, cell.p, SHORT);
		out += 1 + cell.len;
	}
	return out;
}

/* Text arguments may be Lua strings that are gone by the time they are added:
 * their bytes go behind the key, and their cells hold how far from the start. */
static bool keep_args(struct queue *queue, const struct tide_cell *row)
{
	struct tide_cell *args = queue->pub.args + queue->pub.count * (uint32_t)queue->arg_count;
	for (int i = 0; i < queue->arg_count; i++) {
		args[i] = row[queue->arg_columns[i]];
		if (!queue->arg_is_text[i] || args[i].len < 0)
			continue;
		size_t len = (size_t)args[i].len;
		if ((size_t)(queue->keys_end - queue->keys_at) < len && !grow_keys(queue, len))
			return false;
		memcpy(queue->keys_at, args[i].p, len);
		args[i].i = queue->keys_at - queue->keys;
		queue->keys_at += len;
	}
	return true;
}

bool tide_queue_push(struct tide_queue *pub, const struct tide_cell *row, uint32_t number)
{
	struct queue *queue = (struct queue *)pub;
	const struct tide_keyspec *spec = queue->keyspec;
	if (unlikely(pub->count == queue->capacity) && !grow_items(queue))
		return false;
	if (unlikely(queue->keys_end - queue->keys_at < ROOM_MIN) && !grow_keys(queue, ROOM_MIN))
		return false;
	char *key = queue->keys_at, *end = encode_short(spec, row, key);
	if (unlikely(end == NULL)) {
		size_t size = tide_key_size(spec, row);
		if ((size_t)(queue->keys_end - key) < size && !grow_keys(queue, size))
			return false;
		key = queue->keys_at;
		end = tide_key_encode(spec, row, key);
	}
	queue->wanted[pub->count] = (struct tide_wanted){ (uint32_t)(key - queue->keys),
		                                          (uint32_t)(end - key), number };
	queue->keys_at = end;
	if (queue->arg_count > 0 && !keep_args(queue, row))
		return false;
	pub->count++;
	return true;
}

void tide_queue_drop(struct tide_queue *pub, uint32_t count)
{
	struct queue *queue = (struct queue *)pub;
	assert(count <= pub->count);
	if (count < pub->count)
		queue->keys_at = queue->keys + queue->wanted[count].at;
	pub->count = count;
}

bool tide_queue_resolve(struct tide_queue *pub, uint32_t *count)
{
	struct queue *queue = (struct queue *)pub;
	*count = pub->count;
	queue->top = tide_table_top(queue->table);
	if (!tide_table_resolve(queue->table, queue->keys, queue->wanted, pub->count, pub->states))
		return false;
	for (uint32_t i = 0; i < pub->count; i++)
		pub->rows[i] = queue->wanted[i].row;
	struct tide_cell *args = pub->args;
	for (uint32_t i = 0; i < pub->count; i++)
		for (int k = 0; k < queue->arg_count; k++, args++)
			if (queue->arg_is_text[k] && args->len >= 0)
				args->p = queue->keys + args->i;
	queue->total += pub->count;
	pub->count = 0;
	queue->keys_at = queue->keys;
	return true;
}

void tide_queue_forget(struct tide_queue *pub, uint32_t number)
{
	struct queue *queue = (struct queue *)pub;
	if (pub->states[number] > queue->top)
		tide_table_remove(queue->table,
		                  tide_entry_of((void *)(uintptr_t)pub->states[number]));
}

uint64_t tide_queue_total(const struct tide_queue *pub)
{
	return ((const struct queue *)pub)->total;
}
