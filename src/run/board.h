/* SPDX-License-Identifier: Apache-2.0 */
/* What a run says of itself: the status line, progress as JSON, the summary. */
#ifndef TIDE_RUN_BOARD_H
#define TIDE_RUN_BOARD_H

#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "record/rows.h"
#include "run/diagnosis.h"
#include "run/progress.h"

enum { TIDE_BOARD_EPOCHS = 60 };

struct tide_board_part {
	const char *topic;
	int32_t partition;
	int64_t from, next, end; /* of the last epoch; the log end as last seen */
	int worker;              /* who reads it */
};

/* One published epoch. Everything is borrowed for the call. */
struct tide_board_epoch {
	int64_t epoch, records, rows_out;
	uint64_t job_hash;  /* of the version that made it */
	int64_t started_us; /* wall clock */
	int64_t run_us, wait_us, fold_us, decide_us, publish_us;
	uint64_t state_rows, state_bytes;
	uint64_t grouped; /* rows that reached a group_by so far */
	uint64_t rows_filtered, rows_failed, rows_malformed, rows_lost, rows_late; /* totals */
	const struct tide_board_part *parts;
	int part_count;
	const struct tide_rows *rows; /* for the table; may be NULL */
	const struct tide_progress *progress;
	struct tide_slice diagnosis; /* members of an object; see diagnosis.h */
};

struct tide_board;

/* counted: what the job's rows are called once they are grouped ("word"), or
 * NULL. */
struct tide_board *tide_board_new(const char *job, const char *counted, int workers,
                                  const char *progress_path);
void tide_board_free(struct tide_board *board);

void tide_board_published(struct tide_board *board, const struct tide_board_epoch *epoch);
/* The newest epoch that was published, or -1. */
int64_t tide_board_epoch(struct tide_board *board);
/* The newest epoch's progress, an object of JSON, appended. */
void tide_board_latest(struct tide_board *board, struct tide_buf *out);
/* Which checkpoint the run writes to, so that others know whose page this is. */
void tide_board_checkpoint(struct tide_board *board, const char *dir);
/* What holds the run back: nothing, when rows come out. */
void tide_board_say(struct tide_board *board, const char *state,
                    const struct tide_diagnosis *diagnosis);
/* What people should know until the next such word, or "". */
void tide_board_notice(struct tide_board *board, const char *text);
/* Redraw the terminal's status line. `records` is the live count. */
void tide_board_draw(struct tide_board *board, uint64_t records);

/* JSON for the page and the API; may be called from any thread. */
bool tide_board_get(void *board, const char *path, struct tide_buf *body,
                    const char **content_type);

/* One screen at the end of a run. */
void tide_board_summary(struct tide_board *board, bool timings, FILE *out);

#endif
