/* SPDX-License-Identifier: Apache-2.0 */
/* Simulation: one job in many lives, with other epochs, workers, crashes and
 * orders, must come to what is promised of it. */
#ifndef TIDE_RUN_SIMULATE_H
#define TIDE_RUN_SIMULATE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/error.h"
#include "record/plan.h"
#include "source/recording.h"

struct tide_simulation_options {
	const char *job_path, *lua_dir;
	const char *name; /* of the job, as it was said */
	const struct tide_options *set;
	const char *topic;      /* as --topic; NULL: as the job says */
	const char *input_path; /* a recording, or lines; NULL: made-up records */
	int trials;
	uint64_t seed; /* of the first; that of the next is one more */
	const atomic_int *stop;
	/* Called before each life of the job, with the seed; may be NULL. */
	void (*beat)(void *arg, uint64_t seed);
	void *beat_arg;
};

/* `report` says for people what was tried, or the least input that was found on
 * which it fails, which is TIDE_ERR_DIFFER.
 *
 * P1: the epochs given, rows are the same for any number of workers and after any
 * crash. P2: where no record is late, appended rows are the same in the end, and
 * updates fold to the same table, however the records were cut into epochs and
 * shuffled within the watermark's delay. P3: of one order, a finer cut has at least
 * the late rows of a coarser one; every record counts once, and every window is
 * appended once. */
int tide_simulate(const struct tide_simulation_options *options, struct tide_buf *report,
                  struct tide_error *err);

#endif
