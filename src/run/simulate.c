/* SPDX-License-Identifier: Apache-2.0 */
/* Simulation: trials, and the least input on which one fails. */
#include "run/simulate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "job/vm.h"
#include "run/simulate_inside.h"

enum { TRIES_MAX = 150, SHOWN_MAX = 12, TEXT_MAX = 160 };

/* What a trial is about. */
enum property { P1, P2, P3 };

/* Two lives that must have something in common. */
struct pair {
	enum property property;
	struct tide_sim_arrangement a, b;
};

struct simulation {
	const struct tide_simulation_options *options;
	struct tide_vm *vm;
	struct tide_plan *plan;
	struct tide_sim_input input;
	bool repeatable; /* the job asks neither for the time nor for random numbers */
	int done[3];     /* pairs that were compared, by property */
	int passed_over; /* as rows were late */
};

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory to simulate");
}

static bool stopped(const struct simulation *simulation)
{
	return simulation->options->stop != NULL && atomic_load(simulation->options->stop) != 0;
}

/* ---- what must hold ---- */

static void say_failure(const struct tide_sim_outcome *a, const struct tide_sim_outcome *b,
                        struct tide_buf *out)
{
	const struct tide_sim_outcome *failed = a->rc != TIDE_OK ? a : b;
	tide_buf_printf(out, "one of the two fails: %s\n", failed->why.text);
}

static int check_counts(const struct simulation *simulation, const struct pair *pair,
                        const struct tide_sim_outcome *a, const struct tide_sim_outcome *b,
                        bool *holds, struct tide_buf *out, struct tide_error *err)
{
	int rc = TIDE_OK;
	if (a->rows_in != b->rows_in || a->rows_filtered != b->rows_filtered) {
		*holds = false;
		tide_buf_printf(
			out, "%llu records were read and %llu filtered, or %llu and %llu\n",
			(unsigned long long)a->rows_in, (unsigned long long)a->rows_filtered,
			(unsigned long long)b->rows_in, (unsigned long long)b->rows_filtered);
	}
	if (pair->property == P3 && a->rows_late > b->rows_late) {
		*holds = false;
		tide_buf_printf(out, "%llu rows are late in %d epochs, but %llu in %d of them\n",
		                (unsigned long long)a->rows_late, tide_sim_epochs(&pair->a),
		                (unsigned long long)b->rows_late, tide_sim_epochs(&pair->b));
	}
	if (*holds && pair->property == P3)
		rc = tide_sim_once(simulation->plan, b, holds, out, err);
	return rc;
}

/* Runs both, and says in `out` what they do not have in common. */
static int check(struct simulation *simulation, const struct pair *pair, bool *holds,
                 struct tide_buf *out, struct tide_error *err)
{
	struct tide_sim_outcome a = { 0 }, b = { 0 };
	*holds = true;
	int rc = tide_sim_run(&simulation->input, &pair->a, &a, err);
	if (rc == TIDE_OK)
		rc = tide_sim_run(&simulation->input, &pair->b, &b, err);
	if (rc == TIDE_OK && (a.rc == TIDE_OK) != (b.rc == TIDE_OK)) {
		*holds = false;
		say_failure(&a, &b, out);
	} else if (rc == TIDE_OK && a.rc != TIDE_OK) {
		rc = tide_fail(err, a.rc,
		               "the job fails on this input, so nothing can be said of it (--input "
		               "FILE takes another): %s",
		               a.why.text);
	} else if (rc == TIDE_OK && pair->property == P2 && (a.rows_late > 0 || b.rows_late > 0)) {
		simulation->passed_over++;
	} else if (rc == TIDE_OK) {
		rc = check_counts(simulation, pair, &a, &b, holds, out, err);
		if (rc == TIDE_OK && *holds && pair->property == P1)
			rc = tide_sim_same_steps(simulation->plan, &a, &b, holds, out, err);
		if (rc == TIDE_OK && *holds && pair->property == P2)
			rc = tide_sim_same_result(simulation->plan, &a, &b, holds, out, err);
	}
	tide_sim_outcome_fini(&a);
	tide_sim_outcome_fini(&b);
	return rc;
}

/* ---- arrangements ---- */

/* Would any of these be late if each were an epoch of its own? */
static bool in_time(const struct simulation *simulation, const int *records, int count, bool *late)
{
	const struct tide_plan *plan = simulation->plan;
	bool all = true;
	for (int i = 0; i < count; i++)
		late[i] = false;
	for (int m = 0; m < plan->mark_count; m++) {
		int64_t most_us = INT64_MIN;
		for (int i = 0; i < count; i++) {
			int64_t at_us = simulation->input.records[records[i]].times_us[m];
			if (late[i] || at_us == INT64_MIN)
				continue;
			if (most_us != INT64_MIN && at_us < most_us - plan->marks[m].delay_us)
				late[i] = true;
			else if (at_us > most_us)
				most_us = at_us;
			all = all && !late[i];
		}
	}
	return all;
}

/* All records, or those that are in time, as they came. */
static bool as_it_came(const struct simulation *simulation, bool only_in_time,
                       struct tide_sim_arrangement *out)
{
	int count = simulation->input.count;
	bool *late = calloc((size_t)count + 1, sizeof *late);
	*out = (struct tide_sim_arrangement){ .workers = 1 };
	out->records = calloc((size_t)count + 1, sizeof *out->records);
	out->epochs = calloc((size_t)count + 1, 1);
	bool ok = late != NULL && out->records != NULL && out->epochs != NULL;
	for (int i = 0; ok && i < count; i++)
		out->records[i] = i;
	if (ok && only_in_time)
		in_time(simulation, out->records, count, late);
	for (int i = 0; ok && i < count; i++)
		if (!late[i])
			out->records[out->count++] = i;
	free(late);
	return ok;
}

struct place {
	int record;
	int64_t at;
};

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int order = (x->at > y->at) - (x->at < y->at);
	return order != 0 ? order : (x->record > y->record) - (x->record < y->record);
}

/* Between partitions there is no order to begin with: each keeps its own. */
static void mix_partitions(const struct simulation *simulation, struct tide_sim_random *random,
                           struct tide_sim_arrangement *arrangement, struct place *places)
{
	int64_t *at = calloc((size_t)simulation->input.part_count + 1, sizeof *at);
	for (int i = 0; i < arrangement->count; i++) {
		int part = simulation->input.records[arrangement->records[i]].part;
		places[i].record = arrangement->records[i];
		places[i].at = i;
		if (at != NULL)
			places[i].at = at[part] += 1 + tide_sim_below(random, 1000);
	}
	free(at);
}

/* Who is behind by less than the delay may be: an event time, put off by a part of
 * the delay. Equal ones are put off alike, so that none overtakes another. */
static void mix_times(const struct simulation *simulation, uint64_t salt,
                      struct tide_sim_arrangement *arrangement, struct place *places)
{
	int64_t last = INT64_MIN, delay_us = simulation->plan->marks[0].delay_us;
	for (int i = 0; i < arrangement->count; i++) {
		int64_t at_us = simulation->input.records[arrangement->records[i]].times_us[0];
		struct tide_sim_random of_time = { (uint64_t)at_us ^ salt };
		if (at_us != INT64_MIN)
			last = at_us +
			       (int64_t)(tide_sim_next(&of_time) % (uint64_t)(delay_us + 1));
		places[i] = (struct place){ arrangement->records[i], last };
	}
}

static bool shuffle(const struct simulation *simulation, struct tide_sim_random *random,
                    struct tide_sim_arrangement *arrangement)
{
	size_t count = (size_t)arrangement->count;
	struct place *places = calloc(count + 1, sizeof *places);
	int *records = calloc(count + 1, sizeof *records);
	bool *late = calloc(count + 1, sizeof *late);
	bool ok = places != NULL && records != NULL && late != NULL;
	if (ok && simulation->plan->mark_count == 1)
		mix_times(simulation, tide_sim_next(random), arrangement, places);
	else if (ok)
		mix_partitions(simulation, random, arrangement, places);
	if (ok)
		qsort(places, count, sizeof *places, by_place);
	for (size_t i = 0; ok && i < count; i++)
		records[i] = places[i].record;
	if (ok && in_time(simulation, records, arrangement->count, late))
		memcpy(arrangement->records, records, count * sizeof *records);
	free(places);
	free(records);
	free(late);
	return ok;
}

static void cut(struct tide_sim_random *random, struct tide_sim_arrangement *arrangement)
{
	int most =
		arrangement->count < TIDE_SIM_EPOCHS_MAX ? arrangement->count : TIDE_SIM_EPOCHS_MAX;
	uint32_t epochs = 2 + tide_sim_below(random, (uint32_t)most);
	uint8_t epoch = 0;
	for (int i = 1; i < arrangement->count; i++) {
		if (epoch + 1 < most &&
		    tide_sim_below(random, (uint32_t)arrangement->count) < epochs)
			epoch++;
		arrangement->epochs[i] = epoch;
	}
}

/* Each epoch in two, as far as they may be that many. */
static void cut_finer(struct tide_sim_random *random, struct tide_sim_arrangement *arrangement)
{
	uint8_t old = 0, epoch = 0;
	for (int i = 1; i < arrangement->count; i++) {
		bool begins = arrangement->epochs[i] != old;
		int left = TIDE_SIM_EPOCHS_MAX - epoch -
		           (arrangement->epochs[arrangement->count - 1] - arrangement->epochs[i]);
		old = arrangement->epochs[i];
		if (begins || (left > 1 && tide_sim_chance(random, 20)))
			epoch++;
		arrangement->epochs[i] = epoch;
	}
}

static int any_workers(struct tide_sim_random *random)
{
	static const int workers[] = { 1, 2, 4 };
	return workers[tide_sim_below(random, 3)];
}

static void crash(struct tide_sim_random *random, struct tide_sim_arrangement *arrangement)
{
	for (int e = 0; e < TIDE_SIM_EPOCHS_MAX; e++)
		arrangement->crash[e] =
			(uint8_t)(tide_sim_chance(random, 30) ? any_workers(random) : 0);
}

/* ---- the least that fails ---- */

static void keep(struct tide_sim_arrangement *arrangement, const bool *kept)
{
	int count = 0, epochs = -1, old = -1;
	for (int i = 0; i < arrangement->count; i++) {
		if (!kept[arrangement->records[i]])
			continue;
		if (arrangement->epochs[i] != old) {
			old = arrangement->epochs[i];
			epochs++;
			arrangement->crash[epochs] = arrangement->crash[old];
		}
		arrangement->records[count] = arrangement->records[i];
		arrangement->epochs[count++] = (uint8_t)epochs;
	}
	arrangement->count = count;
}

static void pair_fini(struct pair *pair)
{
	tide_sim_arrangement_fini(&pair->a);
	tide_sim_arrangement_fini(&pair->b);
}

static bool pair_copy(struct pair *to, const struct pair *from)
{
	*to = (struct pair){ .property = from->property };
	if (tide_sim_arrangement_copy(&to->a, &from->a) &&
	    tide_sim_arrangement_copy(&to->b, &from->b))
		return true;
	pair_fini(to);
	return false;
}

/* Does it fail with these alone? Then that is what is left. */
static int try_less(struct simulation *simulation, struct pair *pair, struct pair *less,
                    bool *fails, struct tide_error *err)
{
	struct tide_buf text = { 0 };
	struct tide_error why;
	bool holds = true;
	int rc = less->a.count > 0 ? check(simulation, less, &holds, &text, &why) : TIDE_OK;
	*fails = rc == TIDE_OK && !holds;
	tide_buf_fini(&text);
	if (*fails) {
		pair_fini(pair);
		*pair = *less;
	} else {
		pair_fini(less);
	}
	if (rc == TIDE_ERR_NOMEM || rc == TIDE_ERR_IO)
		return tide_fail(err, rc, "%s", why.text);
	return TIDE_OK;
}

static int drop_records(struct simulation *simulation, struct pair *pair, int from, int count,
                        bool *fails, struct tide_error *err)
{
	bool *kept = calloc((size_t)simulation->input.count + 1, sizeof *kept);
	struct pair less;
	if (kept == NULL || !pair_copy(&less, pair)) {
		free(kept);
		return fail_memory(err);
	}
	for (int i = 0; i < pair->a.count; i++)
		kept[pair->a.records[i]] = i < from || i >= from + count;
	keep(&less.a, kept);
	keep(&less.b, kept);
	free(kept);
	return try_less(simulation, pair, &less, fails, err);
}

/* The second life with one thing less: how it keeps its first states, then half of
 * its workers, twice, and its crashes. False: there is no such thing. */
static bool make_simpler(struct tide_sim_arrangement *life, int what)
{
	switch (what) {
	case 0: life->adopt = !life->adopt; return !life->adopt;
	case 1:
	case 2: life->workers /= 2; return life->workers > 0;
	default:
		if (life->crash[what - 3] == 0)
			return false;
		life->crash[what - 3] = 0;
		return true;
	}
}

static int simplify(struct simulation *simulation, struct pair *pair, int *tries,
                    struct tide_error *err)
{
	int rc = TIDE_OK;
	for (int what = 0; rc == TIDE_OK && what < TIDE_SIM_EPOCHS_MAX + 3 && *tries < TRIES_MAX;
	     what++) {
		struct pair less;
		bool fails;
		if (!pair_copy(&less, pair))
			return fail_memory(err);
		if (!make_simpler(&less.b, what)) {
			pair_fini(&less);
			continue;
		}
		++*tries;
		rc = try_less(simulation, pair, &less, &fails, err);
	}
	return rc;
}

/* Halves, quarters, and so on, as long as it still fails. */
static int shrink(struct simulation *simulation, struct pair *pair, struct tide_error *err)
{
	int tries = 0, rc = TIDE_OK;
	for (int size = (pair->a.count + 1) / 2; rc == TIDE_OK && size > 0; size /= 2) {
		for (int from = 0; rc == TIDE_OK && from < pair->a.count && tries < TRIES_MAX;) {
			bool fails = false;
			if (stopped(simulation))
				return TIDE_OK;
			tries++;
			rc = drop_records(simulation, pair, from, size, &fails, err);
			from += fails ? 0 : size;
		}
	}
	return rc == TIDE_OK ? simplify(simulation, pair, &tries, err) : rc;
}

/* ---- words ---- */

static void put_text(struct tide_buf *out, struct tide_slice text)
{
	if (text.p == NULL) {
		tide_buf_printf(out, "null");
		return;
	}
	tide_buf_json(out, text.p, text.len < TEXT_MAX ? text.len : TEXT_MAX);
	if (text.len > TEXT_MAX)
		tide_buf_printf(out, "…");
}

static void write_life(const struct simulation *simulation, const char *which,
                       const struct tide_sim_arrangement *life, struct tide_buf *out)
{
	tide_buf_printf(out, "%s: %d record%s in %d epoch%s, %d worker%s", which, life->count,
	                life->count == 1 ? "" : "s", tide_sim_epochs(life),
	                tide_sim_epochs(life) == 1 ? "" : "s", life->workers,
	                life->workers == 1 ? "" : "s");
	for (int e = 0; e < tide_sim_epochs(life) - 1; e++)
		if (life->crash[e] > 0)
			tide_buf_printf(out, ", a crash behind epoch %d (then %d)", e,
			                life->crash[e]);
	if (life->adopt)
		tide_buf_printf(out, ", a key's first state not merged into an empty one");
	tide_buf_printf(out, "\n");
	for (int i = 0; i < life->count && i < SHOWN_MAX; i++) {
		const struct tide_sim_record *record = &simulation->input.records[life->records[i]];
		const struct tide_recorded_part *part = &simulation->input.parts[record->part];
		struct tide_recorded rec = tide_sim_record_of(&simulation->input, life->records[i]);
		tide_buf_printf(out, "  epoch %d  %s[%d]  key ", life->epochs[i], part->topic,
		                part->partition);
		put_text(out, rec.key);
		tide_buf_printf(out, "  value ");
		put_text(out, rec.value);
		tide_buf_printf(out, "\n");
	}
	if (life->count > SHOWN_MAX)
		tide_buf_printf(out, "  and %d more\n", life->count - SHOWN_MAX);
}

static const char *what_of(enum property property)
{
	static const char *const texts[] = {
		"P1: the rows of an epoch depend on the number of workers, or on a crash",
		"P2: rows depend on how records were cut into epochs, or on their order",
		"P3: rows that are late, or counts of records, depend on how finely records were cut"
	};
	return texts[property];
}

static int write_report(struct simulation *simulation, const struct pair *pair, uint64_t seed,
                        struct tide_buf *out, struct tide_error *err)
{
	const struct tide_simulation_options *options = simulation->options;
	struct tide_buf text = { 0 };
	bool holds;
	int rc = check(simulation, pair, &holds, &text, err);
	tide_buf_printf(out, "%s breaks %s\n", options->name, what_of(pair->property));
	write_life(simulation, "first life ", &pair->a, out);
	write_life(simulation, "second life", &pair->b, out);
	tide_buf_put(out, text.p, text.len);
	tide_buf_printf(out, "again: tidemark test %s --simulate 1 --seed %llu", options->name,
	                (unsigned long long)seed);
	if (options->input_path != NULL)
		tide_buf_printf(out, " --input %s", options->input_path);
	tide_buf_printf(out, "\n");
	tide_buf_fini(&text);
	return rc;
}

/* ---- trials ---- */

static int make_pair(struct simulation *simulation, struct tide_sim_random *random,
                     enum property property, struct pair *out, struct tide_error *err)
{
	*out = (struct pair){ .property = property };
	if (!as_it_came(simulation, property == P2, &out->a))
		return fail_memory(err);
	if (property == P1 && tide_sim_chance(random, 50) && !shuffle(simulation, random, &out->a))
		return fail_memory(err);
	if (property != P2) /* There the first life is one epoch of all. */
		cut(random, &out->a);
	if (!tide_sim_arrangement_copy(&out->b, &out->a))
		return fail_memory(err);
	if (property == P2) {
		if (tide_sim_chance(random, 75) && !shuffle(simulation, random, &out->b))
			return fail_memory(err);
		cut(random, &out->b);
	}
	if (property == P3)
		cut_finer(random, &out->b);
	out->b.workers = any_workers(random);
	if (property == P1 && out->b.workers == 1)
		out->b.workers = 2;
	crash(random, &out->b);
	out->b.adopt = property == P1 && tide_sim_chance(random, 50);
	return TIDE_OK;
}

static int try_property(struct simulation *simulation, struct tide_sim_random *random,
                        enum property property, uint64_t seed, struct tide_buf *report,
                        struct tide_error *err)
{
	struct pair pair;
	struct tide_buf text = { 0 };
	bool holds = true;
	int rc = make_pair(simulation, random, property, &pair, err);
	if (rc == TIDE_OK)
		rc = check(simulation, &pair, &holds, &text, err);
	simulation->done[property]++;
	if (rc == TIDE_OK && !holds) {
		rc = shrink(simulation, &pair, err);
		if (rc == TIDE_OK)
			rc = write_report(simulation, &pair, seed, report, err);
		if (rc == TIDE_OK)
			rc = tide_fail(err, TIDE_ERR_DIFFER, "%s: a simulation fails (seed %llu)",
			               simulation->options->name, (unsigned long long)seed);
	}
	tide_buf_fini(&text);
	pair_fini(&pair);
	return rc;
}

static int try_seed(struct simulation *simulation, uint64_t seed, struct tide_buf *report,
                    struct tide_error *err)
{
	struct tide_sim_random random = { seed };
	int rc = TIDE_OK;
	simulation->input.seed = seed;
	if (simulation->options->input_path == NULL) {
		rc = tide_sim_input_generate(&simulation->input, tide_sim_next(&random), err);
		if (rc == TIDE_OK)
			rc = tide_sim_learn_times(&simulation->input, err);
	}
	if (rc == TIDE_OK)
		rc = try_property(simulation, &random, P1, seed, report, err);
	if (rc == TIDE_OK && simulation->repeatable)
		rc = try_property(simulation, &random, P2, seed, report, err);
	if (rc == TIDE_OK && simulation->plan->mark_count > 0)
		rc = try_property(simulation, &random, P3, seed, report, err);
	return rc;
}

/* What a job makes of the time and of random numbers is another in other epochs. */
static bool asks_for_time(const struct tide_plan *plan)
{
	bool asks = false;
	for (int i = 0; !asks && i < plan->file_count; i++) {
		char *text = NULL;
		size_t len = 0;
		if (tide_file_read(plan->files[i], 16 << 20, &text, &len, NULL) != TIDE_OK)
			continue;
		asks = strstr(text, "tide.now") != NULL || strstr(text, "tide.random") != NULL;
		free(text);
	}
	return asks;
}

static int open_simulation(struct simulation *simulation, struct tide_error *err)
{
	const struct tide_simulation_options *options = simulation->options;
	struct tide_vm_options vm = { .lua_dir = options->lua_dir, .set = options->set };
	simulation->plan = tide_plan_new();
	if (simulation->plan == NULL)
		return fail_memory(err);
	int rc = tide_vm_new(&vm, &simulation->vm, err);
	if (rc == TIDE_OK)
		rc = tide_vm_load(simulation->vm, options->job_path, simulation->plan, err);
	if (rc == TIDE_OK)
		rc = tide_sim_input_open(&simulation->input, options, simulation->plan, err);
	if (rc == TIDE_OK && options->input_path != NULL)
		rc = tide_sim_learn_times(&simulation->input, err);
	simulation->repeatable = rc == TIDE_OK && !asks_for_time(simulation->plan);
	return rc;
}

int tide_simulate(const struct tide_simulation_options *options, struct tide_buf *report,
                  struct tide_error *err)
{
	struct simulation *simulation = calloc(1, sizeof *simulation);
	assert(options->trials > 0);
	if (simulation == NULL)
		return fail_memory(err);
	simulation->options = options;
	int rc = open_simulation(simulation, err), done = 0;
	for (; rc == TIDE_OK && done < options->trials && !stopped(simulation); done++)
		rc = try_seed(simulation, options->seed + (uint64_t)done, report, err);
	if (rc == TIDE_OK) {
		tide_buf_printf(
			report,
			"%s holds in %d simulation%s from seed %llu on: %d times with other "
			"workers and crashes, %d in other epochs and orders, %d more finely "
			"cut\n",
			options->name, done, done == 1 ? "" : "s",
			(unsigned long long)options->seed, simulation->done[P1],
			simulation->done[P2] - simulation->passed_over, simulation->done[P3]);
		if (!simulation->repeatable)
			tide_buf_printf(report,
			                "  it asks for tide.now() or tide.random(), so that other "
			                "epochs may give other rows\n");
	}
	tide_sim_input_fini(&simulation->input);
	tide_plan_free(simulation->plan);
	tide_vm_free(simulation->vm);
	free(simulation);
	return rc;
}
