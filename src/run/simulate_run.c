/* SPDX-License-Identifier: Apache-2.0 */
/* One life of a job in a simulation, and what two of them have in common. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/difference.h"
#include "run/rerun.h"
#include "run/simulate_inside.h"
#include "sink/sink.h"

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory to simulate");
}

/* ---- arrangements ---- */

bool tide_sim_arrangement_copy(struct tide_sim_arrangement *to,
                               const struct tide_sim_arrangement *from)
{
	*to = *from;
	to->records = malloc(((size_t)from->count + 1) * sizeof *to->records);
	to->epochs = malloc((size_t)from->count + 1);
	if (to->records == NULL || to->epochs == NULL) {
		tide_sim_arrangement_fini(to);
		return false;
	}
	memcpy(to->records, from->records, (size_t)from->count * sizeof *to->records);
	memcpy(to->epochs, from->epochs, (size_t)from->count);
	return true;
}

void tide_sim_arrangement_fini(struct tide_sim_arrangement *arrangement)
{
	free(arrangement->records);
	free(arrangement->epochs);
	*arrangement = (struct tide_sim_arrangement){ 0 };
}

int tide_sim_epochs(const struct tide_sim_arrangement *arrangement)
{
	return arrangement->count > 0 ? arrangement->epochs[arrangement->count - 1] + 1 : 0;
}

/* ---- an arrangement as a recording ---- */

static bool put_record(const struct tide_sim_input *input, int number,
                       struct tide_recorded_range *range)
{
	struct tide_recorded rec = tide_sim_record_of(input, number);
	struct tide_slice name, value;
	tide_recorded_begin(&range->records, range->to++, rec.timestamp_ms, rec.key, rec.value,
	                    rec.header_count);
	while (tide_recorded_header(&rec, &name, &value))
		tide_recorded_put_header(&range->records, name, value);
	range->end = range->to;
	range->count++;
	return !range->records.failed;
}

static bool make_steps(const struct tide_sim_input *input,
                       const struct tide_sim_arrangement *arrangement, struct tide_recording *out)
{
	int64_t *next = calloc((size_t)input->part_count + 1, sizeof *next);
	bool ok = next != NULL;
	for (int e = 0, at = 0; ok && e < tide_sim_epochs(arrangement); e++) {
		struct tide_recorded_step *step = tide_recording_step(out);
		ok = step != NULL && tide_recorded_step_init(step, input->part_count, 0, 0);
		if (!ok)
			break;
		step->kind = TIDE_RECORDED_EPOCH;
		step->epoch = e;
		step->now_us = input->now_us + (int64_t)e * 1000000;
		for (int p = 0; p < input->part_count; p++)
			step->ranges[p].from = step->ranges[p].to = step->ranges[p].end = next[p];
		for (; ok && at < arrangement->count && arrangement->epochs[at] == e; at++)
			ok = put_record(
				input, arrangement->records[at],
				&step->ranges[input->records[arrangement->records[at]].part]);
		for (int p = 0; p < input->part_count; p++)
			next[p] = step->ranges[p].to;
	}
	free(next);
	return ok;
}

static bool make_recording(const struct tide_sim_input *input,
                           const struct tide_sim_arrangement *arrangement,
                           struct tide_recording *out)
{
	*out = (struct tide_recording){ 0 };
	/* Every event time is believed, however far ahead it is. */
	bool ok = tide_option_set(&out->info, "bounded", "true");
	if (ok && input->options->topic != NULL)
		ok = tide_option_set(&out->info, "topic", input->options->topic);
	for (int i = 0; ok && i < input->set.count; i++)
		ok = tide_option_set(&out->set, input->set.items[i].key, input->set.items[i].value);
	for (int p = 0; ok && p < input->part_count; p++)
		ok = tide_recording_part(out, input->parts[p].input, input->parts[p].topic,
		                         input->parts[p].partition) != NULL;
	return ok && make_steps(input, arrangement, out);
}

/* ---- a life ---- */

void tide_sim_beat(const struct tide_sim_input *input)
{
	if (input->options->beat != NULL)
		input->options->beat(input->options->beat_arg, input->seed);
}

static int take_rows(struct tide_sim_outcome *out, const struct tide_rerun *rerun, int step,
                     struct tide_error *err)
{
	for (int o = 0; o < out->output_count; o++) {
		const struct tide_rows *rows = tide_rerun_rows(rerun, o);
		struct tide_rows **to = &out->rows[step * out->output_count + o];
		if (rows == NULL || tide_rows_count(rows) == 0)
			continue;
		if (*to == NULL)
			*to = tide_rows_new(tide_rows_schema(rows));
		if (*to == NULL || !tide_rows_extend(*to, rows))
			return fail_memory(err);
	}
	return TIDE_OK;
}

static void take_counts(struct tide_sim_outcome *out, const struct tide_rerun *rerun)
{
	const struct tide_meta *meta = tide_rerun_meta(rerun);
	out->rows_in = meta->rows_in;
	out->rows_filtered = meta->rows_filtered;
	out->rows_late = meta->rows_late;
}

static int live(struct tide_rerun *rerun, const struct tide_sim_arrangement *arrangement,
                struct tide_sim_outcome *out, struct tide_error *err)
{
	int at = 0, rc = TIDE_OK, epochs = tide_sim_epochs(arrangement);
	for (int e = 0; rc == TIDE_OK && e < epochs; e++) {
		rc = tide_rerun_step(rerun, &at, err);
		if (rc == TIDE_OK)
			rc = take_rows(out, rerun, e, err);
		if (rc == TIDE_OK && e < epochs - 1 && arrangement->crash[e] > 0)
			rc = tide_rerun_crash(rerun, arrangement->crash[e], err);
	}
	if (rc == TIDE_OK) {
		take_counts(out, rerun);
		tide_rerun_flush(rerun);
	}
	for (bool ran = true; rc == TIDE_OK && ran;) {
		rc = tide_rerun_drain(rerun, &ran, err);
		if (rc == TIDE_OK)
			rc = take_rows(out, rerun, epochs, err);
	}
	return rc;
}

int tide_sim_run(const struct tide_sim_input *input, const struct tide_sim_arrangement *arrangement,
                 struct tide_sim_outcome *out, struct tide_error *err)
{
	struct tide_recording recording;
	struct tide_rerun *rerun = NULL;
	*out = (struct tide_sim_outcome){ .step_count = tide_sim_epochs(arrangement) + 1,
		                          .output_count = input->plan->output_count };
	out->rows = calloc((size_t)(out->step_count * out->output_count) + 1,
	                   sizeof(struct tide_rows *));
	tide_sim_beat(input);
	bool ok = out->rows != NULL && make_recording(input, arrangement, &recording);
	if (!ok) {
		if (out->rows != NULL)
			tide_recording_fini(&recording);
		return fail_memory(err);
	}
	struct tide_rerun_options options = {
		.recording = &recording,
		.job_path = input->options->job_path,
		.lua_dir = input->options->lua_dir,
		.workers = arrangement->workers,
		.adopt = arrangement->adopt,
	};
	int rc = tide_rerun_open(&options, &rerun, &out->why);
	if (rc == TIDE_OK)
		rc = live(rerun, arrangement, out, &out->why);
	tide_rerun_close(rerun);
	tide_recording_fini(&recording);
	out->rc = rc;
	if (rc == TIDE_OK || rc == TIDE_ERR_SCRIPT || rc == TIDE_ERR_FAILED)
		return TIDE_OK;
	return tide_fail(err, rc, "%s", out->why.text);
}

void tide_sim_outcome_fini(struct tide_sim_outcome *outcome)
{
	for (int i = 0; outcome->rows != NULL && i < outcome->step_count * outcome->output_count;
	     i++)
		tide_rows_free(outcome->rows[i]);
	free(outcome->rows);
	*outcome = (struct tide_sim_outcome){ 0 };
}

/* ---- event times ---- */

static void note_times(struct tide_sim_input *input, const struct tide_meta *meta)
{
	for (int m = 0; m < meta->mark_count && m < input->plan->mark_count; m++)
		for (int i = 0; i < meta->marks[m].part_count; i++) {
			const struct tide_event_part *part = &meta->marks[m].parts[i];
			if (part->partition < input->count &&
			    strcmp(part->topic,
			           input->parts[input->records[part->partition].part].topic) == 0)
				input->records[part->partition].times_us[m] = part->max_us;
		}
}

/* The recording for it: partition n of its topic holds record n. */
static bool make_alone(const struct tide_sim_input *input, struct tide_recording *out)
{
	*out = (struct tide_recording){ 0 };
	bool ok = tide_option_set(&out->info, "bounded", "true");
	if (ok && input->options->topic != NULL)
		ok = tide_option_set(&out->info, "topic", input->options->topic);
	for (int i = 0; ok && i < input->set.count; i++)
		ok = tide_option_set(&out->set, input->set.items[i].key, input->set.items[i].value);
	for (int i = 0; ok && i < input->count; i++) {
		const struct tide_recorded_part *part = &input->parts[input->records[i].part];
		ok = tide_recording_part(out, part->input, part->topic, i) != NULL;
	}
	struct tide_recorded_step *step = ok ? tide_recording_step(out) : NULL;
	ok = step != NULL && tide_recorded_step_init(step, input->count, 0, 0);
	for (int i = 0; ok && i < input->count; i++)
		ok = put_record(input, i, &step->ranges[i]);
	if (ok) {
		step->kind = TIDE_RECORDED_EPOCH;
		step->now_us = input->now_us;
	}
	return ok;
}

int tide_sim_learn_times(struct tide_sim_input *input, struct tide_error *err)
{
	struct tide_recording recording;
	struct tide_rerun *rerun = NULL;
	int at, rc = TIDE_OK;
	for (int i = 0; i < input->count; i++)
		for (int m = 0; m < input->plan->mark_count; m++)
			input->records[i].times_us[m] = INT64_MIN;
	if (input->plan->mark_count == 0)
		return TIDE_OK;
	tide_sim_beat(input);
	if (!make_alone(input, &recording))
		rc = fail_memory(err);
	struct tide_rerun_options options = {
		.recording = &recording,
		.job_path = input->options->job_path,
		.lua_dir = input->options->lua_dir,
		.workers = 1,
	};
	if (rc == TIDE_OK)
		rc = tide_rerun_open(&options, &rerun, err);
	if (rc == TIDE_OK)
		rc = tide_rerun_step(rerun, &at, err);
	if (rc == TIDE_OK)
		note_times(input, tide_rerun_meta(rerun));
	tide_rerun_close(rerun);
	tide_recording_fini(&recording);
	return rc;
}

/* ---- the same ---- */

static int compare(const struct tide_rows *a, const struct tide_rows *b, const char *name,
                   bool *same, struct tide_buf *out, struct tide_error *err)
{
	struct tide_difference difference;
	int rc = tide_difference_find(a, b, NULL, 0, &difference, err);
	if (rc == TIDE_OK && tide_difference_any(&difference)) {
		*same = false;
		tide_difference_write(&difference, name, a, b, out);
	}
	return rc;
}

int tide_sim_same_steps(const struct tide_plan *plan, const struct tide_sim_outcome *a,
                        const struct tide_sim_outcome *b, bool *same, struct tide_buf *out,
                        struct tide_error *err)
{
	int rc = TIDE_OK;
	*same = true;
	assert(a->step_count == b->step_count && a->output_count == b->output_count);
	for (int s = 0; rc == TIDE_OK && *same && s < a->step_count; s++)
		for (int o = 0; rc == TIDE_OK && o < a->output_count; o++) {
			char name[320];
			snprintf(name, sizeof name,
			         s < a->step_count - 1 ? "%s, epoch %d" : "%s, at the end",
			         plan->outputs[o].name, s);
			rc = compare(a->rows[s * a->output_count + o],
			             b->rows[s * b->output_count + o], name, same, out, err);
		}
	return rc;
}

/* ---- the same in the end ---- */

enum reading { PASS_OVER, ALL, LAST_STEP, LAST_OF_KEY, KEYS };

/* What of an output is the same in every order, and by which columns. */
static enum reading reading_of(const struct tide_plan *plan, int output, int *keys, int *key_count)
{
	const struct tide_plan_output *to = &plan->outputs[output];
	const struct tide_plan_keyed *dedup = NULL;
	const char *mode = tide_option_get(&to->options, "mode");
	enum tide_sink_mode how = tide_sink_mode_of(mode != NULL ? mode : "append");
	*key_count = 0;
	for (int k = 0; k < plan->keyed_count; k++)
		if (tide_plan_dedups(&plan->keyed[k]))
			dedup = &plan->keyed[k];
	/* Rows that failed or were late say where they were. */
	if (to->inputs == 0 && to->keyed < 0)
		return PASS_OVER;
	if (dedup == NULL) {
		*key_count = tide_difference_keys(plan, output, keys);
		return how == TIDE_MODE_COMPLETE          ? LAST_STEP
		       : how == TIDE_MODE_APPEND          ? ALL
		       : to->keyed >= 0 && *key_count > 0 ? LAST_OF_KEY
		                                          : PASS_OVER;
	}
	/* Which of several rows goes on depends on which came first, and so does
	 * what is made of it; that one does, does not. */
	if (to->keyed >= 0 && !tide_plan_dedups(&plan->keyed[to->keyed]))
		return PASS_OVER;
	for (int i = 0; i < dedup->key_count; i++) {
		int at = tide_schema_find(to->row, dedup->row->columns[dedup->keys[i]].name);
		if (at < 0)
			return PASS_OVER;
		keys[(*key_count)++] = at;
	}
	return dedup->latest ? LAST_OF_KEY : KEYS;
}

/* Rows of the steps that count, one behind the other. */
static int gather(const struct tide_sim_outcome *outcome, int output, enum reading reading,
                  struct tide_rows **out, struct tide_error *err)
{
	*out = NULL;
	for (int s = 0; s < outcome->step_count; s++) {
		const struct tide_rows *rows = outcome->rows[s * outcome->output_count + output];
		if (rows == NULL)
			continue;
		if (*out == NULL)
			*out = tide_rows_new(tide_rows_schema(rows));
		if (*out != NULL && reading == LAST_STEP)
			tide_rows_clear(*out);
		if (*out == NULL || !tide_rows_extend(*out, rows))
			return fail_memory(err);
	}
	return TIDE_OK;
}

struct keyed_row {
	struct tide_buf key;
	uint32_t row;
};

static int by_key_then_row(const void *a, const void *b)
{
	const struct keyed_row *x = a, *y = b;
	size_t least = x->key.len < y->key.len ? x->key.len : y->key.len;
	int order = least > 0 ? memcmp(x->key.p, y->key.p, least) : 0;
	if (order == 0)
		order = (x->key.len > y->key.len) - (x->key.len < y->key.len);
	return order != 0 ? order : (x->row > y->row) - (x->row < y->row);
}

static void put_key(struct tide_buf *out, const struct tide_rows *rows, uint32_t row,
                    const int *keys, int key_count)
{
	for (int i = 0; i < key_count; i++) {
		enum tide_type type = tide_rows_schema(rows)->columns[keys[i]].type;
		struct tide_cell cell = tide_rows_cell(rows, row, keys[i]);
		tide_buf_u8(out, cell.len >= 0);
		if (cell.len >= 0 && (type == TIDE_STRING || type == TIDE_BYTES))
			tide_buf_bytes(out, cell.p, (size_t)cell.len);
		else if (cell.len >= 0)
			tide_buf_u64(out, (uint64_t)cell.i);
	}
}

/* The last row of each key, in the order of keys; *twice: some had several. */
static int fold(struct tide_rows **rows, const int *keys, int key_count, bool *twice,
                struct tide_error *err)
{
	uint32_t count = *rows != NULL ? tide_rows_count(*rows) : 0;
	struct keyed_row *list = calloc((size_t)count + 1, sizeof *list);
	struct tide_rows *folded = count > 0 ? tide_rows_new(tide_rows_schema(*rows)) : NULL;
	bool ok = list != NULL && (folded != NULL || count == 0);
	for (uint32_t r = 0; ok && r < count; r++) {
		list[r].row = r;
		put_key(&list[r].key, *rows, r, keys, key_count);
		ok = !list[r].key.failed;
	}
	if (ok)
		qsort(list, count, sizeof *list, by_key_then_row);
	for (uint32_t r = 0; ok && r < count; r++) {
		bool last = r + 1 == count || list[r].key.len != list[r + 1].key.len ||
		            memcmp(list[r].key.p, list[r + 1].key.p, list[r].key.len) != 0;
		*twice = *twice || !last;
		if (last)
			ok = tide_rows_extend_range(folded, *rows, list[r].row, 1);
	}
	for (uint32_t r = 0; list != NULL && r < count; r++)
		tide_buf_fini(&list[r].key);
	free(list);
	if (ok && count > 0) {
		tide_rows_free(*rows);
		*rows = folded;
	} else {
		tide_rows_free(folded);
	}
	return ok ? TIDE_OK : fail_memory(err);
}

/* Only the keys count: the first row of each is as good as another. */
static int compare_keys(const struct tide_rows *a, const struct tide_rows *b, const char *name,
                        const int *keys, int key_count, bool *same, struct tide_buf *out,
                        struct tide_error *err)
{
	struct tide_difference difference;
	int rc = tide_difference_find(a, b, keys, key_count, &difference, err);
	difference.equal += difference.changed;
	difference.changed = 0;
	difference.sample_count[TIDE_CHANGED] = 0;
	if (rc == TIDE_OK && tide_difference_any(&difference)) {
		*same = false;
		tide_difference_write(&difference, name, a, b, out);
	}
	return rc;
}

int tide_sim_same_result(const struct tide_plan *plan, const struct tide_sim_outcome *a,
                         const struct tide_sim_outcome *b, bool *same, struct tide_buf *out,
                         struct tide_error *err)
{
	int keys[TIDE_COLUMNS_MAX], key_count, rc = TIDE_OK;
	*same = true;
	for (int o = 0; rc == TIDE_OK && o < a->output_count; o++) {
		enum reading reading = reading_of(plan, o, keys, &key_count);
		struct tide_rows *ours = NULL, *theirs = NULL;
		const char *name = plan->outputs[o].name;
		bool twice = false;
		if (reading == PASS_OVER)
			continue;
		rc = gather(a, o, reading, &ours, err);
		if (rc == TIDE_OK)
			rc = gather(b, o, reading, &theirs, err);
		bool folds = reading == LAST_OF_KEY || reading == KEYS;
		if (rc == TIDE_OK && folds)
			rc = fold(&ours, keys, key_count, &twice, err);
		if (rc == TIDE_OK && folds)
			rc = fold(&theirs, keys, key_count, &twice, err);
		if (rc == TIDE_OK && reading == KEYS)
			rc = compare_keys(ours, theirs, name, keys, key_count, same, out, err);
		else if (rc == TIDE_OK)
			rc = compare(ours, theirs, name, same, out, err);
		tide_rows_free(ours);
		tide_rows_free(theirs);
	}
	return rc;
}

int tide_sim_once(const struct tide_plan *plan, const struct tide_sim_outcome *a, bool *once,
                  struct tide_buf *out, struct tide_error *err)
{
	int keys[TIDE_COLUMNS_MAX], rc = TIDE_OK;
	*once = true;
	for (int o = 0; rc == TIDE_OK && o < a->output_count; o++) {
		const struct tide_plan_output *to = &plan->outputs[o];
		const char *mode = tide_option_get(&to->options, "mode");
		int count = tide_difference_keys(plan, o, keys);
		struct tide_rows *rows = NULL;
		bool twice = false;
		if (to->keyed < 0 || !tide_plan_closes(&plan->keyed[to->keyed]) || count == 0 ||
		    (mode != NULL && strcmp(mode, "append") != 0))
			continue;
		rc = gather(a, o, ALL, &rows, err);
		if (rc == TIDE_OK)
			rc = fold(&rows, keys, count, &twice, err);
		if (rc == TIDE_OK && twice) {
			*once = false;
			tide_buf_printf(out, "%s: a window and key was appended more than once\n",
			                to->name);
		}
		tide_rows_free(rows);
	}
	return rc;
}
