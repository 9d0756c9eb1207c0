/* SPDX-License-Identifier: Apache-2.0 */
/* Takes from the workers, while they rest, what an epoch has changed. */
#include "run/finished.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/clock.h"
#include "run/counting.h"

enum { TRIM_BYTES = 8 << 20 };

struct tide_finished *tide_finished_new(const struct tide_meta *before, int workers,
                                        int output_count)
{
	struct tide_finished *finished = calloc(1, sizeof *finished);
	if (finished == NULL)
		return NULL;
	finished->writes = calloc((size_t)workers + 1, sizeof(struct tide_writes *));
	finished->rows = calloc((size_t)output_count + 1, sizeof(struct tide_rows *));
	finished->output_count = output_count;
	if (finished->writes == NULL || finished->rows == NULL ||
	    !tide_meta_copy(&finished->meta, before)) {
		tide_finished_free(finished);
		return NULL;
	}
	return finished;
}

void tide_finished_free(struct tide_finished *finished)
{
	if (finished == NULL)
		return;
	size_t written = 0;
	for (int i = 0; finished->writes != NULL && i < finished->write_count; i++) {
		written += tide_writes_bytes(finished->writes[i]);
		tide_writes_free(finished->writes[i]);
	}
	for (int o = 0; finished->rows != NULL && o < finished->output_count; o++)
		tide_rows_free(finished->rows[o]);
	free(finished->writes);
	free(finished->rows);
	free(finished->parts);
	tide_progress_fini(&finished->progress);
	tide_buf_fini(&finished->diagnosis);
	tide_meta_fini(&finished->meta);
	free(finished);
	/* It was taken on other threads, whose arenas would keep most of it. */
	if (written > TRIM_BYTES)
		malloc_trim(0);
}

static bool move_rows(struct tide_rows **to, const struct tide_rows *from, uint32_t first,
                      uint32_t count, const struct tide_schema *schema)
{
	if (from == NULL || count == 0)
		return true;
	if (*to == NULL)
		*to = tide_rows_new(schema);
	return *to != NULL && tide_rows_extend_range(*to, from, first, count);
}

/* How far the rows of each worker have been taken. */
struct cursor {
	size_t segment;
	uint32_t row;
};

static int64_t first_end(struct tide_crew *crew, int workers, int output,
                         const struct cursor *cursors)
{
	int64_t least_us = INT64_MAX;
	for (int w = 0; w < workers; w++) {
		const struct tide_segments *segments =
			tide_shards_segments(tide_crew_worker(crew, w)->shards, output);
		size_t at = cursors[w].segment;
		if (at < segments->count && segments->items[at].end_us < least_us)
			least_us = segments->items[at].end_us;
	}
	return least_us;
}

/* Rows of windows that end first come first, whoever owns them. */
static bool merge_windows(struct tide_crew *crew, int workers, int output, struct tide_rows **to,
                          const struct tide_schema *schema)
{
	struct cursor *cursors = calloc((size_t)workers, sizeof *cursors);
	bool ok = cursors != NULL;
	int64_t end_us;
	while (ok && (end_us = first_end(crew, workers, output, cursors)) != INT64_MAX) {
		for (int w = 0; ok && w < workers; w++) {
			const struct tide_worker *worker = tide_crew_worker(crew, w);
			const struct tide_segments *segments =
				tide_shards_segments(worker->shards, output);
			struct cursor *at = &cursors[w];
			uint32_t from = at->row;
			while (at->segment < segments->count &&
			       segments->items[at->segment].end_us == end_us)
				at->row = segments->items[at->segment++].rows;
			ok = move_rows(to, worker->rows[output], from, at->row - from, schema);
		}
	}
	free(cursors);
	return ok;
}

/* Rows in an order that no worker count changes: rows that are not aggregated
 * by partition, windows by their end, results by shard. */
static int collect_rows(struct tide_finished *finished, const struct tide_gather *from,
                        struct tide_error *err)
{
	const struct tide_plan *plan = from->plan;
	bool ok = true;
	for (int o = 0; ok && o < plan->output_count; o++) {
		const struct tide_schema *schema = plan->outputs[o].row;
		for (int i = 0; ok && i < from->partitions->count; i++) {
			struct tide_rows *rows = from->partitions->shares[i]->rows[o];
			if (rows == NULL)
				continue;
			ok = move_rows(&finished->rows[o], rows, 0, tide_rows_count(rows), schema);
			tide_rows_clear(rows);
		}
		int keyed = plan->outputs[o].keyed;
		if (ok && keyed >= 0 && plan->keyed[keyed].size_us > 0) {
			ok = merge_windows(from->crew, finished->write_count, o, &finished->rows[o],
			                   schema);
			continue;
		}
		for (int w = 0; ok && w < finished->write_count; w++) {
			const struct tide_rows *rows = tide_crew_worker(from->crew, w)->rows[o];
			ok = move_rows(&finished->rows[o], rows, 0, tide_rows_count(rows), schema);
		}
	}
	return ok ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows");
}

/* What the board will say of the epoch, taken while the workers rest. */
static int note_epoch(struct tide_finished *finished, const struct tide_gather *from,
                      struct tide_error *err)
{
	const struct tide_partitions *partitions = from->partitions;
	struct tide_meta *meta = &finished->meta;
	struct tide_board_epoch *note = &finished->note;
	int count = partitions->count;
	finished->parts = calloc((size_t)count + 1, sizeof *finished->parts);
	if (finished->parts == NULL ||
	    !tide_progress_take(&finished->progress, from->work, from->crew, meta) ||
	    !tide_progress_lates(&finished->progress, from->plan, meta))
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for progress");
	for (int i = 0; i < count; i++) {
		const struct tide_share *share = partitions->shares[i];
		finished->parts[i] =
			(struct tide_board_part){ share->part->topic, share->part->partition,
			                          share->from,        share->part->next,
			                          share->part->end,   0 };
	}
	for (int w = 0; w < finished->write_count; w++) {
		const struct tide_worker *worker = tide_crew_worker(from->crew, w);
		int first, some;
		tide_crew_slice(count, finished->write_count, w, &first, &some);
		for (int i = first; i < first + some; i++)
			finished->parts[i].worker = w;
		for (int k = 0; k < from->plan->keyed_count; k++)
			note->grouped += tide_queue_total(worker->queues[k]);
	}
	for (int k = 0; k < finished->progress.op_count; k++) {
		note->state_rows += finished->progress.ops[k].rows;
		note->state_bytes += finished->progress.ops[k].bytes;
	}
	note->progress = &finished->progress;
	note->epoch = meta->epoch;
	note->job_hash = meta->job_hash;
	note->records = finished->records;
	note->started_us = from->work->now_us;
	note->run_us = from->ran_us - from->began_us;
	note->wait_us = from->waited_us - from->ran_us;
	note->fold_us = tide_clock_mono_us() - from->waited_us;
	note->rows_filtered = meta->rows_filtered;
	note->rows_failed = meta->rows_failed;
	note->rows_malformed = meta->rows_malformed;
	note->rows_lost = meta->rows_lost;
	note->rows_late = meta->rows_late;
	note->parts = finished->parts;
	note->part_count = count;
	return TIDE_OK;
}

int tide_finished_gather(struct tide_finished *finished, const struct tide_gather *from,
                         struct tide_error *err)
{
	struct tide_meta *meta = &finished->meta;
	for (int w = 0; w < from->work->settings->workers; w++) {
		struct tide_worker *worker = tide_crew_worker(from->crew, w);
		finished->writes[finished->write_count++] = worker->writes;
		finished->records += worker->totals.rows_in;
		meta->rows_in += worker->totals.rows_in;
		meta->rows_filtered += worker->totals.rows_filtered;
		meta->rows_failed += worker->totals.rows_failed;
		meta->rows_malformed += worker->totals.rows_malformed;
		worker->writes = tide_writes_new();
		if (worker->writes == NULL)
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for writes");
	}
	meta->epoch = from->work->epoch;
	meta->now_us = from->work->now_us;
	int rc = tide_partitions_note(from->partitions, meta, err);
	if (rc == TIDE_OK)
		rc = tide_events_note(from->events, from->crew, finished->write_count, meta, err);
	if (rc == TIDE_OK)
		rc = tide_events_closed(from->events, from->crew, finished->write_count,
		                        from->work->ops, finished->writes[0], err);
	tide_counting_note(from->work, from->crew, meta);
	if (rc == TIDE_OK)
		rc = collect_rows(finished, from, err);
	if (rc != TIDE_OK)
		return rc;
	for (int o = 0; o < finished->output_count; o++)
		if (finished->rows[o] != NULL)
			meta->rows_out += tide_rows_count(finished->rows[o]);
	rc = note_epoch(finished, from, err);
	if (rc == TIDE_OK)
		tide_tally_add(from->tally, meta, &finished->progress, from->crew,
		               finished->write_count, finished->rows);
	return rc;
}
