/* SPDX-License-Identifier: Apache-2.0 */
/* The sinks there are, and the names of their modes. */
#include "sink/sink.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "sink/console.h"
#include "sink/files.h"
#include "sink/kafka.h"

static const struct tide_sink_ops *const sinks[] = {
	&tide_console_ops,
	&tide_kafka_sink_ops,
	&tide_files_ops,
};

const struct tide_sink_ops *tide_sink_find(const char *kind)
{
	assert(kind != NULL);
	for (size_t i = 0; i < sizeof sinks / sizeof sinks[0]; i++)
		if (strcmp(sinks[i]->kind, kind) == 0)
			return sinks[i];
	return NULL;
}

enum tide_sink_mode tide_sink_mode_of(const char *name)
{
	if (name != NULL && strcmp(name, "append") == 0)
		return TIDE_MODE_APPEND;
	if (name != NULL && strcmp(name, "update") == 0)
		return TIDE_MODE_UPDATE;
	if (name != NULL && strcmp(name, "complete") == 0)
		return TIDE_MODE_COMPLETE;
	return 0;
}
