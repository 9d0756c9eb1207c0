/* SPDX-License-Identifier: Apache-2.0 */
/* profile: where the time of a job goes, by its lines. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "run/cli.h"
#include "run/guard.h"
#include "run/profiling.h"

enum { LAST_DEFAULT = 100000, LAST_MAX = 1000000 };

/* A state that is profiled cannot be left where a record never ends, so the process
 * is. What loads is watched as in a run. */
static int watch(const struct tide_profiling *profiling, struct tide_guard *guard, int64_t limit_ms,
                 struct tide_error *err)
{
	bool hung;
	guard->patient = true;
	int rc = tide_guard_wait(guard, limit_ms, &hung, err);
	return hung ? tide_fail(
			      err, rc,
			      "a batch of records takes %s longer than %.4g s: does a function of "
			      "it never return? `tidemark dev %s` names the line",
			      profiling->job, (double)limit_ms / 1e3, profiling->job)
	            : rc;
}

int tide_cli_profile(struct tide_cli *cli, struct tide_error *err)
{
	const char *last = tide_cli_own(cli, "last"), *limit = tide_cli_own(cli, "limit");
	int64_t limit_ms = tide_clock_span_ms(limit != NULL ? limit : "30s");
	char *end = NULL, *report = NULL;
	struct tide_profiling profiling = {
		.cli = cli,
		.job = cli->words[0],
		.input = tide_cli_own(cli, "input"),
		.last = last != NULL ? strtoll(last, &end, 10) : LAST_DEFAULT,
		.json = tide_cli_own(cli, "json") != NULL,
		.whole = tide_cli_own(cli, "whole") != NULL,
	};
	if (last != NULL &&
	    (end == last || *end != '\0' || profiling.last <= 0 || profiling.last > LAST_MAX))
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--last wants a number from 1 to %d, not \"%s\"", LAST_MAX, last);
	if (limit_ms <= 0)
		return tide_fail(err, TIDE_ERR_USAGE, "--limit wants a span like 10s, not \"%s\"",
		                 limit);
	if (last != NULL && profiling.input != NULL)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--last is for the job's topics, and --input is given");
	struct tide_guard guard;
	int rc = tide_guard_fork(&guard, err);
	profiling.guard = &guard;
	if (rc == TIDE_OK && guard.child > 0)
		return watch(&profiling, &guard, limit_ms, err);
	if (rc == TIDE_OK)
		rc = tide_profiling(&profiling, &report, err);
	if (rc == TIDE_OK)
		fputs(report, stdout);
	free(report);
	return rc;
}
