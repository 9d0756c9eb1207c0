/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of each epoch went, phase by phase, over a whole run. */
#include "run/timings.h"

#include <math.h>

static const char *const names[TIDE_PHASES] = { "run", "wait", "fold", "decide", "publish" };

static int step_of(int64_t us)
{
	int step = us < 1 ? 0 : 1 + (int)(4 * log2((double)us));
	return step < TIDE_TIMINGS_STEPS ? step : TIDE_TIMINGS_STEPS - 1;
}

/* In the middle of a step. */
static double us_of(int step)
{
	return step == 0 ? 0 : exp2((step - 0.5) / 4);
}

void tide_timings_add(struct tide_timings *timings, const int64_t phases_us[TIDE_PHASES])
{
	timings->epochs++;
	for (int p = 0; p < TIDE_PHASES; p++) {
		timings->sum_us[p] += phases_us[p];
		timings->steps[p][step_of(phases_us[p])]++;
		if (phases_us[p] > timings->most_us[p])
			timings->most_us[p] = phases_us[p];
	}
}

static double median_us(const struct tide_timings *timings, int phase)
{
	uint64_t seen = 0;
	int step = 0;
	while (step < TIDE_TIMINGS_STEPS - 1 &&
	       (seen += timings->steps[phase][step]) * 2 < timings->epochs)
		step++;
	double us = us_of(step);
	return us < (double)timings->most_us[phase] ? us : (double)timings->most_us[phase];
}

void tide_timings_print(const struct tide_timings *timings, FILE *out)
{
	int64_t all_us = 0;
	if (timings->epochs == 0)
		return;
	for (int p = 0; p < TIDE_PHASES; p++)
		all_us += timings->sum_us[p];
	fprintf(out, "  %-8s %11s %11s %11s %6s\n", "timings", "total", "median", "slowest",
	        "share");
	for (int p = 0; p < TIDE_PHASES; p++)
		fprintf(out, "  %-8s %8.1f ms %8.2f ms %8.1f ms %4.0f %%\n", names[p],
		        (double)timings->sum_us[p] / 1e3, median_us(timings, p) / 1e3,
		        (double)timings->most_us[p] / 1e3,
		        all_us > 0 ? 100.0 * (double)timings->sum_us[p] / (double)all_us : 0);
}
