/* SPDX-License-Identifier: Apache-2.0 */
/* Rows into the windows that contain them, and out when they are late. */
#ifndef TIDE_RUN_TIMED_H
#define TIDE_RUN_TIMED_H

#include "record/abi.h"
#include "record/plan.h"
#include "run/late.h"

/* Records of which some operator has dropped a row for its event time. Each of
 * them counts once, of however many operators and rows. */
struct tide_late_records {
	uint64_t count;
	uint32_t row; /* the newest of them; UINT32_MAX: none in this batch */
};

/* One keyed operator that looks at event time. */
struct tide_timed {
	struct tide_queue *queue;
	const struct tide_mark *mark;
	enum tide_late late;
	int64_t size_us, slide_us, offset_us;
	bool session;
	int end_column; /* of the row: room for the end of a window, or its event time */
	struct tide_late_keys keys;
	struct tide_lates counts, before; /* before the row of that … */
	uint32_t row;                     /* … number, which may fail yet */
	struct tide_late_records *records;
};

/* queue, mark and records, which all operators of a worker share, are borrowed. */
void tide_timed_init(struct tide_timed *timed, const struct tide_plan_keyed *keyed,
                     struct tide_queue *queue, const struct tide_mark *mark,
                     struct tide_late_records *records);
/* Whether the running row has an event time that one can count with. */
bool tide_timed_known(const struct tide_mark *mark);
/* Row numbers begin again. */
void tide_timed_batch(struct tide_timed *timed);

/* For tide_state_ops. */
bool tide_timed_claim(struct tide_timed *timed, struct tide_cell *row, uint32_t number);
bool tide_timed_push(struct tide_timed *timed, struct tide_cell *row, uint32_t number);
void tide_timed_drop(struct tide_timed *timed, uint32_t number);

#endif
