/* SPDX-License-Identifier: Apache-2.0 */
/* state ls and get: a job's keyed state as the rows it stands for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "run/cli.h"
#include "run/plan.h"
#include "run/result.h"
#include "run/setup.h"
#include "sink/sink.h"

struct view {
	struct tide_setup setup;
	struct tide_checkpoint *cp;
	struct tide_keyspec *specs;
	struct tide_state_op *ops;
	struct tide_result *result;
	int output; /* the first that shows a keyed operator */
};

static int open_view(struct view *view, struct tide_cli *cli, struct tide_error *err)
{
	int rc = tide_setup_load(&view->setup, cli, cli->words[0], err);
	if (rc != TIDE_OK)
		return rc;
	const struct tide_plan *plan = view->setup.plan;
	view->output = -1;
	for (int o = plan->output_count - 1; o >= 0; o--)
		if (plan->outputs[o].keyed >= 0)
			view->output = o;
	if (view->output < 0)
		return tide_fail(err, TIDE_ERR_USAGE, "job %s keeps no keyed state", plan->job);
	struct tide_checkpoint_options options = { .read_only = true };
	rc = tide_checkpoint_open(view->setup.checkpoint_dir, &options, &view->cp, err);
	if (rc != TIDE_OK)
		return rc;
	view->specs = calloc((size_t)plan->keyed_count, sizeof *view->specs);
	view->ops = calloc((size_t)plan->keyed_count, sizeof *view->ops);
	if (view->specs == NULL || view->ops == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to look");
	const struct tide_meta *meta = tide_checkpoint_meta(view->cp);
	if (meta->plan != NULL && meta->plan[0] != '\0')
		rc = tide_plan_compare(meta->plan, plan, view->setup.checkpoint_dir, err);
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++) {
		struct tide_plan_move moves[TIDE_PLAN_MOVES_MAX];
		size_t old_size;
		if (meta->plan != NULL && meta->epoch >= 0 &&
		    (tide_plan_migrates(meta->plan, &plan->keyed[k]) ||
		     tide_plan_moves(meta->plan, &plan->keyed[k], moves, &old_size) > 0))
			rc = tide_fail(err, TIDE_ERR_USAGE,
			               "the job has aggregates that its checkpoint does not know "
			               "yet, or a higher version of a state: run it once");
	}
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++) {
		tide_plan_keyspec(&plan->keyed[k], &view->specs[k]);
		rc = tide_checkpoint_op(view->cp, plan->keyed[k].name,
		                        tide_plan_order(&plan->keyed[k]), &view->ops[k], err);
	}
	struct tide_result_options result = {
		.plan = plan,
		.specs = view->specs,
		.ops = view->ops,
		.meta = meta,
		.rocks = tide_checkpoint_rocks(view->cp),
		.vm = view->setup.vm,
	};
	if (rc == TIDE_OK)
		rc = tide_result_new(&result, &view->result, err);
	return rc;
}

static void close_view(struct view *view)
{
	tide_result_free(view->result);
	tide_checkpoint_close(view->cp);
	free(view->specs);
	free(view->ops);
	tide_setup_fini(&view->setup);
}

/* Through the console sink, so that --output works here too. */
static int show(struct view *view, const struct tide_rows *rows, const char *limit,
                struct tide_error *err)
{
	const struct tide_plan_output *output = &view->setup.plan->outputs[view->output];
	struct tide_plan_output plain = { .row = output->row,
		                          .sink = (char *)(uintptr_t) "console",
		                          .name = (char *)(uintptr_t) "state",
		                          .keyed = output->keyed };
	struct tide_sink *sink = NULL;
	if (!tide_option_set(&plain.options, "rows", limit ? limit : "20") ||
	    !tide_option_set(&plain.options, "truncate", "false"))
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to print");
	const char *format = view->setup.settings.format;
	struct tide_sink_options options = {
		.output = &plain,
		.mode = TIDE_MODE_COMPLETE,
		.fd = STDOUT_FILENO,
		.format = strcmp(format, "table") == 0 ? "spark" : format,
	};
	int rc = tide_sink_find("console")->open(&sink, &options, err);
	if (rc == TIDE_OK)
		rc = sink->ops->publish(sink, tide_checkpoint_meta(view->cp)->epoch, rows, err);
	if (sink != NULL)
		sink->ops->close(sink);
	tide_options_fini(&plain.options);
	return rc;
}

int tide_cli_state_ls(struct tide_cli *cli, struct tide_error *err)
{
	struct view view = { 0 };
	const struct tide_rows *rows = NULL;
	int rc = open_view(&view, cli, err);
	if (rc == TIDE_OK)
		rc = tide_result_all(view.result, view.output, &rows, err);
	if (rc == TIDE_OK)
		rc = show(&view, rows, tide_cli_own(cli, "limit"), err);
	close_view(&view);
	return rc;
}

/* Words of the command line as the cells of a key. */
static int key_of(const struct view *view, struct tide_cli *cli, struct tide_buf *key,
                  struct tide_error *err)
{
	int keyed = view->setup.plan->outputs[view->output].keyed;
	const struct tide_plan_keyed *plan = &view->setup.plan->keyed[keyed];
	struct tide_cell row[TIDE_COLUMNS_MAX] = { 0 };
	if (cli->word_count - 1 != plan->key_count)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "a key of this job has %d part%s, starting with "
		                 "%s",
		                 plan->key_count, plan->key_count == 1 ? "" : "s",
		                 plan->row->columns[plan->keys[0]].name);
	for (int i = 0; i < plan->key_count; i++) {
		const char *word = cli->words[1 + i];
		struct tide_cell *cell = &row[plan->keys[i]];
		char *end = NULL;
		switch (tide_plan_key_type(plan, i)) {
		case TIDE_STRING:
		case TIDE_BYTES:
			cell->p = word;
			cell->len = (int32_t)strlen(word);
			continue;
		case TIDE_DOUBLE: cell->d = strtod(word, &end); break;
		case TIDE_BOOL:
		case TIDE_INT:
		case TIDE_TIMESTAMP: cell->i = strtoll(word, &end, 10); break;
		}
		if (end == NULL || *end != '\0' || end == word)
			return tide_fail(err, TIDE_ERR_USAGE, "\"%s\" is not a number, which %s is",
			                 word, plan->row->columns[plan->keys[i]].name);
	}
	const struct tide_keyspec *spec = &view->specs[keyed];
	if (!tide_buf_reserve(key, tide_key_size(spec, row)))
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a key");
	key->len = (size_t)(tide_key_encode(spec, row, key->p) - key->p);
	return TIDE_OK;
}

int tide_cli_state_get(struct tide_cli *cli, struct tide_error *err)
{
	struct view view = { 0 };
	struct tide_buf key = { 0 };
	const struct tide_rows *rows = NULL;
	int rc = open_view(&view, cli, err);
	if (rc == TIDE_OK)
		rc = key_of(&view, cli, &key, err);
	if (rc == TIDE_OK)
		rc = tide_result_key(view.result, view.output,
		                     (struct tide_slice){ key.p, key.len }, &rows, err);
	if (rc == TIDE_OK && tide_rows_count(rows) == 0)
		rc = tide_fail(err, TIDE_ERR_DIFFER, "there is no such key");
	if (rc == TIDE_OK)
		rc = show(&view, rows, "20", err);
	tide_buf_fini(&key);
	close_view(&view);
	return rc;
}
