/* SPDX-License-Identifier: Apache-2.0 */
/* reload: a word with a running job. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "run/cli.h"
#include "run/control.h"
#include "run/setup.h"
#include "run/shadow.h"

/* "hot -4 text": the end of it. */
static int read_done(char *line, struct tide_error *err)
{
	char change[16];
	int status = TIDE_OK, taken = 0;
	if (sscanf(line, "%15s %d %n", change, &status, &taken) != 2)
		return tide_fail(err, TIDE_ERR_FAILED, "the job gave an answer of another version");
	char *text = line + taken;
	for (char *p = text; *p != '\0'; p++)
		if (*p == '\v')
			*p = '\n';
	if (status != TIDE_OK)
		return tide_fail(err, status, "%s: %s", change, text);
	printf("%s\n", text);
	return TIDE_OK;
}

/* Lines of what was found are marked as such. */
static int read_answer(FILE *in, struct tide_error *err)
{
	char *line = NULL;
	size_t size = 0;
	int rc = TIDE_OK;
	bool done = false;
	while (!done && getline(&line, &size, in) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		done = strncmp(line, "done ", 5) == 0;
		if (done)
			rc = read_done(line + 5, err);
		else if (strncmp(line, "= ", 2) == 0)
			printf("%s\n", line + 2);
		else
			tide_log(TIDE_INFO, "%s", line);
	}
	free(line);
	return done ? rc : tide_fail(err, TIDE_ERR_UNAVAILABLE, "the job ended before it answered");
}

/* The line that the job is sent. */
static int request_of(const struct tide_cli *cli, char *out, size_t size, struct tide_error *err)
{
	const char *shadow = tide_cli_own(cli, "shadow"), *most = tide_cli_own(cli, "max-diff");
	char *end = NULL;
	double share = 0;
	int rc = tide_cli_share(cli, "max-diff", &share, err);
	snprintf(out, size, "reload");
	if (rc == TIDE_OK && shadow == NULL && most != NULL)
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "--max-diff wants to know on how many epochs: --shadow N");
	if (rc != TIDE_OK || shadow == NULL)
		return rc;
	long epochs = strtol(shadow, &end, 10);
	if (end == shadow || *end != '\0' || epochs < 1 || epochs > TIDE_SHADOW_EPOCHS_MAX)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--shadow wants a number of epochs, 1 to %d, not \"%s\"",
		                 TIDE_SHADOW_EPOCHS_MAX, shadow);
	if (most != NULL)
		snprintf(out, size, "reload shadow=%ld max=%.12g%%", epochs, share * 100);
	else
		snprintf(out, size, "reload shadow=%ld", epochs);
	return TIDE_OK;
}

int tide_cli_reload(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	FILE *answer = NULL;
	char request[128];
	int rc = request_of(cli, request, sizeof request, err);
	if (rc != TIDE_OK)
		return rc;
	rc = tide_setup_find(&setup, cli, cli->words[0], err);
	if (rc == TIDE_OK)
		rc = tide_control_ask(setup.checkpoint_dir, request, &answer, err);
	if (rc == TIDE_OK)
		rc = read_answer(answer, err);
	if (answer != NULL)
		fclose(answer);
	tide_setup_fini(&setup);
	return rc;
}
