/* SPDX-License-Identifier: Apache-2.0 */
/* Replaying a recording. */
#include "run/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/difference.h"

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows");
}

static int init(struct tide_replayed *out, const struct tide_rerun *rerun,
                const struct tide_recording *recording, struct tide_error *err)
{
	const struct tide_plan *plan = tide_rerun_plan(rerun);
	size_t count = (size_t)plan->output_count + 1;
	out->outputs = calloc(count, sizeof(char *));
	out->rows = calloc(count, sizeof(struct tide_rows *));
	out->keys = calloc(count, sizeof *out->keys);
	out->key_counts = calloc(count, sizeof *out->key_counts);
	out->topics = calloc((size_t)recording->part_count + 1, sizeof(char *));
	if (out->outputs == NULL || out->rows == NULL || out->keys == NULL ||
	    out->key_counts == NULL || out->topics == NULL)
		return fail_memory(err);
	for (int i = 0; i < recording->part_count; i++) {
		out->topics[i] = strdup(tide_rerun_topic(rerun, i));
		out->part_count = i + 1;
		if (out->topics[i] == NULL)
			return fail_memory(err);
	}
	for (int o = 0; o < plan->output_count; o++) {
		out->outputs[o] = strdup(plan->outputs[o].name);
		out->rows[o] = tide_rows_new(plan->outputs[o].row);
		out->key_counts[o] = tide_difference_keys(plan, o, out->keys[o]);
		out->output_count = o + 1;
		if (out->outputs[o] == NULL || out->rows[o] == NULL)
			return fail_memory(err);
	}
	return TIDE_OK;
}

void tide_replayed_fini(struct tide_replayed *replayed)
{
	for (int o = 0; o < replayed->output_count; o++) {
		free(replayed->outputs[o]);
		tide_rows_free(replayed->rows[o]);
	}
	for (int i = 0; i < replayed->part_count; i++)
		free(replayed->topics[i]);
	free(replayed->topics);
	free(replayed->outputs);
	free(replayed->rows);
	free(replayed->keys);
	free(replayed->key_counts);
	*replayed = (struct tide_replayed){ 0 };
}

static int take(struct tide_replayed *out, const struct tide_rerun *rerun, struct tide_error *err)
{
	for (int o = 0; o < out->output_count; o++) {
		const struct tide_rows *rows = tide_rerun_rows(rerun, o);
		if (rows != NULL && !tide_rows_extend(out->rows[o], rows))
			return fail_memory(err);
	}
	return TIDE_OK;
}

/* Did the job fail, or did we? */
static bool of_the_job(int rc)
{
	return rc == TIDE_ERR_SCRIPT || rc == TIDE_ERR_FAILED;
}

static uint64_t failures(const struct tide_rerun *rerun)
{
	const struct tide_meta *meta = tide_rerun_meta(rerun);
	return meta->rows_failed + meta->rows_malformed;
}

int tide_replay(const struct tide_rerun_options *options, tide_replay_step *each, void *arg,
                struct tide_replayed *out, struct tide_error *err)
{
	struct tide_rerun *rerun = NULL;
	uint64_t failed = 0;
	bool ran = true;
	int at = 0;
	*out = (struct tide_replayed){ .failed_step = -1 };
	out->records = tide_recording_records(options->recording);
	int rc = tide_rerun_open(options, &rerun, err);
	if (rc == TIDE_OK)
		rc = init(out, rerun, options->recording, err);
	if (rc == TIDE_OK)
		failed = failures(rerun);
	while (rc == TIDE_OK && out->failed_step < 0 && at >= 0) {
		rc = tide_rerun_step(rerun, &at, &out->why);
		if (of_the_job(rc)) {
			out->failed_step = at;
			rc = TIDE_OK;
		} else if (rc != TIDE_OK && err != NULL) {
			*err = out->why;
		}
		if (rc == TIDE_OK)
			rc = take(out, rerun, err);
		if (rc == TIDE_OK && each != NULL && at >= 0 && out->failed_step < 0)
			rc = each(arg, rerun, &options->recording->steps[at], err);
	}
	while (rc == TIDE_OK && out->failed_step < 0 && ran) {
		rc = tide_rerun_drain(rerun, &ran, err);
		if (rc == TIDE_OK)
			rc = take(out, rerun, err);
		if (rc == TIDE_OK && each != NULL && ran)
			rc = each(arg, rerun, NULL, err);
	}
	if (rerun != NULL) {
		out->spent_us = tide_rerun_us(rerun);
		out->rows_failed = failures(rerun) - failed;
		snprintf(out->failure, sizeof out->failure, "%s", tide_rerun_failure(rerun));
	}
	tide_rerun_close(rerun);
	return rc;
}

const struct tide_rows *tide_replayed_rows(const struct tide_replayed *replayed, const char *name,
                                           int *output)
{
	for (int o = 0; o < replayed->output_count; o++)
		if (strcmp(replayed->outputs[o], name) == 0) {
			*output = o;
			return replayed->rows[o];
		}
	return NULL;
}

static int compare_output(const struct tide_replayed *old_run, const struct tide_replayed *new_run,
                          const char *name, struct tide_difference *sum, struct tide_buf *out,
                          struct tide_error *err)
{
	struct tide_difference difference;
	int o = -1, n = -1;
	const struct tide_rows *old_rows = tide_replayed_rows(old_run, name, &o);
	const struct tide_rows *new_rows = tide_replayed_rows(new_run, name, &n);
	int rc = tide_difference_find(old_rows, new_rows, o >= 0 ? old_run->keys[o] : NULL,
	                              o >= 0 ? old_run->key_counts[o] : 0, &difference, err);
	if (rc != TIDE_OK)
		return rc;
	tide_difference_write(&difference, name, old_rows, new_rows, out);
	tide_difference_add(sum, &difference);
	return TIDE_OK;
}

static void write_failure(const char *which, const struct tide_replayed *run, struct tide_buf *out)
{
	if (run->failed_step >= 0)
		tide_buf_printf(out, "the %s job fails: %s\n", which, run->why.text);
}

double tide_replayed_record_us(const struct tide_replayed *replayed)
{
	if (replayed->records == 0)
		return 0;
	return (double)replayed->spent_us / (double)replayed->records;
}

int tide_replay_compare(const struct tide_replayed *old_run, const struct tide_replayed *new_run,
                        struct tide_buf *out, double *share, struct tide_error *err)
{
	struct tide_difference sum = { 0 };
	int rc = TIDE_OK, other;
	for (int o = 0; rc == TIDE_OK && o < old_run->output_count; o++)
		rc = compare_output(old_run, new_run, old_run->outputs[o], &sum, out, err);
	for (int o = 0; rc == TIDE_OK && o < new_run->output_count; o++)
		if (tide_replayed_rows(old_run, new_run->outputs[o], &other) == NULL)
			rc = compare_output(old_run, new_run, new_run->outputs[o], &sum, out, err);
	write_failure("old", old_run, out);
	write_failure("new", new_run, out);
	*share = old_run->failed_step != new_run->failed_step ? 1 : tide_difference_share(&sum);
	tide_buf_printf(out, "%.3g%% of the rows differ\n", *share * 100);
	tide_buf_printf(out, "time per record: %.2f us old, %.2f us new\n",
	                tide_replayed_record_us(old_run), tide_replayed_record_us(new_run));
	return out->failed ? fail_memory(err) : rc;
}

int tide_replay_failures(const struct tide_replayed *old_run, const struct tide_replayed *new_run,
                         struct tide_buf *text, struct tide_error *err)
{
	const char *sample = new_run->failure;
	bool ends = new_run->failed_step >= 0 && old_run->failed_step < 0;
	tide_buf_printf(
		text, "of %llu records %llu fail with the new version and %llu with the old",
		(unsigned long long)new_run->records, (unsigned long long)new_run->rows_failed,
		(unsigned long long)old_run->rows_failed);
	if (ends) {
		tide_buf_clear(text);
		tide_buf_printf(text, "on these records the new version fails");
		sample = new_run->why.text;
	}
	if (sample[0] != '\0')
		tide_buf_printf(text, ": %s", sample);
	if (text->failed)
		return fail_memory(err);
	return ends || new_run->rows_failed > old_run->rows_failed
	               ? tide_fail(err, TIDE_ERR_DIFFER, "%.*s", (int)text->len, text->p)
	               : TIDE_OK;
}
