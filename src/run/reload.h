/* SPDX-License-Identifier: Apache-2.0 */
/* New versions of the job that runs: noticed, loaded and looked at on a thread
 * of its own, while the old one goes on. The loop takes a candidate between two
 * epochs and says what became of it. */
#ifndef TIDE_RUN_RELOAD_H
#define TIDE_RUN_RELOAD_H

#include <stdatomic.h>

#include "base/error.h"
#include "job/vm.h"
#include "record/plan.h"
#include "run/board.h"
#include "run/change.h"
#include "run/settings.h"
#include "source/recording.h"

/* A version that can take over: one VM for each worker, and one for the thread
 * that commits, all loaded. */
struct tide_candidate {
	struct tide_plan *plan;
	struct tide_vm **vms; /* NULL where one has been taken */
	int vm_count;
	enum tide_change change;      /* hot or warm */
	struct tide_recording *files; /* their texts; NULL where they were taken over */
};

struct tide_reload_options {
	const struct tide_settings *settings;
	const struct tide_plan *plan; /* of the version that runs */
	struct tide_board *board;
	struct tide_past *past;    /* of the run */
	bool watch;                /* look for saves by itself */
	int shadow_epochs;         /* compare what nobody asked for on so many; 0: do not */
	const char *max_diff;      /* as --max-diff; NULL: it takes over whatever differs */
	const atomic_int *hangups; /* counts SIGHUP; NULL: nobody does */
};

struct tide_reload;

int tide_reload_start(const struct tide_reload_options *options, struct tide_reload **out,
                      struct tide_error *err);
void tide_reload_stop(struct tide_reload *reload); /* accepts NULL */

/* A candidate that has not been given out yet, or NULL. It stays the reload's,
 * until one of the two that follow. */
struct tide_candidate *tide_reload_take(struct tide_reload *reload);
/* It runs from `epoch` on, since then by the monotonic clock; its plan stays as
 * long as the reload does. */
void tide_reload_took(struct tide_reload *reload, int64_t epoch, int64_t since_us);
void tide_reload_refused(struct tide_reload *reload, int status, const char *why);
/* It took over and fails after all: the version before it runs again. */
void tide_reload_back(struct tide_reload *reload, const char *why);

#endif
