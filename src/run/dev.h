/* SPDX-License-Identifier: Apache-2.0 */
/* A job on sample records, again after each save. Each try is a process of its
 * own, as a job may hang, eat memory or crash. */
#ifndef TIDE_RUN_DEV_H
#define TIDE_RUN_DEV_H

#include "run/cli.h"

struct tide_dev_options {
	struct tide_cli *cli;
	const char *job;   /* as on the command line … */
	const char *path;  /* … and its file */
	const char *input; /* a file of lines, "-" for stdin, or NULL: the job's topics */
	int64_t last;      /* records of these */
	int64_t limit_ms;  /* of a try */
	bool once;         /* try it, say how it went, and end */
};

/* Until somebody stops it. *tried: this is the process of a try, to be ended
 * with what was returned. */
int tide_dev(const struct tide_dev_options *options, bool *tried, struct tide_error *err);

#endif
