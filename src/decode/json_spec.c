/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles field paths: one node per object on the way, its names side by side. */
#include "decode/json_spec.h"

#include <assert.h>
#include <stdlib.h>

#include "decode/json.h"
#include "decode/json_text.h"

/* Which fields pass through a node, while the tree is being made: those whose
 * path starts as `via` does, for its first `depth` bytes. */
struct origin {
	int32_t via;
	int32_t depth;
};

static int32_t segment_len(const struct tide_field *field, int32_t from)
{
	const char *dot = memchr(field->path + from, '.', (size_t)(field->path_len - from));
	return dot != NULL ? (int32_t)(dot - field->path) - from : field->path_len - from;
}

static bool passes(const struct tide_json_spec *spec, int32_t field, struct origin origin)
{
	const struct tide_field *one = &spec->fields[field];
	return one->path_len >= origin.depth &&
	       memcmp(one->path, spec->fields[origin.via].path, (size_t)origin.depth) == 0;
}

static struct tide_json_slot *slot_of(struct tide_json_spec *spec, struct tide_json_node *node,
                                      const char *name, int32_t len)
{
	const struct tide_json_slot *first = spec->slots + node->first;
	const struct tide_json_slot *found =
		tide_json_slot_find(first, first + node->count, first, name, len);
	if (found != NULL)
		return &spec->slots[found - spec->slots];
	struct tide_json_slot *slot = &spec->slots[spec->slot_count++];
	slot->name = name;
	slot->name_len = len;
	slot->field = slot->node = -1;
	slot->plain = true;
	for (int32_t i = 0; i < len; i++)
		slot->plain = slot->plain && tide_json_text_plain((unsigned char)name[i]);
	memcpy(&slot->head, name, (size_t)(len < 8 ? len : 8));
	memset(&slot->head_mask, 0xFF, (size_t)(len < 8 ? len : 8));
	node->count++;
	return slot;
}

/* A field ends at this slot: last in line, so that errors name the first. */
static void slot_take(struct tide_json_spec *spec, struct tide_json_slot *slot, int32_t field)
{
	int32_t *at = &slot->field;
	while (*at >= 0)
		at = &spec->next[*at];
	*at = field;
}

/* The names that are looked for in one object. */
static void node_fill(struct tide_json_spec *spec, struct origin *origins, int32_t n)
{
	struct tide_json_node *node = &spec->nodes[n];
	struct origin origin = origins[n];
	node->first = spec->slot_count;
	for (int32_t i = 0; i < spec->count; i++) {
		const struct tide_field *field = &spec->fields[i];
		if (!passes(spec, i, origin))
			continue;
		int32_t len = segment_len(field, origin.depth);
		struct tide_json_slot *slot = slot_of(spec, node, field->path + origin.depth, len);
		if (origin.depth + len == field->path_len) {
			slot_take(spec, slot, i);
		} else if (slot->node < 0) {
			slot->node = spec->node_count++;
			origins[slot->node] = (struct origin){ i, origin.depth + len + 1 };
		}
	}
}

/* The fields inside a slot's value, to be forgotten when its name comes again. */
static void under_fill(struct tide_json_spec *spec, const struct origin *origins)
{
	for (int32_t s = 0; s < spec->slot_count; s++) {
		struct tide_json_slot *slot = &spec->slots[s];
		slot->under_first = spec->under_total;
		for (int32_t i = 0; slot->node >= 0 && i < spec->count; i++)
			if (passes(spec, i, origins[slot->node]))
				spec->under[spec->under_total++] = i;
		slot->under_count = spec->under_total - slot->under_first;
	}
}

/* Paths in memory of our own. Returns the number of segments in all, or -1. */
static int64_t paths_copy(struct tide_json_spec *spec)
{
	size_t bytes = 1;
	int64_t segments = 0;
	for (int i = 0; i < spec->count; i++)
		bytes += (size_t)spec->fields[i].path_len;
	char *p = spec->names = malloc(bytes);
	if (p == NULL)
		return -1;
	for (int i = 0; i < spec->count; i++) {
		struct tide_field *field = &spec->fields[i];
		assert(field->path != NULL && field->path_len >= 0);
		memcpy(p, field->path, (size_t)field->path_len);
		field->path = p;
		p += field->path_len;
		segments++;
		for (const char *c = field->path; c < p; c++)
			segments += *c == '.';
	}
	return segments;
}

struct tide_json_spec *tide_json_spec_new(const struct tide_field *fields, int count)
{
	assert(count >= 0 && (fields != NULL || count == 0));
	struct origin *origins = NULL;
	struct tide_json_spec *spec = calloc(1, sizeof *spec);
	if (spec == NULL)
		return NULL;
	size_t n = (size_t)count;
	spec->count = count;
	spec->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	spec->fields = calloc(n + 1, sizeof *spec->fields);
	spec->next = malloc((n + 1) * sizeof *spec->next);
	if (spec->c_locale == (locale_t)0 || spec->fields == NULL || spec->next == NULL)
		goto fail;
	if (n > 0)
		memcpy(spec->fields, fields, n * sizeof *fields);
	memset(spec->next, 0xFF, (n + 1) * sizeof *spec->next);
	int64_t segments = paths_copy(spec);
	if (segments < 0)
		goto fail;
	size_t most = (size_t)segments + 1;
	origins = calloc(most, sizeof *origins);
	spec->nodes = calloc(most, sizeof *spec->nodes);
	spec->slots = calloc(most, sizeof *spec->slots);
	spec->under = calloc(most, sizeof *spec->under);
	if (origins == NULL || spec->nodes == NULL || spec->slots == NULL || spec->under == NULL)
		goto fail;
	spec->node_count = 1;
	for (int32_t i = 0; count > 0 && i < spec->node_count; i++)
		node_fill(spec, origins, i);
	under_fill(spec, origins);
	free(origins);
	return spec;
fail:
	free(origins);
	tide_json_spec_free(spec);
	return NULL;
}

void tide_json_spec_free(struct tide_json_spec *spec)
{
	if (spec == NULL)
		return;
	if (spec->c_locale != (locale_t)0)
		freelocale(spec->c_locale);
	free(spec->under);
	free(spec->slots);
	free(spec->nodes);
	free(spec->names);
	free(spec->next);
	free(spec->fields);
	free(spec);
}
