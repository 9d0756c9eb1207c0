/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint copy, copies, prune and restore: moments to go back to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/kept.h"
#include "run/cli.h"
#include "run/control.h"
#include "run/setup.h"

/* Which checkpoint: the job's, or --checkpoint-dir. */
static int find_dir(struct tide_cli *cli, const char *job, struct tide_setup *setup,
                    struct tide_error *err)
{
	int rc = tide_setup_load(setup, cli, job, err);
	if (rc == TIDE_OK &&
	    (setup->checkpoint_dir[0] == '\0' || access(setup->checkpoint_dir, F_OK) != 0))
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "there is no checkpoint%s%s; say which: --checkpoint-dir DIR or the "
		               "job's file",
		               setup->checkpoint_dir[0] ? " in " : "", setup->checkpoint_dir);
	return rc;
}

static const char *job_word(const struct tide_cli *cli, int behind)
{
	return cli->word_count > behind ? cli->words[0] : NULL;
}

/* Nobody runs it: the copy is made here. */
static int copy_at_rest(const char *dir, struct tide_error *err)
{
	struct tide_checkpoint_options options = { 0 };
	struct tide_checkpoint *cp = NULL;
	struct tide_kept kept;
	char text[160];
	int rc = tide_checkpoint_open(dir, &options, &cp, err);
	if (rc == TIDE_OK)
		rc = tide_kept_make(dir, tide_checkpoint_rocks(cp), TIDE_KEPT_MAX, &kept, err);
	if (rc == TIDE_OK) {
		tide_kept_say(&kept, text, sizeof text);
		printf("%s\n", text);
	}
	tide_checkpoint_close(cp);
	return rc;
}

int tide_cli_checkpoint_copy(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup = { 0 };
	FILE *answer = NULL;
	int rc = find_dir(cli, job_word(cli, 0), &setup, err);
	if (rc == TIDE_OK &&
	    tide_control_ask(setup.checkpoint_dir, "copy", &answer, NULL) == TIDE_OK)
		rc = tide_control_hear(answer, stdout, err);
	else if (rc == TIDE_OK)
		rc = copy_at_rest(setup.checkpoint_dir, err);
	if (answer != NULL)
		fclose(answer);
	tide_setup_fini(&setup);
	return rc;
}

int tide_cli_checkpoint_copies(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup = { 0 };
	struct tide_kept *list = NULL;
	char text[160];
	int count = 0;
	int rc = find_dir(cli, job_word(cli, 0), &setup, err);
	if (rc == TIDE_OK)
		rc = tide_kept_list(setup.checkpoint_dir, &list, &count, err);
	for (int i = 0; rc == TIDE_OK && i < count; i++) {
		tide_kept_say(&list[i], text, sizeof text);
		printf("%s\n", text);
	}
	if (rc == TIDE_OK && count == 0)
		tide_log(TIDE_INFO, "there is no copy; `tidemark checkpoint copy` makes one");
	free(list);
	tide_setup_fini(&setup);
	return rc;
}

int tide_cli_checkpoint_prune(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup = { 0 };
	const char *keep = tide_cli_own(cli, "keep");
	char *end = NULL;
	long most = keep != NULL ? strtol(keep, &end, 10) : TIDE_KEPT_MAX;
	int removed = 0;
	if (most < 0 || (keep != NULL && (end == keep || *end != '\0')))
		return tide_fail(err, TIDE_ERR_USAGE, "--keep wants a number from 0 on, not \"%s\"",
		                 keep);
	int rc = find_dir(cli, job_word(cli, 0), &setup, err);
	if (rc == TIDE_OK)
		rc = tide_kept_prune(setup.checkpoint_dir, (int)most, &removed, err);
	if (rc == TIDE_OK)
		printf("%d cop%s removed\n", removed, removed == 1 ? "y" : "ies");
	tide_setup_fini(&setup);
	return rc;
}

/* "newest", or what it was called. */
static int choose(const char *dir, const char *word, struct tide_kept *out, struct tide_error *err)
{
	struct tide_kept *list = NULL;
	int count = 0, at = -1;
	int rc = tide_kept_list(dir, &list, &count, err);
	for (int i = 0; rc == TIDE_OK && i < count; i++)
		if (strcmp(word, "newest") == 0 || strcmp(word, list[i].name) == 0)
			at = i;
	if (rc == TIDE_OK && at < 0)
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "there is no copy %s in %s; `tidemark checkpoint copies` lists them",
		               word, dir);
	if (rc == TIDE_OK)
		*out = list[at];
	free(list);
	return rc;
}

int tide_cli_checkpoint_restore(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup = { 0 };
	struct tide_kept kept;
	char question[512];
	int rc = find_dir(cli, job_word(cli, 1), &setup, err);
	if (rc == TIDE_OK)
		rc = choose(setup.checkpoint_dir, cli->words[cli->word_count - 1], &kept, err);
	if (rc == TIDE_OK)
		rc = tide_kept_verify(setup.checkpoint_dir, kept.name, err);
	if (rc == TIDE_OK) {
		snprintf(question, sizeof question,
		         "The job will go on behind epoch %lld. What the checkpoint holds now goes "
		         "to its folder replaced. A sink that has published more than that will "
		         "not be started.",
		         (long long)kept.epoch);
		rc = tide_cli_confirm(cli, question, err);
	}
	if (rc == TIDE_OK)
		rc = tide_kept_restore(setup.checkpoint_dir, kept.name, err);
	if (rc == TIDE_OK)
		printf("%s is what copy %s was, behind epoch %lld\n", setup.checkpoint_dir,
		       kept.name, (long long)kept.epoch);
	tide_setup_fini(&setup);
	return rc;
}
