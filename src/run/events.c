/* SPDX-License-Identifier: Apache-2.0 */
/* Event time of a run. */
#include "run/events.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "run/epoch.h"

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for event time");
}

/* What the last run knew of it. */
static int take_over(struct tide_watermark *mark, int64_t *used_us,
                     const struct tide_event_mark *stored, struct tide_error *err)
{
	mark->at_us = stored->next_us;
	*used_us = stored->used_us;
	for (int i = 0; i < stored->part_count; i++) {
		struct tide_watermark_part *part = tide_watermark_part(mark, stored->parts[i].topic,
		                                                       stored->parts[i].partition);
		if (part == NULL)
			return fail_memory(err);
		part->max_us = stored->parts[i].max_us;
		part->idle = stored->parts[i].idle;
	}
	return TIDE_OK;
}

/* A watermark that the checkpoint does not know yet: what another one, which it
 * does know, has observed for it. */
static int take_from(struct tide_watermark *mark, const struct tide_watermark *of,
                     struct tide_error *err)
{
	for (int i = 0; i < of->count; i++) {
		struct tide_watermark_part *part =
			tide_watermark_part(mark, of->parts[i].topic, of->parts[i].partition);
		if (part == NULL)
			return fail_memory(err);
		part->max_us = of->parts[i].max_us;
		part->idle = of->parts[i].idle;
	}
	mark->at_us = tide_watermark_next(mark);
	return TIDE_OK;
}

int tide_events_init(struct tide_events *events, const struct tide_plan *plan, bool bounded,
                     const struct tide_meta *meta, struct tide_error *err)
{
	size_t marks = (size_t)plan->mark_count + 1, keyed = (size_t)plan->keyed_count + 1;
	*events = (struct tide_events){ .plan = plan, .bounded = bounded };
	events->marks = calloc(marks, sizeof *events->marks);
	events->used_us = calloc(marks, sizeof *events->used_us);
	events->limits_us = calloc(marks, sizeof *events->limits_us);
	events->first_us = calloc(keyed, sizeof *events->first_us);
	if (events->marks == NULL || events->used_us == NULL || events->limits_us == NULL ||
	    events->first_us == NULL)
		return fail_memory(err);
	int rc = TIDE_OK;
	for (int m = 0; rc == TIDE_OK && m < plan->mark_count; m++) {
		const struct tide_plan_mark *given = &plan->marks[m];
		events->marks[m] = (struct tide_watermark){
			.delay_us = given->delay_us,
			.per_partition = given->per_partition,
			.idle_us = given->idle_us,
			.at_us = INT64_MIN,
		};
		events->used_us[m] = INT64_MIN;
		bool known = false;
		for (int i = 0; rc == TIDE_OK && !known && i < meta->mark_count; i++) {
			known = strcmp(meta->marks[i].name, given->name) == 0;
			if (known)
				rc = take_over(&events->marks[m], &events->used_us[m],
				               &meta->marks[i], err);
		}
		if (rc == TIDE_OK && !known && given->of != m)
			rc = take_from(&events->marks[m], &events->marks[given->of], err);
	}
	for (int k = 0; k < plan->keyed_count; k++)
		events->first_us[k] = INT64_MAX;
	return rc;
}

void tide_events_fini(struct tide_events *events)
{
	for (int m = 0; events->marks != NULL && m < events->plan->mark_count; m++)
		tide_watermark_fini(&events->marks[m]);
	free(events->marks);
	free(events->used_us);
	free(events->limits_us);
	free(events->first_us);
	*events = (struct tide_events){ 0 };
}

/* Do the records of that share come to the watermark? */
static bool sees(const struct tide_plan_mark *mark, const struct tide_share *share)
{
	return (mark->inputs >> share->input & 1) != 0;
}

int tide_events_adopt(struct tide_events *events, struct tide_share **shares, int count,
                      struct tide_error *err)
{
	for (int m = 0; m < events->plan->mark_count; m++)
		for (int i = 0; i < count; i++) {
			const struct tide_source_part *part = shares[i]->part;
			if (sees(&events->plan->marks[m], shares[i]) &&
			    tide_watermark_part(&events->marks[m], part->topic, part->partition) ==
			            NULL)
				return fail_memory(err);
		}
	return TIDE_OK;
}

/* NULL: the share is of another stream. */
static struct tide_watermark_part *part_of(const struct tide_events *events, int m,
                                           const struct tide_share *share)
{
	if (!sees(&events->plan->marks[m], share))
		return NULL;
	struct tide_watermark_part *part =
		tide_watermark_part(&events->marks[m], share->part->topic, share->part->partition);
	assert(part != NULL); /* It was adopted. */
	return part;
}

void tide_events_look(struct tide_events *events, struct tide_share **shares, int count,
                      int64_t now_us)
{
	for (int m = 0; m < events->plan->mark_count; m++)
		for (int i = 0; i < count; i++) {
			struct tide_watermark_part *part = part_of(events, m, shares[i]);
			bool caught_up = shares[i]->part->next >= shares[i]->part->end;
			if (part != NULL)
				tide_watermark_look(&events->marks[m], part, caught_up, now_us);
		}
}

bool tide_events_due(const struct tide_events *events)
{
	const struct tide_plan *plan = events->plan;
	for (int k = 0; k < plan->keyed_count; k++) {
		const struct tide_plan_keyed *keyed = &plan->keyed[k];
		if (!tide_plan_closes(keyed) && !tide_plan_dedups(keyed))
			continue;
		int64_t next_us = tide_watermark_next(&events->marks[keyed->mark]);
		if (events->first_us[k] <= next_us && events->used_us[keyed->mark] < next_us)
			return true;
	}
	return false;
}

void tide_events_begin(struct tide_events *events, int64_t now_us)
{
	for (int m = 0; m < events->plan->mark_count; m++) {
		int64_t ahead_us = events->plan->marks[m].ahead_us;
		events->used_us[m] = events->marks[m].at_us;
		events->limits_us[m] = events->bounded || ahead_us > INT64_MAX - now_us
		                               ? INT64_MAX
		                               : now_us + ahead_us;
	}
}

void tide_events_end(struct tide_events *events, struct tide_share **shares, int count)
{
	for (int m = 0; m < events->plan->mark_count; m++) {
		for (int i = 0; i < count; i++) {
			struct tide_watermark_part *part = part_of(events, m, shares[i]);
			if (part == NULL)
				continue;
			if (shares[i]->part->next > shares[i]->from)
				tide_watermark_observe(part, shares[i]->max_us[m],
				                       shares[i]->part->next - shares[i]->from);
			tide_watermark_left(part, shares[i]->part->next < shares[i]->part->end);
		}
		events->marks[m].at_us = tide_watermark_next(&events->marks[m]);
	}
	for (int i = 0; i < count; i++)
		for (int m = 0; m < events->plan->mark_count; m++)
			shares[i]->max_us[m] = INT64_MIN;
}

void tide_events_flush(struct tide_events *events)
{
	static const int64_t last_us = 253370764800000000; /* the year 9999 begins */
	for (int m = 0; m < events->plan->mark_count; m++)
		for (int i = 0; i < events->marks[m].count; i++)
			tide_watermark_observe(&events->marks[m].parts[i], last_us, 0);
}

static int drop(const struct tide_state_op op, int64_t to_us, struct tide_writes *writes,
                struct tide_error *err)
{
	struct tide_buf to = { 0 };
	tide_state_end(&to, op, to_us + 1);
	bool ok = !to.failed && tide_writes_drop(writes, (struct tide_slice){ to.p, to.len });
	tide_buf_fini(&to);
	return ok ? TIDE_OK : fail_memory(err);
}

int tide_events_closed(struct tide_events *events, struct tide_crew *crew, int workers,
                       const struct tide_state_op *ops, struct tide_writes *writes,
                       struct tide_error *err)
{
	const struct tide_plan *plan = events->plan;
	int rc = TIDE_OK;
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++) {
		bool closed = false;
		events->first_us[k] = INT64_MAX;
		for (int w = 0; w < workers; w++) {
			const struct tide_shards *shards = tide_crew_worker(crew, w)->shards;
			int64_t first_us = tide_shards_first_end(shards, k);
			closed = closed || tide_shards_closed(shards, k);
			if (first_us < events->first_us[k])
				events->first_us[k] = first_us;
		}
		if (!closed || writes == NULL)
			continue;
		rc = drop(ops[k], events->used_us[plan->keyed[k].mark], writes, err);
	}
	return rc;
}

/* Both have them in the same order, unless somebody has come between. */
static struct tide_event_part *stored_part(struct tide_event_mark *stored, int i,
                                           const struct tide_watermark_part *part)
{
	if (i < stored->part_count && stored->parts[i].partition == part->partition &&
	    strcmp(stored->parts[i].topic, part->topic) == 0)
		return &stored->parts[i];
	return tide_meta_mark_part(stored, part->topic, part->partition);
}

static int note_mark(const struct tide_events *events, int m, uint64_t ahead,
                     struct tide_meta *meta, struct tide_error *err)
{
	const struct tide_watermark *mark = &events->marks[m];
	struct tide_event_mark *stored = tide_meta_mark(meta, events->plan->marks[m].name);
	if (stored == NULL)
		return fail_memory(err);
	stored->used_us = events->used_us[m];
	stored->next_us = mark->at_us;
	stored->ahead += ahead;
	for (int i = 0; i < mark->count; i++) {
		struct tide_event_part *part = stored_part(stored, i, &mark->parts[i]);
		if (part == NULL)
			return fail_memory(err);
		part->max_us = mark->parts[i].max_us;
		part->idle = mark->parts[i].idle;
	}
	/* One that another observes for is only later. */
	if (m == 0 || (events->plan->marks[m].of == m && mark->at_us < meta->watermark_us))
		meta->watermark_us = mark->at_us;
	return TIDE_OK;
}

/* The ledger has records of which operators have dropped rows; those that a step
 * for late rows shows are dropped, or used, elsewhere. */
static int note_lates(const struct tide_worker *worker, struct tide_meta *meta,
                      struct tide_error *err)
{
	const struct tide_plan *plan = worker->work->plan;
	meta->rows_late += worker->late_records.count;
	for (int k = 0; k < plan->keyed_count; k++) {
		struct tide_timed *timed = worker->timed[k];
		struct tide_late_count *stored =
			timed == NULL ? NULL : tide_meta_late(meta, plan->keyed[k].name);
		if (timed == NULL)
			continue;
		if (stored == NULL)
			return fail_memory(err);
		tide_late_note(stored, &timed->counts, &timed->keys);
	}
	for (int l = 0; l < plan->late_count; l++) {
		struct tide_sieve *sieve = worker->sieves[l];
		if (plan->lates[l].name[0] == '\0')
			continue;
		struct tide_late_count *stored = tide_meta_late(meta, plan->lates[l].name);
		if (stored == NULL)
			return fail_memory(err);
		tide_late_note(stored, &sieve->counts, &sieve->keys);
	}
	return TIDE_OK;
}

int tide_events_note(const struct tide_events *events, struct tide_crew *crew, int workers,
                     struct tide_meta *meta, struct tide_error *err)
{
	const struct tide_plan *plan = events->plan;
	int rc = TIDE_OK;
	for (int m = 0; rc == TIDE_OK && m < plan->mark_count; m++) {
		uint64_t ahead = 0;
		for (int w = 0; w < workers; w++)
			ahead += (uint64_t)tide_crew_worker(crew, w)->marks[m].ahead;
		rc = note_mark(events, m, ahead, meta, err);
	}
	for (int w = 0; rc == TIDE_OK && w < workers; w++)
		rc = note_lates(tide_crew_worker(crew, w), meta, err);
	return rc;
}

/* ---- catching up ---- */

/* Those whose event time says how far they are. */
static bool tells(const struct tide_watermark_part *part, int64_t backlog)
{
	return part != NULL && backlog > 0 && part->max_us != INT64_MIN && !part->stuck;
}

/* The others take their part of the epoch as if there were no event times. */
static void level_mark(const struct tide_events *events, int m, struct tide_share **shares,
                       int count, int64_t limit, const int64_t *backlog, struct tide_pace *paces,
                       int64_t *allowed)
{
	__int128 all = 0, theirs = 0;
	int n = 0;
	for (int i = 0; i < count; i++) {
		const struct tide_watermark_part *part = part_of(events, m, shares[i]);
		all += backlog[i];
		if (!tells(part, backlog[i]))
			continue;
		paces[n++] = (struct tide_pace){ .at_us = part->max_us,
			                         .gained_us = part->gained_us,
			                         .gained_records = part->gained_records,
			                         .backlog = backlog[i] };
		theirs += backlog[i];
	}
	int64_t part_of_limit = all > 0 ? (int64_t)(limit * theirs / all) : 0;
	tide_epoch_level(paces, n, part_of_limit > 0 ? part_of_limit : 1,
	                 events->marks[m].delay_us / 4);
	n = 0;
	for (int i = 0; i < count; i++) {
		int64_t may = tells(part_of(events, m, shares[i]), backlog[i])
		                      ? paces[n++].allowed
		                      : (int64_t)(limit * (__int128)backlog[i] / (all + 1)) + 1;
		if (may < allowed[i])
			allowed[i] = may;
	}
}

void tide_events_level(const struct tide_events *events, struct tide_share **shares, int count,
                       int64_t limit, int64_t *backlog)
{
	int64_t *allowed = malloc(((size_t)count + 1) * sizeof *allowed), left = 0;
	struct tide_pace *paces = malloc(((size_t)count + 1) * sizeof *paces);
	if (allowed != NULL)
		memcpy(allowed, backlog, (size_t)count * sizeof *allowed);
	for (int m = 0; allowed != NULL && paces != NULL && m < events->plan->mark_count; m++)
		level_mark(events, m, shares, count, limit, backlog, paces, allowed);
	for (int i = 0; allowed != NULL && i < count; i++)
		left += allowed[i];
	/* Two watermarks may hold one another's partitions back. */
	if (left > 0)
		memcpy(backlog, allowed, (size_t)count * sizeof *allowed);
	free(allowed);
	free(paces);
}
