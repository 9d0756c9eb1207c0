/* SPDX-License-Identifier: Apache-2.0 */
/* How many states each operator has. */
#include "run/counting.h"

#include "base/clock.h"
#include "base/log.h"

enum { TELL_US = 5000000, LOOK_EVERY = 4096 };

/* Up to where an operator's states are over. */
static int64_t closed_of(const struct tide_plan_keyed *keyed, const int64_t *closed_us)
{
	return tide_plan_closes(keyed) ? closed_us[keyed->mark] : INT64_MIN;
}

int tide_counting_scan(struct tide_checkpoint *cp, struct tide_state_op op,
                       const struct tide_state_count *count, uint64_t *rows, struct tide_error *err)
{
	struct tide_buf from = { 0 }, to = { 0 };
	struct tide_rocks_iter *it = NULL;
	struct tide_slice key, value;
	int64_t told_us = tide_clock_mono_us();
	*rows = 0;
	tide_state_range(&from, &to, op);
	if (count->closed_us != INT64_MIN) {
		tide_buf_clear(&from);
		tide_state_end(&from, op, count->closed_us + 1);
	}
	if (!from.failed && !to.failed)
		it = tide_rocks_iter_new(tide_checkpoint_rocks(cp),
		                         (struct tide_slice){ from.p, from.len },
		                         (struct tide_slice){ to.p, to.len });
	while (it != NULL && tide_rocks_iter_next(it, &key, &value)) {
		if (++*rows % LOOK_EVERY != 0 || tide_clock_mono_us() - told_us < TELL_US)
			continue;
		told_us = tide_clock_mono_us();
		tide_log(TIDE_INFO, "state \"%s\": %llu rows are counted so far", count->name,
		         (unsigned long long)*rows);
	}
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	return it != NULL ? tide_rocks_iter_end(it, err)
	                  : tide_fail(err, TIDE_ERR_NOMEM, "no memory to count states");
}

int tide_counting_open(struct tide_checkpoint *cp, const struct tide_plan *plan,
                       const struct tide_state_op *ops, const int64_t *closed_us,
                       struct tide_meta *meta, struct tide_error *err)
{
	int rc = TIDE_OK;
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++) {
		const struct tide_plan_keyed *keyed = &plan->keyed[k];
		struct tide_state_count *count = tide_meta_state(meta, keyed->name);
		int64_t closed = closed_of(keyed, closed_us);
		if (count != NULL && count->closed_us == closed)
			continue;
		if (count == NULL)
			count = tide_meta_state_add(meta, keyed->name);
		if (count == NULL)
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory to count states");
		count->closed_us = closed;
		if (meta->epoch >= 0)
			rc = tide_counting_scan(cp, ops[k], count, &count->rows, err);
		if (rc == TIDE_OK && count->rows > 0)
			tide_log(TIDE_INFO,
			         "state \"%s\" has %llu rows: counted once, as the checkpoint did "
			         "not know",
			         count->name, (unsigned long long)count->rows);
	}
	return rc;
}

void tide_counting_note(const struct tide_work *work, struct tide_crew *crew,
                        struct tide_meta *meta)
{
	const struct tide_plan *plan = work->plan;
	for (int k = 0; k < plan->keyed_count; k++) {
		struct tide_state_count *count = tide_meta_state(meta, plan->keyed[k].name);
		for (int w = 0; count != NULL && w < work->settings->workers; w++) {
			struct tide_shards_figures figures =
				tide_shards_figures(tide_crew_worker(crew, w)->shards, k);
			uint64_t all = count->rows + figures.made;
			count->rows = all > figures.gone ? all - figures.gone : 0;
		}
		if (count != NULL)
			count->closed_us = closed_of(&plan->keyed[k], work->watermarks_us);
	}
}

uint64_t tide_counting_rows(const struct tide_meta *meta, const struct tide_plan_keyed *keyed)
{
	const struct tide_state_count *count = tide_meta_state(meta, keyed->name);
	return count != NULL ? count->rows : 0;
}

uint64_t tide_counting_all(const struct tide_meta *meta, const struct tide_plan *plan)
{
	uint64_t rows = 0;
	for (int k = 0; k < plan->keyed_count; k++)
		rows += tide_counting_rows(meta, &plan->keyed[k]);
	return rows;
}
