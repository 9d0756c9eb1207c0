/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of a job's files as they were loaded, by path. */
#include "job/sources.h"

#include <stdlib.h>
#include <string.h>

struct tide_sources {
	struct tide_sources *next;
	char *path;
	size_t len;
	char text[];
};

void tide_sources_free(struct tide_sources *sources)
{
	while (sources != NULL) {
		struct tide_sources *next = sources->next;
		free(sources->path);
		free(sources);
		sources = next;
	}
}

bool tide_sources_keep(struct tide_sources **sources, const char *path, const char *text,
                       size_t len)
{
	struct tide_sources *one = malloc(sizeof *one + len + 1);
	char *copy = strdup(path);
	if (one == NULL || copy == NULL) {
		free(one);
		free(copy);
		return false;
	}
	one->next = *sources;
	one->path = copy;
	one->len = len;
	memcpy(one->text, text, len);
	one->text[len] = '\0';
	*sources = one;
	return true;
}

const char *tide_sources_find(const struct tide_sources *sources, const char *path, size_t *len)
{
	for (; sources != NULL; sources = sources->next)
		if (strcmp(sources->path, path) == 0) {
			*len = sources->len;
			return sources->text;
		}
	return NULL;
}
