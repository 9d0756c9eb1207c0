/* SPDX-License-Identifier: Apache-2.0 */
/* See profiling.h. */
#include "run/profiling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "run/board.h"
#include "run/loop.h"
#include "run/sample.h"
#include "run/scratch.h"
#include "run/setup.h"
#include "sink/sink.h"

enum {
	FOR_MS_DEFAULT = 10000,
	REPEATED_BYTES = 16 * 1024 * 1024, /* a file that is smaller is taken more than once */
	EPOCH_RECORDS_MAX = 100000000,     /* one: what comes twice is never late */
	BEAT_US = 100000
};

/* --- rows go nowhere --------------------------------------------------------------- */

static const struct tide_sink_ops nowhere_ops;

static int nowhere_open(struct tide_sink **out, const struct tide_sink_options *options,
                        struct tide_error *err)
{
	(void)options;
	struct tide_sink *sink = calloc(1, sizeof *sink);
	if (sink == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a sink");
	sink->ops = &nowhere_ops;
	sink->exactly_once = true;
	*out = sink;
	return TIDE_OK;
}

static int nowhere_last(struct tide_sink *sink, int64_t *epoch, struct tide_error *err)
{
	(void)sink, (void)err;
	*epoch = -1;
	return TIDE_OK;
}

static int nowhere_publish(struct tide_sink *sink, int64_t epoch, const struct tide_rows *rows,
                           struct tide_error *err)
{
	(void)sink, (void)epoch, (void)rows, (void)err;
	return TIDE_OK;
}

static void nowhere_close(struct tide_sink *sink)
{
	free(sink);
}

static const struct tide_sink_ops nowhere_ops = {
	.kind = "profile",
	.modes = TIDE_MODE_APPEND | TIDE_MODE_UPDATE | TIDE_MODE_COMPLETE,
	.open = nowhere_open,
	.last_epoch = nowhere_last,
	.publish = nowhere_publish,
	.close = nowhere_close,
};

/* --- the passes ---------------------------------------------------------------------- */

static int sample_file(const struct tide_profiling *profiling, const struct tide_setup *setup,
                       struct tide_memory **out, struct tide_error *err)
{
	char *text = NULL;
	size_t len = 0;
	struct tide_buf all = { 0 };
	int rc = tide_file_read(profiling->input, TIDE_SAMPLE_BYTES_MAX, &text, &len, err);
	if (rc != TIDE_OK)
		return rc;
	do {
		tide_buf_put(&all, text, len);
		if (len > 0 && text[len - 1] != '\n')
			tide_buf_u8(&all, '\n');
	} while (!all.failed && all.len > 0 && all.len < REPEATED_BYTES);
	rc = all.failed ? tide_fail(err, TIDE_ERR_NOMEM, "no memory for a sample")
	                : tide_sample_lines(setup->plan, &setup->settings,
	                                    (struct tide_slice){ all.p, all.len },
	                                    tide_clock_us() / 1000, out, err);
	tide_buf_fini(&all);
	free(text);
	return rc;
}

/* As `run` has them, but for what waits and where things lie. One worker: it runs every
 * record, and has not to be looked at in turns. */
static void settle(struct tide_setup *setup, const struct tide_harness *harness,
                   struct tide_sampler *sampler)
{
	struct tide_settings *settings = &setup->settings;
	settings->harness = harness;
	settings->sampler = sampler;
	settings->progress_path = NULL;
	settings->from = "earliest";
	settings->trigger_ms = 0;
	settings->batch_records_max = EPOCH_RECORDS_MAX;
	settings->records_per_second_max = 0;
	settings->workers = 1;
	settings->until_end = false;
	settings->muted = false;
}

static int run_pass(const struct tide_profiling *profiling, struct tide_setup *setup,
                    struct tide_board *board, bool *any, struct tide_error *err)
{
	struct tide_loop *loop = NULL;
	struct tide_loop_options options = {
		.settings = &setup->settings,
		.plan = setup->plan,
		.vm = setup->vm,
		.board = board,
		.stop = profiling->cli->stop,
		.result_fd = -1,
	};
	bool ran = true;
	int rc = tide_loop_open(&options, &loop, err);
	while (rc == TIDE_OK && ran && atomic_load(profiling->cli->stop) == 0)
		rc = tide_loop_step(loop, &ran, err);
	*any = loop != NULL && tide_loop_meta(loop)->rows_in > 0;
	if (loop != NULL)
		tide_loop_close(loop, false, &(struct tide_error){ 0 });
	return rc;
}

struct beating {
	struct tide_guard *guard;
	int64_t at_us;
};

static void beat(void *arg)
{
	struct beating *beating = arg;
	int64_t now_us = tide_clock_mono_us();
	if (now_us - beating->at_us < BEAT_US)
		return;
	beating->at_us = now_us;
	tide_guard_beat(beating->guard, 1);
}

static int run_passes(const struct tide_profiling *profiling, struct tide_setup *setup,
                      struct tide_error *err)
{
	char dir[1024], path[1100];
	int64_t for_ms =
		setup->settings.run_for_ms > 0 ? setup->settings.run_for_ms : FOR_MS_DEFAULT;
	int64_t end_us = tide_clock_mono_us() + for_ms * 1000;
	bool any = true;
	struct tide_board *board = tide_board_new(setup->plan->job, NULL, 1, NULL);
	if (board == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to run");
	int rc = tide_scratch_make(dir, sizeof dir, true, err);
	setup->settings.run_for_ms = 0;
	setup->settings.checkpoint_dir = path;
	for (int i = 0; rc == TIDE_OK && any && tide_clock_mono_us() < end_us &&
	                atomic_load(profiling->cli->stop) == 0;
	     i++) {
		snprintf(path, sizeof path, "%s/%d", dir, i);
		rc = run_pass(profiling, setup, board, &any, err);
		tide_scratch_remove(path);
	}
	if (rc == TIDE_OK && !any && atomic_load(profiling->cli->stop) == 0)
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "there are no records to profile the job on; give some with "
		               "--input FILE");
	tide_scratch_remove(dir);
	tide_board_free(board);
	return rc;
}

static int take_report(const struct tide_sampler *sampler, char **report, struct tide_error *err)
{
	const char *text = tide_sampler_report(sampler);
	if (text == NULL)
		return tide_fail(err, TIDE_ERR_STOPPED, "stopped before the job has run");
	*report = strdup(text);
	return *report != NULL ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory for text");
}

int tide_profiling(const struct tide_profiling *profiling, char **report, struct tide_error *err)
{
	struct tide_setup setup = { 0 };
	struct tide_memory *memory = NULL;
	struct tide_sampler *sampler = NULL;
	struct tide_harness harness = { .sink = &nowhere_ops };
	struct beating beating = { .guard = profiling->guard };
	int rc = tide_setup_load(&setup, profiling->cli, profiling->job, err);
	if (rc == TIDE_OK) {
		tide_log_init(&(struct tide_log_options){ .level = TIDE_WARN });
		rc = profiling->input != NULL
		             ? sample_file(profiling, &setup, &memory, err)
		             : tide_sample_topics(setup.plan, &setup.settings, profiling->last, -1,
		                                  &memory, err);
	}
	if (rc == TIDE_OK) {
		struct tide_sampler_options options = { .lua_dir = setup.lua_dir,
			                                .vms = 1,
			                                .json = profiling->json,
			                                .whole = profiling->whole,
			                                .adds_up = true,
			                                .beat = beat,
			                                .beat_arg = &beating };
		sampler = tide_sampler_new(&options);
		if (sampler == NULL)
			rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory to profile");
	}
	if (rc == TIDE_OK) {
		harness.memory = memory;
		settle(&setup, &harness, sampler);
		beat(&beating);
		rc = run_passes(profiling, &setup, err);
	}
	if (rc == TIDE_OK)
		rc = take_report(sampler, report, err);
	tide_setup_fini(&setup);
	tide_sampler_free(sampler);
	tide_memory_free(memory);
	return rc;
}
