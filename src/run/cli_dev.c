/* SPDX-License-Identifier: Apache-2.0 */
/* dev: a job on sample records, again after each save. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "run/cli.h"
#include "run/dev.h"
#include "run/setup.h"

enum { LAST_DEFAULT = 1000, LAST_MAX = 1000000 };

static int read_flags(const struct tide_cli *cli, struct tide_dev_options *options,
                      struct tide_error *err)
{
	const char *last = tide_cli_own(cli, "last"), *limit = tide_cli_own(cli, "limit");
	char *end = NULL;
	options->last = last != NULL ? strtoll(last, &end, 10) : LAST_DEFAULT;
	options->limit_ms = tide_clock_span_ms(limit != NULL ? limit : "10s");
	if (last != NULL &&
	    (end == last || *end != '\0' || options->last <= 0 || options->last > LAST_MAX))
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--last wants a number from 1 to %d, not \"%s\"", LAST_MAX, last);
	if (last != NULL && options->input != NULL)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--last is for the job's topics, and --input is given");
	if (options->limit_ms <= 0)
		return tide_fail(err, TIDE_ERR_USAGE, "--limit wants a span like 10s, not \"%s\"",
		                 limit);
	return TIDE_OK;
}

int tide_cli_dev(struct tide_cli *cli, struct tide_error *err)
{
	static char path[4096];
	bool tried = false;
	struct tide_dev_options options = {
		.cli = cli,
		.job = cli->words[0],
		.path = path,
		.input = tide_cli_own(cli, "input"),
		.once = tide_cli_own(cli, "once") != NULL,
	};
	int rc = read_flags(cli, &options, err);
	if (rc == TIDE_OK)
		rc = tide_setup_path(cli->words[0], path, sizeof path, err);
	return rc == TIDE_OK ? tide_dev(&options, &tried, err) : rc;
}
