/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of a job's files as they were loaded, by path. */
#ifndef TIDE_JOB_SOURCES_H
#define TIDE_JOB_SOURCES_H

#include <stdbool.h>
#include <stddef.h>

struct tide_sources;

/* NULL is an empty one. */
void tide_sources_free(struct tide_sources *sources);
/* False without memory. */
bool tide_sources_keep(struct tide_sources **sources, const char *path, const char *text,
                       size_t len);
/* NULL: none of that path. */
const char *tide_sources_find(const struct tide_sources *sources, const char *path, size_t *len);

#endif
