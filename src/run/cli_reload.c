/* SPDX-License-Identifier: Apache-2.0 */
/* reload: a word with a running job. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/cli.h"
#include "run/control.h"
#include "run/setup.h"
#include "run/shadow.h"

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
		rc = tide_control_hear(answer, stdout, err);
	if (answer != NULL)
		fclose(answer);
	tide_setup_fini(&setup);
	return rc;
}
