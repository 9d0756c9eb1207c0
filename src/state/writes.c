/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of changes: collected in chunks, walked in order, merged by key. */
#include "state/writes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/order.h"

enum {
	CHUNK_BYTES = 256 * 1024,
	AHEAD = 16 /* records that are fetched while others are read */
};

struct chunk {
	struct chunk *next;
	size_t used, cap;
	char bytes[];
};

/* A record: this head, the key, the value; not aligned. */
struct head {
	uint32_t kind, key_len, value_len;
};

struct tide_writes {
	struct chunk *first, *last;
	size_t count, bytes;
	const char *newest; /* record, to see whether keys come in order */
	bool sorted, ranges;
	struct tide_writes *dropped;
	struct tide_staged *staged;
};

struct tide_writes *tide_writes_new(void)
{
	struct tide_writes *writes = calloc(1, sizeof *writes);
	if (writes != NULL)
		writes->sorted = true;
	return writes;
}

static void chunks_free(struct tide_writes *writes)
{
	for (struct chunk *next, *chunk = writes->first; chunk != NULL; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
}

void tide_writes_free(struct tide_writes *writes)
{
	if (writes == NULL)
		return;
	chunks_free(writes);
	tide_writes_free(writes->dropped);
	tide_staged_free(writes->staged);
	free(writes);
}

static size_t record_read(const char *record, struct tide_write *out)
{
	struct head head;
	memcpy(&head, record, sizeof head);
	record += sizeof head;
	out->kind = (enum tide_write_kind)head.kind;
	out->key = (struct tide_slice){ record, head.key_len };
	out->value = (struct tide_slice){ record + head.key_len, head.value_len };
	return sizeof head + head.key_len + head.value_len;
}

int tide_writes_compare(struct tide_slice a, struct tide_slice b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int order = common > 0 ? memcmp(a.p, b.p, common) : 0;
	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

static bool add(struct tide_writes *writes, enum tide_write_kind kind, struct tide_slice key,
                struct tide_slice value)
{
	assert(key.len > 0);
	size_t size = sizeof(struct head) + key.len + value.len;
	if (key.len > UINT32_MAX || value.len > UINT32_MAX)
		return false;
	struct chunk *chunk = writes->last;
	if (chunk == NULL || chunk->cap - chunk->used < size) {
		size_t cap = size > CHUNK_BYTES ? size : CHUNK_BYTES;
		chunk = malloc(sizeof *chunk + cap);
		if (chunk == NULL)
			return false;
		*chunk = (struct chunk){ .cap = cap };
		*(writes->last != NULL ? &writes->last->next : &writes->first) = chunk;
		writes->last = chunk;
	}
	char *record = chunk->bytes + chunk->used;
	struct head head = { (uint32_t)kind, (uint32_t)key.len, (uint32_t)value.len };
	memcpy(record, &head, sizeof head);
	memcpy(record + sizeof head, key.p, key.len);
	if (value.len > 0)
		memcpy(record + sizeof head + key.len, value.p, value.len);
	if (writes->newest != NULL && writes->sorted) {
		struct tide_write newest;
		record_read(writes->newest, &newest);
		writes->sorted = tide_writes_compare(newest.key, key) < 0;
	}
	writes->newest = record;
	chunk->used += size;
	writes->bytes += key.len + value.len;
	writes->count++;
	return true;
}

bool tide_writes_put(struct tide_writes *writes, struct tide_slice key, struct tide_slice value)
{
	return add(writes, TIDE_WRITE_PUT, key, value);
}

bool tide_writes_delete(struct tide_writes *writes, struct tide_slice key)
{
	return add(writes, TIDE_WRITE_DELETE, key, (struct tide_slice){ NULL, 0 });
}

bool tide_writes_delete_range(struct tide_writes *writes, struct tide_slice from,
                              struct tide_slice to)
{
	assert(tide_writes_compare(from, to) < 0);
	writes->ranges = true;
	return add(writes, TIDE_WRITE_DELETE_RANGE, from, to);
}

bool tide_writes_drop(struct tide_writes *writes, struct tide_slice to)
{
	if (writes->dropped == NULL)
		writes->dropped = tide_writes_new();
	return writes->dropped != NULL &&
	       tide_writes_delete_range(writes->dropped, (struct tide_slice){ to.p, TIDE_KIND },
	                                to);
}

struct tide_writes *tide_writes_dropped(const struct tide_writes *writes)
{
	return writes->dropped;
}

struct tide_staged **tide_writes_staged(struct tide_writes *writes)
{
	return &writes->staged;
}

void tide_writes_empty(struct tide_writes *writes)
{
	assert(!writes->ranges);
	chunks_free(writes);
	writes->first = writes->last = NULL;
	writes->count = writes->bytes = 0;
	writes->newest = NULL;
	writes->sorted = true;
}

size_t tide_writes_bytes(const struct tide_writes *writes)
{
	return writes->bytes;
}

size_t tide_writes_count(const struct tide_writes *writes)
{
	return writes->count;
}

bool tide_writes_has_ranges(const struct tide_writes *writes)
{
	return writes->ranges;
}

/* The address of the next record, or NULL. */
static const char *walk_next(const struct tide_writes *writes, struct tide_writes_walk *walk,
                             struct tide_write *out)
{
	const struct chunk *chunk = walk->started ? walk->chunk : writes->first;
	walk->started = true;
	while (chunk != NULL && walk->at == chunk->used) {
		chunk = chunk->next;
		walk->at = 0;
	}
	walk->chunk = chunk;
	if (chunk == NULL)
		return NULL;
	const char *record = chunk->bytes + walk->at;
	walk->at += record_read(record, out);
	return record;
}

bool tide_writes_next(const struct tide_writes *writes, struct tide_writes_walk *walk,
                      struct tide_write *out)
{
	return walk_next(writes, walk, out) != NULL;
}

/* ---- merging ---- */

/* One set: as it was called if that was in key order, else as sorted items. */
struct source {
	const struct tide_writes *writes;
	struct tide_writes_walk walk;
	struct tide_order_item *items;
	size_t at;
	bool more;
	struct tide_write head;
};

struct tide_writes_merge {
	int count;
	struct source sources[];
};

static int by_key(const void *a, const void *b, void *ignored)
{
	struct tide_write left, right;
	(void)ignored;
	record_read(a, &left);
	record_read(b, &right);
	return tide_writes_compare(left.key, right.key);
}

static size_t common_bytes(struct tide_slice a, struct tide_slice b, size_t most)
{
	size_t at = 0;
	while (at < most && at < a.len && at < b.len && a.p[at] == b.p[at])
		at++;
	return at;
}

/* By what follows the bytes that all keys begin with. Equal ones stay in the order
 * of the calls. */
static bool source_sort(struct source *source)
{
	const struct tide_writes *writes = source->writes;
	struct tide_writes_walk walk = { 0 };
	struct tide_write write, first = { 0 };
	size_t common = SIZE_MAX;
	if (writes->count == 0)
		return true;
	source->items = malloc(writes->count * sizeof *source->items);
	if (source->items == NULL)
		return false;
	for (size_t i = 0; i < writes->count; i++) {
		source->items[i].what = walk_next(writes, &walk, &write);
		first = i == 0 ? write : first;
		common = common_bytes(first.key, write.key, common);
	}
	for (size_t i = 0; i < writes->count; i++) {
		record_read(source->items[i].what, &write);
		const char *rest = write.key.p + common;
		size_t len = write.key.len - common;
		source->items[i].major = tide_order_head(rest, len);
		source->items[i].minor = len > 8 ? tide_order_head(rest + 8, len - 8) : 0;
	}
	return tide_order_sort(source->items, writes->count, by_key, NULL);
}

/* To the next key of this source; of equal ones, the last. */
static void source_next(struct source *source)
{
	const struct tide_writes *writes = source->writes;
	if (source->items == NULL) {
		source->more = tide_writes_next(writes, &source->walk, &source->head);
		return;
	}
	source->more = source->at < writes->count;
	if (!source->more)
		return;
	/* In key order they lie all over memory. */
	if (source->at + AHEAD < writes->count)
		__builtin_prefetch(source->items[source->at + AHEAD].what);
	record_read(source->items[source->at++].what, &source->head);
	while (source->at < writes->count) {
		struct tide_write next;
		record_read(source->items[source->at].what, &next);
		if (tide_writes_compare(source->head.key, next.key) != 0)
			break;
		source->head = next;
		source->at++;
	}
}

struct tide_writes_merge *tide_writes_merge_new(struct tide_writes *const *sets, int count)
{
	assert(count > 0);
	struct tide_writes_merge *merge =
		calloc(1, sizeof *merge + (size_t)count * sizeof *merge->sources);
	if (merge == NULL)
		return NULL;
	for (int i = 0; i < count; i++) {
		struct source *source = &merge->sources[i];
		assert(!sets[i]->ranges);
		source->writes = sets[i];
		merge->count = i + 1;
		if (!sets[i]->sorted && !source_sort(source)) {
			tide_writes_merge_free(merge);
			return NULL;
		}
		source_next(source);
	}
	return merge;
}

bool tide_writes_merge_next(struct tide_writes_merge *merge, struct tide_write *out)
{
	struct source *least = NULL;
	for (int i = 0; i < merge->count; i++) {
		struct source *source = &merge->sources[i];
		if (!source->more)
			continue;
		int order =
			least != NULL ? tide_writes_compare(source->head.key, least->head.key) : -1;
		if (order == 0)
			source_next(least); /* the later set wins */
		if (order <= 0)
			least = source;
	}
	if (least == NULL)
		return false;
	*out = least->head;
	source_next(least);
	return true;
}

struct tide_slice tide_writes_merge_last(const struct tide_writes_merge *merge)
{
	struct tide_slice last = { NULL, 0 };
	for (int i = 0; i < merge->count; i++) {
		const struct source *source = &merge->sources[i];
		struct tide_write write;
		if (source->writes->count == 0)
			continue;
		record_read(source->items != NULL ? source->items[source->writes->count - 1].what
		                                  : source->writes->newest,
		            &write);
		if (last.p == NULL || tide_writes_compare(last, write.key) < 0)
			last = write.key;
	}
	return last;
}

void tide_writes_merge_free(struct tide_writes_merge *merge)
{
	if (merge == NULL)
		return;
	for (int i = 0; i < merge->count; i++)
		free(merge->sources[i].items);
	free(merge);
}
