/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: which command, its words and flags. */
#ifndef TIDE_RUN_CLI_H
#define TIDE_RUN_CLI_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/config.h"
#include "base/error.h"
#include "record/plan.h"

struct tide_cli {
	const char *program; /* argv[0] */
	const struct tide_command *command;
	struct tide_config *config; /* flags are in it; the rest is loaded by setup */
	char **environment;
	int word_count; /* what is not a flag, behind the command */
	char **words;
	struct tide_options own; /* flags of this command: --json, --to earliest */
	const atomic_int *stop;  /* counts SIGINT and SIGTERM */
	struct tide_hangups *hangups;
};

/* SIGHUP ends the process until somebody wants it counted. */
struct tide_hangups {
	atomic_int wanted, count;
};

/* A flag that only some commands have, so that it is no setting. */
struct tide_own_flag {
	const char *name;  /* "json", or "w/watch" where -w will do */
	const char *takes; /* "FILE"; NULL: no value */
	const char *help;
};

struct tide_command {
	const char *name;  /* "offsets reset" */
	const char *words; /* "JOB.lua" */
	const char *help;
	int words_min, words_max;
	bool settings;                     /* takes the settings of run as flags */
	const struct tide_own_flag *flags; /* ends with a NULL name */
	int (*run)(struct tide_cli *cli, struct tide_error *err);
};

/* Parse, dispatch, and give back a status; prints help where asked. */
int tide_cli_main(int argc, char **argv, char **environment, const atomic_int *stop,
                  struct tide_hangups *hangups, struct tide_error *err);

/* The value of an own flag ("" for one that takes none), or NULL. */
const char *tide_cli_own(const struct tide_cli *cli, const char *name);

/* That of a flag that takes a share of all, "0.1%", as 0 to 1; *out stays without it. */
int tide_cli_share(const struct tide_cli *cli, const char *name, double *out,
                   struct tide_error *err);

/* --failpoints: prints where a test build can be made to fail; others refuse. */
int tide_cli_failpoints(struct tide_error *err);

/* --shadow and --max-diff: *epochs 0 without, `most` "" without a bound. */
int tide_cli_shadow(const struct tide_cli *cli, int *epochs, char *most, size_t size,
                    struct tide_error *err);

/* Commands, by file. */
int tide_cli_run(struct tide_cli *cli, struct tide_error *err);
int tide_cli_wordcount(struct tide_cli *cli, struct tide_error *err);
int tide_cli_dedup(struct tide_cli *cli, struct tide_error *err);
int tide_cli_demo(struct tide_cli *cli, struct tide_error *err);
int tide_cli_reload(struct tide_cli *cli, struct tide_error *err);
int tide_cli_check(struct tide_cli *cli, struct tide_error *err);
int tide_cli_new(struct tide_cli *cli, struct tide_error *err);
int tide_cli_dev(struct tide_cli *cli, struct tide_error *err);
int tide_cli_profile(struct tide_cli *cli, struct tide_error *err);
int tide_cli_test(struct tide_cli *cli, struct tide_error *err);
int tide_cli_record(struct tide_cli *cli, struct tide_error *err);
int tide_cli_replay(struct tide_cli *cli, struct tide_error *err);
int tide_cli_explain(struct tide_cli *cli, struct tide_error *err);
int tide_cli_explain_running(struct tide_cli *cli, struct tide_error *err);
int tide_cli_config(struct tide_cli *cli, struct tide_error *err);
int tide_cli_version(struct tide_cli *cli, struct tide_error *err);
int tide_cli_produce(struct tide_cli *cli, struct tide_error *err);
int tide_cli_broker(struct tide_cli *cli, struct tide_error *err);
int tide_cli_checkpoint_show(struct tide_cli *cli, struct tide_error *err);
int tide_cli_checkpoint_progress(struct tide_cli *cli, struct tide_error *err);
int tide_cli_checkpoint_verify(struct tide_cli *cli, struct tide_error *err);
int tide_cli_checkpoint_copy(struct tide_cli *cli, struct tide_error *err);
int tide_cli_checkpoint_copies(struct tide_cli *cli, struct tide_error *err);
int tide_cli_checkpoint_prune(struct tide_cli *cli, struct tide_error *err);
int tide_cli_checkpoint_restore(struct tide_cli *cli, struct tide_error *err);
/* The question, unless --yes answers it. */
int tide_cli_confirm(const struct tide_cli *cli, const char *question, struct tide_error *err);
int tide_cli_checkpoint_outbox(struct tide_cli *cli, struct tide_error *err);
int tide_cli_checkpoint_resolve(struct tide_cli *cli, struct tide_error *err);
int tide_cli_offsets_show(struct tide_cli *cli, struct tide_error *err);
int tide_cli_offsets_reset(struct tide_cli *cli, struct tide_error *err);
int tide_cli_state_ls(struct tide_cli *cli, struct tide_error *err);
int tide_cli_state_get(struct tide_cli *cli, struct tide_error *err);

#endif
