/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing: checkpoint, sinks, source, workers, in this order, and what
 * the checkpoint says of a job is compared with what the job says. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "run/adopt.h"
#include "run/counting.h"
#include "run/loop_inside.h"
#include "run/plan.h"

/* Of the first epoch, before anything is known of what they take in memory. */
enum { RECORDS_FIRST = 64 << 10 };

void tide_loop_tick(void *arg)
{
	struct loop *loop = arg;
	tide_board_draw(loop->options.board, atomic_load(&loop->work.records));
}

/* The operator's number in the checkpoint; what lies beside it has its own. */
static int number_operator(struct loop *loop, int k, struct tide_error *err)
{
	const struct tide_plan_keyed *keyed = &loop->plan->keyed[k];
	int rc = tide_checkpoint_op(loop->checkpoint, keyed->name, tide_plan_order(keyed),
	                            &loop->ops[k], err);
	return rc == TIDE_OK && tide_plan_indexed(keyed)
	               ? tide_plan_index_op(keyed, loop->checkpoint, &loop->index_ops[k], err)
	               : rc;
}

static int adopt_checkpoint(struct loop *loop, struct tide_error *err)
{
	const struct tide_plan *plan = loop->plan;
	int rc = tide_adopt(loop->checkpoint, plan, loop->options.vm,
	                    loop->settings->checkpoint_dir, &loop->meta, err);
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++)
		rc = number_operator(loop, k, err);
	loop->tally = tide_tally_new(plan, tide_checkpoint_meta(loop->checkpoint));
	if (rc == TIDE_OK && loop->tally == NULL)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for counts");
	if (rc == TIDE_OK)
		rc = tide_events_init(&loop->events, plan, loop->settings->until_end, &loop->meta,
		                      err);
	if (rc == TIDE_OK)
		rc = tide_counting_open(loop->checkpoint, plan, loop->ops, loop->events.used_us,
		                        &loop->meta, err);
	return rc;
}

/* The folders above a job's checkpoint, as far as that can be done: opening it
 * says what is wrong. */
static void make_parents(const char *dir)
{
	char path[4096];
	if ((size_t)snprintf(path, sizeof path, "%s", dir) >= sizeof path)
		return;
	for (char *at = path + 1; (at = strchr(at, '/')) != NULL; at++) {
		*at = '\0';
		mkdir(path, 0777);
		*at = '/';
	}
}

static int open_checkpoint(struct loop *loop, struct tide_error *err)
{
	const struct tide_plan *plan = loop->plan;
	loop->specs = calloc((size_t)plan->keyed_count + 1, sizeof *loop->specs);
	loop->ops = calloc((size_t)plan->keyed_count + 1, sizeof *loop->ops);
	loop->index_ops = calloc((size_t)plan->keyed_count + 1, sizeof *loop->index_ops);
	loop->update_outputs = calloc((size_t)plan->output_count + 1, sizeof *loop->update_outputs);
	loop->append_outputs = calloc((size_t)plan->output_count + 1, sizeof *loop->append_outputs);
	loop->complete_outputs =
		calloc((size_t)plan->output_count + 1, sizeof *loop->complete_outputs);
	if (loop->specs == NULL || loop->ops == NULL || loop->index_ops == NULL ||
	    loop->update_outputs == NULL || loop->append_outputs == NULL ||
	    loop->complete_outputs == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the plan");
	for (int k = 0; k < plan->keyed_count; k++)
		tide_plan_keyspec(&plan->keyed[k], &loop->specs[k]);
	for (int o = 0; o < plan->output_count; o++) {
		const char *mode = tide_option_get(&plan->outputs[o].options, "mode");
		bool muted = loop->settings->muted && strcmp(plan->outputs[o].sink, "console") == 0;
		bool keyed = plan->outputs[o].keyed >= 0 && mode != NULL && !muted;
		loop->update_outputs[o] = keyed && strcmp(mode, "update") == 0;
		loop->complete_outputs[o] = keyed && strcmp(mode, "complete") == 0;
		loop->append_outputs[o] = keyed && strcmp(mode, "append") == 0;
	}
	const struct tide_harness *harness = loop->settings->harness;
	struct tide_checkpoint_options options = {
		.memory_max = harness != NULL && harness->db_bytes > 0
		                      ? harness->db_bytes
		                      : (size_t)loop->settings->memory_bytes / 4,
		.past = loop->past,
	};
	make_parents(loop->settings->checkpoint_dir);
	int rc = tide_checkpoint_open(loop->settings->checkpoint_dir, &options, &loop->checkpoint,
	                              err);
	if (rc == TIDE_OK)
		tide_board_checkpoint(loop->options.board, loop->settings->checkpoint_dir);
	if (rc == TIDE_OK)
		rc = adopt_checkpoint(loop, err);
	return rc;
}

static int open_commit(struct loop *loop, struct tide_error *err)
{
	struct tide_commit_options options = {
		.checkpoint = loop->checkpoint,
		.plan = loop->plan,
		.settings = loop->settings,
		.specs = loop->specs,
		.ops = loop->ops,
		.vm = loop->options.vm,
		.board = loop->options.board,
		.result_fd = loop->options.result_fd,
		.stop = loop->options.stop,
	};
	return tide_commit_start(&options, &loop->commit, err);
}

static int open_crew(struct loop *loop, struct tide_error *err)
{
	const char *on_error = tide_option_get(&loop->plan->settings, "on_error");
	loop->exchange = tide_exchange_new(loop->settings->workers, loop->plan->keyed_count);
	if (loop->exchange == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the exchange");
	loop->work.plan = loop->plan;
	loop->work.settings = loop->settings;
	loop->work.specs = loop->specs;
	loop->work.ops = loop->ops;
	loop->work.index_ops = loop->index_ops;
	loop->work.update_outputs = loop->update_outputs;
	loop->work.append_outputs = loop->append_outputs;
	loop->work.complete_outputs = loop->complete_outputs;
	loop->work.watermarks_us = loop->events.used_us;
	loop->work.limits_us = loop->events.limits_us;
	loop->work.closed_us = loop->events.used_us;
	loop->work.rocks = tide_checkpoint_rocks(loop->checkpoint);
	loop->work.meta = &loop->meta;
	loop->work.exchange = loop->exchange;
	loop->work.fresh = loop->meta.epoch < 0;
	loop->work.skip_bad_rows = on_error != NULL && strcmp(on_error, "fail") != 0;
	loop->work.letters = tide_plan_letters(loop->plan);
	loop->work.stop = loop->options.stop;
	loop->work.tick = tide_loop_tick;
	loop->work.tick_arg = loop;
	int rc = tide_crew_start(&loop->work, &loop->crew, err);
	if (rc == TIDE_OK) /* What is open since the last run. */
		rc = tide_events_closed(&loop->events, loop->crew, loop->settings->workers,
		                        loop->ops, NULL, err);
	return rc;
}

/* A new job's first positions go on record before anything is read: killed
 * before its first epoch, a job that starts at "latest" must not start at a
 * later latest. The record of an epoch that is there already still says what it
 * has read: who looks back goes by that. */
static int note_start(struct loop *loop, struct tide_error *err)
{
	for (int i = 0; i < loop->partitions.count; i++) {
		struct tide_share *share = loop->partitions.shares[i];
		const struct tide_position *at =
			tide_meta_position(&loop->meta, share->part->topic, share->part->partition);
		bool same = at != NULL && at->next == share->part->next;
		share->from = same ? at->from : share->part->next;
	}
	int rc = tide_partitions_note(&loop->partitions, &loop->meta, err);
	for (int i = 0; i < loop->partitions.count; i++)
		loop->partitions.shares[i]->from = loop->partitions.shares[i]->part->next;
	if (rc == TIDE_OK)
		rc = tide_pass("start", err);
	tide_commit_mark(loop->commit, &loop->meta);
	if (rc == TIDE_OK)
		rc = tide_checkpoint_decide(loop->checkpoint, &loop->meta, NULL, 0, NULL, 0, err);
	return rc;
}

/* Partitions that came since the last look get a place and a worker. */
int tide_loop_discover(struct loop *loop, bool running, struct tide_error *err)
{
	bool found = false;
	int rc = tide_partitions_discover(&loop->partitions, &found, err);
	loop->discover_us = tide_clock_mono_us();
	if (rc != TIDE_OK || !found)
		return rc;
	rc = tide_commit_wait(loop->commit, err); /* It reads the list of shares. */
	/* Ends first: once placed, a source only learns them from what it fetches,
	 * and a bounded run would end before the first record is there. */
	if (rc == TIDE_OK)
		rc = tide_partitions_ends(&loop->partitions, err);
	if (rc == TIDE_OK)
		rc = tide_partitions_place(&loop->partitions, &loop->meta, running, err);
	if (rc == TIDE_OK)
		rc = note_start(loop, err);
	if (rc == TIDE_OK)
		rc = tide_events_adopt(&loop->events, loop->partitions.shares,
		                       loop->partitions.count, err);
	if (rc == TIDE_OK)
		rc = tide_crew_assign(loop->crew, loop->partitions.shares, loop->partitions.count,
		                      err);
	if (rc != TIDE_OK)
		return rc;
	for (int i = 0; i < loop->partitions.count; i++) {
		struct tide_share *share = loop->partitions.shares[i];
		share->bound = loop->settings->until_end && !running ? share->part->end
		               : loop->settings->until_end           ? 0
		                                                     : INT64_MAX;
	}
	int idle = loop->settings->workers - loop->partitions.count;
	if (idle > 0)
		tide_log(TIDE_INFO,
		         "%d of %d workers have no partition of their own; they share the "
		         "keyed work",
		         idle, loop->settings->workers);
	return TIDE_OK;
}
int tide_loop_open_all(struct loop *loop, struct tide_error *err)
{
	int rc = open_checkpoint(loop, err);
	loop->resumed = loop->meta.epoch >= 0;
	if (rc == TIDE_OK)
		rc = open_commit(loop, err);
	/* Another version's functions may fail on the states that are there. */
	if (rc == TIDE_OK && loop->meta.epoch >= 0 && loop->meta.job_hash != loop->plan->hash)
		rc = tide_commit_try(loop->commit, loop->options.vm, err);
	if (rc == TIDE_OK)
		rc = tide_partitions_open(&loop->partitions, loop->plan, loop->settings, err);
	if (rc == TIDE_OK)
		rc = open_crew(loop, err);
	if (rc == TIDE_OK)
		rc = tide_loop_discover(loop, false, err);
	tide_version_init(&loop->version, loop->crew, loop->commit, loop->settings->workers,
	                  loop->plan->hash);
	tide_rate_init(&loop->rate, loop->settings->records_per_second_max, tide_clock_mono_us());
	loop->fit.most = RECORDS_FIRST;
	return rc;
}

void tide_loop_close_all(struct loop *loop)
{
	tide_crew_stop(loop->crew);
	tide_commit_stop(loop->commit);
	tide_version_fini(&loop->version);
	tide_partitions_close(&loop->partitions);
	tide_events_fini(&loop->events);
	tide_keeping_fini(&loop->keeping);
	tide_tally_free(loop->tally);
	tide_exchange_free(loop->exchange);
	tide_checkpoint_close(loop->checkpoint);
	tide_meta_fini(&loop->meta);
	free(loop->specs);
	free(loop->ops);
	free(loop->index_ops);
	free(loop->update_outputs);
	free(loop->append_outputs);
	free(loop->complete_outputs);
}

void tide_loop_init(struct loop *loop, const struct tide_loop_options *options)
{
	assert(options->settings->workers > 0 && options->settings->batch_records_max > 0);
	loop->options = *options;
	loop->settings = options->settings;
	loop->plan = options->plan;
	loop->lent = options->vm;
	loop->began_us = loop->busy_us = tide_clock_mono_us();
}
