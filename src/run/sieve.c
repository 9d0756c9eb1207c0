/* SPDX-License-Identifier: Apache-2.0 */
/* A step that only lets late rows through. */
#include "run/sieve.h"

#include <assert.h>

#include "base/hash.h"
#include "run/timed.h"

void tide_sieve_init(struct tide_sieve *sieve, const struct tide_plan_late *plan,
                     struct tide_mark *marks)
{
	*sieve = (struct tide_sieve){ .plan = plan, .mark = &marks[plan->mark], .row = UINT32_MAX };
	if (plan->own >= 0)
		sieve->own = &marks[plan->own];
	sieve->keys.column_count = plan->column_count;
	for (int i = 0; i < plan->column_count; i++) {
		sieve->keys.columns[i] = plan->columns[i];
		sieve->keys.is_text[i] = plan->is_text[i];
	}
}

void tide_sieve_batch(struct tide_sieve *sieve, const struct tide_batch *batch)
{
	sieve->batch = batch;
	sieve->row = UINT32_MAX;
	tide_late_keys_settle(&sieve->keys);
}

/* The same rows as an operator drops that has such windows, or none. */
static bool is_late(const struct tide_plan_late *plan, const struct tide_mark *mark)
{
	if (plan->late == TIDE_LATE_STRICT)
		return mark->time_us < mark->watermark_us;
	return tide_late_window_end(mark->time_us, plan->size_us, plan->slide_us,
	                            plan->offset_us) <= mark->watermark_us;
}

/* Decided by where the record is, so that it comes out the same when it is read
 * again. */
static bool in_sample(const struct tide_sieve *sieve, uint32_t number)
{
	const struct tide_batch *batch = sieve->batch;
	int64_t place[2] = { batch->partition, batch->recs[number].offset_ };
	if (sieve->plan->sample >= 1)
		return true;
	uint64_t hash = tide_hash(batch->topic, (size_t)batch->topic_len, 0);
	hash = tide_hash(place, sizeof place, hash);
	return (double)(hash >> 11) < sieve->plan->sample * 9007199254740992.0;
}

static void count(struct tide_sieve *sieve, const struct tide_cell *row, uint32_t number)
{
	int64_t behind_us = sieve->mark->watermark_us - sieve->mark->time_us;
	sieve->counts.late++;
	if (behind_us > sieve->counts.most_us)
		sieve->counts.most_us = behind_us;
	if (sieve->keys.column_count > 0) {
		tide_late_keys_add(&sieve->keys, row);
		return;
	}
	const struct tide_view *key = &sieve->batch->recs[number].key_;
	if (key->len_ >= 0)
		tide_late_keys_add_hash(&sieve->keys, tide_hash((const char *)(uintptr_t)key->addr_,
		                                                (size_t)key->len_, 0));
}

bool tide_sieve_sift(struct tide_sieve *sieve, const struct tide_cell *row, uint32_t number)
{
	const struct tide_mark *mark = sieve->mark;
	if (number != sieve->row) {
		sieve->row = number;
		sieve->before = sieve->counts;
		tide_late_keys_settle(&sieve->keys);
	}
	sieve->counts.seen++;
	if (!tide_timed_known(mark)) {
		sieve->counts.untimed++;
		return false;
	}
	if (!is_late(sieve->plan, mark))
		return false;
	if (sieve->own != NULL && mark->time_us < sieve->own->watermark_us) {
		sieve->counts.beyond++;
		return false;
	}
	count(sieve, row, number);
	if (!in_sample(sieve, number))
		return false;
	if (sieve->own != NULL) {
		sieve->own->time_us = mark->time_us;
		sieve->own->untimed = 0;
	}
	return true;
}

void tide_sieve_drop(struct tide_sieve *sieve, uint32_t number)
{
	if (sieve->row != number)
		return;
	sieve->counts = sieve->before;
	sieve->keys.waiting_count = 0;
}
