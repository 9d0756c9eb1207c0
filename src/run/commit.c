/* SPDX-License-Identifier: Apache-2.0 */
/* Decide, publish, release: the second half of an epoch's life.
 *
 * Nothing outside changes before decide returns. Then each sink gets the bytes
 * that the outbox holds; what it has published goes on record with the next
 * decision, after a second of rest, and at a clean stop. */
#include "run/commit.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mutant.h"
#include "run/refused.h"
#include "run/result.h"

enum { HELD_BYTES_MAX = 32 * 1024 * 1024 };

struct outlet {
	struct tide_sink *sink;
	enum tide_sink_mode mode;
	const char *name;
	int64_t due, acked; /* as in struct tide_sink_mark */
	bool muted;
	/* Decided rows that a sink with a cadence is still spared; NULL: never any. */
	struct tide_rows *held;
	int64_t held_epoch, held_us; /* the newest epoch of them; since when */
};

struct tide_commit {
	struct tide_commit_options options;
	struct outlet *outlets;     /* per output */
	struct tide_result *result; /* whole states to rows, for complete mode */
	struct tide_options client; /* of sinks that are clients of Kafka */
	struct tide_buf progress;   /* of the newest epoch, until it is on record */
	int64_t progress_epoch;
	pthread_t thread;
	atomic_int failed; /* the job ends before its rows are out */
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct tide_finished *handed; /* NULL: idle */
	bool stop;
	int rc;
	struct tide_error err;
};

/* Rows to a sink; in complete mode the whole state first becomes *rows. */
static int publish(struct tide_commit *commit, int output, int64_t epoch,
                   const struct tide_rows **rows, struct tide_error *err)
{
	struct outlet *outlet = &commit->outlets[output];
	int rc = TIDE_OK;
	if (outlet->mode == TIDE_MODE_COMPLETE)
		rc = tide_result_all(commit->result, output, rows, err);
	if (rc == TIDE_OK && tide_failpoint("publish") != 0)
		rc = tide_fail(err, TIDE_ERR_UNAVAILABLE, "sink %s: fail point", outlet->name);
	if (rc == TIDE_OK)
		rc = outlet->sink->ops->publish(outlet->sink, epoch, *rows, err);
	if (rc != TIDE_OK)
		return rc;
	outlet->acked = epoch;
	return tide_pass("published", err);
}

/* Does this output have something to publish for the epoch? In complete mode
 * an epoch that changed nothing puts nothing out (C29). */
static bool has_rows(const struct tide_commit *commit, const struct tide_finished *finished,
                     int output)
{
	const struct outlet *outlet = &commit->outlets[output];
	const struct tide_rows *rows = finished->rows[output];
	if (outlet->muted)
		return false;
	if (outlet->mode == TIDE_MODE_COMPLETE)
		return finished->records > 0;
	return rows != NULL && tide_rows_count(rows) > 0;
}

void tide_commit_mark(const struct tide_commit *commit, struct tide_meta *meta)
{
	for (int o = 0; o < commit->options.plan->output_count; o++) {
		const struct outlet *outlet = &commit->outlets[o];
		struct tide_sink_mark *mark = tide_meta_sink(meta, outlet->name);
		if (mark == NULL)
			continue;
		mark->due = outlet->due;
		mark->acked = tide_mutant(RELEASE_EARLY) ? outlet->due : outlet->acked;
	}
}

/* An epoch's progress is whole when it is published: the next decision keeps it. */
static bool keep_progress(struct tide_commit *commit, struct tide_writes *writes)
{
	struct tide_slice json = { commit->progress.p, commit->progress.len };
	return json.len == 0 || tide_checkpoint_keep_progress(writes, commit->progress_epoch, json);
}

/* What a sink will not take is an error, or a dead letter of the same epoch. Their
 * own sink is asked last. */
static int sift(struct tide_commit *commit, struct tide_finished *finished, struct tide_error *err)
{
	const struct tide_plan *plan = commit->options.plan;
	int count = finished->output_count, letters = tide_plan_letters(plan);
	int rc = tide_pass("check", err);
	for (int i = 0; rc == TIDE_OK && i < count; i++) {
		int o = letters < 0 ? i : (i + letters + 1) % count;
		const struct outlet *outlet = &commit->outlets[o];
		const char *reject = tide_option_get(&plan->outputs[o].options, "on_reject");
		char place[4200];
		if (outlet->muted || finished->rows[o] == NULL || outlet->sink->ops->check == NULL)
			continue;
		snprintf(place, sizeof place, "%.4000s:%d", plan->path, plan->outputs[o].line);
		rc = letters >= 0 && o != letters && reject != NULL &&
		                     strcmp(reject, "dead_letter") == 0
		             ? tide_refused_sift(outlet->sink, &finished->rows[o],
		                                 &finished->rows[letters],
		                                 plan->outputs[letters].row, place, err)
		             : outlet->sink->ops->check(outlet->sink, finished->rows[o], NULL, err);
	}
	return rc;
}

static int decide(struct tide_commit *commit, struct tide_finished *finished,
                  struct tide_error *err)
{
	int count = finished->output_count, entries = 0;
	struct tide_outbox_entry outbox[TIDE_OUTPUTS_MAX];
	struct tide_buf bytes[TIDE_OUTPUTS_MAX] = { 0 };
	int rc = sift(commit, finished, err);
	for (int o = 0; rc == TIDE_OK && o < count; o++) {
		struct outlet *outlet = &commit->outlets[o];
		if (!has_rows(commit, finished, o))
			continue;
		/* In complete mode the state of the epoch is the rows. */
		if (finished->rows[o] == NULL)
			finished->rows[o] = tide_rows_new(commit->options.plan->outputs[o].row);
		if (finished->rows[o] != NULL)
			tide_rows_encode(finished->rows[o], &bytes[o]);
		if (rc == TIDE_OK && (finished->rows[o] == NULL || bytes[o].failed))
			rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the outbox");
		outlet->due = finished->meta.epoch;
		outbox[entries++] =
			(struct tide_outbox_entry){ outlet->name, { bytes[o].p, bytes[o].len } };
	}
	tide_commit_mark(commit, &finished->meta);
	if (rc == TIDE_OK && !keep_progress(commit, finished->writes[0]))
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for progress");
	if (rc == TIDE_OK)
		rc = tide_checkpoint_decide(commit->options.checkpoint, &finished->meta,
		                            finished->writes, finished->write_count, outbox,
		                            entries, err);
	for (int o = 0; o < count; o++)
		tide_buf_fini(&bytes[o]);
	return rc;
}

static bool holds(const struct outlet *outlet)
{
	return outlet->held != NULL && tide_rows_count(outlet->held) > 0;
}

static bool is_due(const struct outlet *outlet)
{
	return holds(outlet) &&
	       (tide_clock_mono_us() - outlet->held_us >= outlet->sink->every_ms * 1000 ||
	        tide_rows_bytes(outlet->held) >= HELD_BYTES_MAX);
}

static int publish_held(struct tide_commit *commit, int output, struct tide_error *err)
{
	struct outlet *outlet = &commit->outlets[output];
	const struct tide_rows *rows = outlet->held;
	int rc = publish(commit, output, outlet->held_epoch, &rows, err);
	if (rc == TIDE_OK)
		tide_rows_clear(outlet->held);
	return rc;
}

/* For a sink that takes several epochs at once. */
static int hold(struct tide_commit *commit, int output, int64_t epoch, const struct tide_rows *rows,
                struct tide_error *err)
{
	struct outlet *outlet = &commit->outlets[output];
	int rc = tide_pass("hold", err);
	if (rc != TIDE_OK)
		return rc;
	if (outlet->held == NULL)
		outlet->held = tide_rows_new(tide_rows_schema(rows));
	if (!holds(outlet))
		outlet->held_us = tide_clock_mono_us();
	if (outlet->held == NULL || !tide_rows_extend(outlet->held, rows))
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows of sink %s",
		                 outlet->name);
	outlet->held_epoch = epoch;
	return is_due(outlet) ? publish_held(commit, output, err) : TIDE_OK;
}

/* To each sink its rows. */
static int put_out(struct tide_commit *commit, struct tide_finished *finished,
                   struct tide_error *err)
{
	int rc = TIDE_OK;
	struct tide_board_epoch *note = &finished->note;
	for (int o = 0; rc == TIDE_OK && o < finished->output_count; o++) {
		if (!has_rows(commit, finished, o))
			continue;
		const struct tide_rows *rows = finished->rows[o];
		const struct outlet *outlet = &commit->outlets[o];
		if (outlet->sink->every_ms > 0 && outlet->mode != TIDE_MODE_COMPLETE)
			rc = hold(commit, o, finished->meta.epoch, rows, err);
		else
			rc = publish(commit, o, finished->meta.epoch, &rows, err);
		note->rows_out += tide_rows_count(rows);
		finished->progress.sinks[o].rows = tide_rows_count(rows);
		if (note->rows == NULL)
			note->rows = rows;
	}
	return rc;
}

static int commit_epoch(struct tide_commit *commit, struct tide_finished *finished,
                        struct tide_error *err)
{
	int64_t began = tide_clock_mono_us();
	finished->meta.decided_us = tide_clock_us();
	int rc = tide_mutant(PUBLISH_FIRST) ? put_out(commit, finished, err) : TIDE_OK;
	if (rc == TIDE_OK)
		rc = decide(commit, finished, err);
	int64_t decided = tide_clock_mono_us();
	struct tide_board_epoch *note = &finished->note;
	if (rc == TIDE_OK && !tide_mutant(PUBLISH_FIRST))
		rc = put_out(commit, finished, err);
	note->decide_us = decided - began;
	note->publish_us = tide_clock_mono_us() - decided;
	if (rc != TIDE_OK)
		return rc;
	tide_board_published(commit->options.board, note);
	tide_buf_clear(&commit->progress);
	commit->progress_epoch = finished->meta.epoch;
	tide_board_latest(commit->options.board, &commit->progress);
	return TIDE_OK;
}

static void *commit_main(void *arg)
{
	struct tide_commit *commit = arg;
	pthread_mutex_lock(&commit->lock);
	for (;;) {
		while (commit->handed == NULL && !commit->stop)
			pthread_cond_wait(&commit->changed, &commit->lock);
		struct tide_finished *finished = commit->handed;
		if (finished == NULL)
			break;
		pthread_mutex_unlock(&commit->lock);
		int rc = commit_epoch(commit, finished, &commit->err);
		tide_finished_free(finished);
		pthread_mutex_lock(&commit->lock);
		commit->rc = rc;
		commit->handed = NULL;
		pthread_cond_broadcast(&commit->changed);
	}
	pthread_mutex_unlock(&commit->lock);
	return NULL;
}

static const struct tide_sink_mark *mark_of(const struct tide_meta *meta, const char *name)
{
	for (int i = 0; i < meta->sink_count; i++)
		if (strcmp(meta->sinks[i].name, name) == 0)
			return &meta->sinks[i];
	return NULL;
}

static bool has_sink(const struct tide_plan *plan, const char *name)
{
	for (int o = 0; o < plan->output_count; o++)
		if (strcmp(plan->outputs[o].name, name) == 0)
			return true;
	return false;
}

int tide_commit_adopt(struct tide_meta *meta, const struct tide_plan *plan, struct tide_error *err)
{
	for (int i = meta->sink_count - 1; i >= 0; i--) {
		struct tide_sink_mark *mark = &meta->sinks[i];
		if (has_sink(plan, mark->name))
			continue;
		if (mark->acked < mark->due)
			return tide_fail(
				err, TIDE_ERR_CHECKPOINT,
				"the job has no sink %s any more, and rows of epochs %lld to %lld "
				"are decided for it and may not be published. Run it with this "
				"sink once more until it ends, or give the rows up: `tidemark "
				"checkpoint outbox skip JOB.lua %s`. Nothing was changed",
				mark->name, (long long)mark->acked + 1, (long long)mark->due,
				mark->name);
		tide_log(TIDE_INFO, "sink %s is no longer part of the job", mark->name);
		tide_meta_sink_remove(meta, mark);
	}
	for (int o = 0; o < plan->output_count; o++) {
		const char *name = plan->outputs[o].name;
		if (mark_of(meta, name) != NULL)
			continue;
		struct tide_sink_mark *mark = tide_meta_sink_add(meta, name);
		if (mark == NULL)
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for sinks");
		mark->since = meta->epoch + 1;
		mark->due = mark->acked = meta->epoch;
		if (meta->epoch >= 0)
			tide_log(TIDE_INFO, "sink %s is new: it takes epochs from %lld on", name,
			         (long long)mark->since);
	}
	return TIDE_OK;
}

/* What the sink remembers, against what the checkpoint knows of it. */
static int compare_memory(const struct tide_commit *commit, const struct outlet *outlet,
                          const struct tide_sink_mark *mark, int64_t known, struct tide_error *err)
{
	int64_t end = tide_checkpoint_meta(commit->options.checkpoint)->epoch;
	if (known > mark->due)
		return tide_fail(
			err, TIDE_ERR_CHECKPOINT,
			"sink %s has published epoch %lld but the checkpoint ends at %lld: it "
			"went back in time (a restored backup?). Nothing was touched. Going on would "
			"publish rows again: restore a newer copy (`tidemark checkpoint copies`) or what "
			"the restore took away (folder replaced), or remove the checkpoint to start a "
			"new one, whose rows come beside those that are out",
			outlet->name, (long long)known, (long long)end);
	/* Before `since` it has published nothing that it could remember. */
	if (mark->acked < mark->due && mark->acked >= mark->since && known < mark->acked)
		return tide_fail(
			err, TIDE_ERR_CHECKPOINT,
			"sink %s has published epoch %lld and does not remember it, so nobody "
			"knows whether epoch %lld was published before the last stop. Its memory "
			"is gone: was the topic or folder deleted, or did the job rest longer "
			"than offsets.retention.minutes of the broker? Look at the output, then say "
			"`tidemark checkpoint resolve JOB.lua %s --published` (it is there) or "
			"`--republish`. Nothing was touched.",
			outlet->name, (long long)mark->acked, (long long)mark->due, outlet->name);
	return TIDE_OK;
}

/* A sink that gathers epochs does so here, too: many may wait for it. For others
 * it is one, as an epoch is only decided when that before it is published. */
static int republish(struct tide_commit *commit, int output, int64_t due, struct tide_error *err)
{
	struct outlet *outlet = &commit->outlets[output];
	bool gathers = outlet->sink->every_ms > 0 && outlet->mode != TIDE_MODE_COMPLETE;
	struct tide_buf bytes = { 0 };
	int rc = TIDE_OK;
	if (outlet->acked < due)
		tide_log(TIDE_INFO,
		         "sink %s: publishing epoch %lld again, decided before the last stop",
		         outlet->name, (long long)due);
	for (int64_t e = outlet->acked + 1; rc == TIDE_OK && e <= due && !tide_mutant(NO_REPLAY);
	     e++) {
		bool found = false;
		struct tide_rows *rows = NULL;
		rc = tide_checkpoint_outbox(commit->options.checkpoint, outlet->name, e, &bytes,
		                            &found, err);
		if (rc != TIDE_OK || !found)
			continue;
		rc = tide_pass("replay", err);
		if (rc == TIDE_OK)
			rc = tide_rows_decode((struct tide_slice){ bytes.p, bytes.len }, &rows,
			                      err);
		const struct tide_rows *published = rows;
		if (rc == TIDE_OK && !outlet->muted)
			rc = gathers ? hold(commit, output, e, rows, err)
			             : publish(commit, output, e, &published, err);
		tide_rows_free(rows);
	}
	if (rc == TIDE_OK && holds(outlet))
		rc = publish_held(commit, output, err);
	/* Its columns are those of the job that made these rows. */
	tide_rows_free(outlet->held);
	outlet->held = NULL;
	tide_buf_fini(&bytes);
	return rc;
}

/* Publish again what was decided and is not known to be published. */
static int recover_outlet(struct tide_commit *commit, int output, struct tide_error *err)
{
	struct outlet *outlet = &commit->outlets[output];
	const struct tide_meta *meta = tide_checkpoint_meta(commit->options.checkpoint);
	const struct tide_sink_mark *mark = mark_of(meta, outlet->name);
	int64_t known = -1;
	int rc = tide_pass("recover", err);
	outlet->acked = outlet->due = meta->epoch;
	if (mark != NULL) {
		outlet->acked = mark->acked;
		outlet->due = mark->due;
	}
	if (mark == NULL)
		return rc;
	if (rc == TIDE_OK && outlet->sink->exactly_once && !tide_mutant(NO_MEMORY)) {
		rc = outlet->sink->ops->last_epoch(outlet->sink, &known, err);
		if (rc == TIDE_OK)
			rc = compare_memory(commit, outlet, mark, known, err);
	}
	if (rc == TIDE_OK && known > outlet->acked)
		outlet->acked = known;
	if (rc == TIDE_OK)
		rc = republish(commit, output, mark->due, err);
	return rc;
}

static int open_outlet(struct tide_commit *commit, int output, struct tide_error *err)
{
	const struct tide_commit_options *options = &commit->options;
	const struct tide_plan_output *plan = &options->plan->outputs[output];
	struct outlet *outlet = &commit->outlets[output];
	const char *mode = tide_option_get(&plan->options, "mode");
	const struct tide_harness *harness = options->settings->harness;
	const struct tide_sink_ops *ops =
		harness != NULL ? harness->sink : tide_sink_find(plan->sink);
	outlet->name = plan->name;
	outlet->mode = tide_sink_mode_of(mode ? mode : "append");
	outlet->muted = options->settings->muted && strcmp(plan->sink, "console") == 0;
	if (ops == NULL)
		return tide_fail(err, TIDE_ERR_USAGE, "no sink of kind %s", plan->sink);
	if (outlet->mode == 0 || (ops->modes & (unsigned)outlet->mode) == 0)
		return tide_fail(err, TIDE_ERR_USAGE, "sink %s cannot take mode %s", plan->name,
		                 mode);
	struct tide_sink_options sink = {
		.output = plan,
		.mode = outlet->mode,
		.format = options->settings->format,
		.fd = options->result_fd,
		.terminal = options->settings->result_terminal,
		.muted = outlet->muted,
		.checkpoint_id = tide_checkpoint_meta(options->checkpoint)->checkpoint_id,
		.client = &commit->client,
		.stop = options->stop,
		.failed = &commit->failed,
		.arg = harness != NULL ? harness->sink_arg : NULL,
	};
	int rc = ops->open(&outlet->sink, &sink, err);
	if (rc == TIDE_OK)
		tide_log(TIDE_INFO,
		         outlet->sink->exactly_once
		                 ? "sink %s is exactly-once"
		                 : "sink %s is at-least-once: after a crash its last epoch may "
		                   "show again, after a clean stop never",
		         plan->name);
	return rc;
}

/* Where Kafka is, as for the source: a sink may name brokers of its own. */
static bool client_options(struct tide_options *client, const struct tide_settings *settings)
{
	bool ok = settings->brokers_default == NULL ||
	          tide_option_set(client, "brokers", settings->brokers_default);
	if (ok && settings->profile != NULL)
		ok = tide_option_set(client, "profile", settings->profile);
	for (int i = 0; ok && settings->rdkafka != NULL && i < settings->rdkafka->count; i++)
		ok = tide_option_set(client, settings->rdkafka->items[i].key,
		                     settings->rdkafka->items[i].value);
	return ok;
}

int tide_commit_start(const struct tide_commit_options *options, struct tide_commit **out,
                      struct tide_error *err)
{
	struct tide_commit *commit = calloc(1, sizeof *commit);
	if (commit != NULL)
		commit->outlets =
			calloc((size_t)options->plan->output_count + 1, sizeof *commit->outlets);
	if (commit == NULL || commit->outlets == NULL) {
		free(commit);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for sinks");
	}
	commit->options = *options;
	pthread_mutex_init(&commit->lock, NULL);
	pthread_cond_init(&commit->changed, NULL);
	struct tide_result_options result = {
		.plan = options->plan,
		.specs = options->specs,
		.ops = options->ops,
		.meta = tide_checkpoint_meta(options->checkpoint),
		.rocks = tide_checkpoint_rocks(options->checkpoint),
		.vm = options->vm,
	};
	int rc = tide_result_new(&result, &commit->result, err);
	if (rc == TIDE_OK && !client_options(&commit->client, options->settings))
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for sinks");
	for (int o = 0; rc == TIDE_OK && o < options->plan->output_count; o++)
		rc = open_outlet(commit, o, err);
	for (int o = 0; rc == TIDE_OK && o < options->plan->output_count; o++)
		rc = recover_outlet(commit, o, err);
	for (int o = 0; rc == TIDE_OK && o < options->plan->output_count; o++) {
		const struct outlet *outlet = &commit->outlets[o];
		if (outlet->sink->ops->resume != NULL)
			outlet->sink->ops->resume(outlet->sink, outlet->acked);
	}
	if (rc == TIDE_OK && pthread_create(&commit->thread, NULL, commit_main, commit) != 0)
		rc = tide_fail(err, TIDE_ERR_FAILED, "cannot start the commit thread");
	if (rc != TIDE_OK) {
		tide_commit_stop(commit);
		return rc;
	}
	commit->running = true;
	*out = commit;
	return TIDE_OK;
}

struct tide_vm *tide_commit_vm(struct tide_commit *commit, struct tide_vm *vm)
{
	struct tide_vm *before = commit->options.vm;
	commit->options.vm = vm;
	tide_result_vm(commit->result, vm);
	return before;
}

int tide_commit_try(struct tide_commit *commit, struct tide_vm *vm, struct tide_error *err)
{
	const struct tide_rows *rows;
	int rc = TIDE_OK;
	tide_result_vm(commit->result, vm);
	for (int o = 0; rc == TIDE_OK && o < commit->options.plan->output_count; o++)
		if (commit->outlets[o].mode == TIDE_MODE_COMPLETE && !commit->outlets[o].muted)
			rc = tide_result_all(commit->result, o, &rows, err);
	tide_result_vm(commit->result, commit->options.vm);
	return rc;
}

void tide_commit_hand(struct tide_commit *commit, struct tide_finished *finished)
{
	pthread_mutex_lock(&commit->lock);
	assert(commit->handed == NULL && commit->rc == TIDE_OK);
	commit->handed = finished;
	pthread_cond_broadcast(&commit->changed);
	pthread_mutex_unlock(&commit->lock);
}

int tide_commit_wait(struct tide_commit *commit, struct tide_error *err)
{
	pthread_mutex_lock(&commit->lock);
	while (commit->handed != NULL)
		pthread_cond_wait(&commit->changed, &commit->lock);
	int rc = commit->rc;
	if (rc != TIDE_OK && err != NULL)
		*err = commit->err;
	pthread_mutex_unlock(&commit->lock);
	return rc;
}

bool tide_commit_idle(struct tide_commit *commit)
{
	pthread_mutex_lock(&commit->lock);
	bool idle = commit->handed == NULL;
	pthread_mutex_unlock(&commit->lock);
	return idle;
}

bool tide_commit_holds(const struct tide_commit *commit)
{
	for (int o = 0; o < commit->options.plan->output_count; o++)
		if (holds(&commit->outlets[o]))
			return true;
	return false;
}

/* Write down what the sinks have published; the same epoch again. */
static int note_acked(struct tide_commit *commit, struct tide_error *err)
{
	struct tide_checkpoint *cp = commit->options.checkpoint;
	const struct tide_meta *now = tide_checkpoint_meta(cp);
	struct tide_meta meta = { 0 };
	bool news = commit->progress.len > 0;
	for (int o = 0; o < commit->options.plan->output_count; o++) {
		const struct tide_sink_mark *mark = mark_of(now, commit->outlets[o].name);
		news = news || (mark != NULL && mark->acked != commit->outlets[o].acked);
	}
	if (!news)
		return TIDE_OK;
	struct tide_writes *writes = tide_writes_new();
	if (writes == NULL || !keep_progress(commit, writes) || !tide_meta_copy(&meta, now)) {
		tide_writes_free(writes);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the checkpoint's record");
	}
	tide_commit_mark(commit, &meta);
	int rc = tide_pass("settle", err);
	if (rc == TIDE_OK)
		rc = tide_checkpoint_decide(cp, &meta, &writes, 1, NULL, 0, err);
	tide_buf_clear(&commit->progress);
	tide_writes_free(writes);
	tide_meta_fini(&meta);
	return rc;
}

int tide_commit_settle(struct tide_commit *commit, bool all, struct tide_error *err)
{
	int rc = tide_commit_wait(commit, err);
	for (int o = 0; rc == TIDE_OK && o < commit->options.plan->output_count; o++) {
		const struct outlet *outlet = &commit->outlets[o];
		if (holds(outlet) && (all || is_due(outlet)))
			rc = publish_held(commit, o, err);
	}
	if (rc != TIDE_OK && rc != TIDE_ERR_STOPPED)
		return rc;
	/* What one sink could not put out must not be put out twice by another. */
	int noted = note_acked(commit, rc == TIDE_OK ? err : NULL);
	return rc == TIDE_OK ? noted : rc;
}

void tide_commit_stop(struct tide_commit *commit)
{
	if (commit == NULL)
		return;
	if (commit->running) {
		pthread_mutex_lock(&commit->lock);
		commit->stop = true;
		atomic_store(&commit->failed, 1);
		pthread_cond_broadcast(&commit->changed);
		pthread_mutex_unlock(&commit->lock);
		pthread_join(commit->thread, NULL);
	}
	for (int o = 0; o < commit->options.plan->output_count; o++) {
		if (commit->outlets[o].sink != NULL)
			commit->outlets[o].sink->ops->close(commit->outlets[o].sink);
		tide_rows_free(commit->outlets[o].held);
	}
	tide_result_free(commit->result);
	tide_options_fini(&commit->client);
	tide_buf_fini(&commit->progress);
	pthread_mutex_destroy(&commit->lock);
	pthread_cond_destroy(&commit->changed);
	free(commit->outlets);
	free(commit);
}
