/* SPDX-License-Identifier: Apache-2.0 */
/* Two versions of a running job beside each other: a recording is made of what the
 * running one has decided, and both are replayed on it. */
#include "run/shadow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "checkpoint/copy.h"
#include "run/jobfiles.h"
#include "run/partitions.h"
#include "run/rerun.h"
#include "run/scratch.h"
#include "source/recorder.h"

enum {
	LOOK_MS = 20,
	IDLE_US = 5000000,       /* no more epochs seem to come */
	TELL_US = 1000000,       /* between words of how far it is */
	FETCH_MS = 100,          /* for one fetch */
	SILENT_US = 15000000,    /* no record came that must be there */
	SECONDS_LEAST = 20,      /* for the replays … */
	RECORDS_A_SECOND = 2000, /* … and more for many records */
	/* A trial is shorter, and more patient with what is slow. */
	TRIAL_IDLE_US = 1000000,
	TRIAL_RECORDS = 20000,
	TRIAL_RECORDS_A_SECOND = 50
};

static const size_t state_bytes_max = (size_t)256 << 20, records_bytes_max = (size_t)256 << 20;
static const size_t trial_bytes_max = (size_t)64 << 20; /* of either */

/* The records that are looked at, and the state they begin with. */
enum beginning {
	PAST,  /* the last epochs, where what was there before them is kept */
	EMPTY, /* the last epochs, and no state */
	NEWEST /* the next epochs, and what is there now */
};

/* The epochs that the running version has decided since. */
struct decided {
	struct tide_meta metas[TIDE_SHADOW_EPOCHS_MAX];
	int64_t after, kept; /* this epoch; the newest of the past */
	int count, most;
	bool failed; /* no memory */
};

struct work {
	struct tide_shadow *shadow;
	struct tide_recording recording;
	struct decided decided;
	bool gone; /* what it needs of the past is not there any more */
	struct tide_harness harness;
	struct tide_settings settings;
	struct tide_partitions partitions;
	struct tide_ring *ring;
	char scratch[4096];
};

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory to run two versions beside each other");
}

static size_t most_state(const struct work *work)
{
	return work->shadow->trial ? trial_bytes_max : state_bytes_max;
}

static bool stopped(const struct work *work)
{
	return work->shadow->stopped(work->shadow->arg);
}

static int fail_stopped(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_STOPPED, "stopped before the versions were compared");
}

/* ---- what the run has decided ---- */

/* What is there now. */
static int copy_newest(struct work *work, struct tide_error *err)
{
	struct tide_checkpoint_options options = { .read_only = true };
	struct tide_checkpoint *cp = NULL;
	struct tide_recording *to = &work->recording;
	int rc = tide_checkpoint_open(work->shadow->settings->checkpoint_dir, &options, &cp, err);
	if (rc == TIDE_OK) {
		work->decided.after = work->decided.kept = tide_checkpoint_meta(cp)->epoch;
		rc = tide_checkpoint_copy(cp, most_state(work), &to->meta, &to->state, err);
	}
	tide_checkpoint_close(cp);
	return rc;
}

/* What was there before the last epochs, or as many of them as are kept. */
static int copy_past(struct work *work, struct tide_error *err)
{
	struct tide_shadow *shadow = work->shadow;
	struct decided *decided = &work->decided;
	struct tide_recording *to = &work->recording;
	char text[120];
	int rc = tide_past_copy(shadow->past, shadow->epochs, most_state(work), &decided->after,
	                        &decided->kept, &to->meta, &to->state, err);
	work->gone = rc == TIDE_ERR_UNAVAILABLE;
	int64_t epochs = decided->kept - decided->after;
	if (rc == TIDE_OK && epochs < shadow->epochs && !shadow->trial) {
		snprintf(text, sizeof text,
		         "of the last %d epochs %lld are kept, and the next %lld are waited for",
		         shadow->epochs, (long long)epochs, (long long)(shadow->epochs - epochs));
		shadow->line(shadow->arg, false, text);
	}
	return rc;
}

/* Until the epochs are there, or seem not to come. */
static int await_epochs(struct work *work, struct tide_error *err)
{
	struct tide_shadow *shadow = work->shadow;
	int64_t seen = work->decided.kept, want = work->decided.after + shadow->epochs;
	int64_t came_us = tide_clock_mono_us(), told_us = 0;
	int64_t idle_us = shadow->trial ? TRIAL_IDLE_US : IDLE_US;
	if (shadow->trial)
		want = work->decided.after + 1; /* It is there, unless it is the next. */
	while (seen < want && tide_clock_mono_us() - came_us < idle_us) {
		int64_t epoch = tide_board_epoch(shadow->board), now_us = tide_clock_mono_us();
		char text[96];
		if (stopped(work))
			return fail_stopped(err);
		if (epoch > seen) {
			seen = epoch;
			came_us = now_us;
		} else {
			nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000L }, NULL);
		}
		if (now_us - told_us > TELL_US && seen < want && !shadow->trial) {
			snprintf(text, sizeof text, "%lld of the next %lld epochs have come",
			         (long long)(seen - work->decided.kept),
			         (long long)(want - work->decided.kept));
			shadow->line(shadow->arg, false, text);
			told_us = now_us;
		}
	}
	return TIDE_OK;
}

static bool take_meta(const struct tide_meta *meta, void *arg)
{
	struct decided *decided = arg;
	if (meta->epoch <= decided->after || decided->count == decided->most)
		return true;
	decided->failed = !tide_meta_copy(&decided->metas[decided->count++], meta);
	return !decided->failed;
}

static int read_decided(struct work *work, bool last, struct tide_error *err)
{
	struct tide_checkpoint_options options = { .read_only = true };
	struct tide_checkpoint *cp = NULL;
	struct decided *decided = &work->decided;
	decided->most = work->shadow->epochs;
	int rc = tide_checkpoint_open(work->shadow->settings->checkpoint_dir, &options, &cp, err);
	if (rc == TIDE_OK && last)
		decided->after = tide_checkpoint_meta(cp)->epoch - decided->most;
	if (rc == TIDE_OK)
		rc = tide_checkpoint_history(cp, take_meta, decided, err);
	tide_checkpoint_close(cp);
	if (rc == TIDE_OK && decided->failed)
		return fail_memory(err);
	if (last && decided->count > 0)
		decided->after = decided->metas[0].epoch - 1;
	if (rc == TIDE_OK && decided->count == 0)
		return tide_fail(err, TIDE_ERR_DIFFER,
		                 "no record came within %d s, so that there is nothing to compare "
		                 "the versions on",
		                 IDLE_US / 1000000);
	if (rc == TIDE_OK && decided->metas[0].epoch != decided->after + 1)
		return tide_fail(err, TIDE_ERR_UNAVAILABLE,
		                 "the epochs went by faster than they could be looked at: ask for "
		                 "fewer with --shadow");
	return rc;
}

/* ---- their records ---- */

static int wrap(void *arg, struct tide_source **source, struct tide_error *err)
{
	(void)arg;
	return tide_recorder_wrap(source, err);
}

static const struct tide_position *position_of(const struct tide_meta *meta,
                                               const struct tide_share *share)
{
	return tide_meta_position((struct tide_meta *)(uintptr_t)meta, share->part->topic,
	                          share->part->partition);
}

static int fail_gone(struct work *work, const struct tide_share *share, struct tide_error *err)
{
	work->gone = true;
	return tide_fail(err, TIDE_ERR_UNAVAILABLE,
	                 "%s-%d does not hold the records of the last epochs any more",
	                 share->part->topic, share->part->partition);
}

/* Each partition at its first offset that the epochs have read. */
static int place(struct work *work, struct tide_error *err)
{
	struct tide_partitions *partitions = &work->partitions;
	const struct decided *decided = &work->decided;
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && i < partitions->count; i++) {
		struct tide_share *share = partitions->shares[i];
		const struct tide_position *at = NULL;
		for (int e = 0; at == NULL && e < decided->count; e++)
			at = position_of(&decided->metas[e], share);
		share->lost = at == NULL; /* It is too new. */
		share->from = share->part->next = at != NULL ? at->from : 0;
		if (tide_recording_part(&work->recording, share->input, share->part->topic,
		                        share->part->partition) == NULL)
			rc = fail_memory(err);
		else if (at != NULL && at->from < share->part->start)
			rc = fail_gone(work, share, err);
		else if (at != NULL)
			rc = share->source->ops->seek(share->source, &share->part, 1, err);
	}
	return rc;
}

static int open_source(struct work *work, struct tide_error *err)
{
	bool found;
	work->harness = (struct tide_harness){ .wrap = wrap };
	work->settings = *work->shadow->settings;
	work->settings.harness = &work->harness;
	work->ring = tide_ring_new();
	if (work->ring == NULL)
		return fail_memory(err);
	int rc = tide_partitions_open(&work->partitions, work->shadow->plan, &work->settings, err);
	if (rc == TIDE_OK)
		rc = tide_partitions_discover(&work->partitions, &found, err);
	if (rc == TIDE_OK)
		rc = tide_partitions_ends(&work->partitions, err);
	return rc == TIDE_OK ? place(work, err) : rc;
}

/* All records before `to`. */
static int fetch(struct work *work, struct tide_share *share, int64_t to, uint64_t *count,
                 struct tide_error *err)
{
	struct tide_source *source = share->source;
	struct tide_source_part *part = share->part;
	int64_t came_us = tide_clock_mono_us();
	int rc = TIDE_OK;
	while (rc == TIDE_OK && part->next < to) {
		int64_t before = part->next;
		struct tide_batch *batch = tide_ring_next(work->ring, part->topic, part->partition);
		if (batch == NULL)
			return fail_memory(err);
		rc = source->ops->fetch(source, part, to, FETCH_MS, batch, err);
		*count += batch->count;
		if (rc == TIDE_ERR_DATA_LOSS)
			rc = fail_gone(work, share, err);
		if (part->next > before)
			came_us = tide_clock_mono_us();
		else if (rc == TIDE_OK && tide_clock_mono_us() - came_us > SILENT_US)
			rc = tide_fail(err, TIDE_ERR_UNAVAILABLE,
			               "%s-%d gave no more records, so that the versions could not "
			               "be compared",
			               part->topic, part->partition);
		if (rc == TIDE_OK && stopped(work))
			rc = fail_stopped(err);
	}
	return rc;
}

static int take_epoch(struct work *work, const struct tide_meta *meta, size_t *bytes,
                      struct tide_error *err)
{
	struct tide_partitions *partitions = &work->partitions;
	struct tide_recorded_step *step = tide_recording_step(&work->recording);
	int rc = TIDE_OK;
	if (step == NULL || !tide_recorded_step_init(step, partitions->count, 0, 0))
		return fail_memory(err);
	step->kind = TIDE_RECORDED_EPOCH;
	step->epoch = meta->epoch;
	step->now_us = meta->now_us;
	for (int i = 0; rc == TIDE_OK && i < partitions->count; i++) {
		struct tide_share *share = partitions->shares[i];
		struct tide_recorded_range *range = &step->ranges[i];
		const struct tide_position *at = share->lost ? NULL : position_of(meta, share);
		range->from = range->to = share->part->next;
		if (at != NULL && at->next > range->to) {
			range->to = at->next;
			rc = fetch(work, share, at->next, &range->count, err);
		}
		range->end = range->to;
		if (rc == TIDE_OK &&
		    !tide_recorder_take(share->source, share->part, &range->records))
			rc = fail_memory(err);
		*bytes += range->records.len;
		work->shadow->records += range->count;
	}
	return rc;
}

static int take_epochs(struct work *work, struct tide_error *err)
{
	size_t bytes = 0;
	int rc = open_source(work, err);
	bool trial = work->shadow->trial;
	size_t most = trial ? trial_bytes_max : records_bytes_max;
	uint64_t records_max = trial ? TRIAL_RECORDS : UINT64_MAX;
	for (int e = 0; rc == TIDE_OK && e < work->decided.count && bytes < most &&
	                work->shadow->records < records_max;
	     e++) {
		rc = take_epoch(work, &work->decided.metas[e], &bytes, err);
		work->shadow->ran = e + 1;
	}
	tide_partitions_close(&work->partitions);
	tide_ring_free(work->ring);
	work->ring = NULL;
	return rc;
}

/* ---- the whole ---- */

/* The old job, and how it runs. */
static int note_job(struct work *work, struct tide_error *err)
{
	const struct tide_shadow *shadow = work->shadow;
	struct tide_recording *recording = &work->recording;
	const struct tide_options *set = shadow->settings->set;
	bool ok = tide_option_set(&recording->info, "job", shadow->plan->job) &&
	          tide_option_set(&recording->info, "bounded", "false") &&
	          (shadow->settings->topic == NULL ||
	           tide_option_set(&recording->info, "topic", shadow->settings->topic));
	for (int i = 0; ok && set != NULL && i < set->count; i++)
		ok = tide_option_set(&recording->set, set->items[i].key, set->items[i].value);
	for (int i = 0; ok && i < shadow->old_files->file_count; i++)
		ok = tide_recording_file(recording, shadow->old_files->files[i].name,
		                         shadow->old_files->files[i].text) != NULL;
	recording->job_hash = shadow->plan->hash;
	return ok ? TIDE_OK : fail_memory(err);
}

static int replay(struct work *work, struct tide_error *err)
{
	struct tide_shadow *shadow = work->shadow;
	char folder[4200], file[4200], job[8300];
	int a_second = shadow->trial ? TRIAL_RECORDS_A_SECOND : RECORDS_A_SECOND;
	int seconds = SECONDS_LEAST + (int)(shadow->records / (uint64_t)a_second);
	int rc = tide_scratch_make(work->scratch, sizeof work->scratch, false, err);
	snprintf(folder, sizeof folder, "%s/new", work->scratch);
	snprintf(file, sizeof file, "%s/shadow.tide", work->scratch);
	if (rc == TIDE_OK && mkdir(folder, 0700) != 0)
		rc = tide_fail(err, TIDE_ERR_IO, "cannot make the folder %s", folder);
	if (rc == TIDE_OK)
		rc = tide_recording_write(&work->recording, file, err);
	tide_recording_fini(&work->recording);
	if (rc == TIDE_OK)
		rc = tide_jobfiles_write(shadow->new_files, folder, job, sizeof job, err);
	if (rc == TIDE_OK)
		rc = tide_shadow_replay(shadow, file, job, work->scratch, seconds, err);
	tide_scratch_remove(work->scratch);
	return rc;
}

static void forget(struct work *work)
{
	for (int e = 0; e < work->decided.count; e++)
		tide_meta_fini(&work->decided.metas[e]);
	work->decided = (struct decided){ 0 };
	tide_recording_fini(&work->recording);
}

static int gather(struct work *work, enum beginning from, struct tide_error *err)
{
	work->gone = false;
	work->shadow->ran = 0;
	work->shadow->records = 0;
	int rc = note_job(work, err);
	if (rc == TIDE_OK && from != EMPTY)
		rc = from == PAST ? copy_past(work, err) : copy_newest(work, err);
	if (rc == TIDE_OK && from != EMPTY)
		rc = await_epochs(work, err);
	if (rc == TIDE_OK)
		rc = read_decided(work, from == EMPTY, err);
	return rc == TIDE_OK ? take_epochs(work, err) : rc;
}

static void tell(const struct work *work)
{
	struct tide_shadow *shadow = work->shadow;
	int64_t first = work->decided.after + 1;
	char text[160];
	snprintf(text, sizeof text, "both versions on %llu records of epochs %lld to %lld%s",
	         (unsigned long long)shadow->records, (long long)first,
	         (long long)(first + shadow->ran - 1),
	         shadow->ran >= shadow->epochs       ? ""
	         : shadow->ran < work->decided.count ? ", as no more fit into memory"
	                                             : ", which is all there was");
	shadow->line(shadow->arg, true, text);
}

int tide_shadow_compare(struct tide_shadow *shadow, struct tide_error *err)
{
	struct work *work = calloc(1, sizeof *work);
	char text[sizeof err->text + 64];
	if (work == NULL)
		return fail_memory(err);
	work->shadow = shadow;
	int rc = gather(work, PAST, err);
	if (rc != TIDE_OK && work->gone) {
		snprintf(text, sizeof text, "%s: the next %d epochs are waited for", err->text,
		         shadow->epochs);
		shadow->line(shadow->arg, false, text);
		forget(work);
		rc = gather(work, NEWEST, err);
	}
	if (rc == TIDE_OK) {
		tell(work);
		rc = replay(work, err);
	}
	forget(work);
	free(work);
	return rc;
}

/* ---- a trial ---- */

int tide_shadow_try(struct tide_shadow *shadow, char *how, size_t size, struct tide_error *err)
{
	static const char *const states[] = { "the state before them", "an empty state",
		                              "the state before them" };
	struct work *work = calloc(1, sizeof *work);
	bool nothing = true;
	int rc = TIDE_OK;
	if (work == NULL)
		return fail_memory(err);
	work->shadow = shadow;
	shadow->trial = true;
	for (int from = PAST; nothing && from <= NEWEST; from++) {
		forget(work);
		rc = gather(work, (enum beginning)from, err);
		nothing = work->gone || rc == TIDE_ERR_DIFFER || rc == TIDE_ERR_USAGE ||
		          (rc == TIDE_OK && shadow->records == 0);
		snprintf(how, size, "%llu records of epochs %lld to %lld, from %s",
		         (unsigned long long)shadow->records, (long long)work->decided.after + 1,
		         (long long)work->decided.after + shadow->ran, states[from]);
	}
	if (nothing) {
		snprintf(how, size, "%s", rc != TIDE_OK ? err->text : "its epochs had no records");
		shadow->records = 0;
		rc = TIDE_OK;
	} else if (rc == TIDE_OK) {
		rc = replay(work, err);
	}
	forget(work);
	free(work);
	return rc;
}
