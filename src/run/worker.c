/* SPDX-License-Identifier: Apache-2.0 */
/* One worker: reads its share of the partitions, runs the job's loops over
 * them, and owns a run of shards. */
#include "run/worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "record/kept.h"
#include "run/held.h"
#include "run/letter.h"

enum {
	WAIT_MS = 2,        /* for the next record of one that is behind; another may come before */
	STALL_US = 5000000, /* an epoch that gets nowhere ends with what it has */
	LOOK_US = 10000,    /* between looks at partitions that are quiet */
	BAD_ROWS_LOGGED_MAX = 5 /* an epoch; the rest is counted */
};

static void show_failed(const struct tide_harness *harness, const struct tide_batch *batch,
                        uint32_t row, const char *reason, const char *place)
{
	char text[sizeof((struct tide_error *)0)->text];
	snprintf(text, sizeof text, "%.*s[%d]@%lld: %s%s%s", batch->topic_len, batch->topic,
	         batch->partition, (long long)batch->recs[row].offset_, place,
	         place[0] != '\0' ? ": " : "", reason);
	harness->failed(harness->arg, text);
}

static bool bad_row(void *arg, const struct tide_batch *batch, uint32_t row, const char *message,
                    const char *reason, const char *place)
{
	struct tide_worker *worker = arg;
	int letters = worker->work->letters;
	char shown[TIDE_EVIDENCE_MAX];
	(void)message;
	if (!worker->work->skip_bad_rows) {
		tide_evidence_record(&batch->recs[row], worker->failing);
		return false;
	}
	const struct tide_harness *harness = worker->work->settings->harness;
	if (harness != NULL && harness->failed != NULL)
		show_failed(harness, batch, row, reason, place);
	if (worker->bad_rows_logged++ < BAD_ROWS_LOGGED_MAX) {
		tide_evidence_record(&batch->recs[row], shown);
		tide_log(TIDE_WARN, "%.*s[%d]@%lld %s: %s%s%s%s%s", batch->topic_len, batch->topic,
		         batch->partition, (long long)batch->recs[row].offset_,
		         letters < 0 ? "skipped" : "set aside", place, place[0] != '\0' ? ": " : "",
		         reason, shown[0] != '\0' ? "; " : "", shown);
	}
	return letters < 0 || tide_letter_add(worker->rows[letters], batch, row, reason, place);
}

static bool set_aside(void *arg, const struct tide_batch *batch, uint32_t row, int32_t output,
                      const char *reason, const char *place)
{
	struct tide_worker *worker = arg;
	return tide_letter_add(worker->rows[output], batch, row, reason, place);
}

static struct tide_queue *queue_new(struct tide_table *delta, const struct tide_plan_keyed *keyed,
                                    const struct tide_keyspec *spec)
{
	bool is_text[TIDE_COLUMNS_MAX];
	for (int i = 0; i < keyed->arg_count; i++) {
		enum tide_type type = keyed->row->columns[keyed->args[i]].type;
		is_text[i] = type == TIDE_STRING || type == TIDE_BYTES;
	}
	return tide_queue_new(delta, spec, keyed->args, is_text, keyed->arg_count);
}

/* What looks at event time, once the queues are there. */
static bool worker_time(struct tide_worker *worker)
{
	const struct tide_plan *plan = worker->work->plan;
	worker->marks = calloc((size_t)plan->mark_count + 1, sizeof *worker->marks);
	worker->repeats = calloc((size_t)plan->keyed_count + 1, sizeof *worker->repeats);
	worker->timed = calloc((size_t)plan->keyed_count + 1, sizeof(struct tide_timed *));
	worker->sieves = calloc((size_t)plan->late_count + 1, sizeof(struct tide_sieve *));
	if (worker->marks == NULL || worker->timed == NULL || worker->sieves == NULL ||
	    worker->repeats == NULL)
		return false;
	for (int k = 0; k < plan->keyed_count; k++) {
		const struct tide_plan_keyed *keyed = &plan->keyed[k];
		if (keyed->mark < 0)
			continue;
		worker->timed[k] = malloc(sizeof *worker->timed[k]);
		if (worker->timed[k] == NULL)
			return false;
		tide_timed_init(worker->timed[k], keyed, worker->queues[k],
		                &worker->marks[keyed->mark], &worker->late_records);
	}
	for (int l = 0; l < plan->late_count; l++) {
		worker->sieves[l] = malloc(sizeof *worker->sieves[l]);
		if (worker->sieves[l] == NULL)
			return false;
		tide_sieve_init(worker->sieves[l], &plan->lates[l], worker->marks);
	}
	return true;
}

static int worker_tables(struct tide_worker *worker, struct tide_error *err)
{
	const struct tide_work *work = worker->work;
	const struct tide_plan *plan = work->plan;
	worker->deltas = calloc((size_t)plan->keyed_count + 1, sizeof *worker->deltas);
	worker->queues = calloc((size_t)plan->keyed_count + 1, sizeof *worker->queues);
	worker->rows =
		calloc((size_t)(plan->output_count + plan->keyed_count) + 1, sizeof *worker->rows);
	worker->ring = tide_ring_new();
	worker->writes = tide_writes_new();
	bool ok = worker->deltas != NULL && worker->queues != NULL && worker->rows != NULL &&
	          worker->ring != NULL && worker->writes != NULL;
	for (int k = 0; ok && k < plan->keyed_count; k++) {
		worker->deltas[k] =
			tide_table_new(&work->specs[k], (size_t)plan->keyed[k].state_size);
		worker->queues[k] =
			worker->deltas[k] == NULL
				? NULL
				: queue_new(worker->deltas[k], &plan->keyed[k], &work->specs[k]);
		ok = worker->queues[k] != NULL;
		if (ok)
			tide_queue_limit(worker->queues[k], (size_t)work->settings->script_bytes);
	}
	for (int o = 0; ok && o < plan->output_count; o++) {
		worker->rows[o] = tide_rows_new(plan->outputs[o].row);
		ok = worker->rows[o] != NULL;
		if (ok)
			tide_rows_limit(worker->rows[o], (size_t)work->settings->script_bytes);
	}
	for (int k = 0; ok && k < plan->keyed_count; k++) {
		if (!tide_plan_dedups(&plan->keyed[k]))
			continue;
		worker->rows[plan->output_count + k] = tide_rows_new(plan->keyed[k].row);
		ok = worker->rows[plan->output_count + k] != NULL;
	}
	ok = ok && worker_time(worker);
	return ok ? TIDE_OK
	          : tide_fail(err, TIDE_ERR_NOMEM, "no memory for worker %d", worker->index);
}

static int worker_vm(struct tide_worker *worker, struct tide_error *err)
{
	struct tide_work *work = worker->work;
	const struct tide_settings *settings = work->settings;
	struct tide_vm_options options = {
		.lua_dir = settings->lua_dir,
		.memory_max = (size_t)settings->script_bytes,
		.jit_off = settings->jit_off,
		.set = settings->set,
	};
	if (work->vms != NULL) {
		worker->vm = work->vms[worker->index];
		work->vms[worker->index] = NULL;
		return TIDE_OK;
	}
	int rc = tide_vm_new(&options, &worker->vm, err);
	return rc == TIDE_OK ? tide_vm_load(worker->vm, settings->job_path, NULL, err) : rc;
}

int tide_worker_init(struct tide_worker *worker, struct tide_work *work, int index,
                     struct tide_error *err)
{
	const struct tide_settings *settings = work->settings;
	bool forget = settings->harness != NULL && settings->harness->forget;
	*worker = (struct tide_worker){ .index = index, .work = work };
	int rc = worker_tables(worker, err);
	if (rc != TIDE_OK)
		return rc;
	rc = worker_vm(worker, err);
	if (rc != TIDE_OK)
		return rc;
	struct tide_shards_options shards = {
		.plan = work->plan,
		.specs = work->specs,
		.ops = work->ops,
		.index_ops = work->index_ops,
		.rocks = work->rocks,
		.meta = work->meta,
		.rows = worker->rows,
		.closed_us = work->closed_us,
		.index = index,
		.workers = settings->workers,
		.vm = worker->vm,
		.fresh = work->fresh,
		.adopt = settings->harness != NULL && settings->harness->adopt,
		/* With changes, what is written of them and RocksDB, all of it. */
		.memory_max =
			forget ? 0
			       : (size_t)settings->memory_bytes / 8 * 3 / (size_t)settings->workers,
	};
	return tide_shards_new(&shards, &worker->shards, err);
}

void tide_worker_fini(struct tide_worker *worker)
{
	const struct tide_plan *plan = worker->work->plan;
	tide_shards_free(worker->shards);
	tide_vm_free(worker->vm);
	for (int k = 0; worker->deltas != NULL && k < plan->keyed_count; k++)
		tide_table_free(worker->deltas[k]);
	for (int k = 0; worker->queues != NULL && k < plan->keyed_count; k++)
		tide_queue_free(worker->queues[k]);
	for (int k = 0; worker->timed != NULL && k < plan->keyed_count; k++)
		free(worker->timed[k]);
	for (int o = 0; worker->rows != NULL && o < plan->output_count + plan->keyed_count; o++)
		tide_rows_free(worker->rows[o]);
	for (int l = 0; worker->sieves != NULL && l < plan->late_count; l++)
		free(worker->sieves[l]);
	free(worker->sieves);
	free(worker->timed);
	free(worker->repeats);
	free(worker->marks);
	free(worker->deltas);
	free(worker->queues);
	free(worker->rows);
	free(worker->shares);
	tide_ring_free(worker->ring);
	tide_writes_free(worker->writes);
}

/* A batch is of one partition, and the watermark wants to know which. */
static void begin_events(struct tide_worker *worker, const struct tide_batch *batch)
{
	const struct tide_plan *plan = worker->work->plan;
	for (int m = 0; m < plan->mark_count; m++)
		worker->marks[m].max_us = INT64_MIN;
	for (int k = 0; k < plan->keyed_count; k++)
		if (worker->timed[k] != NULL)
			tide_timed_batch(worker->timed[k]);
	for (int l = 0; l < plan->late_count; l++)
		tide_sieve_batch(worker->sieves[l], batch);
}

static void end_events(struct tide_worker *worker, struct tide_share *share)
{
	const struct tide_plan *plan = worker->work->plan;
	for (int m = 0; m < plan->mark_count; m++) {
		struct tide_mark *mark = &worker->marks[m];
		int64_t max_us = worker->marks[plan->marks[m].of].max_us;
		if (max_us > share->max_us[m])
			share->max_us[m] = max_us;
		if (mark->max_us > mark->most_us)
			mark->most_us = mark->max_us;
	}
}

static void count_result(struct tide_worker *worker, const struct tide_run_result *result)
{
	worker->totals.rows_in += result->rows_in;
	worker->totals.rows_filtered += result->rows_filtered;
	worker->totals.rows_failed += result->rows_failed;
	worker->totals.rows_malformed += result->rows_malformed;
	atomic_fetch_add_explicit(&worker->work->records, result->rows_in, memory_order_relaxed);
}

/* The record that ended the batch, below what is said of it. */
static int blame(struct tide_worker *worker, int rc, struct tide_error *err)
{
	if (err != NULL)
		tide_evidence_add_record(worker->failing, err);
	worker->failing[0] = '\0';
	return rc;
}

/* Fetch one batch and run it. *moved: the partition got further. */
static int step(struct tide_worker *worker, struct tide_share *share, int timeout_ms, bool *moved,
                struct tide_error *err)
{
	struct tide_source_part *part = share->part;
	struct tide_batch *batch = tide_ring_next(worker->ring, part->topic, part->partition);
	if (batch == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a batch");
	int64_t before = part->next;
	int rc = share->source->ops->fetch(share->source, part, share->to, timeout_ms, batch, err);
	if (rc == TIDE_ERR_DATA_LOSS) {
		/* The epoch ends with what it has; the coordinator looks into it. */
		share->lost = true;
		atomic_store(&worker->work->cut, true);
		return TIDE_OK;
	}
	if (rc != TIDE_OK)
		return rc;
	*moved = *moved || part->next != before;
	if (batch->count == 0)
		return TIDE_OK;
	part->print = tide_fingerprint_of(&batch->recs[batch->count - 1]);
	struct tide_run_result result = { 0 };
	begin_events(worker, batch);
	rc = tide_vm_run(worker->vm, share->input, batch, &result, err);
	if (rc != TIDE_OK)
		return blame(worker, rc, err);
	end_events(worker, share);
	count_result(worker, &result);
	tide_held_measure(worker); /* Of the batches before: one at least is taken whole. */
	return tide_held_take(worker, share) ? TIDE_OK
	                                     : tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows");
}

static bool told_to_end(const struct tide_worker *worker)
{
	return atomic_load(&worker->work->cut) || atomic_load(worker->work->stop) != 0;
}

/* A step of a share, if it is still this worker's: *left says so, unless that has
 * ended it. `all`: also when it is quiet. */
static int step_mine(struct tide_worker *worker, struct tide_share *share, bool all, int timeout_ms,
                     bool *left, bool *moved, struct tide_error *err)
{
	int rc = TIDE_OK;
	*left = false;
	if (!tide_share_hold(share, worker->index))
		return TIDE_OK;
	if (!tide_share_done(share)) {
		if (all || !atomic_load_explicit(&share->part->quiet, memory_order_relaxed))
			rc = step(worker, share, timeout_ms, moved, err);
		*left = !tide_share_done(share);
		if (!*left)
			atomic_fetch_sub(&worker->work->left[worker->index], 1);
	}
	tide_share_let_go(share);
	return rc;
}

/* One batch from every share that is not done and, unless `all`, not quiet either;
 * one of those left is *behind. */
static int run_round(struct tide_worker *worker, bool all, struct tide_share **behind, bool *moved,
                     struct tide_error *err)
{
	*behind = NULL;
	for (int i = 0; i < worker->share_count && !told_to_end(worker); i++) {
		bool left;
		int rc = step_mine(worker, worker->shares[i], all, 0, &left, moved, err);
		if (rc != TIDE_OK)
			return rc;
		if (left)
			*behind = worker->shares[i];
	}
	return TIDE_OK;
}

static void list_share(struct tide_worker *worker, struct tide_share *share)
{
	for (int i = 0; i < worker->share_count; i++)
		if (worker->shares[i] == share)
			return; /* It was taken, and comes back. */
	worker->shares[worker->share_count++] = share;
}

/* A share of a worker that has another one to go on with; NULL: there is none. */
static struct tide_share *take_over(struct tide_worker *worker)
{
	struct tide_work *work = worker->work;
	int workers = work->settings->workers, me = worker->index;
	for (int w = 1; w < workers; w++) {
		int from = (me + w) % workers;
		for (int i = work->share_count - 1; i >= 0; i--) {
			struct tide_share *share = work->shares[i];
			if (atomic_load(&work->left[from]) < 2)
				break;
			if (!tide_share_take(share, from, me))
				continue;
			atomic_fetch_sub(&work->left[from], 1);
			atomic_fetch_add(&work->left[me], 1);
			list_share(worker, share);
			return share;
		}
	}
	return NULL;
}

/* Every share is this worker's own again, with nothing in it. */
static void begin_shares(struct tide_worker *worker)
{
	int left = 0;
	worker->share_count = worker->own_count;
	for (int i = 0; i < worker->share_count; i++) {
		struct tide_share *share = worker->shares[i];
		tide_share_give(share, worker->index);
		for (int k = 0; k < worker->work->plan->keyed_count; k++)
			if (share->claims[k] != NULL)
				tide_claims_clear(share->claims[k]);
		left += !tide_share_done(share);
	}
	/* From here on others may take some. */
	atomic_store(&worker->work->left[worker->index], left);
}

static int run_shares(struct tide_worker *worker, struct tide_error *err)
{
	struct tide_share *behind = NULL;
	int64_t now = tide_clock_mono_us(), moved_us = now, looked_us = now - LOOK_US;
	do {
		bool moved = false, left, all = now - looked_us >= LOOK_US;
		int rc = run_round(worker, all, &behind, &moved, err);
		if (rc == TIDE_OK && behind != NULL && !moved && !told_to_end(worker))
			rc = step_mine(worker, behind, true, WAIT_MS, &left, &moved, err);
		if (rc != TIDE_OK)
			return rc;
		if (all)
			looked_us = now;
		now = tide_clock_mono_us();
		if (moved)
			moved_us = now;
		else if (now - moved_us > STALL_US)
			atomic_store(&worker->work->cut, true);
		if (behind == NULL && !told_to_end(worker))
			behind = take_over(worker);
	} while (behind != NULL && !told_to_end(worker));
	return TIDE_OK;
}

/* Late rows are counted by the epoch. */
static void begin_lates(struct tide_worker *worker)
{
	worker->late_records.count = 0;
	for (int k = 0; k < worker->work->plan->keyed_count; k++)
		if (worker->timed[k] != NULL) {
			worker->timed[k]->counts = (struct tide_lates){ 0 };
			tide_late_keys_clear(&worker->timed[k]->keys);
		}
	for (int l = 0; l < worker->work->plan->late_count; l++) {
		worker->sieves[l]->counts = (struct tide_lates){ 0 };
		tide_late_keys_clear(&worker->sieves[l]->keys);
	}
}

static int bind(struct tide_worker *worker, struct tide_error *err)
{
	static const struct tide_state_ops state_ops = {
		.push = tide_queue_push,
		.drop = tide_queue_drop,
		.forget = tide_queue_forget,
		.resolve = tide_queue_resolve,
		.push_timed = tide_timed_push,
		.claim = tide_timed_claim,
		.drop_timed = tide_timed_drop,
		.sift = tide_sieve_sift,
		.drop_sift = tide_sieve_drop,
	};
	struct tide_vm_bind bind = {
		.state_ops = &state_ops,
		.queues = worker->queues,
		.timed = worker->timed,
		.sieves = worker->sieves,
		.marks = worker->marks,
		.rows = worker->rows,
		.ring = worker->ring,
		.bad_row = bad_row,
		.set_aside = set_aside,
		.arg = worker,
		.now_us = worker->work->now_us,
		.epoch = worker->work->epoch,
	};
	for (int m = 0; m < worker->work->plan->mark_count; m++)
		worker->marks[m] = (struct tide_mark){
			.untimed = 1,
			.max_us = INT64_MIN,
			.most_us = INT64_MIN,
			.min_us = INT64_MAX,
			.limit_us = worker->work->limits_us[m],
			.watermark_us = worker->work->watermarks_us[m],
		};
	begin_lates(worker);
	return tide_vm_bind(worker->vm, &bind, err);
}

/* What is behind so many dedups is complete. */
static int send_deltas(struct tide_worker *worker, int level, struct tide_error *err)
{
	const struct tide_work *work = worker->work;
	int rc = TIDE_OK;
	for (int k = 0; rc == TIDE_OK && k < work->plan->keyed_count; k++)
		if (work->plan->keyed[k].level == level)
			rc = tide_exchange_send(work->exchange, k, worker->index, worker->deltas[k],
			                        err);
	return rc;
}

static void say_how_often(const struct tide_worker *worker)
{
	if (worker->bad_rows_logged > BAD_ROWS_LOGGED_MAX)
		tide_log(TIDE_WARN, "%llu records of %llu failed, the first %d of them are above",
		         (unsigned long long)worker->bad_rows_logged,
		         (unsigned long long)worker->totals.rows_in, BAD_ROWS_LOGGED_MAX);
}

int tide_worker_run(struct tide_worker *worker, struct tide_error *err)
{
	struct tide_work *work = worker->work;
	worker->totals = (struct tide_run_result){ 0 };
	worker->bad_rows_logged = 0;
	worker->held_rows = worker->held_claims = 0;
	worker->failing[0] = '\0';
	for (int k = 0; k < work->plan->keyed_count; k++) {
		tide_table_clear(worker->deltas[k]);
		worker->repeats[k] = 0;
	}
	for (int o = 0; o < work->plan->output_count + work->plan->keyed_count; o++)
		if (worker->rows[o] != NULL)
			tide_rows_clear(worker->rows[o]);
	/* Whichever VM it is by now. */
	int rc = work->settings->sampler != NULL
	                 ? tide_vm_sample(worker->vm, work->settings->sampler, worker->index, err)
	                 : TIDE_OK;
	if (rc == TIDE_OK)
		rc = bind(worker, err);
	begin_shares(worker);
	if (rc == TIDE_OK)
		rc = run_shares(worker, err);
	atomic_store(&work->left[worker->index], 0);
	say_how_often(worker);
	return rc == TIDE_OK ? send_deltas(worker, 0, err) : rc;
}

struct tide_vm *tide_worker_vm(struct tide_worker *worker, struct tide_vm *vm)
{
	struct tide_vm *before = worker->vm;
	worker->vm = vm;
	tide_shards_vm(worker->shards, vm);
	return before;
}

int tide_worker_levels(const struct tide_plan *plan)
{
	int levels = 1;
	for (int k = 0; k < plan->keyed_count; k++) {
		int behind = plan->keyed[k].level + (tide_plan_dedups(&plan->keyed[k]) ? 2 : 1);
		if (behind > levels)
			levels = behind;
	}
	return levels;
}

static int fold_deltas(struct tide_worker *worker, int keyed, struct tide_error *err)
{
	struct tide_work *work = worker->work;
	int rc = TIDE_OK;
	for (int from = 0; rc == TIDE_OK && from < work->settings->workers; from++) {
		size_t count;
		struct tide_table *delta;
		struct tide_entry **entries = tide_exchange_receive(work->exchange, keyed, from,
		                                                    worker->index, &delta, &count);
		rc = tide_shards_merge(worker->shards, keyed, delta, entries, count, err);
	}
	return rc;
}

static int join_deltas(struct tide_worker *worker, int keyed, struct tide_error *err)
{
	struct tide_work *work = worker->work;
	struct tide_parcels parcels = { .count = work->settings->workers };
	for (int from = 0; from < parcels.count; from++) {
		struct tide_parcel *parcel = &parcels.items[from];
		parcel->entries = tide_exchange_receive(work->exchange, keyed, from, worker->index,
		                                        &parcel->delta, &parcel->count);
	}
	return tide_shards_join(worker->shards, keyed, &parcels, worker->writes, err);
}

static int answer_claims(struct tide_worker *worker, int keyed, struct tide_error *err)
{
	struct tide_work *work = worker->work;
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && i < work->share_count; i++)
		if (work->shares[i]->claims[keyed] != NULL)
			rc = tide_shards_claim(worker->shards, keyed,
			                       work->shares[i]->claims[keyed], err);
	return rc;
}

static int fold_keyed(struct tide_worker *worker, int k, struct tide_error *err)
{
	const struct tide_plan_keyed *keyed = &worker->work->plan->keyed[k];
	if (tide_plan_dedups(keyed))
		return answer_claims(worker, k, err);
	return keyed->session ? join_deltas(worker, k, err) : fold_deltas(worker, k, err);
}

int tide_worker_fold(struct tide_worker *worker, struct tide_error *err)
{
	struct tide_work *work = worker->work;
	const struct tide_plan *plan = work->plan;
	int rc = TIDE_OK;
	if (work->level == 0)
		rc = tide_shards_evict(worker->shards, worker->deltas, err);
	if (rc == TIDE_OK && work->level == 0)
		rc = tide_shards_close(worker->shards, work->epoch, work->watermarks_us,
		                       work->append_outputs, err);
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++) {
		if (plan->keyed[k].level != work->level)
			continue;
		rc = fold_keyed(worker, k, err);
	}
	if (rc != TIDE_OK || work->level + 1 < tide_worker_levels(plan))
		return rc;
	rc = tide_shards_end_sessions(worker->shards, work->append_outputs, worker->writes, err);
	if (rc == TIDE_OK)
		rc = tide_shards_finish(worker->shards, work->update_outputs,
		                        work->complete_outputs, worker->writes, err);
	return rc;
}

/* The record a row came from: its offset, and all of it where letters want it. */
static bool add_record(const struct tide_worker *worker, struct tide_batch *batch,
                       const struct tide_rows *rows, uint32_t row)
{
	int last = tide_rows_schema(rows)->count - 1;
	int64_t offset = tide_rows_cell(rows, row, last).i;
	struct tide_cell cells[TIDE_KEPT_CELLS];
	struct tide_slice none = { 0 };
	if (worker->work->letters < 0)
		return tide_batch_add(batch, none, none, offset, -1) != NULL;
	for (int i = 0; i < TIDE_KEPT_CELLS; i++)
		cells[i] = tide_rows_cell(rows, row, last - 1 - TIDE_KEPT_CELLS + i);
	return tide_kept_add(batch, cells, offset);
}

/* As many rows as a batch has records, each with the record it came from. How
 * many of them is *count then. */
static int resume_some(struct tide_worker *worker, struct tide_share *share, int keyed,
                       const uint32_t *passed, size_t *count, struct tide_error *err)
{
	const struct tide_rows *rows = tide_claims_rows(share->claims[keyed]);
	struct tide_run_result result = { 0 };
	struct tide_batch *batch =
		tide_ring_next(worker->ring, share->part->topic, share->part->partition);
	bool ok = batch != NULL;
	size_t some = 0;
	for (; ok && some < *count && !tide_batch_full(batch); some++)
		ok = add_record(worker, batch, rows, passed[some]);
	*count = some;
	if (!ok)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a batch");
	begin_events(worker, batch);
	int rc = tide_vm_resume(worker->vm, worker->work->plan->input_count + keyed, batch, rows,
	                        passed, &result, err);
	if (rc != TIDE_OK)
		return blame(worker, rc, err);
	result.rows_in = 0; /* They have been counted. */
	count_result(worker, &result);
	return tide_held_take(worker, share) ? TIDE_OK
	                                     : tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows");
}

static int resume_share(struct tide_worker *worker, struct tide_share *share, int keyed,
                        struct tide_error *err)
{
	const uint32_t *passed;
	size_t count;
	int rc = TIDE_OK;
	if (share->claims[keyed] == NULL)
		return TIDE_OK;
	if (!tide_claims_passed(share->claims[keyed], &passed, &count))
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows");
	worker->repeats[keyed] += tide_rows_count(tide_claims_rows(share->claims[keyed])) - count;
	for (size_t at = 0, some; rc == TIDE_OK && at < count; at += some) {
		some = count - at;
		rc = resume_some(worker, share, keyed, passed + at, &some, err);
	}
	return rc;
}

int tide_worker_resume(struct tide_worker *worker, struct tide_error *err)
{
	const struct tide_work *work = worker->work;
	int rc = TIDE_OK;
	for (int k = 0; k < work->plan->keyed_count; k++) {
		const struct tide_plan_keyed *keyed = &work->plan->keyed[k];
		if (!tide_plan_dedups(keyed) || keyed->level != work->level)
			continue;
		for (int i = 0; rc == TIDE_OK && i < worker->share_count; i++)
			if (tide_share_is_of(worker->shares[i], worker->index))
				rc = resume_share(worker, worker->shares[i], k, err);
	}
	return rc == TIDE_OK ? send_deltas(worker, work->level + 1, err) : rc;
}
