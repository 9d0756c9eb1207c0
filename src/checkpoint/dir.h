/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint's directory: is it ours, may we write, who else has it open. */
#ifndef TIDE_CHECKPOINT_DIR_H
#define TIDE_CHECKPOINT_DIR_H

#include <stdbool.h>

#include "base/error.h"

/* This file is there while a restore is under way. */
#define TIDE_DIR_RESTORING "RESTORING"

/* `dir`/`name`, malloc'd, or NULL. */
char *tide_dir_path(const char *dir, const char *name);

/* Makes the directory if only it is missing, refuses what is not ours, takes
 * the lock, writes FORMAT into a new one. The lock lasts until *lock_fd is
 * closed. */
int tide_dir_open(const char *dir, int *lock_fd, struct tide_error *err);
/* The lock alone, of a checkpoint that may be in the middle of a restore. */
int tide_dir_lock(const char *dir, int *lock_fd, struct tide_error *err);
/* Is this a checkpoint that this program can read? Changes nothing. */
int tide_dir_check(const char *dir, struct tide_error *err);

/* Makes the names in `dir` durable. */
int tide_dir_sync(const char *dir, struct tide_error *err);
/* All of `bytes` to `path` by way of a temporary file; durable afterwards. */
int tide_dir_replace(const char *dir, const char *name, const char *bytes, struct tide_error *err);

#endif
