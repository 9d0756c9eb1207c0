/* SPDX-License-Identifier: Apache-2.0 */
/* One epoch in figures. */
#include "run/progress.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "run/counting.h"
#include "run/timed.h"

void tide_progress_fini(struct tide_progress *progress)
{
	free(progress->ops);
	free(progress->marks);
	free(progress->sinks);
	free(progress->lates);
	*progress = (struct tide_progress){ 0 };
}

/* The sum over all owners. */
static void take_op(struct tide_progress_op *op, int keyed, struct tide_crew *crew, int workers)
{
	for (int w = 0; w < workers; w++) {
		const struct tide_worker *worker = tide_crew_worker(crew, w);
		struct tide_shards_figures figures = tide_shards_figures(worker->shards, keyed);
		op->updated += figures.updated;
		op->bytes += figures.bytes;
		if (worker->timed[keyed] != NULL) {
			op->late += worker->timed[keyed]->counts.late;
			op->untimed += worker->timed[keyed]->counts.untimed;
		}
	}
}

static void take_mark(struct tide_progress_mark *mark, int m, struct tide_crew *crew, int workers)
{
	mark->max_us = INT64_MIN;
	mark->min_us = INT64_MAX;
	for (int w = 0; w < workers; w++) {
		const struct tide_worker *worker = tide_crew_worker(crew, w);
		const struct tide_mark *seen = &worker->marks[worker->work->plan->marks[m].of];
		if (seen->most_us > mark->max_us)
			mark->max_us = seen->most_us;
		if (seen->min_us < mark->min_us)
			mark->min_us = seen->min_us;
		mark->count += (uint64_t)seen->count;
		mark->sum_us += seen->sum_us;
		mark->ahead += (uint64_t)worker->marks[m].ahead;
	}
}

bool tide_progress_take(struct tide_progress *progress, const struct tide_work *work,
                        struct tide_crew *crew, const struct tide_meta *meta)
{
	const struct tide_plan *plan = work->plan;
	int workers = work->settings->workers;
	progress->ops = calloc((size_t)plan->keyed_count + 1, sizeof *progress->ops);
	progress->marks = calloc((size_t)plan->mark_count + 1, sizeof *progress->marks);
	progress->sinks = calloc((size_t)plan->output_count + 1, sizeof *progress->sinks);
	if (progress->ops == NULL || progress->marks == NULL || progress->sinks == NULL)
		return false;
	progress->op_count = plan->keyed_count;
	progress->mark_count = plan->mark_count;
	progress->sink_count = plan->output_count;
	for (int k = 0; k < plan->keyed_count; k++) {
		progress->ops[k].name = plan->keyed[k].name;
		progress->ops[k].rows = tide_counting_rows(meta, &plan->keyed[k]);
		take_op(&progress->ops[k], k, crew, workers);
	}
	for (int m = 0; m < plan->mark_count; m++) {
		progress->marks[m].name = plan->marks[m].name;
		progress->marks[m].of = plan->marks[m].of;
		progress->marks[m].used_us = work->watermarks_us[m];
		take_mark(&progress->marks[m], m, crew, workers);
	}
	for (int o = 0; o < plan->output_count; o++)
		progress->sinks[o] = (struct tide_progress_sink){ plan->outputs[o].sink,
			                                          plan->outputs[o].name, 0 };
	return true;
}

static bool take_late(struct tide_progress *progress, const char *name, int64_t delay_us,
                      struct tide_meta *meta)
{
	const struct tide_late_count *known = tide_meta_late(meta, name);
	if (known == NULL)
		return false;
	progress->lates[progress->late_count++] = (struct tide_progress_late){
		.name = name,
		.seen = known->seen,
		.late = known->late,
		.untimed = known->untimed,
		.beyond = known->beyond,
		.keys = tide_late_keys_count(known),
		.most_us = known->most_us,
		.delay_us = delay_us,
	};
	return true;
}

bool tide_progress_lates(struct tide_progress *progress, const struct tide_plan *plan,
                         struct tide_meta *meta)
{
	size_t most = (size_t)(plan->keyed_count + plan->late_count) + 1;
	progress->lates = calloc(most, sizeof *progress->lates);
	bool ok = progress->lates != NULL;
	for (int k = 0; ok && k < plan->keyed_count; k++)
		if (plan->keyed[k].mark >= 0)
			ok = take_late(progress, plan->keyed[k].name,
			               plan->marks[plan->keyed[k].mark].delay_us, meta);
	for (int l = 0; ok && l < plan->late_count; l++)
		if (plan->lates[l].name[0] != '\0')
			ok = take_late(progress, plan->lates[l].name,
			               plan->marks[plan->lates[l].mark].delay_us, meta);
	return ok;
}

/* --- as JSON --------------------------------------------------------------------- */

static void put_text(struct tide_buf *out, const char *text)
{
	tide_buf_json(out, text, strlen(text));
}

static void put_time(struct tide_buf *out, const char *name, int64_t us)
{
	char when[32];
	tide_clock_format_ms(us / 1000, when, sizeof when);
	bool first = out->len > 0 && out->p[out->len - 1] == '{';
	tide_buf_printf(out, "%s\"%s\":\"%s\"", first ? "" : ",", name, when);
}

/* Over all watermarks, and then each by itself where there are more. */
static struct tide_progress_mark all_marks(const struct tide_progress *progress)
{
	struct tide_progress_mark all = { .max_us = INT64_MIN, .min_us = INT64_MAX };
	all.used_us = progress->mark_count > 0 ? INT64_MAX : INT64_MIN;
	for (int m = 0; m < progress->mark_count; m++) {
		const struct tide_progress_mark *mark = &progress->marks[m];
		if (mark->of != m)
			continue;
		if (mark->used_us < all.used_us)
			all.used_us = mark->used_us;
		if (mark->max_us > all.max_us)
			all.max_us = mark->max_us;
		if (mark->min_us < all.min_us)
			all.min_us = mark->min_us;
		all.count += mark->count;
		all.sum_us += mark->sum_us;
	}
	return all;
}

static void put_mark(struct tide_buf *out, const struct tide_progress_mark *mark)
{
	if (mark->max_us != INT64_MIN)
		put_time(out, "max", mark->max_us);
	if (mark->count > 0) {
		put_time(out, "min", mark->min_us);
		put_time(out, "avg", (int64_t)(mark->sum_us / (double)mark->count));
	}
	if (mark->used_us != INT64_MIN)
		put_time(out, "watermark", mark->used_us);
}

static void put_event_time(const struct tide_progress *progress, struct tide_buf *out)
{
	struct tide_progress_mark all = all_marks(progress);
	tide_buf_printf(out, "\"eventTime\":{");
	put_mark(out, &all);
	tide_buf_printf(out, "},\"watermarks\":[");
	for (int m = 0; m < progress->mark_count; m++) {
		const struct tide_progress_mark *mark = &progress->marks[m];
		tide_buf_printf(out, "%s{\"name\":", m > 0 ? "," : "");
		put_text(out, mark->name);
		put_mark(out, mark);
		tide_buf_printf(out, ",\"numRowsAhead\":%llu}", (unsigned long long)mark->ahead);
	}
	tide_buf_printf(out, "]");
}

static void put_sink(const struct tide_progress_sink *sink, struct tide_buf *out)
{
	tide_buf_printf(out, "{\"description\":");
	put_text(out, sink->kind);
	tide_buf_printf(out, ",\"name\":");
	put_text(out, sink->name);
	tide_buf_printf(out, ",\"numOutputRows\":%llu}", (unsigned long long)sink->rows);
}

/* Of the rows that were late, the furthest: against the watermark that judged it,
 * and against the event time that this watermark came from. */
static void put_late(const struct tide_progress_late *late, bool more, struct tide_buf *out)
{
	double seen = late->seen > 0 ? (double)late->seen : 1;
	tide_buf_printf(out, "%s{\"name\":", more ? "," : "");
	put_text(out, late->name);
	tide_buf_printf(out,
	                ",\"numRows\":%llu,\"numRowsLate\":%llu,\"lateRatio\":%.6g,"
	                "\"maxLatenessMs\":%.15g,\"maxBehindNewestMs\":%.15g,"
	                "\"affectedKeys\":%llu,\"numRowsBeyond\":%llu,"
	                "\"numRowsWithoutEventTime\":%llu}",
	                (unsigned long long)late->seen, (unsigned long long)late->late,
	                (double)late->late / seen, (double)late->most_us / 1e3,
	                late->late > 0 ? (double)(late->most_us + late->delay_us) / 1e3 : 0,
	                (unsigned long long)late->keys, (unsigned long long)late->beyond,
	                (unsigned long long)late->untimed);
}

void tide_progress_write(const struct tide_progress *progress, struct tide_buf *out)
{
	put_event_time(progress, out);
	tide_buf_printf(out, ",\"stateOperators\":[");
	for (int k = 0; k < progress->op_count; k++) {
		const struct tide_progress_op *op = &progress->ops[k];
		tide_buf_printf(out, "%s{\"operatorName\":", k > 0 ? "," : "");
		put_text(out, op->name);
		tide_buf_printf(out,
		                ",\"numRowsTotal\":%llu,\"numRowsUpdated\":%llu,"
		                "\"memoryUsedBytes\":%llu,\"numRowsDroppedByWatermark\":%llu,"
		                "\"numRowsWithoutEventTime\":%llu}",
		                (unsigned long long)op->rows, (unsigned long long)op->updated,
		                (unsigned long long)op->bytes, (unsigned long long)op->late,
		                (unsigned long long)op->untimed);
	}
	tide_buf_printf(out, "],\"late\":[");
	for (int l = 0; l < progress->late_count; l++)
		put_late(&progress->lates[l], l > 0, out);
	tide_buf_printf(out, "],\"sink\":");
	if (progress->sink_count > 0)
		put_sink(&progress->sinks[0], out);
	else
		tide_buf_printf(out, "null");
	tide_buf_printf(out, ",\"sinks\":[");
	for (int o = 0; o < progress->sink_count; o++) {
		tide_buf_printf(out, o > 0 ? "," : "");
		put_sink(&progress->sinks[o], out);
	}
	tide_buf_printf(out, "]");
}
