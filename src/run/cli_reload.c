/* SPDX-License-Identifier: Apache-2.0 */
/* reload: a word with a running job. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/cli.h"
#include "run/control.h"
#include "run/setup.h"
#include "run/shadow.h"

int tide_cli_shadow(const struct tide_cli *cli, int *epochs, char *most, size_t size,
                    struct tide_error *err)
{
	const char *shadow = tide_cli_own(cli, "shadow"), *bound = tide_cli_own(cli, "max-diff");
	char *end = NULL;
	double share = 0;
	*epochs = 0;
	most[0] = '\0';
	int rc = tide_cli_share(cli, "max-diff", &share, err);
	if (rc == TIDE_OK && shadow == NULL && bound != NULL)
		rc = tide_fail(err, TIDE_ERR_USAGE,
		               "--max-diff wants to know on how many epochs: --shadow N");
	if (rc != TIDE_OK || shadow == NULL)
		return rc;
	long count = strtol(shadow, &end, 10);
	if (end == shadow || *end != '\0' || count < 1 || count > TIDE_SHADOW_EPOCHS_MAX)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--shadow wants a number of epochs, 1 to %d, not \"%s\"",
		                 TIDE_SHADOW_EPOCHS_MAX, shadow);
	*epochs = (int)count;
	if (bound != NULL)
		snprintf(most, size, "%.12g%%", share * 100);
	return TIDE_OK;
}

/* The line that the job is sent. */
static int request_of(const struct tide_cli *cli, char *out, size_t size, struct tide_error *err)
{
	char most[32];
	int epochs = 0;
	int rc = tide_cli_shadow(cli, &epochs, most, sizeof most, err);
	if (epochs == 0)
		snprintf(out, size, "reload");
	else if (most[0] == '\0')
		snprintf(out, size, "reload shadow=%d", epochs);
	else
		snprintf(out, size, "reload shadow=%d max=%s", epochs, most);
	return rc;
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
		rc = tide_control_hear(answer, stdout, err);
	if (answer != NULL)
		fclose(answer);
	tide_setup_fini(&setup);
	return rc;
}
