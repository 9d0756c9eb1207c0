/* SPDX-License-Identifier: Apache-2.0 */
/* Rows into the windows that contain them, and out when they are late. */
#include "run/timed.h"

#include <assert.h>

#include "state/queue.h"

/* Far outside of any calendar; sums with sizes of windows stay numbers. */
static const int64_t TIME_MAX = INT64_MAX / 4;

void tide_timed_init(struct tide_timed *timed, const struct tide_plan_keyed *keyed,
                     struct tide_queue *queue, const struct tide_mark *mark,
                     struct tide_late_records *records)
{
	assert(keyed->size_us == 0 || (keyed->slide_us > 0 && keyed->slide_us <= keyed->size_us));
	*timed = (struct tide_timed){
		.queue = queue,
		.mark = mark,
		.late = keyed->late,
		.size_us = keyed->size_us,
		.slide_us = keyed->slide_us,
		.offset_us = keyed->offset_us,
		.session = keyed->session,
		.end_column = tide_plan_dedups(keyed) ? keyed->row->count - 2 : keyed->keys[0],
		.row = UINT32_MAX,
		.records = records,
	};
	tide_late_keys_of(&timed->keys, keyed);
}

void tide_timed_batch(struct tide_timed *timed)
{
	timed->row = UINT32_MAX;
	timed->records->row = UINT32_MAX;
	tide_late_keys_settle(&timed->keys);
}

/* The running row goes no further here. */
static void count_record(struct tide_timed *timed)
{
	if (timed->records->row == timed->row)
		return;
	timed->records->row = timed->row;
	timed->records->count++;
}

static void count_untimed(struct tide_timed *timed)
{
	timed->counts.untimed++;
	count_record(timed);
}

static void count_late(struct tide_timed *timed, const struct tide_cell *row)
{
	int64_t time_us = timed->mark->time_us;
	int64_t behind = timed->mark->watermark_us - time_us;
	timed->counts.late++;
	count_record(timed);
	if (behind > timed->counts.most_us)
		timed->counts.most_us = behind;
	tide_late_keys_add(&timed->keys, row);
}

/* A session of its own: what it joins, the owner of its key knows. Late is judged
 * by it alone. */
static bool push_session(struct tide_timed *timed, struct tide_cell *row, uint32_t number)
{
	int64_t end = timed->mark->time_us + timed->size_us;
	if (timed->late != TIDE_LATE_NEVER && end <= timed->mark->watermark_us) {
		count_late(timed, row);
		return true;
	}
	row[timed->end_column].len = 0;
	row[timed->end_column].i = end;
	return tide_queue_push(timed->queue, row, number);
}

/* The newest window first: once one has closed, so have those before it. */
static bool push_windows(struct tide_timed *timed, struct tide_cell *row, uint32_t number)
{
	int64_t time_us = timed->mark->time_us;
	int64_t last =
		tide_late_window_end(time_us, timed->size_us, timed->slide_us, timed->offset_us);
	int64_t end = last;
	struct tide_cell *cell = &row[timed->end_column];
	cell->len = 0;
	for (; end > time_us; end -= timed->slide_us) {
		if (timed->late != TIDE_LATE_NEVER && end <= timed->mark->watermark_us)
			break;
		cell->i = end;
		if (!tide_queue_push(timed->queue, row, number))
			return false;
	}
	if (end == last)
		count_late(timed, row);
	return true;
}

bool tide_timed_known(const struct tide_mark *mark)
{
	return mark->untimed == 0 && mark->time_us < TIME_MAX && mark->time_us > -TIME_MAX;
}

static bool look_at(struct tide_timed *timed, uint32_t number)
{
	if (number != timed->row) {
		timed->row = number;
		timed->before = timed->counts;
		tide_late_keys_settle(&timed->keys);
	}
	timed->counts.seen++;
	return tide_timed_known(timed->mark);
}

bool tide_timed_claim(struct tide_timed *timed, struct tide_cell *row, uint32_t number)
{
	int64_t time_us = timed->mark->time_us;
	if (!look_at(timed, number)) {
		count_untimed(timed);
		return false;
	}
	if (time_us < timed->mark->watermark_us) {
		count_late(timed, row);
		return false;
	}
	row[timed->end_column].i = time_us;
	row[timed->end_column].len = 0;
	return true;
}

bool tide_timed_push(struct tide_timed *timed, struct tide_cell *row, uint32_t number)
{
	const struct tide_mark *mark = timed->mark;
	bool known = look_at(timed, number);
	if (known && timed->late == TIDE_LATE_STRICT && mark->time_us < mark->watermark_us) {
		count_late(timed, row);
		return true;
	}
	if (timed->size_us == 0)
		return tide_queue_push(timed->queue, row, number);
	if (known)
		return timed->session ? push_session(timed, row, number)
		                      : push_windows(timed, row, number);
	count_untimed(timed);
	return true;
}

void tide_timed_drop(struct tide_timed *timed, uint32_t number)
{
	if (timed->row != number)
		return;
	if (timed->records->row == number) {
		timed->records->row = UINT32_MAX;
		timed->records->count--;
	}
	timed->counts = timed->before;
	timed->keys.waiting_count = 0;
}
