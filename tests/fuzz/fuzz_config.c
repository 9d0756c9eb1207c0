/* SPDX-License-Identifier: Apache-2.0 */
/* Any lines as flags, variables and values of a job: each is refused with a text,
 * or is a setting that can be read and shown, and that Kafka's client takes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "samples.h"
#include "source/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES_MAX = 32 };

static const char *const samples[] = {
	"--brokers=a:1,b:2\n--trigger\n 30s\n-Xsasl.password=hunter2\n--memory=256M\n--no-ui",
	"KAFSCALE_SETUP_PROFILE=cluster\nKAFSCALE_TOPIC=t\nTIDEMARK_WORKERS=4\nTIDEMARK_SET=a=b",
	"workers=3\ntrigger=1 minute\nTIDEMARK_WORKRES=2\n--from=2024-01-01T00:00:00Z\n-qv",
};

struct lines {
	char *text;
	char *flags[LINES_MAX + 1], *variables[LINES_MAX + 1], *values[LINES_MAX + 1];
	int flag_count, variable_count, value_count;
};

static void require(int holds)
{
	if (!holds)
		abort();
}

/* A line that begins with '-', and what follows it after a blank, is of flags;
 * one with capitals a variable, any other a value of a job. */
static void lines_read(struct lines *lines, const uint8_t *data, size_t size)
{
	*lines = (struct lines){ .text = malloc(size + 1) };
	require(lines->text != NULL);
	memcpy(lines->text, data, size);
	lines->text[size] = '\0';
	char *rest = lines->text;
	for (int i = 0; i < LINES_MAX && rest != NULL; i++) {
		char *line = strsep(&rest, "\n");
		if (line[0] == '-' || line[0] == ' ')
			lines->flags[lines->flag_count++] = line[0] == ' ' ? line + 1 : line;
		else if (line[0] >= 'A' && line[0] <= 'Z')
			lines->variables[lines->variable_count++] = line;
		else if (strchr(line, '=') != NULL)
			lines->values[lines->value_count++] = line;
	}
}

static void require_text(int rc, const struct tide_error *err)
{
	require(rc == TIDE_OK || (err->text[0] != '\0' && strlen(err->text) < sizeof err->text));
}

static int load_flags(struct tide_config *config, const struct lines *lines, struct tide_error *err)
{
	int rc = TIDE_OK;
	for (int i = 0, taken; rc == TIDE_OK && i < lines->flag_count; i += taken) {
		taken = 1;
		if (lines->flags[i][0] != '-')
			continue; /* a word of the command line */
		rc = tide_config_flag(config, lines->flag_count - i, lines->flags + i, &taken, err);
		require(taken == 1 || taken == 2);
	}
	return rc;
}

static int load(struct tide_config *config, const struct lines *lines, struct tide_error *err)
{
	const char *job = lines->value_count % 2 == 0 ? "wordcount" : "orders";
	int rc = tide_config_set_job(config, job, err);
	for (int i = 0; rc == TIDE_OK && i < lines->value_count; i++) {
		char *value = strchr(lines->values[i], '=');
		*value = '\0';
		rc = tide_config_job_value(config, lines->values[i], value + 1, "job.lua", err);
		*value = '=';
	}
	if (rc == TIDE_OK)
		rc = tide_config_environment(config, lines->variables, err);
	if (rc == TIDE_OK)
		rc = load_flags(config, lines, err);
	return rc == TIDE_OK ? tide_config_settle(config, err) : rc;
}

/* But for files and libraries, which are the machine's. */
static void try_kafka(const struct tide_config *config)
{
	struct tide_options options = { 0 };
	struct tide_secrets secrets = { 0 };
	struct tide_error err;
	rd_kafka_conf_t *conf = NULL;
	for (size_t i = 0; i < tide_config_pair_count(config, "X"); i++) {
		struct tide_pair_value pair = tide_config_pair_at(config, "X", i);
		char key[128];
		snprintf(key, sizeof key, "rdkafka.%s", pair.key);
		if (pair.value[0] != '@' && strstr(key, "plugin") == NULL)
			require(tide_option_set(&options, key, pair.value));
	}
	int rc = tide_kafka_conf(&options, TIDE_KAFKA_FETCH, 3, &conf, &secrets, &err);
	require_text(rc, &err);
	if (rc == TIDE_OK)
		rd_kafka_conf_destroy(conf);
	tide_options_fini(&options);
	tide_secrets_fini(&secrets);
}

static void read_all(const struct tide_config *config)
{
	struct tide_buf text = { 0 }, json = { 0 };
	const struct tide_setting *setting;
	for (size_t i = 0; (setting = tide_setting_at(i)) != NULL; i++) {
		require(tide_config_origin(config, setting->name) != NULL);
		if (setting->type == TIDE_SETTING_PAIRS)
			continue;
		const char *value = tide_config_text(config, setting->name);
		if (value == NULL)
			continue;
		if (setting->type == TIDE_SETTING_INT || setting->type == TIDE_SETTING_SPAN ||
		    setting->type == TIDE_SETTING_BYTES) {
			int64_t number = tide_config_int(config, setting->name);
			bool limits = setting->min != 0 || setting->max != 0;
			require(!limits || (number >= setting->min && number <= setting->max));
		}
	}
	for (size_t i = 0; tide_config_warning(config, i) != NULL; i++)
		require(tide_config_warning(config, i)[0] != '\0');
	tide_config_dump_text(config, &text);
	tide_config_dump_json(config, &json);
	require(!text.failed && !json.failed && text.len > 0 && json.len > 0);
	tide_buf_fini(&text);
	tide_buf_fini(&json);
	try_kafka(config);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return mutate_sample(samples, sizeof samples / sizeof samples[0], data, size, max_size,
	                     seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lines lines;
	struct tide_error err = { 0 };
	struct tide_config *config = tide_config_new();
	int64_t us;
	require(config != NULL);
	lines_read(&lines, data, size);
	int rc = load(config, &lines, &err);
	require_text(rc, &err);
	if (rc == TIDE_OK)
		read_all(config);
	require(tide_clock_span_ms(lines.text) >= -1);
	(void)tide_clock_parse_us(lines.text, strlen(lines.text), &us);
	tide_config_free(config);
	free(lines.text);
	return 0;
}
