/* SPDX-License-Identifier: Apache-2.0 */
/* profile: where the time of a job goes, by its lines. */
#include <stdio.h>
#include <stdlib.h>

#include "run/cli.h"
#include "run/profiling.h"

enum { LAST_DEFAULT = 100000, LAST_MAX = 1000000 };

int tide_cli_profile(struct tide_cli *cli, struct tide_error *err)
{
	const char *last = tide_cli_own(cli, "last");
	char *end = NULL, *report = NULL;
	struct tide_profiling profiling = {
		.cli = cli,
		.job = cli->words[0],
		.input = tide_cli_own(cli, "input"),
		.last = last != NULL ? strtoll(last, &end, 10) : LAST_DEFAULT,
		.json = tide_cli_own(cli, "json") != NULL,
	};
	if (last != NULL &&
	    (end == last || *end != '\0' || profiling.last <= 0 || profiling.last > LAST_MAX))
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--last wants a number from 1 to %d, not \"%s\"", LAST_MAX, last);
	if (last != NULL && profiling.input != NULL)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--last is for the job's topics, and --input is given");
	int rc = tide_profiling(&profiling, &report, err);
	if (rc == TIDE_OK)
		fputs(report, stdout);
	free(report);
	return rc;
}
