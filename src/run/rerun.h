/* SPDX-License-Identifier: Apache-2.0 */
/* A job run on a recording: the same epochs, clock and beginning, in memory; the
 * rows are kept. The clock of the whole process stands where the recording says. */
#ifndef TIDE_RUN_RERUN_H
#define TIDE_RUN_RERUN_H

#include "checkpoint/checkpoint.h"
#include "record/plan.h"
#include "source/recording.h"

struct tide_rerun;

struct tide_rerun_options {
	const struct tide_recording *recording; /* borrowed */
	const char *job_path, *lua_dir;
	const char *topic;              /* as --topic; NULL: what the recording says */
	const struct tide_options *set; /* NULL: what the recording says */
	int workers;
	bool jit_off;
	bool adopt; /* see run/shards.h */
	/* As a spec of the job would run it: offsets begin with 0, and an epoch
	 * takes what is there. */
	bool plain;
};

int tide_rerun_open(const struct tide_rerun_options *options, struct tide_rerun **out,
                    struct tide_error *err);
void tide_rerun_close(struct tide_rerun *rerun);

/* The next recorded step; rows of the one before are forgotten. *step is -1 when
 * there is none left. Its epoch did not run where it had nothing to do. */
int tide_rerun_step(struct tide_rerun *rerun, int *step, struct tide_error *err);
/* Windows that a new job has to close go now. False: there was nothing to do. */
int tide_rerun_drain(struct tide_rerun *rerun, bool *ran, struct tide_error *err);
/* Event time comes to its end, so that a drain closes every window. */
void tide_rerun_flush(struct tide_rerun *rerun);
/* The process dies between two epochs, and starts again with so many workers. */
int tide_rerun_crash(struct tide_rerun *rerun, int workers, struct tide_error *err);

/* The topic under which a recorded partition is read: a plain one reads what the
 * job itself names, where --topic was in force. */
const char *tide_rerun_topic(const struct tide_rerun *rerun, int part);
const struct tide_plan *tide_rerun_plan(const struct tide_rerun *rerun);
/* Of the newest epoch. */
const struct tide_meta *tide_rerun_meta(const struct tide_rerun *rerun);
/* Of the step; NULL: none. */
struct tide_rows *tide_rerun_rows(const struct tide_rerun *rerun, int output);
/* What the first record that failed failed of, once a step has ended; "": none did. */
const char *tide_rerun_failure(const struct tide_rerun *rerun);
/* Time spent in epochs so far. */
int64_t tide_rerun_us(const struct tide_rerun *rerun);

#endif
