/* SPDX-License-Identifier: Apache-2.0 */
/* Folders for what nobody keeps. */
#ifndef TIDE_RUN_SCRATCH_H
#define TIDE_RUN_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* A folder for things that nobody needs afterwards. Small ones may be
 * in memory, where a sync takes no time. */
int tide_scratch_make(char *path, size_t size, bool small, struct tide_error *err);
/* One called tidemark-NAME-…, in memory where that goes: a disk's syncs are slow. */
int tide_scratch_in_memory(char *path, size_t size, const char *name, struct tide_error *err);
/* With all that is in it; "" is none. */
void tide_scratch_remove(const char *path);

#endif
