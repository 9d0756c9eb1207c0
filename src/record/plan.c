/* SPDX-License-Identifier: Apache-2.0 */
/* The plan and its options: growing, reading, freeing. */
#include "record/plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct tide_option *option_find(const struct tide_options *options, const char *key)
{
	for (int i = 0; i < options->count; i++)
		if (strcmp(options->items[i].key, key) == 0)
			return &options->items[i];
	return NULL;
}

const char *tide_option_get(const struct tide_options *options, const char *key)
{
	assert(options != NULL && key != NULL);
	const struct tide_option *option = option_find(options, key);
	return option != NULL ? option->value : NULL;
}

/* An item list grown by one zeroed item, whose index is returned. */
static int list_add(void **items, int *count, size_t size)
{
	char *grown = realloc(*items, ((size_t)*count + 1) * size);
	if (grown == NULL)
		return -1;
	memset(grown + (size_t)*count * size, 0, size);
	*items = grown;
	return (*count)++;
}

bool tide_option_set(struct tide_options *options, const char *key, const char *value)
{
	assert(options != NULL && key != NULL && value != NULL);
	char *copy = strdup(value);
	char *name = NULL;
	struct tide_option *option = option_find(options, key);
	if (copy == NULL)
		return false;
	if (option == NULL) {
		name = strdup(key);
		void *items = options->items;
		int i = name != NULL ? list_add(&items, &options->count, sizeof *option) : -1;
		options->items = items;
		if (i < 0) {
			free(name);
			free(copy);
			return false;
		}
		option = &options->items[i];
		option->key = name;
	}
	free(option->value);
	option->value = copy;
	return true;
}

void tide_options_fini(struct tide_options *options)
{
	for (int i = 0; i < options->count; i++) {
		free(options->items[i].key);
		free(options->items[i].value);
	}
	free(options->items);
	*options = (struct tide_options){ 0 };
}

int tide_plan_letters(const struct tide_plan *plan)
{
	static const char output[] = "output:";
	const char *on_error = tide_option_get(&plan->settings, "on_error");
	if (on_error == NULL || strncmp(on_error, output, sizeof output - 1) != 0)
		return -1;
	return atoi(on_error + sizeof output - 1);
}

struct tide_plan *tide_plan_new(void)
{
	return calloc(1, sizeof(struct tide_plan));
}

static void keyed_fini(struct tide_plan_keyed *keyed)
{
	free(keyed->name);
	free(keyed->row);
	free(keyed->keys);
	free(keyed->args);
	free(keyed->layout);
}

static void output_fini(struct tide_plan_output *output)
{
	free(output->row);
	free(output->sink);
	free(output->name);
	tide_options_fini(&output->options);
}

void tide_plan_free(struct tide_plan *plan)
{
	if (plan == NULL)
		return;
	for (int i = 0; i < plan->input_count; i++) {
		free(plan->inputs[i].kind);
		tide_options_fini(&plan->inputs[i].options);
	}
	for (int i = 0; i < plan->mark_count; i++)
		free(plan->marks[i].name);
	for (int i = 0; i < plan->late_count; i++)
		free(plan->lates[i].name);
	for (int i = 0; i < plan->keyed_count; i++)
		keyed_fini(&plan->keyed[i]);
	for (int i = 0; i < plan->output_count; i++)
		output_fini(&plan->outputs[i]);
	for (int i = 0; i < plan->step_count; i++) {
		free(plan->steps[i].kind);
		free(plan->steps[i].text);
	}
	for (int i = 0; i < plan->warning_count; i++) {
		free(plan->warnings[i].path);
		free(plan->warnings[i].text);
		free(plan->warnings[i].source);
	}
	for (int i = 0; i < plan->file_count; i++)
		free(plan->files[i]);
	tide_options_fini(&plan->settings);
	free(plan->files);
	free(plan->inputs);
	free(plan->marks);
	free(plan->lates);
	free(plan->keyed);
	free(plan->outputs);
	free(plan->steps);
	free(plan->warnings);
	free(plan->job);
	free(plan->path);
	free(plan);
}

/* The lists are of different types, so each pointer takes a turn as void *. */
int tide_plan_add_input(struct tide_plan *plan)
{
	void *items = plan->inputs;
	int i = list_add(&items, &plan->input_count, sizeof *plan->inputs);
	plan->inputs = items;
	return i;
}

int tide_plan_add_mark(struct tide_plan *plan)
{
	void *items = plan->marks;
	int i = list_add(&items, &plan->mark_count, sizeof *plan->marks);
	plan->marks = items;
	return i;
}

int tide_plan_add_late(struct tide_plan *plan)
{
	void *items = plan->lates;
	int i = list_add(&items, &plan->late_count, sizeof *plan->lates);
	plan->lates = items;
	return i;
}

int tide_plan_add_keyed(struct tide_plan *plan)
{
	void *items = plan->keyed;
	int i = list_add(&items, &plan->keyed_count, sizeof *plan->keyed);
	plan->keyed = items;
	return i;
}

int tide_plan_add_output(struct tide_plan *plan)
{
	void *items = plan->outputs;
	int i = list_add(&items, &plan->output_count, sizeof *plan->outputs);
	plan->outputs = items;
	return i;
}

int tide_plan_add_step(struct tide_plan *plan)
{
	void *items = plan->steps;
	int i = list_add(&items, &plan->step_count, sizeof *plan->steps);
	plan->steps = items;
	return i;
}

int tide_plan_add_warning(struct tide_plan *plan)
{
	void *items = plan->warnings;
	int i = list_add(&items, &plan->warning_count, sizeof *plan->warnings);
	plan->warnings = items;
	return i;
}

bool tide_plan_add_file(struct tide_plan *plan, const char *path)
{
	for (int i = 0; i < plan->file_count; i++)
		if (plan->files[i] != NULL && strcmp(plan->files[i], path) == 0)
			return true;
	void *items = plan->files;
	int i = list_add(&items, &plan->file_count, sizeof *plan->files);
	plan->files = items;
	if (i < 0 || (plan->files[i] = strdup(path)) == NULL)
		return false;
	return true;
}
