/* SPDX-License-Identifier: Apache-2.0 */
/* What has changed between two versions of a job, and what it takes to go on
 * with the newer one. */
#ifndef TIDE_RUN_CHANGE_H
#define TIDE_RUN_CHANGE_H

#include "base/buf.h"
#include "record/plan.h"

enum tide_change {
	TIDE_CHANGE_NONE, /* the same text */
	TIDE_CHANGE_HOT,  /* functions: the next epoch runs them */
	TIDE_CHANGE_WARM, /* more state or columns: epochs stop, the state is made to fit */
	TIDE_CHANGE_COLD  /* what the state or the source means: only a new start will do */
};

const char *tide_change_name(enum tide_change change); /* "hot" */

/* Appends what it is that changed, for people; a cold change's text says what to
 * do, too. `dir` is the job's checkpoint. */
enum tide_change tide_change_of(const struct tide_plan *was, const struct tide_plan *now,
                                const char *dir, struct tide_buf *what);

#endif
