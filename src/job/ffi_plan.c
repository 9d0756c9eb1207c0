/* SPDX-License-Identifier: Apache-2.0 */
/* How lua/tidemark/plan.lua writes down a checked plan. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "job/ffi.h"
#include "record/plan.h"

static bool text_set(char **field, const char *text)
{
	free(*field);
	*field = strdup(text);
	return *field != NULL;
}

bool tide_ffi_plan_job(struct tide_plan *plan, const char *name, const char *path)
{
	assert(plan != NULL);
	return text_set(&plan->job, name) && text_set(&plan->path, path);
}

bool tide_ffi_plan_file(struct tide_plan *plan, const char *path)
{
	return tide_plan_add_file(plan, path);
}

void tide_ffi_plan_hash(struct tide_plan *plan, const char *source, size_t len)
{
	plan->hash = tide_hash(source, len, plan->hash);
}

bool tide_ffi_plan_setting(struct tide_plan *plan, const char *key, const char *value)
{
	return tide_option_set(&plan->settings, key, value);
}

int tide_ffi_plan_input(struct tide_plan *plan, const char *kind, int line)
{
	int i = tide_plan_add_input(plan);
	if (i < 0 || !text_set(&plan->inputs[i].kind, kind))
		return -1;
	plan->inputs[i].line = line;
	return i;
}

bool tide_ffi_plan_input_option(struct tide_plan *plan, const char *key, const char *value)
{
	assert(plan->input_count > 0);
	return tide_option_set(&plan->inputs[plan->input_count - 1].options, key, value);
}

int tide_ffi_plan_mark(struct tide_plan *plan, const char *name, uint64_t inputs, int line)
{
	assert(inputs != 0 && inputs >> plan->input_count == 0);
	int i = tide_plan_add_mark(plan);
	if (i < 0 || !text_set(&plan->marks[i].name, name))
		return -1;
	plan->marks[i].inputs = inputs;
	plan->marks[i].line = line;
	plan->marks[i].of = i;
	return i;
}

void tide_ffi_plan_mark_of(struct tide_plan *plan, int of)
{
	assert(of >= 0 && of < plan->mark_count);
	plan->marks[plan->mark_count - 1].of = of;
}

static int64_t us_of(double ms)
{
	return (int64_t)(ms * 1000);
}

void tide_ffi_plan_mark_options(struct tide_plan *plan, double delay_ms, bool per_partition,
                                double idle_ms, double ahead_ms)
{
	assert(plan->mark_count > 0);
	struct tide_plan_mark *mark = &plan->marks[plan->mark_count - 1];
	mark->delay_us = us_of(delay_ms);
	mark->per_partition = per_partition;
	mark->idle_us = us_of(idle_ms);
	mark->ahead_us = ahead_ms < 0 ? INT64_MAX : us_of(ahead_ms);
}

int tide_ffi_plan_late(struct tide_plan *plan, const char *name, int mark, int own, int late,
                       double sample)
{
	assert(mark >= 0 && mark < plan->mark_count && own < plan->mark_count);
	int i = tide_plan_add_late(plan);
	if (i < 0 || !text_set(&plan->lates[i].name, name))
		return -1;
	plan->lates[i].mark = mark;
	plan->lates[i].own = own;
	plan->lates[i].late = (enum tide_late)late;
	plan->lates[i].sample = sample;
	return i;
}

static struct tide_plan_late *late_last(struct tide_plan *plan)
{
	assert(plan->late_count > 0);
	return &plan->lates[plan->late_count - 1];
}

void tide_ffi_plan_late_window(struct tide_plan *plan, double size_ms, double slide_ms,
                               double offset_ms)
{
	struct tide_plan_late *late = late_last(plan);
	late->size_us = us_of(size_ms);
	late->slide_us = us_of(slide_ms);
	late->offset_us = us_of(offset_ms);
}

void tide_ffi_plan_late_column(struct tide_plan *plan, int column, bool is_text)
{
	struct tide_plan_late *late = late_last(plan);
	assert(late->column_count < (int)(sizeof late->columns / sizeof late->columns[0]));
	late->columns[late->column_count] = column;
	late->is_text[late->column_count++] = is_text;
}

int tide_ffi_plan_keyed(struct tide_plan *plan, const char *name, uint64_t inputs,
                        const char *layout, int line)
{
	assert(inputs != 0 && inputs >> plan->input_count == 0);
	int i = tide_plan_add_keyed(plan);
	if (i < 0)
		return -1;
	struct tide_plan_keyed *keyed = &plan->keyed[i];
	keyed->inputs = inputs;
	keyed->line = line;
	keyed->version = 1;
	keyed->mark = -1;
	return text_set(&keyed->name, name) && text_set(&keyed->layout, layout) ? i : -1;
}

static struct tide_plan_keyed *keyed_last(struct tide_plan *plan)
{
	assert(plan->keyed_count > 0);
	return &plan->keyed[plan->keyed_count - 1];
}

bool tide_ffi_plan_keyed_sizes(struct tide_plan *plan, int row, int keys, int args, int state_size)
{
	struct tide_plan_keyed *keyed = keyed_last(plan);
	keyed->row = tide_schema_new(row);
	keyed->keys = calloc((size_t)keys, sizeof *keyed->keys);
	keyed->args = calloc((size_t)args + 1, sizeof *keyed->args);
	if (keyed->row == NULL || keyed->keys == NULL || keyed->args == NULL)
		return false;
	keyed->key_count = keys;
	keyed->arg_count = args;
	keyed->state_size = state_size;
	return true;
}

void tide_ffi_plan_keyed_time(struct tide_plan *plan, int mark, int late, double size_ms,
                              double slide_ms, double offset_ms)
{
	struct tide_plan_keyed *keyed = keyed_last(plan);
	assert(mark >= 0 && mark < plan->mark_count);
	keyed->mark = mark;
	keyed->late = (enum tide_late)late;
	keyed->size_us = us_of(size_ms);
	keyed->slide_us = us_of(slide_ms);
	keyed->offset_us = us_of(offset_ms);
}

void tide_ffi_plan_keyed_session(struct tide_plan *plan)
{
	keyed_last(plan)->session = true;
	assert(keyed_last(plan)->size_us > 0);
}

void tide_ffi_plan_keyed_dedup(struct tide_plan *plan, double within_ms, bool latest)
{
	struct tide_plan_keyed *keyed = keyed_last(plan);
	keyed->within_us = us_of(within_ms);
	keyed->latest = latest;
	assert(keyed->within_us > 0);
}

void tide_ffi_plan_keyed_level(struct tide_plan *plan, int level)
{
	keyed_last(plan)->level = level;
}

void tide_ffi_plan_keyed_version(struct tide_plan *plan, int version, bool migrates)
{
	assert(version > 0);
	keyed_last(plan)->version = version;
	keyed_last(plan)->migrates = migrates;
}

static void column_set(struct tide_schema *schema, int i, const char *name, int type, bool nullable)
{
	assert(i >= 0 && i < schema->count);
	assert(strlen(name) < TIDE_NAME_MAX);
	struct tide_column *column = &schema->columns[i];
	strcpy(column->name, name);
	column->type = (enum tide_type)type;
	column->nullable = nullable;
}

void tide_ffi_plan_keyed_row(struct tide_plan *plan, int i, const char *name, int type,
                             bool nullable)
{
	column_set(keyed_last(plan)->row, i, name, type, nullable);
}

void tide_ffi_plan_keyed_key(struct tide_plan *plan, int i, int column)
{
	struct tide_plan_keyed *keyed = keyed_last(plan);
	assert(i >= 0 && i < keyed->key_count);
	keyed->keys[i] = column;
}

void tide_ffi_plan_keyed_arg(struct tide_plan *plan, int i, int column)
{
	struct tide_plan_keyed *keyed = keyed_last(plan);
	assert(i >= 0 && i < keyed->arg_count);
	keyed->args[i] = column;
}

int tide_ffi_plan_output(struct tide_plan *plan, uint64_t inputs, int keyed, const char *sink,
                         const char *name, int line)
{
	assert(inputs == 0 || keyed < 0);
	int i = tide_plan_add_output(plan);
	if (i < 0)
		return -1;
	struct tide_plan_output *output = &plan->outputs[i];
	output->inputs = inputs;
	output->keyed = keyed;
	output->line = line;
	return text_set(&output->sink, sink) && text_set(&output->name, name) ? i : -1;
}

static struct tide_plan_output *output_last(struct tide_plan *plan)
{
	assert(plan->output_count > 0);
	return &plan->outputs[plan->output_count - 1];
}

bool tide_ffi_plan_output_size(struct tide_plan *plan, int row)
{
	struct tide_plan_output *output = output_last(plan);
	output->row = tide_schema_new(row);
	return output->row != NULL;
}

void tide_ffi_plan_output_row(struct tide_plan *plan, int i, const char *name, int type,
                              bool nullable)
{
	column_set(output_last(plan)->row, i, name, type, nullable);
}

bool tide_ffi_plan_output_option(struct tide_plan *plan, const char *key, const char *value)
{
	return tide_option_set(&output_last(plan)->options, key, value);
}

int tide_ffi_plan_step(struct tide_plan *plan, int parent, const char *kind, const char *text,
                       int line)
{
	assert(parent < plan->step_count);
	int i = tide_plan_add_step(plan);
	if (i < 0)
		return -1;
	struct tide_plan_step *step = &plan->steps[i];
	step->parent = parent;
	step->joins = -1;
	step->line = line;
	return text_set(&step->kind, kind) && text_set(&step->text, text) ? i : -1;
}

void tide_ffi_plan_step_joins(struct tide_plan *plan, int step, int into)
{
	assert(step >= 0 && step < into && into < plan->step_count);
	plan->steps[step].joins = into;
}

bool tide_ffi_plan_warning(struct tide_plan *plan, const char *path, int line, const char *text,
                           const char *source)
{
	int i = tide_plan_add_warning(plan);
	if (i < 0)
		return false;
	struct tide_plan_warning *warning = &plan->warnings[i];
	warning->line = line;
	return text_set(&warning->path, path) && text_set(&warning->text, text) &&
	       text_set(&warning->source, source);
}
