/* SPDX-License-Identifier: Apache-2.0 */
/* Kept copies, as the files that make, check and restore them see them. */
#ifndef TIDE_CHECKPOINT_KEPT_INSIDE_H
#define TIDE_CHECKPOINT_KEPT_INSIDE_H

#include <stdbool.h>

#include "checkpoint/kept.h"

enum { TIDE_KEPT_PATH = 4096 };

/* A file of a manifest; `name` is below the copy. */
struct tide_manifest_file {
	const char *name;
	uint64_t size, hash;
};

/* Every file of the copy, synced, into its manifest; counts them in *kept. */
int tide_manifest_write(const char *copy, struct tide_kept *kept, struct tide_error *err);
/* The manifest, itself checked; calls each(file, arg), NULL: nobody, until it fails. */
int tide_manifest_read(const char *copy, struct tide_kept *kept,
                       int (*each)(const struct tide_manifest_file *file, void *arg,
                                   struct tide_error *err),
                       void *arg, struct tide_error *err);

/* The same file under another name, or its bytes where links are not possible. */
int tide_kept_place(const char *from, const char *to, struct tide_error *err);
/* Bytes of their own. */
int tide_kept_copy_file(const char *from, const char *to, struct tide_error *err);
void tide_kept_remove(const char *path);

#endif
