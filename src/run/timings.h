/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of each epoch went, phase by phase, over a whole run. */
#ifndef TIDE_RUN_TIMINGS_H
#define TIDE_RUN_TIMINGS_H

#include <stdint.h>
#include <stdio.h>

/* In the order in which an epoch goes through them. */
enum tide_phase {
	TIDE_PHASE_RUN,     /* workers read records and run the job */
	TIDE_PHASE_WAIT,    /* for the epoch before, which is still on its way out */
	TIDE_PHASE_FOLD,    /* the owners of keys merge, close windows, collect rows */
	TIDE_PHASE_DECIDE,  /* the synced step */
	TIDE_PHASE_PUBLISH, /* the sinks */
	TIDE_PHASES
};

/* Four to each doubling, from a microsecond to hours. */
enum { TIDE_TIMINGS_STEPS = 140 };

struct tide_timings {
	uint64_t epochs;
	int64_t sum_us[TIDE_PHASES], most_us[TIDE_PHASES];
	uint64_t steps[TIDE_PHASES][TIDE_TIMINGS_STEPS];
};

void tide_timings_add(struct tide_timings *timings, const int64_t phases_us[TIDE_PHASES]);
/* A table; the median is right within a tenth. */
void tide_timings_print(const struct tide_timings *timings, FILE *out);

#endif
