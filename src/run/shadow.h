/* SPDX-License-Identifier: Apache-2.0 */
/* Two versions of a running job beside each other: the records of its last epochs, read
 * once more, through both of them from the state before those epochs, in a process of
 * their own. What is not kept of the last ones is made up for by the next. The run does
 * not notice: nothing of it is stopped or written. */
#ifndef TIDE_RUN_SHADOW_H
#define TIDE_RUN_SHADOW_H

#include <stdbool.h>

#include "checkpoint/past.h"
#include "record/plan.h"
#include "run/board.h"
#include "run/settings.h"
#include "source/recording.h"

enum { TIDE_SHADOW_EPOCHS_MAX = 50 };

struct tide_shadow {
	const struct tide_settings *settings;
	const struct tide_plan *plan;                       /* of the version that runs */
	const struct tide_recording *old_files, *new_files; /* the jobs: only files are in them */
	struct tide_board *board;
	struct tide_past *past; /* of the run */
	int epochs;
	const char *max_diff; /* as --max-diff of replay; NULL: nothing may differ */
	bool trial;           /* tide_shadow_try's: it is of interest alone what fails */
	/* Each line of what differs, and how far it is. */
	void (*line)(void *arg, bool result, const char *text);
	bool (*stopped)(void *arg); /* whoever waits for it is gone */
	void *arg;
	/* What came of it. */
	int ran; /* epochs */
	uint64_t records;
};

/* TIDE_ERR_DIFFER: more than that differs; and any other error: it cannot be told. */
int tide_shadow_compare(struct tide_shadow *shadow, struct tide_error *err);

/* Does the new version fail more of these records than the old one? Waits for nothing but,
 * where there are none at all, a moment for the next. TIDE_ERR_DIFFER, TIDE_ERR_SCRIPT and
 * TIDE_ERR_CHECKPOINT: it does, or fails as a whole, and any other error: it cannot be told.
 * TIDE_OK without records: there is nothing to try it on. *how is what was done, or why not. */
int tide_shadow_try(struct tide_shadow *shadow, char *how, size_t size, struct tide_error *err);

/* tidemark replay --diff, or --failures of a trial, of a recording in a process that is stopped after so many
 * seconds; `scratch` is a folder for whatever it leaves behind. */
int tide_shadow_replay(const struct tide_shadow *shadow, const char *recording, const char *job,
                       const char *scratch, int seconds, struct tide_error *err);

#endif
