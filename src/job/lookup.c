/* SPDX-License-Identifier: Apache-2.0 */
/* See lookup.h. Open addressing over hashes; keys are never removed. */
#include "job/lookup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct item {
	char *key;
	size_t len;
	uint64_t hash;
};

struct tide_lookup {
	struct item *items;
	uint32_t count, size; /* size is a power of two; slots has twice as many */
	int32_t *slots;       /* item, or -1 */
};

struct tide_lookup *tide_lookup_new(void)
{
	return calloc(1, sizeof(struct tide_lookup));
}

void tide_lookup_free(struct tide_lookup *lookup)
{
	if (lookup == NULL)
		return;
	for (uint32_t i = 0; i < lookup->count; i++)
		free(lookup->items[i].key);
	free(lookup->items);
	free(lookup->slots);
	free(lookup);
}

static void slot_set(int32_t *slots, uint32_t size, uint64_t hash, int32_t item)
{
	uint32_t at = (uint32_t)hash & (size * 2 - 1);
	while (slots[at] >= 0)
		at = (at + 1) & (size * 2 - 1);
	slots[at] = item;
}

static int lookup_grow(struct tide_lookup *lookup)
{
	uint32_t size = lookup->size == 0 ? 16 : lookup->size * 2;
	int32_t *slots = malloc(size * 2 * sizeof *slots);
	struct item *items = realloc(lookup->items, size * sizeof *items);
	if (items != NULL)
		lookup->items = items;
	if (slots == NULL || items == NULL || size > INT32_MAX / 4) {
		free(slots);
		return -1;
	}
	memset(slots, 0xff, size * 2 * sizeof *slots);
	for (uint32_t i = 0; i < lookup->count; i++)
		slot_set(slots, size, items[i].hash, (int32_t)i);
	free(lookup->slots);
	lookup->slots = slots;
	lookup->size = size;
	return 0;
}

int32_t tide_lookup_find(const struct tide_lookup *lookup, const char *key, size_t len)
{
	assert(lookup != NULL);
	if (lookup->size == 0)
		return -1;
	uint64_t hash = tide_hash(key, len, 0);
	uint32_t mask = lookup->size * 2 - 1;
	for (uint32_t at = (uint32_t)hash & mask; lookup->slots[at] >= 0; at = (at + 1) & mask) {
		const struct item *item = &lookup->items[lookup->slots[at]];
		if (item->hash == hash && item->len == len && memcmp(item->key, key, len) == 0)
			return lookup->slots[at];
	}
	return -1;
}

int32_t tide_lookup_add(struct tide_lookup *lookup, const char *key, size_t len)
{
	int32_t found = tide_lookup_find(lookup, key, len);
	if (found >= 0)
		return found;
	if (lookup->count == lookup->size && lookup_grow(lookup) != 0)
		return -1;
	struct item *item = &lookup->items[lookup->count];
	item->key = malloc(len + 1);
	if (item->key == NULL)
		return -1;
	memcpy(item->key, key, len);
	item->len = len;
	item->hash = tide_hash(key, len, 0);
	slot_set(lookup->slots, lookup->size, item->hash, (int32_t)lookup->count);
	return (int32_t)lookup->count++;
}
