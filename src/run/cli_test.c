/* SPDX-License-Identifier: Apache-2.0 */
/* test: busted over the specs of jobs. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job/script.h"
#include "run/cli.h"
#include "run/setup.h"

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

int tide_cli_test(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
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
