/* SPDX-License-Identifier: Apache-2.0 */
/* replay: a job on a recording. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "job/hang.h"
#include "run/cli.h"
#include "run/difference.h"
#include "run/emit_spec.h"
#include "run/jobfiles.h"
#include "run/replay.h"
#include "run/scratch.h"
#include "run/setup.h"
#include "sink/json_row.h"

/* What `tidemark replay` was told, and what it has opened for it. */
struct replaying {
	struct tide_cli *cli;
	struct tide_setup setup;
	struct tide_recording recording;
	char scratch[4096], recorded_job[8300];
	const char *new_job; /* NULL: the recorded one */
};

/* ---- the recorded job ---- */

static int write_job(struct replaying *replaying, struct tide_error *err)
{
	int rc = tide_scratch_make(replaying->scratch, sizeof replaying->scratch, false, err);
	return rc == TIDE_OK ? tide_jobfiles_write(&replaying->recording, replaying->scratch,
	                                           replaying->recorded_job,
	                                           sizeof replaying->recorded_job, err)
	                     : rc;
}

/* ---- rows ---- */

static int print_rows(void *arg, const struct tide_rerun *rerun,
                      const struct tide_recorded_step *step, struct tide_error *err)
{
	const struct tide_plan *plan = tide_rerun_plan(rerun);
	struct tide_buf text = { 0 };
	int rc = TIDE_OK;
	(void)arg, (void)step;
	for (int o = 0; rc == TIDE_OK && o < plan->output_count; o++) {
		const struct tide_rows *rows = tide_rerun_rows(rerun, o);
		struct tide_json_row json = { 0 };
		if (rows == NULL || tide_rows_count(rows) == 0)
			continue;
		rc = tide_json_row_init(&json, tide_rows_schema(rows), NULL, err);
		for (uint32_t r = 0; rc == TIDE_OK && r < tide_rows_count(rows); r++) {
			tide_json_row_put(&json, rows, r, &text);
			tide_buf_put(&text, "\n", 1);
		}
		tide_json_row_fini(&json);
	}
	if (rc == TIDE_OK && text.failed)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows");
	else if (rc == TIDE_OK && text.len > 0)
		fwrite(text.p, 1, text.len, stdout);
	tide_buf_fini(&text);
	return rc;
}

/* The rows that were recorded, as if from a run. */
static int recorded_rows(const struct tide_recording *recording, const struct tide_replayed *like,
                         struct tide_replayed *out, struct tide_error *err)
{
	size_t count = (size_t)recording->output_count + 1;
	bool ok = true;
	*out = (struct tide_replayed){ .failed_step = -1 };
	out->outputs = calloc(count, sizeof(char *));
	out->rows = calloc(count, sizeof(struct tide_rows *));
	out->keys = calloc(count, sizeof *out->keys);
	out->key_counts = calloc(count, sizeof *out->key_counts);
	ok = out->outputs != NULL && out->rows != NULL && out->keys != NULL &&
	     out->key_counts != NULL;
	for (int o = 0; ok && o < recording->output_count; o++) {
		int at = -1;
		const struct tide_rows *rows = tide_replayed_rows(like, recording->outputs[o], &at);
		out->output_count = o + 1;
		out->outputs[o] = strdup(recording->outputs[o]);
		for (int s = 0; ok && s < recording->step_count; s++) {
			const struct tide_recorded_step *step = &recording->steps[s];
			const struct tide_rows *some = o < step->row_count ? step->rows[o] : NULL;
			if (some == NULL)
				continue;
			if (out->rows[o] == NULL)
				out->rows[o] = tide_rows_new(tide_rows_schema(some));
			ok = out->rows[o] != NULL && tide_rows_extend(out->rows[o], some);
		}
		if (rows != NULL) {
			out->key_counts[o] = like->key_counts[at];
			memcpy(out->keys[o], like->keys[at], sizeof out->keys[o]);
		}
		ok = ok && out->outputs[o] != NULL;
	}
	return ok ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows");
}

static int failed_run(const struct tide_recording *recording, const struct tide_replayed *run,
                      struct tide_error *err)
{
	const struct tide_recorded_step *step = &recording->steps[run->failed_step];
	if (step->kind == TIDE_RECORDED_FAILED)
		tide_log(TIDE_INFO, "as when it was recorded, the job fails:");
	return tide_fail(err, run->why.status, "%s", run->why.text);
}

/* Is it what it was? */
static int check_same(const struct tide_recording *recording, const struct tide_replayed *run,
                      struct tide_error *err)
{
	struct tide_replayed old_run;
	struct tide_buf text = { 0 };
	double share = 0;
	int rc = recorded_rows(recording, run, &old_run, err);
	if (rc == TIDE_OK && run->failed_step < 0)
		rc = tide_replay_compare(&old_run, run, &text, &share, err);
	if (rc == TIDE_OK && share > 0) {
		tide_log(TIDE_WARN, "%.*s", (int)text.len, text.p);
		rc = tide_fail(err, TIDE_ERR_DIFFER,
		               "the rows are not those that were recorded: the job depends on "
		               "something beside its records and its clock");
	}
	if (rc == TIDE_OK && run->failed_step < 0)
		tide_log(TIDE_INFO,
		         "%llu records in %llu epochs, %.2f us a record: the rows that were "
		         "recorded",
		         (unsigned long long)run->records,
		         (unsigned long long)tide_recording_epochs(recording),
		         tide_replayed_record_us(run));
	tide_replayed_fini(&old_run);
	tide_buf_fini(&text);
	return rc;
}

/* ---- the ways to replay ---- */

static struct tide_rerun_options options_of(const struct replaying *replaying, const char *job)
{
	bool own = job == replaying->new_job;
	return (struct tide_rerun_options){
		.recording = &replaying->recording,
		.job_path = job,
		.lua_dir = replaying->setup.lua_dir,
		.topic = own ? replaying->setup.settings.topic : NULL,
		.set = own && replaying->setup.set.count > 0 ? &replaying->setup.set : NULL,
		.workers = replaying->setup.settings.workers,
		.jit_off = tide_cli_own(replaying->cli, "jit-off") != NULL,
	};
}

static int replay_one(struct replaying *replaying, struct tide_error *err)
{
	struct tide_replayed run;
	const char *job = replaying->new_job != NULL ? replaying->new_job : replaying->recorded_job;
	struct tide_rerun_options options = options_of(replaying, job);
	int rc = tide_replay(&options, print_rows, NULL, &run, err);
	if (rc == TIDE_OK && replaying->new_job == NULL)
		rc = check_same(&replaying->recording, &run, err);
	if (rc == TIDE_OK && run.failed_step >= 0)
		rc = failed_run(&replaying->recording, &run, err);
	tide_replayed_fini(&run);
	return rc;
}

/* Old and new in turn, and the better time of each counts. */
static int replay_both(struct replaying *replaying, double most, struct tide_error *err)
{
	enum { TURNS = 3 };
	const char *jobs[2] = { replaying->recorded_job, replaying->new_job };
	struct tide_replayed runs[2] = { 0 };
	struct tide_buf text = { 0 };
	double share = 0;
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && i < 2 * TURNS; i++) {
		struct tide_replayed run;
		struct tide_rerun_options options = options_of(replaying, jobs[i % 2]);
		rc = tide_replay(&options, NULL, NULL, &run, err);
		if (i >= 2 && runs[i % 2].spent_us < run.spent_us)
			run.spent_us = runs[i % 2].spent_us;
		tide_replayed_fini(&runs[i % 2]);
		runs[i % 2] = run;
	}
	if (rc == TIDE_OK)
		rc = tide_replay_compare(&runs[0], &runs[1], &text, &share, err);
	if (rc == TIDE_OK)
		fwrite(text.p, 1, text.len, stdout);
	if (rc == TIDE_OK && share > most)
		rc = tide_fail(err, TIDE_ERR_DIFFER, "the jobs differ on %s, in %.3g%% of the rows",
		               replaying->cli->words[0], share * 100);
	tide_replayed_fini(&runs[0]);
	tide_replayed_fini(&runs[1]);
	tide_buf_fini(&text);
	return rc;
}

/* Whatever comes of it is on stdout, too, so that who started us can tell it. */
static int replay_failures(struct replaying *replaying, struct tide_error *err)
{
	const char *jobs[2] = { replaying->recorded_job, replaying->new_job };
	struct tide_replayed runs[2] = { 0 };
	struct tide_buf text = { 0 };
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && i < 2; i++) {
		struct tide_rerun_options options = options_of(replaying, jobs[i]);
		rc = tide_replay(&options, NULL, NULL, &runs[i], err);
	}
	if (rc == TIDE_OK)
		rc = tide_replay_failures(&runs[0], &runs[1], &text, err);
	else
		tide_buf_printf(&text, "%s", err->text);
	printf("%.*s\n", (int)text.len, text.len > 0 ? text.p : "");
	tide_replayed_fini(&runs[0]);
	tide_replayed_fini(&runs[1]);
	tide_buf_fini(&text);
	return rc;
}

static int emit(struct replaying *replaying, const char *path, struct tide_error *err)
{
	const char *given = tide_option_get(&replaying->recording.info, "path");
	const char *base = strrchr(replaying->cli->words[0], '/');
	const char *job = replaying->new_job != NULL ? replaying->new_job : replaying->recorded_job;
	struct tide_rerun_options options = options_of(replaying, job);
	struct tide_buf text = { 0 };
	if (replaying->new_job == NULL && given == NULL)
		return tide_fail(err, TIDE_ERR_USAGE, "say which job the spec is of: --job FILE");
	int rc = tide_emit_spec(&options, replaying->new_job != NULL ? replaying->new_job : given,
	                        base != NULL ? base + 1 : replaying->cli->words[0], &text, err);
	FILE *file = stdout;
	if (rc == TIDE_OK && strcmp(path, "-") != 0 && (file = fopen(path, "wb")) == NULL)
		rc = tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
	if (rc == TIDE_OK && fwrite(text.p, 1, text.len, file) != text.len)
		rc = tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
	if (file != NULL && file != stdout && fclose(file) != 0 && rc == TIDE_OK)
		rc = tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
	tide_buf_fini(&text);
	return rc;
}

int tide_cli_replay(struct tide_cli *cli, struct tide_error *err)
{
	struct replaying *replaying = calloc(1, sizeof *replaying);
	const char *spec = tide_cli_own(cli, "emit-spec");
	bool diff = tide_cli_own(cli, "diff") != NULL;
	bool failures = tide_cli_own(cli, "failures") != NULL;
	double most = 0;
	if (replaying == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to replay");
	replaying->cli = cli;
	replaying->new_job = tide_cli_own(cli, "job");
	int rc = tide_cli_share(cli, "max-diff", &most, err);
	if (rc == TIDE_OK)
		rc = tide_setup_load(&replaying->setup, cli, NULL, err);
	if (rc == TIDE_OK) /* As where it was recorded. */
		rc = tide_hang_start(tide_config_int(cli->config, "record-timeout"), err);
	if (rc == TIDE_OK && !diff && tide_cli_own(cli, "max-diff") != NULL)
		rc = tide_fail(err, TIDE_ERR_USAGE, "--max-diff goes with --diff");
	if (rc == TIDE_OK && (diff || failures) &&
	    (replaying->new_job == NULL || spec != NULL || diff == failures))
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "--%s compares the recorded job with another: say which with "
		               "--job FILE, and no --%s",
		               failures ? "failures" : "diff",
		               diff == failures ? "diff" : "emit-spec");
	if (rc == TIDE_OK)
		rc = tide_recording_read(cli->words[0], &replaying->recording, err);
	if (rc == TIDE_OK && (diff || failures || replaying->new_job == NULL))
		rc = write_job(replaying, err);
	if (rc == TIDE_OK)
		rc = diff           ? replay_both(replaying, most, err)
		     : failures     ? replay_failures(replaying, err)
		     : spec != NULL ? emit(replaying, spec, err)
		                    : replay_one(replaying, err);
	tide_scratch_remove(replaying->scratch);
	tide_recording_fini(&replaying->recording);
	tide_setup_fini(&replaying->setup);
	free(replaying);
	return rc;
}
