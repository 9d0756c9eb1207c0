/* SPDX-License-Identifier: Apache-2.0 */
/* The plan as run/ needs it: key layouts, a fingerprint, a picture. */
#include "run/plan.h"

#include <assert.h>
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
	for (int i = 0; i < keyed->key_count; i++) {
		spec->columns[i] = keyed->keys[i];
		spec->types[i] = tide_plan_key_type(keyed, i);
	}
}

/* One line an operator. The key's column names are in it: a renamed key is
 * another key as far as anyone can tell. */
static void keyed_line(const struct tide_plan *plan, const struct tide_plan_keyed *keyed,
                       struct tide_buf *out)
{
	const char *mark = keyed->mark >= 0 ? plan->marks[keyed->mark].name : "";
	tide_buf_printf(out, "state %s key", keyed->name);
	for (int i = keyed->size_us > 0; i < keyed->key_count; i++)
		tide_buf_printf(out, " %s:%s", keyed->row->columns[keyed->keys[i]].name,
		                tide_type_name(tide_plan_key_type(keyed, i)));
	tide_buf_printf(out, " layout %s", keyed->layout);
	if (keyed->size_us > 0)
		tide_buf_printf(out, " window %lld ms every %lld ms from %lld ms by %s%s",
		                (long long)keyed->size_us / 1000, (long long)keyed->slide_us / 1000,
		                (long long)keyed->offset_us / 1000, mark,
		                keyed->late == TIDE_LATE_STRICT ? " strict" : "");
	tide_buf_printf(out, "\n");
}

static void output_line(const struct tide_plan_output *output, struct tide_buf *out)
{
	const char *mode = tide_option_get(&output->options, "mode");
	tide_buf_printf(out, "sink %s mode %s columns", output->name, mode ? mode : "append");
	for (int i = 0; i < output->row->count; i++)
		tide_buf_printf(out, " %s:%s", output->row->columns[i].name,
		                tide_type_name(output->row->columns[i].type));
	tide_buf_printf(out, "\n");
}

void tide_plan_fingerprint(const struct tide_plan *plan, struct tide_buf *out)
{
	for (int k = 0; k < plan->keyed_count; k++)
		keyed_line(plan, &plan->keyed[k], out);
	for (int o = 0; o < plan->output_count; o++)
		output_line(&plan->outputs[o], out);
	tide_buf_u8(out, 0); /* so that it reads as a string */
	out->len--;
}

/* The line of `text` that is about what `line` is about: its kind and its name,
 * which may hold spaces. */
static const char *same_subject(const char *text, const char *line, size_t *len)
{
	const char *end = strstr(line, strncmp(line, "sink ", 5) == 0 ? " mode " : " key ");
	size_t subject = end != NULL ? (size_t)(end - line) : strcspn(line, "\n");
	while (text != NULL && *text != '\0') {
		*len = strcspn(text, "\n");
		if (*len > subject && strncmp(text, line, subject) == 0 && text[subject] == ' ')
			return text;
		text += *len + (text[*len] == '\n');
	}
	return NULL;
}

int tide_plan_compare(const char *stored, const struct tide_plan *plan, const char *dir,
                      struct tide_error *err)
{
	struct tide_buf now = { 0 };
	int rc = TIDE_OK;
	tide_plan_fingerprint(plan, &now);
	if (now.failed)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the plan");
	for (const char *line = stored; rc == TIDE_OK && line != NULL && *line != '\0';) {
		size_t len = strcspn(line, "\n"), found_len = 0;
		const char *found = same_subject(now.p, line, &found_len);
		/* Whether a sink may go is for its rows to say. */
		bool gone = found == NULL && strncmp(line, "sink ", 5) == 0;
		bool same = found != NULL && found_len == len && strncmp(found, line, len) == 0;
		if (!same && !gone)
			rc = tide_fail(
				err, TIDE_ERR_CHECKPOINT,
				"%s was made by another version of this job.\n"
				"  was: %.*s\n  now: %.*s\n"
				"Nothing was changed. Give the job its old shape back, or give the "
				"new one a checkpoint of its own (--checkpoint-dir, or remove the "
				"directory to start from the configured offsets).",
				dir, (int)len, line, found ? (int)found_len : 16,
				found ? found : "no such grouping");
		line += len + (line[len] == '\n');
	}
	tide_buf_fini(&now);
	return rc;
}

static int depth_of(const struct tide_plan *plan, int step)
{
	int depth = 0;
	for (int at = plan->steps[step].parent; at >= 0; at = plan->steps[at].parent)
		depth++;
	return depth;
}

static void explain_text(const struct tide_plan *plan, struct tide_buf *out)
{
	tide_buf_printf(out, "job %s (%s, version %016llx)\n", plan->job, plan->path,
	                (unsigned long long)plan->hash);
	for (int i = 0; i < plan->step_count; i++) {
		const struct tide_plan_step *step = &plan->steps[i];
		int depth = depth_of(plan, i);
		tide_buf_printf(out, "  %*s%s%s", depth * 3, "", depth > 0 ? "-> " : "",
		                step->text);
		tide_buf_printf(out, "   (line %d)\n", step->line);
	}
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
