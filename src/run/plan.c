/* SPDX-License-Identifier: Apache-2.0 */
/* The plan as run/ needs it: key layouts, a fingerprint, a picture. */
#include "run/plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum tide_type tide_plan_key_type(const struct tide_plan_keyed *keyed, int part)
{
	assert(part < keyed->key_count);
	return keyed->row->columns[keyed->keys[part]].type;
}

void tide_plan_keyspec(const struct tide_plan_keyed *keyed, struct tide_keyspec *spec)
{
	assert(keyed->key_count <= TIDE_KEY_PARTS_MAX);
	*spec = (struct tide_keyspec){ .count = keyed->key_count };
	if (keyed->session)
		spec->shard_at = TIDE_KEY_TIME_SIZE; /* Sessions of a key meet. */
	for (int i = 0; i < keyed->key_count; i++) {
		spec->columns[i] = keyed->keys[i];
		spec->types[i] = tide_plan_key_type(keyed, i);
	}
}

enum tide_state_order tide_plan_order(const struct tide_plan_keyed *keyed)
{
	if (keyed->size_us == 0)
		return TIDE_ORDER_KEYS;
	return keyed->session ? TIDE_ORDER_SESSIONS : TIDE_ORDER_WINDOWS;
}

bool tide_plan_indexed(const struct tide_plan_keyed *keyed)
{
	return keyed->session || tide_plan_dedups(keyed);
}

int tide_plan_index_op(const struct tide_plan_keyed *keyed, struct tide_checkpoint *cp,
                       struct tide_state_op *op, struct tide_error *err)
{
	char name[1024];
	snprintf(name, sizeof name, "%.1000s#%s", keyed->name, keyed->session ? "open" : "until");
	return tide_checkpoint_op(cp, name, keyed->session ? TIDE_ORDER_KEYS : TIDE_ORDER_WINDOWS,
	                          op, err);
}

/* Steps were made as outputs asked for them, which is not the order of a tree. */
static void explain_below(const struct tide_plan *plan, int parent, int depth, struct tide_buf *out)
{
	for (int i = parent + 1; i < plan->step_count; i++) {
		const struct tide_plan_step *step = &plan->steps[i];
		if (step->parent != parent)
			continue;
		tide_buf_printf(out, "  %*s%s%s", depth * 3, "", depth > 0 ? "-> " : "",
		                step->text);
		tide_buf_printf(out, "   (line %d)\n", step->line);
		explain_below(plan, i, depth + 1, out);
	}
}

static void explain_text(const struct tide_plan *plan, struct tide_buf *out)
{
	tide_buf_printf(out, "job %s (%s, version %016llx)\n", plan->job, plan->path,
	                (unsigned long long)plan->hash);
	explain_below(plan, -1, 0, out);
	for (int k = 0; k < plan->keyed_count; k++)
		tide_buf_printf(out, "state \"%s\": %d bytes a key plus the key, in %d shards\n",
		                plan->keyed[k].name, plan->keyed[k].state_size, TIDE_SHARDS);
}

static void explain_dot(const struct tide_plan *plan, struct tide_buf *out)
{
	tide_buf_printf(out, "digraph ");
	tide_buf_json(out, plan->job, strlen(plan->job));
	tide_buf_printf(out, " {\n  rankdir=LR; node [shape=box, fontname=\"sans-serif\"];\n");
	for (int i = 0; i < plan->step_count; i++) {
		tide_buf_printf(out, "  s%d [label=", i);
		tide_buf_json(out, plan->steps[i].text, strlen(plan->steps[i].text));
		tide_buf_printf(out, "];\n");
		if (plan->steps[i].parent >= 0)
			tide_buf_printf(out, "  s%d -> s%d;\n", plan->steps[i].parent, i);
		if (plan->steps[i].joins >= 0)
			tide_buf_printf(out, "  s%d -> s%d;\n", i, plan->steps[i].joins);
	}
	tide_buf_printf(out, "}\n");
}

static void explain_json(const struct tide_plan *plan, struct tide_buf *out)
{
	tide_buf_printf(out, "{\"job\":");
	tide_buf_json(out, plan->job, strlen(plan->job));
	tide_buf_printf(out, ",\"version\":\"%016llx\",\"steps\":[",
	                (unsigned long long)plan->hash);
	for (int i = 0; i < plan->step_count; i++) {
		const struct tide_plan_step *step = &plan->steps[i];
		tide_buf_printf(out, "%s{\"id\":%d,\"parent\":%d,\"kind\":", i ? "," : "", i,
		                step->parent);
		tide_buf_json(out, step->kind, strlen(step->kind));
		tide_buf_printf(out, ",\"text\":");
		tide_buf_json(out, step->text, strlen(step->text));
		if (step->joins >= 0)
			tide_buf_printf(out, ",\"joins\":%d", step->joins);
		tide_buf_printf(out, ",\"line\":%d}", step->line);
	}
	tide_buf_printf(out, "]}\n");
}

void tide_plan_explain(const struct tide_plan *plan, enum tide_plan_format format,
                       struct tide_buf *out)
{
	switch (format) {
	case TIDE_PLAN_TEXT: explain_text(plan, out); break;
	case TIDE_PLAN_DOT: explain_dot(plan, out); break;
	case TIDE_PLAN_JSON: explain_json(plan, out); break;
	}
}
