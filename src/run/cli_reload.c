/* SPDX-License-Identifier: Apache-2.0 */
/* reload: a word with a running job. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "run/cli.h"
#include "run/control.h"
#include "run/setup.h"

enum { LINE_MAX = 8192 };

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

static int read_answer(FILE *in, struct tide_error *err)
{
	char line[LINE_MAX];
	while (fgets(line, sizeof line, in) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "done ", 5) == 0)
			return read_done(line + 5, err);
		tide_log(TIDE_INFO, "%s", line);
	}
	return tide_fail(err, TIDE_ERR_UNAVAILABLE, "the job ended before it answered");
}

int tide_cli_reload(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	FILE *answer = NULL;
	int rc = tide_setup_find(&setup, cli, cli->words[0], err);
	if (rc == TIDE_OK)
		rc = tide_control_ask(setup.checkpoint_dir, "reload", &answer, err);
	if (rc == TIDE_OK)
		rc = read_answer(answer, err);
	if (answer != NULL)
		fclose(answer);
	tide_setup_fini(&setup);
	return rc;
}
