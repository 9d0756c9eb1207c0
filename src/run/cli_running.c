/* SPDX-License-Identifier: Apache-2.0 */
/* explain --running: why nothing comes out of a job, from outside of it.
 *
 * Its page knows what holds now. Where none answers, its checkpoint has what held
 * after the newest epoch; that is only looked at, whoever has the lock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "checkpoint/checkpoint.h"
#include "decode/json.h"
#include "run/cli.h"
#include "run/diagnosis.h"
#include "run/setup.h"
#include "serve/ask.h"

/* What either of them says. */
enum { NAME, CHECKPOINT, STATUS, TEXT, KEPT_TEXT, EPOCH, RECORDS, ROWS_OUT, FIELDS };

struct answer {
	struct tide_buf json;
	struct tide_arena *arena;
	struct tide_cell cells[FIELDS];
};

static void answer_fini(struct answer *answer)
{
	tide_buf_fini(&answer->json);
	tide_arena_free(answer->arena);
}

static bool answer_read(struct answer *answer)
{
	static const struct tide_field fields[FIELDS] = {
		[NAME] = { "name", 4, TIDE_STRING, 1, 0 },
		[CHECKPOINT] = { "checkpoint", 10, TIDE_STRING, 1, 0 },
		[STATUS] = { "status", 6, TIDE_STRING, 1, 0 },
		[TEXT] = { "text", 4, TIDE_STRING, 1, 0 },
		[KEPT_TEXT] = { "diagnosis.text", 14, TIDE_STRING, 1, 0 },
		[EPOCH] = { "epoch", 5, TIDE_INT, 1, 0 },
		[RECORDS] = { "totalRecords", 12, TIDE_INT, 1, 0 },
		[ROWS_OUT] = { "totalRowsOut", 12, TIDE_INT, 1, 0 },
	};
	struct tide_scan_error why;
	struct tide_json_spec *spec = tide_json_spec_new(fields, FIELDS);
	if (answer->arena == NULL)
		answer->arena = tide_arena_new();
	bool ok = spec != NULL && answer->arena != NULL && answer->json.len > 0 &&
	          tide_json_scan(spec, answer->json.p, (int32_t)answer->json.len, answer->arena,
	                         answer->cells, &why) == TIDE_SCAN_OK;
	tide_json_spec_free(spec);
	return ok;
}

static bool is_text(const struct tide_cell *cell, const char *text)
{
	return cell->len >= 0 && strlen(text) == (size_t)cell->len &&
	       memcmp(cell->p, text, (size_t)cell->len) == 0;
}

static void print_text(const struct tide_cell *cell)
{
	if (cell->len > 0)
		printf("%.*s", (int)cell->len, cell->p);
	else
		printf("- nothing holds it back: rows come out when records come in\n");
}

/* ---- its page ---- */

/* Whether a page answers that is of this checkpoint, or of a job by this name where
 * nobody said which checkpoint. */
static bool ask_page(const struct tide_setup *setup, const char *listen, bool by_name,
                     struct answer *answer, char *why, size_t size)
{
	char dir[4096];
	struct tide_error err;
	if (tide_serve_ask(listen, "/api/v1/diagnosis", &answer->json, &err) != TIDE_OK) {
		snprintf(why, size, "%s", err.text);
		return false;
	}
	if (realpath(setup->checkpoint_dir, dir) == NULL)
		snprintf(dir, sizeof dir, "%s", setup->checkpoint_dir);
	if (answer_read(answer) && (is_text(&answer->cells[CHECKPOINT], dir) ||
	                            (by_name && is_text(&answer->cells[NAME], setup->plan->job))))
		return true;
	snprintf(why, size, "the page at %s is of another job", listen);
	return false;
}

static void say_page(const struct answer *answer, const char *listen, bool json)
{
	const struct tide_cell *cells = answer->cells;
	if (json) {
		printf("{\"from\":\"page\",\"page\":\"%s\",%.*s\n", listen,
		       (int)answer->json.len - 1, answer->json.p + 1);
		return;
	}
	printf("%.*s is %.*s (page at http://%s/): epoch %lld, %lld records in, %lld rows out "
	       "since its start\n",
	       (int)cells[NAME].len, cells[NAME].p, (int)cells[STATUS].len, cells[STATUS].p, listen,
	       (long long)cells[EPOCH].i, (long long)cells[RECORDS].i,
	       (long long)cells[ROWS_OUT].i);
	print_text(&cells[TEXT]);
}

/* ---- its checkpoint ---- */

static void keep_newest(struct tide_slice json, void *arg)
{
	struct tide_buf *out = arg;
	tide_buf_clear(out);
	tide_buf_put(out, json.p, json.len);
}

/* What the epochs' record alone says. */
static void from_meta(const struct tide_meta *meta, struct tide_buf *out)
{
	struct tide_diagnosis *diagnosis = calloc(1, sizeof *diagnosis);
	struct tide_fact_keyed *keyed = calloc((size_t)meta->late_count + 1, sizeof *keyed);
	struct tide_facts facts = {
		.topic = meta->position_count > 0 ? meta->positions[0].topic : "of the job",
		.partitions = meta->position_count,
		.present = -1,
		.epoch = meta->epoch,
		.idle = true,
		.ever_read = meta->rows_in > 0,
		.came_out = meta->rows_out > 0,
		.read = meta->rows_in,
		.filtered = meta->rows_filtered,
		.failed = meta->rows_failed,
		.malformed = meta->rows_malformed,
		.keyed = keyed,
		.keyed_count = meta->late_count,
	};
	for (int i = 0; keyed != NULL && i < meta->late_count; i++)
		keyed[i] = (struct tide_fact_keyed){ .name = meta->lates[i].name,
			                             .mark = -1,
			                             .next_end_us = INT64_MAX,
			                             .late = meta->lates[i].late,
			                             .untimed = meta->lates[i].untimed,
			                             .most_late_us = meta->lates[i].most_us };
	if (diagnosis == NULL || keyed == NULL) {
		out->failed = true;
	} else {
		tide_diagnose(&facts, diagnosis);
		tide_diagnosis_write(diagnosis, out);
	}
	free(diagnosis);
	free(keyed);
}

/* The members of the diagnosis that a progress ends with, or what the record says. */
static void put_members(const struct answer *answer, const struct tide_meta *meta,
                        struct tide_buf *out)
{
	static const char begin[] = ",\"diagnosis\":{";
	const char *at = answer->json.len == 0 ? NULL
	                                       : memmem(answer->json.p, answer->json.len, begin,
	                                                sizeof begin - 1);
	if (at == NULL) {
		from_meta(meta, out);
		return;
	}
	at += sizeof begin - 1;
	tide_buf_put(out, at, (size_t)(answer->json.p + answer->json.len - at) - 2);
}

static int say_checkpoint(const struct tide_setup *setup, const struct tide_meta *meta,
                          struct answer *kept, const char *why, bool json, struct tide_error *err)
{
	char when[32] = "never";
	struct answer answer = { 0 };
	struct tide_buf *out = &answer.json;
	/* Progress is kept a moment after its epoch is decided. */
	long long as_of = answer_read(kept) ? kept->cells[EPOCH].i : meta->epoch;
	if (meta->epoch >= 0)
		tide_clock_format_ms(meta->decided_us / 1000, when, sizeof when);
	tide_buf_printf(out, "{\"from\":\"checkpoint\",\"checkpoint\":");
	tide_buf_json(out, setup->checkpoint_dir, strlen(setup->checkpoint_dir));
	tide_buf_printf(out, ",\"name\":");
	tide_buf_json(out, meta->job ? meta->job : "", meta->job ? strlen(meta->job) : 0);
	tide_buf_printf(out,
	                ",\"epoch\":%lld,\"decided\":\"%s\",\"totalRecords\":%llu,"
	                "\"totalRowsOut\":%llu,\"asOfEpoch\":%lld,\"page\":",
	                (long long)meta->epoch, when, (unsigned long long)meta->rows_in,
	                (unsigned long long)meta->rows_out, as_of);
	tide_buf_json(out, why, strlen(why));
	tide_buf_printf(out, ",");
	put_members(kept, meta, out);
	tide_buf_printf(out, "}");
	int rc = out->failed || !answer_read(&answer)
	                 ? tide_fail(err, TIDE_ERR_NOMEM, "no memory to explain a job")
	                 : TIDE_OK;
	if (rc == TIDE_OK && json) {
		printf("%.*s\n", (int)out->len, out->p);
	} else if (rc == TIDE_OK) {
		printf("%s, so this is what its checkpoint %s says\n", why, setup->checkpoint_dir);
		printf("%s: epoch %lld, decided %s, %llu records in, %llu rows out; as of epoch "
		       "%lld:\n",
		       meta->job ? meta->job : "", (long long)meta->epoch, when,
		       (unsigned long long)meta->rows_in, (unsigned long long)meta->rows_out,
		       as_of);
		print_text(&answer.cells[TEXT]);
	}
	answer_fini(&answer);
	return rc;
}

static int look_once(const struct tide_setup *setup, const char *why, bool json,
                     struct tide_error *err)
{
	struct tide_checkpoint_options options = { .read_only = true };
	struct tide_checkpoint *cp = NULL;
	struct answer kept = { 0 };
	int rc = tide_checkpoint_open(setup->checkpoint_dir, &options, &cp, err);
	if (rc == TIDE_OK)
		rc = tide_checkpoint_progress(cp, 0, keep_newest, &kept.json, err);
	if (rc == TIDE_OK)
		rc = say_checkpoint(setup, tide_checkpoint_meta(cp), &kept, why, json, err);
	tide_checkpoint_close(cp);
	answer_fini(&kept);
	return rc;
}

/* The job may remove a file while we look at it: then look again. */
static int look_at_checkpoint(const struct tide_setup *setup, const char *why, bool json,
                              struct tide_error *err)
{
	enum { LOOKS = 5, PAUSE_MS = 100 };
	int rc = look_once(setup, why, json, err);
	for (int i = 1; i < LOOKS && rc == TIDE_ERR_IO; i++) {
		nanosleep(&(struct timespec){ 0, PAUSE_MS * 1000000L }, NULL);
		rc = look_once(setup, why, json, err);
	}
	return rc;
}

int tide_cli_explain_running(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	struct answer answer = { 0 };
	char why[sizeof err->text] = "";
	bool json = tide_cli_own(cli, "json") != NULL;
	int rc = tide_setup_load(&setup, cli, cli->word_count > 0 ? cli->words[0] : NULL, err);
	const char *listen = tide_config_text(cli->config, "listen");
	if (rc == TIDE_OK && setup.checkpoint_dir[0] == '\0')
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "say which job: its file, or its --checkpoint-dir DIR");
	bool by_name = cli->word_count > 0 &&
	               tide_config_layer(cli->config, "checkpoint-dir") <= TIDE_LAYER_BUILTIN;
	if (rc == TIDE_OK && listen != NULL &&
	    ask_page(&setup, listen, by_name, &answer, why, sizeof why))
		say_page(&answer, listen, json);
	else if (rc == TIDE_OK && (rc = look_at_checkpoint(&setup, why, json, err)) != TIDE_OK)
		tide_fail_within(err, "%s", why);
	answer_fini(&answer);
	tide_setup_fini(&setup);
	return rc;
}
