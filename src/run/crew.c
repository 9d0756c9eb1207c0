/* SPDX-License-Identifier: Apache-2.0 */
/* The crew: N workers on threads of their own, and the barrier between the
 * halves of an epoch. With few records the caller does what they would. */
#include "run/crew.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	TICK_MS = 200,
	/* To wake a thread costs more than so many records do. A job that is slow with
	 * them gathers more meanwhile, and then its workers share them. */
	FEW_RECORDS = 64
};

enum phase { PHASE_START, PHASE_RUN, PHASE_FOLD, PHASE_RESUME, PHASE_STOP };

struct seat {
	struct tide_crew *crew;
	struct tide_worker worker;
	pthread_t thread;
	bool started;
};

struct tide_crew {
	struct tide_work *work;
	int count;
	struct seat *seats;
	pthread_mutex_t lock;
	pthread_cond_t begin, done;
	enum phase phase;
	unsigned long turn; /* grows by one with each phase */
	int busy;           /* workers still at it */
	bool few;           /* records in this epoch */
};

static int perform(struct seat *seat, enum phase phase)
{
	struct tide_worker *worker = &seat->worker;
	switch (phase) {
	case PHASE_START:
		return tide_worker_init(worker, seat->crew->work, (int)(seat - seat->crew->seats),
		                        &worker->err);
	case PHASE_RUN: return tide_worker_run(worker, &worker->err);
	case PHASE_FOLD: return tide_worker_fold(worker, &worker->err);
	case PHASE_RESUME: return tide_worker_resume(worker, &worker->err);
	case PHASE_STOP: break;
	}
	tide_worker_fini(worker);
	return TIDE_OK;
}

static void *seat_main(void *arg)
{
	struct seat *seat = arg;
	struct tide_crew *crew = seat->crew;
	unsigned long seen = 0;
	enum phase phase;
	do {
		pthread_mutex_lock(&crew->lock);
		while (crew->turn == seen)
			pthread_cond_wait(&crew->begin, &crew->lock);
		seen = crew->turn;
		phase = crew->phase;
		pthread_mutex_unlock(&crew->lock);

		int rc = perform(seat, phase);

		pthread_mutex_lock(&crew->lock);
		seat->worker.rc = rc;
		if (rc != TIDE_OK) /* The others need not go on with a lost epoch. */
			atomic_store(&crew->work->cut, true);
		if (--crew->busy == 0)
			pthread_cond_signal(&crew->done);
		pthread_mutex_unlock(&crew->lock);
	} while (phase != PHASE_STOP);
	return NULL;
}

/* For the last worker, looking up now and then to redraw the status line. */
static void wait_a_while(struct tide_crew *crew)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += TICK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	if (pthread_cond_timedwait(&crew->done, &crew->lock, &until) == ETIMEDOUT &&
	    crew->work->tick != NULL)
		crew->work->tick(crew->work->tick_arg);
}

static void perform_on_threads(struct tide_crew *crew, enum phase phase)
{
	pthread_mutex_lock(&crew->lock);
	assert(crew->busy == 0);
	crew->phase = phase;
	crew->busy = crew->count;
	crew->turn++;
	pthread_cond_broadcast(&crew->begin);
	while (crew->busy > 0)
		wait_a_while(crew);
	pthread_mutex_unlock(&crew->lock);
}

/* One worker after the other, while their threads sleep. */
static void perform_here(struct tide_crew *crew, enum phase phase)
{
	for (int i = 0; i < crew->count; i++) {
		struct seat *seat = &crew->seats[i];
		seat->worker.rc = perform(seat, phase);
		if (seat->worker.rc != TIDE_OK)
			atomic_store(&crew->work->cut, true);
	}
}

/* What closes and ends in a fold is not told by how many records there are. */
static bool may_be_here(const struct tide_crew *crew, enum phase phase)
{
	if (phase == PHASE_START || phase == PHASE_STOP || !crew->few)
		return false;
	return phase == PHASE_RUN || crew->work->plan->mark_count == 0;
}

/* One phase on all workers; the first error in worker order is the crew's. */
static int turn(struct tide_crew *crew, enum phase phase, struct tide_error *err)
{
	if (may_be_here(crew, phase))
		perform_here(crew, phase);
	else
		perform_on_threads(crew, phase);
	for (int i = 0; phase != PHASE_STOP && i < crew->count; i++) {
		const struct tide_worker *worker = &crew->seats[i].worker;
		if (worker->rc != TIDE_OK) {
			if (err != NULL)
				*err = worker->err;
			return worker->rc;
		}
	}
	return TIDE_OK;
}

int tide_crew_start(struct tide_work *work, struct tide_crew **out, struct tide_error *err)
{
	struct tide_crew *crew = calloc(1, sizeof *crew);
	int workers = work->settings->workers;
	assert(workers > 0 && workers <= TIDE_WORKERS_MAX);
	if (crew != NULL)
		crew->seats = calloc((size_t)workers, sizeof *crew->seats);
	if (crew == NULL || crew->seats == NULL) {
		free(crew);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for %d workers", workers);
	}
	crew->work = work;
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->begin, NULL);
	pthread_cond_init(&crew->done, NULL);
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && i < workers; i++) {
		struct seat *seat = &crew->seats[i];
		seat->crew = crew;
		seat->worker.work = work;
		int failed = pthread_create(&seat->thread, NULL, seat_main, seat);
		if (failed != 0)
			rc = tide_fail(err, TIDE_ERR_FAILED, "cannot start worker %d: %s", i,
			               strerror(failed));
		else
			crew->count++;
	}
	if (rc == TIDE_OK)
		rc = turn(crew, PHASE_START, err);
	if (rc != TIDE_OK) {
		tide_crew_stop(crew);
		return rc;
	}
	*out = crew;
	return TIDE_OK;
}

void tide_crew_stop(struct tide_crew *crew)
{
	if (crew == NULL)
		return;
	turn(crew, PHASE_STOP, NULL);
	for (int i = 0; i < crew->count; i++)
		pthread_join(crew->seats[i].thread, NULL);
	pthread_mutex_destroy(&crew->lock);
	pthread_cond_destroy(&crew->begin);
	pthread_cond_destroy(&crew->done);
	free(crew->seats);
	free(crew);
}

void tide_crew_slice(int count, int workers, int index, int *first, int *some)
{
	int each = count / workers, rest = count % workers;
	*first = index * each + (index < rest ? index : rest);
	*some = each + (index < rest);
}

int tide_crew_assign(struct tide_crew *crew, struct tide_share **shares, int count,
                     struct tide_error *err)
{
	for (int i = 0; i < crew->count; i++) {
		struct tide_worker *worker = &crew->seats[i].worker;
		int first, some;
		tide_crew_slice(count, crew->count, i, &first, &some);
		struct tide_share **mine =
			realloc(worker->shares, sizeof *mine * (size_t)(count + 1));
		if (mine == NULL)
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for %d partitions", count);
		memcpy(mine, shares + first, sizeof *mine * (size_t)some);
		worker->shares = mine;
		worker->own_count = some;
	}
	return TIDE_OK;
}

/* Simulated epochs are small: every other one goes the way of large ones. A sampler
 * asks each worker's own thread where it is. */
static bool has_few(const struct tide_work *work)
{
	const struct tide_harness *harness = work->settings->harness;
	int64_t records = 0;
	for (int i = 0; i < work->share_count; i++)
		records += work->shares[i]->to - work->shares[i]->from;
	if (records > FEW_RECORDS || work->settings->sampler != NULL)
		return false;
	return harness == NULL || harness->ranges == NULL || work->epoch % 2 == 0;
}

int tide_crew_run(struct tide_crew *crew, struct tide_error *err)
{
	crew->few = has_few(crew->work);
	return turn(crew, PHASE_RUN, err);
}

int tide_crew_fold(struct tide_crew *crew, struct tide_error *err)
{
	int levels = tide_worker_levels(crew->work->plan), rc = TIDE_OK;
	for (int level = 0; rc == TIDE_OK && level < levels; level++) {
		crew->work->level = level;
		rc = turn(crew, PHASE_FOLD, err);
		if (rc == TIDE_OK && level + 1 < levels)
			rc = turn(crew, PHASE_RESUME, err);
	}
	return rc;
}

struct tide_worker *tide_crew_worker(struct tide_crew *crew, int index)
{
	assert(index < crew->count);
	return &crew->seats[index].worker;
}
