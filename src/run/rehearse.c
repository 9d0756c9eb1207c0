/* SPDX-License-Identifier: Apache-2.0 */
/* One try of a job on a sample. */
#include "run/rehearse.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "run/board.h"
#include "run/evidence.h"
#include "run/loop.h"
#include "run/sample.h"
#include "run/setup.h"
#include "sink/console.h"

enum {
	EPOCHS_MAX = 10000,
	DB_BYTES = 8 << 20 /* opening it fills a part of them, where files are in memory */
};

static void tell(const struct tide_rehearsal *rehearsal, enum tide_told what, const char *text)
{
	char line[4200];
	int len = snprintf(line, sizeof line, "%c%.4096s\n", (char)what, text);
	ssize_t written = write(rehearsal->told_fd, line, (size_t)len);
	(void)written; /* nobody listens any more: we end soon */
}

/* --- every output on the console ----------------------------------------------------- */

struct stage {
	struct tide_sink pub;
	struct tide_sink *console;
	struct tide_plan_output output; /* as a console's */
	char *title;                    /* where there are several outputs */
	int fd;
};

static const struct tide_sink_ops stage_ops;

static void stage_close(struct tide_sink *sink)
{
	struct stage *stage = (struct stage *)sink;
	if (stage == NULL)
		return;
	if (stage->console != NULL)
		stage->console->ops->close(stage->console);
	tide_options_fini(&stage->output.options);
	free(stage->title);
	free(stage);
}

/* What a console takes of the options; other sinks' rows are shown whole. */
static bool copy_options(struct stage *stage, const struct tide_plan_output *output)
{
	static const char *const names[] = { "rows", "truncate" };
	bool console = strcmp(output->sink, "console") == 0;
	stage->output = *output;
	stage->output.options = (struct tide_options){ 0 };
	bool ok = console || tide_option_set(&stage->output.options, "truncate", "false");
	for (size_t i = 0; ok && console && i < sizeof names / sizeof names[0]; i++) {
		const char *value = tide_option_get(&output->options, names[i]);
		ok = value == NULL || tide_option_set(&stage->output.options, names[i], value);
	}
	return ok;
}

static int stage_open(struct tide_sink **out, const struct tide_sink_options *options,
                      struct tide_error *err)
{
	const struct tide_plan *plan = options->arg;
	struct stage *stage = calloc(1, sizeof *stage);
	struct tide_sink_options console = *options;
	bool ok = stage != NULL && copy_options(stage, options->output);
	if (ok && plan->output_count > 1 && strcmp(options->format, "spark") == 0)
		ok = (stage->title = strdup(options->output->name)) != NULL;
	int rc = ok ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory for a sink");
	if (rc == TIDE_OK) {
		console.output = &stage->output;
		console.muted = false;
		rc = tide_console_ops.open(&stage->console, &console, err);
	}
	if (rc != TIDE_OK) {
		stage_close(stage != NULL ? &stage->pub : NULL);
		return rc;
	}
	stage->pub.ops = &stage_ops;
	stage->fd = options->fd;
	stage->pub.exactly_once = true; /* nothing is left for a next start */
	*out = &stage->pub;
	return TIDE_OK;
}

static int stage_last(struct tide_sink *sink, int64_t *epoch, struct tide_error *err)
{
	(void)sink, (void)err;
	*epoch = -1;
	return TIDE_OK;
}

static int stage_publish(struct tide_sink *sink, int64_t epoch, const struct tide_rows *rows,
                         struct tide_error *err)
{
	struct stage *stage = (struct stage *)sink;
	if (stage->title != NULL && dprintf(stage->fd, "%s\n", stage->title) < 0)
		return tide_fail(err, TIDE_ERR_UNAVAILABLE, "nobody reads the output");
	return stage->console->ops->publish(stage->console, epoch, rows, err);
}

static const struct tide_sink_ops stage_ops = {
	.kind = "dev",
	.modes = TIDE_MODE_APPEND | TIDE_MODE_UPDATE | TIDE_MODE_COMPLETE,
	.open = stage_open,
	.last_epoch = stage_last,
	.publish = stage_publish,
	.close = stage_close,
};

/* --- the try ------------------------------------------------------------------------- */

/* Above all what is said once for each start. */
static void log_from(enum tide_level level)
{
	tide_log_init(&(struct tide_log_options){ .level = level });
}

static int sample(const struct tide_rehearsal *rehearsal, const struct tide_setup *setup,
                  struct tide_memory **out, struct tide_error *err)
{
	if (rehearsal->lines)
		return tide_sample_lines(setup->plan, &setup->settings, rehearsal->text,
		                         tide_clock_us() / 1000, out, err);
	return tide_sample_topics(setup->plan, &setup->settings, rehearsal->last,
	                          rehearsal->cache_fd, out, err);
}

/* As `run` has them, but for what waits, what repeats, and where things lie. */
static void settle(const struct tide_rehearsal *rehearsal, struct tide_setup *setup,
                   const struct tide_harness *harness)
{
	struct tide_settings *settings = &setup->settings;
	bool asked = tide_config_layer(rehearsal->cli->config, "workers") > TIDE_LAYER_JOB;
	settings->harness = harness;
	settings->checkpoint_dir = rehearsal->dir;
	settings->progress_path = NULL;
	settings->from = "earliest";
	settings->trigger_ms = 0;
	settings->records_per_second_max = 0;
	settings->run_for_ms = 0;
	settings->workers = asked ? settings->workers : 1;
	settings->until_end = false;
	settings->muted = false;
	settings->result_terminal = rehearsal->terminal;
}

static void put_count(struct tide_buf *out, uint64_t count, const char *what)
{
	if (count > 0)
		tide_buf_printf(out, ", %llu %s", (unsigned long long)count, what);
}

static void tell_summary(const struct tide_rehearsal *rehearsal, const struct tide_setup *setup,
                         const struct tide_loop *loop)
{
	const struct tide_meta *meta = tide_loop_meta(loop);
	struct tide_buf out = { 0 };
	tide_buf_printf(&out, "%llu record%s in, %llu row%s out", (unsigned long long)meta->rows_in,
	                meta->rows_in == 1 ? "" : "s", (unsigned long long)meta->rows_out,
	                meta->rows_out == 1 ? "" : "s");
	put_count(&out, meta->rows_filtered, "filtered");
	put_count(&out, meta->rows_malformed, "malformed");
	put_count(&out, meta->rows_failed, "failed");
	put_count(&out, meta->rows_late, "late");
	if (setup->plan->keyed_count > 0)
		put_count(&out, tide_loop_state_rows(loop), "in state");
	if (meta->watermark_us != INT64_MIN) {
		char text[32];
		tide_clock_format_ms(meta->watermark_us / 1000, text, sizeof text);
		tide_buf_printf(&out, ", watermark %s", text);
	}
	tide_buf_u8(&out, '\0');
	if (!out.failed)
		tell(rehearsal, TIDE_TOLD_SUMMARY, out.p);
	tide_buf_fini(&out);
}

static int run_epochs(struct tide_loop *loop, struct tide_error *err)
{
	bool ran = true;
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && ran; i++) {
		if (i == EPOCHS_MAX)
			return tide_fail(err, TIDE_ERR_FAILED, "more than %d epochs on a sample",
			                 EPOCHS_MAX);
		rc = tide_loop_step(loop, &ran, err);
	}
	return rc;
}

static int run_loop(const struct tide_rehearsal *rehearsal, struct tide_setup *setup,
                    struct tide_error *err)
{
	struct tide_loop *loop = NULL;
	struct tide_board *board =
		tide_board_new(setup->plan->job, NULL, setup->settings.workers, NULL);
	if (board == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to run");
	struct tide_loop_options options = {
		.settings = &setup->settings,
		.plan = setup->plan,
		.vm = setup->vm,
		.board = board,
		.stop = rehearsal->cli->stop,
		.result_fd = STDOUT_FILENO,
	};
	log_from(TIDE_WARN);
	int rc = tide_loop_open(&options, &loop, err);
	log_from(TIDE_INFO);
	if (rc == TIDE_OK)
		rc = run_epochs(loop, err);
	log_from(TIDE_WARN);
	if (rc == TIDE_OK)
		tell_summary(rehearsal, setup, loop);
	/* What fails now fails what nobody will look at again. */
	if (loop != NULL)
		tide_loop_close(loop, false, &(struct tide_error){ 0 });
	tide_board_free(board);
	return rc;
}

static void warn(struct tide_setup *setup)
{
	struct tide_error err = { 0 };
	if (tide_vm_lint(setup->vm, setup->plan, false, &err) != TIDE_OK)
		return; /* `check` says so */
	for (int i = 0; i < setup->plan->warning_count; i++) {
		const struct tide_plan_warning *warning = &setup->plan->warnings[i];
		tide_log(TIDE_WARN, "%s:%d: %s\n%6d | %s", warning->path, warning->line,
		         warning->text, warning->line, warning->source);
	}
}

/* What lua/tidemark/boot.lua asks for. */
static int hurry(const struct tide_rehearsal *rehearsal, struct tide_error *err)
{
	char flag[] = "--set", value[64];
	char *args[] = { flag, value };
	int taken = 0;
	snprintf(value, sizeof value, "tidemark.hurry_ms=%d", rehearsal->hurry_ms);
	return rehearsal->hurry_ms == 0
	               ? TIDE_OK
	               : tide_config_flag(rehearsal->cli->config, 2, args, &taken, err);
}

int tide_rehearse(const struct tide_rehearsal *rehearsal, struct tide_error *err)
{
	assert(rehearsal->cli != NULL && rehearsal->told_fd >= 0);
	struct tide_setup setup = { 0 };
	struct tide_memory *memory = NULL;
	struct tide_harness harness = { .sink = &stage_ops, .db_bytes = DB_BYTES };
	int rc = hurry(rehearsal, err);
	if (rc == TIDE_OK)
		rc = tide_setup_load(&setup, rehearsal->cli, rehearsal->job, err);
	for (int i = 0; setup.plan != NULL && i < setup.plan->file_count; i++)
		tell(rehearsal, TIDE_TOLD_FILE, setup.plan->files[i]);
	if (rc == TIDE_OK) {
		tell(rehearsal, TIDE_TOLD_READING, "");
		warn(&setup);
		log_from(TIDE_WARN);
		rc = sample(rehearsal, &setup, &memory, err);
	}
	if (rc == TIDE_OK) {
		tell(rehearsal, TIDE_TOLD_BEGUN, "");
		harness.memory = memory;
		harness.sink_arg = setup.plan;
		settle(rehearsal, &setup, &harness);
		rc = run_loop(rehearsal, &setup, err);
	}
	if (rc != TIDE_OK)
		tide_evidence_add(
			setup.plan,
			rehearsal->lines ? rehearsal->text : (struct tide_slice){ NULL, 0 }, err);
	tide_setup_fini(&setup);
	tide_memory_free(memory);
	return rc;
}
