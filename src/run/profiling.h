/* SPDX-License-Identifier: Apache-2.0 */
/* A job on a sample, over and over, to see where its time goes: the real loop,
 * with records in memory, nothing committed and every row thrown away. */
#ifndef TIDE_RUN_PROFILING_H
#define TIDE_RUN_PROFILING_H

#include "job/sampler.h"
#include "run/cli.h"
#include "run/guard.h"

struct tide_profiling {
	struct tide_cli *cli;
	const char *job;
	const char *input;        /* a file of lines, see tide_sample_lines; NULL: topics */
	int64_t last;             /* see tide_sample_topics */
	bool json;                /* the report */
	bool whole;               /* … with whole files */
	struct tide_guard *guard; /* hears of every batch: this is its child */
};

/* The report is the caller's, to be freed. */
int tide_profiling(const struct tide_profiling *profiling, char **report, struct tide_error *err);

#endif
