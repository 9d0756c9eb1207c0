/* SPDX-License-Identifier: Apache-2.0 */
/* check, explain, config, version: looking without running. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/cli.h"
#include "run/plan.h"
#include "run/setup.h"
#include "run/versions.h"

static int print(struct tide_buf *text, struct tide_error *err)
{
	int rc = TIDE_OK;
	if (text->failed)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory to print");
	else
		fwrite(text->p, 1, text->len, stdout);
	tide_buf_fini(text);
	return rc;
}

int tide_cli_check(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	bool json = tide_cli_own(cli, "json") != NULL;
	int rc = tide_setup_load(&setup, cli, cli->words[0], err);
	if (rc == TIDE_OK && json) {
		printf("{\"ok\":true,\"job\":\"%s\",\"inputs\":%d,\"states\":%d,\"outputs\":%d}\n",
		       setup.plan->job, setup.plan->input_count, setup.plan->keyed_count,
		       setup.plan->output_count);
	} else if (rc == TIDE_OK) {
		printf("%s is fine: %d input%s, %d keyed state%s, %d output%s\n", cli->words[0],
		       setup.plan->input_count, setup.plan->input_count == 1 ? "" : "s",
		       setup.plan->keyed_count, setup.plan->keyed_count == 1 ? "" : "s",
		       setup.plan->output_count, setup.plan->output_count == 1 ? "" : "s");
	} else if (json) {
		struct tide_buf text = { 0 };
		tide_buf_printf(&text, "{\"ok\":false,\"error\":");
		tide_buf_json(&text, err->text, strlen(err->text));
		tide_buf_printf(&text, "}\n");
		print(&text, NULL);
	}
	tide_setup_fini(&setup);
	return rc;
}

int tide_cli_explain(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	struct tide_buf text = { 0 };
	int rc = tide_setup_load(&setup, cli, cli->words[0], err);
	if (rc == TIDE_OK) {
		tide_plan_explain(setup.plan,
		                  tide_cli_own(cli, "dot")    ? TIDE_PLAN_DOT
		                  : tide_cli_own(cli, "json") ? TIDE_PLAN_JSON
		                                              : TIDE_PLAN_TEXT,
		                  &text);
		rc = print(&text, err);
	}
	tide_setup_fini(&setup);
	return rc;
}

int tide_cli_config(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	struct tide_buf text = { 0 };
	int rc = tide_setup_load(&setup, cli, cli->word_count > 0 ? cli->words[0] : NULL, err);
	if (rc == TIDE_OK) {
		if (tide_cli_own(cli, "json") != NULL)
			tide_config_dump_json(cli->config, &text);
		else
			tide_config_dump_text(cli->config, &text);
		rc = print(&text, err);
	}
	tide_setup_fini(&setup);
	return rc;
}

int tide_cli_version(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_buf text = { 0 };
	tide_versions(tide_cli_own(cli, "json") != NULL, &text);
	return print(&text, err);
}
