/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: the only file that knows the order of things. (loop_open.c has how it
 * begins and ends.)
 *
 *   open      checkpoint, sinks (publishing what was decided), source, workers
 *   an epoch  ends -> ranges -> RUN (all workers) -> wait for the last epoch's
 *             commit -> FOLD (all workers) -> hand over to commit
 *   close     finish or drop the epoch, write down what the sinks have, close
 *
 * RUN of epoch n+1 overlaps with decide and publish of epoch n. FOLD does not:
 * it reads decided state and evicts what is decided. */
#include "run/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "run/adopt.h"
#include "run/counting.h"
#include "run/finished.h"
#include "run/loop_inside.h"
#include "run/reload.h"
#include "run/shadow.h"

enum {
	IDLE_MS = 20,           /* between looks for new records, if none shows up */
	DISCOVER_US = 5000000,  /* between looks for new partitions */
	ASLEEP_US = 200000,     /* of what is short: somebody has stopped us */
	OUTAGE_US = 600000000,  /* of a source, before the job gives up */
	OUTAGE_REST_US = 50000, /* between looks whether it is over */
	SETTLE_US = 1000000,    /* of rest before published marks are written down */
	EXPLAIN_US = 200000,    /* between looks at why nothing comes out */
	/* What epochs have overwritten and a comparison of versions looks back on. */
	PAST_BYTES_MAX = 8 << 20
};

static bool stopping(const struct loop *loop)
{
	if (atomic_load(loop->options.stop) != 0)
		return true;
	return loop->settings->run_for_ms > 0 &&
	       tide_clock_mono_us() - loop->began_us > loop->settings->run_for_ms * 1000;
}

/* Of a bounded run. */
static bool reached_end(const struct loop *loop)
{
	return loop->settings->until_end && !tide_partitions_behind(&loop->partitions) &&
	       !tide_events_due(&loop->events);
}

/* Why nothing comes out. */
static void explain(struct loop *loop, bool idle, bool trigger)
{
	int64_t now = tide_clock_mono_us();
	struct tide_look look = {
		.partitions = &loop->partitions,
		.events = &loop->events,
		.keeping = &loop->keeping,
		.topic = loop->settings->topic,
		.idle = idle,
		.trigger = trigger,
		.trigger_ms = loop->settings->trigger_ms,
		.trigger_left_ms = loop->trigger_us > now ? (loop->trigger_us - now) / 1000 : 0,
		.now_us = tide_clock_us(),
	};
	loop->explained_us = now;
	tide_diagnose(tide_tally_facts(loop->tally, &look), &loop->diagnosis);
}

/* The same for the status line and the page. */
static void say(struct loop *loop, bool idle, bool trigger)
{
	explain(loop, idle, trigger);
	tide_board_say(loop->options.board,
	               idle && loop->diagnosis.count > 0 ? "waiting" : "running", &loop->diagnosis);
}

/* What the epoch changed, to decide; the next epoch builds on its record. */
static int finish_epoch(struct loop *loop, struct tide_finished **out, struct tide_error *err)
{
	struct tide_gather gather = {
		.plan = loop->plan,
		.partitions = &loop->partitions,
		.crew = loop->crew,
		.work = &loop->work,
		.events = &loop->events,
		.tally = loop->tally,
		.began_us = loop->epoch_us,
		.ran_us = loop->ran_us,
		.waited_us = loop->waited_us,
	};
	loop->meta.job_hash = loop->version.hash;
	struct tide_finished *finished =
		tide_finished_new(&loop->meta, loop->settings->workers, loop->plan->output_count);
	*out = finished;
	if (finished == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for an epoch");
	int rc = tide_finished_gather(finished, &gather, err);
	if (rc != TIDE_OK)
		return rc;
	/* As if nothing came after it: this is what stays in the checkpoint. */
	explain(loop, true, false);
	tide_diagnosis_write(&loop->diagnosis, &finished->diagnosis);
	finished->note.diagnosis =
		(struct tide_slice){ finished->diagnosis.p, finished->diagnosis.len };
	loop->explained_us = 0;
	tide_meta_fini(&loop->meta);
	memset(&loop->meta, 0, sizeof loop->meta);
	return tide_meta_copy(&loop->meta, &finished->meta)
	               ? TIDE_OK
	               : tide_fail(err, TIDE_ERR_NOMEM, "no memory for the record");
}

/* Partitions whose next offset has gone are looked into and placed again. */
static int mend_lost(struct loop *loop, struct tide_error *err)
{
	bool lost = false;
	for (int i = 0; i < loop->partitions.count; i++)
		lost = lost || loop->partitions.shares[i]->lost;
	if (!lost)
		return TIDE_OK;
	int rc = tide_partitions_place(&loop->partitions, &loop->meta, true, err);
	if (rc == TIDE_OK)
		rc = tide_partitions_ends(&loop->partitions, err);
	return rc;
}

/* Begin again from what is decided, as a new process would, but with these VMs:
 * one for each worker, and one that commits. */
static int reopen(struct loop *loop, const struct tide_plan *plan, struct tide_vm **vms,
                  struct tide_error *err)
{
	struct tide_loop_options options = loop->options;
	struct tide_reload *reload = loop->version.reload;
	unsigned long long records = atomic_load(&loop->work.records);
	int rc = tide_commit_settle(loop->commit, true, err);
	if (rc == TIDE_OK)
		rc = tide_pass("reopen", err);
	if (rc != TIDE_OK)
		return rc;
	struct tide_vm *own = vms[loop->settings->workers], *lent = loop->lent;
	struct tide_past *past = loop->past;
	options.plan = plan;
	options.vm = own;
	tide_loop_close_all(loop);
	memset(loop, 0, sizeof *loop);
	tide_loop_init(loop, &options);
	loop->lent = lent;
	loop->past = past;
	loop->work.vms = vms;
	rc = tide_loop_open_all(loop, err);
	loop->work.vms = NULL;
	loop->version.reload = reload;
	loop->version.own = own != lent ? own : NULL;
	atomic_store(&loop->work.records, records);
	return rc;
}

/* States are half changed already: the version before begins anew with what is
 * decided. */
static int fall_back(struct loop *loop, struct tide_error *err)
{
	struct tide_vm *vms[TIDE_WORKERS_MAX + 1];
	tide_version_abandon(&loop->version, vms, err->text);
	return reopen(loop, loop->plan, vms, err);
}

/* What the new version makes of the states is decided while the old one can still
 * go on: after it nothing of the job's can fail any more. */
static int change_states(struct loop *loop, struct tide_candidate *candidate, bool *refused,
                         struct tide_error *err)
{
	struct tide_meta meta = { 0 };
	int rc = tide_commit_settle(loop->commit, true, err);
	if (rc != TIDE_OK)
		return rc;
	rc = tide_adopt(loop->checkpoint, candidate->plan, candidate->vms[loop->settings->workers],
	                loop->settings->checkpoint_dir, &meta, err);
	tide_meta_fini(&meta);
	*refused = rc == TIDE_ERR_SCRIPT || rc == TIDE_ERR_CHECKPOINT;
	if (!*refused)
		return rc;
	tide_reload_refused(loop->version.reload, rc, err->text);
	return TIDE_OK;
}

/* Rows that complete mode makes of states must not fail behind a decision. */
static int exchange(struct loop *loop, struct tide_candidate *candidate, struct tide_error *err)
{
	int rc = tide_commit_try(loop->commit, candidate->vms[loop->settings->workers], err);
	if (rc == TIDE_ERR_SCRIPT) {
		tide_reload_refused(loop->version.reload, rc, err->text);
		return TIDE_OK;
	}
	if (rc != TIDE_OK)
		return rc;
	(void)tide_failpoint("swap");
	tide_version_exchange(&loop->version, candidate);
	return TIDE_OK;
}

/* Nothing of an epoch has begun. */
static int take_over(struct loop *loop, struct tide_candidate *candidate, struct tide_error *err)
{
	bool refused = false;
	int rc = tide_commit_wait(loop->commit, err);
	if (rc == TIDE_OK)
		rc = tide_pass("reload", err);
	if (rc != TIDE_OK)
		return rc;
	if (candidate->change == TIDE_CHANGE_HOT)
		return exchange(loop, candidate, err);
	rc = change_states(loop, candidate, &refused, err);
	if (rc != TIDE_OK || refused)
		return rc;
	rc = reopen(loop, candidate->plan, candidate->vms, err);
	if (rc != TIDE_OK)
		return tide_fail_within(err, "going over to the new version of the job");
	candidate->vms[loop->settings->workers] = NULL; /* It is the loop's now. */
	tide_reload_took(loop->version.reload, loop->meta.epoch + 1, tide_clock_mono_us());
	return TIDE_OK;
}

/* The functions of the version before read it again. */
static int drop_epoch(struct loop *loop, unsigned long long records, struct tide_error *err)
{
	atomic_store(&loop->work.records, records);
	return tide_partitions_drop(&loop->partitions, &loop->meta, err);
}

/* `due`: also when there turns out to be no record. */
static int run_epoch(struct loop *loop, bool due, struct tide_error *err)
{
	unsigned long long records = atomic_load(&loop->work.records);
	loop->epoch_us = tide_clock_mono_us();
	loop->work.now_us = tide_clock_us();
	loop->work.epoch = loop->meta.epoch + 1;
	atomic_store(&loop->work.cut, false);
	atomic_store(&loop->work.filled, 0);
	tide_events_begin(&loop->events, loop->work.now_us);
	loop->work.shares = loop->partitions.shares;
	loop->work.share_count = loop->partitions.count;
	int rc = tide_pass("run", err);
	if (rc == TIDE_OK)
		rc = tide_crew_run(loop->crew, err);
	loop->ran_us = tide_clock_mono_us();
	tide_fit_learn(&loop->fit, (int64_t)(atomic_load(&loop->work.records) - records),
	               atomic_load(&loop->work.filled));
	if (tide_version_judge(&loop->version, loop->work.epoch, rc, err))
		return drop_epoch(loop, records, err);
	if (rc == TIDE_OK)
		rc = tide_commit_wait(loop->commit, err);
	loop->waited_us = tide_clock_mono_us();
	if (rc != TIDE_OK)
		return rc;
	if (!tide_partitions_moved(&loop->partitions) && !due)
		return mend_lost(loop, err);
	tide_events_end(&loop->events, loop->partitions.shares, loop->partitions.count);
	rc = tide_pass("barrier", err);
	if (rc == TIDE_OK)
		rc = tide_crew_fold(loop->crew, err);
	if (rc == TIDE_ERR_SCRIPT && tide_version_on_trial(&loop->version))
		return fall_back(loop, err);
	struct tide_finished *finished = NULL;
	if (rc == TIDE_OK)
		rc = finish_epoch(loop, &finished, err);
	if (rc == TIDE_OK)
		rc = tide_pass("hand", err);
	if (rc != TIDE_OK) {
		tide_finished_free(finished);
		return rc;
	}
	tide_rate_take(&loop->rate, finished->records);
	tide_commit_hand(loop->commit, finished);
	loop->settled = false;
	loop->busy_us = tide_clock_mono_us();
	return mend_lost(loop, err);
}

static int mend_doubtful(struct loop *loop, struct tide_error *err)
{
	for (int i = 0; i < loop->partitions.count; i++) {
		struct tide_share *share = loop->partitions.shares[i];
		share->lost = share->lost || share->part->doubtful;
	}
	return mend_lost(loop, err);
}

/* Between these nothing takes long: a log may have become another meanwhile. */
static void stay_awake(struct loop *loop)
{
	int64_t now = tide_clock_mono_us();
	if (loop->awake_us != 0 && now - loop->awake_us > ASLEEP_US)
		tide_partitions_doubt(&loop->partitions);
	loop->awake_us = now;
}

/* Nothing but a trigger begins an epoch before it is due: what else is looked at in
 * between can wait as long as an idle source is waited for. */
static void sleep_until_trigger(const struct loop *loop)
{
	int64_t left_us = loop->trigger_us - tide_clock_mono_us();
	if (left_us > IDLE_MS * 1000)
		left_us = IDLE_MS * 1000;
	if (left_us > 0)
		usleep((useconds_t)left_us);
}

static int rest(struct loop *loop, bool waiting_for_trigger, struct tide_error *err)
{
	int64_t now = tide_clock_mono_us();
	int rc = TIDE_OK;
	tide_version_rest(&loop->version, loop->meta.epoch + 1);
	if (loop->explained_us == 0 || now - loop->explained_us > EXPLAIN_US)
		say(loop, true, waiting_for_trigger);
	tide_loop_tick(loop);
	(void)tide_failpoint("idle");
	if (!loop->settled && now - loop->busy_us > SETTLE_US) {
		rc = tide_commit_settle(loop->commit, false, err);
		loop->settled = !tide_commit_holds(loop->commit);
	}
	tide_partitions_mirror(&loop->partitions);
	struct tide_source *source = loop->partitions.sources[0];
	if (waiting_for_trigger)
		sleep_until_trigger(loop);
	else if (loop->plan->input_count != 1 || loop->rate.per_second > 0)
		usleep(1000);
	else
		source->ops->wait(source, IDLE_MS);
	stay_awake(loop);
	return rc;
}

/* Ranges for the next epoch; false when it would have nothing to do. */
static bool look_and_plan(struct loop *loop, bool *due)
{
	tide_events_look(&loop->events, loop->partitions.shares, loop->partitions.count,
	                 tide_clock_us());
	*due = tide_events_due(&loop->events);
	return tide_partitions_ranges(&loop->partitions, &loop->events, &loop->fit, &loop->rate) >
	               0 ||
	       *due;
}

/* A source that cannot be reached comes back, unless it has refused us. */
static int sit_out(struct loop *loop, struct tide_error *err)
{
	int64_t now = tide_clock_mono_us();
	struct tide_diagnosis diagnosis = { .count = 1 };
	for (int i = 0; i < loop->plan->input_count; i++) {
		struct tide_source *source = loop->partitions.sources[i];
		if (source->ops->refused != NULL && source->ops->refused(source))
			return TIDE_ERR_UNAVAILABLE;
	}
	if (loop->outage_us == 0) {
		tide_log(TIDE_WARN, "waiting for the source: %s", err->text);
		loop->outage_us = now;
	}
	if (now - loop->outage_us > OUTAGE_US)
		return TIDE_ERR_UNAVAILABLE;
	diagnosis.findings[0] = (struct tide_finding){ .kind = "unavailable",
		                                       .rows = INT64_MIN,
		                                       .line = INT64_MIN,
		                                       .window_end_us = INT64_MIN,
		                                       .watermark_us = INT64_MIN,
		                                       .event_us = INT64_MIN,
		                                       .partition = INT64_MIN };
	snprintf(diagnosis.findings[0].text, sizeof diagnosis.findings[0].text, "%.500s",
	         err->text);
	tide_board_say(loop->options.board, "waiting", &diagnosis);
	tide_loop_tick(loop);
	usleep(OUTAGE_REST_US);
	return TIDE_OK;
}

/* What is new at the sources. TIDE_ERR_UNAVAILABLE: they cannot be asked now. */
static int look_at_sources(struct loop *loop, int64_t now, struct tide_error *err)
{
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && i < loop->plan->input_count; i++)
		rc = loop->partitions.sources[i]->ops->poll(loop->partitions.sources[i], err);
	if (rc == TIDE_OK && now - loop->discover_us > DISCOVER_US)
		rc = tide_loop_discover(loop, true, err);
	return rc;
}

static void over(struct loop *loop)
{
	if (loop->outage_us == 0)
		return;
	tide_log(TIDE_INFO, "the source is back after %.1f s",
	         (double)(tide_clock_mono_us() - loop->outage_us) / 1e6);
	tide_partitions_doubt(&loop->partitions);
	loop->outage_us = 0;
}

/* One turn: an epoch if there is something to do, else a short rest. */
static int turn(struct loop *loop, struct tide_error *err)
{
	int64_t now = tide_clock_mono_us();
	struct tide_candidate *candidate = tide_reload_take(loop->version.reload);
	int rc = candidate != NULL ? take_over(loop, candidate, err) : TIDE_OK;
	if (rc != TIDE_OK)
		return rc;
	rc = look_at_sources(loop, now, err);
	bool due = tide_events_due(&loop->events);
	bool early = loop->settings->trigger_ms > 0 && now < loop->trigger_us;
	if (rc == TIDE_OK && early && !due)
		return rest(loop, true, err);
	if (rc == TIDE_OK)
		rc = tide_partitions_ends(&loop->partitions, err);
	if (rc == TIDE_OK)
		over(loop);
	stay_awake(loop);
	if (rc == TIDE_OK)
		rc = mend_doubtful(loop, err);
	if (rc == TIDE_ERR_UNAVAILABLE)
		return sit_out(loop, err);
	if (rc != TIDE_OK)
		return rc;
	tide_keeping_look(&loop->keeping, &loop->partitions, loop->resumed, now);
	if (early)
		tide_partitions_rest(&loop->partitions);
	else if (!look_and_plan(loop, &due))
		return rest(loop, false, err);
	if (loop->settings->trigger_ms > 0 && !early)
		loop->trigger_us = now + loop->settings->trigger_ms * 1000;
	say(loop, false, false);
	rc = run_epoch(loop, due, err);
	tide_partitions_mirror(&loop->partitions);
	tide_loop_tick(loop);
	loop->awake_us = 0;
	return rc;
}

static int start_reload(struct loop *loop, struct tide_error *err)
{
	struct tide_reload_options options = {
		.settings = loop->settings,
		.plan = loop->plan,
		.board = loop->options.board,
		.past = loop->past,
		.watch = loop->options.watch,
		.shadow_epochs = loop->options.shadow_epochs,
		.max_diff = loop->options.max_diff,
		.hangups = loop->options.hangups,
	};
	return tide_reload_start(&options, &loop->version.reload, err);
}

int tide_loop_run(const struct tide_loop_options *options, struct tide_error *err)
{
	struct loop *loop = calloc(1, sizeof *loop);
	if (loop == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to run");
	tide_loop_init(loop, options);
	if (options->reloads)
		loop->past = tide_past_new(TIDE_SHADOW_EPOCHS_MAX, PAST_BYTES_MAX);
	struct tide_past *past = loop->past;
	int rc = options->reloads && past == NULL
	                 ? tide_fail(err, TIDE_ERR_NOMEM, "no memory to run")
	                 : tide_loop_open_all(loop, err);
	if (rc == TIDE_OK && options->reloads)
		rc = start_reload(loop, err);
	bool opened = rc == TIDE_OK;
	/* Whoever stops it knows, or does not care, that nobody answers. */
	if (rc == TIDE_ERR_UNAVAILABLE && atomic_load(options->stop) != 0)
		rc = tide_fail(err, TIDE_ERR_STOPPED, "stopped before it ran: %s", err->text);
	while (rc == TIDE_OK && !stopping(loop) && !reached_end(loop))
		rc = turn(loop, err);
	if (rc == TIDE_OK || (rc == TIDE_ERR_STOPPED && opened))
		rc = tide_commit_settle(loop->commit, true, err);
	if (rc == TIDE_OK)
		tide_partitions_mirror(&loop->partitions);
	tide_log_status("");
	struct tide_reload *reload = loop->version.reload;
	tide_loop_close_all(loop);
	free(loop);
	tide_reload_stop(reload);
	tide_past_free(past);
	return rc;
}

/* --- in steps -------------------------------------------------------------------- */

struct tide_loop {
	struct loop loop;
};

int tide_loop_open(const struct tide_loop_options *options, struct tide_loop **out,
                   struct tide_error *err)
{
	struct tide_loop *steps = calloc(1, sizeof *steps);
	if (steps == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to run");
	tide_loop_init(&steps->loop, options);
	int rc = tide_loop_open_all(&steps->loop, err);
	if (rc != TIDE_OK) {
		tide_loop_close(steps, false, NULL);
		return rc;
	}
	*out = steps;
	return TIDE_OK;
}

int tide_loop_step(struct tide_loop *steps, bool *ran, struct tide_error *err)
{
	struct loop *loop = &steps->loop;
	int64_t before = loop->meta.epoch;
	bool due = false;
	int rc = tide_loop_discover(loop, true, err);
	if (rc == TIDE_OK)
		rc = tide_partitions_ends(&loop->partitions, err);
	if (rc == TIDE_OK && look_and_plan(loop, &due))
		rc = run_epoch(loop, due, err);
	if (rc == TIDE_OK)
		rc = tide_commit_wait(loop->commit, err);
	*ran = rc == TIDE_OK && loop->meta.epoch != before;
	return rc;
}

void tide_loop_flush(struct tide_loop *steps)
{
	tide_events_flush(&steps->loop.events);
}

int tide_loop_close(struct tide_loop *steps, bool clean, struct tide_error *err)
{
	int rc = TIDE_OK;
	if (steps == NULL)
		return rc;
	if (clean)
		rc = tide_commit_settle(steps->loop.commit, true, err);
	tide_loop_close_all(&steps->loop);
	free(steps);
	return rc;
}

const struct tide_meta *tide_loop_meta(const struct tide_loop *steps)
{
	return &steps->loop.meta;
}

uint64_t tide_loop_state_rows(const struct tide_loop *steps)
{
	return tide_counting_all(&steps->loop.meta, steps->loop.plan);
}

int64_t tide_loop_state_stored(const struct tide_loop *steps)
{
	const struct loop *loop = &steps->loop;
	uint64_t all = 0, rows;
	for (int k = 0; k < loop->plan->keyed_count; k++) {
		const struct tide_state_count *count =
			tide_meta_state(&loop->meta, loop->plan->keyed[k].name);
		if (count == NULL || tide_counting_scan(loop->checkpoint, loop->ops[k], count,
		                                        &rows, NULL) != TIDE_OK)
			return -1;
		all += rows;
	}
	return (int64_t)all;
}

uint64_t tide_loop_state_held(const struct tide_loop *steps)
{
	uint64_t rows = 0;
	for (int w = 0; w < steps->loop.settings->workers; w++)
		rows += tide_shards_held(tide_crew_worker(steps->loop.crew, w)->shards);
	return rows;
}
