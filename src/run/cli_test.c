/* SPDX-License-Identifier: Apache-2.0 */
/* test: busted over the specs of jobs, and simulations of jobs. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "job/script.h"
#include "run/cli.h"
#include "run/guard.h"
#include "run/setup.h"
#include "run/simulate.h"

enum { OPTIONS_MAX = 2 };

/* Words, and what busted is to be told as "--name=value". */
static int run_specs(const struct tide_cli *cli, const char *lua_dir, struct tide_error *err)
{
	const char *filter = tide_cli_own(cli, "filter");
	struct tide_buf filter_arg = { 0 };
	char **args = calloc((size_t)cli->word_count + OPTIONS_MAX + 1, sizeof *args);
	int count = 0;
	if (filter != NULL)
		tide_buf_printf(&filter_arg, "--filter=%s", filter);
	if (args == NULL || filter_arg.failed) {
		free(args);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for specs");
	}
	if (filter != NULL)
		args[count++] = filter_arg.p;
	if (isatty(STDOUT_FILENO) != 1)
		args[count++] = (char *)(uintptr_t) "--output=plainTerminal";
	for (int i = 0; i < cli->word_count; i++)
		args[count++] = cli->words[i];
	struct tide_script script = { lua_dir, "tidemark.specs", args };
	int rc = tide_script_run(&script, err);
	tide_buf_fini(&filter_arg);
	free(args);
	return rc;
}

/* ---- simulation ---- */

static int number_of(const struct tide_cli *cli, const char *name, uint64_t least, uint64_t most,
                     uint64_t otherwise, uint64_t *out, struct tide_error *err)
{
	const char *text = tide_cli_own(cli, name);
	char *end = NULL;
	*out = otherwise;
	if (text == NULL)
		return TIDE_OK;
	errno = 0;
	*out = strtoull(text, &end, 10);
	if (end == text || *end != '\0' || text[0] == '-' || errno != 0 || *out < least ||
	    *out > most)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--%s wants a number from %llu on, not \"%s\"", name,
		                 (unsigned long long)least, text);
	return TIDE_OK;
}

static void beat(void *guard, uint64_t seed)
{
	tide_guard_beat(guard, seed);
}

static int simulate_job(struct tide_cli *cli, const char *job, uint64_t trials, uint64_t seed,
                        struct tide_guard *guard, struct tide_error *err)
{
	struct tide_setup setup;
	struct tide_buf report = { 0 };
	int rc = tide_setup_load(&setup, cli, job, err);
	if (rc == TIDE_OK) {
		struct tide_simulation_options options = {
			.job_path = setup.job_path,
			.name = job,
			.lua_dir = setup.lua_dir,
			.set = &setup.set,
			.topic = setup.settings.topic,
			.input_path = tide_cli_own(cli, "input"),
			.trials = (int)trials,
			.seed = seed,
			.stop = cli->stop,
			.beat = beat,
			.beat_arg = guard,
		};
		rc = tide_simulate(&options, &report, err);
	}
	if (report.len > 0)
		printf("%.*s", (int)report.len, report.p);
	tide_buf_fini(&report);
	tide_setup_fini(&setup);
	return rc;
}

/* A job may never return: then the process that runs it is ended, and not this one. */
static int watch(const struct tide_cli *cli, struct tide_guard *guard, int64_t limit_ms,
                 struct tide_error *err)
{
	bool hung;
	int rc = tide_guard_wait(guard, limit_ms, &hung, err);
	if (!hung)
		return rc;
	return tide_fail(err, rc,
	                 "a run of %s takes longer than %.4g s (seed %llu): does a function of it "
	                 "never return? --limit SPAN gives it more time",
	                 cli->word_count == 1 ? cli->words[0] : "one of these jobs",
	                 (double)limit_ms / 1e3, (unsigned long long)guard->number);
}

static int simulate_all(struct tide_cli *cli, struct tide_error *err)
{
	enum { TRIALS_MAX = 1000000 };
	const char *limit = tide_cli_own(cli, "limit");
	int64_t limit_ms = tide_clock_span_ms(limit != NULL ? limit : "30s");
	uint64_t trials = 1, seed = 0, usual = (uint64_t)tide_clock_us() % 1000000;
	struct tide_guard guard;
	int rc = number_of(cli, "simulate", 1, TRIALS_MAX, 1, &trials, err);
	if (rc == TIDE_OK)
		rc = number_of(cli, "seed", 0, UINT64_MAX / 2, usual, &seed, err);
	if (rc == TIDE_OK && limit_ms <= 0)
		rc = tide_fail(err, TIDE_ERR_USAGE, "--limit wants a time like 30s, not \"%s\"",
		               limit);
	if (rc == TIDE_OK && cli->word_count == 0)
		rc = tide_fail(
			err, TIDE_ERR_USAGE,
			"say which job is to be simulated: `tidemark test JOB.lua --simulate "
			"N`");
	if (rc == TIDE_OK)
		rc = tide_guard_fork(&guard, err);
	if (rc == TIDE_OK && guard.child > 0)
		return watch(cli, &guard, limit_ms, err);
	for (int i = 0; rc == TIDE_OK && i < cli->word_count; i++)
		rc = simulate_job(cli, cli->words[i], trials, seed, &guard, err);
	return rc;
}

int tide_cli_test(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	if (tide_cli_own(cli, "simulate") != NULL)
		return simulate_all(cli, err);
	if (tide_cli_own(cli, "seed") != NULL || tide_cli_own(cli, "input") != NULL ||
	    tide_cli_own(cli, "limit") != NULL)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--seed, --input and --limit go with --simulate N");
	int rc = tide_setup_load(&setup, cli, NULL, err);
	if (rc == TIDE_OK) {
		/* Nobody looks at cli->stop meanwhile. */
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		rc = run_specs(cli, setup.lua_dir, err);
	}
	tide_setup_fini(&setup);
	return rc;
}
