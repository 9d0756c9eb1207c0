/* SPDX-License-Identifier: Apache-2.0 */
/* Replaying a recording: the rows of a job on it, and those of two jobs compared. */
#ifndef TIDE_RUN_REPLAY_H
#define TIDE_RUN_REPLAY_H

#include "run/rerun.h"

/* What a job made of a recording. */
struct tide_replayed {
	int output_count;
	char **outputs;          /* names */
	struct tide_rows **rows; /* per output, of all steps */
	int (*keys)[TIDE_COLUMNS_MAX], *key_counts;
	int part_count;
	char **topics;   /* of the recorded partitions, as they were read */
	int failed_step; /* -1: none; then why … */
	struct tide_error why;
	uint64_t records;
	uint64_t rows_failed; /* or malformed; and what the first of them failed of */
	char failure[2048];
	int64_t spent_us;
};

/* Called with the rows of each step that has some; may be NULL. */
typedef int tide_replay_step(void *arg, const struct tide_rerun *rerun,
                             const struct tide_recorded_step *step, struct tide_error *err);

/* Runs to the end of the recording, and until nothing more has to close. A job
 * that fails is no error. *out is to be ended in any case. */
int tide_replay(const struct tide_rerun_options *options, tide_replay_step *each, void *arg,
                struct tide_replayed *out, struct tide_error *err);
void tide_replayed_fini(struct tide_replayed *replayed);
/* Rows by the name of an output; NULL: it has none of that name. */
const struct tide_rows *tide_replayed_rows(const struct tide_replayed *replayed, const char *name,
                                           int *output);
/* Wall time of a record, without reading the recording and printing rows. */
double tide_replayed_record_us(const struct tide_replayed *replayed);

/* What differs, for people, and its share in all rows: 0 when nothing does, 1 when
 * one of them fails where the other does not. */
int tide_replay_compare(const struct tide_replayed *old_run, const struct tide_replayed *new_run,
                        struct tide_buf *out, double *share, struct tide_error *err);

/* TIDE_ERR_DIFFER: the new one fails more rows, or fails as a whole where the old one
 * does not. *text says what either did. */
int tide_replay_failures(const struct tide_replayed *old_run, const struct tide_replayed *new_run,
                         struct tide_buf *text, struct tide_error *err);

#endif
