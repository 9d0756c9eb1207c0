/* SPDX-License-Identifier: Apache-2.0 */
/* From a command line to a checked job and settled settings. */
#include "run/setup.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "job/hang.h"
#include "run/exchange.h"

/* Folders that may hold lua/ and jobs/: the checkout above build/, and what
 * `make install` lays out. */
static int find_library(struct tide_setup *setup, struct tide_error *err)
{
	static const char *const around[] = { "..", "../..", "../share/tidemark" };
	char exe[3072];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
	if (len <= 0)
		return tide_fail(err, TIDE_ERR_FAILED, "cannot find out where the program is: %s",
		                 strerror(errno));
	exe[len] = '\0';
	char *slash = strrchr(exe, '/');
	assert(slash != NULL);
	*slash = '\0';
	for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
		char probe[4096];
		snprintf(setup->lua_dir, sizeof setup->lua_dir, "%s/%s/lua", exe, around[i]);
		snprintf(probe, sizeof probe, "%s/%s/lua/tidemark/init.lua", exe, around[i]);
		if (access(probe, R_OK) == 0)
			return TIDE_OK;
	}
	return tide_fail(err, TIDE_ERR_FAILED,
	                 "the Lua library was not found around %s; run the "
	                 "program from its checkout, or `make install`",
	                 exe);
}

static int find_job(struct tide_setup *setup, const char *job, struct tide_error *err)
{
	snprintf(setup->job_path, sizeof setup->job_path, "%s", job);
	if (strchr(job, '/') == NULL && strchr(job, '.') == NULL && access(job, R_OK) != 0)
		snprintf(setup->job_path, sizeof setup->job_path, "%.3000s/../jobs/%.900s.lua",
		         setup->lua_dir, job);
	const char *base = strrchr(setup->job_path, '/');
	base = base == NULL ? setup->job_path : base + 1;
	snprintf(setup->job, sizeof setup->job, "%.*s", (int)strcspn(base, "."), base);
	if (setup->job[0] == '\0')
		return tide_fail(err, TIDE_ERR_USAGE, "\"%s\" is not the path of a job file", job);
	return TIDE_OK;
}

static int copy_pairs(const struct tide_config *config, const char *name, const char *prefix,
                      struct tide_options *out, struct tide_error *err)
{
	char key[256];
	tide_options_fini(out);
	for (size_t i = 0; i < tide_config_pair_count(config, name); i++) {
		struct tide_pair_value pair = tide_config_pair_at(config, name, i);
		snprintf(key, sizeof key, "%s%s", prefix, pair.key);
		if (!tide_option_set(out, key, pair.value))
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for settings");
	}
	return TIDE_OK;
}

static int load_job(struct tide_setup *setup, const struct tide_cli *cli, struct tide_error *err)
{
	struct tide_vm_options options = {
		.lua_dir = setup->lua_dir,
		.set = &setup->set,
		.memory_max = (size_t)tide_config_int(cli->config, "script-memory"),
		.jit_off = tide_cli_own(cli, "jit-off") != NULL,
	};
	setup->plan = tide_plan_new();
	if (setup->plan == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a plan");
	int rc = tide_hang_start(tide_config_int(cli->config, "record-timeout"), err);
	if (rc == TIDE_OK)
		rc = tide_vm_new(&options, &setup->vm, err);
	if (rc == TIDE_OK)
		rc = tide_vm_load(setup->vm, setup->job_path, setup->plan, err);
	return rc;
}

/* What the job file says becomes a layer of the settings: tide.job{…}, and of
 * the first input where it reads from. */
static int job_layer(struct tide_setup *setup, struct tide_cli *cli, struct tide_error *err)
{
	static const char *const of_input[][2] = {
		{ "brokers", "brokers" },
		{ "topics", "topic" },
		{ "start", "from" },
	};
	const struct tide_plan *plan = setup->plan;
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && i < plan->settings.count; i++) {
		const struct tide_option *option = &plan->settings.items[i];
		if (strcmp(option->key, "on_error") != 0 && strcmp(option->key, "name") != 0)
			rc = tide_config_job_value(cli->config, option->key, option->value,
			                           setup->job_path, err);
	}
	for (size_t i = 0; rc == TIDE_OK && i < sizeof of_input / sizeof of_input[0]; i++) {
		const char *value =
			plan->input_count == 0
				? NULL
				: tide_option_get(&plan->inputs[0].options, of_input[i][0]);
		if (value != NULL)
			rc = tide_config_job_value(cli->config, of_input[i][1], value,
			                           setup->job_path, err);
	}
	return rc;
}

/* NULL leaves it to each input of the job; a word on the command line or in
 * the environment goes over all of them. */
static const char * override(const struct tide_config *config, const char *name)
{
	return tide_config_layer(config, name) <= TIDE_LAYER_JOB ? NULL
	                                                         : tide_config_text(config, name);
}

static void settle_output(struct tide_settings *settings, const struct tide_config *config)
{
	const char *format = tide_config_text(config, "output");
	settings->result_terminal = isatty(STDOUT_FILENO) == 1;
	if (format == NULL || strcmp(format, "auto") == 0)
		format = settings->result_terminal ? "table" : "spark";
	settings->muted = strcmp(format, "none") == 0;
	settings->format = settings->muted ? "spark" : format;
}

static void settings_of(struct tide_setup *setup, const struct tide_cli *cli)
{
	const struct tide_config *config = cli->config;
	struct tide_settings *settings = &setup->settings;
	*settings = (struct tide_settings){
		.job_path = setup->job_path,
		.lua_dir = setup->lua_dir,
		.brokers = override(config, "brokers"),
		.brokers_default = tide_config_text(config, "brokers"),
		.topic = override(config, "topic"),
		.group = tide_config_text(config, "group"),
		.from = override(config, "from"),
		.profile = tide_config_text(config, "profile"),
		.checkpoint_dir = setup->checkpoint_dir,
		.progress_path = tide_cli_own(cli, "progress"),
		.set = &setup->set,
		.rdkafka = &setup->rdkafka,
		.workers = (int)tide_config_int(config, "workers"),
		.memory_bytes = tide_config_int(config, "memory"),
		.script_bytes = tide_config_int(config, "script-memory"),
		.trigger_ms = tide_config_int(config, "trigger"),
		.batch_records_max = tide_config_int(config, "max-records-per-batch"),
		.records_per_second_max = tide_config_int(config, "max-records-per-second"),
		.downtime_ms = tide_config_int(config, "max-downtime"),
		.run_for_ms = tide_config_int(config, "for"),
		.fail_on_data_loss = tide_config_bool(config, "fail-on-data-loss"),
		.until_end = tide_config_bool(config, "until-end"),
		.preflight = tide_config_bool(config, "preflight"),
		.jit_off = tide_cli_own(cli, "jit-off") != NULL,
	};
	settle_output(settings, config);
}

static bool has_entry(const char *dir, const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%.3900s/%s", dir, name);
	return access(path, F_OK) == 0;
}

/* One root may hold many jobs, each in a directory of its own. Where the root
 * is itself a checkpoint, that one is meant; without a job, the only one in it. */
static int choose_checkpoint(struct tide_setup *setup, const struct tide_config *config,
                             struct tide_error *err)
{
	const char *root = tide_config_text(config, "checkpoint-dir");
	char *out = setup->checkpoint_dir;
	size_t size = sizeof setup->checkpoint_dir;
	if (root == NULL)
		return TIDE_OK;
	if (has_entry(root, "offsets") || has_entry(root, "commits"))
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "%s is a checkpoint of Spark (it holds "
		                 "offsets/ or commits/). Tidemark cannot go on from it and has not "
		                 "touched it; choose another --checkpoint-dir",
		                 root);
	if (has_entry(root, "FORMAT")) {
		snprintf(out, size, "%s", root);
		return TIDE_OK;
	}
	if (setup->job[0] != '\0') {
		snprintf(out, size, "%s/%s", root, setup->job);
		return TIDE_OK;
	}
	DIR *dir = opendir(root);
	int found = 0;
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		char path[4096];
		snprintf(path, sizeof path, "%.3000s/%s", root, entry->d_name);
		if (entry->d_name[0] != '.' && has_entry(path, "FORMAT") && ++found == 1)
			snprintf(out, size, "%s", path);
	}
	if (dir != NULL)
		closedir(dir);
	if (found > 1)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "%s holds %d checkpoints; name the job or give "
		                 "--checkpoint-dir %s",
		                 root, found, out);
	return TIDE_OK;
}

static void start_log(const struct tide_config *config)
{
	const char *format = tide_config_text(config, "log-format");
	const char *color = tide_config_text(config, "color");
	bool terminal = isatty(STDERR_FILENO) == 1;
	if (format == NULL)
		format = "auto";
	if (color == NULL)
		color = "auto";
	struct tide_log_options options = {
		.json = strcmp(format, "json") == 0,
		.terminal = terminal && strcmp(format, "json") != 0,
		.color = strcmp(color, "always") == 0 || (terminal && strcmp(color, "auto") == 0),
		.level = tide_config_bool(config, "verbose") ? TIDE_DEBUG
		         : tide_config_bool(config, "quiet") ? TIDE_WARN
		                                             : TIDE_INFO,
	};
	tide_log_init(&options);
}

static int prepare(struct tide_setup *setup, struct tide_cli *cli, const char *job, bool load,
                   struct tide_error *err)
{
	memset(setup, 0, sizeof *setup);
	int rc = find_library(setup, err);
	if (rc == TIDE_OK && job != NULL)
		rc = find_job(setup, job, err);
	if (rc == TIDE_OK && job != NULL)
		rc = tide_config_set_job(cli->config, setup->job, err);
	if (rc == TIDE_OK)
		rc = tide_config_environment(cli->config, cli->environment, err);
	if (rc == TIDE_OK)
		rc = tide_config_settle(cli->config, err);
	if (rc != TIDE_OK)
		return rc;
	start_log(cli->config);
	rc = copy_pairs(cli->config, "set", "", &setup->set, err);
	if (rc == TIDE_OK && load)
		rc = load_job(setup, cli, err);
	if (rc == TIDE_OK && load)
		rc = job_layer(setup, cli, err);
	if (rc == TIDE_OK)
		rc = tide_config_settle(cli->config, err);
	if (rc == TIDE_OK)
		rc = copy_pairs(cli->config, "X", "rdkafka.", &setup->rdkafka, err);
	if (rc != TIDE_OK)
		return rc;
	const char *warning;
	for (size_t i = 0; (warning = tide_config_warning(cli->config, i)) != NULL; i++)
		tide_log(TIDE_WARN, "%s", warning);
	settings_of(setup, cli);
	return choose_checkpoint(setup, cli->config, err);
}

int tide_setup_path(const char *job, char *path, size_t size, struct tide_error *err)
{
	static struct tide_setup setup;
	int rc = find_library(&setup, err);
	if (rc == TIDE_OK)
		rc = find_job(&setup, job, err);
	if (rc == TIDE_OK)
		snprintf(path, size, "%s", setup.job_path);
	return rc;
}

int tide_setup_load(struct tide_setup *made, struct tide_cli *cli, const char *job,
                    struct tide_error *err)
{
	return prepare(made, cli, job, job != NULL, err);
}

int tide_setup_find(struct tide_setup *made, struct tide_cli *cli, const char *job,
                    struct tide_error *err)
{
	return prepare(made, cli, job, false, err);
}

void tide_setup_fini(struct tide_setup *setup)
{
	tide_vm_free(setup->vm);
	tide_plan_free(setup->plan);
	tide_options_fini(&setup->set);
	tide_options_fini(&setup->rdkafka);
}
