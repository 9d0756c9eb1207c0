/* SPDX-License-Identifier: Apache-2.0 */
/* What a diagnosis goes by. */
#include "run/facts.h"

#include <stdlib.h>
#include <string.h>

struct tide_tally {
	const struct tide_plan *plan;
	struct tide_facts facts;
	/* Per step of the plan, filter or not, over the run; and when rows last came out. */
	uint64_t *taken, *taken_before;
	struct tide_fact_filter *filters; /* per step, as far as they are some */
	struct tide_fact_mark *marks;
	struct tide_fact_keyed *keyed;
};

/* --- counting -------------------------------------------------------------------- */

static void begin(struct tide_tally *tally)
{
	struct tide_facts *facts = &tally->facts;
	facts->read = facts->filtered = facts->failed = facts->malformed = 0;
	for (int m = 0; m < tally->plan->mark_count; m++) {
		tally->marks[m].count = tally->marks[m].ahead = 0;
		tally->marks[m].min_us = INT64_MAX;
		tally->marks[m].max_us = INT64_MIN;
	}
	for (int k = 0; k < tally->plan->keyed_count; k++) {
		struct tide_fact_keyed *keyed = &tally->keyed[k];
		keyed->late = keyed->untimed = keyed->repeats = 0;
		keyed->most_late_us = 0;
	}
	memcpy(tally->taken_before, tally->taken,
	       (size_t)tally->plan->step_count * sizeof *tally->taken);
}

struct tide_tally *tide_tally_new(const struct tide_plan *plan, const struct tide_meta *meta)
{
	struct tide_tally *tally = calloc(1, sizeof *tally);
	if (tally == NULL)
		return NULL;
	size_t steps = (size_t)plan->step_count + 1;
	tally->plan = plan;
	tally->taken = calloc(steps, sizeof *tally->taken);
	tally->taken_before = calloc(steps, sizeof *tally->taken_before);
	tally->filters = calloc(steps, sizeof *tally->filters);
	tally->marks = calloc((size_t)plan->mark_count + 1, sizeof *tally->marks);
	tally->keyed = calloc((size_t)plan->keyed_count + 1, sizeof *tally->keyed);
	if (tally->taken == NULL || tally->taken_before == NULL || tally->filters == NULL ||
	    tally->marks == NULL || tally->keyed == NULL) {
		tide_tally_free(tally);
		return NULL;
	}
	tally->facts.job = plan->job;
	tally->facts.epoch = meta->epoch;
	tally->facts.resumed = meta->epoch >= 0;
	begin(tally);
	return tally;
}

void tide_tally_free(struct tide_tally *tally)
{
	if (tally == NULL)
		return;
	free(tally->taken);
	free(tally->taken_before);
	free(tally->filters);
	free(tally->marks);
	free(tally->keyed);
	free(tally);
}

/* Dead letters and late rows are not what a job is run for. In complete mode the
 * states are the rows. */
static bool came_out(const struct tide_tally *tally, const struct tide_progress *progress,
                     struct tide_rows *const *rows)
{
	for (int o = 0; o < tally->plan->output_count; o++) {
		const struct tide_plan_output *output = &tally->plan->outputs[o];
		const char *mode = tide_option_get(&output->options, "mode");
		bool whole = output->keyed >= 0 && mode != NULL && strcmp(mode, "complete") == 0;
		if ((output->inputs == 0 && output->keyed < 0) ||
		    tide_option_get(&output->options, "late") != NULL)
			continue;
		if (whole ? progress->ops[output->keyed].updated > 0
		          : rows[o] != NULL && tide_rows_count(rows[o]) > 0)
			return true;
	}
	return false;
}

static void add_worker(struct tide_tally *tally, const struct tide_worker *worker)
{
	struct tide_facts *facts = &tally->facts;
	facts->read += worker->totals.rows_in;
	facts->filtered += worker->totals.rows_filtered;
	facts->failed += worker->totals.rows_failed;
	facts->malformed += worker->totals.rows_malformed;
	for (int s = 0; s < tally->plan->step_count; s++)
		tally->taken[s] += tide_vm_filtered(worker->vm, s);
	for (int k = 0; k < tally->plan->keyed_count; k++) {
		tally->keyed[k].repeats += worker->repeats[k];
		if (worker->timed[k] != NULL &&
		    worker->timed[k]->counts.most_us > tally->keyed[k].most_late_us)
			tally->keyed[k].most_late_us = worker->timed[k]->counts.most_us;
	}
}

void tide_tally_add(struct tide_tally *tally, const struct tide_meta *meta,
                    const struct tide_progress *progress, struct tide_crew *crew, int workers,
                    struct tide_rows *const *rows)
{
	if (tally->facts.came_out)
		begin(tally);
	tally->facts.epoch = meta->epoch;
	tally->facts.came_out = came_out(tally, progress, rows);
	memset(tally->taken, 0, (size_t)tally->plan->step_count * sizeof *tally->taken);
	for (int w = 0; w < workers; w++)
		add_worker(tally, tide_crew_worker(crew, w));
	tally->facts.ever_read = tally->facts.ever_read || tally->facts.read > 0;
	for (int m = 0; m < progress->mark_count; m++) {
		struct tide_fact_mark *mark = &tally->marks[m];
		const struct tide_progress_mark *seen = &progress->marks[m];
		mark->count += seen->count;
		mark->ahead += seen->ahead;
		if (seen->min_us < mark->min_us)
			mark->min_us = seen->min_us;
		if (seen->max_us > mark->max_us)
			mark->max_us = seen->max_us;
	}
	for (int k = 0; k < progress->op_count; k++) {
		tally->keyed[k].late += progress->ops[k].late;
		tally->keyed[k].untimed += progress->ops[k].untimed;
	}
}

/* --- looking --------------------------------------------------------------------- */

static bool puts_out_closed(const struct tide_plan *plan, int keyed)
{
	for (int o = 0; o < plan->output_count; o++) {
		const char *mode = tide_option_get(&plan->outputs[o].options, "mode");
		if (plan->outputs[o].keyed == keyed && mode != NULL && strcmp(mode, "append") == 0)
			return tide_plan_closes(&plan->keyed[keyed]);
	}
	return false;
}

static void look_at_marks(struct tide_tally *tally, const struct tide_events *events)
{
	const struct tide_plan *plan = tally->plan;
	for (int m = 0; m < plan->mark_count; m++) {
		struct tide_fact_mark *mark = &tally->marks[m];
		const struct tide_watermark *at = &events->marks[m];
		mark->name = plan->marks[m].name;
		mark->at_us = tide_watermark_next(at);
		mark->delay_us = at->delay_us;
		mark->idle_us = at->idle_us;
		mark->ahead_us = plan->marks[m].ahead_us;
		mark->per_partition = at->per_partition;
		mark->parts = at->parts;
		mark->part_count = at->count;
	}
	for (int k = 0; k < plan->keyed_count; k++) {
		struct tide_fact_keyed *keyed = &tally->keyed[k];
		keyed->name = plan->keyed[k].name;
		keyed->mark = plan->keyed[k].mark;
		keyed->next_end_us = puts_out_closed(plan, k) ? events->first_us[k] : INT64_MAX;
	}
}

static void look_at_filters(struct tide_tally *tally)
{
	struct tide_facts *facts = &tally->facts;
	facts->filter_count = 0;
	for (int s = 0; s < tally->plan->step_count; s++) {
		const struct tide_plan_step *step = &tally->plan->steps[s];
		if (strcmp(step->kind, "filter") == 0)
			tally->filters[facts->filter_count++] = (struct tide_fact_filter){
				step->text, step->line, tally->taken[s] - tally->taken_before[s]
			};
	}
}

const struct tide_facts *tide_tally_facts(struct tide_tally *tally, const struct tide_look *look)
{
	struct tide_facts *facts = &tally->facts;
	const struct tide_plan *plan = tally->plan;
	const struct tide_partitions *partitions = look->partitions;
	const char *topic = look->topic;
	if (topic == NULL && plan->input_count > 0)
		topic = tide_option_get(&plan->inputs[0].options, "topics");
	facts->topic = topic != NULL ? topic : "";
	facts->partitions = partitions->count;
	facts->present = 0;
	for (int i = 0; i < partitions->count; i++)
		facts->present +=
			partitions->shares[i]->part->end - partitions->shares[i]->part->start;
	facts->now_us = look->now_us;
	facts->idle = look->idle;
	facts->trigger = look->trigger;
	facts->trigger_ms = look->trigger_ms;
	facts->trigger_left_ms = look->trigger_left_ms;
	look_at_marks(tally, look->events);
	look_at_filters(tally);
	facts->retentions = look->keeping->facts;
	facts->retention_count = look->keeping->fact_count;
	facts->filters = tally->filters;
	facts->marks = tally->marks;
	facts->keyed = tally->keyed;
	facts->mark_count = plan->mark_count;
	facts->keyed_count = plan->keyed_count;
	return facts;
}
