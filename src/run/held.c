/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker holds of an epoch until it is decided, and when that is enough. */
#include "run/held.h"

#include "run/worker.h"

enum {
	/* What is on its way out soon, windows and rows that may be repeats, is collected
	 * in pieces, since all of it is written and forgotten once, whatever they are. Of
	 * windows a piece is there four times, with their owners, as what closes next and as
	 * what is written, too; smaller ones of rows that may be repeats leave more files to
	 * compact. */
	WINDOWS_PIECE = 6 << 20,
	CLAIMS_PIECE = 14 << 20,
	/* Rows for sinks are but passed on: the smaller the piece, the less is held. */
	ROWS_PIECE = 4 << 20
};

/* Rows that are not aggregated go to their partition, so that the order in the
 * outbox does not depend on which worker read what when. Those of windows that
 * have closed are their owner's, and stay while rows behind a dedup run on. */
static bool keep_rows(struct tide_worker *worker, struct tide_share *share)
{
	const struct tide_plan *plan = worker->work->plan;
	for (int o = 0; o < plan->output_count; o++) {
		if (plan->outputs[o].keyed >= 0 || tide_rows_count(worker->rows[o]) == 0)
			continue;
		if (share->rows[o] == NULL)
			share->rows[o] = tide_rows_new(plan->outputs[o].row);
		if (share->rows[o] == NULL || !tide_rows_extend(share->rows[o], worker->rows[o]))
			return false;
		worker->held_rows += tide_rows_bytes(worker->rows[o]);
		tide_rows_clear(worker->rows[o]);
	}
	return true;
}

/* Rows that wait for a dedup stay with their partition, too. */
static bool keep_claims(struct tide_worker *worker, struct tide_share *share)
{
	const struct tide_work *work = worker->work;
	const struct tide_plan *plan = work->plan;
	for (int k = 0; k < plan->keyed_count; k++) {
		struct tide_rows *rows = worker->rows[plan->output_count + k];
		if (rows == NULL || tide_rows_count(rows) == 0)
			continue;
		if (share->claims[k] == NULL)
			share->claims[k] = tide_claims_new(plan->keyed[k].row, &work->specs[k],
			                                   work->settings->workers);
		if (share->claims[k] == NULL)
			return false;
		size_t before = tide_claims_bytes(share->claims[k]);
		if (!tide_claims_add(share->claims[k], rows))
			return false;
		worker->held_claims += tide_claims_bytes(share->claims[k]) - before;
		tide_rows_clear(rows);
	}
	return true;
}

bool tide_held_take(struct tide_worker *worker, struct tide_share *share)
{
	return keep_rows(worker, share) && keep_claims(worker, share);
}

void tide_held_measure(struct tide_worker *worker)
{
	struct tide_work *work = worker->work;
	const struct tide_plan *plan = work->plan;
	size_t mine = (size_t)work->settings->memory_bytes / (size_t)work->settings->workers;
	size_t kept = 0, passing = 0;
	for (int k = 0; k < plan->keyed_count; k++)
		*(tide_plan_closes(&plan->keyed[k]) ? &passing : &kept) +=
			tide_table_bytes(worker->deltas[k]);
	/* Changes stay until the decision, and what is written of them while the next are
	 * collected takes as much again. Rows that wait are whole rows, and a sixteenth is
	 * enough for them. */
	const size_t of[][2] = { { kept + passing, mine / 8 },
		                 { worker->held_rows + worker->held_claims, mine / 16 },
		                 { passing, WINDOWS_PIECE },
		                 { worker->held_claims, CLAIMS_PIECE },
		                 { worker->held_rows, ROWS_PIECE } };
	size_t filled = 0;
	for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
		size_t part = of[i][0] * 1000 / (of[i][1] + 1);
		filled = part > filled ? part : filled;
	}
	const struct tide_harness *harness = work->settings->harness;
	if (filled > 1000 && (harness == NULL || !harness->whole))
		atomic_store(&work->cut, true);
	/* Of two workers, either's may be lost: both are near it, and it is but a guess. */
	if ((int)filled > atomic_load_explicit(&work->filled, memory_order_relaxed))
		atomic_store_explicit(&work->filled, (int)filled, memory_order_relaxed);
}
