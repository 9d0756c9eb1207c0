/* SPDX-License-Identifier: Apache-2.0 */
/* Which version of the job runs: functions are exchanged between two epochs, and
 * taken back when the first epochs with them fail more rows than those before. */
#ifndef TIDE_RUN_VERSION_H
#define TIDE_RUN_VERSION_H

#include "run/commit.h"
#include "run/crew.h"
#include "run/reload.h"

struct tide_version {
	struct tide_reload *reload; /* NULL: the job stays as it is */
	struct tide_crew *crew;
	struct tide_commit *commit;
	int workers;
	uint64_t hash; /* of the source that runs */
	/* Of the version before, while the new one is on trial. */
	struct tide_vm *before[TIDE_WORKERS_MAX + 1];
	uint64_t hash_before;
	int epochs_left; /* of the trial */
	bool answered;   /* that it took over */
	int64_t exchanged_us;
	uint64_t rows, failed; /* of the epochs since the last change */
	uint64_t rows_before, failed_before;
	/* The commit thread's: the one from before, which may be the process's first
	 * and somebody else's, and the one that a change brought along. */
	struct tide_vm *first, *own;
};

/* No reload yet. */
void tide_version_init(struct tide_version *version, struct tide_crew *crew,
                       struct tide_commit *commit, int workers, uint64_t hash);
/* Before the crew and the commit end. */
void tide_version_fini(struct tide_version *version);

/* Between two epochs, nothing being committed: the candidate's functions from
 * now on. */
void tide_version_exchange(struct tide_version *version, struct tide_candidate *candidate);
bool tide_version_on_trial(const struct tide_version *version);
/* It failed where nothing can be taken back: gives the VMs from before, one for
 * each worker and one that commits, for whoever begins again with them. */
void tide_version_abandon(struct tide_version *version, struct tide_vm **vms, const char *why);
/* Nothing is there to try it on: after a moment it is taken for good. */
void tide_version_rest(struct tide_version *version, int64_t epoch);
/* The epoch has been read, with this status. True: it must be dropped and read
 * again, which the functions from before will do. */
bool tide_version_judge(struct tide_version *version, int64_t epoch, int status,
                        const struct tide_error *err);

#endif
