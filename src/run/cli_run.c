/* SPDX-License-Identifier: Apache-2.0 */
/* run, wordcount, dedup, demo. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "broker/broker.h"
#include "broker/produce.h"
#include "job/sampler.h"
#include "run/board.h"
#include "run/cli.h"
#include "run/evidence.h"
#include "run/loop.h"
#include "run/scratch.h"
#include "run/setup.h"
#include "serve/serve.h"

/* The settings that decide what is read and where it is kept, as they are. */
static void log_settings(const struct tide_cli *cli)
{
	static const char *const shown[] = {
		"brokers",           "topic", "group", "from", "checkpoint-dir", "workers",
		"fail-on-data-loss", "listen"
	};
	for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
		const char *text = tide_config_text(cli->config, shown[i]);
		if (text != NULL)
			tide_log(TIDE_INFO, "%s = %s (%s)", shown[i], text,
			         tide_config_origin(cli->config, shown[i]));
	}
}

static void warn_checkpoint_place(const char *dir)
{
	if (strncmp(dir, "/tmp/", 5) == 0)
		tide_log(
			TIDE_WARN,
			"the checkpoint %s is under /tmp. When that is cleared: Job restarts "
			"lose state and restart from configured starting offsets. Offset conflicts may "
			"occur if the topic has changed. Choose another place with --checkpoint-dir.",
			dir);
}

/* What `tidemark check` says too; the job runs all the same. */
static void warn_of_job(const struct tide_setup *setup)
{
	struct tide_error err = { 0 };
	if (tide_vm_lint(setup->vm, setup->plan, false, &err) != TIDE_OK)
		tide_log(TIDE_WARN, "the job was not looked through for mistakes: %s", err.text);
	for (int i = 0; i < setup->plan->warning_count; i++) {
		const struct tide_plan_warning *warning = &setup->plan->warnings[i];
		tide_log(TIDE_WARN, "%s:%d: %s", warning->path, warning->line, warning->text);
	}
}

static int refuse_delta(const struct tide_setup *setup, struct tide_error *err)
{
	const char *enabled = tide_option_get(&setup->set, "delta_enabled");
	if (enabled == NULL || strcmp(enabled, "true") != 0)
		return TIDE_OK;
	return tide_fail(err, TIDE_ERR_USAGE,
	                 "KAFSCALE_DELTA_ENABLED is true, but this version has "
	                 "no Delta sink; unset it and read the counts from the console");
}

/* A page is worth having but not worth failing for, unless it was asked for. */
static int start_page(const struct tide_cli *cli, struct tide_board *board, bool any_port,
                      struct tide_serve **out, struct tide_error *err)
{
	const char *listen = tide_config_text(cli->config, "listen");
	if (listen == NULL || !tide_config_bool(cli->config, "ui"))
		return TIDE_OK;
	struct tide_serve_options options = { listen, tide_board_get, board };
	int rc = tide_serve_start(&options, out, err);
	bool asked = tide_config_layer(cli->config, "listen") > TIDE_LAYER_BUILTIN;
	if (rc == TIDE_ERR_UNAVAILABLE && (!asked || any_port)) {
		tide_log(TIDE_WARN, "%s; %s", err->text,
		         any_port ? "taking a free port" : "going on without the page");
		options.listen = "127.0.0.1:0";
		rc = any_port ? tide_serve_start(&options, out, err) : TIDE_OK;
	}
	if (rc == TIDE_OK && *out != NULL)
		tide_log(TIDE_INFO, "page at http://127.0.0.1:%d/", tide_serve_port(*out));
	return rc;
}

/* What is counted goes by the name of the last key column: of words in the
 * word count. */
static const char *counted(const struct tide_plan *plan)
{
	if (plan->keyed_count == 0)
		return NULL;
	const struct tide_plan_keyed *keyed = &plan->keyed[0];
	return keyed->row->columns[keyed->keys[keyed->key_count - 1]].name;
}

static int run_job(struct tide_cli *cli, struct tide_setup *setup, bool demo,
                   struct tide_error *err)
{
	struct tide_serve *serve = NULL;
	char max_diff[32];
	int epochs = 0;
	struct tide_board *board =
		tide_board_new(setup->plan->job, counted(setup->plan), setup->settings.workers,
	                       setup->settings.progress_path);
	if (board == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to run");
	int rc = refuse_delta(setup, err);
	if (rc == TIDE_OK)
		rc = tide_cli_shadow(cli, &epochs, max_diff, sizeof max_diff, err);
	if (rc == TIDE_OK)
		warn_of_job(setup);
	if (rc == TIDE_OK)
		rc = start_page(cli, board, demo, &serve, err);
	if (rc == TIDE_OK) {
		log_settings(cli);
		if (!demo)
			warn_checkpoint_place(setup->checkpoint_dir);
		atomic_store(&cli->hangups->wanted, 1);
		struct tide_loop_options loop = {
			.settings = &setup->settings,
			.plan = setup->plan,
			.vm = setup->vm,
			.board = board,
			.stop = cli->stop,
			.result_fd = STDOUT_FILENO,
			.reloads = true,
			.watch = tide_cli_own(cli, "watch") != NULL,
			.shadow_epochs = epochs,
			.max_diff = max_diff[0] != '\0' ? max_diff : NULL,
			.hangups = &cli->hangups->count,
		};
		rc = tide_loop_run(&loop, err);
	}
	tide_serve_stop(serve);
	if (rc == TIDE_OK && (demo || tide_cli_own(cli, "timings") != NULL ||
	                      !tide_config_bool(cli->config, "quiet")))
		tide_board_summary(board, tide_cli_own(cli, "timings") != NULL, stderr);
	tide_board_free(board);
	return rc;
}

/* With --profile-lua; the report comes when the VMs are gone, with the loop. */
static int run_asked(struct tide_cli *cli, struct tide_setup *setup, bool demo,
                     struct tide_error *err)
{
	if (tide_cli_own(cli, "profile-lua") == NULL)
		return run_job(cli, setup, demo, err);
	struct tide_sampler_options options = { .lua_dir = setup->lua_dir,
		                                .vms = setup->settings.workers,
		                                .rests = true };
	struct tide_sampler *sampler = tide_sampler_new(&options);
	if (sampler == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to profile");
	setup->settings.sampler = sampler;
	int rc = run_job(cli, setup, demo, err);
	const char *report = tide_sampler_report(sampler);
	fputs(report != NULL ? report : "no profile: the job has not run\n", stderr);
	tide_sampler_free(sampler);
	return rc;
}

static int load_and_run(struct tide_cli *cli, const char *job, struct tide_error *err)
{
	struct tide_setup setup;
	int rc = tide_setup_load(&setup, cli, job, err);
	if (rc == TIDE_OK)
		rc = run_asked(cli, &setup, false, err);
	if (rc == TIDE_ERR_SCRIPT) /* As load errors have it, and all that dev shows. */
		tide_evidence_add(setup.plan, (struct tide_slice){ NULL, 0 }, err);
	tide_setup_fini(&setup);
	return rc;
}

int tide_cli_run(struct tide_cli *cli, struct tide_error *err)
{
	return load_and_run(cli, cli->words[0], err);
}

int tide_cli_wordcount(struct tide_cli *cli, struct tide_error *err)
{
	return load_and_run(cli, "wordcount", err);
}

int tide_cli_dedup(struct tide_cli *cli, struct tide_error *err)
{
	return load_and_run(cli, "dedup", err);
}

static const char demo_topic[] = "demo-topic-1";

struct generator {
	pthread_t thread;
	bool running;
	struct tide_produce_options options;
	atomic_int stop;
	struct tide_error err;
};

static void *generator_main(void *arg)
{
	struct generator *generator = arg;
	int64_t produced = 0;
	if (tide_produce(&generator->options, &produced, &generator->err) != TIDE_OK)
		tide_log(TIDE_WARN, "the generator stopped: %s", generator->err.text);
	return NULL;
}

static int start_generator(struct generator *generator, const char *address, struct tide_error *err)
{
	generator->options = (struct tide_produce_options){
		.brokers = address,
		.topic = demo_topic,
		.generator = "words",
		.rate = 2000,
		.seed = 1,
		.quiet = true,
		.in = -1,
		.stop = &generator->stop,
	};
	if (pthread_create(&generator->thread, NULL, generator_main, generator) != 0)
		return tide_fail(err, TIDE_ERR_FAILED, "cannot start the generator");
	generator->running = true;
	return TIDE_OK;
}

static void stop_generator(struct generator *generator)
{
	if (!generator->running)
		return;
	atomic_store(&generator->stop, 1);
	pthread_join(generator->thread, NULL);
}

/* The demo's own settings go in as flags, before those of the user. */
static int demo_flags(struct tide_cli *cli, const char *address, const char *dir,
                      struct tide_error *err)
{
	const char *flags[][2] = {
		{ "--brokers", address },
		{ "--from", "earliest" },
		{ "--checkpoint-dir", dir },
		{ "--trigger", "500ms" },
	};
	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		int taken = 0;
		char *args[] = { (char *)(uintptr_t)flags[i][0], (char *)(uintptr_t)flags[i][1] };
		if (tide_config_layer(cli->config, flags[i][0] + 2) == TIDE_LAYER_FLAG)
			continue;
		int rc = tide_config_flag(cli->config, 2, args, &taken, err);
		if (rc != TIDE_OK)
			return rc;
	}
	return TIDE_OK;
}

int tide_cli_demo(struct tide_cli *cli, struct tide_error *err)
{
	static struct generator generator;
	struct tide_setup setup = { 0 };
	struct tide_broker *broker = NULL;
	const char *tmp = getenv("TMPDIR");
	char dir[1024];
	snprintf(dir, sizeof dir, "%s/tidemark-demo-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		return tide_fail(err, TIDE_ERR_IO, "cannot make a folder for the demo: %s: %s", dir,
		                 strerror(errno));
	int rc = tide_broker_start(&broker, err);
	if (rc == TIDE_OK)
		rc = tide_broker_topic(broker, demo_topic, 4, err);
	if (rc == TIDE_OK)
		rc = demo_flags(cli, tide_broker_address(broker), dir, err);
	if (rc == TIDE_OK)
		rc = tide_setup_load(&setup, cli, "wordcount", err);
	if (rc == TIDE_OK)
		rc = start_generator(&generator, tide_broker_address(broker), err);
	if (rc == TIDE_OK)
		rc = run_asked(cli, &setup, true, err);
	stop_generator(&generator);
	tide_setup_fini(&setup);
	tide_broker_stop(broker);
	tide_scratch_remove(dir);
	return rc;
}
