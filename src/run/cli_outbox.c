/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint outbox and resolve: what an operator does about rows that are
 * decided and that a sink does not take, or may have taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "run/cli.h"
#include "run/setup.h"
#include "sink/json_row.h"

static int open_checkpoint(struct tide_cli *cli, struct tide_setup *setup, const char *job,
                           bool read_only, struct tide_checkpoint **cp, struct tide_error *err)
{
	struct tide_checkpoint_options options = { .read_only = read_only };
	int rc = tide_setup_load(setup, cli, job, err);
	if (rc == TIDE_OK &&
	    (setup->checkpoint_dir[0] == '\0' || access(setup->checkpoint_dir, F_OK) != 0))
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "there is no checkpoint%s%s; say which: --checkpoint-dir DIR or the "
		               "job's file",
		               setup->checkpoint_dir[0] ? " in " : "", setup->checkpoint_dir);
	return rc == TIDE_OK ? tide_checkpoint_open(setup->checkpoint_dir, &options, cp, err) : rc;
}

static int print_rows(const char *sink, int64_t epoch, const struct tide_rows *rows,
                      struct tide_error *err)
{
	struct tide_json_row json;
	struct tide_buf line = { 0 };
	int rc = tide_json_row_init(&json, tide_rows_schema(rows), NULL, err);
	for (uint32_t row = 0; rc == TIDE_OK && row < tide_rows_count(rows); row++) {
		tide_buf_clear(&line);
		tide_buf_printf(&line, "{\"sink\":");
		tide_buf_json(&line, sink, strlen(sink));
		tide_buf_printf(&line, ",\"epoch\":%lld,\"row\":", (long long)epoch);
		tide_json_row_put(&json, rows, row, &line);
		tide_buf_printf(&line, "}\n");
		if (line.failed)
			rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows");
		else if (fwrite(line.p, 1, line.len, stdout) != line.len)
			rc = tide_fail(err, TIDE_ERR_IO, "the reader of stdout is gone");
	}
	tide_json_row_fini(&json);
	tide_buf_fini(&line);
	return rc;
}

/* Every entry of a sink that is not known to be published: as rows or as one
 * line each. Returns how many rows there are in *count. */
static int each_entry(struct tide_checkpoint *cp, const struct tide_sink_mark *mark, bool as_rows,
                      uint64_t *count, struct tide_error *err)
{
	struct tide_buf bytes = { 0 };
	int rc = TIDE_OK;
	for (int64_t e = mark->acked + 1; rc == TIDE_OK && e <= mark->due; e++) {
		bool found = false;
		struct tide_rows *rows = NULL;
		rc = tide_checkpoint_outbox(cp, mark->name, e, &bytes, &found, err);
		if (rc != TIDE_OK || !found)
			continue;
		rc = tide_rows_decode((struct tide_slice){ bytes.p, bytes.len }, &rows, err);
		if (rc == TIDE_OK) {
			*count += tide_rows_count(rows);
			if (as_rows)
				rc = print_rows(mark->name, e, rows, err);
			else
				printf("sink %s: epoch %lld, %u row%s, %zu bytes\n", mark->name,
				       (long long)e, tide_rows_count(rows),
				       tide_rows_count(rows) == 1 ? "" : "s", bytes.len);
		}
		tide_rows_free(rows);
	}
	tide_buf_fini(&bytes);
	return rc;
}

static int show(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup = { 0 };
	struct tide_checkpoint *cp = NULL;
	uint64_t count = 0;
	int rc = open_checkpoint(cli, &setup, cli->word_count > 1 ? cli->words[1] : NULL, true, &cp,
	                         err);
	const struct tide_meta *meta = rc == TIDE_OK ? tide_checkpoint_meta(cp) : NULL;
	bool json = tide_cli_own(cli, "json") != NULL;
	for (int i = 0; rc == TIDE_OK && i < meta->sink_count; i++)
		rc = each_entry(cp, &meta->sinks[i], json, &count, err);
	if (rc == TIDE_OK && count == 0 && !json)
		printf("nothing waits: every decided row is known to be published\n");
	tide_checkpoint_close(cp);
	tide_setup_fini(&setup);
	return rc;
}

static int find_mark(struct tide_meta *meta, const char *sink, struct tide_sink_mark **mark,
                     struct tide_error *err)
{
	char list[512] = "";
	*mark = tide_meta_sink(meta, sink);
	if (*mark != NULL)
		return TIDE_OK;
	for (int i = 0; i < meta->sink_count; i++)
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
		         meta->sinks[i].name);
	return tide_fail(err, TIDE_ERR_USAGE, "the checkpoint knows no sink %s; it knows %s", sink,
	                 list[0] ? list : "none");
}

/* From now on the sink has published all (`done`), or may have forgotten what
 * it has published: with `since` behind `acked` its memory need not say. */
static int write_mark(struct tide_checkpoint *cp, struct tide_meta *meta,
                      struct tide_sink_mark *mark, bool done, struct tide_error *err)
{
	if (done)
		mark->acked = mark->due;
	mark->since = mark->acked + 1;
	int rc = tide_pass("resolve", err);
	return rc == TIDE_OK ? tide_checkpoint_decide(cp, meta, NULL, 0, NULL, 0, err) : rc;
}

int tide_cli_confirm(const struct tide_cli *cli, const char *question, struct tide_error *err)
{
	char answer[8] = "";
	if (tide_cli_own(cli, "yes") != NULL)
		return TIDE_OK;
	if (isatty(STDIN_FILENO) != 1)
		return tide_fail(err, TIDE_ERR_USAGE, "%s This has to be confirmed: add --yes",
		                 question);
	fprintf(stderr, "%s Sure? [y/N] ", question);
	if (fgets(answer, sizeof answer, stdin) == NULL || (answer[0] != 'y' && answer[0] != 'Y'))
		return tide_fail(err, TIDE_ERR_USAGE, "nothing was changed");
	return TIDE_OK;
}

/* The checkpoint for writing, and the mark of the sink that the last word names. */
struct change {
	struct tide_setup setup;
	struct tide_checkpoint *cp;
	struct tide_meta meta;
	struct tide_sink_mark *mark;
};

static int change_open(struct change *change, struct tide_cli *cli, int first_word,
                       struct tide_error *err)
{
	*change = (struct change){ 0 };
	const char *sink = cli->words[cli->word_count - 1];
	const char *job = cli->word_count - first_word > 1 ? cli->words[first_word] : NULL;
	int rc = open_checkpoint(cli, &change->setup, job, false, &change->cp, err);
	if (rc == TIDE_OK && !tide_meta_copy(&change->meta, tide_checkpoint_meta(change->cp)))
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the checkpoint's record");
	if (rc == TIDE_OK)
		rc = find_mark(&change->meta, sink, &change->mark, err);
	if (rc == TIDE_OK && change->mark->acked >= change->mark->due)
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "sink %s has no rows that wait; nothing to decide", sink);
	return rc;
}

static void change_close(struct change *change)
{
	tide_meta_fini(&change->meta);
	tide_checkpoint_close(change->cp);
	tide_setup_fini(&change->setup);
}

static int skip(struct tide_cli *cli, struct tide_error *err)
{
	struct change change;
	char question[256];
	uint64_t count = 0;
	int rc = change_open(&change, cli, 1, err);
	if (rc == TIDE_OK) {
		snprintf(question, sizeof question,
		         "Rows of epochs %lld to %lld will not be published to %s.",
		         (long long)change.mark->acked + 1, (long long)change.mark->due,
		         change.mark->name);
		rc = tide_cli_confirm(cli, question, err);
	}
	/* Those who give them up may still want to keep them. */
	if (rc == TIDE_OK)
		rc = each_entry(change.cp, change.mark, true, &count, err);
	if (rc == TIDE_OK && fflush(stdout) != 0)
		rc = tide_fail(err, TIDE_ERR_IO, "the reader of stdout is gone");
	if (rc == TIDE_OK)
		rc = write_mark(change.cp, &change.meta, change.mark, true, err);
	if (rc == TIDE_OK)
		tide_log(TIDE_WARN, "sink %s: %llu rows were given up; they are on stdout",
		         change.mark->name, (unsigned long long)count);
	change_close(&change);
	return rc;
}

int tide_cli_checkpoint_outbox(struct tide_cli *cli, struct tide_error *err)
{
	if (strcmp(cli->words[0], "show") == 0 && cli->word_count <= 2)
		return show(cli, err);
	if (strcmp(cli->words[0], "skip") == 0 && cli->word_count >= 2)
		return skip(cli, err);
	return tide_fail(err, TIDE_ERR_USAGE,
	                 "`tidemark checkpoint outbox` wants `show [JOB.lua]` or `skip [JOB.lua] "
	                 "SINK`");
}

int tide_cli_checkpoint_resolve(struct tide_cli *cli, struct tide_error *err)
{
	struct change change;
	bool published = tide_cli_own(cli, "published") != NULL;
	if (published == (tide_cli_own(cli, "republish") != NULL))
		return tide_fail(
			err, TIDE_ERR_USAGE,
			"look at the output and say either --published (the rows of `tidemark "
			"checkpoint outbox show` are there) or --republish (they are not)");
	int rc = change_open(&change, cli, 0, err);
	if (rc == TIDE_OK)
		rc = write_mark(change.cp, &change.meta, change.mark, published, err);
	if (rc == TIDE_OK)
		tide_log(TIDE_INFO, "sink %s: the next start %s", change.mark->name,
		         published ? "goes on behind these rows" : "publishes these rows");
	change_close(&change);
	return rc;
}
