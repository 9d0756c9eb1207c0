/* SPDX-License-Identifier: Apache-2.0 */
/* Field paths as a tree of names, so that a scan looks each name up once.
 * Internal to decode/json*.c. */
#ifndef TIDE_DECODE_JSON_SPEC_H
#define TIDE_DECODE_JSON_SPEC_H

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "record/abi.h"

/* A name that is looked for in an object. */
struct tide_json_slot {
	uint64_t head;      /* its first 8 bytes, */
	uint64_t head_mask; /* as far as it has them */
	const char *name;
	int32_t name_len;
	bool plain;                       /* a document writes it as it is: ASCII, no escapes */
	int32_t field;                    /* the first field that wants the value, or -1 */
	int32_t node;                     /* what is looked for inside the value, or -1 */
	int32_t under_first, under_count; /* fields further inside, in `under` */
};

struct tide_json_node {
	int32_t first, count; /* its slots */
};

struct tide_json_spec {
	int count;
	struct tide_field *fields;
	int32_t *next; /* by field: another one with the same path, or -1 */
	int32_t node_count, slot_count, under_total;
	struct tide_json_node *nodes; /* 0 is the document */
	struct tide_json_slot *slots; /* those of a node side by side */
	int32_t *under;
	char *names;
	locale_t c_locale; /* strtod shall not read decimal commas */
};

static inline uint64_t tide_json_head(const char *p)
{
	uint64_t head;
	memcpy(&head, p, sizeof head);
	return head;
}

/* The slot between `first` and `last` for a name, or NULL. Documents mostly repeat
 * their layout, so the search starts at `expect`. */
static inline const struct tide_json_slot *tide_json_slot_find(const struct tide_json_slot *first,
                                                               const struct tide_json_slot *last,
                                                               const struct tide_json_slot *expect,
                                                               const char *name, int32_t len)
{
	const struct tide_json_slot *slot = expect;
	for (ptrdiff_t left = last - first; left > 0; left--, slot++) {
		if (slot == last)
			slot = first;
		if (slot->name_len == len && memcmp(slot->name, name, (size_t)len) == 0)
			return slot;
	}
	return NULL;
}

#endif
