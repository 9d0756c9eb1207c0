/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: the table itself, precedence, families, errors, secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/config.h"
#include "base/config_value.h"

static struct tide_error err;

static int setup(void **state)
{
	struct tide_config *config = tide_config_new();
	memset(&err, 0, sizeof err);
	*state = config;
	return config != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	tide_config_free(*state);
	return 0;
}

static int wordcount(void **state)
{
	return setup(state) == 0 ? tide_config_set_job(*state, "wordcount", NULL) : -1;
}

/* All arguments up to NULL, one flag after the other. */
static int flags(struct tide_config *config, ...)
{
	char *args[16];
	int count = 0, taken, rc = TIDE_OK;
	va_list ap;
	va_start(ap, config);
	while ((args[count] = va_arg(ap, char *)) != NULL)
		count++;
	va_end(ap);
	for (int i = 0; rc == TIDE_OK && i < count; i += taken)
		rc = tide_config_flag(config, count - i, args + i, &taken, &err);
	return rc;
}

static int variables(struct tide_config *config, ...)
{
	static char *environment[16];
	int count = 0;
	va_list ap;
	va_start(ap, config);
	while ((environment[count] = va_arg(ap, char *)) != NULL)
		count++;
	va_end(ap);
	return tide_config_environment(config, environment, &err);
}

static void assert_from(struct tide_config *config, const char *name, const char *text,
                        const char *origin)
{
	assert_string_equal(tide_config_text(config, name), text);
	assert_string_equal(tide_config_origin(config, name), origin);
}

static void assert_says(const char *part)
{
	if (strstr(err.text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
	assert_int_equal(err.status, TIDE_ERR_USAGE);
	err = (struct tide_error){ 0 };
}

static const char *value_of(struct tide_config *config, const char *name, const char *key)
{
	for (size_t i = 0; i < tide_config_pair_count(config, name); i++) {
		struct tide_pair_value pair = tide_config_pair_at(config, name, i);
		if (strcmp(pair.key, key) == 0)
			return pair.value;
	}
	return NULL;
}

static void every_row_of_the_table_is_sound(void **state)
{
	(void)state;
	const struct tide_setting *a, *b;
	for (size_t i = 0; (a = tide_setting_at(i)) != NULL; i++) {
		char name[64];
		tide_setting_variable(a, name, sizeof name);
		assert_ptr_equal(tide_setting_find(a->name), a);
		assert_int_equal(a->help[strlen(a->help) - 1], '.');
		assert_true(a->type == TIDE_SETTING_BOOL || a->takes != NULL);
		assert_true(a->check == NULL || a->allowed != NULL);
		if (a->initial != NULL && strchr(a->initial, '$') == NULL)
			assert_true(tide_value_fits(a, a->initial));
		for (size_t k = i + 1; (b = tide_setting_at(k)) != NULL; k++) {
			assert_string_not_equal(a->name, b->name);
			assert_true(a->letter == 0 || a->letter != b->letter);
		}
	}
	const struct tide_variable *variable;
	for (size_t i = 0; (variable = tide_variable_at(i)) != NULL; i++) {
		const struct tide_setting *setting =
			variable->setting != NULL ? tide_setting_find(variable->setting) : NULL;
		assert_true(setting != NULL || variable->form == TIDE_VARIABLE_IGNORED);
		assert_true(variable->initial == NULL || strchr(variable->initial, '$') != NULL ||
		            tide_value_fits(setting, variable->initial));
	}
}

/* Is the sentence there, wherever its lines are broken? No line may be long. */
static bool help_holds(const char *help, const char *sentence)
{
	for (const char *line = help; *line != '\0'; line += strcspn(line, "\n") + 1)
		assert_in_range(strcspn(line, "\n"), 1, 110);
	for (; *help != '\0'; help++) {
		const char *a = help, *b = sentence;
		while (*b != '\0' && *a == (*b == ' ' && *a == '\n' ? '\n' : *b)) {
			a += strspn(a, " \n") > 0 ? strspn(a, " \n") : 1;
			b++;
		}
		if (*b == '\0')
			return true;
	}
	return false;
}

static void the_completion_offers_every_choice(void **state)
{
	(void)state;
	char *script = NULL;
	size_t len = 0;
	const struct tide_setting *setting;
	assert_int_equal(tide_file_read("src/run/tidemark.bash", 1 << 20, &script, &len, &err),
	                 TIDE_OK);
	for (size_t i = 0; (setting = tide_setting_at(i)) != NULL; i++) {
		char flag[64], choices[256];
		if (setting->choices == NULL)
			continue;
		snprintf(flag, sizeof flag, "\t--%s", setting->name);
		snprintf(choices, sizeof choices, ") echo %s ;;", setting->choices);
		for (char *p = choices; (p = strchr(p, '|')) != NULL;)
			*p = ' ';
		char *line = strstr(script, flag);
		if (line == NULL || strstr(line, choices) == NULL ||
		    strstr(line, choices) > strchr(line, '\n'))
			fail_msg("src/run/tidemark.bash: --%s does not offer %s", setting->name,
			         setting->choices);
	}
	free(script);
}

static void the_readme_has_a_row_for_every_setting(void **state)
{
	(void)state;
	char *readme = NULL;
	size_t len = 0;
	/* Unit tests run at the top of the tree. */
	assert_int_equal(tide_file_read("README.md", 1 << 20, &readme, &len, &err), TIDE_OK);
	struct tide_buf row = { 0 };
	const struct tide_setting *setting;
	bool found = strstr(readme, "\nSETTINGS_TABLE\n") == NULL;
	for (size_t i = 0; found && (setting = tide_setting_at(i)) != NULL; i++) {
		tide_buf_clear(&row);
		tide_setting_markdown(setting, &row);
		tide_buf_u8(&row, 0);
		if (strstr(readme, row.p) == NULL)
			fail_msg("the README's table lacks %s", row.p);
	}
	tide_buf_fini(&row);
	free(readme);
	if (!found)
		skip(); /* the table is to be written */
}

static void every_setting_has_help_that_names_its_variable(void **state)
{
	(void)state;
	const struct tide_setting *setting;
	for (size_t i = 0; (setting = tide_setting_at(i)) != NULL; i++) {
		struct tide_buf out = { 0 };
		char name[64];
		tide_setting_variable(setting, name, sizeof name);
		tide_setting_help(setting, TIDE_FAMILY_OTHER, &out);
		tide_buf_u8(&out, 0);
		assert_non_null(strstr(out.p, name));
		assert_true(help_holds(out.p, setting->help));
		tide_buf_fini(&out);
	}
	struct tide_buf out = { 0 };
	tide_setting_help(tide_setting_find("topic"), TIDE_FAMILY_WORDCOUNT, &out);
	tide_setting_help(tide_setting_find("ui"), TIDE_FAMILY_WORDCOUNT, &out);
	tide_buf_u8(&out, 0);
	assert_non_null(strstr(out.p, "-t, --topic TOPIC,…"));
	assert_non_null(strstr(out.p, "TIDEMARK_TOPIC, KAFSCALE_TOPIC [demo-topic-1]"));
	assert_non_null(strstr(out.p, "      --[no-]ui "));
	tide_buf_fini(&out);
}

static void wordcount_has_the_defaults_of_the_demo(void **state)
{
	struct tide_config *config = *state;
	assert_from(config, "brokers", "127.0.0.1:39092", "built-in");
	assert_from(config, "topic", "demo-topic-1", "built-in");
	assert_from(config, "from", "latest", "built-in");
	assert_from(config, "checkpoint-dir", "/tmp/kafscale-spark-checkpoints", "built-in");
	assert_from(config, "listen", "127.0.0.1:4040", "built-in");
	assert_false(tide_config_bool(config, "fail-on-data-loss"));
	assert_string_equal(value_of(config, "set", "include_headers"), "true");
	assert_int_equal(tide_config_int(config, "trigger"), 0);
	assert_null(tide_config_text(config, "profile"));
	assert_int_equal(tide_config_settle(config, &err), TIDE_OK);
	assert_from(config, "brokers", "127.0.0.1:39092", "built-in");
}

static void other_jobs_have_defaults_of_their_own(void **state)
{
	struct tide_config *config = *state;
	assert_int_equal(tide_config_set_job(config, "totals", &err), TIDE_OK);
	assert_from(config, "from", "earliest", "built-in");
	assert_from(config, "group", "tidemark-totals", "built-in");
	assert_true(tide_config_bool(config, "fail-on-data-loss"));
	assert_null(tide_config_text(config, "topic"));
	assert_int_equal(tide_config_layer(config, "topic"), TIDE_LAYER_NONE);
	assert_string_equal(tide_config_origin(config, "topic"), "unset");
	assert_int_equal(tide_config_pair_count(config, "set"), 0);
	assert_true(tide_config_int(config, "workers") >= 1);
	assert_int_equal(tide_config_int(config, "memory"), 512 << 20);
}

static void group_of_two_wordcounts_differs_and_is_a_uuid(void **state)
{
	struct tide_config *other = NULL;
	const char *prefix = "spark-kafscale-wordcount-";
	assert_int_equal(wordcount((void **)&other), 0);
	const char *a = tide_config_text(*state, "group"), *b = tide_config_text(other, "group");
	assert_memory_equal(a, prefix, strlen(prefix));
	assert_int_equal(strlen(a), strlen(prefix) + 36);
	assert_int_equal(strspn(a + strlen(prefix), "0123456789abcdef-"), 36);
	assert_int_equal(a[strlen(prefix) + 14], '4');
	assert_string_not_equal(a, b);
	tide_config_free(other);
}

static void a_stronger_layer_wins_in_any_order_of_loading(void **state)
{
	struct tide_config *config = *state;
	assert_int_equal(flags(config, "--brokers", "flag:1", NULL), TIDE_OK);
	assert_int_equal(variables(config, "TIDEMARK_BROKERS=own:1",
	                           "KAFSCALE_BOOTSTRAP_SERVERS=family:1",
	                           "KAFSCALE_SETUP_PROFILE=cluster", NULL),
	                 TIDE_OK);
	assert_int_equal(tide_config_job_value(config, "brokers", "job:1", "wordcount.lua", &err),
	                 TIDE_OK);
	assert_int_equal(tide_config_settle(config, &err), TIDE_OK);
	assert_from(config, "brokers", "flag:1", "flag --brokers");
	assert_int_equal(tide_config_layer(config, "brokers"), TIDE_LAYER_FLAG);
}

static void each_layer_wins_over_those_below_it(void **state)
{
	struct tide_config *config = *state;
	assert_from(config, "brokers", "127.0.0.1:39092", "built-in");
	assert_int_equal(tide_config_job_value(config, "brokers", "job:1", "wordcount.lua", &err),
	                 0);
	assert_from(config, "brokers", "job:1", "job wordcount.lua");
	assert_int_equal(variables(config, "KAFSCALE_SETUP_PROFILE=local-lb", NULL), 0);
	assert_int_equal(tide_config_settle(config, &err), 0);
	assert_from(config, "brokers", "localhost:59092", "profile local-lb");
	assert_int_equal(variables(config, "KAFSCALE_BOOTSTRAP_SERVERS=family:1", NULL), 0);
	assert_int_equal(tide_config_settle(config, &err), 0);
	assert_from(config, "brokers", "family:1", "KAFSCALE_BOOTSTRAP_SERVERS");
	assert_int_equal(variables(config, "TIDEMARK_BROKERS=own:1", NULL), 0);
	assert_from(config, "brokers", "own:1", "TIDEMARK_BROKERS");
	assert_int_equal(flags(config, "-b", "flag:1", NULL), 0);
	assert_from(config, "brokers", "flag:1", "flag --brokers");
}

static void every_profile_resolves_to_its_broker(void **state)
{
	static const char *const brokers[][2] = { { "default", "127.0.0.1:39092" },
		                                  { "cluster", "kafscale-broker:9092" },
		                                  { "local-lb", "localhost:59092" } };
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(flags(*state, "--profile", brokers[i][0], NULL), TIDE_OK);
		assert_int_equal(tide_config_settle(*state, &err), TIDE_OK);
		assert_string_equal(tide_config_text(*state, "brokers"), brokers[i][1]);
	}
}

static void unknown_profile_names_those_that_exist(void **state)
{
	assert_int_equal(variables(*state, "KAFSCALE_SETUP_PROFILE=lokal", NULL), TIDE_OK);
	assert_int_equal(tide_config_settle(*state, &err), TIDE_ERR_USAGE);
	assert_says("profile: \"lokal\" (KAFSCALE_SETUP_PROFILE) is unknown; it takes one of "
	            "default, cluster, local-lb");
	assert_int_equal(tide_config_set_job(*state, "totals", &err), TIDE_OK);
	assert_int_equal(tide_config_settle(*state, &err), TIDE_ERR_USAGE);
	assert_says("this job has no profiles");
}

static void variables_of_the_demo_take_effect(void **state)
{
	struct tide_config *config = *state;
	assert_int_equal(variables(config, "KAFSCALE_TOPIC=t2", "KAFSCALE_GROUP_ID=g",
	                           "KAFSCALE_STARTING_OFFSETS=earliest",
	                           "KAFSCALE_INCLUDE_HEADERS=False", "KAFSCALE_SPARK_UI_PORT=4999",
	                           "KAFSCALE_CHECKPOINT_DIR=file:///tmp/chk",
	                           "KAFSCALE_FAIL_ON_DATA_LOSS=TRUE", "KAFSCALE_DELTA_PATH=/d",
	                           "SPARK_MASTER=local[4]", NULL),
	                 TIDE_OK);
	assert_int_equal(tide_config_settle(config, &err), TIDE_OK);
	assert_from(config, "topic", "t2", "KAFSCALE_TOPIC");
	assert_from(config, "group", "g", "KAFSCALE_GROUP_ID");
	assert_from(config, "from", "earliest", "KAFSCALE_STARTING_OFFSETS");
	assert_from(config, "listen", "127.0.0.1:4999", "KAFSCALE_SPARK_UI_PORT");
	assert_from(config, "checkpoint-dir", "/tmp/chk", "KAFSCALE_CHECKPOINT_DIR");
	assert_true(tide_config_bool(config, "fail-on-data-loss"));
	assert_string_equal(value_of(config, "set", "include_headers"), "false");
	assert_int_equal(tide_config_int(config, "workers"), 4);
	assert_string_equal(tide_config_origin(config, "workers"), "SPARK_MASTER");
	assert_null(tide_config_warning(config, 0));
}

static void variables_of_other_jobs_take_effect(void **state)
{
	struct tide_config *config = *state;
	assert_int_equal(variables(config, "KAFKA_BOOTSTRAP_SERVERS=kafka:9092",
	                           "KAFKA_TOPIC=events", "CHECKPOINT_LOCATION=/chk",
	                           "SPARK_MASTER=local", "NO_COLOR=1", "KAFKA_HOME=/opt/kafka",
	                           NULL),
	                 TIDE_OK);
	assert_from(config, "brokers", "kafka:9092", "KAFKA_BOOTSTRAP_SERVERS");
	assert_from(config, "topic", "events", "KAFKA_TOPIC");
	assert_from(config, "checkpoint-dir", "/chk", "CHECKPOINT_LOCATION");
	assert_from(config, "color", "never", "NO_COLOR");
	assert_int_equal(tide_config_int(config, "workers"), 1);
	assert_null(tide_config_warning(config, 0));
}

static void wordcount_does_not_read_variables_of_other_jobs(void **state)
{
	assert_int_equal(variables(*state, "KAFKA_TOPIC=events", NULL), TIDE_OK);
	assert_from(*state, "topic", "demo-topic-1", "built-in");
}

static void spark_master_is_local_or_an_error(void **state)
{
	struct tide_config *config = *state;
	assert_int_equal(variables(config, "SPARK_MASTER=local[8,3]", NULL), TIDE_OK);
	assert_int_equal(tide_config_int(config, "workers"), 8);
	assert_int_equal(variables(config, "SPARK_MASTER=local[*]", NULL), TIDE_OK);
	assert_true(tide_config_int(config, "workers") >= 1);
	char *bad[] = { "SPARK_MASTER=spark://spark-master:7077",
		        "SPARK_MASTER=local[]",
		        "SPARK_MASTER=local[0]",
		        "SPARK_MASTER=local[4",
		        "SPARK_MASTER=local[4]x",
		        "SPARK_MASTER=local[65]",
		        "SPARK_MASTER=local[4,]x" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(variables(config, bad[i], NULL), TIDE_ERR_USAGE);
		assert_says("(SPARK_MASTER) is not understood; it takes local, local[N]");
	}
}

static void blank_means_unset(void **state)
{
	assert_int_equal(variables(*state, "KAFSCALE_TOPIC=", "TIDEMARK_BROKERS=  ",
	                           "KAFSCALE_STARTING_OFFSETS=\t", "KAFSCALE_SPARK_UI_PORT=",
	                           "KAFSCALE_INCLUDE_HEADERS=", "SPARK_MASTER=", NULL),
	                 TIDE_OK);
	assert_int_equal(flags(*state, "--group=", NULL), TIDE_OK);
	assert_from(*state, "topic", "demo-topic-1", "built-in");
	assert_from(*state, "brokers", "127.0.0.1:39092", "built-in");
	assert_string_equal(tide_config_origin(*state, "group"), "built-in");
	assert_null(tide_config_warning(*state, 0));
}

static void bad_value_names_setting_value_origin_and_what_is_allowed(void **state)
{
	struct tide_config *config = *state;
	assert_int_equal(variables(config, "KAFSCALE_STARTING_OFFSETS=foo", NULL), TIDE_ERR_USAGE);
	assert_says("from: \"foo\" (KAFSCALE_STARTING_OFFSETS) is not understood; it takes "
	            "earliest, latest, or a time like 2024-01-01T12:00:00Z");
	assert_int_equal(flags(config, "--workers", "0", NULL), TIDE_ERR_USAGE);
	assert_says("workers: \"0\" (flag --workers) is not understood; it takes a whole number "
	            "from 1 to 64");
	assert_int_equal(variables(config, "TIDEMARK_MEMORY=lots", NULL), TIDE_ERR_USAGE);
	assert_says("memory: \"lots\" (TIDEMARK_MEMORY) is not understood; it takes a size like "
	            "256M or 2G, from 16M to 1T");
	assert_int_equal(flags(config, "--output=xml", NULL), TIDE_ERR_USAGE);
	assert_says("it takes one of auto, table, spark, json, csv");
	assert_int_equal(flags(config, "--for", "soon", NULL), TIDE_ERR_USAGE);
	assert_says("a span of time like 250ms, 30s or 1 hour 30 minutes");
	assert_int_equal(flags(config, "--ui=perhaps", NULL), TIDE_ERR_USAGE);
	assert_says("true or false");
	assert_int_equal(variables(config, "KAFSCALE_SPARK_UI_PORT=http", NULL), TIDE_ERR_USAGE);
	assert_says("listen: \"http\" (KAFSCALE_SPARK_UI_PORT) is not understood; it takes a port");
	assert_int_equal(variables(config, "KAFSCALE_SPARK_UI_PORT=70000", NULL), TIDE_ERR_USAGE);
	assert_says("a port from 0 to 65535");
	assert_int_equal(variables(config, "KAFSCALE_INCLUDE_HEADERS=foo", NULL), TIDE_ERR_USAGE);
	assert_says("include_headers: \"foo\" (KAFSCALE_INCLUDE_HEADERS)");
	assert_int_equal(
		tide_config_job_value(config, "max_records_per_batch", "-1", "a.lua", &err),
		TIDE_ERR_USAGE);
	assert_says("max-records-per-batch: \"-1\" (job a.lua)");
	assert_int_equal(variables(config, "KAFSCALE_CHECKPOINT_DIR=s3a://bucket/x", NULL),
	                 TIDE_ERR_USAGE);
	assert_says("a directory of this machine");
}

static void enabled_delta_is_refused_with_a_sentence(void **state)
{
	assert_int_equal(variables(*state, "KAFSCALE_DELTA_ENABLED=true", NULL), TIDE_OK);
	assert_int_equal(tide_config_settle(*state, &err), TIDE_ERR_USAGE);
	assert_says("KAFSCALE_DELTA_ENABLED: there is no Delta sink in this version");
	assert_int_equal(variables(*state, "KAFSCALE_DELTA_ENABLED=false", NULL), TIDE_OK);
	assert_int_equal(tide_config_settle(*state, &err), TIDE_OK);
}

static void unknown_variable_is_a_warning_that_names_the_nearest(void **state)
{
	struct tide_config *config = *state;
	assert_int_equal(variables(config, "KAFSCALE_TOPPIC=a", "TIDEMARK_CHEKPOINT_DIR=b",
	                           "TIDEMARK_XYZZY_PLUGH=c", "KAFSCALE_KAFKA_BROKER_FALLBACK=0.9",
	                           NULL),
	                 TIDE_OK);
	assert_string_equal(tide_config_warning(config, 0),
	                    "KAFSCALE_TOPPIC is set, but there is no such setting; did you mean "
	                    "KAFSCALE_TOPIC?");
	assert_string_equal(tide_config_warning(config, 1),
	                    "TIDEMARK_CHEKPOINT_DIR is set, but there is no such setting; did you "
	                    "mean TIDEMARK_CHECKPOINT_DIR?");
	assert_string_equal(tide_config_warning(config, 2),
	                    "TIDEMARK_XYZZY_PLUGH is set, but there is no such setting; it is "
	                    "ignored");
	assert_non_null(strstr(tide_config_warning(config, 3), "BROKER_FALLBACK is ignored: "));
	assert_null(tide_config_warning(config, 4));
}

static void variables_of_the_demo_are_a_warning_for_other_jobs(void **state)
{
	assert_int_equal(variables(*state, "KAFSCALE_TOPIC=a", NULL), TIDE_OK);
	assert_string_equal(tide_config_warning(*state, 0),
	                    "KAFSCALE_TOPIC is set, but only the word-count job reads it");
	assert_null(tide_config_text(*state, "topic"));
}

static void service_links_of_kubernetes_are_not_a_warning(void **state)
{
	assert_int_equal(variables(*state, "TIDEMARK_SERVICE_HOST=10.0.0.1",
	                           "TIDEMARK_PORT=tcp://10.0.0.1:4040",
	                           "TIDEMARK_PORT_4040_TCP_ADDR=10.0.0.1",
	                           "TIDEMARK_SERVICE_PORT_HTTP=1", "TIDEMARK_FAILPOINT=a=io",
	                           "PATH=/bin", "NOTAVARIABLE", NULL),
	                 TIDE_OK);
	assert_null(tide_config_warning(*state, 0));
}

static void flags_are_taken_in_each_of_their_forms(void **state)
{
	struct tide_config *config = *state;
	assert_int_equal(flags(config, "-ba:1", "--topic=x", "--workers", "3", "-q", "--no-ui",
	                       "--fail-on-data-loss=false", "--until-end", "--from",
	                       "2024-01-01T12:00:00Z", NULL),
	                 TIDE_OK);
	assert_string_equal(tide_config_text(config, "brokers"), "a:1");
	assert_string_equal(tide_config_text(config, "topic"), "x");
	assert_int_equal(tide_config_int(config, "workers"), 3);
	assert_true(tide_config_bool(config, "quiet"));
	assert_false(tide_config_bool(config, "ui"));
	assert_false(tide_config_bool(config, "fail-on-data-loss"));
	assert_true(tide_config_bool(config, "until-end"));
	assert_int_equal(flags(config, "--for", "1 hour 30 minutes", "--memory", "256M", NULL), 0);
	assert_int_equal(tide_config_int(config, "for"), 5400000);
	assert_int_equal(tide_config_int(config, "memory"), 256 << 20);
}

static void a_boolean_flag_does_not_eat_the_next_argument(void **state)
{
	char *args[] = { "--until-end", "job.lua", NULL };
	int taken = 0;
	assert_int_equal(tide_config_flag(*state, 2, args, &taken, &err), TIDE_OK);
	assert_int_equal(taken, 1);
}

static void unknown_flag_is_an_error_that_names_the_nearest(void **state)
{
	assert_int_equal(flags(*state, "--borkers=x", NULL), TIDE_ERR_USAGE);
	assert_says("unknown flag --borkers; did you mean --brokers?");
	assert_int_equal(flags(*state, "--no-prefligt", NULL), TIDE_ERR_USAGE);
	assert_says("unknown flag --no-prefligt; did you mean --no-preflight?");
	assert_int_equal(flags(*state, "--no-brokers", NULL), TIDE_ERR_USAGE);
	assert_says("unknown flag --no-brokers");
	assert_int_equal(flags(*state, "--frobnicate", NULL), TIDE_ERR_USAGE);
	assert_says("--help lists all flags");
	assert_int_equal(flags(*state, "-Z", NULL), TIDE_ERR_USAGE);
	assert_says("unknown flag -Z");
	assert_int_equal(flags(*state, "-qv", NULL), TIDE_ERR_USAGE);
	assert_says("unknown flag -qv");
	assert_int_equal(flags(*state, "-", NULL), TIDE_ERR_USAGE);
	assert_says("unknown flag -");
	assert_int_equal(flags(*state, "--topic", NULL), TIDE_ERR_USAGE);
	assert_says("--topic needs a value");
	assert_int_equal(flags(*state, "--topic", "--no-ui", NULL), TIDE_ERR_USAGE);
	assert_says("--topic needs a value");
	assert_int_equal(flags(*state, "--no-ui=true", NULL), TIDE_ERR_USAGE);
	assert_says("write --ui=true");
}

static void own_variables_read_like_flags(void **state)
{
	assert_int_equal(variables(*state, "TIDEMARK_NO_UI=1", "TIDEMARK_PREFLIGHT=off",
	                           "TIDEMARK_SET=a=1\nb=2\n", "TIDEMARK_X=client.id=me", NULL),
	                 TIDE_OK);
	assert_false(tide_config_bool(*state, "ui"));
	assert_false(tide_config_bool(*state, "preflight"));
	assert_string_equal(value_of(*state, "set", "a"), "1");
	assert_string_equal(value_of(*state, "set", "b"), "2");
	assert_string_equal(value_of(*state, "X", "client.id"), "me");
}

static void pairs_of_all_layers_add_up_and_the_strongest_wins(void **state)
{
	struct tide_config *config = *state;
	assert_int_equal(flags(config, "--set", "a=flag", "--set", "b=1", "--set", "b=2=3", "--set",
	                       "empty=", NULL),
	                 TIDE_OK);
	assert_int_equal(variables(config, "TIDEMARK_SET=a=own\nc=own", NULL), TIDE_OK);
	assert_int_equal(tide_config_settle(config, &err), TIDE_OK);
	assert_string_equal(value_of(config, "set", "a"), "flag");
	assert_string_equal(value_of(config, "set", "b"), "2=3");
	assert_string_equal(value_of(config, "set", "c"), "own");
	assert_string_equal(value_of(config, "set", "empty"), "");
	assert_int_equal(tide_config_pair_count(config, "set"), 4);
	assert_int_equal(flags(config, "--set", "novalue", NULL), TIDE_ERR_USAGE);
	assert_says("set: \"novalue\" (flag --set) is not understood; it takes key=value");
	assert_int_equal(flags(config, "-X", "=x", NULL), TIDE_ERR_USAGE);
	assert_says("X: \"=x\" (flag -X)");
}

static void references_to_secrets_stay_references(void **state)
{
	struct tide_config *config = *state;
	assert_int_equal(flags(config, "-X", "sasl.password=@/run/secret", "-X",
	                       "ssl.key.password=env:KEY_PASS", NULL),
	                 TIDE_OK);
	assert_int_equal(variables(config, "KEY_PASS=hunter2", NULL), TIDE_OK);
	assert_int_equal(tide_config_settle(config, &err), TIDE_OK);
	assert_string_equal(value_of(config, "X", "sasl.password"), "@/run/secret");
	assert_string_equal(value_of(config, "X", "ssl.key.password"), "env:KEY_PASS");
}

static char *dump(struct tide_config *config, bool json)
{
	struct tide_buf out = { 0 };
	(json ? tide_config_dump_json : tide_config_dump_text)(config, &out);
	tide_buf_u8(&out, 0);
	assert_false(out.failed);
	return out.p;
}

static void dump_shows_all_and_never_a_secret(void **state)
{
	struct tide_config *config = *state;
	assert_int_equal(flags(config, "-X", "sasl.password=hunter2", "-X",
	                       "ssl.key.password=env:KEY_PASS", "-X", "client.id=me", "--set",
	                       "api_token=hunter2", "-X", "sasl.password2=@@hunter2", NULL),
	                 TIDE_OK);
	assert_int_equal(variables(config, "KEY_PASS=hunter2", NULL), TIDE_OK);
	assert_int_equal(tide_config_settle(config, &err), TIDE_OK);
	for (int json = 0; json < 2; json++) {
		char *text = dump(config, json);
		assert_null(strstr(text, "hunter2"));
		assert_non_null(strstr(text, "********"));
		assert_non_null(strstr(text, "env:KEY_PASS"));
		assert_non_null(strstr(text, "127.0.0.1:39092"));
		assert_non_null(strstr(text, "flag -X"));
		const struct tide_setting *setting;
		for (size_t i = 0; (setting = tide_setting_at(i)) != NULL; i++)
			assert_non_null(strstr(text, setting->name));
		free(text);
	}
}

static void a_secret_is_not_in_an_error_either(void **state)
{
	char *args[] = { "-Xsasl.password", NULL };
	int taken;
	assert_int_equal(tide_config_flag(*state, 1, args, &taken, &err), TIDE_ERR_USAGE);
	assert_non_null(strstr(err.text, "key=value"));
	assert_int_equal(flags(*state, "-X", "sasl.password hunter2", NULL), TIDE_ERR_USAGE);
	assert_null(strstr(err.text, "hunter2"));
	for (size_t i = 0; i < tide_config_pair_count(*state, "X"); i++)
		assert_false(tide_config_pair_at(*state, "X", i).secret);
	assert_int_equal(flags(*state, "-X", "sasl.password=p", NULL), TIDE_OK);
	assert_true(tide_config_pair_at(*state, "X", 0).secret);
}

static void job_settings_may_be_spelt_with_underscores(void **state)
{
	assert_int_equal(
		tide_config_job_value(*state, "max_records_per_batch", "10000", "/x/a.lua", &err),
		TIDE_OK);
	assert_from(*state, "max-records-per-batch", "10000", "job a.lua");
	assert_int_equal(tide_config_job_value(*state, "no_such", "1", "a.lua", &err),
	                 TIDE_ERR_USAGE);
	assert_says("a.lua: there is no setting \"no_such\"");
	assert_int_equal(tide_config_job_value(*state, "triger", "1s", "a.lua", &err),
	                 TIDE_ERR_USAGE);
	assert_says("a.lua: there is no setting \"triger\"; did you mean trigger?");
}

static void values_are_read_or_refused(void **state)
{
	(void)state;
	int64_t n;
	double d;
	assert_true(tide_value_bytes("1.5G", &n) && n == 3LL << 29);
	assert_true(tide_value_bytes("64KiB", &n) && n == 65536);
	assert_true(tide_value_bytes("10", &n) && n == 10);
	assert_true(tide_value_bytes("1 MB", &n) && n == 1 << 20);
	assert_false(tide_value_bytes("1e9", &n) || tide_value_bytes("-1", &n) ||
	             tide_value_bytes("0x10", &n) || tide_value_bytes("1MM", &n) ||
	             tide_value_bytes("99999999T", &n) || tide_value_bytes("", &n));
	assert_false(tide_value_int("1.5", &n) || tide_value_int("", &n) ||
	             tide_value_int("-", &n) || tide_value_int("99999999999999999999", &n) ||
	             tide_value_int(" 1", &n));
	assert_true(tide_value_double("-1.5e3", &d) && d < -1499);
	assert_false(tide_value_double("nan", &d) || tide_value_double("1e999", &d));
	assert_true(tide_value_is_broker("h") && tide_value_is_broker("SSL://h:1") &&
	            tide_value_is_broker("[::1]:9092"));
	assert_false(tide_value_is_broker("h:0") || tide_value_is_broker(":9092") ||
	             tide_value_is_broker("a b:1") || tide_value_is_broker("h:x") ||
	             tide_value_is_broker("[::1") || tide_value_is_broker("h:1:2"));
	assert_true(tide_value_is_listen("127.0.0.1:0"));
	assert_false(tide_value_is_listen("127.0.0.1") || tide_value_is_listen("4040"));
	assert_true(tide_value_is_topics("a,b.c") && tide_value_is_topics("^a{1,2}"));
	assert_false(tide_value_is_topics("a,,b") || tide_value_is_topics("a/b") ||
	             tide_value_is_topics("..") || tide_value_is_topics("^") ||
	             tide_value_is_topics("a,"));
	assert_true(tide_value_is_start("1704067200000"));
	assert_false(tide_value_is_start("yesterday") || tide_value_is_start("-5"));
}

int main(void)
{
#define TEST(name)      cmocka_unit_test_setup_teardown(name, setup, teardown)
#define WORDCOUNT(name) cmocka_unit_test_setup_teardown(name, wordcount, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_of_the_table_is_sound),
		cmocka_unit_test(every_setting_has_help_that_names_its_variable),
		cmocka_unit_test(the_readme_has_a_row_for_every_setting),
		cmocka_unit_test(the_completion_offers_every_choice),
		WORDCOUNT(wordcount_has_the_defaults_of_the_demo),
		TEST(other_jobs_have_defaults_of_their_own),
		WORDCOUNT(group_of_two_wordcounts_differs_and_is_a_uuid),
		WORDCOUNT(a_stronger_layer_wins_in_any_order_of_loading),
		WORDCOUNT(each_layer_wins_over_those_below_it),
		WORDCOUNT(every_profile_resolves_to_its_broker),
		WORDCOUNT(unknown_profile_names_those_that_exist),
		WORDCOUNT(variables_of_the_demo_take_effect),
		TEST(variables_of_other_jobs_take_effect),
		WORDCOUNT(wordcount_does_not_read_variables_of_other_jobs),
		TEST(spark_master_is_local_or_an_error),
		WORDCOUNT(blank_means_unset),
		WORDCOUNT(bad_value_names_setting_value_origin_and_what_is_allowed),
		WORDCOUNT(enabled_delta_is_refused_with_a_sentence),
		WORDCOUNT(unknown_variable_is_a_warning_that_names_the_nearest),
		TEST(variables_of_the_demo_are_a_warning_for_other_jobs),
		TEST(service_links_of_kubernetes_are_not_a_warning),
		TEST(flags_are_taken_in_each_of_their_forms),
		TEST(a_boolean_flag_does_not_eat_the_next_argument),
		TEST(unknown_flag_is_an_error_that_names_the_nearest),
		TEST(own_variables_read_like_flags),
		TEST(pairs_of_all_layers_add_up_and_the_strongest_wins),
		TEST(references_to_secrets_stay_references),
		WORDCOUNT(dump_shows_all_and_never_a_secret),
		TEST(a_secret_is_not_in_an_error_either),
		TEST(job_settings_may_be_spelt_with_underscores),
		cmocka_unit_test(values_are_read_or_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
