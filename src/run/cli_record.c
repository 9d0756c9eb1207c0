/* SPDX-License-Identifier: Apache-2.0 */
/* record: real records of a job, into a file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "run/cli.h"
#include "run/record.h"

enum { RECORDS_DEFAULT = 1000 };

static int count_of(const struct tide_cli *cli, int64_t *out, struct tide_error *err)
{
	const char *text = tide_cli_own(cli, "records");
	char *end = NULL;
	*out = RECORDS_DEFAULT;
	if (text == NULL)
		return TIDE_OK;
	errno = 0;
	*out = strtoll(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || *out <= 0)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--records wants a number of records, not \"%s\"", text);
	return TIDE_OK;
}

static int redaction_of(const struct tide_cli *cli, struct tide_redaction **out,
                        struct tide_error *err)
{
	const char *fields = tide_cli_own(cli, "redact");
	uint64_t salt = 0;
	if (fields == NULL)
		return TIDE_OK;
	/* What was in the state before would be in the file as it is. */
	if (tide_cli_own(cli, "with-state") != NULL)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--redact does not go with --with-state: the state holds values "
		                 "of records that were not redacted. Leave one of them out");
	if (getrandom(&salt, sizeof salt, 0) != (ssize_t)sizeof salt)
		return tide_fail(err, TIDE_ERR_FAILED, "no random numbers to redact with: %s",
		                 strerror(errno));
	return tide_redaction_new(fields, salt, out, err);
}

/* Values that were redacted may still be in rows that were made before, so those
 * are made again; the others are checked by the same means. */
static int settle(struct tide_recording *recording, const struct tide_setup *setup, bool redacted,
                  struct tide_error *err)
{
	bool same = true;
	struct tide_error why = { 0 };
	for (int s = 0; redacted && s < recording->step_count; s++)
		for (int o = 0; o < recording->steps[s].row_count; o++) {
			tide_rows_free(recording->steps[s].rows[o]);
			recording->steps[s].rows[o] = NULL;
		}
	int rc = tide_record_again(recording, setup->job_path, setup->lua_dir, &same, &why);
	if (rc != TIDE_OK && redacted)
		return tide_fail(err, rc, "on what is left after redaction the job fails: %s",
		                 why.text);
	if (rc != TIDE_OK)
		tide_log(TIDE_WARN, "a replay of this recording fails: %s", why.text);
	else if (!same && !redacted)
		tide_log(TIDE_WARN,
		         "a replay of this recording does not give the rows that were recorded: "
		         "the job depends on something beside its records and its clock. "
		         "`tidemark check` may know on what");
	return TIDE_OK;
}

static void report(const struct tide_recording *recording, const char *path)
{
	uint64_t records = tide_recording_records(recording);
	uint64_t epochs = tide_recording_epochs(recording);
	const struct tide_recorded_step *last =
		recording->step_count > 0 ? &recording->steps[recording->step_count - 1] : NULL;
	tide_log(TIDE_INFO, "%s holds %llu records in %llu epochs%s", path,
	         (unsigned long long)records, (unsigned long long)epochs,
	         recording->meta.len > 0 ? ", and the state before them" : "");
	if (last != NULL && last->kind == TIDE_RECORDED_FAILED)
		tide_log(TIDE_WARN, "the job failed, and the recording holds how: %s", last->error);
}

int tide_cli_record(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup = { 0 };
	struct tide_redaction *redaction = NULL;
	struct tide_recording recording = { 0 };
	const char *path = tide_cli_own(cli, "out");
	struct tide_record_options options = {
		.setup = &setup,
		.with_state = tide_cli_own(cli, "with-state") != NULL,
		.stop = cli->stop,
	};
	int rc = count_of(cli, &options.records, err);
	if (rc == TIDE_OK && path == NULL)
		rc = tide_fail(err, TIDE_ERR_USAGE, "say where the recording goes: --out FILE");
	if (rc == TIDE_OK)
		rc = redaction_of(cli, &redaction, err);
	if (rc == TIDE_OK)
		rc = tide_setup_load(&setup, cli, cli->words[0], err);
	options.redaction = redaction;
	if (rc == TIDE_OK)
		rc = tide_record_job(&options, &recording, err);
	if (rc == TIDE_OK && tide_recording_records(&recording) == 0)
		rc = tide_fail(err, TIDE_ERR_FAILED,
		               "no record came: nothing was recorded. Records that are there "
		               "already are read with --from earliest");
	if (rc == TIDE_OK)
		rc = settle(&recording, &setup, redaction != NULL, err);
	if (rc == TIDE_OK)
		rc = tide_recording_write(&recording, path, err);
	if (rc == TIDE_OK)
		report(&recording, path);
	tide_recording_fini(&recording);
	tide_redaction_free(redaction);
	tide_setup_fini(&setup);
	return rc;
}
