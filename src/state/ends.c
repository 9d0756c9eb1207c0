/* SPDX-License-Identifier: Apache-2.0 */
/* Which entries of a table end when: a heap of ends, and a map from each to its
 * chain. */
#include "state/ends.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_MIN = 64 };

struct slot {
	int64_t end;
	struct tide_entry *head; /* NULL: the slot is free */
};

struct tide_ends {
	size_t link_at;
	int64_t *heap; /* the least first; as many as slots */
	struct slot *slots;
	size_t count, mask;
};

struct tide_ends *tide_ends_new(size_t link_at)
{
	struct tide_ends *ends = calloc(1, sizeof *ends);
	if (ends == NULL)
		return NULL;
	ends->link_at = link_at;
	ends->mask = SLOTS_MIN - 1;
	ends->slots = calloc(SLOTS_MIN, sizeof *ends->slots);
	ends->heap = calloc(SLOTS_MIN, sizeof *ends->heap);
	if (ends->slots != NULL && ends->heap != NULL)
		return ends;
	tide_ends_free(ends);
	return NULL;
}

void tide_ends_free(struct tide_ends *ends)
{
	if (ends == NULL)
		return;
	free(ends->slots);
	free(ends->heap);
	free(ends);
}

void tide_ends_clear(struct tide_ends *ends)
{
	memset(ends->slots, 0, (ends->mask + 1) * sizeof *ends->slots);
	ends->count = 0;
}

static size_t home_of(const struct tide_ends *ends, int64_t end)
{
	uint64_t hash = (uint64_t)end * UINT64_C(0x9e3779b97f4a7c15);
	return (size_t)(hash >> 32) & ends->mask;
}

/* Where the end is, or where it would go. */
static struct slot *slot_of(const struct tide_ends *ends, int64_t end)
{
	size_t at = home_of(ends, end);
	while (ends->slots[at].head != NULL && ends->slots[at].end != end)
		at = (at + 1) & ends->mask;
	return &ends->slots[at];
}

static bool grow(struct tide_ends *ends)
{
	size_t old_mask = ends->mask, count = (old_mask + 1) * 2;
	struct slot *old = ends->slots, *slots = calloc(count, sizeof *slots);
	int64_t *heap = realloc(ends->heap, count * sizeof *heap);
	if (heap != NULL)
		ends->heap = heap;
	if (heap == NULL || slots == NULL) {
		free(slots);
		return false;
	}
	ends->slots = slots;
	ends->mask = count - 1;
	for (size_t i = 0; i <= old_mask; i++)
		if (old[i].head != NULL)
			*slot_of(ends, old[i].end) = old[i];
	free(old);
	return true;
}

static struct tide_entry **link_of(const struct tide_ends *ends, struct tide_entry *entry)
{
	return (struct tide_entry **)(void *)(entry->bytes + ends->link_at);
}

static void heap_add(struct tide_ends *ends, int64_t end)
{
	size_t at = ends->count++;
	while (at > 0 && ends->heap[(at - 1) / 2] > end) {
		ends->heap[at] = ends->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	ends->heap[at] = end;
}

static void heap_pop(struct tide_ends *ends)
{
	int64_t last = ends->heap[--ends->count];
	size_t at = 0, child;
	while ((child = 2 * at + 1) < ends->count) {
		if (child + 1 < ends->count && ends->heap[child + 1] < ends->heap[child])
			child++;
		if (ends->heap[child] >= last)
			break;
		ends->heap[at] = ends->heap[child];
		at = child;
	}
	ends->heap[at] = last;
}

bool tide_ends_add(struct tide_ends *ends, int64_t end, struct tide_entry *entry)
{
	if (ends->count > ends->mask / 2 && !grow(ends))
		return false;
	struct slot *slot = slot_of(ends, end);
	if (slot->head == NULL) {
		slot->end = end;
		heap_add(ends, end);
	}
	*link_of(ends, entry) = slot->head;
	slot->head = entry;
	return true;
}

int64_t tide_ends_first(const struct tide_ends *ends)
{
	return ends->count > 0 ? ends->heap[0] : INT64_MAX;
}

/* Free a slot, and move up what was only behind it because it was taken. */
static void slot_free(struct tide_ends *ends, size_t hole)
{
	for (size_t at = (hole + 1) & ends->mask; ends->slots[at].head != NULL;
	     at = (at + 1) & ends->mask) {
		size_t home = home_of(ends, ends->slots[at].end);
		if (((at - home) & ends->mask) >= ((at - hole) & ends->mask)) {
			ends->slots[hole] = ends->slots[at];
			hole = at;
		}
	}
	ends->slots[hole].head = NULL;
}

struct tide_entry *tide_ends_pop(struct tide_ends *ends)
{
	assert(ends->count > 0);
	struct slot *slot = slot_of(ends, ends->heap[0]);
	struct tide_entry *head = slot->head;
	assert(head != NULL);
	slot_free(ends, (size_t)(slot - ends->slots));
	heap_pop(ends);
	return head;
}

struct tide_entry *tide_ends_next(const struct tide_ends *ends, struct tide_entry *entry)
{
	return *link_of(ends, entry);
}
