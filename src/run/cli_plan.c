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
	else if (text->len > 0)
		fwrite(text->p, 1, text->len, stdout);
	tide_buf_fini(text);
	return rc;
}

static void json_field(struct tide_buf *out, const char *name, const char *value)
{
	tide_buf_printf(out, "\"%s\":", name);
	tide_buf_json(out, value, strlen(value));
}

static void check_json(const struct tide_plan *plan, struct tide_buf *out)
{
	tide_buf_printf(out, "{\"ok\":true,");
	json_field(out, "job", plan->job);
	tide_buf_printf(out, ",\"inputs\":%d,\"states\":%d,\"outputs\":%d,\"warnings\":[",
	                plan->input_count, plan->keyed_count, plan->output_count);
	for (int i = 0; i < plan->warning_count; i++) {
		const struct tide_plan_warning *warning = &plan->warnings[i];
		tide_buf_printf(out, "%s{", i > 0 ? "," : "");
		json_field(out, "file", warning->path);
		tide_buf_printf(out, ",\"line\":%d,", warning->line);
		json_field(out, "text", warning->text);
		tide_buf_printf(out, ",");
		json_field(out, "source", warning->source);
		tide_buf_printf(out, "}");
	}
	tide_buf_printf(out, "]}\n");
}

static const char *plural(int count)
{
	return count == 1 ? "" : "s";
}

static void check_text(const struct tide_plan *plan, const char *job, struct tide_buf *out)
{
	for (int i = 0; i < plan->warning_count; i++) {
		const struct tide_plan_warning *warning = &plan->warnings[i];
		tide_buf_printf(out, "%s:%d: warning: %s\n%6d | %s\n", warning->path, warning->line,
		                warning->text, warning->line, warning->source);
	}
	if (plan->warning_count == 0)
		tide_buf_printf(out, "%s is fine", job);
	else
		tide_buf_printf(out, "%s loads, with %d warning%s", job, plan->warning_count,
		                plural(plan->warning_count));
	tide_buf_printf(out, ": %d input%s, %d keyed state%s, %d output%s\n", plan->input_count,
	                plural(plan->input_count), plan->keyed_count, plural(plan->keyed_count),
	                plan->output_count, plural(plan->output_count));
}

int tide_cli_check(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	struct tide_buf text = { 0 };
	bool json = tide_cli_own(cli, "json") != NULL;
	int rc = tide_setup_load(&setup, cli, cli->words[0], err);
	if (rc == TIDE_OK)
		rc = tide_vm_lint(setup.vm, setup.plan, true, err);
	if (rc == TIDE_OK && json) {
		check_json(setup.plan, &text);
	} else if (rc == TIDE_OK) {
		check_text(setup.plan, cli->words[0], &text);
	} else if (json) {
		tide_buf_printf(&text, "{\"ok\":false,");
		json_field(&text, "error", err->text);
		tide_buf_printf(&text, "}\n");
	}
	int printed = print(&text, rc == TIDE_OK ? err : NULL);
	if (rc == TIDE_OK)
		rc = printed;
	if (rc == TIDE_OK && setup.plan->warning_count > 0 && tide_cli_own(cli, "strict") != NULL)
		rc = tide_fail(err, TIDE_ERR_DIFFER, "%s: %d warning%s, and --strict allows none",
		               cli->words[0], setup.plan->warning_count,
		               plural(setup.plan->warning_count));
	tide_setup_fini(&setup);
	return rc;
}

int tide_cli_explain(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	struct tide_buf text = { 0 };
	if (tide_cli_own(cli, "running") != NULL)
		return tide_cli_explain_running(cli, err);
	if (cli->word_count == 0)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "`tidemark explain` wants JOB.lua; with --running the job's "
		                 "--checkpoint-dir will do");
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
