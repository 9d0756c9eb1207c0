/* SPDX-License-Identifier: Apache-2.0 */
/* A job run on a recording. */
#include "run/rerun.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "checkpoint/copy.h"
#include "run/keeper.h"
#include "run/loop.h"
#include "run/scratch.h"
#include "source/memory.h"

enum { MEMORY_BYTES = 256 << 20, SMALL_BYTES = 16 << 20 };

struct tide_rerun {
	const struct tide_recording *recording;
	char *job_path, *lua_dir;
	char scratch[4096], checkpoint_dir[4200];
	bool plain;
	struct tide_memory *memory;
	struct tide_keeper keeper;
	struct tide_harness harness;
	struct tide_settings settings;
	struct tide_vm *vm;
	struct tide_plan *plan;
	struct tide_board *board;
	struct tide_loop *loop;
	atomic_int stop;
	int next;                              /* step */
	const struct tide_recorded_step *step; /* that runs; NULL: none reads anything */
	int64_t *offsets;                      /* of a plain one: per partition, the next */
	int64_t spent_us;
	atomic_flag failed;
	char failure[2048];    /* of the first record that failed */
	enum tide_level level; /* of the log, before */
};

/* ---- what is read ---- */

/* The range that a share takes in the running step; NULL: none. */
static const struct tide_recorded_range *range_of(const struct tide_rerun *rerun,
                                                  const struct tide_share *share)
{
	const struct tide_recorded_step *step = rerun->step;
	if (step == NULL || step->kind == TIDE_RECORDED_LOOK)
		return NULL;
	for (int i = 0; i < step->range_count; i++) {
		const struct tide_recorded_part *part = &rerun->recording->parts[i];
		if (part->input == share->input && part->partition == share->part->partition &&
		    strcmp(part->topic, share->part->topic) == 0)
			return &step->ranges[i];
	}
	/* A job with other inputs: the first that read the partition speaks. */
	for (int i = 0; i < step->range_count; i++) {
		const struct tide_recorded_part *part = &rerun->recording->parts[i];
		if (part->partition == share->part->partition &&
		    strcmp(part->topic, share->part->topic) == 0)
			return &step->ranges[i];
	}
	return NULL;
}

static int64_t take_ranges(void *arg, struct tide_share *const *shares, int count, int64_t planned)
{
	const struct tide_rerun *rerun = arg;
	int64_t total = 0;
	if (rerun->plain)
		return planned;
	for (int i = 0; i < count; i++) {
		const struct tide_recorded_range *range = range_of(rerun, shares[i]);
		shares[i]->from = shares[i]->to = shares[i]->part->next;
		if (range != NULL && range->to > shares[i]->from)
			shares[i]->to = range->to;
		total += shares[i]->to - shares[i]->from;
	}
	return total;
}

const char *tide_rerun_topic(const struct tide_rerun *rerun, int part)
{
	const struct tide_recorded_part *at = &rerun->recording->parts[part];
	const struct tide_plan *plan = rerun->plan;
	bool overridden = tide_option_get(&rerun->recording->info, "topic") != NULL;
	if (!rerun->plain || !overridden || at->input >= plan->input_count)
		return at->topic;
	return tide_option_get(&plan->inputs[at->input].options, "topics");
}

static bool feed(struct tide_rerun *rerun, int i, const struct tide_recorded_range *range)
{
	const char *topic = tide_rerun_topic(rerun, i);
	const struct tide_recorded_part *part = &rerun->recording->parts[i];
	struct tide_reader in = tide_reader_of(range->records.p, range->records.len);
	struct tide_recorded rec;
	struct tide_slice name, value;
	int64_t *next = &rerun->offsets[i];
	bool ok = tide_memory_place(rerun->memory, topic, part->partition,
	                            rerun->plain ? 0 : range->from);
	while (ok && tide_recorded_next(&in, &rec)) {
		int64_t offset = rerun->plain ? (*next)++ : rec.offset;
		if (!tide_memory_lacks(rerun->memory, topic, part->partition, offset))
			continue; /* Another input has read it before. */
		ok = tide_memory_add_at(rerun->memory, topic, part->partition, offset, rec.key,
		                        rec.value, rec.timestamp_ms);
		while (ok && tide_recorded_header(&rec, &name, &value))
			ok = tide_memory_header(rerun->memory, name, value);
	}
	if (ok && !rerun->plain)
		tide_memory_end(rerun->memory, topic, part->partition, range->to, range->end);
	return ok;
}

static int feed_step(struct tide_rerun *rerun, const struct tide_recorded_step *step,
                     struct tide_error *err)
{
	bool ok = true;
	tide_clock_set(step->now_us);
	for (int i = 0; ok && i < step->range_count; i++)
		ok = feed(rerun, i, &step->ranges[i]);
	return ok ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory for records");
}

static void note_failed(void *arg, const char *text)
{
	struct tide_rerun *rerun = arg;
	if (!atomic_flag_test_and_set(&rerun->failed))
		snprintf(rerun->failure, sizeof rerun->failure, "%s", text);
}

/* ---- life ---- */

static bool holds(const struct tide_recording *recording, const char *topic, size_t len)
{
	for (int i = 0; i < recording->part_count; i++)
		if (strlen(recording->parts[i].topic) == len &&
		    strncmp(recording->parts[i].topic, topic, len) == 0)
			return true;
	return false;
}

/* A job that reads something else would see nothing at all. */
static int check_topics(const struct tide_rerun *rerun, struct tide_error *err)
{
	const struct tide_recording *recording = rerun->recording;
	for (int i = 0; i < rerun->plan->input_count; i++) {
		const char *topics = tide_option_get(&rerun->plan->inputs[i].options, "topics");
		if (rerun->settings.topic != NULL)
			topics = rerun->settings.topic;
		for (const char *at = topics; at != NULL && *at != '^' && *at != '\0';) {
			size_t len = strcspn(at, ",");
			if (!holds(recording, at, len))
				return tide_fail(err, TIDE_ERR_USAGE,
				                 "the job reads topic %.*s, and the recording "
				                 "holds none of it but of %s; say --topic",
				                 (int)len, at,
				                 recording->part_count > 0
				                         ? recording->parts[0].topic
				                         : "nothing");
			at += len + (at[len] == ',');
		}
	}
	return TIDE_OK;
}

static int load(struct tide_rerun *rerun, struct tide_error *err)
{
	struct tide_vm_options vm = {
		.lua_dir = rerun->lua_dir,
		.jit_off = rerun->settings.jit_off,
		.set = rerun->settings.set,
	};
	int rc = tide_vm_new(&vm, &rerun->vm, err);
	rerun->plan = tide_plan_new();
	if (rc == TIDE_OK && rerun->plan == NULL)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for a plan");
	if (rc == TIDE_OK)
		rc = tide_vm_load(rerun->vm, rerun->job_path, rerun->plan, err);
	if (rc == TIDE_OK && !rerun->plain)
		rc = check_topics(rerun, err);
	return rc;
}

static int open_loop(struct tide_rerun *rerun, struct tide_error *err)
{
	rerun->board = tide_board_new(rerun->plan->job, NULL, rerun->settings.workers, NULL);
	if (rerun->board == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to run");
	struct tide_loop_options loop = {
		.settings = &rerun->settings,
		.plan = rerun->plan,
		.vm = rerun->vm,
		.board = rerun->board,
		.stop = &rerun->stop,
		.result_fd = -1,
	};
	return tide_loop_open(&loop, &rerun->loop, err);
}

static void unload(struct tide_rerun *rerun)
{
	tide_loop_close(rerun->loop, false, NULL);
	tide_vm_free(rerun->vm);
	tide_plan_free(rerun->plan);
	tide_board_free(rerun->board);
	rerun->loop = NULL;
	rerun->vm = NULL;
	rerun->plan = NULL;
	rerun->board = NULL;
}

static int init(struct tide_rerun *rerun, const struct tide_rerun_options *options,
                struct tide_error *err)
{
	const struct tide_recording *recording = options->recording;
	const char *bounded = tide_option_get(&recording->info, "bounded");
	rerun->recording = recording;
	rerun->plain = options->plain;
	rerun->job_path = strdup(options->job_path);
	rerun->lua_dir = strdup(options->lua_dir);
	rerun->memory = tide_memory_new(0);
	rerun->offsets = calloc((size_t)recording->part_count + 1, sizeof *rerun->offsets);
	if (rerun->job_path == NULL || rerun->lua_dir == NULL || rerun->memory == NULL ||
	    rerun->offsets == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to run");
	int rc = tide_scratch_make(rerun->scratch, sizeof rerun->scratch,
	                           recording->state.len < SMALL_BYTES, err);
	snprintf(rerun->checkpoint_dir, sizeof rerun->checkpoint_dir, "%s/checkpoint",
	         rerun->scratch);
	rerun->harness = (struct tide_harness){
		.memory = rerun->memory,
		.ranges = take_ranges,
		.failed = note_failed,
		.arg = rerun,
		.adopt = options->adopt,
		.whole = true,
		.sink = &tide_keeper_ops,
		.sink_arg = &rerun->keeper,
	};
	rerun->settings = (struct tide_settings){
		.job_path = rerun->job_path,
		.lua_dir = rerun->lua_dir,
		.checkpoint_dir = rerun->checkpoint_dir,
		.brokers_default = "memory",
		.topic = options->topic != NULL || options->plain
		                 ? options->topic
		                 : tide_option_get(&recording->info, "topic"),
		.from = "earliest",
		.format = "json",
		.set = options->set != NULL ? options->set : &recording->set,
		.workers = options->workers > 0 ? options->workers : 1,
		.memory_bytes = MEMORY_BYTES,
		.batch_records_max = INT64_MAX,
		.fail_on_data_loss = true,
		.jit_off = options->jit_off,
		.until_end = bounded != NULL && strcmp(bounded, "true") == 0 && !options->plain,
		.harness = &rerun->harness,
	};
	return rc;
}

/* The partitions are there before the job is, but what they hold is not. */
static int place_first(struct tide_rerun *rerun, struct tide_error *err)
{
	const struct tide_recording *recording = rerun->recording;
	const struct tide_recorded_step *first = recording->steps;
	bool ok = true;
	if (recording->step_count == 0)
		return TIDE_OK;
	tide_clock_set(first->now_us);
	for (int i = 0; ok && i < first->range_count; i++)
		ok = tide_memory_place(rerun->memory, tide_rerun_topic(rerun, i),
		                       recording->parts[i].partition,
		                       rerun->plain ? 0 : first->ranges[i].from);
	return ok ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory for topics");
}

int tide_rerun_open(const struct tide_rerun_options *options, struct tide_rerun **out,
                    struct tide_error *err)
{
	const struct tide_recording *recording = options->recording;
	struct tide_rerun *rerun = calloc(1, sizeof *rerun);
	if (rerun == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to run");
	/* Where it starts and what its sinks promise is of no interest here. */
	rerun->level = tide_log_level(TIDE_WARN);
	if (rerun->level > TIDE_WARN)
		tide_log_level(rerun->level);
	int rc = init(rerun, options, err);
	if (rc == TIDE_OK && recording->meta.len > 0)
		rc = tide_checkpoint_plant(
			rerun->checkpoint_dir,
			(struct tide_slice){ recording->meta.p, recording->meta.len },
			(struct tide_slice){ recording->state.p, recording->state.len }, err);
	if (rc == TIDE_OK)
		rc = load(rerun, err);
	if (rc == TIDE_OK)
		rc = place_first(rerun, err);
	if (rc == TIDE_OK)
		rc = open_loop(rerun, err);
	if (rc != TIDE_OK) {
		tide_rerun_close(rerun);
		return rc;
	}
	*out = rerun;
	return TIDE_OK;
}

void tide_rerun_close(struct tide_rerun *rerun)
{
	if (rerun == NULL)
		return;
	unload(rerun);
	tide_log_level(rerun->level);
	tide_keeper_fini(&rerun->keeper);
	tide_memory_free(rerun->memory);
	tide_scratch_remove(rerun->scratch);
	free(rerun->offsets);
	free(rerun->job_path);
	free(rerun->lua_dir);
	free(rerun);
	tide_clock_set(-1);
}

/* ---- steps ---- */

/* The clock that never stands. */
static int64_t real_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int tide_rerun_step(struct tide_rerun *rerun, int *step, struct tide_error *err)
{
	bool ran;
	*step = -1;
	tide_keeper_clear(&rerun->keeper);
	if (rerun->next >= rerun->recording->step_count)
		return TIDE_OK;
	*step = rerun->next++;
	rerun->step = &rerun->recording->steps[*step];
	int rc = feed_step(rerun, rerun->step, err);
	int64_t began_us = real_us();
	if (rc == TIDE_OK)
		rc = tide_loop_step(rerun->loop, &ran, err);
	rerun->spent_us += real_us() - began_us;
	rerun->step = NULL;
	return rc;
}

int tide_rerun_drain(struct tide_rerun *rerun, bool *ran, struct tide_error *err)
{
	tide_keeper_clear(&rerun->keeper);
	assert(rerun->step == NULL);
	return tide_loop_step(rerun->loop, ran, err);
}

void tide_rerun_flush(struct tide_rerun *rerun)
{
	tide_loop_flush(rerun->loop);
}

int tide_rerun_crash(struct tide_rerun *rerun, int workers, struct tide_error *err)
{
	unload(rerun);
	rerun->settings.workers = workers;
	int rc = load(rerun, err);
	return rc == TIDE_OK ? open_loop(rerun, err) : rc;
}

const struct tide_plan *tide_rerun_plan(const struct tide_rerun *rerun)
{
	return rerun->plan;
}

const struct tide_meta *tide_rerun_meta(const struct tide_rerun *rerun)
{
	return tide_loop_meta(rerun->loop);
}

struct tide_rows *tide_rerun_rows(const struct tide_rerun *rerun, int output)
{
	return tide_keeper_rows(&rerun->keeper, rerun->plan->outputs[output].name);
}

const char *tide_rerun_failure(const struct tide_rerun *rerun)
{
	return rerun->failure;
}

int64_t tide_rerun_us(const struct tide_rerun *rerun)
{
	return rerun->spent_us;
}
