/* SPDX-License-Identifier: Apache-2.0 */
/* How long a topic of Kafka's keeps records. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "source/create.h"
#include "source/kafka_inside.h"

enum { SETTINGS_MS = 1000 };

struct asked {
	struct tide_retention *out;
	bool keeps; /* cleanup.policy is compact alone: no record is too old */
};

static void take_setting(void *arg, const char *name, const char *value)
{
	struct asked *asked = arg;
	if (strcmp(name, "retention.ms") == 0)
		asked->out->ms = strtoll(value, NULL, 10);
	else if (strcmp(name, "retention.bytes") == 0)
		asked->out->bytes = strtoll(value, NULL, 10);
	else if (strcmp(name, "cleanup.policy") == 0)
		asked->keeps = strstr(value, "delete") == NULL;
}

bool tide_kafka_retention(struct tide_source *src, const char *topic, struct tide_retention *out)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	struct asked asked = { .out = out };
	bool known = false;
	*out = (struct tide_retention){ -1, -1 };
	if (kafka->is_mock) /* It keeps what it likes, and has no settings. */
		return false;
	(void)tide_topic_settings(kafka->control, topic, SETTINGS_MS, take_setting, &asked, &known);
	if (!known)
		tide_log(TIDE_DEBUG, "how long topic %s keeps records may not be known", topic);
	if (asked.keeps)
		*out = (struct tide_retention){ -1, -1 };
	return known;
}
