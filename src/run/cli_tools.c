/* SPDX-License-Identifier: Apache-2.0 */
/* produce and broker. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "broker/broker.h"
#include "broker/produce.h"
#include "run/cli.h"
#include "run/setup.h"

/* A number of an own flag, or `otherwise` when it is not given. */
static int own_number(const struct tide_cli *cli, const char *name, double otherwise, double *out,
                      struct tide_error *err)
{
	const char *text = tide_cli_own(cli, name);
	char *end = NULL;
	*out = otherwise;
	if (text == NULL)
		return TIDE_OK;
	errno = 0;
	*out = strtod(text, &end);
	if (end == text || *end != '\0' || errno != 0 || *out < 0)
		return tide_fail(err, TIDE_ERR_USAGE, "--%s wants a number, not \"%s\"", name,
		                 text);
	return TIDE_OK;
}

/* `tidemark produce readings` names a generator whose topic has a name of its
 * own; any other word is the topic. */
static const char *topic_of(const struct tide_cli *cli, const char **generator)
{
	static const char *const topics[][2] = { { "readings", "events" },
		                                 { "articles", "articles.raw.v1" } };
	const char *word = cli->words[0], *given = tide_config_text(cli->config, "topic");
	*generator = tide_cli_own(cli, "generator");
	for (size_t i = 0; *generator == NULL && i < sizeof topics / sizeof topics[0]; i++) {
		if (strcmp(word, topics[i][0]) != 0)
			continue;
		*generator = word;
		return given != NULL ? given : topics[i][1];
	}
	return word;
}

int tide_cli_produce(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	const char *generator, *per_second = getenv("MSGS_PER_SEC");
	const char *topic = topic_of(cli, &generator);
	bool named = generator == cli->words[0];
	double rate = 0, count = 0, seed = 1, usual = named ? 5 : 0;
	int64_t produced = 0;
	int rc = tide_setup_load(&setup, cli, NULL, err);
	if (named && per_second != NULL && per_second[0] != '\0')
		usual = strtod(per_second, NULL);
	if (rc == TIDE_OK)
		rc = own_number(cli, "rate", usual, &rate, err);
	if (rc == TIDE_OK)
		rc = own_number(cli, "count", 0, &count, err);
	if (rc == TIDE_OK)
		rc = own_number(cli, "seed", 1, &seed, err);
	if (rc == TIDE_OK) {
		struct tide_produce_options options = {
			.brokers = setup.settings.brokers_default,
			.topic = topic,
			.rdkafka = &setup.rdkafka,
			.generator = generator,
			.shape = &setup.set,
			.in = STDIN_FILENO,
			.rate = rate,
			.count = (int64_t)count,
			.seed = (uint64_t)seed,
			.quiet = tide_config_bool(cli->config, "quiet"),
			.stop = cli->stop,
		};
		rc = tide_produce(&options, &produced, err);
	}
	if (rc == TIDE_OK)
		tide_log(TIDE_INFO, "%lld records are in %s", (long long)produced, topic);
	tide_setup_fini(&setup);
	return rc;
}

int tide_cli_broker(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	struct tide_broker *broker = NULL;
	double partitions = 4;
	int rc = tide_setup_load(&setup, cli, NULL, err);
	if (rc == TIDE_OK)
		rc = own_number(cli, "partitions", 4, &partitions, err);
	if (rc == TIDE_OK)
		rc = tide_broker_start(&broker, err);
	for (int i = 0; rc == TIDE_OK && i < cli->word_count; i++)
		rc = tide_broker_topic(broker, cli->words[i], (int)partitions, err);
	if (rc == TIDE_OK) {
		printf("%s\n", tide_broker_address(broker));
		fflush(stdout);
		tide_log(TIDE_INFO,
		         "an embedded broker in memory, for trying things; Ctrl+C ends it");
	}
	while (rc == TIDE_OK && atomic_load(cli->stop) == 0)
		usleep(50000);
	tide_broker_stop(broker);
	tide_setup_fini(&setup);
	return rc;
}
