/* SPDX-License-Identifier: Apache-2.0 */
/* The settings, the variables of job families, the profiles: all there is. */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "base/config_value.h"

#define MIB (INT64_C(1) << 20)
#define TIB (INT64_C(1) << 40)

enum { HELP_COLUMN = 34, HELP_WIDTH = 96 };

static const struct tide_setting settings[] = {
	{ .name = "brokers",
	  .letter = 'b',
	  .type = TIDE_SETTING_LIST,
	  .initial = "127.0.0.1:9092",
	  .check = tide_value_is_broker,
	  .allowed = "host:port, several with commas between",
	  .takes = "HOST:PORT,…",
	  .help = "Kafka brokers to start from; one that answers is enough." },
	{ .name = "topic",
	  .letter = 't',
	  .type = TIDE_SETTING_TEXT,
	  .check = tide_value_is_topics,
	  .takes = "TOPIC,…",
	  .allowed = "topic names with commas between, or ^ and a regular expression",
	  .help = "Topics to read instead of the job's own." },
	{ .name = "group",
	  .letter = 'g',
	  .type = TIDE_SETTING_TEXT,
	  .initial = "tidemark-${job}",
	  .takes = "GROUP",
	  .help = "Consumer group that positions are mirrored to, for lag tools; "
	          "nothing depends on it." },
	{ .name = "from",
	  .type = TIDE_SETTING_TEXT,
	  .initial = "earliest",
	  .check = tide_value_is_start,
	  .takes = "POSITION",
	  .allowed = "earliest, latest, or a time like 2024-01-01T12:00:00Z",
	  .help = "Where to start when there is no checkpoint: earliest, latest or a time." },
	{ .name = "checkpoint-dir",
	  .letter = 'c',
	  .type = TIDE_SETTING_PATH,
	  .initial = "checkpoints",
	  .takes = "DIR",
	  .allowed = "a directory of this machine",
	  .help = "Directory of checkpoints; each job has its own below it." },
	{ .name = "workers",
	  .type = TIDE_SETTING_INT,
	  .initial = "${cores}",
	  .min = 1,
	  .max = 64,
	  .takes = "N",
	  .help = "Threads that run the job; results do not depend on it." },
	{ .name = "memory",
	  .letter = 'm',
	  .type = TIDE_SETTING_BYTES,
	  .initial = "512M",
	  .min = 16 * MIB,
	  .max = TIB,
	  .takes = "SIZE",
	  .help = "Memory for state; what is beyond it stays on disk." },
	{ .name = "script-memory",
	  .type = TIDE_SETTING_BYTES,
	  .initial = "512M",
	  .min = 8 * MIB,
	  .max = 64 * 1024 * MIB,
	  .takes = "SIZE",
	  .help = "Most memory that the script may use in each worker; a record for which it "
	          "needs more fails." },
	{ .name = "record-timeout",
	  .type = TIDE_SETTING_SPAN,
	  .initial = "1500ms",
	  .max = INT64_C(1) * 86400000,
	  .takes = "SPAN",
	  .help = "Processor time after which a record that the script does not return from "
	          "fails; large ones get more; 0s waits for ever." },
	{ .name = "trigger",
	  .type = TIDE_SETTING_SPAN,
	  .initial = "0s",
	  .max = INT64_C(7) * 86400000,
	  .takes = "SPAN",
	  .help = "Time between epochs; 0s starts one as soon as there is data." },
	{ .name = "max-records-per-batch",
	  .type = TIDE_SETTING_INT,
	  .initial = "1000000",
	  .min = 1,
	  .max = INT64_C(1000000000),
	  .takes = "N",
	  .help = "Most records in one epoch, shared out in proportion to the backlogs." },
	{ .name = "max-records-per-second",
	  .type = TIDE_SETTING_INT,
	  .initial = "0",
	  .max = INT64_C(1000000000),
	  .takes = "N",
	  .help = "Most records read in a second; 0 sets no limit." },
	{ .name = "fail-on-data-loss",
	  .type = TIDE_SETTING_BOOL,
	  .initial = "true",
	  .help = "Stop when records are gone that were not read; otherwise say which and "
	          "go on." },
	{ .name = "max-downtime",
	  .type = TIDE_SETTING_SPAN,
	  .initial = "0s",
	  .max = INT64_C(3650) * 86400000,
	  .takes = "SPAN",
	  .help = "Longest stop that topics shall outlast: warns where they keep records no "
	          "longer; 0s asks for none." },
	{ .name = "listen",
	  .letter = 'l',
	  .type = TIDE_SETTING_TEXT,
	  .initial = "127.0.0.1:4040",
	  .check = tide_value_is_listen,
	  .allowed = "host:port",
	  .takes = "HOST:PORT",
	  .help = "Address of the web page; port 0 takes a free one." },
	{ .name = "ui",
	  .type = TIDE_SETTING_BOOL,
	  .initial = "true",
	  .help = "Serve the web page and the API." },
	{ .name = "output",
	  .letter = 'o',
	  .type = TIDE_SETTING_TEXT,
	  .initial = "auto",
	  .choices = "auto|table|spark|json|csv|none",
	  .takes = "FORMAT",
	  .help = "Format of console sinks; auto is a live table on a terminal, spark "
	          "in a pipe, none takes no rows." },
	{ .name = "log-format",
	  .type = TIDE_SETTING_TEXT,
	  .initial = "auto",
	  .choices = "auto|text|json",
	  .takes = "FORMAT",
	  .help = "Format of the log on stderr; auto is text." },
	{ .name = "color",
	  .type = TIDE_SETTING_TEXT,
	  .initial = "auto",
	  .choices = "auto|always|never",
	  .takes = "WHEN",
	  .help = "Colours in the log; auto is on a terminal only." },
	{ .name = "preflight",
	  .type = TIDE_SETTING_BOOL,
	  .initial = "true",
	  .help = "Ask for cluster and topic before the start; off for accounts that may "
	          "only read." },
	{ .name = "until-end",
	  .type = TIDE_SETTING_BOOL,
	  .initial = "false",
	  .help = "Stop when all that was there at the start has been read." },
	{ .name = "for",
	  .type = TIDE_SETTING_SPAN,
	  .min = 1,
	  .max = INT64_C(3650) * 86400000,
	  .takes = "SPAN",
	  .help = "Stop after this time." },
	{ .name = "profile",
	  .letter = 'p',
	  .type = TIDE_SETTING_TEXT,
	  .takes = "NAME",
	  .help = "A named set of settings of the job; explicit ones win over it." },
	{ .name = "set",
	  .letter = 's',
	  .type = TIDE_SETTING_PAIRS,
	  .takes = "KEY=VALUE",
	  .help = "A value that the job reads with tide.setting(key); may be repeated." },
	{ .name = "X",
	  .letter = 'X',
	  .type = TIDE_SETTING_PAIRS,
	  .takes = "PROPERTY=VALUE",
	  .help = "A property of librdkafka; @FILE or env:NAME as VALUE keeps secrets out "
	          "of the command line; may be repeated." },
	{ .name = "quiet",
	  .letter = 'q',
	  .type = TIDE_SETTING_BOOL,
	  .initial = "false",
	  .help = "Only warnings and errors on stderr." },
	{ .name = "verbose",
	  .letter = 'v',
	  .type = TIDE_SETTING_BOOL,
	  .initial = "false",
	  .help = "Details on stderr too." },
};

static const char NO_DOWNGRADE[] =
	"Tidemark always asks the broker for its versions, because without them headers and "
	"timestamps would be lost";

#define WORDCOUNT .family = TIDE_FAMILY_WORDCOUNT
#define OTHER     .family = TIDE_FAMILY_OTHER

static const struct tide_variable variables[] = {
	{ WORDCOUNT, .name = "KAFSCALE_BOOTSTRAP_SERVERS", .setting = "brokers",
	  .initial = "127.0.0.1:39092" },
	{ WORDCOUNT, .name = "KAFSCALE_TOPIC", .setting = "topic", .initial = "demo-topic-1" },
	{ WORDCOUNT, .name = "KAFSCALE_GROUP_ID", .setting = "group",
	  .initial = "spark-kafscale-wordcount-${uuid}" },
	{ WORDCOUNT, .name = "KAFSCALE_STARTING_OFFSETS", .setting = "from", .initial = "latest" },
	{ WORDCOUNT, .name = "KAFSCALE_INCLUDE_HEADERS", .setting = "set", .key = "include_headers",
	  .initial = "true", .form = TIDE_VARIABLE_BOOL },
	{ WORDCOUNT, .name = "KAFSCALE_SPARK_UI_PORT", .setting = "listen",
	  .initial = "127.0.0.1:4040", .form = TIDE_VARIABLE_PORT },
	{ WORDCOUNT, .name = "KAFSCALE_CHECKPOINT_DIR", .setting = "checkpoint-dir",
	  .initial = "/tmp/kafscale-spark-checkpoints" },
	{ WORDCOUNT, .name = "KAFSCALE_FAIL_ON_DATA_LOSS", .setting = "fail-on-data-loss",
	  .initial = "false" },
	{ WORDCOUNT, .name = "KAFSCALE_DELTA_ENABLED", .setting = "set", .key = "delta_enabled",
	  .initial = "false", .form = TIDE_VARIABLE_BOOL },
	{ WORDCOUNT, .name = "KAFSCALE_DELTA_PATH", .setting = "set", .key = "delta_path",
	  .initial = "/tmp/kafscale-delta-wordcount" },
	{ WORDCOUNT, .name = "KAFSCALE_DELTA_MODE", .setting = "set", .key = "delta_mode",
	  .initial = "append" },
	{ WORDCOUNT, .name = "KAFSCALE_SETUP_PROFILE", .setting = "profile" },
	{ WORDCOUNT, .name = "KAFSCALE_KAFKA_API_VERSION_REQUEST", .form = TIDE_VARIABLE_IGNORED,
	  .help = NO_DOWNGRADE },
	{ WORDCOUNT, .name = "KAFSCALE_KAFKA_BROKER_FALLBACK", .form = TIDE_VARIABLE_IGNORED,
	  .help = NO_DOWNGRADE },
	{ OTHER, .name = "KAFKA_BOOTSTRAP_SERVERS", .setting = "brokers" },
	{ OTHER, .name = "KAFKA_TOPIC", .setting = "topic" },
	{ OTHER, .name = "CHECKPOINT_LOCATION", .setting = "checkpoint-dir" },
	{ .any_family = true,
	  .name = "SPARK_MASTER",
	  .setting = "workers",
	  .form = TIDE_VARIABLE_LOCAL },
	{ .any_family = true,
	  .name = "NO_COLOR",
	  .setting = "color",
	  .form = TIDE_VARIABLE_FLAG,
	  .becomes = "never" },
};

static const struct tide_profile profiles[] = {
	{ TIDE_FAMILY_WORDCOUNT, "default", "brokers", "127.0.0.1:39092" },
	{ TIDE_FAMILY_WORDCOUNT, "cluster", "brokers", "kafscale-broker:9092" },
	{ TIDE_FAMILY_WORDCOUNT, "local-lb", "brokers", "localhost:59092" },
};

const struct tide_setting *tide_setting_at(size_t i)
{
	return i < sizeof settings / sizeof *settings ? &settings[i] : NULL;
}

const struct tide_variable *tide_variable_at(size_t i)
{
	return i < sizeof variables / sizeof *variables ? &variables[i] : NULL;
}

const struct tide_profile *tide_profile_at(size_t i)
{
	return i < sizeof profiles / sizeof *profiles ? &profiles[i] : NULL;
}

const struct tide_setting *tide_setting_find(const char *name)
{
	const struct tide_setting *setting;
	for (size_t i = 0; (setting = tide_setting_at(i)) != NULL; i++)
		if (strcmp(setting->name, name) == 0)
			return setting;
	return NULL;
}

void tide_setting_variable(const struct tide_setting *setting, char *out, size_t size)
{
	int len = snprintf(out, size, "TIDEMARK_%s", setting->name);
	assert(len > 0 && (size_t)len < size);
	for (char *p = out; *p != '\0'; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

static void put_size(int64_t bytes, struct tide_buf *out)
{
	static const char letters[] = "KMGT";
	int step = -1;
	while (step < 3 && bytes >= 1024 && bytes % 1024 == 0) {
		bytes /= 1024;
		step++;
	}
	tide_buf_printf(out, "%lld", (long long)bytes);
	if (step >= 0)
		tide_buf_put(out, &letters[step], 1);
}

static void put_choices(const char *choices, struct tide_buf *out)
{
	tide_buf_printf(out, "one of ");
	for (const char *p = choices; *p != '\0'; p++)
		tide_buf_printf(out, *p == '|' ? ", " : "%c", *p);
}

void tide_setting_allowed(const struct tide_setting *setting, struct tide_buf *out)
{
	if (setting->choices != NULL) {
		put_choices(setting->choices, out);
		return;
	}
	if (setting->allowed != NULL) {
		tide_buf_printf(out, "%s", setting->allowed);
		return;
	}
	bool limits = setting->min != 0 || setting->max != 0;
	switch (setting->type) {
	case TIDE_SETTING_INT:
		tide_buf_printf(out, "a whole number");
		if (limits)
			tide_buf_printf(out, " from %lld to %lld", (long long)setting->min,
			                (long long)setting->max);
		break;
	case TIDE_SETTING_BYTES:
		tide_buf_printf(out, "a size like 256M or 2G");
		if (limits) {
			tide_buf_printf(out, ", from ");
			put_size(setting->min, out);
			tide_buf_printf(out, " to ");
			put_size(setting->max, out);
		}
		break;
	case TIDE_SETTING_SPAN:
		tide_buf_printf(out, "a span of time like 250ms, 30s or 1 hour 30 minutes");
		if (setting->max != 0)
			tide_buf_printf(out, ", from %lldms to %lldd", (long long)setting->min,
			                (long long)(setting->max / 86400000));
		break;
	case TIDE_SETTING_DOUBLE: tide_buf_printf(out, "a number"); break;
	case TIDE_SETTING_BOOL: tide_buf_printf(out, "true or false"); break;
	case TIDE_SETTING_PAIRS: tide_buf_printf(out, "key=value"); break;
	default: tide_buf_printf(out, "text");
	}
}

/* The family's default for a setting, or its own. */
static const char *initial_of(const struct tide_setting *setting, enum tide_family family)
{
	const struct tide_variable *variable;
	for (size_t i = 0; (variable = tide_variable_at(i)) != NULL; i++)
		if (variable->family == family && variable->initial != NULL &&
		    variable->key == NULL && strcmp(variable->setting, setting->name) == 0)
			return variable->initial;
	return setting->initial;
}

/* A default as a reader sees it: what is not known yet by its name. */
static void put_initial(const char *initial, struct tide_buf *out)
{
	static const char *const names[][2] = { { "${cores}", "one per core" },
		                                { "${job}", "JOB" },
		                                { "${uuid}", "UUID" } };
	while (*initial != '\0') {
		size_t i = 0;
		while (i < 3 && strncmp(initial, names[i][0], strlen(names[i][0])) != 0)
			i++;
		tide_buf_printf(out, i < 3 ? "%s" : "%.1s", i < 3 ? names[i][1] : initial);
		initial += i < 3 ? strlen(names[i][0]) : 1;
	}
}

/* --name, and that it can be turned off where that is what one would do. */
static void put_name(const struct tide_setting *setting, struct tide_buf *out)
{
	bool on = setting->type == TIDE_SETTING_BOOL && strcmp(setting->initial, "true") == 0;
	tide_buf_printf(out, "%s%s%s", setting->name[1] == '\0' ? "-" : "--", on ? "[no-]" : "",
	                setting->name);
	if (setting->takes != NULL)
		tide_buf_printf(out, " %s", setting->takes);
}

/* Text from HELP_COLUMN on, broken at blanks before HELP_WIDTH. */
static void put_wrapped(const char *text, struct tide_buf *out)
{
	size_t column = HELP_COLUMN;
	while (*text != '\0') {
		size_t len = strcspn(text, " ");
		if (column > HELP_COLUMN && column + 1 + len > HELP_WIDTH) {
			tide_buf_printf(out, "\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
		} else if (column > HELP_COLUMN) {
			tide_buf_put(out, " ", 1);
			column++;
		}
		tide_buf_put(out, text, len);
		column += len;
		text += len + strspn(text + len, " ");
	}
	tide_buf_put(out, "\n", 1);
}

/* Whether jobs of a family set it by this variable alone. */
static bool is_variable_of(const struct tide_variable *variable, enum tide_family family,
                           const struct tide_setting *setting)
{
	return (variable->any_family || variable->family == family) && variable->key == NULL &&
	       variable->setting != NULL && strcmp(variable->setting, setting->name) == 0;
}

void tide_setting_help(const struct tide_setting *setting, enum tide_family family,
                       struct tide_buf *out)
{
	char name[64];
	const char *initial = initial_of(setting, family);
	size_t start = out->len, width = 0;
	if (setting->letter == 0)
		tide_buf_printf(out, "      ");
	else if (setting->name[1] == '\0')
		tide_buf_printf(out, "  ");
	else
		tide_buf_printf(out, "  -%c, ", setting->letter);
	put_name(setting, out);
	for (size_t i = start; i < out->len; i++)
		width += ((unsigned char)out->p[i] & 0xC0) != 0x80;
	tide_buf_printf(out, "%*s", width < HELP_COLUMN ? (int)(HELP_COLUMN - width) : 1, "");
	put_wrapped(setting->help, out);
	tide_setting_variable(setting, name, sizeof name);
	tide_buf_printf(out, "%*s%s", HELP_COLUMN, "", name);
	const struct tide_variable *variable;
	for (size_t i = 0; (variable = tide_variable_at(i)) != NULL; i++)
		if (is_variable_of(variable, family, setting))
			tide_buf_printf(out, ", %s", variable->name);
	if (initial != NULL) {
		tide_buf_printf(out, " [");
		put_initial(initial, out);
		tide_buf_printf(out, "]");
	}
	tide_buf_printf(out, "\n");
}

void tide_setting_markdown(const struct tide_setting *setting, struct tide_buf *out)
{
	char name[64];
	tide_setting_variable(setting, name, sizeof name);
	tide_buf_printf(out, "| `");
	put_name(setting, out);
	tide_buf_printf(out, "` | `%s` | ", name);
	const struct tide_variable *variable;
	const char *comma = "";
	for (size_t i = 0; (variable = tide_variable_at(i)) != NULL; i++) {
		if (!is_variable_of(variable, TIDE_FAMILY_WORDCOUNT, setting))
			continue;
		tide_buf_printf(out, "%s`%s`", comma, variable->name);
		comma = ", ";
	}
	tide_buf_printf(out, " | ");
	const char *theirs = initial_of(setting, TIDE_FAMILY_WORDCOUNT);
	put_initial(setting->initial != NULL ? setting->initial : "", out);
	if (theirs != setting->initial && theirs != NULL &&
	    (setting->initial == NULL || strcmp(theirs, setting->initial) != 0)) {
		tide_buf_printf(out, "%sword count: ", setting->initial != NULL ? "; " : "");
		put_initial(theirs, out);
	}
	tide_buf_printf(out, " |\n");
}
