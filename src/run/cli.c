/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: which command, its words and flags. */
#include "run/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct tide_own_flag run_flags[] = {
	{ "w/watch", NULL,
	  "take over a new version of the job, or of a module of it, when it is saved; "
	  "`tidemark reload` and SIGHUP do that once" },
	{ "shadow", "N",
	  "before a saved version takes over, run it beside the old one as `tidemark reload "
	  "--shadow N` does, and show what differs" },
	{ "max-diff", "SHARE",
	  "with --shadow: it takes over only where at most this share of the rows differs" },
	{ "progress", "FILE", "append one JSON object per epoch to FILE" },
	{ "timings", NULL, "at the end, say where the time of the epochs went, phase by phase" },
	{ "jit-off", NULL, "run the job's Lua interpreted, to compare" },
	{ "profile-lua", NULL,
	  "at the end, say on stderr which lines of the job took the time, as "
	  "`tidemark profile` does" },
	{ 0 }
};
static const struct tide_own_flag reload_flags[] = {
	{ "shadow", "N",
	  "first run the new version beside the old one on the records of the last N epochs, "
	  "from the state before them and with sinks muted, and show what differs; what is not "
	  "kept of them is made up for by the next epochs; without --max-diff that is all, and "
	  "exit 4 says that something does" },
	{ "max-diff", "SHARE",
	  "with --shadow: take over where at most this share of the rows differs (0.1%, or 0% "
	  "for none); else exit 4, and the old version goes on" },
	{ 0 }
};
static const struct tide_own_flag check_flags[] = { { "strict", NULL,
	                                              "exit 4 where there are warnings" },
	                                            { "json", NULL, "one JSON object on stdout" },
	                                            { 0 } };
static const struct tide_own_flag new_flags[] = {
	{ "template", "NAME", "wordcount (unless said), window, dedup or session" }, { 0 }
};
static const struct tide_own_flag dev_flags[] = {
	{ "input", "FILE",
	  "records from a file, or from stdin (-): lines that `produce` takes, or plain values" },
	{ "last", "N", "without --input: the last N records of the job's topics (1000)" },
	{ "limit", "SPAN", "a run that takes longer is stopped (10s)" },
	{ "once", NULL, "run once and end; exit 1 or 3 where it failed" },
	{ 0 }
};
static const struct tide_own_flag profile_flags[] = {
	{ "input", "FILE",
	  "records from a file, over and over: lines that `produce` takes, or plain values" },
	{ "last", "N", "without --input: the last N records of the job's topics (100000)" },
	{ "limit", "SPAN", "a batch of records that takes longer ends it (30s)" },
	{ "whole", NULL, "print whole files, not only what is around the lines that take time" },
	{ "json", NULL, "one JSON object on stdout" },
	{ 0 }
};
static const struct tide_own_flag test_flags[] = {
	{ "filter", "PATTERN", "only tests whose name matches this Lua pattern" },
	{ "simulate", "N",
	  "instead of specs: run the jobs N times with other epochs, workers, crashes and "
	  "orders of records, which must come to the same" },
	{ "seed", "S", "of the first simulation; a failure names the one that repeats it" },
	{ "limit", "SPAN", "a run of the simulation that takes longer is stopped (30s)" },
	{ "input", "FILE",
	  "simulate with these records, a recording or lines; else they are made up from the "
	  "columns that the job declares" },
	{ 0 }
};
static const struct tide_own_flag explain_flags[] = {
	{ "dot", NULL, "the plan as a graph for Graphviz" },
	{ "json", NULL, "as JSON" },
	{ "running", NULL,
	  "why nothing comes out of the job that runs: what its page says, or else its "
	  "checkpoint (--checkpoint-dir will do without the job's file)" },
	{ 0 }
};
static const struct tide_own_flag record_flags[] = {
	{ "n/records", "N", "so many records (1000); before that, Ctrl+C or --for ends it" },
	{ "o/out", "FILE", "where the recording goes" },
	{ "redact", "FIELD,…",
	  "hide these fields of JSON values (user.name), the key, headers or header.NAME: "
	  "hashes of the same type take their places before anything is written" },
	{ "with-state", NULL,
	  "begin with what the job's checkpoint holds, and where it stands; the checkpoint "
	  "is only read" },
	{ 0 }
};
static const struct tide_own_flag replay_flags[] = {
	{ "job", "FILE", "this job instead of the recorded one" },
	{ "diff", NULL,
	  "compare the rows of the recorded job with those of --job; exit 4 where they differ" },
	{ "max-diff", "SHARE", "with --diff: up to this share of the rows (0.1%) may differ" },
	{ "failures", NULL,
	  "compare how many records fail in the recorded job and in --job; exit 4 where more "
	  "do in --job" },
	{ "emit-spec", "FILE", "write a spec for `tidemark test` from it; - is stdout" },
	{ "jit-off", NULL, "run the job's Lua interpreted, to compare" },
	{ 0 }
};
static const struct tide_own_flag config_flags[] = {
	{ "origin", NULL, "also say where each value came from (always shown)" },
	{ "json", NULL, "as JSON" },
	{ 0 }
};
static const struct tide_own_flag json_flags[] = { { "json", NULL, "as JSON" }, { 0 } };
static const struct tide_own_flag progress_flags[] = { { "last", "N", "only of the newest N" },
	                                               { 0 } };
static const struct tide_own_flag offsets_flags[] = {
	{ "format", "text|json", "json: one Spark-shaped object per kept epoch" }, { 0 }
};
static const struct tide_own_flag reset_flags[] = {
	{ "to", "WHERE",
	  "earliest, latest, a time (2024-01-01T00:00:00Z, or 7d: ago), or "
	  "offsets as {\"topic\":{\"0\":100}}" },
	{ "state", "clear|keep",
	  "what becomes of the keyed state: reading again what it holds "
	  "already counts twice unless it is cleared" },
	{ "yes", NULL, "do not ask" },
	{ 0 }
};
static const struct tide_own_flag no_flags[] = { { 0 } };
static const struct tide_own_flag prune_flags[] = { { "keep", "N", "leave the newest N (3)" },
	                                            { 0 } };
static const struct tide_own_flag restore_flags[] = { { "yes", NULL, "do not ask" }, { 0 } };
static const struct tide_own_flag outbox_flags[] = { { "json", NULL,
	                                               "show: the rows, an object a line" },
	                                             { "yes", NULL, "skip: do not ask" },
	                                             { 0 } };
static const struct tide_own_flag resolve_flags[] = {
	{ "published", NULL, "the rows are in the output: go on behind them" },
	{ "republish", NULL, "they are not: publish them" },
	{ 0 }
};
static const struct tide_own_flag state_flags[] = { { "limit", "N", "at most N rows (20)" },
	                                            { 0 } };
static const struct tide_own_flag produce_flags[] = {
	{ "generator", "NAME",
	  "words, text, readings or articles; without it JSON lines are read from stdin. "
	  "The last two take --set step=10ms (of event time), start=TIME, late=PERCENT, "
	  "late_by=20s, ids=N, order=cycle|random" },
	{ "rate", "N",
	  "records a second; 0: as fast as it goes (`produce readings` and `produce articles` "
	  "write 5, or MSGS_PER_SEC)" },
	{ "count", "N", "stop after N records" },
	{ "seed", "N", "same seed, same records" },
	{ 0 }
};
static const struct tide_own_flag broker_flags[] = {
	{ "partitions", "N", "of topics named on the command line (4)" }, { 0 }
};

static const struct tide_command commands[] = {
	{ "run", "JOB.lua", "run a job until it is stopped", 1, 1, true, run_flags, tide_cli_run },
	{ "wordcount", "", "run the bundled word count", 0, 0, true, run_flags,
	  tide_cli_wordcount },
	{ "dedup", "", "run the bundled job for articles that come more than once", 0, 0, true,
	  run_flags, tide_cli_dedup },
	{ "demo", "", "word count on an embedded broker with a generator and the page", 0, 0, true,
	  run_flags, tide_cli_demo },
	{ "reload", "JOB.lua",
	  "have the running job take over what its file says now, and tell what came of it", 1, 1,
	  true, reload_flags, tide_cli_reload },
	{ "check", "JOB.lua", "load a job, check its plan and warn, without a broker", 1, 1, true,
	  check_flags, tide_cli_check },
	{ "new", "NAME", "make a folder with a job, its tests, and records to try it on", 1, 1,
	  false, new_flags, tide_cli_new },
	{ "dev", "JOB.lua", "run a job on sample records, again after each save; nothing is kept",
	  1, 1, true, dev_flags, tide_cli_dev },
	{ "profile", "JOB.lua",
	  "run a job on sample records for --for (10s), and print what each line of its source "
	  "takes beside it",
	  1, 1, true, profile_flags, tide_cli_profile },
	{ "test", "[SPEC…]", "run the specs of jobs: files, folders, jobs, or what is here", 0, 256,
	  false, test_flags, tide_cli_test },
	{ "record", "JOB.lua", "keep real records of a job, its epochs and its rows, in a file", 1,
	  1, true, record_flags, tide_cli_record },
	{ "replay", "FILE", "run a recorded job again, or another one in its place", 1, 1, true,
	  replay_flags, tide_cli_replay },
	{ "explain", "[JOB.lua]", "print a job's plan, or why nothing comes out of it", 0, 1, true,
	  explain_flags, tide_cli_explain },
	{ "config", "[JOB.lua]", "every setting, its value and where it came from", 0, 1, true,
	  config_flags, tide_cli_config },
	{ "checkpoint show", "[JOB.lua]", "what a checkpoint holds", 0, 1, true, json_flags,
	  tide_cli_checkpoint_show },
	{ "checkpoint progress", "[JOB.lua]",
	  "what --progress says of an epoch, of those that are kept", 0, 1, true, progress_flags,
	  tide_cli_checkpoint_progress },
	{ "checkpoint verify", "[JOB.lua]", "read every record and checksum of a checkpoint", 0, 1,
	  true, json_flags, tide_cli_checkpoint_verify },
	{ "checkpoint copy", "[JOB.lua]", "keep this moment to go back to, also while the job runs",
	  0, 1, true, no_flags, tide_cli_checkpoint_copy },
	{ "checkpoint copies", "[JOB.lua]", "the moments that are kept, the oldest first", 0, 1,
	  true, no_flags, tide_cli_checkpoint_copies },
	{ "checkpoint prune", "[JOB.lua]", "remove all copies but the newest", 0, 1, true,
	  prune_flags, tide_cli_checkpoint_prune },
	{ "checkpoint restore", "[JOB.lua] COPY",
	  "go back to a copy, by name or `newest`; the job must not run", 1, 2, true, restore_flags,
	  tide_cli_checkpoint_restore },
	{ "checkpoint outbox", "show|skip [JOB.lua] [SINK]",
	  "rows that are decided and not known to be published; skip gives them up", 1, 3, true,
	  outbox_flags, tide_cli_checkpoint_outbox },
	{ "checkpoint resolve", "[JOB.lua] SINK",
	  "say whether a sink that has lost its memory published its rows", 1, 2, true,
	  resolve_flags, tide_cli_checkpoint_resolve },
	{ "offsets show", "[JOB.lua]", "next offsets, of every epoch that is kept", 0, 1, true,
	  offsets_flags, tide_cli_offsets_show },
	{ "offsets reset", "JOB.lua", "read again from another place", 1, 1, true, reset_flags,
	  tide_cli_offsets_reset },
	{ "state ls", "JOB.lua", "rows of a job's keyed state", 1, 1, true, state_flags,
	  tide_cli_state_ls },
	{ "state get", "JOB.lua KEY…", "the row of one key", 2, 17, true, state_flags,
	  tide_cli_state_get },
	{ "produce", "TOPIC", "write records to a topic", 1, 1, true, produce_flags,
	  tide_cli_produce },
	{ "broker", "[TOPIC…]", "the embedded broker alone", 0, 16, true, broker_flags,
	  tide_cli_broker },
	{ "version", "", "versions of Tidemark and its libraries", 0, 0, false, json_flags,
	  tide_cli_version },
	{ 0 }
};

/* Columns that text takes on a terminal: not its bytes. */
static int width_of(const char *text)
{
	int width = 0;
	for (; *text != '\0'; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}

static void print_commands(FILE *out)
{
	fprintf(out,
	        "tidemark: stream processing with Kafka and Lua, exactly once, in one process\n\n"
	        "usage: tidemark COMMAND [WORDS] [FLAGS]\n\n");
	for (const struct tide_command *c = commands; c->name != NULL; c++) {
		char left[64];
		snprintf(left, sizeof left, "%s %s", c->name, c->words);
		int room = 28 - width_of(left);
		fprintf(out, "  %s%*s %s\n", left, room > 0 ? room : 0, "", c->help);
	}
	fprintf(out,
	        "\n`tidemark COMMAND --help` lists the flags of a command. `wordcount` may stand "
	        "for the\nbundled job's file wherever JOB.lua does.\n");
}

/* The flag's name without its letter. */
static const char *long_name(const struct tide_own_flag *flag)
{
	return flag->name[1] == '/' ? flag->name + 2 : flag->name;
}

static void print_help(const struct tide_command *command, enum tide_family family)
{
	printf("usage: tidemark %s %s%s[FLAGS]\n\n%s\n\n", command->name, command->words,
	       command->words[0] ? " " : "", command->help);
	for (const struct tide_own_flag *flag = command->flags; flag->name != NULL; flag++) {
		char left[64];
		char letter[] = { '-', flag->name[0], ',', ' ', '\0' };
		const char *name = long_name(flag);
		snprintf(left, sizeof left, "%s--%s%s%s", name != flag->name ? letter : "", name,
		         flag->takes ? " " : "", flag->takes ? flag->takes : "");
		printf("  %s\n      %s\n", left, flag->help);
	}
	struct tide_buf text = { 0 };
	const struct tide_setting *setting;
	for (size_t i = 0; command->settings && (setting = tide_setting_at(i)) != NULL; i++)
		tide_setting_help(setting, family, &text);
	if (text.len > 0)
		printf("%.*s", (int)text.len, text.p);
	tide_buf_fini(&text);
}

/* Does the command's name begin with these words? How many it takes, or 0. */
static int name_matches(const struct tide_command *command, int count, char **words)
{
	const char *space = strchr(command->name, ' ');
	if (space == NULL)
		return count > 0 && strcmp(words[0], command->name) == 0 ? 1 : 0;
	size_t first = (size_t)(space - command->name);
	return count > 1 && strlen(words[0]) == first &&
	                       strncmp(words[0], command->name, first) == 0 &&
	                       strcmp(words[1], space + 1) == 0
	               ? 2
	               : 0;
}

static int unknown_command(int count, char **words, struct tide_error *err)
{
	char list[256] = "";
	for (const struct tide_command *c = commands; c->name != NULL; c++) {
		size_t first = strcspn(c->name, " ");
		if (strlen(words[0]) == first && strncmp(words[0], c->name, first) == 0)
			snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s",
			         list[0] ? ", " : "", c->name);
	}
	if (list[0] != '\0')
		return tide_fail(err, TIDE_ERR_USAGE, "`tidemark %s` wants one more word: %s",
		                 words[0], list);
	(void)count;
	return tide_fail(err, TIDE_ERR_USAGE,
	                 "there is no command \"%s\"; `tidemark --help` lists them", words[0]);
}

const char *tide_cli_own(const struct tide_cli *cli, const char *name)
{
	return tide_option_get(&cli->own, name);
}

int tide_cli_share(const struct tide_cli *cli, const char *name, double *out,
                   struct tide_error *err)
{
	const char *text = tide_cli_own(cli, name);
	char *end = NULL;
	if (text == NULL)
		return TIDE_OK;
	double share = strtod(text, &end) / 100;
	if (end == text || strcmp(end, "%") != 0 || !(share >= 0 && share <= 1))
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--%s wants a share such as 0.1%%, not \"%s\"", name, text);
	*out = share;
	return TIDE_OK;
}

/* What is behind the flag in this argument: "" or "=value"; NULL: it is another. */
static const char *behind_flag(const struct tide_own_flag *flag, const char *arg)
{
	const char *name = long_name(flag);
	size_t len = strlen(name);
	if (name != flag->name && arg[1] == flag->name[0] && arg[2] == '\0')
		return arg + 2;
	if (strncmp(arg, "--", 2) != 0 || strncmp(arg + 2, name, len) != 0)
		return NULL;
	return arg[2 + len] == '\0' || arg[2 + len] == '=' ? arg + 2 + len : NULL;
}

/* An own flag of the command, as --name, --name=value or --name value. Takes
 * how many arguments, or 0 when it is none of them. */
static int own_flag(struct tide_cli *cli, int count, char **args, struct tide_error *err)
{
	for (const struct tide_own_flag *flag = cli->command->flags; flag->name != NULL; flag++) {
		const char *rest = behind_flag(flag, args[0]), *name = long_name(flag);
		if (rest == NULL)
			continue;
		const char *value = *rest == '=' ? rest + 1 : flag->takes == NULL ? "" : NULL;
		if (flag->takes != NULL && value == NULL && count < 2)
			return tide_fail(err, TIDE_ERR_USAGE, "--%s wants a value: %s", name,
			                 flag->takes);
		if (!tide_option_set(&cli->own, name, value ? value : args[1]))
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for flags");
		return value ? 1 : 2;
	}
	return 0;
}

/* Sorts the arguments behind the command into flags and words. */
static int parse(struct tide_cli *cli, int count, char **args, bool *help, struct tide_error *err)
{
	bool flags_over = false;
	for (int i = 0; i < count;) {
		int taken = 0;
		if (flags_over || args[i][0] != '-' || args[i][1] == '\0') {
			cli->words[cli->word_count++] = args[i++];
			continue;
		}
		if (strcmp(args[i], "--") == 0) {
			flags_over = true;
			i++;
			continue;
		}
		if (strcmp(args[i], "--help") == 0 || strcmp(args[i], "-h") == 0) {
			*help = true;
			i++;
			continue;
		}
		taken = own_flag(cli, count - i, args + i, err);
		int rc = taken < 0 ? taken : TIDE_OK;
		if (taken == 0)
			rc = tide_config_flag(cli->config, count - i, args + i, &taken, err);
		if (rc != TIDE_OK)
			return rc;
		i += taken;
	}
	return TIDE_OK;
}

static int check_words(const struct tide_cli *cli, struct tide_error *err)
{
	const struct tide_command *command = cli->command;
	if (cli->word_count < command->words_min)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "`tidemark %s` wants %s; see `tidemark %s --help`", command->name,
		                 command->words, command->name);
	if (cli->word_count > command->words_max)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "`tidemark %s` does not take \"%s\"; see `tidemark "
		                 "%s --help`",
		                 command->name, cli->words[command->words_max], command->name);
	return TIDE_OK;
}

int tide_cli_main(int argc, char **argv, char **environment, const atomic_int *stop,
                  struct tide_hangups *hangups, struct tide_error *err)
{
	struct tide_cli cli = {
		.program = argv[0], .environment = environment, .stop = stop, .hangups = hangups
	};
	bool help = false;
	int taken = 0;
	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_commands(argc < 2 ? stderr : stdout);
		return argc < 2 ? tide_fail(err, TIDE_ERR_USAGE, "no command given") : TIDE_OK;
	}
	if (strcmp(argv[1], "--failpoints") == 0)
		return tide_cli_failpoints(err);
	if (strcmp(argv[1], "--version") == 0)
		argv[1] = "version";
	for (cli.command = commands; cli.command->name != NULL; cli.command++)
		if ((taken = name_matches(cli.command, argc - 1, argv + 1)) > 0)
			break;
	if (cli.command->name == NULL)
		return unknown_command(argc - 1, argv + 1, err);
	cli.words = calloc((size_t)argc, sizeof *cli.words);
	cli.config = tide_config_new();
	int rc = cli.words == NULL || cli.config == NULL
	                 ? tide_fail(err, TIDE_ERR_NOMEM, "no memory to start")
	                 : parse(&cli, argc - 1 - taken, argv + 1 + taken, &help, err);
	if (rc == TIDE_OK && help)
		print_help(cli.command, strcmp(cli.command->name, "wordcount") == 0
		                                ? TIDE_FAMILY_WORDCOUNT
		                                : TIDE_FAMILY_OTHER);
	else if (rc == TIDE_OK)
		rc = check_words(&cli, err);
	if (rc == TIDE_OK && !help)
		rc = cli.command->run(&cli, err);
	tide_options_fini(&cli.own);
	tide_config_free(cli.config);
	free(cli.words);
	return rc;
}
