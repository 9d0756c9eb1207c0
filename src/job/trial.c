/* SPDX-License-Identifier: Apache-2.0 */
/* Where the loops of a job write while they are only tried: nowhere. */
#include "job/trial.h"

#include <stdlib.h>

#include "record/batch.h"
#include "record/rows.h"

enum { NOW_US = 1700000000 };

struct tide_trial {
	struct tide_ring *ring;
	struct tide_queue queue; /* of every keyed operator: it never holds a key */
	struct tide_queue **queues;
	struct tide_timed **timed;
	struct tide_sieve **sieves;
	struct tide_mark *marks;
	struct tide_rows **rows;
	int row_count;
};

static bool push(struct tide_queue *queue, const struct tide_cell *row, uint32_t number)
{
	(void)queue, (void)row, (void)number;
	return true;
}

static void drop(struct tide_queue *queue, uint32_t count)
{
	(void)queue, (void)count;
}

static bool resolve(struct tide_queue *queue, uint32_t *count)
{
	(void)queue;
	*count = 0;
	return true;
}

static bool push_timed(struct tide_timed *timed, struct tide_cell *row, uint32_t number)
{
	(void)timed, (void)row, (void)number;
	return true;
}

static bool claim(struct tide_timed *timed, struct tide_cell *row, uint32_t number)
{
	(void)timed, (void)row, (void)number;
	return false;
}

static void drop_timed(struct tide_timed *timed, uint32_t number)
{
	(void)timed, (void)number;
}

/* What stands behind late rows is tried, too. */
static bool sift(struct tide_sieve *sieve, const struct tide_cell *row, uint32_t number)
{
	(void)sieve, (void)row, (void)number;
	return true;
}

static void drop_sift(struct tide_sieve *sieve, uint32_t number)
{
	(void)sieve, (void)number;
}

_Static_assert(sizeof(struct tide_state_ops) == 9 * sizeof(void (*)(void)),
               "a new operation needs one that does nothing, above");

static bool pass_over(void *arg, const struct tide_batch *batch, uint32_t row, const char *message,
                      const char *reason, const char *place)
{
	(void)arg, (void)batch, (void)row, (void)message, (void)reason, (void)place;
	return true;
}

static bool put_aside(void *arg, const struct tide_batch *batch, uint32_t row, int32_t output,
                      const char *reason, const char *place)
{
	(void)arg, (void)batch, (void)row, (void)output, (void)reason, (void)place;
	return true;
}

struct tide_trial *tide_trial_new(const struct tide_plan *plan)
{
	struct tide_trial *trial = calloc(1, sizeof *trial);
	if (trial == NULL)
		return NULL;
	trial->ring = tide_ring_new();
	trial->queues = calloc((size_t)plan->keyed_count + 1, sizeof(struct tide_queue *));
	trial->timed = calloc((size_t)plan->keyed_count + 1, sizeof(struct tide_timed *));
	trial->sieves = calloc((size_t)plan->late_count + 1, sizeof(struct tide_sieve *));
	trial->marks = calloc((size_t)plan->mark_count + 1, sizeof *trial->marks);
	size_t rows = (size_t)(plan->output_count + plan->keyed_count) + 1;
	trial->rows = calloc(rows, sizeof(struct tide_rows *));
	bool ok = trial->ring != NULL && trial->queues != NULL && trial->rows != NULL &&
	          trial->timed != NULL && trial->sieves != NULL && trial->marks != NULL;
	for (int k = 0; ok && k < plan->keyed_count; k++)
		trial->queues[k] = &trial->queue;
	for (int o = 0; ok && o < plan->output_count; o++) {
		trial->rows[o] = tide_rows_new(plan->outputs[o].row);
		ok = trial->rows[o] != NULL;
		trial->row_count = o + 1;
	}
	for (int k = 0; ok && k < plan->keyed_count; k++) {
		trial->rows[trial->row_count] = tide_rows_new(plan->keyed[k].row);
		ok = trial->rows[trial->row_count++] != NULL;
	}
	if (ok)
		return trial;
	tide_trial_free(trial);
	return NULL;
}

void tide_trial_free(struct tide_trial *trial)
{
	if (trial == NULL)
		return;
	for (int o = 0; o < trial->row_count; o++)
		tide_rows_free(trial->rows[o]);
	tide_ring_free(trial->ring);
	free(trial->queues);
	free(trial->timed);
	free(trial->sieves);
	free(trial->marks);
	free(trial->rows);
	free(trial);
}

struct tide_vm_bind tide_trial_bind(struct tide_trial *trial)
{
	static const struct tide_state_ops nowhere = { push,       drop,       resolve,
		                                       drop,       push_timed, claim,
		                                       drop_timed, sift,       drop_sift };
	return (struct tide_vm_bind){
		.state_ops = &nowhere,
		.queues = trial->queues,
		.timed = trial->timed,
		.sieves = trial->sieves,
		.marks = trial->marks,
		.rows = trial->rows,
		.ring = trial->ring,
		.bad_row = pass_over,
		.set_aside = put_aside,
		.now_us = (int64_t)NOW_US * 1000000,
	};
}

struct tide_batch *tide_trial_batch(struct tide_trial *trial)
{
	return tide_ring_next(trial->ring, "trial", 0);
}
