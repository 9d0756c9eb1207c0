/* SPDX-License-Identifier: Apache-2.0 */
/* Recording a job. */
#include "run/record.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "checkpoint/copy.h"
#include "run/difference.h"
#include "run/jobfiles.h"
#include "run/keeper.h"
#include "run/loop.h"
#include "run/rerun.h"
#include "run/scratch.h"
#include "run/versions.h"
#include "source/recorder.h"

enum { WAIT_MS = 20, SOURCES_MAX = 64, SAY_US = 1000000 };

static const size_t state_bytes_max = (size_t)1 << 30;

/* A recording that is being made. */
struct session {
	const struct tide_record_options *options;
	struct tide_recording *recording;
	struct tide_source *sources[SOURCES_MAX];
	int source_count;
	struct tide_keeper keeper;
	struct tide_harness harness;
	struct tide_settings settings;
	char scratch[4096], checkpoint_dir[4200];
	struct tide_board *board;
	struct tide_loop *loop;
	struct tide_share *const *shares; /* as of the newest look */
	int share_count;
	int64_t taken; /* records */
	bool draining; /* enough is read: only windows close */
	bool failed;
	int64_t said, said_us; /* records, when it last said that it waits */
	atomic_int never;
};

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a recording");
}

/* ---- what the loop shows ---- */

static int wrap(void *arg, struct tide_source **source, struct tide_error *err)
{
	struct session *session = arg;
	int rc = session->source_count < SOURCES_MAX
	                 ? tide_recorder_wrap(source, err)
	                 : tide_fail(err, TIDE_ERR_USAGE, "a job of more than %d inputs",
	                             SOURCES_MAX);
	if (rc == TIDE_OK)
		session->sources[session->source_count++] = *source;
	return rc;
}

static int64_t see_ranges(void *arg, struct tide_share *const *shares, int count, int64_t planned)
{
	struct session *session = arg;
	session->shares = shares;
	session->share_count = count;
	if (!session->draining)
		return planned;
	for (int i = 0; i < count; i++)
		shares[i]->to = shares[i]->from;
	return 0;
}

/* ---- steps ---- */

/* The number of the share's partition in the recording, which knows it from now on. */
static int number_of(struct session *session, const struct tide_share *share)
{
	struct tide_recording *recording = session->recording;
	for (int i = 0; i < recording->part_count; i++)
		if (recording->parts[i].input == share->input &&
		    recording->parts[i].partition == share->part->partition &&
		    strcmp(recording->parts[i].topic, share->part->topic) == 0)
			return i;
	return tide_recording_part(recording, share->input, share->part->topic,
	                           share->part->partition) != NULL
	               ? recording->part_count - 1
	               : -1;
}

static int count_records(struct tide_recorded_range *range, struct tide_error *err)
{
	struct tide_reader in = tide_reader_of(range->records.p, range->records.len);
	struct tide_recorded rec;
	while (tide_recorded_next(&in, &rec))
		range->count++;
	return in.failed ? fail_memory(err) : TIDE_OK;
}

/* The record with what is to be hidden, hidden. */
static int redact(const struct tide_redaction *redaction, struct tide_recorded *rec,
                  struct tide_buf *scratch, struct tide_buf *out)
{
	struct tide_slice key = rec->key, content = rec->value, name, header;
	size_t key_len = 0;
	tide_buf_clear(scratch);
	if (key.p != NULL && tide_redaction_key(redaction)) {
		tide_redact_bytes(redaction, key, scratch);
		key_len = scratch->len;
	}
	if (content.p != NULL)
		tide_redact_value(redaction, content, scratch);
	if (scratch->failed)
		return TIDE_ERR_NOMEM;
	if (key_len > 0)
		key = (struct tide_slice){ scratch->p, key_len };
	if (content.p != NULL)
		content = (struct tide_slice){ scratch->len > 0 ? scratch->p + key_len : "",
			                       scratch->len - key_len };
	tide_recorded_begin(out, rec->offset, rec->timestamp_ms, key, content, rec->header_count);
	while (tide_recorded_header(rec, &name, &header)) {
		if (header.p != NULL && tide_redaction_header(redaction, name)) {
			tide_buf_clear(scratch);
			tide_redact_bytes(redaction, header, scratch);
			header = (struct tide_slice){ scratch->p, scratch->len };
		}
		if (scratch->failed)
			return TIDE_ERR_NOMEM;
		tide_recorded_put_header(out, name, header);
	}
	return out->failed ? TIDE_ERR_NOMEM : TIDE_OK;
}

static int redact_all(const struct tide_redaction *redaction, const struct tide_buf *records,
                      struct tide_buf *out, struct tide_error *err)
{
	struct tide_reader in = tide_reader_of(records->p, records->len);
	struct tide_buf scratch = { 0 };
	struct tide_recorded rec;
	int rc = TIDE_OK;
	while (rc == TIDE_OK && tide_recorded_next(&in, &rec))
		rc = redact(redaction, &rec, &scratch, out);
	tide_buf_fini(&scratch);
	return rc == TIDE_OK ? rc : fail_memory(err);
}

static int take_share(struct session *session, struct tide_recorded_step *step,
                      const struct tide_share *share, struct tide_error *err)
{
	const struct tide_redaction *redaction = session->options->redaction;
	struct tide_recorded_range *range = &step->ranges[number_of(session, share)];
	struct tide_buf records = { 0 };
	int rc = TIDE_OK;
	range->from = share->from;
	range->to = share->part->next;
	range->end = share->part->end;
	if (!tide_recorder_take(share->source, share->part, &records))
		rc = fail_memory(err);
	if (rc == TIDE_OK && redaction != NULL) {
		rc = redact_all(redaction, &records, &range->records, err);
	} else {
		range->records = records;
		records = (struct tide_buf){ 0 };
	}
	tide_buf_fini(&records);
	if (rc == TIDE_OK)
		rc = count_records(range, err);
	session->taken += (int64_t)range->count;
	return rc;
}

static int take_marks(struct tide_recorded_step *step, const struct tide_meta *meta,
                      struct tide_error *err)
{
	for (int i = 0; i < meta->mark_count; i++) {
		step->marks[i] = (struct tide_recorded_mark){ strdup(meta->marks[i].name),
			                                      meta->marks[i].used_us,
			                                      meta->marks[i].next_us };
		if (step->marks[i].name == NULL)
			return fail_memory(err);
	}
	return TIDE_OK;
}

static int take_rows(struct tide_recorded_step *step, const struct tide_keeper *keeper,
                     const struct tide_plan *plan, struct tide_error *err)
{
	for (int o = 0; o < plan->output_count; o++) {
		const struct tide_rows *rows = tide_keeper_rows(keeper, plan->outputs[o].name);
		if (rows == NULL || tide_rows_count(rows) == 0)
			continue;
		step->rows[o] = tide_rows_new(tide_rows_schema(rows));
		if (step->rows[o] == NULL || !tide_rows_extend(step->rows[o], rows))
			return fail_memory(err);
	}
	return TIDE_OK;
}

/* Partitions that were at their ends, at two looks. */
static bool same_look(const struct tide_recorded_step *a, const struct tide_recorded_step *b)
{
	bool same = a->range_count == b->range_count;
	for (int i = 0; same && i < a->range_count; i++)
		same = (a->ranges[i].from >= a->ranges[i].end) ==
		       (b->ranges[i].from >= b->ranges[i].end);
	return same;
}

/* What just happened, as a step; a look that saw nothing new is none. */
static int take_step(struct session *session, enum tide_recorded_kind kind, int64_t now_us,
                     struct tide_error *err)
{
	struct tide_recording *recording = session->recording;
	const struct tide_meta *meta = tide_loop_meta(session->loop);
	bool ran = kind == TIDE_RECORDED_EPOCH;
	for (int i = 0; i < session->share_count; i++)
		if (number_of(session, session->shares[i]) < 0)
			return fail_memory(err);
	struct tide_recorded_step *step = tide_recording_step(recording);
	if (step == NULL ||
	    !tide_recorded_step_init(step, recording->part_count, ran ? meta->mark_count : 0,
	                             ran ? recording->output_count : 0))
		return fail_memory(err);
	step->kind = kind;
	step->epoch = meta->epoch + !ran;
	step->now_us = ran ? meta->now_us : now_us;
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && i < session->share_count; i++)
		rc = take_share(session, step, session->shares[i], err);
	if (rc == TIDE_OK && ran)
		rc = take_marks(step, meta, err);
	if (rc == TIDE_OK && ran)
		rc = take_rows(step, &session->keeper, session->options->setup->plan, err);
	tide_keeper_clear(&session->keeper);
	int count = recording->step_count;
	if (rc == TIDE_OK && kind == TIDE_RECORDED_LOOK && count > 1 &&
	    same_look(&recording->steps[count - 2], step))
		tide_recording_drop_step(recording);
	return rc;
}

/* What the job made of it is as good to know as that it failed. */
static int take_failure(struct session *session, int64_t now_us, const struct tide_error *why,
                        struct tide_error *err)
{
	int rc = take_step(session, TIDE_RECORDED_FAILED, now_us, err);
	if (rc != TIDE_OK)
		return rc;
	struct tide_recorded_step *step =
		&session->recording->steps[session->recording->step_count - 1];
	step->error = strdup(why->text);
	session->failed = true;
	return step->error != NULL ? TIDE_OK : fail_memory(err);
}

static bool behind(const struct session *session)
{
	for (int i = 0; i < session->share_count; i++)
		if (session->shares[i]->part->next < session->shares[i]->part->end)
			return true;
	return false;
}

/* Nothing to do: until there may be. */
static int rest(struct session *session, struct tide_error *err)
{
	int rc = TIDE_OK;
	int64_t now_us = tide_clock_mono_us();
	if (session->said_us == 0 ||
	    (session->said != session->taken && now_us - session->said_us > SAY_US)) {
		session->said = session->taken;
		session->said_us = now_us;
		tide_log(TIDE_INFO,
		         "%lld of %lld records are there; waiting for more, and Ctrl+C keeps what "
		         "there is",
		         (long long)session->taken, (long long)session->options->records);
	}
	for (int i = 0; rc == TIDE_OK && i < session->source_count; i++)
		rc = session->sources[i]->ops->poll(session->sources[i], err);
	if (session->source_count == 1)
		session->sources[0]->ops->wait(session->sources[0], WAIT_MS);
	else
		usleep(WAIT_MS * 1000);
	return rc;
}

static bool enough(const struct session *session, int64_t began_us)
{
	const struct tide_settings *settings = &session->settings;
	return atomic_load(session->options->stop) != 0 ||
	       session->taken >= session->options->records ||
	       (settings->run_for_ms > 0 &&
	        tide_clock_mono_us() - began_us > settings->run_for_ms * 1000);
}

static void say(const struct session *session)
{
	char line[128];
	snprintf(line, sizeof line, "recording: %lld of %lld records", (long long)session->taken,
	         (long long)session->options->records);
	tide_log_status(line);
}

static int record_all(struct session *session, struct tide_error *err)
{
	const struct tide_settings *given = &session->options->setup->settings;
	int64_t began_us = tide_clock_mono_us();
	int rc = TIDE_OK;
	for (bool ran = true; rc == TIDE_OK && !session->failed && (ran || !session->draining);) {
		int64_t now_us = tide_clock_us(), left = session->options->records - session->taken;
		session->draining = session->draining || enough(session, began_us);
		session->settings.batch_records_max = left < given->batch_records_max && left > 0
		                                              ? left
		                                              : given->batch_records_max;
		struct tide_error why = { 0 };
		session->share_count = 0;
		rc = tide_loop_step(session->loop, &ran, &why);
		if (rc == TIDE_ERR_SCRIPT || rc == TIDE_ERR_FAILED)
			rc = take_failure(session, now_us, &why, err);
		else if (rc != TIDE_OK)
			*err = why;
		else
			rc = take_step(session, ran ? TIDE_RECORDED_EPOCH : TIDE_RECORDED_LOOK,
			               now_us, err);
		say(session);
		if (rc == TIDE_OK && !ran && !session->failed && !session->draining) {
			session->draining =
				given->until_end && session->share_count > 0 && !behind(session);
			rc = rest(session, err);
		}
	}
	tide_log_status("");
	return rc;
}

/* ---- what a recording says of itself ---- */

static int note_info(struct session *session, struct tide_error *err)
{
	struct tide_recording *recording = session->recording;
	const struct tide_setup *setup = session->options->setup;
	char created[32];
	tide_clock_format_ms(tide_clock_us() / 1000, created, sizeof created);
	const char *pairs[][2] = {
		{ "job", setup->plan->job },
		{ "path", setup->job_path },
		{ "tidemark", TIDE_VERSION },
		{ "created", created },
		{ "bounded", setup->settings.until_end ? "true" : "false" },
		{ "topic", setup->settings.topic },
		{ "redacted", session->options->redaction != NULL
		                      ? tide_redaction_text(session->options->redaction)
		                      : NULL },
	};
	bool ok = true;
	for (size_t i = 0; ok && i < sizeof pairs / sizeof pairs[0]; i++)
		ok = pairs[i][1] == NULL ||
		     tide_option_set(&recording->info, pairs[i][0], pairs[i][1]);
	for (int i = 0; ok && i < setup->set.count; i++)
		ok = tide_option_set(&recording->set, setup->set.items[i].key,
		                     setup->set.items[i].value);
	for (int o = 0; ok && o < setup->plan->output_count; o++)
		ok = tide_recording_output(recording, setup->plan->outputs[o].name);
	recording->job_hash = setup->plan->hash;
	return ok ? tide_jobfiles_keep(setup->plan, recording, err) : fail_memory(err);
}

/* A copy of what the job's checkpoint holds; beside a running job, too. */
static int note_beginning(struct session *session, struct tide_error *err)
{
	struct tide_recording *recording = session->recording;
	struct tide_checkpoint_options options = { .read_only = true };
	struct tide_checkpoint *cp = NULL;
	if (!session->options->with_state)
		return TIDE_OK;
	int rc = tide_checkpoint_open(session->options->setup->checkpoint_dir, &options, &cp, err);
	if (rc == TIDE_OK)
		rc = tide_checkpoint_copy(cp, state_bytes_max, &recording->meta, &recording->state,
		                          err);
	tide_checkpoint_close(cp);
	if (rc == TIDE_OK)
		rc = tide_checkpoint_plant(
			session->checkpoint_dir,
			(struct tide_slice){ recording->meta.p, recording->meta.len },
			(struct tide_slice){ recording->state.p, recording->state.len }, err);
	return rc;
}

/* ---- the whole ---- */

static int open_session(struct session *session, struct tide_error *err)
{
	const struct tide_setup *setup = session->options->setup;
	session->board = tide_board_new(setup->plan->job, NULL, setup->settings.workers, NULL);
	if (session->board == NULL)
		return fail_memory(err);
	session->harness = (struct tide_harness){
		.wrap = wrap,
		.ranges = see_ranges,
		.arg = session,
		.sink = &tide_keeper_ops,
		.sink_arg = &session->keeper,
	};
	session->settings = setup->settings;
	session->settings.checkpoint_dir = session->checkpoint_dir;
	session->settings.progress_path = NULL;
	session->settings.muted = false;
	session->settings.harness = &session->harness;
	struct tide_loop_options loop = {
		.settings = &session->settings,
		.plan = setup->plan,
		.vm = setup->vm,
		.board = session->board,
		/* An epoch that has begun is recorded whole. */
		.stop = &session->never,
		.result_fd = -1,
	};
	return tide_loop_open(&loop, &session->loop, err);
}

int tide_record_job(const struct tide_record_options *options, struct tide_recording *out,
                    struct tide_error *err)
{
	struct session *session = calloc(1, sizeof *session);
	*out = (struct tide_recording){ 0 };
	if (session == NULL)
		return fail_memory(err);
	session->options = options;
	session->recording = out;
	int rc = tide_scratch_make(session->scratch, sizeof session->scratch, false, err);
	snprintf(session->checkpoint_dir, sizeof session->checkpoint_dir, "%s/checkpoint",
	         session->scratch);
	if (rc == TIDE_OK)
		rc = note_info(session, err);
	if (rc == TIDE_OK)
		rc = note_beginning(session, err);
	if (rc == TIDE_OK)
		rc = open_session(session, err);
	if (rc == TIDE_OK)
		rc = record_all(session, err);
	tide_loop_close(session->loop, false, NULL);
	tide_board_free(session->board);
	tide_keeper_fini(&session->keeper);
	tide_scratch_remove(session->scratch);
	free(session);
	return rc;
}

/* ---- again ---- */

static int same_rows(const struct tide_rows *a, const struct tide_rows *b, bool *same,
                     struct tide_error *err)
{
	struct tide_difference difference;
	int rc = tide_difference_find(a, b, NULL, 0, &difference, err);
	*same = *same && !tide_difference_any(&difference);
	return rc;
}

static int replace_step(struct tide_recorded_step *step, const struct tide_rerun *rerun, bool *same,
                        struct tide_error *err)
{
	const struct tide_plan *plan = tide_rerun_plan(rerun);
	const struct tide_meta *meta = tide_rerun_meta(rerun);
	int rc = TIDE_OK;
	for (int o = 0; rc == TIDE_OK && o < step->row_count && o < plan->output_count; o++) {
		const struct tide_rows *rows = tide_rerun_rows(rerun, o);
		bool none = rows == NULL || tide_rows_count(rows) == 0;
		rc = same_rows(step->rows[o], none ? NULL : rows, same, err);
		tide_rows_free(step->rows[o]);
		step->rows[o] = none ? NULL : tide_rows_new(tide_rows_schema(rows));
		if (!none && (step->rows[o] == NULL || !tide_rows_extend(step->rows[o], rows)))
			rc = fail_memory(err);
	}
	for (int i = 0; i < step->mark_count && i < meta->mark_count; i++) {
		*same = *same && step->marks[i].used_us == meta->marks[i].used_us &&
		        step->marks[i].next_us == meta->marks[i].next_us;
		step->marks[i].used_us = meta->marks[i].used_us;
		step->marks[i].next_us = meta->marks[i].next_us;
	}
	return rc;
}

int tide_record_again(struct tide_recording *recording, const char *path, const char *lua_dir,
                      bool *same, struct tide_error *err)
{
	struct tide_rerun_options options = {
		.recording = recording,
		.job_path = path,
		.lua_dir = lua_dir,
		.workers = 1,
	};
	struct tide_rerun *rerun = NULL;
	int at = 0, rc = tide_rerun_open(&options, &rerun, err);
	*same = true;
	while (rc == TIDE_OK && at >= 0) {
		rc = tide_rerun_step(rerun, &at, err);
		if (rc == TIDE_OK && at >= 0 && recording->steps[at].kind == TIDE_RECORDED_EPOCH)
			rc = replace_step(&recording->steps[at], rerun, same, err);
	}
	/* It is to fail as it did, but where it does is not decided. */
	if (rc == TIDE_ERR_SCRIPT && at >= 0 && recording->steps[at].kind == TIDE_RECORDED_FAILED)
		rc = TIDE_OK;
	tide_rerun_close(rerun);
	return rc;
}
