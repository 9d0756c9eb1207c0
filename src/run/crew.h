/* SPDX-License-Identifier: Apache-2.0 */
/* The crew: N workers on threads of their own, and the barrier between the
 * halves of an epoch. */
#ifndef TIDE_RUN_CREW_H
#define TIDE_RUN_CREW_H

#include "run/worker.h"

struct tide_crew;

/* Starts work->settings->workers threads; each loads the job. */
int tide_crew_start(struct tide_work *work, struct tide_crew **out, struct tide_error *err);
void tide_crew_stop(struct tide_crew *crew);

/* Hand the shares out in contiguous runs (10 over 3: four, three, three). */
int tide_crew_assign(struct tide_crew *crew, struct tide_share **shares, int count,
                     struct tide_error *err);

/* The halves of an epoch on all workers; return when the last is done. */
int tide_crew_run(struct tide_crew *crew, struct tide_error *err);
/* Level by level: what is behind so many dedups; after the last one all is done. */
int tide_crew_fold(struct tide_crew *crew, struct tide_error *err);

struct tide_worker *tide_crew_worker(struct tide_crew *crew, int index);

/* The first and the number of `count` things for worker i of n. */
void tide_crew_slice(int count, int workers, int index, int *first, int *some);

#endif
