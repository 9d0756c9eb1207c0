/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint show and verify, offsets show: looking into a checkpoint. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/kept.h"
#include "run/cli.h"
#include "run/late.h"
#include "run/offsets.h"
#include "run/setup.h"

/* Open the checkpoint that the command is about, to look at it only. */
static int look(struct tide_cli *cli, struct tide_setup *setup, struct tide_checkpoint **cp,
                struct tide_error *err)
{
	int rc = tide_setup_load(setup, cli, cli->word_count > 0 ? cli->words[0] : NULL, err);
	if (rc == TIDE_OK && setup->checkpoint_dir[0] == '\0')
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "say which checkpoint: --checkpoint-dir DIR or the "
		               "job's file");
	if (rc != TIDE_OK || cp == NULL)
		return rc;
	struct tide_checkpoint_options options = { .read_only = true };
	return tide_checkpoint_open(setup->checkpoint_dir, &options, cp, err);
}

static void print_meta_text(const struct tide_setup *setup, const struct tide_meta *meta)
{
	char when[32] = "never";
	if (meta->epoch >= 0)
		tide_clock_format_ms(meta->decided_us / 1000, when, sizeof when);
	printf("checkpoint %s\n  id %016llx, format %u, job %s\n", setup->checkpoint_dir,
	       (unsigned long long)meta->checkpoint_id, meta->format, meta->job ? meta->job : "");
	printf("  last epoch %lld, decided %s\n", (long long)meta->epoch, when);
	printf("  records %llu in, %llu out, %llu filtered, %llu failed, %llu malformed, "
	       "%llu late, %llu lost\n",
	       (unsigned long long)meta->rows_in, (unsigned long long)meta->rows_out,
	       (unsigned long long)meta->rows_filtered, (unsigned long long)meta->rows_failed,
	       (unsigned long long)meta->rows_malformed, (unsigned long long)meta->rows_late,
	       (unsigned long long)meta->rows_lost);
	for (int i = 0; i < meta->late_count; i++) {
		const struct tide_late_count *late = &meta->lates[i];
		printf("  late in %s: %llu of %llu rows, %llu ms at most behind the watermark, "
		       "about %llu keys\n",
		       late->name, (unsigned long long)late->late, (unsigned long long)late->seen,
		       (unsigned long long)late->most_us / 1000,
		       (unsigned long long)tide_late_keys_count(late));
	}
	for (int i = 0; i < meta->position_count; i++)
		printf("  %s-%d next offset %lld\n", meta->positions[i].topic,
		       meta->positions[i].partition, (long long)meta->positions[i].next);
	for (int i = 0; i < meta->sink_count; i++)
		printf("  sink %s: published through epoch %lld%s\n", meta->sinks[i].name,
		       (long long)meta->sinks[i].acked,
		       meta->sinks[i].acked < meta->sinks[i].due ? ", more is waiting" : "");
}

static void json_text(struct tide_buf *out, const char *text)
{
	tide_buf_json(out, text ? text : "", text ? strlen(text) : 0);
}

static void meta_json(const struct tide_meta *meta, struct tide_buf *out)
{
	tide_buf_printf(out, "{\"id\":\"%016llx\",\"format\":%u,\"job\":",
	                (unsigned long long)meta->checkpoint_id, meta->format);
	json_text(out, meta->job);
	tide_buf_printf(
		out,
		",\"epoch\":%lld,\"rowsIn\":%llu,\"rowsOut\":%llu,\"rowsFiltered\":%llu,"
		"\"rowsFailed\":%llu,\"rowsMalformed\":%llu,\"rowsLate\":%llu,\"lost_records\":%llu,\"offsets\":",
		(long long)meta->epoch, (unsigned long long)meta->rows_in,
		(unsigned long long)meta->rows_out, (unsigned long long)meta->rows_filtered,
		(unsigned long long)meta->rows_failed, (unsigned long long)meta->rows_malformed,
		(unsigned long long)meta->rows_late, (unsigned long long)meta->rows_lost);
	tide_offsets_write(meta, out);
	tide_buf_printf(out, ",\"plan\":");
	json_text(out, meta->plan);
	tide_buf_printf(out, ",\"sinks\":[");
	for (int i = 0; i < meta->sink_count; i++) {
		tide_buf_printf(out, "%s{\"name\":", i ? "," : "");
		json_text(out, meta->sinks[i].name);
		tide_buf_printf(out, ",\"since\":%lld,\"due\":%lld,\"acked\":%lld}",
		                (long long)meta->sinks[i].since, (long long)meta->sinks[i].due,
		                (long long)meta->sinks[i].acked);
	}
	tide_buf_printf(out, "]}\n");
}

int tide_cli_checkpoint_show(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	struct tide_checkpoint *cp = NULL;
	int rc = look(cli, &setup, &cp, err);
	if (rc == TIDE_OK && tide_cli_own(cli, "json") != NULL) {
		struct tide_buf text = { 0 };
		meta_json(tide_checkpoint_meta(cp), &text);
		printf("%.*s", (int)text.len, text.p);
		tide_buf_fini(&text);
	} else if (rc == TIDE_OK) {
		print_meta_text(&setup, tide_checkpoint_meta(cp));
	}
	tide_checkpoint_close(cp);
	tide_setup_fini(&setup);
	return rc;
}

static void print_line(struct tide_slice json, void *arg)
{
	(void)arg;
	printf("%.*s\n", (int)json.len, json.p);
}

int tide_cli_checkpoint_progress(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	struct tide_checkpoint *cp = NULL;
	const char *last = tide_cli_own(cli, "last");
	char *end = NULL;
	int64_t count = last != NULL ? strtoll(last, &end, 10) : TIDE_EPOCHS_KEPT;
	int rc = look(cli, &setup, &cp, err);
	if (rc == TIDE_OK && (count < 1 || (end != NULL && (end == last || *end != '\0'))))
		rc = tide_fail(err, TIDE_ERR_USAGE, "--last wants a number from 1 on, not \"%s\"",
		               last);
	if (rc == TIDE_OK) {
		int64_t newest = tide_checkpoint_meta(cp)->epoch;
		rc = tide_checkpoint_progress(cp, newest - count + 1, print_line, NULL, err);
	}
	tide_checkpoint_close(cp);
	tide_setup_fini(&setup);
	return rc;
}

/* What is damaged has been said; what can be done is the next question. */
static void say_way_out(const char *dir)
{
	struct tide_kept *list = NULL;
	struct tide_error ignored;
	int count = 0;
	if (tide_kept_list(dir, &list, &count, &ignored) == TIDE_OK && count > 0)
		tide_log(
			TIDE_INFO,
			"of %d copies the newest is %s; `tidemark checkpoint restore` goes back to one",
			count, list[count - 1].name);
	else
		tide_log(TIDE_INFO, "there is no copy in it to go back to");
	free(list);
}

/* Those that are kept, too; one that is damaged does not hide what is wrong with others. */
static int verify_copies(const char *dir, int *count, struct tide_error *err)
{
	struct tide_kept *list = NULL;
	int bad = TIDE_OK;
	int rc = tide_kept_list(dir, &list, count, err);
	for (int i = 0; rc == TIDE_OK && i < *count; i++) {
		struct tide_error why;
		if (tide_kept_verify(dir, list[i].name, &why) == TIDE_OK)
			continue;
		if (bad != TIDE_OK)
			tide_log(TIDE_ERROR, "%s", why.text);
		else
			bad = tide_fail(err, why.status, "%s", why.text);
	}
	free(list);
	return rc != TIDE_OK ? rc : bad;
}

int tide_cli_checkpoint_verify(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	struct tide_verify_report report = { 0 };
	int copies = 0;
	int rc = look(cli, &setup, NULL, err);
	if (rc == TIDE_OK)
		rc = tide_checkpoint_verify(setup.checkpoint_dir, &report, err);
	if (rc == TIDE_ERR_CHECKPOINT)
		say_way_out(setup.checkpoint_dir);
	if (rc == TIDE_OK)
		rc = verify_copies(setup.checkpoint_dir, &copies, err);
	if (rc == TIDE_OK)
		printf(tide_cli_own(cli, "json")
		               ? "{\"ok\":true,\"stateRows\":%llu,\"outboxRows\":%llu,\"epochs\":%llu,"
		                 "\"bytes\":%llu,\"stateDigest\":\"%016llx\",\"copies\":%d}\n"
		               : "sound: %llu state rows, %llu outbox entries, %llu epochs, %llu bytes "
		                 "read; digest of the state %016llx; copies sound: %d\n",
		       (unsigned long long)report.state_rows,
		       (unsigned long long)report.outbox_rows, (unsigned long long)report.epochs,
		       (unsigned long long)report.bytes, (unsigned long long)report.state_digest,
		       copies);
	tide_setup_fini(&setup);
	return rc;
}

static bool print_offsets(const struct tide_meta *meta, void *json)
{
	struct tide_buf text = { 0 };
	tide_offsets_write(meta, &text);
	if (json != NULL)
		printf("%.*s\n", (int)text.len, text.p);
	else
		printf("epoch %lld  %.*s\n", (long long)meta->epoch, (int)text.len, text.p);
	tide_buf_fini(&text);
	return true;
}

int tide_cli_offsets_show(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	struct tide_checkpoint *cp = NULL;
	const char *format = tide_cli_own(cli, "format");
	bool json = format != NULL && strcmp(format, "json") == 0;
	int rc = look(cli, &setup, &cp, err);
	if (rc == TIDE_OK && format != NULL && !json && strcmp(format, "text") != 0)
		rc = tide_fail(err, TIDE_ERR_USAGE, "--format is text or json, not \"%s\"", format);
	if (rc == TIDE_OK)
		rc = tide_checkpoint_history(cp, print_offsets, json ? cp : NULL, err);
	tide_checkpoint_close(cp);
	tide_setup_fini(&setup);
	return rc;
}
