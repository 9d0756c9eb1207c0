/* SPDX-License-Identifier: Apache-2.0 */
/* What outlives a loss of power: bytes that are written whole, and names of
 * folders. A new folder is certain only when the one it is in has been synced. */
#ifndef TIDE_BASE_DURABLE_H
#define TIDE_BASE_DURABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Makes the names in `dir` certain, and that of `dir` itself, and those of the
 * folders that it is in, up to where it is mounted: somebody may have made them
 * just before a kill. Folders that may not be read are left out. */
int tide_durable_names(const char *dir, struct tide_error *err);

/* All of it, also where the kernel takes a part at a time; errno says why not. */
bool tide_write_all(int fd, const char *bytes, size_t len);

#endif
