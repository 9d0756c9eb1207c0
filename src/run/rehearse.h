/* SPDX-License-Identifier: Apache-2.0 */
/* One try of a job on a sample: the real loop, with records in memory, nothing
 * committed and every sink on stdout. For a process of its own, that may be
 * killed: whatever a job does harms only that. */
#ifndef TIDE_RUN_REHEARSE_H
#define TIDE_RUN_REHEARSE_H

#include "base/buf.h"
#include "run/cli.h"

struct tide_rehearsal {
	struct tide_cli *cli;
	const char *job;
	bool lines;             /* the sample is `text`, and not of topics */
	struct tide_slice text; /* see tide_sample_lines */
	int64_t last;           /* see tide_sample_topics */
	int cache_fd;
	const char *dir; /* there is nothing here yet; somebody removes it afterwards */
	int hurry_ms;    /* not 0: slowly, to find where the job is still busy after that long */
	bool terminal;   /* in the end a terminal shows it */
	int told_fd;     /* what tide_rehearse_told reads, while it becomes known */
};

/* Rows go to stdout, warnings and what the job prints to the log on stderr. */
int tide_rehearse(const struct tide_rehearsal *rehearsal, struct tide_error *err);

/* What goes over told_fd: a letter, a text, and a newline. */
enum tide_told {
	TIDE_TOLD_FILE = 'F',    /* a file of the job, even of one that does not load */
	TIDE_TOLD_READING = 'R', /* it loads; the sample may take its time */
	TIDE_TOLD_BEGUN = 'B',   /* the sample is there: from now on it is the job's time */
	TIDE_TOLD_SUMMARY = 'S'  /* at the end: what came in and went out */
};

#endif
